//! Messages, direct messages and acts between clients that are all as they should be.

use super::world::{World, room};
use crate::client::known_keys::Pins;
use crate::protocol::modern::ErrorCode;

const NOTHING: [&str; 0] = [];

#[test]
fn people_in_a_room_read_each_other() {
    let mut world = World::with(&["alice", "bob"]);
    assert_eq!(world.types(0, "hello"), ["* From now on you can be read by: bob (pinned). /readers names all."]);
    assert_eq!(world.look(1), ["alice (pinned): hello"]);
    assert_eq!(world.types(0, "again"), NOTHING);
    assert_eq!(world.look(1), ["alice (pinned): again"]);
    assert_eq!(world.types(1, "hi!"), ["* From now on you can be read by: alice (pinned). /readers names all."]);
    assert_eq!(world.look(0), ["bob (pinned): hi!"]);
}

#[test]
fn a_newcomer_is_announced_and_reads_what_is_said_from_then_on() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "before");
    world.connect(9, 2, Pins::default());
    world.types(2, "/login carol pw");
    world.types(2, "/join r pw");
    world.looked();
    assert_eq!(world.types(0, "after"), ["* From now on you can be read by: carol (pinned). /readers names all."]);
    assert_eq!(world.look(1), ["alice (pinned): after"]);
    assert_eq!(world.look(2), ["alice (pinned): after"]);
}

#[test]
fn who_left_gets_no_key_of_what_is_said_after() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    world.types(0, "one");
    world.look(2);
    assert_eq!(world.types(2, "/leave"), ["! carol (you) left"]);
    assert_eq!(world.look(0), ["! carol (pinned) left"]);
    let wraps = world.clients[0].wraps;
    world.types(0, "two");
    assert_eq!(world.clients[0].wraps, wraps + 1, "a new epoch, for bob alone");
    assert_eq!(world.look(1), ["alice (pinned): one", "! carol (pinned) left", "alice (pinned): two"]);
}

/// In the steady state, neither RSA nor anything that grows with the room is done for a message, by sender or receivers.
#[test]
fn once_the_epoch_is_given_a_message_costs_the_same_in_any_room() {
    let bytes = [2, 12].map(|members| {
        let names: Vec<String> = (0..members).map(|i| format!("user{i:02}")).collect();
        let mut world = World::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
        world.types(0, "the first message of an epoch");
        assert_eq!(world.clients[0].wraps, members - 1);
        let rsa = |world: &World| -> Vec<u64> { world.clients.iter().map(|c| c.machine.rsa_operations()).collect() };
        world.types(0, "the chain key is unwrapped by now");
        let (before, wraps) = (rsa(&world), world.clients[0].wraps);
        world.looked();
        let (sent, got) = (world.clients[0].sent_bytes, world.clients[1].got_bytes);
        for i in 0..10 {
            assert_eq!(world.types(0, &format!("message {i}")), NOTHING);
        }
        assert_eq!(world.look(1).len(), 10);
        assert_eq!(rsa(&world), before);
        assert_eq!(world.clients[0].wraps, wraps);
        (world.clients[0].sent_bytes - sent, world.clients[1].got_bytes - got)
    });
    let [(sent, got), (sent_large, got_large)] = bytes;
    // Numbers have more digits where more has happened.
    assert!(sent_large - sent < 60 && got_large - got < 60, "{bytes:?}");
}

/// What `/readers` shows, without the hashes of the keys.
fn readers(world: &mut World, client: usize) -> Vec<String> {
    let lines = world.types(client, "/readers").into_iter();
    lines.map(|line| line.split_once(") ").map_or(line.clone(), |(start, _)| format!("{start})"))).collect()
}

const READ_BY: &str = "* What you write here can be read by:";
const NO_MORE: &str = "* From your next message on, no more:";

