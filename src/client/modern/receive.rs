//! The receiver: what came, in the order of the checks. The log has moved before anything here; only after the signature
//! holds does anything else.
//!
//! What waits for an author's keys waits in the order in which it came. What waits for a grant holds up its own author alone:
//! whoever withholds keys must not make others wait.

use std::sync::Arc;
use std::time::Duration;

use super::chains::{Granted, NoKey, RunKey, Stepped};
use super::heard::Vouched;
use super::keys::{BadKey, Found};
use super::log::Judged;
use super::requests::Asked;
use super::room::{Stay, Stopped};
use super::signed::{InRoom, Said, Signed};
use super::{Machine, Output, RequestBody};
use crate::client::alarm::{Alarm, Thing, Unreadable};
use crate::client::counters::Counted;
use crate::client::people::Verdict;
use crate::client::shown::{Mark, Name, Place, Shown};
use crate::crypto::{Bundle, FernetKey, envelope};
use crate::names::{Text, UserName};
use crate::protocol::modern::{self as wire, GrantEvent, GrantStamp, MessageEvent, Origin, Reader, Stamp};
use crate::transcript::{Commitment, Event, MessageHash, Position, RoomId, Verb};

/// Most epochs whose keys were asked for.
const MOST_ASKED: usize = 4_096;

/// How long a message waits for its grant.
const GRANT: Duration = Duration::from_secs(10);

/// How long others may take to see that this client has joined. What they signed before is passed over in silence; a server
/// that numbers this client's log too high would otherwise keep everything from it.
const CAUGHT_UP: Duration = Duration::from_secs(60);

/// How far an author's clock and the server's may differ, in seconds.
const CLOCKS: u64 = 120;

impl Machine {
    /// A message came.
    pub(super) fn message(&mut self, event: MessageEvent) {
        if self.stay_of(&event.room).is_none() {
            return;
        }
        let signature = match &event.origin {
            Origin::Modern { stamp, .. } => Some(&stamp.signature),
            Origin::Legacy { .. } => None,
        };
        let message = MessageHash::of(&event.encrypted_message);
        if !self.follow(event.n, &Event::Message { account: &event.user, message, signature }) {
            return self.alarm(Alarm::Unplaced(Thing::Message, event.user));
        }
        let MessageEvent { user, encrypted_message, time, origin, .. } = event;
        match origin {
            Origin::Legacy { encrypted_key } => self.legacy_message(user, encrypted_message, encrypted_key, time),
            Origin::Modern { reader, stamp } => {
                let author = wire::Author { user, reader };
                if let Some(at) = self.place(Thing::Message, &author, &stamp.at) {
                    self.hear(author, Signed::Message(Said { at, stamp, token: encrypted_message, time }));
                }
            }
        }
    }

    /// A chain key came.
    pub(super) fn grant_event(&mut self, event: GrantEvent) {
        let GrantEvent { room, author, stamp, wrap } = event;
        if self.stay_of(&room).is_none() {
            return;
        }
        if let Some(at) = self.place(Thing::Grant, &author, &stamp.at) {
            self.hear(author, Signed::Grant { at, stamp, wrap: wrap.into_string() });
        }
    }

    /// The cheap fields, and the place in the log, as they are now: later the log will have moved on.
    pub(super) fn place(&mut self, thing: Thing, author: &wire::Author, at: &Position) -> Option<InRoom> {
        let own = self.account.as_ref().map(|own| Reader { bundle: own.bundle.hash(), run: self.run });
        let stay = self.stay.as_ref()?;
        let user = author.user.clone();
        if own == Some(author.reader) {
            self.alarm(Alarm::OwnEcho(thing));
            return None;
        }
        if stay.roster.is_full() && !stay.roster.lists(&user, author.reader.bundle, author.reader.run) {
            self.alarm(Alarm::Unlisted(thing, user));
            return None;
        }
        match stay.judge(at) {
            Judged::Good => {
                let gone = stay.gone_after(at, self.now.elapsed);
                return Some(self.in_room(stay, gone));
            }
            // Who was here before holds keys of before. It opens nothing but what bears a place that is known.
            Judged::Before if stay.is_return && thing == Thing::Grant => {
                return Some(self.in_room(stay, None));
            }
            Judged::Before if self.now.elapsed > stay.since + CAUGHT_UP => self.alarm(Alarm::HeldBack(thing, user)),
            Judged::Before if stay.is_return => {
                self.say(format!("A {thing} of {} was sent before you were back, and is not shown.", Name(&user)));
            }
            Judged::Before => {} // a newcomer could not have read it, and was not meant to
            Judged::Forgotten => self.alarm(Alarm::HeldBack(thing, user)),
            Judged::Split => {
                self.stop(Stopped::Split);
                self.alarm(Alarm::Split(user));
            }
        }
        None
    }

