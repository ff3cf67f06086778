//! The main thread's loop: what is typed and what the server says goes to the machine, and what that decides is done.
//!
//! Only this thread queues messages. When the socket is full, a thread drains it, so that this one goes on reading: two peers
//! that both write and do not read would wait for each other for ever.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, never, select};

use crate::client::failure::Failure;
use crate::client::input::Typing;
use crate::client::key_file::KeyFile;
use crate::client::key_name::KeyName;
use crate::client::known_keys::{Change, Learned};
use crate::client::machine::{Input, Machine, Now, Output};
use crate::client::screen::Screen;
use crate::protocol::{Reassembled, Reassembler, legacy};
use crate::tls::{Flush, Received, Stream};

/// Unsent bytes from which on no more lines are taken.
const MOST_PENDING: usize = 256 * 1024;

/// Most messages of the server that are handled in one turn, and what they pin is saved at once.
const TURN: usize = 256;

/// How long the server may take to close after the client has: in a terminal somebody waits.
const CLOSE_PLAIN: Duration = Duration::from_secs(5);
const CLOSE_TERMINAL: Duration = Duration::from_secs(1);

/// How much longer a server may take for what it has not taken yet.
const SLOW_SERVER: Duration = Duration::from_secs(30);

/// How long the last words of a server are waited for when nothing can be sent to it any more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the reader thread reports.
pub enum Wire {
    /// A message.
    Message(Vec<u8>),
    /// A message over [`crate::protocol::MAX_MESSAGE`] bytes, which was dropped.
    TooLong,
    /// The server has closed the connection.
    Closed,
    /// The connection is lost.
    Lost(io::Error),
}

/// The reader thread: messages until the connection ends.
pub fn read_server(stream: &Stream, to: &Sender<Wire>) {
    let mut reassembler = Reassembler::default();
    let mut buffer = vec![0; 32 * 1024];
    let mut records = Vec::new();
    let mut received = Ok(stream.take_buffered(&mut records));
    loop {
        for record in records.drain(..) {
            let message = match reassembler.push(&record) {
                Some(Reassembled::Message(message)) => Wire::Message(message),
                Some(Reassembled::TooLong) => Wire::TooLong,
                None => continue,
            };
            if to.send(message).is_err() {
                return;
            }
        }
        let end = match received {
            Ok(Received::Open) => {
                received = stream.read(&mut buffer, &mut records);
                continue;
            }
            Ok(Received::Closed) => Wire::Closed,
            Err(error) => Wire::Lost(error),
        };
        let _ = to.send(end); // main may be gone already
        return;
    }
}

/// Where events come from.
pub struct Events {
    /// What is typed.
    pub typing: Receiver<Typing>,
    /// What the server says.
    pub wire: Receiver<Wire>,
    /// Signals that end the program.
    pub signals: Receiver<()>,
}

/// Why the connection can no longer be written to, and until when the server may still speak.
struct Broken {
    error: io::Error,
    until: Instant,
}

/// The loop's state.
pub struct Session {
    stream: Arc<Stream>,
    machine: Machine,
    screen: Screen,
    keys: KeyFile,
    realm: KeyName,
    start: Instant,
    drained: (Sender<io::Result<()>>, Receiver<io::Result<()>>),
    /// Set once nothing more will be sent: until when the server may go on.
    closing: Option<Instant>,
    /// What the server had not taken at the last look, in bytes.
    untaken: usize,
    broken: Option<Broken>,
}

/// The loop goes on, or ends.
type Turn = Result<(), End>;

/// How the loop ends.
enum End {
    Well,
    Badly(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Badly(failure)
    }
}

impl Session {
    /// A session on a connection; what is learned is remembered in `realm`.
    pub fn new(stream: Arc<Stream>, machine: Machine, screen: Screen, keys: KeyFile, realm: KeyName) -> Self {
        Self {
            stream,
            machine,
            screen,
            keys,
            realm,
            start: Instant::now(),
            drained: crossbeam_channel::bounded(1), // one drain at a time
            closing: None,
            untaken: 0,
            broken: None,
        }
    }

