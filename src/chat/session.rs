//! What goes into the hub and what comes out of it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxBuildHasher;

use crate::chat::{Change, KnownBundle, RsaKey, Verifier};
use crate::names::{Password, UserName};
use crate::protocol::modern::{Answer, Event, MessageEvent, Refusal, Request};
use crate::protocol::{ClientMessage, KeyAnnouncement, ServerMessage};
use crate::transcript::{BundleHash, RunId};

/// One connection, for as long as the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is kept by session. Nobody chooses the number of a session, so a plain hash serves as well as a keyed one, in less time.
pub type SessionMap<T> = HashMap<SessionId, T, FxBuildHasher>;

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed moment; it never goes back. What waits, waits by this.
    pub elapsed: Duration,
    /// Milliseconds since 1970, as the machine's clock has it; it may be set. What lasts, and what people read, goes by this.
    pub unix_ms: u64,
}

/// Which wire a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// That of the Python scripts.
    Legacy,
    /// `secure-chat/1`.
    Modern,
}

/// What happens to the hub.
#[derive(Debug)]
pub enum Input {
    /// A session began.
    Connected(SessionId, IpAddr, Dialect),
    /// A client on the legacy wire said something other than a key.
    Message(SessionId, ClientMessage),
    /// A client on the legacy wire announced a key, or why it is refused. The check took place before.
    Key {
        /// The session that announced it.
        session: SessionId,
        /// The name that it was announced for.
        user: UserName,
        /// The key.
        key: Result<RsaKey, String>,
    },
    /// A client on the modern wire asked for something other than an `announce`, or sent a line that asks for nothing.
    Request(SessionId, Result<Box<Request>, Refusal>),
    /// A client on the modern wire announced a bundle. The check took place before.
    Announce {
        /// The session that announced it.
        session: SessionId,
        /// The request's id.
        id: u64,
        /// The client's run.
        run: RunId,
        /// The bundle's hash.
        hash: BundleHash,
        /// The bundle, or why it is refused.
        bundle: Result<Arc<KnownBundle>, String>,
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
    /// Send a message to one session on the legacy wire.
    Send(SessionId, ServerMessage),
    /// Send a message to each of these sessions on the legacy wire.
    Deliver(Vec<SessionId>, ServerMessage),
    /// Answer a request of a session on the modern wire.
    Answer(SessionId, Answer),
    /// Send an event to these sessions on the modern wire: the same line to all.
    Tell(Audience, Box<Event>),
    /// Send a message that came on the legacy wire, which holds no key, to these sessions on the modern one: to each with its own key.
    TellKeyed(Box<MessageEvent>, Vec<(SessionId, String)>),
    /// End a session, once everything before is sent. It is none of the hub's any more.
    End(SessionId),
    /// Let the session's own thread do something slow; [`Input::Worked`] follows.
    Work(SessionId, Work),
    /// Write a change to the disk; [`Input::Stored`] follows.
    Store(Option<SessionId>, Change),
    /// Keep a user's key.
    SaveKey(KeyAnnouncement),
    /// The session's command, or request, has been answered: its next one may come.
    Ready(SessionId),
    /// Something that no honest client does, for the log.
    Suspicious(SessionId, &'static str),
}

/// Who gets an event.
#[derive(Debug, Clone)]
pub enum Audience {
    /// One session.
    One(SessionId),
    /// All of these but one.
    All {
        /// The sessions, as the room keeps them.
        of: Arc<Vec<SessionId>>,
        /// Who knows already.
        except: Option<SessionId>,
    },
}

impl Audience {
    /// The sessions.
    pub fn iter(&self) -> impl Iterator<Item = SessionId> {
        let (one, all, except) = match self {
            Self::One(session) => (Some(*session), &[][..], None),
            Self::All { of, except } => (None, of.as_slice(), *except),
        };
        one.into_iter().chain(all.iter().copied().filter(move |session| Some(*session) != except))
    }
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
