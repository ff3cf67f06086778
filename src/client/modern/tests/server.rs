//! An honest server as the clients' tests need it: the specification's, without disks, limits and passwords that are wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::crypto::{PublicKey, SigningKey};
use crate::names::{RoomName, Text, UserName};
use crate::protocol::modern::*;
use crate::transcript::{
    self, BundleHash, EntryKey, Event as Hashed, LogNonce, MessageHash, Position, Realm, RoomId, RosterEntry, RunId,
    Verb, changes_hash, log_start, roster_hash,
};

/// A line for a session.
pub(super) struct Line {
    pub(super) to: usize,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Answer(Answer),
    Event(Event),
}

impl What {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut line = Vec::new();
        match self {
            Self::Answer(answer) => encode_answer(answer, &mut line),
            Self::Event(event) => encode_event(event, &mut line),
        }
        assert_eq!(line.pop(), Some(b'\n'));
        assert!(line.len() < MAX_LINE);
        line
    }
}

#[derive(Default)]
struct Session {
    user: Option<UserName>,
    reader: Option<Reader>,
    token: Option<SessionToken>,
    room: Option<RoomName>,
    attached: EncryptedKeys,
}

pub(super) struct Room {
    pub(super) id: RoomId,
    pub(super) entries: Vec<RosterEntry>,
    away: BTreeSet<RunId>,
    pub(super) head: Position,
    pub(super) values: Vec<Position>,
    topic: String,
    pub(super) modern_only: bool,
    counters: BTreeMap<(UserName, RunId), (u64, Accepted)>,
    muted: BTreeSet<UserName>,
    /// No statement from before is taken.
    stale_before: u64,
    /// Whether changes are listed by name.
    pub(super) hashes_changes: bool,
}

/// What legacy members got: the token, and their key of it.
pub(super) type ForLegacy = (UserName, String, Option<String>);

pub(super) struct Server {
    pub(super) key: SigningKey,
    sessions: BTreeMap<usize, Session>,
    pub(super) bundles: BTreeMap<BundleHash, Arc<Bundle>>,
    tokens: Vec<(SessionToken, UserName, Reader)>,
    pub(super) rooms: BTreeMap<RoomName, Room>,
    pub(super) time: u64,
    pub(super) legacy_got: Vec<ForLegacy>,
    drawn: u8,
    /// Answers the next `send` so.
    pub(super) next_send: Option<ErrorCode>,
    pub(super) next_grant: Option<ErrorCode>,
    pub(super) next_direct: Option<ErrorCode>,
    pub(super) requests: BTreeMap<&'static str, usize>,
    /// Whether it tells of kicks and leaves, and takes nobody off the list.
    pub(super) keeps_the_kicked: bool,
}

type Out = Vec<Line>;

fn answer(to: usize, answer: Answer) -> Line {
    Line { to, what: What::Answer(answer) }
}

fn error(to: usize, id: u64, code: ErrorCode) -> Line {
    answer(to, Answer::error(id, code))
}

impl Server {
    pub(super) fn new() -> Self {
        Self::of([200; 32])
    }

    pub(super) fn of(key: [u8; 32]) -> Self {
        Self {
            key: SigningKey::from_seed(&key),
            sessions: BTreeMap::new(),
            bundles: BTreeMap::new(),
            tokens: Vec::new(),
            rooms: BTreeMap::new(),
            time: 1_700_000_000_000,
            legacy_got: Vec::new(),
            drawn: 0,
            next_send: None,
            next_grant: None,
            next_direct: None,
            requests: BTreeMap::new(),
            keeps_the_kicked: false,
        }
    }

    pub(super) fn realm(&self) -> Realm {
        self.key.verifying_key().realm()
    }

