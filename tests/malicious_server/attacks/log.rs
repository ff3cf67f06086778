//! The room's log: dropping, repeating, reordering, splitting, forking, and replays over a restart.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use secure_chat::client::modern::{Alarm, Broken, Mark, Thing, Trust};
use serde_json::{Value, json};

use super::{
    Line, alarms, as_forger, assert_alarmed, assert_calm, assert_heard, assert_unheard, calm_stage, follow, tamper,
};
use crate::modern_world::{Seen, Way, Who, World};
use crate::scenes::Cast;

/// Numbers events for one client as if some had not been, or had been twice.
fn renumber(line: &mut Line<'_>, who: Who, by: i64) {
    if line.way == Way::Down && line.who == who && line.value["n"].is_u64() {
        line.value["n"] = line.value["n"].as_u64().unwrap().saturating_add_signed(by).into();
    }
}

fn is_message_of(line: &Line<'_>, who: Who, author: &str) -> bool {
    line.is(who, "message modern") && line.value["user"] == author
}

/// The stage after a message of bob's was kept from alice, who has noticed it; and from when on.
fn stage_with_a_gap() -> (World, Cast, Vec<usize>) {
    let (mut world, cast) = calm_stage();
    let Cast { alice, bob, carol, .. } = cast;
    let mut dropped = false;
    tamper(&mut world, move |line| {
        if is_message_of(line, alice, "bob") && !std::mem::replace(&mut dropped, true) {
            line.drop();
        }
    });
    let mark = world.mark();
    assert_heard(&mut world, bob, "dropped", &[carol]);
    world.say(bob, "den", "next");
    assert_alarmed!(world, mark, alice, Alarm::LogBroken(Broken::Number { .. }));
    (world, cast, mark)
}

#[test]
fn a_dropped_message_is_noticed_by_its_place() {
    let (mut world, Cast { alice, bob, carol, .. }, mark) = stage_with_a_gap();
    assert_unheard(&world, alice, "dropped");
    // Nothing is sent until she joins again.
    world.say(alice, "den", "into the void");
    assert_unheard(&world, bob, "into the void");
    assert!(world[alice].transcript(mark[alice.0]).contains("Not sent: the room's log is broken"));
    world.type_line(alice, "/join den pw");
    assert_heard(&mut world, alice, "here again", &[bob, carol]);
    assert_heard(&mut world, bob, "hello", &[alice, carol]);
}

/// The server ends the connection of whoever has found it out: coming back by itself is not what the person was asked for.
#[test]
fn a_lost_connection_makes_nobody_speak_in_a_room_that_is_split() {
    let (mut world, Cast { alice, bob, carol, .. }, mark) = stage_with_a_gap();
    world.cut(alice);
    world.pass(Duration::from_secs(3));
    assert_heard(&mut world, bob, "she hears on", &[alice, carol]);
    world.say(alice, "den", "into the void");
    assert_unheard(&world, bob, "into the void");
    assert!(world[alice].transcript(mark[alice.0]).contains("Not sent: the room's log is broken"));
    world.type_line(alice, "/join den pw");
    assert_heard(&mut world, alice, "here again", &[bob, carol]);
}

#[test]
fn a_dropped_message_is_noticed_when_its_author_speaks_again_even_if_the_numbers_fit() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    let mut dropped = false;
    tamper(&mut world, move |line| {
        if is_message_of(line, alice, "bob") && !std::mem::replace(&mut dropped, true) {
            return line.drop();
        }
        renumber(line, alice, if dropped { -1 } else { 0 });
    });
    let mark = world.mark();
    assert_heard(&mut world, bob, "dropped", &[carol]);
    assert!(alarms(&world, &mark, alice).is_empty());
    world.say(bob, "den", "next");
    assert_alarmed!(world, mark, alice, Alarm::Split(user) if user.as_str() == "bob");
    assert_unheard(&world, alice, "next");
}

