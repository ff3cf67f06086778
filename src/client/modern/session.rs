//! The connection and who is logged in: hello, log-in, announcement, resumption, signs of life.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::answers::is_stored_form;
use super::epoch::Outgoing;
use super::requests::Asked;
use super::{Machine, Output, RequestBody, Task};
use crate::client::alarm::{Alarm, counted};
use crate::client::key_name::KeyName;
use crate::client::shown::{Name, Room};
use crate::crypto::{Bundle, VerifyingKey};
use crate::names::{Password, Text, UserName};
use crate::protocol::modern::{BundleKeys, ByeReason, FromServer, Hello, NewToken, SessionToken, decode_server};
use crate::transcript::{self, BundleHash, Ed25519Key, RunId};

/// Who has sent nothing for so long sends a sign of life.
const QUIET: Duration = Duration::from_secs(30);

/// Who has heard nothing for so long gives the connection up.
const SILENT: Duration = Duration::from_secs(75);

/// How long a server may take for its hello.
const HELLO: Duration = Duration::from_secs(10);

/// The wait before the first attempt to connect again, doubled with each that fails up to a minute.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The connection.
pub(super) enum Link {
    /// There is none.
    Down {
        /// Attempts that failed since the last that did not.
        failed: u32,
    },
    /// It stands, and the server has not said who it is.
    Greeting { exporter: [u8; 32], since: Duration, failed: u32 },
    /// The server is the right one.
    Up {
        heard: Duration,
        sent: Duration,
        /// Where the session of before is being taken up again.
        returning: Option<Returning>,
        /// Why the server is about to end the connection.
        bye: Option<ByeReason>,
    },
}

/// What is awaited to be where the client was before the connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returning {
    /// The answer to `resume`.
    Session,
    /// The answer to `join`.
    Room,
}

/// Whether there is no point in coming back by itself: the server would only end it again, or another connection.
const fn ends_for_good(reason: ByeReason) -> bool {
    matches!(reason, ByeReason::Replaced | ByeReason::LoginTimeout | ByeReason::Idle)
}

impl Default for Link {
    fn default() -> Self {
        Self::Down { failed: 0 }
    }
}

impl Link {
    pub(super) fn note_sent(&mut self, now: Duration) {
        if let Self::Up { sent, .. } = self {
            *sent = now;
        }
    }

    /// Whether the client is on its way back into its room, by itself.
    pub(super) fn is_returning_to_room(&self) -> bool {
        matches!(self, Self::Up { returning: Some(Returning::Room), .. })
    }

    /// Whether new tasks may begin.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self, Self::Up { returning: None, .. })
    }
}

/// Who is logged in.
pub(super) struct Account {
    /// The name as stored.
    pub(super) name: UserName,
    /// The own keys in this account.
    pub(super) bundle: Arc<Bundle>,
    /// Whether the server has them.
    pub(super) announced: bool,
    token: Option<SessionToken>,
}

impl Machine {
    pub(super) fn connected(&mut self, exporter: [u8; 32]) {
        let failed = match self.link {
            Link::Down { failed } | Link::Greeting { failed, .. } => failed,
            Link::Up { .. } => 0,
        };
        self.requests.clear();
        self.link = Link::Greeting { exporter, since: self.now.elapsed, failed };
    }

    pub(super) fn server_line(&mut self, line: &[u8]) {
        let requests = &self.requests;
        let decoded = decode_server(line, |id| requests.kind(id));
        match (&mut self.link, decoded) {
            (Link::Down { .. }, _) => {} // what was on its way when the connection was given up
            (_, Err(why)) => self.broken_server(&why.to_string()),
            (Link::Greeting { exporter, .. }, Ok(FromServer::Hello(hello))) => {
                let exporter = *exporter;
                self.greet(&exporter, hello);
            }
            (Link::Greeting { .. }, Ok(_)) | (_, Ok(FromServer::Hello(_))) => {
                self.broken_server("the server does not begin with a hello, or says it twice");
            }
            (Link::Up { heard, .. }, Ok(line)) => {
                *heard = self.now.elapsed;
                match line {
                    FromServer::Answer(answer) => self.answer(answer),
                    FromServer::Event(event) => self.event(event),
                    FromServer::Hello(_) | FromServer::Unknown => {}
                }
            }
        }
    }

    /// The server's key must have signed what this very connection has and no other, before anything is said to it.
    fn greet(&mut self, exporter: &[u8; 32], hello: Hello) {
        let key = VerifyingKey::parse(&Ed25519Key(hello.realm.0));
        let signs = key.is_ok_and(|key| key.verify(&transcript::hello(exporter), &hello.signature));
        if !signs || hello.realm != self.realm {
            let known = KeyName::from(self.realm);
            let unsent = self.unsent_words().map_or_else(String::new, |words| format!(" {words}"));
            let words = format!(
                "The server is not the known one, or somebody is in between. Nothing was sent to it.{unsent}\n  known: \
                 {known}\n  shown: {}{}",
                KeyName::from(hello.realm),
                if signs { "" } else { ", which did not sign this connection" }
            );
            self.out.push(Output::Disconnect);
            return self.end(Output::Untrusted(words));
        }
        let now = self.now.elapsed;
        self.link = Link::Up { heard: now, sent: now, returning: None, bye: None };
        if let Some(motd) = hello.motd {
            self.out.push(Output::Server(motd));
        }
        self.take_up();
    }