    pub(super) fn hello(&self, exporter: &[u8; 32]) -> Vec<u8> {
        let hello = Hello {
            server: Text::sanitize("a test"),
            realm: self.realm(),
            signature: self.key.sign(&transcript::hello(exporter)),
            time: self.time,
            limits: Limits::default(),
            motd: None,
        };
        let mut line = Vec::new();
        encode_hello(&hello, &mut line);
        line.pop();
        line
    }

    pub(super) fn connect(&mut self, session: usize) {
        self.sessions.insert(session, Session::default());
    }

    /// The session's connection is lost: it is away.
    pub(super) fn disconnect(&mut self, session: usize) {
        let Some(Session { room: Some(room), reader: Some(reader), .. }) = self.sessions.remove(&session) else {
            return;
        };
        if let Some(room) = self.rooms.get_mut(&room) {
            room.away.insert(reader.run);
        }
    }

    /// The places of those who are away are kept no longer.
    pub(super) fn forget_away(&mut self, name: &RoomName) -> Out {
        let room = self.rooms.get_mut(name).expect("a room");
        let away = std::mem::take(&mut room.away);
        let gone = room.entries.iter().filter(|entry| away.contains(&entry.run)).cloned().collect();
        let mut out = Out::new();
        self.change(name, Vec::new(), gone, None, &mut out);
        out
    }

    pub(super) fn reader(&self, session: usize) -> Reader {
        self.sessions[&session].reader.expect("an announced session")
    }

    pub(super) fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    /// All that the server has not on its disk is gone.
    pub(super) fn restart(&mut self) {
        self.sessions.clear();
        self.tokens.clear();
        for (name, room) in &mut self.rooms {
            self.drawn += 1;
            room.entries.clear();
            room.away.clear();
            room.counters.clear();
            room.head = start(self.key.verifying_key().realm(), &room.id, name, self.drawn);
            room.values = vec![room.head];
        }
    }

    fn draw<const N: usize>(&mut self) -> [u8; N] {
        self.drawn += 1;
        [self.drawn; N]
    }

    pub(super) fn line(&mut self, session: usize, line: &[u8]) -> Out {
        let Request { id, body } = decode_request(line).expect("a request");
        *self.requests.entry(body.kind().as_str()).or_default() += 1;
        let mut out = Vec::new();
        self.time += 1;
        self.request(session, id, body, &mut out);
        out
    }

