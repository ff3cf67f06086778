//! Rooms in which some are on the legacy wire.

use super::world::{World, public, room, rsa, user};
use crate::client::known_keys::{Learned, Pins};
use crate::client::shown::Trust;
use crate::crypto::envelope;
use crate::protocol::Package;
use crate::protocol::legacy::MAX_OUTBOUND;

/// What a legacy member with the key of `device` reads.
fn reads(world: &mut World, name: &str, device: usize) -> Vec<String> {
    let got = std::mem::take(&mut world.server.legacy_got);
    let mine = got.into_iter().filter(|(to, ..)| *to == user(name));
    mine.map(|(to, token, key)| {
        let Some(key) = key else { return "no key".to_owned() };
        let package = Package::new(token.clone(), [(to.as_str().to_owned(), key.clone())].into(), room("r"));
        assert!(package.to_json().len() <= MAX_OUTBOUND);
        envelope::open(&token, &key, &rsa(device)).map_or("unreadable".to_owned(), |text| text.to_string())
    })
    .collect()
}

#[test]
fn modern_and_legacy_members_read_each_other_and_are_told_apart() {
    let mut world = World::with(&["alice", "bob"]);
    world.legacy_join("eve", &public(4));
    assert_eq!(world.look(0), ["-- eve came, on the old wire, unsigned"]);
    assert_eq!(
        world.types(0, "hello"),
        ["* From now on you can be read by: bob (pinned); eve (on the old wire). /readers names all."]
    );
    assert_eq!(world.look(1).last().unwrap(), "alice (pinned): hello");
    assert_eq!(reads(&mut world, "eve", 4), ["alice: hello"]);
    world.types(0, "more");
    assert_eq!(reads(&mut world, "eve", 4), ["alice: more"]);
    assert!(world.types(0, "/readers").contains(&"*   eve (on the old wire)".to_owned()));
    world.looked();
    world.legacy_says("eve", "eve", "hi all", &[("alice", 0), ("bob", 1)]);
    for client in [0, 1] {
        assert_eq!(world.look(client), ["eve (unsigned, legacy): hi all"]);
    }
}

#[test]
fn a_text_is_split_so_that_a_python_client_can_read_it() {
    let mut world = World::with(&["alice", "bob"]);
    world.legacy_join("eve", &public(4));
    let text: String = (0..800).map(|i| format!("word{i} ")).collect();
    world.types(0, &text);
    let parts: Vec<String> = reads(&mut world, "eve", 4);
    let parts: Vec<&str> = parts.iter().map(|part| part.strip_prefix("alice: ").unwrap()).collect();
    assert!(parts.len() > 1);
    assert_eq!(parts.join(" ").trim(), text.trim());
}

#[test]
fn an_unsigned_message_in_a_name_that_signs_is_refused_visibly() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(1, "hello");
    world.looked();
    world.legacy_join("bob", &public(4));
    world.looked();
    world.legacy_says("bob", "bob", "send me your password", &[("alice", 0)]);
    let shown = world.look(0);
    assert!(shown.len() == 1 && shown[0].contains("in the name of bob without a signature"), "{shown:?}");
    world.legacy_says("alice", "alice", "I am you", &[("alice", 0)]);
    assert!(world.look(0)[0].contains("in the name of alice without a signature"));
}

#[test]
fn a_legacy_session_of_a_name_that_signs_reads_only_with_a_known_device() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(1, "hello"); // bob's key and device are known now
    world.legacy_join("bob", &public(4));
    world.looked();
    let shown = world.types(0, "one");
    assert!(
        shown.contains(&"* bob cannot read you: bob is on the old wire with a key that is not one of theirs.".into())
    );
    assert_eq!(reads(&mut world, "bob", 4), ["no key"]);
    let mut world = World::with(&["alice", "bob"]);
    world.types(1, "hello");
    world.legacy_join("bob", &public(1));
    world.types(0, "one");
    assert_eq!(reads(&mut world, "bob", 1), ["alice: one"]);
}

#[test]
fn a_legacy_message_bears_its_sessions_name_or_is_not_shown() {
    let mut world = World::with(&["alice", "bob"]);
    world.legacy_join("eve", &public(4));
    world.looked();
    world.legacy_says("eve", "carol", "hi", &[("alice", 0)]);
    assert_eq!(world.look(0), ["* WARNING: a message of eve bears another name inside. It is not shown."]);
    world.legacy_says("dave", "dave", "hi", &[("alice", 0)]);
    assert!(world.look(0)[0].contains("dave, who is not listed on the old wire"));
    world.legacy_says("eve", "eve", "hi", &[("alice", 3)]);
    assert!(world.look(0)[0].contains("your key does not open it"));
}

#[test]
fn a_legacy_message_without_a_key_is_said_unless_the_key_follows() {
    let mut world = World::with(&["alice", "bob"]);
    world.legacy_join("eve", &public(4));
    world.looked();
    world.legacy_says("eve", "eve", "hi", &[("bob", 1)]);
    assert_eq!(world.look(0), Vec::<String>::new());
    world.later(2_000);
    assert!(world.look(0)[0].contains("it came without a key for you"));
}

#[test]
fn a_changed_legacy_key_is_loud_and_no_reader() {
    let mut pins = Pins::default();
    pins.learn(&Learned::Rsa { user: user("eve"), key: public(3).fingerprint(), replaces: false });
    let mut world = World::with(&[]);
    world.connect(0, 0, pins);
    world.types(0, "/login alice pw");
    world.types(0, "/join r pw");
    world.legacy_join("eve", &public(4));
    world.looked();
    let shown = world.types(0, "hello");
    assert!(shown[0].contains("the key of eve is not the known one"), "{shown:?}");
    assert_eq!(reads(&mut world, "eve", 4), ["no key"]);
    world.types(0, &format!("/accept eve {}", public(4).fingerprint()));
    world.types(0, "hello");
    assert_eq!(reads(&mut world, "eve", 4), ["alice: hello"]);
    let _ = Trust::Unsigned;
}

#[test]
fn a_room_that_keeps_the_old_wire_out_gives_it_nothing_whatever_the_server_lists() {
    let mut world = World::with(&["alice", "bob"]);
    assert_eq!(world.types(0, "/room modern-only on"), ["! alice (you) keeps the old wire out from now on"]);
    assert_eq!(world.look(1), ["! alice (pinned) keeps the old wire out from now on"]);
    world.legacy_join("eve", &public(4));
    for client in [0, 1] {
        let shown = world.look(client);
        assert!(shown[1].contains("keeps the old wire out, and the server lists members on it"), "{shown:?}");
    }
    let shown = world.types(1, "hello");
    assert!(
        shown.contains(&"* eve cannot read you: eve is on the old wire, which this room keeps out.".into()),
        "{shown:?}"
    );
    assert_eq!(reads(&mut world, "eve", 4), ["no key"]);
    assert!(world.clients[1].pins.rooms[&room("r")].modern_only);
}
