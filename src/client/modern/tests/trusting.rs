//! Keys that are pinned, verified, changed and accepted.

use super::world::{World, public, user};
use crate::client::key_name::KeyName;
use crate::client::known_keys::{Learned, Pins, Trust};
use crate::crypto::SigningKey;

fn key(signing: u8) -> KeyName {
    SigningKey::from_seed(&[signing; 32]).verifying_key().bytes().into()
}

#[test]
fn two_who_compared_their_numbers_see_that_they_are_verified() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "hello");
    world.types(1, "hi");
    world.looked();
    let numbers = [(0, "bob"), (1, "alice")].map(|(client, other)| {
        let shown = world.types(client, &format!("/verify {other}"));
        assert_eq!(shown[0], format!("* The safety number of you and {other}:"));
        shown[1].clone()
    });
    assert_eq!(numbers[0], numbers[1]);
    assert_eq!(numbers[0].chars().filter(char::is_ascii_digit).count(), 60);
    assert_eq!(world.types(0, "/verify bob yes"), ["* bob is verified."]);
    assert_eq!(world.clients[0].pins.signers[&user("bob")].trust, Trust::Verified);
    world.types(1, "it is me");
    assert_eq!(world.look(0), ["bob (verified): it is me"]);
}

#[test]
fn what_was_not_compared_is_not_verified() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "hello");
    assert_eq!(
        world.types(0, "/verify bob yes")[1..],
        ["* Compare the number first: /verify bob"].map(str::to_owned)[..0]
    );
    world.types(0, "/verify bob");
    assert_eq!(world.types(0, "/verify bob yes"), ["* bob is verified."]);
}

/// Somebody with another signing key under a known name: loud, no reader, and not shown, until the person accepts the key.
#[test]
fn a_changed_key_is_loud_and_gets_and_shows_nothing_until_it_is_accepted() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "hello");
    world.types(1, "hi");
    world.connect(77, 2, Pins::default()); // another signing key
    world.types(2, "/login bob pw");
    world.types(2, "/join r pw");
    world.looked();
    let shown = world.types(0, "who is here?");
    let warning = [
        "* WARNING: the key of bob is not the known one!".to_owned(),
        format!("  known: {}", key(1)),
        format!("  now:   {}", key(77)),
        format!("  It can read nothing of yours. If bob confirms the new key: /accept bob {}", key(77)),
    ];
    assert_eq!(shown, [warning.join("\n")]);
    assert_eq!(world.look(1), ["alice (pinned): who is here?"]);
    world.later(10_000);
    let words = world.look(2);
    assert!(words[0].starts_with("* A message of alice cannot be read: no key for it has come."), "{words:?}");
    assert_eq!(world.types(0, "again"), Vec::<String>::new(), "it is said once");
    world.types(2, "I am bob");
    let shown = world.look(0);
    assert!(shown.len() == 1 && shown[0].contains("A message with it is not shown"), "{shown:?}");
    // A direct message stops.
    let shown = world.types(0, "/msg bob are you bob?");
    assert_eq!(shown[1], "* Not sent: the key of bob is not the known one. It was: to bob: are you bob?");
    // The person decides.
    assert_eq!(
        world.types(0, &format!("/accept bob {}", key(3))),
        [format!("* bob has not shown that key, but {}. Nothing is changed.", key(77))]
    );
    assert_eq!(
        world.types(0, &format!("/accept bob {}", key(77))),
        [format!("* The key of bob is {} from now on. It is not verified: /verify bob", key(77))]
    );
    world.looked();
    world.types(2, "thank you");
    assert_eq!(world.look(0), ["bob (pinned): thank you"]);
    world.types(0, "welcome");
    assert_eq!(world.look(2), ["alice (pinned): welcome"]);
    world.looked();
    world.types(1, "and I?");
    let shown = world.look(0);
    assert!(shown.len() == 1 && shown[0].contains(&format!("now:   {}", key(1))), "{shown:?}");
}

#[test]
fn a_verified_key_that_changes_is_verified_no_more() {
    let mut pins = Pins::default();
    let KeyName::Ed25519(old) = key(99) else { panic!("an Ed25519 key") };
    pins.learn(&Learned::SignerSeen(user("bob"), old));
    pins.learn(&Learned::SignerVerified(user("bob"), old));
    let mut world = World::with(&[]);
    world.connect(0, 0, pins);
    world.connect(1, 1, Pins::default());
    for (client, name) in [(0, "alice"), (1, "bob")] {
        world.types(client, &format!("/login {name} pw"));
        world.types(client, "/join r pw");
    }
    world.looked();
    world.types(1, "it is me, really");
    assert!(world.look(0)[0].contains("is not the known one"));
    world.types(0, &format!("/accept bob {}", key(1)));
    world.types(1, "it is me, really");
    assert_eq!(world.look(0), ["bob (pinned): it is me, really"]);
}

#[test]
fn a_pin_of_the_old_wire_is_carried_over_by_its_rsa_key_and_by_no_other() {
    for (device, shown) in [(1, true), (4, false)] {
        let mut pins = Pins::default();
        let rsa = public(1).fingerprint();
        pins.learn(&Learned::Rsa { user: user("bob"), key: rsa, replaces: false });
        let mut world = World::with(&[]);
        world.connect(0, 0, pins);
        world.connect(1, device, Pins::default());
        for (client, name) in [(0, "alice"), (1, "bob")] {
            world.types(client, &format!("/login {name} pw"));
            world.types(client, "/join r pw");
        }
        world.looked();
        world.types(1, "hello");
        let heard = world.look(0);
        assert_eq!(heard == ["bob (pinned): hello"], shown, "{heard:?}");
        assert!(shown || heard[0].contains("is not the known one"), "{heard:?}");
    }
}

#[test]
fn what_is_learned_goes_out_before_what_follows_from_it_is_sent() {
    let mut world = World::with(&["alice", "bob"]);
    world.order.clear();
    world.types(0, "hello");
    let at = |what| world.order.iter().position(|done| *done == (0, what)).unwrap();
    assert!(at("remember") < at("grant") && at("grant") < at("send"), "{:?}", world.order);
}
