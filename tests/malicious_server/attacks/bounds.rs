//! Floods: whatever the server sends, a client neither hangs nor grows without bound.

use std::time::Duration;

use secure_chat::client::modern::{Alarm, Thing};
use secure_chat::transcript::{Position, RunId};
use serde_json::json;

use super::{
    alarms, as_forger, assert_alarmed, assert_heard, assert_unheard, calm_stage, follow, tamper, unlisted_place,
};
use crate::forger::{Forger, base64};
use crate::modern_world::{Seen, Way, Who, World};
use crate::scenes::Cast;

/// What one client may take, whatever the server does: some tens of MB, and as much again for the tests that run beside.
const MOST: usize = 200 << 20;

/// Bytes of memory in use; zero where that cannot be told.
fn memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

/// Sends many lines to a client, and looks that it does not grow with them.
fn flood(world: &mut World, who: Who, lines: impl Iterator<Item = String>) {
    let before = memory();
    for line in lines {
        world.hand_down(who, line.into_bytes());
        world.people[who.0].screen.truncate(20_000); // what scrolled away is not the client's
        assert!(memory() < before + MOST, "it grows");
        if world[who].link.is_none() {
            return;
        }
    }
    world.settle();
}

#[test]
fn answers_that_were_not_asked_for_end_the_connection() {
    for line in [
        json!({ "type": "ok", "id": 7777 }),
        json!({ "type": "ok", "id": 1, "time": 1 }),
        json!({ "type": "error", "id": 7777, "code": "stale", "text": "x" }),
        json!({ "type": "error", "code": "bad_json", "text": "x" }),
        json!({ "type": "part", "id": 7777, "entries": [] }),
        json!({ "type": "ok" }),
        json!({ "type": "message", "room": "den" }),
        json!({ "type": "hello" }),
        json!([]),
        json!("ok"),
    ] {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        let mark = world.mark();
        world.forge(alice, line.to_string());
        assert_alarmed!(world, mark, alice, Alarm::Protocol(_));
        assert!(world[alice].link.is_none(), "{line}");
        world.pass(Duration::from_secs(3));
        assert_heard(&mut world, bob, "welcome back", &[alice]);
    }
    // Control: what is not known is ignored.
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    let mark = world.mark();
    world.forge(alice, json!({ "type": "weather", "sun": true }).to_string());
    assert!(alarms(&world, &mark, alice).is_empty());
    assert_heard(&mut world, bob, "go on", &[alice]);
}

#[test]
fn an_answer_to_another_request_ends_the_connection() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    tamper(&mut world, move |line| {
        if line.is(alice, "ok who") || line.is(alice, "ok list") {
            line.value["id"] = (line.value["id"].as_u64().unwrap() + 1).into();
        }
    });
    let mark = world.mark();
    world.type_line(alice, "/list");
    assert_alarmed!(world, mark, alice, Alarm::Protocol(_));
}

#[test]
fn a_line_that_is_too_long_ends_the_connection() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    let mark = world.mark();
    world.forge(alice, vec![b' '; 70_000]);
    assert_alarmed!(world, mark, alice, Alarm::Protocol(_));
}

/// Parts without an end: the client takes what it can use, and gives the server up in the end.
#[test]
fn an_answer_without_an_end_is_bounded_in_size_and_time() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    let asked = std::rc::Rc::new(std::cell::RefCell::new(0));
    let shared = std::rc::Rc::clone(&asked);
    tamper(&mut world, move |line| {
        if line.is(alice, "ok who") {
            *shared.borrow_mut() = line.value["id"].as_u64().unwrap();
        }
        if line.who == alice && line.way == Way::Down && *shared.borrow() > 0 {
            line.drop(); // nor is anything else answered
        }
    });
    let mark = world.mark();
    world.type_line(alice, "/leave");
    world.type_line(alice, "/join den pw");
    let id = *asked.borrow();
    let entries: Vec<_> = (0..200_u8)
        .map(|i| json!({ "user": format!("u{i}"), "kind": "modern", "key": base64(&[i; 32]), "run": base64(&[i; 16]) }))
        .collect();
    let part = json!({ "type": "part", "id": id, "entries": entries }).to_string();
    flood(&mut world, alice, (0..1_500).map(|_| part.clone()));
    world.pass(Duration::from_secs(70));
    assert!(world[alice].transcript(mark[alice.0].min(900)).contains("it does not answer"), "{}", world.screens(&mark));
}

