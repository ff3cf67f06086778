//! What the hub does on the modern wire, one sentence after the other.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::time::Duration;

use common::member::Member;
use common::world::{World, announce, entry, join, login, password};
use secure_chat::chat::{Dialect, Input, RsaKey};
use secure_chat::crypto::PublicKey;
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::legacy::spki_pem;
use secure_chat::protocol::modern::{
    ByeReason, Changes, DirectBody, DirectRequest, DirectStamp, Event, GrantRequest, GrantStamp, MembersEvent, OkBody,
    Origin, Reader, RemovedWhy, RequestBody, SessionToken, Wrap, Wraps,
};
use secure_chat::transcript::{BundleHash, Commitment, GrantCheck, KeyHash, RunId, Signature, Verb};

const SECOND: Duration = Duration::from_secs(1);

/// A world with some accounts, and the room `den` of alice.
fn world() -> World {
    let mut world = World::new();
    ["alice", "bob", "carol", "dave"].iter().for_each(|user| world.add_user(user));
    let alice = world.connect(Dialect::Modern);
    world.ok(alice, login("alice"));
    create(&mut world, alice, "den");
    world.disconnect(alice);
    world
}

fn create(world: &mut World, session: secure_chat::chat::SessionId, room: &str) {
    let room = RoomName::new(room);
    world.ok(session, RequestBody::Create { room, password: password("pw"), modern_only: false });
}

fn den() -> RoomName {
    RoomName::new("den")
}

/// As many of bob's sessions in the room as are told by name who comes.
fn crowd(world: &mut World) -> Vec<Member> {
    (0..=255).map(|n| Member::in_room(world, "bob", 2, n, "den")).collect()
}

/// The members events among these.
fn members(events: Vec<Event>) -> Vec<MembersEvent> {
    let members = |event| if let Event::Members(members) = event { Some(members) } else { None };
    events.into_iter().filter_map(members).collect()
}

#[test]
fn whoever_joins_has_the_log_and_everyone_the_same() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    alice.who(&mut world);
    assert_eq!(alice.at().n, 1);
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    let events = members(alice.heard(&mut world));
    assert_eq!(events[0].changes, Changes::Listed { joined: vec![entry("bob", 2, 2)], removed: vec![] });
    assert_eq!((alice.at(), alice.at().n), (bob.at(), 2));
    assert_eq!(alice.says(&mut world, "one").unwrap().n, 3);
    assert_eq!(bob.says(&mut world, "two").unwrap().n, 4);
    let heard = alice.heard(&mut world);
    let [Event::Message(message)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((message.n, message.user.as_str(), message.encrypted_message.as_str()), (4, "bob", "two"));
    bob.who(&mut world);
    assert_eq!(alice.at(), bob.at());
}

#[test]
fn who_is_lost_stays_listed_for_a_minute_and_returns_without_a_password() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    bob.says(&mut world, "one").unwrap();
    alice.who(&mut world);
    bob.lose(&mut world);
    world.pass(59 * SECOND);
    let before = alice.follower.as_ref().unwrap().roster;
    alice.who(&mut world);
    let away = |alice: &Member, name: &str| {
        alice.entries.iter().find(|e| e.entry.account == UserName::new(name)).map(|e| e.away)
    };
    assert_eq!((away(&alice, "bob"), away(&alice, "alice")), (Some(true), Some(false)));
    alice.events.clear();
    bob.resume(&mut world).unwrap();
    bob.ask_join(&mut world, "den", None);
    assert_eq!(bob.counter, 2, "the counter goes on");
    let event = members(alice.heard(&mut world)).remove(0);
    let bobs = vec![entry("bob", 2, 2)];
    assert_eq!(event.changes, Changes::Listed { joined: bobs.clone(), removed: bobs });
    assert_eq!((event.roster, alice.at()), (before, bob.at()));
    bob.lose(&mut world);
    // alice speaks up so as not to be silent for too long
    world.pass(60 * SECOND);
    let event = members(alice.heard(&mut world)).remove(0);
    assert_eq!(event.changes, Changes::Listed { joined: vec![], removed: vec![entry("bob", 2, 2)] });
    bob.resume(&mut world).unwrap();
    let id = bob.ask_join(&mut world, "den", None);
    assert_eq!(bob.outcome(id), Some(Err("wrong_room_password")));
}

#[test]
fn a_message_is_taken_once_and_in_order() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    let mut first = bob.message(&den(), "one");
    let accepted = bob.sends(&mut world, first.clone()).unwrap();
    first.resend = true;
    alice.heard(&mut world);
    let again = bob.sends(&mut world, first.clone()).unwrap();
    assert!(again.duplicate && (again.n, again.time) == (accepted.n, accepted.time));
    assert!(alice.heard(&mut world).is_empty());
    first.resend = false;
    assert_eq!(bob.sends(&mut world, first), Err("out_of_order"));
    bob.counter = 4;
    assert_eq!(bob.says(&mut world, "three"), Err("out_of_order"));
    bob.counter = 2;
    assert!(bob.says(&mut world, "two").is_ok());
    bob.counter = 3;
    bob.lose(&mut world);
    bob.resume(&mut world).unwrap();
    bob.join(&mut world, "den");
    let mut resent = bob.message(&den(), "two");
    (resent.stamp.counter, resent.resend) = (2, true);
    assert!(bob.sends(&mut world, resent).unwrap().duplicate);
}

#[test]
fn what_was_sealed_before_somebody_went_is_stale() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    let mut carol = Member::in_room(&mut world, "carol", 3, 3, "den");
    let mut dave = Member::in_room(&mut world, "dave", 4, 4, "den");
    [&mut alice, &mut bob, &mut carol].iter_mut().for_each(|member| member.hear(&mut world));
    let before_leave = bob.message(&den(), "x");
    dave.does(&mut world, Verb::Leave, "", "").unwrap().unwrap();
    world.pass(30 * SECOND);
    assert!(bob.sends(&mut world, before_leave.clone()).is_ok(), "it may have crossed the news");
    world.pass(SECOND);
    let mut next = before_leave;
    next.stamp.counter = 2;
    assert_eq!(bob.sends(&mut world, next), Err("stale"));
    bob.hear(&mut world);
    let before_kick = bob.message(&den(), "y");
    alice.does(&mut world, Verb::Kick, "carol", "").unwrap().unwrap();
    assert_eq!(bob.sends(&mut world, before_kick), Err("stale"));
    assert!(bob.says(&mut world, "z").is_ok());
    let mut invented = bob.message(&den(), "i");
    invented.stamp.at.n += 1;
    assert_eq!(bob.sends(&mut world, invented), Err("stale"));
    let leave = bob.deed(&den(), Verb::Leave, "", "");
    let mut leave = leave;
    leave.stamp.at.n = 0;
    let id = bob.acts(&mut world, leave);
    assert!(matches!(bob.outcome(id), Some(Ok(OkBody::Act(_)))), "nobody has to be up to date to leave");
    assert!(carol.heard(&mut world).contains(&Event::Removed { room: den(), why: RemovedWhy::Kicked }));
}

