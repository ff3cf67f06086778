//! Commands, and what the slow work that they need leads to.

use rand::RngExt;

use crate::chat::hub::Hub;
use crate::chat::hub::saving::Wanted;
use crate::chat::session::{Pending, Session};
use crate::chat::throttle::Try;
use crate::chat::{Change, Clash, Effect, Entry, Now, SessionId, Subject, Verifier, Work, WorkDone};
use crate::names::{Password, RoomName, UserName};
use crate::protocol::{Command, Reply};
use crate::transcript::RoomId;

impl Hub {
    pub(super) fn command(&mut self, now: Now, session: SessionId, command: Command) {
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
                None => return self.work(session, Pending::Hash(Subject::User(user)), Work::Hash(password)),
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
                None => return self.work(session, Pending::Hash(Subject::Room(room)), Work::Hash(password)),
            },
        };
        self.reply(session, refused);
    }

    fn user_refused(&self, user: &UserName) -> Option<Reply> {
        let clash = self.claim_clash(&Subject::User(user.clone())).or_else(|| self.directory.user_clash(user));
        Some(match clash? {
            Clash::Same => Reply::UserExists,
            Clash::LooksAlike => Reply::UserLooksAlike,
        })
    }

    fn room_refused(&self, room: &RoomName) -> Option<Reply> {
        let clash = self.claim_clash(&Subject::Room(room.clone())).or_else(|| self.directory.room_clash(room));
        Some(match clash? {
            Clash::Same => Reply::RoomExists,
            Clash::LooksAlike => Reply::RoomLooksAlike,
        })
    }

    /// What stands against a creation among those that are on their way to the disk: few, one a session at most.
    fn claim_clash(&self, new: &Subject) -> Option<Clash> {
        if self.claims.contains(new) {
            return Some(Clash::Same);
        }
        let alike = |claim: &Subject| match (claim, new) {
            (Subject::User(claim), Subject::User(new)) => claim.likeness().clashes_with(&new.likeness()),
            (Subject::Room(claim), Subject::Room(new)) => claim.likeness().clashes_with(&new.likeness()),
            _ => false,
        };
        self.claims.iter().any(alike).then_some(Clash::LooksAlike)
    }

    fn login(&mut self, now: Now, session: SessionId, user: UserName, password: Password) {
        let account = self.directory.users().contains_key(&user).then(|| user.clone());
        if self.throttled(now, session, Try::Login(account.as_ref())) {
            return;
        }
        let verifier = self.directory.users().get(&user).map(|account| account.password.clone());
        self.check(session, Entry::Login(user), password, verifier);
    }

    fn join(&mut self, now: Now, session: SessionId, room: RoomName, password: Password) {
        let Some(member) = self.user_of(session).cloned() else { return };
        if self.throttled(now, session, Try::Join(&member)) {
            return;
        }
        let verifier = self.directory.rooms().get(&room).map(|room| room.password.clone());
        self.check(session, Entry::Join(room), password, verifier);
    }

    fn check(&mut self, session: SessionId, entry: Entry, password: Password, verifier: Option<Verifier>) {
        let pending = Pending::Check { entry, against: verifier.clone() };
        self.work(session, pending, Work::Check { password, verifier });
    }

    fn throttled(&mut self, now: Now, session: SessionId, what: Try<'_>) -> bool {
        let Some(address) = self.address(session) else { return true };
        let Err(wait) = self.throttle.begin(now.elapsed, address, what) else { return false };
        self.reply(session, Reply::TooManyAttempts { seconds: wait.as_secs_f64().ceil() as u64 });
        true
    }

    fn work(&mut self, session: SessionId, pending: Pending, work: Work) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.pending = Some(pending);
            self.effects.push(Effect::Work(session, work));
        }
    }

    pub(super) fn worked(&mut self, now: Now, session: SessionId, done: WorkDone) {
        let Some(pending) = self.sessions.get_mut(&session).and_then(|s| s.pending.take()) else { return };
        match (pending, done) {
            (Pending::Hash(creation), WorkDone::Hashed(verifier)) => self.store_creation(session, creation, verifier),
            (Pending::Check { entry, against }, WorkDone::Checked { right: true, better }) => {
                self.granted(session, entry, against, better);
            }
            (Pending::Check { entry, .. }, _) => self.denied(now, session, &entry),
            _ => {} // the connection answers what it was asked; anything else is not answered
        }
        self.ready_unless_pending(session);
    }

    /// Another session may have taken the name while this one's password was hashed.
    fn store_creation(&mut self, session: SessionId, creation: Subject, password: Verifier) {
        let refused = match &creation {
            Subject::User(user) => self.user_refused(user),
            Subject::Room(room) => self.room_refused(room),
        };
        if let Some(refused) = refused {
            return self.reply(session, refused);
        }
        let change = match creation.clone() {
            Subject::User(user) => Change::AddUser { user, password },
            Subject::Room(room) => {
                let (id, owner) = (RoomId(self.rng.random()), self.user_of(session).cloned());
                Change::AddRoom { room, password, id, owner, modern_only: false }
            }
        };
        self.claims.insert(creation.clone());
        let wanted = Wanted { session: Some(session), change, instead_of: None };
        self.wait_for_store(session, Pending::StoreCreation(creation), wanted);
    }

    /// `better` is another hash of the password that was checked `against` one.
    fn granted(&mut self, session: SessionId, entry: Entry, against: Option<Verifier>, better: Option<Verifier>) {
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
        let wanted = Wanted { session: Some(session), change, instead_of: against };
        self.wait_for_store(session, Pending::StoreBetter(entry), wanted);
    }

    fn denied(&mut self, now: Now, session: SessionId, entry: &Entry) {
        let Some(address) = self.address(session) else { return };
        self.throttle.end(address);
        match entry {
            Entry::Login(user) => {
                // Failures at accounts that do not exist would fill the table with any name that comes.
                let account = Some(user).filter(|user| self.directory.users().contains_key(*user));
                self.throttle.failed(now.elapsed, address, Try::Login(account));
                self.reply(session, Reply::LoginFailed);
            }
            Entry::Join(_) => {
                if let Some(member) = self.user_of(session).cloned() {
                    self.throttle.failed(now.elapsed, address, Try::Join(&member));
                }
                self.reply(session, Reply::IncorrectRoomPassword);
            }
        }
    }
}
