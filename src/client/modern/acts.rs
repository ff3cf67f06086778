//! What people do to the room and to its members: signing it, and checking what others signed.

use std::fmt;
use std::time::Duration;

use super::requests::Asked;
use super::room::why_stopped;
use super::signed::{Did, Signed, author_of};
use super::task::{Step, Task};
use super::{Machine, Output, RequestBody};
use crate::client::alarm::{Alarm, Thing, lasting};
use crate::client::shown::{Name, Trust};
use crate::names::{Password, Text, UserName};
use crate::protocol::modern::{
    self as wire, Accepted, ActEvent, ActProof, ActRequest, ActStamp, Deed, ErrorCode, Reader, SignedText,
};
use crate::transcript::{self, Event, Verb};

/// How often something that the server finds outdated is signed again.
const ATTEMPTS: u32 = 3;

/// Something that somebody did, as it is shown: `bob (verified) kicked eve: too loud`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownAct {
    /// Who did it.
    pub author: UserName,
    /// Who vouches for that.
    pub trust: Trust,
    /// What.
    pub verb: Verb,
    /// To whom, or an empty name.
    pub target: UserName,
    /// What else was said.
    pub argument: Text,
}

impl fmt::Display for ShownAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) ", Name(&self.author), self.trust.word())?;
        words(self.verb, &self.target, &self.argument, f)
    }
}

/// An act of which nobody's signature says that it was done, as the server says it.
struct Unsigned<'a>(&'a ActEvent);

impl fmt::Display for Unsigned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deed { verb, target, argument } = &self.0.deed;
        if *verb == Verb::Leave {
            return write!(f, "{} is gone: the connection is lost", Name(&self.0.user));
        }
        write!(f, "The server, in the name of {}, who did not sign it: ", Name(&self.0.user))?;
        words(*verb, &UserName::new(target.as_str()), &argument.to_text(), f)
    }
}

fn words(verb: Verb, target: &UserName, argument: &Text, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let name = Name(target);
    let how_long = || match argument.as_str().parse::<u64>() {
        Ok(seconds) => lasting(seconds),
        Err(_) => "for good".to_owned(),
    };
    match verb {
        Verb::Kick if argument.as_str().is_empty() => write!(f, "kicked {name}"),
        Verb::Kick => write!(f, "kicked {name}: {argument}"),
        Verb::Ban => write!(f, "banned {name} {}", how_long()),
        Verb::Unban => write!(f, "lets {name} in again"),
        Verb::Mute => write!(f, "muted {name} {}", how_long()),
        Verb::Unmute => write!(f, "lets {name} speak again"),
        Verb::Topic if argument.as_str().is_empty() => write!(f, "took the topic away"),
        Verb::Topic => write!(f, "set the topic: {argument}"),
        Verb::Flags if argument.as_str() == MODERN_ONLY => write!(f, "keeps the old wire out from now on"),
        Verb::Flags => write!(f, "lets the old wire in from now on"),
        Verb::Password => write!(f, "changed the room's password"),
        Verb::Delete => write!(f, "deleted the room"),
        Verb::Leave => write!(f, "left"),
    }
}

/// The argument of `flags` that keeps legacy members out.
pub(super) const MODERN_ONLY: &str = "modern-only";

/// An act that is under way.
pub(super) struct ActTask {
    deed: Deed,
    secret: Option<Password>,
    in_flight: Option<ActRequest>,
    /// Whether an answer to it is awaited.
    awaited: bool,
    attempts: u32,
    /// Set on the last word before the end: how long the server may take.
    until: Option<Duration>,
    /// Whether the room is left for another one: then it is left, whatever the server says.
    moves_on: bool,
}

impl ActTask {
    pub(super) fn new(verb: Verb, target: &str, argument: &str, secret: Option<Password>) -> Self {
        let deed = Deed { verb, target: SignedText::new(target), argument: SignedText::new(argument) };
        Self { deed, secret, in_flight: None, awaited: false, attempts: 0, until: None, moves_on: false }
    }

    pub(super) fn last_word(until: Duration) -> Self {
        Self { until: Some(until), ..Self::new(Verb::Leave, "", "", None) }
    }

    pub(super) fn moving_on() -> Self {
        Self { moves_on: true, ..Self::new(Verb::Leave, "", "", None) }
    }

    /// The connection is lost: what was sent is sent again.
    pub(super) fn interrupt(&mut self) {
        self.awaited = false;
    }

