//! What the server says unasked.

use super::{Machine, Output};
use crate::client::alarm::counted;
use crate::client::shown::Room;
use crate::names::Text;
use crate::protocol::modern::{Author, Event};

impl Machine {
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Members(event) => self.members(event),
            Event::Message(event) => self.message(event),
            Event::Act(event) => self.act_event(event),
            Event::Grant(event) => self.grant_event(event),
            Event::NeedKey { room, author, epoch } => {
                if self.stay_of(&room).is_some() {
                    self.key_needed(&author, epoch);
                }
            }
            Event::Direct(event) => self.direct_event(event),
            Event::Removed { room, why } => self.removed(&room, why),
            Event::NotDelivered { room, members, .. } => {
                let members = usize::try_from(members).unwrap_or(usize::MAX);
                let words = counted(members, "member on the old wire", "members on the old wire");
                self.server_says(&format!("{words} did not get your last message in {}: it is too long.", Room(&room)));
            }
            Event::Bye { reason, text } => self.bye(reason, text),
        }
    }

    /// A holder of the own epoch says that it has no key: it gets the next, once an epoch.
    fn key_needed(&mut self, author: &Author, epoch: u64) {
        let Some(stay) = &mut self.stay else { return };
        let outgoing = &mut self.rooms.entry(stay.id).or_default().outgoing;
        if outgoing.ask(author.reader, epoch) {
            stay.prepared = None;
        }
    }

    /// What the server says in the middle of something else, or to somebody who is not there.
    pub(super) fn who_refused(&mut self, text: &Text) {
        self.out.push(Output::Server(text.clone()));
        match &mut self.task {
            Some(super::Task::Say(say)) => say.who_came(false),
            Some(super::Task::Who) => self.finish(),
            _ => {}
        }
    }
}
