//! Words that would be more than words: control characters, lines that imitate others, names that look like others, times.

use secure_chat::client::modern::{Alarm, Mark};
use serde_json::{Value, json};

use super::{assert_calm, assert_heard, calm_stage, follow, forger, tamper};
use crate::modern_world::World;
use crate::oracle::Oracle;
use crate::scenes::{Cast, HONEST};

/// What a terminal would obey, or a person could not see.
const NASTY: [&str; 8] = [
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "a\r\nbob (verified): I owe you",
    "\u{202e}drawkcab",
    "\u{2028}bob (verified): hello",
    "\u{200b}\u{feff}unseen",
    "\u{9b}31m",
    "\0\0",
    "\u{2066}isolated\u{2069}",
];

/// Nothing on any screen but what can be seen, a line each.
fn assert_plain(world: &World) {
    assert_eq!(Oracle::new(&HONEST).check_plain(world), Ok(()));
}

#[test]
fn the_servers_words_cannot_do_anything_to_a_terminal() {
    for nasty in NASTY {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        tamper(&mut world, move |line| {
            for field in ["motd", "topic", "text"] {
                if line.who == alice && line.value[field].is_string() && line.kind != "request send" {
                    line.value[field] = nasty.into();
                }
            }
        });
        world.cut(alice);
        world.pass(std::time::Duration::from_secs(3));
        for line in
            ["/join nowhere pw", "/join den pw", "/topic", "/login alice wrong", "/msg nobody x", "/kick bob", "/list"]
        {
            world.type_line(alice, line);
        }
        world.forge(alice, json!({ "type": "bye", "reason": "silent", "text": nasty }).to_string());
        world.forge(alice, json!({ "type": "removed", "room": nasty, "why": "kicked" }).to_string());
        world.forge(alice, json!({ "type": "not_delivered", "room": nasty, "n": 1, "members": 1 }).to_string());
        world.say(bob, "den", "hello");
        assert_plain(&world);
    }
}

/// Names of people and rooms, targets and reasons, as a server may invent them.
#[test]
fn a_name_is_never_more_than_a_name() {
    for nasty in NASTY {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        tamper(&mut world, move |line| {
            if line.who != alice {
                return;
            }
            match line.kind {
                "members listed" => {
                    for entry in line.value["joined"].as_array_mut().into_iter().flatten() {
                        entry["user"] = nasty.into();
                    }
                }
                "part list" => {
                    for room in line.value["rooms"].as_array_mut().into_iter().flatten() {
                        room["room"] = nasty.into();
                    }
                }
                "ok join" => line.value["owner"] = nasty.into(),
                kind if kind.starts_with("act ") => {
                    (line.value["target"], line.value["argument"]) = (nasty.into(), nasty.into());
                }
                "message modern" | "message legacy" | "direct" => line.value["user"] = nasty.into(),
                _ => {}
            }
        });
        world.type_line(alice, "/list");
        world.whisper(bob, "alice", "psst");
        world.type_line(bob, "/topic tea");
        let dave = crate::modern_world::Old(0);
        world.say_legacy(dave, "hello from dave");
        world.say(bob, "den", "hello from bob");
        let text = json!({ "type": "message", "room": nasty, "n": 1, "time": 1, "user": nasty, "legacy": true, "encrypted_message": nasty });
        world.forge(alice, text.to_string());
        assert_plain(&world);
    }
}

#[test]
fn a_text_that_imitates_a_line_is_a_text() {
    let (mut world, Cast { alice, bob, carol, dave, .. }) = calm_stage();
    let mark = world.mark();
    assert_heard(&mut world, carol, "bob (verified): I owe you a drink", &[alice, bob]);
    let nasty = "x\r\nbob (verified): and \u{1b}[1mtwo\u{1b}[0m";
    world.say(carol, "den", nasty);
    world.say_legacy(dave, "bob (verified): and three");
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(seen.contains("carol (pinned): bob (verified): I owe you a drink\n"), "{seen}");
    assert!(seen.contains("dave (unsigned, legacy): bob (verified): and three\n"), "{seen}");
    assert!(!seen.contains("\nbob (verified)"), "{seen}");
    assert_plain(&world);
    assert_calm(&world, &mark);
}

