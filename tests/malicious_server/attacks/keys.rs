//! Keys in the place of others: forged messages, substituted bundles, ghosts in known names, stripped signatures.

use secure_chat::client::modern::{Alarm, BadKey, Thing};
use serde_json::{Value, json};

use super::{
    alarms, as_forger, assert_alarmed, assert_calm, assert_heard, assert_unheard, calm_stage, entry_of, follow, forger,
    tamper, unlisted_place,
};
use crate::scenes::Cast;

/// The signature is sound, the place is right, the key is there: it is only not bob's.
#[test]
fn a_message_in_anothers_name_is_refused() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    let chronicle = follow(&mut world, alice);
    let bob = forger(&world, "bob");
    let mark = world.mark();
    let (n, at) = (chronicle.borrow().next(), chronicle.borrow().at.unwrap());
    world.forge(alice, bob.grant("den", at, world[alice].rsa().public()).to_string());
    world.forge(alice, bob.message("den", n, at, 1, "it is me, bob").to_string());
    assert_alarmed!(world, mark, alice, Alarm::Unlisted(Thing::Message, user) if user.as_str() == "bob");
    assert_unheard(&world, alice, "it is me, bob");
}

/// The same from somebody with a name of its own is shown: the forgery is well made.
#[test]
fn a_message_in_the_own_name_is_shown() {
    let (mut world, Cast { alice, mallory, .. }) = calm_stage();
    world.type_line(mallory, "/join den pw");
    let chronicle = follow(&mut world, alice);
    let own = as_forger(&world, mallory);
    let mark = world.mark();
    let (n, at) = (chronicle.borrow().next(), chronicle.borrow().at.unwrap());
    world.forge(alice, own.grant("den", at, world[alice].rsa().public()).to_string());
    world.forge(alice, own.message("den", n, at, 1, "it is me, mallory").to_string());
    assert!(world[alice].trust_of(mark[alice.0], "it is me, mallory").is_some(), "{}", world.screens(&mark));
    assert_calm(&world, &mark);
}

/// Mallory's own keys, which are known and sound, under what bears bob's name.
#[test]
fn keys_of_somebody_else_prove_nothing() {
    let (mut world, Cast { alice, mallory, .. }) = calm_stage();
    world.type_line(mallory, "/join den pw");
    assert_heard(&mut world, mallory, "you know my keys", &[alice]);
    let at = unlisted_place(&mut world, alice, mallory);
    let own = as_forger(&world, mallory);
    let as_bob = |mut line: Value| {
        line["user"] = "bob".into();
        own.sign(&mut line).expect("it can be signed");
        line.to_string()
    };
    let key = world[alice].rsa().public().clone();
    let alices = entry_of(&world, alice);
    let readers = [(alices.key.bundle().unwrap(), alices.run)];
    let mark = world.mark();
    world.forge(alice, as_bob(own.grant("den", at, &key)));
    world.forge(alice, as_bob(own.message("den", at.n + 1, at, 7, "it is me, bob")));
    world.forge(alice, as_bob(own.direct("alice", 7, "bob speaking", &readers, &[(readers[0].0, &key)])));
    let found = alarms(&world, &mark, alice);
    for thing in [Thing::Grant, Thing::Message, Thing::Direct] {
        let is_it =
            |alarm: &&&Alarm| matches!(alarm, Alarm::OtherAccount(of, user) if *of == thing && user.as_str() == "bob");
        assert!(found.iter().find(is_it).is_some(), "{thing}: {found:?}");
    }
    assert_eq!(world[alice].messages(mark[alice.0]).count(), 0);
}

#[test]
fn a_signature_that_does_not_hold_is_said_to_be_the_servers_or_the_senders_doing() {
    for field in ["signature", "commitment", "counter", "epoch", "encrypted_message"] {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        tamper(&mut world, move |line| {
            if line.is(alice, "message modern") {
                line.value[field] = match &line.value[field] {
                    Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
                    Value::String(text) if field == "encrypted_message" => {
                        format!("{}AA", &text[..text.len() - 2]).into()
                    }
                    Value::String(_) if field == "commitment" => crate::forger::base64(&[7; 32]).into(),
                    _ => crate::forger::base64(&[7; 64]).into(),
                };
            }
        });
        let mark = world.mark();
        world.say(bob, "den", "as I wrote it");
        assert_alarmed!(world, mark, alice, Alarm::BadSignature(Thing::Message, user) if user.as_str() == "bob");
        assert_unheard(&world, alice, "as I wrote it");
        let seen = world[alice].transcript(mark[alice.0]);
        assert!(seen.contains("Either the server or whoever sent it did that"), "{seen}");
    }
}

