//! What a power loss can leave of the store's files, at any moment: everything that was acknowledged is there, and the database
//! opens.
//!
//! strace records what a store asks of the file system: every write, sync, rename and removal, with what it says it has saved
//! in between. From the record this test makes every folder that a disk may be left with which keeps to POSIX and no more:
//! what was written since a file's last sync may be there or not, or be cut off at any byte, or be missing by sectors; names that
//! were made, changed or removed since the folder's last sync may be so or not, each by itself. A sync that failed has put
//! nothing on the disk, and no later sync of the same file makes that good: the system may have forgotten that it is owed.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests may fail loudly"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use secure_chat::chat::{Change, Verifier};
use secure_chat::names::UserName;
use secure_chat::store::{Store, StoreError};
use tempfile::TempDir;

const NOW: u64 = 1_700_000_000;
const FOLDER: &str = "POWER_LOSS_FOLDER";

/// What the child says begins with this; the rest of its output is the test runner's.
const SAYS: &str = "@ ";

/// What disks write whole or not at all, in bytes.
const SECTOR: usize = 512;

/// Calls that the model knows. Whatever else changes files does not occur.
const CALLS: &str = "openat,creat,write,pwrite64,writev,fsync,fdatasync,ftruncate,truncate,rename,renameat,renameat2,\
    unlink,unlinkat,lseek,fcntl,dup,dup2,dup3,close,copy_file_range,sendfile,link,linkat,mkdir,fallocate";

/// Groups that the child saves; and the one behind which it folds.
const GROUPS: usize = 4;
const FOLDED: usize = 2;

fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn add(user: &str) -> Change {
    Change::AddUser { user: UserName::new(user), password: Verifier::new("$hash") }
}

// ---- The child ----

/// The names of a group: the later, the more, so that there are groups of one sector and of many.
fn group(n: usize) -> Vec<String> {
    (0..n * n).map(|i| format!("u{n}.{i}")).collect()
}

/// Not a test of its own: what is recorded. Says what was saved, and what was not.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let opened = if secure_chat::store::exists(&dir).unwrap() {
        Store::open(&dir, NOW)
    } else {
        Store::create(&dir, Verifier::new("$god"), NOW)
    };
    let mut opened = opened.unwrap();
    println!("{SAYS}0");
    for n in 1..=GROUPS {
        let changes: Vec<Change> = group(n).iter().map(|name| add(name)).collect();
        if let Ok(()) = opened.store.commit(&changes, NOW) {
            println!("{SAYS}{n}");
        }
        if n == FOLDED {
            let _ = opened.store.fold(NOW); // what was saved is saved, whether or not it is folded
            opened.keys.put(&UserName::new("u1.0"), "PEM").unwrap();
        }
    }
    let _ = opened.store.fold(NOW);
}

// ---- What it asked of the file system ----

#[derive(Debug, Clone)]
enum Call {
    /// A file of the folder is opened; a new one, when there is none.
    Open {
        fd: i32,
        name: String,
        append: bool,
        truncate: bool,
    },
    OpenFolder {
        fd: i32,
    },
    Duplicate {
        from: i32,
        to: i32,
    },
    Seek {
        fd: i32,
        to: usize,
    },
    Write {
        fd: i32,
        bytes: Vec<u8>,
    },
    Truncate {
        fd: i32,
        len: usize,
    },
    Sync {
        fd: i32,
        worked: bool,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    Close {
        fd: i32,
    },
    /// The child said that this group is saved.
    Said(usize),
}

/// Runs the child on a folder; `None` where strace cannot be had.
fn record(dir: &Path, faults: &[&str]) -> Option<Vec<Call>> {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|s| s.success());
    if !works {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "strace must work where CI runs");
        eprintln!("skipped: strace is missing, or may not trace");
        return None;
    }
    let scratch = folder();
    let log = scratch.path().join("log");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-a", "1", "-xx", "-s", "1000000", "-e", "signal=none", "-o"]).arg(&log);
    strace.arg("-e").arg(format!("trace={CALLS}"));
    for fault in faults {
        strace.arg("-e").arg(format!("inject={fault}"));
    }
    strace.arg(std::env::current_exe().unwrap()).args(["child", "--exact", "--nocapture", "--test-threads=1"]);
    let output = strace.env(FOLDER, dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(log).unwrap();
    Some(Reader { dir: dir.to_str().unwrap(), ours: HashSet::new() }.read(&text))
}

