//! A server without sockets, and what a scene asks of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use pbkdf2::pbkdf2_hmac_array;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use sha2::Sha256;

use super::client::Client;
use super::disk::{Disk, KeyFile, Store};
use crate::chat::{Change, Dialect, Directory, Hub, Quota, Rate, Verifier};
use crate::crypto::SigningKey;
use crate::model::socket;
use crate::model::time::{self, spawn};
use crate::names::{RoomName, UserName};
use crate::protocol::MAX_MESSAGE;
use crate::server::broker::Broker;
use crate::server::connection::Services;
use crate::server::conversion;
use crate::server::hashing::Hasher;
use crate::server::host::Host;
use crate::server::limits::ConnectionLimits;
use crate::server::link::Dispatch;
use crate::server::reception::{Arrival, Reception};
use crate::server::running::Running;
use crate::server::seats::Hall;
use crate::server::storage::Storage;
use crate::server::sync::{Arc, AtomicBool, AtomicUsize, Instant, Sender, bounded, presence, unbounded};
use crate::server::workers::{Priority, Workers};
use crate::tls::{Offer, Roots, ServerIdentity, Stream, client_config, server_config};
use crate::transcript::RoomId;

/// Who has an account, with the password `pw`; bob owns the room `den`.
const PEOPLE: [&str; 4] = ["god", "alice", "bob", "carol"];

/// How long a peer whose socket is full may take nothing, as in `server/handshake.rs`.
const GRACE: Duration = Duration::from_secs(30);

/// Where everybody comes from.
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Drains at the same time: enough, also with those that have given back and are about to end.
const DRAINS: usize = 16;

static IDENTITY: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let identity = ServerIdentity::generate(&dir.path().join("crt"), &dir.path().join("key")).unwrap();
    server_config(&identity).unwrap()
});

/// PBKDF2 in one round: hashing is not what is looked at.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
    let hash = pbkdf2_hmac_array::<Sha256, 32>(b"pw", &[7; 16], 1);
    Verifier::new(format!("$pbkdf2-sha256$i=1${}${}", encode(&[7; 16]), encode(&hash)))
});

/// What is scarce in a scene.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes that a socket holds.
    pub(super) socket: usize,
    /// Most unsent bytes for one peer.
    pub(super) outbox: usize,
    /// Most unsent bytes for all.
    pub(super) outboxes: usize,
    /// Messages of one connection.
    pub(super) messages: Rate,
    /// Connections at the same time.
    pub(super) seats: usize,
    /// Events that may wait for the broker.
    pub(super) events: usize,
}

impl Default for Bounds {
    /// Few events, so that those who have some must wait; for the rest, enough.
    fn default() -> Self {
        Self { socket: 1 << 16, outbox: 1 << 20, outboxes: usize::MAX, messages: Rate::NONE, seats: 8, events: 2 }
    }
}

impl Bounds {
    fn limits(&self) -> ConnectionLimits {
        let (connections, unbounded) = (self.seats, Rate::NONE);
        ConnectionLimits {
            connections,
            connections_per_network: connections,
            handshake: Duration::MAX,
            outbox: self.outbox,
            outboxes: self.outboxes,
            message: MAX_MESSAGE,
            messages: self.messages,
            bytes: unbounded,
        }
    }
}

/// A server that runs.
pub(super) struct Scene {
    bounds: Bounds,
    running: Running,
    /// Handshakes that are finished, for the listener; `None` is its end.
    arrivals: Sender<Option<Stream>>,
    hall: Arc<Hall>,
    drains: Arc<Hall>,
    pub(super) disk: Disk,
}

