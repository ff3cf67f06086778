//! What an operation costs as members, sessions and accounts grow: of the hub alone, in this process, and of a server's start.

use std::time::Instant;

use anyhow::{Context, Result};
use secure_chat::chat::SessionId;
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{MAX_LISTED, RequestBody};
use serde::Serialize;

use crate::accounts::room_name;
use crate::hub::{Driver, Speaker};
use crate::servers::{self, Plan, Programs};
use crate::target::Target;
use crate::{proc, show};

/// How often a cheap operation is done for one figure, and how many figures the median is of.
const TIMES: usize = 1_000;
const ROUNDS: usize = 5;

/// How many come and go at once.
const VISITORS: usize = 10;

/// Bytes of a token.
const SIZE: usize = 700;

/// What the hub takes for one operation, in microseconds of one core; hashing, the disk and the sockets not counted.
#[derive(Debug, Serialize)]
pub(crate) struct Costs {
    pub(crate) accounts: usize,
    /// Both halves: asked for, and saved.
    pub(crate) registration: f64,
    /// With the password, and the keys announced.
    pub(crate) log_in: f64,
    /// Into a room of 100, of some who come at once, and out again.
    pub(crate) join: f64,
    /// To a room of 100.
    pub(crate) message: f64,
}

/// What a room of so many costs.
#[derive(Debug, Serialize)]
pub(crate) struct Room {
    pub(crate) members: usize,
    /// Of some who come at once, and out again.
    pub(crate) join: f64,
    /// The list of members.
    pub(crate) list: f64,
    pub(crate) message: f64,
}

/// What so many sessions cost, all logged in and in rooms of 100.
#[derive(Debug, Serialize)]
pub(crate) struct Crowd {
    pub(crate) sessions: usize,
    /// Of the hub's memory, for each: resident bytes.
    pub(crate) bytes: f64,
    pub(crate) message: f64,
    /// To log in and join, each.
    pub(crate) arrival: f64,
}

/// A server's start.
#[derive(Debug, Serialize)]
pub(crate) struct Start {
    pub(crate) accounts: usize,
    /// Whether all of them were in the journal still, and were folded.
    pub(crate) folding: bool,
    /// Until it listens.
    pub(crate) seconds: f64,
    /// Its largest resident memory, in MiB.
    pub(crate) peak: f64,
}

/// The median of some rounds, in microseconds for each of so many operations.
fn median(operations: usize, mut round: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        round()?;
        took.push(begun.elapsed());
    }
    took.sort();
    Ok(took.get(ROUNDS / 2).copied().unwrap_or_default().as_secs_f64() * 1e6 / operations as f64)
}

/// Costs with so many accounts.
pub(crate) fn accounts(accounts: usize) -> Result<Costs> {
    let accounts = accounts.max(2 * TIMES);
    let mut driver = Driver::new(accounts, 1)?;
    let mut speaker = full_room(&mut driver, 100)?;
    let message = say(&mut driver, &mut speaker)?;
    let guest = driver.connect(2 * accounts as u64);
    let mut number = 0_usize;
    let registration = median(TIMES, || {
        for _ in 0..TIMES {
            number += 1;
            let (user, password) = (UserName::new(&format!("new{number}")), Password::new("pw"));
            driver.ask(guest, RequestBody::Register { user, password, token: None })?;
        }
        Ok(())
    })?;
    let from = accounts - TIMES; // behind those who are in the room
    let log_in = median(TIMES, || {
        for account in from..accounts {
            let session = driver.log_in(account)?;
            driver.log_out(session)?;
        }
        Ok(())
    })?;
    let join = visits(&mut driver, from, TIMES / VISITORS)?;
    Ok(Costs { accounts, registration, log_in, join, message })
}

/// Costs of a room with so many members.
pub(crate) fn room(members: usize) -> Result<Room> {
    let mut driver = Driver::new(members + VISITORS, 1)?;
    let mut speaker = full_room(&mut driver, members)?;
    let message = say(&mut driver, &mut speaker)?;
    // In a large room time passes with each of them, and who says nothing for a minute is put out.
    let times = (TIMES * 10 / members).clamp(5, if members > MAX_LISTED { 20 } else { TIMES / VISITORS });
    let join = visits(&mut driver, members, times)?;
    let list = median(times, || {
        for _ in 0..times {
            driver.ask(SessionId(1), RequestBody::Who { room: RoomName::new(&room_name(0)) })?;
        }
        Ok(())
    })?;
    Ok(Room { members, join, list, message })
}

