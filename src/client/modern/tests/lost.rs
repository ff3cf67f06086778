//! Connections that are lost, and returns.

use std::cell::RefCell;
use std::rc::Rc;

use super::world::{World, room};
use crate::client::known_keys::Pins;
use crate::client::modern::Input;
use crate::names::Text;
use crate::protocol::modern::{Answer, ByeReason, Event, OkBody};

use super::server::What;

#[test]
fn after_a_lost_connection_the_client_is_back_in_its_room_without_a_password() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "one");
    world.types(1, "two");
    world.looked();
    world.cut(1);
    assert_eq!(world.look(1), ["* The connection to the server is lost: cut. Trying again in 1 s."]);
    world.types(0, "while you were away");
    world.back(1);
    assert_eq!(
        world.look(1),
        ["* 1 event of the room was missed since you were here last.", "* You are in r. 2 sessions are here."]
    );
    assert_eq!(world.look(0), ["-- bob is back"]);
    assert_eq!(world.server.requests["login"], 2);
    assert_eq!(world.server.requests["resume"], 1);
    world.types(0, "good to see you");
    assert_eq!(
        world.look(1),
        ["* 1 message or act of alice was missed while you were away.", "alice (pinned): good to see you"]
    );
    assert_eq!(world.types(1, "thanks"), Vec::<String>::new());
    assert_eq!(world.look(0), ["bob (pinned): thanks"]);
}

#[test]
fn a_return_during_which_nothing_happened_misses_nothing() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "one");
    world.cut(1);
    world.looked();
    world.back(1);
    assert_eq!(world.look(1), ["* You are in r. 2 sessions are here."]);
    world.types(0, "two");
    assert_eq!(world.look(1), ["alice (pinned): two"]);
}

/// Whether it was the message or the answer that was lost, it is there once.
#[test]
fn an_unanswered_message_is_sent_again_and_comes_once() {
    for server_took_it in [false, true] {
        let mut world = World::with(&["alice", "bob"]);
        world.types(0, "one");
        world.looked();
        world.hold_wire = !server_took_it;
        if server_took_it {
            world.tamper = Some(Box::new(|to, what| match what {
                What::Answer(_) if to == 0 => Vec::new(), // the answer is lost
                what => vec![what],
            }));
        }
        world.types(0, "two");
        world.cut(0);
        (world.hold_wire, world.tamper) = (false, None);
        world.types(0, "three");
        world.back(0);
        assert_eq!(world.look(0).last().unwrap(), "* Accepted now: three", "{server_took_it}");
        let mut heard = world.look(1);
        heard.retain(|line| line.starts_with("alice"));
        assert_eq!(heard, ["alice (pinned): two", "alice (pinned): three"], "{server_took_it}");
        let sent = world.types(0, "/sent");
        assert!(sent.iter().all(|line| line.starts_with("* accepted")), "{sent:?}");
    }
}

#[test]
fn an_act_that_was_not_answered_is_done_once() {
    let mut world = World::with(&["alice", "bob"]);
    world.hold_wire = true;
    world.types(0, "/topic tea");
    world.cut(0);
    world.hold_wire = false;
    world.back(0);
    assert_eq!(world.look(0).last().unwrap(), "! alice (you) set the topic: tea");
    assert_eq!(world.look(1).last().unwrap(), "! alice (pinned) set the topic: tea");
}

#[test]
fn after_the_servers_restart_the_person_logs_in_again_and_all_goes_on() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "one");
    world.server.restart();
    for client in [0, 1] {
        world.does(client, Input::Lost(Text::sanitize("gone")));
    }
    world.looked();
    world.back(0);
    world.back(1);
    assert_eq!(
        world.look(0),
        ["* The server does not remember your session. Log in again: /login alice, then /join r with its password"]
    );
    for (client, name) in [(0, "alice"), (1, "bob")] {
        world.types(client, &format!("/login {name} pw"));
        assert_eq!(
            world.types(client, "/join r pw")[0],
            "* The room's log has begun anew since you were here last: nobody was in it for a while, or the server was \
             started again."
        );
    }
    world.looked();
    world.types(0, "two");
    assert_eq!(world.look(1), ["alice (pinned): two"], "the counter goes on, and so do those who counted");
}

