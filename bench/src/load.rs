//! One cell: a server, rooms of members of whom some speak, for a while.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::accounts::Accounts;
use crate::crowd::Crowd;
use crate::histogram::Histogram;
use crate::pace::{Mode, Timetable, Window};
use crate::payload::Stamp;
use crate::proc::Usage;
use crate::sequence::{Faults, Sequence};
use crate::servers::{self, Plan, Programs, Server};
use crate::target::Target;
use crate::wires::{Casting, Heard, Stage};

/// How long nothing may be delivered before the server is given up.
const STALL: Duration = Duration::from_secs(8);

/// How often a member gives a sign of life.
pub(crate) const PING: Duration = Duration::from_secs(25);

/// How long at most what is under way is waited for, when the measurement is over.
const DRAIN: Duration = Duration::from_secs(15);

/// From when the counters are read until latencies count.
const CATCH_UP: Duration = Duration::from_millis(300);

/// How long after the last delivery what is missing counts as lost.
const LATE: Duration = Duration::from_secs(2);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) mode: Mode,
    pub(crate) rooms: usize,
    /// In each room.
    pub(crate) members: usize,
    /// Of them, those who speak.
    pub(crate) senders: usize,
    /// That a server of ours has at least.
    pub(crate) accounts: usize,
    /// Bytes of a message: see [`Target::text_size`].
    pub(crate) size: usize,
    /// Seconds before the measurement.
    pub(crate) warmup: f64,
    /// Seconds of the measurement.
    pub(crate) measure: f64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) target: Target,
    pub(crate) cell: Cell,
    pub(crate) version: String,
    /// The version of TLS and the cipher.
    pub(crate) tls: String,
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_second: f64,
    /// Processor time of the server, all threads, in seconds.
    pub(crate) server_cpu_per_million: f64,
    /// Of one core.
    pub(crate) server_cpu_share: f64,
    /// Context switches of the server.
    pub(crate) switches_per_second: f64,
    /// Milliseconds from when a message was due to when a receiver had it.
    pub(crate) latency_p50: f64,
    pub(crate) latency_p99: f64,
    pub(crate) latency_p999: f64,
    /// Plaintext bytes that a delivery took.
    pub(crate) bytes_per_delivery: f64,
    /// From the first message to the last, the warm-up included.
    pub(crate) faults: Faults,
    /// Deliveries that were still coming when they were waited for no longer; they are not counted as lost.
    pub(crate) unfinished: u64,
    /// Processor time of this program, of one core: near 1, it is the limit.
    pub(crate) generator_cpu_share: f64,
    /// Milliseconds by which 99% of messages were said late at most; in a closed loop 0.
    pub(crate) lag_p99: f64,
}

/// The counters at an edge of the measurement.
struct Edge {
    at: Instant,
    server: Usage,
    own: Usage,
    plain: u64,
    deliveries: u64,
}

/// Everything that is counted while the load runs.
struct Tally {
    begun: Instant,
    measuring: bool,
    deliveries: u64,
    latency: Histogram,
    lag: Histogram,
    faults: Faults,
    unfinished: u64,
    /// For each member, what it heard of each sender of its room.
    heard: Vec<Vec<Sequence>>,
    windows: Vec<Window>,
    members: usize,
    senders: usize,
    stray: u64,
}

