//! Direct messages: repeated, redirected, with readers more or less, and refused for ever.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use secure_chat::client::modern::{Alarm, Thing, Trust, Unreadable};
use serde_json::{Value, json};

use super::{alarms, assert_alarmed, assert_calm, calm_stage, forger, tamper};
use crate::forger::Forger;
use crate::modern_world::{Who, World};
use crate::scenes::Cast;

/// A direct message of bob's to alice, as she gets it.
fn whispered(world: &mut World, alice: Who, bob: Who, text: &str) -> Value {
    let taken = Rc::new(RefCell::new(None));
    let shared = Rc::clone(&taken);
    tamper(world, move |line| {
        if line.is(alice, "direct") {
            *shared.borrow_mut() = Some(line.value.clone());
        }
    });
    let mark = world.mark();
    world.whisper(bob, "alice", text);
    world.make_honest();
    assert_eq!(world[alice].trust_of(mark[alice.0], text), Some(Trust::Verified));
    assert_calm(world, &mark);
    taken.take().expect("it passed")
}

#[test]
fn a_direct_message_is_for_its_reader_alone_and_comes_once() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    let line = whispered(&mut world, alice, bob, "for alice alone");
    let mark = world.mark();
    world.forge(alice, line.to_string());
    assert_alarmed!(world, mark, alice, Alarm::Repeated(Thing::Direct, user) if user.as_str() == "bob");
    world.forge(carol, line.to_string());
    assert_alarmed!(world, mark, carol, Alarm::NotForUs(user) if user.as_str() == "bob");
    world.forge(bob, line.to_string());
    assert_alarmed!(world, mark, bob, Alarm::OwnEcho(Thing::Direct));
    for who in [alice, bob, carol] {
        assert_eq!(world[who].messages(mark[who.0]).count(), 0);
    }
    // Nor after the sender has written more.
    whispered(&mut world, alice, bob, "more");
    let mark = world.mark();
    world.forge(alice, line.to_string());
    assert_eq!(world[alice].messages(mark[alice.0]).count(), 0);
}

#[test]
fn a_direct_message_is_taken_as_it_was_signed() {
    for field in
        ["user", "bundle", "run", "recipient", "encrypted_message", "readers", "counter", "commitment", "signature"]
    {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        tamper(&mut world, move |line| {
            if line.is(alice, "direct") {
                match field {
                    "user" => line.value["user"] = "carol".into(),
                    "recipient" => line.value["recipient"] = "bob".into(),
                    "counter" => line.value["counter"] = (line.value["counter"].as_u64().unwrap() + 1).into(),
                    "encrypted_message" => line.value[field] = "gAAAAA".into(),
                    "readers" => {
                        let ghost = json!({ "bundle": crate::forger::base64(&[1; 32]), "run": crate::forger::base64(&[1; 16]) });
                        line.value["readers"].as_array_mut().unwrap().push(ghost);
                    }
                    "signature" => line.value[field] = crate::forger::base64(&[7; 64]).into(),
                    "run" => line.value[field] = crate::forger::base64(&[7; 16]).into(),
                    field => line.value[field] = crate::forger::base64(&[7; 32]).into(),
                }
            }
        });
        let mark = world.mark();
        world.whisper(bob, "alice", "as I wrote it");
        assert_eq!(world[alice].messages(mark[alice.0]).count(), 0, "{field}");
        assert!(!alarms(&world, &mark, alice).is_empty(), "{field}");
    }
}

/// Wraps are not signed: what another key opens is not what was committed to.
#[test]
fn a_wrap_of_another_key_opens_nothing() {
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    let other = secure_chat::crypto::envelope::wrap(&[5; 32], world[alice].rsa().public()).unwrap();
    let alices = super::entry_of(&world, alice).key.bundle().unwrap().to_base64();
    tamper(&mut world, move |line| {
        if line.is(alice, "direct") {
            line.value["wraps"][&alices] = other.clone().into();
        }
    });
    let mark = world.mark();
    world.whisper(bob, "alice", "under my key");
    assert_alarmed!(world, mark, alice, Alarm::UnreadableDirect(user, Unreadable::OtherKey) if user.as_str() == "bob");
}

