//! Plays the script: against the real server, over real TLS, on both wires.

use std::collections::{BTreeSet, HashMap};

use secure_chat::crypto::envelope;
use secure_chat::protocol::Package;
use secure_chat::protocol::modern::{Answer, Event, FromServer, OkBody, decode_server};
use secure_chat::transcript::Realm;
use tempfile::TempDir;

use super::common::client::is_proved;
use super::common::modern::ModernPeer;
use super::common::{Peer, Server};
use super::make;
use super::reader::Reader;
use super::script::{Step, Wire};
use super::values::Values;

/// What was heard on the modern wire: of a request, its word and `ok` or an error's; of an event, its word alone.
pub(crate) type Heard = BTreeSet<(String, String)>;

enum Connection {
    Modern(Box<ModernPeer>, Box<Reader>),
    Legacy(Box<Peer>, Records),
}

/// What was heard on the legacy wire.
#[derive(Default)]
struct Records {
    /// Those that came before others that were to come in whatever order.
    early: Vec<String>,
    /// The last one that was a package.
    package: Option<String>,
}

pub(crate) struct Stage {
    dir: TempDir,
    server: Option<Server>,
    hello: String,
    connections: HashMap<String, Connection>,
    values: Values,
    pub(crate) heard: Heard,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (connections, values, heard) = (HashMap::new(), Values::default(), Heard::new());
        Self { dir, server: None, hello: String::new(), connections, values, heard }
    }

    /// Plays one line, so often.
    pub(crate) fn play(&mut self, times: usize, step: &Step<'_>) {
        for time in 1..=times {
            self.values.time = time;
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Server(arguments) => self.start(Server::start_with(self.dir.path(), arguments)),
            Step::FullDisk => self.start(Server::start_on_full_disk(self.dir.path())),
            Step::Stop => assert_eq!(self.server.take().unwrap().stop(), 0),
            Step::Hello(line) => (*line).clone_into(&mut self.hello),
            Step::Person(words) => self.values.cast.add(*words),
            Step::Make(what, words, text) => make::make(&mut self.values, what, words, text),
            Step::While(code, who, text) => self.repeat(code, who, text),
            Step::Connects(who, wire) => self.connect(who, *wire),
            Step::Closes(who) => self.close(who),
            Step::Ended(who) => self.ended(who),
            Step::Says(who, text) => self.say(who, text),
            Step::Hears(who, text) => self.hear(who, text),
            Step::HearsAmongOthers(who, text) => self.hear_among_others(who, text),
            Step::Reads(who, text) => self.read(who, text),
        }
    }

    fn start(&mut self, server: Server) {
        let realm = Realm::from_base64(server.realm.strip_prefix("ed25519:").unwrap()).unwrap();
        assert!(self.values.realm.is_none_or(|before| before == realm), "a server keeps its name");
        self.values.realm = Some(realm);
        self.values.logs.clear();
        self.server = Some(server);
    }

    fn connect(&mut self, who: &str, wire: Wire) {
        let server = self.server.as_ref().expect("a server runs");
        let connection = match wire {
            Wire::Legacy => Connection::Legacy(Box::new(server.connect()), Records::default()),
            Wire::Modern => {
                let mut peer = ModernPeer::connect(server.address);
                let line = peer.hears();
                let Ok(FromServer::Hello(hello)) = decode_server(line.as_bytes(), |_| None) else { panic!("{line}") };
                let proves = |signature: &str| hello.signature.to_base64() == signature && is_proved(&hello, &peer);
                self.values.compare(&self.hello, &line, proves);
                Connection::Modern(Box::new(peer), Box::new(Reader::new(self.values.realm(), who)))
            }
        };
        assert!(self.connections.insert(who.to_owned(), connection).is_none(), "{who} is connected already");
    }

    fn close(&mut self, who: &str) {
        match self.connections.remove(who).unwrap() {
            Connection::Modern(peer, _) => peer.close(),
            Connection::Legacy(peer, _) => peer.close(),
        }
    }

    fn ended(&mut self, who: &str) {
        let heard = match &mut self.connections.remove(who).unwrap() {
            Connection::Modern(peer, _) => peer.hears_or_end(),
            Connection::Legacy(peer, _) => peer.hears_or_end(),
        };
        assert_eq!(heard, None, "{who} is still there");
    }

    fn connection(&mut self, who: &str) -> &mut Connection {
        self.connections.get_mut(who).unwrap_or_else(|| panic!("{who} is not connected"))
    }

    fn say(&mut self, who: &str, text: &str) {
        let text = self.values.fill(text);
        match self.connection(who) {
            Connection::Legacy(peer, _) if text.starts_with('/') => peer.says(format!("CMD::{text}")),
            Connection::Legacy(peer, _) => peer.says(&text),
            Connection::Modern(peer, reader) => {
                reader.ask(&text);
                peer.says(text + "\n");
            }
        }
    }

    /// Passwords may be tried so often, but how often depends on the time that it takes.
    fn repeat(&mut self, code: &str, who: &str, text: &str) {
        for _ in 0..200 {
            self.say(who, text);
            let Connection::Modern(peer, _) = self.connection(who) else { panic!("{who} is on the legacy wire") };
            let heard = peer.hears();
            if !heard.contains(&format!(r#""code":"{code}""#)) {
                return peer.hears_again(heard);
            }
        }
        panic!("{code} without end");
    }

    fn hear(&mut self, who: &str, expected: &str) {
        let heard = match self.connection(who) {
            Connection::Modern(peer, _) => peer.hears(),
            Connection::Legacy(peer, records) => {
                assert!(records.early.is_empty(), "{who} heard this before: {:?}", records.early);
                let heard = peer.hears();
                records.package = heard.starts_with('{').then(|| heard.clone());
                heard
            }
        };
        self.values.compare(expected, &heard, |_| false);
        let Some(Connection::Modern(_, reader)) = self.connections.get_mut(who) else { return };
        let line = decode_server(heard.as_bytes(), |id| Some(reader.asked.get(&id)?.kind())).unwrap();
        note(&mut self.heard, reader, &line);
        let before = reader.view.as_ref().map(|view| view.at);
        let start = match &line {
            FromServer::Answer(Answer::Ok { body: OkBody::Join(ok), .. }) => Some(ok.before),
            _ => None,
        };
        reader.hear(&self.values.cast, line);
        if let Some(view) = reader.view.as_ref().filter(|view| Some(view.at) != before) {
            self.values.note_place(who, &view.room, view.at, start);
        }
    }

    fn hear_among_others(&mut self, who: &str, expected: &str) {
        let expected = self.values.fill(expected);
        let Connection::Legacy(peer, records) = self.connection(who) else { panic!("lines have an order") };
        while !records.early.contains(&expected) {
            records.early.push(peer.hears());
        }
        records.early.retain(|record| *record != expected);
    }

    fn read(&mut self, who: &str, text: &str) {
        let text = self.values.fill(text);
        let account = self.values.cast.account(who).clone();
        let device = self.values.cast.device(who);
        let read = match self.connections.get_mut(who).unwrap() {
            Connection::Modern(_, reader) => reader.read.take(),
            Connection::Legacy(_, records) => {
                let package = Package::from_json(records.package.as_ref().unwrap()).unwrap();
                let key = package.encrypted_keys.get(account.as_str());
                key.map(|key| envelope::open(&package.encrypted_message, key, device).unwrap().to_string())
            }
        };
        assert_eq!(read.as_deref().unwrap_or("-"), text);
    }

    /// Nobody who is still connected has heard more than the script says.
    pub(crate) fn end(&mut self) {
        for connection in self.connections.values_mut() {
            match connection {
                Connection::Legacy(peer, _) => peer.has_heard_nothing(),
                Connection::Modern(peer, _) => {
                    peer.says("{\"type\":\"ping\",\"id\":1000000}\n");
                    let heard = peer.hears();
                    assert!(heard.starts_with(r#"{"type":"ok","id":1000000,"#), "{heard}");
                }
            }
        }
    }
}

/// Notes what kind of line it was.
fn note(heard: &mut Heard, reader: &Reader, line: &FromServer) {
    let asked = |id: &u64| reader.words.get(id).cloned().unwrap_or_default();
    let (of, what) = match line {
        FromServer::Answer(Answer::Ok { id, .. }) => (asked(id), "ok".to_owned()),
        FromServer::Answer(Answer::Part { id, .. }) => (asked(id), "part".to_owned()),
        FromServer::Answer(Answer::Error { id, code, .. }) => {
            (id.as_ref().map_or("-".to_owned(), asked), code.kind().as_str().to_owned())
        }
        FromServer::Event(Event::Removed { why, .. }) => ("event".to_owned(), format!("removed {}", why.as_str())),
        FromServer::Event(Event::Bye { reason, .. }) => ("event".to_owned(), format!("bye {}", reason.as_str())),
        FromServer::Event(event) => ("event".to_owned(), event.kind().as_str().to_owned()),
        FromServer::Hello(_) | FromServer::Unknown => panic!("{line:?}"),
    };
    heard.insert((of, what));
}
