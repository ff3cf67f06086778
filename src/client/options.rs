//! The command line. Each option is an environment variable, too.

use std::ffi::OsString;
use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::arguments::name_variable;
use crate::client::key_name::modern_realm;
use crate::crypto::Fingerprint;
use crate::transcript::Realm;

/// The port of the Python scripts.
pub const DEFAULT_PORT: u16 = 12345;

/// Chat in the terminal, end-to-end encrypted.
///
/// Without a terminal, lines come from stdin, one line per message or notice goes to stdout, and the program's own words go
/// to stderr.
#[derive(Debug, Clone, Parser)]
// A server may be called help.
#[command(name = "chat-client", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Options {
    /// The server: HOST, HOST:PORT, or an IPv6 address, in brackets when a port follows; one that is called key needs its
    /// port: key:12345
    #[arg(env = "CHAT_SERVER", default_value = "127.0.0.1:12345")]
    pub server: Address,

    /// The folder of your keys and of known_keys [default: the current folder if it holds private_key.pem, else your data
    /// folder]
    #[arg(long, env = "CHAT_IDENTITY", value_name = "DIR", global = true)]
    pub identity: Option<PathBuf>,

    /// Certificates in PEM that may vouch for the server, or be its own
    #[arg(long, env = "CHAT_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Accept exactly this key of the server, instead of the one that is known
    #[arg(long, env = "CHAT_ACCEPT_SERVER_KEY", value_name = "FINGERPRINT")]
    pub accept_server_key: Option<Fingerprint>,

    /// Accept exactly this realm of the server, instead of the one that is known
    #[arg(long, env = "CHAT_ACCEPT_REALM", value_name = "ed25519:KEY", value_parser = modern_realm)]
    pub accept_realm: Option<Realm>,

    /// Speak the old wire with a server that is known to speak the modern one: there, nobody proves who wrote what
    #[arg(long, env = "CHAT_ALLOW_LEGACY", value_parser = BoolishValueParser::new(), conflicts_with = "accept_realm")]
    pub allow_legacy: bool,

    /// Let a crash leave a core dump, in which there are keys and passwords
    #[arg(long, env = "CHAT_CORE_DUMPS", value_parser = BoolishValueParser::new(), global = true)]
    pub core_dumps: bool,

    /// What to do instead of chatting
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be done instead of chatting.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Shows your keys, and carries your signing key from one device to another
    #[command(subcommand)]
    Key(KeyCommand),
}

/// What can be done with keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Shows the fingerprints of your keys
    Show,
    /// Writes your signing key to a new file, encrypted under a passphrase
    Export {
        /// The file, which must not exist yet
        file: PathBuf,
        /// Where the passphrase comes from
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Takes the signing key of a file that another device has exported
    Import {
        /// The file
        file: PathBuf,
        /// Where the passphrase comes from
        #[command(flatten)]
        passphrase: Passphrase,
        /// Put it in the place of another signing key, which is kept as signing_key.pem.old
        #[arg(long)]
        replace: bool,
    },
}

/// Where a passphrase comes from: a file, else a hidden question, else the first line of stdin.
#[derive(Debug, Clone, clap::Args)]
pub struct Passphrase {
    /// Take the passphrase from the first line of this file [default: a hidden question, or the first line of stdin]
    #[arg(long, env = "CHAT_PASSPHRASE_FILE", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

impl Options {
    /// Reads a command line.
    ///
    /// # Errors
    /// What is wrong with it, or the help that it asks for.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args: Vec<OsString> = args.into_iter().collect();
        let named = |error| name_variable(error, Self::command(), &args);
        let matches = Self::command().try_get_matches_from(&args).map_err(named)?;
        let options = Self::from_arg_matches(&matches)?;
        if options.command.is_some() && matches.value_source("server") == Some(ValueSource::CommandLine) {
            let words = "your keys are the same for every server: none is named before a command";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, words));
        }
        Ok(options)
    }
}

const EXIT_CODES: &str =
    "Exit codes: 0 all is well, 1 usage or input, 2 unexpected, 3 network or server, 4 untrusted key.";

/// A server's host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name in lower case, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Text that is no server's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadAddress;

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a server is HOST, HOST:PORT, an IPv6 address, or [IPv6]:PORT")
    }
}

impl std::error::Error for BadAddress {}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (host, port) = if text.parse::<Ipv6Addr>().is_ok() {
            (text, None)
        } else if let Some(bracketed) = text.strip_prefix('[') {
            let (host, port) = bracketed.split_once(']').ok_or(BadAddress)?;
            host.parse::<Ipv6Addr>().map_err(|_| BadAddress)?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(BadAddress)?) };
            (host, port)
        } else {
            text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(BadAddress)?,
            None => DEFAULT_PORT,
        };
        // A name is an entry of known_keys and is printed.
        let clean = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(clean) {
            return Err(BadAddress);
        }
        Ok(Self { host: host.to_lowercase(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_written_in_many_ways() {
        for (text, shown) in [
            ("chat.example.org", "chat.example.org:12345"),
            ("Chat.Example.org:99", "chat.example.org:99"),
            ("127.0.0.1", "127.0.0.1:12345"),
            ("::1", "[::1]:12345"),
            ("[::1]", "[::1]:12345"),
            ("[fe80::1]:7", "[fe80::1]:7"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        for bad in ["", ":1", "host:", "host:0", "host:70000", "host:1:2", "[::1", "[host]:1", "[::1]x", "a b", "a\x1b"]
        {
            assert_eq!(bad.parse::<Address>(), Err(BadAddress), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    fn read(args: &[&str]) -> Result<Options, ErrorKind> {
        Options::read(["chat-client"].iter().chain(args).map(OsString::from)).map_err(|error| error.kind())
    }

    #[test]
    fn a_server_that_is_called_like_a_command_is_told_by_its_port() {
        assert!(matches!(read(&["key", "show"]).unwrap().command, Some(Command::Key(KeyCommand::Show))));
        for server in ["key:12345", "help", "chat.example.org", "127.0.0.1:7"] {
            let options = read(&[server]).unwrap();
            assert!(options.command.is_none());
            assert!(options.server.to_string().starts_with(server), "{server}");
        }
        assert!(read(&[]).unwrap().command.is_none());
        assert_eq!(read(&["key"]).unwrap_err(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
        assert_eq!(read(&["chat.example.org", "key", "show"]).unwrap_err(), ErrorKind::ArgumentConflict);
        for args in [&["--identity", "x", "key", "show"], &["key", "show", "--identity", "x"]] {
            let options = read(args).unwrap();
            assert_eq!(options.identity, Some("x".into()));
            assert!(options.command.is_some());
        }
    }

    #[test]
    fn a_realm_is_accepted_by_its_key_and_never_together_with_the_old_wire() {
        let realm = "ed25519:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        assert_eq!(read(&["--accept-realm", realm]).unwrap().accept_realm, Some(Realm([7; 32])));
        assert_eq!(read(&["--accept-realm", &realm[8..]]).unwrap_err(), ErrorKind::ValueValidation);
        assert!(read(&["--allow-legacy"]).unwrap().allow_legacy);
        assert_eq!(read(&["--allow-legacy", "--accept-realm", realm]).unwrap_err(), ErrorKind::ArgumentConflict);
    }
}
