//! What is remembered, what is not, and what becomes of it in the file.

use proptest::prelude::*;

use super::*;
use crate::names::{RoomName, UserName};
use crate::transcript::{BundleHash, Ed25519Key, RoomId};

fn print(of: &str) -> Fingerprint {
    Fingerprint::of(of.as_bytes())
}

fn name(name: &str) -> UserName {
    UserName::new(name)
}

fn key(of: u8) -> Ed25519Key {
    Ed25519Key([of; 32])
}

/// A realm of the legacy wire.
fn legacy(realm: &str) -> KeyName {
    print(realm).into()
}

/// A realm of the modern wire.
fn modern(realm: u8) -> KeyName {
    Realm([realm; 32]).into()
}

fn server(address: &str, key: &str, realm: Option<u8>) -> Change {
    let realm = realm.map(|realm| Realm([realm; 32]));
    let server = Server { by: Vouched::Pinned, key: print(key), realm };
    Change::Server { address: address.into(), before: None, server }
}

fn rsa(user: &str, key: &str, replaces: bool) -> Learned {
    Learned::Rsa { user: name(user), key: print(key), replaces }
}

fn device(user: &str, signer: u8, number: u8) -> Learned {
    let device = Device { bundle: BundleHash([number; 32]), rsa: print(&number.to_string()) };
    Learned::Device { user: name(user), signer: key(signer), device }
}

fn room(name: &str, id: u8, modern_only: bool, replaces: bool) -> Learned {
    Learned::Room { room: RoomName::new(name), pin: RoomPin { id: RoomId([id; 16]), modern_only }, replaces }
}

fn seen(user: &str, of: u8) -> Learned {
    Learned::SignerSeen(name(user), key(of))
}

fn accepted(user: &str, of: u8) -> Learned {
    Learned::SignerAccepted(name(user), key(of))
}

fn verified(user: &str, of: u8) -> Learned {
    Learned::SignerVerified(name(user), key(of))
}

fn pins(learned: &[Learned]) -> Pins {
    let mut pins = Pins::default();
    learned.iter().for_each(|learned| pins.learn(learned));
    pins
}

fn known(changes: &[Change]) -> KnownKeys {
    let mut known = KnownKeys::default();
    changes.iter().for_each(|change| known.apply(change));
    known
}

/// One of everything, at a server that speaks the modern wire and at one that does not.
fn everything() -> KnownKeys {
    let of = |realm| move |learned| Change::Learned(realm, learned);
    let modern = [
        rsa("old", "1", false),
        seen("bob", 1),
        verified("bob", 1),
        seen("eve", 2),
        device("bob", 1, 1),
        device("bob", 1, 2),
        room("lobby", 1, false, false),
        room("#den", 2, true, false),
        Learned::Blocked(name("eve")),
    ];
    let legacy_pins = [rsa("bob", "2", false), seen("bob", 3)];
    let mut known = known(&[server("a:1", "a", Some(7)), server("b:1", "b", None)]);
    modern.into_iter().map(of(self::modern(7))).for_each(|change| known.apply(&change));
    legacy_pins.into_iter().map(of(legacy("b"))).for_each(|change| known.apply(&change));
    known
}

#[test]
fn a_first_sight_does_not_replace_and_an_acceptance_does() {
    let mut known = known(&[
        Change::Learned(legacy("r"), rsa("bob", "1", false)),
        Change::Learned(legacy("r"), rsa("bob", "2", false)),
    ]);
    assert_eq!(known.pins(legacy("r")).rsa[&name("bob")], print("1"));
    known.apply(&Change::Learned(legacy("r"), rsa("bob", "2", true)));
    assert_eq!(known.pins(legacy("r")).rsa[&name("bob")], print("2"));
    assert_eq!(known.pins(legacy("other")), Pins::default());
}

#[test]
fn only_exactly_the_pinned_signing_key_can_be_verified_and_an_accepted_one_is_only_seen() {
    let bob =
        |learned: &[Learned]| pins(learned).signers.get(&name("bob")).map(|signer| (signer.key.0[0], signer.trust));
    assert_eq!(bob(&[verified("bob", 1)]), None);
    assert_eq!(bob(&[seen("bob", 1), seen("bob", 2)]), Some((1, Trust::Seen)));
    assert_eq!(bob(&[seen("bob", 1), verified("bob", 2)]), Some((1, Trust::Seen)));
    let trusted = [seen("bob", 1), verified("bob", 1)];
    assert_eq!(bob(&trusted), Some((1, Trust::Verified)));
    assert_eq!(bob(&[&trusted[..], &[seen("bob", 1), accepted("bob", 1)]].concat()), Some((1, Trust::Verified)));
    assert_eq!(bob(&[&trusted[..], &[accepted("bob", 2)]].concat()), Some((2, Trust::Seen)));
    assert_eq!(bob(&[accepted("bob", 2)]), Some((2, Trust::Seen)));
}

