//! Fingerprints of public keys.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const PREFIX: &str = "SHA256:";

/// SHA-256 over a DER SubjectPublicKeyInfo; prints as `SHA256:` and standard base64 (44 characters, padded), which is what
/// `openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | openssl base64` gives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a DER SubjectPublicKeyInfo.
    pub fn of(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadFingerprint;

impl fmt::Display for BadFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fingerprint is SHA256: and 44 characters of base64")
    }
}

impl std::error::Error for BadFingerprint {}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    /// Takes the form that is printed; the prefix and the padding may be left out, as people copy them.
    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let digits = text.strip_prefix(PREFIX).unwrap_or(text).trim_end_matches('=');
        let bytes = STANDARD.decode(format!("{digits}=")).map_err(|_| BadFingerprint)?;
        bytes.try_into().map(Self).map_err(|_| BadFingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_survives_printing() {
        let print = Fingerprint::of(b"key");
        let text = print.to_string();
        assert_eq!(text.len(), "SHA256:".len() + 44);
        assert_eq!(text.parse(), Ok(print));
        assert_eq!(text.trim_start_matches("SHA256:").trim_end_matches('=').parse(), Ok(print));
        for bad in ["", "SHA256:", "SHA256:AAAA", "MD5:00", &text[..40]] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(BadFingerprint), "{bad}");
        }
    }
}
