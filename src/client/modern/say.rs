//! A message under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use zeroize::Zeroizing;

use super::jobs::Target;
use super::seal::Sealed;
use crate::names::UserName;
use crate::protocol::modern::Wrap;
use crate::transcript::RoomId;

/// From when on it is said how far the wraps are.
pub(super) const LONG: Duration = Duration::from_millis(500);

/// What a message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Nothing,
    Roster,
    Keys,
    Wraps(u64),
    /// The answers to so many grants.
    Grants(usize),
    /// The server's word on the message.
    Answer,
    Until(Duration),
}

/// A message under way.
pub(super) struct Say {
    pub(super) note: u64,
    /// The text; what does not fit the first message follows in others.
    pub(super) parts: VecDeque<Zeroizing<String>>,
    /// Whether the server took a part.
    pub(super) begins: bool,
    pub(super) wait: Wait,
    pub(super) rounds: u32,
    pub(super) attempts: u32,
    /// What is wrapped for whom, under this epoch and counter.
    pub(super) wraps: BTreeMap<Target, Wrap>,
    pub(super) wrapped_for: Option<(RoomId, u64, u64)>,
    /// Who is to get the key of the message.
    pub(super) legacy: BTreeSet<UserName>,
    /// When its readers' keys were first waited for.
    pub(super) begun: Option<Duration>,
    /// How many wraps there will be.
    pub(super) total: usize,
    /// For whom the job under way wraps.
    pub(super) wrapping: BTreeSet<Target>,
    /// For whom nothing can be wrapped.
    pub(super) unusable: BTreeSet<Target>,
    pub(super) in_flight: Option<Sealed>,
}

impl Say {
    pub(super) fn new(text: String, note: u64) -> Self {
        Self {
            note,
            parts: [Zeroizing::new(text)].into(),
            begins: false,
            wait: Wait::Nothing,
            rounds: 0,
            attempts: 0,
            wraps: BTreeMap::new(),
            wrapped_for: None,
            legacy: BTreeSet::new(),
            begun: None,
            total: 0,
            wrapping: BTreeSet::new(),
            unusable: BTreeSet::new(),
            in_flight: None,
        }
    }

    pub(super) fn note(&self) -> u64 {
        self.note
    }

    /// Nothing follows what is in flight; whether something was to.
    pub(super) fn stop_here(&mut self) -> bool {
        let more = self.parts.len() > 1;
        self.parts.truncate(1);
        more
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The connection is lost: what was sent is sent again, all else is begun again.
    pub(super) fn interrupt(&mut self) {
        if !matches!(self.wait, Wait::Wraps(_)) {
            self.wait = Wait::Nothing;
        }
        self.rounds = 0;
    }

    /// The room is another one.
    pub(super) fn start_over(&mut self) {
        self.in_flight = None;
        (self.wait, self.rounds, self.wrapped_for) = (Wait::Nothing, 0, None);
        self.wraps.clear();
    }

    /// The first part is done; whether there are others.
    pub(super) fn next_part(&mut self) -> bool {
        self.parts.pop_front();
        self.begins = true;
        self.in_flight = None;
        (self.wait, self.rounds, self.attempts) = (Wait::Nothing, 0, 0);
        !self.parts.is_empty()
    }

    pub(super) fn who_came(&mut self, is_known: bool) {
        if self.wait == Wait::Roster {
            self.wait = Wait::Nothing;
            self.rounds = if is_known { self.rounds } else { u32::MAX };
        }
    }

    pub(super) fn keys_came(&mut self) {
        if self.wait == Wait::Keys {
            self.wait = Wait::Nothing;
        }
    }

    /// Takes wraps; gives how many of how many there are, when that is to be said.
    pub(super) fn wrapped(&mut self, id: u64, wraps: Vec<(Target, Wrap)>, now: Duration) -> Option<(usize, usize)> {
        if self.wait != Wait::Wraps(id) {
            return None;
        }
        self.wait = Wait::Nothing;
        self.wraps.extend(wraps);
        let wrapping = std::mem::take(&mut self.wrapping);
        self.unusable.extend(wrapping.into_iter().filter(|target| !self.wraps.contains_key(target)));
        let is_long = self.begun.is_some_and(|begun| now >= begun + LONG);
        is_long.then_some((self.wraps.len().min(self.total), self.total))
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.wait {
            Wait::Until(until) => Some(until),
            _ => None,
        }
    }
}
