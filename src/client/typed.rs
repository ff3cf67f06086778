//! What a typed line means.

use crate::names::Text;
use crate::protocol::legacy;

/// What `/help` says.
pub const HELP: [&str; 5] = [
    "/register NAME PASSWORD makes an account, /login NAME [PASSWORD] logs in.",
    "/create ROOM PASSWORD makes a room, /join ROOM PASSWORD enters it.",
    "/list names the rooms, /accept NAME trusts somebody's new key.",
    "/help shows this, /quit or exit leaves. Anything else goes to your room,",
    "encrypted. Lines with -- are the server's, with * this program's.",
];

/// A typed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// Nothing but white space: not sent.
    Nothing,
    /// `exit`, `/exit` or `/quit`.
    Quit,
    /// `/help`
    Help,
    /// `/accept NAME`; the name is empty when it is missing.
    Accept(String),
    /// A command for the server, as typed.
    Command(String),
    /// A text for the room.
    Chat(String),
}

impl Typed {
    /// Reads a line without its end.
    pub fn parse(line: &str) -> Self {
        let words: Vec<&str> = legacy::words(line).collect();
        let first = words.first().map(|word| word.to_lowercase());
        match (first.as_deref(), words.len()) {
            (None, _) => Self::Nothing,
            (Some("exit"), 1) | (Some("/exit" | "/quit"), _) => Self::Quit,
            (Some("/help"), _) => Self::Help,
            (Some("/accept"), _) => Self::Accept(words.get(1).map(|&name| name.to_owned()).unwrap_or_default()),
            // Behind a blank it would be chat to the Python client, and a password would go to the room.
            (Some(command), _) if has_password(command) => Self::Command(line.trim_start().to_owned()),
            _ if line.starts_with('/') => Self::Command(line.to_owned()),
            _ => Self::Chat(Text::sanitize(line).to_string()),
        }
    }
}

/// The part of a line that may be remembered: passwords are not.
pub fn without_password(line: &str) -> String {
    let words: Vec<&str> = legacy::words(line).collect();
    match words.as_slice() {
        [command, name, _, ..] if has_password(command) => format!("{command} {name}"),
        _ => line.to_owned(),
    }
}

fn has_password(command: &str) -> bool {
    ["/login", "/register", "/create", "/join"].iter().any(|with| command.eq_ignore_ascii_case(with))
}

/// Whether the line is a `/login` that lacks its password alone.
pub fn lacks_password(line: &str) -> bool {
    let words: Vec<&str> = legacy::words(line).collect();
    line.starts_with('/') && matches!(words.as_slice(), [login, _] if login.eq_ignore_ascii_case("/login"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_it_was_to_the_python_client_and_a_little_more() {
        for quit in ["exit", "EXIT", "/exit", "/Quit", " exit "] {
            assert_eq!(Typed::parse(quit), Typed::Quit, "{quit}");
        }
        assert_eq!(Typed::parse("  "), Typed::Nothing);
        assert_eq!(Typed::parse("/HELP me"), Typed::Help);
        assert_eq!(Typed::parse("/accept bob"), Typed::Accept("bob".into()));
        assert_eq!(Typed::parse("/accept"), Typed::Accept(String::new()));
        assert_eq!(Typed::parse("/login a  b"), Typed::Command("/login a  b".into()));
        assert_eq!(Typed::parse("/"), Typed::Command("/".into()));
        for chat in ["exit now", "hello /join", " /list", "quit"] {
            assert_eq!(Typed::parse(chat), Typed::Chat(chat.into()));
        }
    }

    #[test]
    fn passwords_are_not_remembered() {
        assert_eq!(without_password("/login bob secret"), "/login bob");
        assert_eq!(without_password("/JOIN  room  pass word"), "/JOIN room");
        assert_eq!(without_password("/login bob"), "/login bob");
        assert_eq!(without_password("hello bob my friend"), "hello bob my friend");
    }

    #[test]
    fn a_login_with_a_name_alone_lacks_its_password() {
        assert!(lacks_password("/Login bob"));
        for not in ["/login", "/login bob x", "/join bob", " /login bob"] {
            assert!(!lacks_password(not), "{not}");
        }
    }
}
