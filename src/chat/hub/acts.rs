//! Acts: what members do to a room and to each other, signed and in the log.

use crate::chat::bundles::hash_of;
use crate::chat::hub::Hub;
use crate::chat::hub::creations::is_typable;
use crate::chat::hub::messages::accepted;
use crate::chat::hub::saving::{Outcome, Wanted};
use crate::chat::hub::session::Pending;
use crate::chat::room::{LiveRoom, Place, Taken, Verdict};
use crate::chat::{Change, MAX_TOPIC, SessionId, Subject, Verifier, Work};
use crate::names::{RoomName, UserName};
use crate::protocol::modern::{
    ActEvent, ActProof, ActRequest, ActStamp, Author, Deed, ErrorCode, Event, OkBody, RemovedWhy,
};
use crate::protocol::{Notice, Reply};
use crate::transcript::{self, RoomId, RosterEntry, Verb};

/// Most bytes of the reason of a kick.
const MAX_REASON: usize = 256;

/// The one flag that a room may have.
const MODERN_ONLY: &str = "modern-only";

/// An act that was found in order.
#[derive(Debug)]
pub(super) struct Deeded {
    room: RoomName,
    /// Another room may have the name by the time when it is done.
    id: RoomId,
    author: Author,
    deed: Deed,
    /// The user whom it is done to, as stored.
    target: UserName,
    stamp: ActStamp,
}

impl Deeded {
    /// Whether a run did it in a room.
    pub(super) fn is_by(&self, author: &Author, room: &RoomName) -> bool {
        (&self.author.user, self.author.reader.run) == (&author.user, author.reader.run) && self.room == *room
    }
}

/// Whether a verb names a user.
const fn is_targeted(verb: Verb) -> bool {
    matches!(verb, Verb::Kick | Verb::Ban | Verb::Unban | Verb::Mute | Verb::Unmute)
}

impl Hub {
    pub(super) fn act(&mut self, session: SessionId, act: ActRequest) {
        let (Some(room), Some(author)) = (self.room_of(session).cloned(), self.author(session)) else { return };
        let ActRequest { deed, stamp, secret, resend, .. } = act;
        let verdict = self.judge(session, &room, stamp.counter, resend);
        if let Some(Verdict::Duplicate(taken)) = verdict {
            return self.done(session, OkBody::Act(accepted(taken, true)));
        }
        let target = self.directory.stored_user(&UserName::new(deed.target.as_str()));
        let Some(id) = self.rooms.get(&room).map(|live| live.id) else { return };
        let act = Box::new(Deeded { room, id, author, deed, target, stamp });
        let refused = self.deed_refused(&act).or_else(|| match (act.deed.verb, &secret) {
            (Verb::Password, None) => Some(ErrorCode::BadRequest),
            (Verb::Password, Some(secret)) if !is_typable(secret) => Some(ErrorCode::BadPassword),
            _ => self.stamp_refused(&act, verdict),
        });
        match (refused, secret) {
            (Some(code), _) => self.refuse(session, code),
            (None, Some(secret)) if act.deed.verb == Verb::Password => {
                self.work(session, Pending::HashRoom(act), Work::Hash(secret));
            }
            (None, _) => match self.change_of(&act) {
                Some(change) => self.store_act(session, act, change),
                None => self.perform(session, *act),
            },
        }
    }

    /// What stands against what is to be done.
    fn deed_refused(&self, act: &Deeded) -> Option<ErrorCode> {
        let Deeded { room, author, deed, target, .. } = act;
        if !self.may(&author.user, room, deed.verb, target) {
            return Some(ErrorCode::Forbidden);
        }
        if is_targeted(deed.verb) && !self.directory.users().contains_key(target) {
            return Some(ErrorCode::NoSuchUser);
        }
        let is_here = || self.rooms.get(room).is_some_and(|live| live.roster.of(target).next().is_some());
        if deed.verb == Verb::Kick && !is_here() {
            return Some(ErrorCode::NotHere);
        }
        (!is_well_formed(deed)).then_some(ErrorCode::BadRequest)
    }

    /// Owner and god may do everything, but nothing to god, and to the owner only god may.
    fn may(&self, user: &UserName, room: &RoomName, verb: Verb, target: &UserName) -> bool {
        let owner = self.directory.rooms().get(room).and_then(|kept| kept.owner.as_ref());
        let rules = user.is_god() || owner == Some(user);
        let is_protected = target.is_god() || (owner == Some(target) && !user.is_god());
        verb == Verb::Leave || (rules && !(is_targeted(verb) && is_protected))
    }

