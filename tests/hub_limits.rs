//! What the people of a server can make grow ends somewhere, and whoever meets the end is told so; on both wires.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may fail loudly"
)]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::member::Member;
use common::world::{REALM, World, announce, join, login, password, run_id};
use secure_chat::chat::{Dialect, Directory, Hub, Input, Limits, Rate, Registration, RegistrationTokens, SessionId};
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::modern::{Answer, ByeReason, ErrorCode, Event, RequestBody};
use secure_chat::transcript::Verb;

const MINUTE: Duration = Duration::from_secs(60);

/// A world with alice and bob, besides god.
fn world(limits: Limits, registration: Registration) -> World {
    let mut world = World::new();
    ["alice", "bob"].into_iter().for_each(|user| world.add_user(user));
    let directory = Directory::new(world.disk.clone());
    world.hub = Hub::new(directory, REALM, [2; 32]).with_limits(limits).with_registration(registration);
    world
}

fn limited(change: impl FnOnce(&mut Limits)) -> World {
    let mut limits = Limits::default();
    change(&mut limits);
    world(limits, Registration::Open)
}

fn register(user: &str) -> RequestBody {
    register_with(user, None)
}

fn register_with(user: &str, token: Option<&str>) -> RequestBody {
    RequestBody::Register { user: UserName::new(user), password: password("pw"), token: token.map(password) }
}

fn create(room: &str) -> RequestBody {
    RequestBody::Create { room: RoomName::new(room), password: password("pw"), modern_only: false }
}

/// A guest who comes from an address of its own.
fn guest_from(world: &mut World, last: u8) -> SessionId {
    one_of_many_from(world, last, 0)
}

/// A guest who comes from the same address as others; each has another number.
fn one_of_many_from(world: &mut World, last: u8, number: u64) -> SessionId {
    let session = SessionId(1_000_000 + number * 256 + u64::from(last));
    world.feed(Input::Connected(session, IpAddr::from([10, 0, 0, last]), Dialect::Modern));
    session
}

