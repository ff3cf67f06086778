//! What everybody on the modern wire makes of what it hears: it hashes the log, and opens what is for it.

use std::collections::HashMap;

use secure_chat::crypto::{Bundle, ChainKey, FernetKey, PrivateKey, envelope};
use secure_chat::names::UserName;
use secure_chat::protocol::modern::{
    ActEvent, Answer, Author, DirectEvent, Entry, Event, FromServer, GrantEvent, MessageEvent, OkBody, Origin,
    PartBody, Reader as ReaderId, RequestBody, Stamp, decode_request,
};
use secure_chat::transcript::{
    self, Act, BundleHash, Direct, EntryKey, Grant, MessageHash, Position, Realm, RosterEntry, RunId, Statement, Verb,
    readers_hash,
};
use serde_json::Value;

use super::cast::Cast;
use super::common::follower::Follower;

/// Whose chain it is: a client and its epoch.
type Epoch = (BundleHash, RunId, u64);

/// One client's view.
pub(crate) struct Reader {
    realm: Realm,
    name: String,
    /// What was asked and is not answered yet.
    pub(crate) asked: HashMap<u64, RequestBody>,
    /// The types of all requests, well-formed or not.
    pub(crate) words: HashMap<u64, String>,
    pub(crate) view: Option<Follower>,
    entries: Vec<Entry>,
    /// The chain keys that were granted, with the counter of their first message.
    chains: HashMap<Epoch, (u64, ChainKey)>,
    /// What was heard last, if it could be opened.
    pub(crate) read: Option<String>,
}

impl Reader {
    pub(crate) fn new(realm: Realm, name: &str) -> Self {
        let (asked, words, chains) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { realm, name: name.to_owned(), asked, words, view: None, entries: Vec::new(), chains, read: None }
    }

    /// Something is asked.
    pub(crate) fn ask(&mut self, line: &str) {
        if let Ok(request) = decode_request(line.as_bytes()) {
            self.asked.insert(request.id, request.body);
        }
        let parsed: Value = serde_json::from_str(line).unwrap_or_default();
        if let (Some(id), Some(word)) = (parsed["id"].as_u64(), parsed["type"].as_str()) {
            self.words.insert(id, word.to_owned());
        }
    }

    /// Takes what the server says.
    pub(crate) fn hear(&mut self, cast: &Cast, line: FromServer) {
        match line {
            FromServer::Answer(Answer::Ok { id, body }) => {
                let asked = self.asked.remove(&id).unwrap();
                self.granted(cast, asked, body);
            }
            FromServer::Answer(Answer::Part { body: PartBody::Entries(entries), .. }) => self.entries.extend(entries),
            FromServer::Answer(_) => {}
            FromServer::Event(event) => self.event(cast, &event),
            FromServer::Hello(_) | FromServer::Unknown => panic!("{line:?}"),
        }
    }

    fn granted(&mut self, cast: &Cast, asked: RequestBody, body: OkBody) {
        match (asked, body) {
            (RequestBody::Join { .. }, OkBody::Join(ok)) => {
                self.view = Some(Follower::join(self.realm, cast.entry(&self.realm, &self.name), &ok));
            }
            (RequestBody::Who { .. }, OkBody::Who { n, roster, count }) => {
                let entries = std::mem::take(&mut self.entries);
                assert_eq!(entries.len() as u64, count);
                self.view.as_mut().unwrap().who(&entries, n, roster);
            }
            (RequestBody::Send(send), OkBody::Send(ok)) => {
                self.view.as_mut().unwrap().sent(&send.encrypted_message, &send.stamp, &ok);
            }
            (RequestBody::Act(act), OkBody::Act(ok)) => {
                self.view.as_mut().unwrap().acted(&act.deed, &act.stamp, &ok);
                if act.deed.verb == Verb::Leave {
                    self.view = None;
                }
            }
            (RequestBody::Login { .. } | RequestBody::Resume { .. } | RequestBody::Logout, _) => self.view = None,
            _ => {}
        }
    }

    fn event(&mut self, cast: &Cast, event: &Event) {
        match event {
            Event::Message(message) => self.read = self.open(cast, message),
            Event::Act(act) => self.check_act(cast, act),
            Event::Grant(grant) => self.take_grant(cast, grant),
            Event::Direct(direct) => self.read = Some(self.open_direct(cast, direct)),
            _ => {}
        }
        match event {
            Event::Removed { .. } => self.view = None,
            Event::Members(_) | Event::Message(_) | Event::Act(_) => self.view.as_mut().unwrap().hear(event),
            _ => {}
        }
    }

    /// The keys of the author, whom the log lists.
    fn bundle_of(&self, cast: &Cast, user: &UserName, reader: &ReaderId) -> Bundle {
        let entry = RosterEntry { account: user.clone(), key: EntryKey::Modern(reader.bundle), run: reader.run };
        cast.find(&self.realm, &entry).expect("the bundle is that of one of the people")
    }

