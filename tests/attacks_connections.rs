//! What is done to the port before anybody has said who it is harms nobody who is there. Each test is named after what it prevents.
//! `ATTACKS=full` has the numbers that are too many for every day.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use common::couple::{LegacyCouple, ModernCouple};
use common::crowd::{self, Newcomer, dial, full};
use common::modern::ModernPeer;
use common::{PATIENCE, Peer, Server, trusting, wait_until};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use secure_chat::tls::MODERN;

const GROWTH: usize = 64 * 1024 * 1024;

/// The wires by what a client offers for them.
const WIRES: [&[&[u8]]; 2] = [&[], &[MODERN]];

/// A connection whose handshake is done, and nothing else.
fn handshake(server: SocketAddr, number: usize, offer: &[&[u8]]) -> (TcpStream, ClientConnection) {
    let mut config = ClientConfig::clone(&trusting());
    config.alpn_protocols = offer.iter().map(|word| word.to_vec()).collect();
    let mut socket = dial(server, number);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).unwrap();
    }
    (socket, tls)
}

/// Nothing is left of those who have gone: threads and descriptors are where they were.
fn assert_gone(server: &Server, before: [usize; 2], memory: usize) {
    wait_until("all threads and descriptors are given back", || {
        server.holds().iter().zip(before).all(|(now, before)| *now <= before)
    });
    assert!(server.memory() < memory + GROWTH);
    server.has_not_panicked();
}

#[test]
fn a_flood_of_handshakes_keeps_nobody_out_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = ModernCouple::new(&server);
    let (before, memory) = (server.holds(), server.memory());
    let (floods, each) = (4, full(5000, 150));
    let newcomer = Newcomer::default();
    std::thread::scope(|scope| {
        let flood = |number: usize| {
            let (address, newcomer) = (server.address, &newcomer);
            move || {
                for i in (0..).take_while(|i| *i < each || !newcomer.is_done()) {
                    let (mut socket, mut tls) = handshake(address, number * each + i, WIRES[i % 2]);
                    // All the way to a sign that it is served.
                    tls.writer().write_all(b"CMD::/nonsense\n").unwrap();
                    tls.complete_io(&mut socket).unwrap();
                    let mut first = [0];
                    rustls::Stream::new(&mut tls, &mut socket).read_exact(&mut first).unwrap();
                }
            }
        };
        let floods: Vec<_> = (0..floods).map(|number| scope.spawn(flood(number))).collect();
        let coming = scope.spawn(|| newcomer.comes(&server));
        while !floods.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            couple.talk();
        }
        coming.join().unwrap();
        floods.into_iter().for_each(|flood| flood.join().unwrap());
    });
    couple.still_talk();
    assert_gone(&server, before, memory);
}

/// The bytes of a ClientHello come one at a time, and others' messages in between: until the server has had enough.
#[test]
fn handshakes_that_come_byte_by_byte_are_cut_off_and_hold_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = LegacyCouple::new(&server);
    let (before, memory) = (server.holds(), server.memory());
    let mut slow: Vec<_> = (0..full(500, 100)).map(|number| dial(server.address, number)).collect();
    for byte in [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc] {
        slow.iter_mut().for_each(|socket| socket.write_all(&[byte]).unwrap());
        couple.still_talk();
    }
    for mut socket in slow {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        match socket.read(&mut [0; 64]) {
            Ok(_) => {} // an alert, or the end
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it was not cut off"),
        }
        couple.talk();
    }
    assert_gone(&server, before, memory);
}

#[test]
fn ten_thousand_resets_before_the_greeting_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = LegacyCouple::new(&server);
    let (before, memory) = (server.holds(), server.memory());
    for number in 0..10_000 {
        let mut socket = dial(server.address, number);
        if number % 3 == 1 {
            socket.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
        }
        crowd::reset(socket);
        if number % 500 == 0 {
            couple.still_talk();
        }
    }
    // TLS is up, and the server has not yet said a word that was heard.
    for number in 0..full(10_000, 200) {
        let (socket, _) = handshake(server.address, number, WIRES[number % 2]);
        crowd::reset(socket);
    }
    couple.still_talk();
    assert_gone(&server, before, memory);
}

/// The ciphertext of a message comes in segments of one byte.
fn dribble(server: &Server, offer: &[&[u8]], message: &[u8], mut meanwhile: impl FnMut()) -> String {
    let (mut socket, mut tls) = handshake(server.address, 0, offer);
    socket.set_nodelay(true).unwrap();
    tls.writer().write_all(message).unwrap();
    let mut ciphertext = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut ciphertext).unwrap();
    }
    for byte in ciphertext {
        socket.write_all(&[byte]).unwrap();
        meanwhile();
    }
    let mut heard = vec![0; 20_000];
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    let mut text = String::new();
    while !text.contains("Unknown command.") && !text.contains(r#""type":"ok""#) {
        let len = stream.read(&mut heard).unwrap();
        assert!(len > 0, "the server closed the connection");
        text.push_str(str::from_utf8(heard.get(..len).unwrap()).unwrap());
    }
    text
}