#[test]
fn devices_are_those_of_the_pinned_signing_key_and_the_oldest_go() {
    let devices = |learned: &[Learned]| -> Vec<u8> {
        pins(learned).devices.get(&name("bob")).into_iter().flatten().map(|device| device.bundle.0[0]).collect()
    };
    assert_eq!(devices(&[device("bob", 1, 1)]), [0; 0]);
    assert_eq!(devices(&[seen("bob", 1), device("bob", 2, 1)]), [0; 0]);
    let two = [seen("bob", 1), device("bob", 1, 1), device("bob", 1, 2), device("bob", 1, 1)];
    assert_eq!(devices(&two), [1, 2]);
    assert_eq!(devices(&[&two[..], &[accepted("bob", 2)]].concat()), [0; 0], "they were the old key's");
    let pins = pins(&two);
    assert!(pins.may_be(&name("bob"), &print("2")) && !pins.may_be(&name("bob"), &print("3")));
    assert!(pins.may_be(&name("carl"), &print("3")), "he has no signing key");
    let many: Vec<_> = std::iter::once(seen("bob", 1)).chain((0..20).map(|number| device("bob", 1, number))).collect();
    assert_eq!(devices(&many), (4..20).collect::<Vec<_>>());
}

#[test]
fn a_room_stays_the_one_that_was_met_until_it_is_replaced() {
    let lobby = |learned: &[Learned]| {
        let pin = pins(learned).rooms[&RoomName::new("lobby")];
        (pin.id.0[0], pin.modern_only)
    };
    let met = room("lobby", 1, true, false);
    assert_eq!(lobby(&[met.clone(), room("lobby", 2, false, false)]), (1, true));
    assert_eq!(lobby(&[met.clone(), room("lobby", 1, false, false)]), (1, true));
    assert_eq!(lobby(&[room("lobby", 1, false, false), met.clone()]), (1, true));
    assert_eq!(lobby(&[met.clone(), room("lobby", 1, false, true)]), (1, false));
    assert_eq!(lobby(&[met, room("lobby", 2, false, true)]), (2, false));
}

#[test]
fn somebody_is_blocked_until_they_are_not() {
    let known = known(&[
        Change::Learned(modern(1), Learned::Blocked(name("eve"))),
        Change::Learned(modern(1), Learned::Unblocked(name("eve"))),
    ]);
    assert_eq!(known, KnownKeys::default());
}

#[test]
fn what_contradicts_what_is_known_is_said() {
    let known = everything();
    let said = |realm, learned| known.contradiction(&Change::Learned(realm, learned));
    for (learned, culprit) in [
        (rsa("old", "2", false), "old"),
        (seen("bob", 9), "bob"),
        (verified("bob", 9), "bob"),
        (room("lobby", 9, false, false), "lobby"),
        (room("#den", 2, false, false), "#den"),
    ] {
        let words = said(modern(7), learned.clone()).unwrap_or_else(|| panic!("{learned:?}"));
        assert!(words.contains("Another client") && words.contains(culprit), "{words}");
    }
    for learned in [
        rsa("old", "1", false),
        rsa("old", "2", true),
        rsa("new", "2", false),
        seen("bob", 1),
        seen("new", 9),
        accepted("bob", 9),
        verified("bob", 1),
        device("bob", 9, 9),
        room("lobby", 1, true, false),
        room("lobby", 9, false, true),
        Learned::Blocked(name("bob")),
    ] {
        assert_eq!(said(modern(7), learned), None);
    }
    assert_eq!(said(modern(8), seen("bob", 9)), None, "another realm is another world");
    assert_eq!(known.contradiction(&server("c:1", "c", None)), None);
    assert_eq!(known.contradiction(&server("a:1", "a", Some(7))), None, "both saw the same");
    assert!(known.contradiction(&server("a:1", "a", None)).is_some());
}

#[test]
fn a_servers_new_key_keeps_its_users() {
    let pinned = Change::Learned(legacy("old"), rsa("bob", "1", false));
    let mut known = known(&[server("a:1", "old", None), server("b:1", "old", None), pinned]);
    known.apply(&server("a:1", "new", None));
    assert_eq!(known.pins(legacy("new")).rsa.len(), 1);
    assert_eq!(known.pins(legacy("old")).rsa.len(), 1, "the other address still leads there");
    known.apply(&server("b:1", "new", None));
    assert_eq!(known.pins(legacy("old")), Pins::default());
    assert_eq!(known.server("a:1").unwrap().key, print("new"));
}

