//! Fernet (github.com/fernet/spec, version 0x80): AES-128-CBC and HMAC-SHA256 over a timestamped token.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use fernet::Fernet;
use zeroize::Zeroizing;

/// A time for which no token is too far in the future: the crate refuses what is more than 60 s ahead, where Python
/// does not, and a clock that went back must not lock anyone out. (`u64::MAX` itself overflows in the crate.)
const NEVER_TOO_EARLY: u64 = u64::MAX - 60;

/// A token that this key does not open: damaged, cut short, or sealed with another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unopenable;

impl fmt::Display for Unopenable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is damaged or was sealed with another key")
    }
}

impl std::error::Error for Unopenable {}

/// A Fernet key: 32 bytes, carried as 44 characters of URL-safe base64.
#[derive(Clone)]
pub struct FernetKey {
    text: Zeroizing<String>,
    raw: Zeroizing<[u8; 32]>,
    fernet: Fernet,
}

impl FernetKey {
    /// Draws a key.
    pub fn generate() -> Self {
        Self::from_raw(&Zeroizing::new(rand::random()))
    }

    /// The key of these 32 bytes.
    pub fn from_raw(raw: &[u8; 32]) -> Self {
        match Self::parse(&Zeroizing::new(URL_SAFE.encode(raw))) {
            Some(key) => key,
            None => unreachable!("any 32 bytes in base64 are a key"),
        }
    }

    /// Reads the 44-character form; white space around it is ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let text = Zeroizing::new(text.trim().to_owned());
        let fernet = Fernet::new(&text)?;
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?);
        let raw = Zeroizing::new(decoded.as_slice().try_into().ok()?);
        Some(Self { text, raw, fernet })
    }

    /// The 32 bytes.
    pub fn expose_raw(&self) -> &[u8; 32] {
        &self.raw
    }

    /// The 44-character form.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Seals `data` in a token that bears `now`, in seconds since 1970.
    pub fn seal(&self, data: &[u8], now: u64) -> String {
        self.fernet.encrypt_at_time(data, now)
    }

    /// Opens a token, whatever time it bears.
    ///
    /// # Errors
    /// [`Unopenable`] when the token does not authenticate.
    pub fn open(&self, token: &str) -> Result<Zeroizing<Vec<u8>>, Unopenable> {
        let opened = self.fernet.decrypt_at_time(token, None, NEVER_TOO_EARLY);
        opened.map(Zeroizing::new).map_err(|_| Unopenable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_opens() {
        // generate.json of the specification.
        let key = FernetKey::parse("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\n").unwrap();
        let token =
            "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
        assert_eq!(&**key.open(token).unwrap(), b"hello");
    }

    #[test]
    fn a_key_is_its_bytes() {
        let key = FernetKey::from_raw(&[0xfb; 32]);
        assert_eq!(key.expose(), "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s=");
        assert_eq!(FernetKey::parse(key.expose()).unwrap().expose_raw(), &[0xfb; 32]);
        assert_ne!(FernetKey::generate().expose_raw(), FernetKey::generate().expose_raw());
    }

    #[test]
    fn the_clock_locks_nobody_out() {
        let key = FernetKey::generate();
        for time in [0, 1, 4_000_000_000, u64::MAX / 2] {
            assert_eq!(&**key.open(&key.seal(b"x", time)).unwrap(), b"x");
        }
    }

    #[test]
    fn a_changed_character_is_noticed() {
        let key = FernetKey::generate();
        let token = key.seal(b"some text", 1_700_000_000);
        for i in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character before the padding may carry unused bits; what decodes to the same bytes is the same token.
            if let Ok(opened) = key.open(&changed) {
                assert_eq!(&**opened, b"some text");
            }
        }
        assert_eq!(key.open("").unwrap_err(), Unopenable);
        assert_eq!(key.open("gAAA").unwrap_err(), Unopenable);
    }
}
