//! The chat client; see [`secure_chat::client`].

use std::process::ExitCode;

fn main() -> ExitCode {
    secure_chat::client::run(std::env::args_os())
}
