//! A server under everyday wear for as long as one likes: whether its memory, descriptors and threads grow with time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::accounts::Accounts;
use crate::crowd::Crowd;
use crate::load::PING;
use crate::pace::Timetable;
use crate::payload::Stamp;
use crate::proc::Holdings;
use crate::servers::{self, Plan, Programs};
use crate::show;
use crate::stats::Slope;
use crate::target::Target;
use crate::wires::{Casting, Stage};

/// On each wire.
const ROOMS: usize = 10;
const MEMBERS: usize = 10;

/// Accounts and, by [`MEMBERS`], rooms before those of the legacy wire.
const MODERN: usize = ROOMS * MEMBERS;

/// Messages a second on each wire, and connections that end and are made anew.
const MESSAGES: f64 = 100.0;
const CONNECTIONS: f64 = 20.0;

/// The share of the time that the server has to come to what it needs.
const WARM_UP: f64 = 0.25;

/// A growth of memory that matters, in bytes an hour.
const MATTERS: f64 = 4.0 * 1024.0 * 1024.0;

/// How many standard errors a growth must be above what matters: seconds that follow each other are much alike.
const SURE: f64 = 6.0;

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Soak {
    pub(crate) seconds: f64,
    pub(crate) messages: u64,
    pub(crate) connections: u64,
    pub(crate) rooms: u64,
    pub(crate) first: Holdings,
    pub(crate) last: Holdings,
    /// Bytes an hour, after the warm-up.
    pub(crate) rss: Slope,
    pub(crate) pss: Slope,
    /// An hour.
    pub(crate) threads: Slope,
    pub(crate) descriptors: Slope,
    /// Whether nothing grows that matters.
    pub(crate) holds: bool,
}

/// The members of one wire.
struct Wear {
    crowd: Crowd,
    messages: Timetable,
    connections: Timetable,
    pings: Timetable,
    text: usize,
    said: u64,
    renewed: u64,
}

impl Wear {
    fn new(target: Target, server: std::net::SocketAddr, accounts: Accounts, first: usize) -> Result<Self> {
        let mut casting = Casting::new(target, accounts, ROOMS * 2, MEMBERS, 0);
        casting.first = first;
        let mut crowd = Crowd::new(server, casting)?;
        crowd.gather(MODERN, Stage::Joined)?;
        let (messages, connections) = (Timetable::new(MESSAGES, 1), Timetable::new(CONNECTIONS, 1));
        let pings = Timetable::new(MODERN as f64 / PING.as_secs_f64(), 1);
        Ok(Self { crowd, messages, connections, pings, text: target.text_size(700), said: 0, renewed: 0 })
    }

    fn go_on(&mut self, elapsed: Duration) -> Result<()> {
        // The first of each room speaks and follows its log; the others come and go.
        while let Some((number, _)) = self.messages.take(elapsed) {
            let room = number as usize % ROOMS;
            let stamp = Stamp { sender: room as u32, number: self.said, time: 0 };
            self.crowd.say(room * MEMBERS, &stamp.to_text(self.text))?;
            self.said += 1;
        }
        while let Some((number, _)) = self.connections.take(elapsed) {
            let (room, place) = (number as usize % ROOMS, number as usize / ROOMS % (MEMBERS - 1) + 1);
            self.crowd.redial(room * MEMBERS + place, Stage::Joined)?;
            self.renewed += 1;
        }
        while let Some((number, _)) = self.pings.take(elapsed) {
            self.crowd.ping(number as usize % MODERN)?;
        }
        self.crowd.pump(Some(Duration::from_millis(1)), |_, _| {})
    }
}