#[test]
fn what_was_missed_while_away_is_said_by_name_and_count() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    world.cut(alice);
    let mark = world.mark();
    assert_heard(&mut world, bob, "one", &[carol]);
    assert_heard(&mut world, bob, "two", &[carol]);
    world.pass(Duration::from_secs(3));
    assert_heard(&mut world, bob, "three", &[alice, carol]);
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(seen.contains("2 messages or acts of bob were missed while you were away"), "{seen}");
    assert_calm(&world, &mark);
}

/// Whoever runs the server may number events as the log needs it, but not what an author counts.
#[test]
fn a_message_that_nobody_got_is_missed_by_name_and_count() {
    let (mut world, Cast { alice, mallory, .. }) = calm_stage();
    world.type_line(mallory, "/join den pw");
    let own = as_forger(&world, mallory);
    let chronicle = follow(&mut world, alice);
    let at = chronicle.borrow().at.unwrap();
    world.forge(alice, own.grant("den", at, world[alice].rsa().public()).to_string());
    for (n, counter, missing) in [(1, 1, None), (2, 2, None), (3, 5, Some(2)), (4, 6, None)] {
        let mark = world.mark();
        let text = format!("number {counter}");
        world.forge(alice, own.message("den", at.n + n, at, counter, &text).to_string());
        assert!(world[alice].trust_of(mark[alice.0], &text).is_some(), "{}", world.screens(&mark));
        let missed = alarms(&world, &mark, alice).into_iter().map(|alarm| match alarm {
            Alarm::Missing { user, count, away: false } if user.as_str() == "mallory" => *count,
            alarm => panic!("{alarm:?}"),
        });
        assert!(missed.eq(missing), "{}", world.screens(&mark));
    }
}

/// Whoever holds a message back for good and lies to its author about it, must hold back all that follows.
#[test]
fn who_swallows_messages_has_to_refuse_the_next() {
    let (mut world, Cast { bob, .. }) = calm_stage();
    // To bob the server says that it took his messages. His log goes on without everybody's.
    let next = Rc::new(RefCell::new(None::<u64>));
    let swallowed = Rc::new(RefCell::new(0));
    let count = Rc::clone(&swallowed);
    tamper(&mut world, move |line| {
        if line.is(bob, "request send") && *count.borrow() < 2 {
            *count.borrow_mut() += 1;
            let n = next.borrow().unwrap_or(line.value["at"]["n"].as_u64().unwrap()) + 1;
            *next.borrow_mut() = Some(n);
            let id = line.value["id"].clone();
            // A line that the hub answers with an error under the same number.
            line.value = json!({ "type": "swallowed", "id": id });
            line.value["n"] = n.into();
        }
        if line.who == bob && line.way == Way::Down && line.value["code"] == "unknown_type" {
            let n = next.borrow().unwrap();
            line.value = json!({ "type": "ok", "id": line.value["id"], "n": n, "time": 0 });
        }
    });
    world.say(bob, "den", "swallowed 1");
    world.say(bob, "den", "swallowed 2");
    assert_eq!(*swallowed.borrow(), 2);
    let mark = world.mark();
    world.say(bob, "den", "he goes on");
    // The hub does not know bob's place in the log, nor his counter; a server that passes it on shows it to everybody.
    assert!(world[bob].transcript(mark[bob.0]).contains("Not sent"), "{}", world.screens(&mark));
    // He joins again. The server's log is behind his, though he was in it all the time.
    let mark = world.mark();
    world.type_line(bob, "/join den pw");
    assert_alarmed!(world, mark, bob, Alarm::LogChanged);
    // He goes on all the same, and speaks: his counter is not the one that the server knows.
    world.type_line(bob, "/join den pw");
    let mark = world.mark();
    world.say(bob, "den", "back");
    assert!(world[bob].transcript(mark[bob.0]).contains("the server expects number"), "{}", world.screens(&mark));
}

