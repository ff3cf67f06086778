//! Who is in a room: coming, going, being away, and what the others are told of it.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use crate::chat::bundles::{Known, hash_of};
use crate::chat::hub::Hub;
use crate::chat::hub::endings::Timer;
use crate::chat::hub::session::{Keys, Pending, State};
use crate::chat::room::{Joined, LiveRoom, Place, Told};
use crate::chat::tokens::MAX_TOKENS;
use crate::chat::{Audience, Effect, SessionId};
use crate::names::{RoomName, Text, UserName};
use crate::protocol::Notice;
use crate::protocol::modern::{Changes, Event, JoinOk, MAX_CHANGES, MAX_LISTED, MembersEvent, OkBody, fits};
use crate::transcript::{LogNonce, RosterEntry};

/// How long the changes of a large room are collected.
const COLLECT: Duration = Duration::from_millis(250);

/// How long a session whose connection is lost stays listed; of an account no more than can return with a token.
const AWAY: Duration = Duration::from_secs(60);

impl Hub {
    /// Lets a session in, and out of the room where it was.
    pub(super) fn enter_room(&mut self, session: SessionId, room: &RoomName) {
        let Some(found) = self.sessions.get_mut(&session) else { return };
        let (member, old) = match std::mem::replace(&mut found.state, State::Guest) {
            State::Guest => return,
            State::LoggedIn(member) => (member, None),
            State::InRoom(member, old) => (member, Some(old)),
        };
        let (user, entry) = (member.user.clone(), member.entry());
        found.state = State::InRoom(member, room.clone());
        let old = old.filter(|old| old != room);
        if let (Some(_), Some(modern)) = (&old, found.modern_mut()) {
            modern.attached.take(); // they were for a message to the old room
        }
        let Some(entry) = entry else { return }; // a session on the modern wire has announced its bundle
        if self.is_modern(session) {
            self.list_modern(session, room, &entry);
        } else {
            self.list_legacy(session, room, &entry);
        }
        if let Some(old) = &old {
            self.unlist(old, &entry);
            self.say_left(session, old, user);
        }
        self.settle_members(room);
        old.iter().for_each(|old| self.settle_members(old));
        self.wait_for_news(session, room);
    }

    /// Members on the legacy wire hear of one who comes, and get the key; of one who returns they did not hear that it was away.
    fn list_modern(&mut self, session: SessionId, room: &RoomName, entry: &RosterEntry) {
        let Some(live) = self.open(room) else { return };
        let came = live.roster.get(entry).is_none();
        live.roster.list(entry.clone(), session, true);
        if came {
            self.hold_key(session, entry);
            let key = self.member(session).and_then(|member| member.announcement());
            self.tell_key(session, room, key);
            self.notice(room, Notice::Joined(entry.account.clone()));
        }
    }

    /// A repeated `/join` is a notice and no more.
    fn list_legacy(&mut self, session: SessionId, room: &RoomName, entry: &RosterEntry) {
        let Some(live) = self.open(room) else { return };
        let came = !live.legacy().contains(&session);
        if came {
            live.roster.list(entry.clone(), session, false);
            live.seat(session, entry);
            self.hold_key(session, entry);
        }
        self.exchange_keys(session, room, came);
        if !entry.account.is_god() {
            self.notice(room, Notice::Joined(entry.account.clone()));
        }
    }

    /// The room as somebody is in it; the first opens it, and with it a new log.
    fn open(&mut self, name: &RoomName) -> Option<&mut LiveRoom> {
        let id = self.directory.rooms().get(name)?.id;
        let (realm, rng) = (&self.realm, &mut self.rng);
        let open = || LiveRoom::new(realm, id, name.clone(), LogNonce(rng.random()));
        Some(self.rooms.entry(name.clone()).or_insert_with(open))
    }

    /// Whether a session on the modern wire is listed in a room, there or away.
    pub(super) fn is_listed(&self, session: SessionId, room: &RoomName) -> bool {
        let entry = self.member(session).filter(|member| member.bundle().is_some()).and_then(|member| member.entry());
        entry.is_some_and(|entry| self.rooms.get(room).is_some_and(|live| live.roster.get(&entry).is_some()))
    }

