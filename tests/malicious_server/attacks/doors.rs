//! Who the server is, before anything is said to it; and into which account and room it lets somebody.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use secure_chat::client::known_keys::{Server, Vouched};
use secure_chat::client::modern::Alarm;
use secure_chat::client::trust::{Case, Choice, Hello, Met, judge, judge_hello, judge_wire};
use secure_chat::client::wire::Dialect;
use secure_chat::crypto::Fingerprint;
use secure_chat::transcript::{self, Realm, Signature};
use serde_json::json;

use super::{alarms, assert_alarmed, assert_calm, assert_heard, assert_unheard, calm_stage, tamper};
use crate::modern_world::{Seen, Way, exporter, keys};
use crate::scenes::Cast;

/// Another realm, the right one without its key, another connection's signature: nothing is said.
#[test]
fn nothing_is_said_to_a_server_that_does_not_prove_its_realm() {
    for what in ["another realm", "no key", "relayed", "all zero", "nothing wrong"] {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        let said = Rc::new(RefCell::new(0));
        let shared = Rc::clone(&said);
        let evil = keys::signing("evil");
        let realm_key = keys::signing("realm");
        tamper(&mut world, move |line| {
            if line.who == alice && line.way == Way::Up {
                *shared.borrow_mut() += 1;
            }
            if line.is(alice, "hello") {
                let bytes = transcript::hello(&exporter(line.session));
                let elsewhere = transcript::hello(&[0x11; 32]);
                match what {
                    "another realm" => {
                        line.value["realm"] = evil.verifying_key().realm().to_base64().into();
                        line.value["signature"] = evil.sign(&bytes).to_base64().into();
                    }
                    "no key" => line.value["signature"] = evil.sign(&bytes).to_base64().into(),
                    "relayed" => line.value["signature"] = realm_key.sign(&elsewhere).to_base64().into(),
                    "all zero" => {
                        line.value["realm"] = Realm([0; 32]).to_base64().into();
                        line.value["signature"] = Signature([0; 64]).to_base64().into();
                    }
                    _ => {}
                }
            }
        });
        let mark = world.mark();
        world.cut(alice);
        world.pass(Duration::from_secs(5));
        if what == "nothing wrong" {
            assert!(*said.borrow() > 0);
            assert_heard(&mut world, bob, "welcome back", &[alice]);
            assert_calm(&world, &mark);
            continue;
        }
        assert_eq!(*said.borrow(), 0, "{what}");
        let last = world[alice].screen.last().unwrap();
        assert!(matches!(last, Seen::End(why) if why.contains("Nothing was sent to it")), "{what}: {last}");
        world.pass(Duration::from_secs(600));
        assert_eq!(*said.borrow(), 0);
    }
}

#[test]
fn a_server_that_does_not_begin_with_its_hello_hears_nothing() {
    for first in [
        json!({ "type": "bye", "reason": "silent", "text": "x" }),
        json!({ "type": "ok", "id": 1 }),
        json!({ "type": "news" }),
    ] {
        let (mut world, Cast { alice, .. }) = calm_stage();
        let said = Rc::new(RefCell::new(0));
        let shared = Rc::clone(&said);
        let own = first.clone();
        tamper(&mut world, move |line| {
            if line.who == alice && line.way == Way::Up {
                *shared.borrow_mut() += 1;
            }
            if line.is(alice, "hello") {
                line.before.push(own.clone());
            }
        });
        world.cut(alice);
        world.pass(Duration::from_secs(100));
        assert_eq!(*said.borrow(), 0, "{first}");
    }
    // Nor one that says nothing at all.
    let (mut world, Cast { alice, .. }) = calm_stage();
    tamper(&mut world, move |line| {
        if line.is(alice, "hello") {
            line.drop();
        }
    });
    let mark = world.mark();
    world.cut(alice);
    world.pass(Duration::from_secs(60));
    assert!(world[alice].transcript(mark[alice.0]).contains("The connection to the server is lost"));
    world.make_honest();
    world.pass(Duration::from_secs(100));
    assert_heard(&mut world, alice, "there you are", &[]);
}

/// A server that has spoken the modern wire, and offers less, or another realm.
#[test]
fn a_downgrade_is_refused_before_anything_is_sent() {
    let key = keys::rsa(0).public().fingerprint();
    let realm = keys::signing("realm").verifying_key().realm();
    let known = Server { by: Vouched::Pinned, key, realm: Some(realm) };
    let authority = Err("nobody vouches".to_owned());
    let certificate = |known: Option<Server>, shown: Fingerprint| {
        judge(&Case { address: "chat:1", known, accepted: None, shown, authority: &authority })
    };
    let choice = |chosen, allow_legacy| Choice { address: "chat:1", chosen, accepted: None, allow_legacy };
    // Control: as it was.
    let met = judge_wire(&choice(Dialect::Modern, false), certificate(Some(known), key)).unwrap();
    let hello = |realm_of: Realm, by: &str, met: &Met, accepted| {
        let signature = keys::signing(by).sign(&transcript::hello(&[5; 32]));
        judge_hello(&Hello {
            address: "chat:1",
            met,
            accepted,
            exporter: &[5; 32],
            realm: realm_of,
            signature: &signature,
        })
    };
    assert!(hello(realm, "realm", &met, None).is_ok());
    // The old wire, with the same certificate, and with another.
    for shown in [key, keys::rsa(1).public().fingerprint()] {
        assert!(judge_wire(&choice(Dialect::Legacy, false), certificate(Some(known), shown)).is_err());
    }
    // Another realm, or the right one without its key, whatever the certificate is.
    let evil = keys::signing("evil").verifying_key().realm();
    let renewed =
        judge_wire(&choice(Dialect::Modern, false), certificate(Some(known), keys::rsa(1).public().fingerprint()));
    for met in [&met, &renewed.unwrap()] {
        assert!(hello(realm, "realm", met, None).is_ok(), "a certificate may be renewed");
        assert!(hello(evil, "evil", met, None).is_err());
        assert!(hello(realm, "evil", met, None).is_err());
        assert!(hello(Realm([0; 32]), "evil", met, None).is_err());
    }
    // A server that never spoke it is no downgrade.
    let old = Server { realm: None, ..known };
    assert!(judge_wire(&choice(Dialect::Legacy, false), certificate(Some(old), key)).is_ok());
}

