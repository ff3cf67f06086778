//! Who is in the room, as far as this client knows: everyone and checked, or merely the hash of it.

use std::collections::BTreeMap;

use crate::names::{RoomName, UserName};
use crate::transcript::{
    BundleHash, EntryKey, LeafHash, Position, Realm, RoomId, RosterEntry, RosterHash, RunId, roster_hash,
};

/// Most entries that are taken: some 2 MB. In a larger room this client can read, not speak.
pub(super) const MOST_ENTRIES: usize = 8_192;

/// Why a list of members is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadRoster {
    /// It does not have the hash that the room's log has: the server tells two stories.
    Hash,
    /// More than [`MOST_ENTRIES`].
    TooLarge,
}

/// One who is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Account, keys and run.
    pub(super) entry: RosterEntry,
    /// Whether the session is away; as of the last list, and the server's word.
    pub(super) away: bool,
    /// How often the entry is there.
    times: usize,
}

/// The roster of the own room.
#[derive(Debug)]
pub(super) struct Roster {
    realm: Realm,
    room_id: RoomId,
    room: RoomName,
    /// By what stands for them in the hash, which takes them in this order.
    entries: BTreeMap<LeafHash, Listed>,
    len: usize,
    /// What the log says.
    hash: RosterHash,
    /// Whether `entries` have that hash.
    full: bool,
    /// The place in the log as of which `entries` were last right.
    as_of: Option<Position>,
    version: u64,
}

impl Roster {
    /// A roster of which the hash alone is known.
    pub(super) fn new(realm: Realm, room_id: RoomId, room: RoomName, hash: RosterHash) -> Self {
        let entries = BTreeMap::new();
        Self { realm, room_id, room, entries, len: 0, hash, full: false, as_of: None, version: 0 }
    }

    /// The entries that were known, if they have this hash still at another place in the log: they need not be fetched again.
    pub(super) fn still(self, hash: &RosterHash, at: Position) -> Option<Self> {
        let is_it = self.full && self.hash == *hash;
        is_it.then_some(Self { as_of: Some(at), ..self })
    }

    /// Whether everyone is known, as of the log's head.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Another number after each change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The place in the log as of which the entries were last right.
    pub(super) fn as_of(&self) -> Option<Position> {
        self.as_of
    }

