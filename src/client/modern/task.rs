//! What is typed, one after the other: the queue, and the task that is under way.

use std::time::Duration;

use super::acts::ActTask;
use super::commands::is_local;
use super::direct::DirectTask;
use super::say::Say;
use super::session::Link;
use super::{Asked, Done, MOST_LINES, Machine, Output, RequestBody};
use crate::client::shown::Name;
use crate::client::typed::command::Command;
use crate::client::typed::{Typed, help};
use crate::client::wire::Dialect;
use crate::names::{Password, RoomName, Text, UserName};

/// Longest command, in bytes: whatever JSON makes of it, a guest may send that much in a line. A direct message is split.
const LONGEST_COMMAND: usize = 2_048;

/// How long the server may take for the last word, when the person leaves.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How long it may take when the program is ended from outside.
const HANG_UP: Duration = Duration::from_secs(1);

/// What waits for its turn.
pub(super) enum Queued {
    Command(Command),
    /// A room that another one was left for.
    Join {
        room: RoomName,
        password: Option<Password>,
        left: RoomName,
    },
    /// A text for one account, and its number in the list of what was sent.
    Direct(UserName, Text, u64),
    /// A text for the room, and its number in the list of what was sent.
    Chat(String, u64),
}

/// What is under way.
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
pub(super) enum Task {
    /// An answer is all that is awaited.
    Answer,
    /// The roster is to be shown once it is known.
    Who,
    /// A message for the room.
    Say(Say),
    /// An act.
    Act(ActTask),
    /// A direct message.
    Direct(DirectTask),
}

/// Whether a task can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Not before something comes that it waits for.
    Waits,
    /// It may have another step to take, or be done.
    Goes,
}

impl Machine {
    pub(super) fn take_line(&mut self, line: zeroize::Zeroizing<String>) {
        if self.ending {
            return;
        }
        if self.lines.is_empty() && self.task.is_none() && !self.scripted {
            self.misplaced = false; // a person who types on has seen the answer
        }
        match Typed::parse(&line) {
            Typed::Nothing => {}
            Typed::Quit => self.ending = true,
            Typed::Help => self.out.extend(help(Dialect::Modern).iter().map(|&words| Output::Say(words.into()))),
            Typed::Command(line) if line.len() > LONGEST_COMMAND && !is_direct(&line) => {
                self.unsent = true;
                self.say(format!("Not taken: a command has at most {LONGEST_COMMAND} bytes."));
            }
            Typed::Command(line) => match Command::parse(&line) {
                Ok(command) if !self.scripted && is_local(&command) => self.command(command),
                Ok(Command::Direct(to, text)) => {
                    let note = self.sent.add(&format!("to {}: {text}", Name(&to)), self.now.elapsed);
                    self.queue(Queued::Direct(to, text, note));
                }
                Ok(command) => self.queue(Queued::Command(command)),
                Err(misuse) => {
                    self.unsent = true;
                    self.say(misuse.to_string());
                }
            },
            Typed::Chat(text) => {
                let note = self.sent.add(&text, self.now.elapsed);
                self.queue(Queued::Chat(text, note));
            }
        }
    }

    fn queue(&mut self, queued: Queued) {
        if self.lines.len() >= MOST_LINES {
            self.unsent = true;
            return self.say("Not taken: too many lines wait.");
        }
        self.lines.push_back(queued);
    }

    /// Does what can be done now.
    pub(super) fn drive(&mut self) {
        while !self.ended {
            let step = match &self.task {
                Some(_) if !self.link.is_ready() => Step::Waits,
                Some(Task::Answer) => Step::Waits,
                Some(Task::Who) => self.step_who(),
                Some(Task::Say(_)) => self.step_say(),
                Some(Task::Act(_)) => self.step_act(),
                Some(Task::Direct(_)) => self.step_direct(),
                None => self.next_line(),
            };
            if step == Step::Waits {
                break;
            }
        }
        if !self.ended {
            self.end_when_done();
        }
    }

    fn next_line(&mut self) -> Step {
        if !self.link.is_ready() {
            return Step::Waits;
        }
        match self.lines.pop_front() {
            Some(Queued::Command(command)) => self.command(command),
            Some(Queued::Join { room, password, left }) => self.enter(room, password, Some(left)),
            Some(Queued::Direct(to, text, note)) => self.begin_direct(to, &text, note),
            Some(Queued::Chat(_, note)) if self.misplaced => {
                self.not_sent(note, "the /join before failed".to_owned());
            }
            Some(Queued::Chat(text, note)) => self.task = Some(Task::Say(Say::new(text, note))),
            None => return Step::Waits,
        }
        Step::Goes
    }

