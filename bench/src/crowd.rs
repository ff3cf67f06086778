//! Thousands of clients on one thread.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::{Events, Poll, Token};
use rustls::ClientConfig;

use crate::connection::{Connection, Traffic};
use crate::timer::Timer;
use crate::tls;
use crate::wires::{Casting, Heard, Stage};

/// The token of the timer, which no client has.
const TIMER: Token = Token(usize::MAX);

/// What one read takes at most, in bytes.
const READ: usize = 256 * 1024;

/// Clients whose connection is being made at the same time: ngircd has a backlog of ten.
const DIALING: usize = 10;

/// Clients who are on their way at the same time: inspircd registers users once a second.
const ON_THEIR_WAY: usize = 1000;

/// Loopback addresses that clients come from.
const SOURCES: usize = 100;

/// How long nothing may happen while clients are on their way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a client comes from: a server may hold it against one address when a crowd comes from there.
fn source(index: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, (index % SOURCES) as u8 + 1).into()
}

/// How many clients are at each stage.
#[derive(Default)]
struct Census([usize; 4]);

impl Census {
    fn add(&mut self, stage: Stage) {
        self.0.get_mut(stage as usize).into_iter().for_each(|count| *count += 1);
    }

    fn remove(&mut self, stage: Stage) {
        self.0.get_mut(stage as usize).into_iter().for_each(|count| *count -= 1);
    }

    /// How many have come so far, or farther.
    fn at_least(&self, stage: Stage) -> usize {
        self.0.iter().skip(stage as usize).sum()
    }
}

/// All clients of a run, and what waits for them.
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    timer: Timer,
    address: SocketAddr,
    config: Arc<ClientConfig>,
    casting: Casting,
    connections: Vec<Connection>,
    scratch: Vec<u8>,
    heard: Heard,
    census: Census,
}

