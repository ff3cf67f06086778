//! Large rooms, other rooms, rooms that are made again.

use std::cell::RefCell;
use std::rc::Rc;

use super::server::What;
use super::world::{World, public, room};
use crate::client::known_keys::Pins;
use crate::client::modern::Input;
use crate::protocol::modern::{Answer, Event, MessageEvent, OkBody, Origin};

#[test]
fn where_changes_are_only_counted_senders_ask_for_the_members_and_check_them() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "one");
    world.server.rooms.get_mut(&room("r")).unwrap().hashes_changes = true;
    let asked = world.server.requests["who"];
    world.connect(9, 2, Pins::default());
    world.types(2, "/login carol pw");
    world.types(2, "/join r pw");
    world.looked();
    assert_eq!(world.types(0, "two"), ["* From now on you can be read by: carol (pinned). /readers names all."]);
    assert_eq!(world.look(1), ["alice (pinned): two"]);
    assert_eq!(world.look(2), ["alice (pinned): two"]);
    assert_eq!(world.server.requests["who"], asked + 2, "carol at her joining, alice when she spoke");
    world.types(0, "three");
    assert_eq!(world.server.requests["who"], asked + 2);
}

#[test]
fn where_members_come_and_go_all_the_time_something_is_said_nevertheless() {
    let mut world = World::with(&["alice", "bob"]);
    world.server.rooms.get_mut(&room("r")).unwrap().hashes_changes = true;
    world.connect(9, 2, Pins::default());
    world.types(2, "/login carol pw");
    world.looked();
    // What is said bears the place of the list that it is for, and no later one.
    let places = Rc::new(RefCell::new((None, None)));
    let seen = Rc::clone(&places);
    world.tamper = Some(Box::new(move |to, what| {
        match &what {
            What::Answer(Answer::Ok { body: OkBody::Who { n, .. }, .. }) if to == 0 => seen.borrow_mut().0 = Some(*n),
            What::Event(Event::Message(MessageEvent { origin: Origin::Modern { stamp, .. }, .. })) => {
                seen.borrow_mut().1 = Some(stamp.at.n);
            }
            _ => {}
        }
        vec![what]
    }));
    // Before each answer that alice hears, somebody comes.
    world.hold_wire = true;
    world.types(0, "at last");
    for i in 0..12 {
        world.step();
        let mut out = Vec::new();
        world.server.legacy_join(&room("r"), &format!("eve{i}"), &public(4), &mut out);
        world.deliver(out);
    }
    world.hold_wire = false;
    world.settle();
    let mut heard = world.look(1);
    heard.retain(|line| line.contains("): "));
    assert_eq!(heard, ["alice (pinned): at last"]);
    let (listed, said) = *places.borrow();
    assert!(said.is_some() && said == listed, "{listed:?} {said:?}");
}

#[test]
fn another_room_is_entered_after_leaving_the_one_before() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "/create den pw");
    assert_eq!(world.types(0, "/join den pw"), ["* You are in den. 1 session is here."]);
    assert_eq!(world.look(1), ["! alice (pinned) left"]);
    assert_eq!(world.types(0, "alone"), ["* Nobody else is here who can read you."]);
    assert_eq!(world.types(0, "alone"), Vec::<String>::new());
    assert_eq!(
        world.types(0, "/join r pw"),
        ["* 1 event of the room was missed since you were here last.", "* You are in r. 2 sessions are here."]
    );
    world.looked();
    world.types(0, "back");
    assert_eq!(world.look(1), ["alice (pinned): back"]);
    world.types(1, "welcome");
    assert_eq!(world.look(0), ["bob (pinned): welcome"]);
}

/// Bob's epoch was given to alice before she left; he has not spoken since, so that he takes her for a holder still.
#[test]
fn who_leaves_and_comes_back_still_has_the_keys_that_others_think_it_has() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(1, "one");
    world.types(0, "/leave");
    world.types(0, "/join r pw");
    world.looked();
    world.types(1, "two");
    assert_eq!(world.look(0), ["bob (pinned): two"]);
}

