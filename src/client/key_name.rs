//! How files and people name a key.

use std::fmt;
use std::str::FromStr;

use crate::crypto::{Fingerprint, VerifyingKey};
use crate::transcript::{Ed25519Key, Realm};

const ED25519: &str = "ed25519:";
const SHA256: &str = "SHA256:";

/// The name of a key: an Ed25519 key is its own name, other keys are named by their fingerprint.
///
/// It names realms, too: a server that speaks the modern wire by the key that signs its hello, one that speaks the legacy wire
/// alone by the key of its certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyName {
    /// `ed25519:` and the base64 of the 32 bytes.
    Ed25519(Ed25519Key),
    /// `SHA256:` and the base64 of the fingerprint.
    Sha256(Fingerprint),
}

impl KeyName {
    /// Whether it names a signing key: as the key itself, or by the fingerprint.
    pub fn names(&self, key: &VerifyingKey) -> bool {
        match self {
            Self::Ed25519(named) => *named == key.bytes(),
            Self::Sha256(print) => key.fingerprint() == *print,
        }
    }
}

impl From<Ed25519Key> for KeyName {
    fn from(key: Ed25519Key) -> Self {
        Self::Ed25519(key)
    }
}

impl From<Realm> for KeyName {
    fn from(realm: Realm) -> Self {
        Self::Ed25519(Ed25519Key(realm.0))
    }
}

impl From<Fingerprint> for KeyName {
    fn from(print: Fingerprint) -> Self {
        Self::Sha256(print)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519(key) => write!(f, "{ED25519}{key}"),
            Self::Sha256(print) => print.fmt(f),
        }
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that names no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKeyName;

impl fmt::Display for BadKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key is named by ed25519: or SHA256: and 44 characters of base64")
    }
}

impl std::error::Error for BadKeyName {}

impl FromStr for KeyName {
    type Err = BadKeyName;

    /// Takes the form that is printed; the padding may be left out, as people copy it.
    fn from_str(text: &str) -> Result<Self, BadKeyName> {
        if let Some(digits) = text.strip_prefix(ED25519) {
            let key = Ed25519Key::from_base64(&format!("{}=", digits.trim_end_matches('=')));
            return key.map(Self::Ed25519).map_err(|_| BadKeyName);
        }
        if !text.starts_with(SHA256) {
            return Err(BadKeyName); // without it, nobody knows which of the two is meant
        }
        text.parse().map(Self::Sha256).map_err(|_| BadKeyName)
    }
}

/// Reads the name of a realm that speaks the modern wire.
///
/// # Errors
/// [`BadKeyName`] for anything but `ed25519:` and the base64 of 32 bytes.
pub fn modern_realm(text: &str) -> Result<Realm, BadKeyName> {
    match text.parse()? {
        KeyName::Ed25519(Ed25519Key(key)) => Ok(Realm(key)),
        KeyName::Sha256(_) => Err(BadKeyName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;

    #[test]
    fn a_signing_key_goes_by_two_names() {
        let (one, other) =
            (SigningKey::from_seed(&[1; 32]).verifying_key(), SigningKey::from_seed(&[2; 32]).verifying_key());
        for name in [KeyName::from(one.bytes()), one.fingerprint().into()] {
            assert!(name.names(&one) && !name.names(&other), "{name}");
        }
    }

    #[test]
    fn a_key_survives_its_name_and_is_not_taken_for_one_of_another_kind() {
        let realm = Realm([7; 32]);
        let (ed25519, sha256) = (KeyName::from(realm), KeyName::from(Fingerprint::of(b"key")));
        for name in [ed25519, sha256] {
            let text = name.to_string();
            assert_eq!(text.parse(), Ok(name));
            assert_eq!(text.trim_end_matches('=').parse(), Ok(name));
            assert!(text.rsplit(':').next().unwrap().parse::<KeyName>().is_err(), "it has its prefix");
            assert!(text[..text.len() - 4].parse::<KeyName>().is_err());
        }
        assert_eq!(ed25519.to_string(), "ed25519:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
        assert_eq!(modern_realm(&ed25519.to_string()), Ok(realm));
        assert_eq!(modern_realm(&sha256.to_string()), Err(BadKeyName));
        for bad in ["", "ed25519:", "SHA256:", "ed25519:====", "rsa:AAAA"] {
            assert_eq!(bad.parse::<KeyName>(), Err(BadKeyName), "{bad}");
        }
    }
}
