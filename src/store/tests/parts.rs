//! What is read beside a store that writes, and what is put into another folder.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::store::folder::PUBLIC_KEYS;

fn report(dir: &Path) -> Report {
    Parts::read_and_examine(dir).unwrap().1
}

#[test]
fn what_a_folder_holds_is_counted_and_nothing_is_changed() {
    let dir = folder();
    lived_in(&dir);
    let before = bytes(dir.path());
    let report = report(dir.path());
    assert_eq!((report.accounts, report.rooms, report.groups, report.torn), (4, 3, 3, 0));
    assert_eq!((report.wrote, report.unknown, report.weak), (Wrote::Ours, 7, 0));
    assert_eq!(report.journal_bytes, before[JOURNAL].len() as u64);
    assert_eq!(report.realm, Some(Lasting::in_opened(&Store::open(dir.path(), NOW).unwrap()).realm));
    restore(dir.path(), &before);
    let torn = [&before[JOURNAL][..], b"gAAAAAB"].concat();
    fs::write(dir.path().join(JOURNAL), &torn).unwrap();
    assert_eq!(
        Parts::read_and_examine(dir.path()).unwrap().1,
        Report { torn: 7, journal_bytes: torn.len() as u64, ..report }
    );
    assert_eq!(fs::read(dir.path().join(JOURNAL)).unwrap(), torn);
}

#[test]
fn passwords_of_a_python_server_are_counted_as_they_are_protected() {
    let dir = folder();
    let hash = "0".repeat(64);
    python(
        &dir,
        &format!(
            r#"{{"users": {{"bob": {{"salt": "s", "pass_hash": "{hash}"}}}}, "rooms": {{"r": {{"password": "p"}}}}}}"#
        ),
    );
    let found = report(dir.path());
    assert_eq!((found.wrote, found.realm, found.weak, found.wrapped), (Wrote::Python, None, 2, 0));
    let mut store = Store::open(dir.path(), NOW).unwrap().store;
    let strong = |hash: PasswordHash| hash.strengthened::<Hasty>().unwrap().to_string();
    let bob = strong(PasswordHash::LegacySha256 { salt: "s".into(), hash });
    store.commit(&[passwd("bob", &bob)], NOW).unwrap();
    let found = report(dir.path());
    assert_eq!((found.wrote, found.weak, found.wrapped), (Wrote::Ours, 1, 1));
}

/// A store that saves and folds all the time, and somebody who reads: whatever comes in between, everything is there that was
/// acknowledged before, and nothing that was not asked for yet.
#[test]
fn what_is_read_beside_a_store_that_folds_is_of_one_moment() {
    let dir = folder();
    let mut store = create(&dir);
    let (asked, saved) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ended = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1.. {
                asked.store(n, Ordering::SeqCst);
                store.commit(&[user(&n.to_string(), "$"), passwd(&n.to_string(), "$2")], NOW).unwrap();
                saved.store(n, Ordering::SeqCst);
                if n % 3 == 0 {
                    store.fold(NOW).unwrap();
                }
                if ended.load(Ordering::SeqCst) == 1 {
                    break;
                }
            }
        });
        for _ in 0..300 {
            let least = saved.load(Ordering::SeqCst);
            let parts = Parts::read(dir.path()).unwrap();
            let report = parts.examine().unwrap_or_else(|error| panic!("{error}"));
            let most = asked.load(Ordering::SeqCst);
            assert!((least..=most).contains(&(report.accounts - 1)), "{} of {least} to {most}", report.accounts - 1);
        }
        ended.store(1, Ordering::SeqCst);
    });
}

#[test]
fn what_is_put_into_another_folder_is_the_same_database() {
    let (dir, other) = (folder(), folder());
    lived_in(&dir);
    let mut opened = Store::open(dir.path(), NOW).unwrap();
    opened.keys.put(&UserName::new("bob"), "PEM").unwrap();
    opened.store.commit(&[user("late", "$l")], NOW).unwrap();
    let lasting = Lasting { users: vec![], ..Lasting::in_opened(&opened) };
    let (parts, _) = Parts::read_and_examine(dir.path()).unwrap(); // beside the open store
    let (record, len) = Parts::open_keys(dir.path()).unwrap().unwrap();
    let claim = Claim::of(other.path()).unwrap();
    assert!(claim.names().unwrap().is_empty());
    assert!(matches!(Claim::of(other.path()), Err(StoreError::Locked { .. })));
    let mut copy = claim.create_keys().unwrap();
    let census = parts.examine_keys(io::Read::take(record, len), &mut copy).unwrap();
    assert_eq!(census, KeyCensus { users: 1, lines: 1, damaged: 0, torn: 0 });
    parts.put(&claim).unwrap();
    assert!(matches!(parts.put(&claim), Err(StoreError::Exists { .. })));
    assert!(claim.names().unwrap().contains(&"database.enc".to_owned()));
    drop(claim);
    let mut put = Store::open(other.path(), NOW).unwrap();
    let users: Vec<&str> = put.directory.users().keys().map(UserName::as_str).collect();
    assert_eq!(users, ["god", "bob", "ann", "Zoë", "late"]);
    assert_eq!(Lasting { users: vec![], ..Lasting::in_opened(&put) }, lasting);
    assert_eq!(put.keys.get(&UserName::new("bob")).unwrap().as_deref(), Some("PEM"));
}

#[test]
fn damaged_and_cut_off_lines_of_the_public_keys_are_counted() {
    let dir = folder();
    drop(create(&dir));
    let mut keys = Store::open(dir.path(), NOW).unwrap().keys;
    for (user, pem) in [("bob", "1"), ("ann", "1"), ("bob", "2")] {
        keys.put(&UserName::new(user), pem).unwrap();
    }
    drop(keys);
    let (parts, _) = Parts::read_and_examine(dir.path()).unwrap();
    let good = fs::read(dir.path().join(PUBLIC_KEYS)).unwrap();
    let census = |bytes: &[u8]| parts.examine_keys(bytes, io::sink()).unwrap();
    assert_eq!(census(&good), KeyCensus { users: 2, lines: 3, damaged: 0, torn: 0 });
    assert_eq!(census(&good[..good.len() - 1]).torn, good.split(|b| *b == b'\n').nth(2).unwrap().len() as u64);
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 0x01;
        let KeyCensus { damaged, .. } = census(&bad);
        assert!(damaged > 0 || bad[i] == b'\x0b', "byte {i}");
    }
}
