//! New accounts and rooms.

use rand::RngExt;

use crate::chat::hub::Hub;
use crate::chat::hub::saving::Wanted;
use crate::chat::hub::session::Pending;
use crate::chat::{Change, Clash, SessionId, Subject, Verifier, Work};
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
    pub(super) fn register(&mut self, session: SessionId, typed: &UserName, password: Password) {
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
        self.work(session, Pending::Hash { creation, modern_only }, Work::Hash(password));
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
        if let Some(refused) = refused {
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
