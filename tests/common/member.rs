//! Somebody on the modern wire who does as a client does: it follows the log of its room, counts what it says, and signs where
//! it is.

use std::collections::HashMap;

use secure_chat::chat::{Dialect, SessionId};
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{
    Accepted, ActRequest, ActStamp, Answer, Deed, Entry, Event, NewToken, OkBody, PartBody, Reader, RemovedWhy,
    RequestBody, SendRequest, SessionToken, SignedText, Stamp,
};
use secure_chat::transcript::{Commitment, Kind, Position, RosterEntry, Signature, Verb};

use super::follower::Follower;
use super::world::{self, Heard, REALM, World};

/// What was asked and is not answered yet.
#[derive(Debug)]
enum Asked {
    Join,
    Who,
    Send(Box<SendRequest>),
    Act(Box<ActRequest>),
    Other,
}

/// A client.
pub struct Member {
    pub session: SessionId,
    pub user: UserName,
    pub keys: u8,
    pub run: u16,
    pub token: Option<SessionToken>,
    /// The counter of what it says next, in the room where it is.
    pub counter: u64,
    /// Its view of the room where it is.
    pub follower: Option<Follower>,
    /// The events that it got.
    pub events: Vec<Event>,
    /// The answers that it got, the last first for each id.
    pub answers: HashMap<u64, Answer>,
    /// The entries that a `who` listed.
    pub entries: Vec<Entry>,
    asked: HashMap<u64, Asked>,
}

impl Member {
    /// Logs in and announces.
    #[track_caller]
    pub fn new(world: &mut World, user: &str, keys: u8, run: u16) -> Self {
        let session = world.connect(Dialect::Modern);
        world.ok(session, world::login(user));
        match world.ok(session, world::announce(keys, run)) {
            OkBody::Announce { session: NewToken { token, .. }, .. } => Self::adopt(session, user, keys, run, token),
            other => panic!("{other:?}"),
        }
    }

    /// Goes on with a session that has announced.
    pub fn adopt(session: SessionId, user: &str, keys: u8, run: u16, token: SessionToken) -> Self {
        Self {
            session,
            user: UserName::new(user),
            keys,
            run,
            token: Some(token),
            counter: 1,
            follower: None,
            events: Vec::new(),
            answers: HashMap::new(),
            entries: Vec::new(),
            asked: HashMap::new(),
        }
    }

    /// The same in a room.
    #[track_caller]
    pub fn in_room(world: &mut World, user: &str, keys: u8, run: u16, room: &str) -> Self {
        let mut member = Self::new(world, user, keys, run);
        member.join(world, room);
        member
    }

    pub fn entry(&self) -> RosterEntry {
        world::entry(self.user.as_str(), self.keys, self.run)
    }

    pub fn reader(&self) -> Reader {
        Self::reader_of(self.user.as_str(), self.keys, self.run)
    }

    /// How others know a client.
    pub fn reader_of(user: &str, keys: u8, run: u16) -> Reader {
        Reader { bundle: world::entry(user, keys, run).key.bundle().unwrap(), run: world::run_id(run) }
    }

    pub fn at(&self) -> Position {
        self.follower.as_ref().map_or(Position::NOWHERE, |follower| follower.at)
    }

    /// Where this member is.
    pub fn room(&self) -> Option<RoomName> {
        Some(self.follower.as_ref()?.room.clone())
    }

    #[track_caller]
    pub fn join(&mut self, world: &mut World, room: &str) {
        self.ask_join(world, room, Some("pw"));
        assert_eq!(self.room(), Some(RoomName::new(room)), "the join was refused, or not yet answered");
    }

    /// Asks to join; the answer may come later.
    #[track_caller]
    pub fn ask_join(&mut self, world: &mut World, room: &str, password: Option<&str>) -> u64 {
        self.hear(world);
        let password = password.map(Password::new);
        self.ask(world, RequestBody::Join { room: RoomName::new(room), password }, Asked::Join)
    }

    #[track_caller]
    fn ask(&mut self, world: &mut World, body: RequestBody, asked: Asked) -> u64 {
        let id = world.request(self.session, body);
        self.asked.insert(id, asked);
        self.hear(world);
        id
    }