/// Bob's keys are fetched again by a client that has started anew: what comes in their place is not taken.
#[test]
fn substituted_keys_are_not_used() {
    for what in ["signing_key", "rsa_key", "signature", "rsa_signature", "user", "all", "missing"] {
        let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
        let evil = forger(&world, "bob").bundle_json();
        tamper(&mut world, move |line| {
            if line.is(alice, "part bundles") {
                for bundle in line.value["bundles"].as_array_mut().unwrap() {
                    if bundle["user"] == "bob" {
                        match what {
                            "all" => *bundle = evil.clone(),
                            "user" => bundle["user"] = "bobby".into(),
                            "missing" => {
                                *bundle = json!({ "kind": "legacy", "user": "bob", "rsa_key": evil["rsa_key"] })
                            }
                            field => bundle[field] = evil[field].clone(),
                        }
                    }
                }
            }
        });
        world.crash(alice);
        world.connect(alice);
        world.enter(alice, "den");
        let mark = world.mark();
        world.say(bob, "den", "these are my keys");
        assert_alarmed!(world, mark, alice, Alarm::NoKeys(Thing::Message, user, why)
            if user.as_str() == "bob" && matches!(why, BadKey::NotGiven | BadKey::Bundle(_) | BadKey::OtherWire));
        assert_unheard(&world, alice, "these are my keys");
        world.say(alice, "den", "not for bob");
        assert!(world[carol].trust_of(0, "not for bob").is_some());
        assert_unheard(&world, bob, "not for bob");
        let seen = world[alice].transcript(mark[alice.0]);
        assert!(seen.contains("bob cannot read you"), "{seen}");
    }
}

/// Somebody logs in as bob, with the server's help, and keys of their own. Everybody sees it come.
#[test]
fn a_device_with_another_signing_key_is_loud_and_reads_nothing() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    let mark = world.mark();
    let ghost = world.intruder("bob");
    world.connect(ghost);
    world.enter(ghost, "den");
    assert_heard(&mut world, alice, "not for that one", &[bob, carol]);
    assert_alarmed!(world, mark, alice, Alarm::KeyChanged { user, with: None, .. } if user.as_str() == "bob");
    assert_unheard(&world, ghost, "not for that one");
    world.say(ghost, "den", "I am bob, too");
    for who in [alice, carol] {
        assert_alarmed!(world, mark, who, Alarm::KeyChanged { user, with: Some(Thing::Message), .. } if user.as_str() == "bob");
        assert_unheard(&world, who, "I am bob, too");
    }
    // Bob himself sees that somebody has his name.
    world.say(bob, "den", "who is that?");
    assert_alarmed!(world, mark, bob, Alarm::KeyChanged { user, .. } if user.as_str() == "bob");
    let readers = world.mark();
    world.type_line(alice, "/readers");
    assert_eq!(world[alice].transcript(readers[alice.0]).matches(" bob ").count(), 1);
}

/// Not before the person says so, by the fingerprint; then it counts as seen, not as verified.
#[test]
fn a_new_key_is_taken_at_the_persons_word_alone() {
    let (mut world, Cast { alice, carol, .. }) = calm_stage();
    world.crash(carol);
    let new = world.device("carol", "carol's new key", 1);
    world.connect(new);
    world.enter(new, "den");
    let mark = world.mark();
    world.say(alice, "den", "for whom?");
    assert_unheard(&world, new, "for whom?");
    let shown = alarms(&world, &mark, alice).iter().find_map(|alarm| match alarm {
        Alarm::KeyChanged { shown, .. } => Some(*shown),
        _ => None,
    });
    let other =
        secure_chat::client::key_name::KeyName::from(crate::modern_world::keys::signing("x").verifying_key().bytes());
    world.type_line(alice, &format!("/accept carol {other}"));
    world.say(alice, "den", "still not");
    assert_unheard(&world, new, "still not");
    world.type_line(alice, &format!("/accept carol {}", shown.expect("the new key was shown")));
    world.pass(std::time::Duration::from_secs(11)); // what came before its key is not waited for any longer
    assert_heard(&mut world, alice, "welcome", &[new]);
    assert_heard(&mut world, new, "thank you", &[alice]);
}

#[test]
fn a_message_without_its_signature_is_refused_in_a_name_that_signs() {
    let (mut world, Cast { alice, bob, dave, .. }) = calm_stage();
    // Control: dave has always been unsigned.
    world.say_legacy(dave, "no signature");
    assert!(world[alice].trust_of(0, "no signature").is_some());
    let wrap = secure_chat::crypto::envelope::seal("bob: I don't sign any more", 1_700_000_000);
    let (token, key) = (wrap.token.clone(), wrap.wrap_for(world[alice].rsa().public()).unwrap());
    tamper(&mut world, move |line| {
        if line.is(alice, "message modern") {
            line.value = json!({
                "type": "message", "room": "den", "n": line.value["n"], "time": line.value["time"], "user": "bob",
                "legacy": true, "encrypted_message": token, "encrypted_key": key,
            });
        }
    });
    let mark = world.mark();
    world.say(bob, "den", "I sign");
    assert_alarmed!(world, mark, alice, Alarm::Unsigned(user) if user.as_str() == "bob");
    assert_eq!(world[alice].messages(mark[alice.0]).count(), 0);
}

