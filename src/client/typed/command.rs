//! The commands that can be typed. A legacy server reads its own, as the scripts do; those of the modern wire are read here.

use std::fmt;

use crate::client::key_name::KeyName;
use crate::names::{Password, RoomName, Text, UserName};
use crate::protocol::legacy;

/// What a legacy server knows, and what concerns keys, which asks no server.
pub const LEGACY: &[&str] =
    &["/register", "/login", "/create", "/join", "/list", "/keys", "/verify", "/accept", "/block", "/unblock"];

/// Those about keys, which ask no server.
const KEYS: &[&str] = &["/keys", "/verify", "/accept", "/block", "/unblock"];

/// What the modern wire knows.
pub const MODERN: &[&str] = &[
    "/register",
    "/login",
    "/create",
    "/join",
    "/list",
    "/accept",
    "/leave",
    "/who",
    "/readers",
    "/sent",
    "/msg",
    "/topic",
    "/keys",
    "/verify",
    "/block",
    "/unblock",
    "/passwd",
    "/account",
    "/kick",
    "/ban",
    "/unban",
    "/mute",
    "/unmute",
    "/room",
];

/// A command of the modern wire. Texts are sanitized, names are as typed.
#[derive(Debug, Clone)]
pub enum Command {
    /// `/register NAME PASSWORD [TOKEN]`, with a token where the server's operator wants one.
    Register(UserName, Password, Option<Password>),
    /// `/login NAME PASSWORD`
    Login(UserName, Password),
    /// `/passwd OLD NEW`
    ChangePassword {
        /// The password that is there.
        old: Password,
        /// The one that takes its place.
        new: Password,
    },
    /// `/account legacy on|off PASSWORD`
    AllowLegacy {
        /// Whether the account can log in on the legacy wire.
        allowed: bool,
        /// The account's password.
        password: Password,
    },
    /// `/list`
    List,
    /// `/create ROOM PASSWORD`
    Create(RoomName, Password),
    /// `/join ROOM [PASSWORD]`; who returns to a room needs no password.
    Join(RoomName, Option<Password>),
    /// `/leave`
    Leave,
    /// `/who`
    Who,
    /// `/readers`
    Readers,
    /// `/sent`
    Sent,
    /// `/topic [TEXT]`; the text is empty when the topic is to be taken away.
    Topic(Option<Text>),
    /// `/room passwd NEW`
    RoomPassword(Password),
    /// `/room delete [ROOM]`; the name is the person's confirmation.
    DeleteRoom(Option<RoomName>),
    /// `/room modern-only on|off`
    ModernOnly(bool),
    /// `/msg USER TEXT`
    Direct(UserName, Text),
    /// `/kick USER [REASON]`; the reason may be empty.
    Kick(UserName, Text),
    /// `/ban USER [DURATION]`, in seconds; without one it is for good.
    Ban(UserName, Option<u64>),
    /// `/unban USER`
    Unban(UserName),
    /// `/mute USER [DURATION]`, as [`Command::Ban`].
    Mute(UserName, Option<u64>),
    /// `/unmute USER`
    Unmute(UserName),
    /// `/keys [NAME]`
    Keys(Option<UserName>),
    /// `/verify NAME [yes]`
    Verify {
        /// Whose safety number is shown.
        user: UserName,
        /// Whether the person says that it was compared and is the same.
        same: bool,
    },
    /// `/accept NAME [FINGERPRINT]`
    Accept(UserName, Option<KeyName>),
    /// `/block NAME`
    Block(UserName),
    /// `/unblock NAME`
    Unblock(UserName),
}

/// Why a line is no command; a sentence for whoever typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misuse {
    /// There is no such command.
    Unknown(Text),
    /// How it is used.
    Usage(&'static str),
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "There is no command {word}. /help names those that there are."),
            Self::Usage(usage) => write!(f, "Usage: {usage}"),
        }
    }
}

impl std::error::Error for Misuse {}

impl Command {
    /// Reads a line that begins with a command.
    ///
    /// # Errors
    /// [`Misuse`] for an unknown command, and for words that are missing, too many or of no use. A password is one word:
    /// what follows it is never dropped in silence.
    pub fn parse(line: &str) -> Result<Self, Misuse> {
        let mut words = legacy::words(line);
        let word = words.next().unwrap_or_default();
        let arguments: Vec<&str> = words.collect();
        let (of, arguments) = (word.to_lowercase(), arguments.as_slice());
        let command = of_account(&of, arguments)
            .or_else(|| of_room(&of, arguments, line))
            .or_else(|| of_people(&of, arguments, line))
            .or_else(|| of_keys(&of, arguments));
        command.ok_or_else(|| usage(&of).map_or_else(|| Misuse::Unknown(Text::sanitize(word)), Misuse::Usage))
    }
}

