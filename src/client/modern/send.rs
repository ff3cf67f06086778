//! The sender: from a line to a statement that the server took. In the steady state, with the epoch given to all and no
//! legacy member, a message costs a seal and a signature, whatever the room's size.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use zeroize::Zeroizing;

use super::jobs::{Job, Target, WRAPS, WrapJob};
use super::readers::Readers;
use super::requests::Asked;
use super::room::{Stay, why_stopped};
use super::say::{LONG, Say, Wait};
use super::seal::{Place, Sealed, longest_beside, longest_padded};
use super::sent::barred;
use super::signed::author_of;
use super::task::{Step, Task};
use super::{Machine, Output, RequestBody};
use crate::client::packages;
use crate::crypto::ChainKey;
use crate::names::Text;
use crate::protocol::modern::{
    Accepted, EncryptedKeys, ErrorCode, GrantRequest, GrantStamp, Reader, RequestType, SendRequest, Wraps, split_wraps,
};
use crate::transcript::{self, Event, MessageHash, Position};

/// How often something that the server finds outdated is sealed again.
const ATTEMPTS: u32 = 3;

/// How often the members are asked for because they changed meanwhile. Then what is known is signed with its own place in the
/// log: who came later gets the key of the next message.
const ROUNDS: u32 = 3;

/// How long grants wait for the server's budget.
const BUDGET: Duration = Duration::from_secs(15);

impl Machine {
    /// Takes the next step towards the message under way.
    pub(super) fn step_say(&mut self) -> Step {
        let Some(Task::Say(say)) = &mut self.task else { return Step::Goes };
        match say.wait {
            Wait::Nothing => {}
            Wait::Until(until) if until <= self.now.elapsed => say.wait = Wait::Nothing,
            _ => return Step::Waits,
        }
        if let Some(why) = self.why_silent() {
            self.drop_task(why);
            return Step::Goes;
        }
        if let Some(Task::Say(Say { in_flight: Some(sealed), .. })) = &self.task {
            let resent = Sealed { request: SendRequest { resend: true, ..sealed.request.clone() }, ..sealed.clone() };
            self.send(resent);
            return Step::Waits;
        }
        match self.prepare() {
            Some(at) => self.seal(at),
            None if self.task.is_some() => Step::Waits,
            None => Step::Goes, // it was given up
        }
    }

