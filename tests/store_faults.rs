//! What the store does when the operating system fails it: every system call that it makes on its files fails once, or
//! from some moment on, or is the process's last.
//!
//! The faults come from strace, which makes the calls of a child process fail; the child is this very program, in the
//! hidden test [`child`].
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests may fail loudly"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use secure_chat::chat::{Change, Verifier};
use secure_chat::names::UserName;
use secure_chat::store::{Opened, Store};
use tempfile::TempDir;

const NOW: u64 = 1_700_000_000;

/// Names what the child is to do, and where.
const TASK: &str = "STORE_FAULTS_TASK";
const FOLDER: &str = "STORE_FAULTS_FOLDER";

/// What the child says begins with this; the rest of its output is the test runner's.
const SAYS: &str = "@ ";

/// Files of the store, as strace must know them.
const FILES: [&str; 9] = [
    "",
    "db_key.bin",
    "database.enc",
    "database.enc.tmp",
    "database.journal",
    "database.journal.tmp",
    "database.lock",
    "public_keys.log",
    "public_keys.log.tmp",
];

/// Calls that write, and calls that only read or let go.
const WRITING: [&str; 9] =
    ["openat", "write", "fsync", "fdatasync", "ftruncate", "rename", "renameat2", "unlink", "lseek"];
const READING: [&str; 4] = ["read", "statx", "flock", "close"];

fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn add(user: &str) -> Change {
    Change::AddUser { user: UserName::new(user), password: Verifier::new("$hash") }
}

fn users(opened: &Opened) -> Vec<String> {
    opened.directory.users().keys().map(|user| user.as_str().to_owned()).collect()
}

/// What was drawn as the folder was opened for the first time, and is never to change.
fn drawn(opened: &Opened) -> String {
    let rooms = opened.directory.rooms().iter().map(|(name, room)| format!(" {name} {}", room.id));
    format!("drawn {}{}", opened.realm_key.verifying_key().realm(), rooms.collect::<String>())
}

// ---- The child ----

/// Not a test of its own: what the others run in a process that they may harm.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let dir = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    match task.as_str() {
        "save" => save(&dir),
        "save for ever" => save_for_ever(&dir),
        "fill the disk" => fill_the_disk(&dir),
        task => panic!("{task}?"),
    }
}

/// Says how something went.
fn say<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => {
            println!("{SAYS}ok {what}");
            Some(value)
        }
        Err(error) => {
            println!("{SAYS}failed {what}: {error}");
            None
        }
    }
}

/// Saves, folds and records a key, whatever fails.
fn save(dir: &Path) {
    let open = || say("open", Store::open(dir, NOW));
    let Some(opened) = open().or_else(open) else { return };
    // Before anything else is done: from here on others may know of it.
    println!("{SAYS}ok {}", drawn(&opened));
    let Opened { mut store, mut keys, .. } = opened;
    for name in ["a", "b", "c"] {
        say(name, store.commit(&[add(name), add(&format!("{name}{name}"))], NOW));
    }
    say("fold", store.fold(NOW));
    say("d", store.commit(&[add("d"), add("dd")], NOW));
    let bob = UserName::new("bob");
    say("put 1", keys.put(&bob, "1"));
    say("put 2", keys.put(&bob, "2"));
    say("fold", store.fold(NOW));
    say("e", store.commit(&[add("e"), add("ee")], NOW));
}

fn save_for_ever(dir: &Path) {
    let Opened { mut store, directory, .. } = Store::open(dir, NOW).unwrap();
    for n in directory.users().len().. {
        store.commit(&[add(&n.to_string())], NOW).unwrap();
        println!("{SAYS}{n}");
        if n % 7 == 0 {
            store.fold(NOW).unwrap();
        }
    }
}

/// Saves groups until one is not saved, makes room by folding, and goes on.
fn fill_the_disk(dir: &Path) {
    let mut store = Store::open(dir, NOW).unwrap().store;
    let save = |store: &mut Store, n: usize| {
        let group: Vec<Change> = (0..50).map(|i| add(&format!("{n}.{i}"))).collect();
        say(&n.to_string(), store.commit(&group, NOW)).is_some()
    };
    let full = (0..).find(|n| !save(&mut store, *n)).unwrap();
    assert!(store.journal_len() > 10_000);
    assert!(!save(&mut store, full));
    say("fold", store.fold(NOW));
    assert!(save(&mut store, full + 1));
}

