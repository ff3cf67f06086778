//! The room that this client is in: entering it, who comes and goes, how it is left.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::answers::is_stored_form;
use super::log::{Judged, RoomLog};
use super::members::Gone;
use super::requests::Asked;
use super::roster::{MOST_ENTRIES, Roster};
use super::sent::barred;
use super::task::Task;
use super::{MOST_ROOMS, Machine, RequestBody};
use crate::client::alarm::{Alarm, counted};
use crate::client::people::RoomSeen;
use crate::client::shown::Room;
use crate::names::{Password, RoomName, Text, UserName};
use crate::protocol::modern::{ErrorCode, JoinOk, MAX_LISTED, RemovedWhy};
use crate::transcript::{ChangesHash, EntryKey, Event, Position, RoomId, RosterEntry, RunId, changes_hash};

/// Most announced leavings whose removal has not come.
const MOST_LEAVING: usize = 1_024;

/// How long the server may list somebody whose going was signed before that is said.
pub(super) const GOING: Duration = Duration::from_secs(10);

/// Why nothing is sent in the room any more, until the next join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The log is another than somebody else's.
    Split,
    /// The log can be followed no further.
    Broken,
}

/// Somebody who goes by an act, and whose removal is to come.
struct Leaving {
    /// The act, by its place in the room's log.
    n: u64,
    /// When it came.
    since: Duration,
    /// Whether its signature is known to hold.
    signed: bool,
    /// Whether the act tells of the removal, which needs no words then: a leave does, whatever becomes of its signature.
    told: bool,
}

/// The own stay in a room.
pub(super) struct Stay {
    pub(super) room: RoomName,
    pub(super) id: RoomId,
    /// For the return.
    pub(super) password: Option<Password>,
    pub(super) log: RoomLog,
    pub(super) roster: Roster,
    pub(super) gone: Gone,
    pub(super) stopped: Option<Stopped>,
    pub(super) topic: Text,
    pub(super) modern_only: bool,
    /// Whether legacy members get nothing.
    pub(super) bars_legacy: bool,
    /// Everyone for whom is known that what is written next can be read: the roster and the trust as of which.
    pub(super) prepared: Option<u64>,
    /// Whom the person was told can read, with which keys.
    pub(super) told_readers: BTreeSet<(UserName, [u8; 32])>,
    /// Who was said to be left out.
    pub(super) told_left_out: BTreeSet<(UserName, [u8; 32])>,
    /// Who was said to go since: if they can read, they are named. At most [`MOST_ENTRIES`].
    pub(super) told_gone: BTreeSet<UserName>,
    pub(super) told_legacy_inside: bool,
    /// Whether the person was told that nobody can read.
    pub(super) told_alone: bool,
    /// Who goes by an act.
    leaving: BTreeMap<(UserName, RunId), Leaving>,
    /// When it began.
    pub(super) since: Duration,
    /// Whether this client was here before.
    pub(super) is_return: bool,
    /// Whether the connection was lost meanwhile.
    away: bool,
}

impl Stay {
    /// Whether a signed place is this client's, too.
    pub(super) fn judge(&self, at: &Position) -> Judged {
        self.log.judge(at)
    }

    /// The act at a place puts an account out, given as typed, of which those count who are known to be listed then: who
    /// comes back meanwhile is not meant.
    pub(super) fn note_put_out(&mut self, typed: &UserName, n: u64, now: Duration) {
        self.forget_typed(typed);
        if !self.roster.is_full() {
            return; // whoever was listed last may have gone, and come back, before
        }
        let meant = self.roster.entries().filter(|listed| is_stored_form(&listed.entry.account, typed));
        let meant: Vec<_> = meant.map(|listed| (listed.entry.account.clone(), listed.entry.run)).collect();
        for (account, run) in meant {
            self.note(account, run, Leaving { n, since: now, signed: false, told: false });
        }
    }

    /// Somebody leaves by the act at a place, which is checked later.
    pub(super) fn note_leaving(&mut self, account: UserName, run: RunId, n: u64, now: Duration) {
        self.forget_told(&account);
        self.note(account, run, Leaving { n, since: now, signed: false, told: true });
    }

    /// The signature of the act at a place holds: whoever goes by it is no reader any more, and the removal needs no words.
    pub(super) fn going_is_signed(&mut self, n: u64) {
        let going = self.leaving.values_mut().filter(|leaving| leaving.n == n);
        going.for_each(|leaving| (leaving.signed, leaving.told) = (true, true));
    }

    fn note(&mut self, account: UserName, run: RunId, leaving: Leaving) {
        let is_full = self.leaving.len() >= MOST_LEAVING;
        match self.leaving.entry((account, run)) {
            Entry::Occupied(known) if known.get().signed => {}
            Entry::Occupied(mut known) => drop(known.insert(leaving)),
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(free) => drop(free.insert(leaving)),
        }
    }