fn wrap(text: &str) -> Wrap {
    Wrap::new(text.to_owned()).unwrap()
}

fn grant(from: &Member, wraps: &[(&Member, &str)]) -> GrantRequest {
    let wraps: Wraps = wraps.iter().map(|(to, key)| (to.reader().bundle, wrap(key))).collect();
    let (check, signature) = (GrantCheck([5; 32]), Signature([6; 64]));
    GrantRequest { room: den(), stamp: GrantStamp { epoch: 1, counter: 1, at: from.at(), check, signature }, wraps }
}

#[test]
fn each_reader_gets_its_own_wrap_alone() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    let mut bob_too = Member::in_room(&mut world, "bob", 2, 3, "den");
    let mut carol = Member::in_room(&mut world, "carol", 3, 4, "den");
    let mut dave = Member::new(&mut world, "dave", 4, 5);
    alice.hear(&mut world);
    let request = grant(&alice, &[(&bob, "Ym9i"), (&carol, "Y2Fy"), (&dave, "ZGF2"), (&alice, "YWxp")]);
    alice.events.clear();
    alice.asks(&mut world, RequestBody::Grant(request)).unwrap();
    let mut got = |member: &mut Member| -> Vec<String> {
        let wrap = |event| if let Event::Grant(grant) = event { Some(grant.wrap.into_string()) } else { None };
        member.heard(&mut world).into_iter().filter_map(wrap).collect()
    };
    assert_eq!(got(&mut bob), ["Ym9i"]);
    assert_eq!(got(&mut bob_too), ["Ym9i"]);
    assert_eq!(got(&mut carol), ["Y2Fy"]);
    assert!(got(&mut dave).is_empty() && got(&mut alice).is_empty());
}

#[test]
fn grants_have_a_budget() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    alice.hear(&mut world);
    let mut request = grant(&alice, &[]);
    let long = "A".repeat(684);
    request.wraps = (0..80u8).map(|n| (BundleHash([n; 32]), wrap(&long))).collect();
    request.wraps.insert(bob.reader().bundle, wrap(&long));
    let taken = (0..100).take_while(|_| alice.asks(&mut world, RequestBody::Grant(request.clone())).is_ok()).count();
    assert_eq!(taken, (1024 * 1024 + 2 * 600) / (81 * 734));
    let mut stale = request.clone();
    stale.stamp.at.n = 77;
    assert_eq!(alice.asks(&mut world, RequestBody::Grant(request.clone())), Err("too_large"));
    world.pass(60 * SECOND);
    assert_eq!(alice.asks(&mut world, RequestBody::Grant(stale)), Err("stale"));
    assert!(alice.asks(&mut world, RequestBody::Grant(request)).is_ok());
}

#[test]
fn who_lacks_a_key_may_ask_for_it() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    let need = |reader: Reader| RequestBody::NeedKey { room: den(), user: UserName::new("alice"), reader, epoch: 3 };
    alice.heard(&mut world);
    bob.asks(&mut world, need(alice.reader())).unwrap();
    let heard = alice.heard(&mut world);
    let [Event::NeedKey { room, author, epoch: 3 }] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((room, author.user.as_str(), author.reader), (&den(), "bob", bob.reader()));
    let other = Reader { run: RunId([9; 16]), ..alice.reader() };
    assert_eq!(bob.asks(&mut world, need(other)), Err("not_here"));
    let reader = alice.reader();
    alice.lose(&mut world);
    assert_eq!(bob.asks(&mut world, need(reader)), Err("not_here"), "who is away gets nothing");
}

#[test]
fn a_large_room_is_told_of_many_changes_at_once() {
    let mut world = world();
    let mut first = crowd(&mut world);
    assert_eq!(first[0].heard(&mut world).len(), 255);
    first[0].who(&mut world);
    let mut late: Vec<_> = (0..20).map(|n| Member::new(&mut world, "carol", 3, n)).collect();
    let ids: Vec<_> = late.iter_mut().map(|member| member.ask_join(&mut world, "den", Some("pw"))).collect();
    assert!(late.iter().zip(&ids).all(|(member, id)| member.outcome(*id).is_none()));
    assert!(first[0].heard(&mut world).is_empty());
    world.pass(Duration::from_millis(249));
    assert!(first[0].heard(&mut world).is_empty());
    world.pass(Duration::from_millis(1));
    let event = members(first[0].heard(&mut world)).remove(0);
    assert!(matches!(event.changes, Changes::Hashed { joined: 20, removed: 0, .. }), "{event:?}");
    let position = first[0].at();
    for member in &mut late {
        member.hear(&mut world);
        assert_eq!(member.at(), position, "everyone is where everyone is");
    }
    assert_eq!(world.waits.len(), 0);
    first[0].who(&mut world);
    assert_eq!(first[0].entries.len(), 276);
    // A lost joiner of whom nobody was told was never there.
    let mut ghost = Member::new(&mut world, "dave", 4, 1);
    ghost.ask_join(&mut world, "den", Some("pw"));
    ghost.lose(&mut world);
    first[0].who(&mut world);
    assert!(first[0].heard(&mut world).is_empty());
    assert_eq!(first[0].entries.len(), 276);
    // What is collected is written before a list is given, and before an act.
    let mut dave = Member::new(&mut world, "dave", 4, 2);
    dave.ask_join(&mut world, "den", Some("pw"));
    first[0].who(&mut world);
    dave.hear(&mut world);
    assert_eq!((dave.at(), first[0].entries.len()), (first[0].at(), 277));
    let mut again = Member::new(&mut world, "dave", 4, 3);
    again.ask_join(&mut world, "den", Some("pw"));
    dave.does(&mut world, Verb::Leave, "", "").unwrap().unwrap();
    again.hear(&mut world);
    assert!(again.heard(&mut world).iter().any(|event| matches!(event, Event::Act(_))));
}

