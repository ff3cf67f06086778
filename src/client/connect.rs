//! The way to the server: name, TCP, TLS, trust.

use std::fs::File;
use std::io::{self, BufReader};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, RootCertStore};
use socket2::{SockRef, TcpKeepalive};

use crate::client::failure::Failure;
use crate::client::known_keys::Server;
use crate::client::options::Address;
use crate::client::trust::{self, Case, Choice, Met, Verdict};
use crate::client::wire::{Dialect, Wire};
use crate::crypto::Fingerprint;
use crate::names::Text;
use crate::tls::{Evidence, Offer, Roots, Stream, client_config};
use crate::transcript::Realm;

/// How long each of connecting and of the TLS handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the server may take nothing while there is something to send.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// From when on a silent connection is tested: a network that is gone says nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// What decides about trust, besides what the server shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expectation {
    /// What `known_keys` holds.
    pub known: Option<Server>,
    /// The key named with `--accept-server-key`.
    pub accepted_key: Option<Fingerprint>,
    /// The realm named with `--accept-realm`.
    pub accepted_realm: Option<Realm>,
    /// Whether `--allow-legacy` was said.
    pub allow_legacy: bool,
}

/// A connection to a server that may be spoken to: on the legacy wire at once, on the modern one once
/// [`trust::judge_hello`] has found its realm to be the right one.
pub struct Connected {
    /// The connection.
    pub stream: Stream,
    /// The wire that the server chose.
    pub wire: Wire,
    /// The fingerprint of the server's key.
    pub key: Fingerprint,
    /// What its certificate was worth: to be remembered before anything is sent, on the modern wire with the realm.
    pub met: Met,
}

/// Connects, offers the modern wire, and lets `expectation` decide within the handshake and after it, before anything is said.
///
/// # Errors
/// [`Failure`] says what went wrong on the way, and what to do.
pub fn connect(address: &Address, roots: Roots, expectation: Expectation) -> Result<Connected, Failure> {
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| Failure::usage(format!("{} is not the name of a host.", address.host)))?;
    let socket = reach(address)?;
    let decision: Arc<Mutex<Option<Verdict>>> = Arc::default();
    let judge = {
        let (decision, address) = (Arc::clone(&decision), address.to_string());
        Box::new(move |evidence: &Evidence| {
            let verdict = decide(&address, &expectation, evidence);
            let refused = if let Verdict::Untrusted(why) = &verdict { Err(why.clone()) } else { Ok(()) };
            *decision.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
            refused
        })
    };
    let config = client_config(roots, judge, Offer::Modern).map_err(Failure::unexpected)?;
    let mut tls = ClientConnection::new(config, name).map_err(Failure::unexpected)?;
    let shaken = shake_hands(address, &socket, &mut tls);
    let decision = decision.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (shaken, decision) {
        (_, Some(Verdict::Untrusted(why))) => Err(Failure::untrusted(why)),
        (Err(failure), _) => Err(failure),
        (Ok(()), Some(verdict)) => {
            prepare(&socket).map_err(Failure::network)?;
            choose(address, Stream::new(socket, tls.into()), &expectation, verdict)
        }
        (Ok(()), None) => Err(Failure::unexpected("The server's key was not looked at.")),
    }
}

fn decide(address: &str, expectation: &Expectation, evidence: &Evidence) -> Verdict {
    let shown = Fingerprint::of(&evidence.spki);
    let Expectation { known, accepted_key: accepted, .. } = *expectation;
    trust::judge(&Case { address, known, accepted, shown, authority: &evidence.authority })
}