    /// Somebody is said to go: if the account is listed still, or again, that is said before it can read on.
    pub(super) fn forget_told(&mut self, account: &UserName) {
        self.prepared = None;
        self.told_left_out.retain(|(told, _)| told != account);
        let before = self.told_readers.len();
        self.told_readers.retain(|(told, _)| told != account);
        if self.told_readers.len() < before && self.told_gone.len() < MOST_ENTRIES {
            self.told_gone.insert(account.clone());
        }
    }

    /// Somebody came: that it went before does not count any more.
    pub(super) fn came(&mut self, entry: &RosterEntry) {
        self.leaving.remove(&(entry.account.clone(), entry.run));
    }

    /// The same of an account that is given as typed.
    pub(super) fn forget_typed(&mut self, typed: &UserName) {
        self.forget_told(typed);
        self.forget_told(&typed.normalized());
    }

    /// Somebody went; whether that was said, or will be.
    pub(super) fn went(&mut self, entry: &RosterEntry) -> bool {
        self.forget_told(&entry.account);
        self.leaving.remove(&(entry.account.clone(), entry.run)).is_some_and(|leaving| leaving.told)
    }

    /// Some went, and nobody knows who: whoever is listed after that may have come back.
    pub(super) fn some_went(&mut self) {
        self.leaving.clear();
    }

    /// For how long somebody who is listed has been going, if that was signed.
    pub(super) fn going_for(&self, entry: &RosterEntry, now: Duration) -> Option<Duration> {
        let leaving = self.leaving.get(&(entry.account.clone(), entry.run)).filter(|leaving| leaving.signed)?;
        Some(now.saturating_sub(leaving.since))
    }

    /// Whom the author at a place did not know to be gone.
    pub(super) fn gone_after(&self, at: &Position, now: Duration) -> Option<Option<UserName>> {
        self.gone.after(at.n, now).cloned()
    }
}

impl Machine {
    /// Asks to be let into a room; `left` is the one that was left for it.
    pub(super) fn join(&mut self, room: RoomName, password: Option<Password>, left: Option<RoomName>) {
        let asked = Asked::Join { password: password.clone(), room: room.clone(), left };
        self.request(asked, RequestBody::Join { room, password });
    }

    /// The answer to a join, which comes in the place of the own joining in the room's log.
    pub(super) fn joined(&mut self, ok: JoinOk, asked: &RoomName, password: Option<Password>) {
        let Some(own) = self.own() else { return };
        let entry = RosterEntry { account: own.name.clone(), key: EntryKey::Modern(own.bundle.hash()), run: self.run };
        if ok.room != *asked && ok.room.normalized() != asked.normalized() {
            return self.broken_server("the server let you into another room than you asked for");
        }
        let changes = changes_hash(ok.joined.iter().copied(), ok.removed.iter().copied());
        let count = |changes: &[_]| changes.len() as u64;
        let event = members(count(&ok.joined), count(&ok.removed), changes, &ok);
        let Some(before) = ok.n.checked_sub(1) else { return self.broken_server("the server numbers from nothing") };
        let before = Position { n: before, log: ok.before };
        let log = match RoomLog::join(before, &event, &ok.joined, entry.change(true)) {
            Ok(log) => log,
            Err(broken) => {
                self.leave_room();
                return self.alarm(Alarm::LogBroken(broken));
            }
        };
        if self.rooms.len() >= MOST_ROOMS && !self.rooms.contains_key(&ok.room_id) {
            self.leave_room();
            return self.say("You have entered too many rooms to keep count in another: start this program again.");
        }
        let was_visited = self.rooms.contains_key(&ok.room_id);
        let opened = self.meet_room(&ok) == RoomSeen::Opened;
        let was_listed = ok.removed.contains(&entry.change(false));
        let stopped = self.compare_log(ok.room_id, before, log.head(), was_listed);
        if self.stay.as_ref().is_some_and(|stay| stay.id != ok.room_id) {
            self.leave_room();
            // What was typed before the return was for the other room of this name.
            self.misplaced = true;
            self.drop_message("the room is another one");
        }
        let was_here = self.stay.take();
        let is_return = was_here.is_some();
        // What stopped, and whom it left out, holds until the person joins again: a lost connection is no such word.
        let before_return = was_here.as_ref().filter(|_| self.link.is_returning_to_room());
        let stopped = stopped.or(before_return.and_then(|stay| stay.stopped));
        let bars_legacy = ok.modern_only || opened || before_return.is_some_and(|stay| stay.bars_legacy);
        // What was not taken is sealed again, as of now: those who came meanwhile could not read it, nor know its place.
        let next = self.rooms.get(&ok.room_id).map(|memory| memory.outgoing.next_counter());
        let is_taken = ok.counter.is_some_and(|taken| next.is_some_and(|next| taken >= next));
        match &mut self.task {
            Some(Task::Say(say)) if !is_return || !is_taken => say.start_over(),
            // A leave that was taken was one from the stay before, and has to be said again.
            Some(Task::Act(act)) if !is_return || !is_taken || act.leaves() => act.start_over(),
            _ => {}
        }
        let known = was_here.map(|stay| {
            let roster = stay.roster.still(&ok.roster, log.head());
            (roster, stay.told_readers, stay.told_left_out, stay.told_gone)
        });
        let (roster, told_readers, told_left_out, told_gone) = known.unwrap_or_default();
        let roster = roster.unwrap_or_else(|| Roster::new(self.realm, ok.room_id, ok.room.clone(), ok.roster));
        self.note_counter(ok.room_id, ok.counter);
        let is_listed = roster.is_full();
        self.stay = Some(Stay {
            roster,
            id: ok.room_id,
            password,
            log,
            gone: Gone::default(),
            stopped,
            topic: ok.topic,
            modern_only: ok.modern_only,
            bars_legacy,
            prepared: None,
            told_readers,
            told_left_out,
            told_gone,
            told_legacy_inside: false,
            told_alone: false,
            leaving: BTreeMap::new(),
            since: self.now.elapsed,
            is_return: was_visited,
            away: false,
            room: ok.room,
        });
        self.tell_of_room(ok.count);
        if is_listed {
            self.check_roster();
        } else if ok.count <= MAX_LISTED as u64 {
            self.ask_who(); // from then on, its changes say by name who is there
        }
    }

