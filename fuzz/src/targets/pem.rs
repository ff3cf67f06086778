//! Files and announcements of keys and certificates.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::Kdf;
use secure_chat::crypto::password::PasswordHash;
use secure_chat::crypto::{FernetKey, Fingerprint, PrivateKey, PublicKey, SigningKey, SigningKeyError};
use secure_chat::names::Password;
use secure_chat::tls::{ServerIdentity, server_config};

/// Dearest encryption that is undone here, in calls of its innermost function: more takes its time, and finds nothing. What is the
/// dearest that the program undoes is for its own tests.
const AFFORDABLE: u64 = 1 << 14;

const LABELS: [&str; 7] = [
    "RSA PRIVATE KEY",
    "PRIVATE KEY",
    "PUBLIC KEY",
    "ENCRYPTED PRIVATE KEY",
    "CERTIFICATE",
    "EC PRIVATE KEY",
    "RSA PUBLIC KEY",
];

/// The first byte says what the others are: a text, or the DER of a PEM of some label.
pub fn run(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match usize::from(*kind) {
        0 => texts(&String::from_utf8_lossy(bytes)),
        1 => server(bytes),
        kind if kind < 2 + LABELS.len() => {
            let pem = pem(LABELS[kind - 2], bytes);
            texts(&pem);
            server(pem.as_bytes());
            spki(bytes);
        }
        _ => texts(&String::from_utf8_lossy(data)),
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// What is taken for a key is the same key when it is written and read again; what is not is refused in words.
fn texts(text: &str) {
    match PublicKey::from_pem(text) {
        Ok(key) => check_public(&key),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
    match PrivateKey::from_pem(text) {
        Ok(key) => {
            check_public(key.public());
            let again = PrivateKey::from_pem(key.expose_pem()).expect("what was written can be read");
            assert_eq!(again.public().pem(), key.public().pem());
            assert_eq!(again.expose_pem(), key.expose_pem());
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
    signing(text);
    if let Some(key) = FernetKey::parse(text) {
        assert_eq!(FernetKey::parse(key.expose()).map(|again| *again.expose_raw()), Some(*key.expose_raw()));
    }
    if let Ok(hash) = PasswordHash::parse(text) {
        let written = hash.to_string();
        assert_eq!(PasswordHash::parse(&written).expect("what was written can be read").to_string(), written);
    }
    if let Ok(print) = text.parse::<Fingerprint>() {
        assert_eq!(print.to_string().parse(), Ok(print));
    }
}

fn check_public(key: &PublicKey) {
    let again = PublicKey::from_pem(key.pem()).expect("what was written can be read");
    assert_eq!((again.pem(), again.fingerprint()), (key.pem(), key.fingerprint()));
    spki(key.spki_der());
    assert!(key.wrap(b"0123456789abcdef0123456789abcdef").is_ok(), "it wraps a key");
}

/// A key has one encoding: that of its hash.
fn spki(der: &[u8]) {
    if let Ok(key) = PublicKey::from_spki_der(der) {
        assert_eq!(&**key.spki_der(), der);
    }
}

fn signing(text: &str) {
    if let Ok(key) = SigningKey::from_pem(text) {
        let written = key.to_pem().expect("it can be written");
        let again = SigningKey::from_pem(&written).expect("what was written can be read");
        assert_eq!(again.verifying_key(), key.verifying_key());
        let signature = key.sign(b"message");
        assert!(key.verifying_key().verify(b"message", &signature));
    }
    if is_affordable(text)
        && let Err(why) = SigningKey::from_encrypted_pem(text, &Password::new("pw"))
    {
        assert_ne!(why, SigningKeyError::Library);
        assert!(!why.to_string().is_empty());
    }
}

/// Whether undoing the encryption of a key takes little time, as far as its parameters say.
fn is_affordable(text: &str) -> bool {
    let Ok((_, der)) = pkcs8::SecretDocument::from_pem(text.trim()) else { return true };
    let Ok(encrypted) = EncryptedPrivateKeyInfoRef::try_from(der.as_bytes()) else { return true };
    match encrypted.encryption_algorithm.pbes2().map(|scheme| &scheme.kdf) {
        Some(Kdf::Scrypt(scrypt)) => {
            let (r, p) = (u64::from(scrypt.block_size), u64::from(scrypt.parallelization));
            let work = scrypt.cost_parameter.saturating_mul(r).saturating_mul(p);
            work <= AFFORDABLE || !scrypt.cost_parameter.is_power_of_two() || is_refused(work, r, p)
        }
        Some(Kdf::Pbkdf2(pbkdf2)) => {
            let rounds = u64::from(pbkdf2.iteration_count);
            rounds <= AFFORDABLE || rounds > 2_000_000
        }
        _ => true,
    }
}

/// Whether it is so dear that the program must not even begin.
fn is_refused(work: u64, r: u64, p: u64) -> bool {
    work > 1 << 21 || r.saturating_mul(p) > 1 << 10
}

/// A server's certificate and key in one file, as operators may have them: used, or refused with the file's name.
fn server(file: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.pem");
    fs::write(&path, file).unwrap();
    let refused = match ServerIdentity::load(&path, &path) {
        Ok(identity) => server_config(&identity).err(),
        Err(why) => Some(why),
    };
    if let Some(why) = refused {
        assert!(why.to_string().contains("server.pem"), "{why}");
    }
}