fn code(world: &mut World, session: SessionId, body: RequestBody) -> Result<(), ErrorCode> {
    match world.ask(session, body).1 {
        Some(Answer::Ok { .. }) => Ok(()),
        Some(Answer::Error { code, .. }) => Err(code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn accounts_are_as_many_as_the_server_takes_also_when_many_are_made_at_once() {
    let mut world = limited(|limits| limits.accounts = 5);
    let guests: Vec<_> = (0..4).map(|_| world.connect(Dialect::Modern)).collect();
    world.disk_waits = true;
    let ids: Vec<_> =
        guests.iter().enumerate().map(|(n, guest)| world.request(*guest, register(&format!("n{n}")))).collect();
    (0..4).for_each(|_| world.write());
    let made =
        guests.iter().zip(ids).filter(|(guest, id)| matches!(world.answer_to(**guest, *id).1, Some(Answer::Ok { .. })));
    assert_eq!(made.count(), 2);
    world.disk_waits = false;
    assert_eq!(world.hub.directory().users().len(), 5);
    assert_eq!(world.refused(guests[0], register("one-more")), "too_many_accounts");
    assert_eq!(world.refused(guests[0], register("n0")), "user_exists", "what is wrong with a name is said first");
    let legacy = world.connect(Dialect::Legacy);
    let full = "Registration failed: The server has as many accounts as it takes.";
    assert_eq!(world.command(legacy, "/register one-more pw"), [full]);
    assert_eq!(world.hub.directory().users().len(), 5);
}

#[test]
fn rooms_are_as_many_as_the_server_takes_and_as_one_account_may_own() {
    let mut world = limited(|limits| (limits.rooms, limits.rooms_per_user) = (5, 2));
    let mut alice = Member::new(&mut world, "alice", 1, 1);
    let legacy = world.legacy("alice");
    let bob = world.legacy("bob");
    world.ok(alice.session, create("a1"));
    assert_eq!(world.command(legacy, "/create a2 pw"), ["Room 'a2' created."]);
    assert_eq!(world.refused(alice.session, create("a3")), "too_many_own_rooms");
    let own = "Create room failed: You own as many rooms as one user may.";
    assert_eq!(world.command(legacy, "/create a3 pw"), [own]);
    assert_eq!(world.command(bob, "/create b1 pw"), ["Room 'b1' created."]);
    let god = world.legacy("god");
    for room in ["g1", "g2"] {
        assert_eq!(world.command(god, &format!("/create {room} pw")), [format!("Room '{room}' created.")]);
    }
    let full = "Create room failed: The server has as many rooms as it takes.";
    assert_eq!(world.command(god, "/create g3 pw"), [full]);
    assert_eq!(world.refused(alice.session, create("a3")), "too_many_rooms");
    // One that is deleted makes place for another.
    alice.join(&mut world, "a1");
    let delete = alice.deed(&RoomName::new("a1"), Verb::Delete, "", "");
    alice.acts(&mut world, delete);
    world.ok(alice.session, create("a3"));
    assert_eq!(world.hub.directory().rooms().len(), 5);
}

#[test]
fn rooms_that_are_made_at_once_by_one_account_count_before_they_are_saved() {
    let mut world = limited(|limits| limits.rooms_per_user = 2);
    let sessions: Vec<_> = (0..4).map(|n| world.announced("alice", 1, n)).collect();
    world.disk_waits = true;
    let ids: Vec<_> =
        sessions.iter().enumerate().map(|(n, session)| world.request(*session, create(&format!("r{n}")))).collect();
    (0..4).for_each(|_| world.write());
    let made = sessions
        .iter()
        .zip(ids)
        .filter(|(session, id)| matches!(world.answer_to(**session, *id).1, Some(Answer::Ok { .. })));
    assert_eq!(made.count(), 2);
}

#[test]
fn an_account_has_as_many_sessions_as_it_may_and_one_that_comes_back_takes_its_place() {
    let mut world = limited(|limits| limits.sessions_per_user = 2);
    let mut alice = Member::new(&mut world, "alice", 1, 1);
    let legacy = world.legacy("alice");
    let late = world.connect(Dialect::Modern);
    assert_eq!(world.refused(late, login("alice")), "too_many_sessions");
    world.ok(late, login("bob"));
    let old = world.connect(Dialect::Legacy);
    let many = "Login failed. Too many sessions of this user: end one first.";
    assert_eq!(world.command(old, "/login alice pw"), [many]);
    assert_eq!(world.command(old, "/list"), ["You must /login first."]);
    // The same client on another connection, before the server knows that the first is lost.
    let again = world.connect(Dialect::Modern);
    let token = alice.token.take().unwrap();
    assert_eq!(world.refused(again, RequestBody::Resume { token: token.clone(), run: run_id(2) }), "too_many_sessions");
    world.ok(again, RequestBody::Resume { token, run: run_id(1) });
    assert_eq!(world.events(alice.session), [Event::bye(ByeReason::Replaced)]);
    // Who logs in again at a session takes its own place, and who goes leaves one.
    assert_eq!(world.command(legacy, "/login alice pw"), ["Login successful. Welcome, alice!"]);
    world.disconnect(legacy);
    assert_eq!(world.command(old, "/login alice pw"), ["Login successful. Welcome, alice!"]);
}

#[test]
fn accounts_from_one_network_are_made_at_a_rate_and_others_do_not_notice() {
    let mut world = limited(|limits| limits.registrations = Rate::per(3, 30 * MINUTE));
    let guest = guest_from(&mut world, 1);
    for name in ["a", "b", "c"] {
        world.ok(guest, register(name));
    }
    assert_eq!(code(&mut world, guest, register("d")), Err(ErrorCode::TooManyRegistrations { retry_after: 600 }));
    assert_eq!(code(&mut world, guest, register("a")), Err(ErrorCode::UserExists), "which makes nothing");
    let neighbour = guest_from(&mut world, 2);
    world.ok(neighbour, register("d"));
    let legacy = SessionId(77);
    world.feed(Input::Connected(legacy, IpAddr::from([10, 0, 0, 1]), Dialect::Legacy));
    let wait = "Registration failed: Too many new accounts from your address. Try again in 600 s.";
    assert_eq!(world.command(legacy, "/register e pw"), [wait]);
    world.pass(10 * MINUTE);
    assert_eq!(world.command(legacy, "/register e pw"), ["Registration successful for e. You may now /login."]);
    // god makes as many as it takes.
    assert_eq!(world.command(legacy, "/login god pw"), ["Login successful. Welcome, god!"]);
    for name in ["f", "g", "h"] {
        let made = format!("Registration successful for {name}. You may now /login.");
        assert_eq!(world.command(legacy, &format!("/register {name} pw")), [made]);
    }
}

#[test]
fn rooms_from_one_network_are_made_at_a_rate_and_others_do_not_notice() {
    let mut world = limited(|limits| limits.creations = Rate::per(3, 30 * MINUTE));
    // Two accounts make no more than one does.
    let (modern, other) = (guest_from(&mut world, 1), one_of_many_from(&mut world, 1, 1));
    world.ok(modern, login("alice"));
    world.ok(other, login("bob"));
    world.ok(modern, create("a"));
    world.ok(other, create("b"));
    world.ok(modern, create("c"));
    assert_eq!(code(&mut world, other, create("d")), Err(ErrorCode::TooManyNewRooms { retry_after: 600 }));
    assert_eq!(code(&mut world, other, create("a")), Err(ErrorCode::RoomExists), "which makes nothing");
    let legacy = SessionId(77);
    world.feed(Input::Connected(legacy, IpAddr::from([10, 0, 0, 1]), Dialect::Legacy));
    world.command(legacy, "/login bob pw");
    let wait = "Create room failed: Too many new rooms from your address. Try again in 600 s.";
    assert_eq!(world.command(legacy, "/create d pw"), [wait]);
    let neighbour = guest_from(&mut world, 2);
    world.ok(neighbour, login("bob"));
    world.ok(neighbour, create("d"));
    world.pass(10 * MINUTE);
    assert_eq!(world.command(legacy, "/create e pw"), ["Room 'e' created."]);
    // god makes as many as it takes.
    assert_eq!(world.command(legacy, "/login god pw"), ["Login successful. Welcome, god!"]);
    for room in ["f", "g", "h"] {
        assert_eq!(world.command(legacy, &format!("/create {room} pw")), [format!("Room '{room}' created.")]);
    }
}

/// By default, one network that makes accounts to make rooms fills no table of ten thousand.
#[test]
fn accounts_without_end_make_no_rooms_without_end() {
    let mut world = limited(|_| {});
    let mut made = 0;
    for n in 0..30 {
        let guest = one_of_many_from(&mut world, 1, n);
        world.ok(guest, register(&format!("u{n}")));
        world.ok(guest, login(&format!("u{n}")));
        made += (0..30).filter(|room| code(&mut world, guest, create(&format!("r{n}-{room}"))).is_ok()).count();
    }
    assert_eq!(made, 100);
}

#[test]
fn without_rates_nobody_waits_and_the_sizes_stay() {
    let mut world = limited(|limits| {
        limits.registrations = Rate::per(3, MINUTE);
        limits.accounts = 500;
        limits.lift_rates();
    });
    let guest = world.connect(Dialect::Modern);
    for n in 0..497 {
        world.ok(guest, register(&format!("u{n}")));
    }
    assert_eq!(world.refused(guest, register("one-more")), "too_many_accounts");
    (0..1000).for_each(|_| assert_eq!(world.refused(guest, wrong_login("alice")), "login_failed"));
}

#[test]
fn who_does_not_log_in_is_sent_away_after_an_hour_and_who_does_may_stay() {
    let mut world = limited(|_| {});
    let (legacy, modern) = (world.connect(Dialect::Legacy), world.connect(Dialect::Modern));
    let member = world.legacy("alice");
    for _ in 0..59 {
        world.pass(MINUTE);
        world.ok(modern, RequestBody::Ping); // a sign of life is no log-in
        assert_eq!(world.command(legacy, "/nonsense"), ["Unknown command."]);
    }
    assert!(world.ended.is_empty());
    world.pass(MINUTE);
    assert!(world.ended.contains(&legacy) && world.ended.contains(&modern));
    assert_eq!(world.events(modern), [Event::bye(ByeReason::LoginTimeout)]);
    assert_eq!(world.texts(legacy), ["You did not log in for too long. Connect again when you want to."]);
    world.pass(24 * 60 * MINUTE);
    assert_eq!(world.command(member, "/list"), ["No rooms found."], "a legacy member may be silent for ever");
}

#[test]
fn who_logs_out_has_the_whole_time_again() {
    let mut world = limited(|_| {});
    let session = world.announced("alice", 1, 1);
    let stay_alive = |world: &mut World, minutes| {
        for _ in 0..minutes {
            world.pass(MINUTE);
            if !world.ended.contains(&session) {
                world.ok(session, RequestBody::Ping);
            }
        }
    };
    stay_alive(&mut world, 90);
    world.ok(session, RequestBody::Logout);
    stay_alive(&mut world, 59);
    assert!(world.ended.is_empty());
    stay_alive(&mut world, 1);
    assert!(world.ended.contains(&session));
}

#[test]
fn who_does_nothing_is_sent_away_where_the_operator_wants_it() {
    let mut world = limited(|limits| (limits.login_time, limits.idle_time) = (None, Some(10 * MINUTE)));
    let guest = world.connect(Dialect::Legacy);
    let (lurker, talker) = (world.legacy("alice"), world.legacy("bob"));
    let (pinger, asker) = (world.announced("alice", 1, 1), world.announced("bob", 2, 2));
    for _ in 0..12 {
        world.pass(MINUTE);
        world.command(talker, "/list");
        world.ok(asker, RequestBody::List);
        if !world.ended.contains(&pinger) {
            world.ok(pinger, RequestBody::Ping);
        }
    }
    assert_eq!(world.ended, [lurker, pinger].into());
    assert_eq!(world.events(pinger), [Event::bye(ByeReason::Idle)]);
    let words = "You did nothing for too long, so the session ends. Connect again, and /login.";
    assert_eq!(world.texts(lurker).last().map(String::as_str), Some(words));
    assert_eq!(world.command(guest, "/list"), ["You must /login first."], "there is no time for a guest here");
}

/// The shorter of the two times counts from the moment at which somebody becomes a member.
#[test]
fn idling_begins_with_the_log_in() {
    let mut world = limited(|limits| limits.idle_time = Some(10 * MINUTE));
    let session = world.connect(Dialect::Legacy);
    world.pass(9 * MINUTE);
    world.command(session, "/login alice pw");
    world.pass(9 * MINUTE);
    assert!(world.ended.is_empty());
    world.pass(MINUTE);
    assert!(world.ended.contains(&session));
}

#[test]
fn who_waits_for_a_password_to_be_checked_is_not_idle() {
    let mut world = limited(|limits| limits.login_time = Some(MINUTE));
    let session = world.connect(Dialect::Modern);
    world.work_waits = true;
    let id = world.request(session, login("alice"));
    world.pass(5 * MINUTE);
    assert!(world.ended.is_empty());
    world.work_on();
    assert!(matches!(world.answer_to(session, id).1, Some(Answer::Ok { .. })));
}

#[test]
fn no_time_is_kept_where_no_time_is_set() {
    let mut world = limited(|limits| (limits.login_time, limits.idle_time) = (None, None));
    world.connect(Dialect::Legacy);
    world.legacy("alice");
    assert_eq!(world.hub.deadline(), None);
}

#[test]
fn a_closed_server_makes_no_accounts_but_for_god() {
    let mut world = world(Limits::default(), Registration::Closed);
    let (modern, legacy) = (world.connect(Dialect::Modern), world.connect(Dialect::Legacy));
    let closed = "Registration failed: This server makes no new accounts. Ask whoever runs it.";
    for name in ["carol", "alice", "god", "no/name"] {
        assert_eq!(world.refused(modern, register(name)), "registration_closed", "{name}");
        assert_eq!(world.command(legacy, &format!("/register {name} pw")), [closed], "{name}");
    }
    assert_eq!(world.command(legacy, "/register carol"), ["Usage: /register <username> <password>"]);
    let member = world.announced("alice", 1, 1);
    assert_eq!(world.refused(member, register("carol")), "registration_closed");
    let god = world.announced("god", 9, 9);
    world.ok(god, register("carol"));
    let legacy_god = world.legacy("god");
    assert_eq!(
        world.command(legacy_god, "/register dave pw"),
        ["Registration successful for dave. You may now /login."]
    );
    world.ok(modern, login("carol"));
}

fn with_tokens() -> World {
    world(Limits::default(), Registration::Token(RegistrationTokens::new(&["t0ken", "other"].map(password))))
}

#[test]
fn a_token_makes_accounts_on_both_wires_and_nothing_else_does() {
    let mut world = with_tokens();
    let (modern, legacy) = (world.connect(Dialect::Modern), world.connect(Dialect::Legacy));
    let wanted = "Registration failed: It needs a valid token from whoever runs the server: \
                  /register <username> <password> <token>";
    // Neither does a name that is taken, reserved or none tell itself.
    for name in ["carol", "alice", "god", "no/name"] {
        for token in [None, Some("T0KEN"), Some("t0ke"), Some("t0kenn")] {
            assert_eq!(world.refused(modern, register_with(name, token)), "registration_token", "{name}");
        }
        for line in [format!("/register {name} pw"), format!("/register {name} pw no")] {
            assert_eq!(world.command(legacy, &line), [wanted], "{line}");
        }
        world.pass(MINUTE);
        world.ok(modern, RequestBody::Ping);
    }
    world.ok(modern, register_with("carol", Some("t0ken")));
    world.ok(modern, register_with("carl", Some("other")));
    let made = "Registration successful for dave. You may now /login.";
    assert_eq!(world.command(legacy, "/register dave pw t0ken more words"), [made]);
    assert_eq!(world.refused(modern, register_with("carol", Some("t0ken"))), "user_exists");
    world.ok(modern, login("carol"));
}

#[test]
fn guessing_a_token_is_slowed_down_and_a_missing_one_is_no_guess() {
    let mut world = with_tokens();
    let guest = guest_from(&mut world, 1);
    (0..100).for_each(|_| assert_eq!(world.refused(guest, register("carol")), "registration_token"));
    let guess = |n: u32| register_with("carol", Some(&format!("guess-{n}")));
    let refused: Vec<_> = (0..40).map(|n| code(&mut world, guest, guess(n)).unwrap_err()).collect();
    assert_eq!(refused.iter().filter(|code| **code == ErrorCode::RegistrationToken).count(), 30);
    let wait = ErrorCode::TooManyAttempts { retry_after: 1 };
    assert_eq!(refused.last(), Some(&wait));
    assert_eq!(
        code(&mut world, guest, register_with("carol", Some("t0ken"))),
        Err(wait),
        "nor is a right one looked at"
    );
    let neighbour = guest_from(&mut world, 2);
    world.ok(neighbour, register_with("carol", Some("t0ken")));
}

#[test]
fn wrong_tokens_keep_nobody_at_the_same_address_from_logging_in() {
    let mut world = with_tokens();
    let guest = guest_from(&mut world, 1);
    for n in 0..40 {
        let _ = world.ask(guest, register_with("carol", Some(&format!("guess-{n}"))));
    }
    let neighbour = one_of_many_from(&mut world, 1, 1);
    world.ok(neighbour, login("alice"));
}

fn wrong_login(user: &str) -> RequestBody {
    RequestBody::Login { user: UserName::new(user), password: password("guess") }
}

/// bob is logged in, and a neighbour guesses the password of his account: that keeps bob out of no room.
#[test]
fn guesses_at_an_account_keep_its_owner_out_of_no_room_at_the_same_address() {
    let mut world = limited(|_| {});
    let alice = world.announced("alice", 1, 1);
    world.ok(alice, create("den"));
    let (bob, neighbour) = (guest_from(&mut world, 1), one_of_many_from(&mut world, 1, 1));
    world.ok(bob, login("bob"));
    world.ok(bob, announce(2, 2));
    let guesses = (0..40).map(|_| world.refused(neighbour, wrong_login("bob"))).collect::<Vec<_>>();
    assert_eq!(guesses.last(), Some(&"too_many_attempts"));
    world.ok(bob, join("den"));
}

/// However many guess at once: what is being checked counts as if it had failed.
#[test]
fn guesses_at_once_are_no_more_than_guesses_in_turn() {
    let mut world = limited(|_| {});
    let sessions: Vec<_> = (0..100).map(|n| one_of_many_from(&mut world, 1, n)).collect();
    world.work_waits = true;
    let guess = |(n, session): (usize, &SessionId), world: &mut World| {
        (*session, world.request(*session, wrong_login(&format!("u{n}"))))
    };
    let asked: Vec<_> = sessions.iter().enumerate().map(|asks| guess(asks, &mut world)).collect();
    assert_eq!(world.at_work(), 30);
    (0..100).for_each(|_| world.work_on());
    assert_eq!(world.work, 30);
    for (n, (session, id)) in asked.into_iter().enumerate() {
        let Some(Answer::Error { code, .. }) = world.answer_to(session, id).1 else { panic!("{n} was not answered") };
        let expected = if n < 30 { ErrorCode::LoginFailed } else { ErrorCode::TooManyAttempts { retry_after: 1 } };
        assert_eq!(code, expected, "{n}");
    }
    // One second is worth one guess, however many ask for it.
    world.pass(Duration::from_secs(1));
    let _: Vec<_> = sessions.iter().enumerate().map(|asks| guess(asks, &mut world)).collect();
    assert_eq!(world.at_work(), 1);
}

/// Two hundred people behind one address come at once, with the right passwords; one of them mistypes, and one goes.
#[test]
fn a_crowd_behind_one_address_gets_in_however_many_come_at_once() {
    let mut world = limited(|_| {});
    (0..200).for_each(|n| world.add_user(&format!("u{n}")));
    world.work_waits = true;
    let ask = |n: u64, world: &mut World| {
        let session = one_of_many_from(world, 1, n);
        let name = format!("u{n}");
        (session, world.request(session, if n == 7 { wrong_login(&name) } else { login(&name) }))
    };
    let asked: Vec<_> = (0..200).map(|n| ask(n, &mut world)).collect();
    world.disconnect(asked[3].0); // while its password is checked
    world.disconnect(asked[100].0); // while it waits
    for _ in 0..200 {
        assert!(world.at_work() <= 31, "{}", world.at_work()); // what was asked of who has gone is at work, too
        world.work_on();
    }
    assert_eq!(world.work, 199);
    for (n, (session, id)) in asked.into_iter().enumerate().filter(|(n, _)| ![3, 7, 100].contains(n)) {
        assert!(matches!(world.answer_to(session, id).1, Some(Answer::Ok { .. })), "{n}");
    }
}

/// Thirty of an account's sessions log in at once: what its owner changes meanwhile waits for its turn, as they do.
#[test]
fn who_changes_a_password_while_many_log_in_to_the_account_waits_for_a_turn() {
    let mut world = limited(|_| {});
    let owner = world.announced("alice", 1, 1);
    world.work_waits = true;
    let sessions: Vec<_> = (0..40).map(|_| world.connect(Dialect::Modern)).collect();
    let logins: Vec<_> = sessions.iter().map(|session| world.request(*session, login("alice"))).collect();
    let change = RequestBody::Account { password: password("pw"), legacy: false };
    let id = world.request(owner, change);
    assert_eq!(world.at_work(), 30);
    (0..41).for_each(|_| world.work_on());
    assert!(matches!(world.answer_to(owner, id).1, Some(Answer::Ok { .. })));
    for (session, id) in sessions.into_iter().zip(logins) {
        assert!(matches!(world.answer_to(session, id).1, Some(Answer::Ok { .. })));
    }
}

/// A modern client's third word may have been meant to be a part of the password: it is not dropped in silence.
#[test]
fn a_token_where_none_is_needed_is_refused_on_the_modern_wire_and_passed_over_on_the_other() {
    let mut world = limited(|_| {});
    let (modern, legacy) = (world.connect(Dialect::Modern), world.connect(Dialect::Legacy));
    assert_eq!(world.refused(modern, register_with("carol", Some("word"))), "no_token_needed");
    let made = "Registration successful for carol. You may now /login.";
    assert_eq!(world.command(legacy, "/register carol pw word"), [made]);
}

/// As many wrong passwords, from as many places, at a name that somebody has and at one that nobody has: the answers are the
/// same, to the second.
#[test]
fn being_slowed_down_does_not_tell_who_has_an_account() {
    let answers = |name: &str| {
        let mut world = limited(|_| {});
        let guests: Vec<_> = (0..6).map(|n| guest_from(&mut world, n)).collect();
        let wrong = |n: usize| RequestBody::Login { user: UserName::new(name), password: password(&format!("g{n}")) };
        (0..120).map(|n| code(&mut world, guests[n % 6], wrong(n)).unwrap_err()).collect::<Vec<_>>()
    };
    let (known, unknown) = (answers("alice"), answers("nobody"));
    assert_eq!(known, unknown);
    assert!(known.iter().any(|code| matches!(code, ErrorCode::TooManyAttempts { .. })));
}

#[test]
fn god_is_registered_in_no_disguise() {
    let mut world = limited(|_| {});
    let (modern, legacy) = (world.connect(Dialect::Modern), world.connect(Dialect::Legacy));
    let names = world.hub.directory().users().len();
    for disguise in [
        "god",
        "God",
        "GOD",
        "gOd", // another case
        "gоd",
        "gοd",
        "ɡod",
        "gօd",
        "Ԍod", // Cyrillic, Greek, Latin script, Armenian, Komi
        "ꞬoᎠ", // Latin script and Cherokee
        "ｇｏｄ",
        "ＧＯＤ",
        "𝐠𝐨𝐝",
        "𝕘𝕠𝕕",
        "ⓖod", // full width, mathematical, in a circle
        "g0d",
        "G0D",
        "g๐d", // digits
        "go\u{301}d",
        "gód",
        "gọd",
        "ġod",
        "goḍ",
        "g\u{335}od", // with marks
        "g\u{200b}od",
        "god\u{200d}",
        "\u{feff}god",
        "g\u{34f}od",
        "go\u{ad}d",
        "god\u{fe0f}", // with what is invisible
        "god\u{202e}",
        "\u{202a}god",
        "g\u{1b}od",
        "god\u{7f}", // with controls
    ] {
        let refused = world.refused(modern, register(disguise));
        assert!(["reserved", "bad_name"].contains(&refused), "{disguise:?}: {refused}");
        let said = world.command(legacy, &format!("/register {disguise} pw"));
        assert!(!said[0].contains("successful"), "{disguise:?}: {said:?}");
    }
    assert_eq!(world.hub.directory().users().len(), names);
    for other in ["good", "dog", "goddess", "demigod", "gad"] {
        world.ok(modern, register(other));
    }
}

#[test]
fn a_name_is_taken_in_every_disguise() {
    let mut world = limited(|_| {});
    let modern = world.announced("alice", 1, 1);
    world.ok(modern, register("Zoë"));
    world.ok(modern, create("Lobby"));
    world.ok(modern, register("TOM"));
    world.ok(modern, register("ВЕТ"));
    for disguise in ["ALICE", "ａｌｉｃｅ", "𝐚𝐥𝐢𝐜𝐞", "ZOË", "zoe\u{308}", "ТОМ", "том", "ΒΕΤ", "bet", "АӏІсе"]
    {
        assert_eq!(world.refused(modern, register(disguise)), "looks_alike", "{disguise}");
    }
    assert_eq!(world.refused(modern, register("Zoe\u{308}")), "user_exists", "the same in another normal form");
    for disguise in ["lobby", "LOBBY", "Ｌobby"] {
        assert_eq!(world.refused(modern, create(disguise)), "looks_alike", "{disguise}");
    }
    for mixed in ["аlice", "alіce", "Lоbby", "ᎠAVID", "carolдом"] {
        assert_eq!(world.refused(modern, register(mixed)), "bad_name", "{mixed}");
        assert_eq!(world.refused(modern, create(mixed)), "bad_name", "{mixed}");
    }
    let legacy = world.connect(Dialect::Legacy);
    let refused = "Registration failed: the letters of a name are of one script.";
    assert_eq!(world.command(legacy, "/register carolдом pw"), [refused]);
    for invisible in ["ali\u{200b}ce", "alice\u{2060}", "al\u{202e}ice", "alice\u{1b}[2J"] {
        assert_eq!(world.refused(modern, register(invisible)), "bad_name", "{invisible:?}");
        assert_eq!(world.refused(modern, create(invisible)), "bad_name", "{invisible:?}");
    }
}

/// Names from a Python server, which let everybody in: they could not be registered today, and look alike.
#[test]
fn who_has_a_name_that_is_refused_today_logs_in_all_the_same() {
    let mut world = limited(|_| {});
    let names = ["bоb", "ꞬoᎠ", "ᎠAVID", "DAVID", "BOB", "ΒΟΒ", "carolдом"];
    for name in names {
        world.add_user(name);
        let session = world.connect(Dialect::Modern);
        world.ok(session, login(name));
        world.legacy(name);
    }
}

#[test]
fn a_session_that_is_refused_for_a_limit_goes_on() {
    let mut world = limited(|limits| limits.accounts = 3);
    let guest = world.connect(Dialect::Modern);
    assert_eq!(world.refused(guest, register("carol")), "too_many_accounts");
    world.ok(guest, login("alice"));
    world.ok(guest, announce(1, 1));
}
