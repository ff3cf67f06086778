//! A person at the modern client: the real machine, what it remembers, and what its screen has shown.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use secure_chat::chat::SessionId;
use secure_chat::client::known_keys::{Change, Learned, Pins};
use secure_chat::client::machine::Now;
use secure_chat::client::modern::{Alarm, Config, Input, Job, Machine, Output, Shown, ShownAct, Trust};
use secure_chat::crypto::{PrivateKey, SigningKey};
use secure_chat::names::UserName;
use secure_chat::transcript::{Realm, RunId};

use super::server::{Down, unix_ms};

/// What a screen shows.
#[derive(Debug, Clone)]
pub enum Seen {
    Message(Shown),
    Act(ShownAct),
    Alarm(Alarm),
    /// The server's words.
    Server(String),
    /// The client's own words.
    Say(String),
    /// The end; why.
    End(String),
}

/// The two ends of a connection and what is on its way.
#[derive(Debug)]
pub struct Link {
    pub session: SessionId,
    pub up: VecDeque<Vec<u8>>,
    pub down: VecDeque<Down>,
}

/// A line as its sender made it.
#[derive(Debug)]
pub struct Sent {
    pub run: RunId,
    /// How many things the screen had shown before.
    pub shown: usize,
    pub line: Vec<u8>,
}

/// The most that one thing that happens may make a client say or send: a list of members is some hundred lines.
const MOST_OUTPUTS: usize = 20_000;

/// A person.
pub struct Person {
    pub account: String,
    signing: SigningKey,
    rsa: Arc<PrivateKey>,
    realm: Realm,
    machine: Machine,
    number: usize,
    starts: u8,
    pub pins: Pins,
    pub screen: Vec<Seen>,
    /// The lines that it sent, when they are recorded.
    pub sent: Option<Vec<Sent>>,
    pub jobs: VecDeque<Job>,
    pub link: Option<Link>,
    pub reconnect: Option<Duration>,
    pub ended: bool,
}

impl Person {
    /// Somebody with these keys; `number` tells one client from every other one in its world.
    pub fn new(account: &str, realm: Realm, signing: SigningKey, rsa: Arc<PrivateKey>, number: usize) -> Self {
        let pins = Pins::default();
        Self {
            account: account.to_owned(),
            machine: Machine::new(config(realm, &signing, &rsa, pins.clone(), (number, 0))),
            number,
            signing,
            rsa,
            realm,
            starts: 0,
            pins,
            screen: Vec::new(),
            sent: None,
            jobs: VecDeque::new(),
            link: None,
            reconnect: None,
            ended: false,
        }
    }

    /// Starts the client anew: what it knew is gone, but for the keys and the pins.
    pub fn restart(&mut self) {
        self.starts = self.starts.wrapping_add(1);
        let which = (self.number, self.starts);
        self.machine = Machine::new(config(self.realm, &self.signing, &self.rsa, self.pins.clone(), which));
        self.jobs.clear();
        (self.link, self.reconnect, self.ended) = (None, None, false);
    }

    pub fn name(&self) -> UserName {
        UserName::new(&self.account)
    }

    pub fn run(&self) -> RunId {
        self.machine.run()
    }

    pub fn rsa(&self) -> &Arc<PrivateKey> {
        &self.rsa
    }

    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Feeds the machine. What is to be done elsewhere is left in `link`, `jobs` and `reconnect`; says whether the connection
    /// is to be dropped.
    pub fn handle(&mut self, now: Duration, input: Input) -> bool {
        let mut out = Vec::new();
        self.machine.handle(Now { elapsed: now, unix: unix_ms(now) / 1000 }, input, &mut out);
        assert!(out.len() < MOST_OUTPUTS, "{} said {} things at once", self.account, out.len());
        let mut drops = false;
        for output in out {
            drops |= self.carry_out(output);
        }
        drops
    }

    fn carry_out(&mut self, output: Output) -> bool {
        match output {
            Output::Send(line) => {
                let line = line.strip_suffix(b"\n").expect("every line has an end");
                if let Some(sent) = &mut self.sent {
                    sent.push(Sent { run: self.machine.run(), shown: self.screen.len(), line: line.to_vec() });
                }
                if let Some(link) = &mut self.link {
                    link.up.push_back(line.to_vec());
                }
            }
            Output::Work(job) => self.jobs.push_back(job),
            Output::Remember(Change::Learned(_, learned)) => self.learn(&learned),
            Output::Remember(Change::Server { .. }) | Output::Progress { .. } => {}
            Output::Message(shown) => self.screen.push(Seen::Message(shown)),
            Output::Act(shown) => self.screen.push(Seen::Act(shown)),
            Output::Server(words) => self.screen.push(Seen::Server(words.to_string())),
            Output::Say(words) => self.screen.push(Seen::Say(words)),
            Output::Alarm(alarm) => self.screen.push(Seen::Alarm(alarm)),
            Output::Disconnect => return true,
            Output::Reconnect { at } => self.reconnect = Some(at),
            Output::Close => return self.end("closed".into()),
            Output::Failed(why) | Output::Untrusted(why) => return self.end(why),
        }
        false
    }

    fn learn(&mut self, learned: &Learned) {
        assert_eq!(self.pins.contradiction(learned), None, "{} learned what contradicts its pins", self.account);
        self.pins.learn(learned);
    }

    fn end(&mut self, why: String) -> bool {
        self.screen.push(Seen::End(why));
        self.ended = true;
        true
    }

    /// The messages that were shown since `from`.
    pub fn messages(&self, from: usize) -> impl Iterator<Item = &Shown> {
        self.screen[from..].iter().filter_map(|seen| match seen {
            Seen::Message(shown) => Some(shown),
            _ => None,
        })
    }

    /// The alarms since `from`; what was missed while away is none.
    pub fn alarms(&self, from: usize) -> Vec<&Alarm> {
        let alarms = self.screen[from..].iter().filter_map(|seen| match seen {
            Seen::Alarm(Alarm::Missing { away: true, .. } | Alarm::MissingDirect { away: true, .. }) => None,
            Seen::Alarm(alarm) => Some(alarm),
            _ => None,
        });
        alarms.collect()
    }

    /// How a text was shown since `from`, if it was.
    pub fn trust_of(&self, from: usize, text: &str) -> Option<Trust> {
        self.messages(from).find(|shown| shown.text.as_str() == text).map(|shown| shown.trust)
    }

    /// Everything since `from`, as a person reads it.
    pub fn transcript(&self, from: usize) -> String {
        self.screen[from..].iter().map(|seen| format!("{seen}\n")).collect()
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(shown) => shown.fmt(f),
            Self::Act(act) => write!(f, "* {act}"),
            Self::Alarm(alarm) => write!(f, "! {alarm}"),
            Self::Server(words) => write!(f, "server: {words}"),
            Self::Say(words) => write!(f, "* {words}"),
            Self::End(why) => write!(f, "the end: {why}"),
        }
    }
}

fn config(realm: Realm, signing: &SigningKey, rsa: &Arc<PrivateKey>, pins: Pins, which: (usize, u8)) -> Config {
    let (number, start) = which;
    let mut seed = *signing.expose_seed();
    seed[..8].copy_from_slice(&number.to_be_bytes());
    seed[8] ^= start;
    let signing_key = SigningKey::from_seed(signing.expose_seed());
    Config { realm, signing_key, rsa: Arc::clone(rsa), pins, seed, scripted: false }
}
