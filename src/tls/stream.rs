//! A TLS stream that one thread reads and others write, and that keeps record boundaries.
//!
//! The rustls connection is shared behind a mutex that is held for the cryptography and for sends that do not wait,
//! never across a call that can block. What is encrypted waits in rustls, in order; whoever holds the mutex may send it, until
//! the socket is full: then it moves to a buffer that belongs to the one caller of [`Stream::drain`]. A stream whose peer keeps up
//! has no buffer of its own.

#![cfg_attr(
    all(test, feature = "model"),
    allow(private_interfaces, reason = "a stand-in for a socket is no part of the crate")
)]

use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use rustls::{Connection, ProtocolVersion};

use crate::tls::socket::{
    Instant, Mutex, MutexGuard, PoisonError, TcpStream, has_left, receive_now, send_now, send_pieces_now,
};

/// The label of the secret that both ends of a connection share and no other connection has (RFC 8446, section 7.5).
const EXPORTER: &[u8] = b"EXPORTER-secure-chat/1";

/// What a drain sends at once, in bytes.
const PART: usize = 16 * 1024;

/// Mean length of pieces from which on it costs more to put them together than to send them as they are, in bytes.
const LARGE_PIECE: usize = 4 * 1024;

/// How long after its end a connection may take for what was said before.
const PARTING: Duration = Duration::from_secs(30);

/// How often a drain looks how much its peer has taken, and the least that it must have taken, in bytes.
const LOOK_AFTER: Duration = Duration::from_secs(30);
const LEAST_TAKEN: usize = 16 * 1024;

/// Records that are encrypted before they are sent: more would only wait, and rustls keeps a place for each for ever.
const RECORDS: usize = 32;

/// What a read brought besides records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The peer may send more.
    Open,
    /// The peer has closed its side: by close_notify, or by closing the connection.
    Closed,
}

/// What became of the bytes that were to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// All are with the operating system.
    Done,
    /// The socket is full: the caller must see to it that [`Stream::drain`] runs.
    Full,
    /// The socket was full before; a drain is under way and takes these bytes along.
    Draining,
}

/// The stream.
pub struct Stream {
    socket: TcpStream,
    state: Mutex<State>,
}

/// How much a peer takes that has much to read: one who takes next to nothing reads no more than one who takes nothing, but would keep
/// a thread for it for ever.
struct Progress {
    since: Instant,
    taken: usize,
}

impl Progress {
    fn begin() -> Self {
        Self { since: Instant::now(), taken: 0 }
    }

    /// Counts what was taken; whether that is too little.
    fn is_too_slow(&mut self, taken: usize) -> bool {
        self.taken += taken;
        if self.since.elapsed() < LOOK_AFTER {
            return false;
        }
        let all = std::mem::replace(self, Self::begin()).taken;
        all < LEAST_TAKEN
    }
}

struct State {
    tls: Connection,
    /// Ciphertext that the socket did not take, of which the first `sent` bytes are gone by now.
    out: Vec<u8>,
    sent: usize,
    /// Bytes that a drain has taken out of `out` and not yet sent.
    in_flight: usize,
    draining: bool,
    /// When close_notify was queued.
    closed: Option<Instant>,
}

