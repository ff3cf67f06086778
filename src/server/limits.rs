//! The limits on what a peer can make grow, as an operator sets them.

use std::fs;
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use tracing::warn;

use super::quantity::{byte_rate, bytes, rate, time_or_ever, timeout};
use crate::chat::{self, Rate, Registration, RegistrationTokens};
use crate::names::Password;
use crate::protocol::{MAX_MESSAGE, legacy};
use crate::server::error::ServerError;

/// Slowest rates of messages and of bytes: below them, a client that waits for its answers would take the server for dead. A
/// longest line of the modern wire takes 8 s of the latter.
const SLOWEST_MESSAGES: Duration = Duration::from_secs(5);
const SLOWEST_BYTES: Duration = Duration::from_nanos(122_071); // 8 KiB/s

/// Least bytes of an outbox: less would not hold what one answer may be.
const LEAST_OUTBOX: u32 = 256 * 1024;

/// Least bytes of a longest message: the Python client sends keys and packages up to that.
const LEAST_MESSAGE: u32 = 4096;

/// Longest file of tokens, in bytes.
const MOST_TOKENS: u64 = 1024 * 1024;

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RegistrationPolicy {
    /// Anybody
    Open,
    /// Who has one of the tokens of --registration-token-file
    Token,
    /// Nobody but god
    Closed,
}

/// The options.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitOptions {
    /// Who may make an account; god, logged in, always may, within --max-accounts
    #[arg(long, env = "CHAT_REGISTRATION", value_name = "WHO", value_enum, default_value = "open")]
    pub registration: RegistrationPolicy,

    /// File with one token a line, read at the start: /register NAME PASSWORD TOKEN
    #[arg(long, env = "CHAT_REGISTRATION_TOKEN_FILE", value_name = "FILE", required_if_eq("registration", "token"))]
    pub registration_token_file: Option<PathBuf>,

    /// New accounts from one address (or IPv6 /64). 1000/1h is a rate: 1000 at once, and in the long run 1000 in an hour
    #[arg(long, env = "CHAT_REGISTRATION_RATE", value_name = "RATE", value_parser = rate, default_value = "1000/1h")]
    pub registration_rate: Rate,

    /// New rooms from one address (or IPv6 /64), god aside
    #[arg(long, env = "CHAT_ROOM_RATE", value_name = "RATE", value_parser = rate, default_value = "100/1h")]
    pub room_rate: Rate,

    /// Most accounts; 0 for none but those that there are
    #[arg(long, env = "CHAT_MAX_ACCOUNTS", value_name = "N", default_value_t = 1_000_000)]
    pub max_accounts: usize,

    /// Most rooms; 0 for none but those that there are
    #[arg(long, env = "CHAT_MAX_ROOMS", value_name = "N", default_value_t = 10_000)]
    pub max_rooms: usize,

    /// Most rooms that one account owns, god aside; 0 for none
    #[arg(long, env = "CHAT_MAX_ROOMS_PER_USER", value_name = "N", default_value_t = 20)]
    pub max_rooms_per_user: usize,

    /// Most sessions that are logged in to one account, at least 1
    #[arg(long, env = "CHAT_MAX_SESSIONS_PER_USER", value_name = "N", value_parser = sessions, default_value = "64")]
    pub max_sessions_per_user: usize,

    /// Most connections, at most as many as the system's limits allow [default: that many, up to 50000]
    #[arg(long, env = "CHAT_MAX_CONNECTIONS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,

    /// Most connections from one address (or IPv6 /64); 0 for no such limit, as behind a proxy [default: half of all]
    #[arg(long, env = "CHAT_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N")]
    pub max_connections_per_address: Option<u32>,

    /// How long a TLS handshake may take
    #[arg(long, env = "CHAT_HANDSHAKE_TIMEOUT", value_name = "TIME", value_parser = timeout, default_value = "10s")]
    pub handshake_timeout: Duration,

    /// How long a connection may last without a log-in; 0 for ever
    #[arg(long, env = "CHAT_LOGIN_TIMEOUT", value_name = "TIME", value_parser = time_or_ever, default_value = "1h")]
    pub login_timeout: Duration,

    /// How long somebody who is logged in may do nothing, though the connection lives; 0 for ever
    #[arg(long, env = "CHAT_IDLE_TIMEOUT", value_name = "TIME", value_parser = time_or_ever, default_value = "0")]
    pub idle_timeout: Duration,

    /// Bytes that wait for a peer who does not read, before it is dropped
    #[arg(long, env = "CHAT_OUTBOX", value_name = "SIZE", value_parser = outbox, default_value = "4MiB")]
    pub outbox: u32,

    /// The same for all peers together: beyond it, whoever has most is cut off
    #[arg(long, env = "CHAT_OUTBOXES", value_name = "SIZE", value_parser = outbox, default_value = "256MiB")]
    pub outboxes: u32,

    /// Longest message of the Python scripts' wire; a line of the other is fixed
    #[arg(long, env = "CHAT_MAX_MESSAGE", value_name = "SIZE", value_parser = message, default_value = "1MiB")]
    pub max_message: u32,

    /// Messages and commands of one connection; beyond it, the connection is slowed down
    #[arg(long, env = "CHAT_MESSAGE_RATE", value_name = "RATE", value_parser = message_rate, default_value = "200/10s")]
    pub message_rate: Rate,

    /// The same in bytes
    #[arg(long, env = "CHAT_BYTE_RATE", value_name = "RATE", value_parser = input_rate, default_value = "8MiB/16s")]
    pub byte_rate: Rate,

    /// Lift all rates, the throttle of wrong passwords included, and keep the sizes: for benchmarks
    #[arg(long, env = "CHAT_NO_RATE_LIMITS", value_parser = BoolishValueParser::new())]
    pub no_rate_limits: bool,
}

