//! Whom this client knows by which key, and what it makes of the keys that it is shown.
//!
//! What is learned is collected, to be remembered before anything that follows is sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::client::key_name::KeyName;
use crate::client::known_keys::{Device, Learned, Pins, RoomPin, Signer, Trust as Pinned};
use crate::client::shown::Trust;
use crate::crypto::{Bundle, Fingerprint, PublicKey, SafetyNumber, VerifyingKey};
use crate::names::{RoomName, UserName};
use crate::transcript::{BundleHash, Ed25519Key, Realm, RoomId};

/// Most names that are pinned: a server may invent as many as it likes.
pub(super) const MOST_NAMES: usize = 16_384;

/// What the keys of a bundle are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are those of its account, as far as this client can know.
    Good(Trust),
    /// Another key is pinned for the account. The bundle is not used.
    Changed {
        /// The pinned one.
        pinned: KeyName,
        /// The one that was shown.
        shown: KeyName,
    },
    /// There are [`MOST_NAMES`] names already, and this is a new one.
    Full,
}

/// What a room of this name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoomSeen {
    /// The first of its name.
    First,
    /// The known one.
    Known,
    /// Another than the known one: it was deleted and made again.
    Another,
    /// The known one, which kept legacy members out and does not any more.
    Opened,
}

/// Why a key is not accepted or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The name has shown no other key than the pinned one.
    NothingShown,
    /// It has shown another than this.
    Another(KeyName),
    /// It has shown this one, which has to be named.
    Unnamed(KeyName),
    /// No signing key is pinned for the name.
    Unknown,
    /// Nobody is logged in.
    NotLoggedIn,
    /// The number has not been shown.
    NotCompared,
    /// The pinned key is another than when the number was shown.
    KeyChanged,
}

/// Who the person is.
#[derive(Debug, Clone)]
struct Own {
    account: UserName,
    rsa: Fingerprint,
}

/// The people and the rooms of one realm.
pub(super) struct People {
    realm: Realm,
    own_key: Ed25519Key,
    own: Option<Own>,
    pins: Pins,
    learned: Vec<Learned>,
    /// The last other key of each name, which waits for the person's word.
    offered: BTreeMap<UserName, KeyName>,
    /// The keys whose safety numbers were shown.
    compared: BTreeMap<UserName, Ed25519Key>,
    looks: Looks,
}

impl People {
    /// Starts with what is pinned in the realm. `own_key` is the person's.
    pub(super) fn new(realm: Realm, own_key: Ed25519Key, pins: Pins) -> Self {
        let looks = Looks::of(&pins);
        let (learned, offered, compared) = Default::default();
        Self { realm, own_key, own: None, pins, learned, offered, compared, looks }
    }

    /// The person is logged in as `account`, on the device with the RSA key `rsa`.
    pub(super) fn set_own(&mut self, account: UserName, rsa: Fingerprint) {
        self.own = Some(Own { account, rsa });
    }

    /// What was learned since it was last asked for.
    pub(super) fn take_learned(&mut self) -> Vec<Learned> {
        std::mem::take(&mut self.learned)
    }

    /// What is pinned.
    pub(super) fn pins(&self) -> &Pins {
        &self.pins
    }

    fn learn(&mut self, learned: Learned) {
        self.pins.learn(&learned);
        self.learned.push(learned);
    }

    fn is_own(&self, account: &UserName) -> bool {
        self.own.as_ref().is_some_and(|own| own.account == *account)
    }

    /// What a bundle is worth; nothing is pinned.
    pub(super) fn judge(&self, bundle: &Bundle) -> Verdict {
        let (account, key) = (bundle.account(), bundle.signing_key().bytes());
        let changed = |pinned: KeyName| Verdict::Changed { pinned, shown: key.into() };
        if self.is_own(account) {
            return if key == self.own_key { Verdict::Good(Trust::Own) } else { changed(self.own_key.into()) };
        }
        if let Some(signer) = self.pins.signers.get(account) {
            return if signer.key == key { Verdict::Good(signer.trust.into()) } else { changed(signer.key.into()) };
        }
        match self.pins.rsa.get(account) {
            Some(rsa) if *rsa != bundle.rsa().fingerprint() => changed((*rsa).into()),
            // What the RSA key signed carries its pin over.
            None if self.pins.signers.len() >= MOST_NAMES => Verdict::Full,
            _ => Verdict::Good(Trust::Pinned),
        }
    }

