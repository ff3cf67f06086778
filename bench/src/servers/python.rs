//! The Python server of the legacy wire that the tests have.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Missing, Plan, Site};
use crate::accounts::{PASSWORD, room_name, user_name};

/// Whether Python has what the script imports.
pub(super) fn check() -> Result<(), Missing> {
    let mut python = Command::new("python3");
    python.args(["-c", "import cryptography"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match python.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Missing("Python has no cryptography: pip install cryptography".into())),
        Err(_) => Err(Missing("python3 is not installed: apt-get install python3".into())),
    }
}

pub(super) fn command(python: &Path, script: &Path, site: &Site, plan: Plan) -> Result<Command> {
    let script = script.canonicalize().with_context(|| format!("{} is not there", script.display()))?;
    site.certify()?;
    let list = |count: usize, name: fn(usize) -> String| {
        (0..count).map(|i| format!("{}:{PASSWORD}", name(i))).collect::<Vec<_>>().join(",")
    };
    let mut make = Command::new(python);
    make.arg(&script).arg("--make-database").arg(site.dir.path());
    make.args(["--users", &list(plan.accounts, user_name), "--rooms", &list(plan.rooms, room_name)]);
    let made = make.output().context("python3 cannot be started")?;
    if !made.status.success() {
        bail!("the Python server's database cannot be made: {}", String::from_utf8_lossy(&made.stderr));
    }
    let mut command = Command::new(python);
    command.arg(&script).args(["--port", &site.port.to_string()]).arg("--dir").arg(site.dir.path());
    Ok(command)
}
