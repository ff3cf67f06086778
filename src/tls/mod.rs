//! Certificates, rustls configurations, verification of servers, and streams that keep record boundaries.

mod certificate;
mod config;
mod socket;
mod stream;
#[cfg(not(feature = "model"))] // over real sockets
#[cfg(test)]
pub(crate) mod tests;
mod verify;

pub use certificate::{CertificateError, ServerIdentity};
pub use config::{MODERN, Offer, client_config, server_config};
pub use stream::{Flush, Received, Sealer, Stream};
pub use verify::{Evidence, Judge, Roots};