    /// Judges a bundle that is to be used, and pins what is new of it.
    pub(super) fn meet(&mut self, bundle: &Bundle) -> Verdict {
        let verdict = self.judge(bundle);
        let (account, key) = (bundle.account().clone(), bundle.signing_key().bytes());
        match verdict {
            Verdict::Good(Trust::Own) | Verdict::Full => return verdict,
            Verdict::Good(_) => {}
            Verdict::Changed { shown, .. } => {
                self.offer(account, shown);
                return verdict;
            }
        }
        if !self.pins.signers.contains_key(&account) {
            self.looks.add(&account);
            self.learn(Learned::SignerSeen(account.clone(), key));
        }
        let device = Device { bundle: bundle.hash(), rsa: bundle.rsa().fingerprint() };
        if !self.pins.devices.get(&account).is_some_and(|devices| devices.contains(&device)) {
            self.learn(Learned::Device { user: account, signer: key, device });
        }
        verdict
    }

    /// What the RSA key of a legacy member is worth; nothing is pinned.
    pub(super) fn judge_legacy(&self, account: &UserName, key: &PublicKey) -> Verdict {
        let print = key.fingerprint();
        let changed = |pinned| Verdict::Changed { pinned, shown: print.into() };
        if let Some(own) = self.own.as_ref().filter(|own| own.account == *account) {
            return if own.rsa == print { Verdict::Good(Trust::Unsigned) } else { changed(self.own_key.into()) };
        }
        if let Some(signer) = self.pins.signers.get(account) {
            let devices = self.pins.devices.get(account).into_iter().flatten();
            let is_theirs = devices.into_iter().any(|device| device.rsa == print);
            return if is_theirs { Verdict::Good(Trust::Unsigned) } else { changed(signer.key.into()) };
        }
        match self.pins.rsa.get(account) {
            Some(pinned) if *pinned != print => changed((*pinned).into()),
            None if self.pins.rsa.len() >= MOST_NAMES => Verdict::Full,
            _ => Verdict::Good(Trust::Unsigned),
        }
    }

    /// Judges the RSA key of a legacy member that is to be a reader, and pins it when it is new.
    pub(super) fn meet_legacy(&mut self, account: &UserName, key: &PublicKey) -> Verdict {
        let verdict = self.judge_legacy(account, key);
        match verdict {
            _ if self.signs(account) => {} // the pins of who signs are others
            Verdict::Changed { shown, .. } => self.offer(account.clone(), shown),
            Verdict::Good(_) if !self.pins.rsa.contains_key(account) => {
                self.looks.add(account);
                self.learn(Learned::Rsa { user: account.clone(), key: key.fingerprint(), replaces: false });
            }
            Verdict::Good(_) | Verdict::Full => {}
        }
        verdict
    }

    /// Whose pinned device a bundle is, and the pinned key: it need not come again to vouch for what it signed.
    pub(super) fn owner_of(&self, bundle: BundleHash) -> Option<(&UserName, Signer)> {
        let mut devices = self.pins.devices.iter();
        let (account, _) = devices.find(|(_, devices)| devices.iter().any(|device| device.bundle == bundle))?;
        Some((account, *self.pins.signers.get(account)?))
    }

    /// Whether a message in this name needs a signature: then one without is somebody else's.
    pub(super) fn signs(&self, account: &UserName) -> bool {
        self.is_own(account) || self.pins.signers.contains_key(account)
    }

    /// The name that was known before and that this one can be taken for.
    pub(super) fn resembles(&mut self, account: &UserName) -> Option<UserName> {
        self.looks.before(account)
    }

    fn offer(&mut self, account: UserName, key: KeyName) {
        if self.offered.len() < MOST_NAMES || self.offered.contains_key(&account) {
            self.offered.insert(account, key);
        }
    }