impl Scene {
    /// Begins the threads as `server::run` does. It must be called first in a scene.
    pub(super) fn begin(bounds: Bounds) -> Self {
        time::start();
        let (events, for_broker) = bounded(bounds.events);
        let (orders, for_storage) = unbounded();
        let (present, all_gone) = presence();
        let hash_workers = Workers::start("hash", 1, Priority::Normal, &present).unwrap();
        let hasher = Arc::new(Hasher::new(hash_workers, Arc::default()));
        let host = Host::new(SigningKey::from_seed(&[9; 32]), None, true);
        let realm = host.realm();
        let checks = Workers::start("check", 1, Priority::Normal, &present).unwrap();
        let (hall, drains) = (Hall::new(bounds.seats, bounds.seats), Hall::new(DRAINS, DRAINS));
        let limits = bounds.limits();
        let outboxes = Quota::new(limits.outboxes);
        let dispatch = Dispatch { outbox: limits.outbox, outboxes: Arc::clone(&outboxes), drains: Arc::clone(&drains) };
        let reception = Reception {
            services: Services::new(events.clone(), Arc::clone(&hasher), host, checks, limits),
            presence: present,
            next_session: 1,
            dispatch: Arc::new(dispatch),
        };
        let disk = Disk::default();
        let storage = Storage::new(Store(disk.clone()), KeyFile(disk.clone()), events.clone(), false);
        let broker = Broker::new(Hub::new(directory(), realm, [0; 32]), orders, outboxes);
        let stop_conversion = Arc::new(AtomicBool::new(false));
        let storage = spawn("store", move || storage.run(&for_storage));
        let broker = spawn("broker", move || broker.run(&for_broker));
        let conversion = {
            let (hasher, events, stop) = (hasher, events.clone(), Arc::clone(&stop_conversion));
            spawn("conversion", move || conversion::run(Vec::new(), &hasher, &events, &stop))
        };
        let (arrivals, newcomers) = unbounded();
        let entrance = Arc::clone(&hall);
        let (finished, received) = unbounded();
        let listener = spawn("listener", move || {
            while let Ok(Some(stream)) = newcomers.recv() {
                let Ok(place) = entrance.enter(HERE.ip()) else { continue };
                let _ = finished.send(Arrival { stream, peer: HERE, place });
            }
        });
        let reception = spawn("reception", move || reception.run(&received));
        let running = Running { events, stop_conversion, listener, reception, broker, conversion, storage, all_gone };
        Self { bounds, running, arrivals, hall, drains, disk }
    }

    /// Somebody who has shaken hands.
    pub(super) fn connect(&self, wire: Dialect) -> Client {
        let (at_server, at_client) = streams(wire, self.bounds.socket);
        self.arrivals.send(Some(at_server)).unwrap();
        Client::new(at_client, wire)
    }

    /// Connections that could still be taken, once nothing happens any more.
    pub(super) fn free_seats(&self) -> usize {
        free(&self.hall)
    }

    /// Ends the server as a signal does; gives how long it took.
    pub(super) fn end(self) -> Duration {
        let Self { running, arrivals, drains, .. } = self;
        let begun = Instant::now();
        running.end(|| arrivals.send(None).unwrap());
        let took = begun.elapsed();
        if took < Duration::from_secs(1) {
            assert_eq!(free(&drains), DRAINS, "a place for a drain was lost");
        }
        took
    }
}

/// How many places are free.
pub(super) fn free(hall: &Arc<Hall>) -> usize {
    let taken: Vec<_> = std::iter::from_fn(|| hall.enter(HERE.ip()).ok()).collect();
    taken.len()
}

fn directory() -> Directory {
    let mut directory = Directory::default();
    for user in PEOPLE {
        directory.apply(Change::AddUser { user: UserName::new(user), password: VERIFIER.clone() }).unwrap();
    }
    let (room, owner) = (RoomName::new("den"), Some(UserName::new("bob")));
    let (password, id) = (VERIFIER.clone(), RoomId([1; 16]));
    directory.apply(Change::AddRoom { room, password, id, owner, modern_only: false }).unwrap();
    directory
}

/// The two ends of a connection after its handshake, over a socket that holds so many bytes.
pub(super) fn streams(wire: Dialect, socket: usize) -> (Stream, Stream) {
    let offer = if wire == Dialect::Modern { Offer::Modern } else { Offer::Nothing };
    let roots = Roots { authorities: RootCertStore::empty(), exact: Vec::new() };
    let config = client_config(roots, Box::new(|_| Ok(())), offer).unwrap();
    let mut client = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::clone(&IDENTITY)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        let mut rest = to_server.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        while server.wants_write() {
            server.write_tls(&mut to_client).unwrap();
        }
        let mut rest = to_client.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    let (here, there) = socket::pair(socket, GRACE);
    (Stream::new(here, server.into()), Stream::new(there, client.into()))
}