    /// Keeps the key of a session for those who meet it in the roster.
    pub(super) fn hold_key(&mut self, session: SessionId, entry: &RosterEntry) {
        let known = match self.member(session).map(|member| &member.keys) {
            Some(Keys::Bundle { bundle, .. }) => Known::Modern(Arc::clone(bundle)),
            Some(Keys::Legacy { key: Some(key), .. }) => Known::Legacy(entry.account.clone(), Arc::clone(&key.spki)),
            _ => return,
        };
        if let Some(hash) = hash_of(&entry.key) {
            self.bundles.hold(hash, known);
        }
    }

    /// Takes an entry off a room's list, and its session out of it.
    pub(super) fn unlist(&mut self, room: &RoomName, entry: &RosterEntry) {
        self.tell_news_of_legacy(room, entry);
        let Some(live) = self.rooms.get_mut(room) else { return };
        let Some(listed) = live.roster.remove(entry) else { return };
        if let Place::Here(session) = listed.place {
            live.unseat(session, entry);
        }
        self.forget_entry(room, entry);
    }

    /// A member on the legacy wire reads from the moment when it comes: it is told to the others before it can be gone again.
    pub(super) fn tell_news_of_legacy(&mut self, room: &RoomName, entry: &RosterEntry) {
        let is_news = |live: &LiveRoom| live.roster.is_news(entry);
        if entry.key.bundle().is_none() && self.rooms.get(room).is_some_and(is_news) {
            self.tell_members(room);
        }
    }

    fn forget_entry(&mut self, room: &RoomName, entry: &RosterEntry) {
        if let Some(live) = self.rooms.get_mut(room) {
            let (roster, counters) = (&live.roster, &mut live.counters);
            counters.let_go(&entry.account, entry.run, |user, run| roster.has_run(user, run));
        }
        hash_of(&entry.key).iter().for_each(|hash| self.bundles.release(hash));
    }

    /// Members on the legacy wire hear of one who left: of god only when it was on the modern wire.
    fn say_left(&mut self, session: SessionId, room: &RoomName, user: UserName) {
        if !user.is_god() || self.is_modern(session) {
            self.notice(room, Notice::Left(user));
        }
    }

    /// A session leaves its room, at once.
    pub(super) fn leave_room(&mut self, session: SessionId) {
        let Some((room, entry)) = self.place_of(session) else { return };
        self.step_out(session);
        self.unlist(&room, &entry);
        self.say_left(session, &room, entry.account);
        self.settle_members(&room);
    }

    /// A session is lost to its room. On the modern wire it stays listed for a while.
    pub(super) fn lose(&mut self, session: SessionId) {
        if !self.is_modern(session) {
            return self.leave_room(session);
        }
        let Some((room, entry)) = self.place_of(session) else { return };
        self.step_out(session);
        let until = self.now.elapsed + AWAY;
        let Some(live) = self.rooms.get_mut(&room) else { return };
        live.unseat(session, &entry);
        if live.roster.lose(&entry, until) {
            let too_many = live.roster.first_away(&entry.account, MAX_TOKENS);
            self.timers.set(until, Timer::Away(room.clone(), entry));
            too_many.iter().for_each(|first| self.take_off(&room, first));
            return;
        }
        self.forget_entry(&room, &entry); // it came a moment ago, and nobody was told
        self.notice(&room, Notice::Left(entry.account));
        self.settle_members(&room);
    }

    /// Takes one off the list who was away for too long.
    pub(super) fn away_ends(&mut self, room: &RoomName, entry: &RosterEntry) {
        let place = self.rooms.get(room).and_then(|live| live.roster.get(entry)).map(|listed| listed.place);
        if place.is_some_and(|place| matches!(place, Place::Away(until) if until <= self.now.elapsed)) {
            self.take_off(room, entry);
        }
    }

    fn take_off(&mut self, room: &RoomName, away: &RosterEntry) {
        self.unlist(room, away);
        self.notice(room, Notice::Left(away.account.clone()));
        self.settle_members(room);
    }

    pub(super) fn place_of(&self, session: SessionId) -> Option<(RoomName, RosterEntry)> {
        let found = self.sessions.get(&session)?;
        Some((found.room()?.clone(), found.member()?.entry()?))
    }

    pub(super) fn step_out(&mut self, session: SessionId) {
        self.sessions.get_mut(&session).into_iter().for_each(|found| found.step_out());
    }

