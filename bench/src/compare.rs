//! The whole comparison: every cell for every target, in rounds, so that what the machine does meanwhile touches all alike.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::handshakes::{self, Handshakes};
use crate::idle::{self, Idle};
use crate::joins::{self, Joins};
use crate::load::{self, Cell, Outcome};
use crate::options::{CompareOptions, WINDOW, repository};
use crate::pace::Mode;
use crate::servers::{self, Missing, Programs};
use crate::show;
use crate::target::Target;
use crate::{proc, report};

/// Bytes of a message; IRC has 400.
const SIZE: usize = 700;

/// Deliveries a second in the open loop.
const RATE: f64 = 20_000.0;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Task {
    Deliver(Cell),
    Handshake { at_once: usize, seconds: f64 },
    Idle { connections: usize, members: usize },
    Join { members: usize },
}

/// What came of one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Found {
    Deliver(Outcome),
    Handshake(Handshakes),
    Idle(Idle),
    Join(Joins),
    /// Why it was not tried.
    NotRun {
        target: Target,
        task: Task,
        why: String,
    },
    /// Why it could not be measured.
    Failed {
        target: Target,
        task: Task,
        why: String,
    },
}

/// Everything that is written to the file of results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: String,
    /// How to have it measured again.
    pub(crate) command: String,
    pub(crate) rounds: usize,
    pub(crate) missing: Vec<(Target, String)>,
    pub(crate) found: Vec<Found>,
}

/// Seconds of each measurement.
struct Pace {
    warmup: f64,
    measure: f64,
}

fn cell(mode: Mode, members: usize, senders: usize, pace: &Pace) -> Task {
    let Pace { warmup, measure } = *pace;
    Task::Deliver(Cell { mode, rooms: 1, members, senders, accounts: 0, size: SIZE, warmup, measure })
}

/// What is measured in a round.
fn tasks(quick: bool) -> Vec<Task> {
    let (open, closed) = (Mode::Open { rate: RATE }, Mode::Closed { window: WINDOW });
    if quick {
        let pace = Pace { warmup: 0.5, measure: 1.5 };
        return vec![
            cell(open, 100, 1, &pace),
            cell(closed, 100, 1, &pace),
            cell(closed, 100, 10, &pace),
            Task::Handshake { at_once: 16, seconds: 1.0 },
            Task::Idle { connections: 200, members: 100 },
        ];
    }
    let pace = Pace { warmup: 2.0, measure: 8.0 };
    let mut tasks: Vec<_> = [100, 1000].map(|members| cell(open, members, 1, &pace)).into();
    for members in [10, 100, 1000] {
        tasks.extend([1, 10].map(|senders| cell(closed, members, senders, &pace)));
    }
    tasks.push(Task::Handshake { at_once: 16, seconds: 5.0 });
    tasks.push(Task::Idle { connections: 5000, members: 100 });
    tasks.push(Task::Join { members: 1000 });
    tasks
}

/// Why a task is none for a target, if it is none: it says nothing that another target's does not, or cannot be done in reasonable time.
fn not_for(task: &Task, target: Target) -> Option<&'static str> {
    const PACKAGES: &str =
        "a message for so many goes through this server in a package for every nine: in a large room one takes seconds";
    match task {
        Task::Deliver(Cell { mode: Mode::Open { .. }, .. }) => (target == Target::PythonKeys)
            .then_some("a message takes a package for every nine members: there is no rate to keep"),
        Task::Deliver(cell) => (target == Target::PythonKeys && cell.members * cell.senders > 1000).then_some(PACKAGES),
        _ if target.has_keys() => Some("keys in messages make no difference to it: see the target without"),
        Task::Idle { connections, .. } if target == Target::Python && *connections > 1000 => {
            Some("to log so many in, this server takes minutes")
        }
        Task::Join { members } if target == Target::Python && *members > 100 => {
            Some("each join tells everybody's key to everybody: with so many, this server takes minutes")
        }
        _ => None,
    }
}

pub(crate) fn run(programs: &Programs, options: &CompareOptions) -> Result<()> {
    let targets = if options.targets.is_empty() { Target::ALL.to_vec() } else { options.targets.clone() };
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 3 });
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    for target in targets {
        match servers::find(target, programs) {
            Ok(_) => present.push(target),
            Err(Missing(why)) => missing.push((target, why)),
        }
    }
    for (target, why) in &missing {
        show::line(&format!("{} is missing: {why}", target.name()))?;
    }
    if present.is_empty() || rounds == 0 {
        bail!("there is nothing to measure: build the server with cargo build --release, or install a peer");
    }
    let found = measure(programs, &present, &tasks(options.quick), rounds)?;
    let quick = if options.quick { " --quick" } else { "" };
    let chosen: String = options.targets.iter().map(|target| format!(" --targets {}", target.name())).collect();
    let command = format!("cargo run --release -p secure-chat-bench -- compare{quick}{chosen}");
    let results = Results { machine: proc::machine(), command, rounds, missing, found };
    let output = options.output.clone().unwrap_or_else(|| repository().join("docs"));
    write(&output, &results)
}

fn measure(programs: &Programs, targets: &[Target], tasks: &[Task], rounds: usize) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for round in 1..=rounds {
        for task in tasks {
            show::line(&format!("round {round} of {rounds}: {}", report::title(task)))?;
            for target in targets {
                let one = match not_for(task, *target) {
                    Some(why) => Found::NotRun { target: *target, task: *task, why: why.into() },
                    None => perform(programs, *target, task),
                };
                print(&one)?;
                found.push(one);
            }
        }
    }
    Ok(found)
}

fn perform(programs: &Programs, target: Target, task: &Task) -> Found {
    let result = match *task {
        Task::Deliver(cell) => load::run(target, programs, cell).map(Found::Deliver),
        Task::Handshake { at_once, seconds } => {
            handshakes::run(target, programs, at_once, seconds).map(Found::Handshake)
        }
        Task::Idle { connections, members } => idle::run(target, programs, connections, members).map(Found::Idle),
        Task::Join { members } => joins::run(target, programs, members, true).map(Found::Join),
    };
    result.unwrap_or_else(|error| Found::Failed { target, task: *task, why: format!("{error:#}") })
}

fn print(found: &Found) -> Result<()> {
    match found {
        Found::Deliver(outcome) => show::outcome(outcome, false),
        Found::Handshake(handshakes) => show::handshakes(handshakes, false),
        Found::Idle(idle) => show::idle(idle, false),
        Found::Join(joins) => show::joins(joins, false),
        Found::NotRun { target, why, .. } => show::line(&format!("{:<12} not run: {why}", target.name())),
        Found::Failed { target, why, .. } => show::line(&format!("{:<12} FAILED: {why}", target.name())),
    }
}

fn write(output: &Path, results: &Results) -> Result<()> {
    let pictures = output.join("benchmarks");
    std::fs::create_dir_all(&pictures).with_context(|| format!("{} cannot be made", pictures.display()))?;
    let save = |path: &Path, content: &str| {
        std::fs::write(path, content).with_context(|| format!("{} cannot be written", path.display()))
    };
    let json = serde_json::to_string_pretty(results).context("the results cannot be written")?;
    save(&pictures.join("results.json"), &(json + "\n"))?;
    for (name, chart) in report::charts(results) {
        save(&pictures.join(name), &chart.to_svg())?;
    }
    let page = output.join("BENCHMARKS.md");
    save(&page, &report::page(results))?;
    show::line(&format!("written: {}", page.display()))
}