impl Tally {
    fn new(cell: &Cell) -> Self {
        Self {
            begun: Instant::now(),
            measuring: false,
            deliveries: 0,
            latency: Histogram::new(),
            lag: Histogram::new(),
            faults: Faults::default(),
            unfinished: 0,
            heard: vec![vec![Sequence::default(); cell.senders]; cell.rooms * cell.members],
            windows: vec![Window::default(); cell.rooms * cell.senders],
            members: cell.members,
            senders: cell.senders,
            stray: 0,
        }
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    fn heard(&mut self, index: usize, heard: &Heard) {
        let now = self.now();
        for stamp in &heard.stamps {
            self.delivered(index, *stamp, now);
        }
    }

    fn delivered(&mut self, index: usize, stamp: Stamp, now: u64) {
        let sender = stamp.sender as usize;
        let in_its_room = index / self.members == sender / self.senders;
        let sequence = self.heard.get_mut(index).and_then(|heard| heard.get_mut(sender % self.senders));
        let (Some(sequence), Some(window), true) = (sequence, self.windows.get_mut(sender), in_its_room) else {
            self.stray += 1;
            return;
        };
        sequence.heard(stamp.number, &mut self.faults);
        window.delivered += 1;
        self.deliveries += 1;
        if self.measuring {
            self.latency.add(now.saturating_sub(stamp.time));
        }
    }

    /// What was sent and should have come.
    fn expected(&self) -> u64 {
        self.windows.iter().map(|window| window.sent).sum::<u64>() * (self.members as u64 - 1)
    }

    /// What has not come is lost, when nothing comes any more; else what was passed over.
    fn count_lost(&mut self, silent: bool) {
        for (index, heard) in self.heard.iter().enumerate() {
            let (room, place) = (index / self.members, index % self.members);
            for (sender, sequence) in heard.iter().enumerate().filter(|(sender, _)| *sender != place) {
                let sent = self.windows.get(room * self.senders + sender).map_or(0, |window| window.sent);
                self.faults.lost += sequence.lost_of(if silent { sent } else { 0 });
            }
        }
    }
}

/// A run of a cell.
pub(crate) struct Load {
    cell: Cell,
    text_size: usize,
    crowd: Crowd,
    pub(crate) server: Server,
    tally: Tally,
    timetable: Option<Timetable>,
    /// Signs of life, of one member after the other: whoever listens alone is taken for dead after 75 s.
    pings: Timetable,
}

/// Starts the target's server, measures the cell, and ends the server.
pub(crate) fn run(target: Target, programs: &Programs, cell: Cell) -> Result<Outcome> {
    check(target, &cell)?;
    let plan = Plan::new(cell.accounts.max(cell.rooms * cell.members), cell.rooms);
    let (server, accounts) = servers::start(target, programs, plan)?;
    let mut load = Load::new(target, server, accounts, cell)?;
    let measured = load.measure();
    let measured = measured.with_context(|| format!("{}; its server said:\n{}", target.name(), load.server.log()))?;
    Ok(load.outcome(target, &measured))
}

fn check(target: Target, cell: &Cell) -> Result<()> {
    ensure!(cell.rooms > 0 && cell.members > 1, "there must be a room, and two members in it");
    ensure!((1..=cell.members).contains(&cell.senders), "there must be a sender, and no more than members");
    ensure!(!target.has_keys() || cell.rooms == 1, "{} is measured with one room", target.name());
    match cell.mode {
        Mode::Open { rate } => ensure!(rate > 0.0, "the rate must be above 0"),
        Mode::Closed { window } => ensure!(window > 0, "the window must be above 0"),
    }
    Ok(())
}

impl Load {
    /// On a server that runs; nobody is there yet.
    pub(crate) fn new(target: Target, server: Server, accounts: Accounts, cell: Cell) -> Result<Self> {
        let text_size = target.text_size(cell.size);
        let casting = Casting::new(target, accounts, cell.rooms, cell.members, text_size);
        let crowd = Crowd::new(server.address, casting)?;
        let timetable = match cell.mode {
            Mode::Open { rate } => Some(Timetable::new(rate, cell.members - 1)),
            Mode::Closed { .. } => None,
        };
        let pings = Timetable::new((cell.rooms * cell.members) as f64 / PING.as_secs_f64(), 1);
        Ok(Self { cell, text_size, crowd, server, tally: Tally::new(&cell), timetable, pings })
    }

    /// Brings all members into their rooms, and begins.
    pub(crate) fn gather(&mut self) -> Result<()> {
        self.crowd.gather(self.cell.rooms * self.cell.members, Stage::Joined)?;
        self.crowd.settle(Duration::from_millis(300))?;
        self.tally.begun = Instant::now();
        Ok(())
    }

    /// Makes the load for so long; what is measured meanwhile: the latencies, and by how much messages were said late.
    pub(crate) fn talk(&mut self, time: Duration) -> Result<[Histogram; 2]> {
        self.tally.measuring = true;
        self.go_on(self.tally.begun.elapsed() + time)?;
        self.tally.measuring = false;
        Ok([&mut self.tally.latency, &mut self.tally.lag].map(|times| std::mem::replace(times, Histogram::new())))
    }

    /// Says no more, and waits for what is under way; what did not come as it should have, since the beginning.
    pub(crate) fn end(&mut self) -> Result<Faults> {
        self.drain()?;
        Ok(self.tally.faults)
    }

    /// The counters at both edges of the measurement.
    fn measure(&mut self) -> Result<[Edge; 2]> {
        self.gather()?;
        self.go_on(Duration::from_secs_f64(self.cell.warmup))?;
        let first = self.edge()?;
        // To read the counters of a thousand threads takes a while, in which nothing is said: what that held up is not the server's.
        self.go_on(Duration::from_secs_f64(self.cell.warmup) + CATCH_UP)?;
        self.tally.measuring = true;
        self.go_on(Duration::from_secs_f64(self.cell.warmup + self.cell.measure))?;
        self.tally.measuring = false;
        let last = self.edge()?;
        self.drain()?;
        Ok([first, last])
    }

    fn edge(&self) -> Result<Edge> {
        Ok(Edge {
            at: Instant::now(),
            server: Usage::of(self.server.pid())?,
            own: Usage::of(std::process::id())?,
            plain: self.crowd.traffic().plain,
            deliveries: self.tally.deliveries,
        })
    }

