//! What must hold of a database on disk, whatever happens to it.

mod earlier;
mod parts;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::chat::Room;
use crate::crypto::password::{Hasty, PasswordHash};
use crate::names::{Password, RoomName, UserName};
use crate::transcript::{Realm, RoomId};

const NOW: u64 = 1_700_000_000;

/// Users and rooms, each with its hash, in order.
type Content = (Vec<(String, String)>, Vec<(String, String)>);

/// A folder in memory where there is one: these tests sync thousands of times.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn user(name: &str, hash: &str) -> Change {
    Change::AddUser { user: UserName::new(name), password: Verifier::new(hash) }
}

fn room(name: &str, hash: &str) -> Change {
    let (id, owner) = (RoomId(rand::random()), Some(UserName::new("bob")));
    Change::AddRoom { room: RoomName::new(name), password: Verifier::new(hash), id, owner, modern_only: false }
}

fn passwd(name: &str, hash: &str) -> Change {
    Change::SetUserPassword { user: UserName::new(name), password: Verifier::new(hash) }
}

fn create(dir: &TempDir) -> Store {
    Store::create(dir.path(), Verifier::new("$god"), NOW).unwrap().store
}

fn content(directory: &Directory) -> Content {
    let users = directory.users().iter().map(|(n, a)| (n.as_str().to_owned(), a.password.as_str().to_owned()));
    let rooms = directory.rooms().iter().map(|(n, r)| (n.as_str().to_owned(), r.password.as_str().to_owned()));
    (users.collect(), rooms.collect())
}

/// All that lasts, in its order.
#[derive(Debug, Clone, PartialEq)]
struct Lasting {
    users: Vec<(UserName, Account)>,
    rooms: Vec<(RoomName, Room)>,
    realm: Realm,
}

impl Lasting {
    fn of(directory: &Directory, realm: Realm) -> Self {
        let users = directory.users().iter().map(|(name, account)| (name.clone(), account.clone()));
        let rooms = directory.rooms().iter().map(|(name, room)| (name.clone(), room.clone()));
        Self { users: users.collect(), rooms: rooms.collect(), realm }
    }

    fn in_opened(opened: &Opened) -> Self {
        Self::of(&opened.directory, opened.realm_key.verifying_key().realm())
    }
}

fn open(dir: &TempDir) -> Result<Content, StoreError> {
    Store::open(dir.path(), NOW).map(|opened| content(&opened.directory))
}