#[test]
fn what_was_in_flight_when_the_session_is_forgotten_is_said_and_its_counter_is_not_used_twice() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "one");
    world.tamper = Some(Box::new(|to, what| match what {
        What::Answer(_) if to == 0 => Vec::new(),
        what => vec![what],
    }));
    world.types(0, "two");
    world.tamper = None;
    assert_eq!(world.look(1).last().unwrap(), "alice (pinned): two");
    world.server.forget_tokens();
    world.cut(0);
    world.looked();
    world.back(0);
    assert_eq!(
        world.look(0),
        [
            "* Not accepted by the server yet: two",
            "* The server does not remember your session. Log in again: /login alice, then /join r with its password",
            "* Not sent: you are not logged in any more. It was: two"
        ]
    );
    world.types(0, "/login alice pw");
    world.types(0, "/join r pw");
    world.looked();
    world.types(0, "three");
    assert_eq!(world.look(1), ["alice (pinned): three"]);
}

#[test]
fn a_silent_server_is_given_up_and_a_quiet_one_is_not() {
    let mut world = World::with(&["alice"]);
    world.later(10 * 60_000);
    assert_eq!(world.look(0), Vec::<String>::new(), "signs of life go back and forth");
    assert!(world.server.requests["ping"] >= 19);
    world.hold_wire = true;
    world.later(74_000);
    assert_eq!(world.look(0), Vec::<String>::new());
    world.later(60_000);
    let words = world.look(0);
    assert!(words[0].starts_with("* The connection to the server is lost: "), "{words:?}");
}

#[test]
fn attempts_to_connect_come_further_and_further_apart() {
    let mut world = World::with(&["alice"]);
    world.cut(0);
    world.looked();
    let mut waits = Vec::new();
    for _ in 0..10 {
        let at = world.reconnect_at(0);
        waits.push(at.saturating_sub(world.now.elapsed).as_secs_f64());
        world.now.elapsed = at;
        world.does(0, Input::Lost(Text::sanitize("refused")));
    }
    assert!(waits[0] < 2.0 && waits[9] >= 60.0 && waits[9] < 91.0, "{waits:?}");
    assert!(waits.windows(2).all(|pair| pair[1] > pair[0] * 0.6), "{waits:?}");
    assert!(world.look(0).len() <= 1, "it is not said each time");
}

#[test]
fn who_says_goodbye_is_heard() {
    let bye = |reason| What::Event(Event::bye(reason));
    for reason in [ByeReason::Replaced, ByeReason::Idle, ByeReason::LoginTimeout] {
        let mut world = World::with(&["alice", "bob"]);
        world.hears(0, &bye(reason));
        world.cut(0);
        let ends = "FAILED The connection to the server is lost: cut.".to_owned();
        assert_eq!(world.look(0), [format!("-- {}", reason.text()), ends]);
    }
    let mut world = World::with(&["alice", "bob"]);
    world.hears(1, &bye(ByeReason::PasswordChanged));
    world.cut(1);
    world.looked();
    world.back(1);
    assert_eq!(world.look(1), ["* Log in again: /login bob, then /join r with its password"]);
}

