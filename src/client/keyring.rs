//! Whose keys are known, and for whom a message is sealed.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::key_name::KeyName;
use crate::client::packages::Reader;
use crate::crypto::{Fingerprint, KeyError, PublicKey};
use crate::names::UserName;
use crate::protocol::legacy;

/// Most users of one server whose keys are kept: a server may invent as many as it likes.
pub const MAX_PEERS: usize = 10_000;

/// Longest name that is taken from an announcement, in bytes.
const MAX_NAME: usize = 1024;

/// What an announced key turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The key that was expected, or something that was said before.
    Known,
    /// The first key for this name: it is pinned from now on.
    First(Fingerprint),
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

/// The keys of the others on one server.
#[derive(Debug, Default)]
pub struct Keyring {
    pins: BTreeMap<UserName, Fingerprint>,
    /// Keys that match their pins, as far as they were seen since the start.
    readers: BTreeMap<UserName, Reader>,
    /// Keys that do not match, and wait for the person's word.
    offered: BTreeMap<UserName, PublicKey>,
    /// Who was seen leaving the room and not coming back.
    left: BTreeSet<UserName>,
    refused: BTreeSet<UserName>,
    full: bool,
}

impl Keyring {
    /// Starts with what is pinned for the server.
    pub fn new(pins: BTreeMap<UserName, Fingerprint>) -> Self {
        Self { pins, ..Self::default() }
    }

    /// Takes an announced key.
    pub fn see(&mut self, user: &UserName, pem: &str) -> Seen {
        if self.readers.get(user).is_some_and(|reader| &**reader.key.pem() == pem) || !is_name(user.as_str()) {
            return Seen::Known; // a name that no account can bear is nobody's
        }
        match PublicKey::from_pem(pem).and_then(Reader::new) {
            Ok(reader) => self.see_key(user, reader),
            Err(why) if self.refused.len() < MAX_PEERS && self.refused.insert(user.clone()) => Seen::Refused(why),
            Err(_) => Seen::Known,
        }
    }

    fn see_key(&mut self, user: &UserName, reader: Reader) -> Seen {
        let shown = reader.key.fingerprint();
        match self.pins.get(user) {
            Some(pinned) if *pinned == shown => {
                self.readers.insert(user.clone(), reader);
                Seen::Known
            }
            Some(pinned) => match self.offered.insert(user.clone(), reader.key) {
                Some(before) if before.fingerprint() == shown => Seen::Known,
                _ => Seen::Changed { pinned: *pinned, shown },
            },
            None if self.pins.len() >= MAX_PEERS => {
                if std::mem::replace(&mut self.full, true) {
                    Seen::Known
                } else {
                    Seen::Full
                }
            }
            None => {
                self.pins.insert(user.clone(), shown);
                self.readers.insert(user.clone(), reader);
                Seen::First(shown)
            }
        }
    }

    /// Pins the other key that `name` showed, if it is the one that the person expects; gives the user and the key, or nothing
    /// when there is none.
    pub fn accept(&mut self, name: &str, expected: Option<KeyName>) -> Option<(UserName, Fingerprint)> {
        // A name is typed as it is shown.
        let mut offered = self.offered.iter().filter(|(user, _)| user.as_str() == name || user.to_string() == name);
        let (user, key) = offered.next()?;
        if expected.is_some_and(|expected| expected != key.fingerprint().into()) {
            return None;
        }
        let user = user.clone();
        let key = self.offered.remove(&user)?;
        let shown = key.fingerprint();
        self.pins.insert(user.clone(), shown);
        self.readers.insert(user.clone(), Reader::new(key).ok()?);
        Some((user, shown))
    }

    /// Whether a key waits for the person's word.
    pub fn has_offers(&self) -> bool {
        !self.offered.is_empty()
    }

    /// A user was seen leaving the room.
    pub fn leave(&mut self, user: &UserName) {
        if self.left.len() < MAX_PEERS {
            self.left.insert(user.clone());
        }
    }

    /// A user was seen in the room.
    pub fn come(&mut self, user: &UserName) {
        self.left.remove(user);
    }

    /// The room is another one: who left the last may be in this.
    pub fn change_room(&mut self) {
        self.left.clear();
    }