    /// The room is another one: it is signed again.
    pub(super) fn start_over(&mut self) {
        self.in_flight = None;
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(super) fn leaves(&self) -> bool {
        self.deed.verb == Verb::Leave
    }

    pub(super) fn is_last_word(&self) -> bool {
        self.until.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.until
    }
}

impl Machine {
    pub(super) fn step_act(&mut self) -> Step {
        let Some(Task::Act(act)) = &mut self.task else { return Step::Goes };
        if act.until.is_some_and(|until| until <= self.now.elapsed) {
            self.close(); // the last word was not taken
            return Step::Waits;
        }
        if act.awaited {
            return Step::Waits;
        }
        let Some(stay) = &self.stay else {
            self.act_failed("you are in no room: /join one");
            return Step::Goes;
        };
        let leaves = act.deed.verb == Verb::Leave;
        if let Some(stopped) = stay.stopped.filter(|_| !leaves) {
            self.act_failed(why_stopped(stopped));
            return Step::Goes;
        }
        match act.in_flight.clone() {
            Some(request) => self.send_act(ActRequest { resend: true, ..request }),
            None => self.sign_act(),
        }
        Step::Waits
    }

    fn sign_act(&mut self) {
        let (Some(Task::Act(act)), Some(stay), Some(own)) = (&self.task, &self.stay, &self.account) else { return };
        let counter = self.rooms.entry(stay.id).or_default().outgoing.next_counter();
        let at = stay.log.head();
        let reader = Reader { bundle: own.bundle.hash(), run: self.run };
        let author = author_of(self.realm, &stay.room, &own.name, reader);
        let (target, argument) = (act.deed.target.as_str(), act.deed.argument.as_str());
        let statement = transcript::Act { author, counter, at, verb: act.deed.verb, target, argument };
        let signature = self.signing_key.sign(&statement.to_bytes());
        let request = ActRequest {
            room: stay.room.clone(),
            deed: act.deed.clone(),
            stamp: ActStamp { counter, at, signature },
            secret: act.secret.clone(),
            resend: false,
        };
        self.send_act(request);
    }

    fn send_act(&mut self, request: ActRequest) {
        if let Some(Task::Act(act)) = &mut self.task {
            act.in_flight = Some(request.clone());
            act.awaited = true;
        }
        self.request(Asked::Act, RequestBody::Act(request));
    }

    /// The server took the own act, as the event of this place in the log.
    pub(super) fn acted(&mut self, accepted: Accepted) {
        let Some(Task::Act(act)) = &self.task else { return };
        let (Some(request), last, moves_on) = (act.in_flight.clone(), act.until.is_some(), act.moves_on) else {
            return;
        };
        let Some(name) = self.account.as_ref().map(|own| own.name.clone()) else { return };
        let ActRequest { deed, stamp, resend, .. } = request;
        let (target, argument) = (deed.target.as_str(), deed.argument.as_str());
        let hashed =
            Event::Act { account: &name, verb: deed.verb, target, argument, signature: Some(&stamp.signature) };
        if !self.take_own(accepted, resend, &hashed) {
            return;
        }
        self.finish();
        if last {
            return self.close();
        }
        let target = UserName::new(target);
        match deed.verb {
            // What was taken before the return met those who were there then.
            Verb::Kick | Verb::Ban if !accepted.duplicate => self.note_kick(accepted.n, &target),
            Verb::Leave => self.leave_room(),
            _ => {}
        }
        let argument = deed.argument.to_text();
        let shown = ShownAct { author: name, trust: Trust::Own, verb: deed.verb, target, argument };
        self.act_applies(&shown, Some(accepted.n));
        if !moves_on {
            self.out.push(Output::Act(shown));
        }
    }

    /// The event of something that this client said. `false` when the server's word of it makes no sense: then the connection
    /// is given up, and it is sent again.
    pub(super) fn take_own(&mut self, accepted: Accepted, resend: bool, event: &Event<'_>) -> bool {
        let Some(stay) = &self.stay else { return false };
        let (id, is_broken) = (stay.id, stay.log.is_broken());
        // What was taken before the return is in the log of before.
        if accepted.duplicate && !(resend && accepted.n < stay.log.joined()) {
            self.broken_server("the server says that it had before what it cannot have had");
            return false;
        }
        if !accepted.duplicate && !is_broken {
            self.follow(accepted.n, event);
        }
        self.rooms.entry(id).or_default().outgoing.advance();
        true
    }

    pub(super) fn acted_not(&mut self, code: ErrorCode, text: &Text) {
        let why = self.why_refused(code, text);
        let Some(Task::Act(act)) = &mut self.task else { return };
        act.awaited = false;
        act.attempts += 1;
        if code == ErrorCode::Stale && act.attempts < ATTEMPTS {
            act.in_flight = None; // signed again, as of now
            return;
        }
        self.act_failed(&why);
    }

    fn act_failed(&mut self, why: &str) {
        let Some(Task::Act(act)) = self.task.take() else { return };
        if act.until.is_some() {
            return self.close();
        }
        if act.moves_on {
            return self.leave_room();
        }
        self.unsent = true;
        self.say(format!("Not done: {why}."));
    }

