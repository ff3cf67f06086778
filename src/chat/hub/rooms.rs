//! Who is where, and who hears what: log-ins, rooms, keys, packages, ends.

use std::collections::HashSet;
use std::sync::Arc;

use crate::chat::hub::Hub;
use crate::chat::session::{Member, Pending, Session, State};
use crate::chat::{Effect, Entry, SessionId};
use crate::names::{RoomName, UserName};
use crate::protocol::legacy::MAX_OUTBOUND;
use crate::protocol::{KeyAnnouncement, Notice, Package, PackageError, Reply, ServerMessage};

/// Most different keys that one connection may announce: each goes to the disk and to the whole room.
const MAX_KEYS: u32 = 16;

impl Hub {
    pub(super) fn enter(&mut self, session: SessionId, entry: Entry) {
        match entry {
            Entry::Login(user) => self.log_in(session, user),
            // It may have been removed while the password was checked.
            Entry::Join(room) if !self.directory.rooms().contains_key(&room) => {
                self.reply(session, Reply::NoSuchRoom(room));
            }
            Entry::Join(room) => self.enter_room(session, room),
        }
    }

    /// A log-in leaves the old room without a notice, as the scripts have it.
    fn log_in(&mut self, session: SessionId, user: UserName) {
        if let Some((_, room)) = self.take_out(session) {
            self.remove(session, &room);
        }
        if let Some(found) = self.sessions.get_mut(&session) {
            found.state = State::LoggedIn(Member { user: user.clone(), key: None });
            self.reply(session, Reply::LoggedIn(user));
        }
    }

    pub(super) fn enter_room(&mut self, session: SessionId, room: RoomName) {
        let Some(found) = self.sessions.get_mut(&session) else { return };
        let (member, old_room) = match std::mem::replace(&mut found.state, State::Guest) {
            State::Guest => return,
            State::LoggedIn(member) => (member, None),
            State::InRoom(member, old) => (member, Some(old)),
        };
        let (user, announcement) = (member.user.clone(), member.announcement());
        found.state = State::InRoom(member, room.clone());
        let members = self.rooms.entry(room.clone()).or_default();
        let came = !members.contains(&session);
        if came {
            members.push(session);
        }
        self.exchange_keys(session, &room, announcement.filter(|_| came));
        if !user.is_god() {
            self.notice(&room, Notice::Joined(user.clone()));
        }
        if let Some(old) = old_room.filter(|old| *old != room) {
            self.remove(session, &old);
            if !user.is_god() {
                self.notice(&old, Notice::Left(user));
            }
        }
    }

    /// The newcomer gets the keys of those in the room, before its own notice; those get the newcomer's.
    fn exchange_keys(&mut self, newcomer: SessionId, room: &RoomName, announcement: Option<KeyAnnouncement>) {
        let others = self.others(newcomer, room);
        let mut given = HashSet::new();
        for other in &others {
            let Some(key) = self.sessions.get(other).and_then(Session::member).and_then(Member::announcement) else {
                continue;
            };
            // One user's sessions may share a key.
            if given.insert((key.user.clone(), Arc::clone(&key.pem))) {
                self.effects.push(Effect::Send(newcomer, ServerMessage::Key(key)));
            }
        }
        if let Some(key) = announcement {
            self.deliver(others, ServerMessage::Key(key));
        }
    }

    /// A key counts only from the logged-in session of its user. The Python client announces one after every `/login`,
    /// whether or not that worked, so a key for another name is no news to anyone but the log.
    pub(super) fn key(&mut self, session: SessionId, user: UserName, key: Result<Arc<str>, String>) {
        let user = self.directory.stored_user(&user);
        let Some(found) = self.sessions.get_mut(&session) else { return };
        let (member, room) = match &mut found.state {
            State::LoggedIn(member) if member.user == user => (member, None),
            State::InRoom(member, room) if member.user == user => (member, Some(room.clone())),
            _ => return self.effects.push(Effect::Suspicious(session, "a key for a name that is not logged in here")),
        };
        let pem = match key {
            Ok(pem) => pem,
            Err(why) => return self.reply(session, Reply::KeyRefused(why)),
        };
        if member.key.as_ref() == Some(&pem) {
            return; // the room has it already
        }
        if found.last_key.as_ref() != Some(&pem) {
            found.last_key = Some(Arc::clone(&pem)); // kept over a new log-in, which announces the same one
            found.keys += 1;
        }
        if found.keys > MAX_KEYS {
            return self.reply(session, Reply::KeyRefused("it is one of too many of this connection".into()));
        }
        member.key = Some(Arc::clone(&pem));
        let announcement = KeyAnnouncement { user, pem };
        self.effects.push(Effect::SaveKey(announcement.clone()));
        if let Some(room) = room {
            let others = self.others(session, &room);
            self.deliver(others, ServerMessage::Key(announcement));
        }
    }

    pub(super) fn chat(&mut self, session: SessionId, package: Result<Package, PackageError>) {
        let Some(found) = self.sessions.get(&session) else { return };
        let Some(room) = found.room() else { return self.reply(session, Reply::JoinFirst) };
        match package {
            Err(PackageError::NotJson) => self.reply(session, Reply::InvalidFormat),
            Err(PackageError::MissingRoom) => self.reply(session, Reply::MissingRoom),
            Err(PackageError::Incomplete(named)) if self.directory.stored_room(&named) == *room => {
                self.reply(session, Reply::InvalidFormat)
            }
            Ok(package) if self.directory.stored_room(&package.room) == *room => {
                let room = room.clone();
                self.forward(session, &room, package);
            }
            Ok(_) | Err(PackageError::Incomplete(_)) => self.reply(session, Reply::RoomMismatch),
        }
    }

    fn forward(&mut self, sender: SessionId, room: &RoomName, package: Package) {
        let mut readers = self.others(sender, room);
        let before = readers.len();
        if package.longest() > MAX_OUTBOUND {
            let fits = |reader: &SessionId| self.user_of(*reader).is_some_and(|u| package.len_for(u) <= MAX_OUTBOUND);
            readers.retain(fits);
        }
        let members = before - readers.len();
        self.deliver(readers, ServerMessage::Chat(Arc::new(package)));
        if members > 0 {
            self.reply(sender, Reply::NotDelivered { members });
        }
    }

    pub(super) fn disconnected(&mut self, session: SessionId) {
        if let Some((user, room)) = self.take_out(session) {
            self.remove(session, &room);
            if !user.is_god() {
                self.notice(&room, Notice::Left(user));
            }
        }
        let ended = self.sessions.remove(&session);
        if let Some(Session { pending: Some(Pending::Check { .. }), address, .. }) = ended {
            self.throttle.end(address); // nobody will come back with its outcome
        }
    }
}
