//! What a healthy room notices of those who press on the server: its latencies while nobody does and while all do, in turn, in one
//! run of one server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::load::{Cell, Load};
use crate::mob::{Force, IDLE_ROOM, Mob};
use crate::pace::Mode;
use crate::proc::{self, Holdings};
use crate::sequence::Faults;
use crate::servers::{self, Plan, Programs};
use crate::target::Target;

/// How long the server may still be busy with those who are gone.
const AFTERMATH: Duration = Duration::from_secs(180);

/// From when they press until latencies count.
const ONSET: Duration = Duration::from_secs(1);

/// What presses on what.
#[derive(Debug, Clone, Args)]
pub(crate) struct PressureOptions {
    /// What to measure
    #[arg(required = true)]
    pub(crate) targets: Vec<Target>,
    /// Members of the healthy room
    #[arg(long, default_value_t = 50)]
    members: usize,
    /// Of them, those who speak in turn
    #[arg(long, default_value_t = 25)]
    senders: usize,
    /// Deliveries a second in the healthy room
    #[arg(long, default_value_t = 2500.0)]
    rate: f64,
    /// Connections that are logged in and say nothing
    #[arg(long, default_value_t = 2000)]
    idle: usize,
    /// Handshakes of which a byte comes each second
    #[arg(long, default_value_t = 500)]
    slow: usize,
    /// Wrong passwords a second
    #[arg(long, default_value_t = 200.0)]
    guesses: f64,
    /// Nobody floods a room
    #[arg(long)]
    no_flooder: bool,
    /// The server limits no rates
    #[arg(long)]
    no_rate_limits: bool,
    /// Seconds of each calm and each pressed stretch
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// How often both are measured
    #[arg(long, default_value_t = 4)]
    rounds: usize,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) deliveries: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// By how much 99% of messages were said late at most: what held up this program, and not the server.
    pub(crate) lag_p99: f64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pressure {
    pub(crate) target: Target,
    pub(crate) machine: String,
    /// Of the last minutes, others on this machine among them.
    pub(crate) load_average: String,
    pub(crate) calm: Latency,
    pub(crate) pressed: Latency,
    /// p99 pressed by p99 calm: over all rounds, and in each.
    pub(crate) ratio: f64,
    pub(crate) ratios: Vec<f64>,
    pub(crate) faults: Faults,
    pub(crate) idle: u64,
    pub(crate) slow_begun: u64,
    pub(crate) slow_cut_off: u64,
    /// A second of pressure.
    pub(crate) guesses: f64,
    pub(crate) guesses_looked_at: f64,
    pub(crate) guesses_turned_away: f64,
    pub(crate) flooders_messages: f64,
    pub(crate) flooder_put_out: u64,
}

/// Latencies of some stretches together.
struct Times([Histogram; 2]);

impl Times {
    fn new() -> Self {
        Self([Histogram::new(), Histogram::new()])
    }

    fn add(&mut self, times: &[Histogram; 2]) {
        self.0.iter_mut().zip(times).for_each(|(sum, more)| sum.merge(more));
    }

    fn latency(&self) -> Latency {
        let [latency, lag] = &self.0;
        let millis = |times: &Histogram, share| times.quantile(share) as f64 / 1e6;
        Latency {
            deliveries: latency.count(),
            p50: millis(latency, 0.5),
            p99: millis(latency, 0.99),
            p999: millis(latency, 0.999),
            lag_p99: millis(lag, 0.99),
        }
    }
}

fn ratio(calm: &Histogram, pressed: &Histogram) -> f64 {
    pressed.quantile(0.99) as f64 / (calm.quantile(0.99) as f64).max(1.0)
}

/// What they did in all rounds, and for how long.
#[derive(Default)]
struct Done {
    seconds: f64,
    counts: [u64; 8],
}

impl Done {
    fn add(&mut self, mob: &Mob, pressing: Duration) {
        let deeds = mob.deeds();
        let all = [
            &deeds.idle,
            &deeds.slow,
            &deeds.cut_off,
            &deeds.guessed,
            &deeds.looked_at,
            &deeds.turned_away,
            &deeds.said,
            &deeds.put_out,
        ];
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.counts.iter_mut().zip(all).for_each(|(sum, counter)| *sum += read(counter));
        self.seconds += pressing.as_secs_f64();
    }
}