    /// Somebody did something.
    pub(super) fn act_event(&mut self, event: ActEvent) {
        if self.stay_of(&event.room).is_none() {
            return;
        }
        let (target, argument) = (event.deed.target.as_str(), event.deed.argument.as_str());
        let signature = event.proof.as_ref().map(|proof| &proof.stamp.signature);
        let hashed = Event::Act { account: &event.user, verb: event.deed.verb, target, argument, signature };
        if !self.follow(event.n, &hashed) {
            return self.alarm(Alarm::Unplaced(Thing::Act, event.user));
        }
        if matches!(event.deed.verb, Verb::Kick | Verb::Ban) {
            self.note_kick(event.n, &UserName::new(target)); // true or not, whoever is named gets nothing of this epoch
        }
        if event.deed.verb == Verb::Flags
            && argument == MODERN_ONLY
            && let Some(stay) = &mut self.stay
        {
            (stay.bars_legacy, stay.prepared) = (true, None);
        }
        let Some(ActProof { reader, stamp }) = event.proof else { return self.unsigned_act(&event) };
        let author = wire::Author { user: event.user, reader };
        if let Some(at) = self.place(Thing::Act, &author, &stamp.at) {
            if let (Verb::Leave, Some(stay)) = (event.deed.verb, &mut self.stay) {
                stay.note_leaving(author.user.clone(), reader.run, event.n, self.now.elapsed);
            }
            self.hear(author, Signed::Act(Did { at, n: event.n, deed: event.deed, stamp }));
        }
    }

    fn unsigned_act(&mut self, event: &ActEvent) {
        if event.deed.verb == Verb::Leave {
            self.stay.iter_mut().for_each(|stay| stay.forget_told(&event.user));
        }
        self.server_says(&Unsigned(event).to_string());
        let shown = ShownAct {
            author: event.user.clone(),
            trust: Trust::Unsigned,
            verb: event.deed.verb,
            target: UserName::new(event.deed.target.as_str()),
            argument: event.deed.argument.to_text(),
        };
        self.act_applies(&shown, None);
    }

    /// An act whose signature holds.
    pub(super) fn take_act(&mut self, author: UserName, trust: Trust, did: Did) {
        let Did { at, n, deed, .. } = did;
        let target = UserName::new(deed.target.as_str());
        let shown = ShownAct { author, trust, verb: deed.verb, target, argument: deed.argument.to_text() };
        if self.stay.as_ref().is_some_and(|stay| stay.id == at.id) {
            self.act_applies(&shown, Some(n));
        }
        self.remember();
        self.out.push(Output::Act(shown));
    }

    /// What an act changes here; `proved` is the place of one whose signature holds. Without, nothing is loosened.
    fn act_applies(&mut self, act: &ShownAct, proved: Option<u64>) {
        let modern_only = act.argument.as_str() == MODERN_ONLY;
        let Some(stay) = &mut self.stay else { return };
        if let Some(n) = proved {
            stay.going_is_signed(n);
        }
        match act.verb {
            // Whoever is shown to go, is listed still and reads is named again, whatever was said before this was checked.
            Verb::Leave if proved.is_some() => stay.forget_told(&act.author),
            Verb::Kick | Verb::Ban if proved.is_some() => stay.forget_typed(&act.target),
            Verb::Topic => stay.topic = act.argument.clone(),
            Verb::Flags if proved.is_some() || modern_only => {
                (stay.modern_only, stay.bars_legacy) = (modern_only, modern_only);
                stay.prepared = None;
                let room = stay.room.clone();
                self.people.note_flags(&room, modern_only);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_a_sentence_that_says_who_vouches() {
        let act = |verb, argument| {
            let (author, target) = (UserName::new("bob"), UserName::new("eve: x"));
            ShownAct { author, trust: Trust::Verified, verb, target, argument: Text::sanitize(argument) }.to_string()
        };
        for (verb, argument, line) in [
            (Verb::Kick, "", "bob (verified) kicked eve%3A%20x"),
            (Verb::Kick, "too loud", "bob (verified) kicked eve%3A%20x: too loud"),
            (Verb::Ban, "7200", "bob (verified) banned eve%3A%20x for 2 hours"),
            (Verb::Ban, "", "bob (verified) banned eve%3A%20x for good"),
            (Verb::Mute, "60", "bob (verified) muted eve%3A%20x for 1 minute"),
            (Verb::Topic, "tea", "bob (verified) set the topic: tea"),
            (Verb::Flags, MODERN_ONLY, "bob (verified) keeps the old wire out from now on"),
            (Verb::Flags, "", "bob (verified) lets the old wire in from now on"),
            (Verb::Leave, "", "bob (verified) left"),
        ] {
            assert_eq!(act(verb, argument), line);
        }
        for verb in Verb::ALL {
            assert!(act(*verb, "").len() > "bob (verified) ".len());
        }
    }
}
