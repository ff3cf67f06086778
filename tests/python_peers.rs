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
    one.shows("two (pinned): hello from two");
    one.types("hello from one");
    two.shows("one (pinned): hello from one");
    // Python clients that have seen our key, and whose key we have seen, read us and are read.
    late.shows("one: hello from one");
    late.types("hello from late");
    one.shows("late (unsigned, legacy): hello from late");
    two.shows("late (unsigned, legacy): hello from late"); // `one` and `two` announced their keys again when they saw somebody join
    // The earlier Python member reads a later client of ours once it joins again.
    early.types("/join lobby pw");
    one.shows("early joined the chat!");
    settle(&[&early, &one]);
    one.types("again");
    early.shows("one: again");
    early.types("hello from early");
    one.shows("early (unsigned, legacy): hello from early");
}

#[test]
fn in_a_python_servers_room_ours_prove_themselves_to_each_other_and_all_read_all() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (_server, port) = python_server(&python, dir.path());
    make_room(&python, port, dir.path());
    let names = ["P0", "O0", "O1", "P1"];
    let mut clients: Vec<(&str, Program)> = Vec::new();
    for name in names {
        let client = match name.starts_with('P') {
            true => python_client(&python, port, dir.path(), name),
            false => our_client(port, dir.path(), name),
        };
        enter(&client, name);
        for (_, other) in &clients {
            other.shows(&format!("{name} joined the chat!"));
        }
        clients.push((name, client));
    }
    // Those who came early join again: a Python server replays no key, and no Python client gives its own again.
    for (name, client) in &clients {
        client.types("/join lobby pw");
        client.shows(&format!("{name} joined the chat!"));
    }
    settle(&clients.iter().map(|(_, client)| client).collect::<Vec<_>>());
    for (sender, client) in &clients {
        client.types(&format!("hello from {sender}"));
        for (reader, client) in clients.iter().filter(|(name, _)| name != sender) {
            client.shows(&said(reader, sender));
        }
    }
    for (name, mut client) in clients {
        client.exit_code();
        let rest = client.rest();
        assert!(
            rest.iter().all(|line| line.ends_with(" left the chat.")),
            "bundles are nothing to see: {name} {rest:?}"
        );
    }
}

#[test]
fn an_impostor_with_the_password_of_a_pinned_name_is_refused_and_reads_nothing() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (_server, port) = python_server(&python, dir.path());
    make_room(&python, port, dir.path());
    let (alice, bob) = (our_client(port, dir.path(), "alice"), our_client(port, dir.path(), "bob"));
    let pat = python_client(&python, port, dir.path(), "pat");
    for (client, name) in [(&alice, "alice"), (&bob, "bob"), (&pat, "pat")] {
        enter(client, name);
    }
    settle(&[&alice, &bob, &pat]);
    bob.types("it is me");
    alice.shows("bob (pinned): it is me");
    // Both hold the same number against each other.
    let number = |client: &Program, other: &str| {
        client.types(&format!("/verify {other}"));
        client.complains("The safety number");
        client.complains("   ")
    };
    assert_eq!(number(&alice, "bob"), number(&bob, "alice"));
    alice.types("/verify bob yes");
    alice.complains("bob is verified.");

    let impostor = python_client(&python, port, dir.path(), "impostor");
    impostor.types("/login bob secret");
    impostor.shows("Login successful. Welcome, bob!");
    impostor.types("/join lobby pw");
    impostor.shows("bob joined the chat!");
    alice.complains("a key came in the name of bob that bob has not signed");
    settle(&[&alice, &bob, &pat, &impostor]);
    impostor.types("send money");
    alice.complains("a message came in the name of bob without a signature");
    alice.types("for bob alone");
    bob.shows("alice (pinned): for bob alone");
    pat.shows("alice: for bob alone");
    pat.types("/join lobby pw");
    impostor.shows("pat joined the chat!");
    settle(&[&pat, &impostor]);
    bob.types("still me");
    alice.shows("bob (verified): still me");
    let mut impostor = impostor;
    impostor.exit_code();
    assert!(!impostor.rest().iter().any(|line| line.contains("for bob alone")));
    let mut alice = alice;
    alice.exit_code();
    assert!(!alice.rest().iter().any(|line| line.contains("send money")));
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
