//! Commands, and what the slow work that they need leads to.

use std::time::Duration;

use crate::chat::hub::Hub;
use crate::chat::session::{Pending, Session};
use crate::chat::throttle::Try;
use crate::chat::{Change, Clash, Creation, Effect, Entry, SessionId, Verifier, Work, WorkDone};
use crate::names::{Password, RoomName, UserName};
use crate::protocol::{Command, Reply};

impl Hub {
    pub(super) fn command(&mut self, now: Duration, session: SessionId, command: Command) {
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
        if self.directory.users().contains_key(typed) {
            return self.reply(session, Reply::UserExists);
        }
        // What is no name has no look that others could clash with.
        let refused = match UserName::register(typed.as_str()) {
            Err(why) => Reply::BadUserName(why),
            Ok(user) => match self.user_refused(&user) {
                Some(refused) => refused,
                None => return self.work(session, Pending::Hash(Creation::User(user)), Work::Hash(password)),
            },
        };
        self.reply(session, refused);
    }

    fn create(&mut self, session: SessionId, typed: &RoomName, password: Password) {
        if self.directory.rooms().contains_key(typed) {
            return self.reply(session, Reply::RoomExists);
        }
        let refused = match RoomName::register(typed.as_str()) {
            Err(why) => Reply::BadRoomName(why),
            Ok(room) => match self.room_refused(&room) {
                Some(refused) => refused,
                None => return self.work(session, Pending::Hash(Creation::Room(room)), Work::Hash(password)),
            },
        };
        self.reply(session, refused);
    }

    fn user_refused(&self, user: &UserName) -> Option<Reply> {
        let clash = self.claim_clash(&Creation::User(user.clone())).or_else(|| self.directory.user_clash(user));
        Some(match clash? {
            Clash::Same => Reply::UserExists,
            Clash::LooksAlike => Reply::UserLooksAlike,
        })
    }

    fn room_refused(&self, room: &RoomName) -> Option<Reply> {
        let clash = self.claim_clash(&Creation::Room(room.clone())).or_else(|| self.directory.room_clash(room));
        Some(match clash? {
            Clash::Same => Reply::RoomExists,
            Clash::LooksAlike => Reply::RoomLooksAlike,
        })
    }

    /// What stands against a creation among those that are on their way to the disk: few, one a session at most.
    fn claim_clash(&self, new: &Creation) -> Option<Clash> {
        if self.claims.contains(new) {
            return Some(Clash::Same);
        }
        let alike = |claim: &Creation| match (claim, new) {
            (Creation::User(claim), Creation::User(new)) => claim.likeness().clashes_with(&new.likeness()),
            (Creation::Room(claim), Creation::Room(new)) => claim.likeness().clashes_with(&new.likeness()),
            _ => false,
        };
        self.claims.iter().any(alike).then_some(Clash::LooksAlike)
    }

    fn login(&mut self, now: Duration, session: SessionId, user: UserName, password: Password) {
        let account = self.directory.users().contains_key(&user).then(|| user.clone());
        if self.throttled(now, session, Try::Login(account.as_ref())) {
            return;
        }
        let verifier = self.directory.users().get(&user).map(|account| account.password.clone());
        self.work(session, Pending::Check(Entry::Login(user)), Work::Check { password, verifier });
    }

    fn join(&mut self, now: Duration, session: SessionId, room: RoomName, password: Password) {
        let Some(member) = self.user_of(session).cloned() else { return };
        if self.throttled(now, session, Try::Join(&member)) {
            return;
        }
        let verifier = self.directory.rooms().get(&room).map(|room| room.password.clone());
        self.work(session, Pending::Check(Entry::Join(room)), Work::Check { password, verifier });
    }

    fn throttled(&mut self, now: Duration, session: SessionId, what: Try<'_>) -> bool {
        let Some(address) = self.address(session) else { return true };
        let Err(wait) = self.throttle.begin(now, address, what) else { return false };
        self.reply(session, Reply::TooManyAttempts { seconds: wait.as_secs_f64().ceil() as u64 });
        true
    }

    fn work(&mut self, session: SessionId, pending: Pending, work: Work) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.pending = Some(pending);
            self.effects.push(Effect::Work(session, work));
        }
    }

    pub(super) fn worked(&mut self, now: Duration, session: SessionId, done: WorkDone) {
        let Some(pending) = self.sessions.get_mut(&session).and_then(|s| s.pending.take()) else { return };
        match (pending, done) {
            (Pending::Hash(creation), WorkDone::Hashed(verifier)) => self.store_creation(session, creation, verifier),
            (Pending::Check(entry), WorkDone::Checked { right: true, better }) => self.granted(session, entry, better),
            (Pending::Check(entry), _) => self.denied(now, session, &entry),
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
        if let Some(address) = self.address(session) {
            self.throttle.end(address);
            if let Entry::Login(user) = &entry {
                self.throttle.passed(address, user);
            }
        }
        let Some(password) = better else { return self.enter(session, entry) };
        let change = match entry.clone() {
            Entry::Login(user) => Change::SetUserPassword { user, password },
            Entry::Join(room) => Change::SetRoomPassword { room, password },
        };
        self.wait_for_store(session, Pending::StoreBetter(entry), change);
    }

    fn denied(&mut self, now: Duration, session: SessionId, entry: &Entry) {
        let Some(address) = self.address(session) else { return };
        self.throttle.end(address);
        match entry {
            Entry::Login(user) => {
                // Failures at accounts that do not exist would fill the table with any name that comes.
                let account = Some(user).filter(|user| self.directory.users().contains_key(*user));
                self.throttle.failed(now, address, Try::Login(account));
                self.reply(session, Reply::LoginFailed);
            }
            Entry::Join(_) => {
                if let Some(member) = self.user_of(session).cloned() {
                    self.throttle.failed(now, address, Try::Join(&member));
                }
                self.reply(session, Reply::IncorrectRoomPassword);
            }
        }
    }

    pub(super) fn stored(&mut self, session: Option<SessionId>, change: Change, saved: bool) {
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

    pub(super) fn strengthened(&mut self, change: Change, weak: &Verifier) {
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
}
