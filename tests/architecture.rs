//! The house keeps its rules: who may import whom, and what is pure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms it may import; everyone may import those that are [`SHARED`].
const MAY_IMPORT: [(&str, &[&str]); 14] = [
    ("names", &[]),
    ("transcript", &[]),
    ("protocol", &[]),
    ("crypto", &[]),
    ("tls", &["model"]),
    ("arguments", &[]),
    ("prompt", &[]),
    ("process", &[]),
    ("chat", &["protocol"]),
    ("store", &["chat", "crypto"]),
    ("server", &["tls", "store", "chat", "protocol", "crypto", "arguments", "prompt", "process", "model"]),
    // In unit tests alone: what stands in for the operating system.
    ("model", &[]),
    ("client", &["tls", "crypto", "protocol", "arguments", "prompt", "process"]),
    ("bin", &["server", "client"]),
];

/// Rooms that everyone may import, in the order in which they may import each other.
const SHARED: [&str; 2] = ["names", "transcript"];

/// Files and folders in which there is no socket, file, thread, channel, clock or rustls.
const PURE: [&str; 26] = [
    "names.rs",
    "transcript",
    "protocol",
    "crypto",
    "chat",
    "client/alarm.rs",
    "client/bundles.rs",
    "client/counters.rs",
    "client/key_words.rs",
    "client/machine.rs",
    "client/machine",
    "client/modern",
    "client/people.rs",
    "client/requests.rs",
    "client/shown.rs",
    "client/signed.rs",
    "client/trust.rs",
    "client/trust",
    "client/typed.rs",
    "client/typed",
    "client/keyring.rs",
    "client/packages.rs",
    "client/key_name.rs",
    "client/known_keys.rs",
    "client/known_keys",
    "client/wire.rs",
];

const IMPURE: [&str; 13] = [
    "std::fs",
    "std::io",
    "std::thread",
    "std::sync::mpsc",
    "std::sync::Mutex",
    "std::process",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "crossbeam",
    "rustls",
    "Instant::now",
    "SystemTime",
];

/// Every source file below `src`, with its text up to its unit tests.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
        (path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/"), code)
    };
    files.into_iter().map(read).collect()
}

/// The lines of code, comments aside.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn every_import_follows_the_arrows() {
    for (file, text) in sources().iter().filter(|(file, _)| file != "lib.rs") {
        let room = file.split(['/', '.']).next().unwrap();
        let (_, allowed) = MAY_IMPORT.iter().find(|(name, _)| *name == room).expect("a room that the map knows");
        for line in code(text) {
            for path in line.split("crate::").skip(1).chain(line.split("secure_chat::").skip(1)) {
                let imported: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                // `use crate::{a, b}` would escape this test: it is not written here.
                assert!(!imported.is_empty(), "{file}: a grouped import of the crate's root: {line}");
                let shared = SHARED.iter().take_while(|name| **name != room).any(|name| *name == imported);
                let fine = imported == room || shared || allowed.contains(&imported.as_str());
                assert!(fine, "{file} may not import {imported}: {line}");
            }
        }
    }
}

#[test]
fn the_pure_rooms_are_pure() {
    let sources = sources();
    for place in PURE {
        let mut found =
            sources.iter().filter(|(file, _)| file == place || file.starts_with(&format!("{place}/"))).peekable();
        assert!(found.peek().is_some(), "{place} does not exist: keep this list true");
        for (file, text) in found {
            for line in code(text) {
                let culprit = IMPURE.iter().find(|word| line.contains(*word));
                assert_eq!(culprit, None, "{file}: {line}");
            }
        }
    }
}

/// Locks, channels and threads of the server come through one module, so that a model checker can stand in for them.
#[test]
fn the_server_takes_its_threads_from_one_place() {
    let is_tried = |file: &str| file.starts_with("server/") && !file.starts_with("server/model/"); // whose scenes are tests
    for (file, text) in sources().iter().filter(|(file, _)| is_tried(file) && file != "server/sync.rs") {
        for line in code(text) {
            let culprit =
                ["std::sync", "crossbeam", "thread::spawn", "thread::Builder"].iter().find(|w| line.contains(*w));
            assert_eq!(culprit, None, "{file}: {line}");
        }
    }
}