    fn request(&mut self, s: usize, id: u64, body: RequestBody, out: &mut Out) {
        let ok = |body| answer(s, Answer::Ok { id, body });
        let time = self.time;
        match body {
            RequestBody::Ping => out.push(ok(OkBody::Ping { time })),
            RequestBody::Register { user, .. } => out.push(ok(OkBody::Register { user })),
            RequestBody::Login { user, .. } => {
                let user = user.normalized();
                self.sessions.insert(s, Session { user: Some(user.clone()), ..Session::default() });
                out.push(ok(OkBody::Login { user }));
            }
            RequestBody::Announce { keys, run } => {
                let user = self.sessions[&s].user.clone().expect("a log-in");
                let bytes = transcript::bundle(&self.realm(), &user, &keys.signing_key, &keys.rsa_key);
                let bundle = BundleHash::of(&bytes);
                self.bundles.insert(bundle, Arc::new(Bundle::Modern { user: user.clone(), keys }));
                let token = SessionToken::new(self.draw());
                let reader = Reader { bundle, run };
                self.tokens.push((token.clone(), user, reader));
                let session = self.sessions.get_mut(&s).unwrap();
                (session.reader, session.token) = (Some(reader), Some(token.clone()));
                out.push(ok(OkBody::Announce { bundle, session: NewToken { token, expires: time + 1 } }));
            }
            RequestBody::Resume { token, .. } => {
                let Some((_, user, reader)) = self.tokens.iter().find(|(known, ..)| *known == token).cloned() else {
                    return out.push(error(s, id, ErrorCode::BadToken));
                };
                let session = Session { user: Some(user.clone()), reader: Some(reader), ..Session::default() };
                self.sessions.insert(s, session);
                out.push(ok(OkBody::Resume { user, bundle: reader.bundle, expires: time + 1 }));
            }
            RequestBody::Logout => out.push(ok(OkBody::Logout)),
            RequestBody::Passwd { .. } => out.push(ok(OkBody::Passwd { session: None })),
            RequestBody::Account { .. } => out.push(ok(OkBody::Account)),
            RequestBody::Create { room, .. } => {
                let room_id = self.create(&room);
                out.push(ok(OkBody::Create { room, room_id }));
            }
            RequestBody::List => {
                let item = |(room, r): (&RoomName, &Room)| RoomItem {
                    room: room.clone(),
                    modern_only: r.modern_only,
                    members: r.entries.len() as u64,
                };
                let items: Vec<_> = self.rooms.iter().map(item).collect();
                let count = items.len() as u64;
                out.extend(parts(id, items).map(|part| answer(s, part)));
                out.push(ok(OkBody::List { count }));
            }
            RequestBody::Join { room, .. } => self.join(s, id, room, out),
            RequestBody::Who { room } => self.who(s, id, &room, out),
            RequestBody::Bundles { hashes } => {
                let (known, missing): (Vec<_>, Vec<_>) =
                    hashes.into_iter().partition(|hash| self.bundles.contains_key(hash));
                let known: Vec<_> = known.iter().map(|hash| Arc::clone(&self.bundles[hash])).collect();
                out.extend(parts(id, known).map(|part| answer(s, part)));
                out.push(ok(OkBody::Bundles { missing }));
            }
            RequestBody::Sessions { user } => {
                let recipient = self.readers_of(&user);
                if recipient.is_empty() {
                    return out.push(error(s, id, ErrorCode::Offline));
                }
                let own = self.readers_of(&self.sessions[&s].user.clone().unwrap());
                out.push(ok(OkBody::Sessions { user, recipient, own }));
            }
            RequestBody::Attach { encrypted_keys, .. } => {
                self.sessions.get_mut(&s).unwrap().attached.extend(encrypted_keys);
                out.push(ok(OkBody::Attach));
            }
            RequestBody::Send(send) => self.send(s, id, send, out),
            RequestBody::Grant(grant) => self.grant(s, id, grant, out),
            RequestBody::NeedKey { room, user, reader, epoch } => {
                let event = Event::NeedKey { room, author: self.author(s), epoch };
                for to in self.sessions_of(&user, &reader) {
                    out.push(Line { to, what: What::Event(event.clone()) });
                }
                out.push(ok(OkBody::NeedKey));
            }
            RequestBody::Act(act) => self.act(s, id, act, out),
            RequestBody::Direct(direct) => self.direct(s, id, direct, out),
        }
    }

    fn author(&self, s: usize) -> Author {
        let session = &self.sessions[&s];
        Author { user: session.user.clone().unwrap(), reader: session.reader.unwrap() }
    }

    fn sessions_of(&self, user: &UserName, reader: &Reader) -> Vec<usize> {
        let is_it = |session: &Session| session.user.as_ref() == Some(user) && session.reader == Some(*reader);
        self.sessions.iter().filter(|(_, session)| is_it(session)).map(|(s, _)| *s).collect()
    }

    fn readers_of(&self, user: &UserName) -> Vec<Reader> {
        self.sessions.values().filter(|s| s.user.as_ref() == Some(user)).filter_map(|s| s.reader).collect()
    }

    pub(super) fn create(&mut self, name: &RoomName) -> RoomId {
        let id = RoomId(self.draw());
        self.drawn += 1;
        let head = start(self.realm(), &id, name, self.drawn);
        let room = Room {
            id,
            entries: Vec::new(),
            away: BTreeSet::new(),
            head,
            values: vec![head],
            topic: String::new(),
            modern_only: false,
            counters: BTreeMap::new(),
            muted: BTreeSet::new(),
            stale_before: 0,
            hashes_changes: false,
        };
        self.rooms.insert(name.clone(), room);
        id
    }

