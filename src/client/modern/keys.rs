//! Others' keys, by their hashes: fetched when they are needed, checked once, kept up to a bound.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::{BadBundle, Bundle, KeyError, PublicKey};
use crate::protocol::modern::MAX_HASHES;
use crate::transcript::BundleHash;

/// Most keys that are kept, a few KB each; the oldest goes, and is fetched again when it is needed.
const MOST_KEYS: usize = 10_240;

/// Most requests at once.
const MOST_REQUESTS: usize = 4;

/// How long a key that could not be had is not asked for again.
const PATIENCE: Duration = Duration::from_secs(30);

/// A key that was checked.
#[derive(Debug, Clone)]
pub enum Key {
    /// A modern member's.
    Modern(Arc<Bundle>),
    /// A legacy member's.
    Legacy(PublicKey),
}

/// Why a key cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadKey {
    /// The server did not give it.
    NotGiven,
    /// The bundle does not hold.
    Bundle(BadBundle),
    /// The RSA key is none that is taken.
    Rsa(KeyError),
    /// It is a key of the other wire.
    OtherWire,
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGiven => f.write_str("the server does not have it"),
            Self::Bundle(why) => why.fmt(f),
            Self::Rsa(why) => why.fmt(f),
            Self::OtherWire => f.write_str("it is a key of the other wire"),
        }
    }
}

/// What is known of a key.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// Here it is.
    Here(T),
    /// It cannot be had now.
    Not(BadKey),
    /// It has to be fetched: ask for it with [`Keys::want`].
    NotYet,
}

enum Kept {
    Key(Key),
    /// It cannot be had, and is not asked for again until then.
    Bad(BadKey, Duration),
}

/// The keys of everyone.
#[derive(Default)]
pub(super) struct Keys {
    kept: HashMap<BundleHash, Kept>,
    order: VecDeque<BundleHash>,
    /// Wanted, and not asked for yet.
    wanted: VecDeque<BundleHash>,
    /// Wanted or asked for.
    expected: HashSet<BundleHash>,
    /// What was asked for, by the requests' ids.
    asked: BTreeMap<u64, Vec<BundleHash>>,
    /// Answers that are being checked.
    checking: usize,
}

impl Keys {
    /// A modern member's bundle.
    pub(super) fn bundle(&self, hash: BundleHash, now: Duration) -> Found<&Arc<Bundle>> {
        match self.find(hash, now) {
            Found::Here(Key::Modern(bundle)) => Found::Here(bundle),
            Found::Here(Key::Legacy(_)) => Found::Not(BadKey::OtherWire),
            Found::Not(why) => Found::Not(why),
            Found::NotYet => Found::NotYet,
        }
    }

    /// A legacy member's key.
    pub(super) fn legacy(&self, hash: BundleHash, now: Duration) -> Found<&PublicKey> {
        match self.find(hash, now) {
            Found::Here(Key::Legacy(key)) => Found::Here(key),
            Found::Here(Key::Modern(_)) => Found::Not(BadKey::OtherWire),
            Found::Not(why) => Found::Not(why),
            Found::NotYet => Found::NotYet,
        }
    }

    fn find(&self, hash: BundleHash, now: Duration) -> Found<&Key> {
        match self.kept.get(&hash) {
            Some(Kept::Key(key)) => Found::Here(key),
            Some(Kept::Bad(why, until)) if now < *until => Found::Not(*why),
            _ => Found::NotYet,
        }
    }

    /// Asks for a key, unless that is done already.
    pub(super) fn want(&mut self, hash: BundleHash) {
        if self.expected.insert(hash) {
            self.wanted.push_back(hash);
        }
    }

    /// The hashes of the next request, which is sent under `id`.
    pub(super) fn next_request(&mut self, id: u64) -> Option<Vec<BundleHash>> {
        if self.asked.len() + self.checking >= MOST_REQUESTS || self.wanted.is_empty() {
            return None;
        }
        let hashes: Vec<_> = self.wanted.drain(..self.wanted.len().min(MAX_HASHES)).collect();
        self.asked.insert(id, hashes.clone());
        Some(hashes)
    }

    /// The request was answered; gives what was asked for. Its results are to be taken with [`Keys::checked`].
    pub(super) fn answered(&mut self, id: u64) -> Vec<BundleHash> {
        let asked = self.asked.remove(&id).unwrap_or_default();
        self.checking += 1;
        asked
    }

