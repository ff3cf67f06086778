//! What a typed line means, whatever wire it is for; [`command`] has the commands.

pub mod command;

use std::borrow::Cow;

use crate::client::wire::Dialect;
use crate::names::Text;
use crate::protocol::legacy;

/// What `/help` says.
pub fn help(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Legacy => &LEGACY_HELP,
        Dialect::Modern => &MODERN_HELP,
    }
}

/// What is said first in a terminal.
pub fn greeting(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Legacy => &LEGACY_GREETING,
        Dialect::Modern => &MODERN_GREETING,
    }
}

const LEGACY_GREETING: [&str; 3] = [
    "This server speaks the old wire: what is unsigned may be anybody's.",
    "/register NAME PASSWORD makes an account, /login NAME logs in, /help says more.",
    "Lines with -- are the server's, with * this program's.",
];

const MODERN_GREETING: [&str; 3] = [
    "This server speaks the modern wire: messages are signed, and say who vouches.",
    "/register NAME PASSWORD makes an account, /login NAME logs in, /help says more.",
    "Lines with -- are the server's, with * this program's.",
];

const LEGACY_HELP: [&str; 8] = [
    "/register NAME PASSWORD makes an account, /login NAME [PASSWORD] logs in.",
    "/create ROOM PASSWORD makes a room, /join ROOM PASSWORD enters it.",
    "/list names the rooms.",
    "/keys [NAME] shows keys. /verify NAME shows the number that you two compare;",
    "when both see the same, /verify NAME yes. /accept NAME [FINGERPRINT] trusts",
    "a new key. /block NAME hides somebody, /unblock NAME does not any more.",
    "/help shows this, /quit or exit leaves. Anything else goes to your room,",
    "encrypted. Lines with -- are the server's, with * this program's.",
];

const MODERN_HELP: [&str; 20] = [
    "/register NAME PASSWORD makes an account (with the operator's TOKEN behind",
    "that, if the server wants one), /login NAME [PASSWORD] logs in.",
    "/create ROOM PASSWORD makes a room, /join ROOM PASSWORD enters it,",
    "/leave leaves it. /list names the rooms, /who names those in yours,",
    "/readers those who can read what you write, /sent what became of it.",
    "/msg USER TEXT goes to one user alone, encrypted.",
    "/topic [TEXT] shows or sets the topic (- for none).",
    "/keys [NAME] shows keys. /verify NAME shows the number that you two compare;",
    "when both see the same, /verify NAME yes. /accept NAME [FINGERPRINT] trusts",
    "a new key. /block NAME hides somebody, /unblock NAME does not any more.",
    "/passwd [OLD NEW] changes your password. /account legacy on|off [PASSWORD]",
    "says whether the old wire, where nobody proves who wrote what, lets you in.",
    "For a room's owner: /kick USER [REASON], /ban USER [DURATION], /unban USER,",
    "/mute USER [DURATION], /unmute USER, with durations like 30s, 10m, 2h or 7d,",
    "and without one for good;",
    "/room passwd [NEW] changes the room's password, /room modern-only on|off",
    "keeps those on the old wire out, /room delete ROOM deletes it.",
    "Passwords in brackets are asked for when you leave them out, and not shown.",
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
    /// A command, as typed: a legacy server reads it itself, for a modern one [`command::Command::parse`] does.
    Command(String),
    /// A text for the room.
    Chat(String),
}

impl Typed {
    /// Reads a line without its end.
    pub fn parse(line: &str) -> Self {
        let line = as_seen(line);
        let line = line.as_ref();
        let words: Vec<&str> = legacy::words(line).collect();
        let first = words.first().map(|word| word.to_lowercase());
        match (first.as_deref(), words.len()) {
            (None, _) => Self::Nothing,
            (Some("exit"), 1) | (Some("/exit" | "/quit"), _) => Self::Quit,
            (Some("/help"), _) => Self::Help,
            (Some("/accept"), _) => Self::Command(line.trim_start().to_owned()),
            // Behind a blank it would be chat to the Python client, and a password would go to the room.
            (Some(command), _) if has_password(command) => Self::Command(line.trim_start().to_owned()),
            _ if line.starts_with('/') => Self::Command(line.to_owned()),
            _ => Self::Chat(Text::sanitize(line).to_string()),
        }
    }
}

