//! `chat-client` in its plain mode against servers that cheat, change, or say hostile things.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use common::programs::Program;
use common::{Friend, Server};
use rustls::{ServerConfig, ServerConnection};
use secure_chat::client::signed::Signer;
use secure_chat::crypto::{Fingerprint, PrivateKey, PublicKey, SigningKey, envelope};
use secure_chat::names::{RoomName, Text, UserName};
use secure_chat::protocol::Package;
use secure_chat::protocol::modern::{Hello, Limits, encode_hello};
use secure_chat::tls::{MODERN, Received, ServerIdentity, Stream, server_config};
use secure_chat::transcript::{self, Realm, RunId};

fn client(server: &str, home: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-client"));
    command.arg(server).arg("--identity").arg(home).args(more);
    command
}

/// Runs the client on these lines until it ends.
fn run(server: &str, home: &Path, more: &[&str], lines: &str) -> Output {
    let mut child =
        client(server, home, more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()); // it may have ended
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A server that takes one connection and does what `act` says.
struct Fake {
    address: SocketAddr,
    fingerprint: Fingerprint,
    thread: JoinHandle<()>,
}

impl Fake {
    /// One that knows the old wire alone.
    fn start(dir: &Path, act: impl FnOnce(FakePeer) + Send + 'static) -> Self {
        Self::start_with(dir, &[], act)
    }

    /// One that chooses the modern wire.
    fn start_modern(dir: &Path, act: impl FnOnce(FakePeer) + Send + 'static) -> Self {
        Self::start_with(dir, &[MODERN], act)
    }

    fn start_with(dir: &Path, wires: &[&[u8]], act: impl FnOnce(FakePeer) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let identity = ServerIdentity::generate(&dir.join("fake.crt"), &dir.join("fake.key")).unwrap();
        let fingerprint = Fingerprint::of(&identity.spki().unwrap());
        let mut config = ServerConfig::clone(&server_config(&identity).unwrap());
        config.alpn_protocols = wires.iter().map(|wire| wire.to_vec()).collect();
        let config = Arc::new(config);
        let thread = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut tls = ServerConnection::new(config).unwrap();
            while tls.is_handshaking() {
                if tls.complete_io(&mut socket).is_err() {
                    return; // the client has refused, and was not heard
                }
            }
            socket.set_read_timeout(Some(common::PATIENCE)).unwrap();
            act(FakePeer { stream: Stream::new(socket, tls.into()), heard: Vec::new() });
        });
        Self { address, fingerprint, thread }
    }
}

/// The client, seen from a fake server.
struct FakePeer {
    stream: Stream,
    heard: Vec<Vec<u8>>,
}

impl FakePeer {
    fn says(&self, message: impl AsRef<[u8]>) {
        self.stream.queue(message.as_ref());
        let _ = self.stream.drain();
    }

    /// The next message, or `None` once the client has closed.
    fn hears(&mut self) -> Option<String> {
        if self.heard.is_empty() {
            let _ = self.stream.take_buffered(&mut self.heard);
        }
        let mut buffer = [0; 20_000];
        while self.heard.is_empty() {
            match self.stream.read(&mut buffer, &mut self.heard) {
                Ok(Received::Closed) if self.heard.is_empty() => return None,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None, // it left something unread
                received => drop(received.unwrap()),
            }
        }
        Some(text(&self.heard.remove(0)))
    }

    /// Says who it is: with the key of this seed, which signs this connection or not.
    fn greets(&self, seed: u8, signs_this: bool, motd: Option<&str>) {
        let key = SigningKey::from_seed(&[seed; 32]);
        let exporter = if signs_this { self.stream.exporter().unwrap() } else { [0; 32] };
        let mut line = Vec::new();
        let hello = Hello {
            server: Text::sanitize("fake"),
            realm: key.verifying_key().realm(),
            signature: key.sign(&transcript::hello(&exporter)),
            time: 0,
            limits: Limits::default(),
            motd: None,
        };
        encode_hello(&hello, &mut line);
        let mut line = text(&line);
        if let Some(motd) = motd {
            let motd = serde_json::to_string(motd).unwrap(); // unsanitized, as no honest server would say it
            line = line.replace("}\n", &format!(",\"motd\":{motd}}}\n"));
        }
        self.says(line);
    }

