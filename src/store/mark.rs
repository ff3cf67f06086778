//! Where a journal stands: the number of a group, and a check over everything up to it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A group of changes, pinned with all that came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    /// Counted from 1 in the life of a database; 0 before the first.
    pub(super) group: u64,
    /// SHA-256 of the previous group's check and of this group's lines, but for the one that holds it.
    pub(super) check: Check,
}

/// A check, in hex where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check([u8; 32]);

impl Mark {
    /// Where a new database starts. The check is drawn, so that no other database's journal continues this one, even
    /// under the same key.
    pub(super) fn start() -> Self {
        Self { group: 0, check: Check(rand::random()) }
    }

    /// The mark of the group that follows with these lines.
    pub(super) fn next(&self, lines: &[u8]) -> Self {
        let check = Sha256::new().chain_update(self.check.0).chain_update(lines).finalize();
        Self { group: self.group + 1, check: Check(check.into()) }
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Check {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).map(Self).ok_or_else(|| D::Error::custom("a check has 64 hex digits"))
    }
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    let (pairs, []) = digits.as_deref()?.as_chunks::<2>() else { return None };
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    bytes.try_into().ok()
}