#[test]
fn a_server_that_is_another_gets_nothing() {
    let mut world = World::new();
    let alice = world.add(0, 0, Pins::default(), false);
    for (exporter, signed) in [([1; 32], [2; 32]), ([3; 32], [3; 32])] {
        let client = world.add(0, 0, Pins::default(), false);
        let hello = match exporter == signed {
            true => super::server::Server::of([9; 32]).hello(&signed), // another realm, which signs
            false => world.server.hello(&signed),                      // this realm, on another connection
        };
        world.does(client, Input::Connected { exporter });
        world.does(client, Input::Line("/login alice pw".into()));
        world.does(client, Input::Server(hello));
        let shown = world.look(client);
        assert!(shown[0].starts_with("UNTRUSTED The server is not the known one"), "{shown:?}");
        assert!(shown[0].contains("1 line was not sent."), "{shown:?}");
        assert_eq!(world.clients[client].sent_bytes, 0);
    }
    world.does(alice, Input::Connected { exporter: [1; 32] });
    world.does(alice, Input::Server(b"{\"type\":\"ok\",\"id\":1}".to_vec()));
    let shown = world.look(alice);
    assert!(shown[0].starts_with("* WARNING: the server"), "{shown:?}");
    assert_eq!(world.clients[alice].sent_bytes, 0);
    let _ = room("r");
}

/// What is on its way while somebody returns was signed before its author saw the return.
#[test]
fn what_crosses_a_return_is_passed_over_in_words_and_makes_no_alarm() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "one");
    world.looked();
    world.hold_wire = true;
    world.types(0, "two");
    // Alice's line is under way when bob joins again.
    world.server.rooms.get_mut(&room("r")).unwrap().allow_stale();
    world.types(1, "/join r pw");
    world.swap_held();
    world.hold_wire = false;
    world.settle();
    let shown = world.look(1);
    assert_eq!(shown[..2], ["* You are in r. 2 sessions are here.".to_owned(), shown[1].clone()]);
    assert!(shown[1].contains("A message of alice was sent before you were back"), "{shown:?}");
    world.types(0, "three");
    assert_eq!(world.look(1), ["* 1 message or act of alice was missed while you were away.", "alice (pinned): three"]);
}

/// A key that was given to somebody who was away is lost; it is given again, before anything needs it.
#[test]
fn who_is_back_is_given_again_what_was_given_while_it_was_away() {
    let mut world = World::with(&["alice", "bob"]);
    world.cut(1);
    world.types(0, "one");
    world.back(1);
    world.looked();
    world.types(0, "two");
    assert_eq!(world.look(1), ["alice (pinned): two"], "the first that is heard of alice");
    assert_eq!(world.server.requests.get("need_key"), None);
}

/// What was not taken is said as of the return, so that whoever came meanwhile reads it, too; whether the server kept the place
/// or not.
#[test]
fn what_was_not_taken_before_an_absence_is_sealed_again() {
    for is_listed in [false, true] {
        let mut world = World::with(&["alice", "bob"]);
        world.types(0, "one");
        world.hold_wire = true;
        world.types(0, "two");
        world.cut(0);
        world.hold_wire = false;
        if !is_listed {
            let out = world.server.forget_away(&room("r"));
            world.deliver(out);
        }
        let carol = world.connect(2, 2, Pins::default());
        world.types(carol, "/login carol pw");
        world.types(carol, "/join r pw");
        world.looked();
        world.back(0);
        let came = if is_listed { "-- alice is back" } else { "-- alice came" };
        for reader in [1, carol] {
            assert_eq!(world.look(reader), [came, "alice (pinned): two"]);
        }
        assert_eq!(world.server.requests.get("need_key"), None);
    }
}

/// The server took the leave, and its word of that is lost: whoever is back in the room leaves it once more.
#[test]
fn a_leave_that_was_not_answered_is_one_after_all() {
    for server_took_it in [false, true] {
        let mut world = World::with(&["alice", "bob"]);
        world.hold_wire = !server_took_it;
        if server_took_it {
            world.tamper = Some(Box::new(|to, what| match what {
                What::Answer(_) if to == 0 => Vec::new(),
                what => vec![what],
            }));
        }
        world.types(0, "/leave");
        world.cut(0);
        (world.hold_wire, world.tamper) = (false, None);
        world.looked();
        world.back(0);
        assert_eq!(world.look(0).last().unwrap(), "! alice (you) left", "{server_took_it}");
        assert_eq!(world.look(1).last().unwrap(), "! alice (pinned) left", "{server_took_it}");
        world.types(1, "alone");
        assert_eq!(world.look(0), Vec::<String>::new(), "nothing comes from where she is not");
        assert!(world.types(1, "/who")[0].starts_with("* 1 session is in r"));
    }
}