fn open_error(dir: &TempDir) -> StoreError {
    match open(dir) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

fn bytes(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

fn restore(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for name in bytes(dir).keys() {
        fs::remove_file(dir.join(name)).unwrap();
    }
    for (name, content) in files {
        fs::write(dir.join(name), content).unwrap();
    }
}

/// A database with groups in its snapshot and groups in its journal, and what it holds.
fn lived_in(dir: &TempDir) -> Content {
    let mut store = create(dir);
    store.commit(&[user("bob", "$b"), room("#tea", "$t")], NOW).unwrap();
    store.commit(&[user("ann", "$a")], NOW).unwrap();
    store.fold(NOW).unwrap();
    store.commit(&[passwd("bob", "$b2")], NOW).unwrap();
    store.commit(&[room("x", "$x"), user("Zoë", "$z"), room("a", "$r")], NOW).unwrap();
    store.commit(&[passwd("ann", "$a2")], NOW).unwrap();
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(n, h)| ((*n).to_owned(), (*h).to_owned())).collect();
    (
        pairs(&[("god", "$god"), ("bob", "$b2"), ("ann", "$a2"), ("Zoë", "$z")]),
        pairs(&[("#tea", "$t"), ("x", "$x"), ("a", "$r")]),
    )
}

/// A `database.enc` as the Python server writes it, and its key.
fn python(dir: &TempDir, json: &str) -> Vec<u8> {
    let key = FernetKey::generate();
    fs::write(dir.path().join(KEY), format!("{}\n", key.expose())).unwrap();
    // Of a clock that was ahead.
    let token = key.seal(json.as_bytes(), NOW + 1_000_000).into_bytes();
    fs::write(dir.path().join(DATABASE), &token).unwrap();
    token
}

#[test]
fn what_was_saved_is_there_again_in_its_order() {
    let dir = folder();
    let all = lived_in(&dir);
    assert_eq!(open(&dir).unwrap(), all);
    assert_eq!(fs::read(dir.path().join(JOURNAL)).unwrap(), b"");
    assert_eq!(open(&dir).unwrap(), all);
}

#[test]
fn a_fold_changes_nothing_but_the_journal() {
    let dir = folder();
    let all = lived_in(&dir);
    let mut opened = Store::open(dir.path(), NOW).unwrap();
    assert_eq!(opened.store.journal_len(), 0);
    opened.store.commit(&[passwd("god", "$g2")], NOW).unwrap();
    assert!(opened.store.journal_len() > 0);
    opened.store.fold(NOW).unwrap();
    assert_eq!(opened.store.journal_len(), 0);
    opened.store.commit(&[passwd("god", "$god")], NOW).unwrap();
    drop(opened);
    assert_eq!(open(&dir).unwrap(), all);
}

#[test]
fn a_second_server_is_kept_out() {
    let dir = folder();
    let store = create(&dir);
    assert!(matches!(open_error(&dir), StoreError::Locked { .. }));
    assert!(matches!(Store::create(dir.path(), Verifier::new("$"), NOW), Err(StoreError::Locked { .. })));
    drop(store);
    assert!(open(&dir).is_ok());
    assert!(matches!(Store::create(dir.path(), Verifier::new("$"), NOW), Err(StoreError::Exists { .. })));
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_any_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    python(&dir, r#"{"users": {}, "rooms": {}}"#);
    fs::remove_file(dir.path().join(KEY)).unwrap();
    fs::remove_file(dir.path().join(DATABASE)).unwrap();
    lived_in(&dir);
    let mut opened = Store::open(dir.path(), NOW).unwrap();
    opened.keys.put(&UserName::god(), "PEM").unwrap();
    for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
}

#[test]
fn every_changed_byte_is_noticed_and_nothing_is_touched() {
    let dir = folder();
    let all = lived_in(&dir);
    let unfolded = bytes(dir.path());
    assert_every_flip_is_noticed(&dir, &unfolded);

    // The same when a crash came between the snapshot and the emptying of the journal.
    open(&dir).unwrap();
    let mut half_folded = bytes(dir.path());
    half_folded.insert(JOURNAL.to_owned(), unfolded[JOURNAL].clone());
    restore(dir.path(), &half_folded);
    assert_every_flip_is_noticed(&dir, &half_folded);
    assert_eq!(open(&dir).unwrap(), all);
}

fn assert_every_flip_is_noticed(dir: &TempDir, files: &BTreeMap<String, Vec<u8>>) {
    for name in [DATABASE, JOURNAL] {
        let path = dir.path().join(name);
        let good = fs::read(&path).unwrap();
        assert!(good.len() > 300);
        for i in 0..good.len() {
            // 0x40 makes a letter of a line feed.
            for mask in [0x01, 0x20, 0x40, 0xff] {
                let mut bad = good.clone();
                bad[i] ^= mask;
                fs::write(&path, &bad).unwrap();
                let error = open_error(dir);
                match error {
                    StoreError::Unopenable { .. } => assert_eq!(name, DATABASE),
                    StoreError::Damaged { line: Some(line), .. } => {
                        let lines = good[..=i].split_inclusive(|b| *b == b'\n').count() as u64;
                        assert_eq!((name, line.number), (JOURNAL, lines), "byte {i} ^ {mask:#x}");
                        let before = good[..i].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                        assert_eq!(line.offset, before as u64);
                    }
                    other => panic!("byte {i} of {name} ^ {mask:#x}: {other}"),
                }
                fs::write(&path, [&bad[..i], &good[i..]].concat()).unwrap();
                assert_eq!(&bytes(dir.path()), files);
            }
        }
    }
}

#[test]
fn a_journal_is_whole_or_refused() {
    let dir = folder();
    lived_in(&dir);
    let files = bytes(dir.path());
    let lines: Vec<&[u8]> = files[JOURNAL].split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 8);
    let without = |from: usize, to: usize| [&lines[..from], &lines[to..]].concat().concat();
    let cases = [
        ("the first group is gone", without(0, 2)),
        ("a group in the middle is gone", without(2, 6)),
        ("a change is gone", without(3, 4)),
        ("a mark is gone", without(1, 2)),
        ("a group is there twice", [&lines[..2], &lines[..]].concat().concat()),
        ("changes are swapped", [&lines[..2], &[lines[4], lines[3], lines[2]], &lines[5..]].concat().concat()),
        ("an empty line", [&b"\n"[..], &files[JOURNAL]].concat()),
        (
            "a carriage return",
            files[JOURNAL]
                .iter()
                .flat_map(|b| if *b == b'\n' { &b"\r\n"[..] } else { std::slice::from_ref(b) })
                .copied()
                .collect(),
        ),
        ("a few zeros behind the beginning of a line", [&files[JOURNAL][..], b"gAAA", &[0; 15]].concat()),
        ("zeros before a line", [&[0; 40], &files[JOURNAL][..]].concat()),
        ("text behind it", [&files[JOURNAL][..], b"gAAA?"].concat()),
        ("a whole line of something else behind it", [&files[JOURNAL][..], b"gAAA\n"].concat()),
    ];
    for (what, journal) in cases {
        fs::write(dir.path().join(JOURNAL), &journal).unwrap();
        let before = bytes(dir.path());
        assert!(matches!(open_error(&dir), StoreError::Damaged { line: Some(_), .. }), "{what}");
        assert_eq!(bytes(dir.path()), before, "{what}");
    }
}

#[test]
fn another_databases_journal_is_refused_even_under_the_same_key() {
    let dirs = [folder(), folder()];
    let mut first = create(&dirs[0]);
    fs::copy(dirs[0].path().join(KEY), dirs[1].path().join(KEY)).unwrap();
    let second = create(&dirs[1]);
    first.commit(&[user("bob", "$b")], NOW).unwrap();
    fs::copy(dirs[0].path().join(JOURNAL), dirs[1].path().join(JOURNAL)).unwrap();
    drop(second);
    assert!(matches!(open_error(&dirs[1]), StoreError::Damaged { line: Some(Line { number: 2, .. }), .. }));
}

#[test]
fn an_older_snapshot_with_a_newer_journal_is_refused_and_without_one_is_opened() {
    let dir = folder();
    drop(create(&dir));
    let old = fs::read(dir.path().join(DATABASE)).unwrap();
    lived_in_on(&dir);
    fs::write(dir.path().join(DATABASE), &old).unwrap();
    let error = open_error(&dir).to_string();
    assert!(error.contains("database.journal, line 2: a group of changes is missing"), "{error}");
    assert!(error.contains("(it begins at byte "), "{error}");
    // As a crash leaves a database that was being made.
    fs::remove_file(dir.path().join(JOURNAL)).unwrap();
    assert!(Parts::read_and_examine(dir.path()).unwrap().1.journal_missing);
    let opened = Store::open(dir.path(), NOW).unwrap();
    assert!(opened.journal_missing);
    assert_eq!(content(&opened.directory).0, [("god".to_owned(), "$god".to_owned())]);
    drop(opened);
    assert!(!Store::open(dir.path(), NOW).unwrap().journal_missing);
}

#[test]
fn a_journal_that_no_crash_takes_away_is_missed_and_nothing_is_touched() {
    let dir = folder();
    lived_in(&dir);
    fs::remove_file(dir.path().join(JOURNAL)).unwrap();
    let before = bytes(dir.path());
    let error = open_error(&dir);
    assert!(matches!(error, StoreError::JournalMissing { .. }), "{error}");
    assert!(error.to_string().contains("restore all files from one backup"), "{error}");
    assert!(matches!(Parts::read_and_examine(dir.path()), Err(StoreError::JournalMissing { .. })));
    assert_eq!(bytes(dir.path()), before);
    // What the message says is the way on without the changes.
    fs::write(dir.path().join(JOURNAL), "").unwrap();
    assert_eq!(open(&dir).unwrap().0.len(), 3);
}

#[test]
fn why_there_is_no_database_is_said() {
    let dir = folder();
    lived_in(&dir);
    fs::remove_file(dir.path().join(DATABASE)).unwrap();
    let why = |dir: &Path| Parts::read(dir).err().unwrap();
    assert!(matches!(why(dir.path()), StoreError::Orphan { .. }));
    fs::remove_file(dir.path().join(JOURNAL)).unwrap();
    assert!(matches!(why(dir.path()), StoreError::Missing { .. }));
    assert!(matches!(why(&dir.path().join("elsewhere")), StoreError::NoFolder { .. }));
}

fn lived_in_on(dir: &TempDir) {
    let mut store = Store::open(dir.path(), NOW).unwrap().store;
    store.commit(&[user("bob", "$b")], NOW).unwrap();
    store.fold(NOW).unwrap();
    store.commit(&[user("ann", "$a")], NOW).unwrap();
}

#[test]
fn wherever_the_journal_is_cut_off_all_whole_groups_are_there() {
    let dir = folder();
    lived_in(&dir);
    let files = bytes(dir.path());
    let journal = &files[JOURNAL];
    let ends: Vec<usize> = (0..journal.len()).filter(|i| journal[*i] == b'\n').map(|i| i + 1).collect();
    let group_ends = [ends[1], ends[5], ends[7]];
    for cut in 0..=journal.len() {
        for zeros in [0, 16, 5000] {
            restore(dir.path(), &files);
            fs::write(dir.path().join(JOURNAL), [&journal[..cut], &vec![0; zeros]].concat()).unwrap();
            let (users, rooms) = open(&dir).unwrap();
            let whole = group_ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(users.iter().any(|(_, hash)| hash == "$b2"), whole >= 1);
            assert_eq!(rooms.len(), if whole >= 2 { 3 } else { 1 });
            assert_eq!(users.iter().any(|(_, hash)| hash == "$a2"), whole >= 3);
        }
    }
}

#[test]
fn the_key_must_be_there_and_the_right_one() {
    let dir = folder();
    lived_in(&dir);
    let key = dir.path().join(KEY);
    let good = fs::read(&key).unwrap();
    assert_eq!(good.len(), 44);
    fs::write(&key, FernetKey::generate().expose()).unwrap();
    let error = open_error(&dir);
    assert!(matches!(error, StoreError::Unopenable { .. }));
    assert!(error.to_string().contains("restore both from one backup"));
    fs::write(&key, "short").unwrap();
    assert!(matches!(open_error(&dir), StoreError::KeyInvalid { .. }));
    fs::remove_file(&key).unwrap();
    assert!(matches!(open_error(&dir), StoreError::KeyMissing { .. }));
    fs::write(&key, [b" ", &good[..], b"\r\n"].concat()).unwrap();
    assert!(open(&dir).is_ok());
}

#[test]
fn a_part_of_a_database_is_not_taken_for_none() {
    let dir = folder();
    assert!(!exists(dir.path()).unwrap());
    assert!(matches!(open_error(&dir), StoreError::Missing { .. }));
    lived_in(&dir);
    assert!(exists(dir.path()).unwrap());
    fs::remove_file(dir.path().join(DATABASE)).unwrap();
    assert!(matches!(exists(dir.path()), Err(StoreError::Orphan { .. })));
    assert!(matches!(Store::create(dir.path(), Verifier::new("$"), NOW), Err(StoreError::Orphan { .. })));
    // A snapshot that never got its name is what a crash leaves of a database that was being created.
    fs::rename(dir.path().join(JOURNAL), dir.path().join("database.enc.tmp")).unwrap();
    assert!(matches!(exists(dir.path()), Ok(false)));
    assert!(Store::create(dir.path(), Verifier::new("$"), NOW).is_ok());
}

#[test]
fn what_a_crash_left_under_temporary_names_is_swept_up() {
    let dir = folder();
    let all = lived_in(&dir);
    for name in ["database.enc.tmp", "database.journal.tmp", "public_keys.log.tmp"] {
        fs::write(dir.path().join(name), "half").unwrap();
    }
    assert_eq!(open(&dir).unwrap(), all);
    assert!(bytes(dir.path()).keys().all(|name| !name.ends_with(".tmp")));
}

#[test]
fn an_existing_key_is_used_for_a_new_database() {
    let dir = folder();
    let key = FernetKey::generate();
    fs::write(dir.path().join(KEY), key.expose()).unwrap();
    drop(create(&dir));
    assert!(key.open(&fs::read_to_string(dir.path().join(DATABASE)).unwrap()).is_ok());
    assert_eq!(fs::read_to_string(dir.path().join(KEY)).unwrap(), key.expose());
}

#[test]
fn a_python_database_is_taken_over_and_kept() {
    let dir = folder();
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // of "secret" without salt
    let json = format!(
        r#"{{"users": {{"god": {{"salt": "", "pass_hash": "{hash}"}}, "a::b": {{"pass_hash": "{hash}", "salt": "$x y"}}}},
            "rooms": {{"z": {{"password": "pass word"}}, "caf\u00e9": {{"password": ""}}}}}}"#
    );
    let original = python(&dir, &json);
    let mut opened = Store::open(dir.path(), NOW).unwrap();
    let Origin::TakenOver { backup } = &opened.origin else { panic!("not taken over") };
    assert_eq!(fs::read(backup).unwrap(), original);
    assert_eq!(backup.file_name().unwrap(), "database.enc.python");
    let (users, rooms) = content(&opened.directory);
    let names = |list: &[(String, String)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&users), names(&rooms)), (vec!["god".into(), "a::b".into()], vec!["z".into(), "café".into()]));
    let takes = |hash: &str, word: &str| PasswordHash::parse(hash).unwrap().verify::<Hasty>(&Password::new(word));
    assert!(takes(&users[0].1, "secret") && !takes(&users[0].1, "Secret"));
    assert!(takes(&rooms[0].1, "pass word") && takes(&rooms[1].1, ""));
    opened.store.commit(&[user("new", "$n")], NOW).unwrap();
    drop(opened);
    let opened = Store::open(dir.path(), NOW).unwrap();
    assert_eq!(opened.origin, Origin::Ours);
    assert_eq!(opened.directory.users().len(), 3);
}

