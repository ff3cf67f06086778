//! RSA keys of the clients: their files, their checks, the wrapping of message keys (RSA-OAEP, RFC 8017, section 7.1) and
//! the signatures on bundles (RSASSA-PSS, section 8.1).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, UnparsedPublicKey};
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use zeroize::Zeroizing;

use crate::crypto::Fingerprint;
use crate::transcript::KeyHash;

/// Sizes of modulus that are taken, in bits.
const SIZES: std::ops::RangeInclusive<u32> = 2048..=4096;

/// Longest PEM that is looked at: a 4096-bit key takes some 800 bytes, a private one some 3,300.
const MAX_PEM: usize = 16 * 1024;

/// Longest SubjectPublicKeyInfo that is looked at, in bytes: that of a 4096-bit key takes 550.
const MAX_SPKI: usize = 1024;

/// Why a key is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// It is no key of the kind and in the form that is asked for.
    Malformed,
    /// The modulus has fewer than 2048 or more than 4096 bits.
    Size,
    /// The public exponent is not 65537.
    Exponent,
    /// The cryptographic library refused the key, or could not make one.
    Library,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not an RSA key in a form that is known",
            Self::Size => "it does not have 2048 to 4096 bits",
            Self::Exponent => "its public exponent is not 65537",
            Self::Library => "the cryptographic library refuses it",
        })
    }
}

impl std::error::Error for KeyError {}

/// A checked public key: 2048 to 4096 bits, e = 65537.
#[derive(Clone)]
pub struct PublicKey {
    pem: Arc<str>,
    spki: Arc<[u8]>,
    fingerprint: Fingerprint,
    oaep: Arc<OaepPublicEncryptingKey>,
}

impl PublicKey {
    /// Reads and checks a PEM SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.len() > MAX_PEM {
            return Err(KeyError::Malformed);
        }
        let key = rsa::PublicKey::from_public_key_pem(pem.trim()).map_err(|_| KeyError::Malformed)?;
        Self::checked(&key)
    }

    /// Reads and checks a DER SubjectPublicKeyInfo, which must be the one that [`Self::spki_der`] gives: a key has one hash.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, KeyError> {
        if spki.len() > MAX_SPKI {
            return Err(KeyError::Malformed);
        }
        let key = rsa::PublicKey::from_public_key_der(spki).map_err(|_| KeyError::Malformed)?;
        let key = Self::checked(&key)?;
        if *key.spki == *spki { Ok(key) } else { Err(KeyError::Malformed) }
    }

    fn checked(key: &rsa::PublicKey) -> Result<Self, KeyError> {
        if !SIZES.contains(&key.n().bit_width()) {
            return Err(KeyError::Size);
        }
        if key.e() != &rsa::BoxedUint::from(65_537u64) {
            return Err(KeyError::Exponent);
        }
        let der = key.to_public_key_der().map_err(|_| KeyError::Malformed)?;
        let pem = key.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Malformed)?;
        let oaep = PublicEncryptingKey::from_der(der.as_bytes()).map_err(|_| KeyError::Library)?;
        Ok(Self {
            pem: pem.into(),
            spki: der.as_bytes().into(),
            fingerprint: Fingerprint::of(der.as_bytes()),
            oaep: Arc::new(OaepPublicEncryptingKey::new(oaep).map_err(|_| KeyError::Library)?),
        })
    }

    /// The canonical PEM form: 64 characters a line, one newline at the end.
    pub fn pem(&self) -> &Arc<str> {
        &self.pem
    }

    /// The canonical DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &Arc<[u8]> {
        &self.spki
    }

    /// SHA-256 over the SubjectPublicKeyInfo, as rosters hash it.
    pub fn spki_hash(&self) -> KeyHash {
        KeyHash::of(&self.spki)
    }

    /// SHA-256 over the SubjectPublicKeyInfo, as people read it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Wraps a short secret (RSA-OAEP, SHA-256 for hash and MGF1, empty label); as long as the modulus.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the secret is longer than the modulus less 66 bytes.
    pub fn wrap(&self, secret: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut wrapped = vec![0; self.oaep.ciphertext_size()];
        let len = self.oaep.encrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut wrapped, None);
        let len = len.map_err(|_| KeyError::Library)?.len();
        wrapped.truncate(len);
        Ok(wrapped)
    }

    /// Whether this key signed the message (RSASSA-PSS, SHA-256 for hash and MGF1, 32 bytes of salt).
    pub fn verify_pss(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &*self.spki).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint)
    }
}

