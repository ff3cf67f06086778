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
