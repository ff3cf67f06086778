//! The client as a state machine: what is typed and what the server says goes in, what is to be sent, shown and
//! remembered comes out. Time is an argument.
//!
//! Typed lines go through one queue, so that a chat line never goes out ahead of the answer to the `/join` before it, and no
//! command ahead of a chat line before it. Name and room follow the server's answers, not what was typed.

mod hear;
mod heard;
mod keys;
mod receive;
mod take;

use std::collections::VecDeque;
use std::time::Duration;

use self::heard::Heard;
use crate::client::alarm::Alarm;
use crate::client::keyring::Keyring;
use crate::client::known_keys::{Learned, Pins};
use crate::client::packages::{self, Draft, Reader};
use crate::client::people::People;
use crate::client::requests::{Asked, Place, Requests};
use crate::client::shown::Shown;
use crate::client::signed::Signer;
use crate::crypto::{Fingerprint, KeyError, PrivateKey, SigningKey};
use crate::names::{RoomName, Text, UserName};
use crate::protocol::legacy::{self, FromServer};
use crate::transcript::{Realm, RunId};

/// How long lines wait, after the notice of an own join, for the keys of those who see it: a Python server replays none.
const KEYS_AT_MOST: Duration = Duration::from_millis(400);

/// How long no key may have come for the keys to be complete.
const KEYS_QUIET: Duration = Duration::from_millis(100);

/// Most lines that wait; beyond it [`Machine::wants_lines`] is false.
const MOST_LINES: usize = 1000;

/// The time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the start of the client; never goes back.
    pub elapsed: Duration,
    /// Seconds since 1970.
    pub unix: u64,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A line was typed.
    Line(String),
    /// No line will follow.
    EndOfLines,
    /// The server said something.
    Server(FromServer),
    /// The server said something that was too long to be kept.
    TooLong,
    /// The time of [`Machine::deadline`] has come.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// One message for the server.
    Send(Vec<u8>),
    /// Nothing will be sent any more.
    Close,
    /// Something is to be remembered, before anything is sent.
    Remember(Learned),
    /// A message of another.
    Message(Shown),
    /// A message of another that bears no name.
    Nameless(Text),
    /// What the server says.
    Server(Text),
    /// The client's own words.
    Say(String),
    /// The client's own words, which warn.
    Alarm(Alarm),
}

enum Queued {
    Command(String),
    Chat(String),
}

/// The wait for keys after an own join.
struct Settling {
    since: Duration,
    asked: Duration,
}

/// Who the person is, and where.
pub struct Own {
    /// The device's key.
    pub rsa: PrivateKey,
    /// The account's.
    pub signing_key: SigningKey,
    /// Drawn at each start of the client.
    pub run: RunId,
    /// The key of the server's certificate, which names the realm.
    pub server: Fingerprint,
}

/// The client.
pub struct Machine {
    private: PrivateKey,
    own: Reader,
    signer: Signer,
    server: Fingerprint,
    keyring: Keyring,
    place: Place,
    requests: Requests,
    queue: VecDeque<Queued>,
    settling: Option<Settling>,
    /// When another's key came last.
    key_came: Option<Duration>,
    announced: Option<Duration>,
    announce_at: Option<Duration>,
    /// Whether the room is to get the own bundle.
    bundle_due: bool,
    heard: Heard,
    login_failed: bool,
    join_failed: bool,
    /// Whether lines come from a script, which does not look at answers.
    scripted: bool,
    /// Whether a line was not sent.
    unsent: bool,
    told_lonely: bool,
    told_other_device: bool,
    told_no_bundle: bool,
    ending: bool,
    closed: bool,
}

