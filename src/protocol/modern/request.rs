//! What a client asks for.

use std::sync::Arc;

use indexmap::IndexMap;

use super::record::{choice, record};
use super::stamp::{ActStamp, Deed, DirectStamp, GrantStamp, Reader, Stamp};
use super::value::{SessionToken, Wrap};
use crate::names::{Password, RoomName, UserName};
use crate::transcript::{BundleHash, Ed25519Key, RunId, Signature};

/// A request and the client's number for it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Comes back with the answer; at most [`MAX_NUMBER`](super::MAX_NUMBER).
    pub id: u64,
    /// What is asked for.
    pub body: RequestBody,
}

/// The key of a message for each legacy member, by name.
pub type EncryptedKeys = IndexMap<UserName, Wrap>;

/// A key for each bundle.
pub type Wraps = IndexMap<BundleHash, Wrap>;

choice! {
    /// What a client asks for; each variant is a row of the table in `docs/PROTOCOL.md`.
    #[derive(Debug, Clone)]
    pub enum RequestBody
    /// The words of the requests.
    by new RequestType {
        /// A sign of life.
        Ping = "ping",
        /// Makes an account.
        Register = "register" {
            /// Its name.
            must user: UserName,
            /// Its password.
            must password: Password,
            /// What the operator gives to those who may make one, where that is asked for.
            may token: Option<Password>,
        },
        /// Logs in.
        Login = "login" {
            /// Who.
            must user: UserName,
            /// The account's password.
            must password: Password,
        },
        /// Logs in and announces a bundle, as a session before did.
        Resume = "resume" {
            /// What that session got.
            must token: SessionToken,
            /// The client's run.
            must run: RunId,
        },
        /// Says which keys the session has.
        Announce = "announce" {
            /// The keys.
            flat keys: BundleKeys,
            /// The client's run.
            must run: RunId,
        },
        /// Logs out.
        Logout = "logout",
        /// Changes the password.
        Passwd = "passwd" {
            /// The one that is in force.
            must old: Password,
            /// The one that shall be.
            must new: Password,
        },
        /// Changes what the account allows.
        Account = "account" {
            /// The account's password.
            must password: Password,
            /// Whether the legacy wire may log in.
            must legacy: bool,
        },
        /// Makes a room.
        Create = "create" {
            /// Its name.
            must room: RoomName,
            /// Its password.
            must password: Password,
            /// Whether legacy members are kept out.
            flag modern_only: bool,
        },
        /// Asks for the rooms.
        List = "list",
        /// Enters a room.
        Join = "join" {
            /// Which.
            must room: RoomName,
            /// Its password; not needed by god, nor by who returns.
            may password: Option<Password>,
        },
        /// Asks who is in the room.
        Who = "who" {
            /// Which.
            must room: RoomName,
        },
        /// Asks for keys by their hashes.
        Bundles = "bundles" {
            /// 1 to [`MAX_HASHES`](super::MAX_HASHES). What names a legacy key is its `KeyHash`.
            few hashes: Vec<BundleHash>,
        },
        /// Asks for the sessions of a user.
        Sessions = "sessions" {
            /// Whose.
            must user: UserName,
        },
        /// Sends wrapped keys ahead of a message that has too many for one line.
        Attach = "attach" {
            /// For which room.
            must room: RoomName,
            /// The keys.
            must encrypted_keys: EncryptedKeys,
        },
        /// Says something.
        Send = "send" (send: SendRequest),
        /// Gives a chain key.
        Grant = "grant" (grant: GrantRequest),
        /// Asks for a chain key.
        NeedKey = "need_key" {
            /// Where.
            must room: RoomName,
            /// Whose.
            must user: UserName,
            /// Which of that user's clients.
            flat reader: Reader,
            /// For which of its epochs.
            positive epoch: u64,
        },
        /// Does something to the room or to a member.
        Act = "act" (act: ActRequest),
        /// Says something to one user.
        Direct = "direct" (direct: DirectRequest),
    }
}

record! {
    /// The keys of a modern member, each signed by both.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct BundleKeys {
        /// The account's.
        must signing_key: Ed25519Key,
        /// The device's: SubjectPublicKeyInfo, DER.
        must rsa_key: Arc<[u8]>,
        /// By the signing key.
        must signature: Signature,
        /// By the RSA key.
        must rsa_signature: Arc<[u8]>,
    }
}

record! {
    /// A message for a room.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SendRequest {
        /// Which.
        must room: RoomName,
        /// The token; over [`MAX_ENCRYPTED_MESSAGE`](super::MAX_ENCRYPTED_MESSAGE) it is refused.
        must encrypted_message: String,
        /// Its key for legacy members, beside those that were attached.
        may encrypted_keys: Option<EncryptedKeys>,
        /// The statement.
        flat stamp: Stamp,
        /// Whether it may have come before.
        flag resend: bool,
    }
}

record! {
    /// A chain key for some of a room's modern members. For many, it comes in as many requests as it takes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct GrantRequest {
        /// Which room.
        must room: RoomName,
        /// What is granted.
        flat stamp: GrantStamp,
        /// The chain key for each bundle.
        must wraps: Wraps,
    }
}

record! {
    /// Something that is done to a room or to a member.
    #[derive(Debug, Clone)]
    pub struct ActRequest {
        /// Which room.
        must room: RoomName,
        /// What.
        flat deed: Deed,
        /// The signature.
        flat stamp: ActStamp,
        /// The new password of the room, where the act is to set it: nobody but the server gets it.
        may secret: Option<Password>,
        /// Whether it may have come before.
        flag resend: bool,
    }
}

record! {
    /// A message for one user.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DirectRequest {
        /// For whom.
        must user: UserName,
        /// What is sent on as it is.
        flat body: DirectBody,
    }
}

record! {
    /// A direct message without its ends.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DirectBody {
        /// The token; over [`MAX_ENCRYPTED_MESSAGE`](super::MAX_ENCRYPTED_MESSAGE) it is refused.
        must encrypted_message: String,
        /// Its key for each bundle.
        must wraps: Wraps,
        /// All who can read it.
        must readers: Vec<Reader>,
        /// The signature.
        flat stamp: DirectStamp,
    }
}
