//! What the tests share: the real server in a folder of its own, and raw peers over real TLS.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "each test uses its part; tests may fail loudly"
)]

pub mod client;
pub mod couple;
#[cfg(unix)]
pub mod crowd;
pub mod follower;
pub mod member;
pub mod modern;
pub mod programs;
pub mod proxy;
#[cfg(unix)]
pub mod terminal;
pub mod world;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use secure_chat::crypto::{PrivateKey, PublicKey, envelope};
use secure_chat::names::RoomName;
use secure_chat::protocol::Package;
use secure_chat::tls::{Offer, Received, Roots, Stream, client_config};

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The password of god in every test.
pub const GOD: &str = "godpw";

/// The real server. Killed when dropped.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    pub fingerprint: String,
    /// What names it, as it prints it: `ed25519:` and base64.
    pub realm: String,
    pub log: PathBuf,
}

impl Server {
    /// Starts the server in `dir` and waits until it listens.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    pub fn start_with(dir: &Path, arguments: &[&str]) -> Self {
        Self::try_start(dir, arguments).unwrap_or_else(|log| panic!("the server did not start: {log}"))
    }

    /// The same for a flood that is not to be slowed down, but to meet what is behind that.
    pub fn start_without_rates(dir: &Path) -> Self {
        Self::start_with(dir, &["--no-rate-limits"])
    }

    /// Starts the server; its log when it ends instead of listening.
    pub fn try_start(dir: &Path, arguments: &[&str]) -> Result<Self, String> {
        Self::launch(Command::new(env!("CARGO_BIN_EXE_chat-server")), dir, arguments)
    }

    /// Starts the server in `dir`, which it once ended in order, where not a byte can be written any more.
    pub fn start_on_full_disk(dir: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"trap "" XFSZ; ulimit -f 0; exec "$0" "$@""#, env!("CARGO_BIN_EXE_chat-server")]);
        Self::launch(shell, dir, &[]).unwrap_or_else(|log| panic!("the server did not start: {log}"))
    }

    /// Starts the server by a command that runs it with further arguments.
    pub fn launch(mut command: Command, dir: &Path, arguments: &[&str]) -> Result<Self, String> {
        let log = dir.join("server.log");
        let mut child = command
            .env("CHAT_LISTEN", "127.0.0.1:0") // the arguments may have another
            .arg("--data-dir")
            .arg(dir)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let _ = writeln!(child.stdin.take().unwrap(), "{GOD}"); // one that needs no password may have closed it
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = |what: &str| Some(lines.next()?.ok()?.strip_prefix(what)?.to_owned());
        let ready = (said("Listening on "), said("Key fingerprint "), said("Realm "));
        let (Some(address), Some(fingerprint), Some(realm)) = ready else {
            let status = child.wait().unwrap();
            return Err(format!("{status}: {}", fs::read_to_string(&log).unwrap()));
        };
        Ok(Self { child, address: address.parse().unwrap(), fingerprint, realm, log })
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn has_not_panicked(&self) {
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// Waits until the log holds `text`.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(text, || self.log().contains(text));
    }

    /// Ends the server in order; its exit code.
    #[cfg(unix)]
    pub fn stop(mut self) -> i32 {
        self.signal("TERM");
        self.child.wait().unwrap().code().unwrap()
    }

    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let killed = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// Resident memory in bytes.
    #[cfg(unix)]
    pub fn memory(&self) -> usize {
        let output = Command::new("ps").args(["-o", "rss=", "-p", &self.child.id().to_string()]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<usize>().unwrap() * 1024
    }

    /// Threads and descriptors that it has at the moment; none where there is no `/proc`.
    #[cfg(unix)]
    pub fn holds(&self) -> [usize; 2] {
        ["task", "fd"].map(|what| {
            let folder = format!("/proc/{}/{what}", self.child.id());
            fs::read_dir(folder).map_or(0, Iterator::count)
        })
    }

    pub fn connect(&self) -> Peer {
        Peer::connect(self.address)
    }

    /// A peer that has registered and logged in.
    pub fn user(&self, name: &str) -> Peer {
        let mut peer = self.connect();
        peer.asks(&format!("/register {name} pw"), &format!("Registration successful for {name}. You may now /login."));
        peer.asks(&format!("/login {name} pw"), &format!("Login successful. Welcome, {name}!"));
        peer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls for something that no event announces.
#[track_caller]
pub fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    assert!(becomes_true(holds), "never came true: {what}");
}

/// Whether it holds, now or before the patience ends.
pub fn becomes_true(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// A client's TLS configuration that trusts whoever is there, as the Python client's.
pub fn trusting() -> Arc<ClientConfig> {
    let roots = Roots { authorities: RootCertStore::empty(), exact: Vec::new() };
    client_config(roots, Box::new(|_| Ok(())), Offer::Nothing).unwrap()
}

/// A raw legacy peer: it sends and hears records.
pub struct Peer {
    pub stream: Stream,
    heard: VecDeque<String>,
    closed: bool,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// On a connection that is there.
    pub fn over(mut socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut tls = ClientConnection::new(trusting(), ServerName::try_from("localhost").unwrap()).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).unwrap();
        }
        Self { stream: Stream::new(socket, tls.into()), heard: VecDeque::new(), closed: false }
    }

    /// Sends one message as one record.
    pub fn says(&self, message: impl AsRef<[u8]>) {
        self.stream.queue(message.as_ref());
        let _ = self.stream.drain(); // a server that has gone is noticed when it is heard
    }

    /// The next record, or `None` once the server has closed.
    pub fn hears_or_end(&mut self) -> Option<String> {
        let mut buffer = vec![0; 20_000];
        while self.heard.is_empty() && !self.closed {
            let mut records = Vec::new();
            match self.stream.read(&mut buffer, &mut records) {
                Ok(received) => self.closed = received == Received::Closed,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing was heard in time"),
                Err(_) => self.closed = true,
            }
            self.heard.extend(records.into_iter().map(|record| String::from_utf8(record).unwrap()));
        }
        self.heard.pop_front()
    }

    /// The next record.
    #[track_caller]
    pub fn hears(&mut self) -> String {
        self.hears_or_end().expect("the server closed the connection")
    }

    /// Sends a command and expects its reply.
    #[track_caller]
    pub fn asks(&mut self, command: &str, reply: &str) {
        self.says(format!("CMD::{command}"));
        assert_eq!(self.hears(), reply, "to {command}");
    }

    /// Nothing has come up to now: what comes next is the answer to a question.
    #[track_caller]
    pub fn has_heard_nothing(&mut self) {
        self.asks("/nonsense", "Unknown command.");
    }

    /// Hears until `text`.
    #[track_caller]
    pub fn hears_until(&mut self, text: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let heard = self.hears();
            if heard == text {
                return before;
            }
            before.push(heard);
        }
    }

    pub fn close(self) {
        self.stream.queue_close();
        let _ = self.stream.drain();
    }
}

