//! The lines in `tests/golden/modern-lines.txt` are those that this program reads and writes, byte for byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

use std::collections::HashSet;

use secure_chat::protocol::modern::{
    Answer, ErrorCode, ErrorWord, EventType, FromServer, RequestType, decode_request, decode_server, encode_answer,
    encode_event, encode_hello, encode_request,
};

const LINES: &str = include_str!("golden/modern-lines.txt");

/// Each line with who says it and what was asked before.
fn lines() -> impl Iterator<Item = (Option<&'static str>, &'static str)> {
    LINES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        match line.split_at_checked(2).expect("a line that says who speaks") {
            ("C ", line) => (None, line),
            ("S ", rest) => rest.split_once(' ').map(|(asked, line)| (Some(asked), line)).unwrap(),
            _ => panic!("neither C nor S: {line}"),
        }
    })
}

/// Reads a line of a server and writes it again.
fn rewrite(line: &str, asked: &str) -> Vec<u8> {
    let mut written = Vec::new();
    match read(line, asked) {
        FromServer::Hello(hello) => encode_hello(&hello, &mut written),
        FromServer::Answer(answer) => encode_answer(&answer, &mut written),
        FromServer::Event(event) => encode_event(&event, &mut written),
        FromServer::Unknown => panic!("unknown: {line}"),
    }
    written
}

/// Reads a client's line and writes it again.
fn rewrite_request(line: &str) -> Vec<u8> {
    let request = decode_request(line.as_bytes()).unwrap_or_else(|r| panic!("{r:?}: {line}"));
    let mut written = Vec::new();
    encode_request(&request, &mut written);
    written
}

fn read(line: &str, asked: &str) -> FromServer {
    decode_server(line.as_bytes(), |_| RequestType::from_word(asked)).unwrap_or_else(|e| panic!("{e}: {line}"))
}

#[test]
fn every_line_is_read_and_written_as_it_stands_there() {
    for (asked, line) in lines() {
        let written = match asked {
            None => rewrite_request(line),
            Some(asked) => rewrite(line, asked),
        };
        assert_eq!(String::from_utf8(written).unwrap(), format!("{line}\n"));
    }
}

#[test]
fn there_is_a_line_of_each_kind() {
    let mut seen = HashSet::new();
    for (asked, line) in lines() {
        match asked {
            None => seen.insert(format!("{:?}", decode_request(line.as_bytes()).unwrap().body.kind())),
            Some(asked) => match read(line, asked) {
                FromServer::Answer(Answer::Ok { .. }) => seen.insert(format!("ok {asked}")),
                FromServer::Answer(Answer::Part { .. }) => seen.insert(format!("part {asked}")),
                FromServer::Answer(Answer::Error { code, .. }) => seen.insert(format!("error {:?}", code.kind())),
                FromServer::Event(event) => seen.insert(format!("event {:?}", event.kind())),
                FromServer::Hello(_) | FromServer::Unknown => false,
            },
        };
    }
    let requests = RequestType::ALL.iter().flat_map(|kind| [format!("{kind:?}"), format!("ok {}", kind.as_str())]);
    let parts = ["list", "who", "bundles"].map(|asked| format!("part {asked}"));
    let events = EventType::ALL.iter().map(|kind| format!("event {kind:?}"));
    let errors = ErrorWord::ALL.iter().filter(|word| **word != ErrorWord::Other).map(|word| format!("error {word:?}"));
    for kind in requests.chain(parts).chain(events).chain(errors) {
        assert!(seen.contains(&kind), "no line of {kind}");
    }
}

#[test]
fn an_error_says_in_a_sentence_what_its_code_means() {
    for (_, line) in lines() {
        let Ok(FromServer::Answer(Answer::Error { id, code, text })) = decode_server(line.as_bytes(), |_| None) else {
            continue;
        };
        assert_eq!(Answer::error(id, code), Answer::Error { id, code, text: text.clone() });
        assert!(text.as_str().ends_with('.') && text.as_str().len() < 100, "{text}");
        assert_ne!(code, ErrorCode::Other);
    }
}

#[test]
fn the_documents_lines_are_lines_of_the_wire() {
    let document = include_str!("../docs/PROTOCOL.md");
    let session = document.split("### By hand").nth(1).unwrap().split("```").nth(1).unwrap();
    let mut asked = "-";
    let mut answers = 0;
    for line in session.lines().filter(|line| line.starts_with('{')) {
        let word = line.split('"').nth(3).unwrap();
        let written = if RequestType::from_word(word).is_some() {
            asked = word;
            rewrite_request(line)
        } else {
            answers += 1;
            rewrite(line, asked)
        };
        assert_eq!(String::from_utf8(written).unwrap(), format!("{line}\n"));
    }
    assert!(answers > 5);
}

#[test]
fn the_deepest_line_is_read_on_half_the_stack_of_a_connections_thread() {
    let deepest = format!(r#"{{"type":"ping","id":1,"x":{}0{}}}"#, r#"{"x":"#.repeat(15), "}".repeat(15));
    let bottomless = format!(r#"{{"type":"ping","id":1,"x":{}"#, r#"{"x":["#.repeat(10_000));
    let reader = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        assert!(decode_request(deepest.as_bytes()).is_ok());
        assert_eq!(decode_request(bottomless.as_bytes()).unwrap_err().code, ErrorCode::BadJson);
    });
    reader.unwrap().join().unwrap();
}
