//! What lasts of accounts and rooms.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::change::{Change, Misfit, Unfit};
use super::restrictions::Restrictions;
use crate::names::{RoomName, UserName};
use crate::transcript::RoomId;

/// Longest topic of a room, in bytes.
pub const MAX_TOPIC: usize = 512;

/// A stored password hash. Opaque here: `crypto::password` reads and checks it. Not printed.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verifier(Arc<str>);

impl Verifier {
    /// Takes the text form of a password hash.
    pub fn new(hash: impl Into<Arc<str>>) -> Self {
        Self(hash.into())
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

/// What lasts of an account. What is as most have it is not written: there may be a million.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The hash of its password.
    pub password: Verifier,
    /// Whether it may be entered over the legacy wire, where nothing proves who speaks.
    #[serde(default = "allowed", skip_serializing_if = "is_allowed")]
    pub legacy_login: bool,
}

impl Account {
    /// A new account.
    pub fn new(password: Verifier) -> Self {
        Self { password, legacy_login: allowed() }
    }
}

fn allowed() -> bool {
    true
}

fn is_allowed(flag: &bool) -> bool {
    *flag
}

/// What lasts of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Room {
    /// The hash of its password.
    pub password: Verifier,
    /// Drawn when the room was made, and never changed: tells it from another of its name.
    pub id: RoomId,
    /// Who made it; nobody is known for a room that a Python server, or an earlier version, made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserName>,
    /// What it is about, as somebody typed it: unsanitized. At most [`MAX_TOPIC`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// Whether legacy peers are kept out.
    #[serde(default, skip_serializing_if = "is_off")]
    pub modern_only: bool,
    /// Who is kept out.
    #[serde(default, skip_serializing_if = "Restrictions::is_empty")]
    pub bans: Restrictions,
    /// Who may not speak.
    #[serde(default, skip_serializing_if = "Restrictions::is_empty")]
    pub mutes: Restrictions,
}

impl Room {
    /// A new room.
    pub fn new(password: Verifier, id: RoomId, owner: Option<UserName>) -> Self {
        let (bans, mutes) = (Restrictions::default(), Restrictions::default());
        Self { password, id, owner, topic: String::new(), modern_only: false, bans, mutes }
    }
}

fn is_off(flag: &bool) -> bool {
    !*flag
}

/// All accounts and rooms, each in the order of creation: what is stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entries {
    /// The accounts.
    pub users: IndexMap<UserName, Account>,
    /// The rooms.
    pub rooms: IndexMap<RoomName, Room>,
}

impl Entries {
    /// Whether a change fits.
    ///
    /// # Errors
    /// [`Unfit`] says why it does not.
    pub fn check(&self, change: &Change) -> Result<(), Unfit> {
        let unless = |unfit: Unfit, fits: bool| if fits { Ok(()) } else { Err(unfit) };
        let known_user = |user| unless(Unfit::Missing, self.users.contains_key(user));
        let known_room = |room| self.rooms.get(room).ok_or(Unfit::Missing);
        match change {
            Change::AddUser { user, .. } => unless(Unfit::Exists, !self.users.contains_key(user)),
            Change::AddRoom { room, .. } => unless(Unfit::Exists, !self.rooms.contains_key(room)),
            Change::SetUserPassword { user, .. } | Change::SetLegacyLogin { user, .. } => known_user(user),
            Change::SetTopic { room, topic } => {
                known_room(room)?;
                unless(Unfit::TopicTooLong, topic.len() <= MAX_TOPIC)
            }
            Change::Ban { room, user, at, .. } => {
                unless(Unfit::TooManyRestrictions, known_room(room)?.bans.have_room(user, *at))
            }
            Change::Mute { room, user, at, .. } => {
                unless(Unfit::TooManyRestrictions, known_room(room)?.mutes.have_room(user, *at))
            }
            Change::SetRoomPassword { room, .. }
            | Change::SetRoomFlags { room, .. }
            | Change::Unban { room, .. }
            | Change::Unmute { room, .. }
            | Change::RemoveRoom { room } => known_room(room).map(|_| ()),
        }
    }

    /// Makes a change.
    ///
    /// # Errors
    /// [`Misfit`] when the change does not fit; nothing is changed then.
    pub fn apply(&mut self, change: Change) -> Result<(), Misfit> {
        self.admit(&change)?;
        self.make(change);
        Ok(())
    }

    pub(super) fn admit(&self, change: &Change) -> Result<(), Misfit> {
        self.check(change).map_err(|why| Misfit { subject: change.subject(), why })
    }

    /// Makes a change that was found to fit.
    pub(super) fn make(&mut self, change: Change) {
        match change {
            Change::AddUser { user, password } => _ = self.users.insert(user, Account::new(password)),
            Change::SetUserPassword { user, password } => self.account(&user, |account| account.password = password),
            Change::SetLegacyLogin { user, allowed } => self.account(&user, |account| account.legacy_login = allowed),
            Change::AddRoom { room, password, id, owner, modern_only } => {
                self.rooms.insert(room, Room { modern_only, ..Room::new(password, id, owner) });
            }
            Change::SetRoomPassword { room, password } => self.room(&room, |room| room.password = password),
            Change::SetTopic { room, topic } => self.room(&room, |room| room.topic = topic),
            Change::SetRoomFlags { room, modern_only } => self.room(&room, |room| room.modern_only = modern_only),
            Change::Ban { room, user, until, at } => self.room(&room, |room| room.bans.set(user, until, at)),
            Change::Unban { room, user } => self.room(&room, |room| room.bans.lift(&user)),
            Change::Mute { room, user, until, at } => self.room(&room, |room| room.mutes.set(user, until, at)),
            Change::Unmute { room, user } => self.room(&room, |room| room.mutes.lift(&user)),
            Change::RemoveRoom { room } => _ = self.rooms.shift_remove(&room), // the others keep their order
        }
    }

    fn account(&mut self, user: &UserName, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.users.get_mut(user) {
            change(account);
        }
    }

    fn room(&mut self, room: &RoomName, change: impl FnOnce(&mut Room)) {
        if let Some(room) = self.rooms.get_mut(room) {
            change(room);
        }
    }
}