/// What she was given waited for bob's keys when she left, and went with the rest that waited.
#[test]
fn who_leaves_before_it_could_take_a_key_is_given_it_again() {
    let mut world = World::with(&["alice", "bob"]);
    world.hold_work = true;
    world.does(1, Input::Line("one".into()));
    world.settle();
    world.work(1); // bob's alone is done
    world.types(0, "/leave");
    world.hold_work = false;
    world.types(0, "/join r pw");
    world.looked();
    world.types(1, "two");
    assert_eq!(world.look(0), ["bob (pinned): two"]);
    assert_eq!(world.server.requests.get("need_key"), None);
}

#[test]
fn a_room_that_was_deleted_and_made_again_is_seen_to_be_another() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "/leave");
    world.server.create(&room("r"));
    world.looked();
    let shown = world.types(0, "/join r pw");
    assert!(shown[0].starts_with("* WARNING: this is another r than the one that you knew"), "{shown:?}");
    world.types(0, "/leave");
    assert_eq!(world.types(0, "/join r pw").len(), 2, "it is the known one now");
}

#[test]
fn a_room_that_is_opened_to_the_old_wire_gives_it_nothing_until_the_next_join() {
    let mut world = World::with(&["alice"]);
    world.types(0, "/room modern-only on");
    world.types(0, "/leave");
    world.server.rooms.get_mut(&room("r")).unwrap().modern_only = false; // nobody signed that
    let shown = world.types(0, "/join r pw");
    assert!(shown.iter().any(|line| line.contains("r kept the old wire out, and does not any more")), "{shown:?}");
    world.legacy_join("eve", &public(4));
    world.looked();
    let shown = world.types(0, "hello");
    assert_eq!(
        shown,
        [
            "* eve cannot read you: eve is on the old wire, which this room keeps out.",
            "* Nobody else is here who can read you."
        ]
    );
    world.cut(0);
    world.back(0);
    world.looked();
    world.types(0, "a lost connection is no such word");
    assert_eq!(world.clients[0].wraps, 0);
    world.types(0, "/leave");
    world.types(0, "/join r pw");
    assert_eq!(
        world.types(0, "hello"),
        ["* From now on you can be read by: eve (on the old wire). /readers names all."]
    );
}

/// A first message for two thousand costs one wrap for each, in jobs; how far they are is said while it takes long; the next
/// message costs none.
#[test]
fn in_a_room_of_two_thousand_the_first_message_costs_a_wrap_for_each_member_and_the_next_none() {
    const MEMBERS: usize = 2_000;
    let mut world = World::with(&["alice", "bob"]);
    world.fill(MEMBERS - 2);
    world.looked();
    world.slow_work = 20;
    let shown = world.types(0, "hello, all of you");
    assert_eq!(world.clients[0].wraps, MEMBERS - 1);
    let progress: Vec<&String> = shown.iter().filter(|line| line.contains('/') && !line.starts_with('*')).collect();
    assert!(progress.len() > 3 && progress.last().unwrap().as_str() == "1999/1999", "{progress:?}");
    let told = shown.iter().find(|line| line.starts_with("* From now on")).unwrap();
    assert!(told.contains("and 1991 more (pinned). /readers names all."), "{told}");
    assert_eq!(world.look(1), ["alice (pinned): hello, all of you"]);
    let (sent, requests) = (world.clients[0].sent_bytes, world.server.requests.clone());
    assert_eq!(world.types(0, "and again"), Vec::<String>::new());
    assert_eq!(world.clients[0].wraps, MEMBERS - 1);
    assert!(world.clients[0].sent_bytes - sent < 1200);
    assert_eq!(world.server.requests.values().sum::<usize>(), requests.values().sum::<usize>() + 1);
    assert_eq!(world.look(1), ["alice (pinned): and again"]);
}

#[test]
fn who_left_and_came_back_unseen_is_said_to_read_again() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    world.server.rooms.get_mut(&room("r")).unwrap().hashes_changes = true;
    world.types(0, "one");
    world.looked();
    world.types(2, "/leave");
    assert_eq!(world.look(0), ["! carol (pinned) left"]);
    world.types(2, "/join r pw");
    assert_eq!(world.types(0, "two"), ["* From now on you can be read by: carol (pinned). /readers names all."]);
    assert!(world.look(2).contains(&"alice (pinned): two".to_owned()));
}

