//! rustls configurations: TLS 1.3 and 1.2 with rustls's defaults.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, ServerConfig};

use crate::tls::{CertificateError, Judge, Roots, ServerIdentity, verify};

/// The ALPN name of the modern wire. A legacy peer offers none.
pub const MODERN: &[u8] = b"secure-chat/1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The server's configuration: no client certificates. A client that offers [`MODERN`] gets it, one that offers no ALPN is a
/// legacy one, and one that offers other protocols alone is refused with the alert `no_application_protocol`.
///
/// # Errors
/// [`CertificateError::Pair`] when certificate and key cannot be used together.
pub fn server_config(identity: &ServerIdentity) -> Result<Arc<ServerConfig>, CertificateError> {
    let refused = |error| CertificateError::Pair(identity.certificate_path().to_owned(), error);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(refused)?;
    config.alpn_protocols = vec![MODERN.to_vec()];
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
