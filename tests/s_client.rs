//! The session by hand in `docs/PROTOCOL.md`, played through the real `openssl s_client` as it stands there: the document and
//! this test read one text.

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

mod common;

use std::fs;
use std::process::Command;

use common::Server;
use common::programs::Program;
use secure_chat::protocol::modern::RequestType;
use serde_json::Value;

/// Fields that are others at each start, and so stand in the document as examples.
const VOLATILE: [&str; 4] = ["realm", "signature", "room_id", "time"];

/// The session, line by line, its command first.
fn session() -> Vec<String> {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PROTOCOL.md")).unwrap();
    let (_, section) = document.split_once("### By hand\n").expect("the section of that name");
    let block = section.split("```").nth(1).expect("the session stands in a block");
    block.trim().lines().map(str::to_owned).collect()
}

/// Whether a person types this line, by the document's rule: its type is that of a request.
fn is_typed(line: &str) -> bool {
    let line: Value = serde_json::from_str(line).unwrap();
    RequestType::from_word(line["type"].as_str().unwrap()).is_some()
}

/// A line in which the length of what is volatile stands for it: of a time the number of its digits.
fn comparable(line: &str) -> String {
    let parsed: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    VOLATILE.iter().filter_map(|field| Some((field, parsed.get(field)?))).fold(
        line.to_owned(),
        |line, (field, value)| {
            let stated = format!("\"{field}\":{value}");
            assert!(line.contains(&stated), "{line}");
            line.replace(&stated, &format!("\"{field}\":<{}>", value.to_string().len()))
        },
    )
}

fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    assert!(found || std::env::var("CI").as_deref() != Ok("true"), "there is no openssl");
    found
}

#[test]
fn the_session_by_hand_goes_as_the_document_shows_it() {
    if !has_openssl() {
        return eprintln!("SKIPPED: there is no openssl");
    }
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--motd", "Welcome!"]);
    let session = session();
    let (command, lines) = session.split_first().unwrap();
    let command = command.strip_prefix("$ ").expect("the command stands behind a prompt");
    let mut words: Vec<_> = command.split(' ').map(str::to_owned).collect();
    *words.last_mut().unwrap() = server.address.to_string();
    let client = Program::start(Command::new(&words[0]).args(&words[1..]));
    for line in lines {
        match is_typed(line) {
            true => client.types(line),
            false => assert_eq!(comparable(&client.shows("")), comparable(line)),
        }
    }
    let typed = lines.iter().filter(|line| is_typed(line)).count();
    assert!((5..lines.len()).contains(&typed), "{typed} of {} lines are typed", lines.len());
    drop(client);
    assert_eq!(server.stop(), 0);
}
