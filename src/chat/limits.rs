//! How much the people of a server may make grow, and how fast. What one connection may send is for `server` to say.

use std::time::Duration;

use crate::chat::Rate;

/// The hub's limits. The defaults are such that a small community, and a crowd behind one address, never notices them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most accounts; those that are on the disk when the server starts may be more.
    pub accounts: usize,
    /// Most rooms; likewise.
    pub rooms: usize,
    /// Most rooms that one account owns; god may own any number.
    pub rooms_per_user: usize,
    /// Most sessions that are logged in to one account.
    pub sessions_per_user: usize,
    /// New accounts from one network.
    pub registrations: Rate,
    /// New rooms from one network; god may make any number.
    pub creations: Rate,
    /// Wrong passwords.
    pub guesses: GuessRates,
    /// How long somebody may be connected without being logged in; `None` for ever.
    pub login_time: Option<Duration>,
    /// How long somebody who is logged in may do nothing but give signs of life; `None` for ever.
    pub idle_time: Option<Duration>,
}

/// How often a password may be guessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuessRates {
    /// Wrong passwords of accounts, from one network; as often, counted apart, wrong tokens for new ones.
    pub network: Rate,
    /// Wrong passwords of one account, from all networks that never knew the right one together.
    pub account: Rate,
    /// Wrong passwords of one account, from all such networks of one site: an IPv4 address, or a /48 of IPv6. A site that has
    /// not failed for as long as this takes to be forgotten may try, whatever the others do: so nobody is locked out by others.
    pub stranger: Rate,
    /// Wrong passwords of one account, from a network where the right one was given before.
    pub acquaintance: Rate,
    /// Wrong passwords of rooms, by one account at one network.
    pub joiner: Rate,
    /// Wrong passwords of rooms, from one network, whoever is logged in there.
    pub rooms: Rate,
}

impl Limits {
    /// Lifts what depends on time and keeps all sizes: for benchmarks.
    pub fn lift_rates(&mut self) {
        self.registrations = Rate::NONE;
        self.creations = Rate::NONE;
        self.guesses = GuessRates::NONE;
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            accounts: 1_000_000,
            rooms: 10_000,
            rooms_per_user: 20,
            sessions_per_user: 64,
            registrations: Rate::per(1000, Duration::from_secs(60 * 60)),
            creations: Rate::per(100, Duration::from_secs(60 * 60)),
            guesses: GuessRates::default(),
            login_time: Some(Duration::from_secs(60 * 60)),
            idle_time: None,
        }
    }
}

impl GuessRates {
    /// No throttle.
    pub const NONE: Self = Self {
        network: Rate::NONE,
        account: Rate::NONE,
        stranger: Rate::NONE,
        acquaintance: Rate::NONE,
        joiner: Rate::NONE,
        rooms: Rate::NONE,
    };
}

impl Default for GuessRates {
    fn default() -> Self {
        Self {
            network: Rate::new(30, Duration::from_secs(1)),
            account: Rate::new(20, Duration::from_secs(3)),
            stranger: Rate::new(10, Duration::from_secs(60)),
            acquaintance: Rate::new(30, Duration::from_secs(1)),
            joiner: Rate::new(30, Duration::from_secs(1)),
            rooms: Rate::new(300, Duration::from_millis(100)),
        }
    }
}
