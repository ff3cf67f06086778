//! A raw peer on the modern wire: it sends and hears lines.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use secure_chat::protocol::modern::{FromServer, Hello, decode_server};
use secure_chat::protocol::{Line, LineReader};
use secure_chat::tls::{MODERN, Received, Stream};

use super::{PATIENCE, trusting};

pub struct ModernPeer {
    pub stream: Stream,
    lines: LineReader,
    heard: VecDeque<String>,
    closed: bool,
}

impl ModernPeer {
    /// Connects; the hello is still to be heard.
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, ClientConfig::clone(&trusting()))
    }

    pub fn connect_with(address: SocketAddr, config: ClientConfig) -> Self {
        Self::over(TcpStream::connect(address).unwrap(), config)
    }

    /// On a connection that is there.
    pub fn over(mut socket: TcpStream, mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![MODERN.to_vec()];
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).unwrap();
        }
        let stream = Stream::new(socket, tls.into());
        let mut peer = Self { stream, lines: LineReader::new(1 << 20), heard: VecDeque::new(), closed: false };
        let mut records = Vec::new();
        peer.closed = peer.stream.take_buffered(&mut records) == Received::Closed;
        peer.split(&records);
        peer
    }

    /// Somebody who has heard the hello.
    #[track_caller]
    pub fn guest(address: SocketAddr) -> Self {
        let mut peer = Self::connect(address);
        peer.hears_hello();
        peer
    }

    /// Nothing was said in between that was not answered.
    #[track_caller]
    pub fn is_well(&mut self) {
        self.says("{\"type\":\"ping\",\"id\":424242}\n");
        let heard = self.hears();
        assert!(heard.starts_with(r#"{"type":"ok","id":424242,"#), "{heard}");
    }

    /// The next line is this error.
    #[track_caller]
    pub fn is_refused(&mut self, code: &str) {
        let heard = self.hears();
        assert!(heard.starts_with(r#"{"type":"error""#) && heard.contains(&format!(r#""code":"{code}""#)), "{heard}");
    }

    /// Sends these bytes as one record.
    pub fn says(&self, bytes: impl AsRef<[u8]>) {
        self.stream.queue(bytes.as_ref());
        let _ = self.stream.drain(); // a server that has gone is noticed when it is heard
    }

    pub fn close(self) {
        self.stream.queue_close();
        let _ = self.stream.drain();
    }

    /// The next line, or `None` once the server has closed.
    pub fn hears_or_end(&mut self) -> Option<String> {
        let mut buffer = vec![0; 20_000];
        while self.heard.is_empty() && !self.closed {
            let mut records = Vec::new();
            match self.stream.read(&mut buffer, &mut records) {
                Ok(received) => self.closed = received == Received::Closed,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing was heard in time"),
                Err(_) => self.closed = true,
            }
            self.split(&records);
        }
        self.heard.pop_front()
    }

    /// The next line.
    #[track_caller]
    pub fn hears(&mut self) -> String {
        self.hears_or_end().expect("the server closed the connection")
    }

    /// Puts a line back, to be heard next.
    pub fn hears_again(&mut self, line: String) {
        self.heard.push_front(line);
    }

    /// The first line.
    #[track_caller]
    pub fn hears_hello(&mut self) -> Hello {
        match decode_server(self.hears().as_bytes(), |_| None) {
            Ok(FromServer::Hello(hello)) => hello,
            other => panic!("no hello: {other:?}"),
        }
    }

    fn split(&mut self, records: &[Vec<u8>]) {
        for record in records {
            let mut rest = &record[..];
            while let Some(line) = self.lines.next(&mut rest) {
                let Line::Whole(line) = line else { panic!("a line without an end") };
                self.heard.push_back(String::from_utf8(line.into_owned()).unwrap());
            }
        }
    }
}
