//! What people do while the server meddles. Each scene begins with alice, bob, carol and dave in the room den, and is played
//! whether the server is honest or not; it collects what would be shown if it were.

use std::time::Duration;

use secure_chat::client::modern::{ShownAct, Trust};
use secure_chat::transcript::Verb;
use serde_json::json;

use crate::modern_world::{Old, Seen, Who, World};

/// Who is there. Bob owns the room den; alice has verified him; dave is on the legacy wire. Mallory is the adversary's own
/// account, with keys of its own.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    pub alice: Who,
    pub bob: Who,
    pub carol: Who,
    pub mallory: Who,
    pub dave: Old,
}

pub const HONEST: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// A world with everyone in their places, who know each other's keys.
pub fn stage() -> (World, Cast) {
    let mut world = World::new(&["alice", "bob", "carol", "dave", "mallory"], &[("den", "bob"), ("attic", "bob")]);
    let alice = world.arrive("alice", "den");
    let bob = world.arrive("bob", "den");
    let carol = world.arrive("carol", "den");
    let dave = world.arrive_legacy("dave", "den", 3);
    let mallory = world.intruder("mallory");
    world.connect(mallory);
    world.log_in(mallory);
    for who in [alice, bob, carol] {
        let text = format!("I am {}", world[who].account);
        world.say(who, "den", &text);
    }
    world.say_legacy(dave, "I am dave");
    world.type_line(alice, "/verify bob");
    world.type_line(alice, "/verify bob yes");
    for person in &mut world.people {
        person.sent = Some(Vec::new());
    }
    (world, Cast { alice, bob, carol, mallory, dave })
}

/// A scene as it is played.
pub struct Play<'a> {
    pub world: &'a mut World,
    pub cast: Cast,
    /// What is to be shown, to whom.
    pub expected: Vec<(Who, String)>,
    /// The acts that are to be shown, to whom and in whose name.
    acts: Vec<(Who, String, Verb)>,
    /// What was on the screens before.
    mark: Vec<usize>,
}

impl<'a> Play<'a> {
    pub fn new(world: &'a mut World, cast: Cast) -> Self {
        let mark = world.mark();
        Self { world, cast, expected: Vec::new(), acts: Vec::new(), mark }
    }

    fn text(&self, words: &str) -> String {
        format!("{words} {}", self.world.said.len())
    }

    /// Somebody says something that the others in the room den are to see.
    pub fn says(&mut self, who: Who) {
        let text = self.text("what I say is");
        let Cast { alice, bob, carol, .. } = self.cast;
        self.expected
            .extend([alice, bob, carol].into_iter().filter(|other| *other != who).map(|to| (to, text.clone())));
        self.world.say(who, "den", &text);
    }

    fn says_in(&mut self, who: Who, room: &str, readers: &[Who]) {
        let text = self.text("here I say");
        self.expected.extend(readers.iter().map(|to| (*to, text.clone())));
        self.world.say(who, room, &text);
    }

    fn whispers(&mut self, who: Who, to: Who) {
        let text = self.text("for you alone is");
        let name = self.world[to].account.clone();
        self.expected.push((to, text.clone()));
        self.world.whisper(who, &name, &text);
    }

    /// Somebody on the legacy wire says something: nobody vouches for it.
    fn dave_says(&mut self) {
        let text = self.text("dave here,");
        let Cast { alice, bob, carol, .. } = self.cast;
        self.expected.extend([alice, bob, carol].map(|to| (to, text.clone())));
        self.world.say_legacy(self.cast.dave, &text);
    }

    /// Somebody does something that these are to see.
    fn does(&mut self, who: Who, line: &str, verb: Verb, seen_by: &[Who]) {
        let author = self.world[who].account.clone();
        self.acts.extend(seen_by.iter().map(|to| (*to, author.clone(), verb)));
        self.world.type_line(who, line);
    }

    pub fn pass(&mut self, seconds: u64) {
        self.world.pass(Duration::from_secs(seconds));
    }