#[test]
fn a_repeated_join_in_a_large_room_misses_nothing() {
    let mut world = world();
    let mut first = crowd(&mut world);
    let mut carol = Member::new(&mut world, "carol", 3, 1);
    carol.ask_join(&mut world, "den", Some("pw"));
    world.pass(SECOND);
    carol.hear(&mut world);
    carol.ask_join(&mut world, "den", None);
    first[0].says(&mut world, "meanwhile").unwrap();
    carol.hear(&mut world);
    assert!(carol.events.iter().any(|event| matches!(event, Event::Message(_))));
    world.pass(SECOND);
    carol.hear(&mut world);
    first[0].hear(&mut world);
    assert_eq!(carol.at(), first[0].at());
    let own = members(carol.events).into_iter().filter(|event| matches!(event.changes, Changes::Hashed { .. }));
    assert_eq!(own.count(), 0, "of its own joining, it is told by the answer alone");
}

#[test]
fn a_legacy_member_does_not_speak_before_a_large_room_was_told_that_it_is_there() {
    let mut world = world();
    let mut first = crowd(&mut world);
    let python = world.legacy("carol");
    world.command(python, "/join den pw");
    first[0].heard(&mut world);
    world.package(python, &den(), "hi", &[]);
    let heard = first[0].heard(&mut world);
    assert!(matches!(&heard[..], [Event::Members(_), Event::Message(_)]), "{heard:?}");
}

#[test]
fn so_many_of_an_accounts_sessions_stay_listed_when_they_are_lost() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1000, "den");
    // One connection that is somebody else again and again would fill the list.
    let bob = world.connect(Dialect::Modern);
    for run in 0..100 {
        world.ok(bob, login("bob"));
        world.ok(bob, announce(1, run));
        world.ok(bob, join("den"));
    }
    world.ok(bob, login("bob"));
    alice.who(&mut world);
    assert_eq!(alice.entries.len(), 1 + 64);
}

#[test]
fn a_token_brings_a_session_back_without_a_hash() {
    let mut world = world();
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    let work = world.work;
    for _ in 0..1000 {
        bob.lose(&mut world);
        bob.resume(&mut world).unwrap();
        bob.ask_join(&mut world, "den", None);
        assert_eq!(bob.room(), Some(den()));
    }
    assert_eq!(world.work, work);
    let unknown = RequestBody::Resume { token: SessionToken::new([9; 32]), run: RunId([1; 16]) };
    assert_eq!(bob.asks(&mut world, unknown), Err("bad_token"));
    bob.asks(&mut world, RequestBody::Logout).unwrap();
    assert_eq!(bob.resume(&mut world), Err("bad_token"), "who logs out takes the token back");
}

#[test]
fn a_token_lives_for_a_day_after_its_last_use() {
    let mut world = world();
    let mut bob = Member::new(&mut world, "bob", 2, 2);
    let hour = Duration::from_secs(3600);
    for _ in 0..3 {
        bob.lose(&mut world);
        world.pass(23 * hour);
        let OkBody::Resume { expires, .. } = bob.resume(&mut world).unwrap() else { panic!() };
        assert_eq!(expires, world.now.unix_ms + 24 * 3_600_000);
    }
    bob.lose(&mut world);
    world.pass(24 * hour);
    assert_eq!(bob.resume(&mut world), Err("bad_token"));
    world.disconnect(bob.session);
    world.pass(2 * hour);
    assert_eq!(world.hub.deadline(), None, "nothing is left to wait for");
}

#[test]
fn one_run_is_at_one_session_at_a_time() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    alice.heard(&mut world);
    let mut successor = Member::new(&mut world, "bob", 2, 2);
    assert!(world.ended.contains(&bob.session));
    assert_eq!(world.events(bob.session), [Event::bye(ByeReason::Replaced)]);
    alice.who(&mut world);
    assert_eq!(alice.entries.iter().filter(|entry| entry.away).count(), 1);
    successor.ask_join(&mut world, "den", None);
    assert_eq!(successor.room(), Some(den()));
    let carol = Member::new(&mut world, "carol", 3, 2);
    assert!(!world.ended.contains(&successor.session), "another account's run is another run");
    let _ = carol;
}

#[test]
fn a_new_password_ends_all_other_sessions_and_tokens() {
    let mut world = world();
    let mut bob = Member::new(&mut world, "bob", 2, 2);
    let mut other = Member::in_room(&mut world, "bob", 3, 3, "den");
    let python = world.legacy("bob");
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    world.take(python);
    let passwd = |old: &str, new: &str| RequestBody::Passwd { old: password(old), new: password(new) };
    assert_eq!(bob.asks(&mut world, passwd("wrong", "new")), Err("wrong_password"));
    assert_eq!(bob.asks(&mut world, passwd("pw", "two words")), Err("bad_password"));
    assert_eq!(bob.asks(&mut world, passwd("pw", "")), Err("bad_password"));
    world.disk_fails = true;
    assert_eq!(bob.asks(&mut world, passwd("pw", "new")), Err("not_saved"));
    world.disk_fails = false;
    let OkBody::Passwd { session: Some(new) } = bob.asks(&mut world, passwd("pw", "new")).unwrap() else { panic!() };
    assert!(world.ended.contains(&other.session) && world.ended.contains(&python));
    assert!(other.heard(&mut world).contains(&Event::bye(ByeReason::PasswordChanged)));
    assert_eq!(world.texts(python), ["The password of this account was changed. You must connect and /login again."]);
    alice.who(&mut world);
    assert!(alice.entries.iter().any(|entry| entry.away), "its place is kept for a while");
    assert_eq!(other.resume(&mut world), Err("bad_token"));
    let old = bob.token.replace(new.token);
    assert!(bob.resume(&mut world).is_ok());
    bob.token = old;
    assert_eq!(bob.resume(&mut world), Err("bad_token"));
    let session = world.connect(Dialect::Modern);
    assert_eq!(world.refused(session, login("bob")), "login_failed");
}

