//! The commands of the legacy wire.

use crate::chat::SessionId;
use crate::chat::hub::Hub;
use crate::chat::hub::session::Session;
use crate::protocol::{Command, Reply};

impl Hub {
    pub(super) fn command(&mut self, session: SessionId, command: Command) {
        let Some(member) = self.sessions.get(&session).map(Session::member) else { return };
        let command = self.with_stored_names(command);
        let (logged_in, is_god) = (member.is_some(), member.is_some_and(|m| m.user.is_god()));
        let refused = match command {
            Command::Register(None) => Reply::RegisterUsage,
            Command::Register(Some((user, password, token))) => {
                return self.register(session, &user, password, token);
            }
            Command::Login(None) => Reply::LoginUsage,
            Command::Login(Some((user, password))) => return self.login(session, user, password),
            Command::Create(_) | Command::Join(_) | Command::List if !logged_in => Reply::LoginFirst,
            Command::Create(None) => Reply::CreateUsage,
            Command::Create(Some((room, password))) => return self.create(session, &room, password, false),
            Command::Join(None) => Reply::JoinUsageBare,
            Command::Join(Some((_, None))) if !is_god => Reply::JoinUsage,
            Command::Join(Some((room, password))) => return self.join(session, room, password),
            Command::List => Reply::Rooms(self.directory.rooms().keys().cloned().collect()),
            Command::Unknown => Reply::UnknownCommand,
        };
        self.reply(session, refused);
    }

    /// The command with the names as they are stored: people type one name in several normal forms.
    fn with_stored_names(&self, command: Command) -> Command {
        let user = |(user, password)| (self.directory.stored_user(&user), password);
        match command {
            Command::Register(words) => {
                Command::Register(words.map(|(user, pw, token)| (self.directory.stored_user(&user), pw, token)))
            }
            Command::Login(words) => Command::Login(words.map(user)),
            Command::Create(words) => Command::Create(words.map(|(room, pw)| (self.directory.stored_room(&room), pw))),
            Command::Join(words) => Command::Join(words.map(|(room, pw)| (self.directory.stored_room(&room), pw))),
            Command::List | Command::Unknown => command,
        }
    }
}
