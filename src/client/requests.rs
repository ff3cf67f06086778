//! Requests that the server has not answered yet.
//!
//! Replies bear no mark of what they answer, but they come in order: a reply settles the first request that it can be
//! the answer to. God's `/join` is answered by nothing at all; it is settled by whatever answers a later request, or by time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::names::{RoomName, UserName};

/// How long an answer is waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// `/login`, with or without its words.
    Login(UserName),
    /// `/join`, with or without its words.
    Join(RoomName),
    /// `/create` or `/list`, which need a login.
    Listed,
    /// Anything else.
    Other,
}

/// Where the session stood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The name of the account that is logged in.
    pub nick: Option<UserName>,
    /// The room.
    pub room: Option<RoomName>,
}

/// A request and when it was sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// What was asked.
    pub asked: Asked,
    /// When, since the start.
    pub sent: Duration,
    /// Set when the answer took too long and the request was taken as done: where the session stood before.
    pub presumed: Option<Place>,
}

impl Request {
    /// Whether chat lines wait for the answer.
    pub fn holds_lines(&self) -> bool {
        self.presumed.is_none() && matches!(self.asked, Asked::Login(_) | Asked::Join(_))
    }
}

/// The requests in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Requests(VecDeque<Request>);

impl Requests {
    /// Most that are kept: a server that answers nothing must not make them grow.
    const MOST: usize = 1000;

    /// Adds one that was just sent.
    pub fn push(&mut self, asked: Asked, now: Duration) {
        if self.0.len() >= Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(Request { asked, sent: now, presumed: None });
    }

    /// Whether chat lines must wait.
    pub fn hold_lines(&self) -> bool {
        self.0.iter().any(Request::holds_lines)
    }

    /// Whether any answer is still waited for.
    pub fn awaited(&self) -> bool {
        self.0.iter().any(|request| request.presumed.is_none())
    }

    /// When the next one will have waited too long.
    pub fn next_expiry(&self) -> Option<Duration> {
        let open = self.0.iter().find(|request| request.presumed.is_none());
        open.map(|request| request.sent + PATIENCE)
    }

    /// The name that a login asks for, the last of several.
    pub fn name_asked_for(&self) -> Option<&UserName> {
        self.0.iter().rev().find_map(|request| match &request.asked {
            Asked::Login(name) if request.presumed.is_none() => Some(name),
            _ => None,
        })
    }

    /// Whether an answer that has not come may tell that the session is in a room.
    pub fn may_be_in(&self, room: &RoomName) -> bool {
        self.0.iter().any(|request| {
            let before = request.presumed.as_ref().and_then(|place| place.room.as_ref());
            before == Some(room) || matches!(&request.asked, Asked::Join(asked) if asked == room)
        })
    }

    /// The first request that has waited too long; `place` is where the session stands.
    pub fn expire(&mut self, now: Duration, place: &Place) -> Option<Asked> {
        let late = |request: &&mut Request| request.presumed.is_none() && request.sent + PATIENCE <= now;
        let request = self.0.iter_mut().find(late)?;
        request.presumed = Some(place.clone());
        Some(request.asked.clone())
    }

    /// Takes out the first request that `answered` knows, and those before it, which will have no answer any more.
    /// The answered one is the last.
    pub fn settle(&mut self, answered: impl Fn(&Asked) -> bool) -> Vec<Request> {
        match self.0.iter().position(|request| answered(&request.asked)) {
            Some(at) => self.0.drain(..=at).collect(),
            None => Vec::new(),
        }
    }

    /// As [`Requests::settle`] for a text that is not known: it answers the first request that such a text can answer, unless
    /// one before it still needs its own answer; `mute` says that a `/join` has none.
    pub fn settle_other(&mut self, mute: bool) -> Vec<Request> {
        let plain = |request: &Request| matches!(request.asked, Asked::Listed | Asked::Other);
        let passed_over =
            |request: &Request| request.presumed.is_some() || (mute && matches!(request.asked, Asked::Join(_)));
        match self.0.iter().position(|request| plain(request) || !passed_over(request)) {
            Some(at) if self.0.get(at).is_some_and(plain) => self.0.drain(..=at).collect(),
            _ => Vec::new(),
        }
    }
}
