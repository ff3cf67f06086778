//! The thread of one connection: reads, decodes, and does the slow work that the hub wants done for its session.
//!
//! What the two wires share is here; [`legacy`] and [`modern`] know what their records mean.

mod legacy;
mod modern;

use std::io;
use std::time::Duration;

use tracing::info;

use self::legacy::Legacy;
use self::modern::Modern;
use crate::chat::{Dialect, Input, Quota, SessionId};
use crate::names::UserName;
use crate::server::guests::{Guest, Guests};
use crate::server::hashing::Hasher;
use crate::server::host::Host;
use crate::server::limits::ConnectionLimits;
use crate::server::link::Link;
use crate::server::mailbox::{Event, Turn};
use crate::server::pace::Pace;
use crate::server::sync::{Arc, Budget, Buffers, Instant, Receiver, RecvTimeoutError, Sender, bounded, recv_until};
use crate::server::workers::Workers;
use crate::tls::{self, Received};

/// Bytes taken from the socket at once, when more than a few are there: a full TLS record and its overhead.
const READ: usize = 16 * 1024 + 512;

/// Bytes of the buffer that each connection has on its stack while it waits: a message or two. Each page of the stack that a
/// thread ever touched counts, so what is deep and done is kept in functions of its own.
const WAITING: usize = 5 * 256;

/// From this size on, a message takes a share of the budget: many large ones in the broker's channel, which counts reads of
/// [`READ`] bytes, would take memory without bound. In bytes.
const LARGE: usize = 4 * 1024;

/// Bytes of large messages that may wait for the broker before those who send more wait. Unpacked, they take a few times as much.
const LARGE_MESSAGES: usize = 16 * 1024 * 1024;

/// Bytes of messages of the legacy wire that have begun before those who have begun a large one must be content with less.
const UNFINISHED: usize = 128 * 1024 * 1024;

/// How long one is heard out who said much faster than allowed, and has left: what waits in its socket could be hours of it.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Buffers of [`READ`] bytes that are kept for the next who read.
const BUFFERS: usize = 64;

/// What all connections need of the server.
pub(super) struct Services {
    pub(super) events: Sender<Event>,
    pub(super) hasher: Arc<Hasher>,
    pub(super) host: Host,
    /// Bytes of large messages that may be on their way to the broker, of all connections.
    pub(super) budget: Arc<Budget>,
    /// Bytes of messages of the legacy wire that have begun, of all connections.
    pub(super) unfinished: Arc<Quota>,
    /// Buffers of [`READ`] bytes, for those who read at the moment.
    pub(super) buffers: Buffers,
    pub(super) checks: Workers,
    pub(super) guests: Arc<Guests>,
    pub(super) limits: ConnectionLimits,
}

impl Services {
    pub(super) fn new(
        events: Sender<Event>,
        hasher: Arc<Hasher>,
        host: Host,
        checks: Workers,
        limits: ConnectionLimits,
    ) -> Arc<Self> {
        let (budget, unfinished) = (Budget::new(LARGE_MESSAGES), Quota::new(UNFINISHED));
        let (buffers, guests) = (Buffers::new(READ, BUFFERS), Arc::default());
        Arc::new(Self { events, hasher, host, budget, unfinished, buffers, checks, guests, limits })
    }
}

/// A connection whose handshake is finished, as its wire uses it.
struct Connection {
    link: Arc<Link>,
    services: Arc<Services>,
    turns: Receiver<Turn>,
    /// As long as nobody is logged in.
    guest: Option<Guest>,
    pace: Pace,
    /// Whether the peer has been faster than its pace, which was logged.
    hurried: bool,
    /// Since when it is known that the peer has left; it is looked at where the peer is made to wait.
    left: Option<Instant>,
    /// What came with one read and is still to be passed on: all at once, so that the broker is woken once and what comes
    /// of it is sent together.
    said: Vec<Input>,
}

/// Makes messages of what records hold, and passes them on.
trait Inbound {
    /// Takes the plaintext of one record.
    fn take(&mut self, connection: &mut Connection, record: &[u8]) -> Result<(), Over>;
}

/// Tells the broker of the end, also when the thread panics: a member without a connection must not stay in its room.
struct Farewell(Arc<Services>, SessionId);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.0.events.send(Event::Input(Input::Disconnected(self.1))); // a broker that is gone needs no telling
    }
}

/// The connection has nothing more to do: the server is ending, or nobody is there any more.
struct Over;

/// Says the first line, where the wire has one; whether the connection is to be served. It waits for nobody, and is said before
/// the connection has its thread: to sign it takes a deeper stack than anything that comes later.
pub(super) fn greet(link: &Arc<Link>, services: &Services) -> bool {
    if link.stream.alpn().as_deref() != Some(tls::MODERN) {
        return true;
    }
    let greeted = modern::greet(link, &services.host);
    if let Err(error) = &greeted {
        info!(session = %link.session, peer = %link.peer, %error, "turned away: the realm cannot be proved to it");
        link.close();
    }
    greeted.is_ok()
}

/// Serves a connection until it ends; the handshake has decided which wire it speaks.
pub(super) fn serve(link: Arc<Link>, services: Arc<Services>) {
    match link.stream.alpn().as_deref() {
        Some(tls::MODERN) => {
            let realm = services.host.realm();
            run(link, services, Dialect::Modern, &mut Modern::new(realm));
        }
        _ if services.host.takes_legacy() => {
            let mut legacy = Legacy::new(services.limits.message, &services.unfinished);
            run(link, services, Dialect::Legacy, &mut legacy);
        }
        _ => legacy::turn_away(&link),
    }
}

