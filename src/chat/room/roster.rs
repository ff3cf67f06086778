//! Who is listed in a room, and the changes that its members have not been told yet.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::chat::SessionId;
use crate::names::{RoomName, UserName};
use crate::transcript::{LeafHash, Realm, RoomId, RosterEntry, RosterHash, RunId, roster_hash};

/// One entry, and where its session is.
#[derive(Debug, Clone)]
pub(in crate::chat) struct Listed {
    pub(in crate::chat) entry: RosterEntry,
    pub(in crate::chat) place: Place,
}

/// Where the session of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) enum Place {
    /// Here.
    Here(SessionId),
    /// Its connection was lost; it may return until then.
    Away(Duration),
}

/// Who came.
#[derive(Debug)]
pub(in crate::chat) struct Joined {
    pub(in crate::chat) entry: RosterEntry,
    /// The session whose `join` is answered when the change is told.
    pub(in crate::chat) waiting: Option<SessionId>,
}

/// What happened since the members were last told.
#[derive(Debug, Default)]
pub(in crate::chat) struct Changes {
    pub(in crate::chat) joined: Vec<Joined>,
    pub(in crate::chat) removed: Vec<RosterEntry>,
}

impl Changes {
    pub(in crate::chat) fn len(&self) -> usize {
        self.joined.len() + self.removed.len()
    }

    /// Whether a session is gone: one that returns, or whose key changes, is not.
    pub(in crate::chat) fn somebody_went(&self) -> bool {
        let stays = |gone: &RosterEntry| {
            self.joined.iter().any(|joined| joined.entry.run == gone.run && joined.entry.account == gone.account)
        };
        !self.removed.iter().all(stays)
    }

    fn find(&mut self, entry: &RosterEntry) -> Option<&mut Joined> {
        self.joined.iter_mut().find(|joined| joined.entry == *entry)
    }

    fn add_removed(&mut self, entry: RosterEntry) {
        if !self.removed.contains(&entry) {
            self.removed.push(entry);
        }
    }
}

/// The entries of a room.
#[derive(Debug, Default)]
pub(in crate::chat) struct Roster {
    /// In the order in which they are hashed.
    entries: BTreeMap<LeafHash, Listed>,
    /// How many of them are on the modern wire.
    modern: usize,
    changes: Changes,
}

impl Roster {
    /// How many entries there are.
    pub(in crate::chat) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether somebody on the modern wire is listed, here or away: who hashes the log.
    pub(in crate::chat) fn has_modern(&self) -> bool {
        self.modern > 0
    }

    pub(in crate::chat) fn iter(&self) -> impl Iterator<Item = &Listed> {
        self.entries.values()
    }

    pub(in crate::chat) fn get(&self, entry: &RosterEntry) -> Option<&Listed> {
        self.entries.get(&entry.leaf())
    }

    /// Whether a run of an account is listed.
    pub(in crate::chat) fn has_run(&self, user: &UserName, run: RunId) -> bool {
        self.iter().any(|listed| listed.entry.run == run && listed.entry.account == *user)
    }

    /// The entries of an account.
    pub(in crate::chat) fn of<'a>(&'a self, user: &'a UserName) -> impl Iterator<Item = &'a Listed> {
        self.iter().filter(move |listed| listed.entry.account == *user)
    }

    /// The hash over all entries.
    pub(in crate::chat) fn hash(&self, realm: &Realm, id: &RoomId, room: &RoomName) -> RosterHash {
        roster_hash(realm, id, room, self.entries.keys().copied())
    }

    /// Lists a session. One that returns, or joins once more, stands on both sides of the change. With `waits`, its join is
    /// answered when the change is told.
    pub(in crate::chat) fn list(&mut self, entry: RosterEntry, session: SessionId, waits: bool) {
        let listed = Listed { entry: entry.clone(), place: Place::Here(session) };
        let was_listed = self.entries.insert(entry.leaf(), listed).is_some();
        self.modern += usize::from(!was_listed && is_modern(&entry));
        let waiting = waits.then_some(session);
        if let Some(joined) = self.changes.find(&entry) {
            joined.waiting = waiting;
            return;
        }
        if was_listed {
            self.changes.add_removed(entry.clone());
        }
        self.changes.joined.push(Joined { entry, waiting });
    }

    /// Takes an entry off the list. Who came since the members were last told, came and went without their notice.
    pub(in crate::chat) fn remove(&mut self, entry: &RosterEntry) -> Option<Listed> {
        let listed = self.entries.remove(&entry.leaf())?;
        self.modern -= usize::from(is_modern(entry));
        let before = self.changes.joined.len();
        self.changes.joined.retain(|joined| joined.entry != *entry);
        let is_news = self.changes.joined.len() == before || self.changes.removed.contains(entry);
        if is_news {
            self.changes.add_removed(entry.clone());
        }
        Some(listed)
    }

    /// The session of an entry is lost: it stays listed until then, unless nobody was told of it yet. Whether it is listed.
    pub(in crate::chat) fn lose(&mut self, entry: &RosterEntry, until: Duration) -> bool {
        let returned = self.changes.removed.contains(entry);
        match self.changes.find(entry) {
            Some(_) if !returned => {
                self.remove(entry);
                return false;
            }
            Some(joined) => joined.waiting = None,
            None => {}
        }
        match self.entries.get_mut(&entry.leaf()) {
            Some(listed) => listed.place = Place::Away(until),
            None => return false,
        }
        true
    }

