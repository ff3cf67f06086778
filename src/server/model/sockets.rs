//! Full sockets: the drain takes over from the broker, and gives back.

use std::io::IoSlice;
use std::time::Duration;

use super::client::Client;
use super::play;
use super::scene::{free, streams};
use crate::chat::{Dialect, Quota, SessionId};
use crate::model::time::{self, spawn};
use crate::server::link::{Dispatch, Link};
use crate::server::seats::Hall;
use crate::server::sync::{Absence, Arc, presence};
use crate::tls::Received;

const OUTBOX: usize = 1 << 20;

/// Drains at the same time: enough, also with those that have given back and are about to end.
const DRAINS: usize = 16;

/// Nothing happens any more by then, and nothing that waits for a full socket has given up.
const REST: Duration = Duration::from_millis(1);

/// A connection as its writers see it, and its peer; and the places for drains.
fn link(socket: usize, outbox: usize) -> (Arc<Link>, Client, Arc<Hall>, Absence) {
    let (at_server, at_client) = streams(Dialect::Legacy, socket);
    let (drains, (present, absence)) = (Hall::new(DRAINS, DRAINS), presence());
    let peer = "127.0.0.1:1".parse().unwrap();
    let dispatch = Dispatch { outbox, outboxes: Quota::new(usize::MAX), drains: Arc::clone(&drains) };
    let link = Link::new(SessionId(1), peer, at_server, Arc::new(dispatch), present);
    (Arc::new(link), Client::new(at_client, Dialect::Legacy), drains, absence)
}

/// The broker sends, the connection's thread flushes what TLS would have it answer, and drains come and go.
#[test]
fn a_slow_reader_gets_every_byte_once_and_in_order() {
    play(400, || {
        time::start();
        let (link, client, drains, absence) = link(48, OUTBOX);
        let reader = spawn("reader", move || client.hears_out());
        let connection = {
            let link = Arc::clone(&link);
            spawn("connection", move || {
                for _ in 0..6 {
                    link.flush();
                    link.stream.pending(); // as after a flush beside a drain, but more often
                }
            })
        };
        let mut scratch = Vec::new();
        for turn in 0..5 {
            link.stream.queue(format!("{turn} a").as_bytes()); // as the broker has it for what goes to one alone
            link.send(&mut scratch, |sealer| sealer.seal(&[IoSlice::new(format!("{turn} b").as_bytes())]));
        }
        link.close();
        let heard = reader.join().unwrap();
        let sent: Vec<_> = (0..5).flat_map(|turn| [format!("{turn} a"), format!("{turn} b")]).collect();
        assert_eq!(heard, sent);
        connection.join().unwrap();
        time::sleep(REST);
        assert_eq!(link.stream.pending(), 0, "something was not sent");
        drop(link);
        assert!(absence.wait(REST), "a drain still runs");
        assert_eq!(free(&drains), DRAINS, "the place of a drain was lost");
    });
}

/// A drain has sent everything, and is about to look whether that was the end, when more is said and then the end: that is another
/// drain's to send.
#[test]
fn what_is_said_last_is_not_cut_off_by_a_drain_that_had_sent_what_came_before() {
    play(300, || {
        time::start();
        let (link, mut client, drains, absence) = link(48, OUTBOX);
        let mut scratch = Vec::new();
        link.send(&mut scratch, |sealer| sealer.seal(&[IoSlice::new(b"more than the socket holds at once")]));
        assert!(client.waits_for("more than the socket holds at once"));
        link.send(&mut scratch, |sealer| sealer.seal(&[IoSlice::new(b"what is said last, and is as long")]));
        link.close();
        // The peer hears the end, and leaves its own side open: that is no reason to wait for it.
        let connection = {
            let link = Arc::clone(&link);
            spawn(
                "connection",
                move || while let Ok(Received::Open) = link.stream.read(&mut [0; 64], &mut Vec::new()) {},
            )
        };
        assert!(client.waits_for("what is said last, and is as long"));
        assert!(client.hears().is_none());
        connection.join().unwrap();
        time::sleep(REST);
        assert_eq!(link.stream.pending(), 0, "the end was not sent");
        drop(link);
        assert!(absence.wait(REST), "a drain still runs");
        assert_eq!(free(&drains), DRAINS, "the place of a drain was lost");
    });
}

/// The reader goes at any moment.
#[test]
fn a_drain_whose_peer_goes_gives_its_place_back() {
    play(200, || {
        time::start();
        let (link, mut client, drains, absence) = link(48, OUTBOX);
        let reader = spawn("reader", move || {
            (0..super::any(4)).for_each(|_| _ = client.hears());
        });
        let mut scratch = Vec::new();
        (0..5).for_each(|_| link.send(&mut scratch, |sealer| sealer.seal(&[IoSlice::new(b"something for somebody")])));
        link.close();
        reader.join().unwrap();
        drop(link);
        assert!(absence.wait(REST), "a drain still runs");
        assert_eq!(free(&drains), DRAINS, "the place of a drain was lost");
    });
}

/// The reader takes nothing, and does not go.
#[test]
fn a_drain_that_gets_nowhere_gives_up_when_its_time_is_over() {
    play(60, || {
        time::start();
        let (link, client, drains, absence) = link(48, OUTBOX);
        let mut scratch = Vec::new();
        (0..5).for_each(|_| link.send(&mut scratch, |sealer| sealer.seal(&[IoSlice::new(b"something for somebody")])));
        drop(link);
        assert!(absence.wait(Duration::from_secs(31)), "a drain still runs");
        assert_eq!(free(&drains), DRAINS, "the place of a drain was lost");
        drop(client);
    });
}

/// The reader takes a few bytes now and then: it would take an hour for all of them.
#[test]
fn a_drain_whose_peer_takes_next_to_nothing_gives_up_as_well() {
    play(40, || {
        time::start();
        let (link, client, drains, absence) = link(48, OUTBOX);
        let reader = spawn("reader", move || {
            while client.sips() {
                time::sleep(Duration::from_secs(10));
            }
        });
        link.send(&mut Vec::new(), |sealer| sealer.seal(&[IoSlice::new(&[b'x'; 4096])]));
        drop(link);
        assert!(absence.wait(Duration::from_secs(61)), "a drain still runs");
        assert_eq!(free(&drains), DRAINS, "the place of a drain was lost");
        reader.join().unwrap();
    });
}
