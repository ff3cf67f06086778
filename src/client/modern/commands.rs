//! What the typed commands do.

use super::acts::{ActTask, MODERN_ONLY};
use super::requests::Asked;
use super::room::Stay;
use super::roster::Listed;
use super::task::{Queued, Task};
use super::{Machine, RequestBody};
use crate::client::alarm::counted;
use crate::client::key_name::KeyName;
use crate::client::key_words;
use crate::client::people::Verdict;
use crate::client::shown::{Name, Room};
use crate::client::typed::command::Command;
use crate::names::{Password, RoomName, UserName};
use crate::transcript::Verb;

/// Whether a command asks nobody: it is done at once, whatever waits.
pub(super) fn is_local(command: &Command) -> bool {
    use Command::{Accept, Block, Keys, Readers, Sent, Unblock, Verify};
    matches!(command, Accept(..) | Block(_) | Keys(_) | Readers | Sent | Unblock(_) | Verify { .. })
}

impl Machine {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Register(user, password, token) => {
                self.ask(Asked::Register { user: user.clone() }, RequestBody::Register { user, password, token });
            }
            Command::Login(user, password) => {
                self.login(user, password);
                self.task = Some(Task::Answer);
            }
            Command::ChangePassword { old, new } => self.ask(Asked::Passwd, RequestBody::Passwd { old, new }),
            Command::AllowLegacy { allowed: legacy, password } => {
                self.ask(Asked::Account { legacy }, RequestBody::Account { password, legacy });
            }
            Command::List => self.ask(Asked::List, RequestBody::List),
            Command::Create(room, password) => {
                self.ask(Asked::Create, RequestBody::Create { room, password, modern_only: false });
            }
            Command::Join(room, password) => match self.stay_to_leave_for(&room) {
                Some(stay) => {
                    let left = stay.room.clone();
                    self.lines.push_front(Queued::Join { room, password, left });
                    self.task = Some(Task::Act(ActTask::moving_on()));
                }
                None => self.enter(room, password, None),
            },
            Command::Who => self.begin_who(),
            Command::Direct(..) => {} // is queued with its number
            Command::Readers => self.show_readers(),
            Command::Sent => self.show_sent(),
            Command::Keys(user) => self.show_keys(user),
            Command::Verify { user, same } => self.verify(&user, same),
            Command::Accept(user, key) => self.accept(&user, key),
            Command::Block(user) => self.block(&user, true),
            Command::Unblock(user) => self.block(&user, false),
            act => self.act_command(act),
        }
    }

    fn act_command(&mut self, command: Command) {
        let timed = |verb, user: &UserName, seconds: Option<u64>| {
            let seconds = seconds.map_or(String::new(), |seconds| seconds.to_string());
            ActTask::new(verb, user.as_str(), &seconds, None)
        };
        let act = match command {
            Command::Leave => ActTask::new(Verb::Leave, "", "", None),
            Command::Topic(None) => return self.show_topic(),
            Command::Topic(Some(topic)) => ActTask::new(Verb::Topic, "", topic.as_str(), None),
            Command::RoomPassword(new) => ActTask::new(Verb::Password, "", "", Some(new)),
            Command::ModernOnly(on) => ActTask::new(Verb::Flags, "", if on { MODERN_ONLY } else { "" }, None),
            Command::DeleteRoom(room) => match self.confirmed(room) {
                true => ActTask::new(Verb::Delete, "", "", None),
                false => return self.cannot("To delete the room that you are in: /room delete and its name."),
            },
            Command::Kick(user, reason) => ActTask::new(Verb::Kick, user.as_str(), reason.as_str(), None),
            Command::Ban(user, seconds) => timed(Verb::Ban, &user, seconds),
            Command::Unban(user) => timed(Verb::Unban, &user, None),
            Command::Mute(user, seconds) => timed(Verb::Mute, &user, seconds),
            Command::Unmute(user) => timed(Verb::Unmute, &user, None),
            _ => return,
        };
        self.task = Some(Task::Act(act));
    }

    fn ask(&mut self, asked: Asked, body: RequestBody) {
        self.request(asked, body);
        self.task = Some(Task::Answer);
    }

    /// Enters a room, and waits for it.
    pub(super) fn enter(&mut self, room: RoomName, password: Option<Password>, left: Option<RoomName>) {
        self.join(room, password, left);
        self.task = Some(Task::Answer);
    }

    /// Another room that is to be left first, so that its members see that it was meant.
    fn stay_to_leave_for(&self, room: &RoomName) -> Option<&Stay> {
        let other = |here: &RoomName| here != room && here.normalized() != room.normalized();
        self.stay.as_ref().filter(|stay| self.own().is_some() && other(&stay.room))
    }

    fn confirmed(&self, room: Option<RoomName>) -> bool {
        let here = self.stay.as_ref().map(|stay| &stay.room);
        room.zip(here).is_some_and(|(room, here)| room == *here || room.normalized() == here.normalized())
    }

    fn begin_who(&mut self) {
        if self.stay.as_ref().is_some_and(|stay| !stay.roster.is_full()) {
            self.ask_who();
        }
        self.task = Some(Task::Who);
    }

    fn show_topic(&mut self) {
        match &self.stay {
            None => self.cannot("You are in no room: /join one."),
            Some(stay) if stay.topic.as_str().is_empty() => self.say("There is no topic."),
            Some(stay) => {
                let words = format!("Topic: {}", stay.topic);
                self.server_says(&words);
            }
        }
    }

    /// Shows the members, whose list was checked against the room's log.
    pub(super) fn show_members(&mut self) {
        let Some(stay) = &self.stay else { return };
        let mut entries: Vec<&Listed> = stay.roster.entries().collect();
        entries.sort_by(|one, other| one.entry.cmp(&other.entry));
        let lines: Vec<String> = entries.iter().map(|listed| self.member(listed)).collect();
        let sessions = counted(stay.roster.len(), "session is", "sessions are");
        self.say(format!("{sessions} in {}:", Room(&stay.room)));
        self.say_all(lines);
    }

    fn member(&self, listed: &Listed) -> String {
        let entry = &listed.entry;
        let what = match entry.key.bundle() {
            None => "on the old wire, unsigned".to_owned(),
            Some(bundle) if self.is_this(bundle, entry.run) => "you, here".to_owned(),
            Some(bundle) => match self.keys.bundle(bundle, self.now.elapsed) {
                super::keys::Found::Here(bundle) => match self.people.judge(bundle) {
                    Verdict::Good(trust) => trust.word().to_owned(),
                    Verdict::Changed { .. } => "with a key that is not the known one".to_owned(),
                    Verdict::Full => "not known".to_owned(),
                },
                super::keys::Found::Not(why) => format!("with keys that cannot be used: {why}"),
                super::keys::Found::NotYet => self.pinned_word(&entry.account).to_owned(),
            },
        };
        let away = if listed.away { ", away" } else { "" };
        format!("  {} ({what}{away})", Name(&entry.account))
    }

    pub(super) fn pinned_word(&self, account: &UserName) -> &'static str {
        if self.people.signs(account) { "known; these keys were not needed yet" } else { "not known yet" }
    }

    pub(super) fn is_this(&self, bundle: crate::transcript::BundleHash, run: crate::transcript::RunId) -> bool {
        run == self.run && self.account.as_ref().is_some_and(|own| own.bundle.hash() == bundle)
    }

    fn show_sent(&mut self) {
        let lines = self.sent.lines();
        if lines.is_empty() {
            return self.say("Nothing was sent yet.");
        }
        self.say_all(lines);
    }

    pub(super) fn say_all(&mut self, lines: Vec<String>) {
        lines.into_iter().for_each(|line| self.say(line));
    }

    fn show_keys(&mut self, user: Option<UserName>) {
        let lines = match user.map(|user| self.people.named(&user)) {
            None => {
                let (key, device) = (self.signing_key.verifying_key().bytes(), self.rsa.public().fingerprint());
                key_words::own_keys(key, device, self.realm.into())
            }
            Some(user) => key_words::keys_of(&self.people, &user, self.people.offered(&user)),
        };
        self.say_all(lines);
    }

    fn verify(&mut self, user: &UserName, same: bool) {
        let user = self.people.named(user);
        if same {
            return match key_words::verify(&mut self.people, &user) {
                Ok(words) => self.say(words),
                Err(words) => self.cannot(words),
            };
        }
        let offered = self.people.offered(&user);
        let lines = key_words::compare(&mut self.people, &user, offered);
        self.say_all(lines);
    }

    fn accept(&mut self, user: &UserName, key: Option<KeyName>) {
        let user = self.people.named(user);
        let accepted = self.people.accept(&user, key);
        if let (Ok(_), Some(stay)) = (&accepted, &mut self.stay) {
            stay.prepared = None;
        }
        self.unsent |= accepted.is_err();
        self.say(key_words::accepted(&user, accepted));
    }

    fn block(&mut self, user: &UserName, blocked: bool) {
        let user = self.people.named(user);
        let words = key_words::block(&mut self.people, &user, blocked);
        self.say(words);
    }
}
