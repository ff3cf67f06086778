//! The modern wire over real TLS to the real server: what the hub decides arrives, in its order, at whom it is for.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may fail loudly"
)]

mod common;

use std::collections::HashMap;
use std::sync::OnceLock;

use common::modern::ModernPeer;
use common::{Peer, Server};
use secure_chat::crypto::{Bundle, PrivateKey, SigningKey};
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{
    Answer, BundleKeys, Event, FromServer, NewToken, OkBody, Request, RequestBody, RequestType, SendRequest,
    SessionToken, Stamp, decode_server, encode_request,
};
use secure_chat::transcript::{
    self, Commitment, Kind, MessageHash, Position, Realm, RosterEntry, RunId, Signature, changes_hash,
};

const DEN: &str = "den";

/// A client by hand.
struct Client {
    peer: ModernPeer,
    realm: Realm,
    asked: HashMap<u64, RequestType>,
    events: Vec<Event>,
    next: u64,
}

impl Client {
    fn connect(server: &Server) -> Self {
        let mut peer = ModernPeer::connect(server.address);
        let hello = peer.hears_hello();
        Self { peer, realm: hello.realm, asked: HashMap::new(), events: Vec::new(), next: 1 }
    }

    fn asks(&mut self, body: RequestBody) -> u64 {
        let id = self.next;
        self.next += 1;
        self.asked.insert(id, body.kind());
        let mut line = Vec::new();
        encode_request(&Request { id, body }, &mut line);
        self.peer.says(line);
        id
    }

    #[track_caller]
    fn hears(&mut self) -> FromServer {
        let line = self.peer.hears();
        decode_server(line.as_bytes(), |id| self.asked.get(&id).copied()).unwrap()
    }

    /// The answer to a request; events before it are kept.
    #[track_caller]
    fn answer(&mut self, id: u64) -> Answer {
        loop {
            match self.hears() {
                FromServer::Answer(Answer::Part { .. }) => {}
                FromServer::Answer(answer) => {
                    let (Answer::Ok { id: of, .. } | Answer::Part { id: of, .. }) = answer else { return answer };
                    assert_eq!(of, id, "answers come in order");
                    return answer;
                }
                FromServer::Event(event) => self.events.push(event),
                other => panic!("{other:?}"),
            }
        }
    }