    /// Runs until somebody ends it.
    ///
    /// # Errors
    /// [`Failure`] when that was not the person.
    pub fn run(mut self, mut events: Events) -> Result<(), Failure> {
        let end = loop {
            if let Err(end) = self.turn(&mut events) {
                break end;
            }
        };
        // Whoever listens is told that nothing is missing; there is no waiting for it any more.
        self.stream.queue_close();
        let _ = self.stream.flush();
        self.stream.shutdown();
        self.screen.settle();
        match end {
            // A script must be able to tell.
            End::Well if matches!(self.screen, Screen::Plain) && self.machine.has_unsent() => {
                Err(Failure::usage("Not everything was sent; see above.".to_owned()))
            }
            End::Well => Ok(()),
            End::Badly(failure) => Err(failure),
        }
    }

    fn turn(&mut self, events: &mut Events) -> Turn {
        let no_lines = never();
        let takes_lines = self.machine.wants_lines() && self.stream.pending() < MOST_PENDING;
        let typing = if takes_lines { &events.typing } else { &no_lines };
        let mut out = Vec::new();
        select! {
            recv(typing) -> typing => match typing {
                Ok(typing) => self.typed(typing, &mut out)?,
                Err(_) => events.typing = never(), // the thread has said how it ended
            },
            recv(events.wire) -> wire => {
                let Ok(wire) = wire else { return Err(Failure::unexpected("The reader has ended.").into()) };
                for wire in std::iter::once(wire).chain(events.wire.try_iter().take(TURN)) {
                    if let Err(end) = self.heard(wire, &mut out) {
                        self.perform(out)?; // the last words before the end
                        return Err(end);
                    }
                }
            },
            recv(events.signals) -> _ => return Err(End::Well),
            recv(self.drained.1) -> result => match result {
                Ok(Err(error)) => self.break_off(error),
                _ => self.closing = self.closing.map(|_| self.close_by()),
            },
            default(self.patience()) => self.machine_takes(Input::Tick, &mut out),
        }
        self.perform(out)?;
        self.check_time()
    }

    fn typed(&mut self, typing: Typing, out: &mut Vec<Output>) -> Turn {
        match typing {
            Typing::Line(line) => self.machine_takes(Input::Line(line), out),
            Typing::Say(words) => {
                self.machine.note_unsent();
                out.push(Output::Say(words));
            }
            Typing::End => self.machine_takes(Input::EndOfLines, out),
            Typing::Interrupted => return Err(End::Well),
            Typing::Failed(why) => return Err(Failure::usage(format!("The input cannot be read: {why}.")).into()),
        }
        Ok(())
    }

    fn heard(&mut self, wire: Wire, out: &mut Vec<Output>) -> Turn {
        match wire {
            Wire::Message(message) => self.machine_takes(Input::Server(legacy::decode_server(&message)), out),
            Wire::TooLong => self.machine_takes(Input::TooLong, out),
            Wire::Closed if self.broken.is_none() => {
                return Err(self.ended("The server has closed the connection.".into()));
            }
            Wire::Closed => return Err(self.given_up()),
            Wire::Lost(error) => return Err(self.ended(format!("The connection to the server is lost: {error}."))),
        }
        Ok(())
    }

    /// The server's end: well if everything that was to be said is out.
    fn ended(&self, words: String) -> End {
        match self.closing {
            Some(_) if self.stream.pending() == 0 => End::Well,
            Some(_) => Failure::network(format!("{words} Not everything was sent.")).into(),
            None if self.machine.waiting() > 0 => {
                Failure::network(format!("{words} Lines that were not sent: {}.", self.machine.waiting())).into()
            }
            None => Failure::network(words).into(),
        }
    }

    fn given_up(&self) -> End {
        let why = self.broken.as_ref().map_or("it does not answer".into(), |broken| broken.error.to_string());
        Failure::network(format!("The connection to the server is lost: {why}.")).into()
    }