impl State {
    fn encrypt(&mut self, message: &[IoSlice<'_>]) {
        if self.closed.is_none() {
            // Without a buffer limit, rustls takes everything.
            let _ = self.tls.writer().write_vectored(message);
        }
    }

    /// Moves what rustls has encrypted into the buffer.
    fn collect(&mut self) {
        while self.tls.wants_write() {
            // Writing to memory cannot fail.
            if self.tls.write_tls(&mut self.out).is_err() {
                break;
            }
        }
    }

    fn unsent(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// Sends what can be sent without waiting. What the socket does not take is left to a drain.
    fn push(&mut self, outlet: &mut Outlet<'_>) -> io::Result<Flush> {
        if self.draining {
            self.collect();
            return Ok(Flush::Draining);
        }
        match self.send_all(outlet) {
            Ok(()) => Ok(Flush::Done),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.collect();
                self.draining = true;
                Ok(Flush::Full)
            }
            Err(error) => Err(error),
        }
    }

    fn send_all(&mut self, outlet: &mut Outlet<'_>) -> io::Result<()> {
        while !self.unsent().is_empty() {
            self.sent += outlet.write(self.unsent())?;
        }
        self.take_out();
        while self.tls.wants_write() {
            self.tls.write_tls(outlet)?;
        }
        Ok(())
    }

    /// Takes the buffer; gives what is unsent.
    fn take_out(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        out.drain(..std::mem::take(&mut self.sent).min(out.len()));
        out
    }

    /// Takes every record's plaintext; `Closed` after the peer's close_notify or the end of its bytes.
    fn take_records(&mut self, records: &mut Vec<Vec<u8>>) -> Received {
        let mut reader = self.tls.reader();
        loop {
            // One chunk of the buffered reader is one record; `read` would merge them.
            let len = match reader.fill_buf() {
                Ok([]) => return Received::Closed,
                Ok(record) => {
                    records.push(record.to_vec());
                    record.len()
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Received::Open,
                Err(_) => return Received::Closed, // closed without close_notify
            };
            reader.consume(len);
        }
    }
}

/// Writes to a socket without waiting: what is in many small pieces is put together first, since one piece of memory is sent
/// faster than many.
struct Outlet<'a> {
    socket: &'a TcpStream,
    scratch: &'a mut Vec<u8>,
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| send_now(self.socket, bytes))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [piece] = pieces {
            return self.write(piece);
        }
        if pieces.iter().map(|piece| piece.len()).sum::<usize>() >= LARGE_PIECE * pieces.len() {
            return uninterrupted(|| send_pieces_now(self.socket, pieces));
        }
        let mut scratch = std::mem::take(self.scratch);
        scratch.clear();
        pieces.iter().for_each(|piece| scratch.extend_from_slice(piece));
        let sent = self.write(&scratch);
        *self.scratch = scratch;
        sent
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes the messages of one [`Stream::send`].
pub struct Sealer<'a> {
    state: &'a mut State,
    outlet: Outlet<'a>,
    records: usize,
    full: bool,
    failed: Option<io::Error>,
}

impl Sealer<'_> {
    /// Encrypts one message as one record, as [`Stream::queue_pieces`] does.
    pub fn seal(&mut self, message: &[IoSlice<'_>]) {
        if self.failed.is_some() {
            return;
        }
        self.state.encrypt(message);
        self.records += 1;
        if self.records.is_multiple_of(RECORDS) {
            self.push();
        }
    }

    fn push(&mut self) {
        match self.state.push(&mut self.outlet) {
            Ok(flush) => self.full |= flush == Flush::Full,
            Err(error) => self.failed = Some(error),
        }
    }

    fn finish(mut self) -> io::Result<Flush> {
        if self.failed.is_none() {
            self.push();
        }
        match self.failed {
            Some(error) => Err(error),
            None if self.full => Ok(Flush::Full),
            None if self.state.draining => Ok(Flush::Draining),
            None => Ok(Flush::Done),
        }
    }
}

