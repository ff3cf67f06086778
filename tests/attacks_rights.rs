//! Nobody does what they have no right to, says it in another's name, or finds what was secret. Each test is named after what it
//! prevents.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may fail loudly"
)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, iter};

use common::client::{Client, bundle, keys, message};
use common::couple::{LegacyCouple, Member, ModernCouple, ROOM};
use common::crowd::{self, Newcomer};
use common::modern::ModernPeer;
use common::{Peer, Server};
use rustls::ClientConfig;
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::modern::{ActRequest, ActStamp, Deed, Event, RequestBody, SignedText};
use secure_chat::transcript::{RunId, Signature, Verb};

/// Guesses from many addresses at once, on a connection each.
const GUESSERS: usize = 30;

/// One guess, on the wire that its number has; what came back.
fn guess(server: &Server, number: usize) -> String {
    let (name, socket) = (["alice", "bob", "nobody"][number % 3], crowd::dial(server.address, number));
    if number.is_multiple_of(2) {
        let mut peer = Peer::over(socket);
        peer.says(format!("CMD::/login {name} guess{number}"));
        return peer.hears();
    }
    let mut peer = ModernPeer::over(socket, ClientConfig::clone(&common::trusting()));
    peer.hears_hello();
    peer.says(format!(r#"{{"type":"login","id":1,"user":"{name}","password":"guess{number}"}}"#) + "\n");
    peer.hears()
}

#[test]
fn a_flood_of_wrong_passwords_lets_nobody_in_and_locks_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = LegacyCouple::new(&server);
    let newcomer = Newcomer::default();
    let heard: Vec<_> = std::thread::scope(|scope| {
        let (server, newcomer) = (&server, &newcomer);
        let guesses = move |number| {
            let first = guess(server, number);
            let more = iter::repeat_with(|| guess(server, number));
            iter::once(first).chain(more.take_while(|_| !newcomer.is_done())).collect::<Vec<_>>()
        };
        let guesses: Vec<_> = (0..GUESSERS).map(|number| scope.spawn(move || guesses(number))).collect();
        let coming = scope.spawn(|| newcomer.comes(server));
        while !guesses.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            couple.talk();
        }
        coming.join().unwrap();
        guesses.into_iter().flat_map(|guesses| guesses.join().unwrap()).collect()
    });
    let refusals = ["Login failed. ", "Too many wrong passwords or tokens. ", "login_failed", "too_many_attempts"];
    for reply in &heard {
        assert!(refusals.iter().any(|refusal| reply.contains(refusal)), "{reply}");
    }
    assert!(heard.iter().any(|reply| reply.contains("ogin")), "none was looked at: {heard:?}");
    couple.still_talk();
    couple.alice.asks("/login alice pw", "Login successful. Welcome, alice!");
    server.has_not_panicked();
}

/// What a terminal would obey, and what would pass for the end of a line.
const EVIL: [&str; 6] = ["\x1b]0;owned\x07", "\x1b[2J", "\u{9b}2J", "\u{202e}", "\u{7f}", "\u{2028}"];

fn is_evil(c: char) -> bool {
    c.is_control() || "\u{202e}\u{2028}".contains(c)
}

/// The log is lines of text and nothing else.
fn assert_clean_log(server: &Server) {
    let log = server.log();
    assert!(!log.chars().any(|c| c != '\n' && is_evil(c)), "{log:?}");
    server.has_not_panicked();
}

