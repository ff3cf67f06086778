//! The server's first line.

use super::record::record;
use super::value::objects;
use super::{MAX_ENCRYPTED_MESSAGE, MAX_LINE, MAX_LISTED, WINDOW};
use crate::names::Text;
use crate::transcript::{Realm, Signature};

record! {
    /// The server's first line, which also names the protocol.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Hello {
        /// The server's name and version.
        must server: Text,
        /// The server's key.
        must realm: Realm,
        /// By that key over [`transcript::hello`](crate::transcript::hello).
        must signature: Signature,
        /// The server's time, in milliseconds since 1970.
        must time: u64,
        /// What the server takes.
        must limits: Limits,
        /// What the server's operator has to say, if anything: at most [`MAX_NAME`](super::MAX_NAME) bytes.
        may motd: Option<Text>,
    }
}

record! {
    /// What the server takes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Limits {
        /// Most bytes in a line.
        must line: u64,
        /// Largest room whose changes are listed by name.
        must roster: u64,
        /// How many events old what is signed may be.
        must window: u64,
        /// Most bytes in an `encrypted_message`.
        must text: u64,
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { line: MAX_LINE as u64, roster: MAX_LISTED as u64, window: WINDOW, text: MAX_ENCRYPTED_MESSAGE as u64 }
    }
}

objects!(Limits);