#[test]
fn a_new_password_counts_also_when_its_session_ended_before_it_was_saved() {
    let mut world = world();
    let mut bob = Member::new(&mut world, "bob", 2, 2);
    let mut other = Member::new(&mut world, "bob", 3, 3);
    world.disk_waits = true;
    world.request(bob.session, RequestBody::Passwd { old: password("pw"), new: password("new") });
    bob.lose(&mut world);
    world.write();
    assert!(world.ended.contains(&other.session));
    assert_eq!(other.resume(&mut world), Err("bad_token"));
    assert_eq!(bob.resume(&mut world), Err("bad_token"));
}

/// What comes of a session's request when this happens while its password is looked at.
fn overtaken(
    body: RequestBody,
    meanwhile: fn(&mut World, &mut Member, &mut Member),
) -> Option<Result<OkBody, &'static str>> {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::new(&mut world, "bob", 2, 2);
    let mut dave = Member::new(&mut world, "dave", 4, 4);
    world.work_waits = true;
    let id = dave.begins(&mut world, body);
    world.work_waits = false;
    meanwhile(&mut world, &mut alice, &mut bob);
    world.work_on();
    dave.hear(&mut world);
    assert!(world.waits.is_empty());
    dave.outcome(id)
}

#[test]
fn who_gave_a_password_before_it_was_changed_does_not_get_in() {
    assert!(matches!(overtaken(login("bob"), |_, _, _| {}), Some(Ok(OkBody::Login { .. }))));
    let changed = overtaken(login("bob"), |world, _, bob| {
        bob.asks(world, RequestBody::Passwd { old: password("pw"), new: password("new") }).unwrap();
    });
    assert_eq!(changed, Some(Err("login_failed")));
    let changed =
        overtaken(join("den"), |world, alice, _| _ = alice.does(world, Verb::Password, "", "").unwrap().unwrap());
    assert_eq!(changed, Some(Err("wrong_room_password")));
}

#[test]
fn a_crowd_behind_one_address_gets_in_and_guessers_in_it_do_not_get_more_tries() {
    let mut world = World::new();
    (0..600).for_each(|n| world.add_user(&format!("u{n}")));
    let crowd = |world: &mut World, password: &str| -> Vec<_> {
        world.work_waits = true;
        let come = |n| {
            let session = world.connect(Dialect::Legacy);
            assert_eq!(world.command(session, &format!("/login u{n} {password}")), [""; 0]);
            session
        };
        (0..600).map(come).collect()
    };
    let honest = crowd(&mut world, "pw");
    let lost = [0, 300].map(|n| honest[n]); // one whose password is looked at, and one who waits
    lost.into_iter().for_each(|session| world.disconnect(session));
    (0..600).for_each(|_| world.work_on());
    assert!(honest.iter().all(|session| lost.contains(session) || world.hub.user_of(*session).is_some()));
    assert!(world.waits.is_empty());

    let mut world = World::new(); // where nobody is known
    (0..600).for_each(|n| world.add_user(&format!("u{n}")));
    let guessers = crowd(&mut world, "guess");
    (0..600).for_each(|_| world.work_on());
    assert!(world.work < 256 + 30, "{} guesses", world.work);
    assert!(world.texts(guessers[599])[0].starts_with("Too many wrong passwords or tokens."));
    assert!(world.waits.is_empty());
}

#[test]
fn who_is_banned_or_whose_room_goes_while_the_password_is_looked_at_does_not_get_in() {
    let banned = overtaken(join("den"), |world, alice, _| {
        alice.does(world, Verb::Ban, "dave", "").unwrap().unwrap();
    });
    assert_eq!(banned, Some(Err("banned")));
    let gone = |world: &mut World, alice: &mut Member, _: &mut Member| {
        alice.does(world, Verb::Delete, "", "").unwrap().unwrap();
    };
    assert_eq!(overtaken(join("den"), gone), Some(Err("no_such_room")));
    let another = overtaken(join("den"), |world, alice, bob| {
        alice.does(world, Verb::Delete, "", "").unwrap().unwrap();
        create(world, bob.session, "den");
    });
    assert_eq!(another, Some(Err("wrong_room_password")), "it was another room's");
}

#[test]
fn who_waits_for_the_disk_is_not_silent() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    world.disk_waits = true;
    assert_eq!(alice.does(&mut world, Verb::Topic, "", "spring"), None);
    world.pass(200 * SECOND);
    assert!(!world.ended.contains(&alice.session));
    world.write();
    alice.hear(&mut world);
    world.pass(75 * SECOND);
    assert!(world.ended.contains(&alice.session));
}

#[test]
fn no_more_changes_are_collected_than_an_answer_can_hold() {
    let mut world = world();
    let mut first = crowd(&mut world);
    let mut late: Vec<_> = (0..1025).map(|n| Member::new(&mut world, "carol", 3, n)).collect();
    first[0].heard(&mut world);
    for member in &mut late {
        member.ask_join(&mut world, "den", Some("pw"));
    }
    let event = members(first[0].heard(&mut world)).remove(0);
    assert!(matches!(event.changes, Changes::Hashed { joined: 1024, removed: 0, .. }), "{event:?}");
    assert_eq!(world.waits.len(), 1);
    late[0].hear(&mut world);
    assert_eq!(late[0].at(), first[0].at());
}

#[test]
fn the_keys_of_those_who_are_gone_are_kept_up_to_a_number() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut hashes = Vec::new();
    for n in 0..4098u32 {
        let key = RsaKey { pem: format!("key {n}").into(), spki: n.to_be_bytes().into() };
        hashes.push(BundleHash(KeyHash::of(&key.spki).0));
        let session = world.legacy("carol");
        world.command(session, "/join den pw");
        world.feed(Input::Key { session, user: UserName::new("carol"), key: Ok(key) });
        world.disconnect(session);
    }
    let asked = vec![hashes[0], hashes[1], hashes[2], hashes[4097]];
    let missing = alice.asks(&mut world, RequestBody::Bundles { hashes: asked });
    assert_eq!(missing, Ok(OkBody::Bundles { missing: vec![hashes[0], hashes[1]] }));
}

