//! The files of the database. They are real ones, in a folder for each input: `TMPDIR` says where.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use secure_chat::chat::{Change, Directory, Entries, Verifier};
use secure_chat::crypto::FernetKey;
use secure_chat::names::{RoomName, UserName};
use secure_chat::store::{Opened, Store, StoreError};
use secure_chat::transcript::RoomId;
use sha2::{Digest, Sha256};

use super::bytes::Bytes;

const NOW: u64 = 1_700_000_000;
const DATABASE: &str = "database.enc";
const JOURNAL: &str = "database.journal";
const RAW: [u8; 32] = *b"the key of a database of targets";

/// What disks write whole or not at all, in bytes.
const SECTOR: usize = 512;

/// Most groups that a journal is made of, and most changes in one.
const GROUPS: usize = 4;
const CHANGES: usize = 3;

static KEY: LazyLock<FernetKey> = LazyLock::new(|| FernetKey::from_raw(&RAW));

/// The text of a snapshot, sealed: every format that was ever written, and everything that is none.
pub fn snapshot(json: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    lay(dir, KEY.seal(json, NOW).as_bytes(), b"");
    let Some((first, realm)) = open(dir) else { return };
    let (again, same) = open(dir).expect("what was opened and folded can be opened");
    assert_eq!(again, first);
    assert_eq!(same, realm, "the realm's key is drawn once");
}

/// The first byte says what stands in the journal: texts that are sealed and marked as the program marks them; or groups of
/// changes, which are then damaged, or of which sectors never arrived; or the bytes as they are.
pub fn journal(data: &[u8]) {
    let bytes = &mut Bytes(data);
    match bytes.byte() % 4 {
        0 => sealed(bytes.rest()),
        1 => raw(bytes.rest()),
        2 => damaged(bytes),
        _ => holed(bytes),
    }
}

/// The lines of a journal whose every text is authentic: whatever it says, it is taken as a whole or refused.
fn sealed(text: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (snapshot, mut check) = empty_snapshot();
    let mut journal = Vec::new();
    for (number, group) in text.split(|byte| *byte == b'\n').take(16).enumerate() {
        let mut lines = Vec::new();
        for change in group.split(|byte| *byte == 0).filter(|change| !change.is_empty()).take(16) {
            push_line(&mut lines, change);
        }
        check = Sha256::new().chain_update(check).chain_update(&lines).finalize().into();
        push_line(&mut lines, mark(number as u64 + 1, &check).as_bytes());
        journal.extend_from_slice(&lines);
    }
    lay(dir, &snapshot, &journal);
    let Some((first, realm)) = open(dir) else { return };
    assert_eq!(open(dir), Some((first, realm)), "folded, it says the same");
}

/// Nothing that was not sealed with the key is taken for a change.
fn raw(journal: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    lay(dir, &empty_snapshot().0, journal);
    if let Some((directory, _)) = open(dir) {
        assert_eq!(directory, Entries::default());
        let holes = journal.contains(&0); // of which a line may be a part
        assert!(holes || !journal.contains(&b'\n'), "a whole line that is none of ours was passed over");
    }
}

/// Whole groups, of which some damage is done to the file: what opens is what was saved up to where a torn tail begins.
fn damaged(bytes: &mut Bytes<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let written = Written::draw(dir, bytes);
    let mut journal = written.journal.clone();
    for _ in 0..=bytes.below(3) {
        damage(&mut journal, bytes);
    }
    fs::write(dir.join(JOURNAL), &journal).unwrap();
    check(dir, &written, &journal, is_torn(&written, &journal));
}

/// Whole groups, of which some sectors are missing, as after a disk lost its power: the last append may have lost any of its own.
fn holed(bytes: &mut Bytes<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let written = Written::draw(dir, bytes);
    let mut journal = written.journal.clone();
    let begun = written.start(written.ends.len().saturating_sub(1));
    let from = if bytes.byte() & 1 == 0 { begun } else { 0 };
    let lost = bytes.long();
    for (number, sector) in journal.chunks_mut(SECTOR).enumerate() {
        let kept = from.saturating_sub(number * SECTOR).min(sector.len());
        if lost >> (number % 64) & 1 == 1 {
            sector[kept..].fill(0);
        }
    }
    fs::write(dir.join(JOURNAL), &journal).unwrap();
    let torn = written.journal[..begun] == journal[..begun];
    check(dir, &written, &journal, torn);
}

