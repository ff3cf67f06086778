//! However the network cuts the bytes, and wherever records end, the messages are the same.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use common::{Peer, Server};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Passes bytes on in pieces of random sizes, in both directions; for any number of connections.
fn proxy(server: SocketAddr, seed: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (client, number) in listener.incoming().map_while(Result::ok).zip(0..) {
            let server = TcpStream::connect(server).unwrap();
            for (from, to, way) in [(&client, &server, 0), (&server, &client, 1)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                to.set_nodelay(true).unwrap();
                std::thread::spawn(move || pass_on(from, to, SmallRng::seed_from_u64(seed + number * 2 + way)));
            }
        }
    });
    address
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, mut random: SmallRng) {
    let mut buffer = [0; 3000];
    loop {
        // Mostly a few bytes, which cut records and their headers; sometimes many, which join several.
        let most = if random.random_ratio(1, 4) { buffer.len() } else { random.random_range(1..400) };
        match from.read(&mut buffer[..most]) {
            Ok(len @ 1..) if to.write_all(&buffer[..len]).is_ok() => {}
            _ => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn any_chunking_and_any_record_boundaries_give_the_same_messages() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.user("maker").asks("/create lobby pw", "Room 'lobby' created.");
    for name in ["alice", "bob"] {
        drop(server.user(name));
    }
    for seed in 0..8 {
        let proxy = proxy(server.address, seed * 100);
        let mut random = SmallRng::seed_from_u64(seed);
        let mut alice = Peer::connect(proxy);
        let mut bob = Peer::connect(proxy);
        for (peer, name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
            peer.asks(&format!("/login {name} pw"), &format!("Login successful. Welcome, {name}!"));
            peer.asks("/join lobby pw", &format!("{name} joined the chat!"));
        }
        assert_eq!(alice.hears(), "bob joined the chat!");
        for number in 0..30 {
            // From a fraction of a record to several: the entries of others make it long.
            let others = random.random_range(0..150);
            let entries: String = (0..others).map(|i| format!(r#""m{i}":"{}","#, "x".repeat(344))).collect();
            let package = format!(
                r#"{{"encrypted_message":"t{number}","encrypted_keys":{{{entries}"bob":"Qg=="}},"room":"lobby"}}"#
            );
            if package.len() % 16_384 == 0 {
                continue; // such a length cannot be told from an unfinished message
            }
            alice.says(&package);
            let for_bob = r#"{"encrypted_message":"tN","encrypted_keys":{"bob":"Qg=="},"room":"lobby"}"#;
            assert_eq!(bob.hears(), for_bob.replace("tN", &format!("t{number}")), "seed {seed}");
        }
        alice.has_heard_nothing();
        bob.close();
        assert_eq!(alice.hears(), "bob left the chat.");
    }
}