    /// To everyone in the room but one.
    fn tell(&self, name: &RoomName, but: Option<usize>, event: &Event, out: &mut Out) {
        for (s, session) in &self.sessions {
            if session.room.as_ref() == Some(name) && Some(*s) != but {
                out.push(Line { to: *s, what: What::Event(event.clone()) });
            }
        }
    }

    fn hashed(&mut self, name: &RoomName, event: &Hashed<'_>) -> u64 {
        let room = self.rooms.get_mut(name).expect("a room");
        room.head = room.head.after(event);
        room.values.push(room.head);
        room.head.n
    }

    pub(super) fn roster(&self, name: &RoomName) -> transcript::RosterHash {
        let room = &self.rooms[name];
        roster_hash(&self.realm(), &room.id, name, room.entries.iter().map(RosterEntry::leaf))
    }

    /// An event *members*; `but` gets it as an answer.
    pub(super) fn change(
        &mut self,
        name: &RoomName,
        joined: Vec<RosterEntry>,
        removed: Vec<RosterEntry>,
        but: Option<usize>,
        out: &mut Out,
    ) -> u64 {
        let room = self.rooms.get_mut(name).expect("a room");
        for gone in &removed {
            let at = room.entries.iter().position(|entry| entry == gone).expect("an entry");
            room.entries.remove(at);
        }
        room.entries.extend(joined.iter().cloned());
        let hashes = room.hashes_changes;
        let roster = self.roster(name);
        let changes = changes_hash(joined.iter().map(|e| e.change(true)), removed.iter().map(|e| e.change(false)));
        let (came, went) = (joined.len() as u64, removed.len() as u64);
        let n = self.hashed(name, &Hashed::Members { joined: came, removed: went, changes, roster });
        let changes = match hashes {
            true => Changes::Hashed { joined: came, removed: went, changes },
            false => Changes::Listed { joined, removed },
        };
        let event = MembersEvent { room: name.clone(), n, time: self.time, roster, changes };
        self.tell(name, but, &Event::Members(event), out);
        n
    }

    fn entry(&self, s: usize) -> RosterEntry {
        let Author { user, reader } = self.author(s);
        RosterEntry { account: user, key: EntryKey::Modern(reader.bundle), run: reader.run }
    }

    fn join(&mut self, s: usize, id: u64, name: RoomName, out: &mut Out) {
        if !self.rooms.contains_key(&name) {
            return out.push(error(s, id, ErrorCode::NoSuchRoom));
        }
        let entry = self.entry(s);
        let room = self.rooms.get_mut(&name).unwrap();
        let is_back = room.entries.contains(&entry);
        room.away.remove(&entry.run);
        let before = room.head;
        let counter = room.counters.get(&(entry.account.clone(), entry.run)).map(|(counter, _)| *counter);
        let removed = if is_back { vec![entry.clone()] } else { Vec::new() };
        let changes = |entries: &[RosterEntry], came: bool| entries.iter().map(|e| e.change(came)).collect::<Vec<_>>();
        let (joined_changes, removed_changes) = (changes(std::slice::from_ref(&entry), true), changes(&removed, false));
        let n = self.change(&name, vec![entry], removed, Some(s), out);
        self.sessions.get_mut(&s).unwrap().room = Some(name.clone());
        let room = &self.rooms[&name];
        let body = OkBody::Join(JoinOk {
            room: name.clone(),
            room_id: room.id,
            n,
            before: before.log,
            joined: joined_changes,
            removed: removed_changes,
            roster: self.roster(&name),
            count: room.entries.len() as u64,
            topic: Text::sanitize(&room.topic),
            owner: None,
            modern_only: room.modern_only,
            counter,
            time: self.time,
        });
        out.push(answer(s, Answer::Ok { id, body }));
    }

