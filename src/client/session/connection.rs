//! The connection, as main sees it: what is queued goes out without main ever waiting for it, and it ends in order.
//!
//! Only main queues messages. When the socket is full, a thread drains it, so that main goes on reading: two peers that both
//! write and do not read would wait for each other for ever.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::client::failure::Failure;
use crate::client::reader::{Heard, Lines, read_lines, read_messages};
use crate::tls::{Flush, Stream};

/// Messages of the server that wait for main; beyond it, reading waits.
const WAITING: usize = 64;

/// How long the server may take to close after the client has: in a terminal somebody waits.
const CLOSE_PLAIN: Duration = Duration::from_secs(5);
const CLOSE_TERMINAL: Duration = Duration::from_secs(1);

/// How much longer a server may take for what it has not taken yet.
const SLOW_SERVER: Duration = Duration::from_secs(30);

/// How long the last words of a server are waited for when nothing can be sent to it any more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the connection can no longer be written to, and until when the server may still speak.
struct Broken {
    error: io::Error,
    until: Instant,
}

/// What became of a connection in the course of time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Stands,
    /// Nothing can be sent any more, and nothing more is to be heard.
    GivenUp(String),
    /// Everything was said, and the server took it.
    Done,
    /// Everything was said, and the server takes nothing any more.
    Stuck,
}

/// A connection. Dropped, it is gone for both ends.
pub(super) struct Connection {
    stream: Arc<Stream>,
    heard: Receiver<Heard>,
    drained: (Sender<io::Result<()>>, Receiver<io::Result<()>>),
    /// Set once nothing more will be sent: until when the server may go on, and how long it may each time that it takes something.
    closing: Option<(Instant, Duration)>,
    /// What the server had not taken at the last look, in bytes.
    untaken: usize,
    broken: Option<Broken>,
}

impl Connection {
    /// A connection on the legacy wire.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn legacy(stream: Stream) -> Result<Self, Failure> {
        let stream = Arc::new(stream);
        let reading = Arc::clone(&stream);
        Self::new(stream, move |to| read_messages(&reading, to))
    }

    /// A connection on the modern wire, of which some lines may have been read.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn modern(stream: Arc<Stream>, lines: Lines) -> Result<Self, Failure> {
        Self::new(stream, move |to| read_lines(lines, to))
    }

    fn new(stream: Arc<Stream>, read: impl FnOnce(&Sender<Heard>) + Send + 'static) -> Result<Self, Failure> {
        let (to_main, heard) = bounded(WAITING);
        thread::Builder::new().name("reader".into()).spawn(move || read(&to_main)).map_err(Failure::unexpected)?;
        let drained = bounded(1); // one drain at a time
        Ok(Self { stream, heard, drained, closing: None, untaken: 0, broken: None })
    }

    /// What the server says.
    pub(super) fn heard(&self) -> Receiver<Heard> {
        self.heard.clone()
    }

    /// The results of drains, for [`Connection::drained`].
    pub(super) fn drains(&self) -> Receiver<io::Result<()>> {
        self.drained.1.clone()
    }

    /// Bytes that are not with the system yet.
    pub(super) fn pending(&self) -> usize {
        self.stream.pending()
    }

    /// Queues one message.
    pub(super) fn queue(&self, message: &[u8]) {
        self.stream.queue(message);
    }

    /// Nothing will be queued any more. The server has some time to close, from when it last took something.
    pub(super) fn close(&mut self, somebody_waits: bool) {
        let patience = if somebody_waits { CLOSE_TERMINAL } else { CLOSE_PLAIN };
        self.stream.queue_close();
        self.closing = Some((Instant::now() + patience, patience));
    }

    /// Whether nothing will be queued any more.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Why nothing can be sent any more, if it cannot.
    pub(super) fn broken(&self) -> Option<String> {
        self.broken.as_ref().map(|broken| broken.error.to_string())
    }

    /// Sends what is queued, or has it sent.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn send(&mut self) -> Result<(), Failure> {
        if self.broken.is_some() {
            return Ok(());
        }
        match self.stream.flush() {
            Ok(Flush::Done | Flush::Draining) => {}
            Ok(Flush::Full) => {
                let (stream, done) = (Arc::clone(&self.stream), self.drained.0.clone());
                let drain = move || drop(done.send(stream.drain())); // main may have dropped the connection
                thread::Builder::new().name("drain".into()).spawn(drain).map_err(Failure::unexpected)?;
            }
            Err(error) => self.break_off(error),
        }
        Ok(())
    }

    /// Takes note of a drain's result.
    pub(super) fn drained(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => self.extend(),
            Err(error) => self.break_off(error),
        }
    }

    /// Nothing can be sent any more, but what the server has said before may still be on its way.
    fn break_off(&mut self, error: io::Error) {
        self.broken = Some(Broken { error, until: Instant::now() + LAST_WORDS });
    }

    /// The server took something.
    fn extend(&mut self) {
        self.closing = self.closing.map(|(_, patience)| (Instant::now() + patience, patience));
    }

    /// When the wait for the server ends after everything was said: later while it has not taken everything.
    fn closing_ends(&self) -> Option<Instant> {
        let slack = if self.pending() == 0 { Duration::ZERO } else { SLOW_SERVER };
        self.closing.map(|(until, _)| until + slack)
    }

    /// How long nothing may happen before [`Connection::fate`] is asked for.
    pub(super) fn patience(&self) -> Option<Duration> {
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        // Whether the server takes something is seen only by looking.
        let look = self.closing.filter(|_| self.pending() > 0).map(|_| Duration::from_secs(1));
        let waits = [look, self.closing_ends().map(until), self.broken.as_ref().map(|broken| until(broken.until))];
        waits.into_iter().flatten().min()
    }

    /// What the time has made of it.
    pub(super) fn fate(&mut self) -> Fate {
        let now = Instant::now();
        let untaken = self.pending();
        if untaken < std::mem::replace(&mut self.untaken, untaken) {
            self.extend(); // it is slow, but it takes what it is sent
        }
        match (&self.broken, self.closing) {
            (Some(broken), _) if broken.until <= now => Fate::GivenUp(broken.error.to_string()),
            (None, Some((until, _))) if until <= now && untaken == 0 => Fate::Done,
            (None, Some(_)) if self.closing_ends().is_some_and(|until| until <= now) => Fate::Stuck,
            _ => Fate::Stands,
        }
    }
}

impl Drop for Connection {
    /// Whoever listens is told that nothing is missing; there is no waiting for it any more.
    fn drop(&mut self) {
        self.stream.queue_close();
        let _ = self.stream.flush();
        self.stream.shutdown();
    }
}
