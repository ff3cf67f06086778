//! Direct messages: to one account alone, to all its sessions and to the own ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::jobs::{Job, Target, WRAPS, WrapJob};
use super::keys::Found;
use super::readers::READERS;
use super::receive::{Unsealed, clocks, unsealed};
use super::requests::Asked;
use super::seal::{longest_padded, named};
use super::signed::{Signed, direct_statement};
use super::task::{Step, Task};
use super::{Machine, Output, RequestBody};
use crate::client::alarm::{Alarm, Thing, Unreadable};
use crate::client::counters::{Counted, Counters};
use crate::client::packages;
use crate::client::people::Verdict;
use crate::client::shown::{Name, Place, Shown, Trust};
use crate::crypto::{Bundle, FernetKey, PublicKey, envelope};
use crate::names::{Text, UserName};
use crate::protocol::modern::{
    self as wire, DirectBody, DirectEvent, DirectRequest, DirectStamp, ErrorCode, Reader, Wrap, Wraps,
};
use crate::transcript::{Commitment, Signature};
use zeroize::Zeroizing;

/// How often a message is begun again because its readers have changed.
const ATTEMPTS: u32 = 3;

/// Counters of direct messages, which are in no room.
#[derive(Default)]
pub(super) struct Directs {
    /// Of others, by who they are.
    from_others: Counters<()>,
    /// Of the own other sessions, by whom they write to.
    from_own: Counters<()>,
    /// The last that was used for each recipient: as many as the person writes to.
    used: BTreeMap<UserName, u64>,
}

impl Directs {
    fn take(&mut self, own: bool, event: &DirectEvent, absences: u64) -> Counted {
        let (counters, account) = match own {
            true => (&mut self.from_own, &event.recipient),
            false => (&mut self.from_others, &event.author.user),
        };
        counters.take((), account, event.author.reader.run, event.body.stamp.counter, absences)
    }

    /// The connection was lost: what is missing next is missing for that.
    pub(super) fn was_away(&mut self) {
        self.from_others.was_away(());
        self.from_own.was_away(());
    }

    /// How often the connection was lost so far.
    pub(super) fn absences(&self) -> u64 {
        self.from_others.absences(&())
    }

    /// Another run counts from the beginning.
    pub(super) fn forget_used(&mut self) {
        self.used.clear();
    }

    fn next_counter(&self, recipient: &UserName) -> u64 {
        self.used.get(recipient).copied().unwrap_or_default() + 1
    }
}

/// What a direct message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Nothing,
    Answer,
    Keys,
    Wraps(u64),
}

/// A direct message under way.
pub(super) struct DirectTask {
    note: u64,
    to: UserName,
    /// The text; what does not fit the first message follows in others.
    parts: VecDeque<Zeroizing<String>>,
    /// Whether the server took a part.
    begins: bool,
    wait: Wait,
    attempts: u32,
    /// Who reads it, as the server and the signatures say.
    readers: BTreeSet<Reader>,
    /// Which of them are the recipient's.
    recipients: BTreeSet<Reader>,
    /// The counter under which it was given to the server.
    counter: Option<u64>,
    /// Whether a key cannot be wrapped for.
    unusable: bool,
    key: FernetKey,
    wraps: BTreeMap<Target, Wrap>,
}

impl DirectTask {
    fn new(to: UserName, parts: VecDeque<Zeroizing<String>>, note: u64) -> Self {
        Self {
            note,
            to,
            parts,
            begins: false,
            wait: Wait::Nothing,
            attempts: 0,
            readers: BTreeSet::new(),
            recipients: BTreeSet::new(),
            counter: None,
            unusable: false,
            key: FernetKey::generate(),
            wraps: BTreeMap::new(),
        }
    }

    pub(super) fn note(&self) -> u64 {
        self.note
    }

    pub(super) fn begins(&self) -> bool {
        self.begins
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.wait == Wait::Answer && self.counter.is_some()
    }

    /// Nothing follows what is in flight; whether something was to.
    pub(super) fn stop_here(&mut self) -> bool {
        let more = self.parts.len() > 1;
        self.parts.truncate(1);
        more
    }

    pub(super) fn keys_came(&mut self) {
        if self.wait == Wait::Keys {
            self.wait = Wait::Nothing;
        }
    }

    pub(super) fn wrapped(&mut self, id: u64, wraps: Vec<(Target, Wrap)>) -> Option<(usize, usize)> {
        if self.wait == Wait::Wraps(id) {
            self.unusable |= wraps.is_empty();
            self.wraps.extend(wraps);
            self.wait = Wait::Nothing;
        }
        None // so few are done at once
    }
}

impl Machine {
    /// Begins a direct message; a long text makes several.
    pub(super) fn begin_direct(&mut self, to: UserName, text: &Text, note: u64) {
        let Some(own) = self.own() else { return self.not_sent(note, "/login first".to_owned()) };
        let parts = packages::split(text.as_str(), longest_padded(&own.name)).into_iter();
        let parts: VecDeque<_> = parts.map(|part| Zeroizing::new(part.to_owned())).collect();
        if parts.is_empty() {
            return self.not_sent(note, "it is empty".to_owned());
        }
        self.task = Some(Task::Direct(DirectTask::new(to, parts, note)));
    }

