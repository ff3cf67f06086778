//! Whose keys are known, and for whom a message is sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::client::bundles::Bundles;
use crate::client::key_name::KeyName;
use crate::client::packages::{Named, Reader};
use crate::client::people::{People, Refused, Verdict};
use crate::client::shown::{Name, Trust};
use crate::client::signed;
use crate::crypto::{BadBundle, Bundle, Fingerprint, KeyError, PublicKey, VerifyingKey};
use crate::names::UserName;
use crate::protocol::legacy;
use crate::protocol::modern::OwnedBundle;
use crate::transcript::{BundleHash, Realm};

/// Most users of one server whose keys are kept: a server may invent as many as it likes.
pub const MAX_PEERS: usize = 10_000;

/// Longest name that is taken from an announcement, in bytes.
const MAX_NAME: usize = 1024;

/// How long a key of somebody who signs may come before its bundle.
pub const BUNDLE_WAIT: Duration = Duration::from_secs(2);

/// What an announced key turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The first key for this name, which is pinned from now on; the key that was expected; or something that was said before.
    Known,
    /// Another key than the pinned one. It is not used.
    Changed {
        /// The key that is pinned.
        pinned: Fingerprint,
        /// The key that was announced.
        shown: Fingerprint,
    },
    /// Not a key that is taken. Said once for each name.
    Refused(KeyError),
    /// There are [`MAX_PEERS`] already. Said once.
    Full,
}

/// What an announced bundle turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Met {
    /// Its keys are used.
    Good,
    /// Something that was said before, or nobody's.
    Known,
    /// Another key than the pinned one. It is not used.
    Changed {
        /// The key that is pinned.
        pinned: KeyName,
        /// The key that was announced.
        shown: KeyName,
    },
    /// Its keys do not belong together. Said once for each name.
    Refused(BadBundle),
    /// There are too many names already. Said once.
    Full,
}

/// Who signed something, as far as a bundle tells.
#[derive(Debug, Clone)]
pub(super) struct Author {
    /// The account.
    pub(super) account: UserName,
    /// Its signing key, as the bundle has it.
    pub(super) key: VerifyingKey,
    /// What that key is worth.
    pub(super) verdict: Verdict,
}

/// A key in the name of somebody who signs and has not signed for it.
#[derive(Debug)]
struct Doubt {
    key: Fingerprint,
    /// Until when its bundle may come; nothing once it was told.
    until: Option<Duration>,
}

/// The keys of the others on one server.
pub struct Keyring {
    pub(super) people: People,
    bundles: Bundles,
    /// Keys that match their pins, as far as they were seen since the start.
    readers: BTreeMap<UserName, Reader>,
    /// Keys of names that do not sign, which do not match, and wait for the person's word.
    offered: BTreeMap<UserName, Reader>,
    doubts: BTreeMap<UserName, Doubt>,
    /// Who was seen leaving the room and not coming back.
    left: BTreeSet<UserName>,
    refused: BTreeSet<UserName>,
    full: bool,
}

impl Keyring {
    /// Starts with what is pinned for the server.
    pub(super) fn new(people: People) -> Self {
        let (bundles, readers, offered, doubts, left, refused) = Default::default();
        Self { people, bundles, readers, offered, doubts, left, refused, full: false }
    }

    /// Takes an announced key.
    pub(super) fn see(&mut self, user: &UserName, pem: &str, now: Duration) -> Seen {
        let is_read = self.readers.get(user).is_some_and(|reader| &**reader.key.pem() == pem);
        if (is_read && !self.people.signs(user)) || !is_name(user.as_str()) {
            return Seen::Known; // a name that no account can bear is nobody's
        }
        match PublicKey::from_pem(pem).and_then(Reader::new) {
            Ok(reader) => self.see_key(user, reader, now),
            Err(why) if self.refuse(user) => Seen::Refused(why),
            Err(_) => Seen::Known,
        }
    }