    fn who(&mut self, s: usize, id: u64, name: &RoomName, out: &mut Out) {
        let Some(room) = self.rooms.get(name) else { return out.push(error(s, id, ErrorCode::JoinFirst)) };
        let entries = room.entries.iter().map(|e| Entry { entry: e.clone(), away: room.away.contains(&e.run) });
        let entries: Vec<_> = entries.collect();
        let (n, count) = (room.head.n, entries.len() as u64);
        out.extend(parts(id, entries).map(|part| answer(s, part)));
        let body = OkBody::Who { n, roster: self.roster(name), count };
        out.push(answer(s, Answer::Ok { id, body }));
    }

    /// The first check of what is signed: counter and place. Gives the answer, if there is one already.
    fn check(
        &mut self,
        s: usize,
        room: &RoomName,
        counter: u64,
        at: &Position,
        resend: bool,
        free: bool,
    ) -> Option<Result<Accepted, ErrorCode>> {
        let Author { user, reader } = self.author(s);
        let room = self.rooms.get_mut(room)?;
        if let Some((last, accepted)) = room.counters.get(&(user.clone(), reader.run)) {
            if counter == *last && resend {
                return Some(Ok(Accepted { duplicate: true, ..*accepted }));
            }
            if counter != last + 1 {
                return Some(Err(ErrorCode::OutOfOrder { expected: last + 1 }));
            }
        }
        let known = usize::try_from(at.n).ok().and_then(|n| room.values.get(n));
        let good = known == Some(at) && at.n >= room.stale_before;
        (!good && !free).then_some(Err(ErrorCode::Stale))
    }

    fn send(&mut self, s: usize, id: u64, send: SendRequest, out: &mut Out) {
        let SendRequest { room: name, encrypted_message, encrypted_keys, stamp, resend } = send;
        if self.sessions[&s].room.as_ref() != Some(&name) {
            return out.push(error(s, id, ErrorCode::JoinFirst));
        }
        if let Some(code) = self.next_send.take() {
            return out.push(error(s, id, code));
        }
        let Author { user, reader } = self.author(s);
        if self.rooms[&name].muted.contains(&user) {
            return out.push(error(s, id, ErrorCode::Muted { until: None }));
        }
        match self.check(s, &name, stamp.counter, &stamp.at, resend, false) {
            Some(Ok(accepted)) => {
                return out.push(answer(s, Answer::Ok { id, body: OkBody::Send(accepted) }));
            }
            Some(Err(code)) => return out.push(error(s, id, code)),
            None => {}
        }
        let mut keys = std::mem::take(&mut self.sessions.get_mut(&s).unwrap().attached);
        keys.extend(encrypted_keys.unwrap_or_default());
        let message = MessageHash::of(&encrypted_message);
        let n = self.hashed(&name, &Hashed::Message { account: &user, message, signature: Some(&stamp.signature) });
        let accepted = Accepted { n, time: self.time, duplicate: false };
        let room = self.rooms.get_mut(&name).unwrap();
        room.counters.insert((user.clone(), reader.run), (stamp.counter, accepted));
        for entry in room.entries.iter().filter(|entry| entry.key.bundle().is_none()) {
            let key = keys.get(&entry.account).map(|wrap| wrap.as_str().to_owned());
            self.legacy_got.push((entry.account.clone(), encrypted_message.clone(), key));
        }
        let origin = Origin::Modern { reader, stamp };
        let event = MessageEvent { room: name.clone(), n, time: self.time, user, encrypted_message, origin };
        self.tell(&name, Some(s), &Event::Message(event), out);
        out.push(answer(s, Answer::Ok { id, body: OkBody::Send(accepted) }));
    }