#[test]
fn a_backup_is_reused_when_it_is_the_same_and_never_overwritten_when_it_is_not() {
    let dir = folder();
    let original = python(&dir, r#"{"users": {}, "rooms": {}}"#);
    let again = |expected: &str| {
        fs::write(dir.path().join(DATABASE), &original).unwrap();
        let Origin::TakenOver { backup } = Store::open(dir.path(), NOW).unwrap().origin else { panic!() };
        assert_eq!(backup.file_name().unwrap(), expected);
        assert_eq!(fs::read(backup).unwrap(), original);
    };
    again("database.enc.python");
    again("database.enc.python");
    fs::write(dir.path().join("database.enc.python"), "older").unwrap();
    again("database.enc.python-2");
    fs::write(dir.path().join("database.enc.python-2"), "old").unwrap();
    again("database.enc.python-3");
    assert_eq!(fs::read(dir.path().join("database.enc.python")).unwrap(), b"older");
}

#[test]
fn what_no_python_server_wrote_is_refused_by_name_without_its_secrets() {
    let hash = "0".repeat(64);
    let user = |body: &str| format!(r#"{{"users": {{"bob": {body}}}, "rooms": {{}}}}"#);
    let room = |body: &str| format!(r#"{{"users": {{}}, "rooms": {{"tea": {body}}}}}"#);
    let good = format!(r#"{{"salt": "s", "pass_hash": "{hash}"}}"#);
    let cases = [
        (user(r#"{"salt": "hush"}"#), "user bob"),
        (user(r#"{"salt": "s", "pass_hash": "hush"}"#), "user bob"),
        (user(&good.replace("\"s\"", "7")), "user bob"),
        (user(&good.replace("\"s\"", "\"s\", \"hush\": 1")), "user bob"),
        (user(r#""hush""#), "user bob"),
        (format!(r#"{{"users": {{"bob": {good}, "bob": {good}}}, "rooms": {{}}}}"#), "user bob occurs twice"),
        (room(r#"{"password": null}"#), "room tea"),
        (room(r#"{"password": ["hush"]}"#), "room tea"),
        (r#"{"users": {}}"#.to_owned(), "rooms"),
        (r#"{"users": {}, "rooms": {}, "bans": {}}"#.to_owned(), "bans"),
        ("[]".to_owned(), ""),
        ("hush".to_owned(), ""),
    ];
    for (json, named) in cases {
        let dir = folder();
        python(&dir, &json);
        drop(Folder::lock(dir.path()).unwrap());
        let before = bytes(dir.path());
        let error = open_error(&dir);
        assert!(matches!(error, StoreError::NotPython { .. }), "{json}");
        let error = error.to_string();
        assert!(error.contains(named) && !error.contains("hush"), "{error}");
        assert_eq!(bytes(dir.path()), before);
    }
}

#[test]
fn formats_of_later_versions_and_impossible_ones_are_refused_without_their_secrets() {
    let dir = folder();
    python(&dir, r#"{"format": 3, "users": 5}"#);
    assert!(matches!(open_error(&dir), StoreError::Newer { format: 3, .. }));
    let realm_key = "aHVzaCBodXNoIGh1c2ggaHVzaCBodXNoIGh1c2ggaHU="; // base64 of 32 bytes
    let journal = format!(r#"{{"group": 0, "check": "{}"}}"#, "0".repeat(64));
    let head = format!(r#""format": 2, "realm_key": "{realm_key}", "journal": {journal}"#);
    let (id, other) = ("AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAQ==");
    let room = format!(r#"{{"password": "$hush", "id": "{id}", "bans": [["a", 5], ["b", null]]}}"#);
    let good = format!(r#"{{{head}, "users": {{"a": {{"password": "$hush"}}}}, "rooms": {{"r": {room}}}}}"#);
    python(&dir, &good);
    assert!(open(&dir).is_ok());
    for bad in [
        good.replace(r#""r": {"#, &format!(r#""r": {}, "r": {{"#, room.replace(id, other))),
        good.replace(r#"{"password": "$hush"}"#, r#"{"password": "$hush", "hush": 1}"#),
        good.replace("000\"", "\""),
        good.replace("000\"", "00x\""),
        good.replace(r#""rooms""#, r#""more": 1, "rooms""#),
        good.replace(&format!(r#", "id": "{id}""#), ""),
        good.replace(id, "AAAA"),
        good.replace(r#"["b", null]"#, r#"["a", null]"#),
        good.replace(&format!(r#""realm_key": "{realm_key}", "#), ""),
        good.replace(realm_key, "hush"),
        good.replace(realm_key, &format!("hush{realm_key}")),
        good.replace(&format!("\"{realm_key}\""), "[\"hush\"]"),
    ] {
        assert_ne!(bad, good);
        python(&dir, &bad);
        let error = open_error(&dir);
        assert!(matches!(error, StoreError::Damaged { line: None, .. }), "{bad}");
        let error = error.to_string();
        assert!(!error.replace("field `hush`", "").contains("hush") && !error.contains(&realm_key[..8]), "{error}");
    }
}

#[test]
fn a_python_database_beside_a_journal_of_ours_is_refused() {
    let dir = folder();
    lived_in(&dir);
    fs::write(dir.path().join(DATABASE), python(&folder(), r#"{"users": {}, "rooms": {}}"#)).unwrap();
    assert!(matches!(open_error(&dir), StoreError::Unopenable { .. }));
    python(&dir, r#"{"users": {}, "rooms": {}}"#);
    let before = bytes(dir.path());
    assert!(matches!(open_error(&dir), StoreError::Damaged { line: None, .. }));
    assert_eq!(bytes(dir.path()), before);
}

#[test]
fn a_change_that_does_not_fit_is_refused_by_name() {
    let dir = folder();
    let mut store = create(&dir);
    store.commit(&[user("bob", "$b")], NOW).unwrap();
    store.commit(&[user("bob", "$b")], NOW).unwrap();
    drop(store);
    let error = open_error(&dir).to_string();
    assert!(error.contains("line 4: user bob is added twice"), "{error}");
}

#[test]
fn public_keys_are_recorded_and_found_again() {
    let dir = folder();
    let mut keys = Store::create(dir.path(), Verifier::new("$god"), NOW).unwrap().keys;
    let (bob, ann) = (UserName::new("bob"), UserName::new("Änn\n"));
    assert_eq!(keys.get(&bob).unwrap(), None);
    assert!(keys.put(&bob, "PEM 1\n").unwrap());
    assert!(!keys.put(&bob, "PEM 1\n").unwrap());
    assert!(keys.put(&ann, "PEM a").unwrap());
    assert!(keys.put(&bob, "PEM 2").unwrap());
    keys.sync().unwrap();
    for _ in 0..2 {
        assert_eq!(keys.get(&bob).unwrap().as_deref(), Some("PEM 2"));
        assert_eq!(keys.get(&ann).unwrap().as_deref(), Some("PEM a"));
        drop(keys);
        keys = Store::open(dir.path(), NOW).unwrap().keys;
    }
    assert_eq!(keys.damaged_lines(), 0);
}

#[test]
fn superseded_public_keys_are_cleared_away_at_the_next_start() {
    let dir = folder();
    let mut keys = Store::create(dir.path(), Verifier::new("$god"), NOW).unwrap().keys;
    let users: Vec<UserName> = (0..50).map(|n| UserName::new(&format!("user{n}"))).collect();
    for round in 0..5 {
        for user in &users {
            keys.put(user, &format!("{user} {round}")).unwrap();
        }
    }
    drop(keys);
    let lines = || fs::read_to_string(dir.path().join(folder::PUBLIC_KEYS)).unwrap().lines().count();
    assert_eq!(lines(), 250);
    let mut keys = Store::open(dir.path(), NOW).unwrap().keys;
    assert_eq!(lines(), 50);
    assert!(keys.put(&users[7], "new").unwrap());
    for user in &users {
        let expected = if *user == users[7] { "new".to_owned() } else { format!("{user} 4") };
        assert_eq!(keys.get(user).unwrap(), Some(expected));
    }
}

#[test]
fn a_public_key_that_was_cut_short_is_dropped_and_a_damaged_one_is_an_error_until_it_comes_again() {
    let dir = folder();
    let mut keys = Store::create(dir.path(), Verifier::new("$god"), NOW).unwrap().keys;
    let (bob, ann) = (UserName::new("bob"), UserName::new("ann"));
    keys.put(&bob, "PEM b").unwrap();
    keys.put(&ann, "PEM a").unwrap();
    drop(keys);
    let path = dir.path().join(folder::PUBLIC_KEYS);
    let whole = fs::read(&path).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in first..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut keys = Store::open(dir.path(), NOW).unwrap().keys;
        assert_eq!(keys.get(&ann).unwrap(), None);
        assert!(keys.put(&ann, "PEM a").unwrap());
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    for i in 0..first - 1 {
        let mut bad = whole.clone();
        bad[i] ^= 1;
        fs::write(&path, &bad).unwrap();
        let mut keys = Store::open(dir.path(), NOW).unwrap().keys;
        assert!(!matches!(keys.get(&bob), Ok(Some(_))), "byte {i}");
        assert_eq!(keys.get(&ann).unwrap().as_deref(), Some("PEM a"));
        assert!(keys.put(&bob, "PEM b").unwrap());
        assert_eq!(keys.get(&bob).unwrap().as_deref(), Some("PEM b"));
    }
}

/// Names the folder that a fresh process is to open, so that its peak of memory is that of opening alone.
#[cfg(target_os = "linux")]
const MILLION: &str = "STORE_TESTS_MILLION";

#[cfg(target_os = "linux")]
#[test]
#[ignore = "takes a minute: cargo test --release -- --ignored million"]
fn a_million_accounts_load_in_seconds_and_in_less_than_a_gibibyte() {
    if let Some(dir) = std::env::var_os(MILLION) {
        return open_a_million(Path::new(&dir));
    }
    let dir = folder();
    let mut store = create(&dir);
    let hash = PasswordHash::of_nobody().to_string();
    for hundred_thousand in 0..10 {
        let names = (0..100_000).map(|n| format!("account{hundred_thousand}{n:05}"));
        store.commit(&names.map(|name| user(&name, &hash)).collect::<Vec<_>>(), NOW).unwrap();
        store.fold(NOW).unwrap();
    }
    store.commit(&[room("r", "$r")], NOW).unwrap();
    drop(store);
    for what in ["with a journal", "without"] {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["million", "--ignored", "--nocapture"]).env(MILLION, dir.path());
        println!("{what}:");
        assert!(again.status().unwrap().success());
    }
}

#[cfg(target_os = "linux")]
fn open_a_million(dir: &Path) {
    let start = std::time::Instant::now();
    let opened = Store::open(dir, NOW).unwrap();
    let took = start.elapsed();
    assert_eq!(opened.directory.users().len(), 1_000_001);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib = |what| status.lines().find_map(|line| line.strip_prefix(what)?.trim().strip_suffix(" kB")).unwrap();
    let peak: u64 = kib("VmHWM:").parse().unwrap();
    println!("{took:?}, peak {peak} KiB, then {} KiB", kib("VmRSS:"));
    assert!(peak < 1 << 20);
}

/// What a sequence of events is made of.
#[derive(Debug, Clone)]
enum Event {
    /// A group of this many changes, each drawn from a number.
    Commit(Vec<u32>),
    Fold,
    Reopen,
    /// A power loss that leaves this part of the journal, in thousandths, and zeros behind it.
    Tear(usize, bool),
    /// A crash between a snapshot and the emptying of the journal.
    HalfFold,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => prop::collection::vec(any::<u32>(), 1..5).prop_map(Event::Commit),
        1 => Just(Event::Fold),
        1 => Just(Event::Reopen),
        2 => (0..=1000usize, any::<bool>()).prop_map(|(part, zeros)| Event::Tear(part, zeros)),
        1 => Just(Event::HalfFold),
    ];
    prop::collection::vec(event, 1..40)
}

/// The store, and what it must hold.
struct World {
    dir: TempDir,
    store: Option<Store>,
    now: Directory,
    /// What was saved by the group that ends at that byte of the journal; the first is the snapshot.
    saved: Vec<(u64, Lasting)>,
    realm: Realm,
}

impl World {
    fn new() -> Self {
        let dir = folder();
        let opened = Store::create(dir.path(), Verifier::new("$god"), NOW).unwrap();
        let realm = opened.realm_key.verifying_key().realm();
        let saved = vec![(0, Lasting::of(&opened.directory, realm))];
        Self { dir, store: Some(opened.store), now: opened.directory, saved, realm }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Commit(numbers) => {
                let group: Vec<Change> = numbers.into_iter().map(|number| self.change(number)).collect();
                let store = self.store.as_mut().unwrap();
                store.commit(&group, NOW).unwrap();
                self.saved.push((store.journal_len(), Lasting::of(&self.now, self.realm)));
            }
            Event::Fold => {
                self.store.as_mut().unwrap().fold(NOW).unwrap();
                self.saved = vec![(0, Lasting::of(&self.now, self.realm))];
            }
            Event::Reopen => self.reopen(),
            Event::Tear(part, zeros) => self.tear(part, zeros),
            Event::HalfFold => {
                let journal = self.dir.path().join(JOURNAL);
                let before = fs::read(&journal).unwrap();
                self.apply(Event::Fold);
                fs::write(&journal, before).unwrap();
                self.reopen();
            }
        }
    }

    /// A change that fits, and makes it in the model.
    fn change(&mut self, number: u32) -> Change {
        let name = format!("n{}", number / 16 % 20);
        let is_known = |of_user: bool| match of_user {
            true => self.now.users().contains_key(&UserName::new(&name)),
            false => self.now.rooms().contains_key(&RoomName::new(&name)),
        };
        let change = change_of(&name, number, is_known(number % 16 < 4));
        self.now.apply(change.clone()).unwrap();
        change
    }

    fn tear(&mut self, part: usize, zeros: bool) {
        self.store = None;
        let path = self.dir.path().join(JOURNAL);
        let mut journal = fs::read(&path).unwrap();
        let cut = journal.len() * part / 1000;
        journal.truncate(cut);
        journal.extend(std::iter::repeat_n(0, if zeros { 16 + part } else { 0 }));
        fs::write(&path, journal).unwrap();
        self.saved.retain(|(end, _)| *end <= cut as u64);
        self.reopen();
    }

    fn reopen(&mut self) {
        self.store = None;
        let opened = Store::open(self.dir.path(), NOW).unwrap();
        let found = Lasting::in_opened(&opened);
        assert_eq!(found, self.saved.pop().unwrap().1);
        self.saved = vec![(0, found)];
        self.now = opened.directory;
        self.store = Some(opened.store);
    }
}

/// A change of the user or the room of this name that fits, whether or not it is known; every kind comes up.
fn change_of(name: &str, number: u32, known: bool) -> Change {
    let (user, room, password) = (UserName::new(name), RoomName::new(name), Verifier::new(format!("${number}")));
    let (other, at) = (UserName::new(&format!("o{}", number / 512 % 5)), u64::from(number >> 20));
    let until = (!number.is_multiple_of(3)).then_some(at + u64::from(number % 1000));
    match number % 16 {
        0..4 if !known => Change::AddUser { user, password },
        0..2 => Change::SetUserPassword { user, password },
        2..4 => Change::SetLegacyLogin { user, allowed: number.is_multiple_of(5) },
        _ if !known => {
            let (id, owner) = (RoomId(u128::from(number).to_be_bytes()), number.is_multiple_of(3).then_some(other));
            Change::AddRoom { room, password, id, owner, modern_only: number.is_multiple_of(7) }
        }
        4 => Change::SetRoomPassword { room, password },
        5 => Change::SetTopic { room, topic: "ö\"".repeat(number as usize % 171) },
        6 => Change::SetRoomFlags { room, modern_only: number.is_multiple_of(5) },
        7..9 => Change::Ban { room, user: other, until, at },
        9 => Change::Unban { room, user: other },
        10..12 => Change::Mute { room, user: other, until, at },
        12 => Change::Unmute { room, user: other },
        _ => Change::RemoveRoom { room },
    }
}

#[test]
fn a_clock_that_jumps_years_either_way_loses_nothing() {
    let dir = folder();
    let mut opened = Store::create(dir.path(), Verifier::new("$god"), NOW).unwrap();
    let ten_years = 10 * 365 * 24 * 3600;
    for (n, clock) in [NOW - ten_years, 0, NOW + ten_years, u64::MAX / 2, u64::MAX, NOW].into_iter().enumerate() {
        opened.store.commit(&[user(&format!("a{n}"), "$")], clock).unwrap();
        opened.store.fold(clock).unwrap();
        opened.store.commit(&[user(&format!("b{n}"), "$")], clock).unwrap();
        drop(opened);
        // Opened at another time than it was written.
        opened = Store::open(dir.path(), NOW).unwrap();
        assert_eq!(opened.directory.users().len(), 1 + 2 * (n + 1));
    }
}

/// What a power loss may leave of an append: some sectors arrived and others did not, in any order.
#[test]
fn whichever_sectors_of_an_append_arrive_what_was_saved_before_is_there() {
    let dir = folder();
    lived_in(&dir);
    let mut store = Store::open(dir.path(), NOW).unwrap().store;
    store.commit(&[user("eve", "$e")], NOW).unwrap();
    let saved = fs::read(dir.path().join(JOURNAL)).unwrap();
    let group: Vec<Change> = (0..12).map(|n| user(&format!("late{n}"), "$hash")).collect();
    store.commit(&group, NOW).unwrap();
    drop(store);
    let files = bytes(dir.path());
    let (begin, end) = (saved.len(), files[JOURNAL].len());
    let borders: Vec<usize> =
        std::iter::once(begin).chain((begin + 1..end).filter(|at| at.is_multiple_of(512))).chain([end]).collect();
    assert!((5..12).contains(&borders.len()), "{borders:?}");
    for arrived in 0..1_u32 << (borders.len() - 1) {
        let mut journal = files[JOURNAL].clone();
        for (n, sector) in borders.windows(2).enumerate() {
            if arrived & 1 << n == 0 {
                journal[sector[0]..sector[1]].fill(0);
            }
        }
        let all = arrived.count_ones() as usize == borders.len() - 1;
        for cut in [end, borders[borders.len() - 2] + 1] {
            restore(dir.path(), &files);
            fs::write(dir.path().join(JOURNAL), &journal[..cut]).unwrap();
            let opened = Store::open(dir.path(), NOW).unwrap_or_else(|error| panic!("{arrived:b}, {cut}: {error}"));
            let found = opened.directory.users().len();
            assert_eq!(found, if all && cut == end { 17 } else { 5 }, "{arrived:b}, {cut}");
            assert_eq!(opened.torn, if all && cut == end { 0 } else { cut - begin });
        }
    }
}

/// A sector that is lost of what was saved is damage, as long as a group behind it tells that it was saved.
#[test]
fn a_sector_that_is_lost_of_a_group_that_was_saved_is_noticed() {
    let dir = folder();
    drop(create(&dir));
    let mut store = Store::open(dir.path(), NOW).unwrap().store;
    let mut ends = vec![0];
    for n in 0..3 {
        let group: Vec<Change> = (0..6).map(|i| user(&format!("u{n}.{i}"), "$hash")).collect();
        store.commit(&group, NOW).unwrap();
        ends.push(usize::try_from(store.journal_len()).unwrap());
    }
    drop(store);
    let files = bytes(dir.path());
    let last_saved = ends[2];
    for sector in (0..files[JOURNAL].len()).step_by(512).filter(|at| at + 512 <= last_saved) {
        restore(dir.path(), &files);
        let mut journal = files[JOURNAL].clone();
        journal[sector..sector + 512].fill(0);
        fs::write(dir.path().join(JOURNAL), &journal).unwrap();
        let before = bytes(dir.path());
        assert!(matches!(open_error(&dir), StoreError::Damaged { line: Some(_), .. }), "{sector}");
        assert_eq!(bytes(dir.path()), before);
    }
}

#[test]
fn a_long_journal_is_read_by_several_threads_as_by_one() {
    let dir = folder();
    let mut store = create(&dir);
    for n in 0..40 {
        let group: Vec<Change> = (0..1000).map(|i| user(&format!("{n}.{i}"), "$hash")).collect();
        store.commit(&group, NOW).unwrap();
    }
    drop(store);
    let good = fs::read(dir.path().join(JOURNAL)).unwrap();
    let expected: Vec<String> =
        std::iter::once("god".to_owned()).chain((0..40_000).map(|n| format!("{}.{}", n / 1000, n % 1000))).collect();
    let files = bytes(dir.path());
    // In the first line, in one that another thread opens, and in one of a later batch.
    for line in [1, 16_000, 39_000] {
        let offset = good.split_inclusive(|byte| *byte == b'\n').take(line - 1).map(<[u8]>::len).sum::<usize>();
        let mut bad = good.clone();
        bad[offset + 20] ^= 1;
        fs::write(dir.path().join(JOURNAL), &bad).unwrap();
        let StoreError::Damaged { line: Some(found), .. } = open_error(&dir) else { panic!("line {line}") };
        assert_eq!(found, Line { number: line as u64, offset: offset as u64 });
    }
    restore(dir.path(), &files);
    let found = open(&dir).unwrap().0;
    assert!(found.iter().map(|(name, _)| name).eq(&expected));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_what_was_saved_is_there(events in events()) {
        let mut world = World::new();
        events.into_iter().for_each(|event| world.apply(event));
        world.reopen();
    }

    #[test]
    fn no_bytes_in_the_journal_make_opening_panic_or_change_a_file(
        junk in prop::collection::vec(prop_oneof![Just(b'\n'), Just(0), Just(b'A'), any::<u8>()], 1..200),
        at in any::<prop::sample::Index>(),
    ) {
        let dir = folder();
        drop(create(&dir));
        let mut journal = b"gAAAAABx\n".to_vec();
        let at = at.index(journal.len() + 1);
        journal.splice(at..at, junk);
        fs::write(dir.path().join(JOURNAL), &journal).unwrap();
        let before = bytes(dir.path());
        if open(&dir).is_err() {
            prop_assert_eq!(bytes(dir.path()), before);
        }
    }
}
