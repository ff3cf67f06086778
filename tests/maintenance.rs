//! `chat-server check`, `backup` and `restore`, as an operator runs them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{Server, wait_until};
use rustix::process::getuid;

/// A user and group that own nothing.
const NOBODY: u32 = 65534;

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

/// What was said, and its last line.
fn apart(said: &str) -> (&str, &str) {
    said.trim_end().rsplit_once('\n').unwrap()
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

/// The same without the log, which a server that runs goes on writing.
fn data_files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(dir).into_iter().filter(|(path, _)| !path.ends_with("server.log")).collect()
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

    // The last line says that it is done.
    let (said, done) = apart(&said);
    assert_eq!(done, format!("{} is made", str(&backup)));
    let verified = does(&["restore", "--verify", str(&backup)], &data);
    let (verified, done) = apart(&verified);
    assert_eq!(done, format!("{} can be restored; nothing was written", str(&backup)));
    assert_eq!(verified.replace(str(&backup), str(&data)), said);
    let restored = does(&["restore", str(&backup), "--data-dir", str(&other)], &data);
    let (restored, done) = apart(&restored);
    assert_eq!(done, format!("restored into {0}: start it with chat-server --data-dir {0}", str(&other)));
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
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("accounts: 3") && said.contains("the backup is written to standard output"), "{said}");
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
    let verified = run(&["restore", "--verify", "-"], &data, File::open(&backup).unwrap().into());
    assert!(String::from_utf8_lossy(&verified.stdout).contains("standard input can be restored"), "{verified:?}");
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
    let why = fails(&["restore", str(&backup)], &data);
    assert!(why.contains("is not empty") && why.contains("database.enc") && !why.contains("delete"), "{why}");
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
    let (mut at, mut last) = (0, String::new());
    while good[at] != 0 {
        let name = String::from_utf8(good[at..].iter().copied().take_while(|byte| *byte != 0).collect()).unwrap();
        let size = usize::from_str_radix(str::from_utf8(&good[at + 124..at + 135]).unwrap().trim(), 8).unwrap();
        for place in [at, at + 512, at + 512 + size / 2, at + 512 + size - 1] {
            let mut changed = good.clone();
            changed[place] ^= 0x01;
            let why = refused(&changed, &format!("byte {place} of {name}"));
            assert!(why.contains(str(&bad)), "{why}");
            let is_header = place == at && !last.is_empty();
            assert_eq!(why.contains(&format!("the header behind {last} is damaged")), is_header, "{why}");
        }
        let why = refused(&good[..at], &format!("cut before {name}"));
        assert!(last.is_empty() || why.contains(&format!("it is cut short after {last};")), "{why}");
        let why = refused(&good[..at + 100], &format!("cut in the header of {name}"));
        assert!(why.contains(if last.is_empty() { "cut short at its beginning" } else { "cut short after" }), "{why}");
        let why = refused(&good[..at + 512 + size / 2], &format!("cut in {name}"));
        assert!(why.contains(&format!("it is cut short in {name};")), "{why}");
        last = name;
        at += 512 + size.next_multiple_of(512);
    }
    assert!(refused(b"", "nothing").contains("it is empty"));
    assert!(refused(&fs::read(data.join("database.enc")).unwrap(), "no archive").contains("it is no backup"));
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
    assert!(said.contains("warning: 7 bytes at the end of database.journal are an unfinished end"), "{said}");
    assert!(said.contains("more may be missing"), "{said}");
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
fn a_backup_replaces_no_file_of_the_server_and_nothing_but_regular_files() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let server = lived_in(&data);
    let named = [dir.path().join("named.crt"), dir.path().join("named.key")];
    for (from, to) in ["certs/server.crt", "certs/server.key"].iter().zip(&named) {
        fs::copy(data.join(from), to).unwrap();
    }
    let linked = dir.path().join("linked");
    fs::hard_link(data.join("database.enc"), &linked).unwrap();
    let inside = ["db_key.bin", "database.enc", "database.journal", "database.lock", "public_keys.log", "server.crt"];
    let inside =
        inside.iter().chain(&["certs/server.key", "certs/../database.enc", "database.enc.python", "db_key.bin.tmp"]);
    let own = inside.map(|name| data.join(name)).chain(named.clone()).chain([linked]);
    let before = data_files(dir.path());
    for file in own {
        let arguments = ["backup", str(&file), "--cert", str(&named[0]), "--key", str(&named[1])];
        for arguments in [&arguments[..], &[&arguments[..], &["--replace"]].concat()] {
            let why = fails(arguments, &data);
            assert!(why.contains(&format!("{} is a file of the server: choose another name", str(&file))), "{why}");
        }
    }
    // Never a real device: a test that failed would replace it.
    let (pipe, socket, link) = (dir.path().join("pipe"), dir.path().join("socket"), dir.path().join("link"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _listening = UnixListener::bind(&socket).unwrap();
    symlink(dir.path().join("nowhere"), &link).unwrap();
    for (file, what) in [
        (&pipe, "is no regular file; for a device or a pipe use `-`"),
        (&socket, "is no regular file"),
        (&link, "is a symbolic link"),
        (&data, "is a folder: name a file in it"),
    ] {
        for arguments in [&["backup", str(file)][..], &["backup", str(file), "--replace"]] {
            let why = fails(arguments, &data);
            assert!(why.contains(&format!("{} {what}", str(file))), "{why}");
        }
    }
    fs::remove_file(&pipe).unwrap();
    fs::remove_file(&socket).unwrap();
    fs::remove_file(&link).unwrap();
    assert!(data_files(dir.path()) == before, "a file was changed");
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_backup_that_cannot_be_written_says_where_to() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    assert_eq!(lived_in(&data).stop(), 0);
    let why = fails(&["backup", str(&dir.path().join("none/x.tar"))], &data);
    assert!(why.contains(&format!("there is no folder {}", str(&dir.path().join("none")))), "{why}");
    // A limit on the size of files stands in for a full disk.
    let mut full = Command::new("sh");
    full.args(["-c", r#"trap "" XFSZ; ulimit -f 0; exec "$0" "$@""#, env!("CARGO_BIN_EXE_chat-server"), "backup", "-"]);
    let output = full.arg("--data-dir").arg(&data).stderr(Stdio::piped());
    let output = output.stdout(File::create(dir.path().join("full")).unwrap()).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && why.contains("cannot write to standard output: "), "{why}");
}

#[test]
fn a_journal_that_is_missing_is_an_error_unless_a_crash_may_have_left_it_so() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("b.tar"));
    fs::create_dir(&data).unwrap();
    let server = lived_in(&data);
    server.signal("KILL");
    drop(server);
    // Nothing was folded so far: it looks as if the database had been made just now.
    let journal = data.join("database.journal");
    let whole = fs::read(&journal).unwrap();
    fs::remove_file(&journal).unwrap();
    let said = does(&["check"], &data);
    assert!(said.contains("warning: database.journal is missing"), "{said}");
    assert!(does(&["backup", str(&backup), "--replace"], &data).contains("warning: database.journal is missing"));
    let server = Server::start(&data);
    server.wait_for_log("database.journal was missing");
    drop(server);
    fs::write(&journal, whole).unwrap();
    assert_eq!(Server::start(&data).stop(), 0);
    fs::remove_file(&journal).unwrap();
    let before = data_files(&data);
    for arguments in [&["check"][..], &["backup", str(&backup), "--replace"]] {
        let why = fails(arguments, &data);
        assert!(why.contains("database.journal is missing") && why.contains("from one backup"), "{why}");
    }
    let Err(log) = Server::try_start(&data, &[]) else { panic!("it started without its journal") };
    assert!(log.contains("exit status: 1") && log.contains("database.journal is missing"), "{log}");
    assert!(data_files(&data) == before, "a file was changed");
}

