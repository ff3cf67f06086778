//! A peer in a scene, on either wire.

use std::collections::VecDeque;
use std::sync::LazyLock;

use crate::chat::Dialect;
use crate::crypto::{Bundle, PrivateKey, SigningKey};
use crate::names::{Password, RoomName, UserName};
use crate::protocol::modern::{
    ActRequest, ActStamp, Answer, BundleKeys, Deed, Event, FromServer, JoinOk, OkBody, Request, RequestBody,
    RequestType, SignedText, decode_server, encode_request,
};
use crate::protocol::{Line, LineReader};
use crate::server::sync::Arc;
use crate::tls::{Received, Stream};
use crate::transcript::{self, Position, RunId, Signature, Verb, changes_hash};

/// What somebody heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// On the legacy wire.
    Text(String),
    Answer(Answer),
    Event(Event),
}

pub(super) struct Client {
    stream: Arc<Stream>,
    wire: Dialect,
    lines: LineReader,
    heard: VecDeque<Heard>,
    /// What was asked last, and its id.
    asked: Option<(u64, RequestType)>,
    ids: u64,
    ended: bool,
}

/// Something that ends a connection at once, from another thread.
pub(super) struct Scissors(Arc<Stream>);

impl Scissors {
    pub(super) fn cut(self) {
        self.0.shutdown();
    }
}

/// The bundle of bob: to check one is part of what is played, to make one is not.
static BUNDLE: LazyLock<BundleKeys> = LazyLock::new(|| {
    let pem = include_str!("../../../tests/data/rsa-2048.private");
    let key = SigningKey::from_seed(&[1; 32]);
    let realm = SigningKey::from_seed(&[9; 32]).verifying_key().realm();
    let bundle = Bundle::sign(&realm, &UserName::new("bob"), &key, &PrivateKey::from_pem(pem).unwrap()).unwrap();
    BundleKeys {
        signing_key: bundle.signing_key().bytes(),
        rsa_key: bundle.rsa().spki_der().to_vec().into(),
        signature: *bundle.signature(),
        rsa_signature: Arc::clone(bundle.rsa_signature()),
    }
});

impl Client {
    pub(super) fn new(stream: Stream, wire: Dialect) -> Self {
        let (lines, heard) = (LineReader::new(1 << 20), VecDeque::new());
        Self { stream: Arc::new(stream), wire, lines, heard, asked: None, ids: 0, ended: false }
    }

    pub(super) fn scissors(&self) -> Scissors {
        Scissors(Arc::clone(&self.stream))
    }

    /// Sends this as one record, waiting for room. A server that has gone is noticed when it is heard.
    pub(super) fn says(&self, text: &str) {
        self.stream.queue(text.as_bytes());
        let _ = self.stream.drain();
    }

    /// Says all in the manner of a Python client: it waits for nothing.
    pub(super) fn comes(&self, user: &str) {
        self.says(&format!("CMD::/login {user} pw"));
        self.says("CMD::/join den pw");
    }

    /// Says something to the room.
    pub(super) fn chats(&self, token: &str) {
        self.says(&format!(r#"{{"encrypted_message":"{token}","encrypted_keys":{{}},"room":"den"}}"#));
    }

    /// What comes next; `None` at the end.
    pub(super) fn hears(&mut self) -> Option<Heard> {
        let mut buffer = [0; 4096];
        while self.heard.is_empty() && !self.ended {
            let mut records = Vec::new();
            let received = self.stream.read(&mut buffer, &mut records);
            self.ended = !matches!(received, Ok(Received::Open));
            records.iter().for_each(|record| self.take(record));
        }
        self.heard.pop_front()
    }

    /// Takes next to nothing of what has come, waiting for it; whether there may be more.
    pub(super) fn sips(&self) -> bool {
        matches!(self.stream.read(&mut [0; 8], &mut Vec::new()), Ok(Received::Open))
    }

    fn take(&mut self, record: &[u8]) {
        if self.wire == Dialect::Legacy {
            return self.heard.push_back(Heard::Text(String::from_utf8(record.to_vec()).unwrap()));
        }
        let mut rest = record;
        while let Some(line) = self.lines.next(&mut rest) {
            let Line::Whole(line) = line else { panic!("a line without an end") };
            let asked = |id| self.asked.filter(|(asked, _)| *asked == id).map(|(_, what)| what);
            match decode_server(&line, asked).unwrap() {
                FromServer::Hello(_) | FromServer::Unknown => {}
                FromServer::Answer(answer) => self.heard.push_back(Heard::Answer(answer)),
                FromServer::Event(event) => self.heard.push_back(Heard::Event(event)),
            }
        }
    }

    /// All that comes until the end, on the legacy wire.
    pub(super) fn hears_out(mut self) -> Vec<String> {
        let heard = std::iter::from_fn(|| self.hears());
        heard.filter_map(|heard| if let Heard::Text(text) = heard { Some(text) } else { None }).collect()
    }

    /// Whether this is heard, on the legacy wire, before the end.
    pub(super) fn waits_for(&mut self, what: &str) -> bool {
        std::iter::from_fn(|| self.hears()).any(|heard| matches!(heard, Heard::Text(text) if text == what))
    }

    /// Asks for something on the modern wire.
    pub(super) fn asks(&mut self, body: RequestBody) {
        self.ids += 1;
        self.asked = Some((self.ids, body.kind()));
        let mut line = Vec::new();
        encode_request(&Request { id: self.ids, body }, &mut line);
        self.stream.queue(&line);
        let _ = self.stream.drain();
    }

    /// The answer to what was asked last; `None` when the end came before.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        loop {
            if let Heard::Answer(answer) = self.hears()? {
                return Some(answer);
            }
        }
    }

    /// Asks, and waits until it is granted.
    pub(super) fn gets(&mut self, body: RequestBody) -> Option<OkBody> {
        self.asks(body);
        match self.answer()? {
            Answer::Ok { body, .. } => Some(body),
            other => panic!("refused: {other:?}"),
        }
    }

    pub(super) fn logs_in(&mut self, user: &str) -> Option<OkBody> {
        self.gets(RequestBody::Login { user: UserName::new(user), password: Password::new("pw") })
    }

    /// Bob logs in, announces his keys and enters his room; where the room's log is then.
    pub(super) fn comes_as_owner(&mut self) -> Option<Position> {
        self.logs_in("bob")?;
        self.gets(RequestBody::Announce { keys: BUNDLE.clone(), run: RunId([5; 16]) })?;
        let room = RoomName::new("den");
        match self.gets(RequestBody::Join { room, password: Some(Password::new("pw")) })? {
            OkBody::Join(ok) => Some(after_join(&ok)),
            other => panic!("{other:?}"),
        }
    }

    /// Asks for an act, as a client that has not done any.
    pub(super) fn acts(&mut self, at: Position, verb: Verb, target: &str, argument: &str) {
        let deed = Deed { verb, target: SignedText::new(target), argument: SignedText::new(argument) };
        let stamp = ActStamp { counter: 1, at, signature: Signature([1; 64]) };
        let room = RoomName::new("den");
        self.asks(RequestBody::Act(ActRequest { room, deed, stamp, secret: None, resend: false }));
    }
}

fn after_join(ok: &JoinOk) -> Position {
    let changes = changes_hash(ok.joined.iter().copied(), ok.removed.iter().copied());
    let (joined, removed) = (ok.joined.len() as u64, ok.removed.len() as u64);
    let event = transcript::Event::Members { joined, removed, changes, roster: ok.roster };
    Position { n: ok.n - 1, log: ok.before }.after(&event)
}
