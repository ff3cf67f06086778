//! The hub: sessions, rooms, and what each message does to them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::chat::session::{Member, Pending, Session, State};
use crate::chat::throttle::Throttle;
use crate::chat::{Change, Clash, Creation, Directory, Effect, Entry, Input, SessionId, Verifier, Work, WorkDone};
use crate::names::{Password, RoomName, UserName};
use crate::protocol::legacy::MAX_OUTBOUND;
use crate::protocol::{ClientMessage, Command, KeyAnnouncement, Notice, Package, PackageError, Reply, ServerMessage};

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

    // ---- commands ----

    fn command(&mut self, now: Duration, session: SessionId, command: Command) {
        let Some(member) = self.sessions.get(&session).map(Session::member) else { return };
        let command = self.with_stored_names(command);
        let (logged_in, is_god) = (member.is_some(), member.is_some_and(|m| m.user.is_god()));
        let refused = match command {
            Command::Register(None) => Reply::RegisterUsage,
            Command::Register(Some((user, password))) => return self.register(session, &user, password),
            Command::Login(None) => Reply::LoginUsage,
            Command::Login(Some((user, password))) => return self.login(now, session, user, password),
            Command::Create(_) | Command::Join(_) | Command::List if !logged_in => Reply::LoginFirst,
            Command::Create(None) => Reply::CreateUsage,
            Command::Create(Some((room, password))) => return self.create(session, &room, password),
            Command::Join(None) => Reply::JoinUsageBare,
            Command::Join(Some((_, None))) if !is_god => Reply::JoinUsage,
            Command::Join(Some((room, _))) if !self.directory.rooms().contains_key(&room) => Reply::NoSuchRoom(room),
            Command::Join(Some((room, _))) if is_god => return self.enter_room(session, room),
            Command::Join(Some((room, Some(password)))) => return self.join(now, session, room, password),
            Command::Join(Some((_, None))) => Reply::JoinUsage,
            Command::List => Reply::Rooms(self.directory.rooms().keys().cloned().collect()),
            Command::Unknown => Reply::UnknownCommand,
        };
        self.reply(session, refused);
    }

    /// The command with the names as they are stored: people type one name in several normal forms.
    fn with_stored_names(&self, command: Command) -> Command {
        let user = |(user, password)| (self.directory.stored_user(&user), password);
        match command {
            Command::Register(words) => Command::Register(words.map(user)),
            Command::Login(words) => Command::Login(words.map(user)),
            Command::Create(words) => Command::Create(words.map(|(room, pw)| (self.directory.stored_room(&room), pw))),
            Command::Join(words) => Command::Join(words.map(|(room, pw)| (self.directory.stored_room(&room), pw))),
            Command::List | Command::Unknown => command,
        }
    }

    fn register(&mut self, session: SessionId, typed: &UserName, password: Password) {
        if typed.is_god_in_disguise() {
            return self.reply(session, Reply::GodIsReserved);
        }
        if let Some(refused) = self.user_refused(typed) {
            return self.reply(session, refused);
        }
        match UserName::register(typed.as_str()) {
            Ok(user) => self.work(session, Pending::Hash(Creation::User(user)), Work::Hash(password)),
            Err(why) => self.reply(session, Reply::BadUserName(why)),
        }
    }

    fn create(&mut self, session: SessionId, typed: &RoomName, password: Password) {
        if let Some(refused) = self.room_refused(typed) {
            return self.reply(session, refused);
        }
        match RoomName::register(typed.as_str()) {
            Ok(room) => self.work(session, Pending::Hash(Creation::Room(room)), Work::Hash(password)),
            Err(why) => self.reply(session, Reply::BadRoomName(why)),
        }
    }

    fn user_refused(&self, user: &UserName) -> Option<Reply> {
        if self.claims.contains(&Creation::User(user.clone())) {
            return Some(Reply::UserExists);
        }
        Some(match self.directory.user_clash(user)? {
            Clash::Same => Reply::UserExists,
            Clash::LooksAlike => Reply::UserLooksAlike,
        })
    }

    fn room_refused(&self, room: &RoomName) -> Option<Reply> {
        if self.claims.contains(&Creation::Room(room.clone())) {
            return Some(Reply::RoomExists);
        }
        Some(match self.directory.room_clash(room)? {
            Clash::Same => Reply::RoomExists,
            Clash::LooksAlike => Reply::RoomLooksAlike,
        })
    }

    fn login(&mut self, now: Duration, session: SessionId, user: UserName, password: Password) {
        if self.throttled(now, session, Some(&user)) {
            return;
        }
        let verifier = self.directory.users().get(&user).map(|account| account.password.clone());
        self.work(session, Pending::Check(Entry::Login(user)), Work::Check { password, verifier });
    }

    fn join(&mut self, now: Duration, session: SessionId, room: RoomName, password: Password) {
        if self.throttled(now, session, None) {
            return;
        }
        let verifier = self.directory.rooms().get(&room).map(|room| room.password.clone());
        self.work(session, Pending::Check(Entry::Join(room)), Work::Check { password, verifier });
    }

    fn throttled(&mut self, now: Duration, session: SessionId, account: Option<&UserName>) -> bool {
        let Some(address) = self.address(session) else { return true };
        let Some(wait) = self.throttle.wait(now, address, account) else { return false };
        self.reply(session, Reply::TooManyAttempts { seconds: wait.as_secs_f64().ceil() as u64 });
        true
    }

    // ---- what slow work leads to ----

    fn work(&mut self, session: SessionId, pending: Pending, work: Work) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.pending = Some(pending);
            self.effects.push(Effect::Work(session, work));
        }
    }

    fn worked(&mut self, now: Duration, session: SessionId, done: WorkDone) {
        let Some(pending) = self.sessions.get_mut(&session).and_then(|s| s.pending.take()) else { return };
        match (pending, done) {
            (Pending::Hash(creation), WorkDone::Hashed(verifier)) => self.store_creation(session, creation, verifier),
            (Pending::Check(entry), WorkDone::Checked { right: true, better }) => self.granted(session, entry, better),
            (Pending::Check(entry), _) => self.denied(now, session, entry),
            _ => {} // the connection answers what it was asked; anything else is not answered
        }
        self.ready_unless_pending(session);
    }

    /// Another session may have taken the name while this one's password was hashed.
    fn store_creation(&mut self, session: SessionId, creation: Creation, password: Verifier) {
        let refused = match &creation {
            Creation::User(user) => self.user_refused(user),
            Creation::Room(room) => self.room_refused(room),
        };
        if let Some(refused) = refused {
            return self.reply(session, refused);
        }
        let change = match creation.clone() {
            Creation::User(user) => Change::AddUser { user, password },
            Creation::Room(room) => Change::AddRoom { room, password },
        };
        self.claims.insert(creation.clone());
        self.wait_for_store(session, Pending::StoreCreation(creation), change);
    }

    fn wait_for_store(&mut self, session: SessionId, pending: Pending, change: Change) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.pending = Some(pending);
        }
        self.effects.push(Effect::Store(Some(session), change));
    }

    fn granted(&mut self, session: SessionId, entry: Entry, better: Option<Verifier>) {
        if let (Entry::Login(user), Some(address)) = (&entry, self.address(session)) {
            self.throttle.passed(address, user);
        }
        let Some(password) = better else { return self.enter(session, entry) };
        let change = match entry.clone() {
            Entry::Login(user) => Change::SetUserPassword { user, password },
            Entry::Join(room) => Change::SetRoomPassword { room, password },
        };
        self.wait_for_store(session, Pending::StoreBetter(entry), change);
    }

    fn denied(&mut self, now: Duration, session: SessionId, entry: Entry) {
        let Some(address) = self.address(session) else { return };
        match entry {
            Entry::Login(user) => {
                // Failures at accounts that do not exist would fill the table with any name that comes.
                let account = self.directory.users().contains_key(&user).then_some(&user);
                self.throttle.failed(now, address, account);
                self.reply(session, Reply::LoginFailed);
            }
            Entry::Join(_) => {
                self.throttle.failed(now, address, None);
                self.reply(session, Reply::IncorrectRoomPassword);
            }
        }
    }

    fn stored(&mut self, session: Option<SessionId>, change: Change, saved: bool) {
        match &change {
            Change::AddUser { user, .. } => self.claims.remove(&Creation::User(user.clone())),
            Change::AddRoom { room, .. } => self.claims.remove(&Creation::Room(room.clone())),
            Change::SetUserPassword { .. } | Change::SetRoomPassword { .. } => false,
        };
        // A change is checked before it is stored, and its name claimed until now: it fits.
        let applied = saved && self.directory.apply(change).is_ok();
        let Some(session) = session else { return };
        let Some(pending) = self.sessions.get_mut(&session).and_then(|s| s.pending.take()) else { return };
        match pending {
            Pending::StoreCreation(Creation::User(user)) if applied => self.reply(session, Reply::Registered(user)),
            Pending::StoreCreation(Creation::Room(room)) if applied => self.reply(session, Reply::RoomCreated(room)),
            Pending::StoreCreation(_) => self.reply(session, Reply::NotSaved),
            // The password was right; that its better hash could not be saved is for the log.
            Pending::StoreBetter(entry) => self.enter(session, entry),
            Pending::Hash(_) | Pending::Check(_) => {}
        }
        self.ready_unless_pending(session);
    }

    fn strengthened(&mut self, change: Change, weak: &Verifier) {
        let current = match &change {
            Change::SetUserPassword { user, .. } => self.directory.users().get(user).map(|account| &account.password),
            Change::SetRoomPassword { room, .. } => self.directory.rooms().get(room).map(|room| &room.password),
            Change::AddUser { .. } | Change::AddRoom { .. } => None,
        };
        if current == Some(weak) {
            self.effects.push(Effect::Store(None, change));
        }
    }

    fn ready_unless_pending(&mut self, session: SessionId) {
        if self.sessions.get(&session).is_some_and(|s| s.pending.is_none()) {
            self.effects.push(Effect::Ready(session));
        }
    }

    // ---- sessions and rooms ----

    fn enter(&mut self, session: SessionId, entry: Entry) {
        match entry {
            Entry::Login(user) => self.log_in(session, user),
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

    fn enter_room(&mut self, session: SessionId, room: RoomName) {
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
    fn key(&mut self, session: SessionId, user: UserName, key: Result<Arc<str>, String>) {
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
        member.key = Some(Arc::clone(&pem));
        let announcement = KeyAnnouncement { user, pem };
        self.effects.push(Effect::SaveKey(announcement.clone()));
        if let Some(room) = room {
            let others = self.others(session, &room);
            self.deliver(others, ServerMessage::Key(announcement));
        }
    }

    fn chat(&mut self, session: SessionId, package: Result<Package, PackageError>) {
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

    fn disconnected(&mut self, session: SessionId) {
        if let Some((user, room)) = self.take_out(session) {
            self.remove(session, &room);
            if !user.is_god() {
                self.notice(&room, Notice::Left(user));
            }
        }
        self.sessions.remove(&session);
    }

    // ---- small steps ----

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
