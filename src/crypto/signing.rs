//! Ed25519 (RFC 8032): the signing keys of accounts and servers, their files, and signatures.
//!
//! Verification is strict: keys of small order and keys, R or s in another than their canonical form are refused, so
//! that a signature fits one message, one key and no second form of itself.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use ed25519_dalek::Signer;
use ed25519_dalek::pkcs8::KeypairBytes;
use pkcs8::pkcs5::pbes2::{self, Kdf, Salt, ScryptParams};
use pkcs8::{
    DecodePrivateKey, EncodePrivateKey, EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument,
};
use zeroize::Zeroizing;

use crate::crypto::Fingerprint;
use crate::names::Password;
use crate::transcript::{Ed25519Key, Realm, Signature};

/// Longest PEM that is looked at: an encrypted key takes some 400 bytes.
const MAX_PEM: usize = 16 * 1024;

const PEM_LABEL: &str = "PRIVATE KEY";
const ENCRYPTED_PEM_LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// What comes before the 32 bytes in the DER SubjectPublicKeyInfo of any Ed25519 key (RFC 8410, section 4).
const SPKI_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Cost of scrypt (RFC 7914): 16 MiB and some 0.2 s. `openssl` takes no more than 32 MiB, so p makes it dear.
const SCRYPT_N: u64 = 1 << 14;
const SCRYPT_R: u16 = 8;
const SCRYPT_P: u16 = 5;

/// Dearest encryption that is undone: 128 MiB, and under a second of scrypt or PBKDF2. A file must not stop the program.
const MAX_SCRYPT_TABLE: u64 = 1 << 20; // N · r, in pieces of 128 bytes
const MAX_SCRYPT_LANES: u64 = 1 << 10; // r · p, likewise
const MAX_SCRYPT_WORK: u64 = 1 << 21; // N · r · p
const MAX_PBKDF2_ROUNDS: u32 = 2_000_000;

/// Why a signing key is not taken or not given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKeyError {
    /// The text is no PEM of an Ed25519 private key, or not of the kind (encrypted or not) that is asked for.
    Malformed,
    /// It is encrypted in a way that is not supported, or so that undoing it takes too long.
    Encryption,
    /// The passphrase is wrong, or the file is damaged.
    Passphrase,
    /// The key could not be encoded.
    Library,
}

impl fmt::Display for SigningKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not an Ed25519 private key in PEM",
            Self::Encryption => "it is encrypted in a way that is not supported",
            Self::Passphrase => "the passphrase is wrong, or the file is damaged",
            Self::Library => "the cryptographic library refuses it",
        })
    }
}

impl std::error::Error for SigningKeyError {}

/// A private Ed25519 key: wiped when dropped, never printed.
#[derive(Clone)]
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    /// The same key, as the library that signs faster has it.
    signer: Option<Arc<Ed25519KeyPair>>,
}

impl SigningKey {
    /// Draws a key.
    pub fn generate() -> Self {
        Self::from_seed(&Zeroizing::new(rand::random()))
    }

    /// The key of a seed of 32 bytes (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::new(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed.
    pub fn expose_seed(&self) -> &[u8; 32] {
        self.secret.as_bytes()
    }

