//! Safety numbers: what two people compare to know that nobody stands between them.

use std::fmt;

use sha2::{Digest, Sha512};

use crate::names::UserName;
use crate::transcript::{Ed25519Key, Realm};

/// How often SHA-512 is run for a half. The first run counts: as in libsignal, it is over version, key, identifier and key;
/// each further one is over the hash before it and the key.
const ITERATIONS: u32 = 5_200;

/// The version of the construction, as its hash has it.
const VERSION: u16 = 0;

/// 60 digits that are the same for both, whoever asks: the sorted halves of the two accounts, in libsignal's published
/// numeric construction. Prints in twelve groups of five.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyNumber(String);

impl SafetyNumber {
    /// The number of two accounts of one server, each with its signing key: some 5 ms.
    pub fn of(realm: &Realm, one: (&UserName, &Ed25519Key), other: (&UserName, &Ed25519Key)) -> Self {
        let half = |(name, key): (&UserName, &Ed25519Key)| {
            half(key.as_bytes(), &[realm.as_bytes(), name.as_str().as_bytes()].concat())
        };
        let (one, other) = (half(one), half(other));
        Self(if one <= other { one + &other } else { other + &one })
    }

    /// The 60 digits in one piece.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, digit) in self.0.chars().enumerate() {
            let gap = if i > 0 && i % 5 == 0 { " " } else { "" };
            write!(f, "{gap}{digit}")?;
        }
        Ok(())
    }
}

/// 30 digits for a key and who has it: six times five bytes of the hash, each modulo 100,000.
fn half(key: &[u8], identifier: &[u8]) -> String {
    let start = Sha512::new_with_prefix(VERSION.to_be_bytes()).chain_update(key).chain_update(identifier);
    let first = start.chain_update(key).finalize();
    let hash = (1..ITERATIONS).fold(first, |hash, _| Sha512::new_with_prefix(hash).chain_update(key).finalize());
    let number = |chunk: &[u8]| chunk.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)) % 100_000;
    hash.chunks_exact(5).take(6).map(|chunk| format!("{:05}", number(chunk))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_halves_are_those_of_the_published_vector() {
        // The test vector of libsignal's numeric fingerprints (5,200 iterations), whose keys bear a byte for their type.
        let alice = bytes("0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868");
        let bob = bytes("05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b");
        assert_eq!(half(&alice, b"+14152222222"), "300354477692869396892869876765");
        assert_eq!(half(&bob, b"+14153333333"), "458257569162576843440918079131");
    }

    #[test]
    fn both_see_one_number_and_it_changes_with_everything() {
        let (realm, alice, bob) = (Realm([1; 32]), UserName::new("alice"), UserName::new("bob"));
        let (key, other) = (Ed25519Key([2; 32]), Ed25519Key([3; 32]));
        let number = SafetyNumber::of(&realm, (&alice, &key), (&bob, &other));
        assert_eq!(SafetyNumber::of(&realm, (&bob, &other), (&alice, &key)), number);
        assert_ne!(SafetyNumber::of(&Realm([4; 32]), (&alice, &key), (&bob, &other)), number);
        assert_ne!(SafetyNumber::of(&realm, (&alice, &other), (&bob, &key)), number);
        assert_ne!(SafetyNumber::of(&realm, (&alice, &key), (&UserName::new("Bob"), &other)), number);
        assert_eq!(number.digits().len(), 60);
        let groups: Vec<_> = number.to_string().split(' ').map(str::len).collect();
        assert_eq!(groups, [5; 12]);
    }
}
