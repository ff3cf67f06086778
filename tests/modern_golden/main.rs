//! Golden transcripts of the modern wire: who says which line, who hears which lines, over real TLS to the real server.
//!
//! `tests/golden/modern.txt` is the script. What is another value at each run has a name there; hashes of logs and rosters,
//! signatures, wraps and tokens are computed and checked as a client does, and every message is opened by its readers.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "tests may fail loudly"
)]

mod cast;
#[path = "../common/mod.rs"]
mod common;
mod make;
mod reader;
mod script;
mod stage;
mod values;

use std::fs;

use secure_chat::protocol::modern::{ByeReason, EventType, RemovedWhy, RequestType};
use stage::{Heard, Stage};

fn read(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What the specification says that a client may hear: of each request of its table an `ok` and every error, and all events.
fn specified() -> Heard {
    let document = read("docs/PROTOCOL.md");
    let (_, section) = document.split_once("### Requests\n").unwrap();
    let (section, _) = section.split_once("\n#").unwrap();
    let mut specified: Heard = section.lines().filter(|line| line.starts_with("| `")).flat_map(row).collect();
    assert!(RequestType::ALL.iter().all(|kind| specified.contains(&pair(kind.as_str(), "ok"))), "{specified:?}");
    specified.extend(["bad_json", "bad_request", "line_too_long"].map(|word| pair("-", word)));
    for kind in EventType::ALL {
        match kind {
            EventType::Removed => specified.extend(RemovedWhy::ALL.iter().map(|why| removed(*why))),
            EventType::Bye => specified.extend(ByeReason::ALL.iter().map(|reason| bye(*reason))),
            kind => _ = specified.insert(pair("event", kind.as_str())),
        }
    }
    specified
}

fn pair(of: &str, what: &str) -> (String, String) {
    (of.to_owned(), what.to_owned())
}

fn removed(why: RemovedWhy) -> (String, String) {
    pair("event", &format!("removed {}", why.as_str()))
}

fn bye(reason: ByeReason) -> (String, String) {
    pair("event", &format!("bye {}", reason.as_str()))
}

/// What a row of the table promises.
fn row(line: &str) -> Vec<(String, String)> {
    let [_, request, fields, _, errors, _] = line.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
    let mut words = request.split('`');
    let (request, letters) = (words.nth(1).unwrap(), words.next().unwrap());
    let mut answers = vec!["ok"];
    if !fields.trim().is_empty() {
        answers.push("bad_request");
    }
    for (letter, error) in
        [("UAR", "login_first"), ("AR", "announce_first"), ("R", "join_first"), ("R", "room_mismatch")]
    {
        answers.extend(letters.contains(|c| letter.contains(c)).then_some(error));
    }
    answers.extend(errors.split('`').skip(1).step_by(2));
    answers.into_iter().map(|answer| pair(request, answer)).collect()
}

/// What the transcript cannot show, and why.
fn unheard() -> Heard {
    Heard::from([
        removed(RemovedWhy::ModernOnly), // who is removed so is on the legacy wire, and hears it in its words
        bye(ByeReason::Silent),          // takes 75 s: see the keep-alive's tests
        bye(ByeReason::TooSlow),         // comes behind megabytes that were not read: see the attacks' tests
        // These take an hour, a thousand accounts or an option of the server: see hub_limits and limits.
        bye(ByeReason::LoginTimeout),
        bye(ByeReason::Idle),
        pair("register", "registration_closed"),
        pair("register", "registration_token"),
        pair("register", "too_many_attempts"),
        pair("register", "too_many_accounts"),
        pair("register", "too_many_registrations"),
        pair("login", "too_many_sessions"),
        pair("resume", "too_many_sessions"),
        pair("create", "too_many_rooms"),
        pair("create", "too_many_own_rooms"),
        pair("create", "too_many_new_rooms"),
    ])
}

/// Says, when the test fails, which line it was.
struct Place<'a>(usize, &'a str);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in line {} of the script: {}", self.0, self.1);
        }
    }
}

#[test]
fn everybody_says_and_hears_what_the_transcript_shows() {
    let script = read("tests/golden/modern.txt");
    let mut stage = Stage::new();
    for (number, line) in script.lines().enumerate() {
        let _place = Place(number + 1, line);
        script::parse(line).iter().for_each(|(times, step)| stage.play(*times, step));
    }
    stage.end();
    let missing: Heard = specified().difference(&stage.heard).cloned().collect();
    assert_eq!(missing, unheard(), "what the specification names and the transcript does not show");
}