/// A kick is checked when its author's keys have come: who was put out by it may be back by then.
#[test]
fn who_is_back_before_the_kick_is_checked_is_not_taken_for_gone() {
    for comes_back in [true, false] {
        let mut world = World::with(&["alice", "bob", "carol"]);
        world.types(1, "one");
        let held = Rc::new(RefCell::new(Vec::new()));
        let hold = Rc::clone(&held);
        world.tamper = Some(Box::new(move |to, what| match what {
            What::Answer(Answer::Part { .. } | Answer::Ok { body: OkBody::Bundles { .. }, .. }) if to == 1 => {
                hold.borrow_mut().push(what);
                Vec::new()
            }
            what => vec![what],
        }));
        let dave = world.connect(9, 3, Pins::default());
        world.types(dave, "/login dave pw");
        world.types(dave, "/join r pw");
        world.looked();
        world.server.keeps_the_kicked = !comes_back;
        world.types(dave, "/kick carol");
        if comes_back {
            assert_eq!(world.look(1), ["-- carol is gone: the connection is lost"]);
            world.types(2, "/join r pw");
            assert_eq!(world.look(1), ["-- carol came"]);
        }
        world.tamper = None;
        let late = held.take();
        assert!(!late.is_empty(), "bob asked for dave's keys");
        late.iter().for_each(|what| world.hears(1, what));
        world.settle();
        assert_eq!(world.look(1), ["! dave (pinned) kicked carol"]);
        let reads = if comes_back { "carol, dave" } else { "dave" };
        let said = format!("* From now on you can be read by: {reads} (pinned). /readers names all.");
        assert_eq!(world.types(1, "two"), [said]);
        assert_eq!(world.look(2).contains(&"bob (pinned): two".to_owned()), comes_back);
    }
}

#[test]
fn who_is_not_let_into_another_room_is_told_that_the_one_before_was_left() {
    let mut world = World::with(&["alice", "bob"]);
    assert_eq!(
        world.types(0, "/join nowhere pw"),
        [
            "* nowhere is not entered: There is no such room: list the rooms, or create it.",
            "* You have left r for it: /join it again to go back.",
        ]
    );
    assert_eq!(world.types(0, "hello"), ["* Not sent: /join a room first. It was: hello"]);
}

/// A kick that was taken before its author lost the connection met who was there then, and not who has come back since.
#[test]
fn a_kick_that_is_answered_after_the_return_puts_nobody_out_again() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    world.types(0, "one");
    world.tamper = Some(Box::new(|to, what| if to == 0 { Vec::new() } else { vec![what] }));
    world.types(0, "/kick carol");
    world.cut(0);
    world.tamper = None;
    world.types(2, "/join r pw");
    world.looked();
    world.back(0);
    let shown = world.look(0);
    assert!(shown.iter().any(|line| line.contains("kicked carol")), "{shown:?}");
    world.types(0, "two");
    assert!(world.look(2).contains(&"alice (pinned): two".to_owned()));
    world.later(11_000);
    assert_eq!(world.types(0, "three"), Vec::<String>::new());
    assert_eq!(world.look(2), ["alice (pinned): three"]);
}

/// Who is banned while nobody knows who is there may not be there at all.
#[test]
fn a_ban_in_a_crowd_blames_nobody_for_who_comes_later() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    for client in 0..2 {
        world.types(client, "one");
    }
    world.server.rooms.get_mut(&room("r")).unwrap().hashes_changes = true;
    world.types(2, "/leave");
    world.types(0, "/ban carol");
    world.types(0, "/unban carol");
    world.types(2, "/join r pw");
    world.looked();
    world.later(11_000);
    assert_eq!(world.types(1, "two"), ["* From now on you can be read by: carol (pinned). /readers names all."]);
    assert!(world.look(2).contains(&"bob (pinned): two".to_owned()));
}
