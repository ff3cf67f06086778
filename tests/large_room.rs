//! A room of two thousand beside a room of ten: real clients, the real hub and codec, no sockets. Once the epoch is distributed,
//! a message costs the same in both.
//!
//! The members have accounts, signing keys and bundles of their own, but share a few RSA keys, because making those takes long.
//! What a message costs in time is measured on demand:
//! `cargo test --release --test large_room -- --ignored --nocapture`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "tests may fail loudly"
)]

mod modern_world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use modern_world::{Down, Passing, Way, Who, World};
use secure_chat::chat::{Change, Directory, Hub, Verifier};
use secure_chat::client::modern::Input;
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::modern::{MAX_CHANGES, RequestBody, decode_request};
use secure_chat::transcript::RoomId;

const ROOM: &str = "den";
const SMALL: usize = 10;
const LARGE: usize = 2000;

/// How many join at the same time: their joins are told in one event.
const CROWD: usize = 100;

/// Entries up to which a room is told of each change by name.
const LISTED: usize = 256;

/// What passed between one client and the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Traffic {
    up: usize,
    down: usize,
    /// Names of users that came, and RSA keys.
    names: usize,
    keys: usize,
    grants: usize,
}

/// What passed between all clients and the server.
#[derive(Default)]
struct Counts {
    clients: BTreeMap<Who, Traffic>,
    /// Keys that were wrapped in grants.
    wraps: usize,
}

