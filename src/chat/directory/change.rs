//! The changes that last, and what they are made to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::chat::{MAX_RESTRICTIONS, MAX_TOPIC, Verifier};
use crate::names::{RoomName, UserName};
use crate::transcript::RoomId;

/// One change of the directory, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub enum Change {
    /// A new account.
    AddUser { user: UserName, password: Verifier },
    /// Another hash for an account.
    SetUserPassword { user: UserName, password: Verifier },
    /// Whether an account may be entered over the legacy wire.
    SetLegacyLogin { user: UserName, allowed: bool },
    /// A new room, after all others.
    AddRoom { room: RoomName, password: Verifier, id: RoomId, owner: Option<UserName>, modern_only: bool },
    /// Another hash for a room.
    SetRoomPassword { room: RoomName, password: Verifier },
    /// Another topic for a room, of at most [`MAX_TOPIC`] bytes.
    SetTopic { room: RoomName, topic: String },
    /// Whether legacy peers are kept out of a room.
    SetRoomFlags { room: RoomName, modern_only: bool },
    /// Keeps a user out of a room, made at the moment `at`; both moments are in seconds since 1970.
    Ban { room: RoomName, user: UserName, until: Option<u64>, at: u64 },
    /// Lets a user in again, banned or not.
    Unban { room: RoomName, user: UserName },
    /// Silences a user in a room; as for a ban.
    Mute { room: RoomName, user: UserName, until: Option<u64>, at: u64 },
    /// Lets a user speak again, muted or not.
    Unmute { room: RoomName, user: UserName },
    /// The end of a room. One that is made later under its name is another.
    RemoveRoom { room: RoomName },
}

impl Change {
    /// What is changed.
    pub fn subject(&self) -> Subject {
        match self {
            Self::AddUser { user, .. } | Self::SetUserPassword { user, .. } | Self::SetLegacyLogin { user, .. } => {
                Subject::User(user.clone())
            }
            Self::AddRoom { room, .. }
            | Self::SetRoomPassword { room, .. }
            | Self::SetTopic { room, .. }
            | Self::SetRoomFlags { room, .. }
            | Self::Ban { room, .. }
            | Self::Unban { room, .. }
            | Self::Mute { room, .. }
            | Self::Unmute { room, .. }
            | Self::RemoveRoom { room } => Subject::Room(room.clone()),
        }
    }
}

/// Something that is made, changed and removed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An account.
    User(UserName),
    /// A room.
    Room(RoomName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user {user}"),
            Self::Room(room) => write!(f, "room {room}"),
        }
    }
}

/// Why a change does not fit the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// What is to be added exists.
    Exists,
    /// What is to be changed does not exist.
    Missing,
    /// A topic of more than [`MAX_TOPIC`] bytes.
    TopicTooLong,
    /// One ban or mute more than [`MAX_RESTRICTIONS`].
    TooManyRestrictions,
}

/// A change that does not fit the directory. It names no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// What was to be changed.
    pub subject: Subject,
    /// Why it was not.
    pub why: Unfit,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, why } = self;
        match why {
            Unfit::Exists => write!(f, "{subject} is added twice"),
            Unfit::Missing => write!(f, "{subject} does not exist"),
            Unfit::TopicTooLong => write!(f, "the topic of {subject} has more than {MAX_TOPIC} bytes"),
            Unfit::TooManyRestrictions => write!(f, "{subject} bans or mutes more than {MAX_RESTRICTIONS} users"),
        }
    }
}

impl std::error::Error for Misfit {}
