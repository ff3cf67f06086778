//! The hub without a server: sessions on both wires, through the codecs; a disk that may fail or take its time; passwords that
//! are compared and not hashed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secure_chat::chat::{
    Audience, Change, Dialect, Directory, Effect, Entries, Hub, Input, KnownBundle, Limits, Now, RsaKey, SessionId,
    Verifier, Work, WorkDone, is_waited_for,
};
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{
    Answer, BundleKeys, Event, FromServer, KeyedLine, MAX_LINE, OkBody, Request, RequestBody, RequestType,
    decode_request, decode_server, encode_answer, encode_event, encode_request,
};
use secure_chat::protocol::{ClientMessage, Command, KeyAnnouncement, Package, ServerMessage, legacy};
use secure_chat::transcript::{BundleHash, Ed25519Key, EntryKey, Realm, RosterEntry, RunId, Signature, bundle};

pub const REALM: Realm = Realm([7; 32]);

/// What a session was sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Legacy(ServerMessage),
    Answer(Answer),
    Event(Event),
}

/// The hub, and what stands around it in a server.
pub struct World {
    pub hub: Hub,
    pub now: Now,
    /// What is saved. That each change fits is for the hub to see to.
    pub disk: Entries,
    pub disk_fails: bool,
    /// Whether changes wait until [`World::write`].
    pub disk_waits: bool,
    waiting: VecDeque<(Option<SessionId>, Change)>,
    /// Whether passwords wait until [`World::work_on`].
    pub work_waits: bool,
    to_work_on: VecDeque<(SessionId, Work)>,
    /// Passwords that were checked or hashed.
    pub work: usize,
    next_session: u64,
    next_id: u64,
    asked: HashMap<(SessionId, u64), RequestType>,
    /// The lines of the modern wire that were said, when they are recorded.
    pub said: Option<Vec<(SessionId, Vec<u8>)>>,
    heard: HashMap<SessionId, Vec<Heard>>,
    /// Sessions that the hub ended.
    pub ended: HashSet<SessionId>,
    /// Sessions that wait to be told that they may go on.
    pub waits: HashSet<SessionId>,
}

impl World {
    /// Nobody is there but god's account.
    pub fn new() -> Self {
        Self::with_seed([2; 32])
    }

    pub fn with_seed(seed: [u8; 32]) -> Self {
        let mut disk = Entries::default();
        disk.apply(Change::AddUser { user: UserName::god(), password: Verifier::new("pw") }).unwrap();
        Self {
            // One user may stand for a crowd.
            hub: Hub::new(Directory::new(disk.clone()), REALM, seed)
                .with_limits(Limits { sessions_per_user: 2048, ..Limits::default() }),
            now: Now { elapsed: Duration::from_secs(1000), unix_ms: 1_800_000_000_000 },
            disk,
            disk_fails: false,
            disk_waits: false,
            waiting: VecDeque::new(),
            work_waits: false,
            to_work_on: VecDeque::new(),
            work: 0,
            next_session: 1,
            next_id: 1,
            asked: HashMap::new(),
            said: None,
            heard: HashMap::new(),
            ended: HashSet::new(),
            waits: HashSet::new(),
        }
    }

    pub fn connect(&mut self, dialect: Dialect) -> SessionId {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.feed(Input::Connected(session, IpAddr::from([127, 0, 0, 1]), dialect));
        session
    }

    pub fn disconnect(&mut self, session: SessionId) {
        self.waits.remove(&session);
        self.feed(Input::Disconnected(session));
    }

