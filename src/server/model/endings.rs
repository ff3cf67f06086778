//! Connections and servers that end at any moment.

use std::time::Duration;

use super::client::Client;
use super::scene::{Bounds, Scene};
use super::{any, pause, play};
use crate::chat::{Dialect, Rate};
use crate::model::time::{self, JoinHandle, spawn};
use crate::protocol::modern::{ByeReason, Event};
use crate::transcript::Verb;

const CAME: &str = "bob joined the chat!";
const WENT: &str = "bob left the chat.";
const BYE: &str = "The server is shutting down.";

/// Everything that has begun has come to rest by then, and what waits for a minute is over.
const LATER: Duration = Duration::from_secs(120);

fn count(heard: &[String], what: &str) -> usize {
    heard.iter().filter(|text| *text == what).count()
}

/// Somebody who is in the room, and hears what happens there until the end.
fn witness(scene: &Scene) -> JoinHandle<Vec<String>> {
    let mut alice = scene.connect(Dialect::Legacy);
    alice.comes("alice");
    assert!(alice.waits_for("alice joined the chat!"));
    spawn("alice", move || alice.hears_out())
}

/// Ends the scene once it has come to rest; bob must have gone as often as come, and have left his seat.
fn settle(scene: Scene, bounds: Bounds, witness: JoinHandle<Vec<String>>) -> Vec<String> {
    time::sleep(LATER);
    assert_eq!(scene.free_seats(), bounds.seats - 1, "a seat was lost");
    assert_eq!(scene.end(), Duration::ZERO, "somebody was waited for in vain");
    let heard = witness.join().unwrap();
    assert_eq!(count(&heard, CAME), count(&heard, WENT), "{heard:?}");
    assert!(count(&heard, CAME) <= 1, "{heard:?}");
    assert_eq!(heard.last().unwrap(), BYE);
    heard
}

#[test]
fn who_is_cut_off_at_any_moment_is_seen_to_go_as_often_as_to_come_and_leaves_the_seat() {
    play(100, || {
        let bounds = Bounds::default();
        let scene = Scene::begin(bounds);
        let alice = witness(&scene);
        let bob = scene.connect(Dialect::Legacy);
        let scissors = bob.scissors();
        let bob = spawn("bob", move || {
            bob.comes("bob");
            bob.chats("hello");
            bob.hears_out()
        });
        pause();
        scissors.cut();
        bob.join().unwrap();
        settle(scene, bounds, alice);
    });
}

/// His answer is on its way from the disk, or he is told of an act while he goes.
#[test]
fn who_is_cut_off_while_a_change_is_saved_is_seen_to_go_when_the_time_to_return_is_over() {
    play(60, || {
        let bounds = Bounds::default();
        let scene = Scene::begin(bounds);
        let alice = witness(&scene);
        let mut bob = scene.connect(Dialect::Modern);
        let scissors = bob.scissors();
        let bob = spawn("bob", move || {
            let Some(at) = bob.comes_as_owner() else { return };
            bob.acts(at, Verb::Topic, "", "news");
            bob.answer();
        });
        pause();
        scissors.cut();
        bob.join().unwrap();
        settle(scene, bounds, alice);
    });
}

/// A drain sends what the broker could not while bob is cut off; his socket holds less than one message.
#[test]
fn who_is_cut_off_while_a_drain_sends_is_seen_to_go_once() {
    play(60, || {
        let bounds = Bounds { socket: 64, ..Bounds::default() };
        let scene = Scene::begin(bounds);
        let alice = witness(&scene);
        let mut bob = scene.connect(Dialect::Legacy);
        let scissors = bob.scissors();
        let bob = spawn("bob", move || {
            bob.comes("bob");
            (0..any(5)).for_each(|_| _ = bob.hears());
            pause();
        });
        let carol = scene.connect(Dialect::Legacy);
        let carol = spawn("carol", move || {
            carol.comes("carol");
            (0..3).for_each(|n| carol.chats(&format!("message {n}")));
            carol.hears_out()
        });
        bob.join().unwrap();
        scissors.cut();
        time::sleep(LATER);
        assert_eq!(scene.free_seats(), bounds.seats - 2, "a seat was lost");
        assert_eq!(scene.end(), Duration::ZERO, "somebody was waited for in vain");
        let heard = alice.join().unwrap();
        assert_eq!(count(&heard, CAME), count(&heard, WENT), "{heard:?}");
        carol.join().unwrap();
    });
}

/// Bob takes nothing; what waits for him passes the bound.
#[test]
fn who_takes_nothing_is_dropped_once_and_the_others_go_on() {
    play(40, || {
        let bounds = Bounds { socket: 64, outbox: 1024, ..Bounds::default() };
        let scene = Scene::begin(bounds);
        let mut bob = scene.connect(Dialect::Legacy);
        bob.comes("bob");
        assert!(bob.waits_for(CAME));
        let alice = scene.connect(Dialect::Legacy);
        let alice = spawn("alice", move || {
            alice.comes("alice");
            (0..20).for_each(|n| alice.chats(&format!("message {n}")));
            alice.hears_out()
        });
        // It was the bound that dropped him, before the time for a full socket was over.
        time::sleep(Duration::from_secs(1));
        assert_eq!(scene.free_seats(), bounds.seats - 1, "he still has his seat");
        let rest = bob.hears_out().len();
        assert!(rest < 20, "he was to lose something: {rest}");
        assert_eq!(scene.end(), Duration::ZERO, "somebody was waited for in vain");
        assert_eq!(count(&alice.join().unwrap(), WENT), 1);
    });
}

