//! Who was not there cannot read it, with all that ever passed and all the own keys at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use secure_chat::crypto::{ChainKey, FernetKey, PrivateKey, envelope};
use serde_json::Value;

use crate::modern_world::{Passed, Way, Who, World, keys};

/// How many counters a chain is stepped on: more than anybody says here.
const STEPS: u64 = 64;

/// Everything in some traffic that bears this name, and looks like a key or a message.
fn strings(value: &Value, names: &[&str], found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(text) if names.contains(&key.as_str()) => drop(found.insert(text.clone())),
                    Value::Object(map) if names.contains(&key.as_str()) => {
                        found.extend(map.values().filter_map(|value| value.as_str().map(str::to_owned)));
                    }
                    value => strings(value, names, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, names, found)),
        _ => {}
    }
}

fn parsed(traffic: &[Passed]) -> Vec<Value> {
    traffic.iter().map(|passed| serde_json::from_slice(&passed.line).unwrap()).collect()
}

/// Opens whatever can be opened with a private key and all that passed, in every way that there is. Gives the texts.
fn read_all(traffic: &[Passed], own: &[Arc<PrivateKey>]) -> BTreeSet<String> {
    let mut wraps = BTreeSet::new();
    let mut tokens = BTreeSet::new();
    for line in parsed(traffic) {
        strings(&line, &["wrap", "wraps", "encrypted_keys", "encrypted_key"], &mut wraps);
        strings(&line, &["encrypted_message"], &mut tokens);
    }
    let secrets: BTreeSet<[u8; 32]> =
        wraps.iter().flat_map(|wrap| own.iter().filter_map(|key| Some(*envelope::unwrap(wrap, key)?))).collect();
    let mut keys: BTreeMap<[u8; 32], FernetKey> = BTreeMap::new();
    for secret in &secrets {
        keys.insert(*secret, FernetKey::from_raw(secret));
        let mut chain = ChainKey::from_raw(secret);
        for _ in 0..STEPS {
            let key = chain.message_key();
            keys.insert(*key.expose_raw(), key);
            let raw = FernetKey::from_raw(chain.expose_raw());
            keys.insert(*raw.expose_raw(), raw);
            chain.step();
        }
    }
    let open = |token: &String| keys.values().find_map(|key| envelope::open_with(key, token));
    tokens.iter().filter_map(|token| Some(open(token)?.split_once(": ")?.1.to_owned())).collect()
}

/// A world where everything is recorded.
struct Recorded {
    world: World,
    alice: Who,
    bob: Who,
    carol: Who,
    dave: crate::modern_world::Old,
    said: usize,
}

impl Recorded {
    fn new() -> Self {
        let accounts = ["alice", "bob", "carol", "dave", "erin", "frank"];
        let mut world = World::new(&accounts, &[("den", "bob"), ("attic", "carol")]);
        world.traffic = Some(Vec::new());
        let alice = world.arrive("alice", "den");
        let bob = world.arrive("bob", "den");
        let carol = world.arrive("carol", "den");
        let dave = world.arrive_legacy("dave", "den", 3);
        Self { world, alice, bob, carol, dave, said: 0 }
    }

    /// Everybody says something, in the room and to each other; gives the texts.
    fn talk(&mut self) -> BTreeSet<String> {
        self.talk_of(&[self.alice, self.bob, self.carol, self.alice])
    }

    fn talk_of(&mut self, speakers: &[Who]) -> BTreeSet<String> {
        let mut texts = BTreeSet::new();
        let mut text = |said: &mut usize| {
            *said += 1;
            let text = format!("text {said}");
            texts.insert(text.clone());
            text
        };
        for who in speakers.iter().copied() {
            let text = text(&mut self.said);
            self.world.say(who, "den", &text);
        }
        let direct = text(&mut self.said);
        self.world.whisper(self.alice, "bob", &direct);
        let legacy = text(&mut self.said);
        self.world.say_legacy(self.dave, &legacy);
        texts
    }

    /// What could have been read of these texts.
    fn read(&self, own: &[Arc<PrivateKey>], of: &BTreeSet<String>) -> BTreeSet<String> {
        let all = read_all(self.world.traffic.as_deref().unwrap(), own);
        all.intersection(of).cloned().collect()
    }
}

