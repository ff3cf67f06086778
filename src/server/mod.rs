//! The server's threads, and all their wiring on one screen.
//!
//! ```text
//! listener ─accept─▶ handshakes ─▶ reception ─▶ connection thread: blocking read → decode → slow work with passwords
//!                                                     │ events (bounded, blocking)   ▲ turns (one at a time)
//!                                                     ▼                              │
//!                     disk ◀─ store thread ◀─ orders ─ broker (owns the Hub) ────────┘
//!                                   └─ events ─▶            │ encrypt + one send per recipient and turn that never waits
//!                                                           ▼ socket full: a drain thread of its own takes over
//! ```
//!
//! Waits form a DAG: connections wait for checks and hashes, which wait for nobody, as handshakes and the reception do;
//! connections and the store wait for the broker, the broker for nobody.

#![cfg_attr(all(test, feature = "model"), allow(dead_code, unused_imports, reason = "not all of it is modelled"))]

mod broker;
mod clock;
mod connection;
mod conversion;
mod error;
mod guests;
#[cfg(not(all(test, feature = "model")))]
mod handshake;
mod hashing;
mod host;
mod limits;
mod lines;
mod link;
#[cfg(not(all(test, feature = "model")))]
mod listener;
mod mailbox;
#[cfg(not(all(test, feature = "model")))]
mod maintenance;
#[cfg(all(test, feature = "model"))]
mod model;
mod options;
mod pace;
mod peer;
#[cfg(not(all(test, feature = "model")))]
mod permissions;
mod quantity;
mod reception;
mod running;
mod seats;
#[cfg(not(all(test, feature = "model")))]
mod seldom;
#[cfg(not(all(test, feature = "model")))]
mod setup;
#[cfg(not(all(test, feature = "model")))]
mod signals;
mod storage;
mod sync;
mod workers;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZero;

use tracing::info;

pub use error::ServerError;
pub use limits::{LimitOptions, RegistrationPolicy};
#[cfg(not(all(test, feature = "model")))]
pub use maintenance::perform;
pub use options::{Command, CommandLine, Files, Options};

use crate::chat::{Hub, Quota};
use crate::crypto::Fingerprint;
use crate::process;
use crate::tls;
use crate::transcript::Realm;
use broker::Broker;
use connection::Services;
#[cfg(not(all(test, feature = "model")))]
use handshake::Handshakes;
use hashing::Hasher;
use host::Host;
use link::Dispatch;
#[cfg(not(all(test, feature = "model")))]
use listener::Listener;
use reception::Reception;
use running::{End, Running, Vital, join};
use seats::Hall;
use storage::Storage;
use sync::{Arc, AtomicBool, AtomicUsize, Builder, JoinHandle, Ordering, bounded, presence, unbounded};
use workers::{Priority, Workers};

/// Events that may wait for the broker before those who send them wait.
const EVENTS: usize = 1024;

/// For so many connections, one may have a thread that drains its full socket. With four mappings a thread, and five a
/// connection set aside, both together stay below what the system allows.
const CONNECTIONS_PER_DRAIN: usize = 5;

/// Most handshake threads.
const HANDSHAKE_THREADS: usize = 4;

/// Most threads that check keys and signatures.
const CHECK_THREADS: usize = 4;