fn child_args() -> [&'static str; 4] {
    ["child", "--exact", "--nocapture", "--test-threads=1"]
}

// ---- The faults ----

/// A folder with a store whose journal is not empty, and a copy of it. An earlier version wrote it: it is upgraded, too.
struct Patient {
    dir: TempDir,
    files: BTreeMap<PathBuf, Vec<u8>>,
    before: Vec<String>,
}

impl Patient {
    fn new() -> Self {
        let dir = folder();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/format-1");
        let paths = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path());
        let files = paths.map(|path| (dir.path().join(path.file_name().unwrap()), fs::read(path).unwrap())).collect();
        Self { dir, files, before: ["god", "alice", "Zoë", "bob"].map(str::to_owned).into() }
    }

    fn heal(&self) {
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        self.files.iter().for_each(|(path, content)| fs::write(path, content).unwrap());
    }

    /// Runs the child under strace; its calls are in the log.
    fn operate(&self, log: &Path, inject: Option<&str>) -> Output {
        self.heal();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(log).arg("-e").arg(format!("trace={}", calls().join(",")));
        for name in FILES {
            strace.arg("-P").arg(if name.is_empty() { self.dir.path().to_owned() } else { self.dir.path().join(name) });
        }
        if let Some(inject) = inject {
            strace.arg("-e").arg(format!("inject={inject}"));
        }
        strace.arg(std::env::current_exe().unwrap()).args(child_args());
        strace.env(TASK, "save").env(FOLDER, self.dir.path()).output().unwrap()
    }

    /// The store after the child, which saved what it says it saved, and perhaps some of what it says it did not.
    fn examine(&self, output: &Output, exactly: bool, what: &str) {
        let said = said(&output.stdout);
        let opened = Store::open(self.dir.path(), NOW).unwrap_or_else(|error| panic!("{what}: {error}; {said:?}"));
        let found = users(&opened);
        let mut least = self.before.clone();
        let mut most = self.before.clone();
        for name in ["a", "b", "c", "d", "e"] {
            let both = [name.to_owned(), name.repeat(2)];
            if said.contains(&format!("ok {name}")) {
                least.extend(both.clone());
                most.extend(both);
            } else if found.contains(&both[0]) {
                most.extend(both);
            }
        }
        assert_eq!(found, if exactly { least } else { most }, "{what}: {said:?}");
        let known = said.iter().find_map(|line| line.strip_prefix("ok ").filter(|line| line.starts_with("drawn")));
        assert!(known.is_none_or(|known| known == drawn(&opened)), "{what}: {said:?}");
        self.check_key(opened, &said, what);
        let mut opened = Store::open(self.dir.path(), NOW).unwrap();
        opened.store.commit(&[add("after")], NOW).unwrap();
        drop(opened);
        assert_eq!(users(&Store::open(self.dir.path(), NOW).unwrap()).last().unwrap(), "after", "{what}");
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(files.into_iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{what}");
    }

    fn check_key(&self, mut opened: Opened, said: &[String], what: &str) {
        let key = opened.keys.get(&UserName::new("bob")).unwrap();
        let put = |n: &str| said.contains(&format!("ok put {n}"));
        let least = if put("2") { Some("2") } else { put("1").then_some("1") };
        assert!(key.as_deref() >= least, "{what}: {key:?}; {said:?}");
    }
}

fn said(stdout: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stdout);
    // The first line stands behind the runner's "test child ... ".
    text.lines().filter_map(|line| Some(line.split_once(SAYS)?.1.to_owned())).collect()
}

fn calls() -> Vec<&'static str> {
    WRITING.into_iter().chain(READING).collect()
}

/// How often each call occurs when nothing fails; `None` where strace cannot be had.
fn census(patient: &Patient, log: &Path) -> Option<Vec<(&'static str, usize)>> {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|s| s.success());
    if !works {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "strace must work where CI runs");
        eprintln!("skipped: strace is missing, or may not trace");
        return None;
    }
    let output = patient.operate(log, None);
    assert!(output.status.success(), "{output:?}");
    assert!(said(&output.stdout).iter().all(|line| line.starts_with("ok ")), "{output:?}");
    patient.examine(&output, true, "without a fault");
    let text = fs::read_to_string(log).unwrap();
    let count = |call: &str| text.lines().filter(|line| line.contains(&format!(" {call}("))).count();
    let census: Vec<_> = calls().into_iter().map(|call| (call, count(call))).collect();
    let seen = |call| census.iter().any(|(name, count)| *name == call && *count > 0);
    assert!(["openat", "write", "fsync", "fdatasync", "read"].into_iter().all(seen), "{census:?}");
    Some(census)
}

