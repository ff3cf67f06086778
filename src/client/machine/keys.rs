//! Keys: others', the own ones, and what the person says about them.

use std::time::Duration;

use super::{Machine, Now, Output};
use crate::client::alarm::Alarm;
use crate::client::key_words;
use crate::client::keyring::{Met, Seen};
use crate::client::signed;
use crate::client::typed::command::Command;
use crate::names::UserName;
use crate::protocol::KeyAnnouncement;
use crate::protocol::legacy::{self, MAX_OUTBOUND};
use crate::protocol::modern::OwnedBundle;

/// The own key is announced again for newcomers no more often than this: when a hundred come at once, once is enough.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(50);

impl Machine {
    /// A key was announced.
    pub(super) fn learn(&mut self, now: Now, key: &KeyAnnouncement, out: &mut Vec<Output>) {
        let user = &key.user;
        if self.is_own(user) {
            if **self.private.public().pem() != *key.pem {
                self.tell_other_device(user, out);
            }
            return;
        }
        self.key_came = Some(now.elapsed);
        match self.keyring.see(user, &key.pem, now.elapsed) {
            Seen::Known => {}
            Seen::Changed { pinned, shown } => out.extend(
                [
                    format!("WARNING: the key of {user} is not the one that was seen before!"),
                    format!("  before: {pinned}"),
                    format!("  now:    {shown}"),
                    format!("  Nothing is encrypted to the new key. If {user} confirms it: /accept {user}"),
                ]
                .map(Output::Say),
            ),
            Seen::Refused(why) => out.push(Output::Say(format!("A key for {user} is not used: {why}."))),
            Seen::Full => tell_full(out),
        }
    }

    fn tell_other_device(&mut self, user: &UserName, out: &mut Vec<Output>) {
        if !std::mem::replace(&mut self.told_other_device, true) {
            let words = format!("Another device announces another key for your name, {user}. It is ignored.");
            out.push(Output::Say(words));
        }
    }

    /// A bundle was announced.
    pub(super) fn learn_bundle(&mut self, now: Now, bundle: &OwnedBundle, out: &mut Vec<Output>) {
        let (realm, user) = (self.signer.realm(), &bundle.user);
        self.key_came = Some(now.elapsed);
        match self.keyring.take_bundle(&realm, bundle) {
            Met::Good | Met::Known => {}
            Met::Changed { pinned, shown } => {
                out.push(Output::Alarm(Alarm::KeyChanged { with: None, user: user.clone(), pinned, shown }));
            }
            Met::Refused(why) => out.push(Output::Alarm(Alarm::BadKeys(user.clone(), why))),
            Met::Full => tell_full(out),
        }
        self.keys_came(now, signed::hash_of(&realm, bundle), out);
    }

    /// Says whose key came without its bundle.
    pub(super) fn expire_keys(&mut self, now: Now, out: &mut Vec<Output>) {
        let unsigned = self.keyring.expire(now.elapsed).into_iter();
        out.extend(unsigned.map(|(user, key)| Output::Alarm(Alarm::UnsignedKey(user, key))));
    }

    /// What was learned is remembered before anything that follows is sent.
    pub(super) fn remember(&mut self, out: &mut Vec<Output>) {
        out.extend(self.keyring.people.take_learned().into_iter().map(Output::Remember));
    }

    /// Announces the own key, under the name that a login under way asks for if there is one.
    pub(super) fn announce(&mut self, now: Now, out: &mut Vec<Output>) {
        self.announce_at = None;
        let Some(user) = self.requests.name_asked_for().or(self.place.nick.as_ref()) else { return };
        let key = KeyAnnouncement { user: user.clone(), pem: self.private.public().pem().clone() };
        out.push(Output::Send(legacy::encode_key(&key)));
        self.announced = Some(now.elapsed);
    }

    /// Whoever came gets the own key, and behind it the bundle; so does the room that was joined.
    pub(super) fn announce_again(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.announce_at.is_some_and(|at| at <= now.elapsed) {
            self.announce(now, out);
            self.bundle_due = true;
        }
        self.announce_bundle(out);
    }

    /// Somebody came who may not have the own key: soon, and once for all who come meanwhile.
    pub(super) fn announce_soon(&mut self, now: Now) {
        if self.announce_at.is_none() {
            let earliest = self.announced.map_or(now.elapsed, |last| last + ANNOUNCE_PAUSE);
            self.announce_at = Some(earliest.max(now.elapsed));
        }
    }

    /// Announces the own bundle in the room, once no answer can tell that this client is elsewhere: a package for another room is
    /// answered with an error.
    fn announce_bundle(&mut self, out: &mut Vec<Output>) {
        let (Some(nick), Some(room)) = (&self.place.nick, &self.place.room) else { return };
        if self.requests.hold_lines() || !std::mem::take(&mut self.bundle_due) {
            return;
        }
        if let Err(why) = self.signer.set_account(nick, &self.private) {
            return out.push(Output::Say(format!("What you write is not signed: {why}.")));
        }
        match self.signer.announcement(room) {
            Some(package) if package.len() <= MAX_OUTBOUND => out.push(Output::Send(package)),
            _ if std::mem::replace(&mut self.told_no_bundle, true) => {}
            _ => {
                let words =
                    "The names leave no room for your keys: what you write is signed, and others cannot see it.";
                out.push(Output::Say(words.into()));
            }
        }
    }

    /// A command about keys, which asks no server.
    pub(super) fn keys_command(&mut self, command: Command, out: &mut Vec<Output>) {
        let lines = match command {
            Command::Keys(None) => {
                key_words::own_keys(self.signer.signing_key(), self.private.public().fingerprint(), self.server.into())
            }
            Command::Keys(Some(user)) => {
                let user = self.keyring.named(&user);
                key_words::keys_of(&self.keyring.people, &user, self.keyring.offered(&user))
            }
            Command::Verify { user, same } => {
                let user = self.keyring.named(&user);
                let offered = self.keyring.offered(&user);
                match same {
                    true => vec![self.verify(&user)],
                    false => key_words::compare(&mut self.keyring.people, &user, offered),
                }
            }
            Command::Accept(user, key) => {
                let user = self.keyring.named(&user);
                let accepted = self.keyring.accept(&user, key);
                self.unsent |= accepted.is_err();
                vec![key_words::accepted(&user, accepted)]
            }
            Command::Block(user) => self.block(&user, true),
            Command::Unblock(user) => self.block(&user, false),
            _ => Vec::new(),
        };
        out.extend(lines.into_iter().map(Output::Say));
    }

    fn verify(&mut self, user: &UserName) -> String {
        key_words::verify(&mut self.keyring.people, user).unwrap_or_else(|words| {
            self.unsent = true;
            words
        })
    }

    fn block(&mut self, user: &UserName, blocked: bool) -> Vec<String> {
        let user = self.keyring.named(user);
        vec![key_words::block(&mut self.keyring.people, &user, blocked)]
    }
}

fn tell_full(out: &mut Vec<Output>) {
    out.push(Output::Say("Too many keys were announced. Further ones are ignored.".into()));
}
