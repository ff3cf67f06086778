//! Messages, in the order of the checks: room → author's keys → signature → trust → counter → key → commitment → token → name.
//! Nothing moves before the signature holds. What comes without a signature is shown as what it is, or refused where its name
//! signs.

use super::heard::Said;
use super::{Machine, Now, Output};
use crate::client::alarm::{Alarm, Thing, Unreadable};
use crate::client::counters::Counted;
use crate::client::keyring::Author;
use crate::client::people::Verdict;
use crate::client::shown::{Mark, Place, Shown, Trust};
use crate::client::signed;
use crate::crypto::{FernetKey, envelope};
use crate::names::{RoomName, Text, UserName};
use crate::protocol::modern::Signed;
use crate::protocol::{Package, legacy};
use crate::transcript::{BundleHash, MessageHash};

/// How far an author's clock and the own one may differ, in seconds.
const CLOCKS: u64 = 120;

/// Longest name of a message that is taken for one, in bytes.
const MAX_NAME: usize = 1024;

/// A message for which nobody's signature vouches.
struct Unsigned<'a> {
    room: &'a RoomName,
    token: &'a str,
    /// This client's key.
    entry: &'a str,
}

impl Machine {
    /// A package without a signature. One without this client's key is for other readers, or from somebody who does not have it.
    pub(super) fn unsigned_package(&mut self, package: &Package, out: &mut Vec<Output>) {
        if let Some(entry) = &self.entry(package) {
            let said = Unsigned { room: &package.room, token: &package.encrypted_message, entry };
            self.open_unsigned(&said, Alarm::Unsigned, out);
        }
    }

    pub(super) fn signed_package(&mut self, now: Now, package: &Package, signed: Signed, out: &mut Vec<Output>) {
        if self.place.nick.is_none() {
            return;
        }
        let (room, token) = (package.room.clone(), package.encrypted_message.clone());
        let said = Said { room, token, entry: self.entry(package), signed };
        if !self.is_here(&said.room) {
            return self.alarm_once(&said.token, Alarm::ElsewhereEvent(said.room.clone()), out);
        }
        match self.author(&said.signed) {
            Some(author) => self.check(now, author, said, out),
            None if said.entry.is_none() => {} // nobody knows for whom it is
            None => {
                for said in self.heard.wait(now.elapsed, said) {
                    self.give_up(&said, out);
                }
            }
        }
    }

    fn entry(&self, package: &Package) -> Option<String> {
        package.encrypted_keys.get(self.place.nick.as_ref()?.as_str()).cloned()
    }

    /// Whether the server may take this client to be in a room: it is there, or a `/join` or a log-in has not been answered.
    fn is_here(&self, room: &RoomName) -> bool {
        self.place.room.as_ref() == Some(room) || self.requests.may_be_in(room)
    }

    fn author(&self, signed: &Signed) -> Option<Author> {
        let hash = signed.author.bundle;
        match self.signer.bundle().filter(|own| own.hash() == hash) {
            Some(own) => Some(Author {
                account: own.account().clone(),
                key: *own.signing_key(),
                verdict: Verdict::Good(Trust::Own),
            }),
            None => self.keyring.author(&hash),
        }
    }

    /// What waited for keys that have come now.
    pub(super) fn keys_came(&mut self, now: Now, bundle: BundleHash, out: &mut Vec<Output>) {
        for said in self.heard.signed_by(bundle) {
            match self.author(&said.signed) {
                Some(author) => self.check(now, author, said, out),
                None => self.give_up(&said, out),
            }
        }
    }

    /// Says what has waited for too long.
    pub(super) fn expire_heard(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(said) = self.heard.expired(now.elapsed) {
            self.give_up(&said, out);
        }
        while let Some(user) = self.heard.lost(now.elapsed, None) {
            self.tell_lost(user, out);
        }
    }

    /// What the person writes on another device has this one's key only where it costs nothing.
    fn tell_lost(&self, user: UserName, out: &mut Vec<Output>) {
        if !self.is_own(&user) {
            out.push(Output::Alarm(Alarm::Unreadable(user, Unreadable::NoEntry)));
        }
    }

    /// A signature by keys that nobody has shown proves nothing.
    fn give_up(&mut self, said: &Said, out: &mut Vec<Output>) {
        if let Some(entry) = &said.entry {
            let said = Unsigned { room: &said.room, token: &said.token, entry };
            self.open_unsigned(&said, |user| Alarm::KeysMissing(Thing::Message, user), out);
        }
    }

    fn check(&mut self, now: Now, author: Author, said: Said, out: &mut Vec<Output>) {
        let Author { account, key, verdict } = author;
        let thing = Thing::Message;
        if !signed::is_signed(self.signer.realm(), &said.room, &account, &key, &said.signed, &said.token) {
            return self.alarm_once(&said.token, Alarm::BadSignature(thing, account), out);
        }
        if self.signer.is(&said.signed.author) {
            return self.alarm_once(&said.token, Alarm::OwnEcho(thing), out);
        }
        match verdict {
            Verdict::Good(trust) => {
                if self.count(now, &account, &said, out) {
                    self.open(now, account, trust, &said, out);
                }
            }
            Verdict::Changed { pinned, shown } => {
                let alarm = Alarm::KeyChanged { with: Some(thing), user: account, pinned, shown };
                self.alarm_once(&said.token, alarm, out);
            }
            Verdict::Full => self.alarm_once(&said.token, Alarm::TooManyNames(thing, account), out),
        }
    }

