//! Who reads: ghosts in lists and hashes, hidden newcomers, grants that are swapped, replayed or broken, needs that are feigned.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use secure_chat::client::modern::{Alarm, Thing, Unreadable};
use secure_chat::crypto::ChainKey;
use serde_json::{Value, json};

use super::{
    alarms, as_forger, assert_alarmed, assert_calm, assert_heard, assert_unheard, calm_stage, follow, forger, tamper,
};
use crate::forger::{Forger, entry_json};
use crate::modern_world::{Way, World};
use crate::scenes::Cast;

#[test]
fn who_comes_is_said_before_it_can_read() {
    let (mut world, Cast { alice, mallory, .. }) = calm_stage();
    let mark = world.mark();
    world.type_line(mallory, "/join den pw");
    assert!(world[alice].transcript(mark[alice.0]).contains("mallory came"));
    let chronicle = Rc::new(RefCell::new(None));
    let shared = Rc::clone(&chronicle);
    let told = world[alice].screen.len();
    tamper(&mut world, move |line| {
        if line.is(alice, "request grant") {
            shared.borrow_mut().get_or_insert(told);
        }
    });
    assert_heard(&mut world, alice, "hello, mallory", &[mallory]);
    assert!(chronicle.borrow().is_some(), "she was given a key");
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(seen.contains("From now on you can be read by: mallory (pinned)"), "{seen}");
    let mark = world.mark();
    world.type_line(alice, "/readers");
    world.type_line(alice, "/who");
    assert_eq!(world[alice].transcript(mark[alice.0]).matches(" mallory ").count(), 2);
}

#[test]
fn who_is_hidden_from_somebody_reads_nothing_of_theirs() {
    let (mut world, Cast { alice, bob, mallory, .. }) = calm_stage();
    let mut shift = 0;
    tamper(&mut world, move |line| {
        if line.is(alice, "members listed") {
            shift -= 1;
            return line.drop();
        }
        if line.who == alice && line.way == Way::Down && line.value["n"].is_u64() {
            line.value["n"] = line.value["n"].as_u64().unwrap().saturating_add_signed(shift).into();
        }
    });
    world.type_line(mallory, "/join den pw");
    let mark = world.mark();
    world.say(alice, "den", "nobody new is here");
    world.pass(Duration::from_secs(15));
    assert_unheard(&world, mallory, "nobody new is here");
    world.say(bob, "den", "hello, mallory");
    assert_alarmed!(world, mark, alice, Alarm::Split(user) if user.as_str() == "bob");
}

/// A ghost stands in the list of members and not in the log's hash, or the other way round.
#[test]
fn a_list_that_is_not_the_logs_stops_what_would_be_sent() {
    for what in ["listed alone", "hashed alone", "left out", "twice"] {
        let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
        let ghost = entry_json(&forger(&world, "spooky").entry());
        tamper(&mut world, move |line| {
            if line.is(alice, "part who") {
                let entries = line.value["entries"].as_array_mut().unwrap();
                match what {
                    "listed alone" => entries.push(ghost.clone()),
                    "twice" => entries.push(entries[0].clone()),
                    "left out" => drop(entries.pop()),
                    _ => {}
                }
            }
            if line.is(alice, "ok join") && what == "hashed alone" {
                line.value["roster"] = crate::forger::base64(&[9; 32]).into();
            }
        });
        let mark = world.mark();
        world.type_line(alice, "/leave");
        world.type_line(alice, "/join den pw");
        assert_alarmed!(world, mark, alice, Alarm::BadRoster);
        world.say(alice, "den", "for whom?");
        world.pass(Duration::from_secs(5));
        for who in [bob, carol] {
            assert_unheard(&world, who, "for whom?");
        }
        assert!(world[alice].transcript(mark[alice.0]).contains("Not sent"), "{}", world.screens(&mark));
    }
}

/// A change of the members that adds a ghost to the hash and names nobody, or names somebody who is not in the hash.
#[test]
fn a_change_that_is_not_the_logs_stops_what_would_be_sent() {
    for what in ["a ghost in the hash", "a ghost by name", "nobody is named"] {
        let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
        let ghost = entry_json(&forger(&world, "spooky").entry());
        tamper(&mut world, move |line| {
            if line.is(alice, "members listed") {
                match what {
                    "a ghost in the hash" => line.value["roster"] = crate::forger::base64(&[9; 32]).into(),
                    "a ghost by name" => line.value["joined"].as_array_mut().unwrap().push(ghost.clone()),
                    _ => line.value["joined"] = json!([]),
                }
            }
        });
        let mark = world.mark();
        world.type_line(carol, "/leave");
        world.type_line(carol, "/join den pw");
        world.say(alice, "den", "for whom?");
        world.pass(Duration::from_secs(5));
        assert_alarmed!(world, mark, alice, Alarm::BadRoster);
        for who in [bob, carol] {
            assert_unheard(&world, who, "for whom?");
        }
    }
}

