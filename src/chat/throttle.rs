//! Slows down those who guess passwords, or make accounts and rooms without end: with a time that never goes back.
//!
//! Each try is charged to some buckets when it fails, and takes its place in them while it is checked: what is asked at once
//! counts as what is asked in turn. Whoever finds no room because of those that are checked waits until one of them ends, and is
//! judged then, by the failures until then: so a crowd behind one address gets in, however many come at once.
//!
//! Nobody is locked out by what others do elsewhere: who has given the right password from a network has a bucket of its own
//! there, and a site that has not failed at an account lately may try once, however many others guess at it. Names that no
//! account has are counted like the others, so that being slowed down tells nothing of them.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::chat::{GuessRates, Level, Rate, SessionId, SessionMap};
use crate::names::UserName;

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

/// When a password may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// At once: the try has begun, and has to be ended.
    Now,
    /// When [`Throttle::next_in_crowd`] says so.
    InCrowd,
    /// Not before this has passed.
    After(Duration),
}

/// A name, of whatever length and whoever typed it, in a few bytes that nobody can foresee: of its SHA-256 behind a key.
type NameHash = [u8; 8];

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Bucket {
    /// Wrong passwords of accounts that are not known at a network.
    Network(IpAddr),
    /// Wrong passwords of an account from where it is not known, from one site.
    Stranger(NameHash, IpAddr),
    /// The same from all sites.
    Account(NameHash),
    /// Wrong passwords of an account from a network where it is known.
    Acquaintance(NameHash, IpAddr),
    /// Wrong passwords of rooms by one account at a network. Log-ins are not among them: who guesses an account's password
    /// beside its owner does not keep the owner out of rooms.
    Joiner(NameHash, IpAddr),
    /// The same by all accounts there.
    Rooms(IpAddr),
    /// Wrong tokens for new accounts, from a network: they keep nobody from logging in.
    Tokens(IpAddr),
    /// New accounts from a network.
    NewAccounts(IpAddr),
    /// New rooms from a network.
    NewRooms(IpAddr),
}

/// A bucket, and how fast it empties.
type Charge = (Bucket, Rate);

/// The record of failures, and of new accounts and rooms.
#[derive(Debug)]
pub(super) struct Throttle {
    rates: GuessRates,
    /// The key of the names' hashes.
    key: [u8; 32],
    levels: Levels<Bucket>,
    /// What each try is charged to that is being checked, should it fail. It stays what it was when the try began.
    tries: SessionMap<Vec<Charge>>,
    /// How many of these there are in each bucket.
    under_way: HashMap<Bucket, u32>,
    /// Who waits until fewer are.
    crowds: HashMap<Bucket, VecDeque<SessionId>>,
    /// Buckets with a crowd of which a try has ended.
    freed: Vec<Charge>,
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
            levels: Levels::new(),
            tries: SessionMap::default(),
            under_way: HashMap::new(),
            crowds: HashMap::new(),
            freed: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// The same with these rates.
    pub(super) fn with_rates(self, rates: GuessRates) -> Self {
        Self { rates, ..self }
    }

    /// What a try is charged to when it fails: the only place that says so.
    fn charges(&self, address: IpAddr, what: Try<'_>) -> Vec<Charge> {
        let (rates, network) = (&self.rates, network(address));
        match what {
            Try::Join(user) => {
                vec![(Bucket::Joiner(self.hash(user), network), rates.joiner), (Bucket::Rooms(network), rates.rooms)]
            }
            Try::Login(user) if self.is_known(user, network) => {
                vec![(Bucket::Acquaintance(self.hash(user), network), rates.acquaintance)]
            }
            Try::Login(user) => {
                let name = self.hash(user);
                vec![
                    (Bucket::Network(network), rates.network),
                    (Bucket::Stranger(name, site(address)), rates.stranger),
                    (Bucket::Account(name), rates.account),
                ]
            }
        }
    }

    /// Those charges that there must be room for. An account under attack has room for whoever comes from a site that neither
    /// failed at it lately nor tries now.
    fn binding(&self, now: Duration, charges: &[Charge]) -> Vec<Charge> {
        let is_fresh = |bucket| self.levels.of(&bucket).is_empty(now) && self.under_way(&bucket) == 0;
        let spared = charges.iter().any(|(bucket, _)| matches!(bucket, Bucket::Stranger(..)) && is_fresh(*bucket));
        charges.iter().filter(|(bucket, _)| !(spared && matches!(bucket, Bucket::Account(_)))).copied().collect()
    }

