//! RSA keys of the clients: their files, their checks, and the wrapping of message keys (RSA-OAEP, RFC 8017, section 7.1).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use zeroize::Zeroizing;

use crate::crypto::Fingerprint;

/// Sizes of modulus that are taken, in bits.
const SIZES: std::ops::RangeInclusive<u32> = 2048..=4096;

/// Longest PEM that is looked at: a 4096-bit key takes some 800 bytes, a private one some 3,300.
const MAX_PEM: usize = 16 * 1024;

/// Why a key is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The text is no PEM key of the kind that is asked for.
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
            Self::Malformed => "it is not an RSA key in PEM",
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
            fingerprint: Fingerprint::of(der.as_bytes()),
            oaep: Arc::new(OaepPublicEncryptingKey::new(oaep).map_err(|_| KeyError::Library)?),
        })
    }

    /// The canonical PEM form: 64 characters a line, one newline at the end.
    pub fn pem(&self) -> &Arc<str> {
        &self.pem
    }

    /// SHA-256 over the SubjectPublicKeyInfo.
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
    fn what_is_no_good_key_is_refused_in_words() {
        assert_eq!(PublicKey::from_pem("hello").unwrap_err(), KeyError::Malformed);
        assert_eq!(PublicKey::from_pem(&"A".repeat(1 << 20)).unwrap_err(), KeyError::Malformed);
        let short = include_str!("../../tests/data/rsa-1024.pub");
        assert_eq!(PublicKey::from_pem(short).unwrap_err(), KeyError::Size);
        let exponent = include_str!("../../tests/data/rsa-2048-e3.pub");
        assert_eq!(PublicKey::from_pem(exponent).unwrap_err(), KeyError::Exponent);
    }
}
