//! The hybrid envelope of a chat message: a Fernet key a message, wrapped for each reader.
//!
//! What is wrapped for a reader is 32 bytes, a Fernet key or a chain key: standard base64 of RSA-OAEP (SHA-256 for hash
//! and MGF1, empty label) over their 44 characters of URL-safe base64, as the Python client has it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use zeroize::Zeroizing;

use crate::crypto::{FernetKey, KeyError, PrivateKey, PublicKey};
use crate::transcript::Commitment;

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
    /// What binds the text to its key.
    pub fn commitment(&self) -> Commitment {
        self.key.commitment()
    }

    /// The entry for one reader.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library refuses, which no checked key makes it do.
    pub fn wrap_for(&self, reader: &PublicKey) -> Result<String, KeyError> {
        wrap(self.key.expose_raw(), reader)
    }
}

/// Wraps a key of 32 bytes for a reader; [`entry_len`] characters.
///
/// # Errors
/// [`KeyError::Library`] when the library refuses, which no checked key makes it do.
pub fn wrap(key: &[u8; 32], reader: &PublicKey) -> Result<String, KeyError> {
    let text = Zeroizing::new(URL_SAFE.encode(key));
    Ok(STANDARD.encode(reader.wrap(text.as_bytes())?))
}

/// Unwraps what [`wrap`] made. `None` for anything else, whatever is wrong with it.
pub fn unwrap(wrapped: &str, reader: &PrivateKey) -> Option<Zeroizing<[u8; 32]>> {
    let text = reader.unwrap(&STANDARD.decode(wrapped).ok()?)?;
    let key = Zeroizing::new(URL_SAFE.decode(&*text).ok()?);
    Some(Zeroizing::new(key.as_slice().try_into().ok()?))
}

/// Opens a message with its reader's entry. `None` whatever is wrong: the network learns nothing from the difference.
pub fn open(token: &str, wrapped_key: &str, reader: &PrivateKey) -> Option<Zeroizing<String>> {
    let key = reader.unwrap(&STANDARD.decode(wrapped_key).ok()?)?;
    let text = FernetKey::parse(std::str::from_utf8(&key).ok()?)?.open(token).ok()?;
    Some(Zeroizing::new(String::from_utf8_lossy(&text).into_owned()))
}

/// A padded text's length is a multiple of this, so that its token tells less about it.
const PADDING: usize = 128;

/// Fills a text with zero bytes up to the next multiple of 128; one that is a multiple already gets none.
pub fn pad(text: &str) -> Zeroizing<String> {
    let len = text.len().next_multiple_of(PADDING);
    let mut padded = Zeroizing::new(String::with_capacity(len));
    padded.push_str(text);
    padded.extend(std::iter::repeat_n('\0', len.saturating_sub(text.len())));
    padded
}

/// Takes the zero bytes at the end away, whether [`pad`] put them there or not.
pub fn unpad(text: &str) -> &str {
    text.trim_end_matches('\0')
}

/// Opens a signed message with its key, and takes the padding away. `None` when the key does not open it or it is no UTF-8.
pub fn open_with(key: &FernetKey, token: &str) -> Option<Zeroizing<String>> {
    let text = key.open(token).ok()?;
    Some(Zeroizing::new(unpad(std::str::from_utf8(&text).ok()?).to_owned()))
}

/// The time that a token bears, in seconds since 1970; unproved until the token has been opened. `None` when it is no token.
pub fn timestamp(token: &str) -> Option<u64> {
    // Twelve characters are nine bytes: the version, and the time as 64 bits, big-endian.
    match *URL_SAFE.decode(token.get(..12)?).ok()? {
        [0x80, ref time @ ..] => Some(u64::from_be_bytes(time.try_into().ok()?)),
        _ => None,
    }
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
            prop_assert_eq!(timestamp(&sealed.token), Some(now));
            let raw = unwrap(&entry, bob).unwrap();
            let opened = open_with(&FernetKey::from_raw(&raw), &sealed.token);
            prop_assert_eq!(opened.as_ref().map(|t| t.as_str()), Some(unpad(&text)));
            prop_assert!(unwrap(&entry, eve).is_none());
        }

        #[test]
        fn padding_hides_the_length_and_comes_off(text in "[^\0]{0,300}") {
            let padded = pad(&text);
            prop_assert_eq!(padded.len() % 128, 0);
            prop_assert!(padded.len() < text.len() + 128);
            prop_assert_eq!(unpad(&padded), text.as_str());
        }

        #[test]
        fn any_text_may_be_asked_for_its_time(text in ".{0,40}") {
            let _ = timestamp(&text);
        }
    }

    #[test]
    fn only_a_text_that_is_no_multiple_is_padded() {
        for (len, padded) in [(0, 0), (1, 128), (127, 128), (128, 128), (129, 256)] {
            assert_eq!(pad(&"x".repeat(len)).len(), padded, "{len}");
        }
    }

    #[test]
    fn what_is_no_wrapped_key_of_32_bytes_is_refused() {
        let [bob, _] = &*KEYS;
        let wrapped = |text: &str| STANDARD.encode(bob.public().wrap(text.as_bytes()).unwrap());
        let good = URL_SAFE.encode([0xfb; 32]);
        assert_eq!(**unwrap(&wrapped(&good), bob).as_ref().unwrap(), [0xfb; 32]);
        let loose = good.replace("s=", "t="); // unused bits
        for bad in [
            &good[..43],
            &URL_SAFE.encode([1; 31]),
            &URL_SAFE.encode([1; 33]),
            &STANDARD.encode([0xfb; 32]),
            "",
            &loose,
        ] {
            assert!(unwrap(&wrapped(bad), bob).is_none(), "{bad}");
        }
        assert!(unwrap("", bob).is_none() && unwrap("?", bob).is_none());
    }

    #[test]
    fn a_token_that_is_none_has_no_time_and_bytes_that_are_no_text_do_not_open() {
        assert_eq!(timestamp("gAAAAABlU_EA"), Some(1_700_000_000));
        for bad in ["", "gAAAAABlU_E", "gQAAAABlU_EA", "gAAAAABlU+EA", "ééééééé"] {
            assert_eq!(timestamp(bad), None, "{bad}");
        }
        let key = FernetKey::generate();
        assert!(open_with(&key, &key.seal(b"\xff", 0)).is_none());
        assert!(open_with(&FernetKey::generate(), &key.seal(b"x", 0)).is_none());
    }
}
