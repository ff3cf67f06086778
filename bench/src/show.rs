//! What is printed of a single measurement.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::growth::{Costs, Crowd, Room, Start};
use crate::handshakes::Handshakes;
use crate::idle::Idle;
use crate::joins::Joins;
use crate::load::Outcome;

/// Prints a line; an error when nobody reads it any more.
pub(crate) fn line(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("the result cannot be printed")
}

pub(crate) fn failure(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "secure-chat-bench: {error:#}"); // nobody may read it
}

/// Prints the one form or the other.
fn either(json: bool, result: &impl Serialize, text: &str) -> Result<()> {
    if json { line(&serde_json::to_string(result).context("a result cannot be written")?) } else { line(text) }
}

pub(crate) fn outcome(outcome: &Outcome, json: bool) -> Result<()> {
    let faults = outcome.faults;
    let text = format!(
        "{:<12} {:>9.0} deliveries/s  {:>6.2} CPU-s/million  latency {:.2} / {:.2} / {:.2} ms (p50/p99/p99.9)  \
         {:.0} B/delivery  server {:.0}%  generator {:.0}%  {:.0} switches/s  lag p99 {:.2} ms  \
         lost {} duplicated {} reordered {} unfinished {}  [{}; {}]",
        outcome.target.name(),
        outcome.deliveries_per_second,
        outcome.server_cpu_per_million,
        outcome.latency_p50,
        outcome.latency_p99,
        outcome.latency_p999,
        outcome.bytes_per_delivery,
        outcome.server_cpu_share * 100.0,
        outcome.generator_cpu_share * 100.0,
        outcome.switches_per_second,
        outcome.lag_p99,
        faults.lost,
        faults.duplicated,
        faults.reordered,
        outcome.unfinished,
        outcome.version,
        outcome.tls,
    );
    either(json, outcome, &text)
}

pub(crate) fn idle(idle: &Idle, json: bool) -> Result<()> {
    let kib = |bytes: f64| bytes / 1024.0;
    let text = format!(
        "{:<12} {} connections  PSS {:.1} KiB each  kernel, both ends {:.1} KiB each (slab {:.1}, stacks {:.1}, page tables {:.1}, \
         TCP {:.1})  {:.1}% of a core",
        idle.target.name(),
        idle.connections,
        kib(idle.pss),
        kib(idle.kernel_both_ends),
        kib(idle.kernel_slab),
        kib(idle.kernel_stacks),
        kib(idle.kernel_page_tables),
        kib(idle.kernel_tcp),
        idle.cpu_share * 100.0,
    );
    either(json, idle, &text)
}

pub(crate) fn handshakes(handshakes: &Handshakes, json: bool) -> Result<()> {
    let text = format!(
        "{:<12} {:.0} connections/s  {:.3} ms CPU each  generator {:.0}%  [{}]",
        handshakes.target.name(),
        handshakes.per_second,
        handshakes.cpu_ms,
        handshakes.generator_cpu_share * 100.0,
        handshakes.tls,
    );
    either(json, handshakes, &text)
}

pub(crate) fn joins(joins: &Joins, json: bool) -> Result<()> {
    let text = format!(
        "{:<12} {} members in {:.2} s, quiet after {:.2} s  {:.0} B a joiner  {:.3} ms CPU a joiner",
        joins.target.name(),
        joins.members,
        joins.seconds,
        joins.seconds_until_quiet,
        joins.bytes_per_joiner,
        joins.cpu_ms_per_joiner,
    );
    either(json, joins, &text)
}

pub(crate) fn costs(costs: &Costs, json: bool) -> Result<()> {
    let text = format!(
        "{:>9} accounts: registration {:.2} µs, log-in {:.2}, join of a room of 100 {:.2}, message {:.2}",
        costs.accounts, costs.registration, costs.log_in, costs.join, costs.message,
    );
    either(json, costs, &text)
}

pub(crate) fn room(room: &Room, json: bool) -> Result<()> {
    let text = format!(
        "{:>9} members: join and leave {:.2} µs, list {:.2}, message {:.2}",
        room.members, room.join, room.list, room.message,
    );
    either(json, room, &text)
}

pub(crate) fn crowd(crowd: &Crowd, json: bool) -> Result<()> {
    let text = format!(
        "{:>9} sessions in rooms of 100: {:.0} B each, log-in and join {:.2} µs, message {:.2}",
        crowd.sessions, crowd.bytes, crowd.arrival, crowd.message,
    );
    either(json, crowd, &text)
}

pub(crate) fn start(start: &Start, json: bool) -> Result<()> {
    let folding = if start.folding { "all in the journal, folded" } else { "all in the snapshot" };
    let text = format!(
        "{:>9} accounts, {folding}: listens after {:.3} s, peak {:.0} MiB",
        start.accounts, start.seconds, start.peak,
    );
    either(json, start, &text)
}
