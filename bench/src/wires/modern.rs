//! The modern wire, `secure-chat/1`: the project's own codec and transcript.
//!
//! Signatures and commitments of what is sent are fixed bytes: no server checks them (receivers do), and what a client spends on
//! them is not measured here. Everything that the server does check is as it must be: bundles, counters and positions.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use rustls::ClientConnection;
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{
    Accepted, Answer, BundleKeys, Changes, Event, FromServer, JoinOk, MembersEvent, MessageEvent, OkBody, Origin,
    Request, RequestBody, RequestType, SendRequest, Stamp as Signed, decode_server, encode_request,
};
use secure_chat::transcript::{self, Commitment, Kind, MessageHash, Position, RunId, Signature, changes_hash};

use super::pieces::Pieces;
use super::{Heard, Identity, Out, Stage, Wire};
use crate::accounts::PASSWORD;
use crate::payload::Stamps;

// The ids of requests that are made once; messages count on from the last.
pub(super) const LOGIN: u64 = 1;
pub(super) const ANNOUNCE: u64 = 2;
pub(super) const JOIN: u64 = 3;
const PING: u64 = 4;
const FIRST_SEND: u64 = 5;

/// How the line of a message begins.
const MESSAGE: &[u8] = br#"{"type":"message""#;

/// What all senders of a room sign: where the member that follows its log is.
#[derive(Default)]
pub(crate) struct RoomLog(Option<Position>);

impl RoomLog {
    fn step(&mut self, n: u64, event: &transcript::Event<'_>, heard: &mut Heard) {
        match &mut self.0 {
            Some(at) if at.n + 1 == n => *at = at.after(event),
            Some(at) => heard.fail(format!("the log went from event {} to {n}", at.n)),
            None => {}
        }
    }

    fn join(&mut self, ok: &JoinOk, heard: &mut Heard) {
        self.0 = Some(Position { n: ok.n - 1, log: ok.before });
        let changes = changes_hash(ok.joined.iter().copied(), ok.removed.iter().copied());
        let (joined, removed) = (ok.joined.len() as u64, ok.removed.len() as u64);
        self.step(ok.n, &transcript::Event::Members { joined, removed, changes, roster: ok.roster }, heard);
    }

    fn members(&mut self, event: &MembersEvent, heard: &mut Heard) {
        let (joined, removed, changes) = match &event.changes {
            Changes::Hashed { joined, removed, changes } => (*joined, *removed, *changes),
            Changes::Listed { joined, removed } => {
                let came = joined.iter().map(|entry| entry.change(true));
                let went = removed.iter().map(|entry| entry.change(false));
                (joined.len() as u64, removed.len() as u64, changes_hash(came, went))
            }
        };
        self.step(event.n, &transcript::Event::Members { joined, removed, changes, roster: event.roster }, heard);
    }

    fn message(&mut self, event: &MessageEvent, heard: &mut Heard) {
        let signature = match &event.origin {
            Origin::Modern { stamp, .. } => Some(&stamp.signature),
            Origin::Legacy { .. } => None,
        };
        let message = MessageHash::of(&event.encrypted_message);
        self.step(event.n, &transcript::Event::Message { account: &event.user, message, signature }, heard);
    }
}

/// A modern client.
pub(super) struct Modern {
    user: UserName,
    room: RoomName,
    run: RunId,
    keys: BundleKeys,
    log: Rc<RefCell<RoomLog>>,
    /// Whether it hashes the room's log, for all.
    follows: bool,
    /// Its messages that the server has not numbered yet, if it follows.
    unnumbered: VecDeque<MessageHash>,
    greeted: bool,
    sent: u64,
    pieces: Pieces,
    stamps: Rc<Stamps>,
}

impl Modern {
    pub(super) fn new(
        identity: Identity,
        keys: BundleKeys,
        log: Rc<RefCell<RoomLog>>,
        follows: bool,
        stamps: Rc<Stamps>,
    ) -> Self {
        Self {
            user: UserName::new(&identity.user),
            room: RoomName::new(&identity.room),
            run: RunId((identity.index as u128 + 1).to_be_bytes()),
            keys,
            log,
            follows,
            unnumbered: VecDeque::new(),
            greeted: false,
            sent: 0,
            pieces: Pieces::default(),
            stamps,
        }
    }

