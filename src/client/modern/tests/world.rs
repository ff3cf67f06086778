//! Several machines and a server, with no network between them. What a client shows is written as one line for each thing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::server::{Line, Server, What};
use crate::client::known_keys::{Change, Pins};
use crate::client::machine::Now;
use crate::client::modern::{Config, Done, Input, Job, Machine, Output};
use crate::crypto::{Bundle, PrivateKey, PublicKey, SigningKey};
use crate::names::{RoomName, Text, UserName};
use crate::protocol::modern::{self as wire, decode_request};
use crate::transcript::{EntryKey, RosterEntry, RunId};

/// RSA keys take long to make: there are a few, and whoever needs more shares.
static RSA: LazyLock<Vec<Arc<PrivateKey>>> =
    LazyLock::new(|| (0..6).map(|_| Arc::new(PrivateKey::generate().unwrap())).collect());

pub(super) fn rsa(i: usize) -> Arc<PrivateKey> {
    Arc::clone(&RSA[i % RSA.len()])
}

pub(super) fn public(i: usize) -> PublicKey {
    rsa(i).public().clone()
}

/// What becomes of a line on its way to a session: what is delivered instead.
pub(super) type Tamper = Box<dyn FnMut(usize, What) -> Vec<What>>;

pub(super) struct Client {
    pub(super) machine: Machine,
    /// What was shown, and not looked at yet.
    shown: Vec<String>,
    pub(super) pins: Pins,
    jobs: VecDeque<Job>,
    reconnect: Option<Duration>,
    pub(super) ended: Option<String>,
    pub(super) sent_bytes: usize,
    pub(super) got_bytes: usize,
    pub(super) wraps: usize,
    connections: u8,
}

pub(super) struct World {
    pub(super) now: Now,
    pub(super) server: Server,
    pub(super) clients: Vec<Client>,
    pub(super) tamper: Option<Tamper>,
    /// Work is not done while it is held.
    pub(super) hold_work: bool,
    /// Nothing of what clients send arrives while it is held.
    pub(super) hold_wire: bool,
    held: Vec<(usize, Vec<u8>)>,
    /// How long a job takes, in milliseconds.
    pub(super) slow_work: u64,
    /// What clients did, in order: requests by their words, and what is to be remembered.
    pub(super) order: Vec<(usize, &'static str)>,
}

pub(super) fn room(name: &str) -> RoomName {
    RoomName::new(name)
}

pub(super) fn user(name: &str) -> UserName {
    UserName::new(name)
}

impl World {
    pub(super) fn new() -> Self {
        let now = Now { elapsed: Duration::from_secs(10), unix: 1_700_000_000 };
        let (clients, held, order) = Default::default();
        Self {
            now,
            server: Server::new(),
            clients,
            tamper: None,
            hold_work: false,
            hold_wire: false,
            held,
            slow_work: 0,
            order,
        }
    }

    /// A room `r` with these accounts in it; each client has its own keys.
    pub(super) fn with(names: &[&str]) -> Self {
        let mut world = Self::new();
        world.server.create(&room("r"));
        for (i, name) in names.iter().enumerate() {
            world.connect(i as u8, i, Pins::default());
            world.types(i, &format!("/login {name} pw"));
            world.types(i, "/join r pw");
        }
        world.looked();
        world
    }

    /// A client with this signing key and RSA key, connected; gives its number.
    pub(super) fn connect(&mut self, signing: u8, device: usize, pins: Pins) -> usize {
        let client = self.add(signing, device, pins, false);
        self.greet(client);
        client
    }

    pub(super) fn add(&mut self, signing: u8, device: usize, pins: Pins, scripted: bool) -> usize {
        let number = self.clients.len();
        let mut seed = [signing; 32];
        seed[0] = number as u8;
        let config = Config {
            realm: self.server.realm(),
            signing_key: SigningKey::from_seed(&[signing; 32]),
            rsa: rsa(device),
            pins: pins.clone(),
            seed,
            scripted,
        };
        self.clients.push(Client {
            machine: Machine::new(config),
            shown: Vec::new(),
            pins,
            jobs: VecDeque::new(),
            reconnect: None,
            ended: None,
            sent_bytes: 0,
            got_bytes: 0,
            wraps: 0,
            connections: 0,
        });
        number
    }

