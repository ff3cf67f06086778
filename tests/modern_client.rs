//! The real client on the modern wire, with the real server: talk, trust, scripts, lost connections.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::programs::Program;
use common::proxy::Proxy;
use common::terminal::Screen;
use common::{Friend, GOD, Server, wait_until};
use crossbeam_channel::unbounded;
use portable_pty::CommandBuilder;
use secure_chat::client::connect::{Expectation, connect};
use secure_chat::client::dial::{Dialer, greet};
use secure_chat::client::input::Typing;
use secure_chat::client::key_file::KeyFile;
use secure_chat::client::key_name::KeyName;
use secure_chat::client::known_keys::Change;
use secure_chat::client::session::{Client, Person, Session, work};
use secure_chat::client::wire::Wire;
use secure_chat::client::{modern, screen};
use secure_chat::crypto::{PrivateKey, SigningKey};
use secure_chat::tls::Roots;

fn client(server: &str, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-client"));
    command.arg(server).arg("--identity").arg(home);
    command
}

/// Somebody who is logged in; the account is new.
fn person(server: &Server, dir: &Path, name: &str) -> Program {
    let person = Program::start(&mut client(&server.address.to_string(), &dir.join(name)));
    person.types(&format!("/register {name} pw"));
    person.types(&format!("/login {name} pw"));
    person.complains(&format!("You are logged in as {name}."));
    person
}

fn joins(person: &Program, room: &str) {
    person.types(&format!("/join {room} pw"));
    person.complains(&format!("You are in {room}"));
}

/// Two people in a room that the first has made.
fn two_in_a_room(server: &Server, dir: &Path) -> (Program, Program) {
    let (alice, bob) = (person(server, dir, "alice"), person(server, dir, "bob"));
    alice.types("/create den pw");
    joins(&alice, "den");
    joins(&bob, "den");
    alice.shows("bob came");
    (alice, bob)
}

/// Runs a script until it ends.
fn run(server: &str, home: &Path, script: &str) -> Output {
    let mut command = client(server, home);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()); // it may have ended
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn two_people_talk_compare_a_number_and_verify_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut alice, mut bob) = two_in_a_room(&server, dir.path());
    alice.types("hello bob");
    alice.complains("From now on you can be read by: bob (pinned).");
    assert_eq!(bob.shows("hello bob"), "alice (pinned): hello bob");
    bob.types("hello alice");
    assert_eq!(alice.shows("hello alice"), "bob (pinned): hello alice");

    let number = |of: &Program, other: &str| {
        of.types(&format!("/verify {other}"));
        of.complains("The safety number");
        of.complains("  ").trim_start_matches(['*', ' ']).to_owned()
    };
    let (one, other) = (number(&alice, "bob"), number(&bob, "alice"));
    assert_eq!(one, other);
    assert_eq!(one.chars().filter(char::is_ascii_digit).count(), 60, "{one}");
    alice.types("/verify bob yes");
    alice.complains("bob is verified.");
    bob.types("from bob");
    assert_eq!(alice.shows("from bob"), "bob (verified): from bob");
    alice.types("from alice");
    assert_eq!(bob.shows("from alice"), "alice (pinned): from alice", "each verifies for itself");

    bob.types("/msg alice for you alone");
    assert_eq!(alice.shows("alone"), "bob (verified, direct): for you alone");
    alice.types("/topic tea: black");
    assert_eq!(bob.shows("tea"), "alice (pinned) set the topic: tea: black");
    alice.types("/kick bob too loud");
    assert_eq!(bob.shows("kicked"), "alice (pinned) kicked bob: too loud");
    bob.shows("You are not in den any more: you were kicked.");
    bob.types("to nobody");
    bob.complains("Not sent: /join a room first.");
    assert_eq!((alice.exit_code(), bob.exit_code()), (Some(0), Some(1)));

    // What was verified is remembered.
    let known = fs::read_to_string(dir.path().join("alice/known_keys")).unwrap();
    assert!(known.lines().any(|line| line.contains("bob") && line.contains("verified")), "{known}");
}