fn sessions(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1: with none, nobody could log in".to_owned()),
        read => read.map_err(|error: ParseIntError| error.to_string()),
    }
}

fn at_least(text: &str, least: u32) -> Result<u32, String> {
    bytes(text).and_then(|size| if size < least { Err(format!("at least {least} bytes")) } else { Ok(size) })
}

fn outbox(text: &str) -> Result<u32, String> {
    at_least(text, LEAST_OUTBOX)
}

fn message(text: &str) -> Result<u32, String> {
    let most = || format!("at most {MAX_MESSAGE} bytes");
    at_least(text, LEAST_MESSAGE).and_then(|size| if size as usize > MAX_MESSAGE { Err(most()) } else { Ok(size) })
}

fn message_rate(text: &str) -> Result<Rate, String> {
    let slow = || "slower than one in 5s, clients would take the server for dead".to_owned();
    rate(text).and_then(|rate| if rate.interval() > SLOWEST_MESSAGES { Err(slow()) } else { Ok(rate) })
}

fn input_rate(text: &str) -> Result<Rate, String> {
    let slow = || "slower than 8 KiB a second, clients would take the server for dead".to_owned();
    byte_rate(text).and_then(|rate| if rate.interval() > SLOWEST_BYTES { Err(slow()) } else { Ok(rate) })
}

/// The limits of connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    /// Most connections.
    pub(super) connections: usize,
    /// Most of one network.
    pub(super) connections_per_network: usize,
    /// How long a handshake may take.
    pub(super) handshake: Duration,
    /// Most unsent bytes for one peer.
    pub(super) outbox: usize,
    /// Most unsent bytes for all peers together.
    pub(super) outboxes: usize,
    /// Longest message of the legacy wire, in bytes.
    pub(super) message: usize,
    /// Messages of one connection.
    pub(super) messages: Rate,
    /// Bytes of one connection.
    pub(super) bytes: Rate,
}

