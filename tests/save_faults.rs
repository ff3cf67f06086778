//! A save of the real server that the operating system fails: the person is told, memory and disk agree, and the next save works.
//!
//! `store_faults.rs` fails every call of the store by itself; here it is seen that nobody hears of a success that is none. The
//! faults come from strace.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::Server;

const NOT_SAVED: &str = "Error: the server could not save the change, so nothing was changed. Try again later.";

/// The calls of a save, and the first of the repair behind one that failed. Before a server listens it makes none of them on
/// its journal.
const CALLS: [&str; 3] = ["write", "fdatasync", "ftruncate"];

/// The server under strace, which logs its calls on the journal, and makes some fail.
fn start(dir: &Path, log: &Path, faults: &[String]) -> Server {
    let mut strace = Command::new("strace");
    // As a grandchild: the server is our own child, and gets our signals.
    strace.args(["-D", "-f", "-qq", "-o"]).arg(log).arg("-e").arg(format!("trace={}", CALLS.join(",")));
    strace.arg("-P").arg(dir.join("database.journal"));
    for fault in faults {
        strace.arg("-e").arg(format!("inject={fault}"));
    }
    strace.arg(env!("CARGO_BIN_EXE_chat-server"));
    Server::launch(strace, dir, &[]).unwrap_or_else(|log| panic!("{faults:?}: {log}"))
}

/// A folder as a server leaves it that was killed with alice's account saved.
fn template() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    drop(server.user("alice"));
    server.signal("KILL");
    dir
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_save_that_fails_is_said_to_have_failed_and_the_next_one_works() {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|s| s.success());
    if !works {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "strace must work where CI runs");
        eprintln!("skipped: strace is missing, or may not trace");
        return;
    }
    let template = template();
    let fault = |call: &str, error: &str| format!("{call}:error={error}:when=1");
    let one =
        ["write", "fdatasync"].into_iter().flat_map(|call| ["EIO", "ENOSPC"].map(|error| vec![fault(call, error)]));
    let two = ["EIO", "ENOSPC"].map(|error| vec![fault("fdatasync", error), fault("ftruncate", error)]);
    for faults in one.chain(two) {
        let dir = tempfile::tempdir().unwrap();
        copy(template.path(), dir.path());
        let log = tempfile::NamedTempFile::new().unwrap();
        let server = start(dir.path(), log.path(), &faults);
        let mut alice = server.connect();
        alice.asks("/login alice pw", "Login successful. Welcome, alice!");
        alice.asks("/create one pw", NOT_SAVED);
        alice.asks("/list", "No rooms found.");
        alice.asks("/create two pw", "Room 'two' created.");
        alice.asks("/list", "Available rooms: two");
        server.signal("KILL");
        drop(server);
        let injected = fs::read_to_string(log.path()).unwrap().matches("(INJECTED)").count();
        assert_eq!(injected, faults.len(), "{faults:?}");
        let server = Server::start(dir.path());
        let mut alice = server.connect();
        alice.asks("/login alice pw", "Login successful. Welcome, alice!");
        alice.asks("/list", "Available rooms: two");
    }
}