/// Whether a password can follow the word.
fn has_password(word: &str) -> bool {
    ["/login", "/register", "/create", "/join", "/passwd", "/room", "/account"]
        .iter()
        .any(|with| word.eq_ignore_ascii_case(with))
}

/// The line, without what the eye does not see if that alone keeps it from being a command with a password: behind the mark that
/// some editors put at the start of a file, it would go to the room.
fn as_seen(line: &str) -> Cow<'_, str> {
    let takes_password = |line: &str| legacy::words(line).next().is_some_and(has_password);
    if takes_password(line) {
        return line.into();
    }
    let seen = Text::sanitize(line);
    if takes_password(seen.as_str()) { seen.to_string().into() } else { line.into() }
}

/// Whether a line is a command that lacks a password, or has none where it should: what is typed next may be one.
pub fn lacks_password(line: &str, dialect: Dialect) -> bool {
    let Typed::Command(line) = Typed::parse(line) else { return false };
    let words: Vec<String> = legacy::words(&line).map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match (words.as_slice(), dialect) {
        ([command, ..], _) if !has_password(command) => false,
        (["/room", "modern-only" | "delete", ..], _) => false,
        (_, Dialect::Modern) => command::Command::parse(&line).is_err(),
        (["/join", ..], Dialect::Legacy) => words.len() < 2,
        (["/login" | "/register" | "/create", ..], Dialect::Legacy) => words.len() < 3,
        (_, Dialect::Legacy) => true,
    }
}

/// The part of a line that may be remembered: passwords are not.
pub fn without_password(line: &str) -> String {
    let line = as_seen(line);
    let line = line.as_ref();
    let words: Vec<&str> = legacy::words(line).collect();
    let is = |word: &str, what: &[&str]| what.iter().any(|what| word.eq_ignore_ascii_case(what));
    let open = match words.as_slice() {
        [command, ..] if !has_password(command) => words.len(),
        [command, ..] if is(command, &["/passwd"]) => 1,
        [command, what, ..] if is(command, &["/room"]) && is(what, &["delete", "modern-only"]) => words.len(),
        [command, _, on, ..] if is(command, &["/account"]) && is(on, &["on", "off"]) => 3,
        _ => 2,
    };
    if words.len() <= open { line.to_owned() } else { words.get(..open).unwrap_or_default().join(" ") }
}