impl Machine {
    /// A client that has just connected, and knows what is pinned in the realm.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library cannot wrap with the own key.
    pub fn new(own: Own, pins: Pins) -> Result<Self, KeyError> {
        let Own { rsa: private, signing_key, run, server } = own;
        let realm = Realm(*server.as_bytes());
        let people = People::new(realm, signing_key.verifying_key().bytes(), pins);
        Ok(Self {
            own: Reader::new(private.public().clone())?,
            private,
            signer: Signer::new(realm, signing_key, run),
            server,
            keyring: Keyring::new(people),
            place: Place::default(),
            requests: Requests::default(),
            queue: VecDeque::new(),
            settling: None,
            key_came: None,
            announced: None,
            announce_at: None,
            bundle_due: false,
            heard: Heard::default(),
            login_failed: false,
            join_failed: false,
            scripted: false,
            unsent: false,
            told_lonely: false,
            told_other_device: false,
            told_no_bundle: false,
            ending: false,
            closed: false,
        })
    }

    /// The same, driven by a script: after a `/join` that failed, no line goes to the room before, however late it comes.
    #[must_use]
    pub fn scripted(self) -> Self {
        Self { scripted: true, ..self }
    }

    /// Whether a line was not sent, which was said.
    pub fn has_unsent(&self) -> bool {
        self.unsent
    }

    /// Takes note that a line was not sent, which was said.
    pub fn note_unsent(&mut self) {
        self.unsent = true;
    }

    /// Lines that were taken and not sent yet.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// When it wants [`Input::Tick`], since the start.
    pub fn deadline(&self) -> Option<Duration> {
        let waited_for = [self.heard.deadline(), self.keyring.deadline()].into_iter().flatten().min();
        if self.closed {
            return waited_for;
        }
        let lines_wait = !self.queue.is_empty() && !self.requests.hold_lines();
        let settled = if lines_wait { self.keys_complete_at() } else { None };
        [self.requests.next_expiry(), settled, self.announce_at, waited_for].into_iter().flatten().min()
    }

    /// Whether there is room for more lines.
    pub fn wants_lines(&self) -> bool {
        self.queue.len() < MOST_LINES && !self.ending
    }