#[test]
fn what_is_no_backup_is_named_and_none_of_its_bytes_reach_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup, bad) = (dir.path().join("data"), dir.path().join("b.tar"), dir.path().join("bad\x1b[31m"));
    fs::create_dir(&data).unwrap();
    assert_eq!(lived_in(&data).stop(), 0);
    does(&["backup", str(&backup)], &data);
    let good = fs::read(&backup).unwrap();
    // A name, a size and a sum that the crate would quote.
    let crafted = |from: usize, text: &[u8]| {
        let mut crafted = good.clone();
        crafted[from..from + text.len()].copy_from_slice(text);
        crafted
    };
    let mut second = crafted(124, b"\x1b]0;owned\x07");
    second[148..156].copy_from_slice(b"\x1b[31m$$$");
    let cases = [
        (
            &b"root:x:0:0:root:/root:/bin/bash\n"[..],
            "it is no backup of chat-server: it does not begin with db_key.bin",
        ),
        (&b"\x1f\x8b\x08\0\x1b[31m"[..], "it is compressed or encrypted: unpack it first"),
        (&b"\x28\xb5\x2f\xfd\x1b[31m"[..], "unpack it first"),
        (&b"age-encryption.org/v1\n-> X25519"[..], "unpack it first"),
        (&crafted(0, b"\x1b[31mowned"), "it is no backup of chat-server"),
        (&crafted(148, b"\x1b[31m$$$"), "the header in front of db_key.bin is damaged"),
        (&second, "the header in front of db_key.bin is damaged"),
        (&crafted(124, b"\x1b]0;owned\x07"), "the header in front of db_key.bin is damaged"),
    ];
    for (bytes, why) in cases {
        fs::write(&bad, bytes).unwrap();
        let said = fails(&["restore", "--verify", str(&bad)], &data);
        assert!(said.contains(why), "{said:?} instead of {why}");
        assert!(said.trim_end().chars().all(|c| !c.is_control()), "{said:?}");
        for crate_says in ["owned", "archive", "root:", "numeric", "block"] {
            assert!(!said.contains(crate_says), "{said:?}");
        }
    }
    let why = fails(&["restore", "--verify", str(&data)], &data);
    assert!(why.contains("is a folder; name the backup's file"), "{why}");
}