    fn line(&mut self, line: &[u8], heard: &mut Heard) {
        if !std::mem::replace(&mut self.greeted, true) {
            heard.stage = Some(Stage::Connected); // the hello; whom the server is, is not the question here
        } else if line.starts_with(MESSAGE) {
            heard.stamps.extend(self.stamps.find(line));
            if self.follows {
                self.decoded(line, heard);
            }
        } else if self.follows || !line.starts_with(br#"{"type":"members""#) {
            self.decoded(line, heard);
        }
    }

    fn decoded(&mut self, line: &[u8], heard: &mut Heard) {
        let asked = |id: u64| {
            Some(match id {
                LOGIN => RequestType::Login,
                ANNOUNCE => RequestType::Announce,
                JOIN => RequestType::Join,
                PING => RequestType::Ping,
                _ => RequestType::Send,
            })
        };
        match decode_server(line, asked) {
            Ok(FromServer::Answer(Answer::Ok { body, .. })) => self.answered(body, heard),
            Ok(FromServer::Answer(Answer::Error { code, text, .. })) => {
                heard.fail(format!("{code:?}: {}", text.as_str()))
            }
            Ok(FromServer::Event(event)) => self.told(&event, heard),
            Ok(_) => {}
            Err(why) => heard.fail(format!("a line that cannot be read: {why:?}")),
        }
    }

    fn answered(&mut self, body: OkBody, heard: &mut Heard) {
        match body {
            OkBody::Announce { .. } => heard.stage = Some(Stage::LoggedIn),
            OkBody::Join(ok) => {
                heard.stage = Some(Stage::Joined);
                self.sent = ok.counter.unwrap_or_default(); // it may have spoken here before its connection was lost
                if self.follows {
                    self.log.borrow_mut().join(&ok, heard);
                }
            }
            OkBody::Send(accepted) if self.follows => self.numbered(accepted, heard),
            _ => {}
        }
    }

    fn numbered(&mut self, accepted: Accepted, heard: &mut Heard) {
        let Some(message) = self.unnumbered.pop_front() else { return };
        let event = transcript::Event::Message { account: &self.user, message, signature: Some(&SIGNATURE) };
        self.log.borrow_mut().step(accepted.n, &event, heard);
    }

    fn told(&mut self, event: &Event, heard: &mut Heard) {
        match event {
            Event::Members(members) => self.log.borrow_mut().members(members, heard),
            Event::Message(message) => self.log.borrow_mut().message(message, heard),
            Event::Bye { text, .. } => heard.fail(text.as_str()),
            _ => {}
        }
    }
}

/// In the place of what a client would sign.
pub(super) const SIGNATURE: Signature = Signature([0x5A; 64]);

pub(super) fn ask(id: u64, body: RequestBody, out: &mut Out) {
    let mut line = Vec::new();
    encode_request(&Request { id, body }, &mut line);
    out.say(line);
}

impl Wire for Modern {
    fn begin(&mut self, _: &ClientConnection, _: &mut Heard, _: &mut Out) {} // the server speaks first

    fn login(&mut self, out: &mut Out) {
        ask(LOGIN, RequestBody::Login { user: self.user.clone(), password: Password::new(PASSWORD) }, out);
        ask(ANNOUNCE, RequestBody::Announce { keys: self.keys.clone(), run: self.run }, out);
    }

    fn join(&mut self, out: &mut Out) {
        let password = Some(Password::new(PASSWORD));
        ask(JOIN, RequestBody::Join { room: self.room.clone(), password }, out);
    }

    fn say(&mut self, text: &str, out: &mut Out) {
        let at = self.log.borrow().0.unwrap_or(Position::NOWHERE);
        if self.follows {
            self.unnumbered.push_back(MessageHash::of(text));
        }
        self.sent += 1;
        let stamp = Signed {
            kind: Kind::Text,
            epoch: 1,
            counter: self.sent,
            at,
            commitment: Commitment([0xA5; 32]),
            signature: SIGNATURE,
        };
        let send = SendRequest {
            room: self.room.clone(),
            encrypted_message: text.to_owned(),
            encrypted_keys: None,
            stamp,
            resend: false,
        };
        ask(FIRST_SEND + self.sent, RequestBody::Send(send), out);
    }

    fn ping(&mut self, out: &mut Out) {
        ask(PING, RequestBody::Ping, out);
    }

    fn unanswered(&self) -> usize {
        self.unnumbered.len()
    }

    fn hear(&mut self, bytes: &[u8], heard: &mut Heard, _: &mut Out) {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.lines(bytes, |line| self.line(line, heard));
        self.pieces = pieces;
    }
}
