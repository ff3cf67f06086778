//! Seeds of what clients hear: what honest servers say, recorded.

use std::time::Duration;

use crate::targets::legacy_client::{END, UNIX, own};
use crate::targets::world::modern::{Way, Who, World, keys};
use secure_chat::client::packages::{Draft, Reader, pack};
use secure_chat::client::signed::Signer;
use secure_chat::crypto::SigningKey;
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::{KeyAnnouncement, legacy};
use secure_chat::transcript::{Realm, RunId};

use super::{Seed, numbered};

/// Bob's packages in the room `den`: what brings his keys, and something that he says to alice.
pub fn attached() -> Vec<Vec<u8>> {
    let alice = own();
    let (room, bob) = (RoomName::new("den"), UserName::new("bob"));
    let mut signer = Signer::new(Realm(*alice.server.as_bytes()), SigningKey::from_seed(&[2; 32]), RunId([2; 16]));
    let rsa = keys::rsa(1);
    signer.set_account(&bob, &rsa).unwrap();
    let own = Reader::new(rsa.public().clone()).unwrap();
    let (name, reader) = (UserName::new("alice"), Reader::new(alice.rsa.public().clone()).unwrap());
    let draft = Draft { room: &room, author: &bob, own: &own, text: "hello", unix: UNIX };
    let packed = pack(&draft, &[(&name, &reader)], &mut signer).unwrap();
    signer.announcement(&room).into_iter().chain(packed.packages).collect()
}

fn key(user: &str, device: usize) -> Vec<u8> {
    let pem = keys::rsa(device).public().pem().clone();
    let mut said = b"S".to_vec();
    said.extend(legacy::encode_key(&KeyAnnouncement { user: UserName::new(user), pem }));
    said
}

pub fn legacy() -> Vec<Seed> {
    let step = |text: &str| text.as_bytes().to_vec();
    let entered = [
        step("T/login alice pw"),
        step("SLogin successful. Welcome, alice!"),
        step("T/join den pw"),
        key("bob", 1),
        step("Salice joined the chat!"),
        step("+1000"),
    ];
    let [bundle, said] = &attached()[..] else { panic!("a bundle and a message") };
    let from_bob = [bundle, said].map(|json| [b"S", &json[..]].concat());
    let scripts = [
        vec![
            step("Thello"),
            key("bob", 2),
            step("T/accept bob"),
            step("T/keys"),
            step("T/verify bob yes"),
            step("Tagain"),
        ],
        from_bob.iter().cloned().chain([step("T/keys bob"), step("T/block bob"), from_bob[1].clone()]).collect(),
        vec![from_bob[1].clone(), step("+2000"), from_bob[0].clone(), step("Sbob left the chat."), step("E")],
        vec![
            step("T/list"),
            step("SAvailable rooms: den, lobby"),
            step("T/create x y"),
            step("SRoom 'x' created."),
            step("X"),
        ],
        vec![
            step("T/join den wrong"),
            step("SIncorrect room password."),
            step("Tlost"),
            step("SYou are muted in this room."),
        ],
        vec![
            step("T/msg bob no"),
            step("S{\"room\":\"den\"}"),
            step("+86400000"),
            step("Sbob joined the chat!"),
            step("Tword"),
        ],
    ];
    numbered(scripts.map(|script| entered.iter().cloned().chain(script).collect::<Vec<_>>().join(&END)))
}

/// Alice, in a world that is recorded.
struct Scene {
    world: World,
    alice: Who,
    script: Vec<Vec<u8>>,
    heard: usize,
}

impl Scene {
    /// She is connected before all others: her connection bears the number that the target gives it.
    fn new() -> Self {
        let mut world = World::new(&["alice", "bob", "carol", "old"], &[("den", "bob"), ("lobby", "alice")]);
        world.traffic = Some(Vec::new());
        let alice = world.person("alice");
        let mut scene = Self { world, alice, script: Vec::new(), heard: 0 };
        scene.connect();
        scene
    }

    fn entered(room: &str) -> Self {
        let mut scene = Self::new();
        scene.types("/login alice pw");
        scene.types(&format!("/join {room} pw"));
        scene
    }

    fn connect(&mut self) {
        self.script.push(b"C".to_vec());
        self.world.connect(self.alice);
        self.hear();
    }

    fn types(&mut self, line: &str) {
        self.script.push(format!("T{line}").into_bytes());
        self.world.type_line(self.alice, line);
        self.hear();
    }

