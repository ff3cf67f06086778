//! What was acknowledged survives SIGKILL; what is damaged is refused and not touched.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::fs;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use common::modern::ModernPeer;
use common::{Peer, Server};

/// One account makes all rooms, and all that was made is asked for in a row.
const WITHOUT_LIMITS: [&str; 3] = ["--no-rate-limits", "--max-rooms-per-user", "1000000"];

/// How often the server is killed: `CRASHES=1000` for more.
fn kills() -> u32 {
    std::env::var("CRASHES").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

/// Makes names of these until the connection dies; those whose making was acknowledged.
fn make_until_killed(mut peer: Peer, command: &str, names: &str, acknowledged: &str, done: &Sender<()>) -> Vec<String> {
    let mut made = Vec::new();
    for i in 0.. {
        let name = format!("{names}_{i}");
        peer.says(format!("CMD::/{command} {name} pw"));
        match peer.hears_or_end() {
            Some(reply) if reply.contains(acknowledged) => made.push(name),
            Some(reply) => panic!("{reply}"),
            None => break,
        }
        let _ = done.send(()); // who waits for it may have heard enough
    }
    made
}

/// The passwords of an account that are possible: the one that was acknowledged last, and one that was asked for since.
#[derive(Clone)]
struct Passwords {
    acknowledged: String,
    asked: Option<String>,
}

/// A password that opens the account; which one it is, is known from now on.
fn log_in(peer: &mut ModernPeer, passwords: Passwords) -> String {
    for password in [Some(passwords.acknowledged.clone()), passwords.asked.clone()].into_iter().flatten() {
        peer.says(format!("{{\"type\":\"login\",\"id\":1,\"user\":\"changer\",\"password\":\"{password}\"}}\n"));
        if peer.hears().contains("\"type\":\"ok\"") {
            return password;
        }
    }
    panic!("a password that was acknowledged is lost");
}

/// Changes the password until the connection dies; how often that was acknowledged.
fn change_until_killed(mut peer: ModernPeer, old: String, done: &Sender<()>) -> (Passwords, usize) {
    let mut passwords = Passwords { acknowledged: old, asked: None };
    for changed in 0.. {
        let (old, new) = (&passwords.acknowledged, format!("pw{:x}", rand::random::<u64>()));
        peer.says(format!("{{\"type\":\"passwd\",\"id\":2,\"old\":\"{old}\",\"new\":\"{new}\"}}\n"));
        passwords.asked = Some(new.clone());
        match peer.hears_or_end() {
            Some(reply) if reply.contains("\"type\":\"ok\"") => {
                passwords = Passwords { acknowledged: new, asked: None }
            }
            Some(reply) => panic!("{reply}"),
            None => return (passwords, changed),
        }
        let _ = done.send(());
    }
    unreachable!("it goes on until it is killed")
}

#[test]
fn no_acknowledged_change_is_lost_when_the_server_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let realm = server.realm.clone();
    drop(server.user("maker"));
    drop(server.user("changer"));
    drop(server);
    let (mut accounts, mut rooms, mut changes) = (Vec::new(), Vec::new(), 0);
    let mut passwords = Passwords { acknowledged: "pw".to_owned(), asked: None };
    for round in 0..kills() {
        let server = Server::start_with(dir.path(), &WITHOUT_LIMITS); // the database opens
        assert_eq!(server.realm, realm);
        let mut changer = ModernPeer::connect(server.address);
        changer.hears_hello();
        let password = log_in(&mut changer, passwords.clone());
        let (newcomer, mut maker) = (server.connect(), server.connect());
        maker.asks("/login maker pw", "Login successful. Welcome, maker!");
        let (done, acknowledgements) = channel();
        let [for_newcomer, for_maker, for_changer] = [done.clone(), done.clone(), done];
        let registering = thread::spawn(move || {
            make_until_killed(newcomer, "register", &format!("u{round}"), "Registration successful", &for_newcomer)
        });
        let creating =
            thread::spawn(move || make_until_killed(maker, "create", &format!("r{round}"), "created.", &for_maker));
        let changing = thread::spawn(move || change_until_killed(changer, password, &for_changer));
        // The moment is random, behind some acknowledgements; each of the three takes a tenth of a second and more.
        acknowledgements.iter().take(rand::random_range(0..6)).for_each(drop);
        thread::sleep(Duration::from_millis(rand::random_range(0..200)));
        server.signal("KILL");
        accounts.extend(registering.join().unwrap());
        rooms.extend(creating.join().unwrap());
        let changed;
        (passwords, changed) = changing.join().unwrap();
        changes += changed;
    }
    let server = Server::start_with(dir.path(), &WITHOUT_LIMITS);
    assert_eq!(server.realm, realm);
    let mut changer = ModernPeer::connect(server.address);
    changer.hears_hello();
    log_in(&mut changer, passwords);
    let mut peer = server.connect();
    for name in &accounts {
        peer.asks(&format!("/register {name} other"), "Registration failed: User already exists.");
    }
    peer.asks("/login maker pw", "Login successful. Welcome, maker!");
    for name in &rooms {
        peer.says(format!("CMD::/create {name} other"));
        let reply = peer.hears();
        assert!(reply.contains("already exists"), "{name}: {reply}");
    }
    assert!(!accounts.is_empty() && !rooms.is_empty() && changes > 0);
    println!(
        "{} kills; acknowledged: {} accounts, {} rooms, {changes} changed passwords; none lost, and the database always opened",
        kills(),
        accounts.len(),
        rooms.len()
    );
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
