//! Slows down those who guess passwords, or make accounts without end: with a time that never goes back.
//!
//! Only failures count, so that a crowd behind one address may come at once; tries that are being checked have a bound of
//! their own, behind which others may wait: what they try is judged when their turn comes, by the failures until then.
//!
//! Nobody is locked out by what others do elsewhere: who has given the right password from a network has a bucket of its own
//! there, and a network that has not failed at an account lately may try once, however many others guess at it. Names that no
//! account has are counted like the others, so that being slowed down tells nothing of them.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::chat::{GuessRates, Level, Rate, SessionId};
use crate::names::UserName;

/// Passwords from one network that are being checked at a time.
const AT_ONCE: u32 = 256;

/// Entries of a table before those that no longer matter are thrown out.
const CROWDED: usize = 10_000;

/// Networks from which an account's password was given that are remembered: those of the last time.
const KNOWN: usize = 16;

/// How full the bucket of each key is.
#[derive(Debug)]
struct Levels<K> {
    levels: HashMap<K, Level>,
    /// At how many it is worth looking for those that are empty.
    crowded: usize,
}

impl<K: Hash + Eq> Levels<K> {
    fn new() -> Self {
        Self { levels: HashMap::new(), crowded: CROWDED }
    }

    fn of(&self, key: &K) -> Level {
        self.levels.get(key).copied().unwrap_or_default()
    }

    /// How long until one more try is allowed; zero when it is.
    fn wait(&self, key: &K, rate: &Rate, now: Duration) -> Duration {
        self.of(key).wait(rate, now)
    }

    fn add(&mut self, key: K, rate: &Rate, now: Duration) {
        if self.levels.len() >= self.crowded {
            self.levels.retain(|_, level| !level.is_empty(now));
            self.crowded = CROWDED.max(2 * self.levels.len()); // however many are left, few additions look at all
        }
        self.levels.entry(key).or_default().add_within(rate, now);
    }
}

