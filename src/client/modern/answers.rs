//! What the server answers, by what was asked.

use super::requests::{Asked, Open};
use super::sent::barred;
use super::task::Task;
use super::{Job, Machine, Output};
use crate::client::alarm::counted;
use crate::client::modern::jobs::Check;
use crate::client::shown::{Name, Room};
use crate::names::{Text, UserName};
use crate::protocol::modern::{Answer, ErrorCode, OkBody, RoomItem};

/// Whether a name that the server gives is the stored form of the one that was typed: it is looked up as typed or in NFC.
pub(super) fn is_stored_form(stored: &UserName, typed: &UserName) -> bool {
    stored == typed || *stored == typed.normalized()
}

impl Machine {
    pub(super) fn answer(&mut self, answer: Answer) {
        let (id, result) = match answer {
            Answer::Part { id, body } => {
                if self.requests.part(id, body).is_err() {
                    self.broken_server("the server answered out of turn");
                }
                return;
            }
            Answer::Ok { id, body } => (id, Ok(body)),
            Answer::Error { id: Some(id), code, text } => (id, Err((code, text))),
            Answer::Error { id: None, code, text } => {
                let why = self.why_refused(code, &text);
                return self.broken_server(&format!("the server did not understand this program: {why}"));
            }
        };
        let Ok(open) = self.requests.answered(id) else {
            return self.broken_server("the server answered out of turn");
        };
        match result {
            Ok(body) => self.ok(open, body),
            Err((code, text)) => self.refused(open, code, &text),
        }
    }

    fn ok(&mut self, open: Open, body: OkBody) {
        let Open { id, asked, parts, .. } = open;
        match (asked, body) {
            (Asked::Register { user: typed }, OkBody::Register { user }) => {
                if !is_stored_form(&user, &typed) {
                    return self.broken_server("the server made an account of another name");
                }
                self.say(format!("The account {} is made. Log in with /login {0} and the password.", Name(&user)));
                self.finish();
            }
            (Asked::Login { user: typed }, OkBody::Login { user }) => self.logged_in(&typed, user),
            (Asked::Announce, OkBody::Announce { bundle, session }) => {
                self.announced(bundle, session);
                self.finish();
            }
            (Asked::Resume, OkBody::Resume { user, bundle, .. }) => self.resumed(Some((user, bundle))),
            (Asked::Passwd, OkBody::Passwd { session }) => {
                self.new_token(session);
                self.say("Your password is changed. Your other sessions have to log in again.");
                self.finish();
            }
            (Asked::Account { legacy }, OkBody::Account) => {
                self.say(match legacy {
                    true => "Your account can log in on the old wire, too.",
                    false => "Your account cannot log in on the old wire any more.",
                });
                self.finish();
            }
            (Asked::Create, OkBody::Create { room, .. }) => {
                self.say(format!(
                    "The room {} is made, and you are its owner. /join it with its password.",
                    Room(&room)
                ));
                self.finish();
            }
            (Asked::List, OkBody::List { .. }) => {
                self.show_rooms(&parts.rooms);
                self.finish();
            }
            (Asked::Join { password, room, .. }, OkBody::Join(join)) => {
                self.misplaced = false;
                self.joined(join, &room, password);
                self.join_is_over();
            }
            (Asked::Who { room }, OkBody::Who { n, .. }) => self.who(room, parts.entries, n),
            (Asked::Bundles, OkBody::Bundles { .. }) => {
                let asked = self.keys.answered(id);
                let check = Check { realm: self.realm, asked, bundles: parts.bundles };
                self.out.push(Output::Work(Job::Check(check)));
            }
            (Asked::Sessions { user }, OkBody::Sessions { user: stored, recipient, own }) => {
                self.sessions(&user, stored, recipient, own);
            }
            (Asked::Send, OkBody::Send(accepted)) => self.said(accepted),
            (Asked::Grant { epoch, to }, OkBody::Grant) => self.granted(epoch, &to),
            (Asked::Act, OkBody::Act(accepted)) => self.acted(accepted),
            (Asked::Direct, OkBody::Direct { .. }) => self.direct_delivered(),
            _ => {} // signs of life, keys that were attached or asked for
        }
    }

    fn refused(&mut self, open: Open, code: ErrorCode, text: &Text) {
        let Open { id, asked, .. } = open;
        match asked {
            Asked::Resume => self.resumed(None),
            Asked::Join { room, left, .. } => {
                self.not_joined(&room, left, code, text);
                self.join_is_over();
            }
            Asked::Who { .. } => self.who_refused(text),
            Asked::Bundles => {
                let asked = self.keys.answered(id);
                let check = Check { realm: self.realm, asked, bundles: Vec::new() };
                self.out.push(Output::Work(Job::Check(check)));
            }
            Asked::Sessions { .. } | Asked::Direct => self.direct_refused(code, text),
            Asked::Send => self.said_not(code, text),
            Asked::Attach => {} // the message will be refused, or go to fewer, which the server says
            Asked::Grant { .. } => self.not_granted(code, text),
            Asked::Act => self.acted_not(code, text),
            Asked::NeedKey | Asked::Ping => {}
            Asked::Announce => {
                self.account = None;
                self.refuse_command(code, text);
            }
            _ => self.refuse_command(code, text),
        }
    }

    fn refuse_command(&mut self, code: ErrorCode, text: &Text) {
        self.unsent = true;
        match code {
            ErrorCode::TooManyAttempts { retry_after } => {
                let seconds = counted(usize::try_from(retry_after).unwrap_or(usize::MAX), "second", "seconds");
                self.server_says(&format!("{text} Try again in {seconds}."));
            }
            ErrorCode::Banned { until } => {
                let words = barred("banned", until, self.now.unix);
                self.server_says(&format!("{text} ({words})"));
            }
            _ => self.out.push(Output::Server(text.clone())),
        }
        self.finish();
    }

    /// Why something was refused, in this program's own words. What the server says beyond them is shown as the server's.
    pub(super) fn why_refused(&mut self, code: ErrorCode, text: &Text) -> String {
        let own = code.text();
        if text.as_str() != own {
            self.out.push(Output::Server(text.clone()));
        }
        own.trim_end_matches('.').to_owned()
    }

    /// A join is the whole of a task, or the end of a return.
    fn join_is_over(&mut self) {
        if self.link.is_returning_to_room() {
            self.returned();
        } else if matches!(self.task, Some(Task::Answer)) {
            self.finish();
        }
    }

    fn show_rooms(&mut self, rooms: &[RoomItem]) {
        if rooms.is_empty() {
            return self.server_says("There are no rooms yet. /create one.");
        }
        let lines = rooms.iter().map(|item| {
            let sessions = counted(usize::try_from(item.members).unwrap_or(usize::MAX), "session", "sessions");
            let kind = if item.modern_only { ", without the old wire" } else { "" };
            format!("{} ({sessions}{kind})", Room(&item.room))
        });
        let lines: Vec<String> = lines.collect();
        lines.iter().for_each(|line| self.server_says(line));
    }
}
