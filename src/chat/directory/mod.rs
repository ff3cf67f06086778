//! The accounts and rooms that last, and the changes that are made to them.

mod change;
mod entries;
mod restrictions;

use std::collections::HashMap;

use indexmap::IndexMap;

pub use self::change::{Change, Misfit, Subject, Unfit};
pub use self::entries::{Account, Entries, MAX_TOPIC, Room, Verifier};
pub use self::restrictions::{MAX_RESTRICTIONS, Restrictions};

use crate::names::{Likeness, RoomName, UserName};

/// How a new name relates to those that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// The very name exists.
    Same,
    /// A person would take it for one that exists.
    LooksAlike,
}

/// All accounts and rooms, and what their names look like.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    entries: Entries,
    user_looks: Likenesses,
    room_looks: Likenesses,
}

impl Directory {
    /// The directory with these accounts and rooms.
    pub fn new(entries: Entries) -> Self {
        let looks = Looks::of(&entries);
        Self::with_looks(entries, looks)
    }

    /// The directory with these accounts and rooms, of whose names the looks are known.
    pub fn with_looks(entries: Entries, looks: Looks) -> Self {
        let Looks { users, rooms } = looks;
        Self { entries, user_looks: users, room_looks: rooms }
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

    /// Whether a change fits.
    ///
    /// # Errors
    /// [`Unfit`] says why it does not.
    pub fn check(&self, change: &Change) -> Result<(), Unfit> {
        self.entries.check(change)
    }

    /// Makes a change.
    ///
    /// # Errors
    /// [`Misfit`] when the change does not fit; nothing is changed then.
    pub fn apply(&mut self, change: Change) -> Result<(), Misfit> {
        self.entries.admit(&change)?;
        match &change {
            Change::AddUser { user, .. } => self.user_looks.add(user.likeness()),
            Change::AddRoom { room, .. } => self.room_looks.add(room.likeness()),
            Change::RemoveRoom { room } => self.room_looks.remove(&room.likeness()),
            _ => {}
        }
        self.entries.make(change);
        Ok(())
    }
}

/// What the names of all accounts and rooms look like: for a million, half a second's work, which needs the names alone.
#[derive(Debug, Clone, Default)]
pub struct Looks {
    users: Likenesses,
    rooms: Likenesses,
}

impl Looks {
    /// Of these.
    pub fn of(entries: &Entries) -> Self {
        let mut looks = Self::default();
        entries.users.keys().for_each(|user| looks.users.add(user.likeness()));
        entries.rooms.keys().for_each(|room| looks.rooms.add(room.likeness()));
        looks
    }
}

/// The looks of all names of one kind.
#[derive(Debug, Clone, Default)]
struct Likenesses {
    folded: Counts,
    ascii_shapes: Counts,
    foreign_shapes: Counts,
}

impl Likenesses {
    fn add(&mut self, likeness: Likeness) {
        let Likeness { folded, shapes, ascii } = likeness;
        shapes.into_iter().for_each(|shape| self.shapes(ascii).add(shape));
        self.folded.add(folded);
    }

    fn remove(&mut self, likeness: &Likeness) {
        likeness.shapes.iter().for_each(|shape| self.shapes(likeness.ascii).remove(shape));
        self.folded.remove(&likeness.folded);
    }

    fn has(&self, likeness: &Likeness) -> bool {
        let Likeness { folded, shapes, ascii } = likeness;
        let is_taken = |shape| self.foreign_shapes.has(shape) || (!ascii && self.ascii_shapes.has(shape));
        self.folded.has(folded) || shapes.iter().any(|shape| is_taken(shape))
    }

    fn shapes(&mut self, ascii: bool) -> &mut Counts {
        if ascii { &mut self.ascii_shapes } else { &mut self.foreign_shapes }
    }
}

/// How many names share a look: when one goes, the others still have it.
#[derive(Debug, Clone, Default)]
struct Counts(HashMap<Box<str>, u32>);

impl Counts {
    fn add(&mut self, look: Box<str>) {
        *self.0.entry(look).or_default() += 1;
    }

