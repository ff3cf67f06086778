//! A silent, slow or malicious peer harms nobody else. Each test is named after what it prevents.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use common::couple::LegacyCouple as Couple;
use common::{Server, public_key};
use std::io::{Read, Write};
use std::net::TcpStream;

const GROWTH: usize = 64 * 1024 * 1024;

#[test]
fn silence_and_half_handshakes_hold_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = Couple::new(&server);
    let before = server.memory();
    let silent: Vec<_> = (0..50).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let mut half = TcpStream::connect(server.address).unwrap();
    half.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap(); // the first bytes of a ClientHello
    couple.still_talk();
    drop(server.connect()); // and a newcomer is let in
    couple.still_talk();
    assert!(server.memory() < before + GROWTH);
    drop((silent, half));
    couple.still_talk();
    server.has_not_panicked();
}

#[test]
fn garbage_on_the_port_ends_that_connection_alone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = Couple::new(&server);
    for seed in 0u8..20 {
        let mut socket = TcpStream::connect(server.address).unwrap();
        let garbage: Vec<u8> = (0..2000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed).collect();
        let _ = socket.write_all(&garbage);
        socket.set_read_timeout(Some(common::PATIENCE)).unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest); // an alert or nothing, and then the end
        couple.still_talk();
    }
    server.has_not_panicked();
}

#[test]
fn a_handshake_that_is_broken_off_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = Couple::new(&server);
    for _ in 0..200 {
        drop(TcpStream::connect(server.address).unwrap());
    }
    couple.still_talk();
    server.has_not_panicked();
}

#[test]
fn a_member_who_never_reads_blocks_no_room_and_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_without_rates(dir.path());
    let mut couple = Couple::new(&server);
    let mut stuck = server.user("stuck");
    stuck.asks("/join lobby pw", "stuck joined the chat!");
    couple.alice.hears_until("stuck joined the chat!");
    let before = server.memory();
    let message =
        format!(r#"{{"encrypted_message":"{}","encrypted_keys":{{"bob":"Qg=="}},"room":"lobby"}}"#, "t".repeat(3900));
    let mut sent = 0;
    // Until the stuck member's outbox is full: what the kernel holds for it, and then the server's bound.
    let mut dropped = false;
    while !dropped {
        couple.alice.says(&message);
        dropped = couple.bob.hears_until(&message).contains(&"stuck left the chat.".to_owned());
        sent += 1;
        assert!(sent < 20_000, "still there after {sent} messages");
    }
    assert!(server.memory() < before + GROWTH);
    assert!(server.log().contains("does not read"), "{}", server.log());
    couple.still_talk();
    server.has_not_panicked();
}

#[test]
fn a_message_without_an_end_is_bounded_and_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_without_rates(dir.path());
    let mut couple = Couple::new(&server);
    let before = server.memory();
    let mut endless = server.connect();
    endless.says(vec![b'{'; 16 * 1024 * 13]); // 200 KB in full records: unfinished
    couple.still_talk();
    for _ in 0..200 {
        endless.says(vec![b'{'; 16 * 1024 * 8]);
    }
    couple.still_talk();
    endless.says("}");
    assert_eq!(endless.hears(), "Error: message too long.");
    endless.asks("/list", "You must /login first."); // nothing else is lost
    assert!(server.memory() < before + GROWTH);
    server.has_not_panicked();
}

/// A package with so many entries, none of which is for anyone there.
fn crowded(entries: usize) -> String {
    let entries: Vec<String> = (0..entries).map(|i| format!("\"{i:x}\":\"\"")).collect();
    format!(r#"{{"encrypted_message":"t","encrypted_keys":{{{}}},"room":"lobby"}}"#, entries.join(","))
}

#[test]
fn large_packages_of_strangers_fill_no_memory_and_delay_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_without_rates(dir.path());
    let mut couple = Couple::new(&server);
    let before = server.memory();
    let strangers: Vec<_> = (0..30)
        .map(|i| {
            let (peer, message) = (server.connect(), crowded(if i % 2 == 0 { 80_000 } else { 4000 }));
            std::thread::spawn(move || {
                (0..20).for_each(|_| peer.says(&message));
                peer
            })
        })
        .collect();
    couple.still_talk();
    let peers: Vec<_> = strangers.into_iter().map(|stranger| stranger.join().unwrap()).collect();
    couple.still_talk();
    assert!(server.memory() < before + GROWTH);
    drop(peers);
    server.has_not_panicked();
}

