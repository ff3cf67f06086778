//! The command line of `chat-server`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use clap::builder::BoolishValueParser;

/// A self-hosted chat server. Messages are encrypted end to end: it passes them on and cannot read them.
///
/// Takes over the folder of the Python server as it stands.
#[derive(Debug, Clone, Parser)]
#[command(name = "chat-server", version, max_term_width = 100)]
pub struct Options {
    /// Address and port to listen on; `[::]:12345` takes IPv4 and IPv6
    #[arg(long, env = "CHAT_LISTEN", value_name = "ADDR:PORT", default_value = "0.0.0.0:12345")]
    pub listen: SocketAddr,

    /// Folder of the database and, below certs/, the certificate
    #[arg(long, env = "CHAT_DATA_DIR", value_name = "DIR", default_value = ".")]
    pub data_dir: PathBuf,

    /// Certificate chain in PEM; without it certs/server.crt or server.crt in the data folder, or a new self-signed one
    #[arg(long, env = "CHAT_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,

    /// Private key of the certificate in PEM
    #[arg(long, env = "CHAT_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,

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
}
