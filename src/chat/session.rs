//! What goes into the hub and what comes out of it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::chat::{Change, Subject, Verifier};
use crate::names::{Password, RoomName, UserName};
use crate::protocol::{ClientMessage, KeyAnnouncement, ServerMessage};

/// One connection, for as long as the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed moment; it never goes back. What waits, waits by this.
    pub elapsed: Duration,
    /// Milliseconds since 1970, as the machine's clock has it; it may be set. What lasts, and what people read, goes by this.
    pub unix_ms: u64,
}

/// What happens to the hub.
#[derive(Debug)]
pub enum Input {
    /// A session began.
    Connected(SessionId, IpAddr),
    /// A client said something other than a key.
    Message(SessionId, ClientMessage),
    /// A client announced a key: in canonical PEM, or why it is refused. The check took place before.
    Key {
        /// The session that announced it.
        session: SessionId,
        /// The name that it was announced for.
        user: UserName,
        /// The canonical PEM.
        key: Result<Arc<str>, String>,
    },
    /// Work that the hub had asked for is done.
    Worked(SessionId, WorkDone),
    /// A change is on the disk, or could not be written.
    Stored {
        /// The session that waits for it, if one does.
        session: Option<SessionId>,
        /// The change.
        change: Change,
        /// Whether it is on the disk.
        saved: bool,
    },
    /// A weak hash was strengthened in the background.
    Strengthened {
        /// The change that puts the strong hash in place.
        change: Change,
        /// The weak hash: if another one stands there by now, that one stays.
        weak: Verifier,
    },
    /// A session ended.
    Disconnected(SessionId),
    /// The moment of [`Hub::deadline`](crate::chat::Hub::deadline) has come.
    Tick,
}

/// What the hub wants done.
#[derive(Debug)]
pub enum Effect {
    /// Send a message to one session.
    Send(SessionId, ServerMessage),
    /// Send a message to each of these sessions.
    Deliver(Vec<SessionId>, ServerMessage),
    /// Let the session's own thread do something slow; [`Input::Worked`] follows.
    Work(SessionId, Work),
    /// Write a change to the disk; [`Input::Stored`] follows.
    Store(Option<SessionId>, Change),
    /// Keep a user's key.
    SaveKey(KeyAnnouncement),
    /// The session's command has been answered: its next message may come.
    Ready(SessionId),
    /// Something that no honest client does, for the log.
    Suspicious(SessionId, &'static str),
}

/// Slow work with a password.
#[derive(Debug)]
pub enum Work {
    /// Check a password. Without a verifier (no such user) it is wrong, and takes as long to find out.
    Check {
        /// What was typed.
        password: Password,
        /// What it must match.
        verifier: Option<Verifier>,
    },
    /// Hash a new password.
    Hash(Password),
}

/// The outcome of [`Work`].
#[derive(Debug)]
pub enum WorkDone {
    /// Of [`Work::Check`].
    Checked {
        /// Whether the password is right.
        right: bool,
        /// A better hash of the same password, when the stored one is an old one.
        better: Option<Verifier>,
    },
    /// Of [`Work::Hash`].
    Hashed(Verifier),
}

/// Something that is entered with a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An account.
    Login(UserName),
    /// A room.
    Join(RoomName),
}

/// Who and where a session is.
#[derive(Debug)]
pub(super) enum State {
    Guest,
    LoggedIn(Member),
    InRoom(Member, RoomName),
}

/// A logged-in user at one session.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) user: UserName,
    /// The key that this session announced, in canonical PEM.
    pub(super) key: Option<Arc<str>>,
}

impl Member {
    pub(super) fn announcement(&self) -> Option<KeyAnnouncement> {
        Some(KeyAnnouncement { user: self.user.clone(), pem: self.key.clone()? })
    }
}

/// What a session's command waits for. Nothing else comes from the session until then, except its end.
#[derive(Debug)]
pub(super) enum Pending {
    Hash(Subject),
    Check {
        entry: Entry,
        /// The hash that the password is checked against.
        against: Option<Verifier>,
    },
    /// The change that creates something, whose name is claimed meanwhile.
    StoreCreation(Subject),
    /// A better hash; the entry is granted whether or not it could be saved.
    StoreBetter(Entry),
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) address: IpAddr,
    pub(super) state: State,
    pub(super) pending: Option<Pending>,
    /// How many different keys it has announced, one after the other.
    pub(super) keys: u32,
    /// The last of them.
    pub(super) last_key: Option<Arc<str>>,
}

impl Session {
    pub(super) fn new(address: IpAddr) -> Self {
        Self { address, state: State::Guest, pending: None, keys: 0, last_key: None }
    }

    pub(super) fn member(&self) -> Option<&Member> {
        match &self.state {
            State::Guest => None,
            State::LoggedIn(member) | State::InRoom(member, _) => Some(member),
        }
    }

    pub(super) fn room(&self) -> Option<&RoomName> {
        match &self.state {
            State::InRoom(_, room) => Some(room),
            State::Guest | State::LoggedIn(_) => None,
        }
    }
}
