//! The listener: accepts connections and passes them on to the handshakes. It does nothing that a peer could delay.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

use crate::server::guests::Guests;
use crate::server::handshake::Handshakes;
use crate::server::seats::{Hall, NoPlace};
use crate::server::seldom::Seldom;
use crate::server::sync::{Arc, AtomicBool, Ordering};

const ACCEPT: Token = Token(0);
const WAKE: Token = Token(1);

/// Connections that the kernel holds for us while we do not get to them.
const BACKLOG: i32 = 1024;

/// How long to wait when descriptors or memory have run out.
const BREATHER: Duration = Duration::from_millis(100);

/// Takes an address, at which nobody is let in yet. An IPv6 wildcard takes IPv4 too.
///
/// # Errors
/// What the operating system says, as when the address is in use.
pub(super) fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    #[cfg(unix)] // elsewhere it would let a second server take the same port
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Begins to listen: from now on the kernel lets connections in.
///
/// # Errors
/// What the operating system says, as when another took the address, too, and listens already.
pub(super) fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The listener's state.
pub(super) struct Listener {
    poll: Poll,
    socket: mio::net::TcpListener,
    handshakes: Handshakes,
    hall: Arc<Hall>,
    guests: Arc<Guests>,
    full: Seldom,
    share: Seldom,
    stopped: Arc<AtomicBool>,
}

/// Ends a listener from another thread.
pub(super) struct Stopper {
    waker: Waker,
    stopped: Arc<AtomicBool>,
}

impl Stopper {
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Err(error) = self.waker.wake() {
            warn!(%error, "the listener could not be woken");
        }
    }
}

impl Listener {
    pub(super) fn new(
        socket: TcpListener,
        handshakes: Handshakes,
        hall: Arc<Hall>,
        guests: Arc<Guests>,
    ) -> io::Result<(Self, Stopper)> {
        socket.set_nonblocking(true)?;
        let poll = Poll::new()?;
        let mut socket = mio::net::TcpListener::from_std(socket);
        poll.registry().register(&mut socket, ACCEPT, Interest::READABLE)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let stopper = Stopper { waker: Waker::new(poll.registry(), WAKE)?, stopped: Arc::clone(&stopped) };
        let (full, share) = Default::default();
        Ok((Self { poll, socket, handshakes, hall, guests, full, share, stopped }, stopper))
    }

    /// Accepts until it is stopped; then ends the handshakes.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(8);
        let mut timeout = None;
        while !self.stopped.load(Ordering::SeqCst) {
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    warn!(%error, "the listener cannot wait for connections");
                    std::thread::sleep(BREATHER);
                }
                _ => {}
            }
            timeout = self.accept_all().err().map(|error| {
                warn!(%error, "connections cannot be accepted at the moment");
                BREATHER
            });
        }
        self.handshakes.stop();
    }

    fn accept_all(&mut self) -> io::Result<()> {
        // One who connects without end is not to keep the listener from its own.
        while !self.stopped.load(Ordering::SeqCst) {
            match self.socket.accept() {
                Ok((socket, peer)) => self.admit(socket.into(), peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_the_peers(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn admit(&mut self, socket: TcpStream, peer: SocketAddr) {
        if self.hall.is_scarce() {
            self.guests.send_oldest_away();
        }
        match self.hall.enter(peer.ip()) {
            Ok(place) => self.handshakes.begin(socket, peer, place),
            Err(NoPlace::Full) => {
                if let Some(others) = self.full.happens(Instant::now()) {
                    warn!(%peer, others, "turned away: the server is full (--max-connections)");
                }
            }
            Err(NoPlace::Share) => {
                if let Some(others) = self.share.happens(Instant::now()) {
                    let why = "too many connections from its address (--max-connections-per-address)";
                    warn!(%peer, others, "turned away: {why}");
                }
            }
        }
    }
}

/// A connection that ended before it was accepted is no reason to pause.
fn is_the_peers(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}
