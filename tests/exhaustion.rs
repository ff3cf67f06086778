//! The operating system has no file descriptor or no thread left to give: who is served goes on being served, who comes is told
//! or waits, and when there is one again, all is as before.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use common::modern::ModernPeer;
use common::{Peer, Server};
use rustix::process::{Resource, getrlimit, getuid};

/// A user who is nobody: the limit on threads does not hold for root.
const NOBODY: u32 = 54_321;

/// As `prlimit` calls them.
const DESCRIPTORS: &str = "nofile";
const THREADS: &str = "nproc";

/// So few descriptors that there is none but those that are open.
const NO_MORE: Option<u64> = Some(3);

/// Sets how many of something the server may have from now on; what it may be raised to stays. As the server's own user, since
/// even root may need a privilege for others.
fn limit(server: &Server, what: &str, most: Option<u64>) {
    let most = most.map_or("unlimited".to_owned(), |most| most.to_string());
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &server.child.id().to_string(), &format!("--{what}={most}:")]);
    if what == THREADS && getuid().is_root() {
        prlimit.uid(NOBODY).gid(NOBODY);
    }
    let output = prlimit.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn without_descriptors_who_is_there_is_served_and_who_comes_waits() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut alice = server.user("alice");
    alice.asks("/create den pw", "Room 'den' created.");
    limit(&server, DESCRIPTORS, NO_MORE);
    let address = server.address;
    let waiting = thread::spawn(move || {
        let mut peer = Peer::connect(address);
        peer.asks("/login alice pw", "Login successful. Welcome, alice!");
    });
    server.wait_for_log("connections cannot be accepted at the moment");
    alice.asks("/create cellar pw", "Room 'cellar' created.");
    alice.asks("/join cellar pw", "alice joined the chat!");
    assert!(!waiting.is_finished());
    limit(&server, DESCRIPTORS, getrlimit(Resource::Nofile).maximum);
    waiting.join().unwrap();

    // Without a descriptor there is no folding either, and nothing is lost by it.
    limit(&server, DESCRIPTORS, NO_MORE);
    server.signal("TERM");
    let mut server = server;
    assert_eq!(server.child.wait().unwrap().code(), Some(0), "{}", server.log());
    assert!(server.log().contains("keeps all changes"), "{}", server.log());
    let server = Server::start(dir.path());
    let mut alice = server.connect();
    alice.asks("/login alice pw", "Login successful. Welcome, alice!");
    alice.asks("/list", "Available rooms: den, cellar");
}

/// The server as a user whom the limit on threads holds for, and for whom all of the folder is.
fn as_nobody(dir: &Path, wrapper: &[&str]) -> Result<Server, String> {
    let program = dir.join("chat-server");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_chat-server"), &program).unwrap(); // the original may lie where nobody may look
    }
    let words: Vec<&str> = wrapper.iter().copied().chain([program.to_str().unwrap()]).collect();
    let mut command = Command::new(words.first().unwrap());
    command.args(words.iter().skip(1));
    if getuid().is_root() {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).chain([dir.to_owned()]) {
            chown(entry, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        command.uid(NOBODY).gid(NOBODY);
    }
    Server::launch(command, dir, &[])
}

#[test]
fn without_threads_who_is_there_is_served_and_who_comes_is_sent_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = as_nobody(dir.path(), &[]).unwrap();
    let mut alice = server.user("alice");
    limit(&server, THREADS, Some(1));
    assert_eq!(server.connect().hears_or_end(), None, "a legacy peer is sent away");
    let mut modern = ModernPeer::connect(server.address);
    modern.hears_hello();
    assert_eq!(modern.hears_or_end(), None, "a modern peer is sent away");
    server.wait_for_log("no thread for it");
    alice.asks("/create den pw", "Room 'den' created.");
    limit(&server, THREADS, getrlimit(Resource::Nproc).maximum);
    let mut bob = server.user("bob");
    bob.asks("/list", "Available rooms: den");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_server_that_gets_no_threads_at_its_start_says_so_and_leaves_its_data_whole() {
    let dir = tempfile::tempdir().unwrap();
    let server = as_nobody(dir.path(), &[]).unwrap();
    drop(server.user("alice"));
    server.signal("KILL"); // so that the journal is to be folded
    drop(server);
    let Err(said) = as_nobody(dir.path(), &["prlimit", "--nproc=1"]) else { panic!("it started") };
    assert!(said.contains("exit status: 2") && said.contains("gives no thread"), "{said}");
    let server = as_nobody(dir.path(), &[]).unwrap();
    server.connect().asks("/login alice pw", "Login successful. Welcome, alice!");
}
