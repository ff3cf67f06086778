//! What a peer can make grow ends where the options say, on the real server over TLS; and who is too fast is slowed down alone.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::client::Client;
use common::modern::ModernPeer;
use common::programs::Program;
use common::{Peer, Server, wait_until};
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{ByeReason, Event, RequestBody};
use secure_chat::transcript::RunId;
use socket2::{Domain, Socket, Type};

fn start(arguments: &[&str]) -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), arguments);
    (dir, server)
}

fn register(user: &str, token: Option<&str>) -> RequestBody {
    RequestBody::Register { user: UserName::new(user), password: Password::new("pw"), token: token.map(Password::new) }
}

fn create(room: &str) -> RequestBody {
    RequestBody::Create { room: RoomName::new(room), password: Password::new("pw"), modern_only: false }
}

/// A connection from another address of this machine.
fn connect_from(source: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((IpAddr::from(source), 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(common::PATIENCE)).unwrap();
    socket
}

/// Whether the server closes a connection at once, before anything is said.
fn is_turned_away(mut socket: TcpStream) -> bool {
    let mut byte = [0];
    match socket.read(&mut byte) {
        Ok(0) => true,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => true,
        other => panic!("{other:?}"),
    }
}

#[test]
fn connections_of_one_address_have_a_bound_and_others_find_a_place() {
    let (_dir, server) = start(&["--max-connections", "4", "--max-connections-per-address", "2"]);
    let here = || connect_from([127, 0, 0, 1], server.address);
    let there = || connect_from([127, 0, 0, 2], server.address);
    let mut one = Peer::over(here());
    let silent = here(); // one that never begins its handshake takes a place, too
    one.asks("/register one pw", "Registration successful for one. You may now /login.");
    one.asks("/login one pw", "Login successful. Welcome, one!"); // a guest would make room
    assert!(is_turned_away(here()));
    server.wait_for_log("--max-connections-per-address");
    let [mut other, mut last] = [there(), there()].map(Peer::over);
    for peer in [&mut other, &mut last] {
        peer.asks("/login one pw", "Login successful. Welcome, one!");
    }
    assert!(is_turned_away(connect_from([127, 0, 0, 3], server.address)));
    server.wait_for_log("the server is full (--max-connections)");
    // A place that is given back is there for the next.
    drop(silent);
    wait_until("a place is free", || {
        let socket = here();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let taken = matches!((&socket).read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        if taken {
            socket.set_read_timeout(Some(common::PATIENCE)).unwrap();
            Peer::over(socket).asks("/list", "You must /login first.");
        }
        taken
    });
    one.has_heard_nothing();
    other.has_heard_nothing();
}

#[test]
fn a_client_that_finds_no_place_says_why_that_may_be() {
    let (dir, server) = start(&["--max-connections", "1"]);
    let _only = server.user("alice"); // a guest would make room
    let client = client(&server, &dir.path().join("home"));
    client.complains("the server may be full, or take no more connections from your address. Is it a chat server?");
}

#[test]
fn a_silent_handshake_and_a_guest_who_never_logs_in_are_sent_away() {
    let (_dir, server) = start(&["--handshake-timeout", "200ms", "--login-timeout", "4s"]);
    server.connect().asks("/register alice pw", "Registration successful for alice. You may now /login.");
    let silent = connect_from([127, 0, 0, 1], server.address);
    let mut legacy = server.connect();
    let mut modern = ModernPeer::connect(server.address);
    let mut member = server.connect();
    member.asks("/login alice pw", "Login successful. Welcome, alice!");
    assert!(is_turned_away(silent));
    server.wait_for_log("its handshake took too long (--handshake-timeout)");
    assert_eq!(legacy.hears(), "You did not log in for too long. Connect again when you want to.");
    assert_eq!(legacy.hears_or_end(), None);
    modern.hears_hello();
    assert!(modern.hears().contains(r#""type":"bye","reason":"login_timeout""#));
    assert_eq!(modern.hears_or_end(), None);
    member.asks("/list", "No rooms found.");
}

#[test]
fn who_does_nothing_is_sent_away_where_the_operator_wants_it() {
    let (_dir, server) = start(&["--idle-timeout", "2s"]);
    let mut legacy = server.user("alice");
    let mut modern = Client::connect(&server);
    modern.registers("bob");
    modern.logs_in("bob");
    assert_eq!(legacy.hears(), "You did nothing for too long, so the session ends. Connect again, and /login.");
    assert_eq!(legacy.hears_or_end(), None);
    assert_eq!(modern.event(), Event::bye(ByeReason::Idle));
    assert_eq!(modern.peer.hears_or_end(), None);
}

#[test]
fn accounts_rooms_and_sessions_have_their_bounds_on_both_wires() {
    let (_dir, server) = start(&[
        "--registration-rate",
        "3/1h",
        "--max-rooms",
        "3",
        "--max-rooms-per-user",
        "2",
        "--max-sessions-per-user",
        "2",
    ]);
    let mut alice = server.user("alice");
    let (mut bob, keys, _) = Client::user(&server, "bob", 1);
    bob.registers("carol");
    assert_eq!(bob.refused(register("dave", None)), "too_many_registrations");
    alice.says("CMD::/register dave pw");
    let heard = alice.hears();
    assert!(
        heard.starts_with("Registration failed: Too many new accounts from your address. Try again in 1"),
        "{heard}"
    );
    bob.ok(create("b1"));
    bob.ok(create("b2"));
    assert_eq!(bob.refused(create("b3")), "too_many_own_rooms");
    alice.asks("/create a1 pw", "Room 'a1' created.");
    alice.asks("/create a2 pw", "Create room failed: The server has as many rooms as it takes.");
    let mut second = Client::connect(&server);
    second.logs_in("bob");
    second.announces(&keys, RunId([2; 16]));
    let mut third = Client::connect(&server);
    let login = RequestBody::Login { user: UserName::new("bob"), password: Password::new("pw") };
    assert_eq!(third.refused(login.clone()), "too_many_sessions");
    second.peer.close();
    wait_until("a session is over", || {
        let id = third.asks(login.clone());
        matches!(third.answer(id), secure_chat::protocol::modern::Answer::Ok { .. })
    });
}

#[test]
fn rooms_of_one_address_are_made_at_the_rate_that_is_set() {
    let (_dir, server) = start(&["--room-rate", "2/1h"]);
    let mut alice = server.user("alice");
    let (mut bob, ..) = Client::user(&server, "bob", 1);
    bob.ok(create("b1"));
    alice.asks("/create a1 pw", "Room 'a1' created.");
    assert_eq!(bob.refused(create("b2")), "too_many_new_rooms");
    alice.says("CMD::/create a2 pw");
    let heard = alice.hears();
    assert!(heard.starts_with("Create room failed: Too many new rooms from your address. Try again in 1"), "{heard}");
}

fn client(server: &Server, home: &Path) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-client"));
    Program::start(command.arg(server.address.to_string()).arg("--identity").arg(home))
}

#[test]
fn where_accounts_are_made_with_a_token_the_client_says_so_and_takes_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    fs::write(&file, "canary-token\n\n  other-canary \r\n").unwrap();
    let file = file.to_str().unwrap();
    let server = Server::start_with(
        dir.path(),
        &["--log", "trace", "--registration", "token", "--registration-token-file", file],
    );
    let mut legacy = server.connect();
    let wanted = "Registration failed: It needs a valid token from whoever runs the server: \
                  /register <username> <password> <token>";
    legacy.asks("/register carol pw", wanted);
    legacy.asks("/register carol pw canary", wanted);
    legacy.asks("/register carol pw other-canary", "Registration successful for carol. You may now /login.");
    let mut modern = Client::connect(&server);
    assert_eq!(modern.refused(register("dave", None)), "registration_token");
    assert_eq!(modern.refused(register("dave", Some("wrong-canary"))), "registration_token");
    modern.ok(register("dave", Some("canary-token")));
    let erin = client(&server, &dir.path().join("erin"));
    erin.types("/register erin pw");
    erin.shows("A new account needs a valid token");
    erin.types("/register erin pw canary-token");
    erin.complains("The account erin is made.");
    assert!(!server.log().contains("canary"), "{}", server.log());
}

#[test]
fn tokens_that_cannot_be_read_stop_the_start_with_the_reason_and_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    let start = |arguments: &[&str]| {
        let arguments = [&["--registration", "token"], arguments].concat();
        Server::try_start(dir.path(), &arguments).err().expect("it started")
    };
    let path = file.to_str().unwrap();
    assert!(start(&[]).contains("--registration-token-file"));
    assert!(start(&["--registration-token-file", path]).contains("the tokens for new accounts"));
    for (content, why) in [("\n \n", "holds no token"), ("canary\ntwo canaries\n", "line 2 holds white space")] {
        fs::write(&file, content).unwrap();
        let said = start(&["--registration-token-file", path]);
        assert!(said.contains(why) && !said.contains("canar"), "{said}");
        assert!(said.starts_with("exit status: 1"), "{said}");
    }
}

/// Whoever names a file of tokens takes it that they are wanted, while anybody could register.
#[test]
fn a_token_file_without_its_policy_stops_the_start_whether_it_exists_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    for policy in ["open", "closed"] {
        let arguments = ["--registration", policy, "--registration-token-file", file.to_str().unwrap()];
        for _ in 0..2 {
            let said = Server::try_start(dir.path(), &arguments).err().expect("it started");
            assert!(said.starts_with("exit status: 1"), "{said}");
            assert!(said.contains("a token file has an effect with --registration token alone"), "{said}");
            fs::write(&file, "canary").unwrap();
        }
    }
    assert!(!dir.path().join("certs").exists(), "nothing was made");
}

