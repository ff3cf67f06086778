//! Those who press on a server. Each kind has a thread of its own, of low priority: a real one has a machine of its own.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::{Events, Poll, Token};
use secure_chat::transcript::Realm;

use crate::accounts::{Accounts, user_name};
use crate::connection::{Connection, connect_waiting};
use crate::crowd::Crowd;
use crate::pace::Timetable;
use crate::proc;
use crate::target::Target;
use crate::tls;
use crate::wires::{Answered, Casting, Guess, Heard, Stage};

/// Steps of priority that all of them are below those who measure.
const NICE: i32 = 19;

/// Loopback addresses of each kind.
const SOURCES: usize = 100;

/// Between two bytes of a slow handshake.
const DRIP: Duration = Duration::from_secs(1);

/// How a handshake begins: a record of 512 bytes, the ClientHello.
const CLIENT_HELLO: [u8; 6] = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];

/// Members of each room of those who idle.
pub(crate) const IDLE_ROOM: usize = 50;

/// Who presses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Force {
    /// Connections that are logged in, in a room, and say nothing; on the legacy wire, where nobody has to.
    pub(crate) idle: usize,
    /// Handshakes of which a byte comes each second.
    pub(crate) slow: usize,
    /// Whether a member of a room of its own says as much as the server takes.
    pub(crate) flooder: bool,
    /// Wrong passwords a second, each on a new connection, on both wires in turn.
    pub(crate) guesses: f64,
}

/// What they have done.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) idle: AtomicU64,
    pub(crate) slow: AtomicU64,
    /// Slow handshakes that the server ended.
    pub(crate) cut_off: AtomicU64,
    pub(crate) said: AtomicU64,
    /// Flooders who were put out, and came again.
    pub(crate) put_out: AtomicU64,
    pub(crate) guessed: AtomicU64,
    /// Guesses that were looked at.
    pub(crate) looked_at: AtomicU64,
    /// Guesses that were turned away, for there were too many.
    pub(crate) turned_away: AtomicU64,
}

const GATHERING: u8 = 0;
const PRESSING: u8 = 1;
const ENDING: u8 = 2;

struct Shared {
    address: SocketAddr,
    realm: Realm,
    force: Force,
    target: Target,
    /// The first account and, by [`IDLE_ROOM`], the first room that is theirs.
    first: usize,
    stage: AtomicU8,
    gathered: AtomicUsize,
    deeds: Deeds,
}

impl Shared {
    fn is(&self, stage: u8) -> bool {
        self.stage.load(Ordering::Relaxed) == stage
    }
}

/// All of them; they end when this is dropped.
pub(crate) struct Mob {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Where the one of this number of a kind comes from.
fn source(kind: u8, index: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, kind, (index % SOURCES) as u8 + 1).into()
}

impl Mob {
    /// How many threads gather before they press.
    const GATHERERS: usize = 2;

    /// They come, and press when they are told to. Accounts and rooms from `first` on are theirs.
    pub(crate) fn gather(
        target: Target,
        address: SocketAddr,
        realm: Realm,
        first: usize,
        force: Force,
    ) -> Result<Self> {
        let (stage, gathered, deeds) = (AtomicU8::new(GATHERING), AtomicUsize::new(0), Deeds::default());
        let shared = Arc::new(Shared { address, realm, force, target, first, stage, gathered, deeds });
        let mut mob = Self { shared, threads: Vec::new() };
        mob.spawn("idle", idle)?;
        mob.spawn("slow", drip)?;
        mob.spawn("guess", guess)?;
        if force.flooder {
            mob.spawn("flood", flood)?;
        }
        Ok(mob)
    }

    fn spawn(&mut self, name: &str, press: impl FnOnce(&Shared) -> Result<()> + Send + 'static) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            proc::give_way(NICE);
            press(&shared)
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run).context("no thread")?;
        self.threads.push(thread);
        Ok(())
    }

    /// # Errors
    /// When one of them has failed.
    pub(crate) fn is_gathered(&mut self) -> Result<bool> {
        while let Some(ended) = self.threads.iter().position(JoinHandle::is_finished) {
            join(self.threads.swap_remove(ended))?;
        }
        Ok(self.shared.gathered.load(Ordering::Relaxed) == Self::GATHERERS)
    }

    pub(crate) fn press(&self) {
        self.shared.stage.store(PRESSING, Ordering::Relaxed);
    }

    pub(crate) fn deeds(&self) -> &Deeds {
        &self.shared.deeds
    }

    /// They are told to go.
    pub(crate) fn dismiss(&self) {
        self.shared.stage.store(ENDING, Ordering::Relaxed);
    }

    /// Whether all are gone.
    ///
    /// # Errors
    /// When one of them had failed.
    pub(crate) fn is_gone(&mut self) -> Result<bool> {
        self.is_gathered()?;
        Ok(self.threads.is_empty())
    }
}

