//! A client by hand, over real TLS: it asks in requests and hears answers and events.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::OnceLock;

use secure_chat::crypto::{Bundle, PrivateKey, SigningKey, VerifyingKey};
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{
    Answer, BundleKeys, Event, FromServer, Hello, NewToken, OkBody, PartBody, Request, RequestBody, RequestType,
    SendRequest, SessionToken, Stamp, decode_server, encode_request,
};
use secure_chat::transcript::{
    self, Commitment, Ed25519Key, EntryKey, Kind, Position, Realm, RosterEntry, RunId, Signature,
};

use super::Server;
use super::follower::Follower;
use super::modern::ModernPeer;

pub struct Client {
    pub peer: ModernPeer,
    pub realm: Realm,
    pub asked: HashMap<u64, RequestType>,
    /// Events that came before an answer that was waited for.
    pub events: VecDeque<Event>,
    /// The parts of the last answer.
    pub parts: Vec<PartBody>,
    next: u64,
}

impl Client {
    /// Connects, and has the server prove who it is.
    #[track_caller]
    pub fn connect(server: &Server) -> Self {
        Self::connect_through(server, server.address)
    }

    /// The same at an address that leads to the server.
    #[track_caller]
    pub fn connect_through(server: &Server, address: SocketAddr) -> Self {
        Self::greeted(server, ModernPeer::connect(address))
    }

    /// On a connection that is there.
    #[track_caller]
    pub fn greeted(server: &Server, mut peer: ModernPeer) -> Self {
        let hello = peer.hears_hello();
        assert!(is_proved(&hello, &peer), "the hello is not signed for this connection");
        assert_eq!(format!("ed25519:{}", hello.realm), server.realm);
        let (asked, events, parts) = (HashMap::new(), VecDeque::new(), Vec::new());
        Self { peer, realm: hello.realm, asked, events, parts, next: 1 }
    }

    pub fn asks(&mut self, body: RequestBody) -> u64 {
        let id = self.next;
        self.next += 1;
        self.asked.insert(id, body.kind());
        let mut line = Vec::new();
        encode_request(&Request { id, body }, &mut line);
        self.peer.says(line);
        id
    }

    #[track_caller]
    fn hears(&mut self) -> FromServer {
        let line = self.peer.hears();
        decode_server(line.as_bytes(), |id| self.asked.get(&id).copied()).unwrap()
    }

    /// The answer to a request; events and parts before it are kept.
    #[track_caller]
    pub fn answer(&mut self, id: u64) -> Answer {
        self.parts.clear();
        loop {
            match self.hears() {
                FromServer::Answer(Answer::Part { body, .. }) => self.parts.push(body),
                FromServer::Answer(answer) => {
                    let (Answer::Ok { id: of, .. } | Answer::Part { id: of, .. }) = answer else { return answer };
                    assert_eq!(of, id, "answers come in order");
                    return answer;
                }
                FromServer::Event(event) => self.events.push_back(event),
                other => panic!("{other:?}"),
            }
        }
    }

    #[track_caller]
    pub fn ok(&mut self, body: RequestBody) -> OkBody {
        let id = self.asks(body);
        match self.answer(id) {
            Answer::Ok { body, .. } => body,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn refused(&mut self, body: RequestBody) -> &'static str {
        let id = self.asks(body);
        match self.answer(id) {
            Answer::Error { code, .. } => code.kind().as_str(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn event(&mut self) -> Event {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        match self.hears() {
            FromServer::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn registers(&mut self, name: &str) {
        self.ok(RequestBody::Register { user: UserName::new(name), password: Password::new("pw"), token: None });
    }

    #[track_caller]
    pub fn logs_in(&mut self, name: &str) {
        self.ok(RequestBody::Login { user: UserName::new(name), password: Password::new("pw") });
    }

    /// Announces the keys of a device under a run; what resumes the session.
    #[track_caller]
    pub fn announces(&mut self, bundle: &Bundle, run: RunId) -> SessionToken {
        match self.ok(announce(bundle, run)) {
            OkBody::Announce { session: NewToken { token, .. }, bundle: hash } => {
                assert_eq!(hash, bundle.hash());
                token
            }
            other => panic!("{other:?}"),
        }
    }

    /// A user who has registered, logged in and announced.
    #[track_caller]
    pub fn user(server: &Server, name: &str, run: u8) -> (Self, Bundle, SessionToken) {
        let mut client = Self::connect(server);
        client.registers(name);
        client.logs_in(name);
        let bundle = bundle(&client, name);
        let token = client.announces(&bundle, RunId([run; 16]));
        (client, bundle, token)
    }

    #[track_caller]
    pub fn creates(&mut self, room: &str) {
        self.ok(RequestBody::Create { room: RoomName::new(room), password: Password::new("pw"), modern_only: false });
    }

    /// Joins, with the password unless it returns, and follows the room's log from there.
    #[track_caller]
    pub fn joins(&mut self, room: &str, password: Option<&str>, me: RosterEntry) -> Follower {
        let (room, password) = (RoomName::new(room), password.map(Password::new));
        let OkBody::Join(ok) = self.ok(RequestBody::Join { room, password }) else { panic!() };
        Follower::join(self.realm, me, &ok)
    }
}

/// Whether the server proves to this peer that it is who it says.
pub fn is_proved(hello: &Hello, peer: &ModernPeer) -> bool {
    let key = VerifyingKey::parse(&Ed25519Key(hello.realm.0)).unwrap();
    key.verify(&transcript::hello(&peer.stream.exporter().unwrap()), &hello.signature)
}

/// A new bundle of an account.
pub fn bundle(client: &Client, account: &str) -> Bundle {
    Bundle::sign(&client.realm, &UserName::new(account), &SigningKey::generate(), rsa()).unwrap()
}

/// One key pair for all: making one takes long.
pub fn rsa() -> &'static PrivateKey {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| PrivateKey::generate().unwrap())
}

pub fn entry(bundle: &Bundle, run: RunId) -> RosterEntry {
    RosterEntry { account: bundle.account().clone(), key: EntryKey::Modern(bundle.hash()), run }
}

pub fn announce(bundle: &Bundle, run: RunId) -> RequestBody {
    RequestBody::Announce { keys: keys(bundle), run }
}

pub fn keys(bundle: &Bundle) -> BundleKeys {
    BundleKeys {
        signing_key: bundle.signing_key().bytes(),
        rsa_key: bundle.rsa().spki_der().clone(),
        signature: *bundle.signature(),
        rsa_signature: bundle.rsa_signature().clone(),
    }
}

/// A message that no receiver would believe: the server does not look.
pub fn message(room: &str, token: &str, counter: u64, at: Position) -> SendRequest {
    let (commitment, signature) = (Commitment([1; 32]), Signature([2; 64]));
    SendRequest {
        room: RoomName::new(room),
        encrypted_message: token.to_owned(),
        encrypted_keys: None,
        stamp: Stamp { kind: Kind::Text, epoch: 1, counter, at, commitment, signature },
        resend: false,
    }
}
