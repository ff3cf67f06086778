//! The server without sockets and threads: the real hub, the real codec, and between them what a connection's thread does.
//! Passwords are compared as they are, and the disk is a value.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use secure_chat::chat::{
    Audience, Change, Dialect, Directory, Effect, Entries, Hub, Input, KnownBundle, Now, RsaKey, SessionId, Verifier,
    Work, WorkDone, is_waited_for,
};
use secure_chat::crypto::{Bundle, PublicKey, SigningKey};
use secure_chat::names::Text;
use secure_chat::names::UserName;
use secure_chat::protocol::modern::{
    Answer, BundleKeys, ByeReason, ErrorCode, Event, Hello, KeyedLine, Limits, MAX_GUEST_LINE, MAX_LINE, OkBody,
    Refusal, RequestBody, decode_request, encode_answer, encode_event, encode_hello,
};
use secure_chat::protocol::{ClientMessage, ServerMessage};
use secure_chat::transcript::{self, BundleHash, Realm, RunId, Signature, Verb};

use super::keys;

/// When the world begins, in milliseconds since 1970.
pub const BEGIN: u64 = 1_700_000_000_000;

/// What a session is sent.
#[derive(Debug, Clone)]
pub enum Down {
    /// A line of the modern wire, without its end.
    Line(Rc<[u8]>),
    /// A message of the legacy wire.
    Legacy(ServerMessage),
    /// The connection ends.
    End,
}

/// Something that the hub decided.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A session is in a room, as of an event of its log.
    Joined { session: SessionId, room: String, n: u64 },
    /// A session is in no room any more.
    Left(SessionId),
    /// A message was taken, for the first time: it bears this signature and position.
    Said { session: SessionId, signature: Signature, room: String, n: u64, at: u64 },
    /// A direct message was passed on to these runs.
    Whispered { session: SessionId, signature: Signature, readers: Vec<RunId> },
}

/// What a session asked for, as far as its answer says something that happened.
enum Asked {
    Login,
    Leave,
    Send { signature: Signature, room: String, at: u64 },
    Direct { signature: Signature, readers: Vec<RunId> },
}

struct Connection {
    dialect: Dialect,
    inbox: VecDeque<Vec<u8>>,
    /// Whether its thread waits for the hub.
    busy: bool,
}

/// The server.
pub struct Server {
    pub hub: Hub,
    realm_key: SigningKey,
    /// What would be read at the next start.
    pub disk: Entries,
    starts: u8,
    connections: BTreeMap<SessionId, Connection>,
    last: u64,
    out: VecDeque<(SessionId, Down)>,
    /// Changes on their way to the disk.
    storing: VecDeque<(Option<SessionId>, Change)>,
    /// Whether the disk takes its time: then [`Server::store_one`] says when a change is there.
    pub slow_disk: bool,
    /// What each start of the hub draws from.
    seed: u8,
    asked: HashMap<(SessionId, u64), Asked>,
    /// What the hub decided, in order, when it is recorded.
    pub happened: Option<Vec<Happening>>,
}

/// The bytes of TLS that a connection has and no other.
pub fn exporter(session: SessionId) -> [u8; 32] {
    let mut exporter = [0x5e; 32];
    exporter[..8].copy_from_slice(&session.0.to_be_bytes());
    exporter
}

impl Server {
    /// A server with an account god and nobody else.
    pub fn new(seed: u8) -> Self {
        let realm_key = keys::signing("realm");
        let mut disk = Entries::default();
        disk.apply(Change::AddUser { user: UserName::god(), password: Verifier::new("pw") }).unwrap();
        let hub = Hub::new(Directory::new(disk.clone()), realm_key.verifying_key().realm(), [seed; 32]);
        Self {
            hub,
            realm_key,
            disk,
            starts: 0,
            connections: BTreeMap::new(),
            last: 0,
            out: VecDeque::new(),
            storing: VecDeque::new(),
            slow_disk: false,
            seed,
            asked: HashMap::new(),
            happened: None,
        }
    }

