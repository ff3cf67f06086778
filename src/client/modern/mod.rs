//! The modern client as one state machine: what is typed, what the server says and what slow work came to goes in; what is
//! to be sent, shown, remembered and worked out comes out. Time is an argument, randomness a seed.
//!
//! What `docs/SECURITY.md` promises between modern clients is decided here. A line of the server goes this way:
//!
//! ```text
//! line → codec ─answer─▶ requests ─▶ what asked (session, room, send, direct, acts)
//!              └─event─▶ hear ─▶ log, roster ─▶ receive: place → keys → signature → trust → counter → chain → Shown
//! ```
//! and a typed line this way:
//!
//! ```text
//! line → queue → task: roster → keys → trust → epoch → wraps (a job) → grants → statement → answer
//! ```
//! One task is under way at a time, so what is typed is done in the order in which it was typed. Whatever the server sends,
//! memory is bounded: every collection has a bound of its own or is as large as a roster that was checked.

mod acts;
mod answers;
mod chains;
mod commands;
mod direct;
mod epoch;
mod hear;
mod heard;
mod jobs;
mod keys;
mod legacy;
mod listing;
mod log;
mod members;
mod readers;
mod receive;
mod requests;
mod room;
mod roster;
mod say;
mod seal;
mod send;
mod sent;
mod session;
mod signed;
mod task;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use zeroize::Zeroizing;

use crate::client::counters::Counters;
use crate::client::key_name::KeyName;
use crate::client::known_keys::{Change, Pins};
use crate::client::machine::Now;
use crate::client::people::People;
use crate::crypto::{PrivateKey, SigningKey};
use crate::names::{Text, UserName};
use crate::protocol::modern::{Request, RequestBody, encode_request};
use crate::transcript::{Position, Realm, RoomId, RunId};

use self::chains::Chains;
use self::direct::Directs;
use self::epoch::Outgoing;
use self::heard::Heard;
use self::keys::Keys;
use self::legacy::LegacyHeard;
use self::requests::{Asked, Requests};
use self::room::Stay;
use self::sent::SentList;
use self::session::{Account, Link};
use self::task::{Queued, Task};

pub use self::acts::ShownAct;
pub use self::jobs::{Check, Done, Job, Target, WRAPS, WrapJob};
pub use self::keys::{BadKey, Key};
pub use self::log::{Broken, WINDOW};
pub use crate::client::alarm::{Alarm, Thing, Unreadable};
pub use crate::client::shown::{Mark, Name, Place, Room, Shown, Trust};

/// Most lines that wait; beyond it [`Machine::wants_lines`] is false.
const MOST_LINES: usize = 1000;

/// Most rooms that are entered. None is forgotten: its counters would begin again.
const MOST_ROOMS: usize = 4096;

/// What a client is and knows when it starts.
pub struct Config {
    /// The server's realm, which was judged: every hello must bear it.
    pub realm: Realm,
    /// The account's signing key.
    pub signing_key: SigningKey,
    /// The device's key.
    pub rsa: Arc<PrivateKey>,
    /// What is pinned in the realm.
    pub pins: Pins,
    /// Random bytes, for the run id and for what keeps many clients from doing the same at the same time.
    pub seed: [u8; 32],
    /// Whether lines come from a script, which does not look at answers, and ends with its connection.
    pub scripted: bool,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A line was typed.
    Line(String),
    /// No line will follow.
    EndOfLines,
    /// The program is to end now: what waits is not sent.
    HangUp,
    /// A TLS connection stands that chose this wire. The server's hello is the first line.
    Connected {
        /// What this connection has and no other: the hello signs it.
        exporter: [u8; 32],
    },
    /// The server sent a line, here without its end.
    Server(Vec<u8>),
    /// The server sent a line over the limit, which was dropped.
    TooLong,
    /// The connection is lost, or could not be made.
    Lost(Text),
    /// A job is done.
    Done(Done),
    /// The time of [`Machine::deadline`] has come.
    Tick,
}

/// What is to be done, in order.
#[derive(Debug)]
pub enum Output {
    /// One line for the server, with its end. It may hold a password.
    Send(Zeroizing<Vec<u8>>),
    /// Work for another thread.
    Work(Job),
    /// Something is to be remembered, before anything that follows is sent.
    Remember(Change),
    /// A message is to be shown.
    Message(Shown),
    /// Something that somebody did is to be shown.
    Act(ShownAct),
    /// What the server says.
    Server(Text),
    /// The client's own words.
    Say(String),
    /// The client's own words, which warn.
    Alarm(Alarm),
    /// So many of so many readers' keys are ready: said while it takes long.
    Progress {
        /// How many.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// The connection is to be dropped; nothing more is sent on it.
    Disconnect,
    /// A connection is to be made then, and [`Input::Connected`] or [`Input::Lost`] to follow.
    Reconnect {
        /// When, since the start.
        at: Duration,
    },
    /// The end: nothing will be sent any more.
    Close,
    /// The end, because the connection is lost for good; why.
    Failed(String),
    /// The end, because the server is not the one that it should be; nothing was sent to it. Why.
    Untrusted(String),
}

/// What this client says in a room, and where it last saw the room's log. Kept as long as the program runs.
#[derive(Default)]
struct RoomMemory {
    outgoing: Outgoing,
    last: Option<Position>,
}

/// The client.
pub struct Machine {
    realm: Realm,
    signing_key: SigningKey,
    rsa: Arc<PrivateKey>,
    run: RunId,
    scripted: bool,
    random: StdRng,

    now: Now,
    out: Vec<Output>,