#[test]
fn god_needs_no_password_of_a_room_and_is_seen_by_all() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (alice, _bob) = two_in_a_room(&server, dir.path());
    let god = Program::start(&mut client(&server.address.to_string(), &dir.path().join("god")));
    god.types(&format!("/login god {GOD}"));
    god.types("/join den");
    god.complains("You are in den. 3 sessions are here.");
    alice.shows("god came");
    alice.types("can god read this?");
    alice.complains("god (pinned)");
    god.shows("alice (pinned): can god read this?");
    let eve = person(&server, dir.path(), "eve");
    eve.types("/join den");
    eve.complains("den is not entered");
}

#[test]
fn a_script_ends_when_the_server_took_everything_and_its_exit_code_tells() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let address = server.address.to_string();
    let (alice, _bob) = two_in_a_room(&server, dir.path());
    let home = dir.path().join("bot");
    let many: String = (0..300).map(|i| format!("line {i}\n")).collect();
    let ended = run(&address, &home, &format!("/register bot pw\n/login bot pw\n/join den pw\n{many}"));
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(text(&ended.stdout), "", "nothing of its own stands among what others say");
    for i in 0..300 {
        assert_eq!(alice.shows("line "), format!("bot (pinned): line {i}"));
    }
    alice.shows("bot (pinned) left");
    for (script, code, why) in [
        ("/login bot pw\n/join den wrong\nsecret for the den\n", 1, "Not sent: the /join before failed"),
        ("/login bot wrong\n", 1, "Not everything was sent"),
        ("/login bot pw\n/nonsense\n", 1, "There is no command"),
        ("/login bot pw\n/join den pw\n/msg nobody hi\n", 1, "Not sent: "),
        ("/login bot pw\n/join den pw\n/quit\nnever taken\n", 0, ""),
        ("/login bot pw\n/join den pw\n/passwd\npw\nnew\nnew\n", 1, "passwords are asked for at a terminal alone"),
        ("/login bot\npw\n", 1, "passwords are asked for at a terminal alone"),
        ("/login bot pw\n/join den pw\n\t/PASSWD\npw\n", 1, "line 3 lacks a password"),
        ("/login bot pw\n/join den pw\n/register eve\npw\n", 1, "line 3 lacks a password"),
        ("/login bot pw\n/join nowhere pw\n", 1, "nowhere is not entered"),
        ("/login bot pw\n/who\n", 1, "You are in no room"),
        ("/login bot pw\n/accept alice\n", 1, "alice has shown no other key"),
        ("/login bot pw\n/topic\n", 1, "You are in no room"),
    ] {
        let ended = run(&address, &home, script);
        assert_eq!(ended.status.code(), Some(code), "{script}: {ended:?}");
        assert!(text(&ended.stderr).contains(why), "{script}: {ended:?}");
    }
    // What followed a line without its password was heard by nobody.
    run(&address, &home, "/login bot pw\n/join den pw\nthe end\n");
    let heard: Vec<String> =
        std::iter::repeat_with(|| alice.shows("bot (pinned)")).take_while(|line| !line.ends_with("the end")).collect();
    assert!(heard.iter().all(|line| line == "bot (pinned) left"), "{heard:?}");
}

#[cfg(unix)]
#[test]
fn who_is_ended_by_a_signal_says_so_to_the_room() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (alice, bob) = two_in_a_room(&server, dir.path());
    let killed = Command::new("kill").args(["-TERM", &bob.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    alice.shows("bob (pinned) left");
}

#[test]
fn a_script_whose_connection_is_lost_ends_with_the_exit_code_for_that() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let proxy = Proxy::to(server.address);
    let mut alice = Program::start(&mut client(&proxy.address.to_string(), &dir.path().join("alice")));
    alice.types("/register alice pw");
    alice.complains("The account alice is made");
    proxy.cut();
    alice.complains("The connection to the server is lost");
    assert_eq!(alice.exit_code(), Some(3));
    assert_eq!(proxy.taken(), 1);
}

