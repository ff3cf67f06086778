//! What the server answers.

use std::sync::Arc;

use super::error_code::ErrorCode;
use super::json::{Fields, Malformed, Object};
use super::record::{Record, choice, record};
use super::request::{BundleKeys, RequestType};
use super::stamp::{EntryKind, Reader};
use super::value::{SessionToken, objects};
use crate::names::{RoomName, Text, UserName};
use crate::transcript::{BundleHash, ChangeHash, LogHash, RoomId, RosterEntry, RosterHash};

/// The answer to a request, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Ok {
        /// The request's.
        id: u64,
        /// What comes of it.
        body: OkBody,
    },
    /// What does not fit the line of the `ok` that follows.
    Part {
        /// The request's.
        id: u64,
        /// Some of it.
        body: PartBody,
    },
    /// It was not done.
    Error {
        /// The request's, if one could be read.
        id: Option<u64>,
        /// Why.
        code: ErrorCode,
        /// The same for people.
        text: Text,
    },
}

impl Answer {
    /// An error with the sentence of its code.
    pub fn error(id: impl Into<Option<u64>>, code: ErrorCode) -> Self {
        Self::Error { id: id.into(), code, text: Text::sanitize(&code.text()) }
    }
}

choice! {
    /// What comes of a request.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum OkBody by RequestType {
        /// The server lives.
        Ping {
            /// Its time, in milliseconds since 1970.
            must time: u64,
        },
        /// The account is there.
        Register {
            /// Its name as stored.
            must user: UserName,
        },
        /// The session is the account's.
        Login {
            /// Its name as stored.
            must user: UserName,
        },
        /// The session is the account's, with the bundle of before.
        Resume {
            /// The account's name as stored.
            must user: UserName,
            /// The bundle.
            must bundle: BundleHash,
            /// When the token ends, in milliseconds since 1970.
            must expires: u64,
        },
        /// The session has a bundle.
        Announce {
            /// Its hash.
            must bundle: BundleHash,
            /// What resumes the session.
            flat session: NewToken,
        },
        /// The session is nobody's.
        Logout,
        /// The password is another.
        Passwd {
            /// What resumes the session from now on, if it announced a bundle.
            flat session: Option<NewToken>,
        },
        /// The account is changed.
        Account,
        /// The room is there.
        Create {
            /// Its name as stored.
            must room: RoomName,
            /// What tells it from others of its name.
            must room_id: RoomId,
        },
        /// The rooms came in parts before.
        List {
            /// How many they were.
            must count: u64,
        },
        /// The session is in the room.
        Join(join: JoinOk),
        /// The roster came in parts before.
        Who {
            /// The event after which it was so.
            must n: u64,
            /// Its hash.
            must roster: RosterHash,
            /// How many entries came.
            must count: u64,
        },
        /// The bundles came in parts before.
        Bundles {
            /// Those that the server does not have.
            must missing: Vec<BundleHash>,
        },
        /// The sessions that a direct message is for.
        Sessions {
            /// The recipient's name as stored.
            must user: UserName,
            /// The recipient's.
            must recipient: Vec<Reader>,
            /// The sender's own, the one that asks among them.
            must own: Vec<Reader>,
        },
        /// The keys are kept for the next message.
        Attach,
        /// The message is in the log.
        Send(accepted: Accepted),
        /// The chain key is given.
        Grant,
        /// The asking was passed on.
        NeedKey,
        /// The act is in the log.
        Act(accepted: Accepted),
        /// The message was passed on.
        Direct {
            /// The server's time, in milliseconds since 1970.
            must time: u64,
        },
    }
}

record! {
    /// What resumes a session.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct NewToken {
        /// The secret.
        must token: SessionToken,
        /// When it ends, in milliseconds since 1970.
        must expires: u64,
    }
}

impl Record for Option<NewToken> {
    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        if fields.has("token") { NewToken::take(fields).map(Some) } else { Ok(None) }
    }

    fn put(&self, object: &mut Object<'_>) {
        if let Some(session) = self {
            session.put(object);
        }
    }
}