    /// What was to be shown and was not, or with another trust.
    pub fn missing(&self) -> Vec<String> {
        let lacks = |(who, text): &&(Who, String)| {
            let trust = self.world[*who].trust_of(0, text);
            let author = &self.world.said[text].author;
            trust != Some(self.trust(*who, author))
        };
        let missing = self.expected.iter().filter(lacks);
        let missing = missing.map(|(who, text)| format!("{} was not shown: {text}", self.world[*who].account));
        let undone = self.acts.iter().filter(|(who, author, verb)| {
            let is_it = |act: &ShownAct| {
                act.author.as_str() == author && act.verb == *verb && act.trust == self.trust(*who, author)
            };
            let seen = &self.world[*who].screen[self.mark[who.0]..];
            !seen.iter().any(|seen| matches!(seen, Seen::Act(act) if is_it(act)))
        });
        let undone =
            undone.map(|(who, author, verb)| format!("{} was not shown: {author}: {verb:?}", self.world[*who].account));
        missing.chain(undone).collect()
    }

    /// How somebody is to see what an author said or did.
    fn trust(&self, who: Who, author: &str) -> Trust {
        match author {
            "dave" => Trust::Unsigned,
            "bob" if who == self.cast.alice => Trust::Verified,
            _ => Trust::Pinned,
        }
    }
}

