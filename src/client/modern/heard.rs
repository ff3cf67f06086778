//! What came and waits: for the keys of its author, or for a grant.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::chains::RunKey;
use super::signed::{Said, Signed};
use crate::client::shown::Trust;
use crate::protocol::modern as wire;

/// Most that waits for keys: things, and bytes.
const MOST_WAITING: usize = 4_096;
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// A message whose counter was taken, and who vouches for it.
pub(super) struct Vouched {
    pub(super) author: wire::Author,
    pub(super) trust: Trust,
    pub(super) said: Said,
}

/// What waits.
#[derive(Default)]
pub(super) struct Heard {
    /// For the keys of its author.
    pub(super) queue: VecDeque<(wire::Author, Signed)>,
    pub(super) bytes: usize,
    /// For a grant, by the run that owes it.
    pub(super) delayed: HashMap<RunKey, VecDeque<Vouched>>,
    pub(super) delayed_len: usize,
    /// Until when grants that were asked for are waited for.
    pub(super) asked: BTreeMap<(RunKey, u64), Duration>,
    /// The same in order.
    pub(super) expiries: VecDeque<(Duration, RunKey, u64)>,
}

impl Heard {
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.expiries.front().map(|(until, ..)| *until)
    }

    /// The room is left: nothing of it is shown any more. Direct messages go on waiting; so do chain keys, for the return: their
    /// authors take this client for a holder.
    pub(super) fn clear(&mut self) {
        self.queue.retain(|(_, signed)| matches!(signed, Signed::Direct(..) | Signed::Grant { .. }));
        self.bytes = self.queue.iter().map(|(_, signed)| signed.len()).sum();
        self.delayed.clear();
        self.delayed_len = 0;
        for (_, run, epoch) in self.expiries.drain(..) {
            self.asked.remove(&(run, epoch));
        }
    }

    pub(super) fn is_full(&self, more: usize) -> bool {
        self.queue.len() + self.delayed_len >= MOST_WAITING || self.bytes + more > MOST_BYTES
    }
}
