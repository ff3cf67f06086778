//! What members do to their room, or to others, costs the rest nothing: they lose no message, and no order. Each test is named after
//! what it prevents. `ATTACKS=full` has the numbers that are too many for every day.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::path::Path;

use common::client::{Client, entry, message};
use common::couple::{LegacyCouple, ModernCouple, ROOM};
use common::crowd::{self, full, name};
use common::follower::Follower;
use common::{Peer, Server};
use secure_chat::names::RoomName;
use secure_chat::protocol::modern::{ActRequest, ActStamp, Answer, ByeReason, Deed, Event, RequestBody, SignedText};
use secure_chat::transcript::{RunId, Signature, Verb};

const GROWTH: usize = 64 * 1024 * 1024;

/// A server with so many accounts beside the couple's.
fn server(dir: &Path, accounts: usize) -> Server {
    crowd::raise_descriptors();
    crowd::prepare(dir, accounts, &["attic"]);
    Server::start_without_rates(dir)
}

/// Somebody who enters the lobby on the legacy wire, and has not heard anything of it yet.
fn enters(server: &Server, account: usize) -> Peer {
    let peer = crowd::legacy(server, account);
    peer.says(format!("CMD::/join {ROOM} pw"));
    peer
}

/// The same on the modern wire, with the answer.
fn joins(server: &Server, account: usize) -> (Client, Follower, RunId) {
    let (mut client, bundle, run) = crowd::modern(server, account);
    let view = client.joins(ROOM, Some("pw"), entry(&bundle, run));
    (client, view, run)
}

fn count(heard: &[String], words: &str) -> usize {
    heard.iter().filter(|heard| heard.ends_with(words)).count()
}

/// Goes on until it holds; it takes as long as it takes, but not for ever.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    assert!((0..20_000).any(|_| holds()), "never came true: {what}");
}

#[test]
fn two_thousand_members_who_vanish_together_take_nothing_with_them_on_the_legacy_wire() {
    let (dir, members) = (tempfile::tempdir().unwrap(), full(2000, 300));
    let server = server(dir.path(), members);
    let mut couple = LegacyCouple::new(&server);
    let before = server.holds();
    let crowd: Vec<_> = (0..members).map(|account| enters(&server, account)).collect();
    let mut heard = Vec::new();
    until("all are there", || {
        heard.extend(couple.talk());
        count(&heard, " joined the chat!") == members
    });
    let memory = server.memory();
    drop(crowd);
    until("all are gone", || {
        heard.extend(couple.talk());
        count(&heard, " left the chat.") == members
    });
    couple.still_talk();
    for account in 0..members {
        let of = |words: &str| heard.iter().filter(|heard| **heard == format!("{}{words}", name(account))).count();
        assert_eq!([of(" joined the chat!"), of(" left the chat.")], [1, 1], "{}", name(account));
    }
    common::wait_until("all threads and descriptors are given back", || {
        server.holds().iter().zip(before).all(|(now, before)| *now <= before)
    });
    assert!(server.memory() < memory + GROWTH);
    server.has_not_panicked();
}

#[test]
fn two_thousand_members_who_vanish_together_take_nothing_with_them_on_the_modern_wire() {
    let (dir, members) = (tempfile::tempdir().unwrap(), full(2000, 300));
    let server = server(dir.path(), members);
    let mut couple = ModernCouple::new(&server);
    let before = server.holds();
    let mut crowd: Vec<_> = (0..members).map(|account| crowd::modern(&server, account).0).collect();
    crowd.iter_mut().for_each(|client| _ = crowd::ask_to_join(client, ROOM));
    until("all are there", || {
        couple.talk();
        couple.bob.who().len() == members + 2
    });
    let memory = server.memory();
    drop(crowd);
    until("all are away", || {
        couple.talk(); // and whoever follows the log sees no gap in it
        couple.bob.away() == members
    });
    couple.still_talk();
    common::wait_until("all threads and descriptors are given back", || {
        server.holds().iter().zip(before).all(|(now, before)| *now <= before)
    });
    assert!(server.memory() < memory + GROWTH);
    server.has_not_panicked();
}

const STORMERS: usize = 8;
const STALLED: usize = 3;
const TIMES: usize = 25;

