//! The accounts and rooms that last, and the changes that are made to them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::names::{Likeness, RoomName, UserName};

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

/// What lasts of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The hash of its password.
    pub password: Verifier,
}

/// What lasts of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The hash of its password.
    pub password: Verifier,
}

/// One change of the directory, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub enum Change {
    /// A new account.
    AddUser { user: UserName, password: Verifier },
    /// Another hash for an account.
    SetUserPassword { user: UserName, password: Verifier },
    /// A new room, after all others.
    AddRoom { room: RoomName, password: Verifier },
    /// Another hash for a room.
    SetRoomPassword { room: RoomName, password: Verifier },
}

/// A change that does not fit the directory: a name that exists already, or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit(pub Change);

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Change::AddUser { user, .. } => write!(f, "user {user} is added twice"),
            Change::SetUserPassword { user, .. } => write!(f, "user {user} does not exist"),
            Change::AddRoom { room, .. } => write!(f, "room {room} is added twice"),
            Change::SetRoomPassword { room, .. } => write!(f, "room {room} does not exist"),
        }
    }
}

impl std::error::Error for Misfit {}

/// How a new name relates to those that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// The very name exists.
    Same,
    /// A person would take it for one that exists.
    LooksAlike,
}

/// All accounts and rooms, each in the order of creation: what is stored.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// The accounts.
    pub users: IndexMap<UserName, Account>,
    /// The rooms.
    pub rooms: IndexMap<RoomName, Room>,
}

impl Entries {
    /// Makes a change.
    ///
    /// # Errors
    /// [`Misfit`] when the change does not fit; nothing is changed then.
    pub fn apply(&mut self, change: Change) -> Result<(), Misfit> {
        match change {
            Change::AddUser { user, password } if !self.users.contains_key(&user) => {
                self.users.insert(user, Account { password });
            }
            Change::AddRoom { room, password } if !self.rooms.contains_key(&room) => {
                self.rooms.insert(room, Room { password });
            }
            Change::SetUserPassword { user, password } => match self.users.get_mut(&user) {
                Some(account) => account.password = password,
                None => return Err(Misfit(Change::SetUserPassword { user, password })),
            },
            Change::SetRoomPassword { room, password } => match self.rooms.get_mut(&room) {
                Some(found) => found.password = password,
                None => return Err(Misfit(Change::SetRoomPassword { room, password })),
            },
            misfit @ (Change::AddUser { .. } | Change::AddRoom { .. }) => return Err(Misfit(misfit)),
        }
        Ok(())
    }
}

/// All accounts and rooms, and what their names look like.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    entries: Entries,
    user_looks: Looks,
    room_looks: Looks,
}

impl Directory {
    /// The directory with these accounts and rooms.
    pub fn new(entries: Entries) -> Self {
        let mut directory = Self { entries, ..Self::default() };
        directory.entries.users.keys().for_each(|user| directory.user_looks.insert(user.likeness()));
        directory.entries.rooms.keys().for_each(|room| directory.room_looks.insert(room.likeness()));
        directory
    }

    /// The accounts, in order of creation.
    pub fn users(&self) -> &IndexMap<UserName, Account> {
        &self.entries.users
    }

    /// The rooms, in order of creation.
    pub fn rooms(&self) -> &IndexMap<RoomName, Room> {
        &self.entries.rooms
    }

    /// The name under which an account is stored that somebody typed in whatever normal form.
    pub fn stored_user(&self, typed: &UserName) -> UserName {
        if self.entries.users.contains_key(typed) { typed.clone() } else { typed.normalized() }
    }

    /// The name under which a room is stored that somebody typed in whatever normal form.
    pub fn stored_room(&self, typed: &RoomName) -> RoomName {
        if self.entries.rooms.contains_key(typed) { typed.clone() } else { typed.normalized() }
    }

    /// What stands against a new account of this name.
    pub fn user_clash(&self, user: &UserName) -> Option<Clash> {
        if self.entries.users.contains_key(user) {
            return Some(Clash::Same);
        }
        self.user_looks.has(&user.likeness()).then_some(Clash::LooksAlike)
    }

    /// What stands against a new room of this name.
    pub fn room_clash(&self, room: &RoomName) -> Option<Clash> {
        if self.entries.rooms.contains_key(room) {
            return Some(Clash::Same);
        }
        self.room_looks.has(&room.likeness()).then_some(Clash::LooksAlike)
    }

    /// Makes a change.
    ///
    /// # Errors
    /// [`Misfit`] when the change does not fit; nothing is changed then.
    pub fn apply(&mut self, change: Change) -> Result<(), Misfit> {
        let (user, room) = match &change {
            Change::AddUser { user, .. } => (Some(user.likeness()), None),
            Change::AddRoom { room, .. } => (None, Some(room.likeness())),
            Change::SetUserPassword { .. } | Change::SetRoomPassword { .. } => (None, None),
        };
        self.entries.apply(change)?;
        user.into_iter().for_each(|look| self.user_looks.insert(look));
        room.into_iter().for_each(|look| self.room_looks.insert(look));
        Ok(())
    }
}

/// The looks of all names of one kind.
#[derive(Debug, Clone, Default)]
struct Looks {
    folded: HashSet<Box<str>>,
    /// Skeleton to whether a name outside ASCII has it.
    skeletons: HashMap<Box<str>, bool>,
}

impl Looks {
    fn insert(&mut self, likeness: Likeness) {
        *self.skeletons.entry(likeness.skeleton).or_default() |= !likeness.ascii;
        self.folded.insert(likeness.folded);
    }

    fn has(&self, likeness: &Likeness) -> bool {
        let same_shape = self.skeletons.get(&likeness.skeleton);
        self.folded.contains(&likeness.folded) || same_shape.is_some_and(|foreign| *foreign || !likeness.ascii)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(user: &str) -> Change {
        Change::AddUser { user: UserName::new(user), password: Verifier::new("$x") }
    }

    #[test]
    fn names_clash_with_themselves_and_their_look_alikes() {
        let mut directory = Directory::default();
        directory.apply(add("admin")).unwrap();
        directory.apply(add("user1")).unwrap();
        let clash = |name: &str| directory.user_clash(&UserName::new(name));
        assert_eq!(clash("admin"), Some(Clash::Same));
        assert_eq!(clash("Admin"), Some(Clash::LooksAlike));
        assert_eq!(clash("аdmin"), Some(Clash::LooksAlike)); // Cyrillic а
        assert_eq!(clash("userl"), None);
        assert_eq!(clash("bob"), None);
    }

    #[test]
    fn a_change_that_does_not_fit_changes_nothing() {
        let mut directory = Directory::default();
        directory.apply(add("bob")).unwrap();
        assert!(directory.apply(add("bob")).is_err());
        let lost = Change::SetRoomPassword { room: RoomName::new("r"), password: Verifier::new("$y") };
        assert_eq!(directory.apply(lost.clone()), Err(Misfit(lost)));
        assert_eq!((directory.users().len(), directory.rooms().len()), (1, 0));
    }

    #[test]
    fn accounts_that_the_python_server_allowed_keep_working() {
        let names = ["Bob", "bob", "a::b", "x\x1b[31m", "Zoe\u{308}"].map(UserName::new);
        let users = names.iter().map(|n| (n.clone(), Account { password: Verifier::new("$x") })).collect();
        let directory = Directory::new(Entries { users, ..Entries::default() });
        assert!(names.iter().all(|n| directory.stored_user(n) == *n));
        assert_eq!(directory.stored_user(&UserName::new("Ro\u{308}")), UserName::new("Rö"));
    }
}
