//! TLS handshakes, on a few threads that wait for many peers each: a slow or silent one occupies none of them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Registry, Token, Waker};
use rustls::{ServerConfig, ServerConnection};
use socket2::{SockRef, TcpKeepalive};
use tracing::{debug, info, warn};

use crate::server::reception::Arrival;
use crate::server::seats::Place;
use crate::server::seldom::Seldom;
use crate::server::sync::{Arc, AtomicBool, Builder, JoinHandle, Ordering, Receiver, Sender, unbounded};
use crate::server::workers::Priority;
use crate::tls::Stream;

const WAKE: Token = Token(usize::MAX);

/// How long a peer whose socket is full may take nothing at all.
const GRACE: Duration = Duration::from_secs(30);

/// Silence after which the kernel asks whether the peer is still there, and how often it asks.
const KEEPALIVE: Duration = Duration::from_secs(60);

struct Newcomer {
    socket: TcpStream,
    peer: SocketAddr,
    place: Place,
}

/// The handshake threads, as the listener sees them.
pub(super) struct Handshakes {
    threads: Vec<(Sender<Newcomer>, Arc<Waker>, JoinHandle<()>)>,
    stopped: Arc<AtomicBool>,
    next: usize,
}

impl Handshakes {
    /// So many threads, which drop whoever has not finished after `timeout`.
    pub(super) fn start(
        threads: usize,
        tls: &Arc<ServerConfig>,
        timeout: Duration,
        finished: &Sender<Arrival>,
    ) -> io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let threads = (0..threads).map(|i| {
            let poll = Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
            // No bound: each newcomer holds a place, and places are counted.
            let (sender, newcomers) = unbounded();
            let worker = Worker {
                poll,
                newcomers,
                tls: Arc::clone(tls),
                timeout,
                finished: finished.clone(),
                stopped: Arc::clone(&stopped),
                waiting: HashMap::new(),
                deadlines: VecDeque::new(),
                overdue: Seldom::default(),
                next: 0,
            };
            let work = move || {
                Priority::Low.take();
                worker.run();
            };
            let thread = Builder::new().name(format!("handshake-{i}")).spawn(work)?;
            Ok((sender, waker, thread))
        });
        Ok(Self { threads: threads.collect::<io::Result<_>>()?, stopped, next: 0 })
    }

    pub(super) fn begin(&mut self, socket: TcpStream, peer: SocketAddr, place: Place) {
        self.next = (self.next + 1) % self.threads.len().max(1);
        if let Some((newcomers, waker, _)) = self.threads.get(self.next) {
            let _ = newcomers.send(Newcomer { socket, peer, place }); // a thread that has ended drops it, and so do we
            let _ = waker.wake();
        }
    }

    /// Ends the threads; handshakes under way are dropped.
    pub(super) fn stop(self) {
        self.stopped.store(true, Ordering::SeqCst);
        for (_, waker, thread) in self.threads {
            let _ = waker.wake();
            if thread.join().is_err() {
                warn!("a handshake thread had panicked");
            }
        }
    }
}

struct Handshake {
    socket: mio::net::TcpStream,
    peer: SocketAddr,
    tls: ServerConnection,
    place: Place,
}

enum Progress {
    Waiting,
    Finished,
}

struct Worker {
    poll: Poll,
    newcomers: Receiver<Newcomer>,
    tls: Arc<ServerConfig>,
    timeout: Duration,
    finished: Sender<Arrival>,
    stopped: Arc<AtomicBool>,
    waiting: HashMap<Token, Handshake>,
    /// In the order of their ends, because all take equally long.
    deadlines: VecDeque<(Instant, Token)>,
    overdue: Seldom,
    next: usize,
}

impl Worker {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        while !self.stopped.load(Ordering::SeqCst) {
            let asked = Instant::now();
            let timeout = self.deadlines.front().map(|(deadline, _)| deadline.saturating_duration_since(asked));
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                warn!(%error, "handshakes cannot be waited for");
                return;
            }
            for token in events.iter().map(mio::event::Event::token).filter(|token| *token != WAKE) {
                self.advance(token);
            }
            // As many as wait now: those who come meanwhile wake it again.
            for _ in 0..self.newcomers.len() {
                self.newcomers.try_recv().into_iter().for_each(|newcomer| self.begin(newcomer));
            }
            self.drop_overdue(asked);
        }
    }

    fn begin(&mut self, Newcomer { socket, peer, place }: Newcomer) {
        let token = Token(self.next);
        self.next = (self.next + 1) % WAKE.0;
        match Handshake::new(socket, peer, place, &self.tls, self.poll.registry(), token) {
            Ok(handshake) => {
                self.waiting.insert(token, handshake);
                self.deadlines.push_back((Instant::now() + self.timeout, token));
                self.advance(token); // its first bytes may have come before the registration
            }
            Err(error) => debug!(%peer, %error, "dropped before its handshake"),
        }
    }

    fn advance(&mut self, token: Token) {
        let Some(handshake) = self.waiting.get_mut(&token) else { return };
        let progress = handshake.advance();
        if matches!(progress, Ok(Progress::Waiting)) {
            return;
        }
        let Some(mut handshake) = self.waiting.remove(&token) else { return };
        if let Err(error) = self.poll.registry().deregister(&mut handshake.socket) {
            debug!(peer = %handshake.peer, %error, "not deregistered");
        }
        match progress {
            Err(error) => debug!(peer = %handshake.peer, %error, "handshake failed"),
            Ok(_) => self.pass_on(handshake),
        }
    }

    /// Passes a finished handshake on, as a blocking socket.
    fn pass_on(&self, Handshake { socket, peer, tls, place }: Handshake) {
        let socket = TcpStream::from(socket);
        if let Err(error) = prepare(&socket) {
            debug!(%peer, %error, "dropped after its handshake");
            return;
        }
        let stream = Stream::new(socket, tls.into());
        let _ = self.finished.send(Arrival { stream, peer, place }); // without a reception the server ends
    }

    /// Drops those whose time was over at `now`: a moment before sockets were looked at, so that nobody goes for bytes that came
    /// meanwhile. Those who are through are forgotten as soon as they are the next whose time would end.
    fn drop_overdue(&mut self, now: Instant) {
        let is_over = |waiting: &HashMap<_, _>, (deadline, token): &(Instant, Token)| {
            *deadline <= now || !waiting.contains_key(token)
        };
        while let Some((_, token)) = self.deadlines.pop_front_if(|next| is_over(&self.waiting, next)) {
            if let Some(mut handshake) = self.waiting.remove(&token) {
                if let Some(others) = self.overdue.happens(now) {
                    info!(peer = %handshake.peer, others, "dropped: its handshake took too long (--handshake-timeout)");
                }
                let _ = self.poll.registry().deregister(&mut handshake.socket); // closing it does the same
            }
        }
    }
}

impl Handshake {
    fn new(
        socket: TcpStream,
        peer: SocketAddr,
        place: Place,
        tls: &Arc<ServerConfig>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let mut socket = mio::net::TcpStream::from_std(socket);
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let tls = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
        Ok(Self { socket, peer, tls, place })
    }

    /// Does what can be done without waiting.
    fn advance(&mut self) -> io::Result<Progress> {
        loop {
            if !self.write()? {
                return Ok(Progress::Waiting);
            }
            if !self.tls.is_handshaking() {
                return Ok(Progress::Finished);
            }
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Waiting),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Err(error) = self.tls.process_new_packets() {
                let _ = self.write(); // the alert, if it can be sent
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// Whether everything is written.
    fn write(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_write_timeout(Some(GRACE))?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}