struct Reader<'a> {
    dir: &'a str,
    /// Descriptors of files of the folder, and of the folder.
    ours: HashSet<i32>,
}

impl Reader<'_> {
    fn read(mut self, log: &str) -> Vec<Call> {
        log.lines().filter_map(|line| self.call(line)).collect()
    }

    fn call(&mut self, line: &str) -> Option<Call> {
        let (_, call) = line.split_once(' ')?;
        let (name, rest) = call.trim_start().split_once('(')?;
        let (arguments, result) = rest.rsplit_once(") = ").unwrap_or_else(|| panic!("{line}"));
        let result = result.split_whitespace().next().unwrap();
        let worked = !result.starts_with('-');
        let arguments: Vec<&str> = arguments.split(", ").collect();
        let fd = || arguments[0].parse::<i32>().unwrap_or(-1);
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{line}"));
        let ours = self.ours.contains(&fd());
        let paths: Vec<_> = arguments.iter().filter(|text| text.starts_with('"')).map(|text| unhex(text)).collect();
        match name {
            "fsync" | "fdatasync" if ours => Some(Call::Sync { fd: fd(), worked }),
            _ if !worked => None,
            "openat" => self.open(unhex(arguments[1]), arguments[2], number(result)),
            "write" if fd() == 1 => said(&unhex(arguments[1])),
            "write" if ours => {
                let mut bytes = unhex(arguments[1]);
                bytes.truncate(result.parse().unwrap());
                Some(Call::Write { fd: fd(), bytes })
            }
            "ftruncate" if ours => Some(Call::Truncate { fd: fd(), len: arguments[1].parse().unwrap() }),
            "lseek" if ours => Some(Call::Seek { fd: fd(), to: result.parse().unwrap() }),
            "rename" | "renameat" | "renameat2" => {
                Some(Call::Rename { from: self.inside(&paths[0])?, to: self.inside(&paths[1])? })
            }
            "unlink" | "unlinkat" => Some(Call::Remove { name: self.inside(&paths[0])? }),
            "fcntl" if ours && arguments[1].starts_with("F_DUPFD") => {
                self.ours.insert(number(result));
                Some(Call::Duplicate { from: fd(), to: number(result) })
            }
            "close" => self.ours.remove(&fd()).then(|| Call::Close { fd: fd() }),
            "fcntl" | "write" | "lseek" => None,
            _ => {
                // Of files elsewhere, or a call that this test does not know.
                assert!(!ours && !paths.iter().any(|path| path.starts_with(self.dir.as_bytes())), "{line}");
                None
            }
        }
    }

    fn open(&mut self, path: Vec<u8>, flags: &str, fd: i32) -> Option<Call> {
        let path = String::from_utf8(path).unwrap();
        let inside = path.strip_prefix(self.dir)?;
        self.ours.insert(fd);
        let Some(name) = inside.strip_prefix('/') else { return Some(Call::OpenFolder { fd }) };
        let has = |flag: &str| flags.split('|').any(|one| one == flag);
        Some(Call::Open { fd, name: name.to_owned(), append: has("O_APPEND"), truncate: has("O_TRUNC") })
    }

    fn inside(&self, path: &[u8]) -> Option<String> {
        str::from_utf8(path).unwrap().strip_prefix(self.dir)?.strip_prefix('/').map(str::to_owned)
    }
}

/// The bytes of a string as strace prints it with -xx.
fn unhex(text: &str) -> Vec<u8> {
    let inside = text.trim_matches('"');
    inside.split("\\x").skip(1).map(|byte| u8::from_str_radix(&byte[..2], 16).unwrap()).collect()
}

fn said(bytes: &[u8]) -> Option<Call> {
    let text = String::from_utf8_lossy(bytes);
    Some(Call::Said(text.split_once(SAYS)?.1.trim().parse().unwrap()))
}

// ---- What the disk has ----

type Content = Vec<u8>;