/// Bob and carol read nothing; each alone would be borne with.
#[test]
fn when_all_together_have_too_much_unsent_the_fullest_is_cut_off() {
    play(60, || {
        let bounds = Bounds { socket: 64, outboxes: 1024, ..Bounds::default() };
        let scene = Scene::begin(bounds);
        let stuck = ["bob", "carol"].map(|name| {
            let mut stuck = scene.connect(Dialect::Legacy);
            stuck.comes(name);
            assert!(stuck.waits_for(&format!("{name} joined the chat!")));
            stuck
        });
        let alice = scene.connect(Dialect::Legacy);
        let alice = spawn("alice", move || {
            alice.comes("alice");
            (0..40).for_each(|n| alice.chats(&format!("message {n}")));
            alice.hears_out()
        });
        time::sleep(Duration::from_secs(1));
        assert_eq!(scene.free_seats(), bounds.seats - 1, "both were to go");
        stuck.into_iter().for_each(|stuck| assert!(stuck.hears_out().len() < 40, "nothing was to be lost of"));
        assert_eq!(scene.end(), Duration::ZERO, "somebody was waited for in vain");
        let alice = alice.join().unwrap();
        assert_eq!((count(&alice, "bob left the chat."), count(&alice, "carol left the chat.")), (1, 1));
    });
}

/// Bob said much more at once than he may, and goes: he is heard for a while, and not for the hours that it would take.
#[test]
fn who_floods_and_leaves_is_not_heard_out_for_ever() {
    play(20, || {
        let messages = Rate::per(10, Duration::from_secs(10));
        let bounds = Bounds { messages, ..Bounds::default() };
        let scene = Scene::begin(bounds);
        let mut alice = scene.connect(Dialect::Legacy);
        alice.comes("alice");
        assert!(alice.waits_for("alice joined the chat!"));
        let bob = scene.connect(Dialect::Legacy);
        bob.comes("bob");
        (0..200).for_each(|n| bob.chats(&format!("message {n}")));
        bob.scissors().cut();
        time::sleep(Duration::from_secs(50));
        assert_eq!(scene.free_seats(), bounds.seats - 1, "he is still heard");
        assert_eq!(scene.end(), Duration::ZERO, "somebody was waited for in vain");
        let heard = alice.hears_out();
        assert_eq!((count(&heard, CAME), count(&heard, WENT)), (1, 1));
        let messages = heard.iter().filter(|heard| heard.contains("message ")).count();
        assert!((10..100).contains(&messages), "{messages}");
    });
}

fn hears_bye(mut client: Client) -> bool {
    use super::client::Heard;
    let mut last = None;
    while let Some(heard) = client.hears() {
        last = Some(heard);
    }
    match last {
        Some(Heard::Text(text)) => text == BYE,
        Some(Heard::Event(Event::Bye { reason, .. })) => reason == ByeReason::ShuttingDown,
        _ => false,
    }
}

#[test]
fn the_server_ends_at_any_moment_and_tells_whoever_was_there() {
    play(100, || {
        let scene = Scene::begin(Bounds::default());
        let mut alice = scene.connect(Dialect::Legacy);
        alice.comes("alice");
        assert!(alice.waits_for("alice joined the chat!"));
        let alice = spawn("alice", move || hears_bye(alice));
        let mut bob = scene.connect(Dialect::Modern);
        let bob = spawn("bob", move || {
            if let Some(at) = bob.comes_as_owner() {
                bob.acts(at, Verb::Topic, "", "news");
            }
            hears_bye(bob)
        });
        let carol = scene.connect(Dialect::Legacy);
        let carol = spawn("carol", move || {
            carol.comes("carol");
            carol.chats("hello");
            carol.hears_out()
        });
        pause();
        let disk = scene.disk.clone();
        assert_eq!(scene.end(), Duration::ZERO, "somebody was waited for in vain");
        assert!(disk.is_at_rest(), "something was not synced");
        assert!(alice.join().unwrap(), "who was there was not told");
        bob.join().unwrap();
        carol.join().unwrap();
    });
}

/// His connection begins before the broker ends, or after.
#[test]
fn who_comes_while_the_server_ends_is_sent_away() {
    play(100, || {
        let scene = Scene::begin(Bounds::default());
        let bobs: Vec<_> = (0..3)
            .map(|_| {
                let bob = scene.connect(Dialect::Legacy);
                spawn("bob", move || bob.hears_out())
            })
            .collect();
        assert_eq!(scene.end(), Duration::ZERO, "somebody was waited for in vain");
        bobs.into_iter().for_each(|bob| assert_eq!(bob.join().unwrap(), [BYE]));
    });
}

/// Bob neither reads nor closes.
#[test]
fn a_peer_that_does_nothing_holds_the_end_up_for_the_time_to_say_goodbye_alone() {
    play(40, || {
        let scene = Scene::begin(Bounds { socket: 64, ..Bounds::default() });
        let mut bob = scene.connect(Dialect::Legacy);
        bob.comes("bob");
        assert!(bob.waits_for(CAME));
        let alice = scene.connect(Dialect::Legacy);
        alice.comes("alice");
        alice.chats("hello");
        let alice = spawn("alice", move || alice.hears_out());
        pause();
        let took = scene.end();
        assert!(took <= Duration::from_secs(10), "{took:?}");
        alice.join().unwrap();
        drop(bob);
    });
}