#[test]
fn a_token_file_that_others_can_read_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    fs::write(&file, "canary").unwrap();
    let arguments = ["--registration", "token", "--registration-token-file", file.to_str().unwrap()];
    for (mode, is_warned) in [(0o640, true), (0o604, true), (0o600, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let server = Server::start_with(dir.path(), &arguments);
        let log = server.log.clone();
        assert_eq!(server.stop(), 0);
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(log.contains("others on this machine can read"), is_warned, "{mode:o}: {log}");
    }
}

#[test]
fn a_closed_server_makes_accounts_for_god_alone() {
    let (_dir, server) = start(&["--registration", "closed"]);
    let mut legacy = server.connect();
    legacy.asks("/register carol pw", "Registration failed: This server makes no new accounts. Ask whoever runs it.");
    let mut modern = Client::connect(&server);
    assert_eq!(modern.refused(register("carol", None)), "registration_closed");
    let god = RequestBody::Login { user: UserName::god(), password: Password::new(common::GOD) };
    modern.ok(god);
    modern.ok(register("carol", None));
    legacy.asks(&format!("/login god {}", common::GOD), "Login successful. Welcome, god!");
    legacy.asks("/register dave pw", "Registration successful for dave. You may now /login.");
    legacy.asks("/login carol pw", "Login successful. Welcome, carol!");
}

