//! The machine that decides, whichever wire it is for.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::client::failure::Failure;
use crate::client::key_name::KeyName;
use crate::client::known_keys::Change;
use crate::client::machine::{self, Now};
use crate::client::modern::{self, Input, Job};
use crate::client::screen::Line;
use crate::protocol::legacy;

/// What is to be done, in order.
#[derive(Debug)]
pub(super) enum Deed {
    /// One message, or line, for the server.
    Send(Zeroizing<Vec<u8>>),
    /// Something is to be remembered, before anything that follows is sent.
    Remember(Change),
    /// Something is to be shown.
    Show(Line),
    /// So many of so many readers' keys are ready.
    Progress { done: usize, total: usize },
    /// Work for another thread.
    Work(Job),
    /// The connection is to be dropped.
    Disconnect,
    /// A connection is to be made then, since the start.
    Reconnect(Duration),
    /// The end: nothing will be sent any more.
    Close,
    /// The end at once.
    Fail(Failure),
}

/// The machine of the wire that is spoken.
pub enum Client {
    /// The legacy wire's, and the realm in which it learns.
    Legacy(Box<machine::Machine>, KeyName),
    /// The modern wire's.
    Modern(Box<modern::Machine>),
}

impl Client {
    pub(super) fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Deed>) {
        match self {
            Self::Legacy(machine, realm) => {
                let Some(input) = legacy_input(input) else { return };
                let mut outputs = Vec::new();
                machine.handle(now, input, &mut outputs);
                out.extend(outputs.into_iter().map(|output| of_legacy(output, *realm)));
            }
            Self::Modern(machine) => {
                let mut outputs = Vec::new();
                machine.handle(now, input, &mut outputs);
                out.extend(outputs.into_iter().map(of_modern));
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Legacy(machine, _) => machine.deadline(),
            Self::Modern(machine) => machine.deadline(),
        }
    }

    pub(super) fn wants_lines(&self) -> bool {
        match self {
            Self::Legacy(machine, _) => machine.wants_lines(),
            Self::Modern(machine) => machine.wants_lines(),
        }
    }

    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Self::Legacy(machine, _) => machine.has_unsent(),
            Self::Modern(machine) => machine.has_unsent(),
        }
    }

    pub(super) fn note_unsent(&mut self) {
        match self {
            Self::Legacy(machine, _) => machine.note_unsent(),
            Self::Modern(machine) => machine.note_unsent(),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        match self {
            Self::Legacy(machine, _) => machine.waiting(),
            Self::Modern(machine) => machine.waiting(),
        }
    }

    /// Whether it decides itself what becomes of a connection that is lost.
    pub(super) fn survives(&self) -> bool {
        matches!(self, Self::Modern(_))
    }
}

/// What happens on the modern wire alone is none.
fn legacy_input(input: Input) -> Option<machine::Input> {
    Some(match input {
        Input::Line(line) => machine::Input::Line(line),
        Input::EndOfLines => machine::Input::EndOfLines,
        Input::Server(message) => machine::Input::Server(legacy::decode_server(&message)),
        Input::TooLong => machine::Input::TooLong,
        Input::Tick => machine::Input::Tick,
        Input::Connected { .. } | Input::Lost(_) | Input::Done(_) | Input::HangUp => return None,
    })
}

fn of_legacy(output: machine::Output, realm: KeyName) -> Deed {
    match output {
        machine::Output::Send(message) => Deed::Send(message.into()),
        machine::Output::Remember(learned) => Deed::Remember(Change::Learned(realm, learned)),
        machine::Output::Message(shown) => Deed::Show(Line::Message(shown)),
        machine::Output::Nameless(text) => Deed::Show(Line::Nameless(text)),
        machine::Output::Server(text) => Deed::Show(Line::Server(text)),
        machine::Output::Say(words) => Deed::Show(Line::Own(words)),
        machine::Output::Alarm(alarm) => Deed::Show(Line::Alarm(alarm.to_string())),
        machine::Output::Close => Deed::Close,
    }
}

fn of_modern(output: modern::Output) -> Deed {
    use modern::Output;
    match output {
        Output::Send(line) => Deed::Send(line),
        Output::Work(job) => Deed::Work(job),
        Output::Remember(change) => Deed::Remember(change),
        Output::Message(shown) => Deed::Show(Line::Message(shown)),
        Output::Act(act) => Deed::Show(Line::Act(act)),
        Output::Server(text) => Deed::Show(Line::Server(text)),
        Output::Say(words) => Deed::Show(Line::Own(words)),
        Output::Alarm(alarm) => Deed::Show(Line::Alarm(alarm.to_string())),
        Output::Progress { done, total } => Deed::Progress { done, total },
        Output::Disconnect => Deed::Disconnect,
        Output::Reconnect { at } => Deed::Reconnect(at),
        Output::Close => Deed::Close,
        Output::Failed(words) => Deed::Fail(Failure::network(words)),
        Output::Untrusted(words) => Deed::Fail(Failure::untrusted(words)),
    }
}