    /// Takes up the session of before.
    fn take_up(&mut self) {
        let is_first = !std::mem::replace(&mut self.was_connected, true);
        let Some(account) = &mut self.account else {
            if !is_first {
                self.say("Connected again.");
            }
            return;
        };
        account.announced = false;
        let Some(token) = account.token.clone() else {
            return self.logged_out(None);
        };
        self.set_returning(Some(Returning::Session));
        self.request(Asked::Resume, RequestBody::Resume { token, run: self.run });
    }

    fn set_returning(&mut self, to: Option<Returning>) {
        if let Link::Up { returning, .. } = &mut self.link {
            *returning = to;
        }
    }

    /// The answer to `resume`: `None` when the server does not know the token.
    pub(super) fn resumed(&mut self, answer: Option<(UserName, BundleHash)>) {
        let Some(account) = &mut self.account else { return self.set_returning(None) };
        let Some((user, bundle)) = answer else {
            self.set_returning(None);
            return self.logged_out(Some("The server does not remember your session."));
        };
        if user != account.name || bundle != account.bundle.hash() {
            return self.broken_server("the server took the session up for somebody else");
        }
        account.announced = true;
        let Some(stay) = &self.stay else {
            self.set_returning(None);
            return self.say(format!("Connected again as {}.", Name(&user)));
        };
        let (room, password) = (stay.room.clone(), stay.password.clone());
        self.set_returning(Some(Returning::Room));
        self.join(room, password, None);
    }

    /// The return is over, with or without a room.
    pub(super) fn returned(&mut self) {
        self.set_returning(None);
    }

    /// The session is nobody's any more; why, if it has to be said.
    fn logged_out(&mut self, why: Option<&str>) {
        let Some(account) = self.account.take() else { return };
        let room = self
            .stay
            .as_ref()
            .map(|stay| format!(", then /join {} with its password", Room(&stay.room)))
            .unwrap_or_default();
        self.leave_room();
        let again = format!("Log in again: /login {}{room}", Name(&account.name));
        self.say(why.map_or(String::new(), |why| format!("{why} ")) + &again);
        self.drop_task("you are not logged in any more");
    }

    pub(super) fn login(&mut self, user: UserName, password: Password) {
        self.request(Asked::Login { user: user.clone() }, RequestBody::Login { user, password });
    }

    /// Logged in: the server is told which keys the session has.
    pub(super) fn logged_in(&mut self, typed: &UserName, name: UserName) {
        if !is_stored_form(&name, typed) {
            return self.broken_server("the server logged you in under another name"); // in which you would speak
        }
        self.leave_room();
        self.speak_as(&name);
        self.rsa_operations += 1;
        let bundle = match Bundle::sign(&self.realm, &name, &self.signing_key, &self.rsa) {
            Ok(bundle) => Arc::new(bundle),
            Err(why) => {
                self.say(format!("Your keys cannot be announced: {why}."));
                return self.finish();
            }
        };
        self.people.set_own(name.clone(), self.rsa.public().fingerprint());
        let keys = BundleKeys {
            signing_key: bundle.signing_key().bytes(),
            rsa_key: bundle.rsa().spki_der().clone(),
            signature: *bundle.signature(),
            rsa_signature: bundle.rsa_signature().clone(),
        };
        self.account = Some(Account { name, bundle, announced: false, token: None });
        self.request(Asked::Announce, RequestBody::Announce { keys, run: self.run });
    }

    /// Counters, epochs and who holds them are a run's. Another account has another run, and begins with nothing.
    fn speak_as(&mut self, name: &UserName) {
        let before = self.speaker.replace(name.clone());
        if before.is_some_and(|before| before != *name) {
            self.run = RunId(self.random.random());
            self.rooms.values_mut().for_each(|memory| memory.outgoing = Outgoing::default());
            self.directs.forget_used();
        }
    }

    pub(super) fn announced(&mut self, bundle: BundleHash, session: NewToken) {
        let Some(account) = self.account.as_mut().filter(|account| account.bundle.hash() == bundle) else {
            return self.broken_server("the server took other keys than yours");
        };
        account.announced = true;
        account.token = Some(session.token);
        let words = format!("You are logged in as {}.", Name(&account.name));
        self.say(words);
    }

    /// A new password makes a new token.
    pub(super) fn new_token(&mut self, session: Option<NewToken>) {
        if let (Some(account), Some(session)) = (&mut self.account, session) {
            account.token = Some(session.token);
        }
    }