#[test]
fn owner_and_god_rule_and_nobody_rules_them() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    let mut god = Member::in_room(&mut world, "god", 9, 9, "den");
    let mut try_to = |who: &mut Member, verb, target: &str| who.does(&mut world, verb, target, "").unwrap().err();
    for verb in [Verb::Kick, Verb::Ban, Verb::Unban, Verb::Mute, Verb::Unmute] {
        assert_eq!(try_to(&mut bob, verb, "carol"), Some("forbidden"), "{verb}");
        assert_eq!(try_to(&mut alice, verb, "god"), Some("forbidden"), "{verb}");
        assert_eq!(try_to(&mut alice, verb, "alice"), Some("forbidden"), "{verb}");
        assert_eq!(try_to(&mut god, verb, "god"), Some("forbidden"), "{verb}");
        assert_eq!(try_to(&mut alice, verb, "nobody"), Some("no_such_user"), "{verb}");
    }
    for verb in [Verb::Topic, Verb::Flags, Verb::Password, Verb::Delete] {
        assert_eq!(try_to(&mut bob, verb, ""), Some("forbidden"), "{verb}");
    }
    assert_eq!(try_to(&mut alice, Verb::Kick, "carol"), Some("not_here"));
    assert_eq!(try_to(&mut alice, Verb::Mute, "bob"), None);
    assert_eq!(try_to(&mut god, Verb::Mute, "alice"), None);
    assert_eq!(bob.says(&mut world, "x"), Err("muted"));
    assert_eq!(alice.says(&mut world, "x"), Err("muted"));
    assert_eq!(alice.does(&mut world, Verb::Unmute, "bob", "").unwrap().err(), None);
    assert!(bob.says(&mut world, "x").is_ok());
}

#[test]
fn a_ban_holds_until_its_end() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    assert_eq!(alice.does(&mut world, Verb::Ban, "bob", "a week").unwrap(), Err("bad_request"));
    alice.does(&mut world, Verb::Ban, "bob", "60").unwrap().unwrap();
    let heard = bob.heard(&mut world);
    assert!(matches!(&heard[..], [Event::Act(_), Event::Removed { why: RemovedWhy::Banned, .. }]), "{heard:?}");
    let id = bob.ask_join(&mut world, "den", Some("pw"));
    let banned = format!("{:?}", bob.answers[&id]);
    assert!(banned.contains(&format!("Banned {{ until: Some({}) }}", world.now.unix_ms + 60_000)), "{banned}");
    world.pass(60 * SECOND);
    bob.resume(&mut world).unwrap();
    bob.join(&mut world, "den");
    alice.does(&mut world, Verb::Ban, "bob", "").unwrap().unwrap();
    alice.does(&mut world, Verb::Unban, "bob", "").unwrap().unwrap();
    bob.hear(&mut world);
    bob.join(&mut world, "den");
}

/// Only what is said to end at a time of day is measured by it: bans and mutes. All else goes by time that only passes.
#[test]
fn a_clock_that_jumps_logs_nobody_out_and_lets_nobody_wait() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    let carol = Member::in_room(&mut world, "carol", 3, 3, "den");
    alice.does(&mut world, Verb::Ban, "carol", "60").unwrap().unwrap();
    alice.does(&mut world, Verb::Ban, "dave", "").unwrap().unwrap();
    let right = world.now.unix_ms;
    let ten_years = 10 * 365 * 24 * 3_600_000;
    let is_banned =
        |world: &World, user: &str| world.disk.rooms[&den()].bans.hold(&UserName::new(user), world.now.unix_ms / 1000);
    for (clock, carols_ban) in [(right - ten_years, true), (0, true), (right + ten_years, false), (right, true)] {
        world.now.unix_ms = clock;
        world.pass(SECOND);
        alice.says(&mut world, "a").unwrap();
        bob.hear(&mut world);
        bob.lose(&mut world);
        bob.resume(&mut world).unwrap();
        bob.join(&mut world, "den");
        bob.says(&mut world, "b").unwrap();
        alice.hear(&mut world);
        assert_eq!(alice.at(), bob.at());
        assert_eq!((is_banned(&world, "carol"), is_banned(&world, "dave")), (carols_ban, true), "{clock}");
    }
    drop(carol);
}

#[test]
fn what_lasts_is_told_when_it_is_on_the_disk() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    world.disk_waits = true;
    assert_eq!(alice.does(&mut world, Verb::Topic, "", "spring"), None);
    assert!(bob.heard(&mut world).is_empty());
    bob.says(&mut world, "meanwhile").unwrap();
    world.write();
    alice.hear(&mut world);
    let heard = bob.heard(&mut world);
    assert!(matches!(&heard[..], [Event::Act(act)] if act.deed.argument.as_str() == "spring"), "{heard:?}");
    assert_eq!(alice.at(), bob.at());
    world.disk_fails = true;
    let act = alice.deed(&den(), Verb::Topic, "", "summer");
    let id = alice.acts(&mut world, act);
    world.write();
    alice.hear(&mut world);
    assert_eq!(alice.outcome(id), Some(Err("not_saved")));
    assert!(bob.heard(&mut world).is_empty());
    assert_eq!(alice.at(), bob.at());
}

#[test]
fn a_deleted_room_is_gone_and_one_of_its_name_is_another() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    let python = world.legacy("carol");
    world.command(python, "/join den pw");
    let away = Member::in_room(&mut world, "dave", 4, 4, "den");
    world.disconnect(away.session);
    let id = world.hub.directory().rooms()[&den()].id;
    world.take(python);
    alice.does(&mut world, Verb::Delete, "", "").unwrap().unwrap();
    for member in [&mut alice, &mut bob] {
        let heard = member.heard(&mut world);
        assert!(heard.contains(&Event::Removed { room: den(), why: RemovedWhy::Deleted }), "{heard:?}");
    }
    assert_eq!(world.texts(python), ["You were removed from 'den' by alice."]);
    assert_eq!(world.refused(bob.session, join("den")), "no_such_room");
    assert_eq!(world.refused(bob.session, RequestBody::Who { room: den() }), "join_first");
    create(&mut world, bob.session, "den");
    assert_ne!(world.hub.directory().rooms()[&den()].id, id);
    bob.join(&mut world, "den");
    assert_eq!(bob.at().n, 1);
    world.pass(60 * SECOND);
}

#[test]
fn a_join_that_waits_for_others_is_answered_before_its_room_is_deleted() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let crowd: Vec<_> = (0..255).map(|n| Member::in_room(&mut world, "bob", 2, n, "den")).collect();
    let mut late = Member::new(&mut world, "carol", 3, 1);
    alice.hear(&mut world);
    world.disk_waits = true;
    alice.does(&mut world, Verb::Delete, "", "");
    let id = late.ask_join(&mut world, "den", Some("pw"));
    world.write();
    late.hear(&mut world);
    assert!(matches!(late.outcome(id), Some(Ok(OkBody::Join(_)))));
    assert!(late.events.contains(&Event::Removed { room: den(), why: RemovedWhy::Deleted }));
    assert!(world.waits.is_empty() && crowd.len() == 255);
}

