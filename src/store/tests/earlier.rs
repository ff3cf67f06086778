//! Folders of format 1, which knew no realm and no ids of rooms, are read, upgraded and stay what they became.

use super::*;
use crate::store::mark::Mark;

/// Copies the folder that a version of format 1 left: with changes in its journal, among them new rooms.
fn left_by_an_earlier_version() -> TempDir {
    let dir = folder();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/format-1");
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

fn lasting(dir: &TempDir) -> Lasting {
    Lasting::in_opened(&Store::open(dir.path(), NOW).unwrap())
}

/// A folder of format 1 with this journal, whose groups are lines of JSON.
fn of_format_1(groups: &[&[&str]]) -> TempDir {
    let dir = folder();
    let key = FernetKey::generate();
    let seal = |json: &str| key.seal(json.as_bytes(), NOW) + "\n";
    let mut mark = Mark::start();
    let start = serde_json::to_string(&mark).unwrap();
    let entry = r#"{"password": "$old"}"#;
    let snapshot = format!(
        r#"{{"format": 1, "journal": {start}, "users": {{"god": {entry}}}, "rooms": {{"z": {entry}, "a": {entry}}}}}"#
    );
    let mut journal = String::new();
    for group in groups {
        let lines: String = group.iter().map(|change| seal(change)).collect();
        mark = mark.next(lines.as_bytes());
        journal += &(lines + &seal(&serde_json::to_string(&mark).unwrap()));
    }
    fs::write(dir.path().join(KEY), key.expose()).unwrap();
    fs::write(dir.path().join(DATABASE), key.seal(snapshot.as_bytes(), NOW)).unwrap();
    fs::write(dir.path().join(JOURNAL), journal).unwrap();
    dir
}

#[test]
fn a_folder_that_an_earlier_version_left_keeps_everything() {
    let dir = left_by_an_earlier_version();
    let mut opened = Store::open(dir.path(), NOW).unwrap();
    assert_eq!(opened.origin, Origin::Ours);
    let (users, rooms) = content(&opened.directory);
    let takes = |(name, hash): &(String, String)| {
        let password = format!("{}pw", name.trim_start_matches('#').to_lowercase().replace('ë', "e"));
        PasswordHash::parse(hash).unwrap().verify::<Hasty>(&Password::new(password))
    };
    let names = |list: &[(String, String)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&users), ["god", "alice", "Zoë", "bob"]);
    assert_eq!(names(&rooms), ["#tea", "den", "attic"]);
    assert!(users.iter().chain(&rooms).all(takes));
    assert!(opened.directory.users().values().all(|account| account.legacy_login));
    assert!(opened.directory.rooms().values().all(|room| room.owner.is_none() && !room.modern_only));
    let key = opened.keys.get(&UserName::new("alice")).unwrap().unwrap();
    assert!(key.starts_with("-----BEGIN PUBLIC KEY-----"));
    opened.store.commit(&[room("new", "$n")], NOW).unwrap();
    drop(opened);
    assert_eq!(content(&Store::open(dir.path(), NOW).unwrap().directory).1.len(), 4);
}

#[test]
fn the_realm_and_the_ids_that_were_drawn_never_change_again() {
    let dir = left_by_an_earlier_version();
    let journal = fs::read(dir.path().join(JOURNAL)).unwrap();
    let first = lasting(&dir);
    let ids: std::collections::BTreeSet<RoomId> = first.rooms.iter().map(|(_, room)| room.id).collect();
    assert_eq!(ids.len(), 3, "each room has its own");
    assert_eq!(lasting(&dir), first);
    // As a crash leaves them that comes between the new snapshot and the emptying of the journal.
    fs::write(dir.path().join(JOURNAL), journal).unwrap();
    assert_eq!(lasting(&dir), first);
    let mut store = Store::open(dir.path(), NOW).unwrap().store;
    store.commit(&[passwd("bob", "$b")], NOW).unwrap();
    store.fold(NOW).unwrap();
    drop(store);
    let last = lasting(&dir);
    assert_eq!((last.realm, last.rooms), (first.realm, first.rooms));
}

#[test]
fn rooms_of_a_python_server_keep_the_ids_that_were_drawn_for_them() {
    let dir = folder();
    python(&dir, r#"{"users": {}, "rooms": {"z": {"password": "p"}, "a": {"password": ""}}}"#);
    let first = lasting(&dir);
    assert_ne!(first.rooms[0].1.id, first.rooms[1].1.id);
    assert_eq!(lasting(&dir), first);
}

#[test]
fn two_folders_have_two_realms() {
    let (one, two) = (left_by_an_earlier_version(), left_by_an_earlier_version());
    assert_ne!(lasting(&one).realm, lasting(&two).realm);
    let (three, four) = (folder(), folder());
    drop((create(&three), create(&four)));
    assert_ne!(lasting(&three).realm, lasting(&four).realm);
}

#[test]
fn a_new_database_has_its_realm_before_anybody_hears_of_it() {
    let dir = folder();
    let created = Lasting::in_opened(&Store::create(dir.path(), Verifier::new("$god"), NOW).unwrap());
    assert_eq!(lasting(&dir), created);
}

#[test]
fn every_change_of_an_earlier_journal_is_made() {
    let dir = of_format_1(&[
        &[
            r#"{"change":"add_room","room":"den","password":"$d"}"#,
            r#"{"change":"add_user","user":"bob","password":"$b"}"#,
        ],
        &[r#"{"change":"set_room_password","room":"den","password":"$d2"}"#],
        &[r#"{"change":"set_user_password","user":"bob","password":"$b2"}"#],
    ]);
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(n, h)| ((*n).to_owned(), (*h).to_owned())).collect();
    assert_eq!(
        open(&dir).unwrap(),
        (pairs(&[("god", "$old"), ("bob", "$b2")]), pairs(&[("z", "$old"), ("a", "$old"), ("den", "$d2")]))
    );
}

#[test]
fn a_room_that_is_made_with_a_bad_id_is_not_taken_for_one_without() {
    for bad in [
        r#"{"change":"add_room","room":"den","password":"$hush","id":"AAAA","owner":null,"modern_only":false}"#,
        r#"{"change":"add_room","room":"den","password":"$hush","owner":null}"#,
        r#"{"change":"add_room","room":"den"}"#,
        r#"{"change":"add_realm","room":"den","password":"$hush"}"#,
    ] {
        let dir = of_format_1(&[&[bad]]);
        drop(Folder::lock(dir.path()).unwrap());
        let before = bytes(dir.path());
        let error = open_error(&dir).to_string();
        assert!(error.contains("line 1: the line holds no change") && !error.contains("hush"), "{error}");
        assert_eq!(bytes(dir.path()), before);
    }
}

#[test]
fn a_snapshot_of_an_earlier_version_that_comes_up_while_a_server_runs_is_no_snapshot_of_its_own() {
    let dir = left_by_an_earlier_version();
    let old = fs::read(dir.path().join(DATABASE)).unwrap();
    let mut store = Store::open(dir.path(), NOW).unwrap().store;
    store.commit(&[user("eve", "$e")], NOW).unwrap();
    fs::write(dir.path().join(DATABASE), old).unwrap();
    assert!(matches!(store.fold(NOW), Err(StoreError::Damaged { .. })));
}