    /// What names it.
    pub fn realm(&self) -> Realm {
        self.realm_key.verifying_key().realm()
    }

    /// The key of its realm: whoever runs the server has it.
    pub fn realm_key(&self) -> &SigningKey {
        &self.realm_key
    }

    /// Puts something on the disk before anybody comes.
    pub fn prepare(&mut self, change: Change) {
        self.disk.apply(change).unwrap();
        self.hub = Hub::new(Directory::new(self.disk.clone()), self.realm(), [self.seed; 32]);
    }

    /// Takes what is to be sent, in order.
    pub fn next_out(&mut self) -> Option<(SessionId, Down)> {
        self.out.pop_front()
    }

    /// Somebody connects.
    pub fn open(&mut self, now: Duration, dialect: Dialect) -> SessionId {
        self.last += 1;
        let session = SessionId(self.last);
        self.connections.insert(session, Connection { dialect, inbox: VecDeque::new(), busy: false });
        if dialect == Dialect::Modern {
            let hello = self.hello(now, session);
            let mut line = Vec::new();
            encode_hello(&hello, &mut line);
            self.push_line(session, line);
        }
        // Addresses differ, so that nobody is slowed down for a neighbour's mistakes.
        let [.., a, b, c] = self.last.to_be_bytes();
        self.feed(now, Input::Connected(session, IpAddr::from([10, a, b, c]), dialect));
        session
    }

    /// The first line of a connection.
    pub fn hello(&self, now: Duration, session: SessionId) -> Hello {
        Hello {
            server: Text::sanitize("secure-chat 0"),
            realm: self.realm(),
            signature: self.realm_key.sign(&transcript::hello(&exporter(session))),
            time: unix_ms(now),
            limits: Limits::default(),
            motd: Some(Text::sanitize("Be kind.")),
        }
    }

    /// A connection is gone.
    pub fn close(&mut self, now: Duration, session: SessionId) {
        if self.connections.remove(&session).is_some() {
            self.happens(Happening::Left(session));
            self.feed(now, Input::Disconnected(session));
        }
    }

    /// A line came from a session on the modern wire, here without its end.
    pub fn line(&mut self, now: Duration, session: SessionId, line: Vec<u8>) {
        let Some(connection) = self.connections.get_mut(&session) else { return };
        connection.inbox.push_back(line);
        self.work_on(now, session);
    }

    /// A message came from a session on the legacy wire.
    pub fn legacy(&mut self, now: Duration, session: SessionId, message: ClientMessage) {
        if !self.connections.contains_key(&session) {
            return;
        }
        let input = match message {
            ClientMessage::Key(announced) => {
                let key = PublicKey::from_pem(&announced.pem)
                    .map(|key| RsaKey { pem: Arc::clone(key.pem()), spki: Arc::clone(key.spki_der()) })
                    .map_err(|why| why.to_string());
                Input::Key { session, user: announced.user, key }
            }
            message => Input::Message(session, message),
        };
        self.feed(now, input);
    }

    /// When the hub wants to be woken.
    pub fn deadline(&self) -> Option<Duration> {
        self.hub.deadline()
    }

    /// The hub's moment has come.
    pub fn tick(&mut self, now: Duration) {
        self.feed(now, Input::Tick);
    }

    /// The oldest change that is on its way is on the disk.
    pub fn store_one(&mut self, now: Duration) -> bool {
        let Some((session, change)) = self.storing.pop_front() else { return false };
        self.disk.apply(change.clone()).unwrap();
        self.feed(now, Input::Stored { session, change, saved: true });
        true
    }