#[test]
fn a_server_that_begins_to_speak_modern_keeps_its_users_and_how_far_they_are_trusted() {
    let learn = |learned| Change::Learned(legacy("k"), learned);
    let mut known = known(&[server("a:1", "k", None), server("b:1", "k", None)]);
    let before = [
        rsa("bob", "1", false),
        seen("bob", 1),
        verified("bob", 1),
        device("bob", 1, 1),
        Learned::Blocked(name("eve")),
    ];
    before.into_iter().map(learn).for_each(|change| known.apply(&change));
    known.apply(&Change::Learned(modern(7), seen("carl", 3)));
    known.apply(&server("a:1", "k", Some(7)));
    let pins = known.pins(modern(7));
    assert_eq!(pins.rsa[&name("bob")], print("1"));
    assert_eq!(pins.signers[&name("bob")], Signer { key: key(1), trust: Trust::Verified });
    assert_eq!(pins.devices[&name("bob")].len(), 1);
    assert!(pins.blocked.contains(&name("eve")));
    assert_eq!(pins.signers[&name("carl")].key, key(3), "what the new realm knew stays");
    assert!(!known.pins(legacy("k")).is_empty(), "the other address still leads there");
    known.apply(&server("b:1", "k", Some(7)));
    assert!(known.pins(legacy("k")).is_empty());
}

#[test]
fn another_realm_that_was_accepted_takes_the_people_along_and_leaves_the_old_one_as_it_was() {
    let learn = |realm, learned| Change::Learned(modern(realm), learned);
    let mut known = known(&[
        server("a:1", "k", Some(1)),
        learn(1, seen("bob", 1)),
        learn(1, verified("bob", 1)),
        learn(1, device("bob", 1, 1)),
        learn(1, room("lobby", 1, true, false)),
        learn(2, seen("bob", 2)),
    ]);
    let before = known.pins(modern(1));
    known.apply(&server("a:1", "k", Some(2)));
    let pins = known.pins(modern(2));
    assert_eq!(pins.signers[&name("bob")], Signer { key: key(2), trust: Trust::Seen }, "the new realm knew better");
    assert!(
        pins.devices.is_empty() && pins.rooms.is_empty(),
        "the devices are another key's, the rooms another server's"
    );
    assert_eq!(known.pins(modern(1)), before);
}

#[test]
fn the_certificate_of_a_known_realm_changes_nothing_for_its_users() {
    let mut known = everything();
    let before = known.pins(modern(7));
    known.apply(&server("a:1", "renewed", Some(7)));
    assert_eq!(known.pins(modern(7)), before);
    assert_eq!(known.pins(legacy("renewed")), Pins::default());
}

#[test]
fn a_file_of_version_1_is_read_and_written_as_version_2() {
    let (server_key, bob) = (print("server"), print("bob"));
    let old = format!("# secure-chat known keys, version 1\nserver a:1 ca {server_key}\nuser {server_key} bob {bob}\n");
    let known = KnownKeys::parse(&old).unwrap();
    let server = Server { by: Vouched::Authority, key: server_key, realm: None };
    assert_eq!(known.server("a:1"), Some(server));
    assert_eq!(known.pins(server.home()).rsa, [(name("bob"), bob)].into());
    let new = known.to_text();
    assert_eq!(
        new,
        format!("# secure-chat known keys, version 2\nserver a:1 ca {server_key}\nuser {server_key} bob rsa {bob}\n")
    );
    assert_eq!(KnownKeys::parse(&new), Ok(known));
    for entry in [format!("block {server_key} eve\n"), format!("user {server_key} eve rsa {bob}\n")] {
        assert_eq!(KnownKeys::parse(&(old.clone() + &entry)).unwrap_err().line, 4, "version 1 had none of {entry}");
    }
}

