//! What clients say on each wire, and what they understand. No sockets here: bytes come in and go out.

mod guess;
mod irc;
mod landlord;
mod legacy;
mod modern;
mod mqtt;
mod nats;
mod pieces;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use anyhow::Result;
use rustls::ClientConnection;

use crate::accounts::{Accounts, room_name, user_name};
use crate::payload::{Stamp, Stamps};
use crate::target::{Target, WireKind};

pub(crate) use self::guess::{Answered, Guess};
pub(crate) use self::legacy::{AROUND_TOKEN, WrappedKeys};
pub(crate) use self::modern::RoomLog;

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Its connection is being made.
    Dialing,
    /// It may log in.
    Connected,
    /// The server knows who it is.
    LoggedIn,
    /// It is in its room.
    Joined,
}

/// What a client understood.
#[derive(Default)]
pub(crate) struct Heard {
    /// How far it has come now.
    pub(crate) stage: Option<Stage>,
    /// The messages that came.
    pub(crate) stamps: Vec<Stamp>,
    /// What came of a guess.
    pub(crate) answer: Option<Answered>,
    /// What makes it useless: the server's own words, where it had some.
    pub(crate) failure: Option<String>,
}

impl Heard {
    pub(crate) fn clear(&mut self) {
        self.stage = None;
        self.stamps.clear();
        self.answer = None;
        self.failure = None;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stage.is_none() && self.stamps.is_empty() && self.failure.is_none()
    }

    /// Remembers the first failure, as text.
    fn fail(&mut self, why: impl Into<String>) {
        self.failure.get_or_insert_with(|| why.into());
    }
}

/// What a client wants to send: each item becomes TLS records of its own.
#[derive(Default)]
pub(crate) struct Out(pub(crate) Vec<Vec<u8>>);

impl Out {
    fn say(&mut self, bytes: impl Into<Vec<u8>>) {
        self.0.push(bytes.into());
    }
}

/// A client as its wire makes it.
pub(crate) trait Wire {
    /// Whether the server says a line before TLS begins.
    fn waits_in_clear(&self) -> bool {
        false
    }

    /// TLS is up. Whoever reports [`Stage::Connected`] here need not hear anything for it.
    fn begin(&mut self, tls: &ClientConnection, heard: &mut Heard, out: &mut Out);

    /// Says who it is.
    fn login(&mut self, out: &mut Out);

    /// Enters its room.
    fn join(&mut self, out: &mut Out);

    /// Says something to the room.
    fn say(&mut self, text: &str, out: &mut Out);

    /// Gives a sign of life.
    fn ping(&mut self, out: &mut Out);

    /// How many messages it has said that the server has not answered, where the wire has answers.
    fn unanswered(&self) -> usize {
        0
    }

    /// Takes the plaintext of one TLS record, or of a part of one.
    fn hear(&mut self, bytes: &[u8], heard: &mut Heard, out: &mut Out);
}

/// Who a client is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// From 0, over all clients.
    pub(crate) index: usize,
    /// Its account; several clients may share one where the wire allows it.
    pub(crate) user: String,
    pub(crate) room: String,
}

/// Makes clients.
pub(crate) struct Casting {
    pub(crate) target: Target,
    pub(crate) accounts: Accounts,
    pub(crate) members: usize,
    /// The number of the first client: those before it belong to another crowd.
    pub(crate) first: usize,
    /// How many clients share an account.
    pub(crate) sharing: usize,
    /// Whether clients of the legacy wire and of IRC ask for a sign that they are served, before they log in.
    pub(crate) probing: bool,
    /// Whether legacy clients announce a public key behind their log-in and their join, as the scripts do.
    pub(crate) announcing: bool,
    /// Clients of the modern wire make rooms and delete them, and count these here.
    pub(crate) letting: Option<Rc<Cell<u64>>>,
    stamps: Rc<Stamps>,
    logs: Vec<Rc<RefCell<RoomLog>>>,
    wrapped: Rc<WrappedKeys>,
}

impl Casting {
    /// For so many rooms of so many members, and texts of so many bytes.
    pub(crate) fn new(target: Target, accounts: Accounts, rooms: usize, members: usize, text: usize) -> Self {
        let wrapped =
            if target.has_keys() { WrappedKeys::for_room(members, text, target) } else { WrappedKeys::none() };
        Self {
            target,
            accounts,
            members,
            first: 0,
            sharing: 1,
            probing: false,
            announcing: false,
            letting: None,
            stamps: Rc::new(Stamps::new()),
            logs: (0..rooms).map(|_| Rc::default()).collect(),
            wrapped: Rc::new(wrapped),
        }
    }

    /// The client of this number: clients fill one room after the other.
    pub(crate) fn client(&self, index: usize) -> Result<Box<dyn Wire>> {
        let index = self.first + index;
        let account = index / self.sharing.max(1);
        let room = index / self.members.max(1);
        let identity = Identity { index, user: user_name(account), room: room_name(room) };
        let stamps = Rc::clone(&self.stamps);
        Ok(match self.target.wire() {
            WireKind::Modern if let Some(deleted) = &self.letting => {
                Box::new(landlord::Landlord::new(&identity, self.accounts.keys(account)?, Rc::clone(deleted)))
            }
            WireKind::Modern => {
                let log = self.logs.get(room).cloned().unwrap_or_default();
                let follows = index.is_multiple_of(self.members.max(1));
                Box::new(modern::Modern::new(identity, self.accounts.keys(account)?, log, follows, stamps))
            }
            WireKind::Legacy => {
                let key = self.announcing.then(|| self.accounts.public_pem()).transpose()?;
                let wrapped = Rc::clone(&self.wrapped);
                Box::new(legacy::Legacy::new(identity, self.members, wrapped, key, self.probing, stamps))
            }
            WireKind::Irc => Box::new(irc::Irc::new(identity, self.probing, stamps)),
            WireKind::Nats => Box::new(nats::Nats::new(identity, stamps)),
            WireKind::Mqtt => Box::new(mqtt::Mqtt::new(identity, stamps)),
        })
    }
}
