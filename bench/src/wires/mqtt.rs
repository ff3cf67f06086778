//! MQTT 5 at QoS 0: a topic for each room, without the sender's own messages (No Local).

use std::rc::Rc;

use rustls::ClientConnection;

use super::pieces::Pieces;
use super::{Heard, Identity, Out, Stage, Wire};
use crate::payload::Stamps;

// Packet types with their flags, as the first byte has them (MQTT 5, section 2.1).
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGREQ: u8 = 0xC0;
const DISCONNECT: u8 = 0xE0;

/// From here on a reason code is an error.
const FIRST_ERROR: u8 = 0x80;

/// An MQTT client.
pub(super) struct Mqtt {
    name: String,
    topic: String,
    pieces: Pieces,
    stamps: Rc<Stamps>,
}

impl Mqtt {
    pub(super) fn new(identity: Identity, stamps: Rc<Stamps>) -> Self {
        let name = format!("u{}", identity.index);
        Self { name, topic: identity.room, pieces: Pieces::default(), stamps }
    }
}

/// A text with its length.
fn text(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX); // names here are short
    [&len.to_be_bytes(), text.as_bytes()].concat()
}

/// A packet: its first byte, the length of the rest, the rest.
fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut len: usize = parts.iter().map(|part| part.len()).sum();
    loop {
        let digit = (len % 128) as u8;
        len /= 128;
        packet.push(if len > 0 { digit | 0x80 } else { digit });
        if len == 0 {
            break;
        }
    }
    parts.iter().for_each(|part| packet.extend_from_slice(part));
    packet
}

/// How long the head and the whole of the packet are that these bytes begin with; `None` when the head is not all there.
fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut rest = 0;
    for (i, byte) in bytes.iter().skip(1).take(4).enumerate() {
        rest |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((i + 2, i + 2 + rest));
        }
    }
    None
}

impl Wire for Mqtt {
    fn begin(&mut self, _: &ClientConnection, heard: &mut Heard, _: &mut Out) {
        heard.stage = Some(Stage::Connected);
    }

    fn login(&mut self, out: &mut Out) {
        // Version 5, a clean start, no keep-alive, no properties.
        let head = [text("MQTT"), vec![5, 0x02, 0, 0, 0]].concat();
        out.say(packet(CONNECT, &[&head, &text(&self.name)]));
    }

    fn join(&mut self, out: &mut Out) {
        // Packet 1, no properties; QoS 0, No Local.
        out.say(packet(SUBSCRIBE, &[&[0, 1, 0], &text(&self.topic), &[0b100]]));
    }

    fn say(&mut self, payload: &str, out: &mut Out) {
        out.say(packet(PUBLISH, &[&text(&self.topic), &[0], payload.as_bytes()]));
    }

    fn ping(&mut self, out: &mut Out) {
        out.say([PINGREQ, 0]);
    }

    fn hear(&mut self, bytes: &[u8], heard: &mut Heard, _: &mut Out) {
        let stamps = &self.stamps;
        self.pieces.take(bytes, |bytes| {
            let Some((head, len)) = lengths(bytes) else { return 0 };
            let Some((kind, content)) = bytes.first().zip(bytes.get(head..len)) else { return 0 };
            match kind & 0xF0 {
                PUBLISH => heard.stamps.extend(stamps.find(content)),
                CONNACK => answered(content.get(1), Stage::LoggedIn, heard),
                SUBACK => answered(content.last(), Stage::Joined, heard),
                DISCONNECT => heard.fail(format!("disconnected by the broker: {content:02x?}")),
                _ => {}
            }
            len
        });
    }
}

fn answered(reason: Option<&u8>, stage: Stage, heard: &mut Heard) {
    match reason {
        Some(reason) if *reason < FIRST_ERROR => heard.stage = Some(stage),
        reason => heard.fail(format!("refused by the broker: {reason:02x?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Stamp;

    #[test]
    fn lengths_are_those_of_the_specification() {
        for len in [0, 127, 128, 16_383, 16_384, 2_097_151] {
            let packet = packet(PUBLISH, &[&vec![0; len]]);
            assert_eq!(lengths(&packet).map(|(_, whole)| whole), Some(packet.len()));
        }
        assert_eq!(lengths(&[PUBLISH, 0x80]), None);
        assert_eq!(packet(PUBLISH, &[&[7; 321]]).get(..3), Some([PUBLISH, 0xC1, 0x02].as_slice()));
    }

    #[test]
    fn packets_are_whole_however_they_come() {
        let stamp = Stamp { sender: 1, number: 2, time: 3 };
        let published = packet(PUBLISH, &[&text("bench0"), &[0], stamp.to_text(700).as_bytes()]);
        let bytes = [vec![CONNACK, 3, 0, 0, 0], published, vec![SUBACK, 4, 0, 1, 0, 0]].concat();
        for size in [1, 2, 3, 100, bytes.len()] {
            let identity = Identity { index: 0, user: "u0".into(), room: "bench0".into() };
            let mut mqtt = Mqtt::new(identity, Rc::new(Stamps::new()));
            let (mut heard, mut out) = (Heard::default(), Out::default());
            bytes.chunks(size).for_each(|piece| mqtt.hear(piece, &mut heard, &mut out));
            assert_eq!((heard.stage, heard.stamps.as_slice()), (Some(Stage::Joined), [stamp].as_slice()));
            assert_eq!(heard.failure, None);
        }
    }
}
