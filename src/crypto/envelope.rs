//! The hybrid envelope of a chat message: a fresh Fernet key a message, wrapped for each reader.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::crypto::{FernetKey, KeyError, PrivateKey, PublicKey};

/// A sealed text whose key has not been given to anyone yet.
pub struct Sealed {
    key: FernetKey,
    /// The Fernet token.
    pub token: String,
}

/// Seals `text` under a fresh key; the token bears `now`, in seconds since 1970.
pub fn seal(text: &str, now: u64) -> Sealed {
    let key = FernetKey::generate();
    let token = key.seal(text.as_bytes(), now);
    Sealed { key, token }
}

impl Sealed {
    /// The entry for one reader: standard base64 of RSA-OAEP over the key's 44-character form.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library refuses, which no checked key makes it do.
    pub fn wrap_for(&self, reader: &PublicKey) -> Result<String, KeyError> {
        Ok(STANDARD.encode(reader.wrap(self.key.expose().as_bytes())?))
    }
}

/// Opens a message with its reader's entry. `None` whatever is wrong: the network learns nothing from the difference.
pub fn open(token: &str, wrapped_key: &str, reader: &PrivateKey) -> Option<Zeroizing<String>> {
    let key = reader.unwrap(&STANDARD.decode(wrapped_key).ok()?)?;
    let text = FernetKey::parse(std::str::from_utf8(&key).ok()?)?.open(token).ok()?;
    Some(Zeroizing::new(String::from_utf8_lossy(&text).into_owned()))
}

/// Length of a Fernet token over `plain` bytes: 25 bytes of header and IV, padded blocks, 32 bytes of MAC, in base64.
pub const fn token_len(plain: usize) -> usize {
    let binary = 25 + (plain / 16 + 1) * 16 + 32;
    binary.div_ceil(3) * 4
}

/// Length of an entry for a key of `bits` bits.
pub const fn entry_len(bits: usize) -> usize {
    bits.div_ceil(8).div_ceil(3) * 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static KEYS: LazyLock<[PrivateKey; 2]> = LazyLock::new(|| [(); 2].map(|()| PrivateKey::generate().unwrap()));

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn only_the_reader_opens_what_was_sealed_for_it(text in ".{0,300}", now in 0u64..u64::MAX / 2) {
            let [bob, eve] = &*KEYS;
            let sealed = seal(&text, now);
            prop_assert_eq!(sealed.token.len(), token_len(text.len()));
            let entry = sealed.wrap_for(bob.public()).unwrap();
            prop_assert_eq!(entry.len(), entry_len(2048));
            let opened = open(&sealed.token, &entry, bob);
            prop_assert_eq!(opened.as_ref().map(|t| t.as_str()), Some(text.as_str()));
            prop_assert!(open(&sealed.token, &entry, eve).is_none());
        }
    }
}