    fn in_room(&self, stay: &Stay, gone: Option<Option<UserName>>) -> InRoom {
        InRoom { room: stay.room.clone(), id: stay.id, gone, absences: self.counters.absences(&stay.id) }
    }

    /// Takes something that is signed, to be checked once the keys of its author are there.
    pub(super) fn hear(&mut self, author: wire::Author, signed: Signed) {
        let len = signed.len();
        if self.heard.is_full(len) {
            return self.alarm(Alarm::TooMuch(signed.thing(), author.user));
        }
        if matches!(self.keys.bundle(author.reader.bundle, self.now.elapsed), Found::NotYet) {
            self.keys.want(author.reader.bundle);
        }
        self.heard.bytes += len;
        self.heard.queue.push_back((author, signed));
        self.hear_on();
    }

    /// Checks what can be checked, in order.
    pub(super) fn hear_on(&mut self) {
        while let Some((author, _)) = self.heard.queue.front() {
            let hash = author.reader.bundle;
            let found = match self.keys.bundle(hash, self.now.elapsed) {
                Found::Here(bundle) => Ok(Arc::clone(bundle)),
                Found::Not(why) => Err(why),
                Found::NotYet => return self.keys.want(hash),
            };
            let Some((author, signed)) = self.heard.queue.pop_front() else { return };
            self.heard.bytes = self.heard.bytes.saturating_sub(signed.len());
            match found {
                Ok(bundle) => self.check(author, signed, &bundle),
                // A server that was started again knows nobody's keys until they are back, and does no wrong.
                Err(BadKey::NotGiven) if self.is_of_before(&signed) => {
                    self.keys.retry(hash);
                    self.give_up_on(&signed, &author.user);
                }
                Err(why) => {
                    let alarm = Alarm::NoKeys(signed.thing(), author.user.clone(), why);
                    self.refuse(&signed, &author, alarm);
                }
            }
        }
    }

    /// Whether something that waits is from a stay or a connection that is over.
    fn is_of_before(&self, signed: &Signed) -> bool {
        match signed {
            Signed::Direct(_, absences) => *absences != self.directs.absences(),
            Signed::Grant { at, .. } => {
                let is_here = self.stay.as_ref().is_some_and(|stay| stay.id == at.id);
                !is_here || at.absences != self.counters.absences(&at.id)
            }
            Signed::Message(_) | Signed::Act(_) => false,
        }
    }

    /// The keys of something of before cannot be had any more. Whatever needs a chain key asks for it.
    fn give_up_on(&mut self, signed: &Signed, user: &UserName) {
        if matches!(signed, Signed::Direct(..)) {
            self.say(format!(
                "A direct message of {} came before the connection was lost, and cannot be checked any more: the server has \
                 not its keys. It is not shown.",
                Name(user)
            ));
        }
    }

