//! Whether the time of an answer tells a user that does not exist from a password that is wrong: Welch's t-test.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use secure_chat::crypto::password::ROUNDS;
use serde::{Deserialize, Serialize};

use crate::accounts::user_name;
use crate::connection::connect_waiting;
use crate::servers::{self, Plan, Programs};
use crate::stats::{Sample, welch};
use crate::target::{Target, WireKind};
use crate::tls;
use crate::wires::{Answered, Guess};

/// Guesses that an address may make at once; then the next one's turn comes.
const FROM_ONE: usize = 20;

/// Guesses at each account: below what is allowed at once.
const AT_ONE: usize = 10;

/// Guesses whose times do not count: the first of a server may be slower.
const WARM_UP: usize = 20;

/// Above this, the two can be told apart.
const LIMIT: f64 = 4.5;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was measured: milliseconds until the answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Timing {
    pub(crate) target: Target,
    pub(crate) unknown_users: u64,
    pub(crate) unknown_mean: f64,
    pub(crate) unknown_deviation: f64,
    pub(crate) wrong_passwords: u64,
    pub(crate) wrong_mean: f64,
    pub(crate) wrong_deviation: f64,
    pub(crate) t: f64,
    pub(crate) holds: bool,
}

/// A connection for some guesses.
struct Guesser {
    stream: StreamOwned<ClientConnection, TcpStream>,
    wire: WireKind,
}

impl Guesser {
    fn new(target: Target, config: &Arc<ClientConfig>, source: IpAddr, address: SocketAddr) -> Result<Self> {
        let socket = connect_waiting(source, address)?;
        socket.set_nodelay(true).context("setting TCP_NODELAY")?;
        socket.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
        let mut guesser = Self { stream: StreamOwned::new(tls::connection(config)?, socket), wire: target.wire() };
        if guesser.wire == WireKind::Modern {
            guesser.answer()?; // the hello
        }
        Ok(guesser)
    }

    fn answer(&mut self) -> Result<String> {
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let len = self.stream.read(&mut buffer).context("waiting for an answer")?;
            ensure!(len > 0, "the server closed the connection");
            answer.extend_from_slice(buffer.get(..len).unwrap_or_default());
            if self.wire != WireKind::Modern || answer.ends_with(b"\n") {
                return String::from_utf8(answer).context("an answer that is no text");
            }
        }
    }

    /// How long it takes, in milliseconds.
    fn guess(&mut self, user: String, number: usize) -> Result<f64> {
        let request = Guess::new(self.wire, user, format!("guess{number}")).request();
        let begun = Instant::now();
        self.stream.write_all(&request).context("guessing")?;
        let answer = self.answer()?;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        match Answered::of(&answer) {
            Answered::Wrong => Ok(took),
            Answered::TooMany | Answered::Otherwise => bail!("guess {number} was answered with: {answer}"),
        }
    }
}

/// Loopback addresses, one after the other, beside those of other clients.
fn source(number: usize) -> IpAddr {
    Ipv4Addr::new(127, 1, (number / 250) as u8, (number % 250) as u8 + 1).into()
}

pub(crate) fn run(target: Target, programs: &Programs, log_ins: usize) -> Result<Timing> {
    ensure!(target.is_ours(), "{} is not measured so: its log-ins are others", target.name());
    ensure!(log_ins.div_ceil(FROM_ONE) < 250 * 250, "there are not so many loopback addresses");
    // With the rounds of a real account: one of fewer would be told from one that does not exist.
    let total = log_ins + WARM_UP;
    let plan = Plan { rounds: ROUNDS, ..Plan::new(total.div_ceil(AT_ONE).max(2), 1) };
    let (accounts, config) = (plan.accounts, tls::config(target)?);
    let (server, _) = servers::start(target, programs, plan)?;
    let context = || format!("{}; its server said:\n{}", target.name(), server.log());
    let (mut unknown, mut wrong) = (Sample::default(), Sample::default());
    let mut order = Order::new();
    let mut guesser = None;
    for number in 0..total {
        if number % FROM_ONE == 0 {
            guesser =
                Some(Guesser::new(target, &config, source(number / FROM_ONE), server.address).with_context(context)?);
        }
        let exists = order.next();
        // Names of one length, all used equally often.
        let place = number % accounts;
        let user = if exists { user_name(place) } else { user_name(place).replace('u', "x") };
        let took = guesser.as_mut().context("nobody guesses")?.guess(user, number).with_context(context)?;
        if number >= WARM_UP {
            if exists { wrong.add(took) } else { unknown.add(took) }
        }
    }
    let t = welch(&unknown, &wrong);
    Ok(Timing {
        target,
        unknown_users: unknown.count(),
        unknown_mean: unknown.mean(),
        unknown_deviation: unknown.variance().sqrt(),
        wrong_passwords: wrong.count(),
        wrong_mean: wrong.mean(),
        wrong_deviation: wrong.variance().sqrt(),
        t,
        holds: t.abs() < LIMIT,
    })
}

/// A random order, from the system's randomness.
struct Order {
    bits: u64,
    left: u32,
}

impl Order {
    fn new() -> Self {
        Self { bits: 0, left: 0 }
    }

    fn next(&mut self) -> bool {
        if self.left == 0 {
            use std::hash::{BuildHasher, Hasher};
            // The standard library's keys of a hash map are drawn at random.
            self.bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
            self.left = u64::BITS;
        }
        self.left -= 1;
        self.bits >> self.left & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_even_and_no_pattern() {
        let mut order = Order::new();
        let drawn: Vec<_> = (0..10_000).map(|_| order.next()).collect();
        let known = drawn.iter().filter(|exists| **exists).count();
        let changes = drawn.windows(2).filter(|pair| pair.first() != pair.last()).count();
        assert!((4_600..5_400).contains(&known) && (4_600..5_400).contains(&changes), "{known} {changes}");
    }
}
