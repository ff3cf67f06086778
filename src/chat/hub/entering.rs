//! What is entered with a password: accounts and rooms; and the slow work that passwords need.

use crate::chat::hub::Hub;
use crate::chat::hub::saving::Wanted;
use crate::chat::hub::session::{Attempt, Entry, Pending};
use crate::chat::throttle::{Try, Turn, whole_seconds};
use crate::chat::{Change, Effect, SessionId, Subject, Verifier, Work, WorkDone};
use crate::names::{Password, RoomName, UserName};
use crate::protocol::Reply;
use crate::protocol::modern::{Author, name_fits};

impl Hub {
    pub(super) fn login(&mut self, session: SessionId, user: UserName, password: Password) {
        // An account of a Python server may have a name that fits no line: it is unknown here.
        let account = self.directory.users().get(&user).filter(|_| name_fits(user.as_str()));
        let verifier = account.map(|account| account.password.clone());
        let attempt = Attempt::Enter(Entry::Login(user.clone()));
        if self.may_try(session, Try::Login(&user), &attempt, &password) {
            self.check(session, Entry::Login(user), password, verifier);
        }
    }

    /// Who returns to a room needs its password no more than god does.
    pub(super) fn join(&mut self, session: SessionId, room: RoomName, password: Option<Password>) {
        let Some(member) = self.user_of(session).cloned() else { return };
        if self.has_act_under_way(session, &room) {
            if let Some(found) = self.sessions.get_mut(&session) {
                found.pending = Some(Pending::JoinAfterAct(room, password));
            }
            return;
        }
        if let Some(refused) = self.join_refused(session, &room) {
            return self.reply(session, refused);
        }
        if member.is_god() || self.is_listed(session, &room) {
            return self.enter_room(session, &room);
        }
        let Some(password) = password else { return self.reply(session, Reply::IncorrectRoomPassword) };
        let attempt = Attempt::Enter(Entry::Join(room.clone()));
        if self.may_try(session, Try::Join(&member), &attempt, &password) {
            let verifier = self.directory.rooms().get(&room).map(|room| room.password.clone());
            self.check(session, Entry::Join(room), password, verifier);
        }
    }

    /// Whether something that a run did in a room before its connection was lost is on its way to the disk.
    fn has_act_under_way(&self, session: SessionId, room: &RoomName) -> bool {
        let Some(author) = self.author(session) else { return false };
        self.orphans.values().any(|orphan| matches!(orphan, Pending::StoreAct(act) if act.is_by(&author, room)))
    }

    /// An act has come back from the disk: its author may have waited for that to join.
    pub(super) fn join_after_act(&mut self, author: &Author, room: &RoomName) {
        for session in self.sessions_of(&author.user).to_vec() {
            let is_it = self.author(session).is_some_and(|waiting| waiting.reader.run == author.reader.run);
            let Some(found) = self.sessions.get_mut(&session).filter(|_| is_it) else { continue };
            match found.pending.take() {
                Some(Pending::JoinAfterAct(place, password)) if place == *room => {
                    self.join(session, place, password);
                    self.ready_unless_pending(session);
                }
                other => found.pending = other,
            }
        }
    }

    /// What keeps a session out of a room, its password aside.
    fn join_refused(&self, session: SessionId, name: &RoomName) -> Option<Reply> {
        let Some(room) = self.directory.rooms().get(name) else { return Some(Reply::NoSuchRoom(name.clone())) };
        if let Some(until) = self.restricted(&room.bans, self.user_of(session)?) {
            return Some(Reply::Banned { room: name.clone(), until });
        }
        let kept_out = room.modern_only && !self.is_modern(session);
        kept_out.then(|| Reply::ModernOnly(name.clone()))
    }

    fn check(&mut self, session: SessionId, entry: Entry, password: Password, verifier: Option<Verifier>) {
        let pending = Pending::Check { entry, against: verifier.clone() };
        self.work(session, pending, Work::Check { password, verifier });
    }

    /// Whether a password may be tried now. If not, it is tried later, or the session was told when to come again.
    pub(super) fn may_try(
        &mut self,
        session: SessionId,
        what: Try<'_>,
        attempt: &Attempt,
        password: &Password,
    ) -> bool {
        let Some(found) = self.sessions.get_mut(&session) else { return false };
        match self.throttle.begin(self.now.elapsed, session, found.address, what) {
            Turn::Now => return true,
            // A room of thousands behind one address may come at once: most wait until the others' passwords are checked.
            Turn::InCrowd => found.pending = Some(Pending::Crowded(attempt.clone(), password.clone())),
            Turn::After(wait) => self.reply(session, Reply::TooManyAttempts { seconds: whole_seconds(wait) }),
        }
        false
    }

