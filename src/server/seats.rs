//! A bounded number of places, for connections and for threads.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::chat;
use crate::server::sync::{Arc, AtomicUsize, Mutex, Ordering, lock};

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

/// The places of connections, of which one network gets its share at most.
pub(super) struct Hall {
    seats: Arc<Seats>,
    per_network: usize,
    networks: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of a connection; given back when dropped.
pub(super) struct Place {
    hall: Arc<Hall>,
    network: IpAddr,
    _seat: Seat,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All are taken.
    Full,
    /// The network has its share.
    Share,
}

impl Hall {
    pub(super) fn new(seats: usize, per_network: usize) -> Arc<Self> {
        Arc::new(Self { seats: Seats::new(seats), per_network, networks: Mutex::default() })
    }

    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, NoPlace> {
        let network = chat::network(address);
        let seat = self.seats.take().ok_or(NoPlace::Full)?;
        let mut networks = lock(&self.networks);
        let taken = networks.get(&network).copied().unwrap_or_default();
        if taken >= self.per_network {
            return Err(NoPlace::Share);
        }
        networks.insert(network, taken + 1);
        Ok(Place { hall: Arc::clone(self), network, _seat: seat })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut networks = lock(&self.hall.networks);
        let left = networks.get(&self.network).map_or(0, |taken| taken.saturating_sub(1));
        match left {
            0 => networks.remove(&self.network),
            left => networks.insert(self.network, left),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_gets_its_share_and_what_it_gives_back() {
        let hall = Hall::new(3, 2);
        let here = IpAddr::from([10, 0, 0, 1]);
        let [one, two] = ["2001:db8::1", "2001:db8::2"].map(|address| hall.enter(address.parse().unwrap()).unwrap());
        assert_eq!(hall.enter("2001:db8::3".parse().unwrap()).err(), Some(NoPlace::Share));
        let three = hall.enter(here).unwrap();
        assert_eq!(hall.enter(here).err(), Some(NoPlace::Full));
        drop(one);
        let four = hall.enter(here).unwrap();
        drop((two, three, four));
        assert!(lock(&hall.networks).is_empty(), "nothing is kept of who is gone");
        assert_eq!(hall.seats.free.load(Ordering::SeqCst), 3);
    }
}