    pub(super) fn step_direct(&mut self) -> Step {
        let Some(Task::Direct(direct)) = &mut self.task else { return Step::Goes };
        if direct.wait != Wait::Nothing {
            return Step::Waits;
        }
        if direct.unusable {
            self.drop_task("a key of those who would get it cannot be used");
            return Step::Goes;
        }
        if self.account.as_ref().is_none_or(|own| !own.announced) {
            self.drop_task("/login first");
            return Step::Goes;
        }
        if direct.readers.is_empty() {
            direct.wait = Wait::Answer;
            let user = direct.to.clone();
            self.request(Asked::Sessions { user: user.clone() }, RequestBody::Sessions { user });
            return Step::Waits;
        }
        match self.direct_keys() {
            Ok(Some(missing)) if !missing.is_empty() => self.wrap_direct(missing),
            Ok(Some(_)) => self.send_direct(),
            Ok(None) => {}
            Err(why) => {
                self.drop_task(&why);
                return Step::Goes;
            }
        }
        Step::Waits
    }

    /// The sessions that the message is for.
    pub(super) fn sessions(&mut self, asked: &UserName, stored: UserName, recipient: Vec<Reader>, own: Vec<Reader>) {
        let Some(Task::Direct(direct)) = &mut self.task else { return };
        direct.wait = Wait::Nothing;
        if stored != *asked && stored != asked.normalized() {
            return self.drop_task("the server found somebody else of that name");
        }
        direct.to = stored;
        direct.recipients = recipient.iter().copied().collect();
        direct.readers = recipient.into_iter().chain(own).collect();
        if direct.recipients.is_empty() || direct.readers.len() > READERS {
            self.drop_task("the server names nobody, or too many, who would get it");
        }
    }

    /// The keys for which there is no wrap yet; `None` while some are to come. All must be those of the two accounts: one that
    /// is not would read along.
    fn direct_keys(&mut self) -> Result<Option<Vec<(Target, PublicKey)>>, String> {
        let Some(Task::Direct(direct)) = &self.task else { return Ok(None) };
        let Some(own) = self.account.as_ref().map(|own| own.name.clone()) else { return Ok(None) };
        let (to, readers, recipients) = (direct.to.clone(), direct.readers.clone(), direct.recipients.clone());
        let mut bundles: Vec<(Reader, Arc<Bundle>)> = Vec::new();
        let mut complete = true;
        for reader in readers {
            match self.keys.bundle(reader.bundle, self.now.elapsed) {
                Found::Here(bundle) => bundles.push((reader, Arc::clone(bundle))),
                Found::Not(why) => return Err(format!("the keys of a session that would get it cannot be had: {why}")),
                Found::NotYet => {
                    self.keys.want(reader.bundle);
                    complete = false;
                }
            }
        }
        if !complete {
            if let Some(Task::Direct(direct)) = &mut self.task {
                direct.wait = Wait::Keys;
            }
            return Ok(None);
        }
        let mut missing = BTreeMap::new();
        for (reader, bundle) in bundles {
            let account = if recipients.contains(&reader) { &to } else { &own };
            if bundle.account() != account {
                return Err("the server names a session of somebody else, who would read along".to_owned());
            }
            self.vouch_for_reader(&bundle)?;
            let target = Target::Bundle(bundle.hash());
            let has = matches!(&self.task, Some(Task::Direct(direct)) if direct.wraps.contains_key(&target));
            if !has {
                missing.insert(target, bundle.rsa().clone());
            }
        }
        Ok(Some(missing.into_iter().collect()))
    }

    fn vouch_for_reader(&mut self, bundle: &Bundle) -> Result<(), String> {
        match self.people.meet(bundle) {
            Verdict::Good(_) => Ok(()),
            Verdict::Full => Err("no more names are taken".to_owned()),
            Verdict::Changed { pinned, shown } => {
                let user = bundle.account().clone();
                let why = format!("the key of {} is not the known one", Name(&user));
                self.alarm(Alarm::KeyChanged { with: None, user, pinned, shown });
                Err(why)
            }
        }
    }

    fn wrap_direct(&mut self, mut readers: Vec<(Target, PublicKey)>) {
        self.jobs += 1;
        let id = self.jobs;
        let Some(Task::Direct(direct)) = &mut self.task else { return };
        readers.truncate(WRAPS);
        direct.wait = Wait::Wraps(id);
        let secret = Zeroizing::new(*direct.key.expose_raw());
        self.out.push(Output::Work(Job::Wrap(WrapJob { id, secret, readers })));
    }