    /// The stored form of a name that was typed.
    pub(super) fn named(&self, typed: &UserName) -> UserName {
        let known = |name: &UserName| {
            self.pins.signers.contains_key(name) || self.pins.rsa.contains_key(name) || self.offered.contains_key(name)
        };
        if known(typed) { typed.clone() } else { typed.normalized() }
    }

    /// The key that a name has shown and that waits for the person's word.
    pub(super) fn offered(&self, account: &UserName) -> Option<KeyName> {
        self.offered.get(account).copied()
    }

    /// Takes the key that a name has shown, if it is the one that the person names: it counts as seen.
    ///
    /// # Errors
    /// [`Refused::NothingShown`], [`Refused::Unnamed`] or [`Refused::Another`].
    pub(super) fn accept(&mut self, account: &UserName, key: Option<KeyName>) -> Result<KeyName, Refused> {
        let offered = self.offered(account).ok_or(Refused::NothingShown)?;
        let key = key.ok_or(Refused::Unnamed(offered))?;
        // A signing key may be named by its fingerprint, too.
        let is_named = match offered {
            KeyName::Ed25519(offered) => VerifyingKey::parse(&offered).is_ok_and(|offered| key.names(&offered)),
            KeyName::Sha256(_) => false,
        };
        if offered != key && !is_named {
            return Err(Refused::Another(offered));
        }
        self.offered.remove(account);
        self.looks.add(account);
        self.learn(match offered {
            KeyName::Ed25519(key) => Learned::SignerAccepted(account.clone(), key),
            KeyName::Sha256(key) => Learned::Rsa { user: account.clone(), key, replaces: true },
        });
        Ok(offered)
    }

    /// Takes another RSA key of a legacy member at the person's word, whatever was shown since.
    pub(super) fn accept_rsa(&mut self, account: &UserName, key: Fingerprint) {
        if self.offered(account) == Some(key.into()) {
            self.offered.remove(account);
        }
        self.looks.add(account);
        self.learn(Learned::Rsa { user: account.clone(), key, replaces: true });
    }

    /// The safety number of the person and somebody whose signing key is pinned.
    ///
    /// # Errors
    /// [`Refused::NotLoggedIn`] or [`Refused::Unknown`].
    pub(super) fn compare(&mut self, account: &UserName) -> Result<SafetyNumber, Refused> {
        let own = self.own.as_ref().ok_or(Refused::NotLoggedIn)?;
        let signer = self.pins.signers.get(account).ok_or(Refused::Unknown)?;
        if self.compared.len() < MOST_NAMES || self.compared.contains_key(account) {
            self.compared.insert(account.clone(), signer.key);
        }
        Ok(SafetyNumber::of(&self.realm, (&own.account, &self.own_key), (account, &signer.key)))
    }

    /// The person says that the number is the same on both sides: exactly the key that it was of is verified.
    ///
    /// # Errors
    /// [`Refused`] when the number was not shown, or the pinned key is another by now.
    pub(super) fn verify(&mut self, account: &UserName) -> Result<(), Refused> {
        let compared = self.compared.get(account).ok_or(Refused::NotCompared)?;
        let signer = self.pins.signers.get(account).ok_or(Refused::Unknown)?;
        if signer.key != *compared {
            return Err(Refused::KeyChanged);
        }
        let key = signer.key;
        self.learn(Learned::SignerVerified(account.clone(), key));
        Ok(())
    }

    /// Whether somebody's messages are not shown.
    pub(super) fn is_blocked(&self, account: &UserName) -> bool {
        self.pins.blocked.contains(account)
    }

    /// Hides somebody's messages, or shows them again; says whether that is new.
    pub(super) fn block(&mut self, account: &UserName, blocked: bool) -> bool {
        let is_new = self.is_blocked(account) != blocked;
        if is_new {
            let learned = if blocked { Learned::Blocked } else { Learned::Unblocked };
            self.learn(learned(account.clone()));
        }
        is_new
    }

