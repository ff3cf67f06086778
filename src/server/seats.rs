//! A bounded number of places, for connections and for threads, with a share for each network.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::chat;
use crate::server::sync::{Arc, Mutex, lock};

/// Places, of which one network gets its share at most.
pub(super) struct Hall {
    places: usize,
    per_network: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    networks: HashMap<IpAddr, usize>,
}

/// One place; given back when dropped.
pub(super) struct Place {
    hall: Arc<Hall>,
    network: IpAddr,
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
    pub(super) fn new(places: usize, per_network: usize) -> Arc<Self> {
        Arc::new(Self { places, per_network, taken: Mutex::default() })
    }

    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, NoPlace> {
        let network = chat::network(address);
        let mut taken = lock(&self.taken);
        if taken.all >= self.places {
            return Err(NoPlace::Full);
        }
        let of_network = taken.networks.get(&network).copied().unwrap_or_default();
        if of_network >= self.per_network {
            return Err(NoPlace::Share);
        }
        taken.all += 1;
        taken.networks.insert(network, of_network + 1);
        Ok(Place { hall: Arc::clone(self), network })
    }

    /// Whether few places are left: one in sixteen.
    pub(super) fn is_scarce(&self) -> bool {
        lock(&self.taken).all + self.places / 16 >= self.places
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.hall.taken);
        taken.all -= 1;
        let left = taken.networks.get(&self.network).map_or(0, |of_network| of_network.saturating_sub(1));
        match left {
            0 => taken.networks.remove(&self.network),
            left => taken.networks.insert(self.network, left),
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
        let taken = lock(&hall.taken);
        assert!(taken.all == 0 && taken.networks.is_empty(), "nothing is kept of who is gone");
    }
}
