//! What has to wait: for keys in order, for grants alone, and never without end.

use super::server::What;
use super::world::World;
use crate::protocol::modern::{Answer, Event, OkBody};

const BOB: usize = 1;

#[test]
fn what_waits_for_keys_is_shown_in_the_order_in_which_it_was_said() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    world.types(2, "zero"); // carol's keys are there, alice's are not
    world.look(BOB);
    world.hold_work = true;
    world.types(0, "one");
    // Alice's own jobs are done; bob's check of her keys is not.
    world.work(0);
    world.types(2, "two");
    assert_eq!(world.look(BOB), Vec::<String>::new());
    world.hold_work = false;
    world.settle();
    assert_eq!(world.look(BOB), ["alice (pinned): one", "carol (pinned): two"]);
}

#[test]
fn who_withholds_a_key_makes_nobody_else_wait() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    world.types(2, "zero");
    world.look(BOB);
    world.tamper = Some(Box::new(|_, what| match what {
        What::Event(Event::Grant(_)) => Vec::new(),
        what => vec![what],
    }));
    world.types(0, "one");
    world.types(0, "two");
    world.types(2, "three");
    assert_eq!(world.look(BOB), ["carol (pinned): three"]);
    world.later(10_000);
    let words = world.look(BOB);
    assert_eq!(words.len(), 2, "{words:?}");
    assert!(
        words.iter().all(|line| line.starts_with("* A message of alice cannot be read: no key for it")),
        "{words:?}"
    );
}

#[test]
fn a_grant_that_comes_late_opens_what_waited_for_it() {
    let mut world = World::with(&["alice", "bob"]);
    let mut held = None;
    world.tamper = Some(Box::new(move |to, what| match what {
        What::Event(Event::Grant(_)) if to == BOB && held.is_none() => {
            held = Some(what);
            Vec::new()
        }
        What::Event(Event::Message(_)) => {
            // Behind its message, the grant follows.
            std::iter::once(what).chain(held.clone()).collect()
        }
        what => vec![what],
    }));
    world.types(0, "one");
    assert_eq!(world.look(BOB), ["alice (pinned): one"]);
}

/// Keys that never come, and messages without end.
#[test]
fn what_waits_is_bounded_and_what_is_too_much_is_said() {
    let mut world = World::with(&["alice", "bob"]);
    world.tamper = Some(Box::new(|to, what| match what {
        What::Answer(Answer::Part { .. }) if to == BOB => Vec::new(),
        What::Answer(Answer::Ok { body: OkBody::Bundles { .. }, .. }) if to == BOB => Vec::new(),
        what => vec![what],
    }));
    let text = "x".repeat(16_000);
    for _ in 0..420 {
        world.types(0, &text);
    }
    let words = world.look(BOB);
    let too_much = words.iter().filter(|line| line.contains("too much waits for the keys of others")).count();
    assert!(too_much > 0 && too_much < 100, "{too_much}");
}

#[test]
fn a_command_of_any_length_is_taken_or_refused_in_words() {
    let mut world = World::with(&["alice"]);
    let shown = world.types(0, &format!("/login alice {}", "x".repeat(100_000)));
    assert_eq!(shown, ["* Not taken: a command has at most 2048 bytes."]);
    let shown = world.types(0, &"/".repeat(100_000));
    assert_eq!(shown, ["* Not taken: a command has at most 2048 bytes."]);
    let shown = world.types(0, &format!("/login alice {}", "\u{1}".repeat(2_000)));
    assert_eq!(shown, ["* You are logged in as alice."]);
}

#[test]
fn only_so_many_lines_wait() {
    let mut world = World::with(&["alice"]);
    world.hold_wire = true;
    for _ in 0..1_001 {
        world.types(0, "hello");
    }
    assert!(!world.clients[0].machine.wants_lines());
    assert!(world.types(0, "one more").contains(&"* Not taken: too many lines wait.".to_owned()));
}

/// Whoever leaves gives up what it has waited for: after its return, it asks again, and does not wait without end.
#[test]
fn after_a_return_what_cannot_be_read_is_said_again() {
    let mut world = World::with(&["alice", "bob"]);
    world.tamper = Some(Box::new(|_, what| match what {
        What::Event(Event::Grant(_)) => Vec::new(),
        what => vec![what],
    }));
    world.types(0, "one");
    world.types(BOB, "/leave");
    world.types(BOB, "/join r pw");
    world.looked();
    world.types(0, "two");
    world.later(10_000);
    let words = world.look(BOB);
    assert!(words.last().unwrap().starts_with("* A message of alice cannot be read: no key for it"), "{words:?}");
}