    /// Another room of the name, or one that has been opened to the old wire, is said to be so.
    fn meet_room(&mut self, ok: &JoinOk) -> RoomSeen {
        let seen = self.people.meet_room(&ok.room, ok.room_id, ok.modern_only);
        match seen {
            RoomSeen::First | RoomSeen::Known => {}
            RoomSeen::Another => self.alarm(Alarm::OtherRoom(ok.room.clone())),
            RoomSeen::Opened => self.alarm(Alarm::Opened(ok.room.clone())),
        }
        seen
    }

    /// Compares what the server says of the time before with what this client saw itself, and says what was missed. A log begins
    /// anew when nobody is left in the room, and with the server: never while this client was listed.
    fn compare_log(&mut self, id: RoomId, before: Position, head: Position, was_listed: bool) -> Option<Stopped> {
        if self.rooms.contains_key(&id) {
            // Even where nothing was missed: what others signed before they saw the return is passed over.
            self.counters.was_away(id);
        }
        let last = self.rooms.entry(id).or_default().last.replace(head)?;
        match before.n.checked_sub(last.n) {
            Some(0) if before == last => {}
            Some(missed @ 1..) => {
                let missed = usize::try_from(missed).unwrap_or(usize::MAX);
                let events = counted(missed, "event of the room was", "events of the room were");
                self.say(format!("{events} missed since you were here last."));
            }
            Some(0) | None if was_listed => {
                self.alarm(Alarm::LogChanged);
                return Some(Stopped::Split);
            }
            Some(0) | None => self.say(
                "The room's log has begun anew since you were here last: nobody was in it for a while, or the server was \
                 started again.",
            ),
        }
        None
    }

    /// What was said last on a lost connection may have been taken: its counter is used, then.
    fn note_counter(&mut self, id: RoomId, counter: Option<u64>) {
        let in_flight = matches!(&self.task, Some(Task::Say(say)) if say.is_in_flight())
            || matches!(&self.task, Some(Task::Act(act)) if act.is_in_flight());
        let outgoing = &mut self.rooms.entry(id).or_default().outgoing;
        if !in_flight && counter == Some(outgoing.next_counter()) {
            outgoing.advance();
        }
    }

    fn tell_of_room(&mut self, count: u64) {
        let Some(stay) = &self.stay else { return };
        let room = Room(&stay.room);
        let kind = if stay.modern_only { ", which keeps the old wire out" } else { "" };
        let sessions = counted(usize::try_from(count).unwrap_or(usize::MAX), "session is here", "sessions are here");
        let words = format!("You are in {room}{kind}. {sessions}.");
        let topic = (!stay.topic.as_str().is_empty()).then(|| format!("Topic: {}", stay.topic));
        self.say(words);
        topic.into_iter().for_each(|topic| self.server_says(&topic));
    }

