//! The thread of one connection: reads, decodes, and does the slow work that the hub wants done for its session.

use std::io;

use tracing::{debug, info};

use crate::chat::{Input, SessionId};
use crate::crypto::PublicKey;
use crate::protocol::{ClientMessage, KeyAnnouncement, MAX_MESSAGE, Reassembled, Reassembler, legacy};
use crate::server::hashing::Hasher;
use crate::server::link::Link;
use crate::server::mailbox::{Event, Turn};
use crate::server::sync::{Arc, Receiver, Sender, bounded};
use crate::tls::Received;

/// Bytes taken from the socket at once: a full TLS record and its overhead.
const READ: usize = 16 * 1024 + 512;

/// From this size on, the connection waits until a message is passed on: many large ones in the broker's channel, which counts
/// messages, would take memory without bound. In bytes.
const LARGE: usize = 4 * 1024;

/// Longest message of somebody who is not logged in: keys and commands are short. In bytes.
const MAX_GUEST_MESSAGE: usize = 64 * 1024;

/// A connection whose handshake is finished.
pub(super) struct Connection {
    link: Arc<Link>,
    events: Sender<Event>,
    turns: Receiver<Turn>,
    hasher: Arc<Hasher>,
    reassembler: Reassembler,
    /// The last key that was announced and what the check said: a client announces one key many times.
    last_key: Option<(Arc<str>, CheckedKey)>,
}

/// A key in canonical PEM, or why it is refused.
type CheckedKey = Result<Arc<str>, String>;

/// Tells the broker of the end, also when the thread panics: a member without a connection must not stay in its room.
struct Farewell {
    events: Sender<Event>,
    session: SessionId,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Input(Input::Disconnected(self.session))); // a broker that is gone needs no telling
    }
}

/// The broker has gone: the server is ending.
struct BrokerGone;

impl Connection {
    /// Serves a connection until it ends.
    pub(super) fn serve(link: Arc<Link>, events: Sender<Event>, hasher: Arc<Hasher>) {
        let session = link.session;
        // One command is under way at a time, and it waits for one turn at a time.
        let (turn_sender, turns) = bounded(1);
        if events.send(Event::Connected(Arc::clone(&link), turn_sender)).is_err() {
            return;
        }
        info!(%session, peer = %link.peer, "connected");
        let mut connection =
            Self { link, events, turns, hasher, reassembler: Reassembler::new(MAX_GUEST_MESSAGE), last_key: None };
        let _farewell = Farewell { events: connection.events.clone(), session };
        match connection.read_all() {
            Ok(()) => info!(%session, "disconnected"),
            Err(error) => info!(%session, %error, "connection lost"),
        }
    }

    fn read_all(&mut self) -> io::Result<()> {
        let mut records = Vec::new();
        // What came with the client's Finished is here already: a read would wait for more.
        let mut received = self.link.stream.take_buffered(&mut records);
        let mut buffer = vec![0; READ];
        loop {
            for record in records.drain(..) {
                let (message, len) = match self.reassembler.push(&record) {
                    None => continue,
                    Some(Reassembled::TooLong) => (ClientMessage::TooLong, 0),
                    Some(Reassembled::Message(message)) => (legacy::decode_client(&message), message.len()),
                };
                if self.pass_on(message, len).is_err() {
                    return Ok(());
                }
            }
            if received == Received::Closed {
                return Ok(());
            }
            let read = self.link.stream.read(&mut buffer, &mut records);
            self.link.flush(); // what TLS itself had to answer
            received = read?;
        }
    }

    /// A command is waited for, so that what follows it (a key right behind a `/login`) finds it done; so is what would cost
    /// much if many of it were on their way.
    fn pass_on(&mut self, message: ClientMessage, len: usize) -> Result<(), BrokerGone> {
        let session = self.link.session;
        let is_command = matches!(message, ClientMessage::Command(_));
        let is_costly = len >= LARGE || matches!(message, ClientMessage::Key(_));
        let input = match message {
            ClientMessage::Key(announced) => self.check_key(announced),
            message => Input::Message(session, message),
        };
        self.tell(input)?;
        if is_costly && !is_command {
            self.events.send(Event::Wait(session)).map_err(|_| BrokerGone)?;
        }
        if is_command || is_costly { self.work_until_ready() } else { Ok(()) }
    }

    fn work_until_ready(&mut self) -> Result<(), BrokerGone> {
        loop {
            match self.turns.recv().map_err(|_| BrokerGone)? {
                Turn::Ready { logged_in } => {
                    self.reassembler.set_limit(if logged_in { MAX_MESSAGE } else { MAX_GUEST_MESSAGE });
                    return Ok(());
                }
                Turn::Work(work) => {
                    let done = self.hasher.perform(work);
                    self.tell(Input::Worked(self.link.session, done))?;
                }
            }
        }
    }

    fn tell(&self, input: Input) -> Result<(), BrokerGone> {
        self.events.send(Event::Input(input)).map_err(|_| BrokerGone)
    }

    fn check_key(&mut self, announced: KeyAnnouncement) -> Input {
        let KeyAnnouncement { user, pem } = announced;
        let known = self.last_key.as_ref().filter(|(last, _)| *last == pem).map(|(_, key)| key.clone());
        let key = known.unwrap_or_else(|| match PublicKey::from_pem(&pem) {
            Ok(key) => Ok(Arc::clone(key.pem())),
            Err(why) => {
                debug!(session = %self.link.session, %why, "key refused");
                Err(why.to_string())
            }
        });
        if pem.len() < READ {
            self.last_key = Some((pem, key.clone()));
        }
        Input::Key { session: self.link.session, user, key }
    }
}
