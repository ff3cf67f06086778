//! What is said of a command line that cannot be read.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, Error};

/// Names the environment variable that a wrong value came from, beside the option: whoever reads the error may not have typed it.
pub fn name_variable(mut error: Error, mut command: Command, arguments: &[OsString]) -> Error {
    command.build(); // without which options have no names yet
    if let Some(named) = variable(&error, &command, arguments) {
        error.insert(ContextKind::InvalidArg, ContextValue::String(named));
    }
    error
}

/// The option with its variable, if the value is that one's and was not typed.
fn variable(error: &Error, command: &Command, arguments: &[OsString]) -> Option<String> {
    let (Some(ContextValue::String(option)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return None;
    };
    let is_typed = |argument: &OsString| {
        let argument = argument.to_string_lossy();
        argument == *value || argument.split_once('=').is_some_and(|(_, typed)| typed == value)
    };
    let variable = command.get_arguments().find(|argument| argument.to_string() == *option)?.get_env()?;
    let is_its = std::env::var_os(variable).is_some_and(|found| found.to_string_lossy() == *value);
    (is_its && !arguments.iter().any(is_typed)).then(|| format!("{option} (from {})", variable.display()))
}
