//! Changes on their way to the disk: one at a time of each account and room.
//!
//! So each is checked against the very state that it will meet: a journal with a change that does not fit cannot be opened
//! again.

use std::collections::VecDeque;

use crate::chat::hub::Hub;
use crate::chat::hub::session::Pending;
use crate::chat::{Change, Effect, SessionId, Subject, Verifier};
use crate::protocol::Reply;

/// A change that is to be saved.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The session that waits for it, if one does.
    pub(super) session: Option<SessionId>,
    pub(super) change: Change,
    /// The hash that a better one of the same password replaces: should another password stand there by now, that one stays.
    pub(super) instead_of: Option<Verifier>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Made,
    NotSaved,
    /// It did not fit any longer when its turn came.
    Unfit,
}

impl Hub {
    /// Has a change saved, behind those of the same account or room. Whoever waits for it is answered by
    /// [`Hub::settle`], at once if it does not fit.
    pub(super) fn save(&mut self, wanted: Wanted) {
        let subject = wanted.change.subject();
        if let Some(queue) = self.under_way.get_mut(&subject) {
            queue.push_back(wanted);
        } else if self.fits(&wanted) {
            self.under_way.insert(subject, VecDeque::new());
            self.effects.push(Effect::Store(wanted.session, wanted.change));
        } else {
            self.settle(wanted.session, &wanted.change, Outcome::Unfit);
        }
    }

