//! The main thread's loop: what is typed, what the server says and what slow work came to goes to the machine, and what that
//! decides is done.
//!
//! ```text
//! reader ──messages or lines (64)──▶┐
//! input ──lines────────────────────▶┤
//! work ──wraps, checked keys───────▶┤ main: select! → machine → show | remember, then queue and flush ──full socket──▶ drain
//! connect ──a new connection───────▶┤
//! signals ─────────────────────────▶┘
//! ```

mod client;
mod connection;
mod progress;
mod redial;
mod work;

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, never, select};

use crate::client::alarm::counted;
use crate::client::dial::{Dialer, Greeted};
use crate::client::failure::{Exit, Failure};
use crate::client::input::Typing;
use crate::client::key_file::KeyFile;
use crate::client::known_keys::Change;
use crate::client::machine::Now;
use crate::client::modern::{Done, Input};
use crate::client::reader::Heard;
use crate::client::screen::{Line, Screen};
use crate::names::Text;
use crate::tls::Stream;

use self::client::Deed;
use self::connection::{Connection, Fate};
use self::progress::Progress;
use self::redial::{Dialed, Redial};
use self::work::Work;

pub use self::client::Client;
pub use self::work::{Worker, work};

/// Unsent bytes from which on no more lines are taken.
const MOST_PENDING: usize = 256 * 1024;

/// Most messages of the server that are handled in one turn, and what they pin is saved at once.
const TURN: usize = 256;

/// How long nothing happens where nothing is due.
const LONG: Duration = Duration::from_secs(3600);

/// What the loop waits for.
enum Event {
    Typing(Typing),
    Heard(Heard),
    Drained(io::Result<()>),
    Worked(Done),
    Dialed(Box<Dialed>),
    Signal,
    Tick,
}

/// The person's side of a session.
pub struct Person {
    /// What is typed.
    pub typing: Receiver<Typing>,
    /// Signals that end the program.
    pub signals: Receiver<()>,
    /// What the person sees.
    pub screen: Screen,
    /// Where keys are remembered.
    pub keys: KeyFile,
}