#[test]
fn escape_sequences_in_any_field_come_out_nowhere_on_the_legacy_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--log", "trace"]);
    let mut couple = LegacyCouple::new(&server);
    let mut eve = server.user("eve");
    eve.asks("/join lobby pw", "eve joined the chat!");
    for evil in EVIL {
        let name = format!("x{evil}y");
        for command in ["register", "login", "create", "join", evil] {
            eve.says(format!("CMD::/{command} {name} pw"));
            eve.says(format!("CMD::/{command} lobby {name}"));
            eve.says(format!("CMD::/{command} {name}"));
        }
        eve.says(format!("PUBKEY::{name}::{name}"));
        eve.says(format!("PUBKEY::eve::{name}"));
        eve.says(format!(r#"{{"encrypted_message":"{evil}","encrypted_keys":{{}},"room":"{evil}"}}"#));
        eve.says(format!(r#"{{"encrypted_message":"t","encrypted_keys":{{"{name}":"{evil}"}},"room":"x"}}"#));
        eve.says(evil);
    }
    eve.says("CMD::/nonsense");
    eve.says("CMD::/list");
    let mut heard = Vec::new();
    while !heard.last().is_some_and(|last: &String| last.starts_with("Available rooms: ")) {
        heard.push(eve.hears());
    }
    assert!(heard.len() > 50, "{heard:?}");
    heard.extend(couple.talk());
    for heard in heard {
        assert!(!heard.chars().any(is_evil), "{heard:?}");
    }
    assert_clean_log(&server);
}

/// A line with a text of somebody's choice in each field that takes one.
fn lines_with(evil: &str) -> Vec<String> {
    let text = serde_json::to_string(&format!("x{evil}y")).unwrap();
    let with = |fields: &str| format!("{{{}}}\n", fields.replace('$', &text));
    [
        r#""type":$,"id":1"#,
        r#""type":"register","id":2,"user":$,"password":"pw""#,
        r#""type":"register","id":3,"user":"carol","password":$"#,
        r#""type":"login","id":4,"user":$,"password":$"#,
        r#""type":"passwd","id":5,"old":$,"new":$"#,
        r#""type":"account","id":6,"password":$,"legacy":true"#,
        r#""type":"create","id":7,"room":$,"password":"pw""#,
        r#""type":"create","id":8,"room":"attic","password":$"#,
        r#""type":"join","id":9,"room":$,"password":$"#,
        r#""type":"who","id":10,"room":$"#,
        r#""type":"sessions","id":11,"user":$"#,
        r#""type":"attach","id":12,"room":"lobby","encrypted_keys":{$:"QQ=="}"#,
        r#""type":"attach","id":13,"room":"lobby","encrypted_keys":{"alice":$}"#,
        r#""type":"send","id":14,"room":"lobby","kind":$,"encrypted_message":$"#,
        r#""type":"need_key","id":15,"room":"lobby","user":$,"bundle":$,"run":$,"epoch":1"#,
        r#""type":"resume","id":16,"token":$,"run":$"#,
        r#"$:$,"type":"ping","id":17"#,
    ]
    .map(with)
    .into()
}

#[test]
fn escape_sequences_in_any_field_come_out_nowhere_on_the_modern_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--log", "trace"]);
    let mut couple = ModernCouple::new(&server);
    let mut eve = Member::new(&server, "eve", 3);
    couple.talk();
    for evil in EVIL {
        let peer = &mut eve.client.peer;
        for line in lines_with(evil) {
            peer.says(line);
            let heard = loop {
                let heard = peer.hears();
                assert!(!heard.chars().any(is_evil), "{heard:?}");
                if heard.starts_with(r#"{"type":"ok""#) || heard.starts_with(r#"{"type":"error""#) {
                    break heard;
                }
            };
            // What it says goes to a person's terminal as well, and is read out of JSON first.
            let answer: serde_json::Value = serde_json::from_str(&heard).unwrap();
            assert!(!answer["text"].as_str().unwrap_or_default().chars().any(is_evil), "{heard}");
        }
        // An owner may say what the topic is. It comes to others as it was signed, and is no control character on the wire.
        let deed = Deed { verb: Verb::Topic, target: SignedText::new(""), argument: SignedText::new(evil) };
        let stamp = ActStamp { counter: 1, at: couple.alice.view.at, signature: Signature([1; 64]) };
        let act = ActRequest { room: RoomName::new(ROOM), deed, stamp, secret: None, resend: false };
        assert_eq!(eve.client.refused(RequestBody::Act(act)), "forbidden");
    }
    couple.still_talk();
    assert_clean_log(&server);
}

#[test]
fn nobody_speaks_acts_or_announces_in_anothers_name_on_the_modern_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = ModernCouple::new(&server);
    // Keys that are signed for another's account, and another's own keys.
    let (mut eve, run) = (Client::connect(&server), RunId([9; 16]));
    eve.registers("eve");
    eve.logs_in("eve");
    let alices = bundle(&eve, "alice");
    assert_eq!(eve.refused(RequestBody::Announce { keys: keys(&alices), run }), "bad_bundle");
    let own = bundle(&eve, "eve");
    eve.announces(&own, run);
    let view = eve.joins(ROOM, Some("pw"), common::client::entry(&own, run));
    couple.talk();
    // A name, a bundle and a run that nobody asked for.
    let mut line = Vec::new();
    let said = message(ROOM, "forged", 1, view.at);
    let request = secure_chat::protocol::modern::Request { id: 77, body: RequestBody::Send(said) };
    secure_chat::protocol::modern::encode_request(&request, &mut line);
    let line = String::from_utf8(line).unwrap();
    let run_of_alice = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [1; 16]);
    eve.peer.says(line.replacen('{', &format!(r#"{{"user":"alice","legacy":true,"run":"{run_of_alice}","#), 1));
    loop {
        match couple.bob.hears() {
            Event::Message(message) if message.encrypted_message == "forged" => {
                assert_eq!(message.user, UserName::new("eve"));
                break;
            }
            _ => {}
        }
    }
    // What only the owner may, she may not.
    for (verb, target) in
        [(Verb::Kick, "bob"), (Verb::Ban, "alice"), (Verb::Topic, ""), (Verb::Delete, ""), (Verb::Flags, "")]
    {
        let argument = if verb == Verb::Flags { "modern-only" } else { "" };
        let deed = Deed { verb, target: SignedText::new(target), argument: SignedText::new(argument) };
        let stamp = ActStamp { counter: 2, at: view.at, signature: Signature([1; 64]) };
        let act = ActRequest { room: RoomName::new(ROOM), deed, stamp, secret: None, resend: false };
        eve.asked.insert(77, secure_chat::protocol::modern::RequestType::Send);
        eve.events.clear();
        let id = eve.asks(RequestBody::Act(act));
        let refused = loop {
            let heard = eve.peer.hears();
            if heard.contains(&format!(r#""id":{id},"#)) {
                break heard;
            }
        };
        assert!(refused.contains(r#""code":"forbidden""#), "{refused}");
    }
    couple.talk();
    assert_eq!(couple.bob.who().len(), 3);
    server.has_not_panicked();
}

/// The requests that a client may make, one of each form.
fn requests() -> Vec<(String, String)> {
    let lines = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/modern-lines.txt")).unwrap();
    let requests = lines.lines().filter_map(|line| line.strip_prefix("C "));
    let kind = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["type"].as_str().unwrap().to_owned()
    };
    requests.map(|line| (kind(line), line.replace("#den", ROOM).replace("café", ROOM))).collect()
}

/// What each kind needs, as the table of docs/PROTOCOL.md says with its letters.
const FREE: [&str; 4] = ["ping", "register", "login", "resume"];
const IN_A_ROOM: [&str; 6] = ["who", "attach", "send", "grant", "need_key", "act"];
const ANNOUNCED: [&str; 3] = ["join", "sessions", "direct"];

#[test]
fn every_request_before_its_time_is_refused_and_does_nothing_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = ModernCouple::new(&server);
    let (mut guest, mut known, mut announced) =
        (Client::connect(&server), Client::connect(&server), Client::connect(&server));
    for (client, name) in [(&mut known, "carol"), (&mut announced, "dave")] {
        client.registers(name);
        client.logs_in(name);
    }
    let keys = bundle(&announced, "dave");
    announced.announces(&keys, RunId([4; 16]));
    let mut tried = 0;
    for (kind, line) in requests() {
        let kind = kind.as_str();
        let needs_keys = IN_A_ROOM.contains(&kind) || ANNOUNCED.contains(&kind);
        let cases = [
            (&mut guest, "login_first", !FREE.contains(&kind)),
            (&mut known, "announce_first", needs_keys),
            (&mut announced, "join_first", IN_A_ROOM.contains(&kind)),
        ];
        for (client, code, _) in cases.into_iter().filter(|(_, _, applies)| *applies) {
            client.peer.says(format!("{line}\n"));
            client.peer.is_refused(code);
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
    // Among those in another room, too.
    announced.creates("attic");
    announced.joins("attic", Some("pw"), common::client::entry(&keys, RunId([4; 16])));
    for (kind, line) in requests().into_iter().filter(|(kind, _)| IN_A_ROOM.contains(&kind.as_str())) {
        announced.peer.says(format!("{line}\n"));
        let heard = announced.peer.hears();
        assert!(heard.contains(r#""code":"room_mismatch""#), "{kind}: {heard}");
    }
    couple.talk();
    assert_eq!(couple.bob.who().len(), 2, "nothing has come of it");
    server.has_not_panicked();
}

#[test]
fn every_command_before_its_time_is_refused_and_does_nothing_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = LegacyCouple::new(&server);
    let mut guest = server.connect();
    let package = r#"{"encrypted_message":"t","encrypted_keys":{},"room":"lobby"}"#;
    for command in ["/create attic pw", "/list", "/join lobby pw", "/join lobby", "/join"] {
        guest.asks(command, "You must /login first.");
    }
    guest.says(package);
    assert_eq!(guest.hears(), "You must /join a room to chat.");
    let mut carol = server.user("carol");
    carol.says(package);
    assert_eq!(carol.hears(), "You must /join a room to chat.");
    carol.asks("/join lobby wrong", "Incorrect room password.");
    carol.asks("/create attic pw", "Room 'attic' created.");
    carol.asks("/join attic pw", "carol joined the chat!");
    carol.says(package);
    assert_eq!(carol.hears(), "Error: message room mismatch.");
    carol.asks("/register god pw", "Cannot create 'god' user. That is reserved.");
    assert_eq!(couple.talk(), [""; 0], "nothing has come of it");
    server.has_not_panicked();
}

/// Everything that may hold a secret in one of the forms in which it might lie there.
fn assert_nowhere(folder: &Path, secrets: &[&str]) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            files += assert_nowhere(&entry.path(), secrets);
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap_or_default();
        files += 1;
        for secret in secrets {
            let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, secret);
            for form in [secret.as_bytes(), base64.as_bytes()] {
                let found = bytes.windows(form.len()).any(|window| window == form);
                assert!(!found, "{secret} lies in {}", entry.path().display());
            }
        }
    }
    files
}

/// A program that would leave a core dump if it could, in the folder where it would leave it.
fn with_dumps(program: &str, dir: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\"", program]).current_dir(dir);
    command
}

/// Passwords, a room's password and a text, all of which only memory may know.
const SECRETS: [&str; 4] = ["canary-of-god", "canary-of-alice", "canary-of-a-room", "canary-of-a-text"];

#[test]
fn no_canary_is_left_in_a_log_a_history_a_data_folder_or_a_core_dump() {
    let dir = tempfile::tempdir().unwrap();
    let [data, home, god] = ["data", "home", "god"].map(|name| dir.path().join(name));
    fs::create_dir(&data).unwrap();
    fs::write(&god, "canary-of-god\n").unwrap();
    let mut server = with_dumps(env!("CARGO_BIN_EXE_chat-server"), &data);
    server.args(["--listen", "127.0.0.1:0", "--log", "trace", "--data-dir"]).arg(&data);
    server.arg("--god-password-file").arg(&god).stderr(fs::File::create(data.join("server.log")).unwrap());
    let mut server = server.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut said = std::io::BufReader::new(server.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut first).unwrap();
    let address = first.trim().strip_prefix("Listening on ").unwrap();
    let mut client = with_dumps(env!("CARGO_BIN_EXE_chat-client"), dir.path());
    client.arg(address).arg("--identity").arg(&home);
    let client = common::programs::Program::start(&mut client);
    for line in [
        "/register alice canary-of-alice",
        "/login alice canary-of-alice",
        "/create den canary-of-a-room",
        "/join den canary-of-a-room",
    ] {
        client.types(line);
    }
    client.complains("You are in den");
    client.types("canary-of-a-text");
    client.types("/who");
    client.complains("alice");
    // Both crash, with all of it in their memory.
    for child in [client.child.id(), server.id()] {
        assert!(Command::new("kill").args(["-ABRT", &child.to_string()]).status().unwrap().success());
    }
    drop(client);
    server.wait().unwrap();
    fs::remove_file(god).unwrap();
    let files = assert_nowhere(dir.path(), &SECRETS);
    assert!(files >= 6, "{files} files were looked at");
    let is_core = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("core");
    for folder in [&data, dir.path()] {
        assert!(!fs::read_dir(folder).unwrap().flatten().any(is_core), "a core dump in {}", folder.display());
    }
}