/// The command of a line if a legacy server does not know it but the modern wire does.
pub fn modern_alone(line: &str) -> Option<&'static str> {
    let word = legacy::words(line).next()?;
    let mut only_modern = MODERN.iter().filter(|known| !LEGACY.contains(known));
    only_modern.find(|known| known.eq_ignore_ascii_case(word)).copied()
}

/// The command of a line about keys.
///
/// # Errors
/// How it is used.
pub fn about_keys(line: &str) -> Option<Result<Command, Misuse>> {
    let word = legacy::words(line).next()?;
    KEYS.iter().any(|known| known.eq_ignore_ascii_case(word)).then(|| Command::parse(line))
}

fn usage(word: &str) -> Option<&'static str> {
    Some(match word {
        "/register" => "/register NAME PASSWORD [TOKEN]",
        "/login" => "/login NAME [PASSWORD]",
        "/passwd" => "/passwd [OLD NEW]",
        "/account" => "/account legacy on|off [PASSWORD]",
        "/list" => "/list",
        "/create" => "/create ROOM PASSWORD",
        "/join" => "/join ROOM [PASSWORD]",
        "/leave" => "/leave",
        "/who" => "/who",
        "/readers" => "/readers",
        "/sent" => "/sent",
        "/topic" => "/topic [TEXT], - for none",
        "/room" => "/room passwd [NEW], /room modern-only on|off or /room delete ROOM",
        "/msg" => "/msg USER TEXT",
        "/kick" => "/kick USER [REASON]",
        "/ban" => "/ban USER [DURATION], for example 30s, 10m, 2h or 7d",
        "/unban" => "/unban USER",
        "/mute" => "/mute USER [DURATION], for example 30s, 10m, 2h or 7d",
        "/unmute" => "/unmute USER",
        "/keys" => "/keys [NAME]",
        "/verify" => "/verify NAME, and /verify NAME yes when the two numbers are the same",
        "/accept" => "/accept NAME [FINGERPRINT]",
        "/block" => "/block NAME",
        "/unblock" => "/unblock NAME",
        _ => return None,
    })
}

fn of_account(of: &str, arguments: &[&str]) -> Option<Command> {
    Some(match (of, arguments) {
        ("/register", [user, password]) => Command::Register(UserName::new(user), Password::new(*password), None),
        ("/register", [user, password, token]) => {
            Command::Register(UserName::new(user), Password::new(*password), Some(Password::new(*token)))
        }
        ("/login", [user, password]) => Command::Login(UserName::new(user), Password::new(*password)),
        ("/passwd", [old, new]) => Command::ChangePassword { old: Password::new(*old), new: Password::new(*new) },
        ("/account", [what, on, password]) if what.eq_ignore_ascii_case("legacy") => {
            Command::AllowLegacy { allowed: switch(on)?, password: Password::new(*password) }
        }
        _ => return None,
    })
}

fn of_room(of: &str, arguments: &[&str], line: &str) -> Option<Command> {
    Some(match (of, arguments) {
        ("/list", []) => Command::List,
        ("/create", [room, password]) => Command::Create(RoomName::new(room), Password::new(*password)),
        ("/join", [room]) => Command::Join(RoomName::new(room), None),
        ("/join", [room, password]) => Command::Join(RoomName::new(room), Some(Password::new(*password))),
        ("/leave", []) => Command::Leave,
        ("/who", []) => Command::Who,
        ("/readers", []) => Command::Readers,
        ("/sent", []) => Command::Sent,
        ("/topic", []) => Command::Topic(None),
        ("/topic", ["-"]) => Command::Topic(Some(Text::default())),
        ("/topic", _) => Command::Topic(Some(some_text(line, 1)?)),
        ("/room", [what, rest @ ..]) => match (what.to_lowercase().as_str(), rest) {
            ("passwd", [new]) => Command::RoomPassword(Password::new(*new)),
            ("modern-only", [on]) => Command::ModernOnly(switch(on)?),
            ("delete", []) => Command::DeleteRoom(None),
            ("delete", [room]) => Command::DeleteRoom(Some(RoomName::new(room))),
            _ => return None,
        },
        _ => return None,
    })
}