    /// Something happens that is not hers.
    fn meanwhile<T>(&mut self, happens: impl FnOnce(&mut World) -> T) -> T {
        let done = happens(&mut self.world);
        self.hear();
        done
    }

    fn pass(&mut self, millis: u64) {
        self.script.push(format!("+{millis}").into_bytes());
        self.world.pass(Duration::from_millis(millis));
        self.hear();
    }

    /// Takes down what she has heard since. Answers are given to whatever is open, so that a change before them does not make
    /// all of them answers to nothing.
    fn hear(&mut self) {
        let traffic = self.world.traffic.as_ref().unwrap();
        for passed in &traffic[self.heard..] {
            if passed.way == Way::Down && passed.who == self.alice {
                self.script.push(step(&passed.line));
            }
        }
        self.heard = traffic.len();
    }

    fn seed(self) -> Vec<u8> {
        self.script.join(&b'\n')
    }
}

fn step(line: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(line).unwrap();
    if text.starts_with("{\"type\":\"hello\"") {
        return b"H".to_vec();
    }
    for (kind, letter) in [("ok", "A"), ("part", "P"), ("error", "R")] {
        let answer = text.strip_prefix(&format!("{{\"type\":\"{kind}\",\"id\":"));
        if let Some((_, fields)) = answer.and_then(|rest| rest.split_once(',')) {
            return format!("{letter}{fields}").into_bytes();
        }
    }
    format!("S{text}").into_bytes()
}

pub fn modern() -> Vec<Seed> {
    let scenes: [fn() -> Scene; 8] = [heard, spoken, whispered, acted, old_wire, returned, strangers, alone];
    numbered(scenes.map(|scene| scene().seed()))
}

fn heard() -> Scene {
    let mut scene = Scene::entered("den");
    scene.meanwhile(|world| {
        let bob = world.arrive("bob", "den");
        world.say(bob, "den", "one");
        world.say(bob, "den", "two");
    });
    scene.types("/who");
    scene.types("/keys bob");
    scene
}

fn spoken() -> Scene {
    let mut scene = Scene::entered("den");
    scene.meanwhile(|world| world.arrive("bob", "den"));
    scene.types("hello");
    scene.types("/readers");
    scene.types("/sent");
    scene
}

fn whispered() -> Scene {
    let mut scene = Scene::entered("den");
    scene.meanwhile(|world| {
        let bob = world.person("bob");
        world.connect(bob);
        world.log_in(bob);
        world.whisper(bob, "alice", "psst");
    });
    scene.types("/msg bob hush");
    scene
}

fn acted() -> Scene {
    let mut scene = Scene::entered("den");
    scene.meanwhile(|world| {
        let bob = world.arrive("bob", "den");
        world.type_line(bob, "/topic about");
        world.type_line(bob, "/kick alice too loud");
    });
    scene.types("/join den pw");
    scene.meanwhile(|world| world.type_line(Who(1), "/room delete den"));
    scene
}

fn old_wire() -> Scene {
    let mut scene = Scene::entered("den");
    scene.meanwhile(|world| {
        let old = world.arrive_legacy("old", "den", 2);
        world.say_legacy(old, "from the old wire");
    });
    scene.types("hello, old");
    scene
}

fn returned() -> Scene {
    let mut scene = Scene::entered("den");
    let bob = scene.meanwhile(|world| world.arrive("bob", "den"));
    scene.script.push(b"L".to_vec());
    scene.meanwhile(|world| world.cut(Who(0)));
    scene.meanwhile(|world| world.say(bob, "den", "missed"));
    scene.pass(2000);
    scene.connect();
    scene.meanwhile(|world| world.say(bob, "den", "heard"));
    scene
}

fn strangers() -> Scene {
    let mut scene = Scene::entered("den");
    scene.meanwhile(|world| {
        let bob = world.arrive("bob", "den");
        world.say(bob, "den", "the first");
        world.drop_link(bob);
        let other = world.device("bob", "another key", 2);
        world.connect(other);
        world.enter(other, "den");
        world.say(other, "den", "the second");
    });
    scene.types("/accept bob");
    scene.types("/verify bob yes");
    scene
}

fn alone() -> Scene {
    let mut scene = Scene::new();
    scene.types("/register zoe pw");
    scene.types("/login alice wrong");
    scene.types("/login alice pw");
    scene.types("/create cave pw");
    scene.types("/list");
    scene.types("/passwd pw new");
    scene.pass(40_000);
    scene.types("/topic nothing here");
    scene
}