/// A file: what is surely on the disk, and what may be.
#[derive(Debug, Clone, Default)]
struct File {
    /// As of its last sync.
    synced: Content,
    /// As the process sees it.
    seen: Content,
    /// Whether a sync failed: then nothing that was written since the last that worked, or will be, is sure any more.
    doubtful: bool,
}

impl File {
    /// All contents that a power loss may leave.
    fn possible(&self) -> Vec<Content> {
        let mut all = vec![self.synced.clone(), self.seen.clone()];
        let Some(added) = self.seen.strip_prefix(&self.synced[..]) else {
            // It was shortened, or written in the middle: no file of which that matters is.
            return all;
        };
        let begin = self.synced.len();
        // Near ends of lines and of sectors at every byte, elsewhere at some.
        let is_near = |cut: usize| {
            let around = added[cut.saturating_sub(2)..(cut + 2).min(added.len())].contains(&b'\n');
            around || (begin + cut + 1) % SECTOR < 3
        };
        for cut in (1..added.len()).filter(|cut| cut % 17 == 0 || is_near(*cut)) {
            all.push(self.seen[..begin + cut].to_vec());
            // The length is on the disk already, and what would be there is not.
            if added.len() - cut >= 16 {
                let mut holed = self.seen.clone();
                holed[begin + cut..].fill(0);
                all.push(holed);
            }
        }
        let borders: Vec<usize> = std::iter::once(begin)
            .chain((begin + 1..self.seen.len()).filter(|at| at.is_multiple_of(SECTOR)))
            .chain([self.seen.len()])
            .collect();
        let sectors: Vec<_> = borders.windows(2).map(|pair| pair[0]..pair[1]).collect();
        // Every choice of few sectors; of many, each of them missing by itself and each of them alone.
        let choices: Vec<u64> = match sectors.len() {
            0 => vec![],
            few @ 1..=6 => (0..1 << few).collect(),
            many => (0..many.min(60)).flat_map(|n| [1 << n, !(1 << n)]).collect(),
        };
        for arrived in choices {
            let mut holed = self.seen.clone();
            let missing = sectors.iter().enumerate().filter(|(n, _)| arrived >> (n % 64) & 1 == 0);
            missing.for_each(|(_, sector)| holed[sector.clone()].fill(0));
            all.push(holed);
        }
        all
    }
}

/// A change of the folder that may or may not be on the disk.
#[derive(Debug, Clone)]
enum Entry {
    Set(String, usize),
    Gone(String),
}

/// The folder, on a disk that has done no more than it had to.
#[derive(Debug, Clone, Default)]
struct Disk {
    files: Vec<File>,
    /// As the process sees it.
    seen: BTreeMap<String, usize>,
    /// As of the folder's last sync.
    synced: BTreeMap<String, usize>,
    /// Groups of entries that change together, since then.
    pending: Vec<Vec<Entry>>,
    /// Open files: which, at which offset, whether for appending. The folder is none of them.
    open: HashMap<i32, (usize, usize, bool)>,
    folders: HashSet<i32>,
}