#[test]
fn endless_names_and_endless_keys_cost_the_others_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = Couple::new(&server);
    let guests: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for guest in &guests {
        guest.says(format!("CMD::/register {} pw", "ö".repeat(4_000)));
    }
    couple.still_talk();
    for mut guest in guests {
        assert_eq!(guest.hears(), "Registration failed: a name has at most 32 characters.");
    }
    // A session that changes its key again and again is stopped before the disk is full.
    let keys = [public_key("alice"), public_key("bob")];
    for key in keys.iter().cycle().take(40) {
        couple.bob.says(format!("PUBKEY::bob::{key}"));
    }
    // Sixteen are taken. Of the other 24, half are the one that was taken last.
    for _ in 0..12 {
        let refusal = couple.bob.hears();
        assert!(refusal.contains("one of too many"), "{refusal}");
    }
    couple.bob.has_heard_nothing();
    assert!(std::fs::read(dir.path().join("public_keys.log")).unwrap().len() < 64 * 1024);
}

/// A peer that says much and reads late gets everything: whoever fills the socket, somebody drains it.
#[test]
fn answers_to_an_impatient_peer_are_all_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_without_rates(dir.path());
    for _ in 0..5 {
        let mut peer = server.connect();
        (0..20_000).for_each(|_| peer.stream.queue(b"x"));
        peer.stream.drain().unwrap();
        for i in 0..20_000 {
            assert_eq!(peer.hears(), "You must /join a room to chat.", "answer {i}");
        }
    }
}

#[test]
fn nested_json_and_a_megabyte_of_password_overflow_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = Couple::new(&server);
    for open in ["[", "{\"a\":", "[{\"room\":"] {
        couple.alice.says(open.repeat(30_000) + "x");
        assert_eq!(couple.alice.hears(), "Invalid message format.");
    }
    let mut other = server.connect();
    other.asks(&format!("/login alice {}", "p".repeat(8_001)), "Login failed. Invalid username or password.");
    other.asks(&format!("/login alice {}", "p".repeat(900_001)), "Error: message too long.");
    couple.bob.asks(&format!("/login alice {}", "p".repeat(900_001)), "Login failed. Invalid username or password.");
    let deep_name = "r".repeat(500_001);
    couple.alice.says(format!("CMD::/join {deep_name} pw"));
    assert!(couple.alice.hears().len() <= 4096);
    couple.still_talk();
    server.has_not_panicked();
}

#[test]
fn nobody_speaks_or_announces_a_key_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = Couple::new(&server);
    let mut guest = server.connect();
    guest.says(format!("PUBKEY::alice::{}", public_key("bob")));
    guest.says(r#"{"encrypted_message":"t","encrypted_keys":{},"room":"lobby"}"#);
    assert_eq!(guest.hears(), "You must /join a room to chat.");
    couple.bob.says(format!("PUBKEY::alice::{}", public_key("bob")));
    couple.bob.has_heard_nothing();
    couple.alice.has_heard_nothing();
    couple.bob.says(format!("PUBKEY::bob::{}", public_key("rsa-1024")));
    let refusal = couple.bob.hears();
    assert!(refusal.contains("2048 to 4096 bits"), "{refusal}");
    couple.bob.says("PUBKEY::bob::nonsense");
    assert!(couple.bob.hears().contains("not an RSA key"));
    couple.alice.has_heard_nothing();
}

#[test]
fn guessing_is_slowed_down_and_locks_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = Couple::new(&server);
    let mut guesser = server.connect();
    let mut replies = Vec::new();
    for i in 0..60 {
        guesser.says(format!("CMD::/login nobody guess{i}"));
        replies.push(guesser.hears());
    }
    assert!(replies.iter().any(|reply| reply.starts_with("Too many wrong passwords or tokens.")), "{replies:?}");
    // Who has logged in from here before is not locked out, neither of the account nor of a room.
    couple.alice.asks("/login alice pw", "Login successful. Welcome, alice!");
    couple.alice.asks("/join lobby pw", "alice joined the chat!");
    couple.bob.hears_until("alice joined the chat!");
    couple.still_talk();
}

#[test]
fn no_secret_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--log", "trace"]);
    let mut peer = server.connect();
    peer.asks("/register carol canary-one", "Registration successful for carol. You may now /login.");
    peer.asks("/login carol canary-two", "Login failed. Invalid username or password.");
    peer.asks("/login carol canary-one", "Login successful. Welcome, carol!");
    peer.asks("/create cage canary-three", "Room 'cage' created.");
    peer.asks("/join cage canary-three", "carol joined the chat!");
    peer.says(r#"{"encrypted_message":"canary-four","encrypted_keys":{"carol":"canary-five"},"room":"cage"}"#);
    peer.has_heard_nothing();
    peer.close();
    server.wait_for_log("disconnected");
    assert!(!server.log().contains("canary"), "{}", server.log());
    assert!(!server.log().contains(common::GOD), "{}", server.log());
}
