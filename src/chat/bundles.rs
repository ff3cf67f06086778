//! The keys of those who are here, and of some who were: whoever meets a hash in a roster asks for what it names.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::names::UserName;
use crate::protocol::legacy::spki_pem;
use crate::protocol::modern::{Bundle, BundleKeys};
use crate::transcript::{BundleHash, EntryKey, KeyHash};

/// Keys that are kept when nobody has them any more.
const MAX_DEPARTED: usize = 4096;

/// The RSA key of a member on the legacy wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey {
    /// SubjectPublicKeyInfo in canonical PEM.
    pub pem: Arc<str>,
    /// The same in DER.
    pub spki: Arc<[u8]>,
}

/// A bundle whose two signatures hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBundle {
    /// What names it.
    pub hash: BundleHash,
    /// Whose it is.
    pub account: UserName,
    /// The keys and the signatures.
    pub keys: BundleKeys,
}

/// What is kept of a key.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Modern(Arc<KnownBundle>),
    /// Of a member on the legacy wire: who announced it first of all who have it, and its SubjectPublicKeyInfo in DER.
    Legacy(UserName, Arc<[u8]>),
}

/// SHA-256 over a bundle, or over a legacy member's key.
pub(super) type Hash = [u8; 32];

/// The hash that an entry of a roster bears, if it has a key.
pub(super) fn hash_of(key: &EntryKey) -> Option<Hash> {
    match key {
        EntryKey::Modern(BundleHash(hash)) | EntryKey::Legacy(Some(KeyHash(hash))) => Some(*hash),
        EntryKey::Legacy(None) => None,
    }
}

impl KnownBundle {
    /// The RSA key in PEM, for those on the legacy wire.
    pub(super) fn pem(&self) -> Arc<str> {
        spki_pem(&self.keys.rsa_key)
    }

    /// What is told of it.
    pub(super) fn to_bundle(&self) -> Arc<Bundle> {
        Arc::new(Bundle::Modern { user: self.account.clone(), keys: self.keys.clone() })
    }
}

/// Keys by their hash, each for as long as somebody holds it, and then until enough others were let go.
#[derive(Debug)]
pub(super) struct Bundles<T> {
    kept: HashMap<Hash, Kept<T>>,
    /// Those that nobody holds, by the order of their departure.
    departed: BTreeMap<u64, Hash>,
    departures: u64,
}

#[derive(Debug)]
struct Kept<T> {
    bundle: T,
    holders: usize,
    /// Its place among the departed, when nobody holds it.
    departure: Option<u64>,
}

impl<T> Bundles<T> {
    pub(super) fn new() -> Self {
        Self { kept: HashMap::new(), departed: BTreeMap::new(), departures: 0 }
    }

    /// What a hash names.
    pub(super) fn get(&self, hash: &Hash) -> Option<&T> {
        self.kept.get(hash).map(|kept| &kept.bundle)
    }

    /// One more holds this.
    pub(super) fn hold(&mut self, hash: Hash, bundle: T) {
        let kept = self.kept.entry(hash).or_insert(Kept { bundle, holders: 0, departure: None });
        kept.holders += 1;
        if let Some(departure) = kept.departure.take() {
            self.departed.remove(&departure);
        }
    }

    /// One less holds this.
    pub(super) fn release(&mut self, hash: &Hash) {
        let Some(kept) = self.kept.get_mut(hash) else { return };
        kept.holders = kept.holders.saturating_sub(1);
        if kept.holders > 0 || kept.departure.is_some() {
            return;
        }
        kept.departure = Some(self.departures);
        self.departed.insert(self.departures, *hash);
        self.departures += 1;
        if self.departed.len() > MAX_DEPARTED
            && let Some((_, oldest)) = self.departed.pop_first()
        {
            self.kept.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: usize) -> Hash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        hash
    }

    #[test]
    fn keys_are_kept_while_somebody_has_them_and_a_number_of_others() {
        let mut bundles = Bundles::new();
        bundles.hold(hash(0), 0);
        bundles.hold(hash(0), 0);
        bundles.release(&hash(0));
        for n in 1..=MAX_DEPARTED + 1 {
            bundles.hold(hash(n), n);
            bundles.release(&hash(n));
        }
        assert_eq!(bundles.get(&hash(0)), Some(&0));
        assert_eq!(bundles.get(&hash(1)), None, "the first to go");
        assert_eq!(bundles.get(&hash(2)), Some(&2));
        assert_eq!(bundles.kept.len(), MAX_DEPARTED + 1);
    }

    #[test]
    fn one_who_comes_back_goes_last() {
        let mut bundles = Bundles::new();
        for n in 0..MAX_DEPARTED {
            bundles.hold(hash(n), n);
            bundles.release(&hash(n));
        }
        bundles.hold(hash(0), 0);
        bundles.release(&hash(0));
        bundles.release(&hash(0));
        bundles.hold(hash(MAX_DEPARTED), MAX_DEPARTED);
        bundles.release(&hash(MAX_DEPARTED));
        assert!(bundles.get(&hash(0)).is_some() && bundles.get(&hash(1)).is_none());
        assert_eq!((bundles.departed.len(), bundles.kept.len()), (MAX_DEPARTED, MAX_DEPARTED));
    }
}