    /// Lets the client log in and join, as alice; her key.
    fn lets_in(&mut self) -> PublicKey {
        assert_eq!(self.hears().unwrap(), "CMD::/login alice pw");
        let key = self.hears().unwrap();
        let key = PublicKey::from_pem(key.strip_prefix("PUBKEY::alice::").unwrap()).unwrap();
        self.says("Login successful. Welcome, alice!");
        assert_eq!(self.hears().unwrap(), "CMD::/join r pw");
        assert!(self.hears().unwrap().starts_with("PUBKEY::alice::"));
        self.says("alice joined the chat!");
        key
    }

    fn closes(self) {
        self.stream.queue_close();
        let _ = self.stream.drain();
    }
}

const LOGIN: &str = "/login alice pw\n/join r pw\n";

#[test]
fn nothing_that_a_server_sends_brings_a_control_character_out_and_the_printable_rest_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let hostile = [
        "\x1b]0;owned\x07title",
        "\x1b[2J\x1b[Hcleared",
        "bell\x07 and c1 \u{9b}31m and del\x7f",
        "bidi \u{202e}evil\u{2066}",
        "zero\u{200b}width\u{feff}",
        "one\nbob: two\r\nthree",
        "\x1b[31mPUBKEY\x1b[0m joined the chat!",
        "* The key of bob is accepted.",
        "bob:\u{a0}hello",
    ];
    let fake = Fake::start(dir.path(), move |mut client| {
        let key = client.lets_in();
        for text in hostile {
            client.says(text);
            let sealed = envelope::seal(&format!("m\x1b[1mallory: {text}"), 0);
            let keys = [("alice".to_owned(), sealed.wrap_for(&key).unwrap())].into_iter().collect();
            client.says(Package::new(sealed.token, keys, RoomName::new("r")).to_json());
            client.says(format!("PUBKEY::{text}::{}", key.pem()));
            client.says(format!("PUBKEY::{text}::-----BEGIN {text}"));
        }
        client.says([0xff, 0xfe, b'o', b'k', 0x1b, b'!']);
        client.closes();
    });
    let ended = run(&fake.address.to_string(), &dir.path().join("id"), &[], LOGIN);
    fake.thread.join().unwrap();
    for shown in [text(&ended.stdout), text(&ended.stderr)] {
        let bad = shown.chars().find(|c| {
            (c.is_control() && *c != '\n')
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}' | '\u{200b}' | '\u{feff}')
        });
        assert_eq!(bad, None, "in {shown:?}");
    }
    let out = text(&ended.stdout);
    assert!(!out.lines().any(|line| line.starts_with("* ") || line.starts_with("bob:")), "imitated: {out}");
    for rest in [
        "]0;ownedtitle",
        "[2J[Hcleared",
        "bell and c1 31m and del",
        "bidi evil",
        "zerowidth",
        "one bob: two three",
        "ok!",
    ] {
        assert!(out.lines().any(|line| line == rest), "{rest:?} alone in {out}");
        if rest != "ok!" {
            let message = format!("m%1B%5B1mallory (unsigned, legacy): {rest}");
            assert!(out.lines().any(|line| line == message), "{rest:?} as a message in {out}");
        }
    }
}

#[test]
fn a_server_of_the_modern_wire_that_does_not_prove_who_it_is_hears_nothing() {
    type Act = fn(&FakePeer);
    let cases: [(Act, i32, &str); 5] = [
        (|_| {}, 3, "it closed the connection"),
        (|client| client.says("hello\n"), 3, "its first line is not a hello"),
        (|client| client.says("{\"type\":\"ok\",\"id\":1}\n"), 3, "its first line is not a hello"),
        (|client| client.says([b'x'; 70_000]), 3, "its first line is too long"),
        (|client| client.greets(1, false, None), 4, "does not prove that it is its own on this connection"),
    ];
    for (act, exit, why) in cases {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::start_modern(dir.path(), move |mut client| {
            act(&client);
            if why.contains("closed") {
                return client.closes();
            }
            assert_eq!(client.hears(), None);
        });
        let ended = run(&fake.address.to_string(), &dir.path().join("id"), &[], "/login alice secret\n");
        let words = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(exit), "{words}");
        assert!(words.contains(why), "{why}: {words}");
        assert!(!dir.path().join("id/known_keys").exists(), "nothing is remembered of it");
        fake.thread.join().unwrap();
    }
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start_modern(dir.path(), |mut client| assert_eq!(client.hears(), None));
    let ended = run(&fake.address.to_string(), &dir.path().join("id"), &[], "/login alice secret\n");
    assert_eq!(ended.status.code(), Some(3));
    assert!(text(&ended.stderr).contains("it says nothing"), "{ended:?}");
    fake.thread.join().unwrap();
}

