//! What is printed of a single measurement.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::churn::Churn;
use crate::envelopes::Envelopes;
use crate::growth::{Costs, Crowd, Room, Start};
use crate::handshakes::Handshakes;
use crate::idle::Idle;
use crate::joins::Joins;
use crate::load::Outcome;
use crate::pressure::{Latency, Pressure};
use crate::proc::Holdings;
use crate::soak::Soak;
use crate::stats::Slope;
use crate::stuck::Stuck;
use crate::timing::Timing;

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

pub(crate) fn pressure(pressure: &Pressure, json: bool) -> Result<()> {
    let latency = |Latency { deliveries, p50, p99, p999, lag_p99 }| {
        format!("{p50:.2} / {p99:.2} / {p999:.2} ms (p50/p99/p99.9)  lag p99 {lag_p99:.2} ms  {deliveries} deliveries")
    };
    let ratios: Vec<_> = pressure.ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    let text = format!(
        "{:<12} calm     {}\n{:<12} pressed  {}\n{:<12} p99 pressed / calm: {:.2} (in each round: {})  lost {} duplicated {} reordered {}\n\
         {:<12} pressed by {} idle, {} slow handshakes ({} cut off), {:.0} guesses/s ({:.0} looked at, {:.0} turned away), \
         a flooder with {:.0} messages/s (put out {} times)  [load average {}; {}]",
        pressure.target.name(),
        latency(pressure.calm),
        "",
        latency(pressure.pressed),
        "",
        pressure.ratio,
        ratios.join(", "),
        pressure.faults.lost,
        pressure.faults.duplicated,
        pressure.faults.reordered,
        "",
        pressure.idle,
        pressure.slow_begun,
        pressure.slow_cut_off,
        pressure.guesses,
        pressure.guesses_looked_at,
        pressure.guesses_turned_away,
        pressure.flooders_messages,
        pressure.flooder_put_out,
        pressure.load_average,
        pressure.machine,
    );
    either(json, pressure, &text)?;
    ensure!(pressure.faults.total() == 0, "the healthy room did not get everything once and in order");
    Ok(())
}

fn holdings(now: Holdings) -> String {
    let Holdings { rss, pss, threads, descriptors } = now;
    format!("PSS {} KiB  RSS {} KiB  threads {threads}  descriptors {descriptors}", pss / 1024, rss / 1024)
}

pub(crate) fn churn(churn: &Churn, json: bool) -> Result<()> {
    let text = format!(
        "{:<12} {} connections came and went, {:.0} a second\n{:<12} after {}: {}\n{:<12} after all: {}  kernel's memory {:+} KiB  {}",
        churn.target.name(),
        churn.connections,
        churn.per_second,
        "",
        churn.first,
        holdings(churn.before),
        "",
        holdings(churn.after),
        churn.kernel / 1024,
        if churn.holds { "nothing stays" } else { "SOMETHING STAYS" },
    );
    either(json, churn, &text)?;
    ensure!(churn.holds, "something stays of connections that are gone");
    Ok(())
}

pub(crate) fn envelopes(measured: &Envelopes, json: bool) -> Result<()> {
    let Envelopes { recipients, rounds, ours, python } = measured;
    let row =
        |work: &str, ours: f64, python: f64| format!("\n{work:<32} {ours:>9.3} {python:>9.3} {:>7.2}", ours / python);
    let text = [
        format!("{:<32} {:>9} {:>9} {:>7}", format!("ms of CPU, least of {rounds} rounds"), "ours", "Python", "ratio"),
        row("legacy wire: read a message", ours.legacy_read, python.legacy_read),
        row(&format!("legacy wire: send one to {recipients}"), ours.legacy_send, python.legacy_send),
        row("modern wire: seal and sign", ours.modern_send, python.modern_send),
        row("modern wire: verify and open", ours.modern_read, python.modern_read),
    ];
    either(json, measured, &text.concat())
}

pub(crate) fn stuck(stuck: &Stuck, json: bool) -> Result<()> {
    let faults = stuck.faults;
    let dropped = stuck.dropped_at.map_or("NEVER".into(), |at| format!("after at most {at} messages"));
    let text = format!(
        "{:<12} {} messages to {} readers and one who reads no more: {:.0} deliveries/s  lost {} duplicated {} reordered {}\n\
         {:<12} the stuck one was dropped {dropped}; it then read {} messages and: {}\n{:<12} PSS {} KiB before, {} at most",
        stuck.target.name(),
        stuck.messages,
        stuck.readers,
        stuck.deliveries_per_second,
        faults.lost,
        faults.duplicated,
        faults.reordered,
        "",
        stuck.read_late,
        stuck.last_words,
        "",
        stuck.pss_before / 1024,
        stuck.pss_most / 1024,
    );
    either(json, stuck, &text)?;
    ensure!(faults.total() == 0, "the others did not get everything once and in order");
    ensure!(stuck.dropped_at.is_some(), "the stuck one was not dropped");
    Ok(())
}

pub(crate) fn soak(soak: &Soak, json: bool) -> Result<()> {
    let line = |Slope { slope, error }, unit: f64| format!("{:+.1} ± {:.1}", slope / unit, error / unit);
    let text = format!(
        "{:.0} s, {} messages, {} connections, {} rooms\nafter the warm-up: {}\nin the end:        {}\n\
         an hour: PSS {} KiB  RSS {} KiB  threads {}  descriptors {}  {}",
        soak.seconds,
        soak.messages,
        soak.connections,
        soak.rooms,
        holdings(soak.first),
        holdings(soak.last),
        line(soak.pss, 1024.0),
        line(soak.rss, 1024.0),
        line(soak.threads, 1.0),
        line(soak.descriptors, 1.0),
        if soak.holds { "nothing grows" } else { "SOMETHING GROWS" },
    );
    either(json, soak, &text)?;
    ensure!(soak.holds, "something grows with time");
    Ok(())
}

pub(crate) fn timing(timing: &Timing, json: bool) -> Result<()> {
    let text = format!(
        "{:<12} {} unknown users: {:.3} ms (deviation {:.3})  {} wrong passwords: {:.3} ms (deviation {:.3})  t = {:.2}: {}",
        timing.target.name(),
        timing.unknown_users,
        timing.unknown_mean,
        timing.unknown_deviation,
        timing.wrong_passwords,
        timing.wrong_mean,
        timing.wrong_deviation,
        timing.t,
        if timing.holds { "not told apart" } else { "TOLD APART" },
    );
    either(json, timing, &text)?;
    ensure!(timing.holds, "unknown users and wrong passwords are told apart");
    Ok(())
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