#[test]
fn who_reads_no_further_ends_the_client_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (_alice, bob) = two_in_a_room(&server, dir.path());
    let mut command = client(&server.address.to_string(), &dir.path().join("eve"));
    let mut eve = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(eve.stdout.take());
    let mut stdin = eve.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"/register eve pw\n/login eve pw\n/join den pw\n").unwrap();
    bob.shows("eve came");
    bob.types("is anybody reading?");
    assert_eq!(eve.wait().unwrap().code(), Some(0));
}

#[test]
fn a_connection_that_is_cut_is_made_again_and_each_line_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (_alice, bob) = two_in_a_room(&server, dir.path());
    let proxy = Proxy::to(server.address);
    let carol = Screen::client(&proxy.address.to_string(), &dir.path().join("carol"), &[]);
    carol.enters("/register carol pw", "The account carol is made");
    carol.enters("/login carol pw", "You are logged in as carol.");
    carol.enters("/join den pw", "You are in den.");
    carol.enters("before", "you can be read by");
    assert_eq!(bob.shows("carol (pinned): "), "carol (pinned): before");
    for round in 0..3 {
        proxy.goes_down();
        wait_until("the loss is seen", || carol.text().matches("The connection to the server is lost").count() > round);
        carol.types(&format!("said while away {round}\r"));
        bob.types(&format!("missed {round}"));
        proxy.is_back();
        assert_eq!(bob.shows("carol (pinned): "), format!("carol (pinned): said while away {round}"));
    }
    assert_eq!(proxy.taken(), 4);
    bob.types("are you back?");
    carol.shows("bob (pinned): are you back?");
    carol.types("half a li");
    carol.edits("> half a li");
    proxy.cut();
    bob.shows("carol is back");
    assert_eq!(proxy.taken(), 5);
    bob.types("do you hear me?");
    carol.shows("bob (pinned): do you hear me?");
    carol.edits("> half a li");
    let log = server.log();
    assert_eq!(log.matches("logged in").count(), 3, "tokens take the place of passwords: {log}");
}

#[test]
fn after_a_restart_of_the_server_one_logs_in_again_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let address = server.address.to_string();
    let screen = Screen::client(&address, &dir.path().join("alice"), &[]);
    screen.enters("/register alice pw", "The account alice is made");
    screen.enters("/login alice pw", "You are logged in as alice.");
    screen.enters("/create den pw", "you are its owner");
    screen.enters("/join den pw", "You are in den.");
    assert_eq!(server.stop(), 0);
    screen.shows("-- The server is shutting down");
    screen.shows("Trying again in");
    // Its certificate is a new one: the realm is the same, and that is what counts.
    fs::remove_dir_all(dir.path().join("certs")).unwrap();
    let server = Server::start_with(dir.path(), &["--listen", &address]);
    screen.shows("Log in again: /login");
    screen.enters("/login alice pw", "You are logged in as alice.");
    screen.enters("/join den pw", "You are in den.");
    let known = fs::read_to_string(dir.path().join("alice/known_keys")).unwrap();
    assert!(known.contains(&server.fingerprint), "the new certificate is known: {known}");
}

#[test]
fn another_server_in_the_place_of_the_known_one_gets_nothing_and_ends_the_client() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(dir.path());
    let address = server.address.to_string();
    let mut screen = Screen::client(&address, &dir.path().join("alice"), &[]);
    screen.enters("/register alice pw", "The account alice is made");
    screen.enters("/login alice pw", "You are logged in as alice.");
    assert_eq!(server.stop(), 0);
    screen.shows("Trying again in");
    let fake = Server::start_with(other.path(), &["--listen", &address]);
    assert_eq!(screen.exit_code(), 4);
    screen.shows("IS ANOTHER SERVER");
    screen.shows("--accept-realm");
    assert!(!fake.log().contains("logged in"), "{}", fake.log());
}