/// What opens is what was saved up to where a torn tail begins; what is `torn` opens.
fn check(dir: &Path, written: &Written, journal: &[u8], torn: bool) {
    let intact = written.intact(journal);
    let Some((directory, _)) = open(dir) else {
        return assert!(!torn, "a torn tail of {} bytes keeps nobody out", journal.len());
    };
    assert_eq!(directory, written.states[intact], "{intact} groups are as they were");
    let has = |mark: &[u8]| journal.windows(mark.len()).any(|window| window == mark);
    let later = written.marks.get(intact + 1..).unwrap_or_default();
    assert!(!later.iter().any(|mark| has(mark)), "the middle is damaged, and what is behind it was thrown away");
    // An append may have lost some of its sectors and not the last one.
    if let Some(next) = written.marks.get(intact).filter(|mark| has(mark)) {
        assert!(journal.ends_with(next) && journal[written.start(intact)..].contains(&0), "a group was thrown away");
    }
}

/// Whether a journal is what an append that was cut short leaves: a beginning of what was written, or zeros behind it.
fn is_torn(written: &Written, journal: &[u8]) -> bool {
    let end = journal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let (text, zeros) = journal.split_at(end);
    written.journal.starts_with(text) && (zeros.is_empty() || zeros.len() >= 16)
}

/// A journal, and what is saved after each of its groups.
struct Written {
    journal: Vec<u8>,
    /// Where groups end.
    ends: Vec<usize>,
    /// Their last lines.
    marks: Vec<Vec<u8>>,
    states: Vec<Entries>,
}

impl Written {
    /// Commits groups of changes that fit, through the store itself.
    fn draw(dir: &Path, bytes: &mut Bytes<'_>) -> Self {
        lay(dir, &empty_snapshot().0, b"");
        let Opened { mut store, directory, keys: _keys, .. } = Store::open(dir, NOW).unwrap();
        let mut state = entries(&directory);
        let (mut ends, mut states) = (Vec::new(), vec![state.clone()]);
        for _ in 0..1 + bytes.below(GROUPS) {
            let mut group = Vec::new();
            for _ in 0..1 + bytes.below(CHANGES) {
                let change = change(bytes);
                if state.apply(change.clone()).is_ok() {
                    group.push(change);
                }
            }
            store.commit(&group, NOW).unwrap();
            if !group.is_empty() {
                ends.push(usize::try_from(store.journal_len()).unwrap());
                states.push(state.clone());
            }
        }
        let journal = fs::read(dir.join(JOURNAL)).unwrap();
        let lines = |end: &usize| journal[..*end].split_inclusive(|byte| *byte == b'\n').next_back().unwrap().to_vec();
        let marks = ends.iter().map(lines).collect();
        Self { journal, ends, marks, states }
    }