    /// A message that will not be sent, and why.
    pub(super) fn not_sent(&mut self, note: u64, why: String) {
        self.unsent = true;
        let shown = self.sent.refused(note, &why);
        self.say(format!("Not sent: {why}.{shown}"));
    }

    /// The rest of a message that was split will not be sent, and why.
    fn not_sent_further(&mut self, note: u64, why: &str) {
        self.unsent = true;
        let shown = self.sent.cut(note, why);
        self.say(format!("Only the beginning was sent: {why}.{shown}"));
    }

    /// The task is done.
    pub(super) fn finish(&mut self) {
        self.task = None;
    }

    /// The message or act under way will not be sent; why.
    pub(super) fn drop_message(&mut self, why: &str) {
        if matches!(self.task, Some(Task::Say(_) | Task::Act(_))) {
            self.drop_task(why);
        }
    }

    /// The task will not be done; why.
    pub(super) fn drop_task(&mut self, why: &str) {
        match self.task.take() {
            Some(Task::Say(say)) if say.begins => self.not_sent_further(say.note(), why),
            Some(Task::Say(say)) => self.not_sent(say.note(), why.to_owned()),
            Some(Task::Direct(direct)) if direct.begins() => self.not_sent_further(direct.note(), why),
            Some(Task::Direct(direct)) => self.not_sent(direct.note(), why.to_owned()),
            Some(_) => {
                self.unsent = true;
                self.say(format!("Not done, as far as is known: {why}."));
            }
            None => {}
        }
    }

    /// The program is to end now. What the server has may still be answered, since what is said after it counts on from it.
    pub(super) fn hang_up(&mut self) {
        self.ending = true;
        self.hung_up = Some(self.now.elapsed + HANG_UP);
        if !self.link.is_ready() {
            self.say_unsent();
            return self.end(Output::Close);
        }
        let mut cut = None;
        let under_way = self.task.take_if(|task| match task {
            Task::Say(say) if say.is_in_flight() => {
                cut = say.stop_here().then_some(say.note());
                true
            }
            Task::Direct(direct) if direct.is_in_flight() => {
                cut = direct.stop_here().then_some(direct.note());
                true
            }
            Task::Act(act) => act.is_in_flight(),
            Task::Answer => true,
            _ => false,
        });
        if let Some(note) = cut {
            self.not_sent_further(note, "the program was ended");
        }
        self.say_unsent();
        self.lines.clear();
        self.task = under_way;
    }

    /// Ends the program once all is said, with a last word to the room.
    fn end_when_done(&mut self) {
        if !self.ending {
            return;
        }
        if self.hung_up.is_some_and(|until| until <= self.now.elapsed) {
            self.say_unsent();
            return self.close();
        }
        if matches!(self.link, Link::Down { .. } | Link::Greeting { .. }) && !self.scripted {
            self.say_unsent();
            return self.end(Output::Close);
        }
        if self.task.is_some() || !self.lines.is_empty() || !self.link.is_ready() {
            return;
        }
        if self.stay.is_some() && self.own().is_some() {
            let until = self.hung_up.unwrap_or(self.now.elapsed + LAST_WORD);
            self.task = Some(Task::Act(ActTask::last_word(until)));
            return self.drive();
        }
        self.close();
    }

    /// When the task under way wants to go on by itself.
    pub(super) fn task_deadline(&self) -> Option<Duration> {
        match &self.task {
            Some(Task::Say(say)) => say.deadline(),
            Some(Task::Act(act)) => act.deadline(),
            _ => None,
        }
    }

    /// Slow work is done.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Checked(results) => {
                self.keys.checked(results, self.now.elapsed);
                self.keys_came();
                self.hear_on();
            }
            Done::Wrapped { id, wraps } => {
                let progress = match &mut self.task {
                    Some(Task::Say(say)) => say.wrapped(id, wraps, self.now.elapsed),
                    Some(Task::Direct(direct)) => direct.wrapped(id, wraps),
                    _ => None, // the task was given up
                };
                if let Some((done, total)) = progress {
                    self.out.push(Output::Progress { done, total });
                }
            }
        }
    }

    /// The task may have waited for these keys.
    pub(super) fn keys_came(&mut self) {
        match &mut self.task {
            Some(Task::Say(say)) => say.keys_came(),
            Some(Task::Direct(direct)) => direct.keys_came(),
            _ => {}
        }
    }

    /// Asks for keys that are wanted.
    pub(super) fn fetch_keys(&mut self) {
        if !self.link.is_ready() || self.account.is_none() {
            return;
        }
        while let Some(hashes) = self.keys.next_request(self.requests.next_id()) {
            self.request(Asked::Bundles, RequestBody::Bundles { hashes });
        }
    }
}

fn is_direct(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("/msg"))
}
