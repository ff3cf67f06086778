//! Bytes that are kept for all peers together: what each may grow to is no bound while there are very many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that all who hold some may have together. It is counted, not enforced: who finds it full makes room.
#[derive(Debug)]
pub struct Quota {
    most: usize,
    used: AtomicUsize,
}

/// What one holds of a [`Quota`]; given back when dropped.
#[derive(Debug)]
pub struct Usage {
    quota: Arc<Quota>,
    bytes: AtomicUsize,
}

impl Quota {
    /// Of so many bytes.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, used: AtomicUsize::new(0) })
    }

    /// Whether more is held than there should be.
    pub fn is_full(&self) -> bool {
        self.used.load(Ordering::SeqCst) > self.most
    }

    /// Whether so many bytes more would be too many.
    pub fn lacks(&self, more: usize) -> bool {
        self.used.load(Ordering::SeqCst).saturating_add(more) > self.most
    }
}

impl Usage {
    /// Of nothing so far.
    pub fn of(quota: &Arc<Quota>) -> Self {
        Self { quota: Arc::clone(quota), bytes: AtomicUsize::new(0) }
    }

    /// Says how many bytes are held now. Where that is what it was, which is what there is most of, nothing shared is touched.
    pub fn set(&self, bytes: usize) {
        if bytes == self.bytes() {
            return;
        }
        let before = self.bytes.swap(bytes, Ordering::SeqCst);
        // Wrapping, as the sum is: it may go down.
        self.quota.used.fetch_add(bytes.wrapping_sub(before), Ordering::SeqCst);
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    /// What it is a part of.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_and_given_back() {
        let quota = Quota::new(100);
        let (one, two) = (Usage::of(&quota), Usage::of(&quota));
        one.set(60);
        two.set(40);
        assert!(!quota.is_full() && quota.lacks(1) && !quota.lacks(0));
        two.set(41);
        assert!(quota.is_full());
        one.set(10);
        assert!(!quota.is_full() && quota.lacks(50) && !quota.lacks(49));
        drop(two);
        assert_eq!((one.bytes(), quota.used.load(Ordering::SeqCst)), (10, 10));
        drop(one);
        assert_eq!(quota.used.load(Ordering::SeqCst), 0);
    }
}
