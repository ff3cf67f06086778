//! rustls configurations: TLS 1.3 and 1.2 with rustls's defaults.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::{CipherSuite, ClientConfig, ServerConfig};

use crate::tls::{CertificateError, Judge, Roots, ServerIdentity, verify};

/// The ALPN name of the modern wire. A legacy peer offers none.
pub const MODERN: &[u8] = b"secure-chat/1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The suites of the default provider, those first that cost the server least: with processors as they are, AES-128-GCM, also
/// for its SHA-256, which the key schedule of each handshake computes a few dozen times; ChaCha20 before AES-256.
///
/// Nothing is lost by it. The RFC rates AES-128-GCM and ChaCha20 a full 128 bits and more, which nobody searches; the key exchange and the certificate
/// (X25519 or ML-KEM-768 with it, P-256) claim no more than that, so AES-256 would be the one strong link of a chain. Grover's algorithm does
/// not halve it in practice: it cannot be spread over machines, and NIST takes AES-128 for its first post-quantum category.
/// What is said is encrypted end to end under this.
fn by_cost() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => 1,
        _ => 2,
    });
    provider
}

/// The server's configuration: no client certificates. A client that offers [`MODERN`] gets it, one that offers no ALPN is a
/// legacy one, and one that offers other protocols alone is refused with the alert `no_application_protocol`.
///
/// # Errors
/// [`CertificateError::Pair`] when certificate and key cannot be used together.
pub fn server_config(identity: &ServerIdentity) -> Result<Arc<ServerConfig>, CertificateError> {
    let refused = |error| CertificateError::Pair(identity.certificate_path().to_owned(), error);
    let mut config = ServerConfig::builder_with_provider(Arc::new(by_cost()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(refused)?;
    config.alpn_protocols = vec![MODERN.to_vec()];
    config.ignore_client_order = true; // clients name AES-256 first, by habit
    // No client of ours resumes a session, because that would skip its judge, and the Python scripts do not either: tickets would be
    // made, sent and kept for nothing.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// What a client offers by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// [`MODERN`]; a server that knows of none chooses nothing.
    Modern,
    /// Nothing, as a legacy peer.
    Nothing,
}

/// A client's configuration: `judge` decides, within the handshake, whether the server is trusted.
///
/// # Errors
/// What rustls reports about its own provider: none with the one that is built in.
pub fn client_config(roots: Roots, judge: Judge, offer: Offer) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = provider();
    let verifier = verify::JudgedVerifier::new(roots, judge, Arc::clone(&provider));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous() // the verifier is ours: it asks webpki, then the judge, and fails the handshake when that refuses
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled(); // a resumed session would skip the judge
    if offer == Offer::Modern {
        config.alpn_protocols = vec![MODERN.to_vec()];
    }
    Ok(Arc::new(config))
}