/// The server names sessions that are not the recipient's, or not with the recipient's key.
#[test]
fn nobody_else_is_added_to_the_readers() {
    for (name, list) in [("spooky", "recipient"), ("bob", "recipient"), ("alice", "own"), ("spooky", "own")] {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        let ghost = forger(&world, name);
        let reader = json!({ "bundle": ghost.bundle.hash().to_base64(), "run": ghost.run.to_base64() });
        let (hash, bundle) = (ghost.bundle.hash().to_base64(), ghost.bundle_json());
        let given = Rc::new(RefCell::new(0));
        let shared = Rc::clone(&given);
        tamper(&mut world, move |line| {
            if line.is(alice, "ok sessions") {
                line.value[list].as_array_mut().unwrap().push(reader.clone());
            }
            if line.is(alice, "ok bundles") && line.value["missing"].as_array().unwrap().contains(&json!(hash)) {
                line.value["missing"] = json!([]);
                line.before.push(json!({ "type": "part", "id": line.value["id"], "bundles": [bundle] }));
            }
            if line.is(alice, "request direct") {
                *shared.borrow_mut() += 1;
            }
        });
        let mark = world.mark();
        world.whisper(alice, "bob", "for bob alone");
        world.pass(Duration::from_secs(5));
        assert_eq!(*given.borrow(), 0, "{name} in {list}: {}", world.screens(&mark));
        assert!(world[alice].transcript(mark[alice.0]).contains("Not sent"));
        assert_eq!(world[bob].trust_of(0, "for bob alone"), None);
    }
}

#[test]
fn a_message_that_is_refused_for_ever_is_given_up_in_words() {
    for code in ["offline", "readers_changed", "too_large", "no_such_user", "whatever"] {
        let (mut world, Cast { alice, .. }) = calm_stage();
        let asked = Rc::new(RefCell::new(0));
        let shared = Rc::clone(&asked);
        tamper(&mut world, move |line| {
            if line.is(alice, "request direct") {
                *shared.borrow_mut() += 1;
            }
            if line.is(alice, "ok direct") {
                line.value = json!({ "type": "error", "id": line.value["id"], "code": code, "text": "No." });
            }
        });
        let mark = world.mark();
        world.whisper(alice, "bob", "hello?");
        world.pass(Duration::from_secs(60));
        assert!(*asked.borrow() <= 3, "{code}");
        let seen = world[alice].transcript(mark[alice.0]);
        assert!(seen.contains("server: No.\n"), "its reason is shown as the server's: {seen}");
        let is_it = |line: &str| line.starts_with("* Not sent: ") && line.ends_with(". It was: to bob: hello?");
        assert!(seen.lines().any(is_it), "{seen}");
    }
}

#[test]
fn a_direct_message_of_another_realm_or_key_is_refused() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    let alices = super::entry_of(&world, alice);
    let readers = [(alices.key.bundle().unwrap(), alices.run)];
    let wraps = [(alices.key.bundle().unwrap(), world[alice].rsa().public())];
    let evil = forger(&world, "bob");
    let line = evil.direct("alice", 1, "I am bob", &readers, &wraps);
    let bobs_keys = || secure_chat::crypto::SigningKey::from_seed(world[Who(1)].signing().expose_seed());
    let elsewhere =
        Forger::with(secure_chat::transcript::Realm([9; 32]), "bob", bobs_keys(), world[Who(1)].rsa().clone());
    let relayed = elsewhere.direct("alice", 1, "said elsewhere", &readers, &wraps);
    let stranger = forger(&world, "spooky").direct("alice", 1, "hello, alice", &readers, &wraps);
    let bundles = [evil.bundle_json(), elsewhere.bundle_json(), forger(&world, "spooky").bundle_json()];
    tamper(&mut world, move |line| {
        if line.is(alice, "ok bundles") {
            line.value["missing"] = json!([]);
            line.before.push(json!({ "type": "part", "id": line.value["id"], "bundles": bundles.clone() }));
        }
    });
    let mark = world.mark();
    world.forge(alice, line.to_string());
    assert_alarmed!(world, mark, alice, Alarm::KeyChanged { with: Some(Thing::Direct), user, .. } if user.as_str() == "bob");
    world.forge(alice, relayed.to_string());
    assert_alarmed!(world, mark, alice, Alarm::NoKeys(Thing::Direct, user, _) if user.as_str() == "bob");
    assert_eq!(world[alice].messages(mark[alice.0]).count(), 0);
    // Control: somebody with a name of their own is heard.
    world.forge(alice, stranger.to_string());
    assert_eq!(world[alice].trust_of(mark[alice.0], "hello, alice"), Some(Trust::Pinned), "{}", world.screens(&mark));
}