/// A room with more members than a client takes can be read, not written.
#[test]
fn a_room_that_is_too_large_is_said_to_be() {
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    tamper(&mut world, move |line| {
        if line.is(alice, "part who") {
            let id = line.value["id"].clone();
            let crowd = |from: u32| {
                let entries: Vec<_> = (from..from + 250)
                    .map(|i| {
                        let mut run = [0; 16];
                        run[..4].copy_from_slice(&i.to_be_bytes());
                        json!({ "user": format!("u{i}"), "kind": "modern", "key": base64(&[1; 32]), "run": base64(&run) })
                    })
                    .collect();
                json!({ "type": "part", "id": id, "entries": entries })
            };
            line.after.extend((0..40).map(|i| crowd(i * 250)));
        }
    });
    let mark = world.mark();
    world.type_line(alice, "/leave");
    world.type_line(alice, "/join den pw");
    assert_alarmed!(world, mark, alice, Alarm::RoomTooLarge);
    world.say(alice, "den", "anybody?");
    assert_unheard(&world, bob, "anybody?");
    assert!(world[alice].transcript(mark[alice.0]).contains("Not sent"));
    assert_heard(&mut world, bob, "you can read", &[alice]);
}

/// Changes that claim as many members as numbers go.
#[test]
fn changes_beyond_all_bounds_are_a_change() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    let chronicle = follow(&mut world, alice);
    let n = chronicle.borrow().next();
    for (i, count) in [0_u64, 100_000, (1 << 53) - 1].into_iter().enumerate() {
        world.forge(
            alice,
            json!({
                "type": "members", "room": "den", "n": n + i as u64, "time": 1, "roster": base64(&[9; 32]),
                "joined_count": count, "removed_count": count, "changes": base64(&[8; 32]),
            })
            .to_string(),
        );
    }
    let mark = world.mark();
    world.say(alice, "den", "who is here?");
    world.pass(Duration::from_secs(5));
    assert_alarmed!(world, mark, alice, Alarm::BadRoster);
}

/// An author with as many runs as it likes, each with a grant that is signed.
#[test]
fn grants_without_end_take_bounded_memory() {
    let (mut world, Cast { alice, bob, mallory, .. }) = calm_stage();
    world.type_line(mallory, "/join den pw");
    let own = as_forger(&world, mallory);
    let at = unlisted_place(&mut world, alice, mallory);
    let wrap = own.chain.wrap_for(world[alice].rsa().public()).unwrap();
    let grants = (0..8_300_u32).map(|i| {
        let mut run = [0; 16];
        run[..4].copy_from_slice(&i.to_be_bytes());
        let own = Forger { run: RunId(run), bundle: own.bundle.clone(), ..as_forger_of(&own) };
        let mut line = json!({
            "type": "grant", "room": "den", "epoch": 1, "counter": 1, "at": crate::forger::position_json(at),
            "check": own.chain.grant_check().to_base64(), "wrap": wrap,
        });
        own.adopt(&mut line);
        line.to_string()
    });
    let mark = world.mark();
    flood(&mut world, alice, grants);
    assert!(alarms(&world, &mark, alice).is_empty(), "they are sound: {:?}", alarms(&world, &mark, alice)[0]);
    world.make_honest();
    world.cut(alice);
    world.pass(Duration::from_secs(4));
    assert_heard(&mut world, bob, "still with us?", &[]);
    world.pass(Duration::from_secs(12));
    assert_heard(&mut world, bob, "yes", &[alice]);
}

/// Epochs without end of one run: two are kept.
#[test]
fn epochs_without_end_take_bounded_memory() {
    let (mut world, Cast { alice, mallory, .. }) = calm_stage();
    world.type_line(mallory, "/join den pw");
    let own = as_forger(&world, mallory);
    let at = world_at(&mut world, alice);
    let wrap = own.chain.wrap_for(world[alice].rsa().public()).unwrap();
    let grants = (1..4_000_u64).map(|epoch| {
        let mut line = json!({
            "type": "grant", "room": "den", "epoch": epoch, "counter": epoch, "at": crate::forger::position_json(at),
            "check": own.chain.grant_check().to_base64(), "wrap": wrap,
        });
        own.adopt(&mut line);
        line.to_string()
    });
    let before = world[alice].machine().rsa_operations();
    flood(&mut world, alice, grants);
    assert_eq!(world[alice].machine().rsa_operations(), before, "a grant costs no RSA before it is used");
}