    /// Feeds one input, and everything that follows from it at once.
    pub fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.hub.handle(self.now, input) {
                self.carry_out(effect, &mut inputs);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect, inputs: &mut VecDeque<Input>) {
        match effect {
            Effect::Send(to, message) => self.hear(to, Heard::Legacy(message)),
            Effect::Deliver(to, message) => {
                to.into_iter().for_each(|to| self.hear(to, Heard::Legacy(message.clone())));
            }
            Effect::Answer(to, answer) => {
                let answer = self.through_codec(to, &answer);
                self.hear(to, answer);
            }
            Effect::Tell(to, event) => {
                let mut line = Vec::new();
                encode_event(&event, &mut line);
                let read = FromServer::Event(*event.clone());
                assert!(line.len() <= MAX_LINE, "an event of {} bytes", line.len());
                assert_eq!(decode_server(line.trim_ascii_end(), |_| None), Ok(read));
                to.iter().for_each(|to| self.hear(to, Heard::Event(*event.clone())));
            }
            Effect::TellKeyed(message, keys) => {
                let line = KeyedLine::new(&message);
                for (to, key) in keys {
                    let event = message.with_key(key.clone());
                    let (mut whole, mut keyed) = (Vec::new(), Vec::new());
                    encode_event(&event, &mut whole);
                    line.encode_with(&key, &mut keyed);
                    assert_eq!(keyed, whole);
                    self.carry_out(Effect::Tell(Audience::One(to), Box::new(event)), inputs);
                }
            }
            Effect::Work(to, work) if self.work_waits => self.to_work_on.push_back((to, work)),
            Effect::Work(to, work) => {
                self.work += 1;
                inputs.push_back(Input::Worked(to, perform(work)));
            }
            Effect::Store(session, change) if self.disk_waits => self.waiting.push_back((session, change)),
            Effect::Store(session, change) => inputs.push_back(self.save(session, change)),
            Effect::Ready(to) => assert!(self.waits.remove(&to), "{to} does not wait"),
            Effect::End(session) => {
                self.ended.insert(session);
                self.waits.remove(&session);
            }
            Effect::SaveKey(key) => assert!(self.disk.users.contains_key(&key.user)),
            Effect::Suspicious(..) => {}
        }
    }

    fn save(&mut self, session: Option<SessionId>, change: Change) -> Input {
        let saved = !self.disk_fails;
        if saved {
            self.disk.apply(change.clone()).expect("what reaches the disk fits");
        }
        Input::Stored { session, change, saved }
    }

    /// Writes the change that has waited longest.
    pub fn write(&mut self) {
        if let Some((session, change)) = self.waiting.pop_front() {
            let stored = self.save(session, change);
            self.feed(stored);
        }
    }

    /// How many passwords wait until [`World::work_on`].
    pub fn at_work(&self) -> usize {
        self.to_work_on.len()
    }

    /// Looks at the password that has waited longest.
    pub fn work_on(&mut self) {
        if let Some((session, work)) = self.to_work_on.pop_front() {
            self.work += 1;
            self.feed(Input::Worked(session, perform(work)));
        }
    }

    /// The answer as its line is read.
    fn through_codec(&self, to: SessionId, answer: &Answer) -> Heard {
        let mut line = Vec::new();
        encode_answer(answer, &mut line);
        assert!(line.len() <= MAX_LINE, "an answer of {} bytes", line.len());
        let read = decode_server(line.trim_ascii_end(), |id| self.asked.get(&(to, id)).copied());
        assert_eq!(read, Ok(FromServer::Answer(answer.clone())));
        Heard::Answer(answer.clone())
    }

    fn hear(&mut self, to: SessionId, heard: Heard) {
        assert!(!self.ended.contains(&to), "{to} has ended, and hears {heard:?}");
        self.heard.entry(to).or_default().push(heard);
    }

    /// Takes what a session was sent.
    pub fn take(&mut self, session: SessionId) -> Vec<Heard> {
        self.heard.remove(&session).unwrap_or_default()
    }

    /// Takes the events that a session was sent.
    pub fn events(&mut self, session: SessionId) -> Vec<Event> {
        let event = |heard| if let Heard::Event(event) = heard { Some(event) } else { None };
        self.take(session).into_iter().filter_map(event).collect()
    }

    /// Takes the texts that a session on the legacy wire was sent; a package as its JSON.
    pub fn texts(&mut self, session: SessionId) -> Vec<String> {
        let reader = self.hub.user_of(session).cloned();
        let mut texts = Vec::new();
        for heard in self.take(session) {
            let Heard::Legacy(message) = heard else { panic!("{heard:?} on the legacy wire") };
            legacy::encode_server(&message).records_for(reader.as_ref(), &mut Vec::new(), |record| {
                texts.push(String::from_utf8(record.to_vec()).unwrap());
            });
        }
        texts
    }

    pub fn forget_all(&mut self) {
        self.heard.clear();
    }