/// A package that says nothing but its number.
fn package(text: &str) -> String {
    format!(r#"{{"encrypted_message":"{text}","encrypted_keys":{{"carol":"Qg=="}},"room":"lobby"}}"#)
}

/// Says many things at once; the thread ends when the server has taken them all.
fn flood(peer: &Peer, messages: impl Iterator<Item = String>) {
    messages.for_each(|message| peer.stream.queue(message.as_bytes()));
    peer.stream.drain().unwrap();
}

#[test]
fn who_floods_a_room_is_slowed_down_alone_and_nothing_is_lost() {
    let (_dir, server) = start(&["--message-rate", "40/2s"]);
    let mut eve = server.user("eve");
    eve.asks("/create lobby pw", "Room 'lobby' created.");
    eve.asks("/join lobby pw", "eve joined the chat!");
    let [mut bob, mut carol] = ["bob", "carol"].map(|name| {
        let mut peer = server.user(name);
        peer.asks("/join lobby pw", &format!("{name} joined the chat!"));
        peer
    });
    bob.hears_until("carol joined the chat!");
    let begun = Instant::now();
    flood(&eve, (0..120).map(|n| package(&format!("eve-{n}"))));
    // What bob says goes on as it comes, between what eve says.
    let mut of_eve = 0;
    for n in 0..10 {
        let said = package(&format!("bob-{n}"));
        bob.says(&said);
        of_eve += carol.hears_until(&said).len();
    }
    assert!(of_eve < 120, "bob waited until eve had said everything");
    let last = package("eve-119");
    let mut heard = carol.hears_until(&last);
    heard.push(last);
    let expected: Vec<_> = (of_eve..120).map(|n| package(&format!("eve-{n}"))).collect();
    assert_eq!(heard, expected, "in order, and all of it");
    // Some were used for the commands before; 80 and more had to wait, 20 a second.
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    server.wait_for_log("slowed down: it says more than the rates allow");
    assert_eq!(server.log().matches("slowed down").count(), 1, "which is said once");
    eve.says("CMD::/nonsense");
    eve.hears_until("Unknown command.");
}

#[test]
fn requests_and_bytes_are_paced_and_every_answer_comes_in_order() {
    let (_dir, server) = start(&["--message-rate", "20/1s", "--byte-rate", "64KiB/1s"]);
    let mut guest = ModernPeer::connect(server.address);
    guest.hears_hello();
    let begun = Instant::now();
    for id in 0..60 {
        guest.stream.queue(format!("{{\"type\":\"ping\",\"id\":{id}}}\n").as_bytes());
    }
    guest.stream.drain().unwrap();
    for id in 0..60 {
        assert!(guest.hears().starts_with(&format!(r#"{{"type":"ok","id":{id},"#)));
    }
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let mut endless = server.connect();
    flood(&endless, (0..12).map(|_| "x".repeat(16_383))); // each is whole, and garbage
    (0..12).for_each(|_| assert_eq!(endless.hears(), "You must /join a room to chat."));
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
}

/// So slow that what was read of a flood at once would take minutes.
const SLOW: &[&str] = &["--message-rate", "10/50s"];

#[test]
fn a_connection_that_is_slowed_down_ends_at_once_when_the_server_does() {
    let (_dir, server) = start(SLOW);
    let mut eve = server.user("eve");
    flood(&eve, (0..100).map(|_| "x".to_owned()));
    server.wait_for_log("slowed down");
    let log = server.log.clone();
    assert_eq!(server.stop(), 0);
    let log = fs::read_to_string(log).unwrap();
    assert!(!log.contains("connections were still busy"), "{log}");
    let heard: Vec<_> = std::iter::from_fn(|| eve.hears_or_end()).collect();
    assert_eq!(heard.last().map(String::as_str), Some("The server is shutting down."));
    assert!(heard.len() < 20, "{heard:?}");
}

#[test]
fn a_session_that_is_slowed_down_can_be_ended_by_another() {
    let (_dir, server) = start(SLOW);
    let (mut alice, _, _) = Client::user(&server, "alice", 1);
    let mut old = server.connect();
    old.asks("/login alice pw", "Login successful. Welcome, alice!");
    flood(&old, (0..100).map(|_| "x".to_owned()));
    server.wait_for_log("slowed down");
    alice.ok(RequestBody::Passwd { old: Password::new("pw"), new: Password::new("new") });
    let heard: Vec<_> = std::iter::from_fn(|| old.hears_or_end()).collect();
    let ended = "The password of this account was changed. You must connect and /login again.";
    assert_eq!(heard.last().map(String::as_str), Some(ended));
    server.wait_for_log("disconnected");
}

#[test]
fn without_rates_nobody_is_slowed_down_and_the_sizes_stay() {
    let (_dir, server) = start(&[
        "--message-rate",
        "1/5s",
        "--byte-rate",
        "8KiB/1s",
        "--registration-rate",
        "1/1d",
        "--room-rate",
        "1/1d",
        "--max-rooms",
        "2",
        "--max-message",
        "8KiB",
        "--no-rate-limits",
    ]);
    server.wait_for_log("passwords can be guessed without end");
    let mut peer = server.user("alice");
    peer.asks("/register bob pw", "Registration successful for bob. You may now /login.");
    flood(&peer, (0..5000).map(|_| "x".repeat(100)));
    (0..5000).for_each(|_| assert_eq!(peer.hears(), "You must /join a room to chat."));
    for n in 0..40 {
        peer.asks(&format!("/login nobody guess{n}"), "Login failed. Invalid username or password.");
    }
    peer.asks("/create one pw", "Room 'one' created.");
    peer.asks("/create two pw", "Room 'two' created.");
    peer.asks("/create three pw", "Create room failed: The server has as many rooms as it takes.");
    peer.says("x".repeat(8193));
    assert_eq!(peer.hears(), "Error: message too long.");
    assert!(!server.log().contains("slowed down: it says more"));
}

#[test]
fn where_places_are_scarce_the_oldest_guest_makes_room_and_nobody_who_is_logged_in_does() {
    let (_dir, server) = start(&["--max-connections", "16", "--max-connections-per-address", "0"]);
    let mut alice = server.user("alice");
    let guest = |_| {
        let mut guest = server.connect();
        guest.asks("/list", "You must /login first."); // it has its place before the next one comes
        guest
    };
    let mut entering = guest(0);
    let mut guests: Vec<_> = (1..14).map(guest).collect();
    entering.asks("/login alice wrong", "Login failed. Invalid username or password.");
    let mut bob = server.user("bob");
    let mut rest = guests.split_off(1);
    rest.push(entering); // the first to come, but not the one who has waited longest for nothing
    assert_eq!(guests[0].hears(), "You did not log in for too long. Connect again when you want to.");
    assert_eq!(guests[0].hears_or_end(), None);
    assert!(server.log().contains("places are scarce"), "{}", server.log());
    for guest in &mut rest {
        guest.asks("/list", "You must /login first.");
    }
    for user in [&mut alice, &mut bob] {
        user.asks("/list", "No rooms found.");
    }
}

#[test]
fn who_asks_for_a_hash_and_goes_at_once_costs_none() {
    let (_dir, server) = start(&[]);
    let hasty: Vec<_> = (0..60).map(|_| server.connect()).collect();
    for (n, peer) in hasty.iter().enumerate() {
        peer.says(format!("CMD::/login nobody{n} guess"));
    }
    drop(hasty);
    drop(server.user("alice")); // whose turn comes behind theirs
    let log = server.log.clone();
    assert_eq!(server.stop(), 0);
    let log = fs::read_to_string(log).unwrap();
    let hashes = log.lines().find_map(|line| line.split("hashes=").nth(1)).and_then(|n| n.trim().parse::<u32>().ok());
    assert!(hashes.is_some_and(|hashes| (2..30).contains(&hashes)), "{log}"); // what had begun when they went, and hers
}

/// Three who read nothing: each alone would be borne with.
#[test]
fn whoever_has_most_unsent_is_cut_off_when_all_together_have_too_much() {
    let (_dir, server) = start(&["--outbox", "1GiB", "--outboxes", "1MiB", "--no-rate-limits"]);
    let mut alice = server.user("alice");
    alice.asks("/create lobby pw", "Room 'lobby' created.");
    alice.asks("/join lobby pw", "alice joined the chat!");
    let stuck = ["one", "two", "three"].map(|name| {
        let mut stuck = server.user(name);
        stuck.asks("/join lobby pw", &format!("{name} joined the chat!"));
        alice.hears_until(&format!("{name} joined the chat!"));
        stuck
    });
    let mut sent = 0;
    while server.log().matches("all outboxes together are full").count() < stuck.len() {
        alice.says(package(&"t".repeat(3900)));
        sent += 1;
        assert!(sent < 20_000, "still there after {sent} messages");
    }
    let mut left = std::collections::HashSet::new();
    while left.len() < stuck.len() {
        let heard = alice.hears();
        left.extend(heard.strip_suffix(" left the chat.").map(str::to_owned));
    }
    alice.asks("/create den pw", "Room 'den' created.");
}

#[test]
fn a_peer_that_does_not_read_is_dropped_at_the_outbox_that_is_set() {
    let (_dir, server) = start(&["--outbox", "256KiB", "--no-rate-limits"]);
    let mut alice = server.user("alice");
    alice.asks("/create lobby pw", "Room 'lobby' created.");
    alice.asks("/join lobby pw", "alice joined the chat!");
    let mut stuck = server.user("stuck");
    stuck.asks("/join lobby pw", "stuck joined the chat!");
    alice.hears_until("stuck joined the chat!");
    let mut sent = 0;
    while !server.log().contains("does not read") {
        alice.says(package(&"t".repeat(3900)));
        sent += 1;
        assert!(sent < 20_000, "still there after {sent} messages");
    }
    let log = server.log();
    let unsent = log.split("unsent=").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let unsent: usize = unsent.and_then(|unsent| unsent.parse().ok()).expect("how much was not sent");
    assert!((256 * 1024..3 * 1024 * 1024).contains(&unsent), "{unsent}");
}

#[test]
fn every_limit_is_in_the_help_with_its_default() {
    let help = Command::new(env!("CARGO_BIN_EXE_chat-server")).arg("--help").stdin(Stdio::null()).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (others, limits) = help.split_once("\nLimits:\n").expect("a heading");
    assert!(others.contains("--log <LEVEL>"), "which is no limit");
    for (option, default) in [
        ("--registration <WHO>", "[default: open]"),
        ("--registration-token-file", ""),
        ("--registration-rate", "[default: 1000/1h]"),
        ("--room-rate", "[default: 100/1h]"),
        ("--max-accounts <N>", "[default: 1000000]"),
        ("--max-rooms <N>", "[default: 10000]"),
        ("--max-rooms-per-user", "[default: 20]"),
        ("--max-sessions-per-user", "[default: 64]"),
        ("--max-connections <N>", "[default: that many, up to 50000]"),
        ("--max-connections-per-address", "[default: half of all]"),
        ("--handshake-timeout", "[default: 10s]"),
        ("--login-timeout", "[default: 1h]"),
        ("--idle-timeout", "[default: 0]"),
        ("--outbox", "[default: 4MiB]"),
        ("--outboxes", "[default: 256MiB]"),
        ("--max-message", "[default: 1MiB]"),
        ("--message-rate", "[default: 200/10s]"),
        ("--byte-rate", "[default: 8MiB/16s]"),
        ("--no-rate-limits", ""),
    ] {
        let entry = limits.split(option).nth(1).unwrap_or_else(|| panic!("{option} is not listed"));
        let entry = entry.split("\n      --").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(entry.contains(default), "{option}: {entry}");
    }
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "god, logged in, always may, within --max-accounts",
        "Most accounts; 0 for none but those that there are",
        "Most rooms; 0 for none but those that there are",
        "god aside; 0 for none",
        "0 for no such limit",
        "error, warn, info, debug, trace or off",
    ] {
        assert!(help.contains(words), "{words}: {help}");
    }
}

/// Who makes a whole crowd of connections from one address, logs in on each and talks, is not kept back by the defaults.
#[test]
fn a_crowd_behind_one_address_meets_no_limit() {
    let (_dir, server) = start(&[]);
    let mut first = server.user("alice");
    first.asks("/create lobby pw", "Room 'lobby' created.");
    first.asks("/join lobby pw", "alice joined the chat!");
    let names = ["alice", "bob", "dave"];
    names[1..].iter().for_each(|name| drop(server.user(name)));
    let mut crowd: Vec<_> = (0..150)
        .map(|n| {
            let mut peer = server.connect();
            let name = names[n % names.len()];
            peer.asks(&format!("/login {name} pw"), &format!("Login successful. Welcome, {name}!"));
            peer.says("CMD::/join lobby pw");
            peer.hears_until(&format!("{name} joined the chat!"));
            peer
        })
        .collect();
    first.says(package("hello"));
    crowd.iter_mut().for_each(|peer| _ = peer.hears_until(&package_without_keys("hello")));
    assert!(!server.log().contains("slowed down") && !server.log().contains("turned away"));
}

fn package_without_keys(text: &str) -> String {
    format!(r#"{{"encrypted_message":"{text}","encrypted_keys":{{}},"room":"lobby"}}"#)
}

/// Threads inherit the priority of whoever makes them: a session that a handshake thread had made would give way like one.
#[cfg(target_os = "linux")]
#[test]
fn handshakes_give_way_to_those_who_are_there_and_passwords_to_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let _alice = server.user("alice");
    let output =
        Command::new("ps").args(["-L", "-o", "ni=,comm=", "-p", &server.child.id().to_string()]).output().unwrap();
    let listing = String::from_utf8(output.stdout).unwrap();
    let nice_of = |kind: &str| -> BTreeSet<i32> {
        let threads = listing.lines().filter_map(|line| line.trim().split_once(' '));
        threads.filter(|(_, name)| name.trim().starts_with(kind)).map(|(nice, _)| nice.parse().unwrap()).collect()
    };
    let [own] = nice_of("broker").into_iter().collect::<Vec<_>>()[..] else { panic!("no broker: {listing}") };
    assert_eq!(nice_of("session-"), [own].into(), "{listing}");
    assert_eq!(nice_of("reception"), [own].into(), "{listing}");
    assert_eq!(nice_of("handshake-"), [(own + 10).min(19)].into(), "{listing}");
    assert_eq!(nice_of("hash-"), [(own + 5).min(19)].into(), "{listing}");
}
