//! What each run last said in a room: so that nothing is taken twice, and nothing out of order.

use std::collections::{HashMap, VecDeque};

use crate::names::UserName;
use crate::transcript::RunId;

/// Runs that are remembered when they are gone from the room. One that is forgotten begins anew, and receivers, who count
/// for themselves, see it.
const MAX_GONE: usize = 4096;

/// Whose counter it is.
type Run = (UserName, RunId);

/// The last statement or act of a run that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) struct Taken {
    pub(in crate::chat) counter: u64,
    /// The event that it became.
    pub(in crate::chat) n: u64,
    /// When, in milliseconds since 1970.
    pub(in crate::chat) time: u64,
}

/// What a counter makes of the statement that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) enum Verdict {
    /// The next one.
    Next,
    /// A resend of the last one, which was taken.
    Duplicate(Taken),
    /// Another one than this, which is expected.
    OutOfOrder(u64),
}

/// The counters of a room.
#[derive(Debug, Default)]
pub(in crate::chat) struct Counters {
    last: HashMap<Run, Taken>,
    /// Runs that left, the longest gone first. One may have come back since, or stand here twice.
    gone: VecDeque<Run>,
}

impl Counters {
    /// What was last taken of a run.
    pub(in crate::chat) fn last(&self, user: &UserName, run: RunId) -> Option<Taken> {
        self.last.get(&(user.clone(), run)).copied()
    }

    /// Judges a counter. The first of a run is taken as it comes.
    pub(in crate::chat) fn judge(&self, user: &UserName, run: RunId, counter: u64, resend: bool) -> Verdict {
        match self.last(user, run) {
            None => Verdict::Next,
            Some(last) if resend && last.counter == counter => Verdict::Duplicate(last),
            Some(last) if last.counter.checked_add(1) == Some(counter) => Verdict::Next,
            Some(last) => Verdict::OutOfOrder(last.counter.saturating_add(1)),
        }
    }

    /// Something was taken. What was taken after it stays the last.
    pub(in crate::chat) fn take(&mut self, user: &UserName, run: RunId, taken: Taken) {
        let last = self.last.entry((user.clone(), run)).or_insert(taken);
        if taken.counter > last.counter {
            *last = taken;
        }
    }

    /// A run is gone from the room; `is_listed` tells whether one is there.
    pub(in crate::chat) fn let_go(
        &mut self,
        user: &UserName,
        run: RunId,
        is_listed: impl Fn(&UserName, RunId) -> bool,
    ) {
        if !self.last.contains_key(&(user.clone(), run)) {
            return;
        }
        self.gone.push_back((user.clone(), run));
        if self.gone.len() > MAX_GONE
            && let Some(oldest) = self.gone.pop_front()
            && !is_listed(&oldest.0, oldest.1)
        {
            self.last.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(counter: u64) -> Taken {
        Taken { counter, n: 10 + counter, time: 1000 + counter }
    }

    fn run(n: usize) -> RunId {
        RunId((n as u128).to_be_bytes())
    }

    #[test]
    fn after_the_first_only_the_next_is_taken_and_the_last_may_be_asked_for() {
        let bob = UserName::new("bob");
        let mut counters = Counters::default();
        assert_eq!(counters.judge(&bob, run(1), 5, false), Verdict::Next);
        counters.take(&bob, run(1), taken(5));
        let judge = |counter, resend| counters.judge(&bob, run(1), counter, resend);
        assert_eq!(judge(6, false), Verdict::Next);
        assert_eq!(judge(6, true), Verdict::Next, "the first try may have been lost on its way");
        assert_eq!(judge(5, true), Verdict::Duplicate(taken(5)));
        for wrong in [0, 4, 5, 7, u64::MAX] {
            assert_eq!(judge(wrong, false), Verdict::OutOfOrder(6));
        }
        assert_eq!(judge(4, true), Verdict::OutOfOrder(6));
    }

    #[test]
    fn each_run_of_each_account_counts_for_itself() {
        let (bob, eve) = (UserName::new("bob"), UserName::new("eve"));
        let mut counters = Counters::default();
        counters.take(&bob, run(1), taken(5));
        assert_eq!(counters.judge(&bob, run(2), 1, false), Verdict::Next);
        assert_eq!(counters.judge(&eve, run(1), 1, true), Verdict::Next);
    }

    #[test]
    fn no_counter_runs_over() {
        let bob = UserName::new("bob");
        let mut counters = Counters::default();
        counters.take(&bob, run(1), taken(1));
        counters.take(&bob, run(1), Taken { counter: u64::MAX, n: 1, time: 1 });
        assert_eq!(counters.judge(&bob, run(1), 0, false), Verdict::OutOfOrder(u64::MAX));
    }

    #[test]
    fn those_who_are_gone_are_remembered_up_to_a_number_and_those_who_are_back_for_good() {
        let bob = UserName::new("bob");
        let mut counters = Counters::default();
        let is_back = |_: &UserName, r: RunId| r == run(0);
        for n in 0..MAX_GONE + 2 {
            counters.take(&bob, run(n), taken(1));
            counters.let_go(&bob, run(n), is_back);
        }
        counters.let_go(&bob, run(MAX_GONE + 7), is_back); // it never said anything
        assert_eq!(counters.gone.len(), MAX_GONE);
        assert!(counters.last(&bob, run(0)).is_some() && counters.last(&bob, run(2)).is_some());
        assert!(counters.last(&bob, run(1)).is_none());
    }
}
