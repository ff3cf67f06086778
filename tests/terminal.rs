//! Both programs in a real terminal, as a person sees them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::path::Path;

use common::terminal::Screen;
use common::{Friend, Server};
use portable_pty::CommandBuilder;

fn room(server: &Server) -> Friend {
    server.user("maker").asks("/create lobby pw", "Room 'lobby' created.");
    Friend::join(server, "bob", "lobby")
}

fn alice(server: &Server, home: &Path) -> Screen {
    server.connect().asks("/register alice s3cret", "Registration successful for alice. You may now /login.");
    let screen = Screen::client(&server.address.to_string(), &home.join("identity"), &[]);
    screen.types("/login alice\r");
    screen.edits("Password:");
    screen.types("s3cret");
    screen.edits("Password: ******");
    screen.types("\r");
    screen.shows("You are logged in as alice.");
    screen.edits("> ");
    screen.enters("/join lobby pw", "You are in lobby.");
    screen
}

#[test]
fn the_server_asks_for_gods_password_hidden_and_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_chat-server"));
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(dir.path());
    let screen = Screen::start(command);
    screen.shows("Password for god:");
    screen.types("s3cret\r");
    screen.shows("The same again:");
    screen.types("other\r");
    screen.shows("The two differ");
    screen.types("s3cret\r");
    common::wait_until("asked again", || screen.text().matches("The same again:").count() == 2);
    screen.types("s3cret\r");
    screen.shows("Key fingerprint SHA256:");
    assert!(!screen.raw().contains("s3cret"), "{}", screen.raw());
}

#[test]
fn a_line_that_is_being_typed_survives_messages_that_come_in() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut bob = room(&server);
    let screen = alice(&server, dir.path());
    let key = bob.hears_key("alice");
    screen.types("half a li");
    screen.edits("> half a li");
    bob.says_to("lobby", "alice", &key, "bob: hello in between");
    screen.shows("bob (unsigned, legacy): hello in between");
    screen.edits("> half a li");
    screen.types("ne\r");
    assert_eq!(bob.reads(), "alice: half a line");
}

#[test]
fn lines_that_come_at_once_are_all_taken_and_pasted_ones_are_lines() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut bob = room(&server);
    let screen = alice(&server, dir.path());
    bob.hears_key("alice");
    screen.types("one\rtwo\rthree\r");
    assert_eq!([bob.reads(), bob.reads(), bob.reads()], ["alice: one", "alice: two", "alice: three"]);
    screen.types("\x1b[200~four\n/join lobby pw\nfi\x16ve\x1b[201~\r");
    assert_eq!([bob.reads(), bob.reads()], ["alice: four", "alice: five"]);
}

#[test]
fn no_key_brings_a_masked_password_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let screen = Screen::client(&server.address.to_string(), &dir.path().join("identity"), &[]);
    screen.types("/login alice\r");
    screen.edits("Password:");
    screen.types("hunter2\x12hunter2\x15");
    screen.edits("Password: **************"); // neither a search nor a deletion that could be undone
    screen.types("\r");
    screen.shows("-- Invalid user name or password");
    screen.edits("> ");
    screen.types("\x19x");
    screen.edits("> x");
    assert!(!screen.raw().contains("hunter2"), "{}", screen.raw());
}

#[test]
fn no_password_is_shown_or_kept_in_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let _bob = room(&server);
    let screen = alice(&server, dir.path());
    assert!(!screen.raw().contains("s3cret"), "{}", screen.raw());
    screen.enters("/room passwd new-s3cret", "Not done: ");
    screen.enters("/passwd s3cret new-s3cret", "Your password is changed.");
    screen.types("\x1b[A"); // up
    screen.edits("> /passwd");
    screen.types("\x1b[A");
    screen.edits("> /room passwd");
    screen.types("\x1b[A");
    screen.edits("> /join lobby");
    screen.types("\x1b[A");
    screen.edits("> /login alice");
}

#[test]
fn nothing_that_a_peer_sends_brings_a_control_character_to_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut bob = room(&server);
    let screen = alice(&server, dir.path());
    let key = bob.hears_key("alice");
    bob.says_to("lobby", "alice", &key, "bob: \x1b]0;owned\x07ti\u{9b}2Jtle\x1b[2J\u{202e}back\r\nbob: two");
    screen.shows("bob (unsigned, legacy): ]0;ownedti2Jtle[2Jback bob: two");
    for evil in ["\x1b]0;owned", "\x07", "\u{9b}", "\u{202e}", "\x1b[2J"] {
        assert!(!screen.raw().contains(evil), "{evil:?} reached the terminal");
    }
}

#[test]
fn quitting_and_signals_leave_the_terminal_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    // A shell shows the terminal's settings before and after.
    let script = format!(
        "before=$(stty -g); '{}' {} --identity '{}'; code=$?; [ \"$before\" = \"$(stty -g)\" ] && echo same-$code || echo different",
        env!("CARGO_BIN_EXE_chat-client"),
        server.address,
        dir.path().join("identity").display()
    );
    let start = || {
        let mut command = CommandBuilder::new("sh");
        command.args(["-c", &script]);
        let screen = Screen::start(command);
        screen.edits("> ");
        screen
    };
    for leave in ["/quit\r", "EXIT\r", "\x03", "\x04"] {
        let screen = start();
        screen.types(leave);
        screen.shows("same-0");
    }
    let screen = start();
    screen.types("half a li");
    screen.edits("> half a li");
    let mut pkill = std::process::Command::new("pkill");
    let shell = screen.child.process_id().unwrap().to_string();
    assert!(pkill.args(["-TERM", "-P", &shell]).status().unwrap().success());
    screen.shows("same-0");
    // And when another server takes the place of the known one.
    let screen = start();
    let (address, other) = (server.address.to_string(), tempfile::tempdir().unwrap());
    assert_eq!(server.stop(), 0);
    screen.shows("-- The server is shutting down");
    let _other = Server::start_with(other.path(), &["--listen", &address]);
    screen.shows("IS ANOTHER SERVER");
    screen.shows("same-4");
}
