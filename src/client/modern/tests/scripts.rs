//! Lines that come from a script, which does not look at answers; and the end.

use super::world::World;
use crate::client::known_keys::Pins;
use crate::client::modern::Input;
use crate::protocol::modern::RequestBody;

fn script(world: &mut World, lines: &[&str]) -> usize {
    let client = world.add(50, 2, Pins::default(), true);
    for line in lines {
        world.does(client, Input::Line((*line).into()));
    }
    world.does(client, Input::EndOfLines);
    world.greet(client);
    client
}

#[test]
fn a_script_is_done_to_its_end_and_leaves_as_it_should() {
    let mut world = World::with(&["alice"]);
    let client = script(&mut world, &["/login bob pw", "/join r pw", "hello", "", "/readers", "exit", "not any more"]);
    let shown = world.look(client);
    assert_eq!(shown[..2], ["* You are logged in as bob.", "* You are in r. 2 sessions are here."].map(str::to_owned));
    assert!(shown.iter().any(|line| line.starts_with("*   alice (pinned)")), "in its turn: {shown:?}");
    assert_eq!(shown.last().unwrap(), "CLOSE");
    assert!(!world.clients[client].machine.has_unsent());
    let heard = world.look(0);
    assert_eq!(heard, ["-- bob came", "bob (pinned): hello", "! bob (pinned) left"]);
    let last = world.order.iter().rfind(|(who, _)| *who == client);
    assert_eq!(last, Some(&(client, "logout")), "its token is of no use to anybody any more");
}

#[test]
fn lines_for_a_room_that_could_not_be_joined_go_to_no_other() {
    let mut world = World::with(&["alice"]);
    let client =
        script(&mut world, &["/login bob pw", "/join r pw", "one", "/join nowhere pw", "two", "/join r pw", "three"]);
    let shown = world.look(client);
    assert!(shown.contains(&"* Not sent: the /join before failed. It was: two".to_owned()), "{shown:?}");
    assert!(world.clients[client].machine.has_unsent());
    let mut heard = world.look(0);
    heard.retain(|line| line.contains("): "));
    assert_eq!(heard, ["bob (pinned): one", "bob (pinned): three"]);
}

#[test]
fn a_person_who_has_seen_that_a_join_failed_types_on() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "/join nowhere pw");
    let shown = world.types(0, "hello");
    assert_eq!(shown, ["* Not sent: /join a room first. It was: hello"], "the room before was left for it");
}

#[test]
fn a_script_ends_with_its_connection_and_says_what_was_not_sent() {
    let mut world = World::with(&["alice"]);
    world.hold_wire = true;
    let client = script(&mut world, &["/login bob pw", "/join r pw", "one", "two"]);
    world.cut(client);
    let shown = world.look(client);
    assert_eq!(
        shown,
        [
            "* Not done, as far as is known: the connection was lost before the answer came.",
            "FAILED The connection to the server is lost: cut. 3 lines were not sent."
        ]
    );
    assert!(world.clients[client].machine.has_unsent());
}

/// Whoever gave the command can tell by how the program ends.
#[test]
fn a_script_whose_last_command_is_not_answered_fails() {
    let mut world = World::with(&["alice"]);
    world.hold_wire = true;
    let client = script(&mut world, &["/login bob pw"]);
    world.cut(client);
    assert_eq!(
        world.look(client),
        [
            "* Not done, as far as is known: the connection was lost before the answer came.",
            "FAILED The connection to the server is lost: cut."
        ]
    );
}

#[test]
fn quitting_without_a_connection_says_what_was_not_sent() {
    let mut world = World::with(&["alice"]);
    world.cut(0);
    world.looked();
    world.types(0, "one");
    assert_eq!(world.types(0, "/quit"), ["* 1 line was not sent.", "CLOSE"]);
}

#[test]
fn the_last_word_is_not_waited_for_for_ever() {
    let mut world = World::with(&["alice"]);
    world.hold_wire = true;
    world.types(0, "/quit");
    assert_eq!(world.look(0), Vec::<String>::new());
    world.later(2_000);
    assert_eq!(world.look(0), ["CLOSE"]);
}

#[test]
fn who_is_ended_from_outside_tells_the_room_and_waits_a_second_at_most() {
    let mut world = World::with(&["alice", "bob"]);
    world.does(0, Input::HangUp);
    world.settle();
    assert_eq!(world.look(0), ["CLOSE"]);
    assert_eq!(world.look(1), ["! alice (pinned) left"]);
    // What the server has is answered first; what waits is not sent.
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "one");
    world.looked();
    world.hold_wire = true;
    world.types(0, "on its way");
    world.types(0, "waits");
    world.does(0, Input::HangUp);
    world.hold_wire = false;
    world.settle();
    assert_eq!(world.look(0), ["* 1 line was not sent.", "CLOSE"]);
    assert_eq!(world.look(1), ["alice (pinned): on its way", "! alice (pinned) left"]);
    for words in ["", "unanswered"] {
        let mut world = World::with(&["alice"]);
        world.hold_wire = true;
        world.types(0, words);
        world.does(0, Input::HangUp);
        assert_eq!(world.look(0), Vec::<String>::new());
        world.later(1_000);
        assert!(world.look(0).contains(&"CLOSE".to_owned()));
    }
}

#[test]
fn wrong_use_is_said_and_commands_do_what_they_say() {
    let mut world = World::with(&["alice", "bob"]);
    for (line, shown) in [
        ("/fly", "* There is no command /fly. /help names those that there are."),
        ("/kick", "* Usage: /kick USER [REASON]"),
        ("/register carol pw", "* The account carol is made. Log in with /login carol and the password."),
        ("/create den pw", "* The room den is made, and you are its owner. /join it with its password."),
        ("/passwd old new", "* Your password is changed. Your other sessions have to log in again."),
        ("/account legacy off pw", "* Your account cannot log in on the old wire any more."),
        ("/room delete", "* To delete the room that you are in: /room delete and its name."),
        ("/room delete den", "* To delete the room that you are in: /room delete and its name."),
        ("/accept bob", "* bob has shown no other key. Nothing is changed."),
        ("/verify carol", "* No signing key of carol is known yet. It comes with the first message."),
        ("/topic", "* There is no topic."),
        ("/block bob", "* bob is blocked: you don't see what bob writes. bob still sees what you write."),
        ("/block bob", "* bob is blocked already."),
    ] {
        assert_eq!(world.types(0, line), [shown], "{line}");
    }
    assert_eq!(world.types(0, "/list"), ["-- den (0 sessions)", "-- r (2 sessions)"]);
    assert!(world.types(0, "/help").len() > 5);
    let keys = world.types(0, "/keys");
    assert!(keys[0].starts_with("* Your signing key is ed25519:"), "{keys:?}");
    let _ = RequestBody::Ping;
}