fn of_people(of: &str, arguments: &[&str], line: &str) -> Option<Command> {
    let (user, more) = arguments.split_first()?;
    let user = UserName::new(user);
    Some(match (of, more) {
        ("/msg", [_, ..]) => Command::Direct(user, some_text(line, 2)?),
        ("/kick", _) => Command::Kick(user, text_behind(line, 2)),
        ("/ban", []) => Command::Ban(user, None),
        ("/ban", [time]) => Command::Ban(user, Some(seconds(time)?)),
        ("/unban", []) => Command::Unban(user),
        ("/mute", []) => Command::Mute(user, None),
        ("/mute", [time]) => Command::Mute(user, Some(seconds(time)?)),
        ("/unmute", []) => Command::Unmute(user),
        _ => return None,
    })
}

fn of_keys(of: &str, arguments: &[&str]) -> Option<Command> {
    let user = || arguments.first().map(|name| UserName::new(name));
    Some(match (of, arguments) {
        ("/keys", []) => Command::Keys(None),
        ("/keys", [_]) => Command::Keys(user()),
        ("/verify", [_]) => Command::Verify { user: user()?, same: false },
        ("/verify", [_, yes]) if yes.eq_ignore_ascii_case("yes") => Command::Verify { user: user()?, same: true },
        ("/accept", [_]) => Command::Accept(user()?, None),
        ("/accept", [_, key]) => Command::Accept(user()?, Some(key.parse().ok()?)),
        ("/block", [_]) => Command::Block(user()?),
        ("/unblock", [_]) => Command::Unblock(user()?),
        _ => return None,
    })
}