    /// The room could not be entered.
    pub(super) fn not_joined(&mut self, room: &RoomName, left: Option<RoomName>, code: ErrorCode, text: &Text) {
        self.misplaced = true;
        let why = self.why_refused(code, text);
        if let Some(stay) = &self.stay
            && stay.away
        {
            let room = Room(&stay.room).to_string();
            self.leave_room();
            self.say(format!("You are not in {room} any more: {why}. /join it again."));
            return self.drop_task("you are in no room any more");
        }
        let why = match code {
            ErrorCode::Banned { until } => barred("banned", until, self.now.unix),
            _ => why,
        };
        self.cannot(format!("{} is not entered: {why}.", Room(room)));
        // Nobody goes back by itself: what is typed next may be meant for the other room still.
        if let Some(left) = left {
            self.say(format!("You have left {} for it: /join it again to go back.", Room(&left)));
        }
    }

    /// Asks for the members, who are needed before something is said.
    pub(super) fn ask_who(&mut self) {
        let Some(stay) = &self.stay else { return };
        let (room, id) = (stay.room.clone(), stay.id);
        self.request(Asked::Who { room: id }, RequestBody::Who { room });
    }

    /// Somebody was put out, as is signed or said.
    pub(super) fn note_kick(&mut self, n: u64, target: &UserName) {
        let now = self.now.elapsed;
        let Some(stay) = &mut self.stay else { return };
        stay.gone.add(n, now, Some(target.clone()), true);
        stay.note_put_out(target, n, now);
        let id = stay.id;
        self.rooms.entry(id).or_default().outgoing.expel(target);
    }

    /// Moves the log by an event of the room. `false` when it cannot be followed.
    pub(super) fn follow(&mut self, n: u64, event: &Event<'_>) -> bool {
        let Some(stay) = &mut self.stay else { return false };
        if stay.log.is_broken() {
            return false;
        }
        if let Err(broken) = stay.log.push(n, event) {
            stay.stopped = Some(Stopped::Broken);
            self.stop(Stopped::Broken);
            self.alarm(Alarm::LogBroken(broken));
            return false;
        }
        let head = stay.log.head();
        if !matches!(event, Event::Members { .. }) {
            stay.roster.stays(head);
        }
        if stay.stopped.is_none() {
            self.rooms.entry(stay.id).or_default().last = Some(head);
        }
        true
    }

    /// The log is not that of the others.
    pub(super) fn stop(&mut self, why: Stopped) {
        if let Some(stay) = &mut self.stay {
            stay.stopped.get_or_insert(why);
            // That was said: at the next join it is no news that the log is another.
            self.rooms.entry(stay.id).or_default().last = None;
        }
    }

    /// The own stay, if an event is of its room.
    pub(super) fn stay_of(&mut self, room: &RoomName) -> Option<&mut Stay> {
        if self.stay.as_ref().is_none_or(|stay| stay.room != *room) {
            self.alarm(Alarm::ElsewhereEvent(room.clone()));
            return None;
        }
        self.stay.as_mut()
    }

    /// The server put this session out of its room.
    pub(super) fn removed(&mut self, room: &RoomName, why: RemovedWhy) {
        if self.stay_of(room).is_none() {
            return;
        }
        let why = match why {
            RemovedWhy::Kicked => "you were kicked",
            RemovedWhy::Banned => "you were banned",
            RemovedWhy::Deleted => "it was deleted",
            RemovedWhy::ModernOnly => "it keeps the old wire out now",
        };
        self.server_says(&format!("You are not in {} any more: {why}.", Room(room)));
        self.leave_room();
        self.drop_message("you are in no room any more");
    }

    /// This client is in no room any more.
    pub(super) fn leave_room(&mut self) {
        self.stay = None;
        self.heard.clear();
        self.keys.forget_wishes();
        // Direct messages, either way, wait for their keys nevertheless.
        self.keys_came();
        self.hear_on();
    }

    /// The connection is lost: the stay goes on, as far as the others see, if the return is quick.
    pub(super) fn stay_away(&mut self) {
        if let Some(stay) = &mut self.stay {
            stay.away = true;
        }
    }
}

fn members(joined: u64, removed: u64, changes: ChangesHash, ok: &JoinOk) -> Event<'static> {
    Event::Members { joined, removed, changes, roster: ok.roster }
}

/// Whether a room's log is one that this client can go on with.
pub(super) fn why_stopped(stopped: Stopped) -> &'static str {
    match stopped {
        Stopped::Split => "people are shown different rooms, see the warning above. /join again to go on",
        Stopped::Broken => "the room's log is broken, see the warning above. /join again to go on",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::modern::Broken;

    #[test]
    fn a_broken_log_says_what_to_do() {
        for stopped in [Stopped::Split, Stopped::Broken] {
            assert!(why_stopped(stopped).contains("/join again"));
        }
        assert_ne!(Alarm::LogBroken(Broken::NotJoined).to_string(), Alarm::LogChanged.to_string());
    }
}