/// Takes the wire that the server chose, if it may.
fn choose(
    address: &Address,
    stream: Stream,
    expectation: &Expectation,
    verdict: Verdict,
) -> Result<Connected, Failure> {
    // rustls takes no protocol that was not offered.
    let chosen = if stream.alpn().is_some() { Dialect::Modern } else { Dialect::Legacy };
    let choice = Choice {
        address: &address.to_string(),
        chosen,
        accepted: expectation.accepted_realm,
        allow_legacy: expectation.allow_legacy,
    };
    let met = trust::judge_wire(&choice, verdict).map_err(Failure::untrusted)?;
    let wire = match chosen {
        Dialect::Legacy => Wire::Legacy,
        Dialect::Modern => Wire::Modern { exporter: stream.exporter().map_err(|error| weak(address, &error))? },
    };
    Ok(Connected { stream, wire, key: met.server.key, met })
}

fn weak(address: &Address, error: &io::Error) -> Failure {
    Failure::network(format!(
        "{address} speaks the modern wire over a TLS on which it cannot prove its realm: {error}."
    ))
}

fn reach(address: &Address) -> Result<TcpStream, Failure> {
    let found = (address.host.as_str(), address.port).to_socket_addrs().map_err(|error| {
        Failure::network(format!(
            "{} cannot be found: {error}. Is the name right, and the network there?",
            address.host
        ))
    })?;
    let mut last = None;
    for candidate in found {
        match TcpStream::connect_timeout(&candidate, PATIENCE) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    let why = match last {
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
        Some(error) => error.to_string(),
        None => "the name has no address".to_owned(),
    };
    Err(Failure::network(format!("{address} cannot be reached: {why}. Does the server run, and is the port right?")))
}

fn shake_hands(address: &Address, socket: &TcpStream, tls: &mut ClientConnection) -> Result<(), Failure> {
    let lost = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Failure::network(format!("{address} does not answer. Is it a chat server?"))
        }
        // The server says nothing before it speaks TLS, and does not speak TLS with whom it has no place for.
        _ => Failure::network(format!(
            "{address} ended the TLS handshake ({error}); the server may be full, or take no more connections from your \
             address. Is it a chat server?"
        )),
    };
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(lost(io::ErrorKind::TimedOut.into()));
        }
        if tls.wants_write() {
            socket.set_write_timeout(Some(left)).map_err(lost)?;
            tls.write_tls(&mut &*socket).map_err(lost)?;
        } else if tls.is_handshaking() {
            socket.set_read_timeout(Some(left)).map_err(lost)?;
            match tls.read_tls(&mut &*socket) {
                Ok(0) => return Err(lost(io::ErrorKind::UnexpectedEof.into())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => drop(read.map_err(lost)?),
            }
            tls.process_new_packets().map_err(|error| {
                let _ = tls.write_tls(&mut &*socket); // the alert, if it can still be sent
                refused(address, &error)
            })?;
        } else {
            return Ok(());
        }
    }
}

fn refused(address: &Address, error: &rustls::Error) -> Failure {
    match error {
        rustls::Error::InvalidMessage(_) => {
            Failure::network(format!("{address} does not speak TLS. Is it a chat server, and the port right?"))
        }
        // The error may quote names from the certificate.
        error => Failure::network(format!(
            "The TLS handshake with {address} failed: {}.",
            Text::sanitize(&error.to_string())
        )),
    }
}

/// From now on reads wait as long as it takes.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))
}

/// The system's roots, less those that are no good, and the certificates of `--ca`.
///
/// # Errors
/// When the file cannot be read or holds no certificate.
pub fn roots(ca: Option<&Path>) -> Result<Roots, Failure> {
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let Some(path) = ca else { return Ok(Roots { authorities, exact: Vec::new() }) };
    let unusable = |why: &dyn std::fmt::Display| Failure::usage(format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| unusable(&error))?;
    let exact: Vec<_> =
        rustls_pemfile::certs(&mut BufReader::new(file)).collect::<Result<_, _>>().map_err(|error| unusable(&error))?;
    if exact.is_empty() {
        return Err(unusable(&"it holds no certificate in PEM"));
    }
    authorities.add_parsable_certificates(exact.iter().cloned());
    Ok(Roots { authorities, exact })
}
