//! Every field of every line, changed in every way. `MUTATIONS` says how often, `SEED` which; `MUTATION` repeats one.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::liar::Liar;
use super::meddler::{Hit, Meddler, Target, WHOLE};
use super::oracle::Oracle;
use super::scenes::{Cast, HONEST, Play, SCENES, Scene, stage};
use crate::modern_world::{Passing, Seen, Way, Who, World};

/// Mutations in a world before there is a fresh one.
const LIFE: usize = 40;

/// What is tried in the default run, and how long it may take where the machine is slow or busy.
const MUTATIONS: usize = 4_000;
const TIME: Duration = Duration::from_secs(50);

/// How many more mutations a ghost is worth than a field.
const GHOSTS: usize = 10;

/// Violations that are collected before it is enough.
const ENOUGH: usize = 8;

struct Stage {
    world: World,
    cast: Cast,
    meddler: Rc<RefCell<Meddler>>,
    oracle: Oracle,
    age: usize,
}

impl Stage {
    fn new() -> Self {
        let (mut world, cast) = stage();
        let honest = [cast.alice, cast.bob, cast.carol];
        let device_keys: HashMap<_, _> = honest.iter().map(|who| (*who, world[*who].rsa().public().clone())).collect();
        let liar = Liar::new(world.server.realm_key(), &["alice", "bob", "carol", "dave", "mallory"]);
        let mut oracle = Oracle::new(&HONEST);
        let made_up = liar.forgers.iter().map(|forger| (forger.bundle.hash().to_base64(), forger.account.to_string()));
        oracle.made_up.extend(made_up);
        let mallory = secure_chat::crypto::Bundle::sign(
            &world.server.realm(),
            &world[cast.mallory].name(),
            world[cast.mallory].signing(),
            world[cast.mallory].rsa(),
        );
        oracle.made_up.insert(mallory.unwrap().hash().to_base64(), "mallory".to_owned());
        let meddler = Rc::new(RefCell::new(Meddler::new(liar, cast.mallory, device_keys)));
        let shared = Rc::clone(&meddler);
        world.put(move |passing: &Passing<'_>, on: &mut Vec<_>| shared.borrow_mut().pass(passing, on));
        let mut stage = Self { world, cast, meddler, oracle, age: 0 };
        assert!(stage.heal(), "a fresh world is sound: {}", stage.world.screens(&[]));
        stage
    }

    fn people(&self) -> [Who; 3] {
        [self.cast.alice, self.cast.bob, self.cast.carol]
    }

    fn play(&mut self, scene: &Scene) -> Play<'_> {
        self.meddler.borrow_mut().hash_members = scene.hashed;
        let mut play = Play::new(&mut self.world, self.cast);
        (scene.play)(&mut play);
        play
    }

    /// Plays a scene with one line changed; what came of it.
    fn meddle(&mut self, scene: &Scene, target: Target, seed: u64) -> Result<Option<Hit>, String> {
        self.age += 1;
        let mark = self.world.mark();
        self.meddler.borrow_mut().arm(target, seed);
        self.play(scene);
        let late = self.meddler.borrow_mut().disarm();
        for (who, way, line) in late {
            match way {
                Way::Up => self.world.hand_up(who, line),
                Way::Down => self.world.hand_down(who, line),
            }
        }
        self.world.settle();
        self.everyone_speaks();
        self.world.pass(Duration::from_secs(12));
        let Some(hit) = self.meddler.borrow_mut().hit.take() else { return Ok(None) };
        let verdict = self.verdict(&mark, &hit);
        verdict.map(|()| Some(hit.clone())).map_err(|why| {
            format!("{why}\nin the scene '{}', after {}\n{}", scene.name, hit.what, self.world.screens(&mark))
        })
    }

    fn everyone_speaks(&mut self) -> Vec<String> {
        let mut play = Play::new(&mut self.world, self.cast);
        for who in [play.cast.bob, play.cast.alice, play.cast.carol] {
            play.says(who);
        }
        play.missing()
    }

    fn verdict(&mut self, mark: &[usize], hit: &Hit) -> Result<(), String> {
        self.oracle.check(&self.world)?;
        if let Some(misdeed) = self.meddler.borrow_mut().misdeed.take() {
            return Err(misdeed);
        }
        if hit.moves_log && !self.is_noticed(mark) {
            return Err("nobody noticed".to_owned());
        }
        self.nobody_hangs()
    }

