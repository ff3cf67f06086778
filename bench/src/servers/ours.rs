//! chat-server, with its own defaults, but for what keeps one machine from flooding it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Site;

/// Takes the bounds away that people never meet and a load does.
const UNLIMITED: &str = "--no-rate-limits";

/// Whether a build of the server has this option.
fn takes(program: &Path, option: &str) -> bool {
    let help = Command::new(program).arg("--help").stdin(Stdio::null()).output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains(option))
}

pub(super) fn command(program: &Path, site: &Site, limited: bool) -> Command {
    let mut command = Command::new(program);
    command.arg("--listen").arg(format!("127.0.0.1:{}", site.port));
    command.arg("--data-dir").arg(site.dir.path()).args(["--log", "warn"]);
    command.args(["--no-rate-limits", "--max-connections-per-address", "0"]); // all load comes from here
    command.arg("--core-dumps"); // else its memory could be read from /proc by root alone
    if !limited && takes(program, UNLIMITED) {
        command.arg(UNLIMITED);
    }
    command
}