    /// Begins a session's try, which [`Throttle::passed`], [`Throttle::failed`] or [`Throttle::dropped`] must end; or keeps the
    /// session in a crowd; or says how long it has to wait.
    pub(super) fn begin(&mut self, now: Duration, session: SessionId, address: IpAddr, what: Try<'_>) -> Turn {
        let charges = self.charges(address, what);
        let binding = self.binding(now, &charges);
        let wait = binding.iter().map(|(bucket, rate)| self.wait(*bucket, rate, now)).max().unwrap_or_default();
        if !wait.is_zero() {
            return Turn::After(wait);
        }
        if let Some((bucket, _)) = binding.iter().find(|charge| self.is_crowded(**charge, now)) {
            self.crowds.entry(*bucket).or_default().push_back(session);
            return Turn::InCrowd;
        }
        for (bucket, _) in &charges {
            *self.under_way.entry(*bucket).or_default() += 1;
        }
        self.tries.insert(session, charges);
        Turn::Now
    }

    /// How long the failures in a bucket keep one from trying.
    fn wait(&self, bucket: Bucket, rate: &Rate, now: Duration) -> Duration {
        self.levels.of(&bucket).wait(rate, now)
    }

    fn under_way(&self, bucket: &Bucket) -> u32 {
        self.under_way.get(bucket).copied().unwrap_or_default()
    }

    /// Whether nothing but the tries under way stands against one more in a bucket: there would be no room if all failed.
    fn is_crowded(&self, (bucket, rate): Charge, now: Duration) -> bool {
        let mut level = self.levels.of(&bucket);
        if !level.wait(&rate, now).is_zero() {
            return false;
        }
        level.add(&rate, self.under_way(&bucket), now);
        !level.wait(&rate, now).is_zero()
    }

    /// Whose turn it is now that tries have ended, if anybody waited for that. The session may be gone.
    pub(super) fn next_in_crowd(&mut self, now: Duration) -> Option<SessionId> {
        while let Some(charge) = self.freed.last().copied() {
            if !self.is_crowded(charge, now)
                && let Some(next) = self.crowds.get_mut(&charge.0).and_then(VecDeque::pop_front)
            {
                return Some(next);
            }
            self.freed.pop();
            if self.crowds.get(&charge.0).is_some_and(VecDeque::is_empty) {
                self.crowds.remove(&charge.0);
            }
        }
        None
    }

    fn hash(&self, user: &UserName) -> NameHash {
        let digest = Sha256::new().chain_update(self.key).chain_update(user.as_str()).finalize();
        std::array::from_fn(|i| digest.get(i).copied().unwrap_or_default())
    }

    /// Ends a session's try; gives what it is charged to.
    fn end(&mut self, session: SessionId) -> Vec<Charge> {
        let charges = self.tries.remove(&session).unwrap_or_default();
        for charge in &charges {
            if let Some(under_way) = self.under_way.get_mut(&charge.0) {
                *under_way -= 1;
                if *under_way == 0 {
                    self.under_way.remove(&charge.0);
                }
            }
            if self.crowds.contains_key(&charge.0) {
                self.freed.push(*charge);
            }
        }
        charges
    }

    /// Ends the try of a session that is gone: nobody learns what came of it.
    pub(super) fn dropped(&mut self, session: SessionId) {
        self.end(session);
    }

    /// Ends a session's try: the password was wrong.
    pub(super) fn failed(&mut self, now: Duration, session: SessionId) {
        for (bucket, rate) in self.end(session) {
            self.levels.add(bucket, &rate, now);
        }
    }

    /// Ends a session's try: the password was right, that of this account or of a room.
    pub(super) fn passed(&mut self, session: SessionId, address: IpAddr, account: Option<&UserName>) {
        self.end(session);
        let network = network(address);
        let Some(user) = account.filter(|user| !self.is_known(user, network)) else { return };
        self.levels.levels.remove(&Bucket::Stranger(self.hash(user), site(address)));
        let known = self.known.entry(user.clone()).or_default();
        known.truncate(KNOWN - 1);
        known.push_front(network);
    }

    fn is_known(&self, user: &UserName, network: IpAddr) -> bool {
        self.known.get(user).is_some_and(|known| known.contains(&network))
    }