impl LimitOptions {
    /// Those of connections, of which the machine allows so many.
    pub(super) fn of_connections(&self, allowed: usize) -> ConnectionLimits {
        let wanted = self.max_connections.map_or(allowed, |wanted| wanted as usize);
        if wanted > allowed {
            warn!(
                wanted,
                allowed, "the system's limits allow fewer connections: raise those on open files and mappings"
            );
        }
        let connections = wanted.min(allowed);
        let connections_per_network = match self.max_connections_per_address {
            None => connections.div_ceil(2),
            Some(0) => connections,
            Some(wanted) => wanted as usize,
        };
        let rate = |rate| if self.no_rate_limits { Rate::NONE } else { rate };
        ConnectionLimits {
            connections,
            connections_per_network,
            handshake: self.handshake_timeout,
            outbox: self.outbox as usize,
            outboxes: self.outboxes as usize,
            message: self.max_message as usize,
            messages: rate(self.message_rate),
            bytes: rate(self.byte_rate),
        }
    }

    /// Those of people.
    pub(super) fn of_people(&self) -> chat::Limits {
        let time = |time: Duration| (!time.is_zero()).then_some(time);
        let mut limits = chat::Limits {
            accounts: self.max_accounts,
            rooms: self.max_rooms,
            rooms_per_user: self.max_rooms_per_user,
            sessions_per_user: self.max_sessions_per_user,
            registrations: self.registration_rate,
            creations: self.room_rate,
            guesses: chat::GuessRates::default(),
            login_time: time(self.login_timeout),
            idle_time: time(self.idle_timeout),
        };
        if self.no_rate_limits {
            warn!(
                "there are no rates (--no-rate-limits): passwords can be guessed without end, and nobody is slowed down"
            );
            limits.lift_rates();
        }
        limits
    }

    /// Who may make an account. Whoever has named a file of tokens takes accounts to need one: that is not passed over.
    pub(super) fn registration(&self) -> Result<Registration, ServerError> {
        let failed = |why: &str| Err(ServerError::RegistrationTokens(why.into()));
        match (self.registration, &self.registration_token_file) {
            (RegistrationPolicy::Token, Some(file)) => tokens(file).map(Registration::Token),
            (RegistrationPolicy::Token, None) => failed("name a file with --registration-token-file"),
            (_, Some(_)) => failed("a token file has an effect with --registration token alone"),
            (RegistrationPolicy::Open, None) => Ok(Registration::Open),
            (RegistrationPolicy::Closed, None) => Ok(Registration::Closed),
        }
    }
}

/// Warns of a file of secrets that others on this machine can read.
fn warn_if_open(file: &Path, metadata: &fs::Metadata) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o044 != 0 {
            let file = file.display();
            warn!("others on this machine can read {file} (mode {mode:04o}), which holds tokens: chmod 600 {file}");
        }
    }
    #[cfg(not(unix))]
    let _ = (file, metadata);
}