#[test]
fn silence_ends_a_session_and_a_ping_keeps_it() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    let python = world.legacy("carol");
    world.pass(74 * SECOND);
    bob.asks(&mut world, RequestBody::Ping).unwrap();
    world.pass(SECOND);
    assert!(alice.heard(&mut world).contains(&Event::bye(ByeReason::Silent)));
    assert!(world.ended.contains(&alice.session) && !world.ended.contains(&bob.session));
    world.pass(60 * SECOND);
    let last = members(bob.heard(&mut world)).pop().unwrap();
    assert_eq!(last.changes, Changes::Listed { joined: vec![], removed: vec![entry("alice", 1, 1)] });
    world.pass(1000 * SECOND);
    assert!(!world.ended.contains(&python), "the legacy wire has no signs of life");
}

#[test]
fn members_of_both_wires_are_in_one_room() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let python = world.legacy("carol");
    let carol = UserName::new("carol");
    world.key(python, &carol, 7);
    let heard = world.command(python, "/join den pw");
    let real = PublicKey::from_pem(include_str!("data/alice.pub")).unwrap();
    assert_eq!(spki_pem(real.spki_der()), *real.pem(), "what is announced is canonical");
    let key = |user: &str, number| format!("PUBKEY::{user}::{}", spki_pem(&[number; 30]));
    assert_eq!(heard, [key("alice", 1), "carol joined the chat!".into()]);
    alice.who(&mut world);
    let kinds: Vec<_> = alice.entries.iter().map(|entry| entry.entry.key.kind()).collect();
    assert!(kinds.contains(&"legacy") && kinds.contains(&"modern"));
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    assert_eq!(world.texts(python), [key("bob", 2), "bob joined the chat!".into()]);
    // What a legacy member says is in the log, and each gets its own key.
    alice.heard(&mut world);
    bob.heard(&mut world);
    world.package(python, &den(), "tok", &[("alice", "QQ=="), ("bob", "Qg==")]);
    for (member, key) in [(&mut alice, "QQ=="), (&mut bob, "Qg==")] {
        let heard = member.heard(&mut world);
        let [Event::Message(message)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(message.origin, Origin::Legacy { encrypted_key: Some(key.into()) });
    }
    // What a modern member says reaches it with its own key.
    let mut message = bob.message(&den(), "tok2");
    message.encrypted_keys = Some([(carol.clone(), wrap("Q2Fy")), (UserName::new("dave"), wrap("RGF2"))].into());
    bob.sends(&mut world, message).unwrap();
    assert_eq!(world.texts(python), [r#"{"encrypted_message":"tok2","encrypted_keys":{"carol":"Q2Fy"},"room":"den"}"#]);
    // One that does not fit its wire does not, and the sender is told.
    bob.says(&mut world, &"x".repeat(5000)).unwrap();
    assert!(world.texts(python).is_empty());
    let told = bob.heard(&mut world);
    assert!(matches!(&told[..], [Event::NotDelivered { members: 1, n, .. }] if *n == bob.at().n), "{told:?}");
    assert!(alice.heard(&mut world).iter().any(|event| matches!(event, Event::Message(_))));
    // Another key is another entry.
    world.key(python, &carol, 8);
    let event = members(alice.heard(&mut world)).remove(0);
    let Changes::Listed { joined, removed } = event.changes else { panic!() };
    assert_eq!((joined.len(), removed.len(), joined[0].run), (1, 1, removed[0].run));
    bob.does(&mut world, Verb::Leave, "", "").unwrap().unwrap();
    assert_eq!(world.texts(python), ["bob left the chat."]);
    assert_eq!(alice.heard(&mut world).len(), 2);
    alice.does(&mut world, Verb::Kick, "carol", "").unwrap().unwrap();
    assert_eq!(world.texts(python), ["You were removed from 'den' by alice."]);
    alice.who(&mut world);
    assert_eq!(alice.entries.len(), 1);
}

#[test]
fn a_legacy_god_comes_unnoticed_by_legacy_members_and_by_nobody_else() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let python = world.legacy("carol");
    world.command(python, "/join den pw");
    alice.heard(&mut world);
    let god = world.legacy("god");
    world.command(god, "/join den");
    assert!(world.texts(python).is_empty());
    let Changes::Listed { joined, .. } = members(alice.heard(&mut world)).remove(0).changes else { panic!() };
    assert_eq!(joined[0].account, UserName::god());
    world.disconnect(god);
    assert!(world.texts(python).is_empty());
    assert_eq!(members(alice.heard(&mut world)).len(), 1);
    let _modern = Member::in_room(&mut world, "god", 9, 9, "den");
    assert!(world.texts(python).contains(&"god joined the chat!".to_owned()));
}

#[test]
fn a_room_may_take_modern_members_alone() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let python = world.legacy("carol");
    world.command(python, "/join den pw");
    alice.hear(&mut world);
    alice.does(&mut world, Verb::Flags, "", "modern-only").unwrap().unwrap();
    assert_eq!(world.texts(python), ["Room 'den' takes modern clients only."]);
    assert_eq!(world.command(python, "/join den pw"), ["Room 'den' takes modern clients only."]);
    alice.does(&mut world, Verb::Flags, "", "").unwrap().unwrap();
    assert_eq!(world.command(python, "/join den pw").last().unwrap(), "carol joined the chat!");
}

#[test]
fn an_account_may_refuse_the_legacy_wire() {
    let mut world = world();
    let mut bob = Member::new(&mut world, "bob", 2, 2);
    let python = world.legacy("bob");
    let account = |legacy| RequestBody::Account { password: password("pw"), legacy };
    bob.asks(&mut world, account(false)).unwrap();
    assert_eq!(world.texts(python), ["Legacy log-ins are switched off for this account."]);
    assert!(world.ended.contains(&python));
    let other = world.connect(Dialect::Legacy);
    assert_eq!(world.command(other, "/login bob no"), ["Login failed. Invalid username or password."]);
    assert_eq!(world.command(other, "/login bob pw"), ["Legacy log-ins are switched off for this account."]);
    bob.asks(&mut world, account(true)).unwrap();
    assert_eq!(world.command(other, "/login bob pw"), ["Login successful. Welcome, bob!"]);
}