    /// A new connection of a client.
    pub(super) fn greet(&mut self, client: usize) {
        self.server.connect(client);
        self.clients[client].connections += 1;
        let mut exporter = [self.clients[client].connections; 32];
        exporter[0] = client as u8;
        let hello = self.server.hello(&exporter);
        self.does(client, Input::Connected { exporter });
        self.does(client, Input::Server(hello));
        self.settle();
    }

    /// The client's connection is lost, for both ends.
    pub(super) fn cut(&mut self, client: usize) {
        self.server.disconnect(client);
        self.held.retain(|(from, _)| *from != client);
        self.does(client, Input::Lost(Text::sanitize("cut")));
        self.settle();
    }

    /// The client connects again when it wants to.
    pub(super) fn back(&mut self, client: usize) {
        let at = self.clients[client].reconnect.take().expect("a wish to connect again");
        self.now.elapsed = self.now.elapsed.max(at);
        self.greet(client);
    }

    pub(super) fn wants_back(&self, client: usize) -> bool {
        self.clients[client].reconnect.is_some()
    }

    pub(super) fn reconnect_at(&mut self, client: usize) -> Duration {
        self.clients[client].reconnect.take().expect("a wish to connect again")
    }

    pub(super) fn types(&mut self, client: usize, line: &str) -> Vec<String> {
        self.does(client, Input::Line(line.into()));
        self.settle();
        self.look(client)
    }

    /// What a client has shown since it was looked at.
    pub(super) fn look(&mut self, client: usize) -> Vec<String> {
        std::mem::take(&mut self.clients[client].shown)
    }

    pub(super) fn looked(&mut self) {
        self.clients.iter_mut().for_each(|client| client.shown.clear());
    }

    pub(super) fn does(&mut self, client: usize, input: Input) {
        let mut out = Vec::new();
        self.clients[client].machine.handle(self.now, input, &mut out);
        for output in out {
            self.perform(client, output);
        }
    }

    fn perform(&mut self, number: usize, output: Output) {
        let client = &mut self.clients[number];
        let line = match output {
            Output::Send(line) => {
                client.sent_bytes += line.len();
                self.order.push((number, decode_request(&line).expect("a request").body.kind().as_str()));
                return self.held.push((number, line.to_vec()));
            }
            Output::Work(job) => {
                client.wraps += if let Job::Wrap(wrap) = &job { wrap.readers.len() } else { 0 };
                return client.jobs.push_back(job);
            }
            Output::Remember(Change::Learned(_, learned)) => {
                self.order.push((number, "remember"));
                return client.pins.learn(&learned);
            }
            Output::Remember(change) => panic!("{change:?}"),
            Output::Message(shown) => shown.to_string(),
            Output::Act(act) => format!("! {act}"),
            Output::Server(text) => format!("-- {text}"),
            Output::Say(words) => format!("* {words}"),
            Output::Alarm(alarm) => format!("* {alarm}"),
            Output::Progress { done, total } => format!("{done}/{total}"),
            Output::Disconnect => {
                self.held.retain(|(from, _)| *from != number);
                return self.server.disconnect(number);
            }
            Output::Reconnect { at } => {
                client.reconnect = Some(at);
                return;
            }
            Output::Close => "CLOSE".into(),
            Output::Failed(words) => format!("FAILED {words}"),
            Output::Untrusted(words) => format!("UNTRUSTED {words}"),
        };
        if ["CLOSE", "FAILED", "UNTRUSTED"].iter().any(|end| line.starts_with(end)) {
            client.ended = Some(line.clone());
        }
        client.shown.push(line);
    }

    /// The last line that is held arrives first.
    pub(super) fn swap_held(&mut self) {
        self.held.rotate_right(1);
    }

    /// Lets the first line arrive that a client sent, and what follows from it be done.
    pub(super) fn step(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let (from, line) = self.held.remove(0);
        let lines = self.server.line(from, line.strip_suffix(b"\n").expect("a line's end"));
        self.deliver(lines);
        self.settle();
    }

