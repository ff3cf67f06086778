#!/bin/sh
# Makes a self-signed certificate and its key with the openssl command (1.1.1 or 3.x), without asking anything.
# sslcertgen.bat does the same on Windows: whoever changes one changes the other. The line that calls openssl is the
# same in both but for the way in which variables are written, and a test compares them.

# Character ranges mean ASCII, and a word is never a pattern for file names.
LC_ALL=C
export LC_ALL
set -f

usage() {
    cat <<'END'
usage: sslcertgen [--force] [NAME-OR-ADDRESS ...]

Makes a self-signed certificate for the chat server: certs/server.crt and its key certs/server.key,
in the folder of this script. It is good for 365 days and for the host names and IP addresses given,
the first of which is also its common name. Default: localhost 127.0.0.1 ::1

  --force   overwrite a certificate or key that is already there
  --help    show this help
END
}

say() {
    printf '%s\n' "sslcertgen: $*" >&2
}

fail() {
    say "$@"
    exit 1
}

# Four decimal numbers up to 255. Leading zeros are refused: some programs read them as octal.
is_ipv4() {
    case $1 in .* | *. | *..*) return 1 ;; esac
    IFS=.
    # Splitting at the dots is the point.
    # shellcheck disable=SC2086
    set -- $1
    unset IFS
    [ $# -eq 4 ] || return 1
    for octet in "$@"; do
        case $octet in '' | *[!0-9]* | 0?* | ????*) return 1 ;; esac
        [ "$octet" -le 255 ] || return 1
    done
}

# Adds one argument to NAMES as DNS: or IP:. Commas, spaces, newlines and the like would be syntax to openssl.
# A colon makes an IPv6 address, whose grammar openssl itself checks; digits and dots alone make an IPv4 address.
add_name() {
    case $1 in
        '' | *[!A-Za-z0-9._:-]*) fail "not a host name or IP address: \"$1\"" ;;
        *:*)
            case $1 in *[!0-9A-Fa-f:.]*) fail "not a host name or IP address: \"$1\"" ;; esac
            entry=IP:$1
            ;;
        *[!0-9.]*)
            case $1 in .* | *. | *..* | *-) fail "not a host name or IP address: \"$1\"" ;; esac
            entry=DNS:$1
            ;;
        *)
            is_ipv4 "$1" || fail "not a host name or IP address: \"$1\""
            entry=IP:$1
            ;;
    esac
    if [ -z "$NAMES" ]; then
        # X.509 allows a common name of 64 characters.
        [ ${#1} -le 64 ] || fail "the first name is longer than 64 characters: \"$1\""
        FIRST=$1
        NAMES=$entry
    else
        NAMES=$NAMES,$entry
    fi
}

FORCE=
FIRST=
NAMES=
for argument in "$@"; do
    case $argument in
        --help)
            usage
            exit 0
            ;;
        --force) FORCE=1 ;;
        -*) fail "unknown option \"$argument\"; --help shows the usage" ;;
        *) add_name "$argument" ;;
    esac
done
if [ -z "$NAMES" ]; then
    add_name localhost
    add_name 127.0.0.1
    add_name ::1
fi

case $0 in
    */*) HERE=${0%/*}/ ;;
    *) HERE=./ ;;
esac
HERE=$(CDPATH='' cd -- "$HERE" && pwd) || fail "cannot find the folder of this script"
CERTS=$HERE/certs

# Both are looked at before anything is made. A dangling link counts as well.
for file in server.key server.crt; do
    [ ! -d "$CERTS/$file" ] || fail "certs/$file is a folder"
    if [ -z "$FORCE" ] && { [ -e "$CERTS/$file" ] || [ -L "$CERTS/$file" ]; }; then
        fail "certs/$file already exists; --force overwrites it"
    fi
done

command -v openssl >/dev/null 2>&1 || fail "the openssl command is needed and was not found"

mkdir -p "$CERTS" || fail "cannot make the folder certs"

# From here on all that is made is for its owner alone (key: 0600), so there is no moment at which others could read it.
umask 077

# Everything is made in a folder beside its place, on the same file system: a rename puts it there whole or not at all.
WORK=$(mktemp -d "$CERTS/.sslcertgen.XXXXXX") || fail "cannot write to the folder certs"
trap 'rm -rf "$WORK"' EXIT
trap 'exit 1' HUP INT TERM

CONFIG=$WORK/openssl.cnf
LOG=$WORK/openssl.log
NEW_KEY=$WORK/server.key
NEW_CRT=$WORK/server.crt

# A configuration of our own: the system's would add CA:TRUE, and on Windows there often is none.
# Without an extensions section some versions of openssl would make a certificate of X.509 version 1.
{
    echo "[req]"
    echo "distinguished_name = name"
    echo "x509_extensions = extensions"
    echo "[name]"
    echo "[extensions]"
    echo "subjectKeyIdentifier = hash"
} >"$CONFIG" || fail "cannot write to the folder certs"

# On Windows, MSYS shells would take the subject for a path and rewrite it.
MSYS2_ARG_CONV_EXCL=/CN=
export MSYS2_ARG_CONV_EXCL

openssl req -x509 -newkey rsa:2048 -sha256 -nodes -days 365 -config "$CONFIG" -subj "/CN=$FIRST" -addext "basicConstraints=critical,CA:FALSE" -addext "subjectAltName=$NAMES" -keyout "$NEW_KEY" -out "$NEW_CRT" >"$LOG" 2>&1
if [ $? -ne 0 ] || [ ! -s "$NEW_KEY" ] || [ ! -s "$NEW_CRT" ]; then
    cat "$LOG" >&2
    fail "openssl failed; nothing was changed"
fi
chmod 600 "$NEW_KEY" && chmod 644 "$NEW_CRT" || fail "cannot set the modes; nothing was changed"

# Two renames are not one: the old key is kept until the certificate is in place, and put back if that fails.
OLD_KEY=
if [ -e "$CERTS/server.key" ]; then
    OLD_KEY=$WORK/old.key
    cp -p "$CERTS/server.key" "$OLD_KEY" || fail "cannot keep a copy of the old key; nothing was changed"
fi
# Nor may a signal come between them: the end of the script would take the old key along.
trap '' HUP INT TERM
mv -f "$NEW_KEY" "$CERTS/server.key" || fail "cannot write certs/server.key; nothing was changed"
if ! mv -f "$NEW_CRT" "$CERTS/server.crt"; then
    if [ -n "$OLD_KEY" ]; then
        mv -f "$OLD_KEY" "$CERTS/server.key"
    else
        rm -f "$CERTS/server.key"
    fi
    fail "cannot write certs/server.crt; nothing was changed"
fi

echo "certs/server.key and certs/server.crt are made for $NAMES"