#[test]
fn records_that_come_byte_by_byte_hold_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = LegacyCouple::new(&server);
    assert_eq!(dribble(&server, &[], b"CMD::/nonsense", || _ = couple.still_talk()), "Unknown command.");
    let ping = b"{\"type\":\"ping\",\"id\":7}\n";
    let heard = dribble(&server, &[MODERN], ping, || _ = couple.still_talk());
    assert!(heard.contains(r#"{"type":"ok","id":7,"#), "{heard}");
    server.has_not_panicked();
}

const MEBIBYTE: usize = 1024 * 1024;

#[test]
fn sixty_four_mebibytes_without_an_end_take_no_memory_on_the_legacy_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_without_rates(dir.path());
    let mut couple = LegacyCouple::new(&server);
    let memory = server.memory();
    let mut endless = Peer::connect(server.address);
    for _ in 0..64 {
        endless.says(vec![b'{'; MEBIBYTE]); // in full records: the message is not at its end
        couple.talk();
        assert!(server.memory() < memory + GROWTH);
    }
    endless.says("}");
    assert_eq!(endless.hears(), "Error: message too long.");
    endless.asks("/list", "You must /login first."); // nothing else is lost
    server.has_not_panicked();
}

#[test]
fn sixty_four_mebibytes_without_an_end_take_no_memory_on_the_modern_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_without_rates(dir.path());
    let mut couple = ModernCouple::new(&server);
    let memory = server.memory();
    let mut endless = ModernPeer::guest(server.address);
    for _ in 0..64 {
        endless.says(vec![b'"'; MEBIBYTE]);
        couple.talk();
        assert!(server.memory() < memory + GROWTH);
    }
    endless.says("\n");
    endless.is_refused("line_too_long");
    endless.is_well();
    server.has_not_panicked();
}

/// Megabytes where a password is expected: on the wire, not in a hash.
#[test]
fn a_megabyte_as_a_password_is_refused_unhashed_on_the_modern_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = ModernCouple::new(&server);
    let megabyte = "p".repeat(MEBIBYTE);
    let hashes = |log: String| log.lines().rev().find_map(|line| line.split_once("hashes=")).map(|(_, n)| n.to_owned());
    let mut guest = ModernPeer::guest(server.address);
    for kind in ["login", "register"] {
        let line = format!("{{\"type\":\"{kind}\",\"id\":1,\"user\":\"alice\",\"password\":\"{megabyte}\"}}\n");
        guest.says(&line);
        guest.is_refused("line_too_long");
        couple.bob.client.peer.says(&line);
        couple.bob.client.peer.is_refused("line_too_long");
        couple.talk();
    }
    // As long as a line can be: no new password is so long, and an old one is looked at as any other.
    let longest = "p".repeat(16_000);
    guest.says(format!("{{\"type\":\"register\",\"id\":1,\"user\":\"carol\",\"password\":\"{longest}\"}}\n"));
    guest.is_refused("bad_password");
    guest.says(format!("{{\"type\":\"login\",\"id\":2,\"user\":\"alice\",\"password\":\"{longest}\"}}\n"));
    guest.is_refused("login_failed");
    guest.is_well();
    couple.still_talk();
    let log = server.log.clone();
    assert_eq!(server.stop(), 0);
    // Two registrations, two log-ins, a room and its password for one who did not make it known, and the one guess.
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(hashes(log), Some("7".to_owned()));
}

#[test]
fn keys_twice_and_a_million_keys_overflow_nothing_on_the_legacy_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_without_rates(dir.path());
    let mut couple = LegacyCouple::new(&server);
    let memory = server.memory();
    let keys = |count: usize| (0..count).map(|i| format!("\"{i:x}\":0,")).collect::<String>();
    let package = |more: &str| format!(r#"{{{more}"encrypted_message":"t","encrypted_keys":{{}},"room":"lobby"}}"#);
    for _ in 0..3 {
        couple.alice.says(package(&keys(1_000_000)));
        assert_eq!(couple.alice.hears(), "Error: message too long.");
        couple.alice.says(package(&keys(90_000))); // as many as a message holds, which nobody asked for: they are passed over
        for twice in [
            r#""encrypted_keys":{"bob":"x","bob":"y"},"room":"lobby""#,
            r#""encrypted_keys":{},"room":"attic","r\u006fom":"lobby""#,
        ] {
            couple.alice.says(format!(r#"{{"encrypted_message":"t",{twice}}}"#));
            assert_eq!(couple.alice.hears(), "Invalid message format.");
        }
        couple.talk();
    }
    assert!(server.memory() < memory + GROWTH);
    server.has_not_panicked();
}

/// They stay, and say nothing: the server does not mind, and the newcomer does not have to wait for any of them.
#[test]
fn those_who_say_nothing_after_their_handshake_hold_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = ModernCouple::new(&server);
    let silent: Vec<_> =
        (0..full(2000, 200)).map(|number| handshake(server.address, number, WIRES[number % 2])).collect();
    couple.still_talk();
    ModernPeer::guest(server.address).is_well();
    let begun = std::time::Instant::now();
    server.connect().asks("/list", "You must /login first.");
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(silent);
    couple.talk();
    server.has_not_panicked();
}
