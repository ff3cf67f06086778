//! What becomes of a connection whose handshake is finished. Its thread is made by one of the reception, since threads inherit the
//! priority of whoever makes them, and handshakes have a low one.

use std::net::SocketAddr;

use tracing::warn;

use crate::chat::SessionId;
use crate::server::connection::{self, Services};
use crate::server::link::{Dispatch, Link, STACK};
use crate::server::seats::Place;
use crate::server::sync::{Arc, Builder, Presence, Receiver};
use crate::tls::Stream;

/// Whose handshake is finished.
pub(super) struct Arrival {
    pub(super) stream: Stream,
    pub(super) peer: SocketAddr,
    pub(super) place: Place,
}

/// What a finished handshake needs to become a connection.
pub(super) struct Reception {
    pub(super) services: Arc<Services>,
    pub(super) presence: Presence,
    pub(super) next_session: u64,
    pub(super) dispatch: Arc<Dispatch>,
}

impl Reception {
    /// Receives all who come, until nobody can come any more.
    pub(super) fn run(mut self, arrivals: &Receiver<Arrival>) {
        arrivals.iter().for_each(|arrival| self.receive(arrival));
    }

    /// Gives a stream its session and its thread, which keeps the place until it ends.
    fn receive(&mut self, Arrival { stream, peer, place }: Arrival) {
        let session = SessionId(self.next_session);
        self.next_session += 1;
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
