//! The command line of `chat-server`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};

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

/// What is done instead of serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Say what a data folder holds and whether it is whole, also beside a running server
    ///
    /// Reads, decrypts and replays all of it, changes nothing and takes no lock. Exit code 0: a server starts with it, whatever
    /// is warned of; 1: it does not, and the reason is said.
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

        /// Replace FILE when it exists
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
    #[arg(long, env = "CHAT_LISTEN", value_name = "ADDR:PORT", default_value = "0.0.0.0:12345")]
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

    /// What to log to stderr: error, warn, info, debug or trace
    #[arg(long, env = "CHAT_LOG", value_name = "LEVEL", default_value = "info")]
    pub log: tracing::level_filters::LevelFilter,

    // The last: its heading is that of all that follows.
    /// What a peer can make grow
    #[command(flatten)]
    pub limits: LimitOptions,
}