fn switch(word: &str) -> Option<bool> {
    match word.to_lowercase().as_str() {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// A duration of a second or more: a number and `s`, `m`, `h` or `d`.
fn seconds(word: &str) -> Option<u64> {
    let (number, unit) = word.split_at_checked(word.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    if !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None; // parsing takes a sign
    }
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|seconds| *seconds > 0)
}

/// As [`text_behind`], if anything can be seen of it.
fn some_text(line: &str, words: usize) -> Option<Text> {
    Some(text_behind(line, words)).filter(|text| !text.as_str().is_empty())
}

/// What follows the first words of a line, as it was typed but for what must not be shown.
fn text_behind(line: &str, words: usize) -> Text {
    let mut rest = line;
    for word in legacy::words(line).take(words) {
        rest = rest.split_once(word).map_or("", |(_, rest)| rest);
    }
    Text::sanitize(Text::sanitize(rest).as_str().trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A command in one line, its passwords shown.
    fn read(line: &str) -> String {
        match Command::parse(line) {
            Ok(Command::Register(user, password, token)) => {
                let token = token.map_or(String::new(), |token| format!(" {}", token.expose()));
                format!("register {user} {}{token}", password.expose())
            }
            Ok(Command::Login(user, password)) => format!("login {user} {}", password.expose()),
            Ok(Command::ChangePassword { old, new }) => format!("passwd {} {}", old.expose(), new.expose()),
            Ok(Command::AllowLegacy { allowed, password }) => format!("legacy {allowed} {}", password.expose()),
            Ok(Command::Create(room, password)) => format!("create {room} {}", password.expose()),
            Ok(Command::Join(room, password)) => format!("join {room} {:?}", password.as_ref().map(Password::expose)),
            Ok(Command::RoomPassword(password)) => format!("room password {}", password.expose()),
            Ok(command) => format!("{command:?}"),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn every_command_is_read() {
        let key = format!("SHA256:{}=", "A".repeat(43));
        for (line, command) in [
            ("/register al pw", "register al pw"),
            ("/register al pw token", "register al pw token"),
            ("/Login  al  pw", "login al pw"),
            ("/passwd old new", "passwd old new"),
            ("/account legacy off pw", "legacy false pw"),
            ("/ACCOUNT Legacy ON pw", "legacy true pw"),
            ("/list", "List"),
            ("/create r pw", "create r pw"),
            ("/join r pw", "join r Some(\"pw\")"),
            ("/join r", "join r None"),
            ("/leave", "Leave"),
            ("/who", "Who"),
            ("/readers", "Readers"),
            ("/sent", "Sent"),
            ("/topic", "Topic(None)"),
            ("/topic  of the  day ", r#"Topic(Some(Text("of the  day")))"#),
            ("/topic -", r#"Topic(Some(Text("")))"#),
            ("/room passwd new", "room password new"),
            ("/room modern-only on", "ModernOnly(true)"),
            ("/room modern-only off", "ModernOnly(false)"),
            ("/room delete", "DeleteRoom(None)"),
            ("/room delete r", "DeleteRoom(Some(r))"),
            ("/msg bob bob, hi\x1b[2J", r#"Direct(bob, Text("bob, hi[2J"))"#),
            ("/kick bob", r#"Kick(bob, Text(""))"#),
            ("/kick bob too loud", r#"Kick(bob, Text("too loud"))"#),
            ("/ban bob", "Ban(bob, None)"),
            ("/ban bob 2h", "Ban(bob, Some(7200))"),
            ("/unban bob", "Unban(bob)"),
            ("/mute bob 30s", "Mute(bob, Some(30))"),
            ("/unmute bob", "Unmute(bob)"),
            ("/keys", "Keys(None)"),
            ("/keys bob", "Keys(Some(bob))"),
            ("/verify bob", "Verify { user: bob, same: false }"),
            ("/verify bob YES", "Verify { user: bob, same: true }"),
            ("/accept bob", "Accept(bob, None)"),
            (&format!("/accept bob {key}"), &format!("Accept(bob, Some({key}))")),
            ("/block bob", "Block(bob)"),
            ("/unblock bob", "Unblock(bob)"),
        ] {
            assert_eq!(read(line), command, "{line}");
        }
    }

    #[test]
    fn wrong_use_is_answered_with_the_right_one() {
        for line in [
            "/register al",
            "/register al pw token more",
            "/login al",
            "/login al pw more",
            "/passwd old",
            "/passwd a b c",
            "/account legacy maybe pw",
            "/account off pw",
            "/list all",
            "/create r",
            "/join",
            "/join r p w",
            "/leave r",
            "/who r",
            "/readers r",
            "/sent all",
            "/room",
            "/room passwd",
            "/room passwd a b",
            "/room modern-only",
            "/room delete r r",
            "/msg",
            "/msg bob",
            "/msg bob \x1b",
            "/kick",
            "/ban",
            "/ban bob soon",
            "/ban bob 1h 2h",
            "/unban",
            "/mute bob 0s",
            "/unmute a b",
            "/keys a b",
            "/verify",
            "/verify bob no",
            "/accept",
            "/accept bob key",
            "/block",
            "/unblock",
        ] {
            let word = line.split(' ').next().unwrap();
            assert!(read(line).starts_with(&format!("Usage: {word}")), "{line}: {}", read(line));
        }
        assert_eq!(read("/fly\x1b away"), "There is no command /fly. /help names those that there are.");
        for word in MODERN {
            assert!(usage(word).is_some_and(|usage| usage.starts_with(word)), "{word}");
        }
    }

    #[test]
    fn durations_are_numbers_with_a_unit() {
        for (word, length) in [("30s", 30), ("10m", 600), ("2h", 7200), ("7d", 604_800), ("1s", 1)] {
            assert_eq!(seconds(word), Some(length), "{word}");
        }
        let too_long = format!("{}d", u64::MAX);
        for bad in ["", "s", "10", "0s", "-1s", "+1s", "1.5h", "1w", "ten m", "1é", "7D", &too_long] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_the_old_wire_does_not_know_is_told_from_what_it_does() {
        assert_eq!(modern_alone("/WHO"), Some("/who"));
        assert_eq!(modern_alone("/room passwd x"), Some("/room"));
        for known in ["/login a b", "/list", "/accept bob", "/verify bob", "/nonsense", "/", ""] {
            assert_eq!(modern_alone(known), None, "{known}");
        }
    }

    #[test]
    fn the_commands_about_keys_are_of_both_wires() {
        assert!(KEYS.iter().all(|word| LEGACY.contains(word) && MODERN.contains(word)));
        assert!(matches!(about_keys("/Accept bob"), Some(Ok(Command::Accept(user, None))) if user.as_str() == "bob"));
        assert!(matches!(about_keys("/verify bob YES"), Some(Ok(Command::Verify { same: true, .. }))));
        assert!(matches!(about_keys("/accept"), Some(Err(Misuse::Usage(_)))));
        assert!(about_keys("/join r p").is_none() && about_keys("").is_none());
    }

    proptest! {
        #[test]
        fn reading_is_total(line in "/(topic|msg|kick|ban|room|x)?\\PC{0,30}") {
            let _ = Command::parse(&line);
        }
    }
}
