//! Moderators who are framed: acts that nobody signed, or somebody else, elsewhere, or before.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use secure_chat::client::modern::{Alarm, Thing, Trust};
use secure_chat::transcript::Verb;
use serde_json::{Value, json};

use super::{
    alarms, as_forger, assert_alarmed, assert_calm, assert_heard, assert_unheard, calm_stage, follow, forger, tamper,
};
use crate::forger::Forger;
use crate::modern_world::{Seen, Who, World};
use crate::scenes::Cast;

/// Acts of others that were shown since a mark, with who vouches for them.
fn acts(world: &World, mark: &[usize], who: Who) -> Vec<(String, Trust)> {
    let act = |seen: &Seen| match seen {
        Seen::Act(act) => Some((act.to_string(), act.trust)),
        _ => None,
    };
    world[who].screen[mark[who.0]..].iter().filter_map(act).collect()
}

#[test]
fn an_act_is_shown_with_who_did_it() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    let mark = world.mark();
    world.type_line(bob, "/kick carol too loud");
    assert_eq!(acts(&world, &mark, alice), [("bob (verified) kicked carol: too loud".to_owned(), Trust::Verified)]);
    assert_eq!(acts(&world, &mark, carol), [("bob (pinned) kicked carol: too loud".to_owned(), Trust::Pinned)]);
    assert!(world[carol].transcript(mark[carol.0]).contains("You are not in den any more: you were kicked"));
    assert_calm(&world, &mark);
}

#[test]
fn an_act_that_its_author_did_not_sign_so_is_refused() {
    for field in ["verb", "target", "argument", "counter", "signature", "user", "bundle", "run", "at"] {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        tamper(&mut world, move |line| {
            if line.is(alice, "act kick") {
                match field {
                    "verb" => line.value["verb"] = "ban".into(),
                    "target" => line.value["target"] = "bob".into(),
                    "argument" => line.value["argument"] = "because I hate you".into(),
                    "user" => line.value["user"] = "alice".into(),
                    "counter" => line.value["counter"] = (line.value["counter"].as_u64().unwrap() + 1).into(),
                    "at" => line.value["at"]["n"] = (line.value["at"]["n"].as_u64().unwrap() - 1).into(),
                    "signature" => line.value[field] = crate::forger::base64(&[7; 64]).into(),
                    "run" => line.value[field] = crate::forger::base64(&[7; 16]).into(),
                    field => line.value[field] = crate::forger::base64(&[7; 32]).into(),
                }
            }
        });
        let mark = world.mark();
        world.type_line(bob, "/kick carol too loud");
        assert_eq!(acts(&world, &mark, alice), [], "{field}");
        assert!(!alarms(&world, &mark, alice).is_empty(), "{field}: {}", world.screens(&mark));
    }
}

/// The server does something by itself: it can, but not in anybody's name.
#[test]
fn an_act_without_a_signature_is_the_servers() {
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    tamper(&mut world, move |line| {
        if line.is(alice, "act kick") || line.is(alice, "act topic") {
            let fields = line.value.as_object_mut().unwrap();
            for field in ["signature", "bundle", "run", "counter", "at"] {
                fields.remove(field);
            }
        }
    });
    let mark = world.mark();
    world.type_line(bob, "/topic tea");
    world.type_line(bob, "/kick carol");
    assert_eq!(acts(&world, &mark, alice), []);
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(seen.contains("server: The server, in the name of bob, who did not sign it: kicked carol"), "{seen}");
    assert!(seen.contains("server: The server, in the name of bob, who did not sign it: set the topic: tea"), "{seen}");
    // And what the others were shown is another room.
    world.say(bob, "den", "they are gone");
    assert_alarmed!(world, mark, alice, Alarm::Split(_));
}

#[test]
fn an_unsigned_leave_is_a_lost_connection() {
    let (mut world, Cast { alice, carol, .. }) = calm_stage();
    tamper(&mut world, move |line| {
        if line.is(alice, "act leave") {
            let fields = line.value.as_object_mut().unwrap();
            for field in ["signature", "bundle", "run", "counter", "at"] {
                fields.remove(field);
            }
        }
    });
    let mark = world.mark();
    world.type_line(carol, "/leave");
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(seen.contains("carol is gone: the connection is lost"), "{seen}");
    assert!(!seen.contains("carol (pinned) left"));
    // Control: somebody whose connection is lost goes in the same words.
    let (mut world, Cast { alice, carol, .. }) = calm_stage();
    let mark = world.mark();
    world.crash(carol);
    world.pass(Duration::from_secs(61));
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(seen.contains("carol is gone: the connection is lost"), "{seen}");
}

/// Takes bob's acts as alice gets them.
fn acts_of_bob(world: &mut World, alice: Who, command: &str) -> Value {
    let taken = Rc::new(RefCell::new(None));
    let shared = Rc::clone(&taken);
    tamper(world, move |line| {
        if line.who == alice && line.kind.starts_with("act ") {
            *shared.borrow_mut() = Some(line.value.clone());
        }
    });
    world.type_line(Who(1), command);
    world.make_honest();
    taken.take().expect("bob did something")
}