#[test]
fn a_renewed_certificate_is_no_matter_where_the_realm_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("alice");
    let server = Server::start(dir.path());
    let address = server.address.to_string();
    assert_eq!(run(&address, &home, "").status.code(), Some(0));
    assert_eq!(server.stop(), 0);
    fs::remove_dir_all(dir.path().join("certs")).unwrap();
    let server = Server::start_with(dir.path(), &["--listen", &address]);
    let renewed = run(&address, &home, "");
    assert_eq!(renewed.status.code(), Some(0), "{renewed:?}");
    let words = text(&renewed.stderr);
    assert!(words.contains(&server.fingerprint) && words.contains("Its realm is the known one"), "{words}");
}

#[test]
fn who_vouches_is_said_in_colour_where_there_is_colour_and_always_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let address = server.address.to_string();
    let (alice, bob) = two_in_a_room(&server, dir.path());
    let start = |name: &str, variables: &[(&str, &str)]| {
        let screen = Screen::client(&address, &dir.path().join(name), variables);
        screen.enters(&format!("/register {name} pw"), "is made");
        screen.enters(&format!("/login {name} pw"), "You are logged in");
        screen.enters("/join den pw", "You are in den.");
        screen
    };
    let (coloured, plain) = (start("carol", &[]), start("dave", &[("NO_COLOR", "1")]));
    let _old = Friend::join(&server, "old", "den");
    for screen in [&coloured, &plain] {
        screen.shows("-- old came, on the old wire, unsigned");
    }
    alice.types("from alice");
    bob.types("from bob");
    for screen in [&coloured, &plain] {
        screen.shows("alice (pinned): from alice");
        screen.shows("bob (pinned): from bob");
        screen.types("half a li");
        screen.edits("> half a li");
    }
    for screen in [&coloured, &plain] {
        screen.types("\x15");
        screen.edits(">");
        screen.enters("/verify bob", "The safety number");
        screen.enters("/verify bob yes", "bob is verified.");
    }
    bob.types("again");
    for screen in [&coloured, &plain] {
        screen.shows("bob (verified): again");
    }
    let raw = coloured.raw();
    for name in ["\x1b[36malice\x1b[0m (pinned)", "\x1b[32mbob\x1b[0m (verified)"] {
        assert!(raw.contains(name), "{name:?} in {raw:?}");
    }
    assert!(!plain.raw().contains("\x1b[3"), "{:?}", plain.raw());
}

#[test]
fn a_screen_reader_gets_lines_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (_alice, bob) = two_in_a_room(&server, dir.path());
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_chat-client"));
    command.args([&server.address.to_string(), "--identity"]);
    command.arg(dir.path().join("carol"));
    let mut screen = Screen::start_as("dumb", command);
    screen.types("/register carol s3cret\r");
    screen.shows("* The account carol is made.");
    screen.types("/login carol\r");
    screen.shows("Password:");
    screen.types("s3cret-but-wrong\r");
    screen.shows("Invalid user name or password");
    screen.types("/login carol s3cret\r/join den pw\r");
    screen.shows("* You are in den.");
    bob.types("hello carol");
    screen.shows("bob (pinned): hello carol");
    screen.types("/quit\r");
    assert_eq!(screen.exit_code(), 1, "the first log-in failed");
    let raw = screen.raw();
    assert!(!raw.contains('\x1b') && !raw.contains("but-wrong"), "{raw:?}");
}

