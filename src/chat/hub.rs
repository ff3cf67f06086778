//! The hub: sessions, rooms, and what each message does to them.

mod commands;
mod rooms;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::chat::session::Session;
use crate::chat::throttle::Throttle;
use crate::chat::{Creation, Directory, Effect, Input, SessionId};
use crate::names::{RoomName, UserName};
use crate::protocol::{ClientMessage, KeyAnnouncement, Notice, Reply, ServerMessage};

/// The server's state. One thread owns it and calls [`Hub::handle`]; nothing in it waits.
pub struct Hub {
    directory: Directory,
    sessions: HashMap<SessionId, Session>,
    /// Members of each room that has any, in the order in which they came.
    rooms: HashMap<RoomName, Vec<SessionId>>,
    /// Names whose creation is on its way to the disk.
    claims: HashSet<Creation>,
    throttle: Throttle,
    effects: Vec<Effect>,
}

impl Hub {
    /// A hub with these accounts and rooms, and nobody there.
    pub fn new(directory: Directory) -> Self {
        Self {
            directory,
            sessions: HashMap::new(),
            rooms: HashMap::new(),
            claims: HashSet::new(),
            throttle: Throttle::new(),
            effects: Vec::new(),
        }
    }

    /// The accounts and rooms as they are on the disk.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Who is logged in at a session.
    pub fn user_of(&self, session: SessionId) -> Option<&UserName> {
        Some(&self.sessions.get(&session)?.member()?.user)
    }

    /// Takes one input; gives its effects, in the order in which they must be carried out. `now` is a time since any
    /// fixed moment; it must not go back.
    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        match input {
            Input::Connected(session, address) => {
                self.sessions.insert(session, Session::new(address));
            }
            Input::Message(session, message) => self.message(now, session, message),
            Input::Key { session, user, key } => self.key(session, user, key),
            Input::Worked(session, done) => self.worked(now, session, done),
            Input::Stored { session, change, saved } => self.stored(session, change, saved),
            Input::Strengthened { change, weak } => self.strengthened(change, &weak),
            Input::Disconnected(session) => self.disconnected(session),
        }
        std::mem::take(&mut self.effects)
    }

    fn message(&mut self, now: Duration, session: SessionId, message: ClientMessage) {
        match message {
            ClientMessage::Command(command) => {
                self.command(now, session, command);
                let waits = self.sessions.get(&session).is_some_and(|s| s.pending.is_some());
                if !waits {
                    self.effects.push(Effect::Ready(session));
                }
            }
            ClientMessage::Chat(package) => self.chat(session, package),
            ClientMessage::TooLong => self.reply(session, Reply::MessageTooLong),
            ClientMessage::Key(KeyAnnouncement { user, .. }) => {
                self.key(session, user, Err("it was not checked".into()));
            }
        }
    }

    fn address(&self, session: SessionId) -> Option<IpAddr> {
        Some(self.sessions.get(&session)?.address)
    }

    fn take_out(&self, session: SessionId) -> Option<(UserName, RoomName)> {
        let found = self.sessions.get(&session)?;
        Some((found.member()?.user.clone(), found.room()?.clone()))
    }

    fn remove(&mut self, session: SessionId, room: &RoomName) {
        if let Some(members) = self.rooms.get_mut(room) {
            members.retain(|member| *member != session);
            if members.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    fn others(&self, session: SessionId, room: &RoomName) -> Vec<SessionId> {
        let members = self.rooms.get(room).map(Vec::as_slice).unwrap_or_default();
        members.iter().copied().filter(|member| *member != session).collect()
    }

    fn notice(&mut self, room: &RoomName, notice: Notice) {
        let members = self.rooms.get(room).cloned().unwrap_or_default();
        self.deliver(members, ServerMessage::Notice(notice));
    }

    fn deliver(&mut self, to: Vec<SessionId>, message: ServerMessage) {
        if !to.is_empty() {
            self.effects.push(Effect::Deliver(to, message));
        }
    }

    fn reply(&mut self, session: SessionId, reply: Reply) {
        self.effects.push(Effect::Send(session, ServerMessage::Reply(reply)));
    }
}
