//! What is typed.

use super::{Machine, Output, Queued};
use crate::client::key_name::KeyName;
use crate::client::typed::command::{self, Misuse};
use crate::client::typed::{Typed, help};
use crate::client::wire::Dialect;
use crate::names::UserName;
use crate::protocol::legacy::{self, MAX_OUTBOUND};

impl Machine {
    pub(super) fn take_line(&mut self, line: &str, out: &mut Vec<Output>) {
        match Typed::parse(line) {
            Typed::Nothing => {}
            Typed::Quit => self.ending = true,
            Typed::Help => out.extend(help(Dialect::Legacy).iter().map(|&words| Output::Say(words.into()))),
            Typed::Command(line) => self.take_command(line, out),
            Typed::Chat(text) => self.queue.push_back(Queued::Chat(text)),
        }
    }

    fn take_command(&mut self, line: String, out: &mut Vec<Output>) {
        if let Some(accepted) = command::accepted(&line) {
            return self.accept(accepted, out);
        }
        if let Some(unknown) = command::modern_alone(&line) {
            return self
                .not_sent(format!("Not sent: this server speaks the old wire and does not know {unknown}."), out);
        }
        if legacy::encode_command(&line).len() > MAX_OUTBOUND {
            return self.not_sent(format!("Not sent: a command has at most {MAX_OUTBOUND} bytes."), out);
        }
        self.queue.push_back(Queued::Command(line));
    }

    fn accept(&mut self, accepted: Result<(UserName, Option<KeyName>), Misuse>, out: &mut Vec<Output>) {
        let (user, key) = match accepted {
            Ok(accepted) => accepted,
            Err(usage) => return out.push(Output::Say(usage.to_string())),
        };
        match self.keyring.accept(user.as_str(), key) {
            Some((user, key)) => {
                out.push(Output::Say(format!("The key {key} of {user} is accepted.")));
                out.push(Output::Pin { user, key, replaces: true });
            }
            None if key.is_some() => out.push(Output::Say(format!("{user} has not shown that key."))),
            None => out.push(Output::Say(format!("{user} has shown no other key."))),
        }
    }
}
