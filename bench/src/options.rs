//! The command line.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::load::Cell;
use crate::pace::Mode;
use crate::pressure::PressureOptions;
use crate::servers::Programs;
use crate::target::Target;

/// Measures what chat servers cost: this project's, and those that people would use instead.
///
/// Each server is started on a loopback port with a configuration of its own, and ended. Build this and the server first:
/// cargo build --release -p secure-chat -p secure-chat-bench
#[derive(Debug, Parser)]
#[command(name = "secure-chat-bench", version, max_term_width = 100)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// The server to measure [default: chat-server beside this program]
    #[arg(long, global = true, value_name = "FILE")]
    chat_server: Option<PathBuf>,

    /// The Python server of the legacy wire [default: tests/python/legacy_server.py]
    #[arg(long, global = true, value_name = "FILE")]
    python_server: Option<PathBuf>,

    /// Print results as JSON, one a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure deliveries: one cell
    Run(RunOptions),
    /// Measure the memory of idle connections
    Idle {
        /// What to measure
        #[arg(required = true)]
        targets: Vec<Target>,
        /// How many connections, each logged in and in a room
        #[arg(long, default_value_t = 1000)]
        connections: usize,
        /// Members of each room
        #[arg(long, default_value_t = 100)]
        members: usize,
    },
    /// Measure new connections: handshake, thread, ready for commands
    Handshakes {
        /// What to measure
        #[arg(required = true)]
        targets: Vec<Target>,
        /// How many are made at the same time
        #[arg(long, default_value_t = 16)]
        at_once: usize,
        /// How long
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// Measure a join storm: all members of a room enter it at once
    Joins {
        /// What to measure
        #[arg(required = true)]
        targets: Vec<Target>,
        /// How many
        #[arg(long, default_value_t = 1000)]
        members: usize,
        /// Legacy clients announce no keys
        #[arg(long)]
        no_keys: bool,
    },
    /// Measure what a healthy room notices of idle connections, slow handshakes, a flooder and a flood of log-ins
    Pressure(PressureOptions),
    /// Measure what is left of connections that came and went
    Churn {
        /// What to measure
        #[arg(required = true)]
        targets: Vec<Target>,
        /// How many; the first 10,000 are what the rest is compared to
        #[arg(long, default_value_t = 200_000)]
        connections: usize,
    },
    /// Measure a room at full speed of which a member stops reading
    StuckReader {
        /// What to measure
        #[arg(required = true)]
        targets: Vec<Target>,
        /// How many are said
        #[arg(long, default_value_t = 100_000)]
        messages: u64,
    },
    /// Measure whether memory, descriptors and threads of this project's server grow with time
    Soak {
        /// How long
        #[arg(long, default_value_t = 3600.0)]
        seconds: f64,
    },
    /// Measure whether the time of an answer tells unknown users from wrong passwords: some 90 ms of processor time each
    LoginTiming {
        /// What to measure
        #[arg(required = true)]
        targets: Vec<Target>,
        /// How many, of both kinds together
        #[arg(long, default_value_t = 10_000)]
        logins: usize,
    },
    /// Measure what a client's cryptography costs, beside the same work in Python's `cryptography`
    Envelopes {
        /// Recipients of a message on the legacy wire
        #[arg(long, default_value_t = 1000)]
        recipients: usize,
        /// How often both are measured, in turn
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// A Python that has `cryptography` [default: the one that the tests made in target/python, or python3]
        #[arg(long, value_name = "FILE")]
        python: Option<PathBuf>,
    },
    /// Measure what the hub's operations cost as accounts, members and sessions grow, and a server's start
    Growth,
    /// Measure a server's start alone, with everything in the snapshot and with everything in the journal
    Starts {
        /// How many accounts
        #[arg(long, default_value_t = 1_000_000)]
        accounts: usize,
        /// How often each is measured
        #[arg(long, default_value_t = 3)]
        times: usize,
    },
    /// Measure everything, interleaved, and write docs/BENCHMARKS.md
    Compare(CompareOptions),
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// What to measure
    #[arg(required = true)]
    pub(crate) targets: Vec<Target>,
    #[arg(long, default_value_t = 1)]
    rooms: usize,
    /// Members of each room
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// Members of each room who speak
    #[arg(long, default_value_t = 1)]
    senders: usize,
    /// Accounts that a server of ours has, if more than there are members
    #[arg(long, default_value_t = 0)]
    accounts: usize,
    /// Bytes of a message; IRC takes 400 at most
    #[arg(long, default_value_t = 700)]
    size: usize,
    /// Deliveries a second, in an open loop
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "window")]
    rate: Option<f64>,
    /// Messages of each sender under way, in a closed loop [default: 16]
    #[arg(long)]
    window: Option<u64>,
    /// Seconds before the measurement
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds of the measurement
    #[arg(long, default_value_t = 5.0)]
    measure: f64,
}

/// Messages under way that keep a server busy without making it a matter of memory.
pub(crate) const WINDOW: u64 = 16;

impl RunOptions {
    pub(crate) fn cell(&self) -> Cell {
        let window = self.window.unwrap_or(WINDOW);
        Cell {
            mode: self.rate.map_or(Mode::Closed { window }, |rate| Mode::Open { rate }),
            rooms: self.rooms,
            members: self.members,
            senders: self.senders,
            accounts: self.accounts,
            size: self.size,
            warmup: self.warmup,
            measure: self.measure,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CompareOptions {
    /// A small matrix, once: about two minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// What to measure [default: everything]
    #[arg(long, value_delimiter = ',')]
    pub(crate) targets: Vec<Target>,
    /// How often each cell is measured; medians are reported [default: 3, or 1 with --quick]
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// Folder of BENCHMARKS.md and, below benchmarks/, of the plots [default: docs of this repository]
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

/// The Python that is wanted, or the one that has what the tests' peers need.
pub(crate) fn python(wanted: Option<&Path>) -> PathBuf {
    let of_the_tests = repository().join("target/python/bin/python");
    match wanted {
        Some(wanted) => wanted.to_owned(),
        None if of_the_tests.exists() => of_the_tests,
        None => "python3".into(),
    }
}

/// The work of a client, in Python.
pub(crate) fn envelopes_script() -> PathBuf {
    repository().join("tests/python/envelopes.py")
}

/// The repository that this was built from.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Options {
    pub(crate) fn programs(&self) -> Result<Programs> {
        let chat_server = match &self.chat_server {
            Some(path) => path.clone(),
            None => match std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("chat-server"))) {
                Some(path) => path,
                None => bail!("it is not known where this program is: name the server with --chat-server"),
            },
        };
        let python_server = self.python_server.clone();
        let python_server = python_server.unwrap_or_else(|| repository().join("tests/python/legacy_server.py"));
        Ok(Programs { chat_server, python_server })
    }
}