/// In a large room changes come as a hash: before anything is said, the list is fetched, and who is new is said.
#[test]
fn a_ghost_in_a_crowd_is_said_before_it_can_read() {
    let (mut world, Cast { alice, mallory, .. }) = calm_stage();
    tamper(&mut world, move |line| {
        if line.way == Way::Down && line.kind == "members listed" {
            crate::liar::Liar::hash_members(&mut line.value);
        }
    });
    let mark = world.mark();
    world.type_line(mallory, "/join den pw");
    assert!(!world[alice].transcript(mark[alice.0]).contains("mallory"));
    assert_heard(&mut world, alice, "who is here?", &[mallory]);
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(seen.contains("From now on you can be read by: mallory (pinned)"), "{seen}");
    assert_calm(&world, &mark);
}

/// Bob puts mallory out; the server says by the hash that somebody went, and takes nobody off the list.
#[test]
fn who_is_put_out_of_a_crowd_and_listed_still_is_said_before_it_can_read() {
    let (mut world, Cast { alice, bob, carol, mallory, .. }) = calm_stage();
    world.type_line(mallory, "/join den pw");
    for who in [alice, bob, carol] {
        let text = format!("mallory may read {}", world[who].account);
        assert_heard(&mut world, who, &text, &[mallory]);
    }
    let listed = entry_json(&super::entry_of(&world, mallory));
    let roster = Rc::new(RefCell::new(Value::Null));
    let shared = Rc::clone(&roster);
    tamper(&mut world, move |line| {
        let mut roster = shared.borrow_mut();
        if line.way == Way::Down && line.kind == "members listed" {
            crate::liar::Liar::hash_members(&mut line.value);
            if line.value["removed_count"] == 1 && line.who != mallory {
                line.value["roster"] = roster.clone();
            } else {
                *roster = line.value["roster"].clone();
            }
        }
        if line.kind == "part who" {
            line.value["entries"].as_array_mut().unwrap().push(listed.clone());
        }
    });
    // Somebody comes and stays: from then on the roster is known to whoever runs the server.
    world.arrive_legacy("god", "den", 1);
    world.type_line(bob, "/kick mallory");
    for who in [alice, bob, carol] {
        let mark = world.mark();
        world.say(who, "den", &format!("{} is among friends", world[who].account));
        let seen = world[who].transcript(mark[who.0]);
        assert!(seen.contains("From now on you can be read by: mallory (pinned)"), "{seen}");
    }
}

#[test]
fn the_legacy_god_is_seen_by_every_modern_member() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    let mark = world.mark();
    world.arrive_legacy("god", "den", 1);
    for who in [alice, bob, carol] {
        assert!(world[who].transcript(mark[who.0]).contains("god came, on the old wire, unsigned"));
    }
    assert_heard(&mut world, alice, "good day", &[bob]);
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(seen.contains("From now on you can be read by: god (on the old wire)"), "{seen}");
    let mark = world.mark();
    world.type_line(alice, "/readers");
    assert!(world[alice].transcript(mark[alice.0]).contains("god (on the old wire)"));
}

/// Has bob begin a new epoch, whose grant to alice the meddler changes.
fn with_grants(change: impl Fn(&mut Value) + 'static, check: impl Fn(&World, &[usize], &Cast)) {
    let (mut world, cast) = calm_stage();
    let Cast { alice, bob, carol, .. } = cast;
    tamper(&mut world, move |line| {
        if line.is(alice, "grant") && line.value["user"] == "bob" {
            change(&mut line.value);
        }
    });
    world.type_line(carol, "/leave");
    let mark = world.mark();
    world.say(bob, "den", "under a new key");
    world.pass(Duration::from_secs(12));
    check(&world, &mark, &cast);
}