    /// The same for a session that waits.
    pub(super) fn wait_for_store(&mut self, session: SessionId, pending: Pending, wanted: Wanted) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.pending = Some(pending);
        }
        self.save(wanted);
    }

    pub(super) fn stored(&mut self, session: Option<SessionId>, change: Change, saved: bool) {
        let subject = change.subject();
        if let (true, Change::RemoveRoom { room }) = (saved, &change) {
            self.tell_members(room); // while there still is a room to join
        }
        let outcome = match saved.then(|| self.directory.apply(change.clone())) {
            Some(Ok(())) => Outcome::Made,
            Some(Err(_)) => Outcome::Unfit,
            None => Outcome::NotSaved,
        };
        self.settle(session, &change, outcome);
        session.into_iter().for_each(|session| self.ready_unless_pending(session));
        self.save_next(&subject);
    }

    fn save_next(&mut self, subject: &Subject) {
        while let Some(next) = self.under_way.get_mut(subject).and_then(VecDeque::pop_front) {
            if self.fits(&next) {
                return self.effects.push(Effect::Store(next.session, next.change));
            }
            self.settle(next.session, &next.change, Outcome::Unfit);
            next.session.into_iter().for_each(|session| self.ready_unless_pending(session));
        }
        self.under_way.remove(subject);
    }

    fn fits(&self, Wanted { change, instead_of, .. }: &Wanted) -> bool {
        let current = match change.subject() {
            Subject::User(user) => self.directory.users().get(&user).map(|account| &account.password),
            Subject::Room(room) => self.directory.rooms().get(&room).map(|room| &room.password),
        };
        self.directory.check(change).is_ok() && (instead_of.is_none() || instead_of.as_ref() == current)
    }

    /// Answers the session that waits for a change.
    fn settle(&mut self, session: Option<SessionId>, change: &Change, outcome: Outcome) {
        if matches!(change, Change::AddUser { .. } | Change::AddRoom { .. }) {
            self.claims.remove(&change.subject());
        }
        let Some(session) = session else { return };
        let pending = self.sessions.get_mut(&session).and_then(|s| s.pending.take());
        let Some(pending) = pending.or_else(|| self.orphans.remove(&session)) else { return };
        let made = outcome == Outcome::Made;
        match pending {
            Pending::StoreCreation(Subject::User(user)) if made => self.reply(session, Reply::Registered(user)),
            Pending::StoreCreation(Subject::Room(room)) if made => self.reply(session, Reply::RoomCreated(room)),
            Pending::StoreCreation(_) => self.reply(session, Reply::NotSaved),
            // The password was right; that its better hash could not be saved is for the log.
            Pending::StoreBetter(entry) => self.enter(session, entry),
            Pending::StoreOwn => self.settle_own(session, change, outcome),
            Pending::StoreAct(act) => self.settle_act(session, *act, outcome),
            _ => {} // it waits for something else
        }
    }

    pub(super) fn strengthened(&mut self, change: Change, weak: Verifier) {
        self.save(Wanted { session: None, change, instead_of: Some(weak) });
    }

    /// Whether a change that nobody waits for is still to be sent to the disk.
    pub fn owes_strengthening(&self) -> bool {
        self.under_way.values().flatten().any(|wanted| wanted.session.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Directory, Entries, Input, MAX_RESTRICTIONS, Now};
    use crate::names::{RoomName, UserName};
    use crate::transcript::{Realm, RoomId};
    use proptest::prelude::*;
    use std::time::Duration;

    const NOW: Now = Now { elapsed: Duration::ZERO, unix_ms: 0 };

    fn hub() -> Hub {
        let mut directory = Directory::default();
        directory.apply(Change::AddUser { user: bob(), password: Verifier::new("$weak") }).unwrap();
        directory.apply(add_room()).unwrap();
        Hub::new(directory, Realm([0; 32]), [0; 32])
    }

    fn bob() -> UserName {
        UserName::new("bob")
    }

    fn den() -> RoomName {
        RoomName::new("den")
    }

    fn add_room() -> Change {
        let (room, password, id) = (den(), Verifier::new("$den"), RoomId([1; 16]));
        Change::AddRoom { room, password, id, owner: None, modern_only: false }
    }

    fn topic(text: &str) -> Change {
        Change::SetTopic { room: den(), topic: text.to_owned() }
    }

    fn passwd(hash: &str) -> Change {
        Change::SetUserPassword { user: bob(), password: Verifier::new(hash) }
    }

    fn ban(n: usize) -> Change {
        Change::Ban { room: den(), user: UserName::new(&format!("u{n}")), until: None, at: 0 }
    }

    /// What goes to the disk when these are wanted.
    fn want(hub: &mut Hub, changes: impl IntoIterator<Item = Change>) -> Vec<Change> {
        changes.into_iter().for_each(|change| hub.save(Wanted { session: None, change, instead_of: None }));
        to_disk(std::mem::take(&mut hub.effects))
    }

    fn to_disk(effects: Vec<Effect>) -> Vec<Change> {
        let store = |effect| if let Effect::Store(_, change) = effect { Some(change) } else { None };
        effects.into_iter().filter_map(store).collect()
    }

    /// What goes to the disk when a change came back from it.
    fn back(hub: &mut Hub, change: Change, saved: bool) -> Vec<Change> {
        to_disk(hub.handle(NOW, Input::Stored { session: None, change, saved }))
    }

    #[test]
    fn the_changes_of_a_room_go_to_the_disk_one_by_one_and_those_of_an_account_beside_them() {
        let mut hub = hub();
        let first = want(&mut hub, [topic("one"), topic("two"), passwd("$new"), topic("three")]);
        assert_eq!(first, [topic("one"), passwd("$new")]);
        assert_eq!(back(&mut hub, topic("one"), true), [topic("two")]);
        assert_eq!(back(&mut hub, topic("two"), false), [topic("three")]);
        assert_eq!(back(&mut hub, topic("three"), true), []);
        assert_eq!(hub.directory().rooms()[&den()].topic, "three");
        assert_eq!(back(&mut hub, passwd("$new"), true), []);
        assert!(hub.under_way.is_empty());
    }

    #[test]
    fn what_was_wanted_of_a_room_that_goes_meanwhile_is_not_sent_to_the_disk() {
        let remove = Change::RemoveRoom { room: den() };
        for (saved, after) in [(true, vec![]), (false, vec![topic("late")])] {
            let mut hub = hub();
            assert_eq!(want(&mut hub, [remove.clone(), topic("late")]), [remove.clone()].as_slice());
            assert_eq!(back(&mut hub, remove.clone(), saved), after);
            assert_eq!(hub.under_way.is_empty(), saved);
        }
    }

    #[test]
    fn two_who_take_the_last_place_do_not_both_get_it() {
        let mut hub = hub();
        for n in 1..MAX_RESTRICTIONS {
            hub.directory.apply(ban(n)).unwrap();
        }
        assert_eq!(want(&mut hub, [ban(0), ban(MAX_RESTRICTIONS)]), [ban(0)]);
        assert_eq!(back(&mut hub, ban(0), true), []);
        assert_eq!(want(&mut hub, [ban(MAX_RESTRICTIONS)]), []);
    }

    #[test]
    fn a_better_hash_of_an_old_password_does_not_replace_a_new_password() {
        let mut hub = hub();
        let strengthened = |hub: &mut Hub| {
            let (change, weak) = (passwd("$strong"), Verifier::new("$weak"));
            to_disk(hub.handle(NOW, Input::Strengthened { change, weak }))
        };
        assert_eq!(want(&mut hub, [passwd("$new")]), [passwd("$new")]);
        assert_eq!(strengthened(&mut hub), []);
        assert!(hub.owes_strengthening());
        assert_eq!(back(&mut hub, passwd("$new"), true), []);
        assert!(!hub.owes_strengthening());
        assert_eq!(strengthened(&mut hub), []);
        assert_eq!(hub.directory().users()[&bob()].password, Verifier::new("$new"));
    }

    /// Anything that can be wanted of a few names.
    fn wanted() -> impl Strategy<Value = Change> {
        let room = (0..3u8).prop_map(|n| RoomName::new(&format!("r{n}")));
        let user = (0..3u8).prop_map(|n| UserName::new(&format!("u{n}")));
        (0..10, room, user).prop_map(|(kind, room, user)| match kind {
            0 => Change::AddUser { user, password: Verifier::new("$") },
            1 => Change::SetUserPassword { user, password: Verifier::new("$") },
            2 => Change::SetLegacyLogin { user, allowed: false },
            3 | 4 => {
                let (password, id) = (Verifier::new("$"), RoomId([1; 16]));
                Change::AddRoom { room, password, id, owner: None, modern_only: false }
            }
            5 => Change::SetTopic { room, topic: "t".into() },
            6 => Change::Ban { room, user, until: None, at: 0 },
            7 => Change::Unmute { room, user },
            8 => Change::SetRoomPassword { room, password: Verifier::new("$") },
            _ => Change::RemoveRoom { room },
        })
    }

    proptest! {
        /// The disk takes its time, and sometimes fails; what reaches it fits all the same, and memory follows it.
        #[test]
        fn whatever_is_wanted_what_reaches_the_disk_fits(
            steps in prop::collection::vec((wanted(), 0..3usize, any::<bool>()), 1..100),
        ) {
            let mut hub = Hub::new(Directory::default(), Realm([0; 32]), [0; 32]);
            let mut disk = Entries::default();
            let mut waiting = VecDeque::new();
            let mut write = |hub: &mut Hub, change: Change, saved: bool| {
                if saved {
                    disk.apply(change.clone()).unwrap();
                }
                let more = back(hub, change, saved);
                assert_eq!((hub.directory().users(), hub.directory().rooms()), (&disk.users, &disk.rooms));
                more
            };
            for (change, writes, saved) in steps {
                waiting.extend(want(&mut hub, [change]));
                for _ in 0..writes {
                    let Some(change) = waiting.pop_front() else { break };
                    waiting.extend(write(&mut hub, change, saved));
                }
            }
            while let Some(change) = waiting.pop_front() {
                waiting.extend(write(&mut hub, change, true));
            }
            prop_assert!(hub.under_way.is_empty());
        }
    }
}