#[test]
fn readers_are_listed_blocked_or_not_and_before_anything_is_said() {
    let mut world = World::with(&["alice", "bob"]);
    assert_eq!(readers(&mut world, 0), [READ_BY, "*   bob (not known yet)"]);
    world.types(0, "hello");
    world.types(0, "/block bob");
    let shown = world.types(0, "/readers");
    assert_eq!(shown[0], READ_BY);
    assert!(shown[1].starts_with("*   bob (pinned, blocked) "), "{shown:?}");
    world.types(1, "can you hear me?");
    assert_eq!(world.look(0), NOTHING);
    assert_eq!(world.types(0, "/unblock bob"), ["* bob is not blocked any more."]);
    world.types(1, "and now?");
    assert_eq!(world.look(0), ["bob (pinned): and now?"]);
}

/// Whoever left has the key of the last message and gets none of the next; whoever came gets it, and is listed before.
#[test]
fn readers_are_those_of_the_next_message_whoever_read_the_last() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    world.types(0, "hello");
    world.types(1, "/leave");
    world.looked();
    let (bob, carol) = ("*   bob (pinned)", "*   carol (pinned)");
    assert_eq!(readers(&mut world, 0), [READ_BY, carol, NO_MORE, bob]);
    world.types(1, "/join r pw");
    world.looked();
    assert_eq!(readers(&mut world, 0), [READ_BY, bob, carol], "the same keys are here again");
    world.types(0, "/kick bob");
    world.types(2, "/leave");
    world.looked();
    assert_eq!(readers(&mut world, 0), ["* Nobody else is here who can read you.", NO_MORE, bob, carol]);
    world.types(2, "/join r pw");
    world.types(0, "two");
    world.looked();
    assert_eq!(readers(&mut world, 0), [READ_BY, carol], "the new epoch was never bob's");
}

/// In a large room nobody says who came and went: then nobody is left out.
#[test]
fn in_doubt_readers_are_listed() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    world.types(0, "hello");
    world.server.rooms.get_mut(&room("r")).unwrap().hashes_changes = true;
    world.cut(1);
    let gone = world.server.forget_away(&room("r"));
    world.deliver(gone);
    world.looked();
    let in_doubt = "* Who is here is asked for before your next message goes out; whoever is new then is named first.";
    let (bob, carol) = ("*   bob (pinned)", "*   carol (pinned)");
    assert_eq!(readers(&mut world, 0), [READ_BY, bob, carol, in_doubt]);
    world.types(0, "two");
    assert_eq!(readers(&mut world, 0), [READ_BY, carol]);
}

#[test]
fn the_members_are_shown_with_who_vouches_for_them() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "hello");
    world.looked();
    assert_eq!(world.types(0, "/who"), ["* 2 sessions are in r:", "*   alice (you, here)", "*   bob (pinned)"]);
    assert_eq!(world.types(1, "/who"), ["* 2 sessions are in r:", "*   alice (pinned)", "*   bob (you, here)"]);
    world.cut(1);
    assert_eq!(world.types(0, "/leave"), ["! alice (you) left"]);
    assert_eq!(world.types(0, "/who"), ["* You are in no room: /join one."]);
}

#[test]
fn another_device_of_the_own_account_reads_along() {
    let mut world = World::with(&["alice", "bob"]);
    world.connect(0, 3, Pins::default()); // the same signing key, another RSA key
    world.types(2, "/login alice pw");
    world.types(2, "/join r pw");
    world.looked();
    assert_eq!(
        world.types(0, "hello"),
        ["* From now on you can be read by: bob (pinned); alice (you, on another device). /readers names all."]
    );
    assert_eq!(world.look(2), ["alice (you): hello"]);
    world.types(2, "from my telephone");
    assert_eq!(world.look(0), ["alice (you): from my telephone"]);
    assert_eq!(world.look(1), ["alice (pinned): hello", "alice (pinned): from my telephone"]);
}

