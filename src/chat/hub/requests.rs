//! The requests of the modern wire: who may ask for what, and the answers that take no more than a look.

use crate::chat::bundles::Known;
use crate::chat::hub::Hub;
use crate::chat::room::Place;
use crate::chat::{Audience, Dialect, Effect, Restrictions, SessionId};
use crate::names::{RoomName, UserName};
use crate::protocol::Reply;
use crate::protocol::modern::{
    Answer, Author, Bundle, Entry, ErrorCode, Event, MAX_NUMBER, OkBody, PartItem, Reader, Refusal, Request,
    RequestBody, RequestType, RoomItem, name_fits, parts,
};
use crate::transcript::{BundleHash, EntryKey, RosterEntry};

/// What a session must have done before it may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Nothing,
    LogIn,
    Bundle,
    Room,
}

const fn needs(request: RequestType) -> Needs {
    match request {
        RequestType::Ping | RequestType::Register | RequestType::Login | RequestType::Resume => Needs::Nothing,
        RequestType::Announce
        | RequestType::Logout
        | RequestType::Passwd
        | RequestType::Account
        | RequestType::Create
        | RequestType::List
        | RequestType::Bundles => Needs::LogIn,
        RequestType::Join | RequestType::Sessions | RequestType::Direct => Needs::Bundle,
        RequestType::Who
        | RequestType::Attach
        | RequestType::Send
        | RequestType::Grant
        | RequestType::NeedKey
        | RequestType::Act => Needs::Room,
    }
}

/// Whether a session's thread waits for [`Effect::Ready`] after such a request: its answer may need slow work or the disk, or
/// is long. The others are handled as they come.
pub fn is_waited_for(request: RequestType) -> bool {
    !matches!(
        request,
        RequestType::Ping
            | RequestType::Attach
            | RequestType::Send
            | RequestType::Grant
            | RequestType::NeedKey
            | RequestType::Direct
    )
}

/// The room that a request is for, if the session has to be in it.
fn room_of(request: &RequestBody) -> Option<&RoomName> {
    match request {
        RequestBody::Who { room } | RequestBody::Attach { room, .. } | RequestBody::NeedKey { room, .. } => Some(room),
        RequestBody::Send(send) => Some(&send.room),
        RequestBody::Grant(grant) => Some(&grant.room),
        RequestBody::Act(act) => Some(&act.room),
        _ => None,
    }
}

impl Hub {
    pub(super) fn request(&mut self, session: SessionId, request: Result<Box<Request>, Refusal>) {
        if !self.is_modern(session) {
            return; // it was ended, and did not know
        }
        self.heard(session);
        match request {
            Err(refusal) => self.effects.push(Effect::Answer(session, refusal.to_answer())),
            Ok(request) => {
                let Request { id, body } = *request;
                let kind = body.kind();
                self.begin(session, id);
                match self.admits(session, needs(kind), room_of(&body)) {
                    Err(code) => self.refuse(session, code),
                    Ok(()) => self.dispatch(session, body),
                }
                if is_waited_for(kind) {
                    self.ready_unless_pending(session);
                }
            }
        }
    }

    /// From here on, what is answered is this request.
    pub(super) fn begin(&mut self, session: SessionId, id: u64) {
        self.modern_mut(session).into_iter().for_each(|modern| modern.request = id);
    }

    /// Whether the session's state allows a request.
    fn admits(&self, session: SessionId, needs: Needs, room: Option<&RoomName>) -> Result<(), ErrorCode> {
        let member = self.member(session);
        if needs >= Needs::LogIn && member.is_none() {
            return Err(ErrorCode::LoginFirst);
        }
        if needs >= Needs::Bundle && member.and_then(|member| member.bundle()).is_none() {
            return Err(ErrorCode::AnnounceFirst);
        }
        let Some(room) = room else { return Ok(()) };
        match self.room_of(session) {
            None => Err(ErrorCode::JoinFirst),
            Some(place) if *place == self.directory.stored_room(room) => Ok(()),
            Some(_) => Err(ErrorCode::RoomMismatch),
        }
    }

    pub(super) fn may_announce(&self, session: SessionId) -> Result<(), ErrorCode> {
        self.admits(session, needs(RequestType::Announce), None)
    }