/// What a password is tried for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Try<'a> {
    /// An account, whether or not there is one of that name.
    Login(&'a UserName),
    /// A room, by a member.
    Join(&'a UserName),
}

/// A name, of whatever length and whoever typed it, in a few bytes that nobody can foresee: of its SHA-256 behind a key.
type NameHash = [u8; 8];

/// The record of failures, and of new accounts.
#[derive(Debug)]
pub(super) struct Throttle {
    rates: GuessRates,
    /// The key of the names' hashes.
    key: [u8; 32],
    networks: Levels<IpAddr>,
    accounts: Levels<NameHash>,
    strangers: Levels<(NameHash, IpAddr)>,
    acquaintances: Levels<(NameHash, IpAddr)>,
    rooms: Levels<IpAddr>,
    registrations: Levels<IpAddr>,
    /// Tries that are being checked.
    under_way: HashMap<IpAddr, u32>,
    /// Who waits until fewer are.
    crowd: HashMap<IpAddr, VecDeque<SessionId>>,
    /// From where the right password of each account was given last: neither others' guesses at the account nor those of
    /// neighbours at other accounts lock them out. There is an account for each.
    known: HashMap<UserName, VecDeque<IpAddr>>,
}

impl Throttle {
    /// With the default rates. Nobody else must know the key.
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self {
            rates: GuessRates::default(),
            key,
            networks: Levels::new(),
            accounts: Levels::new(),
            strangers: Levels::new(),
            acquaintances: Levels::new(),
            rooms: Levels::new(),
            registrations: Levels::new(),
            under_way: HashMap::new(),
            crowd: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// The same with these rates.
    pub(super) fn with_rates(self, rates: GuessRates) -> Self {
        Self { rates, ..self }
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
        if let Try::Login(user) = what
            && !self.is_known(user, network)
        {
            // Taken back when the password is right: however many are tried at once, each counts.
            self.strangers.add((self.hash(user), network), &self.rates.stranger, now);
        }
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
        let rates = &self.rates;
        match what {
            Try::Join(user) => {
                let own = self.acquaintances.wait(&(self.hash(user), network), &rates.acquaintance, now);
                own.max(self.rooms.wait(&network, &rates.rooms, now))
            }
            Try::Login(user) if self.is_known(user, network) => {
                self.acquaintances.wait(&(self.hash(user), network), &rates.acquaintance, now)
            }
            Try::Login(user) => {
                let name = self.hash(user);
                let own = self.strangers.of(&(name, network));
                let at_account = match own.is_empty(now) {
                    true => Duration::ZERO,
                    false => own.wait(&rates.stranger, now).max(self.accounts.wait(&name, &rates.account, now)),
                };
                self.networks.wait(&network, &rates.network, now).max(at_account)
            }
        }
    }

    fn hash(&self, user: &UserName) -> NameHash {
        let digest = Sha256::new().chain_update(self.key).chain_update(user.as_str()).finalize();
        std::array::from_fn(|i| digest.get(i).copied().unwrap_or_default())
    }

    /// How long until a token may be tried from an address, where accounts are made with one.
    pub(super) fn token_wait(&self, now: Duration, address: IpAddr) -> Duration {
        self.networks.wait(&network(address), &self.rates.network, now)
    }

    /// A token that was tried is none.
    pub(super) fn token_failed(&mut self, now: Duration, address: IpAddr) {
        self.networks.add(network(address), &self.rates.network, now);
    }

    /// Counts a new account from an address; or says how long it has to wait.
    pub(super) fn register(&mut self, now: Duration, address: IpAddr, rate: &Rate) -> Result<(), Duration> {
        let network = network(address);
        let wait = self.registrations.wait(&network, rate, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.registrations.add(network, rate, now);
        Ok(())
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
                self.acquaintances.add((self.hash(user), network), &self.rates.acquaintance, now);
                self.rooms.add(network, &self.rates.rooms, now);
            }
            Try::Login(user) if self.is_known(user, network) => {
                self.acquaintances.add((self.hash(user), network), &self.rates.acquaintance, now);
            }
            Try::Login(user) => {
                self.networks.add(network, &self.rates.network, now);
                self.accounts.add(self.hash(user), &self.rates.account, now); // `begin` has counted it as a stranger's
            }
        }
    }

    /// The password of an account was right.
    pub(super) fn passed(&mut self, address: IpAddr, user: &UserName) {
        let network = network(address);
        if self.is_known(user, network) {
            return;
        }
        self.strangers.levels.remove(&(self.hash(user), network));
        let known = self.known.entry(user.clone()).or_default();
        known.truncate(KNOWN - 1);
        known.push_front(network);
    }

    fn is_known(&self, user: &UserName, network: IpAddr) -> bool {
        self.known.get(user).is_some_and(|known| known.contains(&network))
    }
}

/// A wait as it is told: nobody should come back too early.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// What one person commands: an IPv4 address, or a /64 of IPv6.
pub fn network(address: IpAddr) -> IpAddr {
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

    fn throttle() -> Throttle {
        Throttle::new([7; 32])
    }

    fn there(n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    }

    fn user(n: usize) -> UserName {
        UserName::new(&format!("u{n}"))
    }

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
        let mut throttle = throttle();
        for n in 0..30 {
            assert_eq!(throttle.guess(START, HERE, Try::Login(&user(n))), Ok(()));
        }
        assert_eq!(throttle.guess(START, HERE, Try::Login(&user(30))), Err(Duration::from_secs(1)));
        assert_eq!(throttle.guess(START + Duration::from_secs(1), HERE, Try::Login(&user(31))), Ok(()));
    }

    #[test]
    fn a_crowd_behind_one_address_may_come_at_once_but_not_without_bound() {
        let mut throttle = throttle();
        for n in 0..AT_ONCE as usize {
            assert_eq!(throttle.begin(START, HERE, Try::Login(&user(n))), Ok(()));
        }
        assert!(throttle.begin(START, HERE, Try::Login(&user(0))).is_err());
        throttle.end(HERE);
        assert_eq!(throttle.begin(START, HERE, Try::Login(&user(0))), Ok(()));
    }

    #[test]
    fn neither_guesses_from_elsewhere_nor_a_neighbours_lock_out_who_is_known_here() {
        let mut throttle = throttle();
        let (bob, eve) = (UserName::new("bob"), UserName::new("eve"));
        throttle.passed(HERE, &bob);
        for n in 0..200 {
            let _ = throttle.guess(START, there(n), Try::Login(&bob));
            let _ = throttle.guess(START, HERE, Try::Login(&user(n.into())));
            let _ = throttle.guess(START, HERE, Try::Join(&eve));
        }
        assert_eq!(throttle.begin(START, HERE, Try::Login(&bob)), Ok(()));
        assert_eq!(throttle.begin(START, HERE, Try::Join(&bob)), Ok(()));
        assert!(throttle.begin(START, there(0), Try::Login(&bob)).is_err());
        assert!(throttle.begin(START, HERE, Try::Login(&eve)).is_err());
        assert!(throttle.begin(START, HERE, Try::Join(&eve)).is_err());
    }

    /// An attack that goes on for a day, from many networks and as fast as it may, never keeps out somebody who comes from a new one.
    #[test]
    fn an_attack_that_does_not_end_locks_nobody_out() {
        let mut throttle = throttle();
        let bob = UserName::new("bob");
        let minute = Duration::from_secs(60);
        let mut guesses = 0;
        for minutes in 0..60 * 24 {
            let now = START + minute * minutes;
            for n in 0..40 {
                while throttle.guess(now, there(n), Try::Login(&bob)).is_ok() {
                    guesses += 1;
                }
            }
            assert_eq!(throttle.begin(now, there(1000), Try::Login(&bob)), Ok(()), "after {minutes} minutes");
            throttle.end(there(1000));
        }
        assert!(guesses <= 40 * 10 + 60 * 24 * 40, "{guesses} guesses");
    }

    #[test]
    fn one_who_guesses_alone_is_slowed_down_alone() {
        let mut throttle = throttle();
        let bob = UserName::new("bob");
        let guesses =
            (0..3600).filter(|s| throttle.guess(START + Duration::from_secs(*s), HERE, Try::Login(&bob)).is_ok());
        assert_eq!(guesses.count(), 10 + 59);
        let later = START + Duration::from_secs(3600);
        assert_eq!(throttle.guess(later, there(1), Try::Login(&bob)), Ok(()), "and mistypes");
        assert_eq!(throttle.guess(later, there(1), Try::Login(&bob)), Ok(()));
    }

    /// A name that nobody has is slowed down exactly as one that somebody has: the throttle is not told which it is.
    #[test]
    fn being_slowed_down_tells_nothing_of_a_name() {
        let answers = |name: &str| {
            let mut throttle = throttle();
            let tries = (0..100u16).map(|n| throttle.guess(START, there(n % 5), Try::Login(&UserName::new(name))));
            tries.collect::<Vec<_>>()
        };
        assert_eq!(answers("bob"), answers("nobody"));
        assert!(answers("nobody").iter().any(Result::is_err));
    }

    /// Tries that are under way count, and are forgotten when one of them is right.
    #[test]
    fn many_guesses_at_once_are_many_guesses() {
        let (mut throttle, bob) = (throttle(), UserName::new("bob"));
        let begun = (0..100).filter(|_| throttle.begin(START, HERE, Try::Login(&bob)).is_ok());
        assert_eq!(begun.count(), 10);
        throttle.passed(HERE, &bob);
        assert_eq!(throttle.begin(START, HERE, Try::Login(&bob)), Ok(()));
    }

    #[test]
    fn many_accounts_do_not_make_many_guesses_at_a_room() {
        let mut throttle = throttle();
        let guesses = (0..1000).filter(|n| throttle.guess(START, HERE, Try::Join(&user(*n))).is_ok());
        assert_eq!(guesses.count(), 300);
    }

    /// However many try, an account that is under attack takes one more try of theirs within its rate.
    #[test]
    fn a_lock_out_does_not_grow_with_the_attack() {
        let mut throttle = throttle();
        let bob = UserName::new("bob");
        for n in 0..5000 {
            throttle.failed(START, there(n), Try::Login(&bob));
        }
        assert_eq!(throttle.guess(START, HERE, Try::Login(&bob)), Ok(()));
        assert!(throttle.begin(START, HERE, Try::Login(&bob)).is_err());
        assert_eq!(throttle.begin(START + Duration::from_secs(3), HERE, Try::Login(&bob)), Ok(()));
    }

    #[test]
    fn who_comes_from_everywhere_is_remembered_where_it_was_last() {
        let mut throttle = throttle();
        let bob = UserName::new("bob");
        (0..100).for_each(|n| throttle.passed(there(n), &bob));
        let known: Vec<u16> = (0..100).filter(|n| throttle.is_known(&bob, there(*n))).collect();
        assert_eq!(known, (84..100).collect::<Vec<u16>>());
    }

    #[test]
    fn a_table_keeps_no_more_than_what_still_counts_and_as_much_again() {
        let (mut levels, rate) = (Levels::new(), Rate::new(5, Duration::from_secs(1)));
        for n in 0..200_000u64 {
            levels.add(n, &rate, START + Duration::from_millis(n));
        }
        assert!(levels.levels.len() <= CROWDED + 1000, "{}", levels.levels.len());
    }

    #[test]
    fn accounts_are_made_in_a_burst_and_then_at_a_rate_from_each_network() {
        let (mut throttle, rate) = (throttle(), Rate::per(3, Duration::from_secs(30)));
        (0..3).for_each(|_| assert_eq!(throttle.register(START, HERE, &rate), Ok(())));
        assert_eq!(throttle.register(START, HERE, &rate), Err(Duration::from_secs(10)));
        assert_eq!(throttle.register(START, there(1), &rate), Ok(()));
        assert_eq!(throttle.register(START + Duration::from_secs(10), HERE, &rate), Ok(()));
        assert!((0..1000).all(|_| throttle.register(START, HERE, &Rate::NONE).is_ok()));
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one() {
        let a: IpAddr = "2001:db8::1".parse().unwrap();
        let b: IpAddr = "2001:db8::2".parse().unwrap();
        assert_eq!(network(a), network(b));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }
}