    /// How long until a token may be tried from an address, where accounts are made with one.
    pub(super) fn token_wait(&self, now: Duration, address: IpAddr) -> Duration {
        self.wait(Bucket::Tokens(network(address)), &self.rates.network, now)
    }

    /// A token that was tried is none.
    pub(super) fn token_failed(&mut self, now: Duration, address: IpAddr) {
        self.levels.add(Bucket::Tokens(network(address)), &self.rates.network, now);
    }

    /// Counts a new account from an address; or says how long it has to wait.
    pub(super) fn register(&mut self, now: Duration, address: IpAddr, rate: &Rate) -> Result<(), Duration> {
        self.count(Bucket::NewAccounts(network(address)), rate, now)
    }

    /// Counts a new room from an address; or says how long it has to wait.
    pub(super) fn create(&mut self, now: Duration, address: IpAddr, rate: &Rate) -> Result<(), Duration> {
        self.count(Bucket::NewRooms(network(address)), rate, now)
    }

    fn count(&mut self, bucket: Bucket, rate: &Rate, now: Duration) -> Result<(), Duration> {
        let wait = self.wait(bucket, rate, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.levels.add(bucket, rate, now);
        Ok(())
    }
}

/// A wait as it is told: nobody should come back too early.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// What one person commands: an IPv4 address, or a /64 of IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    prefix(address, 64)
}

/// What one person may command at most without asking others: an IPv4 address, or a /48 of IPv6, which is given to a site
/// (RFC 6177) and holds 65,536 networks.
fn site(address: IpAddr) -> IpAddr {
    prefix(address, 48)
}

