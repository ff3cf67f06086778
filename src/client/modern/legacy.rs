//! Messages of members on the legacy wire, for which the server vouches alone.

use std::collections::VecDeque;
use std::time::Duration;

use super::Machine;
use super::receive::clocks;
use crate::client::alarm::{Alarm, Thing, Unreadable};
use crate::client::shown::{Place, Shown, Trust};
use crate::crypto::envelope;
use crate::names::{Text, UserName};
use crate::transcript::MessageHash;

/// How long the package of a message that has this client's key may come after one that has it not: a sender with many
/// readers spreads them over several packages.
const SPREAD: Duration = Duration::from_secs(2);

/// How many messages are kept in mind.
const MOST: usize = 128;

/// The last messages of legacy members.
#[derive(Default)]
pub(super) struct LegacyHeard {
    opened: VecDeque<MessageHash>,
    /// Came without a key, and until when it may still come.
    keyless: VecDeque<(Duration, MessageHash, UserName)>,
}

impl LegacyHeard {
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.keyless.front().map(|(until, ..)| *until)
    }

    fn is_opened(&self, hash: &MessageHash) -> bool {
        self.opened.contains(hash)
    }

    fn note_opened(&mut self, hash: MessageHash) {
        self.keyless.retain(|(_, keyless, _)| *keyless != hash);
        if self.opened.len() >= MOST {
            self.opened.pop_front();
        }
        self.opened.push_back(hash);
    }

    /// Takes note of one without a key; gives one that is in mind no longer.
    fn note_keyless(&mut self, until: Duration, hash: MessageHash, user: UserName) -> Option<UserName> {
        if self.keyless.iter().any(|(_, keyless, _)| *keyless == hash) {
            return None;
        }
        let dropped = if self.keyless.len() >= MOST { self.keyless.pop_front() } else { None };
        self.keyless.push_back((until, hash, user));
        dropped.map(|(_, _, user)| user)
    }
}

impl Machine {
    pub(super) fn legacy_message(&mut self, user: UserName, token: String, key: Option<String>, time: u64) {
        if self.people.signs(&user) {
            return self.alarm(Alarm::Unsigned(user));
        }
        let Some(stay) = &self.stay else { return };
        if stay.roster.is_full() && !stay.roster.lists_legacy(&user) {
            return self.alarm(Alarm::UnlistedLegacy(user));
        }
        let (room, hash) = (stay.room.clone(), MessageHash::of(&token));
        let is_opened = self.legacy.is_opened(&hash);
        match key {
            None if is_opened => {} // the part of it that is for others
            None => {
                let until = self.now.elapsed + SPREAD;
                if let Some(user) = self.legacy.note_keyless(until, hash, user) {
                    self.alarm(Alarm::Unreadable(user, Unreadable::NoEntry));
                }
            }
            Some(_) if is_opened => self.alarm(Alarm::Repeated(Thing::Message, user)),
            Some(key) => {
                self.legacy.note_opened(hash);
                self.rsa_operations += 1;
                match envelope::open(&token, &key, &self.rsa) {
                    None => self.alarm(Alarm::Unreadable(user, Unreadable::NotOurs)),
                    Some(plain) => match text_of(&plain, &user) {
                        None => self.alarm(Alarm::OtherName(user)),
                        Some(text) => {
                            let (place, marks) = (Place::Room(room), clocks(&token, time).into_iter().collect());
                            self.show(Shown { author: user, trust: Trust::Unsigned, place, marks, text });
                        }
                    },
                }
            }
        }
    }

    pub(super) fn expire_legacy(&mut self) {
        let now = self.now.elapsed;
        while let Some((_, _, user)) = self.legacy.keyless.pop_front_if(|(until, ..)| *until <= now) {
            self.alarm(Alarm::Unreadable(user, Unreadable::NoEntry));
        }
    }
}

/// The text behind the author's name, which may be in another normal form than the stored one.
fn text_of(plain: &str, author: &UserName) -> Option<Text> {
    let (name, text) = plain.split_once(": ")?;
    let is_theirs = name == author.as_str() || UserName::new(name).normalized() == author.normalized();
    is_theirs.then(|| Text::sanitize(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_front_is_the_sessions() {
        let text = |plain, author| text_of(plain, &UserName::new(author)).map(|text| text.to_string());
        assert_eq!(text("bob: hi: there", "bob"), Some("hi: there".into()));
        assert_eq!(text("Zoe\u{308}: hi", "Zoë"), Some("hi".into()));
        for (plain, author) in
            [("eve: hi", "bob"), ("bob", "bob"), ("bob:hi", "bob"), ("Bob: hi", "bob"), (" bob: x", "bob")]
        {
            assert_eq!(text(plain, author), None);
        }
    }

    #[test]
    fn what_has_no_key_is_kept_in_mind_once_and_not_without_end() {
        let mut heard = LegacyHeard::default();
        let hash = |i: usize| MessageHash::of(&i.to_string());
        let bob = UserName::new("bob");
        for i in (0..MOST).chain(0..MOST) {
            assert_eq!(heard.note_keyless(SPREAD, hash(i), bob.clone()), None);
        }
        assert_eq!(heard.note_keyless(SPREAD, hash(MOST), bob.clone()), Some(bob));
        heard.note_opened(hash(1));
        assert!(heard.is_opened(&hash(1)));
        assert_eq!(heard.keyless.len(), MOST - 1);
        (MOST..3 * MOST).for_each(|i| heard.note_opened(hash(i)));
        assert_eq!(heard.opened.len(), MOST);
        assert!(!heard.is_opened(&hash(1)));
    }
}
