//! Which messages were heard, and which wait: for their author's keys, or for the package that has this client's key.

use std::collections::VecDeque;
use std::time::Duration;

use crate::client::alarm::Alarm;
use crate::client::counters::Counters;
use crate::names::{RoomName, UserName};
use crate::protocol::modern::{Reader, Signed};
use crate::transcript::{BundleHash, MessageHash};

/// How long a message may come before its author's bundle.
pub(super) const BUNDLE: Duration = Duration::from_secs(2);

/// How long the package of a message that has this client's key may come after one that has it not: a sender with many
/// readers spreads them over several.
pub(super) const SPREAD: Duration = Duration::from_secs(2);

/// How many messages are kept in mind.
const MOST: usize = 256;

/// Most bytes of messages that wait for keys.
const MOST_BYTES: usize = 1 << 20;

/// A signed message, or the package of it that has this client's key.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) room: RoomName,
    pub(super) token: String,
    /// This client's key.
    pub(super) entry: Option<String>,
    pub(super) signed: Signed,
}

impl Said {
    /// What tells it from all others.
    pub(super) fn id(&self) -> Id {
        let Signed { author, counter, .. } = self.signed;
        Id { author, counter, hash: MessageHash::of(&self.token) }
    }

    fn len(&self) -> usize {
        self.token.len() + self.entry.as_ref().map_or(0, String::len) + self.room.as_str().len()
    }
}

/// What tells a signed message from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) author: Reader,
    pub(super) counter: u64,
    pub(super) hash: MessageHash,
}

/// The last of many things.
struct Last<T>(VecDeque<T>);

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: PartialEq> Last<T> {
    fn add(&mut self, item: T) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(item);
    }
}

/// A message of which no package with this client's key has come.
#[derive(Debug)]
struct Keyless {
    until: Duration,
    id: Id,
    author: UserName,
}

/// The messages of this client's rooms.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) counters: Counters<RoomName>,
    /// Signed by nobody who is known yet, and until when each waits.
    waiting: VecDeque<(Duration, Said)>,
    bytes: usize,
    keyless: VecDeque<Keyless>,
    opened: Last<Id>,
    unsigned: Last<(MessageHash, UserName)>,
    told: Last<(MessageHash, Alarm)>,
}

impl Heard {
    /// When something has waited for long enough.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let waiting = self.waiting.front().map(|(until, _)| *until);
        waiting.into_iter().chain(self.keyless.front().map(|keyless| keyless.until)).min()
    }

    /// Lets a message wait for its author's keys; gives those for which there is no room any more.
    pub(super) fn wait(&mut self, now: Duration, said: Said) -> Vec<Said> {
        self.bytes += said.len();
        self.waiting.push_back((now + BUNDLE, said));
        let mut dropped = Vec::new();
        while self.waiting.len() > MOST || self.bytes > MOST_BYTES {
            dropped.extend(self.next_waiting(|_| true));
        }
        dropped
    }

    fn next_waiting(&mut self, is_it: impl Fn(&(Duration, Said)) -> bool) -> Option<Said> {
        let (_, said) = self.waiting.pop_front_if(|waiting| is_it(waiting))?;
        self.bytes = self.bytes.saturating_sub(said.len());
        Some(said)
    }

    /// A message that has waited for its author's keys in vain.
    pub(super) fn expired(&mut self, now: Duration) -> Option<Said> {
        self.next_waiting(|(until, _)| *until <= now)
    }

    /// The messages that waited for these keys, in the order in which they came.
    pub(super) fn signed_by(&mut self, bundle: BundleHash) -> Vec<Said> {
        let (theirs, others): (VecDeque<_>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(_, said)| said.signed.author.bundle == bundle);
        self.waiting = others;
        self.bytes = self.waiting.iter().map(|(_, said)| said.len()).sum();
        theirs.into_iter().map(|(_, said)| said).collect()
    }

    /// Takes note of a message without this client's key; gives the author of one that is in mind no longer.
    pub(super) fn note_keyless(&mut self, now: Duration, id: Id, author: UserName) -> Option<UserName> {
        let dropped = if self.keyless.len() >= MOST { self.keyless.pop_front() } else { None };
        self.keyless.push_back(Keyless { until: now + SPREAD, id, author });
        dropped.map(|dropped| dropped.author)
    }

    /// Whether a message is one whose package with this client's key has not come.
    pub(super) fn is_keyless(&self, id: &Id) -> bool {
        self.keyless.iter().any(|keyless| keyless.id == *id)
    }

    /// The author of a message whose package with this client's key came neither in time nor before the author's next message.
    pub(super) fn lost(&mut self, now: Duration, next: Option<&Reader>) -> Option<UserName> {
        let is_over = |keyless: &Keyless| keyless.until <= now || next == Some(&keyless.id.author);
        let at = self.keyless.iter().position(is_over)?;
        self.keyless.remove(at).map(|keyless| keyless.author)
    }

    /// Whether a message was opened.
    pub(super) fn is_opened(&self, id: &Id) -> bool {
        self.opened.0.contains(id)
    }

    /// Takes note of a message that is opened now.
    pub(super) fn note_opened(&mut self, id: Id) {
        self.keyless.retain(|keyless| keyless.id != id);
        self.opened.add(id);
    }

    /// The author of an unsigned message that was opened before.
    pub(super) fn unsigned(&self, hash: &MessageHash) -> Option<UserName> {
        self.unsigned.0.iter().find(|(opened, _)| opened == hash).map(|(_, author)| author.clone())
    }

    /// Takes note of an unsigned message that was opened.
    pub(super) fn note_unsigned(&mut self, hash: MessageHash, author: UserName) {
        self.unsigned.add((hash, author));
    }

    /// Whether this is said of a message for the first time.
    pub(super) fn is_news(&mut self, hash: MessageHash, alarm: &Alarm) -> bool {
        let is_news = !self.told.0.iter().any(|(told, what)| *told == hash && what == alarm);
        if is_news {
            self.told.add((hash, alarm.clone()));
        }
        is_news
    }
}
