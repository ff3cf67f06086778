//! The server's side of one connection, for those who write to it: they never wait.

use std::io;
use std::net::SocketAddr;

use tracing::{debug, info, warn};

use crate::chat::{Quota, SessionId, Usage};
use crate::protocol::modern::{self, ByeReason};
use crate::protocol::{Reply, ServerMessage, legacy};
use crate::server::seats::Hall;
use crate::server::sync::{Arc, AtomicBool, Builder, Ordering, Presence};
use crate::tls::{self, Flush, Sealer, Stream};

/// Stack of a thread that serves one connection, in bytes. A TLS handshake fits into it with room to spare.
pub(super) const STACK: usize = 128 * 1024;

/// What all links need.
pub(super) struct Dispatch {
    /// Most unsent bytes before a peer is given up.
    pub(super) outbox: usize,
    /// Unsent bytes of all peers.
    pub(super) outboxes: Arc<Quota>,
    /// Places for threads that drain full sockets.
    pub(super) drains: Arc<Hall>,
}

/// A connection as the broker sees it.
pub(super) struct Link {
    pub(super) session: SessionId,
    pub(super) peer: SocketAddr,
    pub(super) stream: Stream,
    dispatch: Arc<Dispatch>,
    /// Unsent bytes, as they were last looked at.
    unsent: Usage,
    /// Set once nothing more will be queued: whoever sends the last byte ends the connection.
    closing: AtomicBool,
    presence: Presence,
}

impl Link {
    pub(super) fn new(
        session: SessionId,
        peer: SocketAddr,
        stream: Stream,
        dispatch: Arc<Dispatch>,
        presence: Presence,
    ) -> Self {
        let unsent = Usage::of(&dispatch.outboxes);
        Self { session, peer, stream, dispatch, unsent, closing: AtomicBool::new(false), presence }
    }

    /// Sends what is queued, as far as the socket takes it; a full socket gets a thread of its own until it is empty.
    pub(super) fn flush(self: &Arc<Self>) {
        self.send(&mut Vec::new(), |_| {});
    }

    /// The same, with what `seal` adds behind it.
    pub(super) fn send(self: &Arc<Self>, scratch: &mut Vec<u8>, seal: impl FnOnce(&mut Sealer<'_>)) {
        match self.stream.send(scratch, seal) {
            Ok(Flush::Done) => return self.unsent.set(0),
            Ok(Flush::Full) => self.drain_apart(),
            Ok(Flush::Draining) => {}
            Err(error) => return self.give_up(&error),
        }
        let unsent = self.stream.pending();
        self.unsent.set(unsent);
        if unsent > self.dispatch.outbox && !self.closing.swap(true, Ordering::SeqCst) {
            warn!(session = %self.session, peer = %self.peer, unsent, "dropped: it does not read what it is sent");
            // For a peer that does read again, while what it was sent can still be had.
            self.say_why(Reply::TooSlow, ByeReason::TooSlow);
            self.stream.queue_close();
            self.stream.hear_no_more(); // so its session ends now, and whoever drains the socket has some time left
        }
    }

    /// Unsent bytes, as they were last looked at.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.bytes()
    }

    /// Ends the connection and forgets what is unsent: all peers together have too much of it, and this one the most.
    pub(super) fn cut_off(&self) {
        let unsent = self.unsent();
        warn!(session = %self.session, peer = %self.peer, unsent, "cut off: all outboxes together are full, and its is the fullest");
        self.closing.store(true, Ordering::SeqCst);
        self.forget();
    }

    /// Ends the connection with whatever is unsent.
    fn forget(&self) {
        self.stream.discard();
        self.unsent.set(0);
        self.stream.shutdown();
    }

    /// Queues why the connection ends, in the words of its wire.
    fn say_why(&self, reply: Reply, reason: ByeReason) {
        if self.stream.alpn().as_deref() == Some(tls::MODERN) {
            let mut line = Vec::new();
            modern::encode_event(&modern::Event::bye(reason), &mut line);
            self.stream.queue(&line);
        } else {
            let words = legacy::encode_server(&ServerMessage::Reply(reply));
            words.records_for(None, &mut Vec::new(), |record| self.stream.queue(record));
        }
    }

    /// Queues that the server ends, for one who came while it did.
    pub(super) fn say_goodbye(&self) {
        self.say_why(Reply::ShuttingDown, ByeReason::ShuttingDown);
    }

    /// Ends the connection of one who did not log in: others want its place.
    pub(super) fn send_away(self: &Arc<Self>) {
        info!(session = %self.session, peer = %self.peer, "sent away: places are scarce, and nobody logged in at it for longest");
        self.say_why(Reply::LoginTimeout, ByeReason::LoginTimeout);
        self.close();
    }

    /// Whether the connection ends: nothing that the peer says counts any more.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Whether nobody waits for an answer any more.
    pub(super) fn is_deserted(&self) -> bool {
        self.is_closing() || self.stream.has_left()
    }

    /// Queues the end, and ends the connection when everything queued is sent.
    pub(super) fn close(self: &Arc<Self>) {
        self.stream.queue_close();
        self.closing.store(true, Ordering::SeqCst);
        match self.stream.flush() {
            Ok(Flush::Done) => self.stream.shutdown(),
            Ok(Flush::Full) => self.drain_apart(),
            Ok(Flush::Draining) => {} // the drain ends it: it looks at `closing` when it has sent everything
            Err(error) => self.give_up(&error),
        }
    }

    fn drain_apart(self: &Arc<Self>) {
        let Ok(place) = self.dispatch.drains.enter(self.peer.ip()) else {
            return self.give_up(&io::Error::other("too many others are slow as well"));
        };
        let link = Arc::clone(self);
        let presence = self.presence.clone();
        let drain = move || {
            link.drain();
            drop((place, presence));
        };
        let thread = Builder::new().name(format!("drain-{}", self.session)).stack_size(STACK).spawn(drain);
        if let Err(error) = thread {
            self.give_up(&error);
        }
    }

    fn drain(self: &Arc<Self>) {
        match self.stream.drain() {
            // What was queued since is another drain's to send, and then the end is, too.
            Ok(()) if self.is_closing() && self.stream.pending() == 0 => self.stream.shutdown(),
            Ok(()) => {}
            Err(error) => return self.give_up(&error),
        }
        self.unsent.set(self.stream.pending());
    }

    fn give_up(&self, error: &io::Error) {
        debug!(session = %self.session, peer = %self.peer, %error, "dropped: it cannot be sent to");
        self.forget();
    }
}