    fn grant(&mut self, s: usize, id: u64, grant: GrantRequest, out: &mut Out) {
        let GrantRequest { room, stamp, wraps } = grant;
        if let Some(code) = self.next_grant.take() {
            return out.push(error(s, id, code));
        }
        let author = self.author(s);
        for (to, session) in &self.sessions {
            let wrap = session.reader.and_then(|reader| wraps.get(&reader.bundle));
            let (Some(wrap), true) = (wrap, session.room.as_ref() == Some(&room) && *to != s) else { continue };
            let event = GrantEvent { room: room.clone(), author: author.clone(), stamp, wrap: wrap.clone() };
            out.push(Line { to: *to, what: What::Event(Event::Grant(event)) });
        }
        out.push(answer(s, Answer::Ok { id, body: OkBody::Grant }));
    }

    fn act(&mut self, s: usize, id: u64, act: ActRequest, out: &mut Out) {
        let ActRequest { room: name, deed, stamp, resend, .. } = act;
        let Author { user, reader } = self.author(s);
        let leaves = deed.verb == Verb::Leave;
        match self.check(s, &name, stamp.counter, &stamp.at, resend, leaves) {
            Some(Ok(accepted)) => return out.push(answer(s, Answer::Ok { id, body: OkBody::Act(accepted) })),
            Some(Err(code)) => return out.push(error(s, id, code)),
            None => {}
        }
        let target = UserName::new(deed.target.as_str());
        let here = |entry: &&RosterEntry| entry.account == target || entry.account == target.normalized();
        if deed.verb == Verb::Kick && !self.rooms[&name].entries.iter().any(|entry| here(&entry)) {
            return out.push(error(s, id, ErrorCode::NotHere));
        }
        let hashed = Hashed::Act {
            account: &user,
            verb: deed.verb,
            target: deed.target.as_str(),
            argument: deed.argument.as_str(),
            signature: Some(&stamp.signature),
        };
        let n = self.hashed(&name, &hashed);
        let accepted = Accepted { n, time: self.time, duplicate: false };
        let room = self.rooms.get_mut(&name).unwrap();
        room.counters.insert((user.clone(), reader.run), (stamp.counter, accepted));
        let proof = Some(ActProof { reader, stamp });
        let event = ActEvent { room: name.clone(), n, time: self.time, user: user.clone(), deed: deed.clone(), proof };
        self.tell(&name, Some(s), &Event::Act(event), out);
        out.push(answer(s, Answer::Ok { id, body: OkBody::Act(accepted) }));
        match deed.verb {
            Verb::Topic => self.rooms.get_mut(&name).unwrap().topic = deed.argument.as_str().to_owned(),
            Verb::Mute => drop(self.rooms.get_mut(&name).unwrap().muted.insert(target)),
            Verb::Flags => self.rooms.get_mut(&name).unwrap().modern_only = !deed.argument.as_str().is_empty(),
            Verb::Leave if self.keeps_the_kicked => self.sessions.get_mut(&s).unwrap().room = None,
            Verb::Leave => {
                self.sessions.get_mut(&s).unwrap().room = None;
                let entry = self.entry(s);
                self.change(&name, Vec::new(), vec![entry], Some(s), out);
            }
            Verb::Kick if self.keeps_the_kicked && self.rooms[&name].hashes_changes => {
                let kept: Vec<_> = self.rooms[&name].entries.iter().filter(here).cloned().collect();
                self.change(&name, kept.clone(), kept, None, out);
            }
            Verb::Kick if self.keeps_the_kicked => {}
            Verb::Kick => self.put_out(&name, &target, RemovedWhy::Kicked, out),
            _ => {}
        }
    }

    fn put_out(&mut self, name: &RoomName, target: &UserName, why: RemovedWhy, out: &mut Out) {
        let gone: Vec<_> = self.rooms[name].entries.iter().filter(|e| e.account == *target).cloned().collect();
        for (s, session) in &mut self.sessions {
            if session.user.as_ref() == Some(target) && session.room.as_ref() == Some(name) {
                session.room = None;
                let event = Event::Removed { room: name.clone(), why };
                out.push(Line { to: *s, what: What::Event(event) });
            }
        }
        let n = self.change(name, Vec::new(), gone, None, out);
        self.rooms.get_mut(name).unwrap().stale_before = n;
    }