#[test]
fn a_repeated_message_is_not_shown_again() {
    for fits in [false, true] {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        let mut repeated = false;
        tamper(&mut world, move |line| {
            renumber(line, alice, i64::from(repeated && fits));
            if is_message_of(line, alice, "bob") && !std::mem::replace(&mut repeated, true) {
                let mut again = line.value.clone();
                if fits {
                    again["n"] = (again["n"].as_u64().unwrap() + 1).into();
                }
                line.after.push(again);
            }
        });
        let mark = world.mark();
        assert_heard(&mut world, bob, "once", &[alice]);
        match fits {
            true => {
                assert_alarmed!(world, mark, alice, Alarm::Repeated(Thing::Message, user) if user.as_str() == "bob");
            }
            false => {
                assert_alarmed!(world, mark, alice, Alarm::LogBroken(Broken::Number { .. }));
            }
        }
        assert_eq!(world[alice].messages(mark[alice.0]).count(), 1);
    }
}

#[test]
fn messages_that_change_places_are_noticed() {
    for fits in [false, true] {
        let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
        let mut held: Option<Value> = None;
        let mut done = false;
        tamper(&mut world, move |line| {
            if !line.is(alice, "message modern") || done {
                return;
            }
            match held.take() {
                None => {
                    held = Some(line.value.clone());
                    line.drop();
                }
                Some(mut first) => {
                    done = true;
                    if fits {
                        let (n, m) = (first["n"].clone(), line.value["n"].clone());
                        (first["n"], line.value["n"]) = (m, n);
                    }
                    line.after.push(first);
                }
            }
        });
        let mark = world.mark();
        world.say(bob, "den", "first");
        world.say(carol, "den", "second");
        world.say(bob, "den", "third");
        let alarms = alarms(&world, &mark, alice);
        assert!(
            alarms.iter().any(|alarm| matches!(alarm, Alarm::LogBroken(_) | Alarm::Split(_))),
            "{}",
            world.screens(&mark)
        );
        assert_unheard(&world, alice, "third");
        let shown: Vec<_> = world[alice].messages(mark[alice.0]).map(|shown| shown.text.to_string()).collect();
        assert_ne!(shown, ["second", "first"]);
    }
}

/// Each is shown another message of dave's, who signs nothing: both logs are sound, and differ.
#[test]
fn who_is_shown_another_room_learns_it_from_the_first_message_that_crosses_and_stops_to_speak() {
    let (mut world, Cast { alice, bob, carol, dave, .. }) = calm_stage();
    tamper(&mut world, move |line| {
        if line.is(alice, "message legacy") {
            line.value["encrypted_message"] = "another token".into();
        }
    });
    world.say_legacy(dave, "one thing to bob, another to alice");
    let mark = world.mark();
    world.say(bob, "den", "what do you think of it?");
    world.pass(Duration::from_secs(1));
    assert_alarmed!(world, mark, alice, Alarm::Split(user) if user.as_str() == "bob");
    assert_unheard(&world, alice, "what do you think of it?");
    world.say(alice, "den", "of what?");
    for who in [bob, carol] {
        assert_unheard(&world, who, "of what?");
    }
    assert!(world[alice].transcript(mark[alice.0]).contains("Not sent: people are shown different rooms"));
    // Bob has heard nothing of hers, so he knows nothing of it. What she signs alarms him, too.
    world.type_line(alice, "/join den pw");
    assert_heard(&mut world, alice, "here I am again", &[bob, carol]);
    assert_heard(&mut world, bob, "so are we", &[alice, carol]);
}