    /// Everyone whose key is known, less those who left and `own`, in order of their names.
    pub fn readers<'a>(&'a self, own: &UserName) -> Vec<(&'a UserName, &'a Reader)> {
        self.readers.iter().filter(|(user, _)| *user != own && !self.left.contains(*user)).collect()
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && legacy::is_word(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;
    use std::sync::{Arc, LazyLock};

    static KEYS: LazyLock<[PrivateKey; 3]> = LazyLock::new(|| [(); 3].map(|()| PrivateKey::generate().unwrap()));

    fn pem(i: usize) -> Arc<str> {
        Arc::clone(KEYS[i].public().pem())
    }

    fn print(i: usize) -> Fingerprint {
        KEYS[i].public().fingerprint()
    }

    fn name(name: &str) -> UserName {
        UserName::new(name)
    }

    fn readers(ring: &Keyring) -> Vec<(String, Fingerprint)> {
        ring.readers(&name("me")).iter().map(|(n, r)| (n.to_string(), r.key.fingerprint())).collect()
    }

    #[test]
    fn the_first_key_is_pinned_and_another_waits_for_the_persons_word() {
        let mut ring = Keyring::default();
        assert_eq!(ring.see(&name("bob"), &pem(0)), Seen::First(print(0)));
        assert_eq!(ring.see(&name("bob"), &pem(0)), Seen::Known);
        let changed = Seen::Changed { pinned: print(0), shown: print(1) };
        assert_eq!(ring.see(&name("bob"), &pem(1)), changed);
        assert_eq!(ring.see(&name("bob"), &pem(1)), Seen::Known, "the warning is not repeated");
        assert_eq!(readers(&ring), [("bob".into(), print(0))]);
        assert_eq!(ring.accept("alice", None), None);
        assert_eq!(ring.accept("bob", Some(print(2).into())), None, "that is not the key that was shown");
        assert_eq!(ring.accept("bob", Some(print(1).into())), Some((name("bob"), print(1))));
        assert_eq!(readers(&ring), [("bob".into(), print(1))]);
        assert_eq!(ring.accept("bob", None), None);
        assert_eq!(ring.see(&name("bob"), &pem(0)), Seen::Changed { pinned: print(1), shown: print(0) });
    }

    #[test]
    fn a_pin_from_before_is_no_reader_until_its_key_is_seen() {
        let mut ring = Keyring::new([(name("bob"), print(0))].into());
        assert!(readers(&ring).is_empty());
        assert!(matches!(ring.see(&name("bob"), &pem(1)), Seen::Changed { .. }));
        assert!(readers(&ring).is_empty());
        assert_eq!(ring.see(&name("bob"), &pem(0)), Seen::Known);
        assert_eq!(readers(&ring), [("bob".into(), print(0))]);
    }

    #[test]
    fn a_third_key_is_another_warning() {
        let mut ring = Keyring::new([(name("bob"), print(0))].into());
        assert!(matches!(ring.see(&name("bob"), &pem(1)), Seen::Changed { .. }));
        assert_eq!(ring.see(&name("bob"), &pem(2)), Seen::Changed { pinned: print(0), shown: print(2) });
        assert_eq!(ring.accept("bob", None), Some((name("bob"), print(2))));
    }

    #[test]
    fn who_left_is_no_reader_until_it_comes_back() {
        let mut ring = Keyring::default();
        ring.see(&name("bob"), &pem(0));
        ring.see(&name("me"), &pem(0));
        ring.leave(&name("bob"));
        assert!(readers(&ring).is_empty());
        ring.see(&name("bob"), &pem(0));
        assert!(readers(&ring).is_empty(), "a Python server passes keys on from other rooms, too");
        ring.come(&name("bob"));
        assert_eq!(readers(&ring).len(), 1);
        ring.leave(&name("bob"));
        ring.change_room();
        assert_eq!(readers(&ring).len(), 1);
    }

    #[test]
    fn what_is_no_key_or_no_name_is_said_once_or_not_at_all() {
        let mut ring = Keyring::default();
        assert_eq!(ring.see(&name("bob"), "junk"), Seen::Refused(KeyError::Malformed));
        assert_eq!(ring.see(&name("bob"), "junk"), Seen::Known);
        for odd in ["", "two words", "line\nfeed"] {
            assert_eq!(ring.see(&name(odd), &pem(0)), Seen::Known);
        }
        assert!(readers(&ring).is_empty());
    }
}