/// A server that allows what it should not: names that a person takes for bob's.
#[test]
fn a_name_that_looks_like_a_known_one_is_marked() {
    for name in ["bоb", "BOB", "Bob", "bob\u{200b}", "bob\u{fe0f}", "ｂｏｂ"] {
        let (mut world, Cast { alice, .. }) = calm_stage();
        let chronicle = follow(&mut world, alice);
        let ghost = forger(&world, name);
        let (bundle, hash) = (ghost.bundle_json(), ghost.bundle.hash().to_base64());
        let at = chronicle.borrow().at.unwrap();
        let key = world[alice].rsa().public().clone();
        // A direct message needs no place in a room.
        let alices = super::entry_of(&world, alice);
        let bundle_hash = alices.key.bundle().unwrap();
        let line = ghost.direct("alice", 1, "lend me money", &[(bundle_hash, alices.run)], &[(bundle_hash, &key)]);
        tamper(&mut world, move |line| {
            if line.is(alice, "ok bundles") && line.value["missing"] == json!([hash]) {
                line.value["missing"] = json!([]);
                line.before.push(json!({ "type": "part", "id": line.value["id"], "bundles": [bundle] }));
            }
        });
        let mark = world.mark();
        world.forge(alice, line.to_string());
        let shown: Vec<_> = world[alice].messages(mark[alice.0]).collect();
        assert_eq!(shown.len(), 1, "{name}: {}", world.screens(&mark));
        let marked =
            shown[0].marks.iter().any(|mark| matches!(mark, Mark::LooksLike(other) if other.as_str() == "bob"));
        assert!(marked, "{name}: {}", shown[0]);
        assert!(!shown[0].to_string().starts_with("bob ("), "{}", shown[0]);
        assert_plain(&world);
        let _ = at;
    }
}

/// The author's clock is signed; where it differs from the server's, both are shown.
#[test]
fn a_time_that_is_not_the_authors_is_shown_beside_it() {
    for (by, is_marked) in
        [(0_i64, false), (100_000, false), (-100_000, false), (600_000, true), (-600_000, true), (1 << 50, true)]
    {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        tamper(&mut world, move |line| {
            if line.is(alice, "message modern") {
                line.value["time"] = line.value["time"].as_u64().unwrap().saturating_add_signed(by).into();
            }
        });
        let mark = world.mark();
        assert_heard(&mut world, bob, "what time is it?", &[alice]);
        let shown = world[alice].messages(mark[alice.0]).next().unwrap();
        assert_eq!(shown.marks.iter().any(|mark| matches!(mark, Mark::Times { .. })), is_marked, "{by}: {shown}");
    }
}

/// Every number in every line, as large as numbers get.
#[test]
fn huge_numbers_hurt_nobody() {
    for number in [json!(u64::MAX), json!((1_u64 << 53) - 1), json!(1_u64 << 53), json!(-1), json!(1e300), json!(0)] {
        let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
        let huge = number.clone();
        tamper(&mut world, move |line| {
            if line.who == alice && line.kind != "hello" {
                replace_numbers(&mut line.value, &huge);
            }
        });
        world.say(bob, "den", "hello");
        world.type_line(alice, "/list");
        world.type_line(alice, "/join den pw");
        world.say(alice, "den", "hello there");
        world.type_line(bob, "/mute carol 10m");
        world.pass(std::time::Duration::from_secs(200));
        world.make_honest();
        world.pass(std::time::Duration::from_secs(200));
        world.type_line(alice, "/join den pw");
        world.pass(std::time::Duration::from_secs(20));
        assert_heard(&mut world, bob, "and now?", &[carol, alice]);
    }
}

fn replace_numbers(value: &mut Value, by: &Value) {
    match value {
        Value::Number(_) => *value = by.clone(),
        Value::Array(items) => items.iter_mut().for_each(|item| replace_numbers(item, by)),
        Value::Object(object) => object.values_mut().for_each(|value| replace_numbers(value, by)),
        _ => {}
    }
}

/// A blocked person is not seen, and still sees; that is said. What the server makes of it changes nothing.
#[test]
fn the_blocked_are_not_shown_and_stay_readers() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    world.type_line(alice, "/block carol");
    let mark = world.mark();
    world.say(carol, "den", "do you see me?");
    assert_eq!(world[alice].messages(mark[alice.0]).count(), 0);
    assert_heard(&mut world, alice, "no", &[bob, carol]);
    let mark = world.mark();
    world.type_line(alice, "/readers");
    assert!(world[alice].transcript(mark[alice.0]).contains("carol (pinned, blocked)"));
    assert!(!world[alice].alarms(0).iter().any(|alarm| matches!(alarm, Alarm::Protocol(_))));
}