record! {
    /// A message's or an act's place in the log.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Accepted {
        /// The number of its event.
        must n: u64,
        /// The server's time, in milliseconds since 1970.
        must time: u64,
        /// Whether it was there already.
        flag duplicate: bool,
    }
}

record! {
    /// What a joiner needs to know; its own joining is event `n`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct JoinOk {
        /// The room's name as stored.
        must room: RoomName,
        /// What tells it from others of its name.
        must room_id: RoomId,
        /// The number of the event.
        must n: u64,
        /// The log before it: L(n−1).
        must before: LogHash,
        /// Who joined in it; with `removed` at most [`MAX_CHANGES`](super::MAX_CHANGES).
        must joined: Vec<ChangeHash>,
        /// Who left in it.
        must removed: Vec<ChangeHash>,
        /// The roster after it.
        must roster: RosterHash,
        /// How many entries that has.
        must count: u64,
        /// The room's topic, or empty.
        must topic: Text,
        /// Who made the room, if that is known.
        may owner: Option<UserName>,
        /// Whether legacy members are kept out.
        must modern_only: bool,
        /// The last counter that the server took of this run in this room, if it knows one.
        may counter: Option<u64>,
        /// The server's time, in milliseconds since 1970.
        must time: u64,
    }
}

/// Some of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartBody {
    /// Of `list`.
    Rooms(Vec<RoomItem>),
    /// Of `who`.
    Entries(Vec<Entry>),
    /// Of `bundles`.
    Bundles(Vec<Arc<Bundle>>),
}

impl PartBody {
    pub(super) fn take(request: RequestType, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        match request {
            RequestType::List => fields.required("rooms").map(Self::Rooms),
            RequestType::Who => fields.required("entries").map(Self::Entries),
            RequestType::Bundles => fields.required("bundles").map(Self::Bundles),
            _ => Err(Malformed("type")),
        }
    }

    pub(super) fn put(&self, object: &mut Object<'_>) {
        match self {
            Self::Rooms(rooms) => object.field("rooms", rooms),
            Self::Entries(entries) => object.field("entries", entries),
            Self::Bundles(bundles) => object.field("bundles", bundles),
        }
    }
}

record! {
    /// A room in the list.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RoomItem {
        /// Its name as stored.
        must room: RoomName,
        /// Whether legacy members are kept out.
        must modern_only: bool,
        /// How many entries its roster has.
        must members: u64,
    }
}

record! {
    /// A member of a room.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Entry {
        /// What is hashed.
        flat entry: RosterEntry,
        /// Whether its connection is lost and it may still return.
        flag away: bool,
    }
}

/// The keys of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bundle {
    /// On the modern wire.
    Modern {
        /// Whose they are.
        user: UserName,
        /// The keys.
        keys: BundleKeys,
    },
    /// On the legacy wire.
    Legacy {
        /// Whose it is.
        user: UserName,
        /// SubjectPublicKeyInfo, DER.
        rsa_key: Arc<[u8]>,
    },
}

impl Record for Bundle {
    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let (kind, user) = (fields.required("kind")?, fields.required("user")?);
        Ok(match kind {
            EntryKind::Modern => Self::Modern { user, keys: Record::take(fields)? },
            EntryKind::Legacy => Self::Legacy { user, rsa_key: fields.required("rsa_key")? },
        })
    }

    fn put(&self, object: &mut Object<'_>) {
        match self {
            Self::Modern { user, keys } => {
                object.field("kind", &EntryKind::Modern);
                object.field("user", user);
                keys.put(object);
            }
            Self::Legacy { user, rsa_key } => {
                object.field("kind", &EntryKind::Legacy);
                object.field("user", user);
                object.field("rsa_key", rsa_key);
            }
        }
    }
}

impl Record for Arc<Bundle> {
    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Bundle::take(fields).map(Self::new)
    }

    fn put(&self, object: &mut Object<'_>) {
        (**self).put(object);
    }
}

objects!(RoomItem, Entry, Arc<Bundle>);