    /// Stops and starts again with what is on the disk. Everybody is cut off; those on the modern wire are told.
    pub fn restart(&mut self, now: Duration) {
        while self.store_one(now) {}
        self.out.clear();
        for (session, connection) in std::mem::take(&mut self.connections) {
            if connection.dialect == Dialect::Modern {
                self.push_event(session, &Event::bye(ByeReason::ShuttingDown));
            }
            self.out.push_back((session, Down::End));
            self.happens(Happening::Left(session));
        }
        self.asked.clear();
        self.starts += 1;
        let seed = [self.seed.wrapping_add(self.starts.wrapping_mul(37)); 32];
        self.hub = Hub::new(Directory::new(self.disk.clone()), self.realm(), seed);
    }

    /// Handles a connection's lines up to one that is waited for.
    fn work_on(&mut self, now: Duration, session: SessionId) {
        while let Some(line) =
            self.connections.get_mut(&session).filter(|c| !c.busy).and_then(|connection| connection.inbox.pop_front())
        {
            self.take(now, session, &line);
        }
    }

    fn take(&mut self, now: Duration, session: SessionId, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let limit = if self.hub.user_of(session).is_some() { MAX_LINE } else { MAX_GUEST_LINE };
        let request = if line.len() >= limit {
            Err(Refusal { id: None, code: ErrorCode::LineTooLong, field: None })
        } else {
            decode_request(line)
        };
        let waits = request.as_ref().is_ok_and(|request| is_waited_for(request.body.kind()));
        if let Some(connection) = self.connections.get_mut(&session) {
            connection.busy = waits;
        }
        if let (Ok(request), true) = (&request, self.happened.is_some()) {
            self.asked.extend(asked(&request.body).map(|asked| ((session, request.id), asked)));
        }
        let input = match request {
            Ok(request) if matches!(request.body, RequestBody::Announce { .. }) => {
                let RequestBody::Announce { keys, run } = request.body else { unreachable!() };
                let (hash, bundle) = self.check(session, keys);
                Input::Announce { session, id: request.id, run, hash, bundle }
            }
            request => Input::Request(session, request.map(Into::into)),
        };
        self.feed(now, input);
    }

    fn check(&self, session: SessionId, keys: BundleKeys) -> (BundleHash, Result<Arc<KnownBundle>, String>) {
        let account = self.hub.user_of(session).cloned().unwrap_or_else(|| UserName::new("nobody"));
        let BundleKeys { signing_key, rsa_key, signature, rsa_signature } = &keys;
        let hash = BundleHash::of(&transcript::bundle(&self.realm(), &account, signing_key, rsa_key));
        let bundle = Bundle::verify(&self.realm(), &account, signing_key, rsa_key, signature, rsa_signature);
        let known = |bundle: Bundle| Arc::new(KnownBundle { hash: bundle.hash(), account, keys });
        (hash, bundle.map(known).map_err(|why| why.to_string()))
    }

