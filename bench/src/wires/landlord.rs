//! Somebody on the modern wire who makes a room, enters it and deletes it, again and again.

use std::cell::Cell;
use std::rc::Rc;

use rustls::ClientConnection;
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{
    ActRequest, ActStamp, Answer, BundleKeys, Deed, Event, FromServer, JoinOk, OkBody, RequestBody, RequestType,
    SignedText, decode_server,
};
use secure_chat::transcript::{self, Position, RunId, Verb, changes_hash};

use super::modern::{ANNOUNCE, JOIN, LOGIN, SIGNATURE, ask};
use super::pieces::Pieces;
use super::{Heard, Identity, Out, Stage, Wire};
use crate::accounts::PASSWORD;

const CREATE: u64 = 1000;
const DELETE: u64 = 1001;

/// A client with rooms of its own, one after the other.
pub(crate) struct Landlord {
    user: UserName,
    keys: BundleKeys,
    run: RunId,
    /// How many rooms it has deleted.
    deleted: Rc<Cell<u64>>,
    greeted: bool,
    pieces: Pieces,
}

impl Landlord {
    pub(crate) fn new(identity: &Identity, keys: BundleKeys, deleted: Rc<Cell<u64>>) -> Self {
        let (user, run) = (UserName::new(&identity.user), RunId((identity.index as u128 + 1).to_be_bytes()));
        Self { user, keys, run, deleted, greeted: false, pieces: Pieces::default() }
    }

    fn room(&self) -> RoomName {
        RoomName::new(&format!("let{}", self.deleted.get()))
    }

    fn create(&self, out: &mut Out) {
        let (room, password) = (self.room(), Password::new(PASSWORD));
        ask(CREATE, RequestBody::Create { room, password, modern_only: false }, out);
    }

    fn delete(&self, joined: &JoinOk, out: &mut Out) {
        let changes = changes_hash(joined.joined.iter().copied(), joined.removed.iter().copied());
        let (came, went) = (joined.joined.len() as u64, joined.removed.len() as u64);
        let event = transcript::Event::Members { joined: came, removed: went, changes, roster: joined.roster };
        let at = Position { n: joined.n - 1, log: joined.before }.after(&event);
        let none = SignedText::new("");
        ask(
            DELETE,
            RequestBody::Act(ActRequest {
                room: self.room(),
                deed: Deed { verb: Verb::Delete, target: none.clone(), argument: none },
                stamp: ActStamp { counter: 1, at, signature: SIGNATURE },
                secret: None,
                resend: false,
            }),
            out,
        );
    }

    fn line(&mut self, line: &[u8], heard: &mut Heard, out: &mut Out) {
        if !std::mem::replace(&mut self.greeted, true) {
            heard.stage = Some(Stage::Connected);
            return;
        }
        let asked = |id| {
            Some(match id {
                LOGIN => RequestType::Login,
                ANNOUNCE => RequestType::Announce,
                CREATE => RequestType::Create,
                JOIN => RequestType::Join,
                _ => RequestType::Act,
            })
        };
        match decode_server(line, asked) {
            Ok(FromServer::Answer(Answer::Ok { body, .. })) => self.answered(&body, heard, out),
            Ok(FromServer::Answer(Answer::Error { code, text, .. })) => {
                heard.fail(format!("{code:?}: {}", text.as_str()));
            }
            Ok(FromServer::Event(Event::Bye { text, .. })) => heard.fail(text.as_str()),
            Ok(_) => {}
            Err(why) => heard.fail(format!("a line that cannot be read: {why:?}")),
        }
    }

    fn answered(&self, body: &OkBody, heard: &mut Heard, out: &mut Out) {
        match body {
            OkBody::Announce { .. } => heard.stage = Some(Stage::LoggedIn),
            OkBody::Create { .. } => {
                let (room, password) = (self.room(), Some(Password::new(PASSWORD)));
                ask(JOIN, RequestBody::Join { room, password }, out);
            }
            OkBody::Join(joined) => {
                heard.stage = Some(Stage::Joined);
                self.delete(joined, out);
            }
            OkBody::Act(_) => {
                self.deleted.set(self.deleted.get() + 1);
                self.create(out);
            }
            _ => {}
        }
    }
}

impl Wire for Landlord {
    fn begin(&mut self, _: &ClientConnection, _: &mut Heard, _: &mut Out) {} // the server speaks first

    fn login(&mut self, out: &mut Out) {
        ask(LOGIN, RequestBody::Login { user: self.user.clone(), password: Password::new(PASSWORD) }, out);
        ask(ANNOUNCE, RequestBody::Announce { keys: self.keys.clone(), run: self.run }, out);
    }

    fn join(&mut self, out: &mut Out) {
        self.create(out);
    }

    fn say(&mut self, _: &str, _: &mut Out) {}

    fn ping(&mut self, _: &mut Out) {}

    fn hear(&mut self, bytes: &[u8], heard: &mut Heard, out: &mut Out) {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.lines(bytes, |line| self.line(line, heard, out));
        self.pieces = pieces;
    }
}
