//! Real Python peers, with a real OpenSSL underneath, in every pairing with our programs.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::Server;
use common::programs::{Program, python, script};

/// A client of either kind in a folder of its own.
fn python_client(python: &Path, port: u16, dir: &Path, name: &str) -> Program {
    let home = dir.join(name);
    fs::create_dir_all(&home).unwrap();
    let mut command = script(python, "legacy_client.py");
    Program::start(command.args(["--port", &port.to_string(), "--dir"]).arg(home))
}

fn our_client(port: u16, dir: &Path, name: &str) -> Program {
    let home = dir.join(name);
    fs::create_dir_all(&home).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-client"));
    command.args([&format!("127.0.0.1:{port}"), "--identity"]).arg(home);
    Program::start(&mut command)
}

/// A client of ours enters a room of our server, on the modern wire.
fn enter_modern(client: &Program, name: &str) {
    client.types(&format!("/register {name} secret"));
    client.types(&format!("/login {name} secret"));
    client.complains(&format!("You are logged in as {name}."));
    client.types("/join lobby pw");
    client.complains("You are in lobby.");
}

/// What a client shows of somebody who came, and before what somebody says.
fn came(client: &str, name: &str) -> String {
    match (client.starts_with('P'), name.starts_with('P')) {
        (true, _) => format!("{name} joined the chat!"),
        (false, true) => format!("{name} came, on the old wire, unsigned"),
        (false, false) => format!("{name} came"),
    }
}

fn said(client: &str, name: &str) -> String {
    match (client.starts_with('P'), name.starts_with('P')) {
        (true, _) => format!("{name}: hello from {name}"),
        (false, true) => format!("{name} (unsigned, legacy): hello from {name}"),
        (false, false) => format!("{name} (pinned): hello from {name}"),
    }
}

/// A Python client, or one of ours on a Python server, enters a room.
fn enter(client: &Program, name: &str) {
    client.types(&format!("/register {name} secret"));
    client.shows("Registration successful");
    client.types(&format!("/login {name} secret"));
    client.shows(&format!("Login successful. Welcome, {name}!"));
    client.types("/join lobby pw");
    client.shows(&format!("{name} joined the chat!"));
}

/// Everything that these clients said before is with the others: a server handles what one connection says in order, and a
/// client reads in order what it is sent.
fn settle(clients: &[&Program]) {
    for client in clients.iter().chain(clients) {
        client.types("/list");
        client.shows("Available rooms");
    }
}

fn swarm(python: &Path, port: u16, count: usize, prefix: &str) -> Program {
    let mut command = script(python, "peers.py");
    let swarm = Program::start(command.args([
        "swarm",
        "--port",
        &port.to_string(),
        "--count",
        &count.to_string(),
        "--room",
        "lobby",
        "--room-password",
        "pw",
        "--prefix",
        prefix,
        "--password",
        "secret",
    ]));
    swarm.shows("ready");
    swarm
}

