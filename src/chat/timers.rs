//! What the hub has to do later.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Moments, and what is due then. Nothing is taken back: whoever is called looks whether there is still something to do.
#[derive(Debug)]
pub(super) struct Timers<T>(BinaryHeap<Reverse<(Duration, T)>>);

impl<T: Ord> Timers<T> {
    pub(super) fn new() -> Self {
        Self(BinaryHeap::new())
    }

    /// Asks to be called for `what` at `when`.
    pub(super) fn set(&mut self, when: Duration, what: T) {
        self.0.push(Reverse((when, what)));
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.peek().map(|Reverse((when, _))| *when)
    }

    /// Takes one that is due.
    pub(super) fn due(&mut self, now: Duration) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, what))| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_its_order_and_nothing_else() {
        let seconds = Duration::from_secs;
        let mut timers = Timers::new();
        for (when, what) in [(3, 'c'), (1, 'a'), (2, 'b'), (9, 'z')] {
            timers.set(seconds(when), what);
        }
        assert_eq!(timers.next(), Some(seconds(1)));
        assert_eq!(timers.due(seconds(0)), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.due(seconds(3))).collect();
        assert_eq!(due, ['a', 'b', 'c']);
        assert_eq!(timers.next(), Some(seconds(9)));
    }
}