    /// Whether somebody was told that something is wrong, or missed.
    fn is_noticed(&self, mark: &[usize]) -> bool {
        self.people().iter().any(|who| {
            self.world[*who].screen[mark[who.0]..].iter().any(|seen| match seen {
                Seen::Alarm(_) | Seen::End(_) => true,
                Seen::Say(words) => words.contains("missed") || words.contains("connection to the server is lost"),
                _ => false,
            })
        })
    }

    fn nobody_hangs(&mut self) -> Result<(), String> {
        let stuck = |stage: &Self| {
            let waits = |who: &Who| stage.world[*who].machine().waiting() > 0 && !stage.world[*who].ended;
            stage.people().into_iter().find(waits)
        };
        if stuck(self).is_some() {
            self.world.pass(Duration::from_secs(150));
            self.oracle.check(&self.world)?;
            if let Some(who) = stuck(self).filter(|who| self.world[*who].link.is_some()) {
                return Err(format!("{} waits for ever", self.world[who].account));
            }
        }
        let lost = |who: &Who| {
            let person = &self.world[*who];
            !person.ended && person.link.is_none() && person.reconnect.is_none()
        };
        match self.people().iter().find(|who| lost(who)) {
            Some(who) => Err(format!("{} is not connected, and does nothing about it", self.world[*who].account)),
            None => Ok(()),
        }
    }

    /// Makes the server honest, and everybody's connection new. Whether everything is shown again as it should be.
    fn heal(&mut self) -> bool {
        self.meddler.borrow_mut().repent();
        self.meddler.borrow_mut().hash_members = false;
        let den = &self.world.server.disk.rooms[&secure_chat::names::RoomName::new("den")];
        if den.modern_only || !den.bans.is_empty() || !den.mutes.is_empty() {
            return false;
        }
        for who in self.people() {
            if self.world[who].ended {
                self.world.crash(who);
                self.world.connect(who);
                self.world.enter(who, "den");
            } else {
                self.world.cut(who);
            }
        }
        self.world.pass(Duration::from_secs(4));
        for who in self.people() {
            self.world.type_line(who, "/join den pw");
        }
        let join = self.world.legacy[self.cast.dave.0].join("den");
        self.world.legacy_says(self.cast.dave, join);
        // Whose key was lost asks for it, and has the next message.
        self.everyone_speaks().is_empty() || {
            self.world.pass(Duration::from_secs(11));
            let mark = self.world.mark();
            let missing = self.everyone_speaks();
            if std::env::var("WHY").is_ok() && !missing.is_empty() {
                println!("NOT HEALED {missing:?} {}", self.world.screens(&mark));
            }
            missing.is_empty()
        }
    }
}

/// Where a field stands: in which scenes, and in how many lines of its kind there.
type Spots = BTreeMap<(String, String), Vec<(usize, usize)>>;

/// Plays every scene with an honest server: what is to be shown is shown, and nobody is alarmed. Gives what can be changed.
fn controls() -> Spots {
    let mut spots = Spots::new();
    for (i, scene) in SCENES.iter().enumerate() {
        let mut stage = Stage::new();
        stage.meddler.borrow_mut().record = Some(BTreeMap::new());
        let mark = stage.world.mark();
        let missing = stage.play(scene).missing();
        let screens = stage.world.screens(&mark);
        assert!(missing.is_empty(), "in the scene '{}': {missing:?}\n{screens}", scene.name);
        assert_eq!(stage.oracle.check(&stage.world), Ok(()), "in the scene '{}'\n{screens}", scene.name);
        for who in stage.people() {
            let alarms = stage.world[who].alarms(mark[who.0]);
            assert!(alarms.is_empty(), "in the scene '{}': {alarms:?}\n{screens}", scene.name);
        }
        let record = stage.meddler.borrow_mut().record.take().unwrap();
        for (spot, count) in record {
            spots.entry(spot).or_default().push((i, count));
        }
    }
    spots
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// What came of all mutations.
#[derive(Default)]
struct Tally {
    hits: BTreeMap<(String, String), usize>,
    unhealed: usize,
    worlds: usize,
    opened: usize,
    violations: Vec<String>,
}

/// A kind of line and a field, and where they occur: in which scene, at which line.
type Spot<'a> = (&'a (String, String), &'a Vec<(usize, usize)>);

struct Run<'a> {
    /// When it is enough, once every field had its turn; never when somebody says how many it is to be.
    until: Option<Instant>,
    spots: &'a [Spot<'a>],
    seed: u64,
    tally: Mutex<Tally>,
}