/// A Python server in `dir`, with a certificate as the scripts' openssl line makes it, and its port.
fn python_server(python: &Path, dir: &Path) -> (Program, u16) {
    let (key, crt) = (dir.join("server.key"), dir.join("server.crt"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=chat", "-keyout"]);
    assert!(openssl.arg(key).arg("-out").arg(crt).output().unwrap().status.success());
    let mut command = script(python, "legacy_server.py");
    let server = Program::start(command.args(["--port", "0", "--god-password", "godpw", "--dir"]).arg(dir));
    let port = server.shows("listening on ").rsplit(' ').next().unwrap().parse().unwrap();
    (server, port)
}

/// Makes the room, through any server.
fn make_room(python: &Path, port: u16, dir: &Path) {
    let mut maker = python_client(python, port, dir, "maker");
    for line in ["/register maker secret", "/login maker secret", "/create lobby pw"] {
        maker.types(line);
    }
    maker.shows("Room 'lobby' created.");
    maker.exit_code();
}

#[test]
fn two_python_clients_and_two_of_ours_read_each_other_in_whatever_order_they_came() {
    let Some(python) = python() else { return };
    for order in
        [["P0", "O0", "P1", "O1"], ["O0", "O1", "P0", "P1"], ["P0", "P1", "O0", "O1"], ["O0", "P0", "O1", "P1"]]
    {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        let port = server.address.port();
        make_room(&python, port, dir.path());
        let mut clients: Vec<(&str, Program)> = Vec::new();
        for name in order {
            let client = if name.starts_with('P') {
                let client = python_client(&python, port, dir.path(), name);
                enter(&client, name);
                client
            } else {
                let client = our_client(port, dir.path(), name);
                enter_modern(&client, name);
                client
            };
            // Everyone who is there has seen the newcomer, and a Python client has its key, which came before the notice.
            for (other, client) in &clients {
                client.shows(&came(other, name));
            }
            clients.push((name, client));
        }
        for (sender, client) in &clients {
            client.types(&format!("hello from {sender}"));
            for (reader, client) in clients.iter().filter(|(name, _)| name != sender) {
                client.shows(&said(reader, sender));
            }
        }
    }
}

#[test]
fn forty_python_members_read_one_python_sender() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    make_room(&python, server.address.port(), dir.path());
    let swarm = swarm(&python, server.address.port(), 40, "m");
    swarm.types("await-keys 0 39"); // the sender has the keys of all others: its package takes some 15 KB
    swarm.shows("m0 keys 39");
    swarm.types("say 0 a word to all");
    // Each of the others gets it, in any order.
    let mut readers: Vec<String> = (1..40).map(|_| swarm.shows("got m0: a word to all")).collect();
    readers.sort();
    readers.dedup();
    assert_eq!(readers.len(), 39, "{readers:#?}");
    assert!(!server.log().contains("panicked"));
}

#[test]
fn in_a_python_servers_room_ours_read_each_other_and_every_python_client_that_has_their_key() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (_server, port) = python_server(&python, dir.path());
    make_room(&python, port, dir.path());
    let early = python_client(&python, port, dir.path(), "early");
    enter(&early, "early");
    let one = our_client(port, dir.path(), "one");
    enter(&one, "one");
    let late = python_client(&python, port, dir.path(), "late");
    enter(&late, "late");
    one.shows("late joined the chat!");
    let two = our_client(port, dir.path(), "two");
    enter(&two, "two");
    one.shows("two joined the chat!");
    settle(&[&early, &one, &late, &two]);
    // Ours read each other, whoever came first.
    two.types("hello from two");
    one.shows("two: hello from two");
    one.types("hello from one");
    two.shows("one: hello from one");
    // Python clients that have seen our key, and whose key we have seen, read us and are read.
    late.shows("one: hello from one");
    late.types("hello from late");
    one.shows("late: hello from late");
    two.shows("late: hello from late"); // `one` and `two` announced their keys again when they saw somebody join
    // The earlier Python member reads a later client of ours once it joins again.
    early.types("/join lobby pw");
    one.shows("early joined the chat!");
    settle(&[&early, &one]);
    one.types("again");
    early.shows("one: again");
    early.types("hello from early");
    one.shows("early: hello from early");
}

#[test]
fn thirty_python_members_of_a_python_server_read_one_sender_of_ours() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (_server, port) = python_server(&python, dir.path());
    make_room(&python, port, dir.path());
    let ours = our_client(port, dir.path(), "ours");
    ours.types("/register ours secret");
    ours.shows("Registration successful");
    ours.types("/login ours secret");
    ours.shows("Login successful");
    ours.types("/join lobby pw");
    ours.shows("ours joined the chat!");
    let swarm = swarm(&python, port, 30, "m");
    for _ in 0..30 {
        ours.shows("joined the chat!");
    }
    // Each of them has the keys of the 29 others and ours, which announced its own whenever it saw somebody join.
    swarm.types("await-keys all 30");
    for _ in 0..30 {
        swarm.shows("keys 30");
    }
    settle(&[&ours]);
    ours.types("one message for thirty");
    let mut readers: Vec<String> = (0..30).map(|_| swarm.shows("got ours: one message for thirty")).collect();
    readers.sort();
    readers.dedup();
    assert_eq!(readers.len(), 30, "{readers:#?}");
}
