//! ALPN decides the wire: what each kind of client hears first, and what is made of its bytes.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::sync::Arc;

use common::client::is_proved;
use common::modern::ModernPeer;
use common::{Peer, Server, trusting};
use rustls::{ClientConfig, RootCertStore};
use secure_chat::protocol::modern::MAX_GUEST_LINE;

#[test]
fn a_modern_client_hears_first_who_the_server_is_and_can_check_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut one = ModernPeer::connect(server.address);
    let mut two = ModernPeer::connect(server.address);
    let (hello, other) = (one.hears_hello(), two.hears_hello());
    assert_eq!(format!("ed25519:{}", hello.realm), server.realm);
    assert!(is_proved(&hello, &one) && is_proved(&other, &two));
    assert!(!is_proved(&hello, &two) && !is_proved(&other, &one), "passed on, it proves nothing");
}

#[test]
fn a_modern_client_to_which_nothing_can_be_proved_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let provider = Arc::clone(trusting().crypto_provider());
    let pem = std::fs::read(dir.path().join("certs/server.crt")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_pemfile::certs(&mut &pem[..]).map(Result::unwrap));
    let old = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let old = old.with_root_certificates(roots).with_no_client_auth();
    assert_eq!(ModernPeer::connect_with(server.address, old).hears_or_end(), None);
    server.wait_for_log("the realm cannot be proved to it");
}

#[test]
fn lines_are_answered_in_order_however_records_cut_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut peer = ModernPeer::connect(server.address);
    peer.hears_hello();
    for byte in br#"{"type":"ping","id":1}"# {
        peer.says([*byte]);
    }
    peer.says("\r\n\n \r\n{\"type\":\"ping\",\"id\":2}\nno JSON\n{\"type\":\"ping\"");
    peer.says(",\"id\":3}\n{\"type\":\"pong\",\"id\":4}\n");
    for (kind, rest) in [("ok", "\"id\":1"), ("ok", "\"id\":2"), ("error", "bad_json"), ("ok", "\"id\":3")] {
        let answer = peer.hears();
        assert!(answer.starts_with(&format!(r#"{{"type":"{kind}""#)) && answer.contains(rest), "{answer}");
    }
    assert!(peer.hears().contains("unknown_type"));
}

#[test]
fn a_line_that_never_ends_is_answered_once_and_costs_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_without_rates(dir.path());
    let mut peer = ModernPeer::connect(server.address);
    peer.hears_hello();
    let before = server.memory();
    for _ in 0..4000 {
        peer.says([b'x'; MAX_GUEST_LINE]);
    }
    peer.says("\n{\"type\":\"ping\",\"id\":1}\n");
    let (refusal, answer) = (peer.hears(), peer.hears());
    assert!(refusal.contains("line_too_long") && !refusal.contains("\"id\""), "{refusal}");
    assert!(answer.contains("\"id\":1"), "{answer}");
    assert!(server.memory() < before + 16 * 1024 * 1024);
}

#[test]
fn a_server_of_the_modern_wire_alone_says_so_to_others_in_their_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--no-legacy"]);
    let mut silent = server.connect();
    let mut hasty = server.connect();
    for _ in 0..50 {
        hasty.says("CMD::/login god godpw");
    }
    for peer in [&mut silent, &mut hasty] {
        assert_eq!(peer.hears(), "This server takes modern clients only.");
        assert_eq!(peer.hears_or_end(), None);
    }
    ModernPeer::connect(server.address).hears_hello();
    drop(server);
    let server = Server::start(dir.path());
    Peer::connect(server.address).asks("/list", "You must /login first.");
}
