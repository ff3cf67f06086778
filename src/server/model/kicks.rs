//! Who was put out hears nothing more.

use super::play;
use super::scene::{Bounds, Scene};
use crate::chat::Dialect;
use crate::model::time::spawn;
use crate::protocol::modern::{Answer, Event};
use crate::server::model::client::Heard;
use crate::server::sync::{Arc, AtomicBool, Ordering};
use crate::transcript::Verb;

const REMOVED: &str = "You were removed from 'den' by bob.";

/// Bob puts alice out while carol talks. What carol says once bob has his answer, alice never hears; after the word that she was put
/// out, she hears nothing of the room at all.
fn put_out(verb: Verb, socket: usize) {
    let scene = Scene::begin(Bounds { socket, ..Bounds::default() });
    let mut alice = scene.connect(Dialect::Legacy);
    alice.comes("alice");
    assert!(alice.waits_for("alice joined the chat!"));
    let alice = spawn("alice", move || alice.hears_out());

    let mut carol = scene.connect(Dialect::Legacy);
    carol.comes("carol");
    assert!(carol.waits_for("carol joined the chat!"));
    let mut bob = scene.connect(Dialect::Modern);
    let at = bob.comes_as_owner().unwrap();

    let done = Arc::new(AtomicBool::new(false));
    let carol_sees = Arc::clone(&done);
    let carol = spawn("carol", move || {
        for _ in 0..4 {
            let after = carol_sees.load(Ordering::SeqCst);
            carol.chats(if after { "too late" } else { "in time" });
        }
        carol
    });
    bob.acts(at, verb, "alice", "");
    assert!(matches!(bob.answer(), Some(Answer::Ok { .. })));
    done.store(true, Ordering::SeqCst);
    let carol = carol.join().unwrap();
    carol.chats("too late");
    // Whatever carol said has gone through the hub when bob hears it.
    while !matches!(bob.hears(), Some(Heard::Event(Event::Message(message))) if message.encrypted_message == "too late")
    {
    }
    let bob = spawn("bob", move || while bob.hears().is_some() {});
    let carol = spawn("carol", move || carol.hears_out());

    scene.end();
    let heard = alice.join().unwrap();
    bob.join().unwrap();
    carol.join().unwrap();
    assert!(!heard.iter().any(|text| text.contains("too late")), "{heard:?}");
    let after = heard.iter().skip_while(|text| *text != REMOVED).skip(1);
    assert_eq!(after.collect::<Vec<_>>(), ["The server is shutting down."], "{heard:?}");
}

#[test]
fn nothing_reaches_a_member_after_a_kick() {
    play(60, || put_out(Verb::Kick, 1 << 16));
}

#[test]
fn nothing_reaches_a_member_after_a_ban_that_was_saved() {
    play(60, || put_out(Verb::Ban, 1 << 16));
}

#[test]
fn nothing_reaches_a_member_after_a_kick_through_a_socket_that_is_full() {
    play(40, || put_out(Verb::Kick, 64));
}
