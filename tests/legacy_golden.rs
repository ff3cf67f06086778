//! Every row of the command table and of its order of checks, byte for byte, over real TLS to the real server.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::collections::HashMap;
use std::fs;

use common::{Peer, Server, public_key};

#[test]
fn every_row_of_the_table_gets_the_reply_in_the_document() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let script = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/legacy.txt")).unwrap();
    let mut peers: HashMap<&str, Peer> = HashMap::new();
    for (number, line) in script.lines().enumerate().filter(|(_, l)| !l.is_empty() && !l.starts_with('#')) {
        let (name, rest) = line.split_at(1);
        if rest == "." {
            peers.remove(name).unwrap().close();
            continue;
        }
        let peer = peers.entry(name).or_insert_with(|| server.connect());
        let (direction, text) = rest.split_at(2);
        let text = ["alice", "bob", "god"]
            .iter()
            .fold(text.to_owned(), |text, who| text.replace(&format!("{{{who}}}"), &public_key(who)));
        match direction {
            "> " if text.starts_with('/') => peer.says(format!("CMD::{text}")),
            "> " => peer.says(&text),
            "< " => assert_eq!(peer.hears(), text, "line {}", number + 1),
            _ => panic!("line {} cannot be read", number + 1),
        }
    }
    for peer in peers.values_mut() {
        peer.has_heard_nothing();
    }
    assert_eq!(server.stop(), 0);
}