    fn remove(&mut self, look: &str) {
        if let Some(count) = self.0.get_mut(look) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(look);
            }
        }
    }

    fn has(&self, look: &str) -> bool {
        self.0.contains_key(look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::RoomId;

    fn add(user: &str) -> Change {
        Change::AddUser { user: UserName::new(user), password: Verifier::new("$x") }
    }

    #[test]
    fn names_clash_with_themselves_and_their_look_alikes() {
        let mut directory = Directory::default();
        directory.apply(add("admin")).unwrap();
        directory.apply(add("user1")).unwrap();
        directory.apply(add("ВОВ")).unwrap(); // Cyrillic
        let clash = |name: &str| directory.user_clash(&UserName::new(name));
        assert_eq!(clash("admin"), Some(Clash::Same));
        assert_eq!(clash("Admin"), Some(Clash::LooksAlike));
        assert_eq!(clash("аdmin"), Some(Clash::LooksAlike)); // Cyrillic а
        assert_eq!(clash("ΒΟΒ"), Some(Clash::LooksAlike)); // Greek
        assert_eq!(clash("userl"), None);
        assert_eq!(clash("bob"), Some(Clash::LooksAlike));
        assert_eq!(clash("rob"), None);
    }

    fn room(name: &str) -> Change {
        let (id, owner) = (RoomId([7; 16]), Some(UserName::new("bob")));
        Change::AddRoom { room: RoomName::new(name), password: Verifier::new("$r"), id, owner, modern_only: false }
    }

    fn ban(room: &str, user: usize, until: Option<u64>, at: u64) -> Change {
        Change::Ban { room: RoomName::new(room), user: UserName::new(&format!("u{user}")), until, at }
    }

    #[test]
    fn a_change_that_does_not_fit_changes_nothing() {
        let mut directory = Directory::default();
        directory.apply(add("bob")).unwrap();
        directory.apply(room("den")).unwrap();
        (0..MAX_RESTRICTIONS).for_each(|n| directory.apply(ban("den", n, None, 0)).unwrap());
        let before = directory.entries.clone();
        let (r, den) = (RoomName::new("r"), RoomName::new("den"));
        let nobody = UserName::new("nobody");
        let long = "ö".repeat(MAX_TOPIC / 2) + "x";
        for (misfit, why) in [
            (add("bob"), Unfit::Exists),
            (room("den"), Unfit::Exists),
            (Change::SetUserPassword { user: nobody.clone(), password: Verifier::new("$y") }, Unfit::Missing),
            (Change::SetLegacyLogin { user: nobody.clone(), allowed: false }, Unfit::Missing),
            (Change::SetRoomPassword { room: r.clone(), password: Verifier::new("$y") }, Unfit::Missing),
            (Change::SetTopic { room: r.clone(), topic: long.clone() }, Unfit::Missing),
            (Change::SetTopic { room: den.clone(), topic: long }, Unfit::TopicTooLong),
            (Change::SetRoomFlags { room: r.clone(), modern_only: true }, Unfit::Missing),
            (ban("r", 1, None, 0), Unfit::Missing),
            (ban("den", MAX_RESTRICTIONS, None, 0), Unfit::TooManyRestrictions),
            (Change::Unban { room: r.clone(), user: nobody.clone() }, Unfit::Missing),
            (Change::Mute { room: r.clone(), user: nobody.clone(), until: None, at: 0 }, Unfit::Missing),
            (Change::Unmute { room: r.clone(), user: nobody.clone() }, Unfit::Missing),
            (Change::RemoveRoom { room: r }, Unfit::Missing),
        ] {
            assert_eq!(directory.check(&misfit), Err(why), "{misfit:?}");
            let subject = misfit.subject();
            assert_eq!(directory.apply(misfit), Err(Misfit { subject, why }));
            assert_eq!(directory.entries, before);
        }
    }

    #[test]
    fn what_is_set_is_there() {
        let mut directory = Directory::default();
        let (bob, den) = (UserName::new("bob"), RoomName::new("den"));
        for change in [
            add("bob"),
            room("den"),
            Change::SetLegacyLogin { user: bob.clone(), allowed: false },
            Change::SetTopic { room: den.clone(), topic: "t".repeat(MAX_TOPIC) },
            Change::SetRoomFlags { room: den.clone(), modern_only: true },
            ban("den", 1, Some(10), 0),
            Change::Mute { room: den.clone(), user: bob.clone(), until: None, at: 0 },
        ] {
            directory.apply(change).unwrap();
        }
        assert!(!directory.users()[&bob].legacy_login);
        let found = &directory.rooms()[&den];
        assert_eq!((found.id, found.owner.as_ref()), (RoomId([7; 16]), Some(&bob)));
        assert!(found.modern_only && found.topic.len() == MAX_TOPIC);
        assert!(found.bans.hold(&UserName::new("u1"), 9) && found.mutes.hold(&bob, 9));
        directory.apply(Change::Unmute { room: den.clone(), user: bob.clone() }).unwrap();
        directory.apply(Change::Unban { room: den.clone(), user: UserName::new("u1") }).unwrap();
        assert!(directory.rooms()[&den].bans.is_empty() && directory.rooms()[&den].mutes.is_empty());
    }

    #[test]
    fn a_room_that_is_gone_leaves_its_name_free_and_the_others_in_their_order() {
        let mut directory = Directory::default();
        for name in ["a", "Den", "den2", "z"] {
            directory.apply(room(name)).unwrap();
        }
        let den = RoomName::new("den");
        assert_eq!(directory.room_clash(&den), Some(Clash::LooksAlike));
        directory.apply(Change::RemoveRoom { room: RoomName::new("Den") }).unwrap();
        assert_eq!(directory.room_clash(&den), None);
        assert_eq!(directory.rooms().keys().map(RoomName::as_str).collect::<Vec<_>>(), ["a", "den2", "z"]);
    }

    #[test]
    fn a_look_stays_taken_while_another_name_has_it() {
        let rooms = ["Den", "den", "dеn"].map(RoomName::new); // the last with a Cyrillic е, all from a Python server
        let kept = |n: &RoomName| (n.clone(), Room::new(Verifier::new("$r"), RoomId([0; 16]), None));
        let mut directory = Directory::new(Entries { rooms: rooms.iter().map(kept).collect(), ..Entries::default() });
        let clash = |directory: &Directory, name: &str| directory.room_clash(&RoomName::new(name));
        for (name, after) in rooms.iter().zip([Some(Clash::LooksAlike), Some(Clash::LooksAlike), None]) {
            assert_eq!(clash(&directory, "DEN"), Some(Clash::LooksAlike));
            directory.apply(Change::RemoveRoom { room: name.clone() }).unwrap();
            assert_eq!(clash(&directory, "DEN"), after, "without {name}");
        }
    }

    #[test]
    fn accounts_that_the_python_server_allowed_keep_working() {
        let names = ["Bob", "bob", "a::b", "x\x1b[31m", "Zoe\u{308}"].map(UserName::new);
        let users = names.iter().map(|n| (n.clone(), Account::new(Verifier::new("$x")))).collect();
        let directory = Directory::new(Entries { users, ..Entries::default() });
        assert!(names.iter().all(|n| directory.stored_user(n) == *n));
        assert_eq!(directory.stored_user(&UserName::new("Ro\u{308}")), UserName::new("Rö"));
    }
}
