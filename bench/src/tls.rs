//! The clients' TLS: as the project's own client has it, but trusting the server that was just started.

use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use secure_chat::tls::{Offer, Roots, client_config};

use crate::target::{Target, WireKind};

/// No session is resumed: each handshake is a full one.
pub(crate) fn config(target: Target) -> Result<Arc<ClientConfig>> {
    let roots = Roots { authorities: RootCertStore::empty(), exact: Vec::new() };
    let offer = if target.wire() == WireKind::Modern { Offer::Modern } else { Offer::Nothing };
    client_config(roots, Box::new(|_| Ok(())), offer).context("TLS cannot be set up")
}

pub(crate) fn connection(config: &Arc<ClientConfig>) -> Result<ClientConnection> {
    let name = ServerName::try_from("localhost").context("localhost is no name for TLS")?;
    let mut tls = ClientConnection::new(Arc::clone(config), name).context("TLS cannot be set up")?;
    tls.set_buffer_limit(None); // with the default a write may be short
    Ok(tls)
}

/// The version and the cipher that were agreed on.
pub(crate) fn agreed(tls: &ClientConnection) -> String {
    let group = tls.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
    let suite = tls.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    format!("{} {}", suite.unwrap_or_default(), group.unwrap_or_default())
}
