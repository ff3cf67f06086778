//! Connections that come and go: whether anything of them stays.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::crowd::Crowd;
use crate::proc::{Holdings, Kernel};
use crate::servers::{self, Plan, Programs, Server};
use crate::target::Target;
use crate::wires::{Casting, Heard, Stage};

/// Connections after which the server has what it needs for its work.
const FIRST: usize = 10_000;

/// Connections that are made at the same time.
const AT_ONCE: usize = 16;

/// How long the server may take to be done with the last of them.
const REST: Duration = Duration::from_secs(20);

/// By how much memory may differ between two moments of rest, in bytes: what the allocator keeps depends on which threads met.
const SLACK: i64 = 1024 * 1024;

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Churn {
    pub(crate) target: Target,
    pub(crate) connections: usize,
    pub(crate) per_second: f64,
    /// After the first connections, and after all.
    pub(crate) first: usize,
    pub(crate) before: Holdings,
    pub(crate) after: Holdings,
    /// What the kernel's own memory, of the whole machine, has grown by.
    pub(crate) kernel: i64,
    /// Whether threads and descriptors are where they were, and memory but for a MiB.
    pub(crate) holds: bool,
}

pub(crate) fn run(target: Target, programs: &Programs, connections: usize) -> Result<Churn> {
    ensure!(connections > FIRST, "there must be more than {FIRST} connections: these are what the rest is compared to");
    ensure!(target.is_ours(), "{} is not measured so", target.name());
    let (server, accounts) = servers::start(target, programs, Plan::new(AT_ONCE, 1))?;
    let idle = Holdings::of(server.pid())?;
    let mut casting = Casting::new(target, accounts, 1, AT_ONCE, 0);
    casting.probing = true;
    let mut crowd = Crowd::new(server.address, casting)?;
    let context = || format!("{}; its server said:\n{}", target.name(), server.log());
    come_and_go(&mut crowd, FIRST).with_context(context)?;
    let before = rest(&server, idle)?;
    let (kernel, begun) = (Kernel::now()?, Instant::now());
    come_and_go(&mut crowd, connections - FIRST).with_context(context)?;
    let per_second = (connections - FIRST) as f64 / begun.elapsed().as_secs_f64();
    let after = rest(&server, idle)?;
    let kernel = Kernel::now()?.since(kernel).total();
    let grown = (after.pss as i64 - before.pss as i64).max(after.rss as i64 - before.rss as i64);
    let holds = after.threads <= before.threads && after.descriptors <= before.descriptors && grown <= SLACK;
    Ok(Churn { target, connections, per_second, first: FIRST, before, after, kernel, holds })
}

/// So many connections, each as far as the server's greeting; in the end all are closed.
fn come_and_go(crowd: &mut Crowd, total: usize) -> Result<()> {
    let (mut begun, mut done) = (0, 0);
    let mut free: Vec<usize> = (0..AT_ONCE).rev().collect();
    while done < total {
        while begun < total
            && let Some(index) = free.pop()
        {
            if index < crowd.len() {
                crowd.redial(index, Stage::Connected)?
            } else {
                crowd.dial(Stage::Connected)?
            }
            begun += 1;
        }
        let each = |index, heard: &Heard| free.extend(heard.stage.map(|_| index));
        crowd.pump(Some(Duration::from_millis(100)), each)?;
        for index in &free {
            done += usize::from(crowd.hang_up(*index));
        }
    }
    Ok(())
}

/// Waits until the threads and descriptors of connections are gone, as far as they go; what the server holds then.
fn rest(server: &Server, idle: Holdings) -> Result<Holdings> {
    let begun = Instant::now();
    loop {
        sleep(Duration::from_millis(500)); // what is measured is what is left after a rest
        let now = Holdings::of(server.pid())?;
        if now.threads <= idle.threads && now.descriptors <= idle.descriptors || begun.elapsed() > REST {
            return Ok(now);
        }
    }
}
