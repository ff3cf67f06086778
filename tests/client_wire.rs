//! Which wire the client and a server agree on, and what ties a realm to their connection.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use secure_chat::client::connect::{Connected, Expectation, connect};
use secure_chat::client::failure::{Exit, Failure};
use secure_chat::client::known_keys::{Server, Vouched};
use secure_chat::client::trust::{Hello, Met, judge_hello};
use secure_chat::client::wire::Wire;
use secure_chat::crypto::{Fingerprint, SigningKey};
use secure_chat::tls::{MODERN, Received, Roots, ServerIdentity, Stream, server_config};
use secure_chat::transcript::{self, Realm, Signature};

/// A server that takes one connection, knows these protocols, and hears until the client goes.
struct Fake {
    address: SocketAddr,
    key: Fingerprint,
    thread: JoinHandle<Heard>,
}

/// What a server saw of a connection.
#[derive(Default)]
struct Heard {
    exporter: Option<[u8; 32]>,
    bytes: usize,
}

impl Fake {
    fn start(protocols: &[&[u8]], version: &'static SupportedProtocolVersion) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = ServerIdentity::generate(&dir.path().join("crt"), &dir.path().join("key")).unwrap();
        let provider = Arc::clone(server_config(&identity).unwrap().crypto_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let builder = builder.with_no_client_auth();
        let mut config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key()).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
            while tls.is_handshaking() {
                if tls.complete_io(&mut socket).is_err() {
                    return Heard::default(); // the client has refused
                }
            }
            socket.set_read_timeout(Some(common::PATIENCE)).unwrap();
            hear(&Stream::new(socket, tls.into()))
        });
        Self { address, key: Fingerprint::of(&identity.spki().unwrap()), thread }
    }

    fn is_met(&self, expectation: Expectation) -> Result<Connected, Failure> {
        let roots = Roots { authorities: RootCertStore::empty(), exact: Vec::new() };
        connect(&self.address.to_string().parse().unwrap(), roots, expectation)
    }

    fn known(key: Fingerprint, realm: Option<Realm>) -> Expectation {
        Expectation { known: Some(Server { by: Vouched::Pinned, key, realm }), ..Expectation::default() }
    }
}

fn hear(stream: &Stream) -> Heard {
    let mut heard = Heard { exporter: stream.exporter().ok(), bytes: 0 };
    let (mut records, mut buffer) = (Vec::new(), [0; 1000]);
    let mut received = Ok(stream.take_buffered(&mut records));
    while let Ok(Received::Open) = received {
        received = stream.read(&mut buffer, &mut records);
    }
    heard.bytes = records.iter().map(Vec::len).sum();
    heard
}

fn exporter(connected: &Connected) -> [u8; 32] {
    match connected.wire {
        Wire::Modern { exporter } => exporter,
        Wire::Legacy => panic!("the old wire"),
    }
}

fn failure(met: Result<Connected, Failure>) -> Failure {
    match met {
        Err(failure) => failure,
        Ok(_) => panic!("it was trusted"),
    }
}

use rustls::version::{TLS12, TLS13};

#[test]
fn the_modern_wire_is_offered_and_the_server_chooses() {
    for (protocols, is_modern) in [(&[MODERN][..], true), (&[b"h2", MODERN], true), (&[], false)] {
        let server = Fake::start(protocols, &TLS13);
        let connected = server.is_met(Expectation::default()).map_err(|failure| failure.words).unwrap();
        assert_eq!(connected.key, server.key);
        assert_eq!(connected.met.server, Server { by: Vouched::Pinned, key: server.key, realm: None });
        assert_eq!(connected.wire != Wire::Legacy, is_modern);
        let of_client = is_modern.then(|| exporter(&connected));
        drop(connected);
        let heard = server.thread.join().unwrap();
        if is_modern {
            assert_eq!(heard.exporter, of_client, "both ends have it");
        }
    }
}

#[test]
fn a_server_of_a_known_realm_that_chooses_the_old_wire_hears_nothing() {
    let server = Fake::start(&[], &TLS13);
    let refused = failure(server.is_met(Fake::known(server.key, Some(Realm([7; 32])))));
    assert_eq!(refused.exit, Exit::Untrusted);
    assert!(refused.words.contains("--allow-legacy"), "{}", refused.words);
    assert_eq!(server.thread.join().unwrap().bytes, 0);
    let server = Fake::start(&[], &TLS13);
    let allowed = Expectation { allow_legacy: true, ..Fake::known(server.key, Some(Realm([7; 32]))) };
    assert!(server.is_met(allowed).is_ok_and(|connected| connected.wire == Wire::Legacy));
}

#[test]
fn a_renewed_certificate_is_up_to_the_realm_and_without_a_realm_it_is_refused() {
    let renewed = Fingerprint::of(b"the key of the last certificate");
    let server = Fake::start(&[MODERN], &TLS13);
    let connected = server.is_met(Fake::known(renewed, Some(Realm([7; 32])))).map_err(|failure| failure.words).unwrap();
    assert_eq!(connected.met.server, Server { by: Vouched::Pinned, key: server.key, realm: Some(Realm([7; 32])) });
    let server = Fake::start(&[MODERN], &TLS13);
    let refused = failure(server.is_met(Fake::known(renewed, None)));
    assert_eq!(refused.exit, Exit::Untrusted);
    assert!(refused.words.contains("--accept-server-key"), "{}", refused.words);
}

#[test]
fn the_modern_wire_needs_a_tls_on_which_a_realm_can_be_proved() {
    let server = Fake::start(&[MODERN], &TLS12);
    assert_eq!(failure(server.is_met(Expectation::default())).exit, Exit::Network);
    assert_eq!(server.thread.join().unwrap().bytes, 0);
    let old = Fake::start(&[], &TLS12);
    assert!(old.is_met(Expectation::default()).is_ok_and(|connected| connected.wire == Wire::Legacy));
}

/// Somebody in between has two connections; what the server signed for one is worth nothing on the other.
#[test]
fn a_hello_that_is_passed_on_by_somebody_in_between_proves_nothing() {
    let realm_key = SigningKey::from_seed(&[1; 32]);
    let (honest, between) = (Fake::start(&[MODERN], &TLS13), Fake::start(&[MODERN], &TLS13));
    let to_honest = honest.is_met(Expectation::default()).map_err(|failure| failure.words).unwrap();
    let to_between = between.is_met(Expectation::default()).map_err(|failure| failure.words).unwrap();
    let signature = realm_key.sign(&transcript::hello(&exporter(&to_honest)));
    let judged = |connected: &Connected, signature: &Signature| -> Result<Met, String> {
        judge_hello(&Hello {
            address: "chat:1",
            met: &connected.met,
            accepted: None,
            exporter: &exporter(connected),
            realm: realm_key.verifying_key().realm(),
            signature,
        })
    };
    assert_eq!(judged(&to_honest, &signature).unwrap().server.realm, Some(realm_key.verifying_key().realm()));
    assert!(judged(&to_between, &signature).is_err());
}

#[test]
fn a_realm_that_is_expected_is_not_done_without() {
    let server = Fake::start(&[], &TLS13);
    let expectation = Expectation { accepted_realm: Some(Realm([7; 32])), ..Expectation::default() };
    let refused = failure(server.is_met(expectation));
    assert_eq!(refused.exit, Exit::Untrusted);
    assert_eq!(server.thread.join().unwrap().bytes, 0);
}
