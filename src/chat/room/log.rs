//! A room's log: the one order of its events, hashed as every modern member hashes it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::protocol::modern::WINDOW;
use crate::transcript::{Event, LogHash, Position};

/// How long a position from before somebody left may still be signed: messages cross the news of it.
const LEAVE_GRACE: Duration = Duration::from_secs(30);

/// The log of a room that somebody is in.
#[derive(Debug)]
pub(in crate::chat) struct Log {
    head: Position,
    /// L(n) of the positions that may be signed, the head's last.
    recent: VecDeque<LogHash>,
    /// Positions before this one are stale: since then, somebody who could read is gone.
    floor: u64,
    /// Leaves whose grace has not run out, with their n, oldest first.
    leaves: VecDeque<(Duration, u64)>,
}

impl Log {
    /// A log that starts at L(0).
    pub(in crate::chat) fn new(start: LogHash) -> Self {
        Self { head: Position { n: 0, log: start }, recent: VecDeque::from([start]), floor: 0, leaves: VecDeque::new() }
    }

    /// The last event's place.
    pub(in crate::chat) fn head(&self) -> Position {
        self.head
    }

    /// Takes one more event; gives L(n−1), on which whoever joins with it builds.
    pub(in crate::chat) fn write(&mut self, event: &Event<'_>) -> LogHash {
        let before = self.head.log;
        self.head = self.head.after(event);
        self.recent.push_back(self.head.log);
        if self.recent.len() as u64 > WINDOW + 1 {
            self.recent.pop_front();
        }
        before
    }

    /// The event at the head put somebody out: whoever has not seen it must seal again.
    pub(in crate::chat) fn put_out(&mut self) {
        self.floor = self.head.n;
    }

    /// The event at the head let somebody go.
    pub(in crate::chat) fn let_go(&mut self, now: Duration) {
        self.end_graces(now);
        self.leaves.push_back((now + LEAVE_GRACE, self.head.n));
    }

    fn end_graces(&mut self, now: Duration) {
        while let Some((_, n)) = self.leaves.pop_front_if(|(end, _)| *end < now) {
            self.floor = self.floor.max(n);
        }
    }

    /// Whether a statement at this position may still be sent.
    pub(in crate::chat) fn takes(&mut self, now: Duration, at: &Position) -> bool {
        self.end_graces(now);
        at.n >= self.floor && self.at(at.n) == Some(&at.log)
    }

    /// L(n), as far as it is kept.
    fn at(&self, n: u64) -> Option<&LogHash> {
        let back = usize::try_from(self.head.n.checked_sub(n)?).ok()?;
        self.recent.get(self.recent.len().checked_sub(back + 1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::UserName;
    use crate::transcript::MessageHash;

    const NOW: Duration = Duration::from_secs(1000);

    fn say(log: &mut Log) -> Position {
        let bob = UserName::new("bob");
        log.write(&Event::Message { account: &bob, message: MessageHash::of("token"), signature: None });
        log.head()
    }

    #[test]
    fn each_event_builds_on_the_one_before() {
        let mut log = Log::new(LogHash([7; 32]));
        let start = log.head();
        assert_eq!((start.n, start.log), (0, LogHash([7; 32])));
        let bob = UserName::new("bob");
        let event = Event::Message { account: &bob, message: MessageHash::of("token"), signature: None };
        assert_eq!(log.write(&event), start.log);
        assert_eq!(log.head(), start.after(&event));
    }

    #[test]
    fn a_position_is_taken_within_the_window_and_with_its_own_value_only() {
        let mut log = Log::new(LogHash([7; 32]));
        let positions: Vec<_> = std::iter::once(log.head()).chain((0..WINDOW + 1).map(|_| say(&mut log))).collect();
        let mut taken = |at: Position| log.takes(NOW, &at);
        assert!(!taken(positions[0]), "one more than the window");
        assert!(taken(positions[1]) && taken(positions[WINDOW as usize + 1]));
        assert!(!taken(Position { n: 2, log: positions[1].log }));
        let head = positions[WINDOW as usize + 1];
        assert!(!taken(Position { n: head.n + 1, log: head.log }));
        assert!(!taken(Position { n: u64::MAX, log: head.log }));
        assert_eq!(log.recent.len() as u64, WINDOW + 1);
    }

    #[test]
    fn what_was_sealed_before_somebody_was_put_out_is_stale_at_once() {
        let mut log = Log::new(LogHash([7; 32]));
        let before = say(&mut log);
        let kick = say(&mut log);
        log.put_out();
        assert!(!log.takes(NOW, &before));
        assert!(log.takes(NOW, &kick));
    }

    #[test]
    fn what_was_sealed_before_somebody_left_is_stale_after_half_a_minute() {
        let mut log = Log::new(LogHash([7; 32]));
        let before = say(&mut log);
        let leave = say(&mut log);
        log.let_go(NOW);
        let second = Duration::from_secs(1);
        say(&mut log);
        log.let_go(NOW + 10 * second);
        assert!(log.takes(NOW + LEAVE_GRACE, &before));
        assert!(!log.takes(NOW + LEAVE_GRACE + second, &before));
        assert!(log.takes(NOW + LEAVE_GRACE + second, &leave));
        assert!(!log.takes(NOW + LEAVE_GRACE + 11 * second, &leave));
    }

    #[test]
    fn leaves_are_forgotten_after_their_grace_though_nobody_speaks() {
        let mut log = Log::new(LogHash([7; 32]));
        for n in 0..100 {
            log.let_go(NOW + n * LEAVE_GRACE);
        }
        assert!(log.leaves.len() <= 2, "{}", log.leaves.len());
    }
}