    /// What stands against the counter and the position. To leave, nobody has to be up to date.
    fn stamp_refused(&mut self, act: &Deeded, verdict: Option<Verdict>) -> Option<ErrorCode> {
        if let Some(Verdict::OutOfOrder(expected)) = verdict {
            return Some(ErrorCode::OutOfOrder { expected });
        }
        let is_stale = act.deed.verb != Verb::Leave && !self.is_current(&act.room, &act.stamp.at);
        is_stale.then_some(ErrorCode::Stale)
    }

    /// What an act changes for good; a new password is hashed before.
    fn change_of(&self, act: &Deeded) -> Option<Change> {
        let (room, user, argument) = (act.room.clone(), act.target.clone(), act.deed.argument.as_str());
        let at = self.now.unix_ms / 1000;
        let until = argument.parse().ok().map(|seconds: u64| at.saturating_add(seconds));
        Some(match act.deed.verb {
            Verb::Ban => Change::Ban { room, user, until, at },
            Verb::Unban => Change::Unban { room, user },
            Verb::Mute => Change::Mute { room, user, until, at },
            Verb::Unmute => Change::Unmute { room, user },
            Verb::Topic => Change::SetTopic { room, topic: argument.to_owned() },
            Verb::Flags => Change::SetRoomFlags { room, modern_only: argument == MODERN_ONLY },
            Verb::Delete => Change::RemoveRoom { room },
            Verb::Kick | Verb::Leave | Verb::Password => return None,
        })
    }

    fn store_act(&mut self, session: SessionId, act: Box<Deeded>, change: Change) {
        let wanted = Wanted { session: Some(session), change, instead_of: None };
        self.wait_for_store(session, Pending::StoreAct(act), wanted);
    }

    pub(super) fn store_room_password(&mut self, session: SessionId, act: Box<Deeded>, password: Verifier) {
        let room = act.room.clone();
        match self.rooms.get(&room) {
            Some(live) if live.id == act.id && self.room_of(session) == Some(&room) => {
                self.store_act(session, act, Change::SetRoomPassword { room, password });
            }
            _ => self.refuse(session, ErrorCode::JoinFirst), // the room, or its author's stay, ended while it was hashed
        }
    }

    /// Goes on with an act whose change was to be saved; its author may be gone.
    pub(super) fn settle_act(&mut self, session: SessionId, act: Deeded, outcome: Outcome) {
        let (author, room) = (act.author.clone(), act.room.clone());
        match outcome {
            Outcome::Made => self.perform(session, act),
            Outcome::Unfit if matches!(act.deed.verb, Verb::Ban | Verb::Mute) => {
                self.refuse(session, ErrorCode::TooLarge); // there is no place for another
            }
            Outcome::NotSaved | Outcome::Unfit => self.refuse(session, ErrorCode::NotSaved),
        }
        self.join_after_act(&author, &room);
    }

    /// Writes an act to the log, tells it, answers it, and does what follows from it. One whose author was put out while it
    /// was saved is told without a signature: nobody would take one from somebody who is not there.
    fn perform(&mut self, session: SessionId, act: Deeded) {
        self.tell_members(&act.room);
        let is_there = |live: &LiveRoom| live.roster.has_run(&act.author.user, act.author.reader.run);
        let is_signed = self.rooms.get(&act.room).is_some_and(is_there);
        let taken = self.log_act(&act, is_signed);
        let Deeded { room, author, deed, target, stamp, .. } = act;
        let Taken { n, time, .. } = taken;
        let (user, verb) = (author.user.clone(), deed.verb);
        let proof = is_signed.then_some(ActProof { reader: author.reader, stamp });
        let event = ActEvent { room: room.clone(), n, time, user: author.user, deed, proof };
        self.tell_room(&room, Some(session), Event::Act(event));
        self.done(session, OkBody::Act(accepted(taken, false)));
        match verb {
            Verb::Kick => self.put_out_user(&room, &target, &user, RemovedWhy::Kicked),
            Verb::Ban => self.put_out_user(&room, &target, &user, RemovedWhy::Banned),
            Verb::Flags => self.put_out_legacy(&room),
            Verb::Delete => self.put_out_all(&room, &user),
            Verb::Password => self.overtake(&Subject::Room(room)),
            Verb::Leave => self.leave_room(session),
            Verb::Unban | Verb::Mute | Verb::Unmute | Verb::Topic => {}
        }
    }