    /// Lets time pass, and calls the hub when it wants to be called.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.elapsed + time;
        while let Some(due) = self.hub.deadline().filter(|due| *due <= end) {
            self.advance_to(due.max(self.now.elapsed));
            self.feed(Input::Tick);
        }
        self.advance_to(end);
    }

    fn advance_to(&mut self, elapsed: Duration) {
        self.now.unix_ms += (elapsed - self.now.elapsed).as_millis() as u64;
        self.now.elapsed = elapsed;
    }

    /// Sends a request through the codec; its id.
    pub fn request(&mut self, session: SessionId, body: RequestBody) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let kind = body.kind();
        self.asked.insert((session, id), kind);
        let mut line = Vec::new();
        encode_request(&Request { id, body }, &mut line);
        self.line(session, line.trim_ascii_end(), is_waited_for(kind));
        id
    }

    /// A line of the modern wire as it came, whatever it says.
    pub fn say_line(&mut self, session: SessionId, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return; // a connection passes over it
        }
        let asked = decode_request(line).ok().map(|request| (request.id, request.body.kind()));
        if let Some((id, kind)) = asked {
            self.asked.insert((session, id), kind);
        }
        self.line(session, line, asked.is_some_and(|(_, kind)| is_waited_for(kind)));
    }

    /// A message of the legacy wire as it came. A key is good when it is one of [`World::key`].
    pub fn say_message(&mut self, session: SessionId, message: &[u8]) {
        match legacy::decode_client(message) {
            ClientMessage::Key(KeyAnnouncement { user, pem }) => {
                let is_good = pem.starts_with("key ");
                let spki = pem.as_bytes().into();
                let key = if is_good { Ok(RsaKey { pem, spki }) } else { Err("it is broken".into()) };
                self.feed(Input::Key { session, user, key });
            }
            message => {
                if matches!(message, ClientMessage::Command(_)) {
                    assert!(self.waits.insert(session), "{session} still waits");
                }
                self.feed(Input::Message(session, message));
            }
        }
    }

    fn line(&mut self, session: SessionId, line: &[u8], waits: bool) {
        if let Some(said) = &mut self.said {
            said.push((session, line.to_vec()));
        }
        if waits {
            assert!(self.waits.insert(session), "{session} still waits");
        }
        match decode_request(line) {
            Ok(Request { id, body: RequestBody::Announce { keys, run } }) => {
                let user = self.hub.user_of(session).cloned().unwrap_or(UserName::new("nobody"));
                let bundle = known_bundle(&user, keys);
                let hash = bundle.hash;
                // It is good when its RSA key signed it, which is: when it ends with a one.
                let is_good = bundle.keys.rsa_signature.last() == Some(&1);
                let bundle = if is_good { Ok(bundle) } else { Err("it is broken".into()) };
                self.feed(Input::Announce { session, id, run, hash, bundle });
            }
            Ok(request) => self.feed(Input::Request(session, Ok(Box::new(request)))),
            Err(refusal) => self.feed(Input::Request(session, Err(refusal))),
        }
    }

    /// Sends a request and takes its answer, with the parts before it; what else was heard stays.
    pub fn ask(&mut self, session: SessionId, body: RequestBody) -> (Vec<Answer>, Option<Answer>) {
        let id = self.request(session, body);
        self.answer_to(session, id)
    }

    /// Takes the answer to a request, if it came.
    pub fn answer_to(&mut self, session: SessionId, id: u64) -> (Vec<Answer>, Option<Answer>) {
        let (mut parts, mut last, mut rest) = (Vec::new(), None, Vec::new());
        for heard in self.take(session) {
            match heard {
                Heard::Answer(part @ Answer::Part { .. }) if part_of(&part) == Some(id) => parts.push(part),
                Heard::Answer(answer) if part_of(&answer) == Some(id) => {
                    assert_eq!(last.replace(answer), None, "a request has one answer");
                }
                heard => rest.push(heard),
            }
        }
        if !rest.is_empty() {
            self.heard.insert(session, rest);
        }
        (parts, last)
    }

    /// Asks for something that is granted.
    #[track_caller]
    pub fn ok(&mut self, session: SessionId, body: RequestBody) -> OkBody {
        match self.ask(session, body.clone()).1 {
            Some(Answer::Ok { body, .. }) => body,
            other => panic!("{body:?} was answered with {other:?}"),
        }
    }

    /// Asks for something that is refused; the word of the error.
    #[track_caller]
    pub fn refused(&mut self, session: SessionId, body: RequestBody) -> &'static str {
        match self.ask(session, body.clone()).1 {
            Some(Answer::Error { code, .. }) => code.kind().as_str(),
            other => panic!("{body:?} was answered with {other:?}"),
        }
    }

    /// A command on the legacy wire; what comes back.
    #[track_caller]
    pub fn command(&mut self, session: SessionId, line: &str) -> Vec<String> {
        self.take(session);
        assert!(self.waits.insert(session), "{session} still waits");
        let message = legacy::decode_client(&legacy::encode_command(line));
        assert!(matches!(message, ClientMessage::Command(Command::Unknown) | ClientMessage::Command(_)));
        self.feed(Input::Message(session, message));
        self.texts(session)
    }

    /// A legacy member announces a key.
    pub fn key(&mut self, session: SessionId, user: &UserName, key: u8) {
        let key = Ok(RsaKey { pem: format!("key {key}").into(), spki: [key; 4].into() });
        self.feed(Input::Key { session, user: user.clone(), key });
    }

    /// A legacy member says something.
    pub fn package(&mut self, session: SessionId, room: &RoomName, token: &str, keys: &[(&str, &str)]) {
        let keys = keys.iter().map(|(user, key)| ((*user).to_owned(), (*key).to_owned())).collect();
        let package = Package::new(token.to_owned(), keys, room.clone());
        self.feed(Input::Message(session, ClientMessage::Chat(Ok(package))));
    }

    /// An account, made by the back door.
    pub fn add_user(&mut self, name: &str) {
        let user = UserName::new(name);
        self.change(Change::AddUser { user, password: Verifier::new("pw") });
    }

    /// A change that nobody at a session asks for.
    pub fn change(&mut self, change: Change) {
        self.disk.apply(change.clone()).unwrap();
        self.feed(Input::Stored { session: None, change, saved: true });
    }

    /// Somebody on the modern wire who has logged in and announced bundle `keys` under run `run`.
    #[track_caller]
    pub fn announced(&mut self, user: &str, keys: u8, run: u16) -> SessionId {
        let session = self.connect(Dialect::Modern);
        self.ok(session, login(user));
        self.ok(session, announce(keys, run));
        session
    }

    /// Somebody on the legacy wire who has logged in.
    #[track_caller]
    pub fn legacy(&mut self, user: &str) -> SessionId {
        let session = self.connect(Dialect::Legacy);
        assert_eq!(
            self.command(session, &format!("/login {user} pw")),
            [format!("Login successful. Welcome, {user}!")]
        );
        session
    }
}

