//! The thread of one connection: reads, decodes, and does the slow work that the hub wants done for its session.

use std::io;

use tracing::{debug, info};

use crate::chat::{Input, Work};
use crate::crypto::PublicKey;
use crate::protocol::{ClientMessage, KeyAnnouncement, Reassembled, Reassembler, legacy};
use crate::server::broker::Event;
use crate::server::hashing::Hasher;
use crate::server::link::Link;
use crate::server::sync::{Arc, Receiver, Sender, bounded};
use crate::tls::Received;

/// Bytes taken from the socket at once: a full TLS record and its overhead.
const READ: usize = 16 * 1024 + 512;

/// What the broker says to a connection that waits for the answer to a command.
pub(super) enum Turn {
    /// The command is answered.
    Ready,
    /// Do this and tell.
    Work(Work),
}

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
        let mut connection = Self { link, events, turns, hasher, reassembler: Reassembler::default(), last_key: None };
        match connection.read_all() {
            Ok(()) => info!(%session, "disconnected"),
            Err(error) => info!(%session, %error, "connection lost"),
        }
        let _ = connection.events.send(Event::Input(Input::Disconnected(session))); // a broker that is gone needs no telling
    }

    fn read_all(&mut self) -> io::Result<()> {
        let mut records = Vec::new();
        // What came with the client's Finished is here already: a read would wait for more.
        let mut received = self.link.stream.take_buffered(&mut records);
        let mut buffer = vec![0; READ];
        loop {
            for record in records.drain(..) {
                let message = match self.reassembler.push(&record) {
                    None => continue,
                    Some(Reassembled::TooLong) => ClientMessage::TooLong,
                    Some(Reassembled::Message(message)) => legacy::decode_client(&message),
                };
                if self.pass_on(message).is_err() {
                    return Ok(());
                }
            }
            if received == Received::Closed {
                return Ok(());
            }
            received = self.link.stream.read(&mut buffer, &mut records)?;
        }
    }

    /// A command is waited for, so that what follows it (a key right behind a `/login`) finds it done.
    fn pass_on(&mut self, message: ClientMessage) -> Result<(), BrokerGone> {
        let session = self.link.session;
        let waits = matches!(message, ClientMessage::Command(_));
        let input = match message {
            ClientMessage::Key(announced) => self.check_key(announced),
            message => Input::Message(session, message),
        };
        self.tell(input)?;
        if waits { self.work_until_ready() } else { Ok(()) }
    }

    fn work_until_ready(&self) -> Result<(), BrokerGone> {
        loop {
            match self.turns.recv().map_err(|_| BrokerGone)? {
                Turn::Ready => return Ok(()),
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
