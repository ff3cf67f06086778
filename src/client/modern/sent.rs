//! What became of the own messages.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::client::alarm::until;
use crate::names::Text;

/// How many are listed.
const LISTED: usize = 20;

/// How many are followed: as many as may wait, and those that are listed.
const FOLLOWED: usize = 1_024;

/// How long the server's word may take before that is said.
const SOON: Duration = Duration::from_secs(1);

/// How much of a text is shown.
const SHOWN: usize = 40;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// It waits for what comes before it, or for keys.
    Waiting,
    /// The server has it, and has not answered.
    Sent,
    /// The server took it, as the event with this number; a direct message has none.
    Accepted(Option<u64>),
    /// It was not taken; why.
    Refused(String),
    /// The first messages that it was split into were taken, the others were not; why.
    Cut(String),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting"),
            Self::Sent => f.write_str("sent, not answered yet"),
            Self::Accepted(Some(n)) => write!(f, "accepted by the server (event {n})"),
            Self::Accepted(None) => f.write_str("accepted by the server"),
            Self::Refused(why) => write!(f, "not sent: {why}"),
            Self::Cut(why) => write!(f, "only the beginning sent: {why}"),
        }
    }
}

#[derive(Debug)]
struct Followed {
    note: u64,
    text: Text,
    since: Duration,
    fate: Fate,
    /// Whether it was said that it takes long.
    told: bool,
}

/// The last messages, in order.
#[derive(Debug, Default)]
pub(super) struct SentList {
    last: u64,
    followed: VecDeque<Followed>,
}

impl SentList {
    /// Takes a message that was typed; gives its number.
    pub(super) fn add(&mut self, text: &str, now: Duration) -> u64 {
        self.last += 1;
        let text = shortened(text);
        self.followed.push_back(Followed { note: self.last, text, since: now, fate: Fate::Waiting, told: false });
        if self.followed.len() > FOLLOWED {
            self.followed.pop_front();
        }
        self.last
    }

    fn find(&mut self, note: u64) -> Option<&mut Followed> {
        let at = self.followed.binary_search_by_key(&note, |followed| followed.note).ok()?;
        self.followed.get_mut(at)
    }

    fn set(&mut self, note: u64, fate: Fate) {
        if let Some(followed) = self.find(note) {
            followed.fate = fate;
        }
    }

    /// It waits again.
    pub(super) fn waits(&mut self, note: u64) {
        self.set(note, Fate::Waiting);
    }

    /// It was given to the server.
    pub(super) fn sent(&mut self, note: u64) {
        self.set(note, Fate::Sent);
    }

    /// The server took it; gives its text when it was said that it takes long.
    pub(super) fn accepted(&mut self, note: u64, n: Option<u64>) -> Option<Text> {
        let followed = self.find(note)?;
        followed.fate = Fate::Accepted(n);
        followed.told.then(|| followed.text.clone())
    }

    /// It is not sent; gives words that tell which it was.
    pub(super) fn refused(&mut self, note: u64, why: &str) -> String {
        self.end(note, Fate::Refused(why.to_owned()))
    }

    /// Its beginning is sent alone; gives words that tell which it was.
    pub(super) fn cut(&mut self, note: u64, why: &str) -> String {
        self.end(note, Fate::Cut(why.to_owned()))
    }

    fn end(&mut self, note: u64, fate: Fate) -> String {
        match self.find(note) {
            Some(followed) => {
                followed.fate = fate;
                format!(" It was: {}", followed.text)
            }
            None => String::new(),
        }
    }

    /// The first whose answer takes long, once each: what it was.
    pub(super) fn late(&mut self, now: Duration) -> Option<Text> {
        let late = self.first_untold().filter(|late| now >= late.since + SOON)?;
        late.told = true;
        Some(late.text.clone())
    }

    /// When the next will take long. They are told in order, so the first counts.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.followed.get(self.first_open()).filter(|first| !first.told).map(|first| first.since + SOON)
    }

    fn first_untold(&mut self) -> Option<&mut Followed> {
        let first = self.first_open();
        self.followed.get_mut(first).filter(|first| !first.told)
    }

    /// What is typed is done in order, so what is done comes before what is not.
    fn first_open(&self) -> usize {
        self.followed.partition_point(|followed| !matches!(followed.fate, Fate::Waiting | Fate::Sent))
    }

    /// The last of them, in lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let skipped = self.followed.len().saturating_sub(LISTED);
        self.followed.iter().skip(skipped).map(|sent| format!("{}: {}", sent.fate, sent.text)).collect()
    }
}

fn shortened(text: &str) -> Text {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Text::sanitize(&format!("{}…", text.get(..end).unwrap_or_default())),
        None => Text::sanitize(text),
    }
}

/// Why the server does not let somebody speak, or enter.
pub(super) fn barred(what: &str, ends: Option<u64>, unix: u64) -> String {
    format!("you are {what} {}", until(ends, unix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    #[test]
    fn what_became_of_each_of_the_last_messages_is_known() {
        let mut sent = SentList::default();
        let notes: Vec<u64> = (0..30).map(|i| sent.add(&format!("line {i}"), NOW)).collect();
        sent.sent(notes[28]);
        assert_eq!(sent.accepted(notes[27], Some(7)), None);
        sent.refused(notes[29], "you are muted");
        let lines = sent.lines();
        assert_eq!(lines.len(), LISTED);
        assert_eq!(lines[0], "waiting: line 10");
        assert_eq!(lines[17], "accepted by the server (event 7): line 27");
        assert_eq!(lines[18], "sent, not answered yet: line 28");
        assert_eq!(lines[19], "not sent: you are muted: line 29");
    }

    #[test]
    fn a_message_that_takes_long_is_said_once_and_its_end_too() {
        let mut sent = SentList::default();
        let note = sent.add("hello", NOW);
        assert_eq!(sent.deadline(), Some(NOW + SOON));
        assert_eq!(sent.late(NOW), None);
        assert_eq!(sent.late(NOW + SOON).unwrap().as_str(), "hello");
        assert_eq!(sent.late(NOW + SOON), None);
        assert_eq!(sent.deadline(), None);
        assert_eq!(sent.accepted(note, None).unwrap().as_str(), "hello");
        let quick = sent.add("quick", NOW);
        assert_eq!(sent.accepted(quick, None), None);
        assert_eq!(sent.late(NOW + SOON), None);
    }

    #[test]
    fn a_long_text_is_shortened_between_characters() {
        let mut sent = SentList::default();
        let note = sent.add(&"é".repeat(100), NOW);
        assert_eq!(sent.refused(note, "no"), format!(" It was: {}…", "é".repeat(40)));
    }
}