    fn new(secret: ed25519_dalek::SigningKey) -> Self {
        let signer = Ed25519KeyPair::from_seed_unchecked(secret.as_bytes()).ok().map(Arc::new);
        Self { secret, signer }
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signed = self.signer.as_ref().and_then(|signer| signer.sign(message).as_ref().try_into().ok());
        Signature(signed.unwrap_or_else(|| self.secret.sign(message).to_bytes())) // which is the same, and takes longer
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.secret.verifying_key())
    }

    /// Reads an unencrypted PKCS#8 PEM (RFC 8410, also with the public key in it).
    ///
    /// # Errors
    /// [`SigningKeyError::Malformed`] when it is none.
    pub fn from_pem(pem: &str) -> Result<Self, SigningKeyError> {
        let der = decode_pem(pem, PEM_LABEL)?;
        let key = ed25519_dalek::SigningKey::from_pkcs8_der(der.as_bytes());
        key.map(Self::new).map_err(|_| SigningKeyError::Malformed)
    }

    /// The unencrypted PKCS#8 PEM form.
    ///
    /// # Errors
    /// [`SigningKeyError::Library`] when it cannot be encoded.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, SigningKeyError> {
        self.to_der()?.to_pem(PEM_LABEL, LineEnding::LF).map_err(|_| SigningKeyError::Library)
    }

    /// Reads a PKCS#8 PEM that is encrypted under a passphrase (PBES2, RFC 8018; AES, with scrypt or PBKDF2): some 0.2 s,
    /// and a second at most.
    ///
    /// # Errors
    /// [`SigningKeyError`] says what is wrong with it.
    pub fn from_encrypted_pem(pem: &str, passphrase: &Password) -> Result<Self, SigningKeyError> {
        let der = decode_pem(pem, ENCRYPTED_PEM_LABEL)?;
        // The scheme is a part of the structure: one that is unknown cannot be told from damage.
        let encrypted = EncryptedPrivateKeyInfoRef::try_from(der.as_bytes()).map_err(|_| SigningKeyError::Malformed)?;
        let scheme = encrypted.encryption_algorithm.pbes2().ok_or(SigningKeyError::Encryption)?;
        if !is_affordable(&scheme.kdf) {
            return Err(SigningKeyError::Encryption);
        }
        let der = encrypted.decrypt(passphrase.expose()).map_err(|_| SigningKeyError::Passphrase)?;
        let key = ed25519_dalek::SigningKey::from_pkcs8_der(der.as_bytes());
        key.map(Self::new).map_err(|_| SigningKeyError::Passphrase)
    }

    /// The PKCS#8 PEM form, encrypted under a passphrase (PBES2, scrypt, AES-256-CBC): `openssl pkey` reads it. Some 0.2 s.
    ///
    /// # Errors
    /// [`SigningKeyError::Library`] when it cannot be encoded.
    pub fn to_encrypted_pem(&self, passphrase: &Password) -> Result<Zeroizing<String>, SigningKeyError> {
        let refused = |_| SigningKeyError::Library;
        let scheme = pbes2::Parameters {
            kdf: Kdf::Scrypt(ScryptParams {
                salt: Salt::new(rand::random::<[u8; 16]>()).map_err(|_| SigningKeyError::Library)?,
                cost_parameter: SCRYPT_N,
                block_size: SCRYPT_R,
                parallelization: SCRYPT_P,
                key_length: None,
            }),
            encryption: pbes2::EncryptionScheme::Aes256Cbc { iv: rand::random() },
        };
        let der = self.to_der()?;
        let key = PrivateKeyInfoRef::try_from(der.as_bytes()).map_err(|_| SigningKeyError::Library)?;
        let encrypted = key.encrypt_with_params(scheme, passphrase.expose()).map_err(refused)?;
        encrypted.to_pem(ENCRYPTED_PEM_LABEL, LineEnding::LF).map_err(|_| SigningKeyError::Library)
    }

    /// PKCS#8 without the public key, whose field older programs do not know.
    fn to_der(&self) -> Result<SecretDocument, SigningKeyError> {
        let key = KeypairBytes { secret_key: self.secret.to_bytes(), public_key: None };
        key.to_pkcs8_der().map_err(|_| SigningKeyError::Library)
    }
}

fn decode_pem(pem: &str, label: &str) -> Result<SecretDocument, SigningKeyError> {
    if pem.len() > MAX_PEM {
        return Err(SigningKeyError::Malformed);
    }
    match SecretDocument::from_pem(pem.trim()) {
        Ok((found, der)) if found == label => Ok(der),
        _ => Err(SigningKeyError::Malformed),
    }
}

fn is_affordable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Scrypt(scrypt) => {
            let [n, r, p] = [scrypt.cost_parameter, scrypt.block_size.into(), scrypt.parallelization.into()];
            // The library takes it for granted that N is a power of two, and panics at 0.
            n.is_power_of_two()
                && n.saturating_mul(r) <= MAX_SCRYPT_TABLE
                && r.saturating_mul(p) <= MAX_SCRYPT_LANES
                && n.saturating_mul(r).saturating_mul(p) <= MAX_SCRYPT_WORK
        }
        Kdf::Pbkdf2(pbkdf2) => (1..=MAX_PBKDF2_ROUNDS).contains(&pbkdf2.iteration_count),
        _ => false,
    }
}

/// Bytes that are no public key, or none that may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadVerifyingKey;

impl fmt::Display for BadVerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not an Ed25519 public key")
    }
}

impl std::error::Error for BadVerifyingKey {}

/// A checked public Ed25519 key: canonical, and not of small order. Compared by its 32 bytes; prints as their base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Checks a key.
    ///
    /// # Errors
    /// [`BadVerifyingKey`] when it is no point of the curve, not in its canonical form, or of small order: then one
    /// signature fits many messages.
    pub fn parse(key: &Ed25519Key) -> Result<Self, BadVerifyingKey> {
        let parsed = ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| BadVerifyingKey)?;
        let canonical = parsed.to_edwards().compress().as_bytes() == key.as_bytes();
        if canonical && !parsed.is_weak() { Ok(Self(parsed)) } else { Err(BadVerifyingKey) }
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> Ed25519Key {
        Ed25519Key(self.0.to_bytes())
    }

    /// The realm of the server whose key this is.
    pub fn realm(&self) -> Realm {
        Realm(self.0.to_bytes())
    }

    /// SHA-256 over the key's DER SubjectPublicKeyInfo (RFC 8410), as people read it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[SPKI_PREFIX, self.0.as_bytes()].concat())
    }

    /// Whether this key signed the message.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
        self.0.verify_strict(message, &signature).is_ok()
    }
}

impl PartialOrd for VerifyingKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for VerifyingKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_bytes().cmp(other.0.as_bytes())
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.bytes(), f)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.bytes(), f)
    }
}

impl serde::Serialize for VerifyingKey {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.bytes().serialize(to)
    }
}

impl<'de> serde::Deserialize<'de> for VerifyingKey {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&Ed25519Key::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
