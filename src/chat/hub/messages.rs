//! Messages to a room: its log, its members on both wires, and the counters that make a resend harmless.

use std::sync::Arc;

use crate::chat::hub::Hub;
use crate::chat::room::{Taken, Verdict};
use crate::chat::{Audience, Effect, SessionId};
use crate::names::{RoomName, UserName};
use crate::protocol::Package;
use crate::protocol::modern::{
    Accepted, EncryptedKeys, ErrorCode, Event, MAX_ENCRYPTED_MESSAGE, MAX_ITEMS, MessageEvent, OkBody, Origin,
    SendRequest, json_len,
};
use crate::transcript::{self, MessageHash, Position, Signature};

/// Most bytes of a legacy package's wrapped key for a reader on the modern wire; one that is longer is none.
const MAX_LEGACY_KEY: usize = 1024;

impl Hub {
    /// Keeps keys for the next message.
    pub(super) fn attach(&mut self, session: SessionId, keys: EncryptedKeys) {
        let Some(modern) = self.modern_mut(session) else { return };
        if let Err(code) = modern.attached.add(keys) {
            return self.refuse(session, code);
        }
        self.done(session, OkBody::Attach);
    }

    /// Until when a session may not speak in a room, if it may not.
    pub(super) fn muted(&self, session: SessionId, room: &RoomName) -> Option<Option<u64>> {
        self.restricted(&self.directory.rooms().get(room)?.mutes, self.user_of(session)?)
    }

    pub(super) fn send(&mut self, session: SessionId, mut send: SendRequest) {
        let Some(modern) = self.modern_mut(session) else { return };
        let mut keys = modern.attached.take();
        keys.extend(send.encrypted_keys.take().unwrap_or_default());
        let Some(room) = self.room_of(session).cloned() else { return };
        match self.send_refused(session, &room, &send, &keys) {
            Err(code) => self.refuse(session, code),
            Ok(Some(duplicate)) => self.done(session, OkBody::Send(duplicate)),
            Ok(None) => self.say(session, &room, send, keys),
        }
    }

    /// What stands against a message. One that was taken before is answered as it was, whatever happened since.
    fn send_refused(
        &mut self,
        session: SessionId,
        room: &RoomName,
        send: &SendRequest,
        keys: &EncryptedKeys,
    ) -> Result<Option<Accepted>, ErrorCode> {
        let verdict = self.judge(session, room, send.stamp.counter, send.resend);
        if let Some(Verdict::Duplicate(taken)) = verdict {
            return Ok(Some(accepted(taken, true)));
        }
        if let Some(until) = self.muted(session, room) {
            return Err(ErrorCode::Muted { until });
        }
        if let Some(Verdict::OutOfOrder(expected)) = verdict {
            return Err(ErrorCode::OutOfOrder { expected });
        }
        if !self.is_current(room, &send.stamp.at) {
            return Err(ErrorCode::Stale);
        }
        let too_large = json_len(&send.encrypted_message) > MAX_ENCRYPTED_MESSAGE || keys.len() > MAX_ITEMS;
        if too_large { Err(ErrorCode::TooLarge) } else { Ok(None) }
    }

    /// Whether the counter of a message or an act is the next of its run.
    pub(super) fn judge(&self, session: SessionId, room: &RoomName, counter: u64, resend: bool) -> Option<Verdict> {
        let member = self.member(session)?;
        let (_, run) = member.bundle()?;
        Some(self.rooms.get(room)?.counters.judge(&member.user, run, counter, resend))
    }

    /// Whether what is signed with this position may still be said.
    pub(super) fn is_current(&mut self, room: &RoomName, at: &Position) -> bool {
        let now = self.now.elapsed;
        self.rooms.get_mut(room).is_some_and(|live| live.log.takes(now, at))
    }