    /// Takes note of a room that was entered; what is seen of it now is pinned, whatever it was before.
    pub(super) fn meet_room(&mut self, room: &RoomName, id: RoomId, modern_only: bool) -> RoomSeen {
        let pin = RoomPin { id, modern_only };
        let (seen, replaces) = match self.pins.rooms.get(room) {
            Some(known) if *known == pin => return RoomSeen::Known,
            Some(known) if known.id != id => (RoomSeen::Another, true),
            Some(known) if known.modern_only => (RoomSeen::Opened, true),
            Some(_) => (RoomSeen::Known, false),
            None if self.pins.rooms.len() >= MOST_NAMES => return RoomSeen::First,
            None => (RoomSeen::First, false),
        };
        self.learn(Learned::Room { room: room.clone(), pin, replaces });
        seen
    }

    /// The room's owner has changed what it allows.
    pub(super) fn note_flags(&mut self, room: &RoomName, modern_only: bool) {
        let Some(pin) = self.pins.rooms.get(room).copied().filter(|pin| pin.modern_only != modern_only) else { return };
        let pin = RoomPin { modern_only, ..pin };
        self.learn(Learned::Room { room: room.clone(), pin, replaces: !modern_only });
    }
}

impl From<Pinned> for Trust {
    fn from(trust: Pinned) -> Self {
        match trust {
            Pinned::Seen => Self::Pinned,
            Pinned::Verified => Self::Verified,
        }
    }
}

/// Names by what they look like.
#[derive(Default)]
struct Looks {
    /// The first name of each shape, and of each form without case.
    first: HashMap<Box<str>, UserName>,
    added: BTreeSet<UserName>,
    found: HashMap<UserName, Option<UserName>>,
}

impl Looks {
    /// Those that are pinned; names that the person verified come first.
    fn of(pins: &Pins) -> Self {
        let mut looks = Self::default();
        let verified = pins.signers.iter().filter(|(_, signer)| signer.trust == Pinned::Verified);
        let names = verified.map(|(name, _)| name).chain(pins.signers.keys()).chain(pins.rsa.keys());
        names.for_each(|name| looks.add(name));
        looks
    }

    fn add(&mut self, name: &UserName) {
        if name.as_str().len() > MOST_NAME_BYTES || !self.added.insert(name.clone()) {
            return;
        }
        let likeness = name.likeness();
        for form in likeness.shapes.into_iter().chain([likeness.folded]) {
            self.first.entry(form).or_insert_with(|| name.clone());
        }
    }

    fn before(&mut self, name: &UserName) -> Option<UserName> {
        if name.as_str().len() > MOST_NAME_BYTES {
            return None;
        }
        if let Some(found) = self.found.get(name) {
            return found.clone();
        }
        let likeness = name.likeness();
        let forms = [&likeness.folded].into_iter().chain(&likeness.shapes);
        let is_other = |first: &&UserName| *first != name && first.likeness().clashes_with(&likeness);
        let found = forms.filter_map(|form| self.first.get(form)).find(is_other).cloned();
        if self.found.len() >= MOST_NAMES {
            self.found.clear(); // it is found again
        }
        self.found.insert(name.clone(), found.clone());
        found
    }
}