    fn dispatch(&mut self, session: SessionId, request: RequestBody) {
        match request {
            RequestBody::Ping => self.done(session, OkBody::Ping { time: self.now.unix_ms }),
            RequestBody::Register { user, password, token } => {
                self.register(session, &self.directory.stored_user(&user), password, token);
            }
            RequestBody::Login { user, password } => {
                self.login(session, self.directory.stored_user(&user), password);
            }
            RequestBody::Resume { token, run } => self.resume(session, &token, run),
            // A bundle comes by itself once it was checked.
            RequestBody::Announce { .. } => self.refuse(session, ErrorCode::BadBundle),
            RequestBody::Logout => self.log_out(session),
            RequestBody::Passwd { old, new } => self.change_password(session, old, new),
            RequestBody::Account { password, legacy } => self.change_account(session, password, legacy),
            RequestBody::Create { room, password, modern_only } => {
                self.create(session, &self.directory.stored_room(&room), password, modern_only);
            }
            RequestBody::List => self.list(session),
            RequestBody::Join { room, password } => {
                self.join(session, self.directory.stored_room(&room), password);
            }
            RequestBody::Who { .. } => self.who(session),
            RequestBody::Bundles { hashes } => self.bundles(session, hashes),
            RequestBody::Sessions { user } => self.sessions(session, &self.directory.stored_user(&user)),
            RequestBody::Attach { encrypted_keys, .. } => self.attach(session, encrypted_keys),
            RequestBody::Send(send) => self.send(session, send),
            RequestBody::Grant(grant) => self.grant(session, grant),
            RequestBody::NeedKey { user, reader, epoch, .. } => {
                self.need_key(session, &self.directory.stored_user(&user), reader, epoch);
            }
            RequestBody::Act(act) => self.act(session, act),
            RequestBody::Direct(direct) => self.direct(session, direct),
        }
    }

    pub(super) fn is_modern(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|found| found.dialect() == Dialect::Modern)
    }

    /// The request of a session on the modern wire was granted.
    pub(super) fn done(&mut self, session: SessionId, body: OkBody) {
        if let Some(modern) = self.modern_mut(session) {
            let answer = Answer::Ok { id: modern.request, body };
            self.effects.push(Effect::Answer(session, answer));
        }
    }

    /// The request of a session on the modern wire was refused.
    pub(super) fn refuse(&mut self, session: SessionId, code: ErrorCode) {
        if let Some(modern) = self.modern_mut(session) {
            let answer = Answer::error(modern.request, code);
            self.effects.push(Effect::Answer(session, answer));
        }
    }

    /// Answers with parts that carry a list, and an `ok`.
    fn done_in_parts<T: PartItem>(&mut self, session: SessionId, items: Vec<T>, body: OkBody) {
        let Some(modern) = self.modern_mut(session) else { return };
        let id = modern.request;
        self.effects.extend(parts(id, items).map(|part| Effect::Answer(session, part)));
        self.done(session, body);
    }

    pub(super) fn tell_one(&mut self, session: SessionId, event: Event) {
        self.effects.push(Effect::Tell(Audience::One(session), Box::new(event)));
    }

    /// What is said on both wires, as an answer on the modern one.
    pub(super) fn answer_of(&self, id: u64, reply: Reply) -> Answer {
        let body = match reply {
            Reply::Registered(user) => OkBody::Register { user },
            Reply::LoggedIn(user) => OkBody::Login { user },
            Reply::RoomCreated(room) => match self.directory.rooms().get(&room) {
                Some(kept) => OkBody::Create { room, room_id: kept.id },
                None => return Answer::error(id, ErrorCode::NoSuchRoom),
            },
            refused => return Answer::error(id, code_of(&refused)),
        };
        Answer::Ok { id, body }
    }

    /// Whether a user is banned or muted now; within, until when in milliseconds since 1970, or for good.
    pub(super) fn restricted(&self, restrictions: &Restrictions, user: &UserName) -> Option<Option<u64>> {
        if !restrictions.hold(user, self.now.unix_ms / 1000) {
            return None;
        }
        let in_ms = |seconds: u64| seconds.saturating_mul(1000).min(MAX_NUMBER); // what the wire can carry
        restrictions.until(user).map(|until| until.map(in_ms))
    }

    fn list(&mut self, session: SessionId) {
        let members = |room| self.rooms.get(room).map_or(0, |live| live.roster.len() as u64);
        let rooms = self.directory.rooms().iter().filter(|(room, _)| name_fits(room.as_str()));
        let rooms: Vec<_> = rooms
            .map(|(room, kept)| RoomItem { room: room.clone(), modern_only: kept.modern_only, members: members(room) })
            .collect();
        let count = rooms.len() as u64;
        self.done_in_parts(session, rooms, OkBody::List { count });
    }

    fn who(&mut self, session: SessionId) {
        let Some(room) = self.room_of(session).cloned() else { return };
        self.tell_members(&room);
        let Some(live) = self.rooms.get(&room) else { return };
        let is_away = |place| matches!(place, Place::Away(_));
        let entries: Vec<_> = live
            .roster
            .iter()
            .map(|listed| Entry { entry: listed.entry.clone(), away: is_away(listed.place) })
            .collect();
        let (n, roster) = (live.log.head().n, live.roster_hash(&self.realm));
        let count = entries.len() as u64;
        self.done_in_parts(session, entries, OkBody::Who { n, roster, count });
    }

    fn bundles(&mut self, session: SessionId, hashes: Vec<BundleHash>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for hash in hashes {
            match self.bundles.get(&hash.0) {
                Some(Known::Modern(bundle)) => found.push(bundle.to_bundle()),
                // One answer for each hash, or they would be more than were asked for: the hash names the key, whoever has it.
                Some(Known::Legacy(user, rsa_key)) => {
                    found.push(Bundle::Legacy { user: user.clone(), rsa_key: rsa_key.clone() }.into());
                }
                None => missing.push(hash),
            }
        }
        self.done_in_parts(session, found, OkBody::Bundles { missing });
    }

    fn need_key(&mut self, session: SessionId, user: &UserName, reader: Reader, epoch: u64) {
        let entry = RosterEntry { account: user.clone(), key: EntryKey::Modern(reader.bundle), run: reader.run };
        let (Some(room), Some(author)) = (self.room_of(session).cloned(), self.author(session)) else { return };
        // One whose join is not answered yet would not understand it.
        let live = self.rooms.get(&room);
        let is_seated = |asked| live.is_some_and(|live| live.with_bundle(&reader.bundle).contains(&asked));
        match live.and_then(|live| live.roster.get(&entry)).map(|listed| listed.place) {
            Some(Place::Here(asked)) if is_seated(asked) => {
                self.tell_one(asked, Event::NeedKey { room, author, epoch });
                self.done(session, OkBody::NeedKey);
            }
            _ => self.refuse(session, ErrorCode::NotHere),
        }
    }

    /// Who speaks at a session on the modern wire.
    pub(super) fn author(&self, session: SessionId) -> Option<Author> {
        let member = self.member(session)?;
        let (bundle, run) = member.bundle()?;
        Some(Author { user: member.user.clone(), reader: Reader { bundle: bundle.hash, run } })
    }
}