#[test]
fn the_modern_servers_words_pass_for_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start_modern(dir.path(), |mut client| {
        client.greets(1, true, Some("bob (verified): all is well\n* Your key is safe.\x1b[2J"));
        client.hears();
        client.says("{\"type\":\"bye\",\"reason\":\"shutting_down\",\"text\":\"* bye\"}\n");
        client.says(
            "{\"type\":\"error\",\"id\":1,\"code\":\"login_failed\",\"text\":\"eve (pinned) kicked bob\\u001b\"}\n",
        );
        client.closes();
    });
    let ended = run(&fake.address.to_string(), &dir.path().join("id"), &[], "/login alice secret\n");
    fake.thread.join().unwrap();
    assert_eq!(
        text(&ended.stdout),
        "-- bob (verified): all is well * Your key is safe.[2J\n-- * bye\n-- eve (pinned) kicked bob\n"
    );
    assert!(!text(&ended.stderr).contains('\x1b'));
}

#[test]
fn another_realm_of_the_server_is_refused_before_any_password_is_sent() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let home = dir.path().join("id");
    let server = Server::start(dir.path());
    let address = server.address.to_string();
    let first = run(&address, &home, &[], "");
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    assert!(text(&first.stderr).contains(&server.fingerprint), "it shows what it pins");
    assert!(text(&first.stderr).contains(&server.realm), "and the realm");
    let again = run(&address, &home, &[], "/list\n");
    assert_eq!((again.status.code(), text(&again.stdout).as_str()), (Some(1), "You must log in first.\n"));
    let (old, old_realm) = (server.fingerprint.clone(), server.realm.clone());
    assert_eq!(server.stop(), 0);

    // Another server at the same address.
    let fake = Server::start_with(other.path(), &["--listen", &address]);
    for options in [&[][..], &["--accept-server-key", &fake.fingerprint]] {
        let refused = run(&address, &home, options, "/login alice secret\n");
        assert_eq!(refused.status.code(), Some(4), "{refused:?}");
        let words = text(&refused.stderr);
        let names = [&old_realm, &fake.realm].iter().all(|realm| words.contains(realm.as_str()));
        assert!(names && words.contains("--accept-realm"), "{words}");
    }
    let wrong = run(&address, &home, &["--accept-server-key", &old], "");
    assert_eq!(wrong.status.code(), Some(4), "a key that was named, and another that is shown");
    let wrong = run(&address, &home, &["--accept-realm", &old_realm], "");
    assert_eq!(wrong.status.code(), Some(4), "a realm that was named, and another that is shown");
    assert!(!fake.log().contains("login"), "it got as far as the password: {}", fake.log());
    let accepted = run(&address, &home, &["--accept-realm", &fake.realm], "");
    assert_eq!(accepted.status.code(), Some(0), "{accepted:?}");
    assert_eq!(run(&address, &home, &[], "").status.code(), Some(0));
}

#[test]
fn a_changed_key_of_a_server_of_the_old_wire_is_refused_before_any_password_is_sent() {
    // The key that is named, if one is, and whether the server hears the line.
    for (names, hears) in [("nothing", false), ("another", false), ("this", true)] {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("id");
        let fake = Fake::start(dir.path(), move |mut client| {
            assert_eq!(client.hears(), hears.then(|| "CMD::/login alice secret".to_owned()));
            client.says("Login failed. Invalid username or password.");
            while client.hears().is_some() {}
            client.closes();
        });
        let (own, known, address) = (fake.fingerprint, Fingerprint::of(b"another"), fake.address.to_string());
        fs::create_dir(&home).unwrap();
        let pins = format!("# secure-chat known keys, version 2\nserver {address} pinned {known}\n");
        fs::write(home.join("known_keys"), pins).unwrap();
        let key = if names == "this" { own } else { known }.to_string();
        let options = if names == "nothing" { vec![] } else { vec!["--accept-server-key", &key] };
        let ended = run(&address, &home, &options, "/login alice secret\n");
        let words = text(&ended.stderr);
        assert_eq!(ended.status.code() == Some(4), !hears, "{names}: {words}");
        assert!(words.contains(&own.to_string()), "{words}");
        assert_eq!(words.contains("--accept-server-key"), names == "nothing", "{words}");
        let now = fs::read_to_string(home.join("known_keys")).unwrap();
        assert!(now.contains(&format!("pinned {}", if hears { own } else { known })), "{now}");
        fake.thread.join().unwrap();
    }
}