#[test]
fn passwords_are_asked_for_hidden_and_new_ones_twice() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let screen = Screen::client(&server.address.to_string(), &dir.path().join("alice"), &[]);
    let asked = |line: &str, answers: &[(&str, &str)], leads_to: &str| {
        screen.types(&format!("{line}\r"));
        for (question, answer) in answers {
            screen.edits(question);
            screen.types(answer);
            screen.edits(&format!("{question} {}", "*".repeat(answer.len())));
            screen.types("\r");
        }
        screen.shows(leads_to);
        screen.edits("> ");
    };
    screen.enters("/register alice pw", "is made");
    asked("/login alice", &[("Password:", "pw")], "You are logged in as alice.");
    let new = [("Old password:", "pw"), ("New password:", "s3cret"), ("The same again:", "s3cret")];
    asked("/passwd", &new, "Your password is changed.");
    asked("/account legacy off", &[("Password:", "s3cret")], "cannot log in on the old wire any more");
    screen.enters("/create den pw", "you are its owner");
    screen.enters("/join den pw", "You are in den.");
    let new = [("New password of the room:", "s3cret-den"), ("The same again:", "s3cret-den")];
    asked("/room passwd", &new, "alice (you) changed the room's password");
    assert!(!screen.raw().contains("s3cret"), "{}", screen.raw());
    let ended =
        run(&server.address.to_string(), &dir.path().join("alice"), "/login alice s3cret\n/join den s3cret-den\n");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

/// A safety number's digits are others each time, and on a busy machine the server may take long.
fn masked(text: &str) -> String {
    let mask = |line: &str| match line.strip_prefix("*   ") {
        Some(number) => format!("*   {}", number.replace(|c: char| c.is_ascii_digit(), "0")),
        None => line.trim_end().to_owned(),
    };
    let is_late = |line: &&str| ["* Not accepted by", "* Accepted now"].iter().any(|late| line.starts_with(late));
    text.lines().filter(|line| !is_late(line)).map(mask).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_session_in_the_readme_is_a_real_one() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let session = readme.split("```").find(|block| block.starts_with("\n> /register alice")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let address = server.address.to_string();
    let alice = Screen::client(&address, &dir.path().join("alice"), &[]);
    let types = |line: &str, leads_to: &str| {
        assert!(session.contains(&format!("\n> {line}\n")), "{line}");
        alice.enters(line, leads_to);
    };
    alice.shows("/help says more."); // what is typed before it would stand above it
    types("/register alice wonderland", "is made");
    alice.types("/login alice\r");
    alice.edits("Password:");
    alice.types("wonderland");
    alice.edits("Password: **********");
    alice.enters("", "You are logged in as alice.");
    types("/create garden roses", "you are its owner");
    types("/join garden roses", "You are in garden.");
    types("hello?", "Nobody else");
    let bob = Screen::client(&address, &dir.path().join("bob"), &[]);
    bob.enters("/register bob pw", "is made");
    bob.enters("/login bob pw", "You are logged in as bob.");
    bob.enters("/join garden roses", "You are in garden.");
    bob.enters("hi alice!", "you can be read by");
    alice.shows("hi alice!");
    types("there you are", "you can be read by");
    bob.shows("there you are");
    types("/verify bob", "/verify bob yes");
    types("/verify bob yes", "bob is verified.");
    bob.enters("it is me", "it is me");
    alice.shows("it is me");
    bob.types("/quit\r");
    alice.shows("left");
    alice.types("/quit");
    alice.edits("> /quit");
    let text = alice.text();
    let shown = text.get(text.find("> /register").unwrap()..).unwrap();
    assert_eq!(masked(shown), masked(session.trim()));
}

#[test]
fn an_account_on_two_devices_is_one_person_and_another_key_in_its_name_is_loud() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (alice, bob) = two_in_a_room(&server, dir.path());
    alice.types("from the first device");
    bob.shows("alice (pinned): from the first device");

    let (passphrase, file, second) =
        (dir.path().join("passphrase"), dir.path().join("me.key"), dir.path().join("second"));
    fs::write(&passphrase, "correct horse\n").unwrap();
    for (home, what) in [(&dir.path().join("alice"), "export"), (&second, "import")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat-client"));
        command.args(["key", what]).arg(&file).arg("--identity").arg(home).arg("--passphrase-file").arg(&passphrase);
        assert!(command.output().unwrap().status.success());
    }
    let start = |home: &Path| {
        let client = Program::start(&mut client(&server.address.to_string(), home));
        client.types("/login alice pw");
        joins(&client, "den");
        client
    };
    let second = start(&second);
    second.types("from the second device");
    assert_eq!(alice.shows("second"), "alice (you): from the second device");
    assert_eq!(bob.shows("second"), "alice (pinned): from the second device");
    bob.types("to both");
    alice.shows("bob (pinned): to both");
    second.shows("bob (pinned): to both");

    let third = start(&dir.path().join("third"));
    third.types("from a device that nobody knows");
    let shown = bob.complains("now:");
    let key = shown.split_whitespace().find(|word| word.starts_with("ed25519:")).unwrap();
    bob.types("for known devices alone");
    alice.shows("bob (pinned): for known devices alone");
    bob.types(&format!("/accept alice {key}"));
    bob.complains("It is not verified");
    third.types("again");
    assert_eq!(bob.shows("again"), "alice (pinned): again");
    bob.types("for the new key");
    assert_eq!(third.shows("for"), "bob (pinned): for the new key", "and nothing of before");
}

