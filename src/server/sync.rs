//! The locks, channels and threads of the server, in one place: a model checker can stand in for them here.

#[cfg(not(all(test, feature = "model")))]
pub(super) use self::real::*;
#[cfg(all(test, feature = "model"))]
pub(super) use crate::model::threads::*;

#[cfg(not(all(test, feature = "model")))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
    pub(crate) use std::thread::{Builder, JoinHandle};
    pub(crate) use std::time::Instant;

    pub(crate) use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
}

/// Takes a lock. A thread that panicked with it leaves data that is still good enough to go on with: every critical section
/// of the server is a single step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a message, or until `deadline`; without one, as long as it takes. A message that is there comes first, however
/// late it is.
pub(super) fn recv_until<T>(from: &Receiver<T>, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
    match deadline {
        Some(deadline) => from.recv_deadline(deadline),
        None => from.recv().map_err(RecvTimeoutError::from),
    }
}

/// Tells when all who hold a copy are gone: the threads that come and go with the connections hold one each.
#[derive(Clone)]
pub(super) struct Presence(#[allow(dead_code, reason = "held, not used: its drop is the signal")] Sender<()>);

/// The other end of a [`Presence`].
pub(super) struct Absence(Receiver<()>);

pub(super) fn presence() -> (Presence, Absence) {
    let (sender, receiver) = bounded(0);
    (Presence(sender), Absence(receiver))
}

impl Absence {
    /// Waits until all copies are dropped, or the time is up; whether they are.
    pub(super) fn wait(&self, timeout: std::time::Duration) -> bool {
        self.0.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
    }
}

/// A number of bytes that may be under way.
pub(super) struct Budget {
    limit: usize,
    taken: Mutex<usize>,
    freed: Condvar,
}

/// Bytes that are under way; given back when dropped.
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: Mutex::new(0), freed: Condvar::new() })
    }

    /// Takes so many bytes, as soon as the limit is not reached: so a large share waits no longer than a small one, and the
    /// limit is passed by one share at most. Whoever waits must hold none.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Share {
        let full = |taken: &mut usize| *taken >= self.limit;
        let mut taken = self.freed.wait_while(lock(&self.taken), full).unwrap_or_else(PoisonError::into_inner);
        *taken += bytes;
        if *taken < self.limit {
            self.freed.notify_one(); // one share that was given back may be room for many
        }
        Share { budget: Arc::clone(self), bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *lock(&self.budget.taken) -= self.bytes;
        self.budget.freed.notify_one();
    }
}

/// Buffers that threads take in turn, so that there are no more than threads that need one at the same time.
pub(super) struct Buffers {
    size: usize,
    most: usize,
    idle: Mutex<Vec<Box<[u8]>>>,
}

/// A buffer; given back when dropped.
pub(super) struct Buffer<'a> {
    buffers: &'a Buffers,
    bytes: Box<[u8]>,
}

impl Buffers {
    /// Buffers of `size` bytes, of which at most so many are kept.
    pub(super) fn new(size: usize, most: usize) -> Self {
        Self { size, most, idle: Mutex::default() }
    }

    /// A buffer, with whatever bytes are in it.
    pub(super) fn lend(&self) -> Buffer<'_> {
        let bytes = lock(&self.idle).pop().unwrap_or_else(|| vec![0; self.size].into());
        Buffer { buffers: self, bytes }
    }
}

impl AsMut<[u8]> for Buffer<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let mut idle = lock(&self.buffers.idle);
        if idle.len() < self.buffers.most {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_message_that_is_there_comes_before_a_moment_that_has_passed() {
        let (sender, receiver) = bounded(1);
        let past = Instant::now();
        sender.send("late").unwrap();
        assert_eq!(recv_until(&receiver, Some(past)), Ok("late"));
        assert_eq!(recv_until(&receiver, Some(past)), Err(RecvTimeoutError::Timeout));
        assert_eq!(recv_until(&receiver, Some(past + Duration::from_millis(1))), Err(RecvTimeoutError::Timeout));
    }

    #[test]
    fn all_who_wait_for_a_budget_get_their_share_and_it_is_passed_by_one_at_most() {
        let budget = Budget::new(100);
        let threads: Vec<_> = (0..8)
            .map(|i| {
                let budget = Arc::clone(&budget);
                std::thread::spawn(move || {
                    for n in 0..1000 {
                        let share = budget.take((i * n) % 70);
                        assert!(*lock(&budget.taken) < 170);
                        drop(share);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*lock(&budget.taken), 0);
    }

    #[test]
    fn without_a_moment_nothing_but_a_message_wakes() {
        let (sender, receiver) = bounded(0);
        let waiting = std::thread::spawn(move || (recv_until(&receiver, None), recv_until(&receiver, None)));
        sender.send("message").unwrap();
        drop(sender);
        assert_eq!(waiting.join().unwrap(), (Ok("message"), Err(RecvTimeoutError::Disconnected)));
    }
}