/// Longest name that is compared with others; what is registered has at most 32 characters.
const MOST_NAME_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{PrivateKey, SigningKey};
    use std::sync::LazyLock;

    const REALM: Realm = Realm([1; 32]);
    static RSA: LazyLock<[PrivateKey; 2]> = LazyLock::new(|| [(); 2].map(|()| PrivateKey::generate().unwrap()));

    fn name(name: &str) -> UserName {
        UserName::new(name)
    }

    fn signing(of: u8) -> SigningKey {
        SigningKey::from_seed(&[of; 32])
    }

    fn key(of: u8) -> Ed25519Key {
        signing(of).verifying_key().bytes()
    }

    fn bundle(user: &str, signer: u8, device: usize) -> Bundle {
        Bundle::sign(&REALM, &name(user), &signing(signer), &RSA[device]).unwrap()
    }

    fn people(learned: &[Learned]) -> People {
        let mut pins = Pins::default();
        learned.iter().for_each(|learned| pins.learn(learned));
        let mut people = People::new(REALM, key(100), pins);
        people.set_own(name("me"), RSA[1].public().fingerprint());
        people
    }

    #[test]
    fn the_first_signing_key_is_pinned_and_another_waits_for_the_persons_word() {
        let mut people = people(&[]);
        assert_eq!(people.meet(&bundle("bob", 1, 0)), Verdict::Good(Trust::Pinned));
        let device = Device { bundle: bundle("bob", 1, 0).hash(), rsa: RSA[0].public().fingerprint() };
        let learned =
            [Learned::SignerSeen(name("bob"), key(1)), Learned::Device { user: name("bob"), signer: key(1), device }];
        assert_eq!(people.take_learned(), learned);
        assert_eq!(people.meet(&bundle("bob", 1, 0)), Verdict::Good(Trust::Pinned));
        assert_eq!(people.take_learned(), []);
        let changed = Verdict::Changed { pinned: key(1).into(), shown: key(2).into() };
        assert_eq!(people.meet(&bundle("bob", 2, 0)), changed);
        assert_eq!(people.take_learned(), []);
        assert_eq!(people.accept(&name("bob"), Some(key(3).into())), Err(Refused::Another(key(2).into())));
        assert_eq!(people.accept(&name("eve"), Some(key(2).into())), Err(Refused::NothingShown));
        assert_eq!(people.accept(&name("bob"), None), Err(Refused::Unnamed(key(2).into())));
        let other = signing(3).verifying_key().fingerprint();
        assert_eq!(people.accept(&name("bob"), Some(other.into())), Err(Refused::Another(key(2).into())));
        assert_eq!(people.accept(&name("bob"), Some(key(2).into())), Ok(key(2).into()));
        assert_eq!(people.take_learned(), [Learned::SignerAccepted(name("bob"), key(2))]);
        assert_eq!(people.meet(&bundle("bob", 2, 0)), Verdict::Good(Trust::Pinned));
        assert!(matches!(people.meet(&bundle("bob", 1, 0)), Verdict::Changed { .. }));
    }

    #[test]
    fn a_legacy_pin_is_carried_over_by_the_rsa_key_and_by_nothing_else() {
        let old = Learned::Rsa { user: name("bob"), key: RSA[0].public().fingerprint(), replaces: false };
        let mut people = people(&[old]);
        let changed = Verdict::Changed { pinned: RSA[0].public().fingerprint().into(), shown: key(1).into() };
        assert_eq!(people.meet(&bundle("bob", 1, 1)), changed);
        assert_eq!(people.meet(&bundle("bob", 1, 0)), Verdict::Good(Trust::Pinned));
        assert_eq!(people.meet(&bundle("bob", 1, 1)), Verdict::Good(Trust::Pinned), "the signing key counts now");
    }

    #[test]
    fn a_number_that_was_compared_verifies_exactly_its_key() {
        let mut people = people(&[Learned::SignerSeen(name("bob"), key(1))]);
        assert_eq!(people.verify(&name("bob")), Err(Refused::NotCompared));
        assert_eq!(people.compare(&name("eve")), Err(Refused::Unknown));
        let number = people.compare(&name("bob")).unwrap();
        assert_eq!(number, SafetyNumber::of(&REALM, (&name("bob"), &key(1)), (&name("me"), &key(100))));
        people.meet(&bundle("bob", 2, 0));
        people.accept(&name("bob"), Some(key(2).into())).unwrap();
        assert_eq!(people.verify(&name("bob")), Err(Refused::KeyChanged));
        people.compare(&name("bob")).unwrap();
        assert_eq!(people.verify(&name("bob")), Ok(()));
        assert_eq!(people.meet(&bundle("bob", 2, 0)), Verdict::Good(Trust::Verified));
        assert!(matches!(people.meet(&bundle("bob", 3, 0)), Verdict::Changed { .. }));
        people.accept(&name("bob"), Some(signing(3).verifying_key().fingerprint().into())).unwrap();
        assert_eq!(people.meet(&bundle("bob", 3, 0)), Verdict::Good(Trust::Pinned), "accepted is never verified");
    }

    #[test]
    fn the_own_name_is_the_own_keys() {
        let mut people = people(&[]);
        assert_eq!(people.meet(&bundle("me", 100, 1)), Verdict::Good(Trust::Own));
        let changed = Verdict::Changed { pinned: key(100).into(), shown: key(1).into() };
        assert_eq!(people.meet(&bundle("me", 1, 0)), changed);
        assert!(people.signs(&name("me")));
        assert_eq!(people.meet_legacy(&name("me"), RSA[1].public()), Verdict::Good(Trust::Unsigned));
        assert!(matches!(people.meet_legacy(&name("me"), RSA[0].public()), Verdict::Changed { .. }));
    }

    #[test]
    fn a_legacy_member_whose_name_signs_reads_with_a_pinned_device_alone() {
        let mut people = people(&[]);
        people.meet(&bundle("bob", 1, 0));
        assert!(people.signs(&name("bob")) && !people.signs(&name("eve")));
        assert_eq!(people.meet_legacy(&name("bob"), RSA[0].public()), Verdict::Good(Trust::Unsigned));
        assert!(matches!(people.meet_legacy(&name("bob"), RSA[1].public()), Verdict::Changed { .. }));
    }

    #[test]
    fn a_legacy_key_is_pinned_and_accepted_like_any_other() {
        let mut people = people(&[]);
        assert_eq!(people.meet_legacy(&name("eve"), RSA[0].public()), Verdict::Good(Trust::Unsigned));
        assert!(matches!(people.meet_legacy(&name("eve"), RSA[1].public()), Verdict::Changed { .. }));
        people.accept(&name("eve"), Some(RSA[1].public().fingerprint().into())).unwrap();
        assert_eq!(people.meet_legacy(&name("eve"), RSA[1].public()), Verdict::Good(Trust::Unsigned));
    }

    #[test]
    fn a_name_that_looks_like_a_known_one_is_told_from_it() {
        let mut people = people(&[
            Learned::SignerSeen(name("Bob"), key(1)),
            Learned::SignerSeen(name("zoë"), key(2)),
            Learned::SignerVerified(name("zoë"), key(2)),
            Learned::SignerSeen(name("zoe\u{308}"), key(3)),
        ]);
        for (name_, other) in [("bob", "Bob"), ("Bоb", "Bob"), ("zoe\u{308}", "zoë"), ("ZOË", "zoë")] {
            assert_eq!(people.resembles(&name(name_)), Some(name(other)), "{name_}");
        }
        for alone in ["Bob", "zoë", "bobby", "user1"] {
            assert_eq!(people.resembles(&name(alone)), None, "{alone}");
        }
        people.meet(&bundle("user1", 4, 0));
        assert_eq!(people.resembles(&name("userl")), None, "two names in ASCII that differ in more than case");
        assert_eq!(people.resembles(&name("usеr1")), Some(name("user1")));
    }

    #[test]
    fn a_room_is_known_again_and_another_is_seen_to_be_another() {
        let mut people = people(&[]);
        let room = RoomName::new("den");
        let mut meet = |id, modern_only| people.meet_room(&room, RoomId([id; 16]), modern_only);
        assert_eq!(meet(1, false), RoomSeen::First);
        assert_eq!(meet(1, false), RoomSeen::Known);
        assert_eq!(meet(1, true), RoomSeen::Known);
        assert_eq!(meet(1, false), RoomSeen::Opened);
        assert_eq!(meet(2, true), RoomSeen::Another);
        people.note_flags(&room, false);
        assert_eq!(people.meet_room(&room, RoomId([2; 16]), false), RoomSeen::Known);
    }

    #[test]
    fn somebody_is_blocked_once() {
        let mut people = people(&[]);
        assert!(people.block(&name("eve"), true));
        assert!(!people.block(&name("eve"), true));
        assert!(people.is_blocked(&name("eve")));
        assert!(people.block(&name("eve"), false));
        assert_eq!(people.take_learned(), [Learned::Blocked(name("eve")), Learned::Unblocked(name("eve"))]);
    }
}