/// Messages whose authors' keys never come.
#[test]
fn what_waits_for_keys_is_bounded() {
    let (mut world, Cast { alice, mallory, .. }) = calm_stage();
    world.type_line(mallory, "/join den pw");
    let at = unlisted_place(&mut world, alice, mallory);
    tamper(&mut world, move |line| {
        if line.is(alice, "ok bundles") || line.is(alice, "part bundles") {
            line.drop();
        }
    });
    let token = "A".repeat(20_000);
    let lines = (0..1_000_u64).map(|i| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&i.to_be_bytes());
        json!({
            "type": "message", "room": "den", "n": at.n + 1 + i, "time": 1, "user": "spooky", "bundle": base64(&key),
            "run": base64(&[5; 16]), "kind": "text", "encrypted_message": token, "epoch": 1, "counter": 1 + i,
            "at": crate::forger::position_json(at), "commitment": base64(&[6; 32]), "signature": base64(&[7; 64]),
        })
        .to_string()
    });
    let mark = world.mark();
    flood(&mut world, alice, lines);
    let too_much = world[alice].alarms(mark[alice.0]);
    assert!(too_much.iter().any(|alarm| matches!(alarm, Alarm::TooMuch(Thing::Message, _))), "{:?}", too_much.len());
}

/// Events of all kinds for rooms where nobody is, unknown events, needs and words without end.
#[test]
fn words_without_end_take_bounded_memory() {
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    let long = "x".repeat(4_000);
    let lines = (0..5_000_u64).flat_map(|i| {
        [
            json!({ "type": "not_delivered", "room": "den", "n": i, "members": i }).to_string(),
            json!({ "type": "news", "text": long }).to_string(),
            json!({ "type": "need_key", "room": "den", "user": format!("u{i}"), "epoch": 1 + i, "bundle": base64(&[1; 32]), "run": base64(&[2; 16]) }).to_string(),
            json!({ "type": "removed", "room": format!("room{i}"), "why": "kicked" }).to_string(),
        ]
    });
    flood(&mut world, alice, lines);
    assert_heard(&mut world, bob, "still with us?", &[alice]);
}

/// Names without end, each with a key of its own: those that are known are kept.
#[test]
fn directs_from_strangers_without_end_are_bounded() {
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    let alices = super::entry_of(&world, alice);
    let readers = [(alices.key.bundle().unwrap(), alices.run)];
    let key = world[alice].rsa().public().clone();
    let wraps = [(alices.key.bundle().unwrap(), &key)];
    let realm = world.server.realm();
    let known: std::rc::Rc<std::cell::RefCell<Option<serde_json::Value>>> = Default::default();
    let shared = std::rc::Rc::clone(&known);
    tamper(&mut world, move |line| {
        if line.is(alice, "ok bundles") {
            line.value["missing"] = json!([]);
            let bundles: Vec<_> = shared.borrow().iter().cloned().collect();
            line.before.push(json!({ "type": "part", "id": line.value["id"], "bundles": bundles }));
        }
    });
    for i in 0..300 {
        let ghost = Forger::new(realm, &format!("stranger{i}"));
        *known.borrow_mut() = Some(ghost.bundle_json());
        world.forge(alice, ghost.direct("alice", 1, "hello", &readers, &wraps).to_string());
    }
    let shown = world[alice].messages(0).filter(|shown| shown.author.as_str().starts_with("stranger")).count();
    assert_eq!(shown, 300);
    world.make_honest();
    assert_heard(&mut world, bob, "so many people", &[alice]);
}

fn as_forger_of(other: &Forger) -> Forger {
    let signing = secure_chat::crypto::SigningKey::from_seed(other.signing.expose_seed());
    Forger {
        account: other.account.clone(),
        realm: other.realm,
        signing,
        rsa: other.rsa.clone(),
        bundle: other.bundle.clone(),
        run: other.run,
        chain: other.chain.clone(),
    }
}

/// Where a client's log is.
fn world_at(world: &mut World, who: Who) -> Position {
    let chronicle = follow(world, who);
    chronicle.borrow().at.unwrap()
}

/// Whatever is dropped, somebody says so, or nothing was said: the last word of a client that ends is why.
#[test]
fn a_client_that_ends_says_why() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    world.forge(alice, json!({ "type": "bye", "reason": "replaced", "text": "Your run is elsewhere." }).to_string());
    world.cut(alice);
    assert!(
        matches!(world[alice].screen.last(), Some(Seen::End(why)) if why.contains("is lost")),
        "{}",
        world.screens(&[])
    );
}
