//! What the server's threads meet in a model checker instead of the operating system.
//!
//! [Shuttle](https://docs.rs/shuttle) runs all threads of a test on one, and decides at each lock, channel and socket which of them
//! goes on: thousands of interleavings, each of which can be had again. What it has no stand-ins for is here, with the names and the
//! semantics of the real ones, so that `server/sync.rs` and `tls/socket.rs` can take either: [`channel`] for crossbeam's channels, [`socket`]
//! for TCP, [`time`] for threads that wait until a moment.
//!
//! It exists in unit tests alone, with the feature `model`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may fail loudly")]

pub(crate) mod channel;
pub(crate) mod socket;
pub(crate) mod time;

pub(crate) use shuttle::sync::{Mutex, MutexGuard, PoisonError};

/// What `server/sync.rs` takes from here.
pub(crate) mod threads {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub(crate) use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

    pub(crate) use super::channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
    pub(crate) use super::time::{Builder, Instant, JoinHandle};
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // the scene that failed tells enough
}