    fn send_direct(&mut self) {
        let (Some(Task::Direct(direct)), Some(own)) = (&mut self.task, &self.account) else { return };
        direct.wait = Wait::Answer;
        let text = direct.parts.front().map_or("", |part| part.as_str());
        let plain = envelope::pad(&named(&own.name, text));
        let token = direct.key.seal(plain.as_bytes(), self.now.unix);
        let wraps: Wraps = direct
            .wraps
            .iter()
            .filter_map(|(target, wrap)| match target {
                Target::Bundle(bundle) => Some((*bundle, wrap.clone())),
                Target::Legacy(_) => None,
            })
            .collect();
        let counter = self.directs.next_counter(&direct.to);
        let commitment = direct.key.commitment();
        let stamp = DirectStamp { counter, commitment, signature: Signature([0; 64]) };
        let readers = direct.readers.iter().copied().collect();
        let mut body = DirectBody { encrypted_message: token, wraps, readers, stamp };
        let reader = Reader { bundle: own.bundle.hash(), run: self.run };
        let author = wire::Author { user: own.name.clone(), reader };
        let statement = direct_statement(self.realm, &author, &direct.to, &body);
        body.stamp.signature = self.signing_key.sign(&statement.to_bytes());
        let (user, note) = (direct.to.clone(), direct.note);
        direct.counter = Some(counter);
        self.sent.sent(note);
        self.request(Asked::Direct, RequestBody::Direct(DirectRequest { user, body }));
    }

    pub(super) fn direct_delivered(&mut self) {
        self.use_counter();
        let Some(Task::Direct(direct)) = &mut self.task else { return };
        let (to, mut parts, note) = (direct.to.clone(), std::mem::take(&mut direct.parts), direct.note);
        parts.pop_front();
        if parts.is_empty() {
            self.finish();
            return self.accepted(note, None);
        }
        self.sent.waits(note);
        self.task = Some(Task::Direct(DirectTask { begins: true, ..DirectTask::new(to, parts, note) }));
    }

    /// What was given to the server may have been delivered: nothing else may bear its counter.
    pub(super) fn use_counter(&mut self) {
        if let Some(Task::Direct(DirectTask { to, counter: Some(counter), .. })) = &self.task {
            self.directs.used.insert(to.clone(), *counter);
        }
    }

    pub(super) fn direct_refused(&mut self, code: ErrorCode, text: &Text) {
        let why = self.why_refused(code, text);
        let Some(Task::Direct(direct)) = &mut self.task else { return };
        direct.attempts += 1;
        if code == ErrorCode::ReadersChanged && direct.attempts < ATTEMPTS {
            let (to, parts) = (direct.to.clone(), direct.parts.clone());
            let (attempts, begins) = (direct.attempts, direct.begins);
            let fresh = DirectTask::new(to, parts, direct.note); // with another key: some had that one
            self.task = Some(Task::Direct(DirectTask { attempts, begins, ..fresh }));
            return;
        }
        self.drop_task(&why);
    }

    /// A direct message came.
    pub(super) fn direct_event(&mut self, event: DirectEvent) {
        let Some(own) = &self.account else { return };
        let reader = Reader { bundle: own.bundle.hash(), run: self.run };
        let author = event.author.clone();
        if author.reader == reader {
            return self.alarm(Alarm::OwnEcho(Thing::Direct));
        }
        let is_ours = event.recipient == own.name || author.user == own.name;
        if !is_ours || !event.body.readers.contains(&reader) {
            return self.alarm(Alarm::NotForUs(author.user));
        }
        self.hear(author, Signed::Direct(Box::new(event), self.directs.absences()));
    }

    /// A direct message whose signature holds; `absences` as of when it came.
    pub(super) fn take_direct(&mut self, trust: Trust, event: DirectEvent, absences: u64) {
        let user = event.author.user.clone();
        match self.directs.take(trust == Trust::Own, &event, absences) {
            Counted::Next => {}
            Counted::Gap { missing: count, away } => {
                self.alarm(Alarm::MissingDirect { user: user.clone(), count, away })
            }
            Counted::Repeated => return self.alarm(Alarm::Repeated(Thing::Direct, user)),
            Counted::TooMany => return self.alarm(Alarm::TooManyRuns(Thing::Direct, user)),
        }
        let DirectEvent { recipient, time, body, .. } = event;
        match self.open_direct(&body, &body.stamp.commitment, &user) {
            Err(Unsealed::Unreadable(why)) => self.alarm(Alarm::UnreadableDirect(user, why)),
            Err(Unsealed::OtherName) => self.alarm(Alarm::OtherName(user)),
            Ok(text) => {
                let marks = clocks(&body.encrypted_message, time).into_iter().collect();
                self.show(Shown { author: user, trust, place: Place::Direct { to: recipient }, marks, text });
            }
        }
    }

    fn open_direct(&mut self, body: &DirectBody, commitment: &Commitment, author: &UserName) -> Result<Text, Unsealed> {
        let no_entry = Unsealed::Unreadable(Unreadable::NoEntry);
        let own = self.account.as_ref().map(|own| own.bundle.hash());
        let wrap = own.and_then(|own| body.wraps.get(&own)).ok_or(no_entry)?;
        self.rsa_operations += 1;
        let raw = envelope::unwrap(wrap.as_str(), &self.rsa).ok_or(Unsealed::Unreadable(Unreadable::NotOurs))?;
        unsealed(&FernetKey::from_raw(&raw), commitment, &body.encrypted_message, author)
    }
}
