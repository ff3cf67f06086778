//! Values of a fixed length: on the wire and on the screen they are standard base64, padded and canonical.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::sha256;

/// A text that is not the canonical base64 of a value of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadBase64 {
    /// How many bytes the value has.
    pub len: usize,
}

impl fmt::Display for BadBase64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the base64 of {} bytes", self.len)
    }
}

impl std::error::Error for BadBase64 {}

/// Decodes a text that has one form only: standard alphabet, padded, unused bits zero.
fn decode<const N: usize>(text: &str) -> Result<[u8; N], BadBase64> {
    if text.len() != N.div_ceil(3) * 4 {
        return Err(BadBase64 { len: N }); // before memory is taken for it
    }
    STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(BadBase64 { len: N })
}

macro_rules! value {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Its length in bytes.
            pub const LEN: usize = $len;

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Its one base64 form.
            pub fn to_base64(&self) -> String {
                STANDARD.encode(self.0)
            }

            /// Reads its one base64 form.
            ///
            /// # Errors
            /// [`BadBase64`] for any other text, also for one that other readers would take.
            pub fn from_base64(text: &str) -> Result<Self, BadBase64> {
                decode(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.to_base64())
            }
        }

        /// The first four bytes, which is enough to tell values apart in a log.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let [a, b, c, d, ..] = self.0;
                write!(f, concat!(stringify!($name), "({:02x}{:02x}{:02x}{:02x}…)"), a, b, c, d)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.to_base64())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str(Base64Visitor).map(Self)
            }
        }
    };
}

/// Reads a base64 text of `N` bytes, borrowed or not.
struct Base64Visitor<const N: usize>;

impl<const N: usize> serde::de::Visitor<'_> for Base64Visitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the base64 of {N} bytes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<[u8; N], E> {
        decode(text).map_err(E::custom)
    }
}

value!(
    /// What names a server: its Ed25519 public key; of a server that speaks the legacy wire alone, [`Realm::of_certificate`].
    Realm, 32
);
value!(
    /// An Ed25519 public key as it came, unchecked: `crypto::VerifyingKey` is the checked one.
    Ed25519Key, 32
);
value!(
    /// An Ed25519 signature as it came, unchecked.
    Signature, 64
);
value!(
    /// SHA-256 over a [`bundle`](super::bundle): names an account's signing key and a device's RSA key together.
    BundleHash, 32
);
value!(
    /// SHA-256 over the DER SubjectPublicKeyInfo of a legacy member's RSA key.
    KeyHash, 32
);
value!(
    /// Drawn at each start of a client; the server draws one for a legacy session.
    RunId, 16
);
value!(
    /// Drawn when a room is made, so that a room of the same name is seen to be another.
    RoomId, 16
);
value!(
    /// Drawn for each room at each start of the server, so that its log never starts twice in one way.
    LogNonce, 16
);
value!(
    /// L(n): the hash over a room's log up to its event n.
    LogHash, 32
);
value!(
    /// The hash over who is in a room.
    RosterHash, 32
);
value!(
    /// The hash of one roster entry, as the roster's hash takes it.
    LeafHash, 32
);
value!(
    /// The hash of one joining or leaving.
    ChangeHash, 32
);
value!(
    /// The hash over all that joined and left in one event.
    ChangesHash, 32
);
value!(
    /// SHA-256 over `encrypted_message` exactly as sent.
    MessageHash, 32
);
value!(
    /// The hash over all readers of a direct message.
    ReadersHash, 32
);
value!(
    /// What a Fernet key was committed to: Fernet itself does not commit to the half of its key that encrypts.
    Commitment, 32
);
value!(
    /// What tells a chain key from another without giving it away.
    GrantCheck, 32
);

impl Realm {
    /// The realm of a server that speaks the legacy wire alone: SHA-256 over its certificate's SubjectPublicKeyInfo (DER).
    pub fn of_certificate(spki: &[u8]) -> Self {
        Self(sha256(spki))
    }
}

impl BundleHash {
    /// The hash of a [`bundle`](super::bundle)'s bytes.
    pub fn of(bundle: &[u8]) -> Self {
        Self(sha256(bundle))
    }
}

impl KeyHash {
    /// The hash of an RSA key's SubjectPublicKeyInfo (DER, canonical).
    pub fn of(spki: &[u8]) -> Self {
        Self(sha256(spki))
    }
}

impl MessageHash {
    /// The hash of an encrypted message, exactly as sent.
    pub fn of(encrypted_message: &str) -> Self {
        Self(sha256(encrypted_message.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_text_and_survives_it() {
        let run = RunId(*b"0123456789abcdef");
        let text = run.to_base64();
        assert_eq!(text, "MDEyMzQ1Njc4OWFiY2RlZg==");
        assert_eq!(RunId::from_base64(&text), Ok(run));
        assert_eq!(run.to_string(), text);
        assert_eq!(serde_json::to_string(&run).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<RunId>(&format!("\"{text}\"")).unwrap(), run);
        assert_eq!(serde_json::from_str::<RunId>(&format!("\"\\u004d{}\"", &text[1..])).unwrap(), run); // not borrowed
        assert_eq!(format!("{run:?}"), "RunId(30313233…)");
    }

    #[test]
    fn any_other_text_is_refused() {
        for bad in [
            "",
            "MDEyMzQ1Njc4OWFiY2RlZg",       // no padding
            "MDEyMzQ1Njc4OWFiY2RlZh==",     // unused bits
            "MDEyMzQ1Njc4OWFiY2RlZg==\n",   // a line end
            " MDEyMzQ1Njc4OWFiY2RlZg==",    // a space
            "MDEyMzQ1Njc4OWFiY2RlZ2c=",     // 17 bytes in as many characters
            "MDEyMzQ1Njc4OWFiY2Rl",         // 15 bytes
            "____________________________", // another alphabet
            "MDEyMzQ1Njc4OWFiY2R-Zg==",     // the same, as long as it should be
        ] {
            assert_eq!(RunId::from_base64(bad), Err(BadBase64 { len: 16 }), "{bad:?}");
        }
        assert!(serde_json::from_str::<RunId>("17").is_err());
        assert!(serde_json::from_str::<Signature>("\"AAAA\"").unwrap_err().to_string().contains("64 bytes"));
    }
}