/// What is printed above the line that is edited.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<String>>);

impl rustyline::ExternalPrinter for Paper {
    fn print(&mut self, line: String) -> rustyline::Result<()> {
        self.0.lock().unwrap().push_str(&line);
        Ok(())
    }
}

/// Work as it is where there is much of it.
fn slow_work(job: modern::Job) -> modern::Done {
    if let modern::Job::Wrap(_) = job {
        std::thread::sleep(Duration::from_millis(600));
    }
    work(job)
}

#[test]
fn how_far_slow_work_is_can_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (_alice, bob) = two_in_a_room(&server, dir.path());
    let (typist, typing) = unbounded();
    let (_signal, signals) = unbounded();
    let paper = Paper::default();
    let carol = {
        let (dir, address, paper) = (dir.path().to_owned(), server.address.to_string(), paper.clone());
        std::thread::spawn(move || carol_runs(&dir, &address, typing, signals, paper))
    };
    for line in ["/register carol pw", "/login carol pw", "/join den pw", "hello"] {
        typist.send(Typing::Line(line.to_owned())).unwrap();
    }
    bob.shows("carol (pinned): hello");
    let shown = paper.0.lock().unwrap().clone();
    assert!(shown.contains("* Preparing keys for 2 readers: 100%\n"), "{shown}");
    typist.send(Typing::End).unwrap();
    carol.join().unwrap();
}

/// A client in this process.
fn carol_runs(
    dir: &Path,
    address: &str,
    typing: crossbeam_channel::Receiver<Typing>,
    signals: crossbeam_channel::Receiver<()>,
    paper: Paper,
) {
    let address: secure_chat::client::options::Address = address.parse().unwrap();
    let roots = Roots { authorities: rustls::RootCertStore::empty(), exact: Vec::new() };
    let connected = connect(&address, roots.clone(), Expectation::default()).unwrap();
    let Wire::Modern { exporter } = connected.wire else { panic!("the old wire") };
    let greeted = greet(&address, None, connected, exporter).unwrap();
    let keys = KeyFile::in_folder(dir);
    let (server, realm) = (greeted.met.server, greeted.realm);
    let change = Change::Server { address: address.to_string(), before: None, server };
    let pins = keys.remember(&[change]).unwrap().pins(KeyName::from(realm));
    let config = modern::Config {
        realm,
        signing_key: SigningKey::from_seed(&[3; 32]),
        rsa: Arc::new(PrivateKey::generate().unwrap()),
        pins,
        seed: [3; 32],
        scripted: false,
    };
    let screen = screen::Screen::above(Box::new(paper), false).unwrap();
    let person = Person { typing, signals, screen, keys };
    let client = Client::Modern(modern::Machine::new(config).into());
    let dialer = Dialer { address, roots, server };
    Session::new(client, person, slow_work).unwrap().run_modern(greeted, dialer).unwrap();
}
