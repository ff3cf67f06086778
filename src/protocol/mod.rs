//! What clients and the server say to each other, as types, and the codecs of both wires.
//!
//! The codecs know no rooms and no cryptography: a key is text or bytes here, an encrypted message a string.

pub mod legacy;
mod lines;
mod message;
pub mod modern;
mod package;
mod record;
mod text;

pub use lines::{Line, LineReader};
pub use message::{ClientMessage, Command, KeyAnnouncement, Notice, Reply, ServerMessage};
pub use package::{MAX_ENTRIES, MAX_JSON_DEPTH, Package, PackageError, entry_len};
pub use record::{MAX_MESSAGE, RECORD_LIMIT, Reassembled, Reassembler};