    fn log_act(&mut self, act: &Deeded, is_signed: bool) -> Taken {
        let Deeded { room, author, deed, stamp, .. } = act;
        let (counter, time) = (stamp.counter, self.now.unix_ms);
        // While its change was saved, everybody may have gone.
        let Some(live) = self.rooms.get_mut(room) else { return Taken { counter, n: 0, time } };
        live.log.write(&transcript::Event::Act {
            account: &author.user,
            verb: deed.verb,
            target: deed.target.as_str(),
            argument: deed.argument.as_str(),
            signature: is_signed.then_some(&stamp.signature),
        });
        match deed.verb {
            Verb::Kick | Verb::Ban => live.log.put_out(),
            Verb::Leave => live.log.let_go(self.now.elapsed),
            _ => {}
        }
        let taken = Taken { counter, n: live.log.head().n, time };
        live.counters.take(&author.user, author.reader.run, taken);
        taken
    }

    fn put_out_user(&mut self, room: &RoomName, target: &UserName, by: &UserName, why: RemovedWhy) {
        let entries = self.entries_of(room, |entry| entry.account == *target);
        let count = entries.len();
        let reply = Reply::PutOut { room: room.clone(), by: by.clone() };
        entries.into_iter().for_each(|(entry, place)| self.put_out(room, &entry, place, why, &reply));
        (0..count).for_each(|_| self.notice(room, Notice::Left(target.clone())));
        self.settle_members(room);
    }

    /// Takes an entry off the list and tells its session, each wire in its words.
    fn put_out(&mut self, room: &RoomName, entry: &RosterEntry, place: Place, why: RemovedWhy, reply: &Reply) {
        self.unlist(room, entry);
        if let Place::Here(session) = place {
            self.tell_put_out(session, room, why, reply);
        }
    }

    fn tell_put_out(&mut self, session: SessionId, room: &RoomName, why: RemovedWhy, reply: &Reply) {
        self.step_out(session);
        if self.is_modern(session) {
            self.tell_one(session, Event::Removed { room: room.clone(), why });
        } else {
            self.reply(session, reply.clone());
        }
    }

    /// A room that takes modern members alone puts the others out.
    fn put_out_legacy(&mut self, room: &RoomName) {
        if !self.directory.rooms().get(room).is_some_and(|kept| kept.modern_only) {
            return;
        }
        let reply = Reply::ModernOnly(room.clone());
        for (entry, place) in self.entries_of(room, |entry| entry.key.bundle().is_none()) {
            self.put_out(room, &entry, place, RemovedWhy::ModernOnly, &reply);
        }
        self.settle_members(room);
    }

    /// A room that is deleted ends with everything in it: nobody is left who would have to hear of the others' going.
    fn put_out_all(&mut self, room: &RoomName, by: &UserName) {
        self.overtake(&Subject::Room(room.clone()));
        let reply = Reply::PutOut { room: room.clone(), by: by.clone() };
        let Some(live) = self.rooms.remove(room) else { return };
        for listed in live.roster.iter() {
            hash_of(&listed.entry.key).iter().for_each(|hash| self.bundles.release(hash));
            if let Place::Here(session) = listed.place {
                self.tell_put_out(session, room, RemovedWhy::Deleted, &reply);
            }
        }
    }

    fn entries_of(&self, room: &RoomName, which: impl Fn(&RosterEntry) -> bool) -> Vec<(RosterEntry, Place)> {
        let entries = self.rooms.get(room).into_iter().flat_map(|live| live.roster.iter());
        entries.filter(|listed| which(&listed.entry)).map(|l| (l.entry.clone(), l.place)).collect()
    }
}

/// Whether target and argument are what the verb takes.
fn is_well_formed(deed: &Deed) -> bool {
    let argument = deed.argument.as_str();
    let is_duration =
        argument.is_empty() || (argument.bytes().all(|b| b.is_ascii_digit()) && argument.parse::<u64>().is_ok());
    let fits = match deed.verb {
        Verb::Kick => argument.len() <= MAX_REASON,
        Verb::Ban | Verb::Mute => is_duration,
        Verb::Topic => argument.len() <= MAX_TOPIC,
        Verb::Flags => argument.is_empty() || argument == MODERN_ONLY,
        Verb::Unban | Verb::Unmute | Verb::Password | Verb::Delete | Verb::Leave => argument.is_empty(),
    };
    fits && (is_targeted(deed.verb) || deed.target.as_str().is_empty())
}