impl Drop for Mob {
    fn drop(&mut self) {
        self.dismiss();
        self.threads.drain(..).for_each(|thread| _ = thread.join()); // whoever looks at errors waits until they are gone
    }
}

fn join(thread: JoinHandle<Result<()>>) -> Result<()> {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    match thread.join() {
        Ok(ended) => ended.with_context(|| format!("those of the kind '{name}'")),
        Err(_) => bail!("the thread '{name}' has panicked"),
    }
}

/// They are in rooms, and say nothing.
fn idle(shared: &Shared) -> Result<()> {
    let rooms = shared.force.idle.div_ceil(IDLE_ROOM);
    let mut casting = Casting::new(Target::Legacy, Accounts::plain(), rooms, IDLE_ROOM, 0);
    casting.first = shared.first + IDLE_ROOM; // the flooders' room is before theirs
    let mut crowd = Crowd::new(shared.address, casting)?;
    crowd.gather(shared.force.idle, Stage::Joined)?;
    shared.deeds.idle.store(shared.force.idle as u64, Ordering::Relaxed);
    shared.gathered.fetch_add(1, Ordering::Relaxed);
    while !shared.is(ENDING) {
        crowd.pump(Some(Duration::from_millis(100)), |_, _| {})?;
    }
    Ok(())
}

/// One handshake that never comes to its end.
struct Slow {
    socket: TcpStream,
    sent: usize,
}

impl Slow {
    fn begin(shared: &Shared, index: usize) -> Result<Self> {
        let socket = connect_waiting(source(3, index), shared.address)?;
        socket.set_nonblocking(true).context("a socket")?;
        count(&shared.deeds.slow);
        Ok(Self { socket, sent: 0 })
    }