/// The code of what is refused on both wires.
fn code_of(reply: &Reply) -> ErrorCode {
    match reply {
        Reply::GodIsReserved => ErrorCode::Reserved,
        Reply::UserExists => ErrorCode::UserExists,
        Reply::RoomExists => ErrorCode::RoomExists,
        Reply::BadUserName(_) | Reply::BadRoomName(_) => ErrorCode::BadName,
        Reply::UserLooksAlike | Reply::RoomLooksAlike => ErrorCode::LooksAlike,
        Reply::LoginFailed => ErrorCode::LoginFailed,
        Reply::TooManyAttempts { seconds } => ErrorCode::TooManyAttempts { retry_after: *seconds },
        Reply::NoSuchRoom(_) => ErrorCode::NoSuchRoom,
        Reply::Banned { until, .. } => ErrorCode::Banned { until: *until },
        Reply::IncorrectRoomPassword => ErrorCode::WrongRoomPassword,
        Reply::NotSaved => ErrorCode::NotSaved,
        Reply::RegistrationClosed => ErrorCode::RegistrationClosed,
        Reply::RegistrationToken => ErrorCode::RegistrationToken,
        Reply::NoTokenNeeded => ErrorCode::NoTokenNeeded,
        Reply::TooManyRegistrations { seconds } => ErrorCode::TooManyRegistrations { retry_after: *seconds },
        Reply::TooManyNewRooms { seconds } => ErrorCode::TooManyNewRooms { retry_after: *seconds },
        Reply::TooManyAccounts => ErrorCode::TooManyAccounts,
        Reply::TooManyRooms => ErrorCode::TooManyRooms,
        Reply::TooManyOwnRooms => ErrorCode::TooManyOwnRooms,
        Reply::TooManySessions => ErrorCode::TooManySessions,
        _ => ErrorCode::BadRequest, // said on the legacy wire alone
    }
}