    /// The entry of an account that has been away for longest, if more than so many are.
    pub(in crate::chat) fn first_away(&self, user: &UserName, most: usize) -> Option<RosterEntry> {
        let until = |listed: &Listed| match listed.place {
            Place::Away(until) => Some(until),
            Place::Here(_) => None,
        };
        let away = self.of(user).filter_map(|listed| Some((until(listed)?, &listed.entry)));
        let (count, first) = away.fold((0, None), |(count, first), next| match first {
            Some(first) if first <= next => (count + 1, Some(first)),
            _ => (count + 1, Some(next)),
        });
        first.filter(|_| count > most).map(|(_, entry)| entry.clone())
    }

    /// Whether an entry's coming was not yet told.
    pub(in crate::chat) fn is_news(&self, entry: &RosterEntry) -> bool {
        self.changes.joined.iter().any(|joined| joined.entry == *entry)
    }

    /// What has not been told.
    pub(in crate::chat) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Takes what has not been told, to tell it.
    pub(in crate::chat) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }
}

fn is_modern(entry: &RosterEntry) -> bool {
    entry.key.bundle().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::{BundleHash, EntryKey};

    const REALM: Realm = Realm([1; 32]);
    const ID: RoomId = RoomId([2; 16]);

    fn entry(n: u8) -> RosterEntry {
        let account = UserName::new(&format!("u{n}"));
        RosterEntry { account, key: EntryKey::Modern(BundleHash([n; 32])), run: RunId([n; 16]) }
    }

    fn told(roster: &mut Roster) -> (Vec<RosterEntry>, Vec<RosterEntry>) {
        let Changes { joined, removed } = roster.take_changes();
        (joined.into_iter().map(|joined| joined.entry).collect(), removed)
    }

    fn with(entries: &[u8]) -> Roster {
        let mut roster = Roster::default();
        entries.iter().for_each(|n| roster.list(entry(*n), SessionId((*n).into()), false));
        roster.take_changes();
        roster
    }

    #[test]
    fn the_hash_is_that_of_the_entries_in_whatever_order_they_came() {
        let room = RoomName::new("den");
        let hash = |entries: &[u8]| with(entries).hash(&REALM, &ID, &room);
        assert_eq!(hash(&[1, 2, 3]), hash(&[3, 1, 2]));
        assert_ne!(hash(&[1, 2]), hash(&[1, 2, 3]));
        assert_eq!(hash(&[1, 2]), roster_hash(&REALM, &ID, &room, [entry(2).leaf(), entry(1).leaf()]));
    }

    #[test]
    fn a_return_changes_nothing_and_is_told() {
        let mut roster = with(&[1, 2]);
        assert!(roster.lose(&entry(1), Duration::from_secs(60)));
        assert_eq!(told(&mut roster), (vec![], vec![]));
        assert_eq!(roster.get(&entry(1)).unwrap().place, Place::Away(Duration::from_secs(60)));
        roster.list(entry(1), SessionId(9), true);
        assert_eq!(roster.changes().joined[0].waiting, Some(SessionId(9)));
        assert_eq!(told(&mut roster), (vec![entry(1)], vec![entry(1)]));
        assert_eq!((roster.len(), roster.get(&entry(1)).unwrap().place), (2, Place::Here(SessionId(9))));
    }

    #[test]
    fn who_has_been_away_for_longest_is_found_where_too_many_are() {
        let mut roster = with(&[1]);
        let user = UserName::new("u1");
        for n in 2..=4u8 {
            let entry = RosterEntry { run: RunId([n; 16]), ..entry(1) };
            roster.list(entry.clone(), SessionId(n.into()), false);
            roster.take_changes();
            roster.lose(&entry, Duration::from_secs(10 - u64::from(n)));
        }
        assert_eq!(roster.first_away(&user, 3), None);
        assert_eq!(roster.first_away(&user, 2).unwrap().run, RunId([4; 16]));
        assert_eq!(roster.first_away(&UserName::new("u2"), 0), None);
    }

    #[test]
    fn who_came_and_went_between_two_events_is_not_told() {
        let mut roster = with(&[1]);
        roster.list(entry(2), SessionId(2), false);
        assert!(roster.is_news(&entry(2)) && !roster.is_news(&entry(1)));
        roster.remove(&entry(2));
        roster.list(entry(3), SessionId(3), true);
        assert!(!roster.lose(&entry(3), Duration::ZERO));
        assert_eq!((told(&mut roster), roster.len()), ((vec![], vec![]), 1));
    }

    #[test]
    fn who_returned_and_was_lost_or_went_between_two_events_is_told_as_what_it_was() {
        let mut roster = with(&[1, 2]);
        roster.lose(&entry(1), Duration::ZERO);
        roster.list(entry(1), SessionId(3), true);
        assert!(roster.lose(&entry(1), Duration::ZERO), "it was listed before");
        assert_eq!(roster.changes().joined[0].waiting, None);
        roster.remove(&entry(1));
        assert_eq!(told(&mut roster), (vec![], vec![entry(1)]));
        roster.remove(&entry(2));
        roster.list(entry(2), SessionId(4), false);
        roster.list(entry(2), SessionId(5), true);
        assert_eq!(told(&mut roster), (vec![entry(2)], vec![entry(2)]));
        assert!(roster.remove(&entry(1)).is_none() && !roster.lose(&entry(1), Duration::ZERO));
    }

    #[test]
    fn the_entries_of_an_account_and_its_runs_are_found() {
        let roster = with(&[1, 2]);
        let user = UserName::new("u1");
        assert_eq!(roster.of(&user).count(), 1);
        assert!(roster.has_run(&user, RunId([1; 16])) && !roster.has_run(&user, RunId([2; 16])));
    }
}