/// A scene.
pub struct Scene {
    pub name: &'static str,
    /// Whether changes of the members are told by their hash alone, as in a large room.
    pub hashed: bool,
    pub play: fn(&mut Play<'_>),
}

/// All of them.
pub const SCENES: &[Scene] = &[
    Scene { name: "talk", hashed: false, play: talk },
    Scene { name: "log in", hashed: false, play: log_in },
    Scene { name: "return", hashed: false, play: come_back },
    Scene { name: "epoch", hashed: false, play: epoch },
    Scene { name: "crowd", hashed: true, play: epoch },
    Scene { name: "acts", hashed: false, play: acts },
    Scene { name: "kick", hashed: false, play: kick },
    Scene { name: "ban", hashed: false, play: ban },
    Scene { name: "another room", hashed: false, play: another_room },
    Scene { name: "direct", hashed: false, play: direct },
    Scene { name: "need a key", hashed: false, play: need_key },
    Scene { name: "account", hashed: false, play: account },
    Scene { name: "quiet", hashed: false, play: quiet },
    Scene { name: "refused", hashed: false, play: refused },
    Scene { name: "stranger", hashed: false, play: stranger },
    Scene { name: "last words", hashed: false, play: last_words },
];

fn talk(play: &mut Play<'_>) {
    let Cast { alice, bob, carol, .. } = play.cast;
    play.says(bob);
    play.dave_says();
    play.says(carol);
    play.says(alice);
    play.says(bob);
}

fn log_in(play: &mut Play<'_>) {
    let Cast { alice, bob, carol, .. } = play.cast;
    play.world.crash(alice);
    play.world.connect(alice);
    play.world.enter(alice, "den");
    play.says(bob);
    play.says(alice);
    play.says(carol);
}

fn come_back(play: &mut Play<'_>) {
    let Cast { alice, bob, carol, .. } = play.cast;
    play.world.cut(alice);
    play.pass(3);
    play.says(bob);
    play.says(alice);
    play.says(carol);
}

fn epoch(play: &mut Play<'_>) {
    let Cast { alice, bob, carol, .. } = play.cast;
    play.does(carol, "/leave", Verb::Leave, &[alice, bob]);
    play.says_in(bob, "den", &[alice]);
    play.world.type_line(carol, "/join den pw");
    play.says(bob);
    play.says(alice);
    play.says(carol);
}

fn acts(play: &mut Play<'_>) {
    let Cast { alice, bob, carol, .. } = play.cast;
    let topic = play.text("the topic is");
    let others = [alice, carol];
    play.does(bob, &format!("/topic {topic}"), Verb::Topic, &others);
    play.does(bob, "/mute carol 1m", Verb::Mute, &others);
    let unheard = play.text("nobody hears");
    play.world.say(carol, "den", &unheard);
    play.does(bob, "/unmute carol", Verb::Unmute, &others);
    play.says(carol);
    play.does(bob, "/room passwd pw", Verb::Password, &others);
    play.does(bob, "/room modern-only on", Verb::Flags, &others);
    play.says(alice);
    play.does(bob, "/room modern-only off", Verb::Flags, &others);
    play.world.type_line(carol, "/who");
    play.world.type_line(carol, "/readers");
    play.says(bob);
}

fn kick(play: &mut Play<'_>) {
    let Cast { alice, bob, carol, .. } = play.cast;
    play.does(bob, "/kick alice too loud", Verb::Kick, &[alice, carol]);
    play.says_in(carol, "den", &[bob]);
    play.world.type_line(alice, "/join den pw");
    play.says(bob);
    play.says(alice);
}

fn ban(play: &mut Play<'_>) {
    let Cast { alice, bob, carol, .. } = play.cast;
    play.does(bob, "/ban carol 1m", Verb::Ban, &[alice, carol]);
    play.world.type_line(carol, "/join den pw");
    play.says_in(alice, "den", &[bob]);
    play.does(bob, "/unban carol", Verb::Unban, &[alice]);
    play.world.type_line(carol, "/join den pw");
    play.says(carol);
    play.says(alice);
}

fn another_room(play: &mut Play<'_>) {
    let Cast { alice, bob, carol, .. } = play.cast;
    let room = format!("hut{}", play.world.said.len());
    play.world.type_line(carol, &format!("/create {room} pw"));
    for who in [alice, bob, carol] {
        play.world.type_line(who, &format!("/join {room} pw"));
    }
    play.says_in(bob, &room, &[alice, carol]);
    play.says_in(alice, &room, &[bob, carol]);
    play.does(carol, &format!("/room delete {room}"), Verb::Delete, &[alice, bob]);
    for who in [alice, bob, carol] {
        play.world.type_line(who, "/join den pw");
    }
    play.says(alice);
}

fn direct(play: &mut Play<'_>) {
    let Cast { alice, bob, carol, .. } = play.cast;
    play.whispers(bob, alice);
    play.whispers(alice, bob);
    play.whispers(carol, alice);
    play.whispers(bob, alice);
    play.says(bob);
}

/// While alice is away, bob gives everybody else a new key: she has to ask for it.
fn need_key(play: &mut Play<'_>) {
    let Cast { alice, bob, carol, .. } = play.cast;
    play.world.cut(alice);
    play.world.type_line(carol, "/leave");
    play.world.type_line(carol, "/join den pw");
    play.says_in(bob, "den", &[carol]);
    play.pass(3);
    let text = play.text("hold on");
    play.world.say(bob, "den", &text);
    play.says(bob);
    play.says(alice);
}

fn account(play: &mut Play<'_>) {
    let Cast { alice, bob, .. } = play.cast;
    let number = play.world.said.len();
    for line in [
        "/list".to_owned(),
        format!("/register zoe{number} pw"),
        format!("/create room{number} pw"),
        "/account legacy off pw".to_owned(),
        "/account legacy on pw".to_owned(),
        "/passwd pw pw".to_owned(),
        "/who".to_owned(),
    ] {
        play.world.type_line(alice, &line);
    }
    play.says(alice);
    play.says(bob);
}

fn quiet(play: &mut Play<'_>) {
    let Cast { alice, bob, .. } = play.cast;
    play.pass(31);
    play.says(bob);
    play.says(alice);
}

fn refused(play: &mut Play<'_>) {
    let Cast { alice, bob, .. } = play.cast;
    for line in [
        "/login alice wrong",
        "/register bob pw",
        "/create den pw",
        "/msg nobody hello",
        "/kick bob",
        "/passwd wrong wrong",
        "/account legacy on wrong",
    ] {
        play.world.type_line(alice, line);
    }
    play.world.type_line(alice, "/leave");
    play.world.type_line(alice, "/join nowhere pw");
    play.world.type_line(alice, "/join den wrong");
    play.world.type_line(alice, "/join den pw");
    play.says(bob);
    play.says(alice);
}

/// The adversary's own account comes in by the front door.
fn stranger(play: &mut Play<'_>) {
    let Cast { alice, bob, mallory, .. } = play.cast;
    play.world.type_line(mallory, "/join den pw");
    play.says(alice);
    play.says(bob);
    let text = play.text("I am mallory");
    play.world.say(mallory, "den", &text);
    play.world.type_line(mallory, "/leave");
    play.says(alice);
}

fn last_words(play: &mut Play<'_>) {
    let Cast { alice, bob, .. } = play.cast;
    play.world.queue_down(alice, json!({ "type": "not_delivered", "room": "den", "n": 1, "members": 2 }).to_string());
    play.says(bob);
    play.says(alice);
    play.world.queue_down(alice, json!({ "type": "bye", "reason": "silent", "text": "You said nothing." }).to_string());
    play.world.settle();
    play.world.cut(alice);
    play.pass(3);
    play.says(bob);
    play.says(alice);
}
