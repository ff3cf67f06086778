//! The highest counter that was taken of each run in each room (`R` is what names a room). Kept as long as the program runs, so
//! that nothing that was taken once is taken again, whatever the server starts over.

use std::collections::HashMap;
use std::hash::Hash;

use crate::names::UserName;
use crate::transcript::RunId;

/// Most runs that are counted. None is ever dropped for another: what it had said could be repeated then.
pub(super) const MOST_RUNS: usize = 65_536;

/// What a counter turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// The next, or the first of this run.
    Next,
    /// So many were not seen.
    Gap {
        /// How many.
        missing: u64,
        /// Whether the gap is from a time when this client was away.
        away: bool,
    },
    /// It was taken before.
    Repeated,
    /// There are [`MOST_RUNS`] already, and this is another one.
    TooMany,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    last: u64,
    /// The absences of this client up to then.
    absences: u64,
}

/// The counters of everyone.
#[derive(Debug)]
pub(super) struct Counters<R> {
    seen: HashMap<(R, UserName, RunId), Seen>,
    absences: HashMap<R, u64>,
}

impl<R> Default for Counters<R> {
    fn default() -> Self {
        Self { seen: HashMap::new(), absences: HashMap::new() }
    }
}

impl<R: Clone + Eq + Hash> Counters<R> {
    /// This client was not in the room for a while: what is missing next of each run is missing for that.
    pub(super) fn was_away(&mut self, room: R) {
        *self.absences.entry(room).or_default() += 1;
    }

    /// How often this client was away so far. What comes bears that number, however long it waits for its author's keys.
    pub(super) fn absences(&self, room: &R) -> u64 {
        self.absences.get(room).copied().unwrap_or_default()
    }

    /// Takes a counter whose signature holds; `absences` as of when it came.
    pub(super) fn take(&mut self, room: R, account: &UserName, run: RunId, counter: u64, absences: u64) -> Counted {
        let key = (room, account.clone(), run);
        let full = self.seen.len() >= MOST_RUNS;
        let Some(seen) = self.seen.get_mut(&key) else {
            if full {
                return Counted::TooMany;
            }
            self.seen.insert(key, Seen { last: counter, absences });
            return Counted::Next;
        };
        if counter <= seen.last {
            return Counted::Repeated;
        }
        let missing = counter - seen.last - 1;
        let away = seen.absences != absences;
        *seen = Seen { last: counter, absences };
        if missing == 0 { Counted::Next } else { Counted::Gap { missing, away } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::RoomId;

    const ROOM: RoomId = RoomId([1; 16]);
    const RUN: RunId = RunId([2; 16]);

    fn take(counters: &mut Counters<RoomId>, counter: u64) -> Counted {
        let absences = counters.absences(&ROOM);
        counters.take(ROOM, &UserName::new("bob"), RUN, counter, absences)
    }

    #[test]
    fn a_counter_is_taken_once_and_what_is_missing_is_counted() {
        let mut counters = Counters::default();
        assert_eq!(take(&mut counters, 5), Counted::Next, "the first that is heard of a run has no gap");
        assert_eq!(take(&mut counters, 6), Counted::Next);
        assert_eq!(take(&mut counters, 6), Counted::Repeated);
        assert_eq!(take(&mut counters, 5), Counted::Repeated);
        assert_eq!(take(&mut counters, 9), Counted::Gap { missing: 2, away: false });
        assert_eq!(take(&mut counters, 8), Counted::Repeated, "what was missing does not come later");
        assert_eq!(take(&mut counters, u64::MAX), Counted::Gap { missing: u64::MAX - 10, away: false });
    }

    #[test]
    fn rooms_accounts_and_runs_count_for_themselves() {
        let mut counters = Counters::default();
        take(&mut counters, 5);
        assert_eq!(counters.take(RoomId([9; 16]), &UserName::new("bob"), RUN, 1, 0), Counted::Next);
        assert_eq!(counters.take(ROOM, &UserName::new("eve"), RUN, 1, 0), Counted::Next);
        assert_eq!(counters.take(ROOM, &UserName::new("bob"), RunId([9; 16]), 1, 0), Counted::Next);
        assert_eq!(take(&mut counters, 1), Counted::Repeated);
    }

    #[test]
    fn what_was_missed_while_away_is_told_apart_once() {
        let mut counters = Counters::default();
        take(&mut counters, 1);
        counters.was_away(ROOM);
        assert_eq!(take(&mut counters, 4), Counted::Gap { missing: 2, away: true });
        assert_eq!(take(&mut counters, 6), Counted::Gap { missing: 1, away: false });
        assert_eq!(take(&mut counters, 4), Counted::Repeated, "an absence makes nothing new");
    }

    #[test]
    fn what_came_before_an_absence_and_was_counted_after_it_does_not_end_it() {
        let mut counters = Counters::default();
        counters.was_away(ROOM);
        // Both waited for their author's keys meanwhile.
        for counter in [1, 2] {
            assert_eq!(counters.take(ROOM, &UserName::new("bob"), RUN, counter, 0), Counted::Next);
        }
        assert_eq!(take(&mut counters, 4), Counted::Gap { missing: 1, away: true });
    }

    #[test]
    fn a_flood_of_runs_makes_room_for_no_repetition() {
        let mut counters = Counters::default();
        take(&mut counters, 7);
        for i in 0..MOST_RUNS as u128 {
            counters.take(ROOM, &UserName::new("eve"), RunId(i.to_be_bytes()), 1, 0);
        }
        let other = RunId((MOST_RUNS as u128).to_be_bytes());
        assert_eq!(counters.take(ROOM, &UserName::new("eve"), other, 1, 0), Counted::TooMany);
        assert_eq!(take(&mut counters, 7), Counted::Repeated);
        assert_eq!(take(&mut counters, 8), Counted::Next);
    }
}
