//! Everything that a malicious server can say to a client on the legacy wire, and everything that can be typed meanwhile.

use std::time::Duration;

use secure_chat::client::known_keys::Pins;
use secure_chat::client::machine::{Input, Machine, Now, Output, Own};
use secure_chat::crypto::{Fingerprint, PrivateKey, SigningKey};
use secure_chat::names::Text;
use secure_chat::protocol::legacy;
use secure_chat::transcript::RunId;

use super::world::modern::keys;

/// Divides the steps: no step has it, and a PEM has line feeds.
pub const END: u8 = 0x1e;

/// Most steps of one input, and most that time makes a client do between two of them.
const STEPS: usize = 256;
const WAKES: usize = 64;

/// Seconds since 1970 at which a client starts.
pub const UNIX: u64 = 1_700_000_000;

/// A step says what happens; its first byte, what kind of thing:
///
/// ```text
/// T/join den pw     a line is typed
/// S…                the server says something
/// X                 something came that is too long
/// +1500             so many milliseconds pass
/// E                 no line will follow
/// ```
pub fn run(data: &[u8]) {
    let mut play = Play::new();
    for step in data.split(|byte| *byte == END).take(STEPS) {
        if let Some((kind, rest)) = step.split_first() {
            play.step(*kind, rest);
        }
    }
    play.pass(Duration::from_secs(600));
}

/// The client's own, with this key of a server's certificate.
pub fn own() -> Own {
    let rsa = PrivateKey::from_pem(keys::rsa(0).expose_pem()).expect("a key");
    let server = Fingerprint::of(b"server");
    Own { rsa, signing_key: SigningKey::from_seed(&[1; 32]), run: RunId([1; 16]), server }
}

struct Play {
    machine: Machine,
    now: Now,
    pins: Pins,
}

impl Play {
    fn new() -> Self {
        let machine = Machine::new(own(), Pins::default()).expect("the key wraps");
        Self { machine, now: Now { elapsed: Duration::ZERO, unix: UNIX }, pins: Pins::default() }
    }

    fn step(&mut self, kind: u8, rest: &[u8]) {
        let text = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            b'T' => self.feed(Input::Line(text())),
            b'S' => self.feed(Input::Server(legacy::decode_server(rest))),
            b'X' => self.feed(Input::TooLong),
            b'+' => self.pass(Duration::from_millis(text().parse().unwrap_or(0).min(86_400_000))),
            b'E' => self.feed(Input::EndOfLines),
            _ => {}
        }
    }

    /// Time passes, and the client is woken when it wants to be.
    fn pass(&mut self, time: Duration) {
        let end = self.now.elapsed + time;
        for _ in 0..WAKES {
            match self.machine.deadline().filter(|due| *due <= end) {
                Some(due) => self.now.elapsed = due.max(self.now.elapsed),
                None => break,
            }
            self.feed(Input::Tick);
        }
        self.now.elapsed = end;
        self.now.unix = UNIX + end.as_secs();
    }

    fn feed(&mut self, input: Input) {
        let mut out = Vec::new();
        self.machine.handle(self.now, input, &mut out);
        out.iter().for_each(|output| self.check(output));
    }

    /// What is sent fits the wire, what is shown the screen, and what is remembered does not contradict what was.
    fn check(&mut self, output: &Output) {
        match output {
            Output::Send(message) => assert!(message.len() <= legacy::MAX_OUTBOUND, "{} bytes", message.len()),
            Output::Remember(learned) => {
                assert_eq!(self.pins.contradiction(learned), None);
                self.pins.learn(learned);
            }
            Output::Message(shown) => {
                assert_eq!(Text::sanitize(shown.text.as_str()), shown.text);
                is_plain(&shown.to_string());
            }
            Output::Nameless(text) | Output::Server(text) => is_plain(text.as_str()),
            Output::Say(words) => is_plain(words),
            Output::Alarm(alarm) => is_plain(&alarm.to_string()),
            Output::Close => {}
        }
    }
}

fn is_plain(words: &str) {
    assert!(!words.chars().any(|c| c.is_control() && c != '\n'), "{words:?}");
}
