//! What the hub knows of a session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::chat::hub::acts::Deeded;
use crate::chat::tokens::TokenHash;
use crate::chat::{Dialect, KnownBundle, Quota, RsaKey, Subject, Usage, Verifier};
use crate::names::{Password, RoomName, UserName};
use crate::protocol::KeyAnnouncement;
use crate::protocol::modern::{EncryptedKeys, ErrorCode, MAX_ITEMS};
use crate::transcript::{BundleHash, EntryKey, KeyHash, RosterEntry, RunId};

/// Most different keys, or bundles, that one connection may announce: each is checked, kept and told.
pub(super) const MAX_KEYS: usize = 16;

/// Most bytes that a session may attach to one message: [`MAX_ITEMS`] of the largest keys fit, each with a name of 340 bytes.
const MAX_ATTACHED: usize = 4 * 1024 * 1024;

/// Most bytes that all sessions together may have attached and not sent.
pub(super) const ALL_ATTACHED: usize = 16 * MAX_ATTACHED;

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) address: IpAddr,
    /// Since when it is a guest, or does nothing.
    pub(super) since: Duration,
    pub(super) state: State,
    pub(super) pending: Option<Pending>,
    /// Whether the password that it gave was changed while it was checked.
    pub(super) overtaken: bool,
    pub(super) wire: Wire,
}

/// What a session's wire needs.
#[derive(Debug)]
pub(super) enum Wire {
    Legacy {
        /// How many different keys it has announced, one after the other.
        keys: usize,
        /// The last of them, in canonical PEM.
        last_key: Option<Arc<str>>,
    },
    Modern(Box<Modern>),
}

/// A session on the modern wire.
#[derive(Debug)]
pub(super) struct Modern {
    /// The request that is being handled.
    pub(super) request: u64,
    /// When something was last heard.
    pub(super) heard: Duration,
    /// The different bundles that it announced.
    pub(super) bundles: Vec<BundleHash>,
    /// What resumes it.
    pub(super) token: Option<TokenHash>,
    pub(super) attached: Attached,
    pub(super) granted: Granted,
}

/// Keys for a session's next message.
#[derive(Debug)]
pub(super) struct Attached {
    keys: EncryptedKeys,
    usage: Usage,
}

impl Attached {
    /// Adds some, if there is room for them.
    pub(super) fn add(&mut self, keys: EncryptedKeys) -> Result<(), ErrorCode> {
        let more: usize = keys.iter().map(|(user, key)| user.as_str().len() + key.as_str().len()).sum();
        let bytes = self.usage.bytes() + more;
        if self.keys.len() + keys.len() > MAX_ITEMS || bytes > MAX_ATTACHED || self.usage.quota().lacks(more) {
            return Err(ErrorCode::TooLarge);
        }
        self.keys.extend(keys);
        self.usage.set(bytes);
        Ok(())
    }

    pub(super) fn take(&mut self) -> EncryptedKeys {
        self.usage.set(0);
        std::mem::take(&mut self.keys)
    }
}

/// How much a session granted lately.
#[derive(Debug, Default)]
pub(super) struct Granted {
    pub(super) since: Duration,
    pub(super) bytes: usize,
}

/// Who and where a session is.
#[derive(Debug)]
pub(super) enum State {
    Guest,
    LoggedIn(Member),
    InRoom(Member, RoomName),
}

/// A logged-in user at one session.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) user: UserName,
    pub(super) keys: Keys,
}

/// What others need to write to a session.
#[derive(Debug)]
pub(super) enum Keys {
    /// On the legacy wire, where the server draws the run and a key may come or not.
    Legacy { key: Option<RsaKey>, run: RunId },
    /// On the modern wire, before a bundle is announced.
    None,
    /// On the modern wire.
    Bundle { bundle: Arc<KnownBundle>, run: RunId },
}

impl Member {
    /// The key, as the legacy wire tells it.
    pub(super) fn announcement(&self) -> Option<KeyAnnouncement> {
        let pem = match &self.keys {
            Keys::Legacy { key, .. } => Arc::clone(&key.as_ref()?.pem),
            Keys::Bundle { bundle, .. } => bundle.pem(),
            Keys::None => return None,
        };
        Some(KeyAnnouncement { user: self.user.clone(), pem })
    }

    /// What is listed in a room.
    pub(super) fn entry(&self) -> Option<RosterEntry> {
        let (key, run) = match &self.keys {
            Keys::Legacy { key, run } => (EntryKey::Legacy(key.as_ref().map(|key| KeyHash::of(&key.spki))), *run),
            Keys::Bundle { bundle, run } => (EntryKey::Modern(bundle.hash), *run),
            Keys::None => return None,
        };
        Some(RosterEntry { account: self.user.clone(), key, run })
    }