    /// Fewer passwords are being checked: the next who wait for that have their turn, as if they came now.
    pub(super) fn let_crowd_on(&mut self) {
        while let Some(session) = self.throttle.next_in_crowd(self.now.elapsed) {
            let Some(found) = self.sessions.get_mut(&session) else { continue };
            match found.pending.take() {
                Some(Pending::Crowded(attempt, password)) => self.attempt(session, attempt, password),
                other => {
                    found.pending = other;
                    continue;
                }
            }
            self.ready_unless_pending(session);
        }
    }

    fn attempt(&mut self, session: SessionId, attempt: Attempt, password: Password) {
        match attempt {
            Attempt::Enter(Entry::Login(user)) => self.login(session, user, password),
            Attempt::Enter(Entry::Join(room)) => self.join(session, room, Some(password)),
            Attempt::Change(change) => self.check_own(session, password, change),
        }
    }

    pub(super) fn work(&mut self, session: SessionId, pending: Pending, work: Work) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.pending = Some(pending);
            found.overtaken = false;
            self.effects.push(Effect::Work(session, work));
        }
    }

    pub(super) fn worked(&mut self, session: SessionId, done: WorkDone) {
        let Some(pending) = self.sessions.get_mut(&session).and_then(|s| s.pending.take()) else { return };
        match (pending, done) {
            (Pending::Hash { creation, modern_only }, WorkDone::Hashed(verifier)) => {
                self.store_creation(session, creation, verifier, modern_only);
            }
            (Pending::HashOwn { instead_of }, WorkDone::Hashed(verifier)) => {
                self.store_own_password(session, verifier, instead_of);
            }
            (Pending::HashRoom(act), WorkDone::Hashed(verifier)) => self.store_room_password(session, act, verifier),
            (Pending::Check { entry, against }, WorkDone::Checked { right: true, better }) => {
                self.granted(session, entry, against, better);
            }
            (Pending::Check { entry, .. }, _) => {
                self.throttle.failed(self.now.elapsed, session);
                self.turn_away(session, &entry);
            }
            (Pending::CheckOwn { change, against }, done) => {
                let right = matches!(done, WorkDone::Checked { right: true, .. });
                self.checked_own(session, change, against, right);
            }
            _ => {} // the connection answers what it was asked; anything else is not answered
        }
        self.ready_unless_pending(session);
        self.let_crowd_on();
    }

    /// `better` is another hash of the password that was checked `against` one.
    fn granted(&mut self, session: SessionId, entry: Entry, against: Option<Verifier>, better: Option<Verifier>) {
        let account = match &entry {
            Entry::Login(user) => Some(user),
            Entry::Join(_) => None,
        };
        self.try_passed(session, account);
        let Some(password) = better else { return self.enter(session, entry) };
        let change = match entry.clone() {
            Entry::Login(user) => Change::SetUserPassword { user, password },
            Entry::Join(room) => Change::SetRoomPassword { room, password },
        };
        let wanted = Wanted { session: Some(session), change, instead_of: against };
        self.wait_for_store(session, Pending::StoreBetter(entry), wanted);
    }

    /// A password was right: that of this account, or of a room.
    pub(super) fn try_passed(&mut self, session: SessionId, account: Option<&UserName>) {
        if let Some(address) = self.address(session) {
            self.throttle.passed(session, address, account);
        }
    }

    fn turn_away(&mut self, session: SessionId, entry: &Entry) {
        let refused = match entry {
            Entry::Login(_) => Reply::LoginFailed,
            Entry::Join(_) => Reply::IncorrectRoomPassword,
        };
        self.reply(session, refused);
    }

    /// The password is right, or was: it may have been changed, the room removed or its user banned, since it was passed on.
    pub(super) fn enter(&mut self, session: SessionId, entry: Entry) {
        let overtaken = self.sessions.get(&session).is_some_and(|found| found.overtaken);
        let refused = match &entry {
            Entry::Login(_) => None,
            Entry::Join(room) => self.join_refused(session, room),
        };
        match (refused, entry) {
            (Some(refused), _) => self.reply(session, refused),
            (None, entry) if overtaken => self.turn_away(session, &entry),
            (None, Entry::Login(user)) => self.log_in(session, user),
            (None, Entry::Join(room)) => self.enter_room(session, &room),
        }
    }

    /// The password of an account or a room is another, or is none any more: who gave the old one does not get in.
    pub(super) fn overtake(&mut self, subject: &Subject) {
        for session in self.sessions.values_mut() {
            let entry = session.pending.as_ref().and_then(Pending::entry);
            session.overtaken |= entry.is_some_and(|entry| entry.subject() == *subject);
        }
    }

    fn log_in(&mut self, session: SessionId, user: UserName) {
        let takes_legacy = self.directory.users().get(&user).is_some_and(|account| account.legacy_login);
        if !takes_legacy && !self.is_modern(session) {
            return self.reply(session, Reply::LegacyLoginOff);
        }
        if self.has_too_many_sessions(session, &user, |_| false) {
            return self.reply(session, Reply::TooManySessions);
        }
        self.become_user(session, user.clone());
        self.reply(session, Reply::LoggedIn(user));
    }
}