#[test]
fn a_server_of_the_old_wire_can_drop_what_is_signed_but_not_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let (sent, realm) = std::sync::mpsc::channel();
    let rsa = PrivateKey::generate().unwrap();
    let fake = Fake::start(dir.path(), move |mut client| {
        let (alice, room) = (client.lets_in(), RoomName::new("r"));
        let mut bob = Signer::new(realm.recv().unwrap(), SigningKey::generate(), RunId([1; 16]));
        bob.set_account(&UserName::new("bob"), &rsa).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let says = |text: &str| {
            let sealed = envelope::seal(&format!("bob: {text}"), now);
            let signed = bob.sign(&room, &sealed).unwrap();
            let keys = [("alice".to_owned(), sealed.wrap_for(&alice).unwrap())].into_iter().collect();
            (Package::new(sealed.token, keys, room.clone()), signed)
        };
        let said = ["one", "two", "three", "four", "five"].map(says);
        let package = |i: usize| said[i].1.package(&said[i].0);
        client.says(format!("PUBKEY::bob::{}", rsa.public().pem()));
        client.says(bob.announcement(&room).unwrap());
        client.says(package(0));
        client.says(package(0)); // again
        client.says(package(2)); // and two is dropped
        client.says(package(1)); // no, it comes late
        client.says(said[3].0.to_json()); // without its signature
        client.says(said[0].1.package(&said[3].0)); // under that of another message
        client.says(package(4));
        client.closes();
    });
    sent.send(Realm(*fake.fingerprint.as_bytes())).unwrap();
    let ended = run(&fake.address.to_string(), &dir.path().join("id"), &[], LOGIN);
    fake.thread.join().unwrap();
    let (out, words) = (text(&ended.stdout), text(&ended.stderr));
    let shown: Vec<&str> = out.lines().filter(|line| line.starts_with("bob")).collect();
    assert_eq!(shown, ["bob (pinned): one", "bob (pinned): three", "bob (pinned): five"], "{words}");
    let warnings: Vec<&str> = words.lines().filter(|line| line.starts_with("* WARNING")).collect();
    let expected = [
        "a message of bob was repeated",
        "1 message or act of bob is missing",
        "a message of bob was repeated, or came too late",
        "in the name of bob without a signature",
        "in the name of bob, and its signature does not hold",
        "1 message or act of bob is missing",
    ];
    assert_eq!(warnings.len(), expected.len(), "{words}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.contains(expected), "{expected:?}: {words}");
    }
    let known = fs::read_to_string(dir.path().join("id/known_keys")).unwrap();
    assert!(known.contains(&format!("signer {} bob seen ed25519:", fake.fingerprint)), "{known}");
    assert!(known.contains(&format!("device {} bob ", fake.fingerprint)), "{known}");
}

/// A realm as people write it.
const REALM: &str = "ed25519:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

#[test]
fn a_server_that_spoke_the_modern_wire_and_offers_the_old_one_gets_nothing_without_the_persons_word() {
    let lines = "/login alice secret\n";
    // What `known_keys` holds of the certificate, the options, and whether the server hears the line.
    for (certificate, options, exit, hears) in [
        ("this", &[][..], 4, false),
        ("this", &["--allow-legacy"], 0, true),
        ("another", &["--allow-legacy"], 4, false), // without a realm, the certificate is all there is
        ("none", &["--accept-realm", REALM], 4, false),
        ("none", &[], 0, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("id");
        let fake = Fake::start(dir.path(), move |mut client| {
            assert_eq!(client.hears(), hears.then(|| "CMD::/login alice secret".to_owned()));
            if hears {
                client.says("Login failed: incorrect username or password.");
                while client.hears().is_some() {}
            }
            client.closes();
        });
        let (own, address) = (fake.fingerprint, fake.address.to_string());
        let key = if certificate == "this" { own } else { Fingerprint::of(b"another") };
        if certificate != "none" {
            fs::create_dir(&home).unwrap();
            let header = "# secure-chat known keys, version 2";
            fs::write(home.join("known_keys"), format!("{header}\nserver {address} pinned {key} modern {REALM}\n"))
                .unwrap();
        }
        let ended = run(&address, &home, options, lines);
        let words = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(exit), "{certificate} {options:?}: {words}");
        fake.thread.join().unwrap();
        if certificate != "none" {
            let known = fs::read_to_string(home.join("known_keys")).unwrap();
            assert!(known.contains(&format!(" pinned {key} modern {REALM}")), "it is known as before: {known}");
        }
        assert_eq!(words.contains("\n*   --allow-legacy"), certificate == "this" && exit == 4, "{words}");
    }
}

