//! What the server says unasked.

use super::json::{Fields, Malformed, Object};
use super::record::{Record, choice, record, words};
use super::request::DirectBody;
use super::stamp::{ActStamp, Author, Deed, GrantStamp, Reader, Stamp};
use super::value::{Wrap, word_values};
use crate::names::{RoomName, Text, UserName};
use crate::transcript::{ChangesHash, RosterEntry, RosterHash};

choice! {
    /// What the server says unasked.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Event
    /// The words of the events.
    by new EventType {
        /// Sessions came and went.
        Members = "members" (members: MembersEvent),
        /// Somebody said something.
        Message = "message" (message: MessageEvent),
        /// Somebody did something.
        Act = "act" (act: ActEvent),
        /// Somebody gives this session a chain key. Not in the log.
        Grant = "grant" (grant: GrantEvent),
        /// Somebody asks for this session's chain key.
        NeedKey = "need_key" {
            /// Where.
            must room: RoomName,
            /// Who asks.
            flat author: Author,
            /// For which of this session's epochs.
            positive epoch: u64,
        },
        /// A direct message.
        Direct = "direct" (direct: DirectEvent),
        /// The session is in no room any more.
        Removed = "removed" {
            /// Which it was in.
            must room: RoomName,
            /// Why.
            must why: RemovedWhy,
        },
        /// Some legacy members did not get a message of this session, which is too long for their wire.
        NotDelivered = "not_delivered" {
            /// Where.
            must room: RoomName,
            /// The message's number.
            must n: u64,
            /// How many did not get it.
            must members: u64,
        },
        /// The connection ends.
        Bye = "bye" {
            /// Why.
            must reason: ByeReason,
            /// The same for people.
            must text: Text,
        },
    }
}

record! {
    /// Sessions came and went.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct MembersEvent {
        /// Where.
        must room: RoomName,
        /// The event's number.
        must n: u64,
        /// The server's time, in milliseconds since 1970.
        must time: u64,
        /// The roster after it.
        must roster: RosterHash,
        /// Who.
        flat changes: Changes,
    }
}

/// Who came and who went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// By name.
    Listed {
        /// Who came.
        joined: Vec<RosterEntry>,
        /// Who went.
        removed: Vec<RosterEntry>,
    },
    /// In a large room, or when many come and go at once.
    Hashed {
        /// How many came.
        joined: u64,
        /// How many went.
        removed: u64,
        /// The hash over who.
        changes: ChangesHash,
    },
}

impl Record for Changes {
    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        if fields.has("changes") {
            let (joined, removed) = (fields.required("joined_count")?, fields.required("removed_count")?);
            return Ok(Self::Hashed { joined, removed, changes: fields.required("changes")? });
        }
        Ok(Self::Listed { joined: fields.required("joined")?, removed: fields.required("removed")? })
    }

    fn put(&self, object: &mut Object<'_>) {
        match self {
            Self::Listed { joined, removed } => {
                object.field("joined", joined);
                object.field("removed", removed);
            }
            Self::Hashed { joined, removed, changes } => {
                object.field("joined_count", joined);
                object.field("removed_count", removed);
                object.field("changes", changes);
            }
        }
    }
}

record! {
    /// Somebody said something.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct MessageEvent {
        /// Where.
        must room: RoomName,
        /// The event's number.
        must n: u64,
        /// The server's time, in milliseconds since 1970.
        must time: u64,
        /// Whose session it was.
        must user: UserName,
        /// The token; of a legacy member it may be any text.
        must encrypted_message: String,
        /// What comes with it.
        flat origin: Origin,
    }
}

impl MessageEvent {
    /// A message of a legacy member as the receiver of this key gets it.
    pub fn with_key(&self, key: String) -> Event {
        Event::Message(Self { origin: Origin::Legacy { encrypted_key: Some(key) }, ..self.clone() })
    }
}

/// What comes with a message, depending on its sender's wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The sender's statement.
    Modern {
        /// The sender's client.
        reader: Reader,
        /// The statement.
        stamp: Stamp,
    },
    /// The receiver's own wrapped key, if the sender gave one: any text.
    Legacy {
        /// Standard base64, if it is what it should be.
        encrypted_key: Option<String>,
    },
}