    fn author<'a>(&'a self, user: &'a UserName, reader: &ReaderId) -> transcript::Author<'a> {
        let room = &self.view.as_ref().expect("whoever hears of a room is in it").room;
        transcript::Author { realm: self.realm, room, account: user, bundle: reader.bundle, run: reader.run }
    }

    /// What was signed must be where this client has been, or from before it came.
    fn check_position(&self, at: &Position) {
        let view = self.view.as_ref().unwrap();
        let is_known = view.values.get(&at.n) == Some(&at.log) || at.n < view.joined_at;
        assert!(is_known, "{}: {at:?} is not in its log", self.name);
    }

    fn open(&self, cast: &Cast, event: &MessageEvent) -> Option<String> {
        let text = match &event.origin {
            Origin::Modern { reader, stamp } => self.open_modern(cast, event, reader, stamp),
            Origin::Legacy { encrypted_key } => {
                let key = encrypted_key.as_ref()?;
                envelope::open(&event.encrypted_message, key, cast.device(&self.name)).map(|text| text.to_string())
            }
        }?;
        assert!(text.starts_with(&format!("{}: ", event.user)), "{text:?} is not by {}", event.user);
        Some(text)
    }

    fn open_modern(&self, cast: &Cast, event: &MessageEvent, reader: &ReaderId, stamp: &Stamp) -> Option<String> {
        let statement = Statement {
            author: self.author(&event.user, reader),
            kind: stamp.kind,
            epoch: stamp.epoch,
            counter: stamp.counter,
            at: stamp.at,
            commitment: stamp.commitment,
            message: MessageHash::of(&event.encrypted_message),
        };
        let bundle = self.bundle_of(cast, &event.user, reader);
        assert!(bundle.signing_key().verify(&statement.to_bytes(), &stamp.signature), "a wrong signature");
        self.check_position(&stamp.at);
        let (first, chain) = self.chains.get(&(reader.bundle, reader.run, stamp.epoch))?;
        let key = chain.advanced(stamp.counter.checked_sub(*first)?).unwrap().message_key();
        assert!(key.is_committed_by(&stamp.commitment), "another key than the committed one");
        let text = envelope::open_with(&key, &event.encrypted_message).expect("the chain's key opens it");
        Some(text.to_string())
    }

    fn check_act(&self, cast: &Cast, event: &ActEvent) {
        let proof = event.proof.as_ref().expect("this server passes on what members did, and does nothing itself");
        let act = Act {
            author: self.author(&event.user, &proof.reader),
            counter: proof.stamp.counter,
            at: proof.stamp.at,
            verb: event.deed.verb,
            target: event.deed.target.as_str(),
            argument: event.deed.argument.as_str(),
        };
        let bundle = self.bundle_of(cast, &event.user, &proof.reader);
        assert!(bundle.signing_key().verify(&act.to_bytes(), &proof.stamp.signature), "a wrong signature");
        self.check_position(&act.at);
    }

    fn take_grant(&mut self, cast: &Cast, event: &GrantEvent) {
        let Author { user, reader } = &event.author;
        let stamp = &event.stamp;
        let grant = Grant {
            author: self.author(user, reader),
            epoch: stamp.epoch,
            counter: stamp.counter,
            at: stamp.at,
            check: stamp.check,
        };
        let bundle = self.bundle_of(cast, user, reader);
        assert!(bundle.signing_key().verify(&grant.to_bytes(), &stamp.signature), "a wrong signature");
        self.check_position(&stamp.at);
        let device: &PrivateKey = cast.device(&self.name);
        let chain = ChainKey::unwrap(event.wrap.as_str(), device, &stamp.check).expect("a wrap for this device");
        let epoch = (reader.bundle, reader.run, stamp.epoch);
        self.chains.entry(epoch).or_insert((stamp.counter, chain));
    }

    fn open_direct(&self, cast: &Cast, event: &DirectEvent) -> String {
        let (Author { user, reader }, body) = (&event.author, &event.body);
        let direct = Direct {
            realm: self.realm,
            account: user,
            bundle: reader.bundle,
            run: reader.run,
            recipient: &event.recipient,
            counter: body.stamp.counter,
            commitment: body.stamp.commitment,
            readers: readers_hash(body.readers.iter().map(|reader| (reader.bundle, reader.run))),
            message: MessageHash::of(&body.encrypted_message),
        };
        let bundle = self.bundle_of(cast, user, reader);
        assert!(bundle.signing_key().verify(&direct.to_bytes(), &body.stamp.signature), "a wrong signature");
        let me = cast.entry(&self.realm, &self.name);
        let me = ReaderId { bundle: me.key.bundle().unwrap(), run: me.run };
        assert!(body.readers.contains(&me), "{} is not among the readers", self.name);
        let key = envelope::unwrap(body.wraps[&me.bundle].as_str(), cast.device(&self.name)).unwrap();
        let key = FernetKey::from_raw(&key);
        assert!(key.is_committed_by(&body.stamp.commitment), "another key than the committed one");
        envelope::open_with(&key, &body.encrypted_message).unwrap().to_string()
    }
}
