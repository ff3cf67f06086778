//! A bounded number of places, for connections and for threads.

use crate::server::sync::{Arc, AtomicUsize, Ordering};

/// How many there may be.
pub(super) struct Seats {
    free: AtomicUsize,
}

/// One place; given back when dropped.
pub(super) struct Seat(Arc<Seats>);

impl Seats {
    pub(super) fn new(seats: usize) -> Arc<Self> {
        Arc::new(Self { free: AtomicUsize::new(seats) })
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let taken = self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1));
        taken.ok().map(|_| Seat(Arc::clone(self)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::SeqCst);
    }
}