/// Somebody who speaks and reads on a raw connection, with a key pair.
pub struct Friend {
    pub peer: Peer,
    name: String,
    key: PrivateKey,
}

impl Friend {
    /// A user in a room that is there.
    pub fn join(server: &Server, name: &str, room: &str) -> Self {
        let mut peer = server.user(name);
        let key = PrivateKey::generate().unwrap();
        peer.says(format!("PUBKEY::{name}::{}", key.public().pem()));
        peer.says(format!("CMD::/join {room} pw"));
        peer.hears_until(&format!("{name} joined the chat!")); // after the keys of those who are there
        Self { peer, name: name.to_owned(), key }
    }

    /// Waits for the key of a user.
    pub fn hears_key(&mut self, user: &str) -> PublicKey {
        loop {
            let heard = self.peer.hears();
            if let Some(pem) = heard.strip_prefix(&format!("PUBKEY::{user}::")) {
                return PublicKey::from_pem(pem).unwrap();
            }
        }
    }

    /// Says `plaintext`, as it stands, to one reader.
    pub fn says_to(&self, room: &str, reader: &str, key: &PublicKey, plaintext: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap(); // another clock would be told of
        let sealed = envelope::seal(plaintext, now.as_secs());
        let keys = [(reader.to_owned(), sealed.wrap_for(key).unwrap())].into_iter().collect();
        self.peer.says(Package::new(sealed.token, keys, RoomName::new(room)).to_json());
    }

    /// The next message that it can read.
    pub fn reads(&mut self) -> String {
        loop {
            let heard = self.peer.hears();
            let Ok(package) = Package::from_json(&heard) else { continue };
            let Some(entry) = package.encrypted_keys.get(&self.name) else { continue };
            return envelope::open(&package.encrypted_message, entry, &self.key).unwrap().to_string();
        }
    }
}

/// The public key of one of the people in `tests/data`.
pub fn public_key(name: &str) -> String {
    fs::read_to_string(format!("{}/tests/data/{name}.pub", env!("CARGO_MANIFEST_DIR"))).unwrap()
}
