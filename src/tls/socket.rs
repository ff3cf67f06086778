//! What a stream is made of, in one place: a model checker can stand in for it here. What never waits is done on a socket that
//! blocks for its reader.

#[cfg(all(test, feature = "model"))]
pub(super) use self::modelled::{
    Instant, Mutex, MutexGuard, PoisonError, TcpStream, has_left, receive_now, send_now, send_pieces_now,
};
#[cfg(not(all(test, feature = "model")))]
pub(super) use self::real::{
    Instant, Mutex, MutexGuard, PoisonError, TcpStream, has_left, receive_now, send_now, send_pieces_now,
};

#[cfg(not(all(test, feature = "model")))]
mod real {
    use std::io::{self, IoSlice};
    pub(crate) use std::net::TcpStream;
    pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
    pub(crate) use std::time::Instant;

    /// Whether the peer has closed its side, however much of what it said before is still to be read.
    #[cfg(target_os = "linux")]
    pub(crate) fn has_left(socket: &TcpStream) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut asked = [PollFd::new(socket, PollFlags::RDHUP)];
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok() && asked[0].revents().intersects(gone)
    }

    /// Where the system does not say so, a read will find it out.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn has_left(_: &TcpStream) -> bool {
        false
    }

    /// Takes what is there already.
    #[cfg(unix)]
    pub(crate) fn receive_now(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        use rustix::net::{RecvFlags, recv};
        let (len, _) = recv(socket, buffer, RecvFlags::DONTWAIT)?;
        Ok(len)
    }

    /// Where no such call exists, the next read takes it.
    #[cfg(not(unix))]
    pub(crate) fn receive_now(_: &TcpStream, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// One send that never waits.
    #[cfg(unix)]
    pub(crate) fn send_now(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(socket, bytes, NOW)?)
    }

    /// The same of several pieces.
    #[cfg(unix)]
    pub(crate) fn send_pieces_now(socket: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        use rustix::net::{SendAncillaryBuffer, sendmsg};
        Ok(sendmsg(socket, pieces, &mut SendAncillaryBuffer::default(), NOW)?)
    }

    #[cfg(target_os = "linux")]
    const NOW: rustix::net::SendFlags = rustix::net::SendFlags::DONTWAIT.union(rustix::net::SendFlags::NOSIGNAL);
    #[cfg(all(unix, not(target_os = "linux")))]
    const NOW: rustix::net::SendFlags = rustix::net::SendFlags::DONTWAIT;

    /// Where no such send exists, every write is a drain.
    #[cfg(not(unix))]
    pub(crate) fn send_now(_: &TcpStream, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// The same.
    #[cfg(not(unix))]
    pub(crate) fn send_pieces_now(_: &TcpStream, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

#[cfg(all(test, feature = "model"))]
mod modelled {
    use std::io::{self, IoSlice};

    pub(crate) use crate::model::socket::TcpStream;
    pub(crate) use crate::model::time::Instant;
    pub(crate) use crate::model::{Mutex, MutexGuard, PoisonError};

    pub(crate) fn has_left(socket: &TcpStream) -> bool {
        socket.has_left()
    }

    pub(crate) fn receive_now(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        socket.receive_now(buffer)
    }

    pub(crate) fn send_now(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        socket.send_now(bytes)
    }

    pub(crate) fn send_pieces_now(socket: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        socket.send_now(&joined)
    }
}
