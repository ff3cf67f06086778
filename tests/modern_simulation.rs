//! Many people on an honest server, in a world where everything may happen between two lines: they come and go, talk, whisper,
//! moderate, crash and lose their connections; the server is started again; lines are on their way for as long as it pleases
//! chance, in order on each connection and in no order between them.
//!
//! `SEED`, `STEPS` and `PEOPLE` choose what is played; a failure says with which. Nobody is ever alarmed; whoever was in a room
//! from a message's sending to its delivery and stayed connected reads it exactly once, in order and with the right trust; what
//! is refused is said; memory is bounded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "tests may fail loudly"
)]

mod modern_world;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use secure_chat::chat::SessionId;
use secure_chat::client::modern::{Alarm, Input, Place as ShownPlace, Shown, Trust, Unreadable};
use secure_chat::names::Text;
use secure_chat::transcript::{RunId, Signature};

use modern_world::{Down, Happening, Old, Person, Seen, Who, World, keys};

/// How long a message may take that is on nobody's way: grants are waited for ten seconds, and answers a minute.
const LATE: Duration = Duration::from_secs(90);

/// Members beyond whom changes are not told by name, less those that may be away.
const CROWD: usize = 200;

/// Lines that may be on their way for each person before nobody does anything new.
const CROWDED: usize = 8;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Something that was said.
struct Said {
    author: Who,
    text: String,
    /// To whom alone, if it is a direct message.
    to: Option<String>,
    /// The event that it became.
    n: u64,
    taken: bool,
}

/// What somebody is to be shown.
#[derive(Debug, Clone, Copy)]
struct Due {
    since: Duration,
    /// Whether it must be shown: not when the reader went, or was cut off, meanwhile.
    must: bool,
}

/// What is known of a person beside the person.
#[derive(Default)]
struct Notes {
    due: BTreeMap<usize, Due>,
    shown: HashSet<usize>,
    /// What came and was not shown yet.
    came: BTreeSet<usize>,
    /// The last number of each author's that was shown.
    last: HashMap<(Who, bool), usize>,
    /// The last event of the room that was shown as soon as it came.
    last_event: u64,
    /// What was typed and did not come to anything yet.
    typed: VecDeque<usize>,
    /// Whether the client was away since its start: keys that were given meanwhile did not come.
    was_away: bool,
    /// Whether a direct message was under way when a connection was lost: its number may be one that nobody got.
    lost_direct: bool,
    /// Nothing moves on its connection until then.
    stalled: Duration,
    /// Where its client is, as the server sees it.
    looked: usize,
}

struct Simulation {
    world: World,
    rng: StdRng,
    notes: Vec<Notes>,
    said: Vec<Said>,
    by_text: HashMap<String, usize>,
    by_signature: HashMap<Signature, usize>,
    /// Which sessions are in which room since which event.
    members: HashMap<SessionId, (String, u64)>,
    runs: HashMap<RunId, Who>,
    /// Who was told to log in again.
    logged_out: Vec<Who>,
    /// Who may have something to do.
    ready: Vec<Who>,
    is_ready: Vec<bool>,
    wakes: BinaryHeap<Reverse<(Duration, usize)>>,
    rooms: Vec<String>,
    steps: u64,
    counts: BTreeMap<&'static str, u64>,
    /// Why what was typed was not sent.
    refusals: BTreeMap<String, u64>,
    /// Texts that each legacy peer has read, up to here.
    legacy_read: Vec<usize>,
}