pub(crate) fn run(programs: &Programs, seconds: f64, json: bool) -> Result<Soak> {
    ensure!(seconds >= 20.0, "a slope of less than 20 seconds says nothing");
    let (server, accounts) = servers::start(Target::Modern, programs, Plan::new(2 * MODERN + 1, 2 * ROOMS))?;
    let context = || format!("the server said:\n{}", server.log());
    let (realm, deleted) = (accounts.realm()?, Rc::new(Cell::new(0)));
    let mut wires = [
        Wear::new(Target::Modern, server.address, accounts, 0).with_context(context)?,
        Wear::new(Target::Legacy, server.address, Accounts::plain(), MODERN).with_context(context)?,
    ];
    let mut casting = Casting::new(Target::Modern, Accounts::of(realm)?, 0, MEMBERS, 0);
    casting.first = 2 * MODERN;
    casting.letting = Some(Rc::clone(&deleted));
    let mut landlord = Crowd::new(server.address, casting)?;
    landlord.dial(Stage::Joined)?;
    let (begun, end) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut samples: Vec<(f64, Holdings)> = Vec::new();
    while begun.elapsed() < end {
        wires.iter_mut().try_for_each(|wear| wear.go_on(begun.elapsed())).with_context(context)?;
        landlord.pump(Some(Duration::from_millis(1)), |_, _| {}).with_context(context)?;
        if begun.elapsed().as_secs() >= samples.len() as u64 {
            samples.push((begun.elapsed().as_secs_f64(), Holdings::of(server.pid())?));
            tell(&samples, json)?;
        }
    }
    let [modern, legacy] = &wires;
    ensure!(deleted.get() > 0 && modern.said > 0, "nothing has happened");
    let outcome = Soak {
        seconds,
        messages: modern.said + legacy.said,
        connections: modern.renewed + legacy.renewed,
        rooms: deleted.get(),
        ..judge(&samples)
    };
    Ok(outcome)
}

/// Each minute, for who waits.
fn tell(samples: &[(f64, Holdings)], json: bool) -> Result<()> {
    match samples.last() {
        Some((time, now)) if !json && samples.len().is_multiple_of(60) => show::line(&format!(
            "{time:>7.0} s  PSS {} KiB  RSS {} KiB  threads {}  descriptors {}",
            now.pss / 1024,
            now.rss / 1024,
            now.threads,
            now.descriptors
        )),
        _ => Ok(()),
    }
}

/// Fits lines to what came after the warm-up.
fn judge(samples: &[(f64, Holdings)]) -> Soak {
    let seconds = samples.last().map_or(0.0, |(time, _)| *time);
    let warm: Vec<_> = samples.iter().filter(|(time, _)| *time >= seconds * WARM_UP).collect();
    let fit = |of: fn(&Holdings) -> u64| {
        let points: Vec<_> = warm.iter().map(|(time, holdings)| (*time, of(holdings) as f64)).collect();
        Slope::of(&points).per(3600.0)
    };
    let (rss, pss) = (fit(|now| now.rss), fit(|now| now.pss));
    let (threads, descriptors) = (fit(|now| now.threads), fit(|now| now.descriptors));
    // Connections come and go: of threads and descriptors, some more or less at a moment mean nothing.
    let at_rest = |slope: Slope| slope.slope * seconds / 3600.0 < 5.0 || slope.slope - SURE * slope.error < 0.0;
    let holds = pss.slope - SURE * pss.error < MATTERS && at_rest(threads) && at_rest(descriptors);
    let edge = |sample: Option<&&(f64, Holdings)>| sample.map(|(_, holdings)| *holdings).unwrap_or_default();
    let (first, last) = (edge(warm.first()), edge(warm.last()));
    Soak { seconds, messages: 0, connections: 0, rooms: 0, first, last, rss, pss, threads, descriptors, holds }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(growth: u64) -> Vec<(f64, Holdings)> {
        let holdings = |second: u64| {
            let noise = second * 7919 % 13 * 1000;
            let memory = 10_000_000 + noise + second * growth;
            Holdings { rss: memory, pss: memory, threads: 200 + second % 3, descriptors: 220 }
        };
        (0..600).map(|second| (second as f64, holdings(second))).collect()
    }

    #[test]
    fn what_grows_is_told_from_what_only_changes() {
        let steady = judge(&samples(0));
        assert!(steady.holds && steady.pss.slope.abs() < MATTERS, "{steady:?}");
        let growing = judge(&samples(2000)); // some 7 MB an hour
        assert!(!growing.holds && (growing.pss.slope - 7.2e6).abs() < 1e5, "{growing:?}");
        let mut leaking = samples(0);
        leaking.iter_mut().for_each(|(time, holdings)| holdings.descriptors += *time as u64);
        assert!(!judge(&leaking).holds);
    }
}
