//! chat-server, with its own defaults.

use std::path::Path;
use std::process::Command;

use super::Site;

pub(super) fn command(program: &Path, site: &Site) -> Command {
    let mut command = Command::new(program);
    command.arg("--listen").arg(format!("127.0.0.1:{}", site.port));
    command.arg("--data-dir").arg(site.dir.path()).args(["--log", "warn"]);
    command.arg("--core-dumps"); // else its memory could be read from /proc by root alone
    command
}
