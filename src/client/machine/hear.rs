//! What the server says.

use super::{Machine, Now, Output, Settling};
use crate::client::requests::{Asked, Place, Request};
use crate::names::{RoomName, Text, UserName};
use crate::protocol::legacy::{self, FromServer};
use crate::protocol::{Notice, Reply, ServerMessage};

impl Machine {
    pub(super) fn hear(&mut self, now: Now, message: FromServer, out: &mut Vec<Output>) {
        let message = match message {
            FromServer::Known(message) => message,
            FromServer::Signed(package, signed) => return self.signed_package(now, &package, *signed, out),
            FromServer::Bundle(bundle) => return self.learn_bundle(now, &bundle, out),
            FromServer::Text(text) => {
                let settled = self.requests.settle_other(self.is_god());
                self.presume(settled);
                return out.push(Output::Server(text));
            }
        };
        out.extend(legacy::text_of(&message).map(Output::Server));
        match message {
            ServerMessage::Chat(package) => self.unsigned_package(&package, out),
            ServerMessage::Key(key) => self.learn(now, &key, out),
            ServerMessage::Notice(notice) => self.notice(now, &notice),
            ServerMessage::Reply(reply) => self.reply(reply),
        }
    }

    fn notice(&mut self, now: Now, notice: &Notice) {
        match notice {
            Notice::Joined(user) if self.is_own(user) => {
                let settled = self.requests.settle(|asked| matches!(asked, Asked::Join(_)));
                let asked = settled.last().map(|request| request.sent);
                self.presume(settled);
                if let Some(asked) = asked {
                    self.settling = Some(Settling { since: now.elapsed, asked });
                    self.join_failed = false;
                }
            }
            Notice::Joined(user) => {
                self.keyring.come(user);
                self.announce_soon(now);
            }
            // An own second session may go; this one is still here.
            Notice::Left(user) if self.is_own(user) => {}
            Notice::Left(user) => self.keyring.leave(user),
        }
    }

    fn reply(&mut self, reply: Reply) {
        match reply {
            Reply::LoggedIn(user) => self.logged_in(user),
            Reply::LoginFailed | Reply::LoginUsage => self.fail(|asked| matches!(asked, Asked::Login(_))),
            Reply::TooManyAttempts { .. } => self.fail(|asked| matches!(asked, Asked::Login(_) | Asked::Join(_))),
            Reply::NoSuchRoom(room) => {
                let is_it =
                    |asked: &Asked| matches!(asked, Asked::Join(asked) if is_shown(asked.as_str(), room.as_str()));
                self.fail(is_it);
            }
            Reply::IncorrectRoomPassword | Reply::JoinUsage => self.fail(|asked| matches!(asked, Asked::Join(_))),
            Reply::JoinUsageBare => self.fail(|asked| matches!(asked, Asked::Join(room) if room.as_str().is_empty())),
            Reply::LoginFirst => self.fail(|asked| matches!(asked, Asked::Join(_) | Asked::Listed)),
            Reply::JoinFirst if !self.requests.hold_lines() => self.place.room = None,
            _ => {}
        }
    }

    fn logged_in(&mut self, user: UserName) {
        let is_it = |asked: &Asked| matches!(asked, Asked::Login(name) if is_shown(name.as_str(), user.as_str()));
        let mut settled = self.requests.settle(is_it);
        let name = match settled.pop() {
            // What is shown is sanitized: as typed, the name is whole.
            Some(Request { asked: Asked::Login(typed), .. }) if typed.to_string() == user.as_str() => typed,
            // In another normal form, it is the stored name that is shown, and that the others know.
            Some(_) => user,
            None => return self.presume(settled), // nobody asked
        };
        self.presume(settled);
        self.stand_at(Place { nick: Some(name), room: None });
        self.login_failed = false;
    }

    /// What came before an answer and has none is done; so is what was answered with success.
    fn presume(&mut self, settled: Vec<Request>) {
        for request in settled {
            if let (Asked::Join(room), None) = (request.asked, request.presumed) {
                self.enter(room);
            }
        }
    }

    fn fail(&mut self, answered: impl Fn(&Asked) -> bool) {
        let mut settled = self.requests.settle(answered);
        let failed = settled.pop();
        self.presume(settled);
        let Some(failed) = failed else { return };
        match failed.asked {
            Asked::Login(_) => self.login_failed = true,
            Asked::Join(_) => self.join_failed = true,
            _ => return,
        }
        if let Some(before) = failed.presumed {
            self.stand_at(before);
        }
    }

    pub(super) fn stand_at(&mut self, place: Place) {
        if let Some(nick) = &place.nick {
            self.keyring.people.set_own(nick.clone(), self.private.public().fingerprint());
        }
        self.bundle_due = place.room.is_some();
        self.place = place;
    }

    pub(super) fn enter(&mut self, room: RoomName) {
        // After a new log-in it is another stay: who came back in between was not seen.
        if self.place.room.as_ref() != Some(&room) {
            self.keyring.change_room();
            self.heard.counters.was_away(room.clone());
        }
        self.place.room = Some(room);
        self.bundle_due = true;
        self.join_failed = false;
        self.told_lonely = false;
    }

    pub(super) fn is_own(&self, user: &UserName) -> bool {
        self.place.nick.as_ref().is_some_and(|nick| is_shown(nick.as_str(), user.as_str()))
    }
}

/// Whether a name that the server shows is the one that was typed: it may be sanitized, and in another normal form.
fn is_shown(typed: &str, shown: &str) -> bool {
    let form = |name: &str| UserName::new(Text::sanitize(name).as_str()).normalized();
    form(typed) == form(shown)
}
