//! Many who come and go at once, at every stage and in every manner, at the real server. It ends in order, and nobody's leave is lost.
//!
//! It is a load for ThreadSanitizer, too: CONTRIBUTING.md has the command. `CHAT_CHURN_ROUNDS` makes it longer.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use common::{PATIENCE, Peer, Server};

const PEOPLE: usize = 6;

/// Connects with patience for a server that is watched at every step.
fn connect(address: SocketAddr) -> Peer {
    let peer = Peer::connect(address);
    peer.stream.set_patience(Some(PATIENCE * 20)).unwrap();
    peer
}

/// Connects and logs in as somebody new.
fn register(address: SocketAddr, user: &str) -> Peer {
    let mut peer = connect(address);
    peer.asks(&format!("/register {user} pw"), &format!("Registration successful for {user}. You may now /login."));
    peer.asks(&format!("/login {user} pw"), &format!("Login successful. Welcome, {user}!"));
    peer
}

fn name(number: usize) -> String {
    format!("user{number}")
}

/// Comes, and goes in one of many manners.
fn visit(address: SocketAddr, user: &str, manner: usize) {
    match manner {
        0 => drop(TcpStream::connect(address).unwrap()),
        // The beginning of a handshake.
        1 => TcpStream::connect(address).unwrap().write_all(&[22, 3, 1, 2, 0, 1, 0]).unwrap(),
        2 => drop(connect(address)),
        3 => connect(address).says(format!("CMD::/login {user} pw")),
        manner => {
            let mut peer = connect(address);
            peer.says(format!("CMD::/login {user} pw"));
            peer.says("CMD::/join den pw");
            let chats = if manner == 4 { 0 } else { 40 };
            for _ in 0..chats {
                peer.says(r#"{"encrypted_message":"token","encrypted_keys":{},"room":"den"}"#);
            }
            match manner {
                4 | 5 => {} // nothing is read: the connection is reset
                6 => peer.close(),
                _ => {
                    peer.hears_until(&format!("{user} joined the chat!"));
                    peer.close();
                }
            }
        }
    }
}

/// Hears who comes and goes, until the last has come and everybody else has gone.
fn witness(mut peer: Peer, last: &str) {
    let mut there: HashMap<String, i32> = HashMap::new();
    let mut last_came = false;
    while !last_came || there.values().any(|times| *times != 0) {
        let heard = peer.hears(); // a leave that is lost is waited for in vain
        if let Some(user) = heard.strip_suffix(" joined the chat!") {
            last_came |= user == last;
            *there.entry(user.to_owned()).or_default() += i32::from(user != last);
        } else if let Some(user) = heard.strip_suffix(" left the chat.") {
            *there.entry(user.to_owned()).or_default() -= 1;
        }
    }
}

#[test]
fn all_who_came_are_seen_to_go_and_the_server_ends_in_order() {
    let rounds = std::env::var("CHAT_CHURN_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let address = server.address;
    let mut owner = register(address, "owner");
    owner.asks("/create den pw", "Room 'den' created.");
    (0..=PEOPLE).for_each(|number| register(address, &name(number)).close());
    owner.asks("/join den pw", "owner joined the chat!");
    let watching = thread::spawn(move || witness(owner, &name(PEOPLE)));

    let visitors = (0..PEOPLE).map(|number| {
        thread::spawn(move || (0..rounds * 8).for_each(|round| visit(address, &name(number), (number + round) % 8)))
    });
    visitors.collect::<Vec<_>>().into_iter().for_each(|visitor| visitor.join().unwrap());

    let mut last = connect(address);
    last.asks(&format!("/login {} pw", name(PEOPLE)), &format!("Login successful. Welcome, {}!", name(PEOPLE)));
    last.says("CMD::/join den pw");
    last.hears_until(&format!("{} joined the chat!", name(PEOPLE)));
    watching.join().unwrap();
    assert!(!server.log().contains("ThreadSanitizer"), "{}", server.log());
    if std::env::var_os("TSAN_OPTIONS").is_some() {
        return; // it keeps signals from a thread that waits for another: the server would not hear that it is to end
    }
    let log = server.log.clone();
    assert_eq!(server.stop(), 0, "{}", std::fs::read_to_string(log).unwrap());
    last.hears_until("The server is shutting down.");
}
