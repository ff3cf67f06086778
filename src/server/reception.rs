//! What becomes of a connection whose handshake is finished.

use std::net::SocketAddr;

use tracing::warn;

use crate::chat::SessionId;
use crate::server::connection::{self, Services};
use crate::server::link::{Dispatch, Link, STACK};
use crate::server::seats::Place;
use crate::server::sync::{Arc, AtomicUsize, Builder, Ordering, Presence};
use crate::tls::Stream;

/// What a finished handshake needs to become a connection.
#[derive(Clone)]
pub(super) struct Reception {
    pub(super) services: Arc<Services>,
    pub(super) presence: Presence,
    pub(super) next_session: Arc<AtomicUsize>,
    pub(super) dispatch: Arc<Dispatch>,
}

impl Reception {
    /// Gives a stream its session and its thread, which keeps the place until it ends.
    pub(super) fn receive(&self, stream: Stream, peer: SocketAddr, place: Place) {
        let session = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed) as u64);
        let (presence, dispatch) = (self.presence.clone(), Arc::clone(&self.dispatch));
        let link = Arc::new(Link::new(session, peer, stream, dispatch, presence));
        if !connection::greet(&link, &self.services) {
            return;
        }
        let (services, presence) = (Arc::clone(&self.services), self.presence.clone());
        let serve = move || {
            connection::serve(link, services);
            drop((place, presence));
        };
        let thread = Builder::new().name(format!("session-{session}")).stack_size(STACK).spawn(serve);
        if let Err(error) = thread {
            warn!(%peer, %error, "turned away: no thread for it");
        }
    }
}