    /// Tells a room of what changed, or collects it if the room is large.
    pub(super) fn settle_members(&mut self, room: &RoomName) {
        let Some(live) = self.rooms.get_mut(room) else { return };
        let changes = live.roster.changes().len();
        if live.roster.len() <= MAX_LISTED || changes >= MAX_CHANGES {
            self.tell_members(room);
        } else if changes > 0 && live.due.is_none() {
            let due = self.now.elapsed + COLLECT;
            live.due = Some(due);
            self.timers.set(due, Timer::Collected(room.clone()));
        }
    }

    /// What was collected is due.
    pub(super) fn collected(&mut self, room: &RoomName) {
        let due = self.rooms.get(room).and_then(|live| live.due);
        if due.is_some_and(|due| due <= self.now.elapsed) {
            self.tell_members(room);
        }
    }

    /// Writes what changed to the log and tells it. A room in which nobody is listed any more is closed.
    pub(super) fn tell_members(&mut self, room: &RoomName) {
        let Some(live) = self.rooms.get_mut(room) else { return };
        if live.roster.len() == 0 {
            self.rooms.remove(room);
            return;
        }
        live.due = None;
        let changes = live.roster.take_changes();
        if changes.len() == 0 {
            return;
        }
        let told = live.write_changes(&self.realm, &changes, self.now.elapsed);
        let of = live.modern_but(&changes.joined.iter().filter_map(|joined| joined.waiting).collect());
        if !of.is_empty() {
            let listed = live.roster.len() <= MAX_LISTED;
            let event = members_event(room, self.now.unix_ms, listed, &told, &changes.joined, changes.removed);
            self.effects.push(Effect::Tell(Audience::All { of, except: None }, Box::new(event)));
        }
        for Joined { entry, waiting } in changes.joined {
            if let Some(session) = waiting {
                self.let_in(session, room, &entry, &told);
            }
        }
    }

    /// Answers a join: the session is told everything from here on.
    fn let_in(&mut self, session: SessionId, room: &RoomName, entry: &RosterEntry, told: &Told) {
        let kept = self.directory.rooms().get(room); // a room is told of its members before it is removed
        let (Some(kept), Some(live)) = (kept, self.rooms.get_mut(room)) else { return };
        live.seat(session, entry);
        let join = JoinOk {
            room: room.clone(),
            room_id: live.id,
            n: told.n,
            before: told.before,
            joined: told.joined.clone(),
            removed: told.removed.clone(),
            roster: told.roster,
            count: live.roster.len() as u64,
            topic: Text::sanitize(&kept.topic),
            owner: kept.owner.clone(),
            modern_only: kept.modern_only,
            counter: live.counters.last(&entry.account, entry.run).map(|taken| taken.counter),
            time: self.now.unix_ms,
        };
        self.done(session, OkBody::Join(join));
        let Some(found) = self.sessions.get_mut(&session) else { return };
        if matches!(found.pending, Some(Pending::Join)) {
            found.pending = None;
            self.effects.push(Effect::Ready(session));
        }
    }

    /// A join that is collected with others is answered with them.
    fn wait_for_news(&mut self, session: SessionId, room: &RoomName) {
        let live = self.rooms.get(room);
        let waits = live.is_some_and(|live| live.roster.changes().joined.iter().any(|j| j.waiting == Some(session)));
        if waits && let Some(found) = self.sessions.get_mut(&session) {
            found.pending = Some(Pending::Join);
        }
    }
}

/// The event of a change: by name where the room is small and a line holds it.
fn members_event(
    room: &RoomName,
    time: u64,
    listed: bool,
    told: &Told,
    joined: &[Joined],
    removed: Vec<RosterEntry>,
) -> Event {
    let event =
        |changes| Event::Members(MembersEvent { room: room.clone(), n: told.n, time, roster: told.roster, changes });
    if listed {
        let joined = joined.iter().map(|joined| joined.entry.clone()).collect();
        let listed = event(Changes::Listed { joined, removed });
        if fits(&listed) {
            return listed;
        }
    }
    let (joined, removed) = (told.joined.len() as u64, told.removed.len() as u64);
    event(Changes::Hashed { joined, removed, changes: told.changes })
}
