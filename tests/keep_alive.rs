//! Signs of life: a peer whose connection is dead without a word is gone within 90 s, and its room sees it.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests may fail loudly"
)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::Server;
use common::client::{Client, entry};
use common::member::Member;
use common::world::World;
use secure_chat::chat::Dialect;
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::modern::{ByeReason, Changes, Event, OkBody, PartBody, RequestBody};
use secure_chat::transcript::RunId;

const SECOND: Duration = Duration::from_secs(1);

/// Whether bob is listed as away; `None` when he is not listed.
fn is_away(alice: &mut Member, world: &mut World) -> Option<bool> {
    alice.who(world);
    alice.entries.iter().find(|entry| entry.entry.account == UserName::new("bob")).map(|entry| entry.away)
}

/// In the hub's time, second by second: alice gives a sign of life every 30 s as a client does, and bob never again.
#[test]
fn who_falls_silent_is_away_within_90_s_and_gone_a_minute_later() {
    let mut world = World::new();
    ["alice", "bob"].iter().for_each(|user| world.add_user(user));
    let session = world.connect(Dialect::Modern);
    world.ok(session, common::world::login("alice"));
    let (room, password) = (RoomName::new("den"), common::world::password("pw"));
    world.ok(session, RequestBody::Create { room, password, modern_only: false });
    let mut alice = Member::in_room(&mut world, "alice", 1, 1, "den");
    let mut bob = Member::in_room(&mut world, "bob", 2, 2, "den");
    bob.asks(&mut world, RequestBody::Ping).unwrap(); // the last that is heard of him
    let (mut away_since, mut gone_since) = (None, None);
    for second in 1..=200u64 {
        world.pass(SECOND);
        match is_away(&mut alice, &mut world) {
            Some(true) => _ = away_since.get_or_insert(second),
            Some(false) => assert_eq!(away_since, None, "nobody brought him back"),
            None => _ = gone_since.get_or_insert(second),
        }
    }
    let (away_since, gone_since) = (away_since.unwrap(), gone_since.unwrap());
    assert!((31..=90).contains(&away_since), "away after {away_since} s");
    assert_eq!(gone_since, away_since + 60);
    assert!(world.ended.contains(&bob.session) && !world.ended.contains(&alice.session));
    assert!(bob.heard(&mut world).contains(&Event::bye(ByeReason::Silent)), "should he hear again, he knows");
    let removed = |event: &Event| match event {
        Event::Members(members) => match &members.changes {
            Changes::Listed { joined, removed } => joined.is_empty() && removed.len() == 1,
            Changes::Hashed { .. } => false,
        },
        _ => false,
    };
    assert_eq!(alice.heard(&mut world).iter().filter(|event| removed(event)).count(), 1, "told once");
}

/// A cable: passes on what both ends say, until it is cut. Nobody is told then.
struct Cable {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Cable {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = Arc::clone(&cut);
        std::thread::spawn(move || {
            let (near, _) = listener.accept().unwrap();
            let far = TcpStream::connect(server).unwrap();
            let (near_too, far_too, is_cut_too) = (near.try_clone().unwrap(), far.try_clone().unwrap(), is_cut.clone());
            std::thread::spawn(move || pass_on(near, far, &is_cut));
            pass_on(far_too, near_too, &is_cut_too);
        });
        Self { address, cut }
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    let mut buffer = [0; 4096];
    while let Ok(len) = from.read(&mut buffer) {
        if len == 0 || (!is_cut.load(Ordering::SeqCst) && to.write_all(buffer.get(..len).unwrap_or_default()).is_err())
        {
            break;
        }
    }
}

/// Alice, and bob who is behind a cable; both in the room.
fn with_cable(server: &Server) -> (Client, Client, Cable) {
    let (mut alice, hers, _) = Client::user(server, "alice", 1);
    alice.creates("den");
    alice.joins("den", Some("pw"), entry(&hers, RunId([1; 16])));
    let cable = Cable::to(server.address);
    let mut bob = Client::connect_through(server, cable.address);
    bob.registers("bob");
    bob.logs_in("bob");
    let his = common::client::bundle(&bob, "bob");
    bob.announces(&his, RunId([2; 16]));
    bob.joins("den", Some("pw"), entry(&his, RunId([2; 16])));
    (alice, bob, cable)
}

fn bob_is_away(alice: &mut Client) -> Option<bool> {
    let OkBody::Who { .. } = alice.ok(RequestBody::Who { room: RoomName::new("den") }) else { panic!() };
    let entries = alice.parts.iter().flat_map(|part| match part {
        PartBody::Entries(entries) => entries.as_slice(),
        other => panic!("{other:?}"),
    });
    entries.clone().find(|entry| entry.entry.account == UserName::new("bob")).map(|entry| entry.away)
}

#[test]
fn a_ping_is_answered_at_once_and_a_cut_cable_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut alice, mut bob, cable) = with_cable(&server);
    let OkBody::Ping { .. } = bob.ok(RequestBody::Ping) else { panic!() };
    cable.cut();
    bob.asks(RequestBody::Ping);
    // That he is gone is not known yet, and he does not know that the server is.
    assert_eq!(bob_is_away(&mut alice), Some(false));
    assert!(!server.log().contains("disconnected"));
}

/// The same as in the hub's time above, in real time: `cargo test --test keep_alive -- --ignored --nocapture`.
#[test]
#[ignore = "takes two and a half minutes"]
fn behind_a_cut_cable_one_is_away_within_90_s_and_gone_a_minute_later() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut alice, mut bob, cable) = with_cable(&server);
    bob.ok(RequestBody::Ping);
    let cut = Instant::now();
    cable.cut();
    let mut wait_for = |what: Option<bool>| {
        while bob_is_away(&mut alice) != what {
            assert!(cut.elapsed() < 180 * SECOND, "never {what:?}");
            std::thread::sleep(SECOND / 5);
        }
        cut.elapsed()
    };
    let away = wait_for(Some(true));
    let gone = wait_for(None);
    println!("away after {away:.1?}, gone after {gone:.1?}");
    assert!(away <= 90 * SECOND && gone >= away + 59 * SECOND && gone <= away + 62 * SECOND);
}