impl Stream {
    /// A stream over a connected, blocking socket whose handshake is finished.
    pub fn new(socket: TcpStream, mut tls: Connection) -> Self {
        // With the default of 64 KiB a write may be short, and a message would be split over two records' worth of calls.
        tls.set_buffer_limit(None);
        let state = State { tls, out: Vec::new(), sent: 0, in_flight: 0, draining: false, closed: None };
        Self { socket, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves a state that is still consistent enough to be closed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The protocol that client and server agreed on (ALPN, RFC 7301); `None` when the client, or the server, knows of none.
    pub fn alpn(&self) -> Option<Vec<u8>> {
        self.state().tls.alpn_protocol().map(<[u8]>::to_vec)
    }

    /// 32 bytes that the other end has too, and no other connection: what signs them cannot be passed on by somebody between.
    ///
    /// # Errors
    /// Below TLS 1.3: there, the same bytes may be had on two connections (RFC 7627).
    pub fn exporter(&self) -> io::Result<[u8; 32]> {
        let state = self.state();
        if state.tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this needs TLS 1.3"));
        }
        state.tls.export_keying_material([0; 32], EXPORTER, None).map_err(io::Error::other)
    }

    /// Takes what came together with the end of the handshake: a [`Stream::read`] would wait for bytes that are here already.
    pub fn take_buffered(&self, records: &mut Vec<Vec<u8>>) -> Received {
        self.state().take_records(records)
    }

    /// Waits for bytes and decrypts them; adds each record's plaintext to `records`. What TLS itself has to answer is
    /// queued: whoever sends calls [`Stream::flush`].
    ///
    /// # Errors
    /// What the socket reports, and `InvalidData` when the peer breaks TLS (the alert for it is queued).
    pub fn read(&self, buffer: &mut [u8], records: &mut Vec<Vec<u8>>) -> io::Result<Received> {
        let len = uninterrupted(|| (&self.socket).read(buffer))?;
        self.decrypt(buffer.get(..len).unwrap_or_default(), records)
    }

    /// As [`Stream::read`], with little memory while it waits: when `first` was filled, and more bytes are there, they are taken with
    /// the buffer that `more` lends.
    ///
    /// # Errors
    /// Those of [`Stream::read`].
    pub fn read_sparingly<B: AsMut<[u8]>>(
        &self,
        first: &mut [u8],
        more: impl FnOnce() -> B,
        records: &mut Vec<Vec<u8>>,
    ) -> io::Result<Received> {
        let len = uninterrupted(|| (&self.socket).read(first))?;
        let received = self.decrypt(first.get(..len).unwrap_or_default(), records)?;
        if len < first.len() || received == Received::Closed {
            return Ok(received);
        }
        let mut more = more();
        let buffer = more.as_mut();
        match uninterrupted(|| receive_now(&self.socket, buffer)) {
            Ok(len) => self.decrypt(buffer.get(..len).unwrap_or_default(), records),
            // Nothing more is there; or the connection is broken, which the next read tells: what came before it counts.
            Err(_) => Ok(received),
        }
    }

    /// Decrypts what was read; nothing is the end.
    fn decrypt(&self, mut bytes: &[u8], records: &mut Vec<Vec<u8>>) -> io::Result<Received> {
        let len = bytes.len();
        let mut state = self.state();
        let mut received = Received::Open;
        loop {
            let read = state.tls.read_tls(&mut bytes)?; // at the end of the stream, rustls must see the empty read
            let processed = state.tls.process_new_packets();
            if state.take_records(records) == Received::Closed {
                received = Received::Closed;
            }
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if bytes.is_empty() || read == 0 {
                break;
            }
        }
        Ok(if len == 0 { Received::Closed } else { received })
    }

    /// How long a read may wait from now on; `None` for as long as it takes.
    ///
    /// # Errors
    /// What the system reports; `TimedOut` when no time is left.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        match patience {
            Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
            patience => self.socket.set_read_timeout(patience),
        }
    }

    /// Whether the peer has closed its side of the connection, however much of what it said before is still to be read.
    pub fn has_left(&self) -> bool {
        has_left(&self.socket)
    }

    /// Encrypts one message as one record (16,384 bytes and more as several) and queues it. After [`Stream::queue_close`],
    /// nothing is queued any more.
    pub fn queue(&self, message: &[u8]) {
        self.queue_pieces(&[IoSlice::new(message)]);
    }

    /// The same with a message in several pieces. Where records do not matter, several messages are best the pieces of one:
    /// each record costs bytes and cryptography of its own.
    pub fn queue_pieces(&self, message: &[IoSlice<'_>]) {
        self.state().encrypt(message);
    }

    /// Queues close_notify.
    pub fn queue_close(&self) {
        let mut state = self.state();
        if state.closed.is_none() {
            state.closed = Some(Instant::now());
            state.tls.send_close_notify();
        }
    }

    /// Ciphertext that is not yet with the operating system, in bytes.
    pub fn pending(&self) -> usize {
        let mut state = self.state();
        state.collect();
        state.unsent().len() + state.in_flight
    }

    /// Forgets what is queued and not yet with the operating system. What was sent may end within a record, so nothing can be sent
    /// after it.
    pub fn discard(&self) {
        let mut state = self.state();
        state.collect();
        (state.out, state.sent) = (Vec::new(), 0);
    }

    /// Sends what can be sent without waiting.
    ///
    /// # Errors
    /// What the socket reports.
    pub fn flush(&self) -> io::Result<Flush> {
        self.send(&mut Vec::new(), |_| {})
    }

    /// Sends what is queued, and behind it what `seal` adds, without waiting; `scratch` is room to put records together in, which
    /// many streams may share.
    ///
    /// # Errors
    /// What the socket reports.
    pub fn send(&self, scratch: &mut Vec<u8>, seal: impl FnOnce(&mut Sealer<'_>)) -> io::Result<Flush> {
        let mut state = self.state();
        let outlet = Outlet { socket: &self.socket, scratch };
        let mut sealer = Sealer { state: &mut state, outlet, records: 0, full: false, failed: None };
        seal(&mut sealer);
        sealer.finish()
    }

    /// Sends what is queued, waiting for the peer as long as the socket's write timeout allows.
    ///
    /// Called by one thread at a time, after [`Flush::Full`] or instead of [`Stream::flush`].
    ///
    /// # Errors
    /// What the socket reports; `WouldBlock` or `TimedOut` when the peer took nothing for the length of the write timeout, less than
    /// 16 KiB in 30 s, or not everything within 30 s of the end.
    pub fn drain(&self) -> io::Result<()> {
        let mut progress = Progress::begin();
        loop {
            let bytes = {
                let mut state = self.state();
                state.draining = true;
                state.collect();
                let bytes = state.take_out();
                state.in_flight = bytes.len();
                if bytes.is_empty() {
                    state.draining = false;
                    return Ok(());
                }
                bytes
            };
            bytes.chunks(PART).try_for_each(|part| self.send_part(part, &mut progress))?;
        }
    }

    /// A peer that takes little at a time keeps what it is sent in memory only as long as its connection is meant to last.
    fn send_part(&self, mut part: &[u8], progress: &mut Progress) -> io::Result<()> {
        while !part.is_empty() {
            let sent = uninterrupted(|| (&self.socket).write(part))?;
            part = part.get(sent..).unwrap_or_default();
            let mut state = self.state();
            state.in_flight = state.in_flight.saturating_sub(sent);
            let too_late = state.closed.is_some_and(|closed| closed.elapsed() > PARTING);
            if sent == 0 || too_late || (progress.is_too_slow(sent) && !part.is_empty()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Ends our side of the connection and waits, at most so long, for the peer to end its own. A socket that is closed with
    /// bytes unread takes back what was sent last: here it was read first.
    pub fn see_off(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let _ = self.socket.shutdown(Shutdown::Write); // it may be gone already
        let mut unread = [0; 4096];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                return;
            }
            match (&self.socket).read(&mut unread) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
        }
    }

    /// Ends the peer's side: a blocked read returns, as at the end of what the peer said. What is queued still goes out.
    pub fn hear_no_more(&self) {
        let _ = self.socket.shutdown(Shutdown::Read); // it may be gone already
    }

    /// Ends the connection at once; a blocked read or drain returns.
    pub fn shutdown(&self) {
        let _ = self.socket.shutdown(Shutdown::Both); // it may be gone already
    }
}

/// Does it until no signal comes between.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