    /// Lets everything happen that happens by itself.
    pub(super) fn settle(&mut self) {
        loop {
            if !self.hold_wire && !self.held.is_empty() {
                let (from, line) = self.held.remove(0);
                let lines = self.server.line(from, line.strip_suffix(b"\n").expect("a line's end"));
                self.deliver(lines);
                continue;
            }
            let busy = self.clients.iter().position(|client| !client.jobs.is_empty());
            let (Some(number), false) = (busy, self.hold_work) else { return };
            let job = self.clients[number].jobs.pop_front().expect("a job");
            let done: Done = job.run();
            self.now.elapsed += Duration::from_millis(self.slow_work);
            self.does(number, Input::Done(done));
        }
    }

    /// Does the jobs of one client, though work is held.
    pub(super) fn work(&mut self, client: usize) {
        while let Some(job) = self.clients[client].jobs.pop_front() {
            self.does(client, Input::Done(job.run()));
            self.settle();
        }
    }

    pub(super) fn deliver(&mut self, lines: Vec<Line>) {
        for Line { to, what } in lines {
            let instead = match &mut self.tamper {
                Some(tamper) => tamper(to, what),
                None => vec![what],
            };
            for what in instead {
                self.hears(to, &what);
            }
        }
    }

    pub(super) fn hears(&mut self, client: usize, what: &What) {
        let line = what.encode();
        self.clients[client].got_bytes += line.len() + 1;
        self.does(client, Input::Server(line));
    }

    /// Lets time pass, as the machines say.
    pub(super) fn later(&mut self, ms: u64) {
        let end = self.now.elapsed + Duration::from_millis(ms);
        loop {
            let next = self.clients.iter().enumerate().filter_map(|(i, c)| Some((c.machine.deadline()?, i))).min();
            let Some((at, client)) = next.filter(|(at, _)| *at <= end) else { break };
            let at = at.max(self.now.elapsed);
            self.pass(at);
            self.does(client, Input::Tick);
            self.settle();
            let again = self.clients[client].machine.deadline();
            assert!(again.is_none_or(|again| again > at), "a deadline that does not go away: {again:?}");
        }
        self.pass(end);
    }

    fn pass(&mut self, to: Duration) {
        let passed = to.saturating_sub(self.now.elapsed);
        self.now = Now { elapsed: to, unix: self.now.unix + passed.as_secs() };
        self.server.time += u64::try_from(passed.as_millis()).unwrap();
    }

    /// So many more members, who share a few RSA keys and say nothing.
    pub(super) fn fill(&mut self, members: usize) {
        let realm = self.server.realm();
        let mut entries = Vec::new();
        for i in 0..members {
            let account = user(&format!("member{i:05}"));
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&i.to_be_bytes());
            let bundle = Bundle::sign(&realm, &account, &SigningKey::from_seed(&seed), &rsa(i)).unwrap();
            let keys = wire::BundleKeys {
                signing_key: bundle.signing_key().bytes(),
                rsa_key: bundle.rsa().spki_der().clone(),
                signature: *bundle.signature(),
                rsa_signature: bundle.rsa_signature().clone(),
            };
            let on_the_wire = wire::Bundle::Modern { user: account.clone(), keys };
            self.server.bundles.insert(bundle.hash(), Arc::new(on_the_wire));
            entries.push(RosterEntry { account, key: EntryKey::Modern(bundle.hash()), run: RunId([3; 16]) });
        }
        let mut out = Vec::new();
        self.server.rooms.get_mut(&room("r")).unwrap().hashes_changes = true;
        self.server.change(&room("r"), entries, Vec::new(), None, &mut out);
        self.deliver(out);
        self.settle();
    }

    pub(super) fn legacy_join(&mut self, name: &str, key: &PublicKey) {
        let mut out = Vec::new();
        self.server.legacy_join(&room("r"), name, key, &mut out);
        self.deliver(out);
        self.settle();
    }

    /// A legacy member says something that bears `inside` as its author's name, for these accounts and their devices.
    pub(super) fn legacy_says(&mut self, name: &str, inside: &str, text: &str, readers: &[(&str, usize)]) {
        let sealed = crate::crypto::envelope::seal(&format!("{inside}: {text}"), self.now.unix);
        let keys: BTreeMap<UserName, String> =
            readers.iter().map(|(name, device)| (user(name), sealed.wrap_for(&public(*device)).unwrap())).collect();
        let mut out = Vec::new();
        self.server.legacy_say(&room("r"), name, &sealed.token, &keys, &mut out);
        self.deliver(out);
        self.settle();
    }
}
