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

use common::client::{Client, announce, entry, message};
use common::{Peer, Server};
use secure_chat::names::RoomName;
use secure_chat::protocol::modern::{Answer, Event, OkBody, RequestBody, RequestType};
use secure_chat::transcript::{Position, RunId};

const DEN: &str = "den";
const ONE: RunId = RunId([1; 16]);
const TWO: RunId = RunId([2; 16]);

#[test]
fn two_who_join_and_speak_hash_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut alice, hers, _) = Client::user(&server, "alice", 1);
    let (mut bob, his, _) = Client::user(&server, "bob", 2);
    alice.creates(DEN);
    let mut at_alice = alice.joins(DEN, Some("pw"), entry(&hers, ONE));
    let mut at_bob = bob.joins(DEN, Some("pw"), entry(&his, TWO));
    at_alice.hear(&alice.event());
    assert_eq!((at_alice.at, at_alice.at.n), (at_bob.at, 2));
    // Several requests on their way at once are answered in their order, with the events between them.
    let messages: Vec<_> = (1..=20).map(|n| message(DEN, &format!("m{n}"), n, at_bob.at)).collect();
    let ids: Vec<_> = messages.iter().map(|message| bob.asks(RequestBody::Send(message.clone()))).collect();
    for (message, id) in messages.iter().zip(ids) {
        let Answer::Ok { body: OkBody::Send(accepted), .. } = bob.answer(id) else { panic!() };
        at_bob.sent(&message.encrypted_message, &message.stamp, &accepted);
        let event = alice.event();
        at_alice.hear(&event);
        let Event::Message(heard) = event else { panic!() };
        assert_eq!(heard.encrypted_message, message.encrypted_message);
        assert_eq!(at_alice.at, at_bob.at);
    }
    // alice's position is the same: the server takes what she signs with it.
    alice.ok(RequestBody::Send(message(DEN, "x", 1, at_alice.at)));
    let stale = Position { n: 1, ..at_alice.at };
    assert_eq!(alice.refused(RequestBody::Send(message(DEN, "y", 2, stale))), "stale");
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_bundle_is_checked_and_a_session_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut alice, bundle, token) = Client::user(&server, "alice", 1);
    let RequestBody::Announce { mut keys, run } = announce(&bundle, ONE) else { panic!() };
    keys.signature.0[0] ^= 1;
    assert_eq!(alice.refused(RequestBody::Announce { keys, run }), "bad_bundle");
    alice.creates(DEN);
    alice.joins(DEN, Some("pw"), entry(&bundle, ONE));
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
    alice.creates(DEN);
    let at = alice.joins(DEN, Some("pw"), entry(&bundle, ONE)).at;
    let mut python: Peer = server.user("carol");
    python.says("CMD::/join den pw");
    let key = python.hears();
    assert!(key.starts_with("PUBKEY::alice::-----BEGIN PUBLIC KEY-----"), "{key}");
    assert_eq!(python.hears(), "carol joined the chat!");
    assert!(matches!(alice.event(), Event::Members(_)));
    alice.ok(RequestBody::Send(message(DEN, "tok", 1, at)));
    assert_eq!(python.hears(), r#"{"encrypted_message":"tok","encrypted_keys":{},"room":"den"}"#);
    python.says(r#"{"encrypted_message":"hi","encrypted_keys":{"alice":"QQ=="},"room":"den"}"#);
    let Event::Message(message) = alice.event() else { panic!() };
    assert_eq!((message.user.as_str(), message.encrypted_message.as_str()), ("carol", "hi"));
}