/// The tokens of a file, one a line. Nothing of them is said in an error.
fn tokens(file: &Path) -> Result<RegistrationTokens, ServerError> {
    let failed = |why: String| ServerError::RegistrationTokens(format!("{}: {why}", file.display()));
    let metadata = fs::metadata(file).map_err(|error| failed(error.to_string()))?;
    warn_if_open(file, &metadata);
    let size = metadata.len();
    if size > MOST_TOKENS {
        return Err(failed(format!("it has {size} bytes, and at most {MOST_TOKENS} are read")));
    }
    let text = Password::new(fs::read_to_string(file).map_err(|error| failed(error.to_string()))?);
    let lines = text.expose().lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let mut tokens = Vec::new();
    for (number, line) in lines {
        if !legacy::is_word(line) {
            return Err(failed(format!("line {} holds white space, so nobody could type it", number + 1)));
        }
        tokens.push(Password::new(line));
    }
    match tokens.is_empty() {
        true => Err(failed("it holds no token; write one word a line, or use --registration closed".into())),
        false => Ok(RegistrationTokens::new(&tokens)),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::server::options::CommandLine;

    fn read(arguments: &[&str]) -> Result<LimitOptions, String> {
        let arguments = std::iter::once("chat-server").chain(arguments.iter().copied());
        CommandLine::try_parse_from(arguments).map(|line| line.options.limits).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_hub() {
        assert_eq!(read(&[]).unwrap().of_people(), chat::Limits::default());
    }

    #[test]
    fn without_rates_the_sizes_stay() {
        let arguments = ["--max-rooms", "7", "--outbox", "1MiB", "--login-timeout", "5m"];
        let with = read(&arguments).unwrap();
        let without = LimitOptions { no_rate_limits: true, ..with.clone() };
        let (of_connections, lifted) = (with.of_connections(1000), without.of_connections(1000));
        assert_eq!((lifted.messages, lifted.bytes), (Rate::NONE, Rate::NONE));
        assert!(!of_connections.messages.is_none() && !of_connections.bytes.is_none());
        let sizes = |limits: ConnectionLimits| {
            (limits.connections, limits.connections_per_network, limits.outbox, limits.message)
        };
        assert_eq!(sizes(lifted), sizes(of_connections));
        assert_eq!(sizes(lifted), (1000, 500, 1 << 20, 1 << 20));
        let rates = |limits: &chat::Limits| (limits.registrations, limits.creations, limits.guesses.clone());
        let (people, lifted) = (with.of_people(), without.of_people());
        assert_eq!(rates(&lifted), (Rate::NONE, Rate::NONE, chat::GuessRates::NONE));
        let (registrations, creations, guesses) = rates(&people);
        assert_eq!(chat::Limits { registrations, creations, guesses, ..lifted }, people);
        assert_eq!((people.rooms, people.login_time), (7, Some(Duration::from_secs(300))));
    }

    #[test]
    fn connections_are_as_many_as_are_wanted_and_allowed() {
        let of = |arguments: &[&str]| {
            let limits = read(arguments).unwrap().of_connections(1001);
            (limits.connections, limits.connections_per_network)
        };
        assert_eq!(of(&[]), (1001, 501));
        assert_eq!(of(&["--max-connections", "10"]), (10, 5));
        assert_eq!(of(&["--max-connections", "5000"]), (1001, 501));
        assert_eq!(of(&["--max-connections-per-address", "0"]), (1001, 1001));
        assert_eq!(of(&["--max-connections-per-address", "3"]), (1001, 3));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (arguments, why) in [
            (&["--message-rate", "30"][..], "such as 100/10s"),
            (&["--message-rate", "1/10s"], "for dead"),
            (&["--byte-rate", "1KiB/1s"], "for dead"),
            (&["--byte-rate", "1KB/1s"], "such as 64KiB"),
            (&["--handshake-timeout", "0s"], "cannot be switched off"),
            (&["--login-timeout", "soon"], "such as 90s"),
            (&["--outbox", "1KiB"], "at least 262144 bytes"),
            (&["--max-message", "2MiB"], "at most 1048576 bytes"),
            (&["--max-connections", "0"], "not in 1.."),
            (&["--registration", "token"], "--registration-token-file"),
            (&["--registration-rate", "99999999999/1h"], "the number is too large: at most 4294967295"),
            (&["--registration-rate", "0/1h"], "needs a count of at least 1 and a time above 0"),
            (&["--max-sessions-per-user", "0"], "at least 1: with none, nobody could log in"),
            (&["--registration", "maybe"], "open, token, closed"),
        ] {
            let error = read(arguments).unwrap_err();
            assert!(error.contains(why), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn every_limit_is_listed_under_its_heading_and_has_a_variable() {
        for argument in CommandLine::command().get_arguments().filter(|a| a.get_help_heading() == Some("Limits")) {
            let long = argument.get_long().unwrap();
            let variable = format!("CHAT_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(argument.get_env().and_then(|env| env.to_str()), Some(&*variable));
        }
    }
}