    pub(super) fn bye(&mut self, reason: ByeReason, text: Text) {
        if let Link::Up { bye, .. } = &mut self.link {
            *bye = Some(reason);
        }
        self.out.push(Output::Server(text));
        if let (ByeReason::PasswordChanged, Some(account)) = (reason, &mut self.account) {
            account.token = None;
        }
    }

    /// The server does not keep to the protocol: nothing that it says next could be understood.
    pub(super) fn broken_server(&mut self, what: &str) {
        self.alarm(Alarm::Protocol(Text::sanitize(what)));
        self.out.push(Output::Disconnect);
        self.lost(&Text::sanitize("it was given up"));
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, why: &Text) {
        let (failed, bye) = match self.link {
            Link::Down { failed } | Link::Greeting { failed, .. } => (failed.saturating_add(1), None),
            Link::Up { bye, .. } => (0, bye),
        };
        let was_up = matches!(self.link, Link::Up { .. });
        self.link = Link::Down { failed };
        self.requests.clear();
        self.keys.lost();
        self.directs.was_away();
        self.stay_away();
        if self.ending && (self.waiting() == 0 || self.hung_up.is_some()) {
            self.say_unsent();
            return self.end(Output::Close); // all was said but a last word to the room
        }
        self.interrupt_task();
        if self.scripted || self.ending || bye.is_some_and(ends_for_good) {
            let lost = format!("The connection to the server is lost: {why}.");
            let words: Vec<String> = std::iter::once(lost).chain(self.unsent_words()).collect();
            return self.end(Output::Failed(words.join(" ")));
        }
        let wait = self.wait(failed);
        if was_up || failed == 1 {
            let seconds = wait.as_secs().max(1);
            self.say(format!("The connection to the server is lost: {why}. Trying again in {seconds} s."));
        }
        self.out.push(Output::Reconnect { at: self.now.elapsed + wait });
    }

    /// How many lines will not be sent, if there are any.
    pub(super) fn unsent_words(&mut self) -> Option<String> {
        let unsent = self.waiting();
        self.unsent |= unsent > 0;
        (unsent > 0).then(|| format!("{} not sent.", counted(unsent, "line was", "lines were")))
    }

    /// Says how many lines will not be sent, if there are any.
    pub(super) fn say_unsent(&mut self) {
        if let Some(words) = self.unsent_words() {
            self.say(words);
        }
    }

    /// Doubles with each attempt that fails; up to as much more is drawn, so that not everyone comes back at once.
    fn wait(&mut self, failed: u32) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << failed.min(6)).min(LONGEST_WAIT);
        wait + wait.mul_f64(self.random.random_range(0.0..0.5))
    }

    /// The end, as it was wanted. The token of the session is of no use to anybody any more.
    pub(super) fn close(&mut self) {
        if self.link.is_ready() && self.own().is_some() {
            self.request(Asked::Logout, RequestBody::Logout);
        }
        self.end(Output::Close);
    }

    pub(super) fn end(&mut self, last: Output) {
        self.remember();
        self.out.push(last);
        self.ended = true;
        self.task = None;
    }

    pub(super) fn link_deadline(&self) -> Option<Duration> {
        match &self.link {
            Link::Down { .. } => None,
            Link::Greeting { since, .. } => Some(*since + HELLO),
            Link::Up { heard, sent, .. } => {
                let live = (*heard + SILENT).min(*sent + QUIET);
                Some(self.requests.patience_ends().map_or(live, |ends| ends.min(live)))
            }
        }
    }

    /// Gives up what has been silent for too long, and gives signs of life.
    pub(super) fn keep_time(&mut self) {
        let now = self.now.elapsed;
        match &self.link {
            Link::Greeting { since, .. } if now >= *since + HELLO => self.give_up("the server does not say who it is"),
            Link::Up { heard, .. } if now >= *heard + SILENT => self.give_up("nothing was heard of it"),
            Link::Up { .. } if self.requests.patience_ends().is_some_and(|ends| now >= ends) => {
                self.give_up("it does not answer");
            }
            Link::Up { sent, .. } if now >= *sent + QUIET => {
                self.request(Asked::Ping, RequestBody::Ping);
            }
            _ => {}
        }
        if !self.ended {
            self.expire_heard();
            self.tell_late();
        }
    }

    fn give_up(&mut self, why: &str) {
        self.out.push(Output::Disconnect);
        self.lost(&Text::sanitize(why));
    }

    /// The account whose keys the server has.
    pub(super) fn own(&self) -> Option<&Account> {
        self.account.as_ref().filter(|account| account.announced)
    }

    /// The task under way was interrupted by the end of the connection.
    fn interrupt_task(&mut self) {
        self.use_counter();
        let words = match &mut self.task {
            Some(Task::Say(say)) => return say.interrupt(),
            Some(Task::Act(act)) => return act.interrupt(),
            Some(Task::Direct(_)) => "it is not known whether your direct message was delivered",
            Some(Task::Answer | Task::Who) => "the connection was lost before the answer came",
            None => return,
        };
        self.drop_task(words);
    }
}