/// The loop's state.
pub struct Session {
    client: Client,
    person: Person,
    start: Instant,
    connection: Option<Connection>,
    /// How to connect again, where that is done.
    redial: Option<Redial>,
    work: Work,
    progress: Progress,
    interrupted: bool,
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
    /// A session whose slow work is done by `worker`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(client: Client, person: Person, worker: Worker) -> Result<Self, Failure> {
        Ok(Self {
            client,
            person,
            start: Instant::now(),
            connection: None,
            redial: None,
            work: Work::start(worker).map_err(Failure::unexpected)?,
            progress: Progress::default(),
            interrupted: false,
        })
    }

    /// Runs on a connection of the legacy wire until somebody ends it.
    ///
    /// # Errors
    /// [`Failure`] when that was not the person.
    pub fn run_legacy(mut self, stream: Stream) -> Result<(), Failure> {
        self.connection = Some(Connection::legacy(stream)?);
        self.run(Ok(()))
    }

    /// Runs on the modern wire until somebody ends it; a connection that is lost is made again with `dialer`.
    ///
    /// # Errors
    /// [`Failure`] when that was not the person.
    pub fn run_modern(mut self, greeted: Greeted, dialer: Dialer) -> Result<(), Failure> {
        self.redial = Some(Redial::new(dialer));
        let mut out = Vec::new();
        let begun = self.meet(greeted, &mut out).and_then(|()| self.perform(out));
        self.run(begun)
    }

    fn run(mut self, begun: Turn) -> Result<(), Failure> {
        let mut turn = begun;
        let end = loop {
            match turn {
                Ok(()) => turn = self.turn(),
                Err(end) => break end,
            }
        };
        self.connection = None;
        self.person.screen.settle();
        match end {
            // A script must be able to tell.
            End::Well if !self.person.screen.is_terminal() && self.client.has_unsent() => {
                Err(Failure::usage("Not everything was sent; see above.".to_owned()))
            }
            End::Well => Ok(()),
            End::Badly(failure) => Err(failure),
        }
    }

    fn turn(&mut self) -> Turn {
        let event = self.next()?;
        let mut out = Vec::new();
        if let Err(end) = self.take(event, &mut out) {
            self.perform(out)?; // the last words before the end
            return Err(end);
        }
        self.perform(out)?;
        self.check_time()
    }

    /// Waits for what happens next.
    fn next(&mut self) -> Result<Event, End> {
        let connection = self.connection.as_ref();
        let heard = connection.map_or_else(never, Connection::heard);
        let drained = connection.map_or_else(never, Connection::drains);
        let has_room = connection.is_none_or(|connection| connection.pending() < MOST_PENDING);
        let takes_lines = has_room && self.client.wants_lines();
        let typing = if takes_lines { self.person.typing.clone() } else { never() };
        let dialed = self.redial.as_ref().map_or_else(never, Redial::dialed);
        select! {
            recv(typing) -> typing => match typing {
                Ok(typing) => Ok(Event::Typing(typing)),
                Err(_) => {
                    self.person.typing = never(); // the thread has said how it ended
                    Ok(Event::Tick)
                }
            },
            recv(heard) -> heard => heard.map(Event::Heard).map_err(|_| ended("reader")),
            recv(drained) -> result => Ok(Event::Drained(result.unwrap_or(Ok(())))),
            recv(self.work.done()) -> done => done.map(Event::Worked).map_err(|_| ended("work")),
            recv(dialed) -> dialed => dialed.map(|dialed| Event::Dialed(dialed.into())).map_err(|_| ended("dial")),
            recv(self.person.signals) -> _ => Ok(Event::Signal),
            default(self.patience()) => Ok(Event::Tick),
        }
    }

    fn take(&mut self, event: Event, out: &mut Vec<Deed>) -> Turn {
        match event {
            Event::Typing(typing) => self.typed(typing, out)?,
            Event::Heard(heard) => {
                let more = self.connection.as_ref().map_or_else(never, Connection::heard);
                for heard in std::iter::once(heard).chain(more.try_iter().take(TURN)) {
                    self.heard(heard, out)?;
                    if self.connection.is_none() {
                        break; // what it said before it was given up is of no use any more
                    }
                }
            }
            Event::Drained(result) => {
                if let Some(connection) = &mut self.connection {
                    connection.drained(result);
                }
            }
            Event::Worked(done) => self.machine_takes(Input::Done(done), out),
            Event::Dialed(dialed) => self.dialed(*dialed, out)?,
            Event::Signal => self.interrupted(out)?,
            Event::Tick => self.machine_takes(Input::Tick, out),
        }
        Ok(())
    }

    fn typed(&mut self, typing: Typing, out: &mut Vec<Deed>) -> Turn {
        match typing {
            Typing::Line(line) => self.machine_takes(Input::Line(line), out),
            Typing::Say(words) => {
                self.client.note_unsent();
                out.push(Deed::Show(Line::Own(words)));
            }
            Typing::End => self.machine_takes(Input::EndOfLines, out),
            Typing::Interrupted => self.interrupted(out)?,
            Typing::Failed(why) => return Err(Failure::usage(format!("The input cannot be read: {why}.")).into()),
        }
        Ok(())
    }

    /// Ends now, or as soon as the others in the room know of it; the second time, now.
    fn interrupted(&mut self, out: &mut Vec<Deed>) -> Turn {
        if std::mem::replace(&mut self.interrupted, true) {
            return Err(End::Well);
        }
        if !self.goes_on() {
            self.tell_unsent(out);
            return Err(End::Well);
        }
        self.machine_takes(Input::HangUp, out);
        Ok(())
    }

    fn heard(&mut self, heard: Heard, out: &mut Vec<Deed>) -> Turn {
        match heard {
            Heard::Said(message) => self.machine_takes(Input::Server(message), out),
            Heard::TooLong => self.machine_takes(Input::TooLong, out),
            Heard::Closed => match self.connection.as_ref().and_then(Connection::broken) {
                Some(why) => self.given_up(&why, out)?,
                None if self.goes_on() => self.lost("the server has closed it", out),
                None => return Err(self.ended("The server has closed the connection.".to_owned())),
            },
            Heard::Lost(error) if self.goes_on() => self.lost(&error.to_string(), out),
            Heard::Lost(error) => return Err(self.ended(format!("The connection to the server is lost: {error}."))),
        }
        Ok(())
    }

    /// Whether the machine decides what becomes of the end of the connection.
    fn goes_on(&self) -> bool {
        self.client.survives() && !self.connection.as_ref().is_some_and(Connection::is_closing)
    }

    /// Nothing can be sent any more, and nothing more is to be heard.
    fn given_up(&mut self, why: &str, out: &mut Vec<Deed>) -> Turn {
        if self.goes_on() {
            self.lost(why, out);
            return Ok(());
        }
        Err(Failure::network(format!("The connection to the server is lost: {why}.")).into())
    }

    fn lost(&mut self, why: &str, out: &mut Vec<Deed>) {
        self.connection = None;
        self.machine_takes(Input::Lost(Text::sanitize(why)), out);
    }

    /// The server's end: well if everything that was to be said is out.
    fn ended(&self, words: String) -> End {
        let connection = self.connection.as_ref();
        let is_out = connection.is_none_or(|connection| connection.pending() == 0);
        match (connection.is_some_and(Connection::is_closing), self.client.waiting()) {
            (true, _) if is_out => End::Well,
            (true, _) => Failure::network(format!("{words} Not everything was sent.")).into(),
            (false, 0) => Failure::network(words).into(),
            (false, waiting) => Failure::network(format!("{words} Lines that were not sent: {waiting}.")).into(),
        }
    }

    fn dialed(&mut self, dialed: Dialed, out: &mut Vec<Deed>) -> Turn {
        self.redial.iter_mut().for_each(Redial::is_over);
        match dialed {
            Ok(greeted) => self.meet(greeted, out),
            Err(failure) if failure.exit == Exit::Network => {
                self.lost(failure.first_sentence(), out);
                Ok(())
            }
            Err(failure) => {
                self.tell_unsent(out);
                Err(failure.into())
            }
        }
    }

    /// Says what will not be sent any more.
    fn tell_unsent(&mut self, out: &mut Vec<Deed>) {
        let waiting = self.client.waiting();
        if waiting > 0 {
            self.client.note_unsent();
            out.push(Deed::Show(Line::Own(format!("{} not sent.", counted(waiting, "line was", "lines were")))));
        }
    }

    /// A connection stands. What the server is known as is on the disk before anything is sent.
    fn meet(&mut self, greeted: Greeted, out: &mut Vec<Deed>) -> Turn {
        let Greeted { stream, exporter, hello, lines, met, .. } = greeted;
        if let Some(change) = self.redial.as_mut().and_then(|redial| redial.meet(met.server)) {
            self.person.keys.remember(&[change])?;
            out.push(Deed::Show(Line::Own(met.why)));
        }
        self.connection = Some(Connection::modern(stream, lines)?);
        self.machine_takes(Input::Connected { exporter }, out);
        self.machine_takes(Input::Server(hello), out);
        Ok(())
    }

    fn machine_takes(&mut self, input: Input, out: &mut Vec<Deed>) {
        let (now, before) = (self.now(), out.len());
        self.client.handle(now, input, out);
        if out.iter().skip(before).any(|deed| matches!(deed, Deed::Disconnect)) {
            self.connection = None; // at once: nothing more is to be heard of it
        }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Now { elapsed: self.start.elapsed(), unix }
    }

    /// How long nothing may happen.
    fn patience(&self) -> Duration {
        let elapsed = self.start.elapsed();
        let redial = self.redial.as_ref().and_then(Redial::due);
        let due = [self.client.deadline(), redial].into_iter().flatten().min();
        let connection = self.connection.as_ref().and_then(Connection::patience);
        [due.map(|at| at.saturating_sub(elapsed)), connection].into_iter().flatten().min().unwrap_or(LONG)
    }

    fn check_time(&mut self) -> Turn {
        if let Some(redial) = &mut self.redial {
            redial.begin(self.start.elapsed())?;
        }
        match self.connection.as_mut().map_or(Fate::Stands, Connection::fate) {
            Fate::Stands => Ok(()),
            Fate::Done => Err(End::Well),
            Fate::Stuck => Err(self.ended("The server takes nothing any more.".to_owned())),
            Fate::GivenUp(why) => {
                let mut out = Vec::new();
                self.given_up(&why, &mut out)?;
                self.perform(out)
            }
        }
    }

    /// Does what the machine decided. What is to be remembered is on the disk before anything is sent.
    fn perform(&mut self, out: Vec<Deed>) -> Turn {
        let changes: Vec<Change> = out.iter().filter_map(remembered).collect();
        if !changes.is_empty() {
            self.person.keys.remember(&changes)?;
        }
        for deed in out {
            self.do_one(deed)?;
        }
        match &mut self.connection {
            Some(connection) => Ok(connection.send()?),
            None => Ok(()),
        }
    }

    fn do_one(&mut self, deed: Deed) -> Turn {
        match deed {
            Deed::Send(message) => {
                if let Some(connection) = &self.connection {
                    connection.queue(&message);
                }
            }
            Deed::Remember(_) | Deed::Disconnect => {}
            Deed::Show(line) => self.show(&line)?,
            Deed::Progress { done, total } => {
                let once = !self.person.screen.is_terminal();
                if let Some(words) = self.progress.words(self.start.elapsed(), done, total, once) {
                    self.show(&Line::Own(words))?;
                }
            }
            Deed::Work(job) => self.work.give(job),
            Deed::Reconnect(at) => self.redial.iter_mut().for_each(|redial| redial.want(at)),
            Deed::Close => {
                let Some(connection) = &mut self.connection else { return Err(End::Well) };
                if self.interrupted {
                    return Err(End::Well); // what is queued goes out as far as the system takes it
                }
                connection.close(self.person.screen.is_terminal());
            }
            Deed::Fail(failure) => return Err(failure.into()),
        }
        Ok(())
    }

    fn show(&self, line: &Line) -> Turn {
        self.person.screen.show(line).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => End::Well, // nobody reads any more
            _ => Failure::usage(format!("The output cannot be written: {error}.")).into(),
        })
    }
}

fn remembered(deed: &Deed) -> Option<Change> {
    match deed {
        Deed::Remember(change) => Some(change.clone()),
        _ => None,
    }
}

/// A thread that main needs is gone.
fn ended(thread: &str) -> End {
    Failure::unexpected(format!("The {thread} thread has ended.")).into()
}