#[test]
fn a_split_alarms_whichever_side_hears_the_other_first() {
    let (mut world, Cast { alice, bob, carol, dave, .. }) = calm_stage();
    let split = move |line: &mut Line<'_>| {
        if line.is(alice, "message legacy") {
            line.value["encrypted_message"] = "another token".into();
        }
    };
    tamper(&mut world, split);
    world.say_legacy(dave, "one thing to bob, another to alice");
    let mark = world.mark();
    let chronicle = follow_only_numbers(&mut world, bob);
    // Alice speaks first. An honest hub would call it stale; this one passes it on.
    world.say(alice, "den", "I saw something else");
    let said = chronicle.borrow_mut().take().expect("she said something");
    let n = said["n"].as_u64().unwrap();
    for who in [bob, carol] {
        let mut line = said.clone();
        line["n"] = n.into();
        world.forge(who, line.to_string());
        assert_alarmed!(world, mark, who, Alarm::Split(user) if user.as_str() == "alice");
        assert_unheard(&world, who, "I saw something else");
        world.say(who, "den", &format!("{} goes on", world[who].account.clone()));
        assert!(world[who].transcript(mark[who.0]).contains("Not sent: people are shown different rooms"));
    }
}

/// Takes alice's next statement away before the hub sees it, and makes the event of it.
fn follow_only_numbers(world: &mut World, reader: Who) -> Rc<RefCell<Option<Value>>> {
    let taken = Rc::new(RefCell::new(None));
    let shared = Rc::clone(&taken);
    let alice = Who(0);
    let entry = super::entry_of(world, alice);
    let _ = reader;
    tamper(world, move |line| {
        if line.is(alice, "request send") {
            let mut event = line.value.clone();
            let at = event["at"]["n"].as_u64().unwrap();
            let fields = event.as_object_mut().unwrap();
            fields.remove("id");
            fields.remove("encrypted_keys");
            fields.insert("type".into(), "message".into());
            fields.insert("user".into(), "alice".into());
            fields.insert("n".into(), (at + 1).into());
            fields.insert("time".into(), 1_700_001_000_000_u64.into());
            fields.insert("run".into(), entry.run.to_base64().into());
            let bundle = entry.key.bundle().unwrap();
            fields.insert("bundle".into(), bundle.to_base64().into());
            *shared.borrow_mut() = Some(event);
            line.drop();
        }
    });
    taken
}

#[test]
fn a_log_that_was_changed_while_somebody_was_away_is_noticed() {
    let (mut world, Cast { alice, .. }) = calm_stage();
    // Control: nothing happened meanwhile.
    let mark = world.mark();
    world.cut(alice);
    world.pass(Duration::from_secs(3));
    assert_calm(&world, &mark);
    tamper(&mut world, move |line| {
        if line.is(alice, "ok join") {
            line.value["before"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into();
        }
    });
    let mark = world.mark();
    world.cut(alice);
    world.pass(Duration::from_secs(3));
    assert_alarmed!(world, mark, alice, Alarm::LogChanged);
    world.say(alice, "den", "is it?");
    assert!(world[alice].transcript(mark[alice.0]).contains("Not sent: people are shown different rooms"));
}

/// A room in which nobody is left begins anew, with a number that may be any: that proves nothing against the server.
#[test]
fn a_room_that_was_empty_begins_anew_and_alarms_nobody() {
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    for who in [alice, bob] {
        world.type_line(who, "/create attic pw");
    }
    let mark = world.mark();
    for said in 0..4 {
        world.type_line(alice, "/join attic pw");
        world.type_line(alice, "/leave");
        world.type_line(bob, "/join attic pw");
        for i in 0..said {
            world.say(bob, "attic", &format!("{i} of {said}"));
        }
        world.type_line(alice, "/join attic pw");
        world.type_line(bob, "/leave");
        world.type_line(alice, "/leave");
    }
    assert_calm(&world, &mark);
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(seen.contains("The room's log has begun anew since you were here last"), "{seen}");
    // What she says is heard by whoever comes.
    world.type_line(alice, "/join attic pw");
    world.type_line(bob, "/join attic pw");
    let mark = world.mark();
    world.say(alice, "attic", "you are");
    assert!(world[bob].trust_of(mark[bob.0], "you are").is_some(), "{}", world.screens(&mark));
    assert_calm(&world, &mark);
}

/// The server starts again with the same database, and gives once more what it passed on before, with numbers that fit.
#[test]
fn nothing_is_shown_again_after_a_restart() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    let chronicle = follow(&mut world, alice);
    assert_heard(&mut world, bob, "said before", &[alice, carol]);
    world.type_line(bob, "/topic done before");
    world.whisper(bob, "alice", "whispered before");
    world.type_line(carol, "/leave");
    assert_heard(&mut world, bob, "under a new key", &[alice]);
    let old = ["message", "act", "direct", "grant"].map(|kind| {
        let lines =
            chronicle.borrow().lines.iter().filter(|line| line["type"] == kind).cloned().collect::<Vec<Value>>();
        assert!(!lines.is_empty(), "{kind}");
        lines
    });
    let old: Vec<Value> = old.into_iter().flatten().collect();
    for new_client in [false, true] {
        world.make_honest();
        world.restart_server();
        if new_client {
            world.crash(alice);
            world.connect(alice);
        }
        world.pass(Duration::from_secs(5));
        let chronicle = Rc::new(RefCell::new(super::Chronicle::default()));
        let (shared, account) = (Rc::clone(&chronicle), world[alice].account.clone());
        tamper(&mut world, move |line| {
            if line.who == alice {
                shared.borrow_mut().see(line.way, line.kind, &line.value, &account);
            }
        });
        for who in [bob, carol, alice] {
            world.enter(who, "den");
        }
        assert_heard(&mut world, bob, &format!("after the start {new_client}"), &[alice, carol]);
        let mark = world.mark();
        for line in &old {
            let mut line = line.clone();
            let is_event = line["n"].is_u64();
            if is_event {
                line["n"] = chronicle.borrow().next().into();
            }
            world.forge(alice, line.to_string());
            if is_event {
                chronicle.borrow_mut().step(&line);
            }
        }
        let shown = world[alice].screen[mark[alice.0]..].iter();
        let again = shown.filter(|seen| matches!(seen, Seen::Message(_) | Seen::Act(_))).count();
        assert_eq!(again, 0, "{}", world.screens(&mark));
    }
}

