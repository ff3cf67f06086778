//! What was acknowledged survives SIGKILL; what is damaged is refused and not touched.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::fs;
use std::time::Duration;

use common::{Peer, Server};

/// How often the server is killed: `CRASHES=1000` for more.
fn kills() -> u32 {
    std::env::var("CRASHES").ok().and_then(|n| n.parse().ok()).unwrap_or(100)
}

/// Registers accounts until the connection dies; those that were acknowledged.
fn register_until_killed(mut peer: Peer, round: u32) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for i in 0.. {
        let name = format!("u{round}_{i}");
        peer.says(format!("CMD::/register {name} pw"));
        match peer.hears_or_end() {
            Some(reply) if reply.starts_with("Registration successful") => acknowledged.push(name),
            Some(reply) => panic!("{reply}"),
            None => break,
        }
    }
    acknowledged
}

#[test]
fn no_acknowledged_account_is_lost_when_the_server_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    let mut realm = None;
    for round in 0..kills() {
        let server = Server::start(dir.path()); // the database opens
        assert_eq!(realm.get_or_insert_with(|| server.realm.clone()), &server.realm);
        let peers: Vec<_> = (0..3).map(|_| server.connect()).collect();
        let registering: Vec<_> = peers
            .into_iter()
            .enumerate()
            .map(|(i, peer)| std::thread::spawn(move || register_until_killed(peer, round * 10 + i as u32)))
            .collect();
        // The moment is random; a registration takes a tenth of a second.
        std::thread::sleep(Duration::from_millis(rand::random_range(0..400)));
        server.signal("KILL");
        for thread in registering {
            acknowledged.extend(thread.join().unwrap());
        }
    }
    let server = Server::start(dir.path());
    assert_eq!(realm, Some(server.realm.clone()));
    let mut peer = server.connect();
    for name in &acknowledged {
        peer.asks(&format!("/register {name} other"), "Registration failed: User already exists.");
    }
    assert!(!acknowledged.is_empty());
    println!("{} kills, {} accounts acknowledged, none lost", kills(), acknowledged.len());
    let last = acknowledged.last().unwrap();
    peer.asks(&format!("/login {last} pw"), &format!("Login successful. Welcome, {last}!"));
}

#[test]
fn a_damaged_database_is_refused_with_a_clear_error_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    drop(server.user("alice"));
    assert_eq!(server.stop(), 0);
    let path = dir.path().join("database.enc");
    let good = fs::read(&path).unwrap();
    for place in [0, 1, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[place] ^= 0x04;
        fs::write(&path, &bad).unwrap();
        let Err(log) = Server::try_start(dir.path(), &[]) else { panic!("byte {place} went unnoticed") };
        assert!(log.contains("exit status: 1") && log.contains("database.enc"), "{log}");
        assert_eq!(fs::read(&path).unwrap(), bad, "the file was touched");
    }
    fs::write(&path, &good).unwrap();
    Server::start(dir.path()).connect().asks("/login alice pw", "Login successful. Welcome, alice!");
}

#[test]
fn a_second_server_is_kept_out_of_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let first = Server::start(dir.path());
    let Err(log) = Server::try_start(dir.path(), &[]) else { panic!("two servers in one folder") };
    assert!(log.contains("database.lock"), "{log}");
    first.connect().asks("/list", "You must /login first.");
}