    /// Asks for anything else; what came of it.
    #[track_caller]
    pub fn asks(&mut self, world: &mut World, body: RequestBody) -> Result<OkBody, &'static str> {
        let id = self.ask(world, body, Asked::Other);
        self.outcome(id).expect("it was answered at once")
    }

    /// The same where the answer may come later.
    #[track_caller]
    pub fn begins(&mut self, world: &mut World, body: RequestBody) -> u64 {
        self.ask(world, body, Asked::Other)
    }

    /// What came of a request, if it was answered.
    pub fn outcome(&self, id: u64) -> Option<Result<OkBody, &'static str>> {
        Some(match self.answers.get(&id)?.clone() {
            Answer::Ok { body, .. } => Ok(body),
            Answer::Error { code, .. } => Err(code.kind().as_str()),
            Answer::Part { .. } => panic!("a part is no answer"),
        })
    }

    /// Asks who is there, and checks it.
    #[track_caller]
    pub fn who(&mut self, world: &mut World) {
        let room = self.room().expect("in a room");
        self.entries.clear();
        self.ask(world, RequestBody::Who { room }, Asked::Who);
    }

    /// A message of a client that is up to date.
    pub fn message(&self, room: &RoomName, token: &str) -> SendRequest {
        SendRequest {
            room: room.clone(),
            encrypted_message: token.to_owned(),
            encrypted_keys: None,
            stamp: Stamp {
                kind: Kind::Text,
                epoch: 1,
                counter: self.counter,
                at: self.at(),
                commitment: Commitment([3; 32]),
                signature: Signature([self.run as u8; 64]),
            },
            resend: false,
        }
    }

    #[track_caller]
    pub fn says(&mut self, world: &mut World, token: &str) -> Result<Accepted, &'static str> {
        let room = self.room().expect("in a room");
        let message = self.message(&room, token);
        self.sends(world, message)
    }

    #[track_caller]
    pub fn sends(&mut self, world: &mut World, message: SendRequest) -> Result<Accepted, &'static str> {
        self.hear(world);
        let id = self.ask(world, RequestBody::Send(message.clone()), Asked::Send(Box::new(message)));
        match self.outcome(id).expect("it was answered at once")? {
            OkBody::Send(accepted) => Ok(accepted),
            other => panic!("{other:?}"),
        }
    }

    /// An act of a client that is up to date.
    pub fn deed(&self, room: &RoomName, verb: Verb, target: &str, argument: &str) -> ActRequest {
        ActRequest {
            room: room.clone(),
            deed: Deed { verb, target: SignedText::new(target), argument: SignedText::new(argument) },
            stamp: ActStamp { counter: self.counter, at: self.at(), signature: Signature([self.run as u8; 64]) },
            secret: (verb == Verb::Password).then(|| Password::new("new")),
            resend: false,
        }
    }

    /// Does something; what came of it, if it was answered at once.
    #[track_caller]
    pub fn does(
        &mut self,
        world: &mut World,
        verb: Verb,
        target: &str,
        argument: &str,
    ) -> Option<Result<OkBody, &'static str>> {
        self.hear(world);
        let room = self.room().expect("in a room");
        let act = self.deed(&room, verb, target, argument);
        let id = self.acts(world, act);
        self.outcome(id)
    }

    /// Does something; the request's id.
    #[track_caller]
    pub fn acts(&mut self, world: &mut World, act: ActRequest) -> u64 {
        self.ask(world, RequestBody::Act(act.clone()), Asked::Act(Box::new(act)))
    }

    /// Takes what has come, in its order.
    #[track_caller]
    pub fn hear(&mut self, world: &mut World) {
        for heard in world.take(self.session) {
            match heard {
                Heard::Event(event) => self.event(event),
                Heard::Answer(Answer::Part { body, .. }) => {
                    if let PartBody::Entries(entries) = body {
                        self.entries.extend(entries);
                    }
                }
                Heard::Answer(answer) => self.answer(answer),
                Heard::Legacy(message) => panic!("{message:?} on the modern wire"),
            }
        }
    }

    #[track_caller]
    fn event(&mut self, event: Event) {
        match &event {
            Event::Removed { room, why } => {
                let follower = self.follower.take().expect("whom nobody let in, nobody puts out");
                assert_eq!(follower.room, *room);
                assert_ne!(*why, RemovedWhy::ModernOnly);
            }
            event @ (Event::Members(_) | Event::Message(_) | Event::Act(_)) => {
                self.follower.as_mut().expect("an event of a room is for its members").hear(event);
            }
            Event::NeedKey { room, .. } | Event::NotDelivered { room, .. } => {
                assert_eq!(self.room().as_ref(), Some(room))
            }
            Event::Grant(grant) => assert_eq!(self.room().as_ref(), Some(&grant.room)),
            _ => {}
        }
        self.events.push(event);
    }

    #[track_caller]
    fn answer(&mut self, answer: Answer) {
        let id = match &answer {
            Answer::Ok { id, .. } | Answer::Part { id, .. } => *id,
            Answer::Error { id, .. } => id.expect("the id could be read"),
        };
        if let (Some(asked), Answer::Ok { body, .. }) = (self.asked.remove(&id), &answer) {
            self.granted(asked, body);
        }
        assert!(self.answers.insert(id, answer).is_none(), "a request has one answer");
    }

    #[track_caller]
    fn granted(&mut self, asked: Asked, body: &OkBody) {
        match (asked, body) {
            (Asked::Join, OkBody::Join(ok)) => {
                self.counter = ok.counter.map_or(1, |last| last + 1);
                self.follower = Some(Follower::join(REALM, self.entry(), ok));
            }
            (Asked::Who, OkBody::Who { n, roster, count }) => {
                assert_eq!(self.entries.len() as u64, *count);
                let entries = self.entries.clone();
                self.follower.as_mut().unwrap().who(&entries, *n, *roster);
            }
            (Asked::Send(send), OkBody::Send(ok)) => {
                self.follower.as_mut().unwrap().sent(&send.encrypted_message, &send.stamp, ok);
                self.counter = send.stamp.counter + 1;
            }
            (Asked::Act(act), OkBody::Act(ok)) => {
                self.counter = act.stamp.counter + 1;
                if let Some(follower) = &mut self.follower {
                    follower.acted(&act.deed, &act.stamp, ok);
                }
                if act.deed.verb == Verb::Leave {
                    self.follower = None;
                }
            }
            (Asked::Other, OkBody::Logout) => self.follower = None,
            _ => {}
        }
    }

    /// The connection is lost.
    pub fn lose(&mut self, world: &mut World) {
        world.disconnect(self.session);
        world.take(self.session);
        self.asked.clear();
        self.follower = None;
    }

    /// Comes back with its token.
    #[track_caller]
    pub fn resume(&mut self, world: &mut World) -> Result<OkBody, &'static str> {
        self.session = world.connect(Dialect::Modern);
        self.follower = None;
        let (token, run) = (self.token.clone().unwrap(), world::run_id(self.run));
        self.asks(world, RequestBody::Resume { token, run })
    }

    /// Takes the events that it got.
    #[track_caller]
    pub fn heard(&mut self, world: &mut World) -> Vec<Event> {
        self.hear(world);
        std::mem::take(&mut self.events)
    }
}