/// Only what erin was a reader of: in the room, not what is between two, and of dave only while he has her key.
fn of_the_room(texts: &BTreeSet<String>) -> usize {
    texts.len() - 1
}

#[test]
fn a_newcomer_reads_nothing_of_before() {
    let mut recorded = Recorded::new();
    let before = recorded.talk();
    recorded.world.type_line(recorded.carol, "/leave");
    let without_carol = recorded.talk_of(&[recorded.bob, recorded.alice]);
    recorded.world.type_line(recorded.carol, "/join den pw");
    let before: BTreeSet<String> = before.into_iter().chain(without_carol).chain(recorded.talk()).collect();
    let erin = recorded.world.intruder("erin");
    recorded.world.connect(erin);
    recorded.world.enter(erin, "den");
    let own = [keys::adversary_rsa()];
    assert_eq!(recorded.read(&own, &before), BTreeSet::new());
    // Not with what she is given later either; and that she reads.
    let after = recorded.talk();
    let later = recorded.talk();
    assert_eq!(recorded.read(&own, &before), BTreeSet::new());
    assert_eq!(recorded.read(&own, &after).len(), of_the_room(&after));
    assert_eq!(recorded.read(&own, &later).len(), of_the_room(&later));
    // The method is sound: those who were there read it all so.
    let all: Vec<_> = (0..keys::SHARED).map(keys::rsa).collect();
    assert_eq!(recorded.read(&all, &before), before);
}

#[test]
fn who_left_reads_nothing_after() {
    for how in ["leaves", "is kicked", "is banned", "is lost", "goes to another room", "logs in anew"] {
        let mut recorded = Recorded::new();
        let erin = recorded.world.intruder("erin");
        recorded.world.connect(erin);
        recorded.world.enter(erin, "den");
        let with = recorded.talk();
        let own = [keys::adversary_rsa()];
        assert_eq!(recorded.read(&own, &with).len(), of_the_room(&with), "{how}");
        let world = &mut recorded.world;
        match how {
            "leaves" => world.type_line(erin, "/leave"),
            "is kicked" => world.type_line(recorded.bob, "/kick erin"),
            "is banned" => world.type_line(recorded.bob, "/ban erin 1h"),
            "goes to another room" => world.type_line(erin, "/join attic pw"),
            "logs in anew" => {
                world.log_in(erin);
                world.pass(Duration::from_secs(70));
            }
            _ => {
                world.crash(erin);
                world.pass(Duration::from_secs(70));
            }
        }
        let after = recorded.talk();
        let later = recorded.talk();
        assert_eq!(recorded.read(&own, &after), BTreeSet::new(), "{how}");
        assert_eq!(recorded.read(&own, &later), BTreeSet::new(), "{how}");
        assert_eq!(recorded.read(&own, &with).len(), of_the_room(&with), "{how}: what she read stays read");
    }
}

#[test]
fn who_comes_back_reads_nothing_of_between() {
    let mut recorded = Recorded::new();
    let erin = recorded.world.intruder("erin");
    recorded.world.connect(erin);
    recorded.world.enter(erin, "den");
    let with = recorded.talk();
    recorded.world.type_line(erin, "/leave");
    let between = recorded.talk();
    recorded.world.type_line(erin, "/join den pw");
    let after = recorded.talk();
    let own = [keys::adversary_rsa()];
    assert_eq!(recorded.read(&own, &between), BTreeSet::new());
    assert_eq!(recorded.read(&own, &with).len(), of_the_room(&with));
    assert_eq!(recorded.read(&own, &after).len(), of_the_room(&after));
}

/// The server, with everything that passed and no reader's key, reads nothing at all. What is written in the clear is not there.
#[test]
fn the_server_reads_nothing() {
    let mut recorded = Recorded::new();
    let texts = recorded.talk();
    assert_eq!(recorded.read(&[keys::adversary_rsa()], &texts), BTreeSet::new());
    let all: Vec<u8> = recorded.world.traffic.iter().flatten().flat_map(|passed| passed.line.clone()).collect();
    let all = String::from_utf8_lossy(&all);
    assert!(texts.iter().all(|text| !all.contains(text.as_str())));
    let up = recorded.world.traffic.iter().flatten().filter(|passed| passed.way == Way::Up).count();
    assert!(up > 20, "something was recorded");
}
