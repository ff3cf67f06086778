//! The bytes of everything that is signed or hashed on the modern wire; `docs/PROTOCOL.md` has the table.
//!
//! What is signed or hashed is never JSON but [`enc`]: each field as a 32-bit big-endian length and its bytes. So no two
//! lists of fields share an encoding, and none depends on how a line happened to be written. Integers are 8 bytes,
//! big-endian; names are UTF-8 as stored; labels are ASCII behind `secure-chat/1 `, and no label serves two ends.
//!
//! Nothing here holds a secret, and nothing here signs: keys live in `crypto`.

mod log;
mod roster;
mod signed;
mod value;

use sha2::{Digest, Sha256};

pub use self::log::{Event, Position, log_start, log_step};
pub use self::roster::{EntryKey, RosterEntry, changes_hash, roster_hash};
pub use self::signed::{Act, Author, Direct, Grant, Kind, Statement, UnknownVerb, Verb, bundle, hello, readers_hash};
pub use self::value::{
    BadBase64, BundleHash, ChangeHash, ChangesHash, Commitment, Ed25519Key, GrantCheck, KeyHash, LeafHash, LogHash,
    LogNonce, MessageHash, ReadersHash, Realm, RoomId, RosterHash, RunId, Signature,
};

/// The encoding of a list of fields: each as a 32-bit big-endian length and its bytes.
pub fn enc(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(fields.iter().map(|field| field.len() + 4).sum());
    for field in fields {
        // No field comes near 4 GiB: what arrives is bounded by the length of a line.
        bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

/// A label as it is encoded.
macro_rules! label {
    ($text:literal) => {
        concat!("secure-chat/1 ", $text).as_bytes()
    };
}
use label;

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The hash over many hashes, one behind the other.
fn sha256_of_all<'a>(start: &[u8], hashes: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut sum = Sha256::new_with_prefix(start);
    hashes.for_each(|hash| sum.update(hash));
    sum.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart_by_their_lengths() {
        assert_eq!(enc(&[b"ab", b"", b"c"]), b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c");
        assert_ne!(enc(&[b"ab", b"c"]), enc(&[b"a", b"bc"]));
        assert_ne!(enc(&[b"ab"]), enc(&[b"ab", b""]));
        assert_eq!(enc(&[]), b"");
        assert_eq!(label!("log"), b"secure-chat/1 log");
    }
}
