//! The two scripts that make a certificate: what the shell one makes is good, and the other is alike.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a copy of the script in a folder of its own.
fn generate(dir: &Path, arguments: &[&str]) -> Output {
    fs::copy(root().join("sslcertgen.sh"), dir.join("sslcertgen.sh")).unwrap();
    Command::new("sh").arg(dir.join("sslcertgen.sh")).args(arguments).output().unwrap()
}

fn certificate(dir: &Path) -> String {
    let mut openssl = Command::new("openssl");
    let output = openssl.args(["x509", "-noout", "-text", "-in"]).arg(dir.join("certs/server.crt")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_certificate_bears_its_names_and_is_no_authority() {
    let dir = tempfile::tempdir().unwrap();
    let made = generate(dir.path(), &["chat.example.org", "192.0.2.7", "2001:db8::7"]);
    assert!(made.status.success(), "{made:?}");
    let text = certificate(dir.path());
    for wanted in [
        "DNS:chat.example.org",
        "IP Address:192.0.2.7",
        "IP Address:2001:DB8:0:0:0:0:0:7",
        "CA:FALSE",
        "Public-Key: (2048 bit)",
        "Version: 3",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let mode = fs::metadata(dir.path().join("certs/server.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!String::from_utf8(made.stdout).unwrap().is_empty());
}

#[test]
fn nothing_is_overwritten_without_force() {
    let dir = tempfile::tempdir().unwrap();
    assert!(generate(dir.path(), &[]).status.success());
    assert!(certificate(dir.path()).contains("DNS:localhost"));
    let before = certificate(dir.path());
    let refused = generate(dir.path(), &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--force"));
    assert_eq!(certificate(dir.path()), before);
    assert!(generate(dir.path(), &["--force"]).status.success());
    assert_ne!(certificate(dir.path()), before);
}

#[test]
fn arguments_that_are_no_names_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for bad in ["a,DNS:evil", "a b", "--nonsense", "1.2.3.256", "a\nb", ""] {
        let refused = generate(dir.path(), &[bad]);
        assert_eq!(refused.status.code(), Some(1), "{bad:?}");
        assert!(!dir.path().join("certs/server.key").exists(), "{bad:?}");
    }
}

/// What matters in both scripts, apart from how variables are written: the openssl line, messages, help, default names.
#[test]
fn the_two_scripts_are_alike() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap().replace("\r\n", "\n");
    let (sh, bat) = (read("sslcertgen.sh"), read("sslcertgen.bat"));
    let openssl = |text: &str, close: &str| {
        let line = text.lines().find(|line| line.starts_with("openssl req")).unwrap().to_owned();
        // $NAME and %NAME% become <NAME>.
        let mut out = String::new();
        for (i, part) in line.split(if close == "%" { '%' } else { '$' }).enumerate() {
            match (i, close) {
                (0, _) => out.push_str(part),
                (i, "%") if i % 2 == 1 => out.push_str(&format!("<{part}>")),
                (_, "%") => out.push_str(part),
                _ => {
                    let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap();
                    out.push_str(&format!("<{}>{}", &part[..end], &part[end..]));
                }
            }
        }
        out
    };
    assert_eq!(openssl(&sh, "$"), openssl(&bat, "%"));
    for shared in [
        "not a host name or IP address",
        "already exists; --force overwrites it",
        "the openssl command is needed and was not found",
        "openssl failed; nothing was changed",
        "unknown option",
        "certs/server.key and certs/server.crt are made for",
        "the first of which is also its common name. Default: localhost 127.0.0.1 ::1",
        "distinguished_name = name",
        "x509_extensions = extensions",
        "subjectKeyIdentifier = hash",
    ] {
        assert!(sh.contains(shared) && bat.contains(shared), "{shared}");
    }
}