    fn feed(&mut self, now: Duration, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut ready = Vec::new();
        while let Some(input) = inputs.pop_front() {
            let effects = self.hub.handle(Now { elapsed: now, unix_ms: unix_ms(now) }, input);
            for effect in effects {
                self.carry_out(effect, &mut inputs, &mut ready);
            }
        }
        for session in ready {
            if let Some(connection) = self.connections.get_mut(&session) {
                connection.busy = false;
                self.work_on(now, session);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect, inputs: &mut VecDeque<Input>, ready: &mut Vec<SessionId>) {
        match effect {
            Effect::Send(session, message) => self.out.push_back((session, Down::Legacy(message))),
            Effect::Deliver(sessions, message) => {
                self.out.extend(sessions.into_iter().map(|session| (session, Down::Legacy(message.clone()))));
            }
            Effect::Answer(session, answer) => {
                self.note_answer(session, &answer);
                self.push_answer(session, &answer);
            }
            Effect::Tell(audience, event) => {
                if let (Event::Removed { .. }, Audience::One(session)) = (&*event, &audience) {
                    self.happens(Happening::Left(*session));
                }
                let mut line = Vec::new();
                encode_event(&event, &mut line);
                let line = without_end(line);
                self.out.extend(audience.iter().map(|session| (session, Down::Line(Rc::clone(&line)))));
            }
            Effect::TellKeyed(message, keys) => {
                let keyed = KeyedLine::new(&message);
                for (session, key) in keys {
                    let mut line = Vec::new();
                    keyed.encode_with(&key, &mut line);
                    self.out.push_back((session, Down::Line(without_end(line))));
                }
            }
            Effect::End(session) => {
                self.connections.remove(&session);
                self.out.push_back((session, Down::End));
                self.happens(Happening::Left(session));
            }
            Effect::Work(session, work) => inputs.push_back(Input::Worked(session, perform(work))),
            Effect::Store(session, change) => {
                self.storing.push_back((session, change));
                if !self.slow_disk {
                    let (session, change) = self.storing.pop_back().unwrap();
                    self.disk.apply(change.clone()).unwrap();
                    inputs.push_back(Input::Stored { session, change, saved: true });
                }
            }
            Effect::Ready(session) => ready.push(session),
            Effect::SaveKey(_) | Effect::Suspicious(..) => {}
        }
    }

    fn happens(&mut self, happening: Happening) {
        self.happened.iter_mut().for_each(|happened| happened.push(happening.clone()));
    }

    fn note_answer(&mut self, session: SessionId, answer: &Answer) {
        if self.happened.is_none() {
            return;
        }
        let (id, body) = match answer {
            Answer::Ok { id, body } => (*id, body),
            Answer::Error { id: Some(id), .. } => return drop(self.asked.remove(&(session, *id))),
            _ => return,
        };
        let asked = self.asked.remove(&(session, id));
        match (body, asked) {
            (OkBody::Join(join), _) => {
                self.happens(Happening::Joined { session, room: join.room.to_string(), n: join.n });
            }
            (_, Some(Asked::Login | Asked::Leave)) => self.happens(Happening::Left(session)),
            (OkBody::Send(accepted), Some(Asked::Send { signature, room, at })) if !accepted.duplicate => {
                self.happens(Happening::Said { session, signature, room, n: accepted.n, at });
            }
            (_, Some(Asked::Direct { signature, readers })) => {
                self.happens(Happening::Whispered { session, signature, readers });
            }
            _ => {}
        }
    }

    fn push_answer(&mut self, session: SessionId, answer: &Answer) {
        let mut line = Vec::new();
        encode_answer(answer, &mut line);
        self.push_line(session, line);
    }

    fn push_event(&mut self, session: SessionId, event: &Event) {
        let mut line = Vec::new();
        encode_event(event, &mut line);
        self.push_line(session, line);
    }

    fn push_line(&mut self, session: SessionId, line: Vec<u8>) {
        self.out.push_back((session, Down::Line(without_end(line))));
    }
}

fn asked(request: &RequestBody) -> Option<Asked> {
    Some(match request {
        RequestBody::Login { .. } => Asked::Login,
        RequestBody::Act(act) if act.deed.verb == Verb::Leave => Asked::Leave,
        RequestBody::Send(send) => {
            let (signature, at) = (send.stamp.signature, send.stamp.at.n);
            Asked::Send { signature, room: send.room.to_string(), at }
        }
        RequestBody::Direct(direct) => Asked::Direct {
            signature: direct.body.stamp.signature,
            readers: direct.body.readers.iter().map(|reader| reader.run).collect(),
        },
        _ => return None,
    })
}

/// The time on the wire.
pub fn unix_ms(now: Duration) -> u64 {
    BEGIN + u64::try_from(now.as_millis()).unwrap()
}

fn without_end(mut line: Vec<u8>) -> Rc<[u8]> {
    assert_eq!(line.pop(), Some(b'\n'), "every line has an end");
    assert!(line.len() < MAX_LINE && !line.contains(&b'\n'), "the server's own lines keep the limit");
    line.into()
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