/// An IPv4 address, or the network of an IPv6 address with a prefix of so many bits, at least one.
fn prefix(address: IpAddr, bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - bits)))),
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

    /// A session that does nothing else at the time.
    const IDLE: SessionId = SessionId(u64::MAX);

    impl Throttle {
        /// A wrong password, checked at once.
        fn guess(&mut self, now: Duration, address: IpAddr, what: Try<'_>) -> Result<(), Duration> {
            self.begin_alone(now, address, what)?;
            self.failed(now, IDLE);
            Ok(())
        }

        /// Whether a password may be tried.
        fn may_try(&mut self, now: Duration, address: IpAddr, what: Try<'_>) -> Result<(), Duration> {
            self.begin_alone(now, address, what)?;
            self.dropped(IDLE);
            Ok(())
        }

        /// Begins a try while no others are under way that it would have to wait for.
        fn begin_alone(&mut self, now: Duration, address: IpAddr, what: Try<'_>) -> Result<(), Duration> {
            match self.begin(now, IDLE, address, what) {
                Turn::Now => Ok(()),
                Turn::After(wait) => Err(wait),
                Turn::InCrowd => panic!("others are under way"),
            }
        }

        /// How many of so many sessions may try at once; the sessions count from zero.
        fn begin_many(&mut self, address: IpAddr, many: u64, what: impl Fn(u64) -> UserName) -> usize {
            let turns = (0..many).map(|n| self.begin(START, SessionId(n), address, Try::Login(&what(n))));
            turns.filter(|turn| *turn == Turn::Now).count()
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

    /// Two hundred people behind one address come at once, and know their passwords: all get in, thirty at a time.
    #[test]
    fn a_crowd_behind_one_address_may_come_at_once_but_not_without_bound() {
        let (mut throttle, name) = (throttle(), |n: u64| user(n as usize));
        let mut checked: VecDeque<_> = (0..30).collect();
        assert_eq!(throttle.begin_many(HERE, 200, name), checked.len());
        for passed in 0..200 {
            let next = checked.pop_front().expect("somebody whose password is checked");
            assert_eq!(next, passed, "in the order in which they came");
            throttle.passed(SessionId(next), HERE, Some(&name(next)));
            while let Some(SessionId(n)) = throttle.next_in_crowd(START) {
                assert_eq!(throttle.begin(START, SessionId(n), HERE, Try::Login(&name(n))), Turn::Now);
                checked.push_back(n);
            }
            assert!(checked.len() <= 30);
        }
        assert!(throttle.crowds.is_empty() && throttle.under_way.is_empty() && throttle.tries.is_empty());
    }

    /// What is asked at once is no more than what may be asked in turn, however full the bucket is.
    #[test]
    fn guesses_that_are_under_way_take_the_room_of_failures() {
        let (mut throttle, name) = (throttle(), |n: u64| user(n as usize));
        (1000..1029).for_each(|n| assert_eq!(throttle.guess(START, HERE, Try::Login(&user(n))), Ok(())));
        assert_eq!(throttle.begin_many(HERE, 256, name), 1, "one more, after 29 that failed");
        throttle.failed(START, SessionId(0));
        for n in 1..256 {
            assert_eq!(throttle.next_in_crowd(START), Some(SessionId(n)), "who waited hears of it");
            let turn = throttle.begin(START, SessionId(n), HERE, Try::Login(&name(n)));
            assert_eq!(turn, Turn::After(Duration::from_secs(1)));
        }
        assert_eq!(throttle.next_in_crowd(START), None);
        let later = START + Duration::from_secs(1);
        assert_eq!(throttle.begin(later, IDLE, HERE, Try::Login(&user(0))), Turn::Now);
        assert_eq!(throttle.begin(later, SessionId(1), HERE, Try::Login(&user(1))), Turn::InCrowd);
    }

    #[test]
    fn who_waits_is_called_also_when_a_session_goes_or_guesses_elsewhere() {
        let (mut throttle, bob) = (throttle(), UserName::new("bob"));
        // At bob's account, there is room for twenty from all sites together, and for one from each that is new to it.
        for n in 0..20 {
            assert_eq!(throttle.begin(START, SessionId(n), there(n as u16), Try::Login(&bob)), Turn::Now);
        }
        assert_eq!(throttle.begin(START, SessionId(20), HERE, Try::Login(&bob)), Turn::Now, "the first from here");
        assert_eq!(throttle.begin(START, SessionId(21), HERE, Try::Login(&bob)), Turn::InCrowd, "not the second");
        throttle.dropped(SessionId(3));
        assert_eq!(throttle.next_in_crowd(START), None, "there are twenty still");
        throttle.failed(START, SessionId(4));
        assert_eq!(throttle.next_in_crowd(START), None, "one that failed takes as much room as before");
        throttle.dropped(SessionId(5));
        assert_eq!(throttle.next_in_crowd(START), Some(SessionId(21)));
        assert_eq!(throttle.begin(START, SessionId(21), HERE, Try::Login(&bob)), Turn::Now);
        assert_eq!(throttle.next_in_crowd(START), None);
    }

    #[test]
    fn neither_guesses_from_elsewhere_nor_a_neighbours_lock_out_who_is_known_here() {
        let mut throttle = throttle();
        let (bob, eve) = (UserName::new("bob"), UserName::new("eve"));
        throttle.passed(IDLE, HERE, Some(&bob));
        for n in 0..200 {
            let _ = throttle.guess(START, there(n), Try::Login(&bob));
            let _ = throttle.guess(START, HERE, Try::Login(&user(n.into())));
            let _ = throttle.guess(START, HERE, Try::Join(&eve));
        }
        assert_eq!(throttle.may_try(START, HERE, Try::Login(&bob)), Ok(()));
        assert_eq!(throttle.may_try(START, HERE, Try::Join(&bob)), Ok(()));
        assert!(throttle.may_try(START, there(0), Try::Login(&bob)).is_err());
        assert!(throttle.may_try(START, HERE, Try::Login(&eve)).is_err());
        assert!(throttle.may_try(START, HERE, Try::Join(&eve)).is_err());
    }

    /// A neighbour guesses at bob himself, who is logged in and wants into a room; and the other way round.
    #[test]
    fn guesses_at_an_account_keep_nobody_out_of_rooms_nor_those_at_rooms_out_of_an_account() {
        let (mut throttle, bob) = (throttle(), UserName::new("bob"));
        throttle.passed(IDLE, HERE, Some(&bob));
        while throttle.guess(START, HERE, Try::Login(&bob)).is_ok() {}
        assert_eq!(throttle.may_try(START, HERE, Try::Join(&bob)), Ok(()));
        let later = START + Duration::from_secs(60);
        while throttle.guess(later, HERE, Try::Join(&bob)).is_ok() {}
        assert_eq!(throttle.may_try(later, HERE, Try::Login(&bob)), Ok(()));
    }

    #[test]
    fn tokens_and_log_ins_are_counted_apart() {
        let (mut throttle, bob) = (throttle(), UserName::new("bob"));
        (0..30).for_each(|_| throttle.token_failed(START, HERE));
        assert_eq!(throttle.token_wait(START, HERE), Duration::from_secs(1));
        assert_eq!(throttle.may_try(START, HERE, Try::Login(&bob)), Ok(()));
        (0..30).for_each(|n| _ = throttle.guess(START, there(1), Try::Login(&user(n))));
        assert!(throttle.may_try(START, there(1), Try::Login(&bob)).is_err());
        assert_eq!(throttle.token_wait(START, there(1)), Duration::ZERO);
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
            assert_eq!(throttle.may_try(now, there(1000), Try::Login(&bob)), Ok(()), "after {minutes} minutes");
        }
        assert!(guesses <= 40 * 10 + 60 * 24 * 40, "{guesses} guesses");
    }

    /// A /48 of IPv6 has 65,536 networks: they are one site, which guesses as often as one address does, and keeps out no other.
    #[test]
    fn the_networks_of_one_site_guess_no_more_than_one_and_lock_no_other_out() {
        let (mut throttle, bob) = (throttle(), UserName::new("bob"));
        let at = |site: u16, net: u16| IpAddr::from([0x2001, 0xdb8, site, net, 0, 0, 0, 1]);
        let guesses = (0..u16::MAX).filter(|net| throttle.guess(START, at(1, *net), Try::Login(&bob)).is_ok());
        assert_eq!(guesses.count(), 10);
        assert_eq!(throttle.begin_many(at(2, 0), 5, |_| bob.clone()), 5, "from another site");
        (0..5).for_each(|n| throttle.dropped(SessionId(n)));
        assert_eq!(throttle.may_try(START, at(1, 7), Try::Login(&UserName::new("eve"))), Ok(()), "at another account");
        throttle.passed(IDLE, at(3, 1), Some(&bob));
        (0..100).for_each(|net| _ = throttle.guess(START, at(3, 1000 + net), Try::Login(&bob)));
        assert_eq!(throttle.may_try(START, at(3, 1), Try::Login(&bob)), Ok(()), "where bob is known");
        assert_eq!(throttle.may_try(START, IpAddr::from([10, 0, 0, 1]), Try::Login(&bob)), Ok(()));
        assert_eq!(site("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]), "no wider for IPv4");
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
        assert_eq!(throttle.begin_many(HERE, 100, |_| bob.clone()), 10);
        (1..10).for_each(|n| throttle.failed(START, SessionId(n)));
        throttle.passed(SessionId(0), HERE, Some(&bob));
        assert_eq!(throttle.may_try(START, HERE, Try::Login(&bob)), Ok(()));
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
        (0..5000).for_each(|n| assert_eq!(throttle.guess(START, there(n), Try::Login(&bob)), Ok(())));
        assert_eq!(throttle.guess(START, HERE, Try::Login(&bob)), Ok(()));
        assert!(throttle.may_try(START, HERE, Try::Login(&bob)).is_err());
        assert_eq!(throttle.may_try(START + Duration::from_secs(3), HERE, Try::Login(&bob)), Ok(()));
    }

    #[test]
    fn who_comes_from_everywhere_is_remembered_where_it_was_last() {
        let mut throttle = throttle();
        let bob = UserName::new("bob");
        (0..100).for_each(|n| throttle.passed(IDLE, there(n), Some(&bob)));
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
    fn accounts_and_rooms_are_made_in_a_burst_and_then_at_a_rate_from_each_network() {
        let (mut throttle, rate) = (throttle(), Rate::per(3, Duration::from_secs(30)));
        (0..3).for_each(|_| assert_eq!(throttle.register(START, HERE, &rate), Ok(())));
        assert_eq!(throttle.register(START, HERE, &rate), Err(Duration::from_secs(10)));
        assert_eq!(throttle.register(START, there(1), &rate), Ok(()));
        assert_eq!(throttle.register(START + Duration::from_secs(10), HERE, &rate), Ok(()));
        assert!((0..1000).all(|_| throttle.register(START, HERE, &Rate::NONE).is_ok()));
        (0..3).for_each(|_| assert_eq!(throttle.create(START, HERE, &rate), Ok(()), "accounts are none of them"));
        assert_eq!(throttle.create(START, HERE, &rate), Err(Duration::from_secs(10)));
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one() {
        let a: IpAddr = "2001:db8::1".parse().unwrap();
        let b: IpAddr = "2001:db8::2".parse().unwrap();
        assert_eq!(network(a), network(b));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }
}