fn part_of(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Ok { id, .. } | Answer::Part { id, .. } => Some(*id),
        Answer::Error { id, .. } => *id,
    }
}

fn perform(work: Work) -> WorkDone {
    match work {
        Work::Hash(password) => WorkDone::Hashed(Verifier::new(password.expose())),
        Work::Check { password, verifier } => {
            let right = verifier.is_some_and(|verifier| verifier.as_str() == password.expose());
            WorkDone::Checked { right, better: None }
        }
    }
}

pub fn password(text: &str) -> Password {
    Password::new(text)
}

pub fn login(user: &str) -> RequestBody {
    RequestBody::Login { user: UserName::new(user), password: password("pw") }
}

pub fn announce(keys: u8, run: u16) -> RequestBody {
    RequestBody::Announce { keys: bundle_keys(keys), run: run_id(run) }
}

pub fn join(room: &str) -> RequestBody {
    RequestBody::Join { room: RoomName::new(room), password: Some(password("pw")) }
}

pub fn run_id(run: u16) -> RunId {
    RunId(u128::from(run).to_be_bytes())
}

/// Keys that count as good, different ones for each number.
pub fn bundle_keys(number: u8) -> BundleKeys {
    BundleKeys {
        signing_key: Ed25519Key([number; 32]),
        rsa_key: [number; 30].into(),
        signature: Signature([number; 64]),
        rsa_signature: [number, 1].into(),
    }
}

pub fn known_bundle(user: &UserName, keys: BundleKeys) -> Arc<KnownBundle> {
    let hash = BundleHash::of(&bundle(&REALM, user, &keys.signing_key, &keys.rsa_key));
    Arc::new(KnownBundle { hash, account: user.clone(), keys })
}

/// The entry of somebody on the modern wire.
pub fn entry(user: &str, keys: u8, run: u16) -> RosterEntry {
    let account = UserName::new(user);
    let key = EntryKey::Modern(known_bundle(&account, bundle_keys(keys)).hash);
    RosterEntry { account, key, run: run_id(run) }
}
