//! What is saved, and the threads for slow work.

use std::net::IpAddr;
use std::time::Duration;

use super::scene::{Bounds, Scene};
use super::{any, pause, play};
use crate::chat::{Change, Dialect};
use crate::model::time::{self, JoinHandle, spawn};
use crate::names::{Password, UserName};
use crate::protocol::modern::{Answer, ErrorCode, RequestBody};
use crate::server::sync::{Arc, AtomicUsize, Budget, Ordering, presence};
use crate::server::workers::{Priority, Workers};

/// Bob changes what his account allows; what he was answered.
fn change(scene: &Scene) -> JoinHandle<Option<Answer>> {
    let mut bob = scene.connect(Dialect::Modern);
    spawn("bob", move || {
        bob.logs_in("bob")?;
        bob.asks(RequestBody::Account { password: Password::new("pw"), legacy: false });
        bob.answer()
    })
}

fn changed() -> Change {
    Change::SetLegacyLogin { user: UserName::new("bob"), allowed: false }
}

#[test]
fn a_success_is_told_when_it_is_on_the_disk_and_a_failure_when_it_is_not() {
    play(150, || {
        let scene = Scene::begin(Bounds { events: 1, ..Bounds::default() });
        let bob = change(&scene);
        // She keeps the broker's channel full.
        let carol = scene.connect(Dialect::Legacy);
        let carol = spawn("carol", move || {
            carol.comes("carol");
            (0..6).for_each(|_| carol.chats("hello"));
            carol.hears_out()
        });
        let disk = scene.disk.clone();
        let saboteur = spawn("saboteur", move || {
            pause();
            disk.fail();
        });
        match bob.join().unwrap() {
            Some(Answer::Ok { .. }) => assert!(scene.disk.has(&changed()), "told too early"),
            Some(Answer::Error { code: ErrorCode::NotSaved, .. }) => assert!(!scene.disk.has(&changed())),
            other => panic!("{other:?}"),
        }
        saboteur.join().unwrap();
        assert_eq!(scene.end(), Duration::ZERO, "a disk that fails holds nobody up");
        carol.join().unwrap();
    });
}

/// The disk works, and the server ends while the change is under way.
#[test]
fn the_end_waits_for_what_is_being_saved() {
    play(100, || {
        let scene = Scene::begin(Bounds::default());
        let bob = change(&scene);
        pause();
        let disk = scene.disk.clone();
        assert_eq!(scene.end(), Duration::ZERO, "somebody was waited for in vain");
        assert!(disk.is_at_rest(), "something was not folded");
        if let Some(Answer::Ok { .. }) = bob.join().unwrap() {
            assert!(disk.has(&changed()), "it was told, and is lost");
        }
    });
}

/// More who have work than there are workers: never more at once, and everybody's turn comes.
#[test]
fn everybody_gets_a_worker_and_a_share_in_the_end() {
    play(200, || {
        time::start();
        let (present, all_gone) = presence();
        let workers = Workers::start("worker", 1, Priority::Normal, &present).unwrap();
        let budget = Budget::new(10);
        let working = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (workers, budget, working) = (workers.clone(), Arc::clone(&budget), Arc::clone(&working));
                spawn("asker", move || {
                    for i in 0..2 {
                        let share = budget.take(4 * n);
                        let working = Arc::clone(&working);
                        let done = workers.perform(IpAddr::from([10, 0, 0, n as u8]), move || {
                            assert_eq!(working.fetch_add(1, Ordering::SeqCst), 0, "two have the only worker");
                            shuttle::thread::yield_now();
                            working.fetch_sub(1, Ordering::SeqCst);
                            (n, i)
                        });
                        assert_eq!(done, Some((n, i)));
                        drop(share);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        drop((workers, present));
        assert!(all_gone.wait(Duration::from_secs(1)), "a worker stays");
    });
}

/// One thread for hashing, one for checks, two seats; peers that go while they wait for them.
#[test]
fn workers_and_seats_come_back_from_those_who_went() {
    play(80, || {
        let bounds = Bounds { seats: 3, ..Bounds::default() };
        let scene = Scene::begin(bounds);
        let gone: Vec<_> = ["alice", "bob"]
            .into_iter()
            .map(|user| {
                let mut peer = scene.connect(Dialect::Modern);
                let scissors = peer.scissors();
                let peer = spawn(user, move || match user {
                    "bob" => _ = peer.comes_as_owner(),
                    user => _ = peer.logs_in(user),
                });
                (0..any(3)).for_each(|_| pause());
                scissors.cut();
                peer
            })
            .collect();
        gone.into_iter().for_each(|peer| peer.join().unwrap());
        time::sleep(Duration::from_secs(1));
        assert_eq!(scene.free_seats(), bounds.seats, "a seat was lost");
        // A worker that was lost would keep her waiting for ever; so would a seat.
        let mut carol = scene.connect(Dialect::Modern);
        assert!(carol.logs_in("carol").is_some());
        drop(carol);
        assert_eq!(scene.end(), Duration::ZERO, "somebody was waited for in vain");
    });
}
