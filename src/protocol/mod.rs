//! What clients and the server say to each other, as types, and the codec of the legacy wire.
//!
//! The codec knows no rooms and no cryptography: a key is PEM text here, an encrypted message a string.

pub mod legacy;
mod message;
mod package;
mod record;

pub use message::{ClientMessage, Command, KeyAnnouncement, Notice, Reply, ServerMessage};
pub use package::{MAX_ENTRIES, MAX_JSON_DEPTH, Package, PackageError, entry_len};
pub use record::{MAX_MESSAGE, RECORD_LIMIT, Reassembled, Reassembler};
