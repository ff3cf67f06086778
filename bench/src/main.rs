//! The load generator: what a delivery, a connection and a join cost on this project's server, and on those that people would
//! use instead. `secure-chat-bench --help` says what it can do, `docs/BENCHMARKS.md` what it found.
//!
//! | module | what it does |
//! |---|---|
//! | `load`, `idle`, `handshakes`, `joins` | one measurement each |
//! | `growth`, `hub` | what grows with what: the hub by itself, and a server's start |
//! | `compare`, `report`, `plot` | all of them, interleaved; what is written about them |
//! | `crowd`, `connection`, `timer`, `tls` | thousands of TLS clients on one thread |
//! | `wires` | what clients say and understand on each wire |
//! | `servers`, `accounts`, `target` | the servers that are measured |
//! | `pace`, `payload`, `sequence`, `histogram`, `proc` | when who speaks, what is said, and what is counted |

mod accounts;
mod compare;
mod connection;
mod crowd;
mod growth;
mod handshakes;
mod histogram;
mod hub;
mod idle;
mod joins;
mod load;
mod options;
mod pace;
mod payload;
mod plot;
mod proc;
mod report;
mod sequence;
mod servers;
mod show;
mod target;
mod timer;
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
        Command::Growth => growth::run(&programs, json),
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
