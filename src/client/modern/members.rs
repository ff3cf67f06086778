//! Who is in the room: lists, comings and goings.

use std::collections::VecDeque;
use std::time::Duration;

use super::Machine;
use super::roster::BadRoster;
use super::task::{Step, Task};
use crate::client::alarm::Alarm;
use crate::client::shown::Name;
use crate::names::UserName;
use crate::protocol::modern::{self as wire, Changes, MembersEvent, Reader};
use crate::transcript::{Event, RoomId, RosterEntry, changes_hash};

/// How long after a removal somebody may not know of it.
const LATE: Duration = Duration::from_secs(30);

/// Most of those who went that are kept in mind.
const MOST_GONE: usize = 1_024;

/// Somebody who went.
#[derive(Debug)]
struct GoneEntry {
    n: u64,
    seen: Duration,
    /// `None` when only the number of those who went is known.
    name: Option<UserName>,
    /// Put out, and not just gone.
    kicked: bool,
}

/// Who went, and where in the log.
#[derive(Debug, Default)]
pub(super) struct Gone(VecDeque<GoneEntry>);

impl Gone {
    pub(super) fn add(&mut self, n: u64, seen: Duration, name: Option<UserName>, kicked: bool) {
        if self.0.len() >= MOST_GONE {
            self.0.pop_front();
        }
        self.0.push_back(GoneEntry { n, seen, name, kicked });
    }

    /// Somebody whom the author at place `n` did not know to be gone, though there was time enough.
    pub(super) fn after(&self, n: u64, now: Duration) -> Option<&Option<UserName>> {
        let later = self.0.iter().rev().take_while(|gone| gone.n > n);
        later.filter(|gone| gone.kicked || now > gone.seen + LATE).last().map(|gone| &gone.name)
    }
}

impl From<BadRoster> for Alarm {
    fn from(bad: BadRoster) -> Self {
        match bad {
            BadRoster::Hash => Self::BadRoster,
            BadRoster::TooLarge => Self::RoomTooLarge,
        }
    }
}

impl Machine {
    /// The answer to `who`, which is of the log's head.
    pub(super) fn who(&mut self, id: RoomId, entries: Vec<wire::Entry>, n: u64) {
        let Some(stay) = self.stay.as_mut().filter(|stay| stay.id == id) else { return };
        let head = stay.log.head();
        let entries = entries.into_iter().map(|entry| (entry.entry, entry.away)).collect();
        let listed = if n == head.n { stay.roster.list(entries, head) } else { Err(BadRoster::Hash) };
        match listed {
            Ok(()) => self.check_roster(),
            Err(bad) => self.alarm(bad.into()),
        }
        let is_known = listed.is_ok();
        match &mut self.task {
            Some(Task::Say(say)) => say.who_came(is_known),
            Some(Task::Who) if !is_known => self.finish(),
            _ => {}
        }
    }

    /// The others must see that this client reads, and a room for modern members must have no others.
    pub(super) fn check_roster(&mut self) {
        let Some(own) = self.account.as_ref() else { return };
        let (name, bundle) = (own.name.clone(), own.bundle.hash());
        let Some(stay) = &mut self.stay else { return };
        let is_listed = stay.roster.lists(&name, bundle, self.run);
        let has_legacy = stay.roster.entries().any(|listed| listed.entry.key.bundle().is_none());
        let inside = stay.modern_only && has_legacy && !std::mem::replace(&mut stay.told_legacy_inside, true);
        let room = stay.room.clone();
        if inside {
            self.alarm(Alarm::LegacyInside(room));
        }
        if !is_listed {
            self.alarm(Alarm::NotListed);
        }
    }