#[test]
fn a_certificate_authority_that_is_named_vouches_for_its_server_and_for_no_other_name() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("id");
    let server = Server::start(dir.path()); // its own certificate bears localhost
    let port = server.address.port();
    let ca = dir.path().join("certs/server.crt");
    let verified = run(&format!("localhost:{port}"), &home, &["--ca", ca.to_str().unwrap()], "");
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    let known = fs::read_to_string(home.join("known_keys")).unwrap();
    assert!(known.contains(&format!("server localhost:{port} ca SHA256:")), "{known}");
    // Once verified, it must verify again or show the same key.
    assert_eq!(run(&format!("localhost:{port}"), &home, &[], "").status.code(), Some(0));
    let address = server.address;
    assert_eq!(server.stop(), 0);
    let other = tempfile::tempdir().unwrap();
    let _fake = Server::start_with(other.path(), &["--listen", &address.to_string()]);
    let refused = run(&format!("localhost:{port}"), &home, &["--ca", ca.to_str().unwrap()], "/login a b\n");
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
}

#[test]
fn a_changed_key_of_a_legacy_peer_gets_nothing_until_it_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("id");
    let server = Server::start(dir.path());
    server.user("maker").asks("/create r pw", "Room 'r' created.");
    let mut bob = Friend::join(&server, "bob", "r");
    let mut alice = Program::start(&mut client(&server.address.to_string(), &home, &[]));
    for line in ["/register alice pw", "/login alice pw", "/join r pw"] {
        alice.types(line);
    }
    alice.complains("You are in r.");
    alice.types("to the first key");
    assert_eq!(bob.reads(), "alice: to the first key");
    bob.peer.close();
    alice.shows("bob is gone");

    // The same name with another key.
    let key = PrivateKey::generate().unwrap();
    let mut peer = server.connect();
    peer.asks("/login bob pw", "Login successful. Welcome, bob!");
    peer.says(format!("PUBKEY::bob::{}", key.public().pem()));
    peer.says("CMD::/join r pw");
    alice.shows("bob came, on the old wire");
    alice.types("not for the new key");
    let warning = alice.complains("  now:");
    let shown = key.public().fingerprint().to_string();
    assert!(warning.contains(&shown), "{warning}");
    let package = loop {
        if let Ok(package) = Package::from_json(&peer.hears()) {
            break package;
        }
    };
    let opened =
        package.encrypted_keys.get("bob").and_then(|entry| envelope::open(&package.encrypted_message, entry, &key));
    assert!(opened.is_none(), "it was encrypted to a key that nobody accepted");
    alice.types(&format!("/accept bob {shown}"));
    alice.complains("from now on");
    alice.types("for the new key");
    let package = loop {
        if let Ok(package) = Package::from_json(&peer.hears()) {
            break package;
        }
    };
    let opened = envelope::open(&package.encrypted_message, &package.encrypted_keys["bob"], &key).unwrap();
    assert_eq!(opened.as_str(), "alice: for the new key");
    assert_eq!(alice.exit_code(), Some(0));
}

#[test]
fn lines_of_a_script_wait_for_the_room_and_the_end_of_input_ends_it_when_they_are_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.user("maker").asks("/create lobby pw", "Room 'lobby' created.");
    let mut bob = Friend::join(&server, "bob", "lobby");
    let lines = "/register bot pw\n/login bot pw\n/join lobby pw\nfirst\nsecond\n";
    let ended = run(&server.address.to_string(), &dir.path().join("id"), &[], lines);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!([bob.reads(), bob.reads()], ["bot: first", "bot: second"]);
    assert_eq!(text(&ended.stdout), "", "nothing of its own stands among what others say");
}

