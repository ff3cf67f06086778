//! `chat-server check`, `backup` and `restore`, as an operator runs them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::Server;

fn run(arguments: &[&str], data_dir: &Path, stdin: Stdio) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    // What a service's unit sets is there for its subcommands, too.
    command.env("CHAT_DATA_DIR", data_dir).env("CHAT_LISTEN", "127.0.0.1:0").env("CHAT_LOG", "warn");
    command.args(arguments).stdin(stdin).output().unwrap()
}

fn does(arguments: &[&str], data_dir: &Path) -> String {
    let output = run(arguments, data_dir, Stdio::null());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fails(arguments: &[&str], data_dir: &Path) -> String {
    let output = run(arguments, data_dir, Stdio::null());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    String::from_utf8(output.stderr).unwrap()
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let all = paths
        .flat_map(|path| if path.is_dir() { files(&path) } else { [(path.clone(), fs::read(path).unwrap())].into() });
    all.collect()
}

/// A server in which something happened, and a public key was announced.
fn lived_in(dir: &Path) -> Server {
    let server = Server::start(dir);
    let mut alice = server.user("alice");
    alice.says(format!("PUBKEY::alice::{}", common::public_key("alice")));
    alice.asks("/create den roses", "Room 'den' created.");
    server.user("bob");
    server
}

#[test]
fn a_backup_of_a_running_server_is_served_by_another_as_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup, other) = (dir.path().join("data"), dir.path().join("b.tar"), dir.path().join("new/folder"));
    fs::create_dir(&data).unwrap();
    let server = lived_in(&data);
    let (realm, fingerprint) = (server.realm.clone(), server.fingerprint.clone());
    let said = does(&["backup", str(&backup)], &data);
    for part in ["accounts: 3, god's included", "rooms: 1", "keys of 1 users", &realm, &fingerprint] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    // The server goes on, and what comes later is not in the backup.
    server.user("late");
    assert_eq!(server.stop(), 0);

    let verified = does(&["restore", "--verify", str(&backup)], &data);
    assert_eq!(verified.replace(str(&backup), str(&data)), said);
    let restored = does(&["restore", str(&backup), "--data-dir", str(&other)], &data);
    assert_eq!(restored, verified);
    for (path, _) in files(&other) {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    let restored = Server::start(&other);
    assert_eq!((&restored.realm, &restored.fingerprint), (&realm, &fingerprint));
    let mut peer = restored.connect();
    peer.asks("/login alice pw", "Login successful. Welcome, alice!");
    peer.asks("/list", "Available rooms: den");
    peer.asks("/join den roses", "alice joined the chat!");
    peer.asks("/register late pw", "Registration successful for late. You may now /login.");
}

#[test]
fn a_backup_is_a_tar_whose_sums_sha256sum_knows_and_goes_through_pipes() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup, unpacked, other) =
        (dir.path().join("data"), dir.path().join("b.tar"), dir.path().join("unpacked"), dir.path().join("other"));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&unpacked).unwrap();
    assert_eq!(lived_in(&data).stop(), 0);
    let output = run(&["backup", "-"], &data, Stdio::null());
    assert!(String::from_utf8_lossy(&output.stderr).contains("accounts: 3"), "{output:?}");
    File::create(&backup).unwrap().write_all(&output.stdout).unwrap();
    let tar = Command::new("tar").arg("-xf").arg(&backup).arg("-C").arg(&unpacked).status().unwrap();
    let sums =
        Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&unpacked).output().unwrap();
    assert!(tar.success() && sums.status.success(), "{sums:?}");
    assert_eq!(String::from_utf8_lossy(&sums.stdout).matches(": OK").count(), 6);
    for name in
        ["db_key.bin", "database.enc", "database.journal", "public_keys.log", "certs/server.crt", "certs/server.key"]
    {
        assert_eq!(fs::read(unpacked.join(name)).unwrap(), fs::read(data.join(name)).unwrap(), "{name}");
    }
    let restored = run(&["restore", "-", "--data-dir", str(&other)], &data, File::open(&backup).unwrap().into());
    assert!(restored.status.success(), "{restored:?}");
    Server::start(&other).connect().asks("/login bob pw", "Login successful. Welcome, bob!");
}

