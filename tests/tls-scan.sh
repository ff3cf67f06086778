#!/usr/bin/env bash
# Scans a server of this checkout, which runs on loopback with the certificate that it makes by itself, from outside. Fails when there is
# anything of medium weight or above but what a self-signed certificate without an end is blamed for: its chain of trust, its
# validity and that it cannot be revoked. Takes some minutes.
#   tests/tls-scan.sh [SERVER]     SERVER: a chat-server that is built already, instead of a release build
# Needs testssl.sh (Debian: testssl.sh) and sslyze (PyPI: sslyze).
set -euo pipefail
cd "$(dirname "$0")/.."

testssl=$(command -v testssl || command -v testssl.sh) || { echo "testssl.sh is missing: apt-get install testssl.sh" >&2; exit 1; }
command -v sslyze >/dev/null || { echo "sslyze is missing: pip install sslyze" >&2; exit 1; }
binary=${1:-${CARGO_TARGET_DIR:-target}/release/chat-server}
[ $# -gt 0 ] || cargo build --locked --release --bin chat-server

folder=$(mktemp -d)
server=
end() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap end EXIT
echo "of-the-scan" >"$folder/god"
"$binary" --listen 127.0.0.1:0 --data-dir "$folder" --god-password-file "$folder/god" >"$folder/out" 2>"$folder/err" &
server=$!
until address=$(sed -n 's/^Listening on //p' "$folder/out") && [ -n "$address" ]; do
    kill -0 "$server" 2>/dev/null || { cat "$folder/err" >&2; exit 1; }
    sleep 0.1
done

echo "== testssl.sh $address"
"$testssl" --quiet --color 0 --severity MEDIUM --jsonfile "$folder/testssl.json" "$address" >"$folder/testssl" || true
python3 - "$folder/testssl.json" <<'PYTHON'
import json, sys
known = {"cert_chain_of_trust", "cert_validityPeriod", "cert_revocation"}
found = [f for f in json.load(open(sys.argv[1])) if f["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL")]
for finding in found:
    print(finding["severity"], finding["id"], finding["finding"])
if not {"cert_chain_of_trust"} <= {finding["id"] for finding in found}:
    sys.exit("testssl.sh did not get as far as the certificate")
sys.exit(any(finding["id"] not in known for finding in found))
PYTHON

echo "== sslyze $address"
sslyze "$address" >"$folder/sslyze" || true # it is never content with a self-signed certificate
sed -n '/COMPLIANCE/,$p' "$folder/sslyze"
grep -q "certificate_path_validation" "$folder/sslyze" || { echo "sslyze did not get as far as the certificate" >&2; exit 1; }
if grep -E '^ +\* [a-z_]+:' "$folder/sslyze" | grep -v -E 'certificate_path_validation|maximum_certificate_lifespan' ||
    grep -E 'VULNERABLE -|INSECURE' "$folder/sslyze"; then
    echo "sslyze found this" >&2
    exit 1
fi