    #[track_caller]
    fn ok(&mut self, body: RequestBody) -> OkBody {
        let id = self.asks(body);
        match self.answer(id) {
            Answer::Ok { body, .. } => body,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(&mut self, body: RequestBody) -> &'static str {
        let id = self.asks(body);
        match self.answer(id) {
            Answer::Error { code, .. } => code.kind().as_str(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn event(&mut self) -> Event {
        if !self.events.is_empty() {
            return self.events.remove(0);
        }
        match self.hears() {
            FromServer::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    /// A user who has registered, logged in and announced.
    #[track_caller]
    fn user(server: &Server, name: &str, run: u8) -> (Self, Bundle, SessionToken) {
        let mut client = Self::connect(server);
        let (user, password) = (UserName::new(name), Password::new("pw"));
        client.ok(RequestBody::Register { user: user.clone(), password: password.clone() });
        client.ok(RequestBody::Login { user: user.clone(), password });
        let bundle = Bundle::sign(&client.realm, &user, &SigningKey::generate(), rsa()).unwrap();
        let OkBody::Announce { session: NewToken { token, .. }, bundle: hash } = client.ok(announce(&bundle, run))
        else {
            panic!()
        };
        assert_eq!(hash, bundle.hash());
        (client, bundle, token)
    }

    #[track_caller]
    fn join(&mut self, bundle: &Bundle, run: u8) -> Position {
        let password = Some(Password::new("pw"));
        let OkBody::Join(ok) = self.ok(RequestBody::Join { room: RoomName::new(DEN), password }) else { panic!() };
        let key = transcript::EntryKey::Modern(bundle.hash());
        let entry = RosterEntry { account: bundle.account().clone(), key, run: RunId([run; 16]) };
        assert!(ok.joined.contains(&entry.change(true)));
        let event = transcript::Event::Members {
            joined: ok.joined.len() as u64,
            removed: ok.removed.len() as u64,
            changes: changes_hash(ok.joined, ok.removed),
            roster: ok.roster,
        };
        Position { n: ok.n - 1, log: ok.before }.after(&event)
    }
}

/// One key pair for all: making one takes long.
fn rsa() -> &'static PrivateKey {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| PrivateKey::generate().unwrap())
}

fn announce(bundle: &Bundle, run: u8) -> RequestBody {
    let keys = BundleKeys {
        signing_key: bundle.signing_key().bytes(),
        rsa_key: bundle.rsa().spki_der().clone(),
        signature: *bundle.signature(),
        rsa_signature: bundle.rsa_signature().clone(),
    };
    RequestBody::Announce { keys, run: RunId([run; 16]) }
}

fn create(client: &mut Client) {
    client.ok(RequestBody::Create { room: RoomName::new(DEN), password: Password::new("pw"), modern_only: false });
}

fn message(token: &str, counter: u64, at: Position) -> SendRequest {
    let (commitment, signature) = (Commitment([1; 32]), Signature([2; 64]));
    SendRequest {
        room: RoomName::new(DEN),
        encrypted_message: token.to_owned(),
        encrypted_keys: None,
        stamp: Stamp { kind: Kind::Text, epoch: 1, counter, at, commitment, signature },
        resend: false,
    }
}

#[test]
fn two_who_join_and_speak_hash_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut alice, hers, _) = Client::user(&server, "alice", 1);
    let (mut bob, his, _) = Client::user(&server, "bob", 2);
    create(&mut alice);
    let after_alice = alice.join(&hers, 1);
    let after_bob = bob.join(&his, 2);
    let Event::Members(members) = alice.event() else { panic!() };
    assert_eq!((after_alice.n, members.n, after_bob.n), (1, 2, 2));
    // Several requests on their way at once are answered in their order, with the events between them.
    let ids: Vec<_> = (1..=20).map(|n| bob.asks(RequestBody::Send(message(&format!("m{n}"), n, after_bob)))).collect();
    let mut at = after_bob;
    for (n, id) in ids.into_iter().enumerate() {
        let Answer::Ok { body: OkBody::Send(accepted), .. } = bob.answer(id) else { panic!() };
        let (account, hash) = (UserName::new("bob"), MessageHash::of(&format!("m{}", n + 1)));
        at = at.after(&transcript::Event::Message {
            account: &account,
            message: hash,
            signature: Some(&Signature([2; 64])),
        });
        assert_eq!(accepted.n, at.n);
        let Event::Message(heard) = alice.event() else { panic!() };
        assert_eq!((heard.n, heard.encrypted_message), (at.n, format!("m{}", n + 1)));
    }
    // alice's position is the same: the server takes what she signs with it.
    alice.ok(RequestBody::Send(message("x", 1, at)));
    assert_eq!(alice.refused(RequestBody::Send(message("y", 2, Position { n: 1, ..at }))), "stale");
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_bundle_is_checked_and_a_session_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut alice, bundle, token) = Client::user(&server, "alice", 1);
    let RequestBody::Announce { mut keys, run } = announce(&bundle, 1) else { panic!() };
    keys.signature.0[0] ^= 1;
    assert_eq!(alice.refused(RequestBody::Announce { keys, run }), "bad_bundle");
    create(&mut alice);
    alice.join(&bundle, 1);
    let mut again = Client::connect(&server);
    let OkBody::Resume { user, bundle: hash, .. } = again.ok(RequestBody::Resume { token, run }) else { panic!() };
    assert_eq!((user.as_str(), hash), ("alice", bundle.hash()));
    // The session that had the run is told, and its connection ends.
    assert!(matches!(alice.event(), Event::Bye { .. }));
    assert_eq!(alice.peer.hears_or_end(), None);
    let room = RoomName::new(DEN);
    let OkBody::Join(ok) = again.ok(RequestBody::Join { room, password: None }) else { panic!() };
    assert_eq!((ok.joined.len(), ok.removed.len()), (1, 1), "a return");
}

#[test]
fn a_line_of_any_length_is_taken_within_the_limit_and_none_beyond() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut alice, _, _) = Client::user(&server, "alice", 1);
    let padded = |len: usize| {
        let (head, tail) = (r#"{"type":"ping","id":77,"pad":""#, "\"}\n");
        format!("{head}{}{tail}", "x".repeat(len - head.len() - tail.len()))
    };
    alice.asked.insert(77, RequestType::Ping);
    alice.peer.says(padded(65_536));
    assert!(matches!(alice.answer(77), Answer::Ok { .. }));
    alice.peer.says(padded(65_537));
    let Answer::Error { id: None, code, .. } = alice.answer(77) else { panic!() };
    assert_eq!(code.kind().as_str(), "line_too_long");
    alice.peer.says("{}\n\n\r\n[]\n");
    assert!(alice.peer.hears().contains(r#""code":"bad_request""#));
    assert!(alice.peer.hears().contains(r#""code":"bad_json""#));
    alice.ok(RequestBody::Ping);
}

#[test]
fn both_wires_meet_in_one_room() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut alice, bundle, _) = Client::user(&server, "alice", 1);
    create(&mut alice);
    let at = alice.join(&bundle, 1);
    let mut python: Peer = server.user("carol");
    python.says("CMD::/join den pw");
    let key = python.hears();
    assert!(key.starts_with("PUBKEY::alice::-----BEGIN PUBLIC KEY-----"), "{key}");
    assert_eq!(python.hears(), "carol joined the chat!");
    assert!(matches!(alice.event(), Event::Members(_)));
    alice.ok(RequestBody::Send(message("tok", 1, at)));
    assert_eq!(python.hears(), r#"{"encrypted_message":"tok","encrypted_keys":{},"room":"den"}"#);
    python.says(r#"{"encrypted_message":"hi","encrypted_keys":{"alice":"QQ=="},"room":"den"}"#);
    let Event::Message(message) = alice.event() else { panic!() };
    assert_eq!((message.user.as_str(), message.encrypted_message.as_str()), ("carol", "hi"));
}
