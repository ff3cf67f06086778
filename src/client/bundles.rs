//! The bundles of others that were checked, where a server does not keep them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::client::known_keys::MAX_DEVICES;
use crate::crypto::Bundle;
use crate::names::UserName;
use crate::transcript::BundleHash;

/// Most names whose bundles are kept: anyone in the room may make names up.
const MOST_NAMES: usize = 10_000;

/// The bundles of a name.
#[derive(Default)]
struct Kept {
    /// Those under its pinned signing key, at most [`MAX_DEVICES`], the oldest first.
    devices: VecDeque<BundleHash>,
    /// The last one under another key, which waits for the person's word.
    rival: Option<BundleHash>,
}

/// The bundles of everyone, by their hashes. None drives those of another name out.
#[derive(Default)]
pub(super) struct Bundles {
    known: HashMap<BundleHash, Arc<Bundle>>,
    of: BTreeMap<UserName, Kept>,
}

impl Bundles {
    /// A bundle that was kept.
    pub(super) fn get(&self, hash: &BundleHash) -> Option<&Arc<Bundle>> {
        self.known.get(hash)
    }

    /// The last bundle of a name under another key than the pinned one.
    pub(super) fn rival(&self, user: &UserName) -> Option<Arc<Bundle>> {
        self.of.get(user).and_then(|kept| kept.rival).and_then(|hash| self.known.get(&hash)).cloned()
    }

    /// Whether any key waits for the person's word.
    pub(super) fn has_rivals(&self) -> bool {
        self.of.values().any(|kept| kept.rival.is_some())
    }

    /// Whether a bundle of this name can be kept.
    pub(super) fn has_room_for(&self, user: &UserName) -> bool {
        self.of.len() < MOST_NAMES || self.of.contains_key(user)
    }

    /// Keeps a bundle under the pinned key of its account.
    pub(super) fn keep(&mut self, bundle: Arc<Bundle>) {
        let hash = bundle.hash();
        let kept = self.of.entry(bundle.account().clone()).or_default();
        kept.rival.take_if(|rival| *rival == hash);
        if !kept.devices.contains(&hash) {
            kept.devices.push_back(hash);
            let oldest = if kept.devices.len() > MAX_DEVICES { kept.devices.pop_front() } else { None };
            oldest.map(|oldest| self.known.remove(&oldest));
        }
        self.known.insert(hash, bundle);
    }

    /// Keeps a bundle under another key, in the place of the last such one.
    pub(super) fn keep_rival(&mut self, bundle: Arc<Bundle>) {
        let hash = bundle.hash();
        let kept = self.of.entry(bundle.account().clone()).or_default();
        let before = kept.rival.replace(hash).filter(|before| *before != hash);
        // One that was a device, under a key that was pinned before, stays one.
        if let Some(before) = before.filter(|before| !kept.devices.contains(before)) {
            self.known.remove(&before);
        }
        self.known.insert(hash, bundle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{PrivateKey, SigningKey};
    use crate::transcript::Realm;
    use std::sync::LazyLock;

    static RSA: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

    /// One of many bundles of a name.
    fn bundle(user: &str, of: u8) -> Arc<Bundle> {
        let key = SigningKey::from_seed(&[of; 32]);
        Arc::new(Bundle::sign(&Realm([1; 32]), &UserName::new(user), &key, &RSA).unwrap())
    }

    #[test]
    fn a_flood_of_other_keys_drives_no_pinned_one_out() {
        let mut bundles = Bundles::default();
        let pinned = bundle("bob", 0);
        bundles.keep(Arc::clone(&pinned));
        for of in 1..=40 {
            bundles.keep_rival(bundle("bob", of));
        }
        assert!(bundles.get(&pinned.hash()).is_some());
        assert_eq!(bundles.known.len(), 2);
        assert_eq!(bundles.rival(&UserName::new("bob")).unwrap().hash(), bundle("bob", 40).hash());
        assert!(bundles.rival(&UserName::new("eve")).is_none());
    }

    #[test]
    fn an_accepted_rival_is_a_device_and_one_that_was_a_device_stays_one() {
        let mut bundles = Bundles::default();
        bundles.keep(bundle("bob", 0));
        bundles.keep_rival(bundle("bob", 1));
        bundles.keep(bundle("bob", 1));
        assert!(bundles.rival(&UserName::new("bob")).is_none());
        bundles.keep_rival(bundle("bob", 0));
        bundles.keep_rival(bundle("bob", 2));
        assert_eq!(bundles.known.len(), 3);
    }

    #[test]
    fn devices_of_one_name_and_names_are_bounded() {
        let mut bundles = Bundles::default();
        for of in 0..40 {
            bundles.keep(bundle("bob", of));
        }
        assert_eq!(bundles.known.len(), MAX_DEVICES);
        assert!(bundles.get(&bundle("bob", 39).hash()).is_some());
        bundles.of.extend((0..MOST_NAMES).map(|i| (UserName::new(&i.to_string()), Kept::default())));
        assert!(bundles.has_room_for(&UserName::new("bob")) && !bundles.has_room_for(&UserName::new("eve")));
    }
}