/// Not a part of [`serve`], whose stack would hold what both wires need.
#[inline(never)]
fn run(link: Arc<Link>, services: Arc<Services>, wire: Dialect, inbound: &mut impl Inbound) {
    // One command is under way at a time, and it waits for one turn at a time.
    let (turn_sender, turns) = bounded(1);
    if services.events.send(Event::Connected(Arc::clone(&link), turn_sender, wire)).is_err() {
        link.say_goodbye(); // a broker that has gone said it to all others
        link.close();
        return;
    }
    let session = link.session;
    log_begin(&link, wire);
    let _farewell = Farewell(Arc::clone(&services), session);
    let pace = Pace::new(services.limits.messages, services.limits.bytes);
    let (said, hurried, left) = (Vec::new(), false, None);
    let guest = Some(services.guests.add(&link));
    let mut connection = Connection { link, services, turns, guest, pace, hurried, left, said };
    log_end(session, connection.read_all(inbound));
}

#[inline(never)]
fn log_begin(link: &Link, wire: Dialect) {
    info!(session = %link.session, peer = %link.peer, ?wire, "connected");
}

#[inline(never)]
fn log_end(session: SessionId, ended: io::Result<()>) {
    match ended {
        Ok(()) => info!(%session, "disconnected"),
        Err(error) => info!(%session, %error, "connection lost"),
    }
}

impl Connection {
    fn read_all(&mut self, inbound: &mut impl Inbound) -> io::Result<()> {
        let mut records = Vec::new();
        // What came with the client's Finished is here already: a read would wait for more.
        let mut received = self.link.stream.take_buffered(&mut records);
        let mut buffer = [0; WAITING];
        loop {
            for record in std::mem::take(&mut records) {
                let wait = self.pace.bytes(record.len());
                if self.pause(wait).and_then(|()| inbound.take(self, &record)).is_err() {
                    return Ok(());
                }
            }
            if self.pass_on().is_err() {
                return Ok(());
            }
            if received == Received::Closed || self.link.is_closing() {
                return Ok(());
            }
            let read = self.link.stream.read_sparingly(&mut buffer, || self.services.buffers.lend(), &mut records);
            self.link.flush(); // what TLS itself had to answer
            received = read?;
        }
    }

    /// Waits, because the peer says more than it may: what it says next stays in its socket meanwhile. What it said before is passed
    /// on. The broker, which has nothing to say to it otherwise, ends the wait when the connection is over.
    fn pause(&mut self, wait: Duration) -> Result<(), Over> {
        if wait.is_zero() {
            return Ok(());
        }
        self.pass_on()?;
        if !std::mem::replace(&mut self.hurried, true) {
            info!(session = %self.link.session, peer = %self.link.peer, "slowed down: it says more than the rates allow");
        }
        if self.link.is_deserted() && self.left.get_or_insert_with(Instant::now).elapsed() > LAST_WORDS {
            return Err(Over);
        }
        match recv_until(&self.turns, Instant::now().checked_add(wait)) {
            Err(RecvTimeoutError::Disconnected) => Err(Over),
            Err(RecvTimeoutError::Timeout) | Ok(_) => Ok(()),
        }
    }

    /// Asks the broker to say when everything said before is done.
    fn ask_for_turn(&mut self) -> Result<(), Over> {
        self.pass_on()?;
        self.services.events.send(Event::Wait(self.link.session)).map_err(|_| Over)
    }

    /// Does what the broker wants done until it says that everything said before is done; who is logged in then.
    fn work_until_ready(&mut self) -> Result<Option<UserName>, Over> {
        self.pass_on()?;
        loop {
            match self.turns.recv().map_err(|_| Over)? {
                Turn::Ready { user } => {
                    self.count_as_guest(user.is_none());
                    return Ok(user);
                }
                Turn::Work(work) => {
                    self.renew_guest(); // whoever asks to get in is not the one who has waited longest for nothing
                    let done = self.services.hasher.perform(Some(&self.link), work).ok_or(Over)?;
                    let worked = Event::Input(Input::Worked(self.link.session, done));
                    self.services.events.send(worked).map_err(|_| Over)?;
                }
            }
        }
    }

    /// Puts a guest behind those who came since.
    fn renew_guest(&mut self) {
        if self.guest.is_some() {
            self.guest = Some(self.services.guests.add(&self.link));
        }
    }

    fn count_as_guest(&mut self, is_guest: bool) {
        if is_guest != self.guest.is_some() {
            self.guest = is_guest.then(|| self.services.guests.add(&self.link));
        }
    }

    /// Says something that took so many bytes: with the rest of the read, or at once when it is large.
    fn tell(&mut self, input: Input, len: usize) -> Result<(), Over> {
        let wait = self.pace.message();
        self.pause(wait)?;
        if len < LARGE {
            self.said.push(input);
            return Ok(());
        }
        self.pass_on()?;
        let share = self.services.budget.take(len);
        self.services.events.send(Event::Said(vec![input], Some(share))).map_err(|_| Over)
    }

    /// Passes on what was said.
    fn pass_on(&mut self) -> Result<(), Over> {
        if self.said.is_empty() {
            return Ok(());
        }
        self.services.events.send(Event::Said(std::mem::take(&mut self.said), None)).map_err(|_| Over)
    }
}