    fn check(&mut self, author: wire::Author, signed: Signed, bundle: &Bundle) {
        let (thing, user) = (signed.thing(), author.user.clone());
        if *bundle.account() != user {
            return self.refuse(&signed, &author, Alarm::OtherAccount(thing, user));
        }
        if !signed.is_signed(self.realm, &author, bundle.signing_key()) {
            return self.refuse(&signed, &author, Alarm::BadSignature(thing, user));
        }
        // A key opens nothing by itself: whose it is counts when something comes that it opens.
        if let Signed::Grant { at, stamp, wrap } = signed {
            return self.take_grant(&author, &at, &stamp, wrap);
        }
        let trust = match self.people.meet(bundle) {
            Verdict::Good(trust) => trust,
            Verdict::Full => return self.refuse(&signed, &author, Alarm::TooManyNames(thing, user)),
            Verdict::Changed { pinned, shown } => {
                return self.refuse(&signed, &author, Alarm::KeyChanged { with: Some(thing), user, pinned, shown });
            }
        };
        match signed {
            Signed::Message(said) => {
                if self.count(thing, &said.at, &author, said.stamp.counter) {
                    self.open(Vouched { author, trust, said });
                }
            }
            Signed::Act(did) => {
                if self.count(thing, &did.at, &author, did.stamp.counter) {
                    self.take_act(author.user, trust, did);
                }
            }
            Signed::Direct(event, absences) => self.take_direct(trust, *event, absences),
            Signed::Grant { .. } => {}
        }
    }

    /// What is refused is said. Who was said to leave, and did not prove it, is gone nevertheless.
    fn refuse(&mut self, signed: &Signed, author: &wire::Author, alarm: Alarm) {
        self.alarm(alarm);
        if matches!(signed, Signed::Act(did) if did.deed.verb == Verb::Leave) {
            self.stay.iter_mut().for_each(|stay| stay.forget_told(&author.user));
            self.server_says(&format!("{} is gone: the connection is lost", Name(&author.user)));
        }
    }

    fn count(&mut self, thing: Thing, at: &InRoom, author: &wire::Author, counter: u64) -> bool {
        let user = author.user.clone();
        match self.counters.take(at.id, &user, author.reader.run, counter, at.absences) {
            Counted::Next => true,
            Counted::Gap { missing, away } => {
                self.alarm(Alarm::Missing { user, count: missing, away });
                true
            }
            Counted::Repeated => {
                self.alarm(Alarm::Repeated(thing, user));
                false
            }
            Counted::TooMany => {
                self.alarm(Alarm::TooManyRuns(thing, user));
                false
            }
        }
    }

    fn take_grant(&mut self, author: &wire::Author, at: &InRoom, stamp: &GrantStamp, wrap: String) {
        let run = run_key(at.id, author.reader);
        let GrantStamp { epoch, counter, check, .. } = *stamp;
        if self.chains.grant(run, Granted { epoch, counter, check, wrap }) {
            self.open_delayed(run, None);
        }
    }

    /// Opens a message, or lets it wait for its grant.
    fn open(&mut self, message: Vouched) {
        let run = run_key(message.said.at.id, message.author.reader);
        if self.heard.delayed.contains_key(&run) {
            return self.delay(run, message);
        }
        let Stamp { epoch, counter, .. } = message.said.stamp;
        let user = message.author.user.clone();
        let unreadable = match self.chains.key(&run, epoch, counter, &self.rsa) {
            Ok(stepped) => return self.unseal(run, message, stepped),
            Err(NoKey::Earlier) => Unreadable::Earlier,
            Err(NoKey::TooFar) => Unreadable::TooFar,
            Err(NoKey::NotGranted) => match self.is_grant_awaited(run, &message) {
                true => return self.delay(run, message),
                false => Unreadable::NotGranted,
            },
            Err(NoKey::Broken) => {
                self.is_grant_awaited(run, &message);
                Unreadable::BrokenGrant
            }
        };
        self.alarm(Alarm::Unreadable(user, unreadable));
    }

    /// Asks for a grant, once an epoch; says whether it may still come.
    fn is_grant_awaited(&mut self, run: RunKey, message: &Vouched) -> bool {
        let (now, epoch) = (self.now.elapsed, message.said.stamp.epoch);
        if let Some(until) = self.heard.asked.get(&(run, epoch)) {
            return now < *until;
        }
        if self.heard.asked.len() >= MOST_ASKED || !self.link.is_ready() {
            return false;
        }
        let until = now + GRANT;
        self.heard.asked.insert((run, epoch), until);
        self.heard.expiries.push_back((until, run, epoch));
        let wire::Author { user, reader } = message.author.clone();
        let room = message.said.at.room.clone();
        self.request(Asked::NeedKey, RequestBody::NeedKey { room, user, reader, epoch });
        true
    }

