//! The hub: sessions, rooms, and what each message does to them.

mod commands;
mod rooms;
mod saving;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::saving::Wanted;
use crate::chat::session::Session;
use crate::chat::throttle::Throttle;
use crate::chat::{Directory, Effect, Input, Now, SessionId, Subject};
use crate::names::{RoomName, UserName};
use crate::protocol::{ClientMessage, KeyAnnouncement, Notice, Reply, ServerMessage};
use crate::transcript::Realm;

/// The server's state. One thread owns it and calls [`Hub::handle`]; nothing in it waits.
pub struct Hub {
    directory: Directory,
    realm: Realm,
    /// Where everything comes from that the hub draws.
    rng: StdRng,
    sessions: HashMap<SessionId, Session>,
    /// Members of each room that has any, in the order in which they came.
    rooms: HashMap<RoomName, Vec<SessionId>>,
    /// Names whose creation is on its way to the disk.
    claims: HashSet<Subject>,
    /// For each account and room with a change at the disk, those that wait behind it.
    under_way: HashMap<Subject, VecDeque<Wanted>>,
    throttle: Throttle,
    effects: Vec<Effect>,
}

impl Hub {
    /// A hub with these accounts and rooms, and nobody there. What it draws follows from `seed`: a server draws it anew at
    /// each start, and tells nobody.
    pub fn new(directory: Directory, realm: Realm, seed: [u8; 32]) -> Self {
        Self {
            directory,
            realm,
            rng: StdRng::from_seed(seed),
            sessions: HashMap::new(),
            rooms: HashMap::new(),
            claims: HashSet::new(),
            under_way: HashMap::new(),
            throttle: Throttle::new(),
            effects: Vec::new(),
        }
    }

    /// The accounts and rooms as they are on the disk.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The server whose hub this is.
    pub fn realm(&self) -> Realm {
        self.realm
    }

    /// When it wants an [`Input::Tick`], in the same time as [`Now::elapsed`]; `None` while it waits for nothing.
    pub fn deadline(&self) -> Option<Duration> {
        None
    }

    /// Who is logged in at a session.
    pub fn user_of(&self, session: SessionId) -> Option<&UserName> {
        Some(&self.sessions.get(&session)?.member()?.user)
    }

    /// Takes one input; gives its effects, in the order in which they must be carried out.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Effect> {
        match input {
            Input::Connected(session, address) => {
                self.sessions.insert(session, Session::new(address));
            }
            Input::Message(session, message) => self.message(now, session, message),
            Input::Key { session, user, key } => self.key(session, user, key),
            Input::Worked(session, done) => self.worked(now, session, done),
            Input::Stored { session, change, saved } => self.stored(session, change, saved),
            Input::Strengthened { change, weak } => self.strengthened(change, weak),
            Input::Disconnected(session) => self.disconnected(session),
            Input::Tick => {} // nothing here waits for a moment
        }
        std::mem::take(&mut self.effects)
    }

    fn message(&mut self, now: Now, session: SessionId, message: ClientMessage) {
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
