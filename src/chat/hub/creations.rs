//! New accounts and rooms.

use rand::RngExt;

use crate::chat::hub::Hub;
use crate::chat::hub::saving::Wanted;
use crate::chat::hub::session::Pending;
use crate::chat::throttle::whole_seconds;
use crate::chat::{Change, Clash, Registration, SessionId, Subject, Verifier, Work};
use crate::names::{Password, RoomName, UserName};
use crate::protocol::modern::ErrorCode;
use crate::protocol::{Reply, legacy};
use crate::transcript::RoomId;

/// Most bytes of a password that is set over the modern wire.
const MAX_PASSWORD: usize = 1024;

/// Whether a password can be typed in a command of the legacy wire, too.
pub(super) fn is_typable(password: &Password) -> bool {
    password.expose().len() <= MAX_PASSWORD && legacy::is_word(password.expose())
}

impl Hub {
    /// Who may not make an account learns nothing of those that there are.
    pub(super) fn register(
        &mut self,
        session: SessionId,
        typed: &UserName,
        password: Password,
        token: Option<Password>,
    ) {
        if let Some(refused) = self.registration_refused(session, token.as_ref()) {
            return self.reply(session, refused);
        }
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
                None => return self.hash_for(session, Subject::User(user), password, false),
            },
        };
        self.reply(session, refused);
    }

    pub(super) fn create(&mut self, session: SessionId, typed: &RoomName, password: Password, modern_only: bool) {
        if self.directory.rooms().contains_key(typed) {
            return self.reply(session, Reply::RoomExists);
        }
        let refused = match RoomName::register(typed.as_str()) {
            Err(why) => Reply::BadRoomName(why),
            Ok(room) => match self.room_refused(&room) {
                Some(refused) => refused,
                None => return self.hash_for(session, Subject::Room(room), password, modern_only),
            },
        };
        self.reply(session, refused);
    }

    fn hash_for(&mut self, session: SessionId, creation: Subject, password: Password, modern_only: bool) {
        if self.is_modern(session) && !is_typable(&password) {
            return self.refuse(session, ErrorCode::BadPassword);
        }
        if let Some(refused) = self.over_limit(session, &creation).or_else(|| self.too_often(session, &creation)) {
            return self.reply(session, refused);
        }
        self.work(session, Pending::Hash { creation, modern_only }, Work::Hash(password));
    }

    fn is_god(&self, session: SessionId) -> bool {
        self.user_of(session).is_some_and(UserName::is_god)
    }

    /// What the operator's policy says to a new account. A missing token is a wrong one, but no attempt.
    fn registration_refused(&mut self, session: SessionId, token: Option<&Password>) -> Option<Reply> {
        let (tokens, token) = match (&self.registration, token) {
            // What follows a password is not dropped in silence: it may have been meant to be a part of it.
            _ if self.is_god(session) => return self.refused_token(session, token),
            (Registration::Open, _) => return self.refused_token(session, token),
            (Registration::Closed, _) => return Some(Reply::RegistrationClosed),
            (Registration::Token(_), None) => return Some(Reply::RegistrationToken),
            (Registration::Token(tokens), Some(token)) => (tokens, token),
        };
        let (now, address) = (self.now.elapsed, self.address(session)?);
        let wait = self.throttle.token_wait(now, address);
        if !wait.is_zero() {
            return Some(Reply::TooManyAttempts { seconds: whole_seconds(wait) });
        }
        if tokens.hold(token) {
            return None;
        }
        self.throttle.token_failed(now, address);
        Some(Reply::RegistrationToken)
    }

    /// A token that nobody asked for; the legacy wire passes over words that are too many.
    fn refused_token(&self, session: SessionId, token: Option<&Password>) -> Option<Reply> {
        (token.is_some() && self.is_modern(session)).then_some(Reply::NoTokenNeeded)
    }

    /// Whether there are as many as there may be, those included that are on their way to the disk.
    fn over_limit(&self, session: SessionId, creation: &Subject) -> Option<Reply> {
        let limits = &self.limits;
        let claims = |alike: fn(&Subject) -> bool| self.claims.iter().filter(|claim| alike(claim)).count();
        match creation {
            Subject::User(_) => {
                let accounts = self.directory.users().len() + claims(|claim| matches!(claim, Subject::User(_)));
                (accounts >= limits.accounts).then_some(Reply::TooManyAccounts)
            }
            Subject::Room(_) => {
                let rooms = self.directory.rooms().len() + claims(|claim| matches!(claim, Subject::Room(_)));
                if rooms >= limits.rooms {
                    return Some(Reply::TooManyRooms);
                }
                let user = self.user_of(session).filter(|user| !user.is_god())?;
                (self.rooms_of(user) >= limits.rooms_per_user).then_some(Reply::TooManyOwnRooms)
            }
        }
    }

    /// How many rooms an account owns, those included that are on their way to the disk. Making one takes far longer than
    /// counting.
    fn rooms_of(&self, user: &UserName) -> usize {
        let kept = self.directory.rooms().values().filter(|room| room.owner.as_ref() == Some(user)).count();
        let is_new = |session: &&SessionId| {
            let pending = self.sessions.get(session).and_then(|found| found.pending.as_ref());
            matches!(pending, Some(Pending::StoreCreation(Subject::Room(_))))
        };
        kept + self.sessions_of(user).iter().filter(is_new).count()
    }

    /// Whether too many accounts, or rooms, come from the session's network.
    fn too_often(&mut self, session: SessionId, creation: &Subject) -> Option<Reply> {
        if self.is_god(session) {
            return None;
        }
        let (now, address) = (self.now.elapsed, self.address(session)?);
        match creation {
            Subject::User(_) => {
                let wait = self.throttle.register(now, address, &self.limits.registrations).err()?;
                Some(Reply::TooManyRegistrations { seconds: whole_seconds(wait) })
            }
            Subject::Room(_) => {
                let wait = self.throttle.create(now, address, &self.limits.creations).err()?;
                Some(Reply::TooManyNewRooms { seconds: whole_seconds(wait) })
            }
        }
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

    /// Another session may have taken the name while this one's password was hashed.
    pub(super) fn store_creation(
        &mut self,
        session: SessionId,
        creation: Subject,
        password: Verifier,
        modern_only: bool,
    ) {
        let refused = match &creation {
            Subject::User(user) => self.user_refused(user),
            Subject::Room(room) => self.room_refused(room),
        };
        if let Some(refused) = refused.or_else(|| self.over_limit(session, &creation)) {
            return self.reply(session, refused);
        }
        let change = match creation.clone() {
            Subject::User(user) => Change::AddUser { user, password },
            Subject::Room(room) => {
                let (id, owner) = (RoomId(self.rng.random()), self.user_of(session).cloned());
                Change::AddRoom { room, password, id, owner, modern_only }
            }
        };
        self.claims.insert(creation.clone());
        let wanted = Wanted { session: Some(session), change, instead_of: None };
        self.wait_for_store(session, Pending::StoreCreation(creation), wanted);
    }
}