#[test]
fn join_and_leave_storms_beside_stalled_readers_cost_nobody_a_word_on_the_legacy_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), STORMERS + STALLED);
    let mut couple = LegacyCouple::new(&server);
    let memory = server.memory();
    let mut stalled: Vec<_> = (STORMERS..STORMERS + STALLED).map(|account| enters(&server, account)).collect();
    let mut heard = Vec::new();
    until("the stalled are there", || {
        heard.extend(couple.talk());
        count(&heard, " joined the chat!") == STALLED
    });
    let stormers: Vec<_> = (0..STORMERS).map(|account| crowd::legacy(&server, account)).collect();
    heard.clear();
    std::thread::scope(|scope| {
        let storms: Vec<_> = stormers
            .into_iter()
            .map(|mut peer| {
                scope.spawn(move || {
                    for _ in 0..TIMES {
                        peer.says(format!("CMD::/join {ROOM} pw"));
                        peer.says("CMD::/join attic pw");
                    }
                    peer.says("CMD::/nonsense");
                    peer.hears_until("Unknown command.");
                })
            })
            .collect();
        while !storms.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            heard.extend(couple.talk());
        }
        storms.into_iter().for_each(|storm| storm.join().unwrap());
    });
    until("the last is gone", || {
        heard.extend(couple.talk());
        count(&heard, " left the chat.") == STORMERS * TIMES
    });
    for account in 0..STORMERS {
        let name = name(account);
        let own = heard.iter().filter_map(|heard| heard.strip_prefix(&format!("{name} ")));
        assert!(own.eq(["joined the chat!", "left the chat."].repeat(TIMES)), "{name} comes and goes in turn");
    }
    // Whoever stalled and reads at last has lost nothing either.
    let last = format!(r#"{{"encrypted_message":"couple{}","encrypted_keys":{{}},"room":"lobby"}}"#, couple.said - 1);
    for peer in &mut stalled {
        let last = peer.hears_until(&last);
        assert_eq!(count(&last, " left the chat."), STORMERS * TIMES);
    }
    assert!(server.memory() < memory + GROWTH);
    server.has_not_panicked();
}

/// Comes and goes, as a client does: the going is signed.
fn storm(server: &Server, account: usize) {
    let (mut client, bundle, run) = crowd::modern(server, account);
    for counter in 1..=TIMES as u64 {
        let view = client.joins(ROOM, Some("pw"), entry(&bundle, run));
        let empty = SignedText::new("");
        client.ok(RequestBody::Act(ActRequest {
            room: RoomName::new(ROOM),
            deed: Deed { verb: Verb::Leave, target: empty.clone(), argument: empty },
            stamp: ActStamp { counter, at: view.at, signature: Signature([3; 64]) },
            secret: None,
            resend: false,
        }));
        client.events.clear();
    }
}

#[test]
fn join_and_leave_storms_beside_stalled_readers_cost_nobody_a_word_on_the_modern_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), STORMERS + STALLED);
    let mut couple = ModernCouple::new(&server);
    let memory = server.memory();
    let mut stalled: Vec<_> = (STORMERS..STORMERS + STALLED).map(|account| joins(&server, account)).collect();
    std::thread::scope(|scope| {
        let server = &server;
        let storms: Vec<_> = (0..STORMERS).map(|account| scope.spawn(move || storm(server, account))).collect();
        while !storms.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            couple.talk(); // both hash the room's log: that there is a gap, or another order, would be seen
        }
        storms.into_iter().for_each(|storm| storm.join().unwrap());
    });
    couple.still_talk();
    assert_eq!(couple.bob.who().len(), 2 + STALLED);
    let at = couple.bob.view.at;
    for (client, view, _) in &mut stalled {
        until("who stalled has read everything", || {
            view.hear(&client.event());
            view.at == at
        });
    }
    assert!(server.memory() < memory + GROWTH);
    server.has_not_panicked();
}

const FLOOD: usize = 5000;

#[test]
fn a_flood_of_messages_starves_nobody_and_comes_whole_and_in_order_on_the_legacy_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), 2);
    let mut couple = LegacyCouple::new(&server);
    let memory = server.memory();
    let (here, elsewhere) = (enters(&server, 0), crowd::legacy(&server, 1));
    elsewhere.says("CMD::/join attic pw");
    let package = |room: &str, number: usize| {
        format!(r#"{{"encrypted_message":"flood{number:05}","encrypted_keys":{{}},"room":"{room}"}}"#)
    };
    let mut heard = Vec::new();
    std::thread::scope(|scope| {
        let floods = [(&here, ROOM), (&elsewhere, "attic")]
            .map(|(peer, room)| scope.spawn(move || (0..FLOOD).for_each(|number| peer.says(package(room, number)))));
        while !floods.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            heard.extend(couple.talk());
        }
    });
    let is_flood = |heard: &&String| heard.contains("flood");
    until("the flood is over", || {
        heard.extend(couple.talk());
        heard.iter().filter(is_flood).count() == FLOOD
    });
    assert!(heard.iter().filter(is_flood).eq(&(0..FLOOD).map(|number| package(ROOM, number)).collect::<Vec<_>>()));
    assert!(server.memory() < memory + GROWTH);
    server.has_not_panicked();
}