impl Disk {
    fn of(dir: &Path) -> Self {
        let mut disk = Self::default();
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let content = fs::read(entry.path()).unwrap();
            disk.seen.insert(entry.file_name().into_string().unwrap(), disk.files.len());
            disk.files.push(File { synced: content.clone(), seen: content, doubtful: false });
        }
        disk.synced = disk.seen.clone();
        disk
    }

    fn file(&mut self, fd: i32) -> &mut File {
        let (file, ..) = self.open[&fd];
        &mut self.files[file]
    }

    fn does(&mut self, call: &Call) {
        match call.clone() {
            Call::OpenFolder { fd } => _ = self.folders.insert(fd),
            Call::Open { fd, name, append, truncate } => {
                let file = *self.seen.entry(name.clone()).or_insert_with(|| {
                    self.files.push(File::default());
                    self.pending.push(vec![Entry::Set(name, self.files.len() - 1)]);
                    self.files.len() - 1
                });
                if truncate {
                    self.files[file].seen.clear();
                }
                self.open.insert(fd, (file, 0, append));
            }
            Call::Duplicate { from, to } => _ = self.open.insert(to, self.open[&from]),
            Call::Seek { fd, to } => self.open.get_mut(&fd).unwrap().1 = to,
            Call::Write { fd, bytes } => {
                let (file, offset, append) = self.open[&fd];
                let content = &mut self.files[file].seen;
                let at = if append { content.len() } else { offset };
                content.resize(content.len().max(at + bytes.len()), 0);
                content[at..at + bytes.len()].copy_from_slice(&bytes);
                self.open.get_mut(&fd).unwrap().1 = at + bytes.len();
            }
            Call::Truncate { fd, len } => self.file(fd).seen.resize(len, 0),
            Call::Sync { fd, worked } if self.folders.contains(&fd) => {
                if worked {
                    self.synced = self.seen.clone();
                    self.pending.clear();
                }
            }
            Call::Sync { fd, worked } => {
                let file = self.file(fd);
                file.doubtful |= !worked;
                if !file.doubtful {
                    file.synced = file.seen.clone();
                }
            }
            Call::Rename { from, to } => {
                let file = self.seen.remove(&from).unwrap();
                self.seen.insert(to.clone(), file);
                self.pending.push(vec![Entry::Gone(from), Entry::Set(to, file)]);
            }
            Call::Remove { name } => {
                self.seen.remove(&name).unwrap();
                self.pending.push(vec![Entry::Gone(name)]);
            }
            Call::Close { fd } => {
                self.open.remove(&fd);
                self.folders.remove(&fd);
            }
            Call::Said(_) => {}
        }
    }

    /// All folders that a power loss may leave now.
    fn possible(&self) -> Vec<BTreeMap<String, Content>> {
        let mut all = Vec::new();
        let every = (1_u32 << self.pending.len()) - 1;
        // Every choice of few; of many, each by itself and all but each.
        let choices: Vec<u32> = match self.pending.len() {
            few @ 0..=6 => (0..1 << few).collect(),
            many => (0..many).flat_map(|n| [1 << n, every ^ (1 << n)]).chain([0, every]).collect(),
        };
        for done in choices {
            let mut names = self.synced.clone();
            for (_, entries) in self.pending.iter().enumerate().filter(|(n, _)| done >> n & 1 == 1) {
                for entry in entries {
                    match entry {
                        Entry::Set(name, file) => _ = names.insert(name.clone(), *file),
                        Entry::Gone(name) => _ = names.remove(name),
                    }
                }
            }
            let with = |content: &dyn Fn(&File) -> Content| -> BTreeMap<String, Content> {
                names.iter().map(|(name, file)| (name.clone(), content(&self.files[*file]))).collect()
            };
            let [least, most] = [with(&|file| file.synced.clone()), with(&|file| file.seen.clone())];
            // One file is left in every way that it may be, while the others are as they must be, or as they were to be.
            // What is under a temporary name is never looked at.
            for (name, file) in names.iter().filter(|(name, _)| !name.ends_with(".tmp")) {
                for content in self.files[*file].possible() {
                    for others in [&least, &most] {
                        let mut folder = others.clone();
                        folder.insert(name.clone(), content.clone());
                        all.push(folder);
                    }
                }
            }
            all.extend([least, most]);
        }
        all
    }
}

// ---- What must hold ----

/// Opens every folder that a power loss may leave at any moment of the record; how many different ones there were.
fn lose_power(before: Disk, calls: &[Call]) -> usize {
    let dir = folder();
    let is_new = before.seen.is_empty();
    let mut disk = before;
    let (mut said, mut tried) = (Vec::new(), HashSet::new());
    for (n, call) in calls.iter().enumerate() {
        if let Call::Said(group) = call {
            said.push(*group);
        }
        disk.does(call);
        for files in disk.possible() {
            if tried.insert((said.clone(), files.clone())) {
                check(
                    dir.path(),
                    &files,
                    &said,
                    is_new,
                    &format!("after {n} calls, the last {:.80}", format!("{call:?}")),
                );
            }
        }
    }
    tried.len()
}