impl Simulation {
    fn new(people: usize, seed: u64) -> Self {
        let old = (people / 12).clamp(1, keys::SHARED);
        let names: Vec<String> = (0..people).map(|i| format!("person{i}")).collect();
        let elders: Vec<String> = (0..old).map(|i| format!("elder{i}")).collect();
        let accounts: Vec<&str> = names.iter().chain(&elders).map(String::as_str).collect();
        let mut world =
            World::new(&accounts[people..], &[("hall", "person0"), ("den", "person1"), ("attic", "person2")]);
        world.server.happened = Some(Vec::new());
        world.server.slow_disk = true;
        let mut simulation = Self {
            world,
            rng: StdRng::seed_from_u64(seed),
            notes: Vec::new(),
            said: Vec::new(),
            by_text: HashMap::new(),
            by_signature: HashMap::new(),
            members: HashMap::new(),
            runs: HashMap::new(),
            logged_out: Vec::new(),
            ready: Vec::new(),
            is_ready: Vec::new(),
            wakes: BinaryHeap::new(),
            rooms: ["hall", "den", "attic"].map(str::to_owned).to_vec(),
            steps: 0,
            counts: BTreeMap::new(),
            refusals: BTreeMap::new(),
            legacy_read: vec![0; old],
        };
        // One account in ten is at two devices, which share its signing key, and here its other key, too: the legacy wire
        // knows one key a name.
        for (i, name) in names.iter().enumerate() {
            simulation.add_person(name, i);
        }
        for (i, name) in names.iter().enumerate().filter(|(i, _)| i % 10 == 3) {
            simulation.add_person(name, i);
        }
        for (i, name) in elders.iter().enumerate() {
            simulation.world.legacy.push(modern_world::LegacyPeer::new(name, keys::rsa(i)));
        }
        simulation
    }