#[test]
fn the_file_has_the_documented_form() {
    let b64 = |of: u8, len: usize| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(vec![of; len])
    };
    let realm = format!("ed25519:{}", b64(7, 32));
    let lines = [
        "# secure-chat known keys, version 2".to_owned(),
        format!("server a:1 pinned {} modern {realm}", print("a")),
        format!("server b:1 pinned {}", print("b")),
        format!("user {realm} old rsa {}", print("1")),
        format!("signer {realm} bob verified ed25519:{}", b64(1, 32)),
        format!("signer {realm} eve seen ed25519:{}", b64(2, 32)),
        format!("device {realm} bob {} {}", b64(1, 32), print("1")),
        format!("device {realm} bob {} {}", b64(2, 32), print("2")),
        format!("room {realm} %23den {} modern-only", b64(2, 16)),
        format!("room {realm} lobby {}", b64(1, 16)),
        format!("block {realm} eve"),
        format!("user {} bob rsa {}", print("b"), print("2")),
        format!("signer {} bob seen ed25519:{}", print("b"), b64(3, 32)),
    ];
    let known = everything();
    assert_eq!(known.to_text().lines().collect::<Vec<_>>(), lines);
    assert_eq!(KnownKeys::parse(&known.to_text()), Ok(known));
}

#[test]
fn a_malformed_file_is_an_error_that_names_the_line() {
    let good = everything().to_text();
    assert!(KnownKeys::parse(&format!("{good}\n# a comment\n")).is_ok());
    let line = |text: &str| KnownKeys::parse(text).unwrap_err().line;
    assert_eq!(line(""), 1);
    assert_eq!(line("server a:1 pinned"), 1);
    assert_eq!(line(&good.replace("version 2", "version 3")), 1);
    assert_eq!(line(&good.replacen("version 2", "version 1", 1)), 2, "version 1 knew no modern servers");
    for (number, from, to) in [
        (2, "pinned", "trusted"),
        (2, " modern ed25519:", " modern SHA256:"),
        (2, " modern ", " ancient "),
        (4, " old rsa ", " old "),
        (4, " old rsa ", " old dsa "),
        (4, " old ", " ol%zz "),
        (4, " old ", " ol%+1 "),
        (5, " verified ", " certified "),
        (5, " verified ed25519:", " verified SHA256:"),
        (5, "signer ", "singer "),
        (7, "device ed25519:", "device ed448:"),
        (7, "AQEBAQEB", "AQEBAQE"),
        (9, " modern-only", " legacy-only"),
        (10, " lobby ", " lobby lobby "),
        (11, " eve\n", " eve eve\n"),
        (13, "seen ed25519:AwMD", "seen ed25519:Aw!D"),
    ] {
        let damage = |(at, line): (usize, &str)| {
            if at + 1 == number { line.replacen(from, to, 1) } else { line.to_owned() }
        };
        let damaged: String = good.split_inclusive('\n').enumerate().map(damage).collect();
        assert_ne!(damaged, good, "{from}");
        assert_eq!(line(&damaged), number, "{from} → {to}");
    }
    for cut in [1, 9] {
        assert_eq!(line(&good[..good.len() - cut]), 13);
    }
    for entry in good.lines().skip(1) {
        let twice = format!("{good}{entry}\n");
        assert_eq!(KnownKeys::parse(&twice).unwrap_err().to_string(), "line 14: the entry is there twice", "{entry}");
    }
    let many: Vec<_> =
        (0..17).map(|i| good.lines().nth(6).unwrap().replacen("AQ", &format!("{}Q", (b'a' + i) as char), 1)).collect();
    let many = format!("{}\n{}\n", good.lines().next().unwrap(), many.join("\n"));
    assert_eq!(KnownKeys::parse(&many).unwrap_err().to_string(), "line 18: too many devices of one user");
}

fn any_learned() -> impl Strategy<Value = Learned> {
    (any::<String>(), 0..4u8, 0..4u8, any::<bool>(), 0..8u8).prop_map(|(user, one, other, flag, kind)| match kind {
        0 => rsa(&user, &one.to_string(), flag),
        1 => seen(&user, one),
        2 => accepted(&user, one),
        3 => verified(&user, one),
        4 => device(&user, one, other),
        5 => room(&user, one, flag, other == 0),
        6 => Learned::Blocked(name(&user)),
        _ => Learned::Unblocked(name(&user)),
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(learned in prop::collection::vec((any_learned(), 0..3u8, any::<bool>()), 0..12)) {
        let mut known = known(&[server("[::1]:12345", "s", Some(1)), server("b:1", "b", None)]);
        for (learned, realm, is_modern) in learned {
            let realm = if is_modern { modern(realm) } else { legacy(&realm.to_string()) };
            known.apply(&Change::Learned(realm, learned));
        }
        prop_assert_eq!(KnownKeys::parse(&known.to_text()), Ok(known));
    }

    #[test]
    fn reading_is_total(text in "(# secure-chat known keys, version [12]\n)?(device ed25519: )?\\PC{0,200}\n?") {
        let _ = KnownKeys::parse(&text);
    }
}
