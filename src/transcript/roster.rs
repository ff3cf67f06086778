//! Who is in a room, and how that changes.

use super::{
    BundleHash, ChangeHash, ChangesHash, KeyHash, LeafHash, Realm, RoomId, RosterHash, RunId, enc, label, sha256,
    sha256_of_all,
};
use crate::names::{RoomName, UserName};

/// The keys of a member, which also say what wire it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKey {
    /// A member on the modern wire has a bundle.
    Modern(BundleHash),
    /// A member on the legacy wire has an RSA key once it has announced it.
    Legacy(Option<KeyHash>),
}

impl EntryKey {
    /// The word that is hashed and sent: `modern` or `legacy`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Modern(_) => "modern",
            Self::Legacy(_) => "legacy",
        }
    }

    /// The bundle of a modern member.
    pub const fn bundle(&self) -> Option<BundleHash> {
        match self {
            Self::Modern(bundle) => Some(*bundle),
            Self::Legacy(_) => None,
        }
    }

    /// The hash as it is encoded: 32 bytes, or none while a legacy member has no key.
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Modern(BundleHash(hash)) | Self::Legacy(Some(KeyHash(hash))) => hash,
            Self::Legacy(None) => &[],
        }
    }
}

/// One session in a room.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RosterEntry {
    /// Whose it is.
    pub account: UserName,
    /// Its wire and its keys.
    pub key: EntryKey,
    /// The run of its client; of a legacy session, what the server drew.
    pub run: RunId,
}

impl RosterEntry {
    fn fields(&self) -> [&[u8]; 4] {
        [self.account.as_str().as_bytes(), self.key.kind().as_bytes(), self.key.as_bytes(), &self.run.0]
    }

    /// What stands for the entry in the roster's hash.
    pub fn leaf(&self) -> LeafHash {
        LeafHash(sha256(&enc(&self.fields())))
    }

    /// The hash of its joining, or of its leaving.
    pub fn change(&self, joined: bool) -> ChangeHash {
        let label = if joined { label!("joined") } else { label!("removed") };
        let [account, kind, key, run] = self.fields();
        ChangeHash(sha256(&enc(&[label, account, kind, key, run])))
    }
}

/// The hash over the changes of one event, in the order in which the wire lists them.
pub fn changes_hash(
    joined: impl IntoIterator<Item = ChangeHash>,
    removed: impl IntoIterator<Item = ChangeHash>,
) -> ChangesHash {
    let all: Vec<_> = joined.into_iter().chain(removed).collect();
    ChangesHash(sha256_of_all(&[], all.iter().map(|change| &change.0[..])))
}

/// The hash over who is in a room. The leaves may come in any order; sorted ones cost no sorting.
pub fn roster_hash(
    realm: &Realm,
    room_id: &RoomId,
    room: &RoomName,
    leaves: impl IntoIterator<Item = LeafHash>,
) -> RosterHash {
    let mut leaves: Vec<_> = leaves.into_iter().collect();
    leaves.sort_unstable();
    let start = enc(&[label!("roster"), &realm.0, &room_id.0, room.as_str().as_bytes()]);
    RosterHash(sha256_of_all(&start, leaves.iter().map(|leaf| &leaf.0[..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(account: &str, key: EntryKey, run: u8) -> RosterEntry {
        RosterEntry { account: UserName::new(account), key, run: RunId([run; 16]) }
    }

    #[test]
    fn every_part_of_an_entry_counts() {
        let hash = [7; 32];
        let entries = [
            entry("alice", EntryKey::Modern(BundleHash(hash)), 1),
            entry("alice", EntryKey::Legacy(Some(KeyHash(hash))), 1),
            entry("alice", EntryKey::Legacy(None), 1),
            entry("alice", EntryKey::Modern(BundleHash(hash)), 2),
            entry("bob", EntryKey::Modern(BundleHash(hash)), 1),
        ];
        let mut hashes: Vec<_> =
            entries.iter().flat_map(|e| [e.leaf().0, e.change(true).0, e.change(false).0]).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 3 * entries.len());
    }

    #[test]
    fn a_roster_is_a_bag_and_changes_are_a_list() {
        let (realm, id, room) = (Realm([1; 32]), RoomId([2; 16]), RoomName::new("den"));
        let roster = |leaves: &[u8]| roster_hash(&realm, &id, &room, leaves.iter().map(|&leaf| LeafHash([leaf; 32])));
        assert_eq!(roster(&[1, 2, 3]), roster(&[3, 1, 2]));
        assert_ne!(roster(&[1, 2]), roster(&[1, 2, 2]));
        assert_ne!(roster(&[]), roster_hash(&realm, &id, &RoomName::new("Den"), []));
        assert_ne!(roster(&[]), roster_hash(&realm, &RoomId([3; 16]), &room, []));
        let change = |n| ChangeHash([n; 32]);
        assert_ne!(changes_hash([change(1), change(2)], []), changes_hash([change(2), change(1)], []));
    }
}