pub(crate) fn run(target: Target, programs: &Programs, options: &PressureOptions) -> Result<Pressure> {
    ensure!(target.is_ours(), "{} is not measured so: it has no log-ins like these", target.name());
    ensure!(options.rounds > 0 && options.seconds > 0.0, "there must be a round, and it must take a while");
    let PressureOptions { members, senders, rate, idle, slow, guesses, .. } = *options;
    let first = members.div_ceil(IDLE_ROOM).max(1) * IDLE_ROOM; // the healthy room's are before them
    let accounts = first + IDLE_ROOM + idle;
    let plan = Plan { limited: !options.no_rate_limits, ..Plan::new(accounts, accounts.div_ceil(IDLE_ROOM)) };
    let (server, accounts) = servers::start(target, programs, plan)?;
    let realm = accounts.realm()?;
    let mode = Mode::Open { rate };
    let cell = Cell { mode, rooms: 1, members, senders, accounts: 0, size: 700, warmup: 0.0, measure: options.seconds };
    let mut load = Load::new(target, server, accounts, cell)?;
    load.gather()?;
    let force = Force { idle, slow, guesses, flooder: !options.no_flooder };
    let mut done = Done::default();
    let (mut calm, mut pressed, mut ratios) = (Times::new(), Times::new(), Vec::new());
    let own = Holdings::of(load.server.pid())?.threads;
    for _ in 0..options.rounds {
        settle(&mut load, own)?;
        let seconds = Duration::from_secs_f64(options.seconds);
        let before = load.talk(seconds)?;
        let mob = Mob::gather(target, load.server.address, realm, first, force)?;
        let under = press(&mut load, mob, seconds, &mut done)
            .with_context(|| format!("{}; its server said:\n{}", target.name(), load.server.log()))?;
        ratios.push(ratio(&before[0], &under[0]));
        calm.add(&before);
        pressed.add(&under);
    }
    let faults = load.end()?;
    Ok(outcome(target, [&calm, &pressed], ratios, faults, &done))
}

/// They come, and press for so long.
fn press(load: &mut Load, mut mob: Mob, time: Duration, done: &mut Done) -> Result<[Histogram; 2]> {
    while !mob.is_gathered()? {
        load.talk(Duration::from_millis(100))?;
    }
    let begun = Instant::now();
    mob.press();
    load.talk(ONSET)?;
    let times = load.talk(time)?;
    ensure!(mob.is_gathered()?, "those who press have gone");
    done.add(&mob, begun.elapsed());
    mob.dismiss();
    while !mob.is_gone()? {
        load.talk(Duration::from_millis(100))?;
    }
    Ok(times)
}

/// Goes on until the server has no more threads than its own and those of the healthy room: until nobody is left, and no password
/// of theirs is being checked any more.
fn settle(load: &mut Load, own: u64) -> Result<()> {
    let begun = Instant::now();
    while Holdings::of(load.server.pid())?.threads > own {
        load.talk(Duration::from_secs(1))?;
        ensure!(
            begun.elapsed() < AFTERMATH,
            "the server is still busy, {AFTERMATH:?} after those who pressed are gone"
        );
    }
    load.talk(Duration::from_secs(1))?;
    Ok(())
}

fn outcome(target: Target, [calm, pressed]: [&Times; 2], ratios: Vec<f64>, faults: Faults, done: &Done) -> Pressure {
    let [idle, slow_begun, slow_cut_off, guessed, looked_at, turned_away, said, flooder_put_out] = done.counts;
    let rounds = ratios.len() as u64;
    let a_second = |count: u64| count as f64 / done.seconds.max(f64::MIN_POSITIVE);
    Pressure {
        target,
        machine: proc::machine(),
        load_average: proc::load_average(),
        calm: calm.latency(),
        pressed: pressed.latency(),
        ratio: ratio(&calm.0[0], &pressed.0[0]),
        ratios,
        faults,
        idle: idle / rounds.max(1),
        slow_begun,
        slow_cut_off,
        guesses: a_second(guessed),
        guesses_looked_at: a_second(looked_at),
        guesses_turned_away: a_second(turned_away),
        flooders_messages: a_second(said),
        flooder_put_out,
    }
}