#[test]
fn an_act_that_is_played_again_is_not_shown_again() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    let kick = acts_of_bob(&mut world, alice, "/kick carol once");
    world.type_line(carol, "/join den pw");
    // In the same stay, as the next event.
    let chronicle = follow(&mut world, alice);
    let mark = world.mark();
    let mut again = kick.clone();
    again["n"] = chronicle.borrow().next().into();
    world.forge(alice, again.to_string());
    assert_eq!(acts(&world, &mark, alice), []);
    // To a client that has started anew.
    world.make_honest();
    world.crash(alice);
    world.connect(alice);
    world.enter(alice, "den");
    assert_heard(&mut world, bob, "hello again", &[alice, carol]);
    let chronicle = follow(&mut world, alice);
    let mark = world.mark();
    again["n"] = chronicle.borrow().next().into();
    world.forge(alice, again.to_string());
    assert_eq!(acts(&world, &mark, alice), [], "{}", world.screens(&mark));
}

#[test]
fn an_act_of_another_room_is_not_one_of_this() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    for who in [alice, bob, carol] {
        world.type_line(who, "/join attic pw");
    }
    let kick = acts_of_bob(&mut world, alice, "/kick carol out of the attic");
    for who in [alice, bob, carol] {
        world.type_line(who, "/join den pw");
    }
    let chronicle = follow(&mut world, alice);
    let at = chronicle.borrow().at.unwrap();
    for honest_place in [true, false] {
        let mut elsewhere = kick.clone();
        elsewhere["room"] = "den".into();
        elsewhere["n"] = chronicle.borrow().next().into();
        if !honest_place {
            elsewhere["at"] = crate::forger::position_json(at);
        }
        chronicle.borrow_mut().step(&elsewhere);
        let mark = world.mark();
        world.forge(alice, elsewhere.to_string());
        assert_eq!(acts(&world, &mark, alice), []);
    }
    // As it is, it is of a room where she is not.
    let mark = world.mark();
    world.forge(alice, kick.to_string());
    assert_eq!(acts(&world, &mark, alice), []);
    assert_alarmed!(world, mark, alice, Alarm::ElsewhereEvent(room) if room.as_str() == "attic");
}

#[test]
fn a_forged_act_of_a_ghost_device_is_refused() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    let ghost = world.intruder("bob");
    world.connect(ghost);
    world.enter(ghost, "den");
    let chronicle = follow(&mut world, alice);
    let own = Forger { run: world[ghost].run(), ..forger(&world, "bob") };
    let at = chronicle.borrow().at.unwrap();
    let mark = world.mark();
    world.forge(alice, own.act("den", at.n + 1, at, 1, (Verb::Kick, "carol", "")).to_string());
    assert_eq!(acts(&world, &mark, alice), []);
    assert_alarmed!(world, mark, alice, Alarm::KeyChanged { with: Some(Thing::Act), user, .. } if user.as_str() == "bob");
}

/// Whether somebody may do something is the server's word; that they did it is their own.
#[test]
fn who_acts_without_the_right_to_is_named() {
    let (mut world, Cast { alice, bob, mallory, .. }) = calm_stage();
    world.type_line(mallory, "/join den pw");
    let mark = world.mark();
    world.type_line(mallory, "/kick bob");
    assert!(world[mallory].transcript(mark[mallory.0]).contains("Not done"));
    // A server that lets her do it shows everybody that it was she.
    let own = as_forger(&world, mallory);
    let chronicle = follow(&mut world, alice);
    let at = chronicle.borrow().at.unwrap();
    let mark = world.mark();
    world.forge(alice, own.act("den", at.n + 1, at, 1, (Verb::Kick, "bob", "I say so")).to_string());
    assert_eq!(acts(&world, &mark, alice), [("mallory (pinned) kicked bob: I say so".to_owned(), Trust::Pinned)]);
    let _ = bob;
}

/// A flag that would let legacy members read again needs its author's signature.
#[test]
fn nobody_but_its_owner_opens_a_room_to_the_old_wire() {
    for signed in [true, false] {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        world.type_line(bob, "/room modern-only on");
        tamper(&mut world, move |line| {
            if line.is(alice, "act flags") && !signed {
                let fields = line.value.as_object_mut().unwrap();
                for field in ["signature", "bundle", "run", "counter", "at"] {
                    fields.remove(field);
                }
            }
        });
        world.type_line(bob, "/room modern-only off");
        let ghost = world.arrive_legacy("dave", "den", 3);
        let mark = world.mark();
        let line = json!({ "text": "does dave read this?" });
        world.say(alice, "den", line["text"].as_str().unwrap());
        assert_eq!(world.legacy[ghost.0].read.len(), usize::from(signed), "{}", world.screens(&mark));
    }
}

/// Says that everybody was put out, or the own client: nobody is left in silence.
#[test]
fn whoever_is_put_out_is_told_and_stops_to_speak_there() {
    for why in ["kicked", "banned", "deleted", "modern_only"] {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        let mark = world.mark();
        world.forge(alice, json!({ "type": "removed", "room": "den", "why": why }).to_string());
        assert!(world[alice].transcript(mark[alice.0]).contains("You are not in den any more"));
        world.say(alice, "den", "am I?");
        assert_unheard(&world, bob, "am I?");
        assert!(world[alice].transcript(mark[alice.0]).contains("Not sent"));
    }
}