    fn machine_takes(&mut self, input: Input, out: &mut Vec<Output>) {
        self.machine.handle(self.now(), input, out);
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Now { elapsed: self.start.elapsed(), unix }
    }

    /// How long nothing may happen.
    fn patience(&self) -> Duration {
        let machine = self.machine.deadline().map(|at| at.saturating_sub(self.start.elapsed()));
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        // Whether the server takes something is seen only by looking.
        let look = self.closing.filter(|_| self.stream.pending() > 0).map(|_| Duration::from_secs(1));
        let waits =
            [machine, look, self.closing_ends().map(until), self.broken.as_ref().map(|broken| until(broken.until))];
        waits.into_iter().flatten().min().unwrap_or(Duration::from_secs(3600))
    }

    fn check_time(&mut self) -> Turn {
        let now = Instant::now();
        let untaken = self.stream.pending();
        if untaken < std::mem::replace(&mut self.untaken, untaken) {
            self.closing = self.closing.map(|_| self.close_by()); // it is slow, but it takes what it is sent
        }
        match (&self.broken, self.closing) {
            (Some(broken), _) if broken.until <= now => Err(self.given_up()),
            (None, Some(until)) if until <= now && self.stream.pending() == 0 => Err(End::Well),
            (None, Some(_)) if self.closing_ends().is_some_and(|until| until <= now) => {
                Err(self.ended("The server takes nothing any more.".into()))
            }
            _ => Ok(()),
        }
    }

    /// When the wait for the server ends after everything was said: later while it has not taken everything.
    fn closing_ends(&self) -> Option<Instant> {
        let slack = if self.stream.pending() == 0 { Duration::ZERO } else { SLOW_SERVER };
        self.closing.map(|until| until + slack)
    }

    /// Does what the machine decided. Pins are on the disk before anything is sent.
    fn perform(&mut self, out: Vec<Output>) -> Turn {
        self.remember(&out)?;
        for output in out {
            let shown = match output {
                Output::Send(message) => {
                    self.stream.queue(&message);
                    Ok(())
                }
                Output::Close => {
                    self.stream.queue_close();
                    self.closing = Some(self.close_by());
                    Ok(())
                }
                Output::Message(text) => self.screen.message(&text),
                Output::Server(text) => self.screen.server(&text),
                Output::Say(words) => self.screen.say(&words),
                Output::Pin { .. } => Ok(()),
            };
            shown.map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => End::Well, // nobody reads any more
                _ => Failure::usage(format!("The output cannot be written: {error}.")).into(),
            })?;
        }
        self.send()
    }

    fn remember(&self, out: &[Output]) -> Turn {
        let pin = |output: &Output| match output {
            Output::Pin { user, key, replaces } => {
                let learned = Learned::Rsa { user: user.clone(), key: *key, replaces: *replaces };
                Some(Change::Learned(self.realm, learned))
            }
            _ => None,
        };
        let changes: Vec<Change> = out.iter().filter_map(pin).collect();
        if !changes.is_empty() {
            self.keys.remember(&changes)?;
        }
        Ok(())
    }

    fn send(&mut self) -> Turn {
        if self.broken.is_some() {
            return Ok(());
        }
        match self.stream.flush() {
            Ok(Flush::Done | Flush::Draining) => {}
            Ok(Flush::Full) => {
                let (stream, done) = (Arc::clone(&self.stream), self.drained.0.clone());
                let drain = move || done.send(stream.drain());
                thread::Builder::new().name("drain".into()).spawn(drain).map_err(Failure::unexpected)?;
            }
            Err(error) => self.break_off(error),
        }
        Ok(())
    }

    /// Nothing can be sent any more, but what the server has said before may still be on its way.
    fn break_off(&mut self, error: io::Error) {
        self.broken = Some(Broken { error, until: Instant::now() + LAST_WORDS });
    }

    fn close_by(&self) -> Instant {
        let wait = if matches!(self.screen, Screen::Plain) { CLOSE_PLAIN } else { CLOSE_TERMINAL };
        Instant::now() + wait
    }
}