/// Two accounts at one client are two authors: each counts, and gives its keys, for itself.
#[test]
fn another_account_at_the_same_client_begins_with_nothing() {
    let mut world = World::with(&["alice", "bob"]);
    world.types(0, "as alice");
    world.types(0, "/msg bob as alice");
    world.types(0, "/login alicia pw");
    world.types(0, "/join r pw");
    world.types(0, "as alicia");
    world.types(0, "/msg bob as alicia");
    world.types(0, "/login alice pw");
    world.types(0, "/join r pw");
    world.types(0, "as alice again");
    world.types(0, "/msg bob as alice again");
    let mut heard = world.look(1);
    heard.retain(|line| line.starts_with("alic") || line.contains("WARNING"));
    assert_eq!(
        heard,
        [
            "alice (pinned): as alice",
            "alice (pinned, direct): as alice",
            "alicia (pinned): as alicia",
            "alicia (pinned, direct): as alicia",
            "alice (pinned): as alice again",
            "alice (pinned, direct): as alice again"
        ]
    );
}

/// The server's answer to the return makes no sense: the line that waits for it is sent on the next connection.
#[test]
fn a_broken_answer_to_a_return_loses_no_line() {
    let mut world = World::with(&["alice", "bob"]);
    world.hold_wire = true;
    world.types(0, "one");
    world.cut(0);
    world.hold_wire = false;
    world.tamper = Some(Box::new(|to, what| match what {
        What::Answer(Answer::Ok { id, body: OkBody::Join(mut join) }) if to == 0 => {
            join.room = room("another");
            vec![What::Answer(Answer::Ok { id, body: OkBody::Join(join) })]
        }
        what => vec![what],
    }));
    world.back(0);
    world.tamper = None;
    world.looked();
    world.back(0);
    assert_eq!(world.look(1).last().unwrap(), "alice (pinned): one");
}

/// Whoever is put out while a direct message is under way hears of the one and of the other.
#[test]
fn a_direct_message_goes_on_when_its_author_is_put_out_of_the_room() {
    let mut world = World::with(&["alice", "bob"]);
    let held = Rc::new(RefCell::new(Vec::new()));
    let hold = Rc::clone(&held);
    world.tamper = Some(Box::new(move |to, what| match what {
        What::Answer(Answer::Ok { body: OkBody::Direct { .. }, .. }) if to == 0 => {
            hold.borrow_mut().push(what);
            Vec::new()
        }
        what => vec![what],
    }));
    world.types(0, "/msg bob one");
    let mut heard = world.types(1, "/kick alice");
    world.tamper = None;
    for what in held.take() {
        world.hears(0, &what);
    }
    let shown = world.look(0);
    assert!(!shown.iter().any(|line| line.starts_with("* Not sent")), "{shown:?}");
    world.types(0, "/msg bob two");
    heard.extend(world.look(1));
    heard.retain(|line| line.contains("direct"));
    assert_eq!(heard, ["alice (pinned, direct): one", "alice (pinned, direct): two"]);
}

/// A server that was started again has nobody's keys: that is no lie.
#[test]
fn what_waited_for_keys_that_a_restart_took_is_said_and_makes_no_alarm() {
    let mut world = World::with(&["alice", "bob"]);
    world.tamper = Some(Box::new(|to, what| match what {
        What::Answer(Answer::Ok { body: OkBody::Bundles { .. }, .. } | Answer::Part { .. }) if to == 1 => Vec::new(),
        what => vec![what],
    }));
    world.types(0, "/msg bob hello");
    world.cut(1);
    world.server.bundles.clear();
    world.tamper = None;
    world.looked();
    world.back(1);
    let shown = world.look(1);
    let words = "* A direct message of alice came before the connection was lost, and cannot be checked any more: the server \
                 has not its keys. It is not shown.";
    assert!(shown.contains(&words.to_owned()), "{shown:?}");
}
