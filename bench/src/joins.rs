//! A join storm: all members of a room are logged in, and enter it at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::crowd::Crowd;
use crate::proc;
use crate::servers::{self, Plan, Programs};
use crate::target::Target;
use crate::wires::{Casting, Stage};

/// When nothing has come for so long, everybody has been told everything.
const QUIET: Duration = Duration::from_millis(500);

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Joins {
    pub(crate) target: Target,
    pub(crate) members: usize,
    /// Until the last is in.
    pub(crate) seconds: f64,
    /// Until everybody was told of everybody.
    pub(crate) seconds_until_quiet: f64,
    /// That a member received, from the first join to the quiet; plaintext.
    pub(crate) bytes_per_joiner: f64,
    /// Milliseconds of the server's processor time.
    pub(crate) cpu_ms_per_joiner: f64,
}

/// `announcing`: legacy clients announce a key with each join, as the scripts do.
pub(crate) fn run(target: Target, programs: &Programs, members: usize, announcing: bool) -> Result<Joins> {
    let (server, accounts) = servers::start(target, programs, Plan::new(members, 1))?;
    let mut casting = Casting::new(target, accounts, 1, members, 0);
    casting.announcing = announcing;
    let mut crowd = Crowd::new(server.address, casting)?;
    let context = || format!("{}; its server said:\n{}", target.name(), server.log());
    crowd.gather(members, Stage::LoggedIn).with_context(context)?;
    crowd.settle(QUIET).with_context(context)?;
    let (bytes, cpu, begun) = (crowd.traffic().plain, proc::cpu(server.pid())?, Instant::now());
    let mut last = begun;
    crowd.storm(Stage::Joined, |_, at| last = at).with_context(context)?;
    crowd.settle(QUIET).with_context(context)?;
    let quiet = begun.elapsed().saturating_sub(QUIET);
    let cpu = proc::cpu(server.pid())?.saturating_sub(cpu);
    Ok(Joins {
        target,
        members,
        seconds: (last - begun).as_secs_f64(),
        seconds_until_quiet: quiet.as_secs_f64(),
        bytes_per_joiner: (crowd.traffic().plain - bytes) as f64 / members as f64,
        cpu_ms_per_joiner: cpu.as_secs_f64() * 1e3 / members as f64,
    })
}