    fn see_key(&mut self, user: &UserName, reader: Reader, now: Duration) -> Seen {
        let shown = reader.key.fingerprint();
        match self.people.meet_legacy(user, &reader.key) {
            Verdict::Good(_) => {
                self.readers.insert(user.clone(), reader);
                Seen::Known
            }
            Verdict::Changed { .. } if self.people.signs(user) => {
                self.doubt(user, shown, now);
                Seen::Known
            }
            Verdict::Changed { pinned: KeyName::Sha256(pinned), .. } => match self.offered.insert(user.clone(), reader)
            {
                Some(before) if before.key.fingerprint() == shown => Seen::Known,
                _ => Seen::Changed { pinned, shown },
            },
            Verdict::Changed { .. } => Seen::Known,
            Verdict::Full if std::mem::replace(&mut self.full, true) => Seen::Known,
            Verdict::Full => Seen::Full,
        }
    }

    /// Whether something is refused of this name for the first time.
    fn refuse(&mut self, user: &UserName) -> bool {
        self.refused.len() < MAX_PEERS && self.refused.insert(user.clone())
    }

    fn doubt(&mut self, user: &UserName, key: Fingerprint, now: Duration) {
        if self.doubts.get(user).is_none_or(|doubt| doubt.key != key) {
            self.doubts.insert(user.clone(), Doubt { key, until: Some(now + BUNDLE_WAIT) });
        }
    }