impl Crowd {
    pub(crate) fn new(address: SocketAddr, casting: Casting) -> Result<Self> {
        let poll = Poll::new().context("a poll cannot be made")?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            timer,
            address,
            config: tls::config(casting.target)?,
            casting,
            connections: Vec::new(),
            scratch: vec![0; READ],
            heard: Heard::default(),
            census: Census::default(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// One more client, on its way to `goal`.
    pub(crate) fn dial(&mut self, goal: Stage) -> Result<()> {
        let index = self.connections.len();
        let connection = self.make(index, goal)?;
        self.connections.push(connection);
        Ok(())
    }

    fn make(&mut self, index: usize, goal: Stage) -> Result<Connection> {
        let wire = self.casting.client(index)?;
        let mut connection = Connection::dial(source(index), self.address, &self.config, wire, goal)?;
        connection.register(self.poll.registry(), Token(index)).context("a socket cannot be waited for")?;
        self.census.add(Stage::Dialing);
        Ok(connection)
    }

    /// Ends a client and puts a new one in its place.
    pub(crate) fn redial(&mut self, index: usize, goal: Stage) -> Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        connection.close();
        self.census.remove(connection.stage());
        let fresh = self.make(index, goal)?;
        if let Some(place) = self.connections.get_mut(index) {
            *place = fresh;
        }
        Ok(())
    }

    /// Lets a client read no more.
    pub(crate) fn stall(&mut self, index: usize) {
        self.connections.get_mut(index).into_iter().for_each(Connection::stall);
    }

    /// Lets a client that was stalled read what is left, to the end of its connection: how many messages, and the last words.
    pub(crate) fn read_at_last(&mut self, index: usize) -> Result<(u64, String)> {
        let connection = self.connections.get_mut(index).context("a client that does not exist was to read")?;
        let (mut messages, begun) = (0, Instant::now());
        connection.resume();
        loop {
            self.heard.clear();
            let happened = connection.readable(&mut self.scratch, &mut self.heard);
            messages += self.heard.stamps.len() as u64;
            match (self.heard.failure.take(), happened) {
                (Some(words), _) => return Ok((messages, words)),
                (None, Err(error)) => return Ok((messages, format!("none: {error:#}"))),
                (None, Ok(())) if begun.elapsed() > PATIENCE => return Ok((messages, "none: nothing came".into())),
                (None, Ok(())) => std::thread::sleep(Duration::from_millis(1)), // a socket that is polled by hand
            }
        }
    }

    /// Ends a client, if it has not ended; whether it had not.
    pub(crate) fn hang_up(&mut self, index: usize) -> bool {
        self.connections.get_mut(index).is_some_and(|connection| {
            let was_there = !connection.has_ended();
            connection.close();
            was_there
        })
    }

    fn is_another_welcome(&self, goal: Stage) -> bool {
        let before = |stage| self.len() - self.census.at_least(stage);
        before(Stage::Connected) < DIALING && before(goal) < ON_THEIR_WAY
    }

    /// Brings clients up to this number as far as `goal`, a few at a time.
    pub(crate) fn gather(&mut self, total: usize, goal: Stage) -> Result<()> {
        let mut last = Instant::now();
        let mut before = 0;
        while self.census.at_least(goal) < total {
            while self.len() < total && self.is_another_welcome(goal) {
                self.dial(goal)?;
            }
            self.pump(Some(Duration::from_millis(100)), |_, _| {})?;
            let arrived = self.census.at_least(goal);
            if arrived > before {
                (before, last) = (arrived, Instant::now());
            }
            if last.elapsed() > PATIENCE {
                bail!("only {arrived} of {total} clients came as far as {goal:?}, and no more for {PATIENCE:?}");
            }
        }
        Ok(())
    }

    /// Lets all clients go on to `goal` at once, and waits until they are there; a client's number and the time at which it came.
    pub(crate) fn storm(&mut self, goal: Stage, mut came: impl FnMut(usize, Instant)) -> Result<()> {
        let total = self.len();
        for connection in &mut self.connections {
            connection.set_goal(goal)?;
        }
        let mut last = Instant::now();
        while self.census.at_least(goal) < total {
            let before = self.census.at_least(goal);
            self.pump(Some(Duration::from_millis(100)), |index, heard| {
                if heard.stage == Some(goal) {
                    came(index, Instant::now());
                }
            })?;
            if self.census.at_least(goal) > before {
                last = Instant::now();
            } else if last.elapsed() > PATIENCE {
                bail!("only {before} of {total} clients came as far as {goal:?}, and no more for {PATIENCE:?}");
            }
        }
        Ok(())
    }

    /// Lets events come until there are none for this long.
    pub(crate) fn settle(&mut self, quiet: Duration) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let before = self.traffic().cipher;
            self.pump(Some(quiet), |_, _| {})?;
            if self.events.is_empty() && self.traffic().cipher == before {
                break;
            }
        }
        Ok(())
    }

    /// What all clients together have received.
    pub(crate) fn traffic(&self) -> Traffic {
        self.connections.iter().fold(Traffic::default(), |sum, connection| Traffic {
            cipher: sum.cipher + connection.traffic.cipher,
            plain: sum.plain + connection.traffic.plain,
        })
    }

    /// The version and the cipher that the first client agreed on.
    pub(crate) fn agreed(&self) -> String {
        self.connections.first().map(Connection::agreed).unwrap_or_default()
    }

    pub(crate) fn say(&mut self, index: usize, text: &str) -> Result<()> {
        let connection = self.connections.get_mut(index).context("a client that does not exist was to speak")?;
        connection.say(text).with_context(|| format!("client {index}"))
    }

    pub(crate) fn ping(&mut self, index: usize) -> Result<()> {
        self.connections.get_mut(index).map_or(Ok(()), Connection::ping)
    }

    pub(crate) fn ping_all(&mut self) -> Result<()> {
        self.connections.iter_mut().try_for_each(Connection::ping)
    }

    /// Wakes the next [`Crowd::pump`] after this time.
    pub(crate) fn wake_after(&self, time: Duration) -> Result<()> {
        self.timer.set(time)
    }

    /// Waits for events, at most so long, and deals with all that are there; `each` hears which client heard what.
    ///
    /// # Errors
    /// The first failure of a client, with the server's words where it had some.
    pub(crate) fn pump(&mut self, timeout: Option<Duration>, mut each: impl FnMut(usize, &Heard)) -> Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            polled => polled.context("waiting for sockets")?,
        }
        for event in &self.events {
            let Token(index) = event.token();
            let Some(connection) = self.connections.get_mut(index) else { continue }; // the timer
            let before = connection.stage();
            self.heard.clear();
            let mut happened = if event.is_writable() { connection.writable() } else { Ok(()) };
            if event.is_readable() && happened.is_ok() {
                happened = connection.readable(&mut self.scratch, &mut self.heard);
            }
            if let Some(why) = &self.heard.failure {
                bail!("client {index} was told: {why}");
            }
            happened.with_context(|| format!("client {index}, {before:?}"))?;
            let after = connection.stage();
            if after != before {
                self.census.remove(before);
                self.census.add(after);
            }
            if !self.heard.is_empty() {
                each(index, &self.heard);
            }
        }
        Ok(())
    }
}