#[test]
fn a_direct_message_goes_to_all_sessions_of_two_accounts_and_to_no_other() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    let devices = [(0, "alice", 3), (1, "bob", 4)];
    for (i, (signing, name, device)) in devices.into_iter().enumerate() {
        let client = world.connect(signing, device, Pins::default());
        assert_eq!(client, 3 + i);
        world.types(client, &format!("/login {name} pw"));
    }
    world.looked();
    assert_eq!(world.types(0, "/msg bob are you there?"), NOTHING);
    for bob in [1, 4] {
        assert_eq!(world.look(bob), ["alice (pinned, direct): are you there?"]);
    }
    assert_eq!(world.look(3), ["alice (you, direct to bob): are you there?"]);
    assert_eq!(world.look(2), NOTHING);
    world.types(4, "/msg alice yes");
    assert_eq!(world.look(0), ["bob (pinned, direct): yes"]);
    assert_eq!(world.look(1), ["bob (you, direct to alice): yes"]);
    let sent = world.types(0, "/sent");
    assert_eq!(sent, ["* accepted by the server: to bob: are you there?"]);
}

#[test]
fn a_direct_message_to_nobody_is_said_and_one_to_changed_sessions_is_sent_again() {
    let mut world = World::with(&["alice", "bob"]);
    assert_eq!(world.types(0, "/msg carol hi"), [refused(ErrorCode::Offline, "to carol: hi")]);
    world.server.next_direct = Some(ErrorCode::ReadersChanged);
    assert_eq!(world.types(0, "/msg bob hi"), NOTHING);
    assert_eq!(world.look(1), ["alice (pinned, direct): hi"]);
    assert_eq!(world.types(0, "/msg bob more"), NOTHING);
    assert_eq!(world.look(1), ["alice (pinned, direct): more"], "no counter is lost");
}

fn refused(code: ErrorCode, what: &str) -> String {
    format!("* Not sent: {}. It was: {what}", code.text().trim_end_matches('.'))
}

#[test]
fn acts_are_signed_and_shown_to_all_with_who_did_them() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    world.types(0, "hello"); // so that alice has an epoch that carol holds
    world.looked();
    assert_eq!(world.types(0, "/topic tea, and biscuits"), ["! alice (you) set the topic: tea, and biscuits"]);
    assert_eq!(world.look(1), ["! alice (pinned) set the topic: tea, and biscuits"]);
    assert_eq!(world.types(1, "/topic"), ["-- Topic: tea, and biscuits"]);
    assert_eq!(world.types(0, "/mute carol 10m"), ["! alice (you) muted carol for 10 minutes"]);
    let muted = world.types(2, "let me speak");
    assert_eq!(muted.last().unwrap(), "* Not sent: you are muted for good. It was: let me speak");
    world.looked();
    assert_eq!(world.types(0, "/kick carol too loud"), ["! alice (you) kicked carol: too loud"]);
    assert_eq!(world.look(1), ["! alice (pinned) kicked carol: too loud"]);
    assert_eq!(
        world.look(2),
        ["! alice (pinned) kicked carol: too loud", "-- You are not in r any more: you were kicked."]
    );
    assert_eq!(world.types(2, "still here?"), ["* Not sent: /join a room first. It was: still here?"]);
    world.types(0, "now we are alone");
    assert_eq!(world.look(1), ["alice (pinned): now we are alone"]);
    assert_eq!(
        world.types(0, "/kick carol"),
        [format!("* Not done: {}.", ErrorCode::NotHere.text().trim_end_matches('.'))]
    );
}

#[test]
fn a_message_is_followed_until_the_server_has_taken_it() {
    let mut world = World::with(&["alice", "bob"]);
    world.hold_wire = true;
    world.types(0, "slow");
    world.looked();
    world.later(900);
    assert_eq!(world.look(0), NOTHING);
    world.later(200);
    assert_eq!(world.look(0), ["* Not accepted by the server yet: slow"]);
    assert_eq!(world.types(0, "/sent"), ["* waiting: slow"]);
    world.hold_wire = false;
    world.settle();
    assert_eq!(world.look(0).last().unwrap(), "* Accepted now: slow");
    assert_eq!(world.look(1), ["alice (pinned): slow"]);
    let sent = world.types(0, "/sent");
    assert!(sent[0].starts_with("* accepted by the server (event "), "{sent:?}");
}