    /// Why nothing can be said here.
    fn why_silent(&self) -> Option<&'static str> {
        match (&self.account, &self.stay) {
            (None, _) => Some("/login first"),
            (_, None) => Some("/join a room first"),
            (_, Some(Stay { stopped: Some(stopped), .. })) => Some(why_stopped(*stopped)),
            _ => None,
        }
    }

    /// Does what has to be done before a message may be sealed: all who are to read it hold the epoch, and nobody else does.
    /// Gives the place in the log as of which that is so; `None` while something is awaited.
    fn prepare(&mut self) -> Option<Position> {
        let stay = self.stay.as_ref()?;
        let is_worn_out = self.rooms.get(&stay.id).is_none_or(|memory| memory.outgoing.is_worn_out(self.now.elapsed));
        if stay.roster.is_full() && stay.prepared == Some(stay.roster.version()) && !is_worn_out {
            return stay.roster.as_of();
        }
        if !self.has_roster() {
            return None;
        }
        let at = self.stay.as_ref()?.roster.as_of()?;
        let Some(Task::Say(say)) = &self.task else { return None };
        let unusable = say.unusable.clone();
        let readers = match self.readers(&unusable) {
            Ok(readers) => readers,
            Err((missing, total)) => {
                self.wait_for_keys(missing, total);
                return None;
            }
        };
        let missing = self.renew_epoch(&readers);
        if self.wrap(&readers, &missing) || self.grant(&readers, &missing, at) {
            return None;
        }
        let stay = self.stay.as_mut()?;
        // With a legacy member, each message has a key to be wrapped; its length decides about the text.
        let is_steady = readers.legacy.is_empty() && !readers.somebody_goes && stay.roster.is_full();
        stay.prepared = is_steady.then_some(stay.roster.version());
        Some(at)
    }

    fn wait_for_keys(&mut self, missing: usize, total: usize) {
        let Some(Task::Say(say)) = &mut self.task else { return };
        say.wait = Wait::Keys;
        let begun = *say.begun.get_or_insert(self.now.elapsed);
        if self.now.elapsed >= begun + LONG {
            self.out.push(Output::Progress { done: total.saturating_sub(missing), total });
        }
    }

    /// Whether the members are known, at the log's head or, where they change all the time, shortly before. Asks for them.
    fn has_roster(&mut self) -> bool {
        let (Some(stay), Some(Task::Say(say))) = (&self.stay, &mut self.task) else { return false };
        if stay.roster.is_full() {
            return true;
        }
        if say.rounds == u32::MAX {
            self.drop_task("who would read it is not known");
            return false;
        }
        if say.rounds >= ROUNDS && stay.roster.as_of().is_some() {
            return true;
        }
        say.rounds += 1;
        say.wait = Wait::Roster;
        if !self.requests.is_open(RequestType::Who) {
            self.ask_who();
        }
        false
    }

    /// Begins a new epoch if the one that there is may not go on; gives who has no key of it.
    fn renew_epoch(&mut self, readers: &Readers) -> BTreeSet<Reader> {
        let Some(id) = self.stay.as_ref().map(|stay| stay.id) else { return BTreeSet::new() };
        let outgoing = &mut self.rooms.entry(id).or_default().outgoing;
        let all: BTreeSet<Reader> = readers.modern.keys().copied().collect();
        outgoing.renew(&all, self.now.elapsed, ChainKey::generate);
        let now = Some((id, outgoing.epoch().unwrap_or_default(), outgoing.next_counter()));
        if let Some(Task::Say(say)) = &mut self.task
            && say.wrapped_for != now
        {
            say.wraps.clear();
            say.wrapped_for = now;
        }
        all.into_iter().filter(|reader| !outgoing.holds(reader)).collect()
    }

    /// Has the chain key wrapped for those who miss it, and the message key for legacy members. Says whether that is to be
    /// waited for.
    fn wrap(&mut self, readers: &Readers, missing: &BTreeSet<Reader>) -> bool {
        let Some(id) = self.stay.as_ref().map(|stay| stay.id) else { return true };
        let outgoing = &self.rooms.entry(id).or_default().outgoing;
        let (Some(chain), Some(key)) = (outgoing.chain().cloned(), outgoing.message_key()) else { return true };
        let Some(Task::Say(say)) = &mut self.task else { return true };
        say.legacy = readers.legacy.keys().cloned().collect();
        let bundles = missing.iter().filter_map(|reader| readers.modern.get(reader));
        let modern: BTreeMap<Target, _> =
            bundles.map(|bundle| (Target::Bundle(bundle.hash()), bundle.rsa().clone())).collect();
        let legacy: BTreeMap<Target, _> =
            readers.legacy.iter().map(|(user, key)| (Target::Legacy(user.clone()), key.clone())).collect();
        let total = modern.len() + legacy.len();
        let todo = |all: BTreeMap<Target, _>| -> Vec<_> {
            all.into_iter().filter(|(target, _)| !say.wraps.contains_key(target)).take(WRAPS).collect()
        };
        let (modern, legacy) = (todo(modern), todo(legacy));
        let (secret, readers) = match (modern.is_empty(), legacy.is_empty()) {
            (true, true) => return false,
            (false, _) => (*chain.expose_raw(), modern),
            (true, false) => (*key.expose_raw(), legacy),
        };
        self.jobs += 1;
        say.begun.get_or_insert(self.now.elapsed);
        say.total = total;
        say.wrapping = readers.iter().map(|(target, _)| target.clone()).collect();
        say.wait = Wait::Wraps(self.jobs);
        self.out.push(Output::Work(Job::Wrap(WrapJob { id: self.jobs, secret: Zeroizing::new(secret), readers })));
        true
    }

    /// Gives the chain key to those who miss it. Says whether answers are to be waited for.
    fn grant(&mut self, readers: &Readers, missing: &BTreeSet<Reader>, at: Position) -> bool {
        if missing.is_empty() {
            return false;
        }
        let (Some(stay), Some(own), Some(Task::Say(say))) = (&self.stay, &self.account, &mut self.task) else {
            return true;
        };
        let outgoing = &mut self.rooms.entry(stay.id).or_default().outgoing;
        let (Some(epoch), Some(check)) = (outgoing.epoch(), outgoing.chain().map(ChainKey::grant_check)) else {
            return true;
        };
        let counter = outgoing.next_counter();
        let reader = Reader { bundle: own.bundle.hash(), run: self.run };
        let author = author_of(self.realm, &stay.room, &own.name, reader);
        let statement = transcript::Grant { author, epoch, counter, at, check };
        let signature = self.signing_key.sign(&statement.to_bytes());
        let stamp = GrantStamp { epoch, counter, at, check, signature };
        let mut wraps = Wraps::new();
        let mut of_bundle: BTreeMap<_, Vec<Reader>> = BTreeMap::new();
        for reader in missing {
            let Some(bundle) = readers.modern.get(reader) else { continue };
            if let Some(wrap) = say.wraps.get(&Target::Bundle(bundle.hash())) {
                outgoing.give(*reader, bundle.account().clone());
                wraps.insert(bundle.hash(), wrap.clone());
                of_bundle.entry(bundle.hash()).or_default().push(*reader);
            }
        }
        let room = stay.room.clone();
        let requests = split_wraps(wraps);
        if requests.is_empty() {
            return false;
        }
        say.wait = Wait::Grants(requests.len());
        for wraps in requests {
            let to = wraps.keys().filter_map(|bundle| of_bundle.remove(bundle)).flatten().collect();
            let grant = GrantRequest { room: room.clone(), stamp, wraps };
            self.request(Asked::Grant { epoch, to }, RequestBody::Grant(grant));
        }
        true
    }

    /// The server took a grant.
    pub(super) fn granted(&mut self, epoch: u64, to: &[Reader]) {
        if let Some(stay) = &self.stay {
            self.rooms.entry(stay.id).or_default().outgoing.given(epoch, to);
        }
        self.grant_answered();
    }

    fn grant_answered(&mut self) {
        if let Some(Task::Say(say)) = &mut self.task
            && let Wait::Grants(left) = say.wait
        {
            say.wait = if left > 1 { Wait::Grants(left - 1) } else { Wait::Nothing };
        }
    }

    pub(super) fn not_granted(&mut self, code: ErrorCode, text: &Text) {
        let why = self.why_refused(code, text);
        let Some(Task::Say(say)) = &mut self.task else { return };
        match code {
            ErrorCode::TooLarge if matches!(say.wait, Wait::Until(_)) => {}
            ErrorCode::TooLarge => {
                // The answers that are still to come are of no use, and no harm.
                say.wait = Wait::Until(self.now.elapsed + BUDGET);
                self.say("The server takes no more keys for now: your message waits a little.");
            }
            ErrorCode::Stale if say.attempts < ATTEMPTS => {
                (say.attempts, say.rounds) = (say.attempts + 1, 0);
                self.grant_answered();
            }
            _ => self.drop_task(&why),
        }
    }

    /// Seals as much of the text as goes into one message, and sends it.
    fn seal(&mut self, at: Position) -> Step {
        let (Some(Task::Say(say)), Some(stay), Some(own)) = (&mut self.task, &self.stay, &self.account) else {
            return Step::Goes;
        };
        let mut most = longest_padded(&own.name);
        let mut legacy = EncryptedKeys::new();
        for user in &say.legacy {
            let target = Target::Legacy(user.clone());
            let Some(wrap) = say.wraps.get(&target) else { continue };
            match longest_beside(&stay.room, &own.name, user, wrap) {
                Some(longest) => most = most.min(longest),
                None => {
                    say.unusable.insert(target);
                    return Step::Goes; // once more, without this one
                }
            }
            legacy.insert(user.clone(), wrap.clone());
        }
        let whole = say.parts.pop_front().unwrap_or_default();
        let parts = packages::split(&whole, most).into_iter().rev();
        parts.for_each(|part| say.parts.push_front(Zeroizing::new(part.to_owned())));
        let Some(first) = say.parts.front() else {
            self.drop_task("it is empty");
            return Step::Goes;
        };
        let outgoing = &self.rooms.entry(stay.id).or_default().outgoing;
        let (Some(epoch), Some(key)) = (outgoing.epoch(), outgoing.message_key()) else { return Step::Goes };
        let reader = Reader { bundle: own.bundle.hash(), run: self.run };
        let counter = outgoing.next_counter();
        let (realm, room, account) = (self.realm, &stay.room, &own.name);
        let place = Place { realm, room, account, reader, epoch, counter, at };
        let sealed = Sealed::new(&place, first, &key, legacy, &self.signing_key, self.now.unix);
        self.send(sealed);
        Step::Waits
    }

    fn send(&mut self, sealed: Sealed) {
        let Some(Task::Say(say)) = &mut self.task else { return };
        say.in_flight = Some(sealed.clone());
        say.wait = Wait::Answer;
        let note = say.note;
        self.sent.sent(note);
        let room = sealed.request.room.clone();
        for encrypted_keys in sealed.attach {
            self.request(Asked::Attach, RequestBody::Attach { room: room.clone(), encrypted_keys });
        }
        self.request(Asked::Send, RequestBody::Send(sealed.request));
    }

    /// The server took the own message, as the event of this place in the log.
    pub(super) fn said(&mut self, accepted: Accepted) {
        let Some(Task::Say(Say { in_flight: Some(sealed), .. })) = &self.task else { return };
        let Some(account) = self.account.as_ref().map(|own| own.name.clone()) else { return };
        let SendRequest { encrypted_message, stamp, resend, .. } = sealed.request.clone();
        let message = MessageHash::of(&encrypted_message);
        let event = Event::Message { account: &account, message, signature: Some(&stamp.signature) };
        if !self.take_own(accepted, resend, &event) {
            return;
        }
        let Some(Task::Say(say)) = &mut self.task else { return };
        let note = say.note;
        if say.next_part() {
            return self.sent.waits(note);
        }
        self.finish();
        self.accepted(note, Some(accepted.n));
    }

    /// A message is accepted; if it was said that it takes long, that is over.
    pub(super) fn accepted(&mut self, note: u64, n: Option<u64>) {
        if let Some(text) = self.sent.accepted(note, n) {
            self.say(format!("Accepted now: {text}"));
        }
    }

    /// The server did not take the own message.
    pub(super) fn said_not(&mut self, code: ErrorCode, text: &Text) {
        let why = self.why_refused(code, text);
        let Some(Task::Say(say)) = &mut self.task else { return };
        say.wait = Wait::Nothing;
        say.in_flight = None;
        say.attempts += 1;
        say.rounds = 0;
        let why = match code {
            ErrorCode::Stale if say.attempts < ATTEMPTS => {
                if let Some(stay) = &mut self.stay {
                    stay.prepared = None;
                }
                let note = say.note;
                return self.sent.waits(note); // sealed again, as of now, under the same counter
            }
            ErrorCode::Muted { until } => barred("muted", until, self.now.unix),
            ErrorCode::OutOfOrder { expected } => {
                format!("the server expects number {expected} of you here; start this program again")
            }
            ErrorCode::JoinFirst | ErrorCode::RoomMismatch => {
                self.leave_room();
                "the server says that you are not in the room".to_owned()
            }
            _ => why,
        };
        self.drop_task(&why);
    }

    /// Says that the server has not taken something yet, and that it is not forgotten.
    pub(super) fn tell_late(&mut self) {
        if let Some(text) = self.sent.late(self.now.elapsed) {
            self.say(format!("Not accepted by the server yet: {text}"));
        }
    }
}
