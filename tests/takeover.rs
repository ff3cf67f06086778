//! A folder that the Python server left is served at once, and loses its weak hashes.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::fs;
use std::path::Path;

use common::Server;
use common::programs::{python, script};
use secure_chat::crypto::FernetKey;

const ARGUMENTS: [&str; 6] =
    ["--users", "alice:secret,bob:pw2,Bob:pw3", "--rooms", "lobby:pw,den:pw", "--god-password", "godpw"];

fn left_by_python(python: &Path, dir: &Path, clock_skew: &str) {
    let mut command = script(python, "legacy_server.py");
    command.arg("--make-database").arg(dir).args(ARGUMENTS).args(["--clock-skew", clock_skew]);
    assert!(command.output().unwrap().status.success());
}

/// Everything that the key opens in database.enc and its journal, as text.
fn plain(dir: &Path) -> String {
    let key = FernetKey::parse(&fs::read_to_string(dir.join("db_key.bin")).unwrap()).unwrap();
    let mut text = String::new();
    for file in ["database.enc", "database.journal"] {
        let Ok(tokens) = fs::read_to_string(dir.join(file)) else { continue };
        for token in tokens.lines() {
            text.push_str(std::str::from_utf8(&key.open(token).unwrap()).unwrap());
            text.push('\n');
        }
    }
    text
}

#[test]
fn every_account_and_room_is_served_at_once_and_in_order() {
    let Some(python) = python() else { return };
    // The clocks of the two servers may be an hour apart, either way.
    for skew in ["0", "3600", "-3600"] {
        let dir = tempfile::tempdir().unwrap();
        left_by_python(&python, dir.path(), skew);
        let original = fs::read(dir.path().join("database.enc")).unwrap();
        let server = Server::start(dir.path());
        let mut peer = server.connect();
        for (user, password) in [("alice", "secret"), ("bob", "pw2"), ("Bob", "pw3"), ("god", "godpw")] {
            peer.asks(&format!("/login {user} wrong"), "Login failed. Invalid username or password.");
            peer.asks(&format!("/login {user} {password}"), &format!("Login successful. Welcome, {user}!"));
        }
        peer.asks("/list", "Available rooms: lobby, den");
        peer.asks("/login alice secret", "Login successful. Welcome, alice!");
        peer.asks("/join den pw", "alice joined the chat!");
        assert_eq!(fs::read(dir.path().join("database.enc.python")).unwrap(), original, "the backup is the original");
        server.wait_for_log("conversion finished");
        assert!(server.log().contains("database.enc.python"), "the log says where the backup is");
        let realm = server.realm.clone();
        assert_eq!(server.stop(), 0);
        // And once more, from what the take-over wrote.
        let server = Server::start(dir.path());
        assert_eq!(server.realm, realm);
        server.connect().asks("/login bob pw2", "Login successful. Welcome, bob!");
    }
}

#[test]
fn who_has_logged_in_has_no_single_round_hash_any_more_and_in_the_end_nobody_has() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let many: Vec<String> = (0..60).map(|i| format!("user{i}:pw{i}")).collect();
    let mut command = script(&python, "legacy_server.py");
    command.arg("--make-database").arg(dir.path()).args([
        "--users",
        &many.join(","),
        "--rooms",
        "lobby:plain-room-password",
    ]);
    assert!(command.output().unwrap().status.success());
    let server = Server::start(dir.path());
    let mut peer = server.connect();
    peer.asks("/login user59 pw59", "Login successful. Welcome, user59!");
    // The last of them would be converted last: while others still wait, this one is done.
    let mine = |text: &str| {
        text.lines().any(|line| {
            line.split("\"user59\"").skip(1).any(|rest| {
                rest.trim_start_matches([':', ' ', '{']).contains("legacy") && {
                    let own: String = rest.chars().take_while(|c| *c != '}').collect();
                    own.contains("legacy-sha256") || own.contains("pass_hash")
                }
            })
        })
    };
    assert!(!mine(&plain(dir.path())), "{}", plain(dir.path()));
    server.wait_for_log("conversion finished");
    let text = plain(dir.path());
    for weak in ["$legacy-sha256", "$legacy-plain", "pass_hash", "plain-room-password"] {
        assert!(!text.contains(weak), "{weak} in {text}");
    }
    let mut peer = server.connect();
    peer.asks("/login user7 pw7", "Login successful. Welcome, user7!");
    peer.asks("/join lobby plain-room-password", "user7 joined the chat!");
}