    fn say(&mut self, session: SessionId, room: &RoomName, send: SendRequest, keys: EncryptedKeys) {
        let Some(author) = self.author(session) else { return };
        let SendRequest { encrypted_message, stamp, .. } = send;
        let Some(taken) = self.log_message(room, &author.user, &encrypted_message, Some(&stamp.signature)) else {
            return;
        };
        let taken = Taken { counter: stamp.counter, ..taken };
        if let Some(live) = self.rooms.get_mut(room) {
            live.counters.take(&author.user, author.reader.run, taken);
        }
        let package = self.has_legacy(room).then(|| as_package(room, &encrypted_message, keys));
        let event = MessageEvent {
            room: room.clone(),
            n: taken.n,
            time: taken.time,
            user: author.user,
            encrypted_message,
            origin: Origin::Modern { reader: author.reader, stamp },
        };
        self.tell_room(room, Some(session), Event::Message(event));
        let members = package.map_or(0, |package| self.pass_on(session, room, Arc::new(package)));
        self.done(session, OkBody::Send(accepted(taken, false)));
        if members > 0 {
            let members = members as u64;
            self.tell_one(session, Event::NotDelivered { room: room.clone(), n: taken.n, members });
        }
    }

    fn has_legacy(&self, room: &RoomName) -> bool {
        self.rooms.get(room).is_some_and(|live| !live.legacy().is_empty())
    }

    /// Writes a message to the log; gives its place.
    fn log_message(
        &mut self,
        room: &RoomName,
        account: &UserName,
        encrypted_message: &str,
        signature: Option<&Signature>,
    ) -> Option<Taken> {
        let live = self.rooms.get_mut(room)?;
        let message = MessageHash::of(encrypted_message);
        live.log.write(&transcript::Event::Message { account, message, signature });
        Some(Taken { counter: 0, n: live.log.head().n, time: self.now.unix_ms })
    }

    /// Tells the members on the modern wire but one: the same line for all.
    pub(super) fn tell_room(&mut self, room: &RoomName, except: Option<SessionId>, event: Event) {
        let Some(live) = self.rooms.get(room) else { return };
        let of = Arc::clone(live.modern());
        if of.iter().any(|session| Some(*session) != except) {
            self.effects.push(Effect::Tell(Audience::All { of, except }, Box::new(event)));
        }
    }

    /// A package of a member on the legacy wire, for the log and the members on the modern one: each gets its own entry.
    /// Where nobody is listed who hashes the log, it stands still.
    pub(super) fn log_package(&mut self, session: SessionId, room: &RoomName, package: &Package) {
        if !self.rooms.get(room).is_some_and(|live| live.roster.has_modern()) {
            return;
        }
        let Some((_, entry)) = self.place_of(session) else { return };
        self.tell_news_of_legacy(room, &entry); // nobody speaks before the event that lists it
        let (user, token) = (entry.account, &package.encrypted_message);
        let Some(taken) = self.log_message(room, &user, token, None) else { return };
        let (with_key, without): (Vec<_>, Vec<_>) = self.readers_of(room, package);
        let origin = Origin::Legacy { encrypted_key: None };
        let (room, encrypted_message) = (room.clone(), token.clone());
        let message = MessageEvent { room, n: taken.n, time: taken.time, user, encrypted_message, origin };
        if !without.is_empty() {
            let of = Arc::new(without);
            let event = Event::Message(message.clone());
            self.effects.push(Effect::Tell(Audience::All { of, except: None }, Box::new(event)));
        }
        if !with_key.is_empty() {
            self.effects.push(Effect::TellKeyed(Box::new(message), with_key));
        }
    }

    /// The members on the modern wire: those for whom a package holds a key, with the key, and the others.
    fn readers_of(&self, room: &RoomName, package: &Package) -> (Vec<(SessionId, String)>, Vec<SessionId>) {
        let (mut with_key, mut without) = (Vec::new(), Vec::new());
        let modern = self.rooms.get(room).map(|live| live.modern().as_slice()).unwrap_or_default();
        for session in modern {
            let key = self.user_of(*session).and_then(|user| package.encrypted_keys.get(user.as_str()));
            match key.filter(|key| json_len(key) <= MAX_LEGACY_KEY) {
                Some(key) => with_key.push((*session, key.clone())),
                None => without.push(*session),
            }
        }
        (with_key, without)
    }
}

pub(super) fn accepted(taken: Taken, duplicate: bool) -> Accepted {
    Accepted { n: taken.n, time: taken.time, duplicate }
}

/// A message as the legacy wire has it.
fn as_package(room: &RoomName, encrypted_message: &str, keys: EncryptedKeys) -> Package {
    let keys = keys.into_iter().map(|(user, key)| (user.as_str().to_owned(), key.into_string()));
    Package::new(encrypted_message.to_owned(), keys.collect(), room.clone())
}