/// Runs the server until SIGINT or SIGTERM.
///
/// # Errors
/// [`ServerError`] when it cannot start; once it serves, it ends in order.
#[cfg(not(all(test, feature = "model")))]
pub fn run(options: &Options) -> Result<(), ServerError> {
    process::give_up(options.core_dumps);
    // First what needs nothing of the data folder, and then its lock: a start that fails leaves nothing there that nobody asked for, and
    // makes no certificate where another process is at work.
    let motd = setup::motd(options)?;
    let registration = options.limits.registration()?;
    let refused = |error| ServerError::Listen(options.listen, error);
    let socket = listener::bind(options.listen).map_err(refused)?;
    let opened = setup::database(options)?;
    let identity = setup::identity(&options.files)?;
    let fingerprint = Fingerprint::of(&identity.spki()?);
    let tls = tls::server_config(&identity)?;
    let socket = listener::listen(socket).map_err(refused)?;
    let address = socket.local_addr().map_err(refused)?;
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);

    let limits = options.limits.of_connections(setup::most_connections());
    let (events, for_broker) = bounded(EVENTS); // full: whoever has an event waits
    let (orders, for_storage) = unbounded(); // each session has one change under way at most
    let (present, all_gone) = presence();
    let hashes = Arc::new(AtomicUsize::new(0));
    // Where there are several processors, one is never busy with passwords.
    let hash_workers = Workers::start("hash", (cores - 1).max(1), Priority::GivingWay, &present).map_err(no_thread)?;
    let hasher = Arc::new(Hasher::new(hash_workers, Arc::clone(&hashes)));
    let host = Host::new(opened.realm_key, motd, !options.no_legacy);
    let realm = host.realm();
    let checks = Workers::start("check", cores.min(CHECK_THREADS), Priority::Normal, &present).map_err(no_thread)?;
    let outboxes = Quota::new(limits.outboxes);
    let drains = limits.connections.div_ceil(CONNECTIONS_PER_DRAIN);
    let dispatch = Dispatch {
        outbox: limits.outbox,
        outboxes: Arc::clone(&outboxes),
        drains: Hall::new(drains, drains.div_ceil(2)), // one network that reads nothing leaves some for the others
    };
    let reception = Reception {
        services: Services::new(events.clone(), Arc::clone(&hasher), host, checks, limits),
        presence: present,
        next_session: 1,
        dispatch: Arc::new(dispatch),
    };
    let guests = Arc::clone(&reception.services.guests);
    let (finished, arrivals) = unbounded(); // no bound: each that arrives has a place
    let handshakes = Handshakes::start(cores.min(HANDSHAKE_THREADS), &tls, limits.handshake, &finished);
    let handshakes = handshakes.map_err(no_thread)?;
    drop(finished);
    let hall = Hall::new(limits.connections, limits.connections_per_network);
    let (listener, stopper) = Listener::new(socket, handshakes, hall, guests).map_err(no_thread)?;
    let (ended, end) = bounded(1);
    let asked = ended.clone();
    signals::on_end(move || _ = asked.try_send(End::Asked)).map_err(no_thread)?; // or it ends already
    let vital = |thread| Vital { thread, ended: ended.clone() };

    let weak = conversion::weak(&opened.directory);
    let storage = Storage::new(opened.store, opened.keys, events.clone(), !weak.is_empty());
    let hub = Hub::new(opened.directory, realm, rand::random());
    let hub = hub.with_limits(options.limits.of_people()).with_registration(registration);
    let broker = Broker::new(hub, orders, outboxes);
    let stop_conversion = Arc::new(AtomicBool::new(false));
    let storage = spawn_vital(vital("store"), move || storage.run(&for_storage))?;
    let broker = spawn_vital(vital("broker"), move || broker.run(&for_broker))?;
    let conversion = {
        let (events, stop) = (events.clone(), Arc::clone(&stop_conversion));
        spawn("conversion", move || conversion::run(weak, &hasher, &events, &stop))?
    };
    let reception = spawn_vital(vital("reception"), move || reception.run(&arrivals))?;
    let listener = spawn_vital(vital("listener"), move || listener.run())?;
    say_ready(address, fingerprint, realm);

    let end = end.recv();
    info!(?end, "ending");
    let running = Running { events, stop_conversion, listener, reception, broker, conversion, storage, all_gone };
    running.end(|| stopper.stop());
    info!(hashes = hashes.load(Ordering::Relaxed), "ended");
    match end {
        Ok(End::Died(thread)) => Err(ServerError::Died(thread)),
        Ok(End::Asked) | Err(_) => Ok(()),
    }
}

/// Whether the operating system gives a thread at all.
///
/// # Errors
/// [`ServerError::System`] when it does not.
pub fn needs_a_thread() -> Result<(), ServerError> {
    join(spawn("probe", || {})?);
    Ok(())
}

fn no_thread(error: io::Error) -> ServerError {
    ServerError::System("the operating system gives no thread, poller or signal", error)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ServerError> {
    Builder::new().name(name.into()).spawn(run).map_err(no_thread)
}

fn spawn_vital(vital: Vital, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ServerError> {
    spawn(vital.thread, move || {
        let _vital = vital;
        run();
    })
}

/// Says, on standard output, that connections are accepted. Whoever started the server may have closed it.
fn say_ready(address: SocketAddr, fingerprint: Fingerprint, realm: Realm) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "Listening on {address}\nKey fingerprint {fingerprint}\nRealm ed25519:{realm}");
    let _ = out.flush();
}