    fn delay(&mut self, run: RunKey, message: Vouched) {
        let len = message.said.token.len();
        if self.heard.is_full(len) {
            return self.alarm(Alarm::TooMuch(Thing::Message, message.author.user));
        }
        self.heard.bytes += len;
        self.heard.delayed_len += 1;
        self.heard.delayed.entry(run).or_default().push_back(message);
    }

    /// Opens what waited for a grant of this run, as far as it can be; `expired` is an epoch that is waited for no longer.
    fn open_delayed(&mut self, run: RunKey, expired: Option<u64>) {
        let Some(messages) = self.heard.delayed.remove(&run) else { return };
        for message in messages {
            self.heard.bytes = self.heard.bytes.saturating_sub(message.said.token.len());
            self.heard.delayed_len -= 1;
            if expired == Some(message.said.stamp.epoch) {
                self.alarm(Alarm::Unreadable(message.author.user, Unreadable::NotGranted));
            } else {
                self.open(message);
            }
        }
    }

    /// Says what can't be read because no grant came.
    pub(super) fn expire_heard(&mut self) {
        while let Some((_, run, epoch)) = self.heard.expiries.pop_front_if(|(until, ..)| *until <= self.now.elapsed) {
            self.open_delayed(run, Some(epoch));
        }
        self.expire_legacy();
    }

    fn unseal(&mut self, run: RunKey, message: Vouched, stepped: Stepped) {
        let Vouched { author, trust, said } = message;
        let Said { at, stamp, token, time } = said;
        let user = author.user;
        let plain = unsealed(&stepped.key, &stamp.commitment, &token, &user);
        if !matches!(plain, Err(Unsealed::Unreadable(Unreadable::OtherKey))) {
            self.chains.keep(&run, stamp.epoch, stepped);
        }
        match plain {
            Err(Unsealed::Unreadable(why)) => self.alarm(Alarm::Unreadable(user, why)),
            Err(Unsealed::OtherName) => self.alarm(Alarm::OtherName(user)),
            Ok(text) => {
                let mut marks: Vec<Mark> = at.gone.map(Mark::SentBefore).into_iter().collect();
                marks.extend(clocks(&token, time));
                self.show(Shown { author: user, trust, place: Place::Room(at.room), marks, text });
            }
        }
    }

    /// Shows a message, unless the person does not want to see its author's.
    pub(super) fn show(&mut self, mut shown: Shown) {
        if self.people.is_blocked(&shown.author) {
            return;
        }
        shown.marks.extend(self.people.resembles(&shown.author).map(Mark::LooksLike));
        self.remember();
        self.out.push(Output::Message(shown));
    }
}

fn run_key(room: RoomId, Reader { bundle, run }: Reader) -> RunKey {
    RunKey { room, bundle, run }
}

/// The author's clock and the server's, if they differ by much.
pub(super) fn clocks(token: &str, time: u64) -> Option<Mark> {
    let (author, server) = (envelope::timestamp(token)?, time / 1000);
    (author.abs_diff(server) > CLOCKS).then_some(Mark::Times { author, server })
}

/// Why a sealed message gives no text.
pub(super) enum Unsealed {
    Unreadable(Unreadable),
    OtherName,
}

/// The text of a message whose key is committed to, without the name in front, which must be its author's.
pub(super) fn unsealed(
    key: &FernetKey,
    commitment: &Commitment,
    token: &str,
    author: &UserName,
) -> Result<Text, Unsealed> {
    if !key.is_committed_by(commitment) {
        return Err(Unsealed::Unreadable(Unreadable::OtherKey));
    }
    let plain = envelope::open_with(key, token).ok_or(Unsealed::Unreadable(Unreadable::Broken))?;
    let text = plain.strip_prefix(author.as_str()).and_then(|rest| rest.strip_prefix(": "));
    text.map(Text::sanitize).ok_or(Unsealed::OtherName)
}
