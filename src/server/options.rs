//! The command line of `chat-server`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, Resettable, StyledStr};
use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::arguments::name_variable;
use crate::server::limits::LimitOptions;

/// A self-hosted chat server. Messages are encrypted end to end: it passes them on and cannot read them.
///
/// Takes over the folder of the Python server as it stands.
#[derive(Debug, Clone, Parser)]
#[command(name = "chat-server", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// How to serve.
    #[command(flatten)]
    pub options: Options,
}

impl CommandLine {
    /// Reads a command line.
    ///
    /// # Errors
    /// What is wrong with it, or the help that it asks for.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let mut command = Self::command();
        if arguments.get(1).is_some_and(|first| command.find_subcommand(first).is_some()) {
            // The variables of serving are none of a subcommand's, which has its own.
            command = command.mut_args(|argument| argument.env(Resettable::Reset));
        }
        let matches = command.clone().try_get_matches_from(&arguments);
        let matches =
            matches.map_err(|error| show_place(name_variable(error, command.clone(), &arguments), command))?;
        Self::from_arg_matches(&matches)
    }
}

/// An option that stands before a subcommand that has it: says where it belongs.
fn show_place(mut error: clap::Error, mut command: clap::Command) -> clap::Error {
    command.build(); // without which options have no names yet
    let (Some(ContextValue::String(name)), Some(ContextValue::String(option))) =
        (error.get(ContextKind::InvalidSubcommand), error.get(ContextKind::PriorArg))
    else {
        return error;
    };
    let has_it = |of: &clap::Command| of.get_arguments().any(|argument| argument.to_string() == *option);
    if command.find_subcommand(name).is_some_and(has_it) {
        let tip = StyledStr::from(format!("put it behind: {} {name} {option}", command.get_name()));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// Reads an address to listen on: a name may have several, or another tomorrow.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|error| format!("{error}: give an IP address and a port, such as 127.0.0.1:12345"))
}

/// What is done instead of serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Say what a data folder holds and whether it is whole, also beside a running server
    ///
    /// Reads, decrypts and replays all of it, changes nothing and takes no lock. Exit code 0: a server starts with it
    /// that may write to it, whatever is warned of; 1: it does not, and the reason is said.
    Check {
        #[command(flatten)]
        #[allow(missing_docs, reason = "it would be the help text")]
        files: Files,
    },

    /// Copy the data of a server, running or not, into one file
    ///
    /// A tar archive of the database with its key, the public keys and the certificate with its key: it is as secret as the data
    /// folder. Nothing is copied that could not be restored. The copy is of one moment; what is acknowledged later is not in it.
    Backup {
        /// The file to make, which only its owner can read; `-` for standard output
        #[arg(value_name = "FILE")]
        file: PathBuf,

        /// Replace FILE when it exists, unless it is a file of the server or no regular one
        #[arg(long)]
        replace: bool,

        #[command(flatten)]
        #[allow(missing_docs, reason = "it would be the help text")]
        files: Files,
    },

    /// Put a backup into an empty folder, or only prove that it can be read
    Restore {
        /// The backup; `-` for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,

        /// Read, decrypt and replay all of it, say what it holds, and write nothing
        #[arg(long)]
        verify: bool,

        /// The folder, empty or yet to be made
        #[arg(long, env = "CHAT_DATA_DIR", value_name = "DIR", default_value = ".")]
        data_dir: PathBuf,
    },
}

/// Where the data are.
#[derive(Debug, Clone, Args)]
pub struct Files {
    /// Folder of the database and, below certs/, the certificate
    #[arg(long, env = "CHAT_DATA_DIR", value_name = "DIR", default_value = ".")]
    pub data_dir: PathBuf,

    /// Certificate chain in PEM; without it certs/server.crt or server.crt in the data folder, or a new self-signed one
    #[arg(long, env = "CHAT_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,

    /// Private key of the certificate in PEM
    #[arg(long, env = "CHAT_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// How to serve.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Address and port to listen on; `[::]:12345` takes IPv4 and IPv6
    #[arg(long, env = "CHAT_LISTEN", value_name = "ADDR:PORT", value_parser = address, default_value = "0.0.0.0:12345")]
    pub listen: SocketAddr,

    #[command(flatten)]
    #[allow(missing_docs, reason = "it would be the help text")]
    pub files: Files,

    /// File whose first line is the password of the reserved user 'god', for a new database; otherwise it is asked for
    #[arg(long, env = "CHAT_GOD_PASSWORD_FILE", value_name = "FILE")]
    pub god_password_file: Option<PathBuf>,

    /// Take no client that speaks the wire of the Python scripts alone
    #[arg(long, env = "CHAT_NO_LEGACY", value_parser = BoolishValueParser::new())]
    pub no_legacy: bool,

    /// Let a crash leave a core dump, in which there are keys and passwords
    #[arg(long, env = "CHAT_CORE_DUMPS", value_parser = BoolishValueParser::new())]
    pub core_dumps: bool,

    /// A line that modern clients show when they connect, of at most 1,024 bytes
    #[arg(long, env = "CHAT_MOTD", value_name = "TEXT")]
    pub motd: Option<String>,

    /// The same from a file, which is read at the start
    #[arg(long, env = "CHAT_MOTD_FILE", value_name = "FILE", conflicts_with = "motd")]
    pub motd_file: Option<PathBuf>,

    /// What to log to stderr: error, warn, info, debug, trace or off
    #[arg(long, env = "CHAT_LOG", value_name = "LEVEL", default_value = "info")]
    pub log: tracing::level_filters::LevelFilter,

    // The last: its heading is that of all that follows.
    /// What a peer can make grow
    #[command(flatten)]
    pub limits: LimitOptions,
}
