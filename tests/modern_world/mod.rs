//! A world without sockets: the real hub, the real codec and real clients, with an adversary in the server's place. Time is
//! virtual, and everything between a client and the hub passes as lines.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test uses its part")]

pub mod keys;
pub mod legacy;
pub mod person;
pub mod server;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use secure_chat::chat::{Change, Dialect, SessionId, Verifier};
use secure_chat::client::modern::{Done, Input, Job, Target};
use secure_chat::crypto::PublicKey;
use secure_chat::names::{RoomName, Text, UserName};
use secure_chat::protocol::ClientMessage;
use secure_chat::protocol::modern::MAX_LINE;
use secure_chat::transcript::RoomId;

pub use self::legacy::LegacyPeer;
pub use self::person::{Link, Person, Seen, Sent};
pub use self::server::{Down, Happening, Server, exporter};

/// Which way a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// To the server.
    Up,
    /// To a client.
    Down,
}

/// One person of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who(pub usize);

/// One peer of a world on the legacy wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Old(pub usize);

/// A line as the adversary sees it.
pub struct Passing<'a> {
    pub way: Way,
    /// Whose connection it is.
    pub who: Who,
    pub session: SessionId,
    pub line: &'a [u8],
}

/// Whoever runs the server: sees every line, and decides which come through instead.
pub trait Adversary {
    /// Pushes what is passed on instead of the line, and on whose connection; an honest server passes the line itself.
    fn pass(&mut self, passing: &Passing<'_>, on: &mut Vec<(Who, Vec<u8>)>);
}

impl<F: FnMut(&Passing<'_>, &mut Vec<(Who, Vec<u8>)>)> Adversary for F {
    fn pass(&mut self, passing: &Passing<'_>, on: &mut Vec<(Who, Vec<u8>)>) {
        self(passing, on);
    }
}

/// What passed, as it was before the adversary touched it.
#[derive(Debug, Clone)]
pub struct Passed {
    pub way: Way,
    pub who: Who,
    pub line: Vec<u8>,
}

/// Where somebody said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Room(String),
    Direct(String),
}

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub author: String,
    pub place: Place,
    /// The how manieth thing it is that was said in this world.
    pub number: usize,
}

#[derive(Debug, Clone, Copy)]
enum Owner {
    Person(Who),
    Legacy(Old),
}

/// The world.
pub struct World {
    pub server: Server,
    pub people: Vec<Person>,
    pub legacy: Vec<LegacyPeer>,
    pub now: Duration,
    owners: HashMap<SessionId, Owner>,
    adversary: Option<Box<dyn Adversary>>,
    /// Everything that passed, when it is recorded.
    pub traffic: Option<Vec<Passed>>,
    /// Who said what, by the text, which is said once.
    pub said: BTreeMap<String, Said>,
    /// Wraps that were made for keys which the adversary has not: trying to open each of them takes long.
    pub for_others: HashSet<String>,
    /// Whether jobs are done at once.
    pub jobs_at_once: bool,
    /// Whose queues may have something in them that was not looked at.
    pub touched: Vec<Who>,
}

/// How often a machine may ask to be woken at one moment.
const MOST_WAKES: usize = 1_000;

impl World {
    /// A world with accounts whose password is `pw`, and rooms with their owners; likewise.
    pub fn new(accounts: &[&str], rooms: &[(&str, &str)]) -> Self {
        let mut server = Server::new(1);
        let password = || Verifier::new("pw");
        for account in accounts {
            server.prepare(Change::AddUser { user: UserName::new(account), password: password() });
        }
        for (room, owner) in rooms {
            server.prepare(Change::AddRoom {
                room: RoomName::new(room),
                password: password(),
                id: room_id(room),
                owner: Some(UserName::new(owner)),
                modern_only: false,
            });
        }
        Self {
            server,
            people: Vec::new(),
            legacy: Vec::new(),
            now: Duration::from_secs(1000),
            owners: HashMap::new(),
            adversary: None,
            traffic: None,
            said: BTreeMap::new(),
            for_others: HashSet::new(),
            jobs_at_once: true,
            touched: Vec::new(),
        }
    }

    /// Puts an adversary in the server's place.
    pub fn put(&mut self, adversary: impl Adversary + 'static) {
        self.adversary = Some(Box::new(adversary));
    }

    /// The server is honest from now on.
    pub fn make_honest(&mut self) {
        self.adversary = None;
    }