/// A message that was sealed before somebody left, and comes long after, may have been read by whoever left.
#[test]
fn what_was_sealed_before_somebody_left_is_marked() {
    let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
    let held = Rc::new(RefCell::new(None));
    let shared = Rc::clone(&held);
    let chronicle = Rc::new(RefCell::new(super::Chronicle::default()));
    let (follows, account) = (Rc::clone(&chronicle), world[alice].account.clone());
    tamper(&mut world, move |line| {
        if line.is(bob, "request send") && shared.borrow().is_none() {
            *shared.borrow_mut() = Some(line.value.clone());
        }
        if line.who == bob && line.way == Way::Up && shared.borrow().is_some() {
            return line.drop(); // nor does he come to say it again
        }
        if line.who == alice {
            follows.borrow_mut().see(line.way, line.kind, &line.value, &account);
        }
    });
    world.cut(alice);
    world.pass(Duration::from_secs(3));
    world.say(bob, "den", "held back");
    world.type_line(carol, "/leave");
    world.pass(Duration::from_secs(40));
    let mut event = held.borrow_mut().take().unwrap();
    let author = super::entry_of(&world, bob);
    for (field, value) in [
        ("type", json!("message")),
        ("user", json!("bob")),
        ("bundle", json!(author.key.bundle().unwrap().to_base64())),
        ("run", json!(author.run.to_base64())),
        ("n", json!(chronicle.borrow().next())),
        ("time", json!(1_700_001_043_000_u64)),
    ] {
        event[field] = value;
    }
    let mark = world.mark();
    world.forge(alice, event.to_string());
    let shown: Vec<_> = world[alice].messages(mark[alice.0]).collect();
    assert_eq!(shown.len(), 1, "{}", world.screens(&mark));
    assert!(shown[0].marks.iter().any(|mark| matches!(mark, Mark::SentBefore(Some(name)) if name.as_str() == "carol")));
    assert!(shown[0].to_string().contains("(sent before carol was gone)"));
}

