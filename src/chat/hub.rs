//! The hub: sessions, rooms, and what each message does to them.

mod accounts;
mod acts;
mod commands;
mod creations;
mod direct;
mod endings;
mod entering;
mod grants;
mod legacy;
mod members;
mod messages;
mod requests;
mod saving;
mod session;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::endings::Timer;
pub use self::requests::is_waited_for;
use self::saving::Wanted;
use self::session::{Member, Modern, Pending, Session};
use crate::chat::bundles::{Bundles, Known};
use crate::chat::room::LiveRoom;
use crate::chat::throttle::Throttle;
use crate::chat::timers::Timers;
use crate::chat::tokens::Tokens;
use crate::chat::{Directory, Effect, Input, Limits, Now, Quota, Registration, SessionId, SessionMap, Subject};
use crate::names::{RoomName, UserName};
use crate::protocol::{ClientMessage, KeyAnnouncement, Notice, Reply, ServerMessage};
use crate::transcript::Realm;

/// The server's state. One thread owns it and calls [`Hub::handle`]; nothing in it waits.
pub struct Hub {
    directory: Directory,
    realm: Realm,
    /// Where everything comes from that the hub draws.
    rng: StdRng,
    /// When the input under way came.
    now: Now,
    sessions: SessionMap<Session>,
    /// The sessions of each account that has any, in the order of their log-ins.
    accounts: HashMap<UserName, Vec<SessionId>>,
    /// The rooms that somebody is in.
    rooms: HashMap<RoomName, LiveRoom>,
    tokens: Tokens,
    /// Whether it is to be looked for tokens whose life has ended.
    sweeps: bool,
    bundles: Bundles<Known>,
    timers: Timers<Timer>,
    /// Names whose creation is on its way to the disk.
    claims: HashSet<Subject>,
    /// For each account and room with a change at the disk, those that wait behind it.
    under_way: HashMap<Subject, VecDeque<Wanted>>,
    /// What sessions waited for that ended meanwhile.
    orphans: SessionMap<Pending>,
    limits: Limits,
    registration: Registration,
    throttle: Throttle,
    /// Keys that wait for the messages that they belong to.
    attached: Arc<Quota>,
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
            now: Now { elapsed: Duration::ZERO, unix_ms: 0 },
            sessions: SessionMap::default(),
            accounts: HashMap::new(),
            rooms: HashMap::new(),
            tokens: Tokens::default(),
            sweeps: false,
            bundles: Bundles::new(),
            timers: Timers::new(),
            claims: HashSet::new(),
            under_way: HashMap::new(),
            orphans: SessionMap::default(),
            limits: Limits::default(),
            registration: Registration::Open,
            throttle: Throttle::new(seed),
            attached: Quota::new(session::ALL_ATTACHED),
            effects: Vec::new(),
        }
    }

    /// The same with other limits than the default ones.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { throttle: self.throttle.with_rates(limits.guesses.clone()), limits, ..self }
    }

    /// The same where accounts are not made by anybody.
    #[must_use]
    pub fn with_registration(self, registration: Registration) -> Self {
        Self { registration, ..self }
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
        self.timers.next()
    }

    /// Who is logged in at a session.
    pub fn user_of(&self, session: SessionId) -> Option<&UserName> {
        Some(&self.member(session)?.user)
    }

    /// Takes one input; gives its effects, in the order in which they must be carried out.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.now = now;
        self.note_activity(&input);
        match input {
            Input::Connected(session, address, dialect) => self.connected(session, address, dialect),
            Input::Message(session, message) => self.message(session, message),
            Input::Key { session, user, key } => self.key(session, user, key),
            Input::Request(session, request) => self.request(session, request),
            Input::Announce { session, id, run, hash, bundle } => {
                self.announce_request(session, id, run, hash, bundle);
            }
            Input::Worked(session, done) => self.worked(session, done),
            Input::Stored { session, change, saved } => self.stored(session, change, saved),
            Input::Strengthened { change, weak } => self.strengthened(change, weak),
            Input::Disconnected(session) => self.disconnected(session),
            Input::Tick => self.tick(),
        }
        std::mem::take(&mut self.effects)
    }

    fn message(&mut self, session: SessionId, message: ClientMessage) {
        match message {
            ClientMessage::Command(command) => {
                self.command(session, command);
                self.ready_unless_pending(session);
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

    fn member(&self, session: SessionId) -> Option<&Member> {
        self.sessions.get(&session)?.member()
    }

    fn room_of(&self, session: SessionId) -> Option<&RoomName> {
        self.sessions.get(&session)?.room()
    }

    fn modern_mut(&mut self, session: SessionId) -> Option<&mut Modern> {
        self.sessions.get_mut(&session)?.modern_mut()
    }

    /// Members on the legacy wire but one.
    fn legacy_others(&self, session: SessionId, room: &RoomName) -> Vec<SessionId> {
        let members = self.rooms.get(room).map(LiveRoom::legacy).unwrap_or_default();
        members.iter().copied().filter(|member| *member != session).collect()
    }

    /// To members on the legacy wire.
    fn notice(&mut self, room: &RoomName, notice: Notice) {
        let members = self.rooms.get(room).map(LiveRoom::legacy).unwrap_or_default().to_vec();
        self.deliver(members, ServerMessage::Notice(notice));
    }

    fn deliver(&mut self, to: Vec<SessionId>, message: ServerMessage) {
        if !to.is_empty() {
            self.effects.push(Effect::Deliver(to, message));
        }
    }

    /// Answers a session, on whichever wire it is.
    fn reply(&mut self, session: SessionId, reply: Reply) {
        let Some(found) = self.sessions.get(&session) else { return };
        let effect = match found.modern() {
            None => Effect::Send(session, ServerMessage::Reply(reply)),
            Some(modern) => Effect::Answer(session, self.answer_of(modern.request, reply)),
        };
        self.effects.push(effect);
    }

    fn ready_unless_pending(&mut self, session: SessionId) {
        if self.sessions.get(&session).is_some_and(|s| s.pending.is_none()) {
            self.effects.push(Effect::Ready(session));
        }
    }
}
