//! The way to a server of the modern wire whose realm is the right one: at the start, and whenever the connection was lost.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::connect::{Connected, Expectation, connect};
use crate::client::failure::Failure;
use crate::client::known_keys::Server;
use crate::client::options::Address;
use crate::client::reader::Lines;
use crate::client::trust::{self, Met};
use crate::client::wire::Wire;
use crate::protocol::Line;
use crate::protocol::modern::{FromServer, Hello, decode_server};
use crate::tls::{Roots, Stream};
use crate::transcript::Realm;

/// How long the server may take for its hello.
const HELLO: Duration = Duration::from_secs(10);

/// A connection on the modern wire to a server whose realm is the right one.
pub struct Greeted {
    /// The connection.
    pub stream: Arc<Stream>,
    /// What this connection has and no other.
    pub exporter: [u8; 32],
    /// The server's first line, without its end.
    pub hello: Vec<u8>,
    /// Its other lines.
    pub lines: Lines,
    /// The realm.
    pub realm: Realm,
    /// The server as it is to be remembered, before anything is sent.
    pub met: Met,
}

/// Hears who the server is, and decides whether to believe it.
///
/// # Errors
/// [`Failure`] when it says nothing of the kind, and when it is not the one that it should be.
pub fn greet(
    address: &Address,
    accepted: Option<Realm>,
    connected: Connected,
    exporter: [u8; 32],
) -> Result<Greeted, Failure> {
    let stream = Arc::new(connected.stream);
    let mut lines = Lines::new(Arc::clone(&stream));
    let hello = match lines.next(Some(Instant::now() + HELLO)) {
        Ok(Some(Line::Whole(line))) => line,
        Ok(Some(Line::TooLong)) => return Err(mute(address, "its first line is too long")),
        Ok(None) => return Err(mute(address, "it closed the connection")),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            return Err(mute(address, "it says nothing"));
        }
        Err(error) => return Err(mute(address, &error.to_string())),
    };
    let Ok(FromServer::Hello(Hello { realm, signature, .. })) = decode_server(&hello, |_| None) else {
        return Err(mute(address, "its first line is not a hello of secure-chat/1"));
    };
    let met = trust::judge_hello(&trust::Hello {
        address: &address.to_string(),
        met: &connected.met,
        accepted,
        exporter: &exporter,
        realm,
        signature: &signature,
    });
    let met = met.map_err(Failure::untrusted)?;
    Ok(Greeted { stream, exporter, hello: hello.into_owned(), lines, realm, met })
}

fn mute(address: &Address, why: &str) -> Failure {
    Failure::network(format!("{address} does not say who it is: {why}."))
}

/// How to connect again.
#[derive(Clone)]
pub struct Dialer {
    /// The server's address.
    pub address: Address,
    /// Who may vouch for it.
    pub roots: Roots,
    /// What it is known as.
    pub server: Server,
}

impl Dialer {
    /// Connects to the server that is known by now: with the realm that it has, and on the modern wire alone.
    ///
    /// # Errors
    /// As [`connect`] and [`greet`].
    pub fn dial(self) -> Result<Greeted, Failure> {
        let Self { address, roots, server } = self;
        let expectation = Expectation { known: Some(server), ..Expectation::default() };
        let connected = connect(&address, roots, expectation)?;
        match connected.wire {
            Wire::Modern { exporter } => greet(&address, None, connected, exporter),
            // The realm is known: that was refused as a downgrade.
            Wire::Legacy => Err(Failure::unexpected(format!("{address} speaks another wire than before."))),
        }
    }
}