#[test]
fn nothing_is_overwritten_that_was_not_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("b.tar"));
    fs::create_dir(&data).unwrap();
    assert_eq!(lived_in(&data).stop(), 0);
    fs::write(&backup, "mine").unwrap();
    assert!(fails(&["backup", str(&backup)], &data).contains("--replace"));
    assert_eq!(fs::read(&backup).unwrap(), b"mine");
    does(&["backup", str(&backup), "--replace"], &data);
    let before = files(&data);
    assert!(fails(&["restore", str(&backup)], &data).contains("is not empty"));
    does(&["restore", "--verify", str(&backup)], &data);
    assert_eq!(files(&data), before);
    let empty = tempfile::tempdir().unwrap();
    assert!(fails(&["backup", str(&dir.path().join("none"))], empty.path()).contains("database.enc"));
    assert!(!dir.path().join("none").exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing temporary is left");
}

#[test]
fn a_backup_that_is_damaged_or_cut_short_anywhere_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup, bad, other) =
        (dir.path().join("data"), dir.path().join("b.tar"), dir.path().join("bad"), dir.path().join("other"));
    fs::create_dir(&data).unwrap();
    let server = lived_in(&data);
    does(&["backup", str(&backup)], &data);
    assert_eq!(server.stop(), 0);
    let good = fs::read(&backup).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&bad, bytes).unwrap();
        let why = fails(&["restore", "--verify", str(&bad)], &data);
        assert_eq!(fails(&["restore", str(&bad), "--data-dir", str(&other)], &data), why);
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0, "{what}");
        why
    };
    // Headers and contents alike; what is neither is padding, and nothing is lost with it.
    let mut at = 0;
    while good[at] != 0 {
        let name = String::from_utf8(good[at..].iter().copied().take_while(|byte| *byte != 0).collect()).unwrap();
        let size = usize::from_str_radix(str::from_utf8(&good[at + 124..at + 135]).unwrap().trim(), 8).unwrap();
        for place in [at, at + 512, at + 512 + size / 2, at + 512 + size - 1] {
            let mut changed = good.clone();
            changed[place] ^= 0x01;
            let why = refused(&changed, &format!("byte {place} of {name}"));
            assert!(why.contains(str(&bad)), "{why}");
        }
        refused(&good[..at], &format!("cut before {name}"));
        refused(&good[..at + 512 + size / 2], &format!("cut in {name}"));
        at += 512 + size.next_multiple_of(512);
    }
    refused(b"", "nothing");
    refused(&fs::read(data.join("database.enc")).unwrap(), "no archive");
    fs::remove_dir(&other).unwrap();
    does(&["restore", str(&backup), "--data-dir", str(&other)], &data);
}

#[test]
fn a_folder_is_checked_beside_its_server_and_without_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let server = lived_in(data);
    let said = does(&["check"], data);
    assert!(
        said.contains("accounts: 3") && said.contains(&server.fingerprint) && said.contains(&server.realm),
        "{said}"
    );
    assert!(!said.contains("warning"), "{said}");
    server.user("carol"); // the server was not disturbed
    server.signal("KILL");
    drop(server);
    let before = files(data);
    assert!(does(&["check", "--data-dir", str(data)], Path::new("/nonexistent")).contains("accounts: 4"));
    let journal = data.join("database.journal");
    fs::write(&journal, [&before[&journal][..], b"gAAAAAB"].concat()).unwrap();
    fs::set_permissions(data.join("db_key.bin"), PermissionsExt::from_mode(0o640)).unwrap();
    let said = does(&["check"], data);
    assert!(said.contains("warning: 7 bytes at the end of database.journal"), "{said}");
    assert!(said.contains("db_key.bin is open to others (mode 0640)"), "{said}");
    assert!(!said.contains(&fs::read_to_string(data.join("db_key.bin")).unwrap()));
    let mut damaged = before[&journal].clone();
    damaged[30] ^= 1;
    fs::write(&journal, &damaged).unwrap();
    let why = fails(&["check"], data);
    assert!(why.contains("database.journal, line 1") && why.contains("begins at byte 0"), "{why}");
    fs::write(&journal, &before[&journal]).unwrap();
    fs::rename(data.join("certs/server.key"), data.join("key")).unwrap();
    assert!(fails(&["check"], data).contains("server.key"));
    fs::rename(data.join("key"), data.join("certs/server.key")).unwrap();
    assert_eq!(files(data), before);
    fs::remove_file(data.join("database.enc")).unwrap();
    assert!(fails(&["check"], data).contains("database.enc"));
}

#[test]
fn a_subcommand_takes_no_options_of_serving() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in
        [&["--listen", "127.0.0.1:0", "check"][..], &["check", "--listen", "127.0.0.1:0"], &["backup"], &["restore"]]
    {
        fails(wrong, dir.path());
    }
    for right in ["check", "backup", "restore"] {
        assert!(does(&[right, "--help"], dir.path()).contains("Usage"));
    }
}