#[test]
fn keys_are_given_by_their_hash() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    let python = world.legacy("carol");
    world.key(python, &UserName::new("carol"), 7);
    world.command(python, "/join den pw");
    alice.who(&mut world);
    let hash = |entry: &secure_chat::transcript::RosterEntry| match entry.key {
        secure_chat::transcript::EntryKey::Legacy(Some(key)) => BundleHash(key.0),
        _ => entry.key.bundle().unwrap(),
    };
    let mut hashes: Vec<_> = alice.entries.iter().map(|entry| hash(&entry.entry)).collect();
    let nothing = BundleHash([0; 32]);
    hashes.push(nothing);
    world.disconnect(bob.session);
    world.pass(60 * SECOND);
    let (parts, ok) = world.ask(alice.session, RequestBody::Bundles { hashes });
    let parts = format!("{parts:?}");
    assert!(parts.contains("Legacy { user: carol") && parts.contains("user: alice") && parts.contains("user: bob"));
    assert!(format!("{ok:?}").contains("Bundles { missing: [BundleHash(00000000…)] }"), "{ok:?}");
}

fn direct(to: &str, readers: &[Reader]) -> RequestBody {
    let (commitment, signature) = (Commitment([1; 32]), Signature([2; 64]));
    let wraps = readers.iter().map(|reader| (reader.bundle, wrap("QQ=="))).collect();
    RequestBody::Direct(DirectRequest {
        user: UserName::new(to),
        body: DirectBody {
            encrypted_message: "secret".into(),
            wraps,
            readers: readers.to_vec(),
            stamp: DirectStamp { counter: 1, commitment, signature },
        },
    })
}

#[test]
fn a_direct_message_reaches_the_sessions_that_it_is_for_and_no_other() {
    let mut world = world();
    let mut alice = Member::new(&mut world, "alice", 1, 1);
    let mut alice_too = Member::new(&mut world, "alice", 5, 5);
    let mut bob = Member::new(&mut world, "bob", 2, 2);
    let mut bob_too = Member::in_room(&mut world, "bob", 2, 3, "den");
    let mut carol = Member::in_room(&mut world, "carol", 3, 3, "den");
    world.legacy("dave");
    let sessions = |user: &str| RequestBody::Sessions { user: UserName::new(user) };
    assert_eq!(alice.asks(&mut world, sessions("nobody")), Err("no_such_user"));
    assert_eq!(alice.asks(&mut world, sessions("dave")), Err("offline"));
    let OkBody::Sessions { recipient, own, .. } = alice.asks(&mut world, sessions("bob")).unwrap() else { panic!() };
    assert_eq!((recipient.len(), own.len()), (2, 2));
    let readers: Vec<_> = recipient.iter().chain(&own).copied().collect();
    bob_too.heard(&mut world);
    alice.asks(&mut world, direct("bob", &readers)).unwrap();
    let mut count = |member: &mut Member| member.heard(&mut world).len();
    assert_eq!([count(&mut bob), count(&mut bob_too), count(&mut alice_too)], [1, 1, 1]);
    assert_eq!([count(&mut alice), count(&mut carol)], [0, 0]);
    assert_eq!(alice.asks(&mut world, direct("bob", &readers[1..])), Err("readers_changed"));
    let twice: Vec<_> = readers.iter().chain(&readers[..1]).copied().collect();
    assert_eq!(alice.asks(&mut world, direct("bob", &twice)), Err("readers_changed"));
    let RequestBody::Direct(mut more) = direct("bob", &readers) else { panic!() };
    more.body.wraps.insert(carol.reader().bundle, wrap("QQ=="));
    assert_eq!(alice.asks(&mut world, RequestBody::Direct(more)), Err("readers_changed"));
    bob.lose(&mut world);
    assert_eq!(alice.asks(&mut world, direct("bob", &readers)), Err("readers_changed"));
    assert_eq!(alice.asks(&mut world, direct("dave", &readers)), Err("offline"));
}

