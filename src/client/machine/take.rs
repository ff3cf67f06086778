//! What is typed.

use super::{Machine, Output, Queued};
use crate::client::typed::command;
use crate::client::typed::{Typed, help};
use crate::client::wire::Dialect;
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
        match command::about_keys(&line) {
            Some(Ok(command)) => return self.keys_command(command, out),
            Some(Err(usage)) => return out.push(Output::Say(usage.to_string())),
            None => {}
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
}