#[test]
fn a_flood_of_messages_starves_nobody_and_comes_whole_and_in_order_on_the_modern_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), 1);
    let mut couple = ModernCouple::new(&server);
    let memory = server.memory();
    let (mut flooder, view, _) = joins(&server, 0);
    let ids: Vec<_> = std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let ask = |number: usize| {
                let text = format!("flood{number:05}");
                flooder.asks(RequestBody::Send(message(ROOM, &text, number as u64 + 1, view.at)))
            };
            (0..FLOOD).map(ask).collect()
        });
        while !flood.is_finished() {
            couple.alice.says("meanwhile");
        }
        flood.join().unwrap()
    });
    ids.into_iter().for_each(|id| assert!(matches!(flooder.answer(id), Answer::Ok { .. })));
    couple.alice.says("at last");
    let mut heard = Vec::new();
    until("the flood is over", || {
        if let Event::Message(message) = couple.bob.hears() {
            heard.push(message.encrypted_message);
        }
        heard.last().is_some_and(|last| last == "at last")
    });
    let flood = heard.iter().filter(|heard| heard.starts_with("flood"));
    assert!(flood.eq(&(0..FLOOD).map(|number| format!("flood{number:05}")).collect::<Vec<_>>()));
    assert_eq!(couple.bob.view.at, couple.alice.view.at);
    assert!(server.memory() < memory + GROWTH);
    server.has_not_panicked();
}

/// A number and what makes the message large.
fn large(number: usize) -> String {
    format!("large{number:05}-{}", "t".repeat(3800))
}

#[test]
fn a_reader_who_is_stuck_goes_alone_and_is_told_why_when_it_reads_again_on_the_legacy_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), 1);
    let mut couple = LegacyCouple::new(&server);
    let mut stuck = enters(&server, 0);
    couple.bob.hears_until("m0 joined the chat!");
    let memory = server.memory();
    let package =
        |number| format!(r#"{{"encrypted_message":"{}","encrypted_keys":{{}},"room":"lobby"}}"#, large(number));
    let mut heard = Vec::new();
    let mut said = 0;
    until("the stuck one has gone", || {
        couple.alice.says(package(said));
        said += 1;
        heard.extend(couple.talk());
        heard.contains(&"m0 left the chat.".to_owned())
    });
    let packages: Vec<_> = (0..said).map(package).collect();
    assert!(heard.iter().filter(|heard| heard.starts_with('{')).eq(&packages), "bob has lost nothing");
    assert!(server.log().contains("does not read") && server.memory() < memory + GROWTH);
    couple.still_talk();
    // It reads again: in order what it was sent, and then why there is no more.
    let late = stuck.hears_until("You did not read what was sent to you: connect again.");
    assert_eq!(stuck.hears_or_end(), None);
    let late: Vec<_> = late.iter().filter(|heard| heard.contains("large")).collect();
    assert!(!late.is_empty() && late.iter().eq(packages.iter().take(late.len()).collect::<Vec<_>>().iter()));
    server.has_not_panicked();
}

#[test]
fn a_reader_who_is_stuck_goes_alone_and_is_told_why_when_it_reads_again_on_the_modern_wire() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), 1);
    let mut couple = ModernCouple::new(&server);
    let (mut stuck, mut view, _) = joins(&server, 0);
    couple.talk();
    let memory = server.memory();
    let mut said = 0;
    until("the stuck one has gone", || {
        for _ in 0..20 {
            couple.alice.says(&large(said));
            said += 1;
        }
        couple.talk(); // bob hashes the log: nothing is missing
        couple.bob.away() == 1
    });
    assert!(server.log().contains("does not read") && server.memory() < memory + GROWTH);
    couple.still_talk();
    let mut late = 0;
    let reason = loop {
        match stuck.event() {
            Event::Bye { reason, .. } => break reason,
            event => {
                view.hear(&event); // in order, and without a gap
                late += usize::from(
                    matches!(event, Event::Message(message) if message.encrypted_message.starts_with("large")),
                );
            }
        }
    };
    assert_eq!((reason, stuck.peer.hears_or_end()), (ByeReason::TooSlow, None));
    assert!(late > 0 && late < said);
    server.has_not_panicked();
}
