//! How sessions begin and end, and what is due when.

use std::net::IpAddr;
use std::time::Duration;

use crate::chat::hub::Hub;
use crate::chat::hub::session::Session;
use crate::chat::{Dialect, Effect, Input, Limits, SessionId};
use crate::names::RoomName;
use crate::protocol::Reply;
use crate::protocol::modern::{ByeReason, Event, RequestBody};
use crate::transcript::RosterEntry;

/// How long a session on the modern wire may say nothing.
const SILENCE: Duration = Duration::from_secs(75);

/// What the hub wants to be called for.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A session may have been silent for too long.
    Silent(SessionId),
    /// A session may have been a guest, or done nothing, for too long.
    Idle(SessionId),
    /// An entry may have been away for too long.
    Away(RoomName, RosterEntry),
    /// Changes that were collected are told.
    Collected(RoomName),
    /// The life of some tokens may have ended.
    Tokens,
}

impl Hub {
    pub(super) fn connected(&mut self, session: SessionId, address: IpAddr, dialect: Dialect) {
        self.sessions.insert(session, Session::new(address, dialect, self.now.elapsed, &self.attached));
        if dialect == Dialect::Modern {
            self.timers.set(self.now.elapsed + SILENCE, Timer::Silent(session));
        }
        self.watch(session, Duration::MAX);
    }

    /// Has a session looked at when its time may have come: at `end`, or before, should it be somebody else by then.
    fn watch(&mut self, session: SessionId, end: Duration) {
        let Limits { login_time, idle_time, .. } = self.limits;
        if let Some(shortest) = login_time.into_iter().chain(idle_time).min() {
            let next = self.now.elapsed.saturating_add(shortest).min(end);
            self.timers.set(next, Timer::Idle(session));
        }
    }

    /// What somebody who is logged in does ends the idling; a guest's time runs on.
    pub(super) fn note_activity(&mut self, input: &Input) {
        let session = match input {
            Input::Request(_, Ok(request)) if matches!(request.body, RequestBody::Ping) => return,
            Input::Message(session, _)
            | Input::Key { session, .. }
            | Input::Request(session, _)
            | Input::Announce { session, .. } => session,
            _ => return,
        };
        if let Some(found) = self.sessions.get_mut(session).filter(|found| found.member().is_some()) {
            found.since = self.now.elapsed;
        }
    }

    /// Something came from a session.
    pub(super) fn heard(&mut self, session: SessionId) {
        let now = self.now.elapsed;
        self.modern_mut(session).into_iter().for_each(|modern| modern.heard = now);
    }

    pub(super) fn tick(&mut self) {
        while let Some(timer) = self.timers.due(self.now.elapsed) {
            match timer {
                Timer::Silent(session) => self.listen(session),
                Timer::Idle(session) => self.end_idle(session),
                Timer::Away(room, entry) => self.away_ends(&room, &entry),
                Timer::Collected(room) => self.collected(&room),
                Timer::Tokens => self.sweep_tokens(),
            }
        }
    }

    /// Ends a session that is silent. One that is waited for may say nothing: the answer is on its way.
    fn listen(&mut self, session: SessionId) {
        let Some(found) = self.sessions.get(&session) else { return };
        let Some(modern) = found.modern() else { return };
        let end = if found.pending.is_some() { self.now.elapsed } else { modern.heard } + SILENCE;
        if end <= self.now.elapsed {
            self.end(session, ByeReason::Silent);
        } else {
            self.timers.set(end, Timer::Silent(session));
        }
    }

    /// Ends a session that is nobody's, or does nothing, for too long. One that is waited for does something.
    fn end_idle(&mut self, session: SessionId) {
        let Some(found) = self.sessions.get(&session) else { return };
        let since = if found.pending.is_some() { self.now.elapsed } else { found.since };
        let (limit, reason) = match found.member() {
            None => (self.limits.login_time, ByeReason::LoginTimeout),
            Some(_) => (self.limits.idle_time, ByeReason::Idle),
        };
        let end = limit.map_or(Duration::MAX, |limit| since.saturating_add(limit));
        if end <= self.now.elapsed {
            self.end(session, reason);
        } else {
            self.watch(session, end);
        }
    }

    /// Ends a session, and tells it why.
    pub(super) fn end(&mut self, session: SessionId, reason: ByeReason) {
        if self.is_modern(session) {
            self.tell_one(session, Event::bye(reason));
        } else {
            self.reply(
                session,
                match reason {
                    ByeReason::LoginTimeout => Reply::LoginTimeout,
                    ByeReason::Idle => Reply::Idle,
                    _ => Reply::PasswordChanged, // nothing else ends one on the legacy wire
                },
            );
        }
        self.cut(session);
    }

    pub(super) fn cut(&mut self, session: SessionId) {
        self.effects.push(Effect::End(session));
        self.disconnected(session);
    }

    pub(super) fn disconnected(&mut self, session: SessionId) {
        self.lose(session);
        self.become_nobody(session);
        let gone = self.sessions.remove(&session);
        self.timers.prune(|timer| match timer {
            Timer::Silent(session) | Timer::Idle(session) => self.sessions.contains_key(session),
            Timer::Away(..) | Timer::Collected(_) | Timer::Tokens => true,
        });
        let Some(Session { pending: Some(pending), .. }) = gone else { return };
        if pending.is_check() {
            self.throttle.dropped(session); // nobody will come back with its outcome
            self.let_crowd_on();
        }
        if pending.is_consequential() {
            self.orphans.insert(session, pending);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Directory, Entries, Input, Now};
    use crate::transcript::Realm;

    #[test]
    fn who_comes_and_goes_leaves_nothing_to_wait_for() {
        let mut hub = Hub::new(Directory::new(Entries::default()), Realm([1; 32]), [2; 32]);
        let now = Now { elapsed: Duration::from_secs(1), unix_ms: 1 };
        let address = IpAddr::from([127, 0, 0, 1]);
        for number in 0..10_000 {
            hub.handle(now, Input::Connected(SessionId(number), address, Dialect::Modern));
            hub.handle(now, Input::Disconnected(SessionId(number)));
        }
        assert!(hub.timers.len() < 2000, "{}", hub.timers.len());
    }
}