#[test]
fn the_account_is_the_one_that_was_typed() {
    for name in ["bob", "zoe", "Alice", "alice ", ""] {
        let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
        world.crash(alice);
        world.connect(alice);
        tamper(&mut world, move |line| {
            if line.is(alice, "ok login") {
                line.value["user"] = name.into();
            }
        });
        let mark = world.mark();
        world.log_in(alice);
        world.type_line(alice, "/join den pw");
        world.say(alice, "den", "as whom do I say this?");
        for who in [bob, carol] {
            assert_eq!(world[who].messages(mark[who.0]).count(), 0, "{name}: {}", world.screens(&mark));
        }
        assert!(!world[alice].transcript(mark[alice.0]).contains(&format!("You are logged in as {name}.")), "{name}");
    }
}

/// The server lets her in as somebody else, from the first request on.
#[test]
fn nobody_is_logged_in_as_somebody_else() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    world.type_line(carol, "/register zoe pw");
    world.crash(alice);
    world.connect(alice);
    tamper(&mut world, move |line| {
        if line.is(alice, "request login") {
            line.value["user"] = "zoe".into();
        }
    });
    let mark = world.mark();
    world.log_in(alice);
    world.type_line(alice, "/join den pw");
    world.say(alice, "den", "as whom do I say this?");
    for who in [bob, carol] {
        assert_eq!(world[who].messages(mark[who.0]).count(), 0, "{}", world.screens(&mark));
    }
}

#[test]
fn a_session_is_taken_up_as_it_was() {
    for field in ["user", "bundle"] {
        let (mut world, Cast { alice, .. }) = calm_stage();
        tamper(&mut world, move |line| {
            if line.is(alice, "ok resume") {
                let other = if field == "user" { "bob".to_owned() } else { crate::forger::base64(&[7; 32]) };
                line.value[field] = other.into();
            }
        });
        let mark = world.mark();
        world.cut(alice);
        world.pass(Duration::from_secs(3));
        assert_alarmed!(world, mark, alice, Alarm::Protocol(_));
    }
    // A token that is forgotten is said, and nothing goes on by itself.
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    world.restart_server();
    let mark = world.mark();
    world.pass(Duration::from_secs(5));
    world.say(alice, "den", "am I there?");
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(seen.contains("Log in again") && seen.contains("Not sent"), "{seen}");
    assert_unheard(&world, bob, "am I there?");
}

#[test]
fn the_keys_that_the_server_took_are_the_own_ones() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    world.crash(alice);
    world.connect(alice);
    tamper(&mut world, move |line| {
        if line.is(alice, "ok announce") {
            line.value["bundle"] = crate::forger::base64(&[7; 32]).into();
        }
    });
    let mark = world.mark();
    world.log_in(alice);
    assert_alarmed!(world, mark, alice, Alarm::Protocol(_));
}

#[test]
fn the_room_is_the_one_that_was_asked_for() {
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    for who in [alice, bob] {
        world.type_line(who, "/join attic pw");
    }
    tamper(&mut world, move |line| {
        if line.is(alice, "request join") {
            line.value["room"] = "attic".into();
        }
    });
    let mark = world.mark();
    world.type_line(alice, "/join den pw");
    assert_alarmed!(world, mark, alice, Alarm::Protocol(_));
    world.say(alice, "den", "for the den");
    assert_unheard(&world, bob, "for the den");
}

/// A room that was deleted and made again bears another id; one that lost its id by a lie, too.
#[test]
fn another_room_of_the_same_name_is_said_to_be_another() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    world.type_line(bob, "/room delete den");
    world.type_line(bob, "/create den pw");
    world.type_line(bob, "/join den pw");
    let mark = world.mark();
    world.type_line(alice, "/join den pw");
    assert_alarmed!(world, mark, alice, Alarm::OtherRoom(room) if room.as_str() == "den");
    world.type_line(carol, "/join den pw");
    assert_heard(&mut world, alice, "a new den", &[bob, carol]);
    let before = alarms(&world, &mark, alice).len();
    world.type_line(alice, "/join den pw");
    assert_eq!(alarms(&world, &mark, alice).len(), before, "it is said once");
}

#[test]
fn a_room_that_kept_the_old_wire_out_does_not_open_in_silence() {
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    world.type_line(bob, "/room modern-only on");
    tamper(&mut world, move |line| {
        if line.is(alice, "ok join") {
            line.value["modern_only"] = false.into();
        }
    });
    let mark = world.mark();
    world.type_line(alice, "/join den pw");
    assert_alarmed!(world, mark, alice, Alarm::Opened(room) if room.as_str() == "den");
}
