//! What a new connection costs: TCP, a full TLS handshake, and a first sign that its commands are taken.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::crowd::Crowd;
use crate::proc::{self, Usage};
use crate::servers::{self, Plan, Programs};
use crate::target::{Target, WireKind};
use crate::wires::{Casting, Heard, Stage};

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Handshakes {
    pub(crate) target: Target,
    /// The version of TLS and the cipher.
    pub(crate) tls: String,
    /// That are made at the same time.
    pub(crate) at_once: usize,
    pub(crate) connections: u64,
    pub(crate) per_second: f64,
    /// Milliseconds of the server's processor time for each.
    pub(crate) cpu_ms: f64,
    /// Processor time of this program, of one core.
    pub(crate) generator_cpu_share: f64,
}

/// The stage at which a server has shown that it takes commands: by its hello, or by the answer to a command; NATS and MQTT have
/// nothing before the log-in, which is without password.
fn ready(target: Target) -> Stage {
    match target.wire() {
        WireKind::Modern | WireKind::Legacy | WireKind::Irc => Stage::Connected,
        WireKind::Nats | WireKind::Mqtt => Stage::LoggedIn,
    }
}

pub(crate) fn run(target: Target, programs: &Programs, at_once: usize, seconds: f64) -> Result<Handshakes> {
    let (server, accounts) = servers::start(target, programs, Plan::new(at_once, 1))?;
    let mut casting = Casting::new(target, accounts, 1, at_once, 0);
    casting.probing = true;
    let mut crowd = Crowd::new(server.address, casting)?;
    let goal = ready(target);
    let context = || format!("{}; its server said:\n{}", target.name(), server.log());
    crowd.gather(at_once, goal).with_context(context)?;
    let tls = crowd.agreed();
    let (cpu, own, begun) = (proc::cpu(server.pid())?, Usage::of(std::process::id())?, Instant::now());
    for index in 0..at_once {
        crowd.redial(index, goal)?;
    }
    let mut connections = 0;
    let mut ready = Vec::new();
    while begun.elapsed().as_secs_f64() < seconds {
        let each = |index, heard: &Heard| ready.extend(heard.stage.filter(|s| *s >= goal).map(|_| index));
        crowd.pump(Some(Duration::from_millis(100)), each).with_context(context)?;
        for index in ready.drain(..) {
            connections += 1;
            crowd.redial(index, goal)?;
        }
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let cpu = proc::cpu(server.pid())?.saturating_sub(cpu).as_secs_f64();
    let own = Usage::of(std::process::id())?.since(own);
    Ok(Handshakes {
        target,
        tls,
        at_once,
        connections,
        per_second: connections as f64 / elapsed,
        cpu_ms: cpu * 1e3 / (connections as f64).max(1.0),
        generator_cpu_share: own.cpu.as_secs_f64() / elapsed,
    })
}
