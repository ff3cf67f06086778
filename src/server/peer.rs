//! A connection as the broker writes to it, on either wire.

use std::io::IoSlice;
use std::ops::Range;

use crate::chat::{Dialect, SessionId};
use crate::names::UserName;
use crate::server::lines::Said;
use crate::server::link::Link;
use crate::server::mailbox::Turn;
use crate::server::sync::{Arc, Sender};

/// One connection.
pub(super) struct Peer {
    pub(super) wire: Dialect,
    link: Arc<Link>,
    /// `None` once the connection is closed: its thread, which may wait, learns of it by that.
    turns: Option<Sender<Turn>>,
    /// The last piece of what is said in the turn and still to be encrypted for it: a range of bytes on the modern wire, of
    /// records on the legacy one.
    part: Range<usize>,
    /// The pieces before that one, on the modern wire: they share records.
    parts: Vec<Range<usize>>,
    /// Whose entries of packages it gets.
    reader: Option<UserName>,
    /// Whether something was queued since the last flush.
    touched: bool,
}

/// Room that all peers share.
#[derive(Default)]
pub(super) struct Scratch {
    /// For a record.
    record: Vec<u8>,
    /// For ciphertext.
    sealed: Vec<u8>,
}

impl Peer {
    pub(super) fn new(wire: Dialect, link: Arc<Link>, turns: Sender<Turn>) -> Self {
        Self { wire, link, turns: Some(turns), part: 0..0, parts: Vec::new(), reader: None, touched: false }
    }

    pub(super) fn session(&self) -> SessionId {
        self.link.session
    }

    /// Bytes that its socket did not take so far.
    pub(super) fn unsent(&self) -> usize {
        self.link.unsent()
    }

    /// Ends its connection with whatever is unsent.
    pub(super) fn cut_off(&self) {
        self.link.cut_off();
    }

    /// Queues something that is said to many. Whether it is the first since the last flush.
    pub(super) fn queue_shared(&mut self, place: Range<usize>, said: &Said, scratch: &mut Scratch) -> bool {
        if self.part.end == place.start {
            self.part.end = place.end;
        } else {
            self.begin_part(place, said, scratch);
        }
        !std::mem::replace(&mut self.touched, true)
    }

    fn begin_part(&mut self, place: Range<usize>, said: &Said, scratch: &mut Scratch) {
        match self.wire {
            Dialect::Modern if self.part.is_empty() => {}
            Dialect::Modern => self.parts.push(self.part.clone()),
            Dialect::Legacy => self.seal(said, scratch),
        }
        self.part = place;
    }

    /// Says whose entries it gets from now on.
    pub(super) fn read_as(&mut self, reader: Option<&UserName>, said: &Said, scratch: &mut Scratch) {
        if self.reader.as_ref() != reader {
            self.seal(said, scratch);
            self.reader = reader.cloned();
        }
    }

    /// Queues a line or a record that goes to nobody else. Whether it is the first since the last flush.
    pub(super) fn queue_own(&mut self, bytes: &[u8], said: &Said, scratch: &mut Scratch) -> bool {
        self.seal(said, scratch);
        self.link.stream.queue(bytes);
        !std::mem::replace(&mut self.touched, true)
    }

    /// Encrypts its part of what is said.
    fn seal(&mut self, said: &Said, scratch: &mut Scratch) {
        let stream = &self.link.stream;
        self.each_message(said, &mut scratch.record, |pieces| stream.queue_pieces(pieces));
        self.forget_parts();
    }

