//! Who is banned from a room, or muted in it, and until when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::UserName;

/// Most users that one room bans, and most that it mutes: each costs memory and a part of every snapshot.
pub const MAX_RESTRICTIONS: usize = 4096;

/// Users who may not do something in a room, each until a moment in seconds since 1970, or for ever (`None`).
///
/// Those that have run out stay until there is no room for another: so what a journal makes of this does not depend on when it
/// is read, and a clock that was ahead for a while and is put back finds them in force again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Listed", try_from = "Listed")]
pub struct Restrictions(BTreeMap<UserName, Option<u64>>);

/// How they are stored: a list, in which a name that occurs twice is seen.
type Listed = Vec<(UserName, Option<u64>)>;

impl Restrictions {
    /// Whether there is none, run out or not.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are, run out or not.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those in force at `now`, by name.
    pub fn in_force(&self, now: u64) -> impl Iterator<Item = (&UserName, Option<u64>)> {
        self.0.iter().map(|(user, until)| (user, *until)).filter(move |(_, until)| is_in_force(*until, now))
    }

    /// Whether this user is restricted at `now`.
    pub fn hold(&self, user: &UserName, now: u64) -> bool {
        self.0.get(user).is_some_and(|until| is_in_force(*until, now))
    }

    /// Until when this user is restricted: within, `None` is for ever. Outside, it says that there is no restriction, not even
    /// one that has run out.
    pub fn until(&self, user: &UserName) -> Option<Option<u64>> {
        self.0.get(user).copied()
    }

    /// Whether there is room for this user at `now`.
    pub(super) fn have_room(&self, user: &UserName, now: u64) -> bool {
        self.0.len() < MAX_RESTRICTIONS
            || self.in_force(now).filter(|(other, _)| *other != user).count() < MAX_RESTRICTIONS
    }

    /// Restricts a user, longer or shorter than before; where there is no room for one more, in the place of the one that ran
    /// out first, at `now`.
    pub(super) fn set(&mut self, user: UserName, until: Option<u64>, now: u64) {
        if self.0.len() >= MAX_RESTRICTIONS && !self.0.contains_key(&user) {
            let over = self.0.iter().filter(|(_, until)| !is_in_force(**until, now));
            let first = over.min_by_key(|(_, until)| **until).map(|(first, _)| first.clone());
            first.iter().for_each(|first| self.lift(first));
        }
        self.0.insert(user, until);
    }

    pub(super) fn lift(&mut self, user: &UserName) {
        self.0.remove(user);
    }
}

fn is_in_force(until: Option<u64>, now: u64) -> bool {
    until.is_none_or(|end| now < end)
}

impl From<Restrictions> for Listed {
    fn from(Restrictions(users): Restrictions) -> Self {
        users.into_iter().collect()
    }
}

impl TryFrom<Listed> for Restrictions {
    type Error = &'static str;

    fn try_from(listed: Listed) -> Result<Self, Self::Error> {
        let count = listed.len();
        let users: BTreeMap<_, _> = listed.into_iter().collect();
        if users.len() < count { Err("a user is restricted twice") } else { Ok(Self(users)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> UserName {
        UserName::new(&format!("u{n}"))
    }

    #[test]
    fn a_restriction_holds_until_its_end() {
        let mut bans = Restrictions::default();
        bans.set(user(1), Some(100), 50);
        bans.set(user(2), None, 50);
        assert!(bans.hold(&user(1), 99) && !bans.hold(&user(1), 100));
        assert!(bans.hold(&user(2), u64::MAX));
        assert!(!bans.hold(&user(3), 0));
        assert_eq!(bans.in_force(100).collect::<Vec<_>>(), [(&user(2), None)]);
        bans.lift(&user(2));
        assert!(!bans.hold(&user(2), 0));
    }

    #[test]
    fn those_that_have_run_out_make_room() {
        let mut bans = Restrictions::default();
        (0..MAX_RESTRICTIONS).for_each(|n| bans.set(user(n), Some(100 + n as u64), 0));
        assert!(!bans.have_room(&user(MAX_RESTRICTIONS), 99));
        assert!(bans.have_room(&user(7), 99), "another end for one who is there");
        assert!(bans.have_room(&user(MAX_RESTRICTIONS), 100));
        bans.set(user(7), Some(99), 150);
        assert_eq!(bans.0.len(), MAX_RESTRICTIONS, "another end for one who is there needs no place");
        bans.set(user(MAX_RESTRICTIONS), None, 150);
        assert_eq!(bans.0.len(), MAX_RESTRICTIONS);
        assert_eq!((bans.until(&user(7)), bans.until(&user(0))), (None, Some(Some(100))), "the first that ran out");
    }

    /// A clock goes a century ahead for a while, and somebody is banned meanwhile.
    #[test]
    fn a_clock_that_was_ahead_lifts_nothing_for_good() {
        let (mut bans, century) = (Restrictions::default(), 100 * 365 * 24 * 3600);
        bans.set(user(1), Some(1000), 0);
        bans.set(user(2), Some(century + 1000), century);
        assert!(!bans.hold(&user(1), century));
        assert!(bans.hold(&user(1), 0) && bans.hold(&user(2), 0));
    }

    #[test]
    fn the_stored_form_keeps_all_and_names_nobody_twice() {
        let mut bans = Restrictions::default();
        bans.set(user(1), Some(100), 0);
        bans.set(user(2), None, 0);
        let text = serde_json::to_string(&bans).unwrap();
        assert_eq!(text, r#"[["u1",100],["u2",null]]"#);
        assert_eq!(serde_json::from_str::<Restrictions>(&text).unwrap(), bans);
        assert!(serde_json::from_str::<Restrictions>(r#"[["u1",100],["u1",null]]"#).is_err());
    }
}
