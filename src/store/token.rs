//! Fernet tokens as the files hold them: in one spelling only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use zeroize::Zeroizing;

use crate::crypto::FernetKey;

/// Whether this character occurs in a token.
pub(super) fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=')
}

/// Opens a token; `None` when it does not authenticate, or is spelled as no program spells it.
///
/// The crate overlooks missing and surplus padding. A file in which some got lost is damaged all the same.
pub(super) fn open(key: &FernetKey, token: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let token = str::from_utf8(token).ok()?;
    let (_, end) = token.split_at_checked(token.len().checked_sub(4)?)?;
    // Padding can only be wrong in the last four characters.
    if !token.len().is_multiple_of(4) || URL_SAFE.decode(end).is_err() {
        return None;
    }
    key.open(token).ok()
}