#[test]
fn keys_that_are_attached_go_with_the_next_message_and_are_forgotten() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let python = world.legacy("carol");
    world.command(python, "/join den pw");
    let attach =
        |user: &str| RequestBody::Attach { room: den(), encrypted_keys: [(UserName::new(user), wrap("QQ=="))].into() };
    alice.asks(&mut world, attach("carol")).unwrap();
    alice.says(&mut world, "one").unwrap();
    alice.says(&mut world, "two").unwrap();
    let texts = world.texts(python);
    assert!(texts[0].contains(r#"{"carol":"QQ=="}"#) && texts[1].contains(r#""encrypted_keys":{}"#), "{texts:?}");
    // Those for a room that was left are forgotten, too.
    create(&mut world, alice.session, "attic");
    alice.asks(&mut world, attach("carol")).unwrap();
    alice.join(&mut world, "attic");
    world.command(python, "/join attic pw");
    let message = alice.message(&RoomName::new("attic"), "three");
    world.take(python);
    alice.sends(&mut world, message).unwrap();
    assert_eq!(world.texts(python), [r#"{"encrypted_message":"three","encrypted_keys":{},"room":"attic"}"#]);
    alice.join(&mut world, "den");
    let many = (0..4096).map(|n| (UserName::new(&format!("u{n}")), wrap("QQ=="))).collect();
    let many = RequestBody::Attach { room: den(), encrypted_keys: many };
    let id = world.request(alice.session, many);
    let _ = id;
    alice.hear(&mut world);
    assert_eq!(alice.asks(&mut world, attach("x")), Err("too_large"));
}

#[test]
fn bundles_are_announced_outside_of_rooms_and_not_without_end() {
    let mut world = world();
    let bob = world.connect(Dialect::Modern);
    assert_eq!(world.refused(bob, announce(1, 1)), "login_first");
    world.ok(bob, login("bob"));
    assert_eq!(world.refused(bob, join("den")), "announce_first");
    for n in 1..=16 {
        world.ok(bob, announce(n, 1));
        world.ok(bob, announce(n, 2));
    }
    let mut bad = announce(1, 1);
    if let RequestBody::Announce { keys, .. } = &mut bad {
        keys.rsa_signature = [1, 0].into();
    }
    assert_eq!(world.refused(bob, bad), "bad_bundle");
    assert_eq!(world.refused(bob, announce(17, 1)), "too_many_keys");
    world.ok(bob, join("den"));
    assert_eq!(world.refused(bob, announce(1, 1)), "in_room");
    assert_eq!(world.refused(bob, announce(17, 1)), "in_room");
}

#[test]
fn a_log_in_at_the_same_connection_is_a_loss_to_the_room() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    alice.heard(&mut world);
    bob.asks(&mut world, login("carol")).unwrap();
    assert_eq!(world.refused(bob.session, join("den")), "announce_first", "the bundle was bob's");
    assert!(alice.heard(&mut world).is_empty());
    alice.who(&mut world);
    assert!(alice.entries.iter().any(|entry| entry.away));
    world.pass(60 * SECOND);
    assert_eq!(members(alice.heard(&mut world)).len(), 1);
    let mut dave = Member::in_room(&mut world, "dave", 4, 4, "den");
    alice.heard(&mut world);
    dave.asks(&mut world, RequestBody::Logout).unwrap();
    assert_eq!(members(alice.heard(&mut world)).len(), 1, "who logs out does not come back");
}

#[test]
fn however_long_somebody_is_muted_the_wire_can_carry_it() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    for argument in [u64::MAX.to_string(), "17280000000000".to_owned()] {
        alice.does(&mut world, Verb::Mute, "bob", &argument).unwrap().unwrap();
        assert_eq!(bob.says(&mut world, "hello"), Err("muted"), "as the codec reads it");
    }
}

#[test]
fn the_log_goes_on_while_somebody_is_listed_who_hashes_it_and_stands_still_otherwise() {
    let mut world = world();
    let python = world.legacy("carol");
    world.command(python, "/join den pw");
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut place = alice.at().n;
    let mut moved = |alice: &Member| alice.at().n - std::mem::replace(&mut place, alice.at().n);
    let say = |world: &mut World| world.package(python, &den(), "tok", &[]);
    say(&mut world);
    alice.heard(&mut world);
    assert_eq!(moved(&alice), 1, "the message");
    alice.lose(&mut world);
    say(&mut world);
    alice.resume(&mut world).unwrap();
    alice.join(&mut world, "den");
    assert_eq!(moved(&alice), 2, "the message, though she was away, and her return");
    alice.does(&mut world, Verb::Leave, "", "").unwrap().unwrap();
    say(&mut world);
    alice.join(&mut world, "den");
    assert_eq!(moved(&alice), 3, "the leave, as an act and as a change, and her coming");
}

#[test]
fn nobody_on_the_legacy_wire_comes_and_goes_between_two_events_of_a_large_room() {
    let mut world = world();
    let mut first = crowd(&mut world);
    let god = world.legacy("god");
    first[0].heard(&mut world);
    world.command(god, "/join den");
    world.disconnect(god);
    world.pass(SECOND);
    let heard = members(first[0].heard(&mut world));
    let sizes = |event: &MembersEvent| match &event.changes {
        Changes::Hashed { joined, removed, .. } => (*joined, *removed),
        Changes::Listed { joined, removed } => (joined.len() as u64, removed.len() as u64),
    };
    assert_eq!(heard.iter().map(sizes).collect::<Vec<_>>(), [(1, 0), (0, 1)]);
}

/// What its author did on a lost connection is on its way to the disk: whoever came back would say it again, under a number
/// that is used.
#[test]
fn who_comes_back_is_let_in_behind_its_own_act() {
    for saved in [true, false] {
        let mut world = world();
        let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
        let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
        world.disk_waits = true;
        assert_eq!(alice.does(&mut world, Verb::Topic, "", "tea"), None);
        alice.lose(&mut world);
        alice.resume(&mut world).unwrap();
        let id = alice.ask_join(&mut world, "den", None);
        assert_eq!(alice.outcome(id), None);
        world.disk_fails = !saved;
        world.write();
        alice.hear(&mut world);
        assert!(matches!(alice.outcome(id), Some(Ok(OkBody::Join(_)))));
        assert_eq!(alice.counter, if saved { 2 } else { 1 });
        (world.disk_waits, world.disk_fails) = (false, false);
        alice.says(&mut world, "what I say next").unwrap();
        bob.hear(&mut world);
        assert_eq!(alice.at(), bob.at());
    }
}

#[test]
fn an_act_whose_author_was_put_out_meanwhile_is_told_without_its_signature() {
    let mut world = world();
    let alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut god = Member::in_room(&mut world, "god", 9, 9, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    world.disk_waits = true;
    let mut alice = alice;
    assert_eq!(alice.does(&mut world, Verb::Topic, "", "tea"), None);
    god.does(&mut world, Verb::Kick, "alice", "").unwrap().unwrap();
    bob.heard(&mut world);
    world.write();
    let heard = bob.heard(&mut world);
    assert!(matches!(&heard[..], [Event::Act(act)] if act.proof.is_none()), "{heard:?}");
}

#[test]
fn a_password_for_a_room_that_is_another_by_then_is_not_taken() {
    let mut world = world();
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut alice_too = Member::in_room(&mut world, "alice", 1, 7, "den");
    alice.hear(&mut world);
    world.work_waits = true;
    let act = alice.deed(&den(), Verb::Password, "", "");
    let id = alice.acts(&mut world, act);
    alice_too.does(&mut world, Verb::Delete, "", "").unwrap().unwrap();
    let bob = world.connect(Dialect::Modern);
    world.work_waits = false;
    world.ok(bob, login("bob"));
    create(&mut world, bob, "den");
    let kept = world.hub.directory().rooms()[&den()].password.clone();
    world.work_on();
    alice.hear(&mut world);
    assert_eq!(alice.outcome(id), Some(Err("join_first")));
    assert_eq!(world.hub.directory().rooms()[&den()].password, kept);
}

#[test]
fn a_key_is_asked_for_of_nobody_whose_join_is_not_answered_yet() {
    let mut world = world();
    let mut first = crowd(&mut world);
    let mut carol = Member::new(&mut world, "carol", 3, 1);
    carol.ask_join(&mut world, "den", Some("pw"));
    world.pass(SECOND);
    carol.hear(&mut world);
    let reader = carol.reader();
    carol.lose(&mut world);
    carol.resume(&mut world).unwrap();
    carol.ask_join(&mut world, "den", None);
    let need = RequestBody::NeedKey { room: den(), user: UserName::new("carol"), reader, epoch: 1 };
    assert_eq!(first[0].asks(&mut world, need.clone()), Err("not_here"));
    world.pass(SECOND);
    assert!(first[0].asks(&mut world, need).is_ok());
}