    /// The author that a session is.
    pub(super) fn author_of(&self, s: usize) -> Author {
        self.author(s)
    }

    /// The head of a room's log.
    pub(super) fn position(&self, name: &RoomName) -> Position {
        self.rooms[name].head
    }

    /// Says that somebody left, which nobody signed so, and takes nobody off the list.
    pub(super) fn says_left(&mut self, name: &RoomName, who: &UserName, proof: Option<ActProof>, out: &mut Out) {
        let signature = proof.as_ref().map(|proof| &proof.stamp.signature);
        let hashed = Hashed::Act { account: who, verb: Verb::Leave, target: "", argument: "", signature };
        let n = self.hashed(name, &hashed);
        let deed = Deed { verb: Verb::Leave, target: SignedText::new(""), argument: SignedText::new("") };
        let event = ActEvent { room: name.clone(), n, time: self.time, user: who.clone(), deed, proof };
        self.tell(name, None, &Event::Act(event), out);
    }

    fn direct(&mut self, s: usize, id: u64, direct: DirectRequest, out: &mut Out) {
        if let Some(code) = self.next_direct.take() {
            return out.push(error(s, id, code));
        }
        let DirectRequest { user: recipient, body } = direct;
        let author = self.author(s);
        for reader in &body.readers {
            let sessions = self.sessions.iter().filter(|(to, session)| session.reader == Some(*reader) && **to != s);
            for (to, _) in sessions {
                let event = DirectEvent {
                    author: author.clone(),
                    recipient: recipient.clone(),
                    time: self.time,
                    body: body.clone(),
                };
                out.push(Line { to: *to, what: What::Event(Event::Direct(event)) });
            }
        }
        out.push(answer(s, Answer::Ok { id, body: OkBody::Direct { time: self.time } }));
    }

    /// A member of the legacy wire comes.
    pub(super) fn legacy_join(&mut self, name: &RoomName, user: &str, key: &PublicKey, out: &mut Out) {
        let hash = key.spki_hash();
        let legacy = Bundle::Legacy { user: UserName::new(user), rsa_key: key.spki_der().clone() };
        self.bundles.insert(BundleHash(hash.0), Arc::new(legacy));
        let run = RunId(self.draw());
        let entry = RosterEntry { account: UserName::new(user), key: EntryKey::Legacy(Some(hash)), run };
        self.change(name, vec![entry], Vec::new(), None, out);
    }

    /// A member of the legacy wire speaks; `keys` is what its package holds for modern members.
    pub(super) fn legacy_say(
        &mut self,
        name: &RoomName,
        user: &str,
        token: &str,
        keys: &BTreeMap<UserName, String>,
        out: &mut Out,
    ) {
        let user = UserName::new(user);
        let message = MessageHash::of(token);
        let n = self.hashed(name, &Hashed::Message { account: &user, message, signature: None });
        for (to, session) in self.sessions.iter().filter(|(_, session)| session.room.as_ref() == Some(name)) {
            let encrypted_key = session.user.as_ref().and_then(|user| keys.get(user)).cloned();
            let origin = Origin::Legacy { encrypted_key };
            let (room, encrypted_message) = (name.clone(), token.to_owned());
            let event = MessageEvent { room, n, time: self.time, user: user.clone(), encrypted_message, origin };
            out.push(Line { to: *to, what: What::Event(Event::Message(event)) });
        }
    }
}

impl Room {
    /// Takes what was signed before somebody was gone, as no honest server does.
    pub(super) fn allow_stale(&mut self) {
        self.stale_before = 0;
    }
}

fn start(realm: Realm, id: &RoomId, name: &RoomName, nonce: u8) -> Position {
    Position { n: 0, log: log_start(&realm, id, name, &LogNonce([nonce; 16])) }
}
