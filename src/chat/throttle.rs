//! Slows down those who guess passwords: per address and per account, with a time that never goes back.
//!
//! Only failures count, so that a crowd behind one address may come at once; tries that are being checked have a bound of
//! their own, behind which others may wait: what they try is judged when their turn comes, by the failures until then.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::chat::SessionId;
use crate::names::UserName;

/// Wrong passwords from one address at once, and how often one more.
const ADDRESS: Rate = Rate { burst: 30, every: Duration::from_secs(1) };

/// Wrong passwords for one account, from addresses that never knew the right one.
const ACCOUNT: Rate = Rate { burst: 20, every: Duration::from_secs(3) };

/// Wrong passwords of one who has given the right one from the same address before.
const ACQUAINTANCE: Rate = Rate { burst: 30, every: Duration::from_secs(1) };

/// Wrong room passwords from one address, whoever is logged in there.
const ROOMS: Rate = Rate { burst: 300, every: Duration::from_millis(100) };

/// Passwords from one address that are being checked at a time.
const AT_ONCE: u32 = 256;

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
        // No more than the burst: what was under way at once does not make the wait longer.
        *forgotten = ((*forgotten).max(now) + rate.every).min(now + rate.every * rate.burst);
    }
}

/// What a password is tried for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Try<'a> {
    /// An account, if there is one of that name.
    Login(Option<&'a UserName>),
    /// A room, by a member.
    Join(&'a UserName),
}

/// The record of failures.
#[derive(Debug)]
pub(super) struct Throttle {
    addresses: Failures<IpAddr>,
    accounts: Failures<UserName>,
    acquaintances: Failures<(UserName, IpAddr)>,
    rooms: Failures<IpAddr>,
    /// Tries that are being checked.
    under_way: HashMap<IpAddr, u32>,
    /// Who waits until fewer are.
    crowd: HashMap<IpAddr, VecDeque<SessionId>>,
    /// Who once gave the right password from where: neither others' guesses at the account nor those of neighbours at
    /// other accounts lock them out.
    known: HashSet<(UserName, IpAddr)>,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            addresses: Failures(HashMap::new()),
            accounts: Failures(HashMap::new()),
            acquaintances: Failures(HashMap::new()),
            rooms: Failures(HashMap::new()),
            under_way: HashMap::new(),
            crowd: HashMap::new(),
            known: HashSet::new(),
        }
    }

    /// Begins a try, which [`Throttle::end`] must end; or says how long it has to wait.
    pub(super) fn begin(&mut self, now: Duration, address: IpAddr, what: Try<'_>) -> Result<(), Duration> {
        let network = network(address);
        let wait = self.wait(now, network, what);
        let wait = if self.is_full(network) { wait.max(Duration::from_secs(1)) } else { wait };
        if !wait.is_zero() {
            return Err(wait);
        }
        *self.under_way.entry(network).or_default() += 1;
        Ok(())
    }

    /// Whether nothing but the number of tries under way stands against one more.
    pub(super) fn is_crowded(&self, now: Duration, address: IpAddr, what: Try<'_>) -> bool {
        let network = network(address);
        self.is_full(network) && self.wait(now, network, what).is_zero()
    }

    fn is_full(&self, network: IpAddr) -> bool {
        self.under_way.get(&network).is_some_and(|under_way| *under_way >= AT_ONCE)
    }

    /// Keeps a session that waits for its turn.
    pub(super) fn wait_in_crowd(&mut self, address: IpAddr, session: SessionId) {
        self.crowd.entry(network(address)).or_default().push_back(session);
    }

    /// Whose turn it is, when fewer tries are under way. The session may be gone.
    pub(super) fn next_in_crowd(&mut self, address: IpAddr) -> Option<SessionId> {
        let network = network(address);
        if self.is_full(network) {
            return None;
        }
        let next = self.crowd.get_mut(&network)?.pop_front();
        if next.is_none() {
            self.crowd.remove(&network);
        }
        next
    }

    /// How long failures keep one from trying.
    fn wait(&self, now: Duration, network: IpAddr, what: Try<'_>) -> Duration {
        match what {
            Try::Join(user) => {
                let own = self.acquaintances.wait(&(user.clone(), network), &ACQUAINTANCE, now);
                own.max(self.rooms.wait(&network, &ROOMS, now))
            }
            Try::Login(Some(user)) if self.is_known(user, network) => {
                self.acquaintances.wait(&(user.clone(), network), &ACQUAINTANCE, now)
            }
            Try::Login(user) => {
                let at_account = user.map(|user| self.accounts.wait(user, &ACCOUNT, now)).unwrap_or_default();
                self.addresses.wait(&network, &ADDRESS, now).max(at_account)
            }
        }
    }

    /// Ends a try, whatever came of it.
    pub(super) fn end(&mut self, address: IpAddr) {
        let network = network(address);
        if let Some(under_way) = self.under_way.get_mut(&network) {
            *under_way -= 1;
            if *under_way == 0 {
                self.under_way.remove(&network);
            }
        }
    }

    /// The password was wrong.
    pub(super) fn failed(&mut self, now: Duration, address: IpAddr, what: Try<'_>) {
        let network = network(address);
        match what {
            Try::Join(user) => {
                self.acquaintances.add((user.clone(), network), &ACQUAINTANCE, now);
                self.rooms.add(network, &ROOMS, now);
            }
            Try::Login(Some(user)) if self.is_known(user, network) => {
                self.acquaintances.add((user.clone(), network), &ACQUAINTANCE, now);
            }
            Try::Login(user) => {
                self.addresses.add(network, &ADDRESS, now);
                user.into_iter().for_each(|user| self.accounts.add(user.clone(), &ACCOUNT, now));
            }
        }
    }

    /// The password of an account was right.
    pub(super) fn passed(&mut self, address: IpAddr, user: &UserName) {
        if self.known.len() >= CROWDED {
            self.known.clear();
        }
        self.known.insert((user.clone(), network(address)));
    }

    fn is_known(&self, user: &UserName, network: IpAddr) -> bool {
        self.known.contains(&(user.clone(), network))
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

    impl Throttle {
        /// A wrong password, checked at once.
        fn guess(&mut self, now: Duration, address: IpAddr, what: Try<'_>) -> Result<(), Duration> {
            self.begin(now, address, what)?;
            self.end(address);
            self.failed(now, address, what);
            Ok(())
        }
    }

    #[test]
    fn an_address_may_fail_in_a_burst_and_then_at_a_rate() {
        let mut throttle = Throttle::new();
        for _ in 0..30 {
            assert_eq!(throttle.guess(START, HERE, Try::Login(None)), Ok(()));
        }
        assert_eq!(throttle.guess(START, HERE, Try::Login(None)), Err(Duration::from_secs(1)));
        assert_eq!(throttle.guess(START + Duration::from_secs(1), HERE, Try::Login(None)), Ok(()));
    }

    #[test]
    fn a_crowd_behind_one_address_may_come_at_once_but_not_without_bound() {
        let mut throttle = Throttle::new();
        for i in 0..AT_ONCE {
            let user = UserName::new(&format!("u{i}"));
            assert_eq!(throttle.begin(START, HERE, Try::Login(Some(&user))), Ok(()));
        }
        assert!(throttle.begin(START, HERE, Try::Login(None)).is_err());
        throttle.end(HERE);
        assert_eq!(throttle.begin(START, HERE, Try::Login(None)), Ok(()));
    }

    #[test]
    fn neither_guesses_from_elsewhere_nor_a_neighbours_lock_out_who_is_known_here() {
        let mut throttle = Throttle::new();
        let (bob, eve) = (UserName::new("bob"), UserName::new("eve"));
        throttle.passed(HERE, &bob);
        for i in 0..200u8 {
            let _ = throttle.guess(START, IpAddr::from([10, 0, 0, i]), Try::Login(Some(&bob)));
            let _ = throttle.guess(START, HERE, Try::Login(None));
            let _ = throttle.guess(START, HERE, Try::Join(&eve));
        }
        assert_eq!(throttle.begin(START, HERE, Try::Login(Some(&bob))), Ok(()));
        assert_eq!(throttle.begin(START, HERE, Try::Join(&bob)), Ok(()));
        assert!(throttle.begin(START, IpAddr::from([10, 0, 1, 1]), Try::Login(Some(&bob))).is_err());
        assert!(throttle.begin(START, HERE, Try::Login(Some(&eve))).is_err());
        assert!(throttle.begin(START, HERE, Try::Join(&eve)).is_err());
    }

    #[test]
    fn many_accounts_do_not_make_many_guesses_at_a_room() {
        let mut throttle = Throttle::new();
        let guesses =
            (0..1000).filter(|i| throttle.guess(START, HERE, Try::Join(&UserName::new(&format!("u{i}")))).is_ok());
        assert_eq!(guesses.count(), 300);
    }

    /// However many try, an account that is under attack takes one more try within its rate.
    #[test]
    fn a_lock_out_does_not_grow_with_the_attack() {
        let mut throttle = Throttle::new();
        let bob = UserName::new("bob");
        for i in 0..5000u16 {
            let [high, low] = i.to_be_bytes();
            throttle.failed(START, IpAddr::from([10, 0, high, low]), Try::Login(Some(&bob)));
        }
        assert_eq!(throttle.begin(START + ACCOUNT.every, HERE, Try::Login(Some(&bob))), Ok(()));
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one() {
        let a: IpAddr = "2001:db8::1".parse().unwrap();
        let b: IpAddr = "2001:db8::2".parse().unwrap();
        assert_eq!(network(a), network(b));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }
}