fn check(dir: &Path, files: &BTreeMap<String, Content>, said: &[usize], is_new: bool, what: &str) {
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, content) in files {
        fs::write(dir.join(name), content).unwrap();
    }
    let least: Vec<String> = said.iter().flat_map(|n| group(*n)).collect();
    let opened = match Store::open(dir, NOW) {
        Ok(opened) => opened,
        // Nobody was told that there is a database.
        Err(StoreError::Missing { .. } | StoreError::Orphan { .. }) if said.is_empty() && is_new => return,
        Err(error) => panic!("{what}: {error}; acknowledged: {said:?}"),
    };
    let users = |opened: &secure_chat::store::Opened| -> Vec<String> {
        opened.directory.users().keys().map(|user| user.as_str().to_owned()).filter(|user| user != "god").collect()
    };
    let found = users(&opened);
    // One group more may be there, and then all of it: the one that was being saved, or that could not be.
    let next = said.last().map_or(1, |n| n + 1);
    let is_one_more = || (next..=GROUPS).any(|n| found == [least.clone(), group(n)].concat());
    assert!(found == least || is_one_more(), "{what}: {found:?}; acknowledged: {said:?}");
    drop(opened);
    let mut again = Store::open(dir, NOW).unwrap_or_else(|error| panic!("{what}, the second time: {error}"));
    assert_eq!(users(&again), found, "{what}");
    again.store.commit(&[add("after")], NOW).unwrap();
    drop(again);
    assert_eq!(users(&Store::open(dir, NOW).unwrap()).last().unwrap(), "after", "{what}");
}

#[test]
fn a_power_loss_at_any_moment_loses_nothing_that_was_acknowledged() {
    let dir = folder();
    let before = Disk::of(dir.path());
    let Some(calls) = record(dir.path(), &[]) else { return };
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::Said(_))).count(), 1 + GROUPS);
    let states = lose_power(before, &calls);
    println!("{states} folders of a database that was made, saved to and folded: all open, nothing is lost");
    assert!(states > 500, "{states}");
}

#[test]
fn a_power_loss_behind_a_sync_that_failed_loses_nothing_that_was_acknowledged() {
    let (template, mut states) = (folder(), 0);
    drop(Store::create(template.path(), Verifier::new("$god"), NOW).unwrap());
    // The first two syncs are of opening. A save is a `fdatasync`; to fold, or to repair what a failed one left, takes `fsync`.
    let faults: [&[&str]; 6] = [
        &["fdatasync:error=EIO:when=1"],
        &["fdatasync:error=EIO:when=3"],
        &["fdatasync:error=EIO:when=2", "fsync:error=EIO:when=3"],
        &["fdatasync:error=EIO:when=2", "fsync:error=EIO:when=4"],
        &["fsync:error=EIO:when=4"],
        &["fsync:error=EIO:when=5+"],
    ];
    for faults in faults {
        let dir = folder();
        for entry in fs::read_dir(template.path()).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        let before = Disk::of(dir.path());
        let Some(calls) = record(dir.path(), faults) else { return };
        let failed = calls.iter().filter(|call| matches!(call, Call::Sync { worked: false, .. })).count();
        assert!(failed >= faults.len(), "{faults:?}: {calls:?}");
        states += lose_power(before, &calls);
    }
    println!("{states} folders behind syncs that failed: all open, nothing is lost");
}

/// Whether this test finds what it is there to find.
#[test]
fn a_store_that_left_out_a_kind_of_sync_would_be_found_out() {
    let dir = folder();
    let before = Disk::of(dir.path());
    let Some(calls) = record(dir.path(), &[]) else { return };
    let (mut folders, mut kinds) = (HashSet::new(), Vec::new());
    for call in &calls {
        match call {
            Call::OpenFolder { fd } => _ = folders.insert(*fd),
            Call::Close { fd } => _ = folders.remove(fd),
            _ => {}
        }
        kinds.push(if let Call::Sync { fd, .. } = call { Some(folders.contains(fd)) } else { None });
    }
    let without = |left_out: &[Option<bool>]| -> Vec<Call> {
        calls.iter().zip(&kinds).filter(|(_, kind)| !left_out.contains(kind)).map(|(call, _)| call.clone()).collect()
    };
    for (what, calls) in [
        ("every sync", without(&[Some(true), Some(false)])),
        ("those of the folder", without(&[Some(true)])),
        ("those of files", without(&[Some(false)])),
    ] {
        let found = std::panic::catch_unwind(|| lose_power(before.clone(), &calls));
        assert!(found.is_err(), "without {what}");
    }
}
