//! The threads that read what the server says: messages on the legacy wire, lines on the modern one.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::protocol::modern::MAX_LINE;
use crate::protocol::{Line, LineReader, Reassembled, Reassembler};
use crate::tls::{Received, Stream};

/// Bytes that are read at once.
const BUFFER: usize = 32 * 1024;

/// What a reader reports.
#[derive(Debug)]
pub enum Heard {
    /// A message, or a line without its end.
    Said(Vec<u8>),
    /// Something over the limit, which was dropped.
    TooLong,
    /// The server has closed the connection.
    Closed,
    /// The connection is lost.
    Lost(io::Error),
}

/// Reads messages of the legacy wire until the connection, or whoever listens, ends.
pub fn read_messages(stream: &Stream, to: &Sender<Heard>) {
    let mut reassembler = Reassembler::default();
    let mut buffer = vec![0; BUFFER];
    let mut records = Vec::new();
    let mut received = Ok(stream.take_buffered(&mut records));
    loop {
        for record in records.drain(..) {
            let heard = match reassembler.push(&record) {
                Some(Reassembled::Message(message)) => Heard::Said(message),
                Some(Reassembled::TooLong) => Heard::TooLong,
                None => continue,
            };
            if to.send(heard).is_err() {
                return;
            }
        }
        let end = match received {
            Ok(Received::Open) => {
                received = stream.read(&mut buffer, &mut records);
                continue;
            }
            Ok(Received::Closed) => Heard::Closed,
            Err(error) => Heard::Lost(error),
        };
        let _ = to.send(end); // main may be gone already
        return;
    }
}

/// The lines of a connection on the modern wire.
pub struct Lines {
    stream: Arc<Stream>,
    splitter: LineReader,
    ready: VecDeque<Line<'static>>,
    received: Received,
    buffer: Vec<u8>,
    is_new: bool,
    /// Whether reads give up after some time.
    is_timed: bool,
}

impl Lines {
    /// The lines of a connection from which nothing was read yet.
    pub fn new(stream: Arc<Stream>) -> Self {
        Self {
            stream,
            splitter: LineReader::new(MAX_LINE),
            ready: VecDeque::new(),
            received: Received::Open,
            buffer: vec![0; BUFFER],
            is_new: true,
            is_timed: false,
        }
    }

    /// Waits for the next line that is not empty; `None` once the server has closed.
    ///
    /// # Errors
    /// What the connection reports; `WouldBlock` or `TimedOut` when the time is over.
    pub fn next(&mut self, until: Option<Instant>) -> io::Result<Option<Line<'static>>> {
        let mut records = Vec::new();
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            if self.received == Received::Closed {
                return Ok(None);
            }
            self.received = self.read(until, &mut records)?;
            records.drain(..).for_each(|record| self.split(&record));
        }
    }

    fn read(&mut self, until: Option<Instant>, records: &mut Vec<Vec<u8>>) -> io::Result<Received> {
        if std::mem::take(&mut self.is_new) {
            return Ok(self.stream.take_buffered(records));
        }
        if until.is_some() || self.is_timed {
            self.stream.set_patience(until.map(|until| until.saturating_duration_since(Instant::now())))?;
            self.is_timed = until.is_some();
        }
        self.stream.read(&mut self.buffer, records)
    }

    fn split(&mut self, mut record: &[u8]) {
        while let Some(line) = self.splitter.next(&mut record) {
            match line {
                Line::Whole(line) if line.trim_ascii().is_empty() => {}
                line => self.ready.push_back(line.into_owned()),
            }
        }
    }
}

/// Reads lines until the connection, or whoever listens, ends.
pub fn read_lines(mut lines: Lines, to: &Sender<Heard>) {
    loop {
        let (heard, is_last) = match lines.next(None) {
            Ok(Some(Line::Whole(line))) => (Heard::Said(line.into_owned()), false),
            Ok(Some(Line::TooLong)) => (Heard::TooLong, false),
            Ok(None) => (Heard::Closed, true),
            Err(error) => (Heard::Lost(error), true),
        };
        if to.send(heard).is_err() || is_last {
            return;
        }
    }
}