    /// A person with keys of its own, who is not connected yet.
    pub fn person(&mut self, account: &str) -> Who {
        self.device(account, account, self.people.len())
    }

    /// A person at a device, with a signing key.
    pub fn device(&mut self, account: &str, signing: &str, device: usize) -> Who {
        let rsa = keys::rsa(device);
        let number = self.people.len();
        self.people.push(Person::new(account, self.server.realm(), keys::signing(signing), rsa, number));
        Who(self.people.len() - 1)
    }

    /// The adversary's own client in this name, with keys of its own.
    pub fn intruder(&mut self, account: &str) -> Who {
        let (realm, signing) = (self.server.realm(), keys::signing("evil"));
        self.people.push(Person::new(account, realm, signing, keys::adversary_rsa(), self.people.len()));
        Who(self.people.len() - 1)
    }

    /// A person who is in a room; all is settled.
    pub fn arrive(&mut self, account: &str, room: &str) -> Who {
        let who = self.person(account);
        self.connect(who);
        self.enter(who, room);
        who
    }

    /// Logs in and enters a room.
    pub fn enter(&mut self, who: Who, room: &str) {
        self.log_in(who);
        self.type_line(who, &format!("/join {room} pw"));
    }

    /// Logs in.
    pub fn log_in(&mut self, who: Who) {
        let line = format!("/login {} pw", self[who].account);
        self.type_line(who, &line);
    }

    /// Types a line, and lets everything happen that follows from it.
    pub fn type_line(&mut self, who: Who, line: &str) {
        self.input(who, Input::Line(line.to_owned()));
        self.settle();
    }

    /// Says something in a room, once and for all: nothing else has this text.
    pub fn say(&mut self, who: Who, room: &str, text: &str) {
        self.will_say(who, Place::Room(room.to_owned()), text);
        self.type_line(who, text);
    }

    /// Says something to one account.
    pub fn whisper(&mut self, who: Who, to: &str, text: &str) {
        self.will_say(who, Place::Direct(to.to_owned()), text);
        self.type_line(who, &format!("/msg {to} {text}"));
    }

    /// Takes note of who is about to say what.
    pub fn will_say(&mut self, who: Who, place: Place, text: &str) {
        let said = Said { author: self[who].account.clone(), place, number: self.said.len() };
        assert!(self.said.insert(text.to_owned(), said).is_none(), "a text is said once: {text}");
    }

    /// Feeds a client; its connection is dropped if it says so.
    pub fn input(&mut self, who: Who, input: Input) {
        let now = self.now;
        self.touched.push(who);
        if self[who].handle(now, input) {
            self.drop_link(who);
        }
    }

    /// Makes a connection.
    pub fn connect(&mut self, who: Who) {
        self.dial(who);
        self.settle();
    }

    /// Begins to make a connection.
    pub fn dial(&mut self, who: Who) {
        self.drop_link(who);
        let session = self.server.open(self.now, Dialect::Modern);
        self.owners.insert(session, Owner::Person(who));
        self[who].link = Some(Link { session, up: Default::default(), down: Default::default() });
        self[who].reconnect = None;
        self.input(who, Input::Connected { exporter: exporter(session) });
        self.post();
    }

    /// Drops a connection; the client does not notice yet.
    pub fn drop_link(&mut self, who: Who) {
        if let Some(link) = self[who].link.take() {
            self.owners.remove(&link.session);
            self.server.close(self.now, link.session);
        }
    }

    /// The connection is lost; the client notices.
    pub fn cut(&mut self, who: Who) {
        self.drop_link(who);
        self.input(who, Input::Lost(Text::sanitize("the cable was cut")));
        self.settle();
    }

    /// The client crashes, and is started again.
    pub fn crash(&mut self, who: Who) {
        self.drop_link(who);
        self[who].restart();
        self.settle();
    }

    /// The server stops and starts again.
    pub fn restart_server(&mut self) {
        self.server.restart(self.now);
        self.settle();
    }

    /// Somebody on the legacy wire who is in a room, with a key.
    pub fn arrive_legacy(&mut self, account: &str, room: &str, device: usize) -> Old {
        self.legacy.push(LegacyPeer::new(account, keys::rsa(device)));
        let old = Old(self.legacy.len() - 1);
        self.connect_legacy(old);
        let (login, key) = (self.legacy[old.0].login(), self.legacy[old.0].announce());
        let join = self.legacy[old.0].join(room);
        [login, key, join].into_iter().for_each(|message| self.legacy_says(old, message));
        old
    }

