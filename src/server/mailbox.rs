//! What the threads say to each other.

use crate::chat::{Change, Dialect, Input, SessionId, Work};
use crate::names::UserName;
use crate::protocol::KeyAnnouncement;
use crate::server::link::Link;
use crate::server::sync::{Arc, Sender};

/// What reaches the broker.
pub(super) enum Event {
    /// A connection begins; turns go to its thread.
    Connected(Arc<Link>, Sender<Turn>, Dialect),
    /// Something for the hub.
    Input(Input),
    /// A connection waits until everything that it said before is done.
    Wait(SessionId),
    /// All weak hashes have been passed in.
    Strengthened,
    /// End.
    Shutdown,
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