/// Runs the child once for each call of the census, with that call injected.
fn for_each_call(injection: &str, check: impl Fn(&Patient, &Output, &str)) {
    let patient = Patient::new();
    let scratch = folder();
    let log = scratch.path().join("log");
    for (call, count) in census(&patient, &log).unwrap_or_default() {
        for n in 1..=count {
            let inject = format!("{call}:{}", injection.replace('#', &n.to_string()));
            let output = patient.operate(&log, Some(&inject));
            check(&patient, &output, &inject);
        }
    }
}

fn fails_once(patient: &Patient, output: &Output, what: &str) {
    assert!(output.status.success(), "{what}: {output:?}");
    let said = said(&output.stdout);
    // One fault costs one operation at most, and what comes next works again.
    assert!(said.iter().filter(|line| line.starts_with("failed")).count() <= 1, "{what}: {said:?}");
    assert!(said.contains(&"ok e".to_owned()) || said.last().unwrap().starts_with("failed e"), "{what}: {said:?}");
    patient.examine(output, true, what);
}

#[test]
fn one_io_error_costs_one_operation_and_nothing_that_was_saved() {
    for_each_call("error=EIO:when=#", fails_once);
}

#[test]
fn one_moment_without_space_costs_one_operation_and_nothing_that_was_saved() {
    for_each_call("error=ENOSPC:when=#", fails_once);
}

#[test]
fn a_disk_that_fails_for_good_takes_nothing_with_it_that_was_saved() {
    for_each_call("error=EIO:when=#+", |patient, output, what| {
        assert!(output.status.success(), "{what}: {output:?}");
        patient.examine(output, false, what);
    });
}

#[test]
fn a_crash_at_any_call_loses_nothing_that_was_saved() {
    for_each_call("signal=KILL:when=#", |patient, output, what| {
        assert!(!output.status.success(), "{what}: {output:?}");
        patient.examine(output, false, what);
    });
}

#[test]
fn a_crash_at_any_moment_loses_nothing_that_was_saved() {
    let dir = folder();
    drop(Store::create(dir.path(), Verifier::new("$god"), NOW).unwrap());
    for round in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(child_args()).env(TASK, "save for ever").env(FOLDER, dir.path()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said: Vec<usize> = Vec::new();
        let number = |line: String| line.split_once(SAYS).and_then(|(_, n)| n.parse::<usize>().ok());
        while said.len() <= round * 3 {
            said.extend(number(lines.next().expect("the child goes on until it is killed")));
        }
        // There is no event to wait for: any moment will do.
        std::thread::sleep(Duration::from_micros(u64::from(rand::random::<u16>()) % 3000));
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines.filter_map(number));
        let found = users(&Store::open(dir.path(), NOW).unwrap());
        let saved = said.last().unwrap() + 1;
        assert!((saved..=saved + 1).contains(&found.len()), "{saved} were saved, {} found", found.len());
        assert!(found.iter().skip(1).enumerate().all(|(i, name)| *name == (i + 1).to_string()), "{found:?}");
    }
}

#[test]
fn a_group_that_only_half_fits_is_not_saved_and_room_can_be_made() {
    let dir = folder();
    drop(Store::create(dir.path(), Verifier::new("$god"), NOW).unwrap());
    // No file may exceed 64 KiB: what would is written in part, and the rest refused.
    let limited = r#"trap "" XFSZ; ulimit -f 128; exec "$0" "$@""#;
    let mut child = Command::new("sh");
    child.args(["-c", limited]).arg(std::env::current_exe().unwrap()).args(child_args());
    let output = child.env(TASK, "fill the disk").env(FOLDER, dir.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = said(&output.stdout);
    assert!(said.contains(&"ok fold".to_owned()), "{said:?}");
    let saved: Vec<&str> = said.iter().filter_map(|line| line.strip_prefix("ok ")).filter(|n| *n != "fold").collect();
    let expected = saved.iter().flat_map(|n| (0..50).map(move |i| format!("{n}.{i}")));
    let expected: Vec<String> = std::iter::once("god".to_owned()).chain(expected).collect();
    assert_eq!(users(&Store::open(dir.path(), NOW).unwrap()), expected);
}
