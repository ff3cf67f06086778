//! Files of signing keys are those of other programs: what we export `openssl` reads, and the other way round.

// Elsewhere `openssl` may be LibreSSL, which lacks some of this.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

use std::fs;
use std::path::Path;
use std::process::Command;

use secure_chat::crypto::{SigningKey, SigningKeyError};
use secure_chat::names::Password;

/// What openssl makes of a file.
fn openssl(file: &Path, arguments: &str) -> Vec<u8> {
    let mut command = Command::new("openssl");
    let output = command.args(arguments.split(' ')).arg("-in").arg(file).output().unwrap();
    assert!(output.status.success(), "{arguments}: {output:?}");
    output.stdout
}

#[test]
fn openssl_reads_what_is_exported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key.pem");
    let key = SigningKey::generate();
    let public = key.verifying_key().bytes();
    fs::write(&file, &*key.to_pem().unwrap()).unwrap();
    assert!(openssl(&file, "pkey -pubout -outform DER").ends_with(public.as_bytes()));
    fs::write(&file, &*key.to_encrypted_pem(&Password::new("très-secret")).unwrap()).unwrap();
    assert!(openssl(&file, "pkey -pubout -outform DER -passin pass:très-secret").ends_with(public.as_bytes()));
}

#[test]
fn what_openssl_encrypts_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key.pem");
    let key = SigningKey::generate();
    fs::write(&file, &*key.to_pem().unwrap()).unwrap();
    let import = |arguments: &str| {
        let pem = openssl(&file, &format!("pkcs8 -topk8 -passout pass:secret {arguments}"));
        let key = SigningKey::from_encrypted_pem(&String::from_utf8(pem).unwrap(), &Password::new("secret"));
        key.map(|key| *key.expose_seed())
    };
    for arguments in ["-v2 aes-256-cbc", "-v2 aes-128-cbc -v2prf hmacWithSHA512", "-scrypt"] {
        assert_eq!(import(arguments), Ok(*key.expose_seed()), "{arguments}");
    }
    let refused = import("-v2 des3").unwrap_err();
    assert!(matches!(refused, SigningKeyError::Malformed | SigningKeyError::Encryption), "{refused:?}");
}