    /// One byte more; whether the server still listens.
    fn drip(&mut self) -> bool {
        let byte = CLIENT_HELLO.get(self.sent).copied().unwrap_or(0xAA);
        self.sent += 1;
        let sent = self.socket.write_all(&[byte]);
        sent.is_ok() && self.socket.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// Handshakes a byte at a time, evenly; where one is cut off, another begins.
fn drip(shared: &Shared) -> Result<()> {
    let total = shared.force.slow;
    let mut all = (0..total).map(|index| Slow::begin(shared, index)).collect::<Result<Vec<_>>>()?;
    shared.gathered.fetch_add(1, Ordering::Relaxed);
    while !shared.is(ENDING) {
        let begun = Instant::now();
        for (index, slow) in all.iter_mut().enumerate() {
            if !slow.drip() {
                count(&shared.deeds.cut_off);
                *slow = Slow::begin(shared, index)?;
            }
            let due = DRIP.mul_f64((index + 1) as f64 / total as f64);
            sleep(due.saturating_sub(begun.elapsed()));
            if shared.is(ENDING) {
                break;
            }
        }
        sleep(Duration::from_millis(if all.is_empty() { 100 } else { 0 }));
    }
    Ok(())
}

/// A member of a room of its own, who says as much as the server takes.
fn flood(shared: &Shared) -> Result<()> {
    let target = shared.target;
    let config = tls::config(target)?;
    let text = "x".repeat(target.text_size(700));
    let rooms = shared.first / IDLE_ROOM + 1;
    let mut casting = Casting::new(target, Accounts::of(shared.realm)?, rooms, IDLE_ROOM, text.len());
    casting.first = shared.first;
    while shared.is(GATHERING) {
        sleep(Duration::from_millis(5));
    }
    while !shared.is(ENDING) {
        let client = casting.client(0)?;
        let connection = Connection::dial(source(5, 0), shared.address, &config, client, Stage::Joined)?;
        if flood_until_put_out(shared, connection, &text).is_err() {
            count(&shared.deeds.put_out);
        }
    }
    Ok(())
}

fn flood_until_put_out(shared: &Shared, mut connection: Connection, text: &str) -> Result<()> {
    let mut poll = Poll::new().context("a poll cannot be made")?;
    let (mut events, mut scratch, mut heard) = (Events::with_capacity(8), vec![0; 64 * 1024], Heard::default());
    connection.register(poll.registry(), Token(0)).context("a socket cannot be waited for")?;
    while !shared.is(ENDING) {
        // As long as the socket takes it; at times it has to listen, too.
        for _ in 0..64 {
            if connection.stage() < Stage::Joined || connection.is_behind() {
                break;
            }
            connection.say(text)?;
            count(&shared.deeds.said);
        }
        let may_go_on = connection.stage() == Stage::Joined && !connection.is_behind();
        let wait = Duration::from_millis(if may_go_on { 0 } else { 20 });
        poll.poll(&mut events, Some(wait)).context("waiting")?;
        for event in &events {
            heard.clear();
            if event.is_writable() {
                connection.writable()?;
            }
            if event.is_readable() {
                connection.readable(&mut scratch, &mut heard)?;
            }
            if let Some(why) = heard.failure.take() {
                bail!(why);
            }
        }
    }
    connection.abort(); // a server that slows it down would take minutes for what it has said
    Ok(())
}

/// Guesses under way.
struct Guesses<'a> {
    shared: &'a Shared,
    poll: Poll,
    places: Vec<Option<Connection>>,
    free: Vec<usize>,
}

impl Guesses<'_> {
    fn begin(&mut self, number: u64, configs: &[(Target, Arc<rustls::ClientConfig>)]) -> Result<()> {
        let Some((target, config)) = configs.get(number as usize % configs.len().max(1)) else { return Ok(()) };
        // Every other account exists, the rest do not.
        let user = if number % 4 < 2 { user_name(number as usize % IDLE_ROOM) } else { format!("nobody{number}") };
        let guess = Guess::new(target.wire(), user, format!("guess{number}"));
        let (from, address) = (source(4, number as usize), self.shared.address);
        let mut connection = Connection::dial(from, address, config, Box::new(guess), Stage::Connected)?;
        let place = self.free.pop().unwrap_or(self.places.len());
        connection.register(self.poll.registry(), Token(place)).context("a socket cannot be waited for")?;
        match self.places.get_mut(place) {
            Some(free) => *free = Some(connection),
            None => self.places.push(Some(connection)),
        }
        Ok(())
    }

    fn hear(&mut self, events: &Events, scratch: &mut [u8], heard: &mut Heard) {
        for event in events {
            let Token(place) = event.token();
            let Some(Some(connection)) = self.places.get_mut(place) else { continue };
            heard.clear();
            let mut happened = if event.is_writable() { connection.writable() } else { Ok(()) };
            if event.is_readable() && happened.is_ok() {
                happened = connection.readable(scratch, heard);
            }
            let deeds = &self.shared.deeds;
            match heard.answer {
                Some(Answered::Wrong) => count(&deeds.looked_at),
                Some(Answered::TooMany) => count(&deeds.turned_away),
                Some(Answered::Otherwise) => {}
                None if happened.is_ok() => continue,
                None => {} // the server has ended it
            }
            connection.close();
            self.places.get_mut(place).into_iter().for_each(|place| *place = None);
            self.free.push(place);
        }
    }
}

/// Wrong passwords, so many a second.
fn guess(shared: &Shared) -> Result<()> {
    let wires = [Target::Modern, Target::Legacy];
    let configs = wires.iter().map(|target| Ok((*target, tls::config(*target)?))).collect::<Result<Vec<_>>>()?;
    let poll = Poll::new().context("a poll cannot be made")?;
    let mut guesses = Guesses { shared, poll, places: Vec::new(), free: Vec::new() };
    let (mut events, mut scratch, mut heard) = (Events::with_capacity(256), vec![0; 64 * 1024], Heard::default());
    while shared.is(GATHERING) {
        sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    let mut timetable = (shared.force.guesses > 0.0).then(|| Timetable::new(shared.force.guesses, 1));
    while !shared.is(ENDING) {
        while let Some((number, _)) = timetable.as_mut().and_then(|timetable| timetable.take(begun.elapsed())) {
            guesses.begin(number, &configs)?;
            count(&shared.deeds.guessed);
        }
        guesses.poll.poll(&mut events, Some(Duration::from_millis(2))).context("waiting")?;
        guesses.hear(&events, &mut scratch, &mut heard);
    }
    Ok(())
}
