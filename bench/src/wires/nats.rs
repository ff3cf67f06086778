//! The NATS client protocol: a subject for each room, without echo.

use std::rc::Rc;

use rustls::ClientConnection;

use super::pieces::Pieces;
use super::{Heard, Identity, Out, Stage, Wire};
use crate::payload::Stamps;

/// What is said first. Without echo a sender does not get its own messages, as on the other wires.
const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false,\"tls_required\":true,\
                       \"lang\":\"bench\",\"version\":\"1\",\"protocol\":1}\r\nPING\r\n";

/// A NATS client.
pub(super) struct Nats {
    subject: String,
    /// What the next PONG answers.
    awaited: Option<Stage>,
    pieces: Pieces,
    stamps: Rc<Stamps>,
}

impl Nats {
    pub(super) fn new(identity: Identity, stamps: Rc<Stamps>) -> Self {
        Self { subject: identity.room, awaited: None, pieces: Pieces::default(), stamps }
    }
}

impl Wire for Nats {
    fn waits_in_clear(&self) -> bool {
        true // INFO
    }

    fn begin(&mut self, _: &ClientConnection, heard: &mut Heard, _: &mut Out) {
        heard.stage = Some(Stage::Connected);
    }

    fn login(&mut self, out: &mut Out) {
        self.awaited = Some(Stage::LoggedIn);
        out.say(CONNECT);
    }

    fn join(&mut self, out: &mut Out) {
        self.awaited = Some(Stage::Joined);
        out.say(format!("SUB {} 1\r\nPING\r\n", self.subject));
    }

    fn say(&mut self, text: &str, out: &mut Out) {
        out.say(format!("PUB {} {}\r\n{text}\r\n", self.subject, text.len()));
    }

    fn ping(&mut self, out: &mut Out) {
        out.say("PING\r\n");
    }

    fn hear(&mut self, bytes: &[u8], heard: &mut Heard, out: &mut Out) {
        let (stamps, awaited) = (&self.stamps, &mut self.awaited);
        self.pieces.take(bytes, |bytes| {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return 0 };
            let line = bytes.get(..end).unwrap_or_default();
            if line.starts_with(b"MSG ") {
                let Some(size) = payload_size(line) else {
                    heard.fail("a MSG without a size");
                    return bytes.len();
                };
                let whole = end + 1 + size + 2;
                let Some(payload) = bytes.get(end + 1..whole) else { return 0 };
                heard.stamps.extend(stamps.find(payload));
                return whole;
            }
            if line.starts_with(b"PING") {
                out.say("PONG\r\n");
            } else if line.starts_with(b"PONG") {
                heard.stage = awaited.take().or(heard.stage);
            } else if line.starts_with(b"-ERR") {
                heard.fail(String::from_utf8_lossy(line).trim());
            }
            end + 1
        });
    }
}

/// The last word of `MSG subject sid [reply] size`.
fn payload_size(line: &[u8]) -> Option<usize> {
    str::from_utf8(line).ok()?.split_ascii_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Stamp;

    #[test]
    fn messages_are_whole_however_they_come() {
        let stamp = Stamp { sender: 1, number: 2, time: 3 };
        let text = format!("PONG\r\nMSG bench0 1 100\r\n{}\r\nPING\r\n", stamp.to_text(100));
        for size in 1..=text.len() {
            let identity = Identity { index: 0, user: "u0".into(), room: "bench0".into() };
            let mut nats = Nats::new(identity, Rc::new(Stamps::new()));
            let (mut heard, mut out) = (Heard::default(), Out::default());
            nats.join(&mut out);
            text.as_bytes().chunks(size).for_each(|piece| nats.hear(piece, &mut heard, &mut out));
            assert_eq!((heard.stage, heard.stamps.as_slice()), (Some(Stage::Joined), [stamp].as_slice()));
            assert_eq!(out.0.last().map(Vec::as_slice), Some(b"PONG\r\n".as_slice()), "in pieces of {size}");
        }
    }
}
