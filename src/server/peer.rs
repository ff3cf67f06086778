//! A connection as the broker writes to it, on either wire.

use std::ops::Range;

use crate::chat::{Dialect, SessionId};
use crate::protocol::RECORD_LIMIT;
use crate::server::lines::Lines;
use crate::server::link::Link;
use crate::server::mailbox::Turn;
use crate::server::sync::{Arc, Sender};

/// One connection.
pub(super) struct Peer {
    pub(super) wire: Dialect,
    link: Arc<Link>,
    turns: Sender<Turn>,
    /// Its part of the turn's lines that is still to be encrypted: what is in one piece shares its records.
    lines: Range<usize>,
    /// Whether something was queued since the last flush.
    touched: bool,
}

impl Peer {
    pub(super) fn new(wire: Dialect, link: Arc<Link>, turns: Sender<Turn>) -> Self {
        Self { wire, link, turns, lines: 0..0, touched: false }
    }

    pub(super) fn session(&self) -> SessionId {
        self.link.session
    }

    /// Queues a message as a record of its own. Whether it is the first since the last flush.
    pub(super) fn queue_record(&mut self, record: &[u8]) -> bool {
        self.link.stream.queue(record);
        !std::mem::replace(&mut self.touched, true)
    }

    /// Queues one of the turn's lines. Whether it is the first since the last flush.
    pub(super) fn queue_shared(&mut self, line: Range<usize>, lines: &Lines) -> bool {
        if self.lines.end == line.start && line.end - self.lines.start <= RECORD_LIMIT {
            self.lines.end = line.end;
        } else {
            self.seal(lines);
            self.lines = line;
        }
        !std::mem::replace(&mut self.touched, true)
    }

    /// Queues a line that goes to nobody else. Whether it is the first since the last flush.
    pub(super) fn queue_own(&mut self, line: &[u8], lines: &Lines) -> bool {
        self.seal(lines);
        self.queue_record(line)
    }

    /// Encrypts its part of the turn's lines.
    fn seal(&mut self, lines: &Lines) {
        let part = std::mem::take(&mut self.lines);
        if !part.is_empty() {
            self.link.stream.queue(lines.get(part));
        }
    }

    /// Sends what is queued, as far as the socket takes it.
    pub(super) fn flush(&mut self, lines: &Lines) {
        self.seal(lines);
        self.touched = false;
        self.link.flush();
    }

    /// Ends the connection when everything queued is sent.
    pub(super) fn close(&mut self, lines: &Lines) {
        self.seal(lines);
        self.link.close();
    }

    /// The connection's thread waits for exactly this, so there is room; if it has ended meanwhile, nobody does.
    pub(super) fn give_turn(&self, turn: Turn) {
        let _ = self.turns.try_send(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::seats::Seats;
    use crate::server::sync::{bounded, presence};
    use crate::tls::tests::{client, connect, server};
    use crate::tls::{MODERN, Received, Stream};

    /// A peer on this wire, and its other end.
    fn peer(wire: Dialect) -> (Peer, Stream) {
        let (at_server, at_client) = connect(&server(), client(&[MODERN]));
        let address = "127.0.0.1:1".parse().unwrap();
        let link = Link::new(SessionId(1), address, at_server, 1 << 20, presence().0, Seats::new(1));
        (Peer::new(wire, Arc::new(link), bounded(1).0), at_client.unwrap())
    }

    /// All records that come until the end.
    fn records(stream: &Stream) -> Vec<Vec<u8>> {
        let (mut records, mut buffer) = (Vec::new(), vec![0; 20_000]);
        while stream.read(&mut buffer, &mut records).unwrap() == Received::Open {}
        records
    }

    #[test]
    fn the_lines_of_a_turn_share_their_records_and_legacy_messages_have_one_each() {
        let (mut modern, other_end) = peer(Dialect::Modern);
        let mut lines = Lines::default();
        let mut add = |line: &[u8]| lines.add(|bytes| bytes.extend_from_slice(line));
        let [one, two, _, four] = [&b"one\n"[..], b"two\n", b"for others\n", b"four\n"].map(&mut add);
        assert!(modern.queue_shared(one, &lines));
        assert!(!modern.queue_shared(two, &lines));
        modern.flush(&lines);
        assert!(modern.queue_own(b"three\n", &lines));
        assert!(!modern.queue_shared(four, &lines));
        modern.close(&lines);
        assert_eq!(records(&other_end), [b"one\ntwo\n".to_vec(), b"three\n".to_vec(), b"four\n".to_vec()]);

        let (mut legacy, other_end) = peer(Dialect::Legacy);
        assert!(legacy.queue_record(b"one"));
        assert!(!legacy.queue_record(b"two"));
        legacy.close(&lines);
        assert_eq!(records(&other_end), [b"one", b"two"]);
    }

    #[test]
    fn many_lines_fill_their_records() {
        let (mut modern, other_end) = peer(Dialect::Modern);
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let mut lines = Lines::default();
        for _ in 0..1000 {
            let place = lines.add(|bytes| bytes.extend_from_slice(&line));
            modern.queue_shared(place, &lines);
        }
        modern.close(&lines);
        let records = records(&other_end);
        assert_eq!(records.concat(), line.repeat(1000));
        assert!(records.len() <= 100_000 / (RECORD_LIMIT - line.len()) + 1, "{}", records.len());
    }
}
