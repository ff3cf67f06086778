//! Verification of a server by a client: what webpki found goes, as evidence, to a judge who knows the pins.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The certificates that may vouch for a server.
#[derive(Debug, Clone)]
pub struct Roots {
    /// The system's, and those that the person named.
    pub authorities: RootCertStore,
    /// Certificates that are accepted when the server shows exactly them: webpki refuses a self-signed CA certificate as a
    /// server's own, and the scripts' openssl line makes just that.
    pub exact: Vec<CertificateDer<'static>>,
}

/// What is known of the server that is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The SubjectPublicKeyInfo of its certificate, in DER. That it holds the private key is proved by the handshake.
    pub spki: Vec<u8>,
    /// Whether the certificate chains to a root and bears the host's name, or why not, in words.
    pub authority: Result<(), String>,
}

/// Decides whether the server is trusted; an error ends the handshake before anything is said.
pub type Judge = Box<dyn Fn(&Evidence) -> Result<(), String> + Send + Sync>;

pub(super) struct JudgedVerifier {
    webpki: Option<Arc<WebPkiServerVerifier>>,
    exact: Vec<CertificateDer<'static>>,
    judge: Judge,
    provider: Arc<CryptoProvider>,
}

impl JudgedVerifier {
    pub(super) fn new(roots: Roots, judge: Judge, provider: Arc<CryptoProvider>) -> Self {
        // webpki needs a root at least: without one, nothing is vouched for.
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.authorities), Arc::clone(&provider));
        Self { webpki: builder.build().ok(), exact: roots.exact, judge, provider }
    }
}

impl fmt::Debug for JudgedVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JudgedVerifier")
    }
}

impl ServerCertVerifier for JudgedVerifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let spki = ParsedCertificate::try_from(own)?.subject_public_key_info().as_ref().to_vec();
        let authority = if self.exact.iter().any(|exact| exact == own) {
            Ok(())
        } else {
            match &self.webpki {
                Some(webpki) => webpki.verify_server_cert(own, intermediates, name, ocsp, now).map(|_| ()),
                None => Err(CertificateError::UnknownIssuer.into()),
            }
        };
        let evidence = Evidence { spki, authority: authority.map_err(|error| error.to_string()) };
        match (self.judge)(&evidence) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
