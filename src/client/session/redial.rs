//! A connection that is made again, on a thread of its own.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, never};

use crate::client::dial::{Dialer, Greeted};
use crate::client::failure::Failure;
use crate::client::known_keys::{Change, Server};

/// What comes of it.
pub(super) type Dialed = Result<Greeted, Failure>;

enum State {
    /// No connection is wanted.
    Idle,
    /// One is wanted, not before then, since the start.
    At(Duration),
    /// It is being made.
    UnderWay(Receiver<Dialed>),
}

/// How, and whether, a connection is made again.
pub(super) struct Redial {
    dialer: Dialer,
    state: State,
}

impl Redial {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self { dialer, state: State::Idle }
    }

    /// A connection is wanted then, since the start.
    pub(super) fn want(&mut self, at: Duration) {
        self.state = State::At(at);
    }

    /// When [`Redial::begin`] is to be called.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.state {
            State::At(at) => Some(at),
            _ => None,
        }
    }

    /// Begins what is due; the thread ends with the program.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn begin(&mut self, now: Duration) -> Result<(), Failure> {
        if self.due().is_some_and(|due| due <= now) {
            let (dialer, (to_main, dialed)) = (self.dialer.clone(), bounded(1));
            let dial = move || drop(to_main.send(dialer.dial())); // main may have ended
            thread::Builder::new().name("dial".into()).spawn(dial).map_err(Failure::unexpected)?;
            self.state = State::UnderWay(dialed);
        }
        Ok(())
    }

    /// Where the connection comes from, for [`Redial::is_over`].
    pub(super) fn dialed(&self) -> Receiver<Dialed> {
        match &self.state {
            State::UnderWay(dialed) => dialed.clone(),
            _ => never(),
        }
    }

    /// What was under way has come.
    pub(super) fn is_over(&mut self) {
        self.state = State::Idle;
    }

    /// The server as it is known from now on, and what is to be remembered of it, if that is another than before.
    pub(super) fn meet(&mut self, server: Server) -> Option<Change> {
        let before = std::mem::replace(&mut self.dialer.server, server);
        let address = self.dialer.address.to_string();
        (before != server).then_some(Change::Server { address, before: Some(before), server })
    }
}
