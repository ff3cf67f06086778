//! The values in the script's texts: what is computed, what was heard before, and what can only be checked.

use std::collections::{BTreeMap, HashMap};

use secure_chat::crypto::{ChainKey, envelope};
use secure_chat::names::RoomName;
use secure_chat::transcript::{LogHash, Position, Realm, RoomId, RosterEntry, RunId, roster_hash};

use super::cast::{Cast, base64, entry_json};
use super::script::{Piece, pieces};

/// A day, in milliseconds.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// Everything that has a name.
#[derive(Default)]
pub(crate) struct Values {
    pub(crate) realm: Option<Realm>,
    pub(crate) cast: Cast,
    /// What was heard, or made, under these names.
    pub(crate) named: HashMap<String, String>,
    /// The keys of what was sealed.
    pub(crate) keys: HashMap<String, [u8; 32]>,
    /// The chains of each run, at counter 1, by epoch.
    pub(crate) chains: HashMap<(RunId, u64), ChainKey>,
    /// Where everybody is.
    pub(crate) places: HashMap<String, Position>,
    /// L(n) of each room, as its members hashed it.
    pub(crate) logs: HashMap<RoomName, BTreeMap<u64, LogHash>>,
    /// Which time of a repeated line it is, from 1.
    pub(crate) time: usize,
}

impl Values {
    pub(crate) fn realm(&self) -> Realm {
        self.realm.expect("a server runs, or ran")
    }

    /// The text with its values.
    pub(crate) fn fill(&mut self, text: &str) -> String {
        let value = |piece| match piece {
            Piece::Text(text) => text.to_owned(),
            Piece::Value(name, words) => self.value(name, words).unwrap_or_else(|| panic!("nothing is called ${name}")),
            Piece::Binding(name) => panic!("${name} is not heard but said"),
        };
        pieces(text).into_iter().map(value).collect()
    }

    /// Compares what was heard with what the script says, and takes the values that it names.
    pub(crate) fn compare(&mut self, expected: &str, heard: &str, proves: impl Fn(&str) -> bool) {
        let mut rest = heard;
        let mut filled = String::new();
        for piece in pieces(expected) {
            let here = rest.split(['"', ',', '}', ']', ' ']).next().unwrap_or_default();
            let value = match piece {
                Piece::Text(text) => text.to_owned(),
                Piece::Binding(name) => {
                    assert!(!here.is_empty(), "nothing stands for ${name} in {heard}");
                    self.named.insert(name.to_owned(), here.to_owned());
                    here.to_owned()
                }
                Piece::Value("hello", None) if proves(here) => here.to_owned(),
                Piece::Value(name @ ("time" | "tomorrow" | "in" | "seconds"), words) if is_near(name, words, here) => {
                    here.to_owned()
                }
                Piece::Value(name, words) => self.value(name, words).unwrap_or(format!("${name}")),
            };
            rest = rest.get(value.len()..).unwrap_or_default();
            filled.push_str(&value);
        }
        assert_eq!(heard, filled);
    }

    fn value(&mut self, name: &str, words: Option<&str>) -> Option<String> {
        let words: Vec<_> = words.map(|words| words.split_whitespace().collect()).unwrap_or_default();
        let number = |n: usize| words[n].parse::<usize>().unwrap();
        Some(match (name, &words[..]) {
            ("realm", []) => self.realm().to_base64(),
            ("version", []) => env!("CARGO_PKG_VERSION").to_owned(),
            ("i", []) => self.time.to_string(),
            ("i", [plus]) => (self.time + plus.parse::<usize>().unwrap()).to_string(),
            ("x", [_]) => "x".repeat(number(0)),
            ("bytes", [_, "i"]) => base64(&vec![u8::try_from(self.time).unwrap(); number(0)]),
            ("bytes", [..]) => base64(&vec![u8::try_from(number(1)).unwrap(); number(0)]),
            ("many", [..]) => many(number(0), words[1], self.time),
            ("roster", [room, people @ ..]) => self.roster(room, people),
            ("listed", people) => self.listed(people),
            ("L", [room, _]) => {
                self.logs.get(&RoomName::new(room)).and_then(|log| log.get(&(number(1) as u64)))?.to_base64()
            }
            (name, words) => return self.named_value(name, words.first().copied()),
        })
    }