impl Run<'_> {
    /// Does the mutation with this number.
    fn mutate(&self, stage: &mut Option<Stage>, number: usize) -> Result<(), String> {
        let ((kind, field), places) = self.spots[number % self.spots.len()];
        let mut rng = StdRng::seed_from_u64(self.seed.wrapping_mul(1 << 32).wrapping_add(number as u64));
        for _ in 0..6 {
            let (scene, lines) = places[rng.random_range(0..places.len())];
            let lines = if field.starts_with(WHOLE) { lines } else { lines.min(12) };
            let nth = rng.random_range(0..lines);
            let target = Target { kind: kind.clone(), field: field.clone(), nth, smart: rng.random() };
            let seed = rng.random();
            let current = stage.get_or_insert_with(Stage::new);
            let result = catch_unwind(AssertUnwindSafe(|| {
                let result = current.meddle(&SCENES[scene], target, seed);
                let is_sound =
                    result.is_ok() && current.age < LIFE && SCENES[scene].name != "stranger" && current.heal();
                (result, is_sound)
            }));
            let (result, is_sound) =
                result.unwrap_or_else(|_| (Err(format!("something panicked at {kind}, {field}")), false));
            let mut tally = self.tally.lock().unwrap();
            if !is_sound {
                tally.worlds += 1;
                tally.unhealed += usize::from(current.age < LIFE);
                tally.opened += current.oracle.opened;
                *stage = None;
            }
            if result?.is_some() {
                *tally.hits.entry((kind.clone(), field.clone())).or_default() += 1;
                return Ok(());
            }
        }
        Ok(())
    }

    fn work(&self, next: &AtomicUsize, end: usize) {
        let mut stage = None;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let is_late = self.until.is_some_and(|until| Instant::now() > until) && number >= self.spots.len();
            if number >= end || is_late || self.tally.lock().unwrap().violations.len() >= ENOUGH {
                return;
            }
            if let Err(why) = self.mutate(&mut stage, number) {
                // Whether it takes what happened before in the same world, or shows in a fresh one.
                let again = self.mutate(&mut None, number).is_err();
                let again = if again { "shows in a fresh world" } else { "does not show in a fresh world" };
                self.tally
                    .lock()
                    .unwrap()
                    .violations
                    .push(format!("SEED={} MUTATION={number} ({again}): {why}", self.seed));
                stage = None;
            }
        }
    }
}

#[test]
fn nothing_false_is_shown_and_nobody_reads_unnoticed_whatever_field_of_whatever_line_is_changed() {
    let spots = controls();
    // Ghosts are few among the fields, and many among the attacks.
    let ghosts = spots.iter().filter(|((_, field), _)| field.contains("Ghost"));
    let ghosts: Vec<_> = ghosts.flat_map(|spot| std::iter::repeat_n(spot, GHOSTS)).collect();
    let spots: Vec<_> = spots.iter().chain(ghosts).collect();
    let until = std::env::var("MUTATIONS").is_err().then(|| Instant::now() + TIME);
    let run = Run { until, spots: &spots, seed: number("SEED", 1) as u64, tally: Mutex::new(Tally::default()) };
    let begun = Instant::now();
    if std::env::var("MUTATION").is_ok() {
        let result = run.mutate(&mut None, number("MUTATION", 0));
        return assert_eq!(result.map_err(|why| println!("{why}")), Ok(()));
    }
    let mutations = number("MUTATIONS", MUTATIONS).max(spots.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| run.work(&next, mutations));
        }
    });
    let tally = run.tally.into_inner().unwrap();
    report(&tally, &spots, begun.elapsed());
    assert!(tally.violations.is_empty(), "{}", tally.violations.join("\n\n"));
    let never: Vec<_> = spots.iter().map(|(spot, _)| *spot).filter(|spot| !tally.hits.contains_key(*spot)).collect();
    assert!(never.is_empty(), "these were never changed: {never:?}");
}

/// Counts by kind of line and field.
fn report(tally: &Tally, spots: &[Spot<'_>], took: Duration) {
    let total: usize = tally.hits.values().sum();
    println!(
        "{total} mutations of {} fields in {:.1} s; {} fresh worlds, {} because something did not heal; {} keys were given to \
         the adversary, of which their senders knew",
        spots.len(),
        took.as_secs_f64(),
        tally.worlds,
        tally.unhealed,
        tally.opened,
    );
    let mut kind = "";
    for ((of, field), count) in &tally.hits {
        if of != kind {
            let all: usize = tally.hits.iter().filter(|((other, _), _)| other == of).map(|(_, count)| count).sum();
            println!("{of}: {all}");
            kind = of;
        }
        println!("    {field}: {count}");
    }
}
