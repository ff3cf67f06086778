//! `chat-server`: see the README.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use secure_chat::names::Text;
use secure_chat::server::{self, CommandLine, Options, ServerError};
use tracing_appender::non_blocking::NonBlockingBuilder;

/// Lines of the log that may wait for its reader before more are dropped. The room for them is taken at the start.
const LOG_LINES: usize = 8 * 1024;

fn main() -> ExitCode {
    let CommandLine { command, options } = match CommandLine::read(std::env::args_os()) {
        Ok(line) => line,
        Err(error) => {
            let _ = error.print(); // nothing is left to say it to
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(u8::from(!asked));
        }
    };
    let result = command.map_or_else(|| serve(&options), |command| server::perform(&command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // It may name what others wrote or named: nothing of that is to command the terminal.
            let _ = writeln!(io::stderr(), "chat-server: {}", Text::sanitize(&error.to_string()).as_str());
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve(options: &Options) -> Result<(), ServerError> {
    server::needs_a_thread()?; // where there is none, the log's would be a panic
    // Nothing waits for whoever reads the log: lines that it does not take are dropped.
    let (log, log_guard) = NonBlockingBuilder::default().buffered_lines_limit(LOG_LINES).finish(io::stderr());
    tracing_subscriber::fmt()
        .with_max_level(options.log)
        .with_writer(log)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .log_internal_errors(false) // they would go where the log could not be written, and panic there
        .init();
    let result = server::run(options);
    drop(log_guard); // what is logged is out before the last words
    result
}
