//! Slows down those who guess passwords: per address and per account, with a time that never goes back.
//!
//! A try is charged before the password is checked, so that many at once count as well, and paid back when it was right.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::names::UserName;

/// Wrong passwords from one address at once, and how often one more.
const ADDRESS: Rate = Rate { burst: 30, every: Duration::from_secs(1) };

/// Wrong passwords for one account, from addresses that never knew the right one.
const ACCOUNT: Rate = Rate { burst: 20, every: Duration::from_secs(3) };

/// Wrong passwords of one who has given the right one from the same address before.
const ACQUAINTANCE: Rate = Rate { burst: 30, every: Duration::from_secs(1) };

/// Entries of a table before those that no longer matter are thrown out.
const CROWDED: usize = 10_000;

struct Rate {
    burst: u32,
    every: Duration,
}

/// When the last of the tries that count will be forgotten, for each key.
#[derive(Debug)]
struct Tries<K>(HashMap<K, Duration>);

impl<K: Hash + Eq> Tries<K> {
    /// How long until one more try is allowed; zero when it is.
    fn wait(&self, key: &K, rate: &Rate, now: Duration) -> Duration {
        let forgotten = self.0.get(key).copied().unwrap_or_default();
        (forgotten + rate.every).saturating_sub(now + rate.every * rate.burst)
    }

    fn charge(&mut self, key: K, rate: &Rate, now: Duration) {
        if self.0.len() >= CROWDED {
            self.0.retain(|_, forgotten| *forgotten > now);
        }
        let forgotten = self.0.entry(key).or_default();
        *forgotten = (*forgotten).max(now) + rate.every;
    }

    fn pay_back(&mut self, key: &K, rate: &Rate) {
        if let Some(forgotten) = self.0.get_mut(key) {
            *forgotten = forgotten.saturating_sub(rate.every);
        }
    }
}

/// The record of tries.
#[derive(Debug)]
pub(super) struct Throttle {
    addresses: Tries<IpAddr>,
    accounts: Tries<UserName>,
    acquaintances: Tries<(UserName, IpAddr)>,
    /// Who once gave the right password from where: neither others' guesses at the account nor those of neighbours at
    /// other accounts lock them out.
    known: HashSet<(UserName, IpAddr)>,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            addresses: Tries(HashMap::new()),
            accounts: Tries(HashMap::new()),
            acquaintances: Tries(HashMap::new()),
            known: HashSet::new(),
        }
    }

    /// Charges a try of `user`'s, if there is such a user, from an address; or says how long it has to wait.
    pub(super) fn charge(&mut self, now: Duration, address: IpAddr, user: Option<&UserName>) -> Result<(), Duration> {
        let network = network(address);
        let acquaintance = user.map(|user| (user.clone(), network)).filter(|pair| self.known.contains(pair));
        let wait = match (&acquaintance, user) {
            (Some(pair), _) => self.acquaintances.wait(pair, &ACQUAINTANCE, now),
            (None, Some(user)) => {
                let at_account = self.accounts.wait(user, &ACCOUNT, now);
                self.addresses.wait(&network, &ADDRESS, now).max(at_account)
            }
            (None, None) => self.addresses.wait(&network, &ADDRESS, now),
        };
        if !wait.is_zero() {
            return Err(wait);
        }
        match (acquaintance, user) {
            (Some(pair), _) => self.acquaintances.charge(pair, &ACQUAINTANCE, now),
            (None, user) => {
                self.addresses.charge(network, &ADDRESS, now);
                user.into_iter().for_each(|user| self.accounts.charge(user.clone(), &ACCOUNT, now));
            }
        }
        Ok(())
    }

    /// The password was right: the try did not count.
    pub(super) fn passed(&mut self, address: IpAddr, user: &UserName) {
        let network = network(address);
        let pair = (user.clone(), network);
        if self.known.contains(&pair) {
            return self.acquaintances.pay_back(&pair, &ACQUAINTANCE);
        }
        self.addresses.pay_back(&network, &ADDRESS);
        self.accounts.pay_back(user, &ACCOUNT);
        if self.known.len() >= CROWDED {
            self.known.clear();
        }
        self.known.insert(pair);
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
            assert_eq!(throttle.charge(START, HERE, None), Ok(()));
        }
        assert_eq!(throttle.charge(START, HERE, None), Err(Duration::from_secs(1)));
        assert_eq!(throttle.charge(START + Duration::from_secs(1), HERE, None), Ok(()));
    }

    #[test]
    fn right_passwords_cost_nothing() {
        let mut throttle = Throttle::new();
        let bob = UserName::new("bob");
        for _ in 0..1000 {
            assert_eq!(throttle.charge(START, HERE, Some(&bob)), Ok(()));
            throttle.passed(HERE, &bob);
        }
    }

    #[test]
    fn neither_guesses_from_elsewhere_nor_a_neighbours_lock_out_who_is_known_here() {
        let mut throttle = Throttle::new();
        let bob = UserName::new("bob");
        assert_eq!(throttle.charge(START, HERE, Some(&bob)), Ok(()));
        throttle.passed(HERE, &bob);
        for i in 0..200u8 {
            let _ = throttle.charge(START, IpAddr::from([10, 0, 0, i]), Some(&bob));
            let _ = throttle.charge(START, HERE, None);
        }
        assert_eq!(throttle.charge(START, HERE, Some(&bob)), Ok(()));
        assert!(throttle.charge(START, IpAddr::from([10, 0, 1, 1]), Some(&bob)).is_err());
        assert!(throttle.charge(START, HERE, Some(&UserName::new("eve"))).is_err());
    }

    /// However many try, an account that is under attack takes one more try within its rate.
    #[test]
    fn a_lock_out_does_not_grow_with_the_attack() {
        let mut throttle = Throttle::new();
        let bob = UserName::new("bob");
        for i in 0..5000u16 {
            let [high, low] = i.to_be_bytes();
            let _ = throttle.charge(START, IpAddr::from([10, 0, high, low]), Some(&bob));
        }
        assert_eq!(throttle.charge(START + ACCOUNT.every, HERE, Some(&bob)), Ok(()));
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one() {
        let a: IpAddr = "2001:db8::1".parse().unwrap();
        let b: IpAddr = "2001:db8::2".parse().unwrap();
        assert_eq!(network(a), network(b));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }
}