    /// Hands each message to `seal`: all lines in one, for records mean nothing on the modern wire; each record on the legacy one.
    fn each_message(&self, said: &Said, scratch: &mut Vec<u8>, mut seal: impl FnMut(&[IoSlice<'_>])) {
        match self.wire {
            Dialect::Modern if self.parts.is_empty() => said.lines_at([&self.part], seal),
            Dialect::Modern => said.lines_at(self.parts.iter().chain([&self.part]), seal),
            Dialect::Legacy => {
                let seal = |record: &[u8]| seal(&[IoSlice::new(record)]);
                said.records_at(self.part.clone(), self.reader.as_ref(), scratch, seal);
            }
        }
    }

    fn forget_parts(&mut self) {
        self.part = 0..0;
        self.parts = Vec::new(); // a peer that waits holds no room for more
    }

    /// Encrypts and sends what is queued, as far as the socket takes it: for one peer after the other, so that ciphertext waits for
    /// as few as possible.
    pub(super) fn flush(&mut self, said: &Said, scratch: &mut Scratch) {
        let Scratch { record, sealed } = scratch;
        self.link.send(sealed, |sealer| self.each_message(said, record, |pieces| sealer.seal(pieces)));
        self.forget_parts();
        self.touched = false;
    }

    /// Ends the connection when everything queued is sent.
    pub(super) fn close(&mut self, said: &Said, scratch: &mut Scratch) {
        self.seal(said, scratch);
        self.link.close();
        self.turns = None;
    }

    /// The same for one who came while the server ends, and was not told with the others.
    pub(super) fn say_goodbye(&mut self, said: &Said, scratch: &mut Scratch) {
        self.link.say_goodbye();
        self.close(said, scratch);
    }

    /// The connection's thread waits for exactly this, so there is room; if it has ended meanwhile, nobody does.
    pub(super) fn give_turn(&self, turn: Turn) {
        let _ = self.turns.as_ref().map(|turns| turns.try_send(turn));
    }
}

#[cfg(not(feature = "model"))] // over real sockets
#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Quota;
    use crate::names::RoomName;
    use crate::protocol::{Package, RECORD_LIMIT};
    use crate::server::link::Dispatch;
    use crate::server::seats::Hall;
    use crate::server::sync::{bounded, presence};
    use crate::tls::tests::{client, connect, server};
    use crate::tls::{MODERN, Received, Stream};

    /// A peer on this wire, and its other end.
    fn peer(wire: Dialect) -> (Peer, Stream) {
        let (at_server, at_client) = connect(&server(), client(&[MODERN]));
        let address = "127.0.0.1:1".parse().unwrap();
        let dispatch = Dispatch { outbox: 1 << 23, outboxes: Quota::new(1 << 23), drains: Hall::new(1, 1) };
        let link = Link::new(SessionId(1), address, at_server, Arc::new(dispatch), presence().0);
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
        let (mut said, mut scratch) = (Said::default(), Scratch::default());
        let mut add = |line: &[u8]| said.lines.add(|bytes| bytes.extend_from_slice(line));
        let [one, two, _, four] = [&b"one\n"[..], b"two\n", b"for others\n", b"four\n"].map(&mut add);
        assert!(modern.queue_shared(one, &said, &mut scratch));
        assert!(!modern.queue_shared(two, &said, &mut scratch));
        modern.flush(&said, &mut scratch);
        assert!(modern.queue_own(b"three\n", &said, &mut scratch));
        assert!(!modern.queue_shared(four, &said, &mut scratch));
        modern.close(&said, &mut scratch);
        assert_eq!(records(&other_end), [b"one\ntwo\n".to_vec(), b"three\n".to_vec(), b"four\n".to_vec()]);

        let (mut modern, other_end) = peer(Dialect::Modern);
        let mut add = |line: &[u8]| said.lines.add(|bytes| bytes.extend_from_slice(line));
        let [one, _, three, _, five] = [&b"one\n"[..], b"no\n", b"three\n", b"no\n", b"five\n"].map(&mut add);
        for place in [one, three, five] {
            modern.queue_shared(place, &said, &mut scratch);
        }
        modern.flush(&said, &mut scratch);
        modern.flush(&said, &mut scratch); // nothing is left of it
        modern.close(&said, &mut scratch);
        assert_eq!(records(&other_end), [b"one\nthree\nfive\n".to_vec()]);

        let (mut legacy, other_end) = peer(Dialect::Legacy);
        let mut add = |record: &[u8]| said.records.add(|bytes| bytes.extend_from_slice(record));
        let [one, two, _, four] = [&b"one"[..], b"two", b"for others", b"four"].map(&mut add);
        assert!(legacy.queue_shared(one, &said, &mut scratch));
        assert!(!legacy.queue_shared(two, &said, &mut scratch));
        assert!(!legacy.queue_own(b"three", &said, &mut scratch));
        assert!(!legacy.queue_shared(four, &said, &mut scratch));
        legacy.close(&said, &mut scratch);
        assert_eq!(records(&other_end), [&b"one"[..], b"two", b"three", b"four"]);
    }

    #[test]
    fn many_lines_fill_their_records() {
        let (mut modern, other_end) = peer(Dialect::Modern);
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let (mut said, mut scratch) = (Said::default(), Scratch::default());
        for _ in 0..1000 {
            let place = said.lines.add(|bytes| bytes.extend_from_slice(&line));
            modern.queue_shared(place, &said, &mut scratch);
        }
        modern.close(&said, &mut scratch);
        let records = records(&other_end);
        assert_eq!(records.concat(), line.repeat(1000));
        assert_eq!(records.len(), 100_000_usize.div_ceil(RECORD_LIMIT));
    }

    #[test]
    fn many_records_come_in_order_to_one_who_reads_and_to_one_who_reads_late() {
        let (mut legacy, other_end) = peer(Dialect::Legacy);
        let (mut said, mut scratch) = (Said::default(), Scratch::default());
        let sent: Vec<Vec<u8>> = (0..1000u32).map(|n| n.to_be_bytes().repeat(1000)).collect();
        for record in &sent {
            let place = said.records.add(|bytes| bytes.extend_from_slice(record));
            legacy.queue_shared(place, &said, &mut scratch);
        }
        legacy.flush(&said, &mut scratch); // more than a socket takes: a drain has the rest
        legacy.close(&said, &mut scratch);
        assert!(records(&other_end) == sent);
    }

    #[test]
    fn each_gets_the_entry_of_whom_it_was_logged_in_as_when_the_package_came() {
        let (mut legacy, other_end) = peer(Dialect::Legacy);
        let (mut said, mut scratch) = (Said::default(), Scratch::default());
        let names = ["alice", "bob"].map(UserName::new);
        let keys = names.iter().map(|name| (name.to_string(), format!("key of {name}"))).collect();
        let package = Arc::new(Package::new("token".into(), keys, RoomName::new("den")));
        for name in [&names[0], &names[0], &names[1]] {
            legacy.read_as(Some(name), &said, &mut scratch);
            let place = said.records.add_package(&package);
            legacy.queue_shared(place, &said, &mut scratch);
        }
        legacy.close(&said, &mut scratch);
        let got = records(&other_end).into_iter().map(|record| String::from_utf8(record).unwrap());
        let whose: Vec<_> = got.map(|record| record.contains("key of alice") && !record.contains("bob")).collect();
        assert_eq!(whose, [true, true, false]);
    }
}