/// The hub does not list carol any more, but alice is not told. She goes on to write for carol, until the others speak.
#[test]
fn a_leave_that_is_held_back_is_noticed_when_the_others_speak() {
    for how in ["/leave", "kick"] {
        let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
        let mut shift = 0;
        tamper(&mut world, move |line| {
            renumber(line, alice, shift);
            let is_leave =
                line.is(alice, "act leave") || line.is(alice, "act kick") || line.is(alice, "members listed");
            if is_leave {
                shift -= 1;
                line.drop();
            }
        });
        match how {
            "kick" => world.type_line(bob, "/kick carol"),
            leave => world.type_line(carol, leave),
        }
        let mark = world.mark();
        world.say(bob, "den", "she is gone");
        assert_alarmed!(world, mark, alice, Alarm::Split(user) if user.as_str() == "bob");
        world.say(alice, "den", "who?");
        assert_unheard(&world, carol, "who?");
        assert!(world[alice].transcript(mark[alice.0]).contains("Not sent: people are shown different rooms"));
    }
}

#[test]
fn a_fresh_message_is_no_duplicate_and_has_its_place() {
    for lie in ["duplicate", "n", "huge n", "old n"] {
        let (mut world, Cast { alice, bob, .. }) = calm_stage();
        tamper(&mut world, move |line| {
            if line.is(alice, "ok send") {
                let n = line.value["n"].as_u64().unwrap();
                match lie {
                    "duplicate" => line.value["duplicate"] = true.into(),
                    "n" => line.value["n"] = (n + 1).into(),
                    "huge n" => line.value["n"] = ((1_u64 << 53) - 1).into(),
                    _ => line.value["n"] = (n - 1).into(),
                }
            }
        });
        let mark = world.mark();
        world.say(alice, "den", "mine");
        assert_eq!(world[bob].trust_of(mark[bob.0], "mine"), Some(Trust::Pinned));
        assert_alarmed!(world, mark, alice, Alarm::Protocol(_) | Alarm::LogBroken(_));
        world.say(alice, "den", "more");
        assert_unheard(&world, bob, "more");
        world.make_honest();
        world.pass(Duration::from_secs(3));
        world.type_line(alice, "/join den pw");
        assert_heard(&mut world, alice, "again", &[bob]);
    }
}

#[test]
fn a_lie_about_the_counter_hides_nothing() {
    for counter in [0_u64, 1, 2, 3, 4, 100, 1 << 52] {
        let (mut world, Cast { alice, bob, carol, .. }) = calm_stage();
        tamper(&mut world, move |line| {
            if line.is(alice, "ok join") {
                line.value["counter"] = counter.into();
            }
        });
        let mark = world.mark();
        world.type_line(alice, "/join den pw");
        world.say(alice, "den", "do you hear me?");
        world.pass(Duration::from_secs(15));
        let heard = [bob, carol].map(|who| world[who].trust_of(mark[who.0], "do you hear me?"));
        let is_told = world[alice].transcript(mark[alice.0]).contains("Not sent");
        assert!(heard == [Some(Trust::Pinned); 2] || is_told, "{counter}: {}", world.screens(&mark));
    }
}

#[test]
fn an_answer_that_does_not_come_is_said_and_the_message_sent_again() {
    let (mut world, Cast { alice, bob, .. }) = calm_stage();
    tamper(&mut world, move |line| {
        if line.is(alice, "ok send") {
            line.drop();
        }
    });
    let mark = world.mark();
    world.say(alice, "den", "hello?");
    world.pass(Duration::from_secs(2));
    assert!(world[alice].transcript(mark[alice.0]).contains("Not accepted by the server yet: hello?"));
    world.pass(Duration::from_secs(20));
    world.make_honest();
    world.pass(Duration::from_secs(60));
    let seen = world[alice].transcript(mark[alice.0]);
    assert!(seen.contains("Accepted now: hello?"), "{seen}");
    assert_eq!(world[bob].messages(mark[bob.0]).filter(|shown| shown.text.as_str() == "hello?").count(), 1);
    assert!(alarms(&world, &mark, bob).is_empty());
}
