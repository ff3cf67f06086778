//! Everything that a malicious server can say to the modern client, and everything that can be typed meanwhile.

use std::time::Duration;

use secure_chat::chat::SessionId;
use secure_chat::client::modern::Input;
use secure_chat::names::Text;
use secure_chat::protocol::modern::{Hello, Limits, encode_hello};
use secure_chat::transcript;

use super::world::modern::server::unix_ms;
use super::world::modern::{Link, Person, Seen, exporter, keys};

/// Most lines of one input, and most that time makes a client do between two of them.
const LINES: usize = 256;
const WAKES: usize = 64;

/// A line says what happens; the first byte, what kind of thing:
///
/// ```text
/// T/join den pw     a line is typed
/// S{"type":…        the server says a line
/// H                 the server says its hello, as it should
/// A"time":1}        the server answers the oldest request that is open with an ok of these fields; P with a part, R with an error
/// C                 a connection is made;  L  it is lost;  X  a line came that is too long
/// +1500             so many milliseconds pass
/// E                 no line will follow;  U  the program is to end
/// ```
pub fn run(data: &[u8]) {
    let mut play = Play::new();
    for line in data.split(|byte| *byte == b'\n').take(LINES) {
        if let Some((kind, rest)) = line.split_first() {
            play.step(*kind, rest);
        }
    }
    play.pass(Duration::from_secs(600));
    play.check();
}

struct Play {
    alice: Person,
    now: Duration,
    connections: u64,
    /// Requests that are open, the oldest first.
    open: Vec<u64>,
}

impl Play {
    fn new() -> Self {
        let realm = keys::signing("realm").verifying_key().realm();
        let alice = Person::new("alice", realm, keys::signing("alice"), keys::rsa(0), 0);
        Self { alice, now: Duration::from_secs(1000), connections: 0, open: Vec::new() }
    }

    fn step(&mut self, kind: u8, rest: &[u8]) {
        let text = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            b'T' => self.feed(Input::Line(text())),
            b'S' => self.hear(rest.to_vec()),
            b'H' => self.hello(),
            b'A' => self.answer("ok", rest),
            b'P' => self.answer("part", rest),
            b'R' => self.answer("error", rest),
            b'C' => self.connect(),
            b'L' => self.lose(),
            b'X' => self.feed(Input::TooLong),
            b'+' => self.pass(Duration::from_millis(text().parse().unwrap_or(0).min(86_400_000))),
            b'E' => self.feed(Input::EndOfLines),
            b'U' => self.feed(Input::HangUp),
            _ => {}
        }
    }

    fn connect(&mut self) {
        if self.alice.link.is_some() {
            self.lose(); // there is one connection at a time
        }
        self.connections += 1;
        let session = SessionId(self.connections);
        self.alice.link = Some(Link { session, up: Default::default(), down: Default::default() });
        self.open.clear();
        self.feed(Input::Connected { exporter: exporter(session) });
    }

    fn lose(&mut self) {
        self.alice.link = None;
        self.feed(Input::Lost(Text::sanitize("the cable was cut")));
    }

    /// Time passes, and the client is woken when it wants to be.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..WAKES {
            match self.alice.machine().deadline().filter(|due| *due <= end) {
                Some(due) => self.now = due.max(self.now),
                None => break,
            }
            self.feed(Input::Tick);
        }
        self.now = end;
    }

    fn hear(&mut self, line: Vec<u8>) {
        if self.alice.link.is_some() {
            self.feed(Input::Server(line));
        }
    }

    fn hello(&mut self) {
        let key = keys::signing("realm");
        let signature = key.sign(&transcript::hello(&exporter(SessionId(self.connections))));
        let (server, realm) = (Text::sanitize("secure-chat 0"), key.verifying_key().realm());
        let time = unix_ms(self.now);
        let mut line = Vec::new();
        encode_hello(&Hello { server, realm, signature, time, limits: Limits::default(), motd: None }, &mut line);
        self.hear(line.trim_ascii_end().to_vec());
    }

    fn answer(&mut self, kind: &str, fields: &[u8]) {
        let Some(id) = self.open.first() else { return };
        let line = [format!("{{\"type\":\"{kind}\",\"id\":{id},").as_bytes(), fields].concat();
        if kind != "part" {
            self.open.remove(0);
        }
        self.hear(line);
    }

    /// Feeds the client, and does its jobs.
    fn feed(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next {
            if self.alice.handle(self.now, input) {
                self.alice.link = None;
                self.open.clear();
            }
            next = self.alice.jobs.pop_front().map(|job| Input::Done(job.run()));
        }
        let sent = self.alice.link.iter_mut().flat_map(|link| link.up.drain(..));
        let ids = sent.map(|line| {
            let line: serde_json::Value = serde_json::from_slice(&line).expect("what is sent is JSON");
            line["id"].as_u64().expect("a request has an id")
        });
        self.open.extend(ids);
    }

    /// Nothing reached the screen that could move its cursor, and what was read can be stored and read again.
    fn check(&self) {
        for seen in &self.alice.screen {
            if let Seen::Message(shown) = seen {
                assert_eq!(Text::sanitize(shown.text.as_str()), shown.text);
            }
            let words = seen.to_string();
            assert!(!words.chars().any(|c| c.is_control() && c != '\n'), "{words:?}");
        }
    }
}