#[test]
fn what_is_typed_is_sent_in_order_one_at_a_time() {
    let mut world = World::with(&["alice", "bob"]);
    world.hold_wire = true;
    for i in 0..20 {
        world.types(0, &format!("line {i}"));
    }
    assert_eq!(world.clients[0].machine.waiting(), 20);
    world.hold_wire = false;
    world.settle();
    let expected: Vec<String> = (0..20).map(|i| format!("alice (pinned): line {i}")).collect();
    assert_eq!(world.look(1), expected);
}

#[test]
fn a_long_text_goes_as_several_messages() {
    let mut world = World::with(&["alice", "bob"]);
    let text: String = (0..6000).map(|i| format!("word{i} ")).collect();
    world.types(0, &text);
    let shown = world.look(1);
    assert!(shown.len() > 1);
    let rejoined: Vec<&str> = shown.iter().map(|line| line.strip_prefix("alice (pinned): ").unwrap()).collect();
    assert_eq!(rejoined.join(" ").trim(), text.trim());
    world.types(0, &format!("/msg bob {text}"));
    let direct = world.look(1);
    let rejoined: Vec<&str> =
        direct.iter().map(|line| line.strip_prefix("alice (pinned, direct): ").unwrap()).collect();
    assert_eq!(rejoined.join(" ").trim(), text.trim());
}

#[test]
fn what_the_server_finds_outdated_is_sealed_again_under_the_same_counter() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "one");
    world.looked();
    world.server.next_send = Some(ErrorCode::Stale);
    assert_eq!(world.types(0, "two"), NOTHING);
    assert_eq!(world.look(1), ["alice (pinned): two"]);
    world.server.next_grant = Some(ErrorCode::Stale);
    world.connect(9, 2, Pins::default());
    world.types(2, "/login carol pw");
    world.types(2, "/join r pw");
    world.looked();
    world.types(0, "three");
    assert_eq!(world.look(1), ["alice (pinned): three"]);
    assert_eq!(world.look(2), ["alice (pinned): three"]);
}

#[test]
fn what_is_refused_is_said_with_why_and_the_next_is_sent() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "one");
    world.looked();
    world.server.next_send = Some(ErrorCode::Muted { until: Some(world.server.time + 600_000) });
    assert_eq!(world.types(0, "two"), ["* Not sent: you are muted for 10 minutes. It was: two"]);
    assert!(world.clients[0].machine.has_unsent());
    world.server.next_send = Some(ErrorCode::OutOfOrder { expected: 7 });
    let words = world.types(0, "three");
    assert_eq!(words, ["* Not sent: the server expects number 7 of you here; start this program again. It was: three"]);
    world.types(0, "four");
    assert_eq!(world.look(1), ["alice (pinned): four"]);
}

#[test]
fn grants_wait_when_the_server_takes_no_more() {
    let mut world = World::with(&["alice", "bob"]);
    world.server.next_grant = Some(ErrorCode::TooLarge);
    let shown = world.types(0, "hello");
    assert_eq!(shown.last().unwrap(), "* The server takes no more keys for now: your message waits a little.");
    assert_eq!(world.look(1), NOTHING);
    world.later(15_000);
    assert_eq!(world.look(1), ["alice (pinned): hello"]);
}

#[test]
fn who_has_no_key_asks_for_it_and_gets_the_next() {
    let mut world = World::with(&["alice", "bob"]);
    world.tamper = Some(Box::new(|_, what| match what {
        super::server::What::Event(crate::protocol::modern::Event::Grant(_)) => Vec::new(),
        what => vec![what],
    }));
    world.types(0, "one");
    assert_eq!(world.look(1), NOTHING, "the grant may still come");
    world.tamper = None;
    assert_eq!(world.server.requests["need_key"], 1);
    world.later(10_000);
    let words = world.look(1);
    assert!(words[0].starts_with("* A message of alice cannot be read: no key for it has come."), "{words:?}");
    world.types(0, "two");
    assert_eq!(world.look(1), ["alice (pinned): two"]);
    assert_eq!(world.server.requests["need_key"], 1);
}
