//! Slows down those who guess passwords: per address and per account, with a time that never goes back.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::names::UserName;

/// Wrong passwords that an address may send at once, and how often one more.
const ADDRESS: Rate = Rate { burst: 30, every: Duration::from_secs(1) };

/// Wrong passwords for one account, from addresses that never knew the right one.
const ACCOUNT: Rate = Rate { burst: 20, every: Duration::from_secs(3) };

/// Entries of a table before those that no longer matter are thrown out.
const CROWDED: usize = 10_000;

struct Rate {
    burst: u32,
    every: Duration,
}

/// When the last of the failures that count will be forgotten, for each key.
#[derive(Debug)]
struct Failures<K>(HashMap<K, Duration>);

impl<K: Hash + Eq> Failures<K> {
    /// How long until one more try is allowed; zero when it is.
    fn wait(&self, key: &K, rate: &Rate, now: Duration) -> Duration {
        let forgotten = self.0.get(key).copied().unwrap_or_default();
        (forgotten + rate.every).saturating_sub(now + rate.every * rate.burst)
    }

    fn add(&mut self, key: K, rate: &Rate, now: Duration) {
        if self.0.len() >= CROWDED {
            self.0.retain(|_, forgotten| *forgotten > now);
        }
        let forgotten = self.0.entry(key).or_default();
        *forgotten = (*forgotten).max(now) + rate.every;
    }
}

/// The record of wrong passwords.
#[derive(Debug)]
pub(super) struct Throttle {
    addresses: Failures<IpAddr>,
    accounts: Failures<UserName>,
    /// Who once gave the right password from where: others' guesses do not lock them out.
    known: HashSet<(UserName, IpAddr)>,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self { addresses: Failures(HashMap::new()), accounts: Failures(HashMap::new()), known: HashSet::new() }
    }

    /// How long this address has to wait before it may try again, at this account if one is meant.
    pub(super) fn wait(&self, now: Duration, address: IpAddr, account: Option<&UserName>) -> Option<Duration> {
        let network = network(address);
        let by_address = self.addresses.wait(&network, &ADDRESS, now);
        let by_account = match account {
            Some(user) if !self.known.contains(&(user.clone(), network)) => self.accounts.wait(user, &ACCOUNT, now),
            _ => Duration::ZERO,
        };
        Some(by_address.max(by_account)).filter(|wait| !wait.is_zero())
    }

    pub(super) fn failed(&mut self, now: Duration, address: IpAddr, account: Option<&UserName>) {
        self.addresses.add(network(address), &ADDRESS, now);
        if let Some(user) = account {
            self.accounts.add(user.clone(), &ACCOUNT, now);
        }
    }

    pub(super) fn passed(&mut self, address: IpAddr, account: &UserName) {
        if self.known.len() >= CROWDED {
            self.known.clear();
        }
        self.known.insert((account.clone(), network(address)));
    }
}

/// What one person commands: an IPv4 address, or a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const START: Duration = Duration::from_secs(1000);

    #[test]
    fn an_address_may_fail_in_a_burst_and_then_at_a_rate() {
        let mut throttle = Throttle::new();
        for _ in 0..30 {
            assert_eq!(throttle.wait(START, HERE, None), None);
            throttle.failed(START, HERE, None);
        }
        assert_eq!(throttle.wait(START, HERE, None), Some(Duration::from_secs(1)));
        assert_eq!(throttle.wait(START + Duration::from_secs(1), HERE, None), None);
    }

    #[test]
    fn guesses_from_elsewhere_do_not_lock_out_who_is_known_here() {
        let mut throttle = Throttle::new();
        let bob = UserName::new("bob");
        throttle.passed(HERE, &bob);
        for i in 0..200u8 {
            throttle.failed(START, IpAddr::from([10, 0, 0, i]), Some(&bob));
        }
        assert_eq!(throttle.wait(START, HERE, Some(&bob)), None);
        assert!(throttle.wait(START, IpAddr::from([10, 0, 1, 1]), Some(&bob)).is_some());
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one() {
        let a: IpAddr = "2001:db8::1".parse().unwrap();
        let b: IpAddr = "2001:db8::2".parse().unwrap();
        assert_eq!(network(a), network(b));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }
}