/// A password that a line lacks, and the words that ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// One that is there already.
    Password(&'static str),
    /// One that is set: it is asked for twice.
    NewPassword(&'static str),
}

/// The passwords that a line lacks alone, in the order in which they follow it.
pub fn questions(line: &str, dialect: Dialect) -> &'static [Question] {
    const NEW: Question = Question::NewPassword("New password: ");
    const ROOM: Question = Question::NewPassword("New password of the room: ");
    let line = as_seen(line);
    let line = line.as_ref();
    if !line.starts_with('/') {
        return &[];
    }
    let words: Vec<String> = legacy::words(line).map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match (words.as_slice(), dialect) {
        (["/login", _], _) => &[Question::Password("Password: ")],
        (_, Dialect::Legacy) => &[],
        (["/passwd"], _) => &[Question::Password("Old password: "), NEW],
        (["/passwd", _], _) => &[NEW],
        (["/room", "passwd"], _) => &[ROOM],
        (["/account", "legacy", "on" | "off"], _) => &[Question::Password("Password: ")],
        _ => &[],
    }
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
        for command in ["/login a  b", "/accept bob", "/accept", "/who", "/"] {
            assert_eq!(Typed::parse(command), Typed::Command(command.into()));
        }
        for chat in ["exit now", "hello /join", " /list", " /kick bob", "quit"] {
            assert_eq!(Typed::parse(chat), Typed::Chat(chat.into()));
        }
    }

    #[test]
    fn a_blank_in_front_makes_no_chat_of_a_password() {
        for line in [
            "/login a b",
            "/JOIN r p",
            "/passwd old new",
            "/Room passwd new",
            "/room pasword new",
            "/account legacy off p",
        ] {
            for blank in [" ", "\t", "\u{a0}", "\u{feff}", "\u{200b} "] {
                let typed = format!("{blank}{line}");
                assert_eq!(Typed::parse(&typed), Typed::Command(line.into()));
                assert!(legacy::words(&without_password(&typed)).count() < legacy::words(line).count(), "{typed:?}");
            }
        }
    }

    #[test]
    fn passwords_are_not_remembered() {
        for (line, remembered) in [
            ("/login bob secret", "/login bob"),
            ("/JOIN  room  pass word", "/JOIN room"),
            ("/login bob", "/login bob"),
            ("/passwd old new", "/passwd"),
            ("/passwd old", "/passwd"),
            ("/passwd", "/passwd"),
            ("/room passwd secret", "/room passwd"),
            ("/room pasword secret", "/room pasword"),
            ("/room delete lobby", "/room delete lobby"),
            ("/room modern-only on", "/room modern-only on"),
            ("/account legacy OFF secret", "/account legacy OFF"),
            ("/account legacy secret", "/account legacy"),
            ("  /passwd old new", "/passwd"),
            ("hello bob my friend", "hello bob my friend"),
            ("/msg bob a long text", "/msg bob a long text"),
        ] {
            assert_eq!(without_password(line), remembered);
        }
    }

    #[test]
    fn what_may_be_followed_by_a_password_is_known() {
        for (line, modern, legacy) in [
            ("/login bob", true, true),
            ("  /LOGIN\tbob", true, true),
            ("/login bob pw", false, false),
            ("/login", true, true),
            ("/register bob", true, true),
            ("/create den", true, true),
            ("/join den", false, false),
            ("/join", true, true),
            ("\t/passwd", true, true),
            ("/passwd old", true, true),
            ("/passwd old new", false, true),
            ("/room passwd", true, true),
            ("/room password new", true, true),
            ("/room modern-only", false, false),
            ("/room delete den", false, false),
            ("/account legacy off", true, true),
            ("/account legacy off pw", false, true),
            ("/kick", false, false),
            ("login bob", false, false),
        ] {
            assert_eq!(lacks_password(line, Dialect::Modern), modern, "{line}");
            assert_eq!(lacks_password(line, Dialect::Legacy), legacy, "{line}");
        }
    }

    #[test]
    fn a_line_that_lacks_passwords_alone_is_asked_for_them() {
        use Question::{NewPassword, Password};
        let asked = |line| questions(line, Dialect::Modern);
        assert_eq!(asked("/Login bob"), [Password("Password: ")]);
        assert_eq!(asked("/passwd"), [Password("Old password: "), NewPassword("New password: ")]);
        assert_eq!(asked("/passwd old"), [NewPassword("New password: ")]);
        assert_eq!(asked("/room PASSWD"), [NewPassword("New password of the room: ")]);
        assert_eq!(asked("/account legacy off"), [Password("Password: ")]);
        for not in [
            "/login",
            "/login bob x",
            "/join bob",
            " /login bob",
            "/passwd a b",
            "/room",
            "/account legacy",
            "/who",
            "hi",
        ] {
            assert_eq!(asked(not), [], "{not}");
        }
    }

    #[test]
    fn a_legacy_server_is_asked_for_no_password_that_it_does_not_know() {
        assert_eq!(questions("/login bob", Dialect::Legacy).len(), 1);
        for not in ["/passwd", "/passwd old", "/room passwd", "/account legacy off"] {
            assert_eq!(questions(not, Dialect::Legacy), [], "{not}");
        }
    }

    #[test]
    fn help_fits_a_terminal_and_names_every_command_of_its_wire() {
        for (dialect, of_wire) in [(Dialect::Legacy, command::LEGACY), (Dialect::Modern, command::MODERN)] {
            let shown = help(dialect).join(" ");
            assert!(help(dialect).iter().all(|line| line.len() <= 78), "{shown}");
            for word in of_wire {
                let named = shown.split([' ', ',', '.', ';']).any(|shown| shown == *word);
                assert!(named, "{word} is not in the help of {dialect:?}");
            }
        }
    }
}
