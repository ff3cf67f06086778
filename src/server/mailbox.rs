//! What the threads say to each other.

use crate::chat::{Change, Dialect, Input, SessionId, Work};
use crate::names::UserName;
use crate::protocol::KeyAnnouncement;
use crate::server::link::Link;
use crate::server::sync::{Arc, Sender, Share};

/// What reaches the broker.
pub(super) enum Event {
    /// A connection begins; turns go to its thread.
    Connected(Arc<Link>, Sender<Turn>, Dialect),
    /// Something for the hub.
    Input(Input),
    /// What a session said with the bytes of one read, in its order; of what is large, a share of the budget.
    Said(Vec<Input>, Option<Share>),
    /// A connection waits until everything that it said before is done.
    Wait(SessionId),
    /// All weak hashes have been passed in.
    Strengthened,
    /// End.
    Shutdown,
}

impl Event {
    /// How many inputs for the hub it holds, at least one.
    pub(super) fn inputs(&self) -> usize {
        match self {
            Self::Said(inputs, _) => inputs.len().max(1),
            _ => 1,
        }
    }
}

/// What the broker says to a connection that waits for the answer to a command.
pub(super) enum Turn {
    /// What was said is done.
    Ready {
        /// Who is logged in at the session now.
        user: Option<UserName>,
    },
    /// Do this and tell.
    Work(Work),
}

/// What the broker wants of the disk.
pub(super) enum Order {
    /// Write a change; the outcome goes back with the session.
    Commit(Option<SessionId>, Change),
    /// Keep a key. Nobody waits for it.
    SaveKey(KeyAnnouncement),
    /// The last weak hash was replaced: fold, so that none is left on the disk, and say so.
    Strengthened,
}