    fn add_person(&mut self, account: &str, device: usize) {
        let realm = self.world.server.realm();
        let number = self.world.people.len();
        let mut person = Person::new(account, realm, keys::signing(account), keys::rsa(device), number);
        person.sent = Some(Vec::new());
        self.world.people.push(person);
        self.notes.push(Notes::default());
        self.is_ready.push(false);
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn chance(&mut self, of: u32) -> bool {
        self.rng.random_range(0..of) == 0
    }

    fn anybody(&mut self) -> Who {
        Who(self.rng.random_range(0..self.world.people.len()))
    }

    fn room(&mut self) -> String {
        // Most are in the hall, so that it is a large room when there are many.
        let i = if self.rng.random_range(0..20) > 0 { 0 } else { self.rng.random_range(0..self.rooms.len()) };
        self.rooms[i].clone()
    }

    /// Everybody connects, registers, logs in and enters a room.
    fn begin(&mut self) {
        for who in (0..self.world.people.len()).map(Who) {
            self.dial(who);
            let account = self.world[who].account.clone();
            let room = self.room();
            for line in [format!("/register {account} pw"), format!("/login {account} pw"), format!("/join {room} pw")]
            {
                self.type_line(who, line);
            }
        }
        for old in (0..self.world.legacy.len()).map(Old) {
            self.legacy_comes(old);
        }
    }

    fn dial(&mut self, who: Who) {
        self.world.dial(who);
        self.runs.insert(self.world[who].run(), who);
        self.look(who);
    }

    fn type_line(&mut self, who: Who, line: String) {
        self.input(who, Input::Line(line));
    }

    fn input(&mut self, who: Who, input: Input) {
        self.world.input(who, input);
        self.world.post();
        self.look(who);
    }

    /// Takes note of what a client has sent and shown, and of what the hub decided.
    fn look(&mut self, who: Who) {
        self.look_at_sent(who);
        self.look_at_hub();
        self.look_at_screen(who, None);
        while let Some(touched) = self.world.touched.pop() {
            if !std::mem::replace(&mut self.is_ready[touched.0], true) {
                self.ready.push(touched);
            }
            let person = &self.world.people[touched.0];
            if !person.ended {
                self.wakes.extend(person.machine().deadline().map(|at| Reverse((at, touched.0))));
            }
            self.wakes.extend(person.reconnect.map(|at| Reverse((at, touched.0))));
        }
    }

    /// The first that was typed is what a client sends.
    fn look_at_sent(&mut self, who: Who) {
        for sent in self.world[who].sent.replace(Vec::new()).unwrap() {
            let is_send =
                sent.line.starts_with(b"{\"type\":\"send\"") || sent.line.starts_with(b"{\"type\":\"direct\"");
            if !is_send {
                continue;
            }
            let line: serde_json::Value = serde_json::from_slice(&sent.line).unwrap();
            let signature = Signature::from_base64(line["signature"].as_str().unwrap()).unwrap();
            if self.by_signature.contains_key(&signature) {
                continue; // it is sent again as it was
            }
            let id = *self.notes[who.0].typed.front().expect("nothing is sent that was not typed");
            let is_direct = line["type"] == "direct";
            assert_eq!(is_direct, self.said[id].to.is_some(), "what is typed is sent in order");
            self.by_signature.insert(signature, id);
        }
    }

    fn look_at_hub(&mut self) {
        for happening in self.world.server.happened.replace(Vec::new()).unwrap() {
            match happening {
                Happening::Joined { session, room, n } => {
                    self.members.insert(session, (room, n));
                    self.count("joins");
                }
                Happening::Left(session) => self.left(session),
                Happening::Said { session, signature, room, n, at } => self.taken(session, signature, &room, n, at),
                Happening::Whispered { session, signature, readers } => self.whispered(session, signature, &readers),
            }
        }
    }

    /// What is on its way to somebody who goes need not arrive.
    fn left(&mut self, session: SessionId) {
        let room = self.members.remove(&session);
        if let Some(who) = self.who_at(session) {
            // A return to a large room is not seen by name: who gave a key to somebody who was just gone does not give it again.
            let of_room = |room: &str| self.members.values().filter(|(other, _)| other == room).count();
            self.notes[who.0].was_away |= room.is_some_and(|(room, _)| of_room(&room) > CROWD);
            self.notes[who.0].due.values_mut().for_each(|due| due.must = false);
            self.notes[who.0].came.clear();
        }
    }

    fn who_at(&self, session: SessionId) -> Option<Who> {
        self.world.person_at(session)
    }

    fn taken(&mut self, session: SessionId, signature: Signature, room: &str, n: u64, at: u64) {
        let Some(id) = self.by_signature.get(&signature).copied() else { return };
        assert!(!std::mem::replace(&mut self.said[id].taken, true), "a message is taken once");
        self.said[id].n = n;
        self.done(id);
        self.count("messages");
        // A newcomer cannot read what was sealed before it came.
        let readers: Vec<SessionId> = self
            .members
            .iter()
            .filter(|(other, (place, since))| **other != session && place == room && *since <= at)
            .map(|(other, _)| *other)
            .collect();
        self.expect(id, readers);
    }

    fn whispered(&mut self, session: SessionId, signature: Signature, readers: &[RunId]) {
        let Some(id) = self.by_signature.get(&signature).copied() else { return };
        self.said[id].taken = true;
        self.done(id);
        self.count("direct messages");
        let who: Vec<_> = readers.iter().filter_map(|run| self.runs.get(run).copied()).collect();
        let sessions = who.iter().filter_map(|who| Some(self.world[*who].link.as_ref()?.session));
        let sessions: Vec<_> = sessions.filter(|other| *other != session).collect();
        self.expect(id, sessions);
    }

    /// What was typed came to something.
    fn done(&mut self, id: usize) {
        let author = self.said[id].author;
        self.notes[author.0].typed.retain(|typed| *typed != id);
    }

    fn expect(&mut self, id: usize, readers: Vec<SessionId>) {
        let due = Due { since: self.world.now, must: true };
        for session in readers {
            if let Some(who) = self.who_at(session) {
                self.notes[who.0].due.insert(id, due);
            }
        }
    }

    /// Looks at what a screen shows since it was looked at; `came` is the message whose line was just delivered.
    fn look_at_screen(&mut self, who: Who, came: Option<usize>) {
        let from = std::mem::take(&mut self.notes[who.0].looked);
        let seen: Vec<Seen> = self.world.people[who.0].screen.drain(from..).collect();
        self.world.people[who.0].screen.clear();
        for seen in seen {
            match &seen {
                Seen::Message(shown) => self.shown(who, shown, came),
                Seen::Alarm(alarm) => self.alarmed(who, alarm),
                Seen::Say(words) => self.says(who, words),
                Seen::End(why) => panic!("{}'s client ended: {why}", self.world[who].account),
                Seen::Server(_) => {}
                Seen::Act(_) => self.count("acts shown"),
            }
        }
    }

    fn shown(&mut self, who: Who, shown: &Shown, came: Option<usize>) {
        let account = &self.world[who].account;
        let id = *self.by_text.get(shown.text.as_str()).unwrap_or_else(|| panic!("{account} was shown {shown}"));
        let said = &self.said[id];
        assert_eq!(shown.author.as_str(), self.author(id), "{shown}");
        assert!(self.notes[who.0].shown.insert(id), "{account} was shown twice: {shown}");
        let expected = match (self.is_legacy(id), *account == self.author(id)) {
            (true, _) => Trust::Unsigned,
            (false, true) => Trust::Own,
            (false, false) => Trust::Pinned,
        };
        assert_eq!(shown.trust, expected, "{shown}");
        match (&shown.place, &said.to) {
            (ShownPlace::Direct { to }, Some(recipient)) => assert_eq!(to.as_str(), recipient),
            (ShownPlace::Room(_), None) => {}
            _ => panic!("{shown} at another place"),
        }
        assert!(shown.marks.is_empty(), "{shown}");
        let (author, is_direct, n) = (said.author, said.to.is_some(), said.n);
        let notes = &mut self.notes[who.0];
        notes.due.remove(&id);
        notes.came.remove(&id);
        let last = notes.last.insert((author, is_direct), id);
        assert!(last.is_none_or(|last| last < id), "{account} was shown out of its author's order: {shown}");
        if came == Some(id) {
            assert!(n > notes.last_event, "{account} was shown out of the room's order: {shown}");
            notes.last_event = n;
        }
        self.count("messages shown");
    }

    fn author(&self, id: usize) -> &str {
        match self.is_legacy(id) {
            true => &self.world.legacy[self.said[id].author.0 - ELDERS].account,
            false => &self.world[self.said[id].author].account,
        }
    }

    fn is_legacy(&self, id: usize) -> bool {
        self.said[id].author.0 >= ELDERS
    }

    /// Nobody is alarmed but of what was missed. Who was away may lack a key that was given meanwhile.
    fn alarmed(&mut self, who: Who, alarm: &Alarm) {
        match alarm {
            Alarm::Missing { away: true, .. } | Alarm::MissingDirect { away: true, .. } => {
                self.count("told what was missed")
            }
            Alarm::Unreadable(user, Unreadable::NotGranted | Unreadable::Earlier) if self.notes[who.0].was_away => {
                self.not_shown(who, user.as_str());
                self.count("unreadable after a return, and said");
            }
            Alarm::MissingDirect { user, away: false, .. } if self.has_lost_direct(user.as_str()) => {
                self.count("told that a direct message may be lost");
            }
            // What the owner allowed while somebody was away is said to those who come back.
            Alarm::Opened(_) => self.count("told that a room was opened"),
            alarm => panic!("{} was alarmed: {alarm:?}", self.world[who].account),
        }
    }

    fn has_lost_direct(&self, account: &str) -> bool {
        let people = self.world.people.iter().zip(&self.notes);
        people.filter(|(person, _)| person.account == account).any(|(_, notes)| notes.lost_direct)
    }

    /// The first of an author's that came and was not shown will not be.
    fn not_shown(&mut self, who: Who, author: &str) {
        let first = self.notes[who.0].came.iter().find(|id| self.author(**id) == author).copied();
        let notes = &mut self.notes[who.0];
        first.iter().for_each(|id| {
            notes.came.remove(id);
            notes.due.remove(id);
        });
    }

    /// What is not sent is said.
    fn says(&mut self, who: Who, words: &str) {
        if words.starts_with("You are in ") {
            self.notes[who.0].last_event = 0;
        }
        if words.contains("Log in again") {
            self.logged_out.push(who);
        }
        if words.starts_with("Not sent: ") {
            let (_, text) = words.rsplit_once(" It was: ").expect("it is said what was not sent");
            let text = text.rsplit_once(": ").map_or(text, |(_, direct)| direct);
            let id = *self.by_text.get(text).unwrap_or_else(|| panic!("{words}"));
            self.notes[who.0].typed.retain(|typed| *typed != id);
            self.count("not sent, and said");
            self.notes[who.0].lost_direct |=
                words.contains("it is not known whether your direct message was delivered");
            let why =
                words.strip_prefix("Not sent: ").and_then(|rest| rest.split(". It was").next()).unwrap_or_default();
            *self.refusals.entry(why.to_owned()).or_default() += 1;
        }
        if let Some((author, _)) =
            words.strip_prefix("A message of ").and_then(|rest| rest.split_once(" was sent before"))
        {
            self.not_shown(who, author);
            self.count("sent before a return, and said");
        }
    }

    /// Something happens, or something goes on.
    fn step(&mut self) {
        self.steps += 1;
        let pending = self.ready.len();
        let on_the_way: usize = self.ready.iter().take(64).map(|who| self.queued(*who)).sum();
        let is_crowded = on_the_way > CROWDED * pending.clamp(1, 64) || pending > self.world.people.len();
        if pending == 0 || (!is_crowded && self.chance(24)) {
            self.something_happens();
        }
        self.world.now += Duration::from_micros(self.rng.random_range(0..400));
        if self.chance(3) {
            self.store();
        }
        self.something_goes_on();
        self.wake();
        if self.steps.is_multiple_of(4_096) {
            self.nothing_is_late();
        }
    }

    fn store(&mut self) {
        self.world.server.store_one(self.world.now);
        self.world.post();
        self.look_at_hub();
        self.touch();
    }

    fn touch(&mut self) {
        let touched = self.world.touched.last().copied();
        touched.into_iter().for_each(|who| self.look(who));
    }

    fn queued(&self, who: Who) -> usize {
        self.world[who].link.as_ref().map_or(0, |link| link.down.len() + link.up.len())
    }

    /// One line moves on, or a job is done.
    fn something_goes_on(&mut self) {
        if self.ready.is_empty() {
            // Nothing is on its way: time passes until something is due.
            let next =
                self.wakes.peek().map(|Reverse((at, _))| *at).into_iter().chain(self.world.server.deadline()).min();
            let soon = self.world.now + Duration::from_millis(200);
            self.world.now = next.map_or(soon, |next| next.clamp(self.world.now, soon));
            return;
        }
        let i = self.rng.random_range(0..self.ready.len());
        let who = self.ready[i];
        if self.notes[who.0].stalled > self.world.now {
            self.world.now += Duration::from_micros(200);
            return;
        }
        let burst = self.rng.random_range(1..4);
        let mut moved = false;
        for _ in 0..burst {
            moved |= match self.rng.random_range(0..3) {
                0 => self.up(who) || self.down(who) || self.job(who),
                1 => self.down(who) || self.job(who) || self.up(who),
                _ => self.job(who) || self.up(who) || self.down(who),
            };
        }
        if !moved {
            self.is_ready[who.0] = false;
            self.ready.swap_remove(i);
        }
    }

    fn up(&mut self, who: Who) -> bool {
        let moved = self.world.step_up(who);
        if moved {
            self.look(who);
        }
        moved
    }

    fn job(&mut self, who: Who) -> bool {
        let moved = self.world.step_job(who);
        if moved {
            self.look(who);
        }
        moved
    }

    fn down(&mut self, who: Who) -> bool {
        let next = self.world[who].link.as_ref().and_then(|link| link.down.front());
        let came = match next {
            Some(Down::Line(line)) => self.message_of(line),
            _ => None,
        };
        self.notes[who.0].came.extend(came);
        let moved = self.world.step_down(who);
        if moved {
            self.look_at_screen(who, came);
            self.look(who);
        }
        moved
    }

    /// The message that a line brings.
    fn message_of(&self, line: &[u8]) -> Option<usize> {
        if !line.starts_with(b"{\"type\":\"message\"") {
            return None;
        }
        let text = std::str::from_utf8(line).unwrap();
        let (_, rest) = text.split_once("\"signature\":\"")?;
        let signature = Signature::from_base64(rest.split_once('"')?.0).unwrap();
        self.by_signature.get(&signature).copied()
    }

    fn wake(&mut self) {
        if self.world.server.deadline().is_some_and(|at| at <= self.world.now) {
            self.world.server.tick(self.world.now);
            self.world.post();
            self.look_at_hub();
            self.touch();
        }
        while let Some(Reverse((at, i))) = self.wakes.peek().copied().filter(|Reverse((at, _))| *at <= self.world.now) {
            let _ = at;
            self.wakes.pop();
            let who = Who(i);
            if self.world[who].reconnect.is_some_and(|at| at <= self.world.now) {
                self.dial(who);
            } else if self.world[who].machine().deadline().is_some_and(|at| at <= self.world.now) {
                self.input(who, Input::Tick);
            }
        }
    }

    /// Somebody does something.
    fn something_happens(&mut self) {
        if self.chance(4)
            && let Some(who) = self.logged_out.pop()
        {
            return self.enters(who);
        }
        let who = self.anybody();
        match self.rng.random_range(0..1_000) {
            0..600 => self.talks(who),
            600..700 => self.whispers(who),
            700..730 => self.moves(who),
            730..760 => self.is_cut_off(who),
            760..770 => self.crashes(who),
            770..800 => self.moderates(),
            800..830 => self.looks_around(who),
            830..860 => self.stalls(who),
            860..960 => self.elder_acts(),
            960 => self.server_starts_again(),
            _ => self.comes_again(who),
        }
    }

    fn note_typed(&mut self, author: Who, text: &str, to: Option<String>) -> usize {
        let id = self.said.len();
        self.said.push(Said { author, text: text.to_owned(), to, n: 0, taken: false });
        self.by_text.insert(text.to_owned(), id);
        id
    }

    /// A few talk most.
    fn talks(&mut self, who: Who) {
        let most = self.world.people.len().min(40);
        let who = if self.chance(8) { who } else { Who(who.0 % most) };
        let text = format!("m{}", self.said.len());
        let id = self.note_typed(who, &text, None);
        self.notes[who.0].typed.push_back(id);
        self.type_line(who, text);
    }

    fn whispers(&mut self, who: Who) {
        let to = self.anybody();
        let to = self.world[to].account.clone();
        let text = format!("d{}", self.said.len());
        let id = self.note_typed(who, &text, Some(to.clone()));
        self.notes[who.0].typed.push_back(id);
        self.type_line(who, format!("/msg {to} {text}"));
    }

    fn moves(&mut self, who: Who) {
        let room = self.room();
        if self.chance(3) {
            self.type_line(who, "/leave".to_owned());
        }
        self.type_line(who, format!("/join {room} pw"));
    }

    /// The connection is lost: the client comes back at once, or too late for its place in the room.
    fn is_cut_off(&mut self, who: Who) {
        if self.world[who].link.is_none() {
            return;
        }
        self.count("connections lost");
        self.lose(who);
        self.world.drop_link(who);
        self.look_at_hub();
        self.input(who, Input::Lost(Text::sanitize("the cable was cut")));
        if self.chance(4) {
            let away = Duration::from_secs(self.rng.random_range(55..120));
            let at = self.world.now + away;
            self.world.people[who.0].reconnect = Some(at);
            self.wakes.push(Reverse((at, who.0)));
        }
    }

    fn lose(&mut self, who: Who) {
        let notes = &mut self.notes[who.0];
        notes.due.values_mut().for_each(|due| due.must = false);
        notes.was_away = true;
        notes.came.clear();
    }

    fn crashes(&mut self, who: Who) {
        self.count("crashes");
        self.lose(who);
        self.world.drop_link(who);
        self.look_at_hub();
        self.world.people[who.0].restart();
        let notes = &mut self.notes[who.0];
        notes.typed.clear();
        notes.due.clear();
        notes.came.clear();
        notes.was_away = false;
        self.world.people[who.0].sent = Some(Vec::new());
        self.dial(who);
        self.enters(who);
    }

    fn enters(&mut self, who: Who) {
        let (account, room) = (self.world[who].account.clone(), self.room());
        self.type_line(who, format!("/login {account} pw"));
        self.type_line(who, format!("/join {room} pw"));
    }

    fn moderates(&mut self) {
        // The owners of the rooms, and whoever would like to be one.
        let who = Who(self.rng.random_range(0..4.min(self.world.people.len())));
        let target = self.anybody();
        let target = self.world[target].account.clone();
        let line = match self.rng.random_range(0..10) {
            0 => format!("/kick {target} out"),
            1 => format!("/ban {target} 30s"),
            2 => format!("/unban {target}"),
            3 => format!("/mute {target} 20s"),
            4 => format!("/unmute {target}"),
            5 => "/room modern-only on".to_owned(),
            6 => "/room modern-only off".to_owned(),
            7 => "/room passwd pw".to_owned(),
            _ => format!("/topic about {}", self.steps),
        };
        self.count("acts");
        self.type_line(who, line);
    }

    fn looks_around(&mut self, who: Who) {
        let line = ["/who", "/readers", "/list", "/sent", "/keys"][self.rng.random_range(0..5)];
        self.type_line(who, line.to_owned());
    }

    fn stalls(&mut self, who: Who) {
        self.notes[who.0].stalled = self.world.now + Duration::from_millis(self.rng.random_range(0..3_000));
    }

    /// Whoever is in no room, or is logged out, comes again.
    fn comes_again(&mut self, who: Who) {
        let session = self.world[who].link.as_ref().map(|link| link.session);
        let is_in_room = session.is_some_and(|session| self.members.contains_key(&session));
        if session.is_some() && !is_in_room && self.world[who].machine().waiting() == 0 {
            self.enters(who);
        }
    }

    fn server_starts_again(&mut self) {
        if !self.chance(4) {
            return;
        }
        self.count("starts of the server");
        for who in (0..self.world.people.len()).map(Who) {
            self.lose(who);
            self.notes[who.0].due.clear();
        }
        self.members.clear();
        self.world.server.restart(self.world.now);
        self.world.post();
        self.look_at_hub();
        self.touch();
    }

    fn legacy_comes(&mut self, old: Old) {
        self.world.connect_legacy(old);
        let room = self.room();
        let peer = &mut self.world.legacy[old.0];
        let messages = [peer.login(), peer.announce(), peer.join(&room)];
        for message in messages {
            self.world.legacy_tells(old, message);
            // Its thread waits for the hub and the disk.
            while self.world.server.store_one(self.world.now) {}
            self.world.post();
        }
        self.look_at_hub();
        self.touch();
    }

    /// Somebody on the legacy wire comes, goes or speaks.
    fn elder_acts(&mut self) {
        let old = Old(self.rng.random_range(0..self.world.legacy.len()));
        if self.world.legacy[old.0].session.is_none() {
            return self.legacy_comes(old);
        }
        if self.chance(20) {
            self.world.cut_legacy(old);
        } else {
            let text = format!("e{}", self.said.len());
            self.note_typed(Who(ELDERS + old.0), &text, None);
            let message = self.world.legacy[old.0].say(&text, modern_world::server::unix_ms(self.world.now) / 1000);
            self.world.legacy_tells(old, message);
            self.count("legacy messages");
        }
        self.look_at_hub();
        self.touch();
    }

    /// What was to be shown was shown, but for what is on its way.
    fn nothing_is_late(&mut self) {
        for (i, notes) in self.notes.iter_mut().enumerate() {
            notes.due.retain(|_, due| due.must || self.world.now < due.since + LATE);
            let Some((id, due)) = notes.due.iter().find(|(_, due)| due.must && self.world.now > due.since + LATE)
            else {
                continue;
            };
            let person = &self.world.people[i];
            let on_the_way = person.link.as_ref().map_or(0, |link| link.down.len());
            panic!(
                "{} ({i}) was not shown '{}', taken as event {} at {:?}; now it is {:?}, {on_the_way} lines are on their way",
                person.account, self.said[*id].text, self.said[*id].n, due.since, self.world.now
            );
        }
        self.legacy_reads_what_was_said();
    }

    fn legacy_reads_what_was_said(&mut self) {
        for (i, peer) in self.world.legacy.iter_mut().enumerate() {
            let mut seen = HashSet::new();
            for line in peer.read.drain(..) {
                let (author, text) = line.split_once(": ").unwrap();
                let id = self.by_text.get(text).unwrap_or_else(|| panic!("{} read {line}", peer.account));
                assert!(seen.insert(*id), "{} read twice: {line}", peer.account);
                let said = &self.said[*id];
                if said.author.0 < ELDERS {
                    assert_eq!(author, self.world.people[said.author.0].account);
                }
                self.legacy_read[i] += 1;
            }
            peer.heard.clear();
        }
    }

    /// Lets everything that is on its way arrive, and everybody do what they have begun.
    fn settle(&mut self) {
        let until = self.world.now + LATE * 3;
        self.notes.iter_mut().for_each(|notes| notes.stalled = Duration::ZERO);
        while self.world.now < until {
            self.world.now += Duration::from_micros(50);
            self.store();
            self.something_goes_on();
            self.wake();
        }
        self.nothing_is_late();
        for (i, notes) in self.notes.iter().enumerate() {
            let missed: Vec<_> =
                notes.due.iter().filter(|(_, due)| due.must).map(|(id, _)| &self.said[*id].text).collect();
            assert!(missed.is_empty(), "{} was never shown {missed:?}", self.world.people[i].account);
        }
        self.nothing_fails_in_silence();
    }

    /// Everything that was typed was taken, or it was said that it was not.
    fn nothing_fails_in_silence(&self) {
        for (i, notes) in self.notes.iter().enumerate() {
            let person = &self.world.people[i];
            let lost: Vec<_> =
                notes.typed.iter().filter(|id| !self.said[**id].taken).map(|id| &self.said[*id].text).collect();
            assert!(
                lost.is_empty(),
                "{}: nobody knows what became of {lost:?}, {} wait",
                person.account,
                person.machine().waiting()
            );
        }
    }

    fn report(&self, took: Duration) {
        println!(
            "{} people, {} steps, {:.0} s of their time in {:.1} s; {} MB; legacy peers read {}",
            self.world.people.len(),
            self.steps,
            self.world.now.as_secs_f64(),
            took.as_secs_f64(),
            memory() >> 20,
            self.legacy_read.iter().sum::<usize>(),
        );
        self.counts.iter().for_each(|(what, count)| println!("    {what}: {count}"));
        self.refusals.iter().for_each(|(why, count)| println!("    not sent {count} times: {why}"));
    }
}

/// Numbers of authors from here on are those of legacy peers.
const ELDERS: usize = 1_000_000;

/// Bytes of memory in use; zero where that cannot be told.
fn memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

/// What a play of any length is made of.
const ALWAYS: [&str; 6] =
    ["messages shown", "direct messages", "connections lost", "crashes", "acts shown", "legacy messages"];

fn play(people: usize, steps: u64, seed: u64, also: &[&str]) {
    let begun = std::time::Instant::now();
    let mut simulation = Simulation::new(people, seed);
    let result = catch_unwind(AssertUnwindSafe(|| {
        simulation.begin();
        let before = memory();
        while simulation.steps < steps {
            simulation.step();
        }
        simulation.settle();
        // The harness remembers every text; a client and the hub do not.
        let own = 600 * simulation.said.len() + (4 << 20) * simulation.world.people.len();
        assert!(memory() < before + own + (64 << 20), "memory grows: {} MB", memory() >> 20);
    }));
    simulation.report(begun.elapsed());
    if let Err(panic) = result {
        println!("SEED={seed} PEOPLE={people} STEPS={steps}: failed at step {}", simulation.steps);
        std::panic::resume_unwind(panic);
    }
    for what in ALWAYS.iter().chain(also) {
        assert!(simulation.counts.contains_key(what), "there were no {what}");
    }
}

/// Memory is the process's: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn people_understand_each_other_whatever_happens() {
    let _alone = ALONE.lock();
    play(number("PEOPLE", 12) as usize, number("STEPS", 500_000), number("SEED", 1), &["starts of the server"]);
}

/// So many that changes of a room's members are told by their hash.
#[test]
fn a_crowd_understands_each_other_whatever_happens() {
    let _alone = ALONE.lock();
    play(300, 120_000, number("SEED", 1), &[]);
}