    /// Makes the load until this time since its beginning.
    fn go_on(&mut self, until: Duration) -> Result<()> {
        let mut last = (self.tally.deliveries, Instant::now());
        while self.tally.begun.elapsed() < until {
            while let Some((number, _)) = self.pings.take(self.tally.begun.elapsed()) {
                self.crowd.ping(number as usize % self.crowd.len().max(1))?;
            }
            self.speak()?;
            let due = self.timetable.as_ref().map_or(until, |timetable| timetable.due().min(until));
            self.crowd.wake_after(due.saturating_sub(self.tally.begun.elapsed()))?;
            let tally = &mut self.tally;
            self.crowd.pump(Some(Duration::from_millis(100)), |index, heard| tally.heard(index, heard))?;
            if self.tally.deliveries > last.0 {
                last = (self.tally.deliveries, Instant::now());
            } else if last.1.elapsed() > STALL {
                bail!("nothing was delivered for {STALL:?}");
            }
        }
        Ok(())
    }

    fn speak(&mut self) -> Result<()> {
        match self.cell.mode {
            Mode::Open { .. } => self.speak_in_time(),
            Mode::Closed { window } => self.speak_in_windows(window),
        }
    }

    fn speak_in_time(&mut self) -> Result<()> {
        let speakers = (self.cell.rooms * self.cell.senders) as u64;
        loop {
            let now = self.tally.begun.elapsed();
            let Some((message, due)) = self.timetable.as_mut().and_then(|timetable| timetable.take(now)) else {
                return Ok(());
            };
            if self.tally.measuring {
                self.tally.lag.add((now - due).as_nanos() as u64);
            }
            self.say((message % speakers) as usize, due.as_nanos() as u64)?;
        }
    }

    fn speak_in_windows(&mut self, window: u64) -> Result<()> {
        let receivers = self.cell.members as u64 - 1;
        for sender in 0..self.tally.windows.len() {
            while self.tally.windows.get(sender).is_some_and(|messages| messages.is_open(window, receivers)) {
                self.say(sender, self.tally.now())?;
            }
        }
        Ok(())
    }

    fn say(&mut self, sender: usize, time: u64) -> Result<()> {
        let window = self.tally.windows.get_mut(sender).context("a sender that does not exist was to speak")?;
        let stamp = Stamp { sender: sender as u32, number: window.sent, time };
        window.sent += 1;
        let member = sender / self.cell.senders * self.cell.members + sender % self.cell.senders;
        self.crowd.say(member, &stamp.to_text(self.text_size))
    }

    /// Waits for what is under way.
    fn drain(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut last = (self.tally.deliveries, begun);
        let unfinished = |tally: &Tally| tally.expected().saturating_sub(tally.deliveries);
        while unfinished(&self.tally) > 0 && last.1.elapsed() < LATE && begun.elapsed() < DRAIN {
            let tally = &mut self.tally;
            self.crowd.pump(Some(Duration::from_millis(100)), |index, heard| tally.heard(index, heard))?;
            if self.tally.deliveries > last.0 {
                last = (self.tally.deliveries, Instant::now());
            }
        }
        let silent = unfinished(&self.tally) == 0 || last.1.elapsed() >= LATE;
        self.tally.unfinished = if silent { 0 } else { unfinished(&self.tally) };
        self.tally.count_lost(silent);
        ensure!(self.tally.stray == 0, "{} messages came to where they do not belong", self.tally.stray);
        Ok(())
    }

    fn outcome(&self, target: Target, [first, last]: &[Edge; 2]) -> Outcome {
        let seconds = (last.at - first.at).as_secs_f64();
        let deliveries = last.deliveries - first.deliveries;
        let (server, own) = (last.server.since(first.server), last.own.since(first.own));
        let millis = |histogram: &Histogram, share| histogram.quantile(share) as f64 / 1e6;
        let latency = &self.tally.latency;
        let each = 1.0 / (deliveries as f64).max(1.0);
        Outcome {
            target,
            cell: self.cell,
            version: self.server.version.clone(),
            tls: self.crowd.agreed(),
            deliveries,
            deliveries_per_second: deliveries as f64 / seconds,
            server_cpu_per_million: server.cpu.as_secs_f64() * 1e6 * each,
            server_cpu_share: server.cpu.as_secs_f64() / seconds,
            switches_per_second: server.switches as f64 / seconds,
            latency_p50: millis(latency, 0.5),
            latency_p99: millis(latency, 0.99),
            latency_p999: millis(latency, 0.999),
            bytes_per_delivery: (last.plain - first.plain) as f64 * each,
            faults: self.tally.faults,
            unfinished: self.tally.unfinished,
            generator_cpu_share: own.cpu.as_secs_f64() / seconds,
            lag_p99: millis(&self.tally.lag, 0.99),
        }
    }
}
