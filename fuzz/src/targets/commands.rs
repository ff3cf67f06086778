//! What is typed: commands, and which of it may be remembered.

use secure_chat::client::typed::command::{Command, about_keys, modern_alone};
use secure_chat::client::typed::{Typed, lacks_password, questions, without_password};
use secure_chat::client::wire::Dialect;
use secure_chat::names::Text;
use secure_chat::protocol::legacy;

/// A typed line.
pub fn run(data: &[u8]) {
    let line = String::from_utf8_lossy(data);
    let typed = Typed::parse(&line);
    for dialect in [Dialect::Legacy, Dialect::Modern] {
        let (_, _) = (lacks_password(&line, dialect), questions(&line, dialect));
    }
    let (_, _) = (about_keys(&line), modern_alone(&line));
    let kept = without_password(&line);
    let seen = Text::sanitize(&line);
    let begins = |line: &str| legacy::words(line).zip(legacy::words(&kept)).all(|(one, other)| one == other);
    assert!(begins(&line) || begins(seen.as_str()), "{kept:?} is no beginning of {line:?}");
    if let Err(why) = Command::parse(&line) {
        assert_eq!(Text::sanitize(&why.to_string()).as_str(), why.to_string(), "fit to be shown");
    }
    match &typed {
        Typed::Command(command) => {
            assert!(line.ends_with(command.as_str()) || seen.as_str().ends_with(command.as_str()));
            assert_eq!(Typed::parse(command), typed, "read the same when it is read again");
            check_password(command, &kept);
        }
        Typed::Chat(text) => {
            assert_eq!(Text::sanitize(text).as_str(), text);
            // A word in front of a command that the eye does not see must not send a password to the room.
            let visible = text.trim_start();
            let password = Command::parse(visible).ok().and_then(|command| password_at(&command));
            assert_eq!(password, None, "a password would go to the room: {text:?}");
        }
        Typed::Nothing | Typed::Quit | Typed::Help => {}
    }
    // The legacy server reads the same words.
    let _ = legacy::decode_client(&legacy::encode_command(&line));
}

/// No password of a command is in what is remembered of its line.
fn check_password(line: &str, kept: &str) {
    let Some(at) = Command::parse(line).ok().and_then(|command| password_at(&command)) else { return };
    assert!(legacy::words(kept).count() <= at, "{kept:?}");
}

/// The how manieth word the first password of a command is, the command being number 0.
fn password_at(command: &Command) -> Option<usize> {
    match command {
        Command::Register(..) | Command::Login(..) | Command::Create(..) | Command::Join(_, Some(_)) => Some(2),
        Command::ChangePassword { .. } => Some(1),
        Command::AllowLegacy { .. } => Some(3),
        Command::RoomPassword(_) => Some(2),
        _ => None,
    }
}
