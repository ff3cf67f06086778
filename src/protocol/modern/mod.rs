//! The modern wire, `secure-chat/1`: one JSON object a line. `docs/PROTOCOL.md` specifies it.
//!
//! The server decodes requests and encodes the rest, the client does the reverse, and both know the same types. What a
//! type holds satisfies the form that the specification asks for; whether it makes sense is for the hub and the client
//! to say. A word of the wire stands in one place: as the name of a field, or behind its variant.

mod answer;
mod attached;
mod error_code;
mod event;
mod hello;
mod json;
mod parts;
mod record;
mod request;
mod stamp;
#[cfg(test)]
mod tests;
mod value;
mod wire;

pub use self::answer::{Accepted, Answer, Bundle, Entry, JoinOk, NewToken, OkBody, PartBody, RoomItem};
pub use self::attached::{Attached, OwnedBundle, Signed};
pub use self::error_code::{ErrorCode, ErrorWord};
pub use self::event::{
    ActEvent, ActProof, ByeReason, Changes, DirectEvent, Event, EventType, GrantEvent, MembersEvent, MessageEvent,
    Origin, RemovedWhy,
};
pub use self::hello::{Hello, Limits};
pub use self::json::json_len;
pub use self::parts::{PartItem, parts, split_keys, split_wraps};
pub use self::request::{
    ActRequest, BundleKeys, DirectBody, DirectRequest, EncryptedKeys, GrantRequest, Request, RequestBody, RequestType,
    SendRequest, Wraps,
};
pub use self::stamp::{ActStamp, Author, Deed, DirectStamp, EntryKind, GrantStamp, Reader, Stamp};
pub use self::value::{MAX_NUMBER, SessionToken, SignedText, Wrap, name_fits};
pub use self::wire::{
    BadLine, FromServer, KeyedLine, Refusal, decode_request, decode_server, encode_answer, encode_event, encode_hello,
    encode_request, fits,
};

/// The protocol's name, in TLS and in the hello.
pub const PROTOCOL: &str = "secure-chat/1";

/// Most bytes in a line, its end included.
pub const MAX_LINE: usize = 65_536;

/// The same from a client that is not logged in.
pub const MAX_GUEST_LINE: usize = 16_384;

/// Most bytes of an `encrypted_message`, counted as [`json_len`] does.
pub const MAX_ENCRYPTED_MESSAGE: usize = 24_576;

/// Most bytes of a name or of a text that is signed, counted as [`json_len`] does.
pub const MAX_NAME: usize = 4096;

/// Most items in a list, and entries in a map.
pub const MAX_ITEMS: usize = 4096;

/// Most hashes in one request for bundles.
pub const MAX_HASHES: usize = 32;

/// Most changes in an event of which the answer to a `join` tells: more of them would not fit a line.
pub const MAX_CHANGES: usize = 1024;

/// Most sessions of one account in the answer to `sessions`.
pub const MAX_SESSIONS: usize = 256;

/// Largest room whose changes are told by name, in entries.
pub const MAX_LISTED: usize = 256;

/// How many events behind the log's head a position may lie that somebody signs.
pub const WINDOW: u64 = 8192;