#[test]
fn a_grant_is_taken_as_its_author_signed_it() {
    with_grants(
        |_| {},
        |world, mark, cast| {
            assert!(
                world[cast.alice].trust_of(mark[cast.alice.0], "under a new key").is_some(),
                "{}",
                world.screens(mark)
            );
        },
    );
    for field in ["room", "epoch", "counter", "check", "at", "signature", "user", "bundle", "run"] {
        with_grants(
            move |grant| match field {
                "epoch" | "counter" => grant[field] = (grant[field].as_u64().unwrap() + 1).into(),
                "room" => grant[field] = "attic".into(),
                "user" => grant[field] = "carol".into(),
                "at" => grant["at"]["n"] = (grant["at"]["n"].as_u64().unwrap() - 1).into(),
                "signature" => grant[field] = crate::forger::base64(&[7; 64]).into(),
                "run" => grant[field] = crate::forger::base64(&[7; 16]).into(),
                field => grant[field] = crate::forger::base64(&[7; 32]).into(),
            },
            move |world, mark, cast| {
                assert_unheard(world, cast.alice, "under a new key");
                let found = alarms(world, mark, cast.alice);
                assert!(!found.is_empty(), "{field}: {}", world.screens(mark));
            },
        );
    }
}

/// Wraps are not signed: one for somebody else, or of another key, is found out when it is opened.
#[test]
fn a_wrap_that_is_not_the_granted_key_is_found_out() {
    let other_key = |key: [u8; 32], reader: usize| {
        ChainKey::from_raw(&key).wrap_for(crate::modern_world::keys::rsa(reader).public()).unwrap()
    };
    for wrap in [other_key([1; 32], 0), other_key([1; 32], 1), "AAAA".to_owned()] {
        with_grants(
            move |grant| grant["wrap"] = wrap.clone().into(),
            |world, mark, cast| {
                assert_unheard(world, cast.alice, "under a new key");
                let found = alarms(world, mark, cast.alice);
                assert!(
                    found.iter().any(|alarm| matches!(alarm, Alarm::Unreadable(user, Unreadable::BrokenGrant) if user.as_str() == "bob")),
                    "{found:?}"
                );
            },
        );
    }
}

/// Whoever could replace a grant could make two readers open one token with two keys.
#[test]
fn an_old_grant_that_is_played_again_changes_nothing() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    let grants = Rc::new(RefCell::new(Vec::new()));
    let shared = Rc::clone(&grants);
    tamper(&mut world, move |line| {
        if line.is(alice, "grant") {
            shared.borrow_mut().push(line.value.clone());
        }
    });
    for i in 0..4 {
        world.type_line(carol, "/leave");
        assert_heard(&mut world, bob, &format!("without carol {i}"), &[alice]);
        world.type_line(carol, "/join den pw");
        assert_heard(&mut world, bob, &format!("epoch {i}"), &[alice, carol]);
    }
    let mark = world.mark();
    let old: Vec<_> = grants.borrow().clone();
    assert!(old.len() >= 4);
    for grant in old.iter().chain(old.iter().rev()) {
        world.forge(alice, grant.to_string());
    }
    assert_heard(&mut world, bob, "still the same key", &[alice, carol]);
    assert_calm(&world, &mark);
}

/// Mallory gives alice one key and bob another under one number: at most one of them can open what she commits to.
#[test]
fn one_token_is_never_two_texts() {
    let (mut world, Cast { alice, bob, mallory, .. }) = calm_stage();
    world.type_line(mallory, "/join den pw");
    let own = as_forger(&world, mallory);
    let other = Forger { chain: ChainKey::from_raw(&[0xab; 32]), ..as_forger(&world, mallory) };
    let chronicle = follow(&mut world, alice);
    let mark = world.mark();
    let at = chronicle.borrow().at.unwrap();
    world.forge(alice, own.grant("den", at, world[alice].rsa().public()).to_string());
    world.forge(bob, other.grant("den", at, world[bob].rsa().public()).to_string());
    // Fernet's authentication has one half of the key alone: a token that both halves accept can be made. Whatever opens,
    // the commitment is to one key.
    let line = own.message("den", at.n + 1, at, 1, "what is it?");
    world.forge(alice, line.to_string());
    world.forge(bob, line.to_string());
    assert!(world[alice].trust_of(mark[alice.0], "what is it?").is_some());
    assert_alarmed!(world, mark, bob, Alarm::Unreadable(user, Unreadable::OtherKey) if user.as_str() == "mallory");
    assert_eq!(world[bob].messages(mark[bob.0]).count(), 0);
}