/// Somebody logs in as bob on the legacy wire, where nobody needs a signing key.
#[test]
fn a_legacy_member_in_a_name_that_signs_neither_reads_nor_speaks() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    let mark = world.mark();
    world.legacy.push(crate::modern_world::LegacyPeer::new("bob", crate::modern_world::keys::adversary_rsa()));
    let ghost = crate::modern_world::Old(world.legacy.len() - 1);
    world.connect_legacy(ghost);
    let messages = [world.legacy[ghost.0].login(), world.legacy[ghost.0].announce(), world.legacy[ghost.0].join("den")];
    messages.into_iter().for_each(|message| world.legacy_says(ghost, message));
    assert_heard(&mut world, alice, "who came?", &[bob, carol]);
    assert!(world.legacy[ghost.0].read.is_empty());
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(
        seen.contains("bob cannot read you: bob is on the old wire with a key that is not one of theirs"),
        "{seen}"
    );
    let text = world.legacy[ghost.0].say("bob speaking", 1_700_000_000);
    world.legacy_says(ghost, text);
    assert_alarmed!(world, mark, alice, Alarm::Unsigned(user) if user.as_str() == "bob");
    assert_unheard(&world, alice, "bob speaking");
}

#[test]
fn a_legacy_members_new_key_gets_nothing_until_it_is_accepted() {
    let (mut world, Cast { alice, bob, carol, dave, .. }) = calm_stage();
    assert_heard(&mut world, alice, "dave reads this", &[bob, carol]);
    assert_eq!(world.legacy[dave.0].read.last().map(String::as_str), Some("alice: dave reads this"));
    world.cut_legacy(dave);
    let mark = world.mark();
    let ghost = world.arrive_legacy("dave", "den", crate::modern_world::keys::SHARED - 2);
    assert_heard(&mut world, alice, "and not this", &[bob, carol]);
    assert!(world.legacy[ghost.0].read.is_empty());
    assert_alarmed!(world, mark, alice, Alarm::KeyChanged { user, .. } if user.as_str() == "dave");
}

/// An entry bears bob's bundle under another name, or another's bundle under bob's.
#[test]
fn a_bundle_counts_for_its_own_account_alone() {
    let (mut world, Cast { alice, bob, carol, mallory, .. }) = calm_stage();
    let bobs = entry_of(&world, bob);
    tamper(&mut world, move |line| {
        if line.is(alice, "members listed") {
            for entry in line.value["joined"].as_array_mut().unwrap() {
                if entry["user"] == "mallory" {
                    entry["key"] = bobs.key.bundle().unwrap().to_base64().into();
                }
            }
        }
    });
    let mark = world.mark();
    world.type_line(mallory, "/join den pw");
    assert_alarmed!(world, mark, alice, Alarm::BadRoster);
    world.say(alice, "den", "for nobody");
    for who in [bob, carol, mallory] {
        assert_unheard(&world, who, "for nobody");
    }
}

/// Mallory is in the room, and signs for herself what she says in bob's name.
#[test]
fn a_message_whose_text_bears_another_name_is_not_shown() {
    let (mut world, Cast { alice, mallory, .. }) = calm_stage();
    world.type_line(mallory, "/join den pw");
    let chronicle = follow(&mut world, alice);
    let own = as_forger(&world, mallory);
    let mark = world.mark();
    let at = chronicle.borrow().at.unwrap();
    world.forge(alice, own.grant("den", at, world[alice].rsa().public()).to_string());
    for (i, plain) in ["bob: hello", "mallory hello", "mallory:hello", " mallory: hello", "hello", "", "Mallory: hello"]
        .iter()
        .enumerate()
    {
        let at = chronicle.borrow().at.unwrap();
        let counter = i as u64 + 1;
        let mut line = own.message("den", chronicle.borrow().next(), at, counter, "");
        let key = own.chain.advanced(counter - 1).unwrap().message_key();
        line["encrypted_message"] = key.seal(plain.as_bytes(), 1_700_001_000).into();
        own.sign(&mut line);
        chronicle.borrow_mut().step(&line);
        world.forge(alice, line.to_string());
    }
    let found = alarms(&world, &mark, alice);
    assert_eq!(found.iter().filter(|alarm| matches!(alarm, Alarm::OtherName(_))).count(), 7, "{found:?}");
    assert_eq!(world[alice].messages(mark[alice.0]).count(), 0);
}
