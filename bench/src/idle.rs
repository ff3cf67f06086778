//! What a connection takes that says nothing: logged in, and in a room.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::crowd::Crowd;
use crate::proc::{self, Kernel};
use crate::servers::{self, Plan, Programs};
use crate::target::Target;
use crate::wires::{Casting, Stage};

/// How long everything may rest before memory is read.
const REST: Duration = Duration::from_secs(1);

/// What was measured; memory in bytes per connection, as the difference to the server without connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Idle {
    pub(crate) target: Target,
    pub(crate) connections: usize,
    /// In one room each.
    pub(crate) members: usize,
    pub(crate) pss: f64,
    /// Of the whole machine: the clients' ends are in it.
    pub(crate) kernel_both_ends: f64,
    pub(crate) kernel_slab: f64,
    pub(crate) kernel_stacks: f64,
    pub(crate) kernel_page_tables: f64,
    pub(crate) kernel_tcp: f64,
    /// Seconds of processor time for each second of idling.
    pub(crate) cpu_share: f64,
}

pub(crate) fn run(target: Target, programs: &Programs, connections: usize, members: usize) -> Result<Idle> {
    let rooms = connections.div_ceil(members.max(1));
    let (server, accounts) = servers::start(target, programs, Plan::new(connections, rooms))?;
    let mut crowd = Crowd::new(server.address, Casting::new(target, accounts, rooms, members, 0))?;
    sleep(Duration::from_millis(500));
    let (pss, kernel) = (proc::pss(server.pid())?, Kernel::now()?);
    let context = || format!("{}; its server said:\n{}", target.name(), server.log());
    crowd.gather(connections, Stage::Joined).with_context(context)?;
    crowd.settle(Duration::from_millis(300)).with_context(context)?;
    crowd.ping_all()?;
    crowd.settle(Duration::from_millis(300))?;
    let cpu = proc::cpu(server.pid())?;
    sleep(REST);
    let used = proc::cpu(server.pid())?.saturating_sub(cpu);
    let (pss, kernel) = (proc::pss(server.pid())?.saturating_sub(pss), Kernel::now()?.since(kernel));
    let each = |bytes: i64| bytes as f64 / connections as f64;
    Ok(Idle {
        target,
        connections,
        members,
        pss: each(pss as i64),
        kernel_both_ends: each(kernel.total()),
        kernel_slab: each(kernel.slab),
        kernel_stacks: each(kernel.stacks),
        kernel_page_tables: each(kernel.page_tables),
        kernel_tcp: each(kernel.tcp),
        cpu_share: used.as_secs_f64() / REST.as_secs_f64(),
    })
}
