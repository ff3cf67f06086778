//! The load generator: what a delivery, a connection and a join cost on this project's server, and on those that people would
//! use instead. `secure-chat-bench --help` says what it can do, `docs/BENCHMARKS.md` what it found.
//!
//! | module | what it does |
//! |---|---|
//! | `load`, `idle`, `handshakes`, `joins` | one measurement each |
//! | `pressure`, `mob` | what a healthy room notices of those who press on the server |
//! | `churn`, `soak`, `stuck`, `timing` | what a server keeps of those who come and go; a member who does not read; what an answer's time tells |
//! | `envelopes` | a client's cryptography, beside Python's |
//! | `growth`, `hub` | what grows with what: the hub by itself, and a server's start |
//! | `compare`, `report`, `plot` | all of them, interleaved; what is written about them |
//! | `crowd`, `connection`, `timer`, `tls` | thousands of TLS clients on one thread |
//! | `wires` | what clients say and understand on each wire |
//! | `servers`, `accounts`, `target` | the servers that are measured |
//! | `pace`, `payload`, `sequence`, `histogram`, `stats`, `proc` | when who speaks, what is said, and what is counted |

mod accounts;
mod churn;
mod compare;
mod connection;
mod crowd;
mod envelopes;
mod growth;
mod handshakes;
mod histogram;
mod hub;
mod idle;
mod joins;
mod load;
mod mob;
mod options;
mod pace;
mod payload;
mod plot;
mod pressure;
mod proc;
mod report;
mod sequence;
mod servers;
mod show;
mod soak;
mod stats;
mod stuck;
mod target;
mod timer;
mod timing;
mod tls;
mod wires;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use crate::options::{Command, Options};
use crate::target::Target;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show::failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    proc::raise_descriptors();
    let (programs, json) = (options.programs()?, options.json);
    match &options.command {
        Command::Run(run) => {
            for_each(&run.targets, |target| show::outcome(&load::run(target, &programs, run.cell())?, json))
        }
        Command::Idle { targets, connections, members } => {
            for_each(targets, |target| show::idle(&idle::run(target, &programs, *connections, *members)?, json))
        }
        Command::Handshakes { targets, at_once, seconds } => {
            for_each(targets, |target| show::handshakes(&handshakes::run(target, &programs, *at_once, *seconds)?, json))
        }
        Command::Joins { targets, members, no_keys } => {
            for_each(targets, |target| show::joins(&joins::run(target, &programs, *members, !no_keys)?, json))
        }
        Command::Pressure(pressure) => {
            for_each(&pressure.targets, |target| show::pressure(&pressure::run(target, &programs, pressure)?, json))
        }
        Command::Churn { targets, connections } => {
            for_each(targets, |target| show::churn(&churn::run(target, &programs, *connections)?, json))
        }
        Command::StuckReader { targets, messages } => {
            for_each(targets, |target| show::stuck(&stuck::run(target, &programs, *messages)?, json))
        }
        Command::Soak { seconds } => show::soak(&soak::run(&programs, *seconds, json)?, json),
        Command::LoginTiming { targets, logins } => {
            for_each(targets, |target| show::timing(&timing::run(target, &programs, *logins)?, json))
        }
        Command::Envelopes { recipients, rounds, python } => {
            let (python, script) = (options::python(python.as_deref()), options::envelopes_script());
            show::envelopes(&envelopes::run(&python, &script, *recipients, *rounds)?, json)
        }
        Command::Growth => growth::run(&programs, json),
        Command::Starts { accounts, times } => growth::starts(&programs, *accounts, *times, json),
        Command::Compare(compare) => compare::run(&programs, compare),
    }
}

/// Measures all of them, also when one cannot be.
fn for_each(targets: &[Target], mut measure: impl FnMut(Target) -> Result<()>) -> Result<()> {
    let failed = targets.iter().filter(|target| match measure(**target) {
        Ok(()) => false,
        Err(error) => {
            show::failure(&error);
            true
        }
    });
    match failed.count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} could not be measured", targets.len()),
    }
}
