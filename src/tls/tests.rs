//! Which wire a handshake leads to, and what ties a signature to its connection.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection,
};

use super::*;

/// A server with a certificate of its own.
pub(crate) fn server() -> Arc<ServerConfig> {
    let dir = tempfile::tempdir().unwrap();
    let identity = ServerIdentity::generate(&dir.path().join("crt"), &dir.path().join("key")).unwrap();
    server_config(&identity).unwrap()
}

/// A client that trusts anybody and offers these protocols.
pub(crate) fn client(offers: &[&[u8]]) -> ClientConfig {
    let roots = Roots { authorities: RootCertStore::empty(), exact: Vec::new() };
    let mut config = ClientConfig::clone(&client_config(roots, Box::new(|_| Ok(())), Offer::Nothing).unwrap());
    config.alpn_protocols = offers.iter().map(|name| name.to_vec()).collect();
    config
}

/// The two ends after a handshake over a real socket.
pub(crate) fn connect(server: &Arc<ServerConfig>, client: ClientConfig) -> (Stream, Result<Stream, Error>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Arc::clone(server);
    let at_server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(server).unwrap();
        while tls.is_handshaking() && tls.complete_io(&mut socket).is_ok() {}
        Stream::new(socket, tls.into())
    });
    let mut socket = TcpStream::connect(address).unwrap();
    let mut tls = ClientConnection::new(client.into(), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut shaken = Ok(());
    while shaken.is_ok() && tls.is_handshaking() {
        shaken = tls.complete_io(&mut socket).map(|_| ()).map_err(|error| error.downcast::<Error>().unwrap());
    }
    (at_server.join().unwrap(), shaken.map(|()| Stream::new(socket, tls.into())))
}

#[test]
fn the_clients_offer_decides_the_wire() {
    let server = server();
    for (offers, wire) in [(&[][..], None), (&[MODERN][..], Some(MODERN)), (&[&b"h2"[..], MODERN][..], Some(MODERN))] {
        let (at_server, at_client) = connect(&server, client(offers));
        assert_eq!(at_server.alpn().as_deref(), wire);
        assert_eq!(at_client.unwrap().alpn().as_deref(), wire);
    }
}

#[test]
fn a_client_of_other_protocols_alone_is_refused_with_the_alert_for_it() {
    for other in ["http/1.1", "secure-chat/2", "secure-chat/11"] {
        let (_, refused) = connect(&server(), client(&[other.as_bytes()]));
        assert_eq!(refused.err(), Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)), "{other}");
    }
}

#[test]
fn the_server_chooses_the_suite_that_costs_least_whatever_the_client_names_first() {
    let (identity, client) = (server(), client(&[]));
    let mut tls = (
        ClientConnection::new(client.into(), ServerName::try_from("localhost").unwrap()).unwrap(),
        ServerConnection::new(identity).unwrap(),
    );
    while tls.0.is_handshaking() || tls.1.is_handshaking() {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        while tls.0.wants_write() {
            tls.0.write_tls(&mut to_server).unwrap();
        }
        tls.1.read_tls(&mut to_server.as_slice()).unwrap();
        tls.1.process_new_packets().unwrap();
        while tls.1.wants_write() {
            tls.1.write_tls(&mut to_client).unwrap();
        }
        let mut rest = to_client.as_slice();
        while !rest.is_empty() {
            tls.0.read_tls(&mut rest).unwrap();
            tls.0.process_new_packets().unwrap();
        }
    }
    assert_eq!(tls.1.negotiated_cipher_suite().unwrap().suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[test]
fn both_ends_of_a_connection_share_a_secret_that_no_other_has() {
    let server = server();
    let secrets: Vec<[u8; 32]> = (0..3)
        .map(|_| {
            let (at_server, at_client) = connect(&server, client(&[MODERN]));
            let secret = at_server.exporter().unwrap();
            assert_eq!(at_client.unwrap().exporter().unwrap(), secret);
            secret
        })
        .collect();
    assert!(secrets[0] != secrets[1] && secrets[1] != secrets[2] && secrets[0] != secrets[2]);
}

#[test]
fn below_tls_1_3_no_such_secret_is_given() {
    let provider = Arc::clone(client(&[]).crypto_provider());
    let old = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let mut old = old.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    old.dangerous().set_certificate_verifier(Arc::new(verify::JudgedVerifier::new(
        Roots { authorities: RootCertStore::empty(), exact: Vec::new() },
        Box::new(|_| Ok(())),
        Arc::clone(client(&[]).crypto_provider()),
    )));
    let (at_server, at_client) = connect(&server(), old);
    assert_eq!(at_server.exporter().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    assert_eq!(at_client.unwrap().exporter().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
}
