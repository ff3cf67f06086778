//! Somebody who guesses a password: connects, tries one, and hears what comes of it.

use rustls::ClientConnection;
use secure_chat::names::{Password, UserName};
use secure_chat::protocol::modern::{Request, RequestBody, encode_request};

use super::pieces::Pieces;
use super::{Heard, Out, Stage, Wire};
use crate::target::WireKind;

/// What a guess that is wrong is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It was looked at.
    Wrong,
    /// It was not: there were too many.
    TooMany,
    /// Something else.
    Otherwise,
}

impl Answered {
    /// On either wire.
    pub(crate) fn of(text: &str) -> Self {
        match text {
            _ if text.contains(r#""code":"login_failed""#) || text.starts_with("Login failed.") => Self::Wrong,
            _ if text.contains(r#""code":"too_many_attempts""#) || text.starts_with("Too many wrong") => Self::TooMany,
            _ => Self::Otherwise,
        }
    }
}

/// A guess. It is over when the wire says that it is logged in, which here means: answered.
pub(crate) struct Guess {
    wire: WireKind,
    user: String,
    password: String,
    greeted: bool,
    pieces: Pieces,
}

impl Guess {
    /// On the modern wire, or else on the legacy one.
    pub(crate) fn new(wire: WireKind, user: String, password: String) -> Self {
        Self { wire, user, password, greeted: false, pieces: Pieces::default() }
    }

    /// What is sent, once the server has greeted.
    pub(crate) fn request(&self) -> Vec<u8> {
        if self.wire != WireKind::Modern {
            return format!("CMD::/login {} {}", self.user, self.password).into_bytes();
        }
        let (user, password) = (UserName::new(&self.user), Password::new(&*self.password));
        let mut line = Vec::new();
        encode_request(&Request { id: 1, body: RequestBody::Login { user, password } }, &mut line);
        line
    }

    fn answered(text: &str, heard: &mut Heard) {
        heard.stage = Some(Stage::LoggedIn);
        heard.answer = Some(Answered::of(text));
    }
}

impl Wire for Guess {
    fn begin(&mut self, _: &ClientConnection, _: &mut Heard, out: &mut Out) {
        if self.wire != WireKind::Modern {
            out.say(self.request());
        }
    }

    fn login(&mut self, _: &mut Out) {}

    fn join(&mut self, _: &mut Out) {}

    fn say(&mut self, _: &str, _: &mut Out) {}

    fn ping(&mut self, _: &mut Out) {}

    fn hear(&mut self, bytes: &[u8], heard: &mut Heard, out: &mut Out) {
        if self.wire != WireKind::Modern {
            return Self::answered(&String::from_utf8_lossy(bytes), heard);
        }
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.lines(bytes, |line| {
            if std::mem::replace(&mut self.greeted, true) {
                Self::answered(&String::from_utf8_lossy(line), heard);
            } else {
                out.say(self.request()); // that was the hello
            }
        });
        self.pieces = pieces;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_of_a_guess_is_understood_on_both_wires() {
        for (wire, hello, answers) in [
            (
                WireKind::Legacy,
                None,
                [
                    "Login failed. Invalid username or password.",
                    "Too many wrong passwords or tokens. Try again in 1 s.",
                ],
            ),
            (
                WireKind::Modern,
                Some("{\"type\":\"hello\"}\n"),
                [
                    "{\"type\":\"error\",\"id\":1,\"code\":\"login_failed\",\"text\":\"x\"}\n",
                    "{\"type\":\"error\",\"id\":1,\"code\":\"too_many_attempts\"}\n",
                ],
            ),
        ] {
            for (answer, expected) in answers.into_iter().zip([Answered::Wrong, Answered::TooMany]) {
                let mut guess = Guess::new(wire, "u1".into(), "guess".into());
                let (mut heard, mut out) = (Heard::default(), Out::default());
                hello.into_iter().for_each(|hello| guess.hear(hello.as_bytes(), &mut heard, &mut out));
                assert_eq!((heard.stage, out.0.len()), (None, hello.iter().count()));
                guess.hear(answer.as_bytes(), &mut heard, &mut out);
                assert_eq!((heard.stage, heard.answer), (Some(Stage::LoggedIn), Some(expected)));
            }
        }
    }
}
