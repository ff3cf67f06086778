//! What the hub has to do later.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// So many moments are kept whether anybody still waits for them or not.
const FEW: usize = 1024;

/// Moments, and what is due then. None is taken back by itself: whoever is called looks whether there is still something to do.
#[derive(Debug)]
pub(super) struct Timers<T> {
    moments: BinaryHeap<Reverse<(Duration, T)>>,
    /// With more than so many, those that nobody waits for are looked for.
    enough: usize,
}

impl<T: Ord> Timers<T> {
    pub(super) fn new() -> Self {
        Self { moments: BinaryHeap::new(), enough: FEW }
    }

    /// Asks to be called for `what` at `when`.
    pub(super) fn set(&mut self, when: Duration, what: T) {
        self.moments.push(Reverse((when, what)));
    }

    /// Forgets what nobody waits for any more, when that may be half of all or more: else who comes and goes would leave a moment
    /// each. On average it takes no longer than to have set them.
    pub(super) fn prune(&mut self, is_waited_for: impl Fn(&T) -> bool) {
        if self.moments.len() > self.enough {
            self.moments.retain(|Reverse((_, what))| is_waited_for(what));
            self.enough = FEW.max(2 * self.moments.len());
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.moments.len()
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.moments.peek().map(|Reverse((when, _))| *when)
    }

    /// Takes one that is due.
    pub(super) fn due(&mut self, now: Duration) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.moments.pop().map(|Reverse((_, what))| what)
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

    #[test]
    fn what_nobody_waits_for_is_forgotten_before_it_is_due() {
        let mut timers = Timers::new();
        for number in 0..100_000 {
            timers.set(Duration::from_secs(number), number);
            timers.prune(|number| number.is_multiple_of(1000));
            assert!(timers.len() <= FEW + 1 + 2 * 100, "{}", timers.len());
        }
        let due: Vec<_> = std::iter::from_fn(|| timers.due(Duration::MAX)).filter(|n| n.is_multiple_of(1000)).collect();
        assert!(due.iter().copied().eq((0..100_000).step_by(1000)), "and nothing else is");
    }
}