/// The program as a user for whom permissions hold, and who owns the folder.
fn as_nobody(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program_of_all(dir));
    if getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A copy of the program: the original may lie where nobody may look.
fn program_of_all(dir: &Path) -> PathBuf {
    let program = dir.join("chat-server");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_chat-server"), &program).unwrap();
    }
    program
}

fn give_to_nobody(path: &Path) {
    if getuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_to_nobody(&entry.unwrap().path()));
    }
}

#[test]
fn a_check_sees_what_a_start_would_meet() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    assert_eq!(lived_in(&data).stop(), 0);
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    give_to_nobody(&data);
    let mode = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let check = || {
        let output = as_nobody(dir.path(), &["check", "--data-dir", str(&data)]);
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
        (output.status.code().unwrap(), said)
    };
    assert_eq!(check().0, 0);
    assert!(!check().1.contains("warning"), "{}", check().1);
    let certs = data.join("certs");
    mode(&certs, 0);
    let (code, said) = check();
    assert!(code == 1 && said.contains("cannot look for") && said.contains("certs/server.crt"), "{said}");
    let start = as_nobody(dir.path(), &["--data-dir", str(&data), "--listen", "127.0.0.1:0"]);
    assert_eq!(start.status.code(), Some(1), "as the check said");
    mode(&certs, 0o700);
    mode(&data, 0o500);
    let (code, said) = check();
    assert!(code == 0 && said.contains(&format!("warning: {} cannot be written to", str(&data))), "{said}");
    for (others, warned) in [(0o770, true), (0o702, true), (0o755, false)] {
        mode(&data, others);
        assert_eq!(check().1.contains(&format!("warning: others can write to {}", str(&data))), warned, "{others:o}");
    }
}

#[test]
fn where_there_is_no_database_what_is_there_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let backup = dir.path().join("b.tar");
    let say = |why: &str| {
        for arguments in [&["check"][..], &["backup", str(&backup)]] {
            let said = fails(arguments, &data);
            assert!(said.contains(why), "{said:?} instead of {why}");
            assert!(!said.contains("create one"), "{said}");
        }
    };
    say(&format!("{} does not exist; name the server's folder", str(&data)));
    fs::create_dir(&data).unwrap();
    say("database.enc is not there; name the server's folder with --data-dir");
    assert_eq!(lived_in(&data).stop(), 0);
    fs::remove_file(data.join("database.enc")).unwrap();
    say("restore all files from one backup, or move");
}

/// A child that has begun to read its input, and does not get all of it.
fn begun(arguments: &[&str], data_dir: &Path, input: &[u8]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    command.env("CHAT_DATA_DIR", data_dir).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(input).unwrap();
    child
}