    /// How many entries there are, duplicates counted.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The entries, in no order that says anything.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Listed> {
        self.entries.values()
    }

    /// Whether the run of an account is listed with this bundle.
    pub(super) fn lists(&self, account: &UserName, bundle: BundleHash, run: RunId) -> bool {
        let entry = RosterEntry { account: account.clone(), key: EntryKey::Modern(bundle), run };
        self.entries.contains_key(&entry.leaf())
    }

    /// Whether a legacy session of the account is listed.
    pub(super) fn lists_legacy(&self, account: &UserName) -> bool {
        let is_it = |listed: &Listed| listed.entry.account == *account && listed.entry.key.bundle().is_none();
        self.entries.values().any(is_it)
    }

    /// Something else happened at the log's head: the entries are still right there.
    pub(super) fn stays(&mut self, at: Position) {
        if self.full {
            self.as_of = Some(at);
        }
    }

    /// The members changed, and by how many is all that is known.
    pub(super) fn change_unseen(&mut self, hash: RosterHash) {
        self.hash = hash;
        self.full = false;
        self.version += 1;
    }

    /// The members changed; `at` is the place in the log after it.
    ///
    /// # Errors
    /// [`BadRoster`] when the entries that were known do not change into what the log says, or into too many; they are not
    /// used until a list has come.
    pub(super) fn change(
        &mut self,
        joined: &[RosterEntry],
        removed: &[RosterEntry],
        hash: RosterHash,
        at: Position,
    ) -> Result<(), BadRoster> {
        let was_full = self.full;
        self.change_unseen(hash);
        if !was_full {
            return Ok(());
        }
        // A return is listed among both, and the entry may be there only once.
        joined.iter().for_each(|entry| self.insert(entry.clone(), false));
        let there = removed.iter().filter(|entry| self.remove(entry)).count();
        let bad = match self.len > MOST_ENTRIES {
            true => Some(BadRoster::TooLarge),
            false => (there != removed.len() || self.computed() != hash).then_some(BadRoster::Hash),
        };
        if let Some(bad) = bad {
            self.entries.clear();
            (self.len, self.as_of) = (0, None);
            return Err(bad);
        }
        self.full = true;
        self.as_of = Some(at);
        Ok(())
    }

    /// Takes a list; `at` is the log's head, of which the list is.
    ///
    /// # Errors
    /// [`BadRoster`]; what was known stays.
    pub(super) fn list(&mut self, entries: Vec<(RosterEntry, bool)>, at: Position) -> Result<(), BadRoster> {
        if entries.len() > MOST_ENTRIES {
            return Err(BadRoster::TooLarge);
        }
        let mut listed = Self::new(self.realm, self.room_id, self.room.clone(), self.hash);
        entries.into_iter().for_each(|(entry, away)| listed.insert(entry, away));
        if listed.computed() != self.hash {
            return Err(BadRoster::Hash);
        }
        *self = Self { full: true, as_of: Some(at), version: self.version + 1, ..listed };
        Ok(())
    }

    fn insert(&mut self, entry: RosterEntry, away: bool) {
        self.len += 1;
        let listed = self.entries.entry(entry.leaf()).or_insert(Listed { entry, away, times: 0 });
        listed.times += 1;
        listed.away = away;
    }

    fn remove(&mut self, entry: &RosterEntry) -> bool {
        let leaf = entry.leaf();
        let Some(listed) = self.entries.get_mut(&leaf) else { return false };
        listed.times -= 1;
        if listed.times == 0 {
            self.entries.remove(&leaf);
        }
        self.len -= 1;
        true
    }

    fn computed(&self) -> RosterHash {
        let leaves = self.entries.iter().flat_map(|(leaf, listed)| std::iter::repeat_n(*leaf, listed.times));
        roster_hash(&self.realm, &self.room_id, &self.room, leaves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::LogHash;
    use std::slice::from_ref;

    const AT: Position = Position { n: 3, log: LogHash([1; 32]) };

    fn entry(name: &str, run: u8) -> RosterEntry {
        RosterEntry {
            account: UserName::new(name),
            key: EntryKey::Modern(BundleHash([run; 32])),
            run: RunId([run; 16]),
        }
    }

    #[test]
    fn changes_by_name_fill_no_memory() {
        let mut roster = Roster::new(Realm([1; 32]), RoomId([2; 16]), RoomName::new("r"), hash(&[]));
        assert_eq!(roster.list(Vec::new(), AT), Ok(()));
        let many: Vec<_> = (0..=MOST_ENTRIES).map(|n| entry(&format!("u{n}"), 1)).collect();
        assert_eq!(roster.change(&many[1..], &[], hash(&many[1..]), AT), Ok(()));
        assert_eq!(roster.change(&many[..1], &[], hash(&many), AT), Err(BadRoster::TooLarge));
        assert_eq!((roster.len(), roster.is_full()), (0, false));
    }

    fn hash(entries: &[RosterEntry]) -> RosterHash {
        let leaves = entries.iter().map(RosterEntry::leaf);
        roster_hash(&Realm([1; 32]), &RoomId([2; 16]), &RoomName::new("r"), leaves)
    }

    fn known(entries: &[RosterEntry]) -> Roster {
        let mut roster = Roster::new(Realm([1; 32]), RoomId([2; 16]), RoomName::new("r"), hash(entries));
        assert!(!roster.is_full());
        roster.list(entries.iter().map(|entry| (entry.clone(), false)).collect(), AT).unwrap();
        roster
    }

    fn names(roster: &Roster) -> Vec<String> {
        let mut names: Vec<_> = roster.entries().map(|listed| listed.entry.account.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_list_that_the_log_does_not_bear_out_is_not_taken() {
        let [alice, bob, ghost] = [entry("alice", 1), entry("bob", 2), entry("ghost", 3)];
        let both = [alice.clone(), bob.clone()];
        let mut roster = Roster::new(Realm([1; 32]), RoomId([2; 16]), RoomName::new("r"), hash(&both));
        for lie in [vec![&alice], vec![&alice, &bob, &ghost], vec![&alice, &alice, &bob], vec![&alice, &ghost], vec![]]
        {
            let lie = lie.into_iter().map(|entry| (entry.clone(), false)).collect();
            assert_eq!(roster.list(lie, AT), Err(BadRoster::Hash));
            assert!(!roster.is_full() && roster.entries().next().is_none());
        }
        assert_eq!(roster.list(vec![(bob.clone(), true), (alice.clone(), false)], AT), Ok(()));
        assert!(roster.is_full());
        assert_eq!(names(&roster), ["alice", "bob"]);
        assert!(roster.lists(&bob.account, BundleHash([2; 32]), bob.run));
        assert!(!roster.lists(&bob.account, BundleHash([2; 32]), alice.run));
        assert!(!roster.lists(&alice.account, BundleHash([2; 32]), bob.run));
    }

    #[test]
    fn changes_are_followed_and_checked() {
        let [alice, bob, carol] = [entry("alice", 1), entry("bob", 2), entry("carol", 3)];
        let mut roster = known(&[alice.clone(), bob.clone()]);
        let after = [alice.clone(), carol.clone()];
        roster.change(from_ref(&carol), from_ref(&bob), hash(&after), AT).unwrap();
        assert_eq!(names(&roster), ["alice", "carol"]);
        // A return changes nothing.
        roster.change(from_ref(&carol), from_ref(&carol), hash(&after), AT).unwrap();
        assert!(roster.is_full());
        // Somebody goes who is not there; somebody comes who is not in the hash.
        assert_eq!(roster.change(&[], from_ref(&bob), hash(&after), AT), Err(BadRoster::Hash));
        assert!(!roster.is_full());
        let mut roster = known(&after);
        assert_eq!(roster.change(&[bob], &[], hash(&after), AT), Err(BadRoster::Hash));
        roster.list(after.iter().map(|entry| (entry.clone(), false)).collect(), AT).unwrap();
        assert_eq!(names(&roster), ["alice", "carol"]);
    }

    #[test]
    fn the_same_entry_twice_counts_twice() {
        let bob = entry("bob", 2);
        let mut roster = known(&[bob.clone(), bob.clone()]);
        assert_eq!(roster.len(), 2);
        roster.change(&[], from_ref(&bob), hash(from_ref(&bob)), AT).unwrap();
        assert_eq!((roster.len(), names(&roster)), (1, vec!["bob".to_owned()]));
    }

    #[test]
    fn after_a_change_that_was_only_counted_the_list_is_out_of_date() {
        let [alice, bob] = [entry("alice", 1), entry("bob", 2)];
        let mut roster = known(from_ref(&alice));
        let version = roster.version();
        roster.change_unseen(hash(&[alice.clone(), bob.clone()]));
        assert!(!roster.is_full());
        assert_ne!(roster.version(), version);
        // What is listed then changes nothing until a whole list has come.
        roster.change(&[entry("carol", 3)], &[], hash(from_ref(&bob)), AT).unwrap();
        assert!(!roster.is_full());
        assert_eq!(roster.list(vec![(bob, false)], AT), Ok(()));
    }

    #[test]
    fn a_room_that_is_too_large_is_not_taken() {
        let mut roster = Roster::new(Realm([1; 32]), RoomId([2; 16]), RoomName::new("r"), hash(&[]));
        let many = vec![(entry("bob", 1), false); MOST_ENTRIES + 1];
        assert_eq!(roster.list(many, AT), Err(BadRoster::TooLarge));
    }
}