/// Whoever asks for a key gets one with the next message, once an epoch; whoever is no reader gets none.
#[test]
fn feigned_needs_cost_little_and_give_nothing_away() {
    let (mut world, Cast { alice, bob, carol, mallory, .. }) = calm_stage();
    let grants = Rc::new(RefCell::new(0));
    let shared = Rc::clone(&grants);
    tamper(&mut world, move |line| {
        if line.is(alice, "request grant") {
            *shared.borrow_mut() += 1;
        }
    });
    let carols = super::entry_of(&world, carol);
    let spooky = forger(&world, "spooky").entry();
    let mallorys = super::entry_of(&world, mallory);
    let need = |entry: &secure_chat::transcript::RosterEntry, epoch: u64| {
        json!({
            "type": "need_key", "room": "den", "user": entry.account.as_str(), "epoch": epoch,
            "bundle": entry.key.bundle().unwrap().to_base64(), "run": entry.run.to_base64(),
        })
        .to_string()
    };
    let mark = world.mark();
    for i in 0..50 {
        for entry in [&carols, &spooky, &mallorys] {
            for epoch in [1, 2, 3, 1 << 52] {
                world.forge(alice, need(entry, epoch));
            }
        }
        assert_heard(&mut world, alice, &format!("message {i}"), &[bob, carol]);
        assert_unheard(&world, mallory, &format!("message {i}"));
    }
    assert!(*grants.borrow() <= 2, "{} grants", grants.borrow());
    assert_calm(&world, &mark);
}

/// Many legacy members announce one key, as somebody may on purpose: the keys of all others come all the same.
#[test]
fn a_key_that_many_announce_hides_nobody_elses() {
    let names: Vec<String> = (0..32).map(|i| format!("person{i}")).collect();
    let elders: Vec<String> = (0..8).map(|i| format!("elder{i}")).collect();
    let accounts: Vec<&str> = names.iter().chain(&elders).map(String::as_str).collect();
    let mut world = World::new(&accounts, &[("den", "person0")]);
    let people: Vec<_> = names.iter().map(|name| world.arrive(name, "den")).collect();
    for name in &elders {
        world.arrive_legacy(name, "den", 3);
    }
    let mark = world.mark();
    assert_heard(&mut world, people[0], "can you all read this?", &people[1..]);
    assert_calm(&world, &mark);
    assert!(world.legacy.iter().all(|elder| elder.read.len() == 1));
}

/// A grant that nobody is listed for, in the name of somebody who is not in the room.
#[test]
fn a_grant_of_somebody_who_is_not_listed_is_said() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    let chronicle = follow(&mut world, alice);
    let mark = world.mark();
    let at = chronicle.borrow().at.unwrap();
    let grant = forger(&world, "spooky").grant("den", at, world[alice].rsa().public());
    world.forge(alice, grant.to_string());
    assert_alarmed!(world, mark, alice, Alarm::Unlisted(Thing::Grant, user) if user.as_str() == "spooky");
}

/// A server that lists nobody lets nobody read; one that does not list the client itself hides it from the others.
#[test]
fn whoever_is_not_listed_is_told() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    let own = entry_json(&super::entry_of(&world, alice));
    let (realm, id) = (world.server.realm(), crate::modern_world::room_id("den"));
    // The server leaves alice out, consistently: another hash in the answer to her join, too.
    let entries = Rc::new(RefCell::new(Vec::<Value>::new()));
    let shared = Rc::clone(&entries);
    tamper(&mut world, move |line| {
        if line.is(alice, "part who") {
            shared.borrow_mut().extend(line.value["entries"].as_array().unwrap().iter().cloned());
        }
    });
    world.type_line(alice, "/join den pw");
    let others: Vec<Value> = entries.borrow().iter().filter(|entry| entry["run"] != own["run"]).cloned().collect();
    let leaves: Vec<_> = others.iter().map(|entry| crate::forger::entry_of(entry).unwrap().leaf()).collect();
    let room = secure_chat::names::RoomName::new("den");
    let hash = secure_chat::transcript::roster_hash(&realm, &id, &room, leaves);
    tamper(&mut world, move |line| {
        if line.is(alice, "ok join") {
            line.value["roster"] = hash.to_base64().into();
        }
        if line.is(alice, "part who") {
            line.value["entries"] = others.clone().into();
        }
    });
    let mark = world.mark();
    world.type_line(alice, "/join den pw");
    assert_alarmed!(world, mark, alice, Alarm::NotListed);
}

/// The answer to a join does not count the join: the others do not see the newcomer.
#[test]
fn a_join_that_the_others_do_not_see_is_none() {
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    tamper(&mut world, move |line| {
        if line.is(alice, "ok join") {
            line.value["joined"] = json!([]);
        }
    });
    let mark = world.mark();
    world.type_line(alice, "/join den pw");
    assert_alarmed!(world, mark, alice, Alarm::LogBroken(secure_chat::client::modern::Broken::NotJoined));
    world.say(alice, "den", "I am not here");
    assert_unheard(&world, bob, "I am not here");
}