/// It waits for the rest of its backup.
#[test]
fn nobody_else_begins_in_a_folder_that_is_being_restored_and_nobody_elses_files_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup, other) = (dir.path().join("data"), dir.path().join("b.tar"), dir.path().join("other"));
    fs::create_dir(&data).unwrap();
    assert_eq!(lived_in(&data).stop(), 0);
    does(&["backup", str(&backup)], &data);
    let bytes = fs::read(&backup).unwrap();
    let (half, rest) = bytes.split_at(3000);
    let mut restore = begun(&["restore", "-", "--data-dir", str(&other)], &data, half);
    wait_until("a restore", || other.join("public_keys.log").exists());
    let Err(log) = Server::try_start(&other, &[]) else { panic!("a server began beside a restore") };
    assert!(log.contains("is locked"), "{log}");
    let why = fails(&["restore", str(&backup), "--data-dir", str(&other)], &data);
    assert!(why.contains("is not empty"), "{why}");
    restore.stdin.take().unwrap().write_all(rest).unwrap();
    assert!(restore.wait_with_output().unwrap().status.success());
    assert_eq!(Server::start(&other).stop(), 0);
}

#[test]
fn a_backup_or_restore_that_is_interrupted_leaves_nothing_and_one_that_is_killed_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup, other) = (dir.path().join("data"), dir.path().join("b.tar"), dir.path().join("other"));
    fs::create_dir(&data).unwrap();
    assert_eq!(lived_in(&data).stop(), 0);
    does(&["backup", str(&backup)], &data);
    let half = &fs::read(&backup).unwrap()[..3000];
    let interrupt = |mut child: Child, signal: &str, name: &str, is_made: &dyn Fn() -> bool| {
        wait_until(name, is_made);
        let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let input = child.stdin.take(); // open until it has ended
        let output = child.wait_with_output().unwrap();
        drop(input);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let restore = || begun(&["restore", "-", "--data-dir", str(&other)], &data, half);
    let is_begun = || other.join("public_keys.log").exists();
    for signal in ["INT", "TERM"] {
        let (code, said) = interrupt(restore(), signal, "a restore", &is_begun);
        assert!(code == Some(130) && said.contains("interrupted"), "{said}");
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    }
    interrupt(restore(), "KILL", "a restore", &is_begun);
    let why = fails(&["restore", str(&backup), "--data-dir", str(&other)], &data);
    assert!(
        why.contains("it holds database.lock, public_keys.log") && why.contains("if a restore was interrupted there"),
        "{why}"
    );

    // A record of keys that is a pipe keeps a backup waiting.
    let keys = data.join("public_keys.log");
    fs::remove_file(&keys).unwrap();
    assert!(Command::new("mkfifo").arg(&keys).status().unwrap().success());
    let second = dir.path().join("c.tar");
    let temporary = || {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("c.tar.")).collect::<Vec<_>>()
    };
    let backing_up = || begun(&["backup", str(&second)], &data, b"");
    let (code, _) = interrupt(backing_up(), "TERM", "a backup", &|| !temporary().is_empty());
    assert_eq!((code, temporary()), (Some(130), vec![]));
    interrupt(backing_up(), "KILL", "a backup", &|| !temporary().is_empty());
    fs::remove_file(&keys).unwrap();
    let said = does(&["backup", str(&second)], &data);
    assert!(said.contains(&temporary()[0]) && said.contains("of a backup that was interrupted"), "{said}");
}

#[test]
fn a_certificate_or_key_that_is_missing_or_of_another_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (data, other) = (dir.path().join("data"), dir.path().join("other"));
    for folder in [&data, &other] {
        fs::create_dir(folder).unwrap();
        assert_eq!(Server::start(folder).stop(), 0);
    }
    let (certificate, key) = (data.join("certs/server.crt"), data.join("certs/server.key"));
    let say = |whys: &[&str]| {
        let Err(log) = Server::try_start(&data, &[]) else { panic!("it started") };
        for said in [log, fails(&["check"], &data)] {
            whys.iter().for_each(|why| assert!(said.contains(why), "{said:?} instead of {why}"));
            assert!(!said.contains("KeyMismatch") && !said.contains("No such file"), "{said}");
        }
    };
    let good = fs::read(&key).unwrap();
    fs::copy(other.join("certs/server.key"), &key).unwrap();
    say(&["the key beside", "certs/server.crt is that of another certificate; restore both from one backup"]);
    let text = String::from_utf8(good.clone()).unwrap();
    fs::write(&key, text.replacen("MIG", "MIH", 1)).unwrap();
    say(&["certs/server.crt is damaged or of a kind that cannot be used; restore both from one backup"]);
    fs::write(&key, good).unwrap();
    fs::remove_file(&certificate).unwrap();
    say(&["certs/server.crt is missing, but", "restore it from a backup, or remove the other"]);
    fs::remove_file(&key).unwrap();
    assert!(does(&["check"], &data).contains("certificate: none"));
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
