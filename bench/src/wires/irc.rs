//! IRC (RFC 2812): a nick, a channel, PRIVMSG.

use std::rc::Rc;

use rustls::ClientConnection;

use super::pieces::Pieces;
use super::{Heard, Identity, Out, Stage, Wire};
use crate::payload::Stamps;

/// An IRC client.
pub(super) struct Irc {
    nick: String,
    channel: String,
    /// Whether it asks for an answer before it logs in.
    probing: bool,
    pieces: Pieces,
    stamps: Rc<Stamps>,
}

impl Irc {
    pub(super) fn new(identity: Identity, probing: bool, stamps: Rc<Stamps>) -> Self {
        let (nick, channel) = (format!("u{}", identity.index), format!("#{}", identity.room));
        Self { nick, channel, probing, pieces: Pieces::default(), stamps }
    }
}

impl Wire for Irc {
    fn begin(&mut self, _: &ClientConnection, heard: &mut Heard, out: &mut Out) {
        if self.probing {
            out.say("LIST\r\n");
        } else {
            heard.stage = Some(Stage::Connected);
        }
    }

    fn login(&mut self, out: &mut Out) {
        let nick = &self.nick;
        out.say(format!("NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\n"));
    }

    fn join(&mut self, out: &mut Out) {
        out.say(format!("JOIN {}\r\n", self.channel));
    }

    fn say(&mut self, text: &str, out: &mut Out) {
        out.say(format!("PRIVMSG {} :{text}\r\n", self.channel));
    }

    fn ping(&mut self, out: &mut Out) {
        out.say("PING :bench\r\n");
    }

    fn hear(&mut self, bytes: &[u8], heard: &mut Heard, out: &mut Out) {
        let (stamps, probing) = (&self.stamps, self.probing);
        self.pieces.lines(bytes, |line| {
            if let Some(token) = line.strip_prefix(b"PING ") {
                out.say([b"PONG ", token, b"\r\n"].concat());
                return;
            }
            let mut words = line.splitn(4, |byte| *byte == b' ');
            match (words.next(), words.next()) {
                (Some(b"ERROR"), _) => heard.fail(String::from_utf8_lossy(line)),
                (_, Some(b"PRIVMSG")) => heard.stamps.extend(stamps.find(line)),
                // Not registered: a command was taken.
                (_, Some(b"451")) if probing => heard.stage = Some(Stage::Connected),
                (_, Some(b"001")) => heard.stage = Some(Stage::LoggedIn),
                // The end of the names: the join is done. A topic or a mode may come before it.
                (_, Some(b"366")) => heard.stage = Some(Stage::Joined),
                // 422, no message of the day, is no error.
                (_, Some([b'4', digits @ ..])) if digits.len() == 2 && digits != b"22" => {
                    heard.fail(String::from_utf8_lossy(line));
                }
                _ => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Stamp;

    #[test]
    fn what_a_server_says_is_understood() {
        let identity = Identity { index: 3, user: "u3".into(), room: "bench0".into() };
        let mut irc = Irc::new(identity, false, Rc::new(Stamps::new()));
        let (mut heard, mut out) = (Heard::default(), Out::default());
        irc.hear(b":s 001 u3 :Welcome\r\n:s 422 u3 :No MOTD\r\nPING :x\r\n", &mut heard, &mut out);
        assert_eq!(heard.stage, Some(Stage::LoggedIn));
        assert_eq!(out.0, [b"PONG :x\r\n"]);
        irc.hear(b":s 366 u3 #bench0 :End\r\n", &mut heard, &mut out);
        assert_eq!(heard.stage, Some(Stage::Joined));
        let stamp = Stamp { sender: 1, number: 2, time: 3 };
        let line = format!(":u1!u1@h PRIVMSG #bench0 :{}\r\n", stamp.to_text(400));
        irc.hear(line.as_bytes(), &mut heard, &mut out);
        assert_eq!((heard.stamps.as_slice(), heard.failure.as_deref()), ([stamp].as_slice(), None));
        irc.hear(b":s 404 u3 #bench0 :Cannot send\r\n", &mut heard, &mut out);
        assert_eq!(heard.failure.as_deref(), Some(":s 404 u3 #bench0 :Cannot send"));
    }
}