    /// Where a group begins, counted from 0.
    fn start(&self, group: usize) -> usize {
        group.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// How many groups a damaged journal begins with that are as they were.
    fn intact(&self, journal: &[u8]) -> usize {
        let same = self.journal.iter().zip(journal).take_while(|(one, other)| one == other).count();
        self.ends.iter().filter(|end| **end <= same).count()
    }
}

fn change(bytes: &mut Bytes<'_>) -> Change {
    let (room, user) = (RoomName::new(["den", "lobby"][bytes.below(2)]), UserName::new(["ann", "bob"][bytes.below(2)]));
    let password = Verifier::new("$hash");
    match bytes.below(8) {
        0 | 1 => Change::AddUser { user, password },
        2 | 3 => Change::AddRoom { room, password, id: RoomId([7; 16]), owner: Some(user), modern_only: false },
        4 => Change::SetTopic { room, topic: bytes.text() },
        5 => Change::Ban { room, user, until: None, at: NOW },
        6 => Change::RemoveRoom { room },
        _ => Change::SetLegacyLogin { user, allowed: false },
    }
}

/// One thing that can happen to a file.
fn damage(journal: &mut Vec<u8>, bytes: &mut Bytes<'_>) {
    let at = |short: u16, len: usize| usize::from(short) % (len + 1);
    let place = at(bytes.short(), journal.len());
    match bytes.below(8) {
        0 | 1 => journal.truncate(place),
        2 => journal.resize(place.max(1) + bytes.below(64), 0), // cut, or data that never arrived
        3 => {
            if let Some(byte) = journal.get_mut(place) {
                *byte ^= 1 << bytes.below(8);
            }
        }
        4 => {
            let end = place.saturating_add(at(bytes.short(), journal.len())).min(journal.len());
            drop(journal.drain(place..end));
        }
        5 => {
            let piece = bytes.piece();
            journal.splice(place..place, piece.iter().copied());
        }
        6 => swap_lines(journal, bytes),
        _ => {
            let end = place.saturating_add(at(bytes.short(), journal.len())).min(journal.len());
            let piece = journal[place..end].to_vec();
            let into = at(bytes.short(), journal.len());
            journal.splice(into..into, piece);
        }
    }
}

fn swap_lines(journal: &mut Vec<u8>, bytes: &mut Bytes<'_>) {
    let mut lines: Vec<&[u8]> = journal.split_inclusive(|byte| *byte == b'\n').collect();
    if !lines.is_empty() {
        let (one, other) = (bytes.below(lines.len().min(256)), bytes.below(lines.len().min(256)));
        lines.swap(one, other);
        *journal = lines.concat();
    }
}

/// What the store makes of the folder. When it refuses it, it has changed nothing, and says what and what to do.
fn open(dir: &Path) -> Option<(Entries, String)> {
    let before = files(dir);
    match Store::open(dir, NOW) {
        Ok(opened) => {
            assert!(fs::read(dir.join(JOURNAL)).unwrap().is_empty(), "the journal was folded");
            Some((entries(&opened.directory), opened.realm_key.verifying_key().realm().to_string()))
        }
        Err(StoreError::Io { action, path, source }) => panic!("cannot {action} {}: {source}", path.display()),
        Err(why) => {
            assert_eq!(files(dir), before, "{why}");
            assert!(why.to_string().starts_with(&*dir.to_string_lossy()), "{why} names no file");
            None
        }
    }
}

fn files(dir: &Path) -> [Vec<u8>; 2] {
    [DATABASE, JOURNAL].map(|name| fs::read(dir.join(name)).unwrap())
}

fn entries(directory: &Directory) -> Entries {
    Entries { users: directory.users().clone(), rooms: directory.rooms().clone() }
}

fn lay(dir: &Path, database: &[u8], journal: &[u8]) {
    fs::write(dir.join("db_key.bin"), KEY.expose()).unwrap();
    fs::write(dir.join(DATABASE), database).unwrap();
    fs::write(dir.join(JOURNAL), journal).unwrap();
}

/// A database in which nobody has an account, and the check that its journal continues.
fn empty_snapshot() -> (Vec<u8>, [u8; 32]) {
    let check = [0x11; 32];
    let realm_key = "ERERERERERERERERERERERERERERERERERERERERERE=";
    let mark = mark(0, &check);
    let json = format!(r#"{{"format":2,"realm_key":"{realm_key}","journal":{mark},"users":{{}},"rooms":{{}}}}"#);
    (KEY.seal(json.as_bytes(), NOW).into_bytes(), check)
}

fn mark(group: u64, check: &[u8; 32]) -> String {
    let check: String = check.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(r#"{{"group":{group},"check":"{check}"}}"#)
}

fn push_line(lines: &mut Vec<u8>, json: &[u8]) {
    lines.extend_from_slice(KEY.seal(json, NOW).as_bytes());
    lines.push(b'\n');
}