    /// The bundle that was announced, and the run.
    pub(super) fn bundle(&self) -> Option<(&Arc<KnownBundle>, RunId)> {
        match &self.keys {
            Keys::Bundle { bundle, run } => Some((bundle, *run)),
            Keys::Legacy { .. } | Keys::None => None,
        }
    }
}

/// Something that is entered with a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// An account.
    Login(UserName),
    /// A room.
    Join(RoomName),
}

impl Entry {
    /// Whose password opens it.
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::Login(user) => Subject::User(user.clone()),
            Self::Join(room) => Subject::Room(room.clone()),
        }
    }
}

/// What the owner of an account wants changed, and has to give the password for.
#[derive(Debug, Clone)]
pub(super) enum AccountChange {
    Password(Password),
    LegacyLogin(bool),
}

/// What a password is given for.
#[derive(Debug, Clone)]
pub(super) enum Attempt {
    Enter(Entry),
    Change(AccountChange),
}

/// What a session's command waits for. Nothing else comes from the session until then, except its end.
#[derive(Debug)]
pub(super) enum Pending {
    /// The hash of the password of something new.
    Hash {
        creation: Subject,
        modern_only: bool,
    },
    /// A password that is not checked yet, because many others of its kind are.
    Crowded(Attempt, Password),
    Check {
        entry: Entry,
        /// The hash that the password is checked against.
        against: Option<Verifier>,
    },
    /// The change that creates something, whose name is claimed meanwhile.
    StoreCreation(Subject),
    /// A better hash; the entry is granted whether or not it could be saved.
    StoreBetter(Entry),
    /// The account's password is checked.
    CheckOwn {
        change: AccountChange,
        /// The hash that the password is checked against.
        against: Verifier,
    },
    /// The hash of the account's new password.
    HashOwn {
        /// The hash that it replaces.
        instead_of: Verifier,
    },
    StoreOwn,
    /// The hash of the room's new password.
    HashRoom(Box<Deeded>),
    StoreAct(Box<Deeded>),
    /// The room is told of the join together with others.
    Join,
    /// An act of the same run is on its way to the disk: whoever joined before it would not know its counter.
    JoinAfterAct(RoomName, Option<Password>),
}

impl Pending {
    /// Whether a password is being checked, so that the throttle waits for the outcome.
    pub(super) fn is_check(&self) -> bool {
        matches!(self, Self::Check { .. } | Self::CheckOwn { .. })
    }

    /// Whether a change is on its way to the disk whose consequences do not depend on who waits for it.
    pub(super) fn is_consequential(&self) -> bool {
        matches!(self, Self::StoreOwn | Self::StoreAct(_))
    }

    /// What is entered when it works out.
    pub(super) fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Check { entry, .. } | Self::StoreBetter(entry) => Some(entry),
            _ => None,
        }
    }
}

impl Session {
    pub(super) fn new(address: IpAddr, dialect: Dialect, now: Duration, attached: &Arc<Quota>) -> Self {
        let wire = match dialect {
            Dialect::Legacy => Wire::Legacy { keys: 0, last_key: None },
            Dialect::Modern => Wire::Modern(Box::new(Modern {
                request: 0,
                heard: now,
                bundles: Vec::new(),
                token: None,
                attached: Attached { keys: EncryptedKeys::new(), usage: Usage::of(attached) },
                granted: Granted::default(),
            })),
        };
        Self { address, since: now, state: State::Guest, pending: None, overtaken: false, wire }
    }

    pub(super) fn member(&self) -> Option<&Member> {
        match &self.state {
            State::Guest => None,
            State::LoggedIn(member) | State::InRoom(member, _) => Some(member),
        }
    }

    pub(super) fn room(&self) -> Option<&RoomName> {
        match &self.state {
            State::InRoom(_, room) => Some(room),
            State::Guest | State::LoggedIn(_) => None,
        }
    }

    pub(super) fn modern(&self) -> Option<&Modern> {
        match &self.wire {
            Wire::Modern(modern) => Some(modern),
            Wire::Legacy { .. } => None,
        }
    }

    pub(super) fn modern_mut(&mut self) -> Option<&mut Modern> {
        match &mut self.wire {
            Wire::Modern(modern) => Some(modern),
            Wire::Legacy { .. } => None,
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match &self.wire {
            Wire::Legacy { .. } => Dialect::Legacy,
            Wire::Modern(_) => Dialect::Modern,
        }
    }

    /// Puts it out of its room, if it is in one.
    pub(super) fn step_out(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Guest) {
            State::InRoom(member, _) => State::LoggedIn(member),
            other => other,
        };
        if let Some(modern) = self.modern_mut() {
            modern.attached.take();
        }
    }
}