#[test]
fn a_join_that_fails_sends_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut maker = server.user("maker");
    maker.asks("/create lobby pw", "Room 'lobby' created.");
    maker.asks("/create den pw", "Room 'den' created.");
    let mut bob = Friend::join(&server, "bob", "lobby");
    let mut bot = Program::start(&mut client(&server.address.to_string(), &dir.path().join("id"), &[]));
    for line in ["/register bot pw", "/login bot pw", "/join lobby pw", "first", "/join den wrong"] {
        bot.types(line);
    }
    // More lines than are queued, and one that comes after the answer: none goes to the room before.
    (0..1500).for_each(|i| bot.types(&format!("secret {i} for the den")));
    bot.complains("den is not entered");
    bot.types("late secret for the den");
    bot.complains("late secret");
    bot.types("/join lobby pw");
    bot.complains("You are in lobby.");
    bot.types("last");
    assert_eq!([bob.reads(), bob.reads()], ["bot: first", "bot: last"]);
    assert_eq!(bot.exit_code(), Some(1), "a script can tell");
}

#[test]
fn two_clients_of_one_identity_do_not_lose_each_others_pins() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("id");
    let server = Server::start(dir.path());
    let mut maker = server.user("maker");
    maker.asks("/create r pw", "Room 'r' created.");
    maker.asks("/create other pw", "Room 'other' created.");
    let start = |user: &str, room: &str| {
        let client = Program::start(&mut client(&server.address.to_string(), &home, &[]));
        for line in [format!("/register {user} pw"), format!("/login {user} pw"), format!("/join {room} pw")] {
            client.types(&line);
        }
        client.complains(&format!("You are in {room}."));
        client
    };
    let mut one = start("one", "r");
    let two = start("two", "other");
    let _bob = Friend::join(&server, "bob", "other");
    two.shows("bob came");
    two.types("hello bob");
    two.complains("you can be read by: bob"); // whose key is pinned
    // The first client is shown another key for bob: what the other pinned counts.
    let key = PrivateKey::generate().unwrap();
    let mut peer = server.connect();
    peer.asks("/login bob pw", "Login successful. Welcome, bob!");
    peer.says(format!("PUBKEY::bob::{}", key.public().pem()));
    peer.says("CMD::/join r pw");
    one.shows("bob came");
    one.types("hello bob");
    one.complains("Another client has pinned");
    assert_eq!(one.exit_code(), Some(4));
}

#[test]
fn what_cannot_be_connected_to_is_said_with_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("id");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // closed again
    assert_eq!(run(&free.to_string(), &home, &[], "").status.code(), Some(3));
    assert_eq!(run("host:notaport", &home, &[], "").status.code(), Some(1));
    assert_eq!(run("x", &home, &["--nonsense"], "").status.code(), Some(1));
    // A server that speaks no TLS.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap().to_string();
    let speaker = std::thread::spawn(move || {
        let (mut socket, _): (TcpStream, _) = plain.accept().unwrap();
        let _ = std::io::Write::write_all(&mut socket, b"220 hello\r\n");
        let _ = socket.read(&mut [0; 1000]);
    });
    assert_eq!(run(&address, &home, &[], "").status.code(), Some(3));
    speaker.join().unwrap();
    // A damaged key, and damaged pins, are never taken for missing ones.
    fs::write(home.join("known_keys"), "server nonsense\n").unwrap();
    let ended = run(&free.to_string(), &home, &[], "");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(text(&ended.stderr).contains("known_keys"));
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("private_key.pem"), "damaged").unwrap();
    assert_eq!(run(&free.to_string(), &other, &[], "").status.code(), Some(1));
    assert_eq!(fs::read_to_string(other.join("private_key.pem")).unwrap(), "damaged");
}

#[test]
fn a_key_of_the_python_client_in_the_current_folder_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = tempfile::tempdir().unwrap();
    let key = PrivateKey::generate().unwrap();
    fs::write(home.path().join("private_key.pem"), key.expose_pem()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-client"));
    command.env("CHAT_SERVER", server.address.to_string()).current_dir(home.path());
    let mut alice = Program::start(&mut command);
    alice.types("/register alice pw");
    alice.types("/login alice pw");
    alice.complains("You are logged in as alice.");
    assert_eq!(alice.exit_code(), Some(0));
    assert_eq!(fs::read_to_string(home.path().join("private_key.pem")).unwrap(), key.expose_pem());
    let public = fs::read_to_string(home.path().join("public_key.pem")).unwrap();
    assert_eq!(public, **key.public().pem());
}