    /// Takes what the keys of one answer turned out to be.
    pub(super) fn checked(&mut self, results: Vec<(BundleHash, Result<Key, BadKey>)>, now: Duration) {
        self.checking = self.checking.saturating_sub(1);
        for (hash, result) in results {
            self.expected.remove(&hash);
            let kept = result.map_or_else(|why| Kept::Bad(why, now + PATIENCE), Kept::Key);
            if self.kept.insert(hash, kept).is_none() {
                self.order.push_back(hash);
            }
        }
        while self.order.len() > MOST_KEYS {
            if let Some(oldest) = self.order.pop_front() {
                self.kept.remove(&oldest);
            }
        }
    }

    /// A key that could not be had may be asked for again at once: its owner may be there by now.
    pub(super) fn retry(&mut self, hash: BundleHash) {
        if let Some(Kept::Bad(_, until)) = self.kept.get_mut(&hash) {
            *until = Duration::ZERO;
        }
    }

    /// The connection is lost, and with it what was asked for: it is wanted again.
    pub(super) fn lost(&mut self) {
        for hash in std::mem::take(&mut self.asked).into_values().flatten() {
            self.wanted.push_back(hash);
        }
    }

    /// Nothing is wanted any more, but what was asked for.
    pub(super) fn forget_wishes(&mut self) {
        for hash in self.wanted.drain(..) {
            self.expected.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;
    use std::sync::LazyLock;

    static KEY: LazyLock<PublicKey> = LazyLock::new(|| PrivateKey::generate().unwrap().public().clone());
    const NOW: Duration = Duration::from_secs(100);

    fn hash(of: u32) -> BundleHash {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&of.to_be_bytes());
        BundleHash(hash)
    }

    fn give(keys: &mut Keys, id: u64, result: &Result<Key, BadKey>) {
        let asked = keys.answered(id);
        keys.checked(asked.into_iter().map(|hash| (hash, result.clone())).collect(), NOW);
    }

    #[test]
    fn keys_are_asked_for_once_and_few_at_a_time() {
        let mut keys = Keys::default();
        for i in (0..200).chain(0..200) {
            keys.want(hash(i));
        }
        let sizes: Vec<_> = (1..).map_while(|id| keys.next_request(id)).map(|hashes| hashes.len()).collect();
        assert_eq!(sizes, [32; 4]);
        assert_eq!(keys.next_request(9), None);
        let asked = keys.answered(1);
        assert_eq!(keys.next_request(9), None, "what came is checked first");
        keys.checked(asked.into_iter().map(|hash| (hash, Err(BadKey::NotGiven))).collect(), NOW);
        assert_eq!(keys.next_request(9).map(|hashes| hashes.len()), Some(32));
    }

    #[test]
    fn a_key_that_was_checked_stays() {
        let mut keys = Keys::default();
        assert!(matches!(keys.legacy(hash(1), NOW), Found::NotYet));
        keys.want(hash(1));
        keys.next_request(1);
        give(&mut keys, 1, &Ok(Key::Legacy(KEY.clone())));
        assert!(matches!(keys.legacy(hash(1), NOW), Found::Here(_)));
        assert!(matches!(keys.bundle(hash(1), NOW), Found::Not(BadKey::OtherWire)));
    }

    #[test]
    fn one_that_cannot_be_had_is_asked_for_again_later() {
        let mut keys = Keys::default();
        keys.want(hash(1));
        keys.next_request(1);
        give(&mut keys, 1, &Err(BadKey::NotGiven));
        assert!(matches!(keys.bundle(hash(1), NOW), Found::Not(BadKey::NotGiven)));
        assert!(matches!(keys.bundle(hash(1), NOW + PATIENCE), Found::NotYet));
        keys.retry(hash(1));
        assert!(matches!(keys.bundle(hash(1), NOW), Found::NotYet));
    }

    #[test]
    fn what_was_asked_for_on_a_lost_connection_is_asked_for_again() {
        let mut keys = Keys::default();
        keys.want(hash(1));
        keys.next_request(1);
        keys.lost();
        assert_eq!(keys.next_request(2), Some(vec![hash(1)]));
        keys.want(hash(2));
        keys.forget_wishes();
        assert_eq!(keys.next_request(3), None);
    }

    #[test]
    fn a_flood_of_keys_is_forgotten_from_its_beginning() {
        let mut keys = Keys::default();
        let many = MOST_KEYS as u32 + 5;
        keys.checked((0..many).map(|i| (hash(i), Ok(Key::Legacy(KEY.clone())))).collect(), NOW);
        assert_eq!(keys.kept.len(), MOST_KEYS);
        assert!(matches!(keys.legacy(hash(4), NOW), Found::NotYet));
        assert!(matches!(keys.legacy(hash(5), NOW), Found::Here(_)));
    }
}