impl Record for Origin {
    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        if fields.optional("legacy")?.unwrap_or(false) {
            return Ok(Self::Legacy { encrypted_key: fields.optional("encrypted_key")? });
        }
        Ok(Self::Modern { reader: Record::take(fields)?, stamp: Record::take(fields)? })
    }

    fn put(&self, object: &mut Object<'_>) {
        match self {
            Self::Modern { reader, stamp } => {
                reader.put(object);
                stamp.put(object);
            }
            Self::Legacy { encrypted_key } => {
                object.field("legacy", &true);
                if let Some(key) = encrypted_key {
                    object.field("encrypted_key", key);
                }
            }
        }
    }
}

record! {
    /// Somebody did something.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ActEvent {
        /// Where.
        must room: RoomName,
        /// The event's number.
        must n: u64,
        /// The server's time, in milliseconds since 1970.
        must time: u64,
        /// In whose name.
        must user: UserName,
        /// What.
        flat deed: Deed,
        /// What proves it; without, it is the server's word alone.
        flat proof: Option<ActProof>,
    }
}

record! {
    /// What proves an act.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ActProof {
        /// The actor's client.
        flat reader: Reader,
        /// The signature.
        flat stamp: ActStamp,
    }
}

impl Record for Option<ActProof> {
    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        if fields.has("signature") { ActProof::take(fields).map(Some) } else { Ok(None) }
    }

    fn put(&self, object: &mut Object<'_>) {
        if let Some(proof) = self {
            proof.put(object);
        }
    }
}

record! {
    /// A chain key for this session.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct GrantEvent {
        /// Where.
        must room: RoomName,
        /// Who gives it.
        flat author: Author,
        /// What is granted.
        flat stamp: GrantStamp,
        /// The chain key, wrapped for the receiver's bundle.
        must wrap: Wrap,
    }
}

record! {
    /// A direct message.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DirectEvent {
        /// Who says it.
        flat author: Author,
        /// To whom.
        must recipient: UserName,
        /// The server's time, in milliseconds since 1970.
        must time: u64,
        /// The message.
        flat body: DirectBody,
    }
}

words! {
    /// Why a session is in its room no more.
    pub enum RemovedWhy {
        /// Somebody put the account out.
        Kicked = "kicked",
        /// Somebody put the account out and keeps it out.
        Banned = "banned",
        /// The room is gone.
        Deleted = "deleted",
        /// The room takes modern members alone.
        ModernOnly = "modern_only",
    }
}

words! {
    /// Why the connection ends.
    pub enum ByeReason {
        /// Another session has the run.
        Replaced = "replaced",
        /// The account's password is another.
        PasswordChanged = "password_changed",
        /// The server ends.
        ShuttingDown = "shutting_down",
        /// Nothing was heard of the client for too long.
        Silent = "silent",
        /// The client reads too slowly.
        TooSlow = "too_slow",
        /// Nobody logged in for too long.
        LoginTimeout = "login_timeout",
        /// The user did nothing for too long.
        Idle = "idle",
    }
}

impl ByeReason {
    /// The sentence for people, which says what to do.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Replaced => "Another connection took this session over: use that one.",
            Self::PasswordChanged => "The account's password was changed: log in with the new one.",
            Self::ShuttingDown => "The server is shutting down: try again later.",
            Self::Silent => "Nothing was heard from you for too long: connect again.",
            Self::TooSlow => "You did not read what was sent to you: connect again.",
            Self::LoginTimeout => "You did not log in for too long: connect again when you want to.",
            Self::Idle => "You did nothing for too long: connect again, and log in.",
        }
    }
}

impl Event {
    /// The end of a connection, with the sentence of its reason.
    pub fn bye(reason: ByeReason) -> Self {
        Self::Bye { reason, text: Text::sanitize(reason.text()) }
    }
}

word_values!(RemovedWhy, ByeReason);
