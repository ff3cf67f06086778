//! The command line. Each option is an environment variable, too.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;

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
#[command(name = "chat-client", version, after_help = EXIT_CODES)]
pub struct Options {
    /// The server: HOST, HOST:PORT, or an IPv6 address, in brackets when a port follows
    #[arg(env = "CHAT_SERVER", default_value = "127.0.0.1:12345")]
    pub server: Address,

    /// The folder of your keys and of known_keys [default: the current folder if it holds private_key.pem, else your data
    /// folder]
    #[arg(long, env = "CHAT_IDENTITY", value_name = "DIR")]
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
    #[arg(long, env = "CHAT_ALLOW_LEGACY", conflicts_with = "accept_realm")]
    pub allow_legacy: bool,
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
        <Options as clap::CommandFactory>::command().debug_assert();
    }
}
