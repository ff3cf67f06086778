//! The messages, whatever wire they travel on.

use std::sync::Arc;

use crate::names::{NameError, Password, RoomName, UserName};
use crate::protocol::{Package, PackageError};

/// What a client says.
#[derive(Debug, Clone)]
pub enum ClientMessage {
    /// A line that starts with `/`.
    Command(Command),
    /// The public key of the user who is, so the peer says, at this client.
    Key(KeyAnnouncement),
    /// A chat package, or why it is none: the hub answers in the order of the Python server's checks.
    Chat(Result<Package, PackageError>),
    /// A message larger than the wire's limit, thrown away by the reassembly.
    TooLong,
}

/// A command. `None` stands for words that are missing: the hub answers with the usage, after checking who asks.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub enum Command {
    /// `/register <username> <password> [<token>]`: a token where the operator wants one.
    Register(Option<(UserName, Password, Option<Password>)>),
    /// `/login <username> <password>`
    Login(Option<(UserName, Password)>),
    /// `/create <roomName> <roomPassword>`
    Create(Option<(RoomName, Password)>),
    /// `/join <roomName> [<roomPassword>]`: god needs no password.
    Join(Option<(RoomName, Option<Password>)>),
    /// `/list`
    List,
    /// Anything else.
    Unknown,
}

/// A public key and the name it is announced for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAnnouncement {
    /// Whose key it is said to be.
    pub user: UserName,
    /// SubjectPublicKeyInfo in PEM.
    pub pem: Arc<str>,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMessage {
    /// To the one who asked.
    Reply(Reply),
    /// To a room.
    Notice(Notice),
    /// A member's public key.
    Key(KeyAnnouncement),
    /// A chat package. Each receiver gets its own entry of `encrypted_keys` alone.
    Chat(Arc<Package>),
}

/// What happened in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A user came in, or repeated the `/join`.
    Joined(UserName),
    /// A user went, or the connection was lost.
    Left(UserName),
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the rows of the command table in docs/PROTOCOL.md")]
pub enum Reply {
    Registered(UserName),
    UserExists,
    /// Another name looks like this one.
    UserLooksAlike,
    GodIsReserved,
    BadUserName(NameError),
    RegisterUsage,
    LoggedIn(UserName),
    LoginFailed,
    /// Too many wrong passwords or tokens; the seconds until the next try counts.
    TooManyAttempts {
        seconds: u64,
    },
    LoginUsage,
    RoomCreated(RoomName),
    RoomExists,
    RoomLooksAlike,
    BadRoomName(NameError),
    CreateUsage,
    NoSuchRoom(RoomName),
    IncorrectRoomPassword,
    JoinUsage,
    /// `/join` with no word at all.
    JoinUsageBare,
    Rooms(Vec<RoomName>),
    LoginFirst,
    UnknownCommand,
    JoinFirst,
    MissingRoom,
    RoomMismatch,
    InvalidFormat,
    MessageTooLong,
    /// The package does not fit the wire of this many members of the room.
    NotDelivered {
        members: usize,
    },
    KeyRefused(String),
    /// The account is banned from the room, until then (in milliseconds since 1970) or for good.
    Banned {
        room: RoomName,
        until: Option<u64>,
    },
    /// The account may not speak in the room.
    Muted,
    /// The room takes modern clients alone.
    ModernOnly(RoomName),
    /// Somebody put the session out of the room.
    PutOut {
        room: RoomName,
        by: UserName,
    },
    /// The account takes no log-ins over the legacy wire.
    LegacyLoginOff,
    /// Another session changed the account's password: this one ends.
    PasswordChanged,
    /// The change could not be written to the disk and was not made.
    NotSaved,
    /// No accounts are made here.
    RegistrationClosed,
    /// Accounts are made with a token alone, and this was none, or was missing.
    RegistrationToken,
    /// A token came where none is asked for.
    NoTokenNeeded,
    /// Too many accounts were made from the address; the seconds until one more may be.
    TooManyRegistrations {
        seconds: u64,
    },
    /// Too many rooms were made from the address; the seconds until one more may be.
    TooManyNewRooms {
        seconds: u64,
    },
    /// The server has as many accounts as it takes.
    TooManyAccounts,
    /// The server has as many rooms as it takes.
    TooManyRooms,
    /// The account owns as many rooms as one may.
    TooManyOwnRooms,
    /// The account has as many sessions as one may.
    TooManySessions,
    /// Nobody logged in for too long: this connection ends.
    LoginTimeout,
    /// The user did nothing for too long: this session ends.
    Idle,
    ShuttingDown,
    /// The session ends: too much waits that it was sent and does not read.
    TooSlow,
    /// The server takes no client of the legacy wire.
    ModernClientsOnly,
}
