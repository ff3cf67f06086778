//! A TCP connection as far as `tls/stream.rs` uses it: two pipes of bytes, each of which holds so many and no more.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use super::time::{Instant, Queue};
use super::{Mutex, lock};

/// What `std::net::TcpStream` is for the server's threads.
pub(crate) struct TcpStream {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
    read_timeout: Mutex<Option<Duration>>,
    write_timeout: Option<Duration>,
}

struct Pipe {
    capacity: usize,
    state: Mutex<State>,
    readable: Queue,
    writable: Queue,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Nothing more will be written.
    finished: bool,
    /// Who reads wants no more, and waits for none.
    unwanted: bool,
    /// Nobody will read any more: what is written is refused.
    abandoned: bool,
}

/// The two ends of a connection that holds so many bytes each way. A write waits as long as the timeout allows.
pub(crate) fn pair(capacity: usize, write_timeout: Duration) -> (TcpStream, TcpStream) {
    let pipe = || Arc::new(Pipe::new(capacity));
    let (here, there) = (pipe(), pipe());
    let end = |incoming: &Arc<Pipe>, outgoing: &Arc<Pipe>| TcpStream {
        incoming: Arc::clone(incoming),
        outgoing: Arc::clone(outgoing),
        read_timeout: Mutex::new(None),
        write_timeout: Some(write_timeout),
    };
    (end(&here, &there), end(&there, &here))
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self { capacity, state: Mutex::default(), readable: Queue::default(), writable: Queue::default() }
    }

    fn try_read(&self, state: &mut State, buffer: &mut [u8]) -> Option<usize> {
        if state.bytes.is_empty() {
            return (state.finished || state.unwanted).then_some(0);
        }
        let len = buffer.len().min(state.bytes.len());
        for (to, byte) in buffer.iter_mut().zip(state.bytes.drain(..len)) {
            *to = byte;
        }
        self.writable.wake_all();
        Some(len)
    }

    fn try_write(&self, state: &mut State, bytes: &[u8]) -> io::Result<usize> {
        if state.finished || state.abandoned {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let len = bytes.len().min(self.capacity - state.bytes.len());
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.bytes.extend(bytes.iter().take(len));
        self.readable.wake_all();
        Ok(len)
    }

    fn close(&self, close: impl FnOnce(&mut State)) {
        close(&mut lock(&self.state));
        self.readable.wake_all();
        self.writable.wake_all();
    }
}

impl TcpStream {
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        *lock(&self.read_timeout) = timeout;
        Ok(())
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            self.outgoing.close(|pipe| pipe.finished = true);
        }
        if how != Shutdown::Write {
            self.incoming
                .close(|pipe| (pipe.unwanted, pipe.abandoned) = (true, pipe.abandoned || how == Shutdown::Both));
        }
        Ok(())
    }

    /// Whether the other end has closed its side.
    pub(crate) fn has_left(&self) -> bool {
        let state = lock(&self.incoming.state);
        state.finished || state.abandoned
    }

    /// A read that does not wait.
    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.incoming.try_read(&mut lock(&self.incoming.state), buffer);
        read.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// A write that does not wait.
    pub(crate) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.try_write(&mut lock(&self.outgoing.state), bytes)
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let until = lock(&self.read_timeout).map(|timeout| Instant::now() + timeout);
        loop {
            let mut state = lock(&self.incoming.state);
            if let Some(len) = self.incoming.try_read(&mut state, buffer) {
                return Ok(len);
            }
            let place = self.incoming.readable.enter();
            drop(state);
            if !place.wait(until) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }
}

impl Write for &TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let until = self.write_timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let mut state = lock(&self.outgoing.state);
            match self.outgoing.try_write(&mut state, bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let place = self.outgoing.writable.enter();
            drop(state);
            if !place.wait(until) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}