    /// Takes a message's counter, once for all its packages; says whether this package is the one to open.
    fn count(&mut self, now: Now, account: &UserName, said: &Said, out: &mut Vec<Output>) -> bool {
        let id = said.id();
        if self.heard.is_keyless(&id) {
            return said.entry.is_some();
        }
        // What was shown as unsigned, because its author's keys came too late, is not shown again.
        let counted = match self.heard.is_opened(&id) || self.heard.unsigned(&id.hash).is_some() {
            true => Counted::Repeated,
            false => {
                let absences = self.heard.counters.absences(&said.room);
                self.heard.counters.take(said.room.clone(), account, id.author.run, id.counter, absences)
            }
        };
        let user = account.clone();
        match counted {
            Counted::Next => {}
            Counted::Gap { missing, away } => out.push(Output::Alarm(Alarm::Missing { user, count: missing, away })),
            Counted::Repeated if said.entry.is_none() => return false, // a part for other readers says nothing new
            Counted::Repeated => {
                self.alarm_once(&said.token, Alarm::Repeated(Thing::Message, user), out);
                return false;
            }
            Counted::TooMany => {
                self.alarm_once(&said.token, Alarm::TooManyRuns(Thing::Message, user), out);
                return false;
            }
        }
        self.is_to_open(now, account, said, out)
    }

    /// Of a message that was not heard of before.
    fn is_to_open(&mut self, now: Now, account: &UserName, said: &Said, out: &mut Vec<Output>) -> bool {
        let id = said.id();
        while let Some(user) = self.heard.lost(now.elapsed, Some(&id.author)) {
            self.tell_lost(user, out);
        }
        if said.entry.is_none()
            && let Some(user) = self.heard.note_keyless(now.elapsed, id, account.clone())
        {
            self.tell_lost(user, out);
        }
        said.entry.is_some()
    }

    fn open(&mut self, now: Now, account: UserName, trust: Trust, said: &Said, out: &mut Vec<Output>) {
        self.heard.note_opened(said.id());
        self.keyring.come(&account); // who speaks here is here
        match self.unseal(&account, said) {
            Ok(text) => {
                let (place, marks) = (Place::Room(said.room.clone()), clocks(&said.token, now).into_iter().collect());
                self.show(Shown { author: account, trust, place, marks, text }, out);
            }
            Err(alarm) => out.push(Output::Alarm(alarm)),
        }
    }

    fn unseal(&self, account: &UserName, said: &Said) -> Result<Text, Alarm> {
        let unreadable = |why| Alarm::Unreadable(account.clone(), why);
        let entry = said.entry.as_deref().ok_or_else(|| unreadable(Unreadable::NoEntry))?;
        let raw = envelope::unwrap(entry, &self.private).ok_or_else(|| unreadable(Unreadable::NotOurs))?;
        let key = FernetKey::from_raw(&raw);
        if !key.is_committed_by(&said.signed.commitment) {
            return Err(unreadable(Unreadable::OtherKey));
        }
        let plain = envelope::open_with(&key, &said.token).ok_or_else(|| unreadable(Unreadable::Broken))?;
        let text = plain.strip_prefix(account.as_str()).and_then(|rest| rest.strip_prefix(": "));
        text.map(Text::sanitize).ok_or_else(|| Alarm::OtherName(account.clone()))
    }

    /// Opens a message for which nobody's signature vouches; `refusal` is why it is not shown in a name that signs.
    fn open_unsigned(&mut self, said: &Unsigned<'_>, refusal: impl FnOnce(UserName) -> Alarm, out: &mut Vec<Output>) {
        let Unsigned { room, token, entry } = *said;
        let hash = MessageHash::of(token);
        if let Some(author) = self.heard.unsigned(&hash) {
            return self.alarm_once(token, Alarm::Repeated(Thing::Message, author), out);
        }
        let Some(plain) = envelope::open(token, entry, &self.private) else {
            let words =
                "A message came that your key does not open: it is damaged, or sealed for another key of yours.";
            return out.push(Output::Say(words.into()));
        };
        let Some((name, text)) = named(&plain) else {
            return out.push(Output::Nameless(Text::sanitize(&plain)));
        };
        let author = self.keyring.people.named(&UserName::new(name));
        if self.keyring.people.signs(&author) {
            return self.alarm_once(token, refusal(author), out);
        }
        self.keyring.come(&author);
        self.heard.note_unsigned(hash, author.clone());
        let (place, marks, text) = (Place::Room(room.clone()), Vec::new(), Text::sanitize(text));
        self.show(Shown { author, trust: Trust::Unsigned, place, marks, text }, out);
    }

    /// Shows a message, unless the person does not want to see its author's.
    fn show(&mut self, mut shown: Shown, out: &mut Vec<Output>) {
        let people = &mut self.keyring.people;
        if !people.is_blocked(&shown.author) {
            shown.marks.extend(people.resembles(&shown.author).map(Mark::LooksLike));
            out.push(Output::Message(shown));
        }
    }

    /// Says something of a message, once, in however many packages it comes.
    fn alarm_once(&mut self, token: &str, alarm: Alarm, out: &mut Vec<Output>) {
        if self.heard.is_news(MessageHash::of(token), &alarm) {
            out.push(Output::Alarm(alarm));
        }
    }
}

/// The author's clock and the own one, if they differ by much: nothing else tells that a server kept a message from before this
/// client's start.
fn clocks(token: &str, now: Now) -> Option<Mark> {
    let author = envelope::timestamp(token)?;
    (author.abs_diff(now.unix) > CLOCKS).then_some(Mark::Came { author, here: now.unix })
}

/// The name in front of a message, if there is one, and what follows it: one word and a colon.
fn named(text: &str) -> Option<(&str, &str)> {
    let (name, text) = text.split_once(": ")?;
    let is_name = name.len() <= MAX_NAME && legacy::is_word(name) && name.contains(char::is_alphanumeric);
    is_name.then_some((name, text))
}
