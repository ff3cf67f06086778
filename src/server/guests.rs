//! The connections at which nobody is logged in: when places are scarce, they make room.

use std::collections::BTreeMap;

use crate::server::link::Link;
use crate::server::sync::{Arc, Mutex, Weak, lock};

/// All guests, in the order in which they came, or last wanted a password hashed: who is about to get in is not the first to go.
#[derive(Default)]
pub(super) struct Guests(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    next: u64,
    links: BTreeMap<u64, Weak<Link>>,
}

/// One of them, until it is dropped.
pub(super) struct Guest {
    guests: Arc<Guests>,
    number: u64,
}

impl Guests {
    pub(super) fn add(self: &Arc<Self>, link: &Arc<Link>) -> Guest {
        let mut waiting = lock(&self.0);
        let number = waiting.next;
        waiting.next += 1;
        waiting.links.insert(number, Arc::downgrade(link));
        Guest { guests: Arc::clone(self), number }
    }

    /// Sends the one away that has waited longest; its place is free a moment later.
    pub(super) fn send_oldest_away(&self) {
        let oldest = lock(&self.0).links.pop_first();
        if let Some(link) = oldest.and_then(|(_, link)| link.upgrade()) {
            link.send_away();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        lock(&self.guests.0).links.remove(&self.number);
    }
}