impl Counts {
    fn count(&mut self, passing: &Passing<'_>) {
        let line = std::str::from_utf8(passing.line).unwrap();
        let client = self.clients.entry(passing.who).or_default();
        let len = line.len() + 1; // its end
        match passing.way {
            Way::Up => {
                client.up += len;
                if let Ok(RequestBody::Grant(grant)) = decode_request(passing.line).map(|request| request.body) {
                    self.wraps += grant.wraps.len();
                }
            }
            Way::Down => {
                client.down += len;
                client.names += line.matches(r#""user":"#).count();
                client.keys += line.matches(r#""rsa_key":"#).count();
                client.grants += usize::from(line.starts_with(r#"{"type":"grant""#));
            }
        }
    }
}

/// A world with a room, and what passed.
struct Meeting {
    world: World,
    counts: Rc<RefCell<Counts>>,
}

impl Meeting {
    /// So many join a room, a crowd at a time.
    fn of(members: usize) -> Self {
        let mut world = World::new(&[], &[]);
        let names: Vec<_> = (0..members).map(|number| format!("user{number:04}")).collect();
        open(&mut world, &names);
        let counts = Rc::new(RefCell::new(Counts::default()));
        let counting = Rc::clone(&counts);
        world.put(move |passing: &Passing<'_>, on: &mut Vec<(Who, Vec<u8>)>| {
            counting.borrow_mut().count(passing);
            on.push((passing.who, passing.line.to_vec()));
        });
        for crowd in names.chunks(CROWD) {
            crowd.iter().for_each(|name| _ = world.arrive(name, ROOM));
            world.pass(Duration::from_millis(250));
        }
        Self { world, counts }
    }

    /// What passed since the last call.
    fn take(&self) -> Counts {
        std::mem::take(&mut self.counts.borrow_mut())
    }

    /// RSA operations of all clients, on their own threads.
    fn rsa_operations(&self) -> u64 {
        self.world.people.iter().map(|person| person.machine().rsa_operations()).sum()
    }

    /// Somebody says a text, and everybody else reads it, and nothing else is shown.
    fn say(&mut self, who: Who, text: &str) {
        let marks = self.world.mark();
        self.world.say(who, ROOM, text);
        let author = self.world[who].account.clone();
        for (person, mark) in self.world.people.iter().zip(marks).filter(|(person, _)| person.account != author) {
            let shown: Vec<_> = person.screen[mark..].iter().map(ToString::to_string).collect();
            assert_eq!(shown, [format!("{author} (pinned): {text}")], "{}", person.account);
        }
    }
}

/// Puts accounts and the room on the server's disk.
fn open(world: &mut World, names: &[String]) {
    let password = || Verifier::new("pw");
    for name in names {
        world.server.disk.apply(Change::AddUser { user: UserName::new(name), password: password() }).unwrap();
    }
    let (room, id) = (RoomName::new(ROOM), RoomId([0x77; 16]));
    let add = Change::AddRoom { room, password: password(), id, owner: None, modern_only: false };
    world.server.disk.apply(add).unwrap();
    let directory = Directory::new(world.server.disk.clone());
    world.server.hub = Hub::new(directory, world.server.realm(), [1; 32]);
}

/// What a message costs those who say and read it, in bytes, once the epoch is distributed.
#[derive(Debug)]
struct Steady {
    sent: f64,
    received: f64,
}

/// The first messages of two senders, and then so many more.
fn steady(meeting: &mut Meeting) -> Steady {
    const MESSAGES: usize = 6;
    let others = meeting.world.people.len() - 1;
    for sender in [Who(0), Who(others)] {
        meeting.take();
        meeting.say(sender, &format!("the first of {sender:?}"));
        let first = meeting.take();
        assert_eq!(first.wraps, others, "one wrap for each other member");
        let grants = |who: &Who| first.clients[who].grants;
        assert!((0..=others).map(Who).filter(|who| *who != sender).all(|who| grants(&who) == 1));
        meeting.say(sender, &format!("the second of {sender:?}"));
    }
    let rsa = meeting.rsa_operations();
    meeting.take();
    meeting.world.jobs_at_once = false;
    for n in 0..MESSAGES {
        let sender = if n % 2 == 0 { Who(0) } else { Who(others) };
        meeting.say(sender, &format!("message number {n} of the steady state"));
    }
    assert!(meeting.world.people.iter().all(|person| person.jobs.is_empty()), "nothing is left to a worker");
    meeting.world.jobs_at_once = true;
    assert_eq!(meeting.rsa_operations(), rsa, "no RSA, neither at the senders nor at the receivers");
    let counts = meeting.take();
    assert_eq!((counts.wraps, counts.clients.values().map(|client| client.keys).sum::<usize>()), (0, 0));
    let sent: usize = counts.clients.values().map(|client| client.up).sum();
    let answers = |who: Who| counts.clients[&who].down - counts.clients[&Who(1)].down / 2; // each reads half of them, too
    let received = counts.clients[&Who(1)].down;
    assert!(counts.clients.iter().all(|(who, client)| [0, others].contains(&who.0) || client.up == 0));
    let per = |bytes: usize| bytes as f64 / MESSAGES as f64;
    Steady { sent: per(sent) + per(answers(Who(0)) + answers(Who(others))), received: per(received) }
}

#[test]
fn a_message_to_two_thousand_has_as_many_bytes_as_one_to_ten_and_needs_no_rsa() {
    let (mut small, mut large) = (Meeting::of(SMALL), Meeting::of(LARGE));
    joiners(&large.take());
    let [small, large] = [&mut small, &mut large].map(steady);
    println!("bytes a message: {small:?} in a room of {SMALL}, {large:?} in a room of {LARGE}");
    for (small, large) in [(small.sent, large.sent), (small.received, large.received)] {
        assert!((large / small - 1.0).abs() < 0.1, "{small} and {large} bytes");
    }
}

/// While a room fills, nobody gets its keys, and nobody who comes to a large room gets its names.
fn joiners(counts: &Counts) {
    assert_eq!(counts.clients.len(), LARGE);
    let all = || counts.clients.iter();
    assert!(all().all(|(_, client)| (client.keys, client.grants) == (0, 0)));
    // Its own, when it logged in; and in a small room, those who are there and those who come until it is large.
    let allowed = |who: &Who| 1 + if who.0 < LISTED { LISTED } else { 0 };
    let told_more = all().find(|(who, client)| client.names > allowed(who));
    assert_eq!(told_more, None);
    let late: Vec<_> = all().filter(|(who, _)| who.0 >= LISTED).map(|(_, client)| client).collect();
    // The changes that are told together with its own, each a hash, and some lines.
    let hash = 48;
    let most = late.iter().map(|client| client.down).max().unwrap();
    assert!(most < hash * CROWD.min(MAX_CHANGES) + 500 * LARGE.div_ceil(CROWD), "{most} bytes");
    let mean = |of: fn(&Traffic) -> usize| late.iter().map(|client| of(client)).sum::<usize>() / late.len();
    println!(
        "a joiner of a large room, {CROWD} of whom come at once, until all {LARGE} are there: {} bytes up, {} down, at most {most}",
        mean(|client| client.up),
        mean(|client| client.down),
    );
}

/// The time that a client takes for a message: to say it and hear its answer, and to read it.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    sending: Duration,
    reading: Duration,
}

/// Somebody says something and one other reads it; what the others would hear is thrown away.
fn exchange(world: &mut World, n: usize) -> Spent {
    let (sender, reader) = (Who(0), Who(1));
    let line = format!("message number {n:06}, of some forty bytes");
    let begun = Instant::now();
    world.input(sender, Input::Line(line));
    let mut spent = Spent { sending: begun.elapsed(), ..Spent::default() };
    assert_eq!(world[sender].link.as_ref().unwrap().up.len(), 1, "a message is a line");
    world.step_up(sender);
    let mut heard = |who: Who| {
        let down = world[who].link.as_mut().unwrap().down.pop_front();
        let Some(Down::Line(line)) = down else { panic!("{down:?}") };
        let line = line.to_vec();
        let begun = Instant::now();
        world.input(who, black_box(Input::Server(line)));
        begun.elapsed()
    };
    spent.sending += heard(sender);
    spent.reading = heard(reader);
    for person in &mut world.people {
        person.link.as_mut().unwrap().down.clear();
    }
    spent
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Medians of rounds, the two rooms by turns, message by message.
#[test]
#[ignore = "measures time: to be run alone and in a release build"]
fn a_message_to_two_thousand_takes_a_client_as_long_as_one_to_ten() {
    const ROUNDS: usize = 9;
    const MESSAGES: usize = 400;
    let mut rooms = [SMALL, LARGE].map(Meeting::of);
    for room in &mut rooms {
        (0..3).for_each(|n| room.say(Who(0), &format!("distributes the epoch: {n}")));
        room.world.make_honest(); // nothing is counted any more
    }
    let mut rounds = [[Spent::default(); ROUNDS]; 2];
    for round in 0..ROUNDS {
        for n in 0..MESSAGES {
            for (room, rounds) in rooms.iter_mut().zip(&mut rounds) {
                let spent = exchange(&mut room.world, round * MESSAGES + n);
                rounds[round].sending += spent.sending / MESSAGES as u32;
                rounds[round].reading += spent.reading / MESSAGES as u32;
            }
        }
    }
    let reader = &rooms[1].world.people[1];
    assert!(reader.screen.last().unwrap().to_string().contains(&format!("{:06}", ROUNDS * MESSAGES - 1)));
    for (what, of) in [("sending", (|s| s.sending) as fn(Spent) -> Duration), ("reading", |s| s.reading)] {
        let [small, large] = rounds.map(|rounds| median(rounds.into_iter().map(of).collect()));
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        println!("{what}: {small:.2?} in a room of {SMALL}, {large:.2?} in a room of {LARGE}: ratio {ratio:.3}");
    }
}