/// A private key. Never printed.
pub struct PrivateKey {
    pkcs1_pem: Zeroizing<String>,
    public: PublicKey,
    oaep: OaepPrivateDecryptingKey,
    pss: Box<KeyPair>,
}

impl PrivateKey {
    /// Makes an RSA-2048 key; takes a tenth of a second up to a few seconds.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library cannot make one.
    pub fn generate() -> Result<Self, KeyError> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| KeyError::Library)?;
        let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).map_err(|_| KeyError::Library)?;
        let key = rsa::PrivateKey::from_pkcs8_der(pkcs8.as_ref()).map_err(|_| KeyError::Malformed)?;
        Self::checked(&key)
    }

    /// Reads a private key in PEM, PKCS#1 (as the Python client writes it) or PKCS#8.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.len() > MAX_PEM {
            return Err(KeyError::Malformed);
        }
        let pem = pem.trim();
        let key = rsa::PrivateKey::from_pkcs1_pem(pem)
            .map_err(|_| ())
            .or_else(|()| rsa::PrivateKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Malformed))?;
        Self::checked(&key)
    }

    fn checked(key: &rsa::PrivateKey) -> Result<Self, KeyError> {
        let public = PublicKey::checked(&key.to_public_key())?;
        let pkcs8 = key.to_pkcs8_der().map_err(|_| KeyError::Malformed)?; // aws-lc-rs loads PKCS#8 alone
        let oaep = PrivateDecryptingKey::from_pkcs8(pkcs8.as_bytes()).map_err(|_| KeyError::Library)?;
        Ok(Self {
            pkcs1_pem: key.to_pkcs1_pem(LineEnding::LF).map_err(|_| KeyError::Malformed)?,
            public,
            oaep: OaepPrivateDecryptingKey::new(oaep).map_err(|_| KeyError::Library)?,
            pss: Box::new(KeyPair::from_pkcs8(pkcs8.as_bytes()).map_err(|_| KeyError::Library)?),
        })
    }

    /// The PKCS#1 PEM form, unencrypted, as the Python client keeps it.
    pub fn expose_pem(&self) -> &str {
        &self.pkcs1_pem
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Unwraps what [`PublicKey::wrap`] made. `None` for anything else, whatever is wrong with it.
    pub fn unwrap(&self, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut secret = Zeroizing::new(vec![0; self.oaep.min_output_size()]);
        let len = self.oaep.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut secret, None).ok()?.len();
        secret.truncate(len);
        Some(secret)
    }

    /// Signs a message for [`PublicKey::verify_pss`]; as long as the modulus, and another one each time.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library refuses, which no checked key makes it do.
    pub fn sign_pss(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.pss.public_modulus_len()];
        let signed = self.pss.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map(|()| signature).map_err(|_| KeyError::Library)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_files_and_wrap_for_each_other() {
        let key = PrivateKey::generate().unwrap();
        assert!(key.expose_pem().starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
        let again = PrivateKey::from_pem(key.expose_pem()).unwrap();
        let public = PublicKey::from_pem(again.public().pem()).unwrap();
        assert_eq!(public.fingerprint(), key.public().fingerprint());
        let wrapped = public.wrap(b"secret").unwrap();
        assert_eq!(wrapped.len(), 256);
        assert_eq!(&**key.unwrap(&wrapped).unwrap(), b"secret");
        assert!(PrivateKey::generate().unwrap().unwrap(&wrapped).is_none());
        assert!(key.unwrap(&wrapped[1..]).is_none());
    }

    /// What runs on aws-lc-rs is what the crate `rsa` does, in both directions.
    #[test]
    fn the_two_libraries_agree_on_oaep() {
        let key = PrivateKey::generate().unwrap();
        let other = rsa::PrivateKey::from_pkcs1_pem(key.expose_pem()).unwrap();
        let oaep = rsa::Oaep::<sha2::Sha256>::new;
        let wrapped = key.public().wrap(b"secret").unwrap();
        assert_eq!(other.decrypt(oaep(), &wrapped).unwrap(), b"secret");
        let mut rng = rand::rng();
        let wrapped = other.to_public_key().encrypt(&mut rng, oaep(), b"secret").unwrap();
        assert_eq!(&**key.unwrap(&wrapped).unwrap(), b"secret");
    }

    #[test]
    fn a_signature_holds_for_its_message_and_key_alone() {
        let (key, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let signature = key.sign_pss(b"message").unwrap();
        assert_eq!(signature.len(), 256);
        assert!(key.public().verify_pss(b"message", &signature));
        assert!(!key.public().verify_pss(b"massage", &signature));
        assert!(!other.public().verify_pss(b"message", &signature));
        assert!(!key.public().verify_pss(b"message", &signature[1..]));
        assert!(!key.public().verify_pss(b"message", b""));
        for i in 0..signature.len() {
            let mut changed = signature.clone();
            changed[i] ^= 1;
            assert!(!key.public().verify_pss(b"message", &changed), "{i}");
        }
    }

    /// What runs on aws-lc-rs is what the crate `rsa` does, and a salt of another length is refused.
    #[test]
    fn the_two_libraries_agree_on_pss() {
        use rsa::pss::{Pss, Signature, SigningKey, VerifyingKey};
        use rsa::signature::{RandomizedSigner, SignatureEncoding, Verifier};
        let key = PrivateKey::generate().unwrap();
        let other = rsa::PrivateKey::from_pkcs1_pem(key.expose_pem()).unwrap();
        let signature = key.sign_pss(b"message").unwrap();
        let verifier = VerifyingKey::<sha2::Sha256>::new(other.to_public_key());
        verifier.verify(b"message", &Signature::try_from(&signature[..]).unwrap()).unwrap();
        let mut rng = rand::rng();
        let signature = SigningKey::<sha2::Sha256>::new(other.clone()).sign_with_rng(&mut rng, b"message");
        assert!(key.public().verify_pss(b"message", &signature.to_bytes()));
        let digest = sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(b"message"));
        for (salt, taken) in [(0, false), (20, false), (32, true), (48, false)] {
            let padding = Pss::<sha2::Sha256>::new_with_salt(salt);
            let signature = other.sign_with_rng(&mut rng, padding, &digest).unwrap();
            assert_eq!(key.public().verify_pss(b"message", &signature), taken, "{salt}");
        }
    }

    #[test]
    fn only_the_canonical_der_of_a_key_is_taken() {
        let key = PublicKey::from_pem(include_str!("../../tests/data/alice.pub")).unwrap();
        let spki = key.spki_der().to_vec();
        let again = PublicKey::from_spki_der(&spki).unwrap();
        assert_eq!(again.pem(), key.pem());
        assert_eq!(again.spki_hash(), KeyHash::of(&spki));
        assert_eq!(format!("SHA256:{}", again.spki_hash()), key.fingerprint().to_string());
        let longer = [&spki[..], b"\0"].concat();
        let mut no_null = spki.clone(); // the algorithm's parameters must be NULL
        no_null.drain(17..19);
        (no_null[3], no_null[5]) = (no_null[3] - 2, no_null[5] - 2);
        for bad in [&spki[1..], &spki[..spki.len() - 1], &longer, &no_null, b"", &[0x30; 2048]] {
            assert_eq!(PublicKey::from_spki_der(bad).unwrap_err(), KeyError::Malformed);
        }
    }

    #[test]
    fn what_is_no_good_key_is_refused_in_words() {
        assert_eq!(PublicKey::from_pem("hello").unwrap_err(), KeyError::Malformed);
        assert_eq!(PublicKey::from_pem(&"A".repeat(1 << 20)).unwrap_err(), KeyError::Malformed);
        let short = include_str!("../../tests/data/rsa-1024.pub");
        assert_eq!(PublicKey::from_pem(short).unwrap_err(), KeyError::Size);
        let exponent = include_str!("../../tests/data/rsa-2048-e3.pub");
        assert_eq!(PublicKey::from_pem(exponent).unwrap_err(), KeyError::Exponent);
    }
}