    fn named_value(&mut self, name: &str, word: Option<&str>) -> Option<String> {
        if let Some(word) = word {
            return self.wrapped(name, word);
        }
        if let Some(value) = self.named.get(name) {
            return Some(value.clone());
        }
        let (who, what) = name.split_once('.')?;
        if !self.cast.has(who) {
            return None;
        }
        match what {
            "keys" => Some(self.cast.keys(&self.realm(), who)),
            "at" => self.places.get(who).map(position),
            what => self.cast.value(&self.realm(), who, what),
        }
    }

    /// `$m(bob)`: the key of what is called m, wrapped for bob's device. OAEP wraps in another way each time.
    fn wrapped(&mut self, name: &str, reader: &str) -> Option<String> {
        let called = format!("{name}({reader})");
        if !self.named.contains_key(&called) {
            let wrap = envelope::wrap(self.keys.get(name)?, self.cast.device(reader).public()).unwrap();
            self.named.insert(called.clone(), wrap);
        }
        self.named.get(&called).cloned()
    }

    /// Entries of people as the script writes them: `carol-` has no key, `bob~` is away. In the order of their hashes, as this
    /// server lists them.
    fn entries(&self, people: &[&str]) -> Vec<(RosterEntry, bool)> {
        let entry = |name: &&str| {
            let person = name.trim_end_matches(['-', '~']);
            let entry = match self.named.get(&format!("{person}.drawn")) {
                Some(run) => self.cast.legacy_entry(person, RunId::from_base64(run).unwrap(), !name.ends_with('-')),
                None => self.cast.entry(&self.realm(), person),
            };
            (entry, name.ends_with('~'))
        };
        let mut entries: Vec<_> = people.iter().map(entry).collect();
        entries.sort_by_key(|(entry, _)| entry.leaf());
        entries
    }

    fn listed(&self, people: &[&str]) -> String {
        let entries: Vec<_> = self.entries(people).iter().map(|(entry, away)| entry_json(entry, *away)).collect();
        entries.join(",")
    }

    fn roster(&self, room: &str, people: &[&str]) -> String {
        let id = self.named.get(&format!("{}.id", room.trim_start_matches('#'))).expect("the room's id was heard");
        let leaves = self.entries(people).into_iter().map(|(entry, _)| entry.leaf());
        roster_hash(&self.realm(), &RoomId::from_base64(id).unwrap(), &RoomName::new(room), leaves).to_base64()
    }

    /// Somebody hashed its room's log so far: all hash it alike.
    pub(crate) fn note_place(&mut self, name: &str, room: &RoomName, at: Position, before: Option<LogHash>) {
        self.places.insert(name.to_owned(), at);
        let log = self.logs.entry(room.clone()).or_default();
        if at.n == 1 {
            log.clear(); // a new log has begun
        }
        log.extend(before.map(|before| (at.n - 1, before)));
        assert_eq!(*log.entry(at.n).or_insert(at.log), at.log, "{name} hashes another log than the others");
    }
}

pub(crate) fn position(at: &Position) -> String {
    format!(r#"{{"n":{},"log":"{}"}}"#, at.n, at.log)
}

/// So many entries of a map, each under a name or hash of its own.
fn many(count: usize, kind: &str, time: usize) -> String {
    let key = |n: usize| match kind {
        "names" => format!("u{time}-{n}"),
        _ => {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_be_bytes());
            base64(&hash)
        }
    };
    let entries: Vec<_> = (0..count).map(|n| format!(r#""{}":"QQ==""#, key(n))).collect();
    entries.join(",")
}

/// Whether a number is what the clock allows: the server's time now, in a day, or in so many seconds, to the second.
fn is_near(name: &str, words: Option<&str>, number: &str) -> bool {
    let Ok(number) = number.parse::<u64>() else { return false };
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let seconds = || words.unwrap().parse::<u64>().unwrap();
    let latest = match name {
        "time" => now,
        "tomorrow" => now + DAY,
        "in" => now + seconds() * 1000,
        _ => return (1..=seconds()).contains(&number),
    };
    number <= latest && number + 60_000 > latest
}