    link: Link,
    account: Option<Account>,
    /// In whose name the run has counted.
    speaker: Option<UserName>,
    people: People,
    keys: Keys,
    counters: Counters<RoomId>,
    chains: Chains,
    /// At most [`MOST_ROOMS`].
    rooms: BTreeMap<RoomId, RoomMemory>,
    stay: Option<Stay>,
    heard: Heard,
    legacy: LegacyHeard,
    directs: Directs,

    requests: Requests,
    lines: VecDeque<Queued>,
    task: Option<Task>,
    jobs: u64,
    sent: SentList,
    /// Set when a `/join` failed: lines that were meant for that room go to no other.
    misplaced: bool,
    unsent: bool,
    was_connected: bool,
    ending: bool,
    /// Set when the program is to end now: until when the server is waited for.
    hung_up: Option<Duration>,
    ended: bool,
    rsa_operations: u64,
}

impl Machine {
    /// A client that is not connected yet.
    pub fn new(config: Config) -> Self {
        let Config { realm, signing_key, rsa, pins, seed, scripted } = config;
        let mut random = StdRng::from_seed(seed);
        Self {
            realm,
            people: People::new(realm, signing_key.verifying_key().bytes(), pins),
            signing_key,
            rsa,
            run: RunId(random.random()),
            scripted,
            random,
            now: Now { elapsed: Duration::ZERO, unix: 0 },
            out: Vec::new(),
            link: Link::default(),
            account: None,
            speaker: None,
            keys: Keys::default(),
            counters: Counters::default(),
            chains: Chains::default(),
            rooms: BTreeMap::new(),
            stay: None,
            heard: Heard::default(),
            legacy: LegacyHeard::default(),
            directs: Directs::default(),
            requests: Requests::default(),
            lines: VecDeque::new(),
            task: None,
            jobs: 0,
            sent: SentList::default(),
            misplaced: false,
            unsent: false,
            was_connected: false,
            ending: false,
            hung_up: None,
            ended: false,
            rsa_operations: 0,
        }
    }

    /// Takes what happened; adds to `out` what is to be done, in order.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        if self.ended {
            return;
        }
        self.now = now;
        match input {
            Input::Line(line) => self.take_line(Zeroizing::new(line)),
            Input::EndOfLines => self.ending = true,
            Input::HangUp => self.hang_up(),
            Input::Connected { exporter } => self.connected(exporter),
            Input::Server(line) => self.server_line(&line),
            Input::TooLong => self.broken_server("the server sent a line that is too long"),
            Input::Lost(why) => self.lost(&why),
            Input::Done(done) => self.done(done),
            Input::Tick => {}
        }
        if !self.ended {
            self.keep_time();
            self.drive();
            self.fetch_keys();
        }
        self.remember();
        out.append(&mut self.out);
    }

    /// When it wants [`Input::Tick`], since the start.
    pub fn deadline(&self) -> Option<Duration> {
        if self.ended {
            return None;
        }
        let heard = [self.heard.deadline(), self.legacy.deadline()].into_iter().flatten().min();
        let own = [self.task_deadline(), self.sent.deadline(), self.hung_up];
        [self.link_deadline(), heard].into_iter().chain(own).flatten().min()
    }

    /// Whether there is room for more lines.
    pub fn wants_lines(&self) -> bool {
        self.lines.len() < MOST_LINES && !self.ending && !self.ended
    }

    /// Whether a line was not sent, which was said.
    pub fn has_unsent(&self) -> bool {
        self.unsent
    }

    /// Takes note that a line was not sent, which was said.
    pub fn note_unsent(&mut self) {
        self.unsent = true;
    }

    /// Lines that were taken and are not done yet.
    pub fn waiting(&self) -> usize {
        let is_typed = |task: &Task| !matches!(task, Task::Act(act) if act.is_last_word());
        self.lines.len() + usize::from(self.task.as_ref().is_some_and(is_typed))
    }

    /// The run of this client: another one once it has spoken for another account.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// RSA operations that were done here and not in jobs: unwrapping, and signing the own bundle.
    pub fn rsa_operations(&self) -> u64 {
        self.rsa_operations + self.chains.unwraps()
    }

    fn say(&mut self, words: impl Into<String>) {
        self.out.push(Output::Say(words.into()));
    }

    /// Something that was typed cannot be done, so that a script does not end well; why.
    fn cannot(&mut self, words: impl Into<String>) {
        self.unsent = true;
        self.say(words);
    }

    fn alarm(&mut self, alarm: Alarm) {
        self.out.push(Output::Alarm(alarm));
    }

    /// Words of the server's, about what it says is so.
    fn server_says(&mut self, words: &str) {
        self.out.push(Output::Server(Text::sanitize(words)));
    }

    /// What was learned goes out before what follows from it.
    fn remember(&mut self) {
        let realm = KeyName::from(self.realm);
        let learned = self.people.take_learned().into_iter();
        self.out.extend(learned.map(|learned| Output::Remember(Change::Learned(realm, learned))));
    }

    /// Sends a request; gives its number.
    fn request(&mut self, asked: Asked, body: RequestBody) -> u64 {
        self.remember();
        debug_assert_eq!(asked.kind(), body.kind());
        let id = self.requests.push(asked, self.now.elapsed);
        // What may hold a password must not leave copies behind by growing.
        let mut line = Zeroizing::new(Vec::with_capacity(16 * 1024));
        encode_request(&Request { id, body }, &mut line);
        self.out.push(Output::Send(line));
        self.link.note_sent(self.now.elapsed);
        id
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("run", &self.run).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