    /// When [`Keyring::expire`] has something to say.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.doubts.values().filter_map(|doubt| doubt.until).min()
    }

    /// The keys that came in the name of somebody who signs, and whose bundle is not waited for any more.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<(UserName, Fingerprint)> {
        let due = self.doubts.iter_mut().filter(|(_, doubt)| doubt.until.is_some_and(|until| until <= now));
        let told = due.map(|(user, doubt)| {
            doubt.until = None;
            (user.clone(), doubt.key)
        });
        told.collect()
    }

    /// Takes an announced bundle; its signatures are checked once.
    pub(super) fn take_bundle(&mut self, realm: &Realm, owned: &OwnedBundle) -> Met {
        if !is_name(owned.user.as_str()) {
            return Met::Known;
        }
        let bundle = match self.bundles.get(&signed::hash_of(realm, owned)) {
            Some(bundle) => Arc::clone(bundle),
            None => match signed::verify(realm, owned) {
                Ok(bundle) => Arc::new(bundle),
                Err(why) if self.refuse(&owned.user) => return Met::Refused(why),
                Err(_) => return Met::Known,
            },
        };
        self.meet(bundle)
    }

    fn meet(&mut self, bundle: Arc<Bundle>) -> Met {
        let user = bundle.account().clone();
        if !self.bundles.has_room_for(&user) {
            return self.is_full();
        }
        let before = self.bundles.rival(&user).map(|rival| *rival.signing_key());
        match self.people.meet(&bundle) {
            Verdict::Good(trust) => {
                let reader = Reader::new(bundle.rsa().clone());
                self.bundles.keep(bundle);
                if let (Ok(reader), true) = (reader, trust != Trust::Own) {
                    self.offered.remove(&user);
                    self.doubts.remove(&user);
                    self.readers.insert(user, reader);
                }
                Met::Good
            }
            Verdict::Changed { pinned, shown } => {
                let is_told = before == Some(*bundle.signing_key());
                let rsa = bundle.rsa().fingerprint();
                if let Some(doubt) = self.doubts.get_mut(&user).filter(|doubt| doubt.key == rsa) {
                    doubt.until = None; // it is told with its bundle
                }
                self.bundles.keep_rival(bundle);
                if is_told { Met::Known } else { Met::Changed { pinned, shown } }
            }
            Verdict::Full => self.is_full(),
        }
    }

    fn is_full(&mut self) -> Met {
        if std::mem::replace(&mut self.full, true) { Met::Known } else { Met::Full }
    }

    /// Whose a bundle is, if it is known.
    pub(super) fn author(&self, hash: &BundleHash) -> Option<Author> {
        if let Some(bundle) = self.bundles.get(hash) {
            let verdict = self.people.judge(bundle);
            return Some(Author { account: bundle.account().clone(), key: *bundle.signing_key(), verdict });
        }
        let (account, signer) = self.people.owner_of(*hash)?;
        let key = VerifyingKey::parse(&signer.key).ok()?;
        Some(Author { account: account.clone(), key, verdict: Verdict::Good(signer.trust.into()) })
    }

    /// Takes the other key that a name showed, if it is the one that the person expects. A key of a name that does not sign need
    /// not be named.
    ///
    /// # Errors
    /// As [`People::accept`].
    pub(super) fn accept(&mut self, user: &UserName, expected: Option<KeyName>) -> Result<KeyName, Refused> {
        self.meet_rival(user); // of a legacy key and a signing key that were shown, the latter is the last word
        let shown = self.people.offered(user);
        let legacy = self.offered.get(user).map(|reader| KeyName::from(reader.key.fingerprint()));
        match (legacy, expected) {
            (Some(key), Some(expected)) if key == expected => Ok(self.accept_legacy(user, key)),
            (Some(key), None) if shown == Some(key) => Ok(self.accept_legacy(user, key)),
            _ => {
                let key = self.people.accept(user, expected)?;
                self.meet_rival(user);
                Ok(key)
            }
        }
    }

    fn accept_legacy(&mut self, user: &UserName, key: KeyName) -> KeyName {
        if let Some(reader) = self.offered.remove(user) {
            self.people.accept_rsa(user, reader.key.fingerprint());
            self.readers.insert(user.clone(), reader);
        }
        self.meet_rival(user); // its bundle may have come along
        key
    }

    fn meet_rival(&mut self, user: &UserName) {
        if let Some(bundle) = self.bundles.rival(user) {
            self.meet(bundle);
        }
    }

    /// The stored form of a name that was typed, as it is shown.
    pub(super) fn named(&self, typed: &UserName) -> UserName {
        let is_it = |user: &&UserName| Name(user).to_string() == typed.as_str() || user.to_string() == typed.as_str();
        self.offered.keys().find(is_it).cloned().unwrap_or_else(|| self.people.named(typed))
    }

    /// The key that a name has shown and that waits for the person's word.
    pub(super) fn offered(&self, user: &UserName) -> Option<KeyName> {
        let rival = self.bundles.rival(user).map(|rival| rival.signing_key().bytes().into());
        rival.or_else(|| self.people.offered(user))
    }

    /// Whether a key waits for the person's word.
    pub(super) fn has_offers(&self) -> bool {
        !self.offered.is_empty() || self.bundles.has_rivals()
    }

    /// A user was seen leaving the room.
    pub(super) fn leave(&mut self, user: &UserName) {
        if self.left.len() < MAX_PEERS {
            self.left.insert(user.clone());
        }
    }

    /// A user was seen in the room.
    pub(super) fn come(&mut self, user: &UserName) {
        self.left.remove(user);
    }

    /// The room is another one: who left the last may be in this.
    pub(super) fn change_room(&mut self) {
        self.left.clear();
    }

    /// Everyone whose key is known, less those who left and `own`, in order of their names. In the name of somebody who signs,
    /// a key reads only when it is in a pinned bundle.
    pub(super) fn readers<'a>(&'a self, own: &UserName) -> Vec<Named<'a>> {
        let pins = self.people.pins();
        let reads = |user: &UserName, reader: &Reader| {
            user != own && !self.left.contains(user) && pins.may_be(user, &reader.key.fingerprint())
        };
        self.readers.iter().filter(|(user, reader)| reads(user, reader)).collect()
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && legacy::is_word(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::known_keys::{Device, Learned, Pins};
    use crate::crypto::{PrivateKey, SigningKey};
    use crate::protocol::modern::BundleKeys;
    use crate::transcript::Signature;
    use std::sync::LazyLock;

    const NOW: Duration = Duration::from_secs(100);
    const REALM: Realm = Realm([7; 32]);

    static KEYS: LazyLock<[PrivateKey; 3]> = LazyLock::new(|| [(); 3].map(|()| PrivateKey::generate().unwrap()));

    fn pem(i: usize) -> Arc<str> {
        Arc::clone(KEYS[i].public().pem())
    }

    fn print(i: usize) -> Fingerprint {
        KEYS[i].public().fingerprint()
    }

    /// What a ring knows from before.
    fn knowing(learned: &[Learned]) -> Keyring {
        let mut pins = Pins::default();
        learned.iter().for_each(|learned| pins.learn(learned));
        let mut people = People::new(REALM, SigningKey::from_seed(&[100; 32]).verifying_key().bytes(), pins);
        people.set_own(name("me"), print(2));
        Keyring::new(people)
    }

    fn ring(rsa: &[(&str, usize)]) -> Keyring {
        let pin = |(user, key): &(&str, usize)| Learned::Rsa { user: name(user), key: print(*key), replaces: false };
        knowing(&rsa.iter().map(pin).collect::<Vec<_>>())
    }

    /// The bundle of a user on the device with the RSA key `rsa`, under one of many signing keys.
    fn bundle(user: &str, signer: u8, rsa: usize) -> OwnedBundle {
        let bundle = Bundle::sign(&REALM, &name(user), &SigningKey::from_seed(&[signer; 32]), &KEYS[rsa]).unwrap();
        let keys = BundleKeys {
            signing_key: bundle.signing_key().bytes(),
            rsa_key: bundle.rsa().spki_der().clone(),
            signature: *bundle.signature(),
            rsa_signature: bundle.rsa_signature().clone(),
        };
        OwnedBundle { user: name(user), keys }
    }

    fn signing(of: u8) -> KeyName {
        SigningKey::from_seed(&[of; 32]).verifying_key().bytes().into()
    }

    fn name(name: &str) -> UserName {
        UserName::new(name)
    }

    fn readers(ring: &Keyring) -> Vec<(String, Fingerprint)> {
        ring.readers(&name("me")).iter().map(|(n, r)| (n.to_string(), r.key.fingerprint())).collect()
    }

    #[test]
    fn the_first_key_is_pinned_and_another_waits_for_the_persons_word() {
        let mut ring = ring(&[]);
        for _ in 0..2 {
            assert_eq!(ring.see(&name("bob"), &pem(0), NOW), Seen::Known);
        }
        let first = Learned::Rsa { user: name("bob"), key: print(0), replaces: false };
        assert_eq!(ring.people.take_learned(), [first]);
        let changed = Seen::Changed { pinned: print(0), shown: print(1) };
        assert_eq!(ring.see(&name("bob"), &pem(1), NOW), changed);
        assert_eq!(ring.see(&name("bob"), &pem(1), NOW), Seen::Known, "the warning is not repeated");
        assert_eq!(readers(&ring), [("bob".into(), print(0))]);
        assert_eq!(ring.accept(&name("alice"), None), Err(Refused::NothingShown));
        assert_eq!(ring.accept(&name("bob"), Some(print(2).into())), Err(Refused::Another(print(1).into())));
        assert_eq!(ring.accept(&name("bob"), Some(print(1).into())), Ok(print(1).into()));
        assert_eq!(readers(&ring), [("bob".into(), print(1))]);
        assert_eq!(ring.accept(&name("bob"), None), Err(Refused::NothingShown));
        assert_eq!(ring.see(&name("bob"), &pem(0), NOW), Seen::Changed { pinned: print(1), shown: print(0) });
    }

    #[test]
    fn a_pin_from_before_is_no_reader_until_its_key_is_seen() {
        let mut ring = ring(&[("bob", 0)]);
        assert!(readers(&ring).is_empty());
        assert!(matches!(ring.see(&name("bob"), &pem(1), NOW), Seen::Changed { .. }));
        assert!(readers(&ring).is_empty());
        assert_eq!(ring.see(&name("bob"), &pem(0), NOW), Seen::Known);
        assert_eq!(readers(&ring), [("bob".into(), print(0))]);
    }

    #[test]
    fn a_third_key_is_another_warning() {
        let mut ring = ring(&[("bob", 0)]);
        assert!(matches!(ring.see(&name("bob"), &pem(1), NOW), Seen::Changed { .. }));
        assert_eq!(ring.see(&name("bob"), &pem(2), NOW), Seen::Changed { pinned: print(0), shown: print(2) });
        assert_eq!(ring.accept(&name("bob"), None), Ok(print(2).into()));
    }

    #[test]
    fn who_left_is_no_reader_until_it_comes_back() {
        let mut ring = ring(&[]);
        ring.see(&name("bob"), &pem(0), NOW);
        ring.see(&name("me"), &pem(0), NOW);
        ring.leave(&name("bob"));
        assert!(readers(&ring).is_empty());
        ring.see(&name("bob"), &pem(0), NOW);
        assert!(readers(&ring).is_empty(), "a Python server passes keys on from other rooms, too");
        ring.come(&name("bob"));
        assert_eq!(readers(&ring).len(), 1);
        ring.leave(&name("bob"));
        ring.change_room();
        assert_eq!(readers(&ring).len(), 1);
    }

    #[test]
    fn what_is_no_key_or_no_name_is_said_once_or_not_at_all() {
        let mut ring = ring(&[]);
        assert_eq!(ring.see(&name("bob"), "junk", NOW), Seen::Refused(KeyError::Malformed));
        assert_eq!(ring.see(&name("bob"), "junk", NOW), Seen::Known);
        for odd in ["", "two words", "line\nfeed"] {
            assert_eq!(ring.see(&name(odd), &pem(0), NOW), Seen::Known);
        }
        assert!(readers(&ring).is_empty());
    }

    #[test]
    fn a_bundle_carries_the_pin_of_its_rsa_key_over_and_another_rsa_key_is_loud() {
        let mut ring = ring(&[("bob", 0), ("eve", 0)]);
        assert_eq!(ring.take_bundle(&REALM, &bundle("bob", 1, 0)), Met::Good);
        let device = |user, signer, rsa| Learned::Device {
            user: name(user),
            signer: SigningKey::from_seed(&[signer; 32]).verifying_key().bytes(),
            device: Device { bundle: signed::hash_of(&REALM, &bundle(user, signer, rsa)), rsa: print(rsa) },
        };
        let seen = Learned::SignerSeen(name("bob"), SigningKey::from_seed(&[1; 32]).verifying_key().bytes());
        assert_eq!(ring.people.take_learned(), [seen, device("bob", 1, 0)]);
        assert_eq!(readers(&ring), [("bob".into(), print(0))]);
        let changed = Met::Changed { pinned: print(0).into(), shown: signing(2) };
        assert_eq!(ring.take_bundle(&REALM, &bundle("eve", 2, 1)), changed);
        assert_eq!(ring.take_bundle(&REALM, &bundle("eve", 2, 1)), Met::Known, "the warning is not repeated");
        assert_eq!(readers(&ring), [("bob".into(), print(0))]);
        assert_eq!(ring.people.take_learned(), []);
    }

    #[test]
    fn another_signing_key_gets_nothing_until_it_is_named_and_then_it_is_the_reader() {
        let mut ring = ring(&[]);
        ring.see(&name("bob"), &pem(0), NOW);
        ring.take_bundle(&REALM, &bundle("bob", 1, 0));
        let changed = Met::Changed { pinned: signing(1), shown: signing(2) };
        assert_eq!(ring.take_bundle(&REALM, &bundle("bob", 2, 1)), changed);
        assert_eq!(readers(&ring), [("bob".into(), print(0))]);
        assert!(ring.has_offers());
        assert_eq!(ring.accept(&name("bob"), None), Err(Refused::Unnamed(signing(2))));
        assert_eq!(ring.accept(&name("bob"), Some(signing(3))), Err(Refused::Another(signing(2))));
        assert_eq!(ring.accept(&name("bob"), Some(signing(2))), Ok(signing(2)));
        assert_eq!(readers(&ring), [("bob".into(), print(1))]);
        assert!(!ring.has_offers());
        assert_eq!(ring.accept(&name("bob"), Some(signing(2))), Err(Refused::NothingShown));
        assert!(matches!(ring.take_bundle(&REALM, &bundle("bob", 1, 0)), Met::Changed { .. }));
        assert_eq!(ring.accept(&name("bob"), Some(signing(1))), Ok(signing(1)), "and back");
        assert_eq!(readers(&ring), [("bob".into(), print(0))]);
    }

    #[test]
    fn a_key_and_its_bundle_that_both_changed_are_accepted_together() {
        let mut ring = ring(&[("bob", 0)]);
        assert!(matches!(ring.see(&name("bob"), &pem(1), NOW), Seen::Changed { .. }));
        assert!(matches!(ring.take_bundle(&REALM, &bundle("bob", 1, 1)), Met::Changed { .. }));
        ring.see(&name("bob"), &pem(1), NOW);
        assert_eq!(
            ring.accept(&name("bob"), None),
            Err(Refused::Unnamed(signing(1))),
            "the signing key is the last word"
        );
        assert_eq!(ring.accept(&name("bob"), Some(print(1).into())), Ok(print(1).into()), "what it signed comes along");
        assert!(ring.people.signs(&name("bob")) && !ring.has_offers());
        assert_eq!(readers(&ring), [("bob".into(), print(1))]);
    }

    #[test]
    fn a_second_device_takes_over_once_its_bundle_has_come() {
        let mut ring = ring(&[]);
        ring.see(&name("bob"), &pem(0), NOW);
        ring.take_bundle(&REALM, &bundle("bob", 1, 0));
        assert_eq!(ring.see(&name("bob"), &pem(1), NOW), Seen::Known, "not before its bundle can have come");
        assert_eq!(readers(&ring), [("bob".into(), print(0))]);
        assert_eq!(ring.take_bundle(&REALM, &bundle("bob", 1, 1)), Met::Good);
        assert_eq!(readers(&ring), [("bob".into(), print(1))]);
        assert_eq!(ring.deadline(), None);
        ring.see(&name("bob"), &pem(0), NOW);
        assert_eq!(readers(&ring), [("bob".into(), print(0))], "the device that was heard last");
    }

    #[test]
    fn a_key_that_somebody_who_signs_has_not_signed_reads_nothing_and_is_said_once() {
        let mut ring = ring(&[]);
        ring.take_bundle(&REALM, &bundle("bob", 1, 0));
        assert_eq!(ring.see(&name("bob"), &pem(1), NOW), Seen::Known);
        assert_eq!(ring.expire(NOW + BUNDLE_WAIT - Duration::from_millis(1)), []);
        assert_eq!(ring.deadline(), Some(NOW + BUNDLE_WAIT));
        assert_eq!(ring.expire(NOW + BUNDLE_WAIT), [(name("bob"), print(1))]);
        assert_eq!(ring.see(&name("bob"), &pem(1), NOW + BUNDLE_WAIT), Seen::Known);
        assert_eq!(ring.deadline(), None);
        assert_eq!(readers(&ring), [("bob".into(), print(0))]);
        assert_eq!(ring.accept(&name("bob"), Some(print(1).into())), Err(Refused::NothingShown));
    }

    #[test]
    fn a_reader_from_before_the_signing_key_was_accepted_reads_no_more() {
        let mut ring = ring(&[]);
        ring.see(&name("bob"), &pem(0), NOW);
        ring.people.take_learned();
        ring.take_bundle(&REALM, &bundle("bob", 1, 1));
        ring.accept(&name("bob"), Some(signing(1))).unwrap();
        assert_eq!(readers(&ring), [("bob".into(), print(1))]);
        ring.see(&name("bob"), &pem(0), NOW);
        assert_eq!(readers(&ring), [("bob".into(), print(1))]);
    }

    #[test]
    fn keys_that_do_not_belong_together_are_said_once_and_nobodys() {
        let mut ring = ring(&[]);
        let good = bundle("bob", 1, 0);
        let forged = OwnedBundle { keys: BundleKeys { signature: Signature([0; 64]), ..good.keys.clone() }, ..good };
        assert_eq!(ring.take_bundle(&REALM, &forged), Met::Refused(BadBundle::Signature));
        assert_eq!(ring.take_bundle(&REALM, &forged), Met::Known);
        let elsewhere = OwnedBundle { user: name("two words"), ..bundle("bob", 1, 0) };
        assert_eq!(ring.take_bundle(&REALM, &elsewhere), Met::Known);
        assert!(!ring.people.signs(&name("bob")) && readers(&ring).is_empty());
    }

    #[test]
    fn a_pinned_device_vouches_before_its_bundle_has_come_again() {
        let mut before = ring(&[]);
        before.take_bundle(&REALM, &bundle("bob", 1, 0));
        let ring = knowing(&before.people.take_learned());
        let author = ring.author(&signed::hash_of(&REALM, &bundle("bob", 1, 0))).unwrap();
        assert_eq!(author.account, name("bob"));
        assert_eq!(author.verdict, Verdict::Good(Trust::Pinned));
        assert_eq!(KeyName::from(author.key.bytes()), signing(1));
        assert!(ring.author(&signed::hash_of(&REALM, &bundle("bob", 1, 1))).is_none());
    }

    #[test]
    fn the_own_bundle_on_another_device_is_no_other_reader() {
        let mut ring = ring(&[]);
        assert_eq!(ring.take_bundle(&REALM, &bundle("me", 100, 1)), Met::Good);
        let author = ring.author(&signed::hash_of(&REALM, &bundle("me", 100, 1))).unwrap();
        assert_eq!(author.verdict, Verdict::Good(Trust::Own));
        assert!(readers(&ring).is_empty());
        assert_eq!(ring.people.take_learned(), []);
        let changed = Met::Changed { pinned: signing(100), shown: signing(1) };
        assert_eq!(ring.take_bundle(&REALM, &bundle("me", 1, 1)), changed);
    }
}
