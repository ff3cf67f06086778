//! A network that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Passes connections on to a server, until they are cut.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    open: Vec<TcpStream>,
    /// Connections that were passed on.
    taken: usize,
    /// Whether new ones are closed at once.
    is_down: bool,
}

impl Proxy {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().unwrap();
                if state.is_down {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server) else { continue };
                state.taken += 1;
                pass(&client, &server);
                pass(&server, &client);
                state.open.extend([client, server]);
            }
        });
        Self { address, state }
    }

    /// Ends all connections, in the middle of whatever they carry.
    pub fn cut(&self) {
        for stream in self.state.lock().unwrap().open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both); // it may be gone already
        }
    }

    /// The same, and there are no new ones until [`Proxy::is_back`].
    pub fn goes_down(&self) {
        self.state.lock().unwrap().is_down = true;
        self.cut();
    }

    pub fn is_back(&self) {
        self.state.lock().unwrap().is_down = false;
    }

    /// How many connections there were.
    pub fn taken(&self) -> usize {
        self.state.lock().unwrap().taken
    }
}

fn pass(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..len]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
