//! `chat-client key`: what it shows, and how a signing key is carried from one device to another.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::programs::{python, script};
use common::terminal::Screen;
use portable_pty::CommandBuilder;

/// Runs `chat-client key …` with this input.
fn key(home: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-client"));
    let command = command.arg("--identity").arg(home).arg("key").args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()); // it may have ended
    child.wait_with_output().unwrap()
}

/// Runs it and expects the exit code; its words.
#[track_caller]
fn ends(code: i32, home: &Path, arguments: &[&str], input: &str) -> String {
    let ended = key(home, arguments, input);
    let words = String::from_utf8(ended.stdout).unwrap() + &String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {words}");
    words
}

fn signing_key(home: &Path) -> String {
    fs::read_to_string(home.join("signing_key.pem")).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_is_exported_is_imported_on_another_device_and_shown_there() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two, file) = (dir.path().join("one"), dir.path().join("two"), dir.path().join("carried.pem"));
    assert!(ends(0, &one, &["show"], "").contains("Signing key: none yet"));
    let words = ends(0, &one, &["export", path(&file)], "correct horse\n");
    assert!(words.contains("ed25519:") && words.contains("key import"), "{words}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let pem = fs::read_to_string(&file).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{pem}");

    let words = ends(1, &two, &["import", path(&file)], "wrong horse\n");
    assert!(words.contains("the passphrase is wrong"), "{words}");
    assert!(!two.join("signing_key.pem").exists());
    let passphrase = dir.path().join("passphrase");
    fs::write(&passphrase, "correct horse\r\nand a second line\n").unwrap();
    ends(0, &two, &["import", path(&file), "--passphrase-file", path(&passphrase)], "");
    assert_eq!(signing_key(&two), signing_key(&one));
    let shown = ends(0, &two, &["show"], "");
    let signing = shown.lines().find(|line| line.starts_with("Signing key: SHA256:")).unwrap();
    assert!(signing.contains("(ed25519:") && ends(0, &one, &["show"], "").contains(signing), "{shown}");
    assert!(ends(0, &two, &["import", path(&file)], "correct horse\n").contains("already"));
}

#[test]
fn no_file_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two, file) = (dir.path().join("one"), dir.path().join("two"), dir.path().join("carried.pem"));
    fs::write(&file, "something else").unwrap();
    assert!(ends(1, &one, &["export", path(&file)], "pass\n").contains("not overwritten"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "something else");
    fs::remove_file(&file).unwrap();

    ends(0, &one, &["export", path(&file)], "pass\n");
    ends(0, &two, &["export", path(&dir.path().join("other.pem"))], "pass\n"); // which makes one of its own
    let before = signing_key(&two);
    assert!(ends(1, &two, &["import", path(&file)], "pass\n").contains("--replace"));
    assert_eq!(signing_key(&two), before);
    let words = ends(0, &two, &["import", path(&file), "--replace"], "pass\n");
    assert!(words.contains("signing_key.pem.old"), "{words}");
    assert_eq!(signing_key(&two), signing_key(&one));
    let old = two.join("signing_key.pem.old");
    assert_eq!(fs::read_to_string(&old).unwrap(), before);
    assert_eq!(fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o600);

    // A third key would have to overwrite what was kept.
    let third = dir.path().join("other.pem");
    let words = ends(1, &two, &["import", path(&third), "--replace"], "pass\n");
    assert!(words.contains("signing_key.pem.old"), "{words}");
    assert_eq!((signing_key(&two), fs::read_to_string(&old).unwrap()), (signing_key(&one), before));
}

#[test]
fn what_cannot_be_imported_or_exported_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (home, file) = (dir.path().join("id"), dir.path().join("file"));
    assert!(ends(1, &home, &["import", path(&file)], "pass\n").contains(path(&file)));
    for other in ["", "hello", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"] {
        fs::write(&file, other).unwrap();
        assert!(ends(1, &home, &["import", path(&file)], "pass\n").contains(path(&file)), "{other}");
    }
    fs::write(&file, [0xff, 0xfe]).unwrap();
    ends(1, &home, &["import", path(&file)], "pass\n");
    let new = dir.path().join("new");
    for no_passphrase in ["", "\n"] {
        assert!(ends(1, &home, &["export", path(&new)], no_passphrase).contains("passphrase"));
    }
    ends(1, &home, &["export", path(&new), "--passphrase-file", "/nonexistent"], "pass\n");
    ends(1, &home, &["export", "/nonexistent/new"], "pass\n");
    assert!(!new.exists());
    // An unencrypted key is none that was exported, and a damaged one is not written over.
    let unencrypted = home.join("signing_key.pem");
    assert!(ends(1, &home, &["import", path(&unencrypted)], "pass\n").contains("exported"));
    fs::write(&unencrypted, "damaged").unwrap();
    for arguments in [&["show"][..], &["export", path(&new)]] {
        assert!(ends(1, &home, arguments, "pass\n").contains("signing_key.pem"));
    }
    assert_eq!(signing_key(&home), "damaged");
}

#[test]
fn a_command_line_that_means_nothing_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&[][..], &["forget"], &["export"], &["import"], &["show", "more"]] {
        ends(1, dir.path(), arguments, "");
    }
}

#[test]
fn in_a_terminal_the_passphrase_is_asked_for_hidden_and_twice_for_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two, file) = (dir.path().join("one"), dir.path().join("two"), dir.path().join("carried.pem"));
    let start = |home: &Path, arguments: &[&str]| {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_chat-client"));
        command.args(["--identity", path(home), "key"]);
        command.args(arguments);
        Screen::start(command)
    };
    let answer = |screen: &Screen, question: &str, with: &str| {
        screen.shows(question);
        screen.types(with);
    };
    let mut differing = start(&one, &["export", path(&file)]);
    answer(&differing, "Passphrase:", "s3cret\r");
    answer(&differing, "The same again:", "other\r");
    differing.shows("differ");
    assert_eq!(differing.exit_code(), 1);
    assert!(!file.exists());
    let mut interrupted = start(&one, &["export", path(&file)]);
    answer(&interrupted, "Passphrase:", "s3cr\x03");
    assert_eq!(interrupted.exit_code(), 1);
    let mut export = start(&one, &["export", path(&file)]);
    answer(&export, "Passphrase:", "s3cret\r");
    answer(&export, "The same again:", "s3cret\r");
    export.shows("encrypted");
    assert_eq!(export.exit_code(), 0);
    let mut import = start(&two, &["import", path(&file)]);
    answer(&import, "Passphrase:", "s3cret\r");
    assert_eq!(import.exit_code(), 0);
    assert_eq!(signing_key(&two), signing_key(&one));
    for screen in [&differing, &interrupted, &export, &import] {
        assert!(!screen.raw().contains("s3cr"), "{}", screen.raw());
    }
}

/// The file is a standard one, and so is the one in the folder.
#[test]
fn other_programs_read_the_files() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (home, file) = (dir.path().join("id"), dir.path().join("carried.pem"));
    ends(0, &home, &["export", path(&file)], "pass\n");
    let shown = ends(0, &home, &["show"], "");
    let named = |pem: &Path, passphrase: &str| {
        let output = script(&python, "signing_key.py").arg(pem).arg(passphrase).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    for named in [named(&file, "pass"), named(&home.join("signing_key.pem"), "")] {
        assert!(named.starts_with("ed25519:") && shown.contains(&named), "{named} in {shown}");
    }
}