    /// Makes a connection on the legacy wire.
    pub fn connect_legacy(&mut self, old: Old) {
        let session = self.server.open(self.now, Dialect::Legacy);
        self.owners.insert(session, Owner::Legacy(old));
        self.legacy[old.0].session = Some(session);
    }

    /// The connection is lost.
    pub fn cut_legacy(&mut self, old: Old) {
        if let Some(session) = self.legacy[old.0].session {
            self.owners.remove(&session);
            self.server.close(self.now, session);
        }
        self.legacy[old.0].lost();
        self.post();
    }

    /// A message of a legacy peer.
    pub fn legacy_says(&mut self, old: Old, message: ClientMessage) {
        self.legacy_tells(old, message);
        self.settle();
    }

    /// A message of a legacy peer; what follows from it waits.
    pub fn legacy_tells(&mut self, old: Old, message: ClientMessage) {
        if let Some(session) = self.legacy[old.0].session {
            self.server.legacy(self.now, session, message);
        }
        self.post();
    }

    /// A text of a legacy peer.
    pub fn say_legacy(&mut self, old: Old, text: &str) {
        let peer = &self.legacy[old.0];
        let place = Place::Room(peer.room.clone().unwrap().to_string());
        let said = Said { author: peer.account.clone(), place, number: self.said.len() };
        self.said.insert(text.to_owned(), said);
        let message = peer.say(text, server::unix_ms(self.now) / 1000);
        self.legacy_says(old, message);
    }

    /// Gives everyone what the server has sent.
    pub fn post(&mut self) {
        while let Some((session, down)) = self.server.next_out() {
            match self.owners.get(&session) {
                Some(Owner::Person(who)) => {
                    let who = *who;
                    self[who].link.as_mut().unwrap().down.push_back(down);
                    self.touched.push(who);
                }
                Some(Owner::Legacy(old)) => self.deliver_legacy(*old, session, down),
                None => {}
            }
        }
    }

    fn deliver_legacy(&mut self, old: Old, session: SessionId, down: Down) {
        match down {
            Down::Legacy(message) => self.legacy[old.0].hear(message),
            Down::Line(_) => panic!("a line of the modern wire on the legacy one"),
            Down::End => {
                self.owners.remove(&session);
                self.legacy[old.0].lost();
            }
        }
    }

    /// Passes a client's next line on to the server. `false` when there is none.
    pub fn step_up(&mut self, who: Who) -> bool {
        let Some(link) = &mut self[who].link else { return false };
        let Some(line) = link.up.pop_front() else { return false };
        let session = link.session;
        for (who, line) in self.through(Way::Up, who, session, line) {
            self.hand_up(who, line);
        }
        true
    }

    /// Passes the server's next line on to a client. `false` when there is none.
    pub fn step_down(&mut self, who: Who) -> bool {
        let Some(link) = &mut self[who].link else { return false };
        let Some(down) = link.down.pop_front() else { return false };
        let session = link.session;
        match down {
            Down::Line(line) => {
                for (who, line) in self.through(Way::Down, who, session, line.to_vec()) {
                    self.hand_down(who, line);
                }
            }
            Down::End => {
                self.owners.remove(&session);
                self[who].link = None;
                self.input(who, Input::Lost(Text::sanitize("the server ended it")));
            }
            Down::Legacy(_) => panic!("a message of the legacy wire on the modern one"),
        }
        self.post();
        true
    }

    /// Gives the server a line in a client's name, whoever made it.
    pub fn hand_up(&mut self, who: Who, line: Vec<u8>) {
        if let Some(session) = self[who].link.as_ref().map(|link| link.session) {
            self.server.line(self.now, session, line);
            self.post();
        }
    }

    /// Gives a client a line, whoever made it.
    pub fn hand_down(&mut self, who: Who, line: Vec<u8>) {
        if self[who].link.is_some() {
            let is_short = line.len() < MAX_LINE;
            self.input(who, if is_short { Input::Server(line) } else { Input::TooLong });
        }
    }

    /// Gives a client a line that the adversary made, and lets everything happen that follows from it.
    pub fn forge(&mut self, who: Who, line: impl Into<Vec<u8>>) {
        self.hand_down(who, line.into());
        self.settle();
    }

    /// Has the server say something to a client, behind what it has said already.
    pub fn queue_down(&mut self, who: Who, line: impl Into<Vec<u8>>) {
        let line = line.into();
        if let Some(link) = &mut self[who].link {
            link.down.push_back(Down::Line(line.into()));
        }
    }