/// Costs of so many sessions.
pub(crate) fn crowd(sessions: usize) -> Result<Crowd> {
    const MEMBERS: usize = 100;
    let mut driver = Driver::new(sessions, sessions.div_ceil(MEMBERS))?;
    let pid = std::process::id();
    let before = proc::pss(pid)?;
    let begun = Instant::now();
    let mut speaker = None;
    for account in 0..sessions {
        let session = driver.log_in(account)?;
        let joined = driver.join(session, account / MEMBERS)?;
        if account == 0 {
            speaker = Some(Speaker::new(session, joined, SIZE)?);
        }
    }
    let arrival = begun.elapsed().as_secs_f64() * 1e6 / sessions as f64;
    let bytes = proc::pss(pid)?.saturating_sub(before) as f64 / sessions as f64;
    let message = say(&mut driver, &mut speaker.context("nobody is there")?)?;
    Ok(Crowd { sessions, bytes, message, arrival })
}

/// Starts a server with so many accounts.
pub(crate) fn start(programs: &Programs, accounts: usize, folding: bool) -> Result<Start> {
    let plan = Plan { folded: !folding, ..Plan::new(accounts, 1) };
    let (server, _) = servers::start(Target::Modern, programs, plan)?;
    let peak = proc::peak(server.pid())? as f64 / f64::from(1 << 20);
    Ok(Start { accounts, folding, seconds: server.started_in.as_secs_f64(), peak })
}

/// Fills the room 0 with the first accounts, until everybody was told of everybody; the first of them can speak.
fn full_room(driver: &mut Driver, members: usize) -> Result<Speaker> {
    let mut speaker = None;
    for account in 0..members {
        let session = driver.log_in(account)?;
        let joined = driver.join(session, 0)?;
        if account == 0 {
            speaker = Some(Speaker::new(session, joined, SIZE)?);
        } else if account % TIMES == 0 {
            driver.pass();
        }
    }
    driver.pass();
    speaker.context("nobody is there")
}

/// Some enter the room 0 at once and leave it, so many times; what one of them costs.
fn visits(driver: &mut Driver, from: usize, times: usize) -> Result<f64> {
    let visitors = (from..from + VISITORS).map(|account| driver.log_in(account)).collect::<Result<Vec<_>>>()?;
    let mut counter = 0;
    median(times * VISITORS, || {
        for _ in 0..times {
            counter += 1;
            for visitor in &visitors {
                driver.join(*visitor, 0)?;
            }
            driver.pass();
            for visitor in &visitors {
                driver.leave(*visitor, 0, counter)?;
            }
            driver.pass();
        }
        Ok(())
    })
}

fn say(driver: &mut Driver, speaker: &mut Speaker) -> Result<f64> {
    median(TIMES, || {
        for _ in 0..TIMES {
            let (session, said) = speaker.next();
            driver.ask(session, said)?;
        }
        Ok(())
    })
}

/// What is measured, and how large it gets.
const ACCOUNTS: [usize; 3] = [1_000, 100_000, 1_000_000];
const MEMBERS: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
const SESSIONS: [usize; 3] = [10_000, 100_000, 1_000_000];

/// Measures everything, each size after the other.
pub(crate) fn run(programs: &Programs, json: bool) -> Result<()> {
    ACCOUNTS.iter().try_for_each(|size| show::costs(&accounts(*size)?, json))?;
    MEMBERS.iter().try_for_each(|size| show::room(&room(*size)?, json))?;
    SESSIONS.iter().try_for_each(|size| show::crowd(&crowd(*size)?, json))?;
    for size in ACCOUNTS {
        starts(programs, size, 1, json)?;
    }
    Ok(())
}

/// Measures a server's start, so many times each way.
pub(crate) fn starts(programs: &Programs, accounts: usize, times: usize, json: bool) -> Result<()> {
    let ways = [false, true].into_iter().cycle().take(2 * times);
    ways.into_iter().try_for_each(|folding| show::start(&start(programs, accounts, folding)?, json))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_measured() {
        let costs = accounts(2_000).unwrap();
        assert!([costs.registration, costs.log_in, costs.join, costs.message].iter().all(|cost| *cost > 0.0));
        let room = room(300).unwrap();
        assert!([room.join, room.list, room.message].iter().all(|cost| *cost > 0.0));
        let crowd = crowd(300).unwrap();
        assert!(crowd.message > 0.0 && crowd.arrival > 0.0);
    }
}
