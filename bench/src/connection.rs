//! One client: its socket, its TLS, and its wire. Nothing here waits.

use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::tls;
use crate::wires::{Heard, Out, Stage, Wire};

/// Messages of a flood that may be unanswered: half of how old the server lets a position in the log be.
const UNANSWERED: usize = 4096;

/// What is going on below the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// TCP's connection is being made.
    Dialing,
    /// The server says a line before TLS.
    InClear,
    Handshaking,
    Open,
    /// The server, or this end, has closed it.
    Ended,
}

/// Bytes that came since the connection was made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    /// From the socket.
    pub(crate) cipher: u64,
    /// Of those, what the wire got.
    pub(crate) plain: u64,
}

/// One client.
pub(crate) struct Connection {
    socket: TcpStream,
    tls: ClientConnection,
    wire: Box<dyn Wire>,
    phase: Phase,
    stage: Stage,
    /// How far it goes by itself.
    goal: Stage,
    stalled: bool,
    out: Out,
    pub(crate) traffic: Traffic,
}

/// Begins to connect.
fn connect(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// A connection that is there, for those who wait.
pub(crate) fn connect_waiting(source: IpAddr, address: SocketAddr) -> Result<std::net::TcpStream> {
    let context = || format!("cannot connect from {source} to {address}");
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).with_context(context)?;
    socket.bind(&SocketAddr::new(source, 0).into()).with_context(context)?;
    socket.connect(&address.into()).with_context(context)?;
    Ok(socket.into())
}

impl Connection {
    pub(crate) fn dial(
        source: IpAddr,
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        wire: Box<dyn Wire>,
        goal: Stage,
    ) -> Result<Self> {
        let socket = connect(source, address).with_context(|| format!("cannot connect from {source} to {address}"))?;
        let tls = tls::connection(config)?;
        let (phase, stage) = (Phase::Dialing, Stage::Dialing);
        let (out, traffic) = (Out::default(), Traffic::default());
        Ok(Self { socket, tls, wire, phase, stage, goal, stalled: false, out, traffic })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// The version and the cipher that were agreed on.
    pub(crate) fn agreed(&self) -> String {
        tls::agreed(&self.tls)
    }

    /// Lets it go further.
    pub(crate) fn set_goal(&mut self, goal: Stage) -> Result<()> {
        self.goal = goal;
        self.advance();
        self.flush()
    }

    pub(crate) fn say(&mut self, text: &str) -> Result<()> {
        self.wire.say(text, &mut self.out);
        self.flush()
    }

    pub(crate) fn ping(&mut self) -> Result<()> {
        self.wire.ping(&mut self.out);
        self.flush()
    }

    /// Whether it has said more than the socket takes, or the server answers.
    pub(crate) fn is_behind(&self) -> bool {
        self.tls.wants_write() || self.wire.unanswered() >= UNANSWERED
    }

    /// Reads nothing from now on, though it may still say something.
    pub(crate) fn stall(&mut self) {
        self.stalled = true;
    }

    /// Reads again.
    pub(crate) fn resume(&mut self) {
        self.stalled = false;
    }

    /// Says goodbye, as far as the socket takes it, and ends the connection.
    pub(crate) fn close(&mut self) {
        if self.has_ended() {
            return;
        }
        self.tls.send_close_notify();
        let _ = self.flush(); // it may be gone already
        let _ = self.socket.shutdown(Shutdown::Both); // so may this
        self.phase = Phase::Ended;
    }

    /// Ends the connection at once, with whatever the socket still holds: what waits in a socket is sent first, as fast as the other end
    /// takes it.
    pub(crate) fn abort(self) {
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)); // else it is closed as any other
    }

    /// Whether this end has closed it.
    pub(crate) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Takes what has come. `scratch` is what one read may fill.
    pub(crate) fn readable(&mut self, scratch: &mut [u8], heard: &mut Heard) -> Result<()> {
        while !self.stalled {
            match self.phase {
                Phase::Dialing | Phase::Ended => return Ok(()),
                Phase::InClear => return self.hear_in_clear(),
                Phase::Handshaking | Phase::Open => {}
            }
            let len = match self.socket.read(scratch) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("reading from the server"),
            };
            self.traffic.cipher += len as u64;
            self.decrypt(scratch.get(..len).unwrap_or_default(), heard)?;
            self.flush()?;
            if len < scratch.len() {
                return Ok(()); // the socket is empty: what comes later is a new event (epoll(7), edge-triggered)
            }
        }
        Ok(())
    }

    fn decrypt(&mut self, mut bytes: &[u8], heard: &mut Heard) -> Result<()> {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).context("reading TLS")?;
            self.tls.process_new_packets().context("the server broke TLS")?;
            if self.phase == Phase::Handshaking && !self.tls.is_handshaking() {
                self.phase = Phase::Open;
                self.wire.begin(&self.tls, heard, &mut self.out);
                self.reach(heard.stage);
            }
            self.hear_records(heard)?;
        }
        Ok(())
    }

    /// One chunk of the reader is one record, which is what the legacy wire goes by.
    fn hear_records(&mut self, heard: &mut Heard) -> Result<()> {
        loop {
            let mut reader = self.tls.reader();
            let len = match reader.fill_buf() {
                Ok([]) => bail!("the server ended the connection"),
                Ok(record) => {
                    self.wire.hear(record, heard, &mut self.out);
                    record.len()
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the server ended the connection"),
            };
            reader.consume(len);
            self.traffic.plain += len as u64;
            self.reach(heard.stage);
        }
    }

    fn reach(&mut self, stage: Option<Stage>) {
        if let Some(stage) = stage.filter(|stage| *stage > self.stage) {
            self.stage = stage;
            self.advance();
        }
    }

    fn advance(&mut self) {
        match self.stage {
            Stage::Connected if self.goal > Stage::Connected => self.wire.login(&mut self.out),
            Stage::LoggedIn if self.goal > Stage::LoggedIn => self.wire.join(&mut self.out),
            _ => {}
        }
    }

    /// A line that ends the clear part; what follows it is TLS, which the server begins only when it has heard from here.
    fn hear_in_clear(&mut self) -> Result<()> {
        let mut line = [0; 4096];
        let len = match self.socket.read(&mut line) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            len => len.context("reading the server's first line")?,
        };
        if !line.get(..len).is_some_and(|line| line.ends_with(b"\n")) {
            bail!("the server's first line, before TLS, came in pieces or not at all");
        }
        self.phase = Phase::Handshaking;
        self.flush()
    }

    /// The socket takes bytes again, or is connected.
    pub(crate) fn writable(&mut self) -> Result<()> {
        if self.phase == Phase::Dialing {
            if let Some(error) = self.socket.take_error().context("asking the socket")? {
                return Err(error).context("cannot connect");
            }
            if self.socket.peer_addr().is_err() {
                return Ok(()); // not yet
            }
            self.socket.set_nodelay(true).context("setting TCP_NODELAY")?;
            self.phase = if self.wire.waits_in_clear() { Phase::InClear } else { Phase::Handshaking };
        }
        self.flush()
    }

    /// Sends what is queued, as far as the socket takes it.
    fn flush(&mut self) -> Result<()> {
        if matches!(self.phase, Phase::Dialing | Phase::InClear | Phase::Ended) {
            return Ok(());
        }
        if self.phase == Phase::Open {
            for message in self.out.0.drain(..) {
                self.tls.writer().write_all(&message).context("encrypting")?;
            }
        }
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("sending to the server"),
            }
        }
        Ok(())
    }
}
