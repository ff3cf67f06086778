//! chat-server, with its own defaults, but for what keeps one machine from flooding it.

use std::path::Path;
use std::process::Command;

use super::Site;

/// `limited`: whether it limits rates, as it does by default.
pub(super) fn command(program: &Path, site: &Site, limited: bool) -> Command {
    let mut command = Command::new(program);
    command.arg("--listen").arg(format!("127.0.0.1:{}", site.port));
    command.arg("--data-dir").arg(site.dir.path()).args(["--log", "warn"]);
    command.args(["--max-connections-per-address", "0"]); // all load comes from here
    command.arg("--core-dumps"); // else its memory could be read from /proc by root alone
    if !limited {
        command.arg("--no-rate-limits");
    }
    command
}