    fn through(&mut self, way: Way, who: Who, session: SessionId, line: Vec<u8>) -> Vec<(Who, Vec<u8>)> {
        if let Some(traffic) = &mut self.traffic {
            traffic.push(Passed { way, who, line: line.clone() });
        }
        let Some(adversary) = &mut self.adversary else { return vec![(who, line)] };
        let mut on = Vec::new();
        adversary.pass(&Passing { way, who, session, line: &line }, &mut on);
        on
    }

    /// Does a client's next job. `false` when there is none.
    pub fn step_job(&mut self, who: Who) -> bool {
        let Some(job) = self[who].jobs.pop_front() else { return false };
        let adversary = keys::adversary_rsa().public().fingerprint();
        let is_others = |(_, key): &&(Target, PublicKey)| key.fingerprint() != adversary;
        let others: Vec<Target> = match &job {
            Job::Wrap(wrap) => wrap.readers.iter().filter(is_others).map(|(target, _)| target.clone()).collect(),
            _ => Vec::new(),
        };
        let done = job.run();
        if let Done::Wrapped { wraps, .. } = &done {
            let of_others = wraps.iter().filter(|(target, _)| others.contains(target));
            self.for_others.extend(of_others.map(|(_, wrap)| wrap.as_str().to_owned()));
        }
        self.input(who, Input::Done(done));
        true
    }

    /// Whose connection a session is.
    pub fn person_at(&self, session: SessionId) -> Option<Who> {
        match self.owners.get(&session)? {
            Owner::Person(who) => Some(*who),
            Owner::Legacy(_) => None,
        }
    }

    /// Lets everything happen that happens without time.
    pub fn settle(&mut self) {
        self.post();
        self.touched.clear();
        loop {
            let mut goes_on = false;
            for who in (0..self.people.len()).map(Who) {
                while self.step_up(who) || self.step_down(who) || (self.jobs_at_once && self.step_job(who)) {
                    goes_on = true;
                }
            }
            if !goes_on {
                return self.touched.clear();
            }
        }
    }

    /// When something happens by itself.
    pub fn deadline(&self) -> Option<Duration> {
        let of_people = self.people.iter().filter_map(|person| {
            let deadline = if person.ended { None } else { person.machine().deadline() };
            deadline.into_iter().chain(person.reconnect).min()
        });
        of_people.chain(self.server.deadline()).min()
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.settle();
        let mut wakes = 0;
        while let Some(next) = self.deadline().filter(|next| *next <= until) {
            wakes = if next > self.now { 0 } else { wakes + 1 };
            assert!(wakes < MOST_WAKES, "somebody wants to be woken without end");
            self.now = self.now.max(next);
            self.wake();
        }
        self.now = until;
    }

    /// Wakes everyone whose moment has come.
    pub fn wake(&mut self) {
        if self.server.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.server.tick(self.now);
            self.post();
        }
        for who in (0..self.people.len()).map(Who) {
            if self[who].reconnect.is_some_and(|at| at <= self.now) {
                self.connect(who);
            }
            if !self[who].ended && self[who].machine().deadline().is_some_and(|at| at <= self.now) {
                self.input(who, Input::Tick);
            }
        }
        self.settle();
    }

    /// How far each screen has come, to look at what is shown from here on.
    pub fn mark(&self) -> Vec<usize> {
        self.people.iter().map(|person| person.screen.len()).collect()
    }

    /// All screens since a mark, for a person who reads why a test failed.
    pub fn screens(&self, mark: &[usize]) -> String {
        let screen = |(i, person): (usize, &Person)| {
            format!("--- {}\n{}", person.account, person.transcript(mark.get(i).copied().unwrap_or_default()))
        };
        self.people.iter().enumerate().map(screen).collect()
    }
}

impl std::ops::Index<Who> for World {
    type Output = Person;

    fn index(&self, who: Who) -> &Person {
        &self.people[who.0]
    }
}

impl std::ops::IndexMut<Who> for World {
    fn index_mut(&mut self, who: Who) -> &mut Person {
        &mut self.people[who.0]
    }
}

/// The id of a room that is there from the beginning.
pub fn room_id(room: &str) -> RoomId {
    let mut id = [0x77; 16];
    id.iter_mut().zip(room.bytes()).for_each(|(to, from)| *to = from);
    RoomId(id)
}