    /// Members came and went.
    pub(super) fn members(&mut self, event: MembersEvent) {
        if self.stay_of(&event.room).is_none() {
            return;
        }
        let (joined, removed, changes) = match &event.changes {
            Changes::Listed { joined, removed } => {
                let of =
                    |entries: &[RosterEntry], came| entries.iter().map(move |e| e.change(came)).collect::<Vec<_>>();
                let changes = changes_hash(of(joined, true), of(removed, false));
                (joined.len() as u64, removed.len() as u64, changes)
            }
            Changes::Hashed { joined, removed, changes } => (*joined, *removed, *changes),
        };
        let hashed = Event::Members { joined, removed, changes, roster: event.roster };
        if !self.follow(event.n, &hashed) {
            return;
        }
        let (now, head) = (self.now.elapsed, self.stay.as_ref().map(|stay| stay.log.head()));
        let (Some(stay), Some(head)) = (&mut self.stay, head) else { return };
        stay.prepared = None;
        match event.changes {
            Changes::Hashed { removed, .. } => {
                stay.roster.change_unseen(event.roster);
                if removed > 0 {
                    stay.some_went();
                    stay.gone.add(event.n, now, None, false);
                }
            }
            Changes::Listed { joined, removed } => {
                let fits = stay.roster.change(&joined, &removed, event.roster, head);
                let is_full = stay.roster.is_full();
                self.tell_changes(event.n, &joined, &removed);
                match fits {
                    Ok(()) if is_full => self.check_roster(),
                    Ok(()) => {}
                    Err(bad) => self.alarm(bad.into()),
                }
            }
        }
    }

    /// Says who came and went, by the server's word; keeps in mind who went.
    fn tell_changes(&mut self, n: u64, joined: &[RosterEntry], removed: &[RosterEntry]) {
        let now = self.now.elapsed;
        let same = |one: &RosterEntry, other: &RosterEntry| one.account == other.account && one.run == other.run;
        let is_back = |entry: &&RosterEntry, others: &[RosterEntry]| others.iter().any(|other| same(entry, other));
        let came: Vec<_> = joined.iter().filter(|entry| !is_back(entry, removed)).collect();
        let went: Vec<_> = removed.iter().filter(|entry| !is_back(entry, joined)).collect();
        let back: Vec<_> = joined.iter().filter(|entry| removed.contains(entry)).collect();
        let mut words = Vec::new();
        let Some(stay) = &mut self.stay else { return };
        joined.iter().for_each(|entry| stay.came(entry));
        for entry in came {
            let legacy = if entry.key.bundle().is_none() { ", on the old wire, unsigned" } else { "" };
            words.push(format!("{} came{legacy}", Name(&entry.account)));
        }
        let outgoing = &mut self.rooms.entry(stay.id).or_default().outgoing;
        let readers = joined.iter().filter_map(|entry| Some(Reader { bundle: entry.key.bundle()?, run: entry.run }));
        readers.for_each(|reader| outgoing.came(&reader));
        for entry in back {
            words.push(format!("{} is back", Name(&entry.account)));
        }
        for entry in went {
            stay.gone.add(n, now, Some(entry.account.clone()), false);
            if stay.went(entry) {
                continue; // that was signed, and said
            }
            let how = if entry.key.bundle().is_some() { "is gone: the connection is lost" } else { "is gone" };
            words.push(format!("{} {how}", Name(&entry.account)));
        }
        words.iter().for_each(|words| self.server_says(words));
    }

    /// Shows the members, once they are known.
    pub(super) fn step_who(&mut self) -> Step {
        match &self.stay {
            None => {
                self.cannot("You are in no room: /join one.");
                self.finish();
            }
            Some(stay) if stay.log.is_broken() => {
                self.cannot("Who is here cannot be told any more: /join again.");
                self.finish();
            }
            Some(stay) if !stay.roster.is_full() => return Step::Waits,
            Some(_) => {
                self.show_members();
                self.finish();
            }
        }
        Step::Goes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_went_is_in_mind_at_once_when_kicked_and_after_a_while_when_gone() {
        let mut gone = Gone::default();
        let name = |name| Some(UserName::new(name));
        let at = Duration::from_secs(100);
        gone.add(5, at, name("left"), false);
        gone.add(7, at, name("kicked"), true);
        assert_eq!(gone.after(7, at), None);
        assert_eq!(gone.after(6, at), Some(&name("kicked")));
        assert_eq!(gone.after(4, at), Some(&name("kicked")));
        assert_eq!(gone.after(4, at + LATE), Some(&name("kicked")));
        assert_eq!(gone.after(4, at + LATE + Duration::from_secs(1)), Some(&name("left")));
        assert_eq!(gone.after(5, at + LATE * 2), Some(&name("kicked")));
        for n in 8..8 + MOST_GONE as u64 {
            gone.add(n, at, None, false);
        }
        assert_eq!(gone.0.len(), MOST_GONE);
        assert_eq!(gone.after(0, at), None);
    }
}
