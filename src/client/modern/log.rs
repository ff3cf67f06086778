//! A room's log as this client follows it since its last join.

use std::collections::VecDeque;

use crate::transcript::{ChangeHash, Event, LogHash, Position};

/// Values that are kept. The server refuses statements that are older than half of them, so an honest one is never missed.
pub const WINDOW: usize = 16_384;

/// What a position that somebody signed turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// A value that this client computed.
    Good,
    /// From before the own join: nobody here can tell.
    Before,
    /// From after it, but further back than [`WINDOW`]: it was held back for long.
    Forgotten,
    /// Another value than this client computed, or one that nobody can have yet: people are shown different rooms.
    Split,
}

/// Why a log cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The server's answer to a join does not count the join.
    NotJoined,
    /// An event bears another number than the next.
    Number {
        /// The next.
        expected: u64,
        /// What it bears.
        found: u64,
    },
}

/// The values L(n) since the own join.
#[derive(Debug)]
pub(super) struct RoomLog {
    /// The event of the own join.
    joined: u64,
    /// L of the last events; the last is the head's.
    values: VecDeque<LogHash>,
    head: Position,
    /// Whether it can be followed no further.
    broken: bool,
}

impl RoomLog {
    /// Starts with the own join, event `before.n + 1`, whose changes must hold `own`.
    ///
    /// # Errors
    /// [`Broken::NotJoined`] when they do not: then the others do not see this client.
    pub(super) fn join(
        before: Position,
        event: &Event<'_>,
        joined: &[ChangeHash],
        own: ChangeHash,
    ) -> Result<Self, Broken> {
        if !joined.contains(&own) {
            return Err(Broken::NotJoined);
        }
        let head = before.after(event);
        Ok(Self { joined: head.n, values: [head.log].into(), head, broken: false })
    }

    /// Where the log is.
    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// The number of the own join.
    pub(super) fn joined(&self) -> u64 {
        self.joined
    }

    /// Whether it can be followed no further.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Takes the event with number `n`.
    ///
    /// # Errors
    /// [`Broken::Number`] when it is not the next; the log is followed no further then.
    pub(super) fn push(&mut self, n: u64, event: &Event<'_>) -> Result<(), Broken> {
        let expected = self.head.n.wrapping_add(1);
        if n != expected {
            self.broken = true;
            return Err(Broken::Number { expected, found: n });
        }
        self.head = self.head.after(event);
        if self.values.len() == WINDOW {
            self.values.pop_front();
        }
        self.values.push_back(self.head.log);
        Ok(())
    }

    /// What a signed position is to this client.
    pub(super) fn judge(&self, at: &Position) -> Judged {
        if at.n < self.joined {
            return Judged::Before;
        }
        let Some(back) = self.head.n.checked_sub(at.n) else { return Judged::Split };
        let back = usize::try_from(back).unwrap_or(usize::MAX);
        match self.values.len().checked_sub(back.saturating_add(1)).and_then(|i| self.values.get(i)) {
            Some(value) if *value == at.log => Judged::Good,
            Some(_) => Judged::Split,
            None => Judged::Forgotten,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::UserName;
    use crate::transcript::{ChangesHash, MessageHash, RosterHash};

    fn members() -> Event<'static> {
        Event::Members { joined: 1, removed: 0, changes: ChangesHash([1; 32]), roster: RosterHash([2; 32]) }
    }

    fn own() -> ChangeHash {
        ChangeHash([7; 32])
    }

    fn before() -> Position {
        Position { n: 41, log: LogHash([9; 32]) }
    }

    fn joined() -> RoomLog {
        RoomLog::join(before(), &members(), &[ChangeHash([6; 32]), own()], own()).unwrap()
    }

    fn said(log: &mut RoomLog, what: &str) -> Position {
        let bob = UserName::new("bob");
        let event = Event::Message { account: &bob, message: MessageHash::of(what), signature: None };
        log.push(log.head().n + 1, &event).unwrap();
        log.head()
    }

    #[test]
    fn a_join_that_the_others_do_not_see_is_none() {
        let result = RoomLog::join(before(), &members(), &[ChangeHash([6; 32])], own());
        assert_eq!(result.unwrap_err(), Broken::NotJoined);
        assert_eq!(joined().head(), before().after(&members()));
    }

    #[test]
    fn every_value_since_the_own_join_is_known_and_no_other() {
        let mut log = joined();
        let places: Vec<_> =
            std::iter::once(log.head()).chain(["a", "b", "c"].map(|what| said(&mut log, what))).collect();
        for at in &places {
            assert_eq!(log.judge(at), Judged::Good);
            assert_eq!(log.judge(&Position { log: LogHash([0; 32]), ..*at }), Judged::Split);
        }
        assert_eq!(log.judge(&before()), Judged::Before);
        assert_eq!(log.judge(&Position { n: 0, log: LogHash([0; 32]) }), Judged::Before);
        assert_eq!(log.judge(&Position { n: 46, ..log.head() }), Judged::Split, "nobody can have hashed it yet");
        assert_eq!(log.judge(&Position { n: u64::MAX, ..log.head() }), Judged::Split);
    }

    #[test]
    fn an_event_that_is_missing_or_comes_twice_is_noticed() {
        let mut log = joined();
        for found in [42, 44, 0, u64::MAX] {
            assert_eq!(log.push(found, &members()), Err(Broken::Number { expected: 43, found }));
        }
        assert_eq!(log.push(43, &members()), Ok(()));
    }

    #[test]
    fn an_event_that_others_see_in_another_form_splits_all_that_follows() {
        let (mut one, mut other) = (joined(), joined());
        assert_eq!(said(&mut one, "yes").n, said(&mut other, "no").n);
        let later = said(&mut other, "later");
        said(&mut one, "later");
        assert_eq!(one.judge(&later), Judged::Split);
    }

    #[test]
    fn old_values_are_forgotten_and_that_is_said_apart() {
        let mut log = joined();
        let start = log.head();
        let second = said(&mut log, "second");
        for _ in 0..WINDOW - 2 {
            said(&mut log, "more");
        }
        assert_eq!(log.judge(&start), Judged::Good);
        said(&mut log, "one too many");
        assert_eq!(log.judge(&start), Judged::Forgotten);
        assert_eq!(log.judge(&second), Judged::Good);
    }
}
