//! Many at once: accounts that are there before the server starts, with passwords that are checked in no time, and clients that
//! come from many addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustls::ClientConfig;
use secure_chat::chat::{Change, Verifier};
use secure_chat::crypto::{Bundle, SigningKey};
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::modern::RequestBody;
use secure_chat::store::Store;
use secure_chat::transcript::{RoomId, RunId};
use socket2::{Domain, SockRef, Socket, Type};

use super::client::{Client, rsa};
use super::modern::ModernPeer;
use super::{Peer, Server, trusting};

/// What a test asks for that is too much for every day: `ATTACKS=full` has it all.
pub fn full(full: usize, everyday: usize) -> usize {
    if std::env::var("ATTACKS").as_deref() == Ok("full") { full } else { everyday }
}

/// The name of an account that [`prepare`] made.
pub fn name(account: usize) -> String {
    format!("m{account}")
}

/// Makes a database with so many accounts, and these rooms; all passwords are `pw`.
pub fn prepare(dir: &Path, accounts: usize, rooms: &[&str]) {
    let hash = pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(b"pw", &[7; 16], 1);
    let [salt, hash] = [STANDARD_NO_PAD.encode([7; 16]), STANDARD_NO_PAD.encode(hash)];
    let password = Verifier::new(format!("$pbkdf2-sha256$i=1${salt}${hash}"));
    let mut opened = Store::create(dir, password.clone(), 1).unwrap();
    let users = (0..accounts)
        .map(|account| Change::AddUser { user: UserName::new(&name(account)), password: password.clone() });
    let rooms = rooms.iter().enumerate().map(|(number, room)| Change::AddRoom {
        room: RoomName::new(room),
        password: password.clone(),
        id: RoomId((number as u128 + 1).to_be_bytes()),
        owner: None,
        modern_only: false,
    });
    opened.store.commit(&users.chain(rooms).collect::<Vec<_>>(), 1).unwrap();
}

/// Lets this process, and the servers that it starts, have as many descriptors as the system allows.
pub fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// A connection from one of a hundred loopback addresses, where there is more than one.
pub fn dial(server: SocketAddr, number: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source = IpAddr::from(Ipv4Addr::new(127, 0, 1, (number % 100) as u8 + 1));
    let _ = socket.bind(&SocketAddr::new(source, 0).into()); // else from the usual one
    socket.connect(&server.into()).unwrap();
    socket.into()
}

/// Ends a connection by a reset: whatever is under way is lost.
pub fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
}

/// Somebody who comes while others press.
#[derive(Default)]
pub struct Newcomer(AtomicBool);

impl Newcomer {
    /// Registers and logs in; whoever presses is to go on until it is done, or has failed.
    pub fn comes(&self, server: &Server) {
        let _done = Done(&self.0);
        server.user("newcomer");
    }

    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// An account that is there, logged in on the legacy wire.
pub fn legacy(server: &Server, account: usize) -> Peer {
    let mut peer = Peer::over(dial(server.address, account));
    let name = name(account);
    peer.asks(&format!("/login {name} pw"), &format!("Login successful. Welcome, {name}!"));
    peer
}

/// The same on the modern wire, with its bundle announced.
pub fn modern(server: &Server, account: usize) -> (Client, Bundle, RunId) {
    let peer = ModernPeer::over(dial(server.address, account), ClientConfig::clone(&trusting()));
    let mut client = Client::greeted(server, peer);
    client.logs_in(&name(account));
    let user = UserName::new(&name(account));
    let bundle = Bundle::sign(&client.realm, &user, &SigningKey::generate(), rsa()).unwrap();
    let run = RunId((account as u128 + 1).to_be_bytes());
    client.announces(&bundle, run);
    (client, bundle, run)
}

/// Asks to join, and does not wait for the answer.
pub fn ask_to_join(client: &mut Client, room: &str) -> u64 {
    client
        .asks(RequestBody::Join { room: RoomName::new(room), password: Some(secure_chat::names::Password::new("pw")) })
}