    /// Takes what happened; adds to `out` what is to be done, in order.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Line(line) if !self.ending => self.take_line(&line, out),
            Input::Line(_) | Input::Tick => {}
            Input::EndOfLines => self.ending = true,
            Input::Server(message) => self.hear(now, message, out),
            Input::TooLong => out.push(Output::Say("A message came that was too long, and was dropped.".into())),
        }
        self.expire_keys(now, out);
        self.expire_heard(now, out);
        if !self.closed {
            self.expire(now, out);
            self.announce_again(now, out);
            self.advance(now, out);
        }
        self.remember(out);
    }

    /// Sends what may be sent, in the order in which it was typed.
    fn advance(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(first) = self.queue.front() {
            let is_chat = matches!(first, Queued::Chat(_));
            if is_chat && (self.requests.hold_lines() || self.is_settling(now.elapsed)) {
                break;
            }
            if is_chat && (self.login_failed || self.join_failed) {
                self.drop_lines(out);
                continue;
            }
            match self.queue.pop_front() {
                Some(Queued::Command(line)) => self.command(now, line, out),
                Some(Queued::Chat(text)) => self.chat(now, &text, out),
                None => {}
            }
        }
        if !self.requests.hold_lines() && !self.scripted {
            // A person who types on has seen the answer.
            (self.login_failed, self.join_failed) = (false, false);
        }
        if self.ending && self.queue.is_empty() && !self.requests.awaited() {
            self.closed = true;
            out.push(Output::Close);
        }
    }

    /// Lines that were meant for a room that could not be joined go to no other.
    fn drop_lines(&mut self, out: &mut Vec<Output>) {
        let mut dropped = 0;
        while self.queue.pop_front_if(|queued| matches!(queued, Queued::Chat(_))).is_some() {
            dropped += 1;
        }
        let command = if self.join_failed { "/join" } else { "/login" };
        let lines = if dropped == 1 { "1 line was" } else { &format!("{dropped} lines were") };
        out.push(Output::Say(format!("{lines} not sent, because the {command} before failed.")));
        self.unsent = true;
        if !self.scripted {
            (self.login_failed, self.join_failed) = (false, false);
        }
    }

    fn command(&mut self, now: Now, line: String, out: &mut Vec<Output>) {
        let words: Vec<&str> = legacy::words(&line).collect();
        let word = words.first().map(|word| word.to_lowercase()).unwrap_or_default();
        let first = words.get(1).copied();
        let asked = match word.as_str() {
            "/login" => Asked::Login(UserName::new(first.unwrap_or_default())),
            "/join" => Asked::Join(RoomName::new(first.unwrap_or_default())),
            "/create" | "/list" => Asked::Listed,
            _ => Asked::Other,
        };
        let announces = match asked {
            Asked::Login(_) => words.len() >= 3,
            Asked::Join(_) => words.len() >= 2,
            _ => false,
        };
        out.push(Output::Send(legacy::encode_command(&line)));
        self.requests.push(asked, now.elapsed);
        if announces {
            self.announce(now, out);
        }
    }

    fn not_sent(&mut self, words: String, out: &mut Vec<Output>) {
        self.unsent = true;
        out.push(Output::Say(words));
    }

    fn chat(&mut self, now: Now, text: &str, out: &mut Vec<Output>) {
        let (nick, room) = match (&self.place.nick, &self.place.room) {
            (Some(nick), Some(room)) => (nick, room),
            (None, _) => return self.not_sent("Not sent: /login first.".into(), out),
            (_, None) => return self.not_sent("Not sent: /join a room first.".into(), out),
        };
        if let Err(why) = self.signer.set_account(nick, &self.private) {
            return self.not_sent(format!("Not sent: it cannot be signed: {why}."), out);
        }
        let others = self.keyring.readers(nick);
        let draft = Draft { room, author: nick, own: &self.own, text, unix: now.unix };
        let packed = match packages::pack(&draft, &others, &mut self.signer) {
            Ok(packed) => packed,
            Err(why) => return self.not_sent(format!("Not sent: {why}."), out),
        };
        for user in &packed.unreached {
            self.unsent = true;
            out.push(Output::Say(format!("Not sent to {user}: the names leave no room for a text.")));
        }
        if packed.packages.is_empty() {
            return self.not_sent("Not sent: nobody can be reached.".into(), out);
        }
        if others.is_empty() && !std::mem::replace(&mut self.told_lonely, true) {
            let why = if self.keyring.has_offers() {
                "Keys of others wait for /accept".to_owned()
            } else {
                format!("Nobody else's key is known in {room}")
            };
            out.push(Output::Say(format!("{why}, so nobody else can read you yet.")));
        }
        out.extend(packed.packages.into_iter().map(Output::Send));
    }

    /// Goes on where an answer takes too long. God's `/join` has none.
    fn expire(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(asked) = self.requests.expire(now.elapsed, &self.place) {
            let late = match asked {
                Asked::Login(name) if !name.as_str().is_empty() => {
                    let words = format!("/login {name}");
                    self.stand_at(Place { nick: Some(name), room: None });
                    self.login_failed = false;
                    words
                }
                Asked::Join(room) if !room.as_str().is_empty() => {
                    let words = format!("/join {room}");
                    self.enter(room);
                    if self.is_god() {
                        continue;
                    }
                    words
                }
                _ => continue,
            };
            out.push(Output::Say(format!("The server has not answered {late} yet. Going on as if it had.")));
        }
    }

    fn is_settling(&mut self, now: Duration) -> bool {
        let waits = self.keys_complete_at().is_some_and(|at| now < at);
        if !waits {
            self.settling = None;
        }
        waits
    }

    /// When the keys of those in the room that was just joined will have come.
    fn keys_complete_at(&self) -> Option<Duration> {
        let Settling { since, asked } = self.settling.as_ref()?;
        let latest = *since + KEYS_AT_MOST;
        let quiet = self.key_came.filter(|came| came >= asked).map(|came| came.max(*since) + KEYS_QUIET);
        Some(quiet.map_or(latest, |quiet| quiet.min(latest)))
    }

    fn is_god(&self) -> bool {
        self.place.nick.as_ref().is_some_and(UserName::is_god)
    }
}

#[cfg(test)]
mod tests;
