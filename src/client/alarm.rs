//! What the client says to the person when something is wrong: what was seen, who it may have been, and what to do.
//!
//! An alarm never claims to know who did it where the server or a sender may have.

use std::fmt;

use crate::client::key_name::KeyName;
use crate::client::modern::BadKey;
use crate::client::modern::Broken;
use crate::client::shown::{Name, Room};
use crate::crypto::{BadBundle, Fingerprint};
use crate::names::{RoomName, Text, UserName};

/// What a signature was on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Thing {
    /// A message in the room.
    Message,
    /// Something that somebody did.
    Act,
    /// A chain key.
    Grant,
    /// A direct message.
    Direct,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Message => "message",
            Self::Act => "command",
            Self::Grant => "key",
            Self::Direct => "direct message",
        })
    }
}

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// Its author gave this client no key for it.
    NotGranted,
    /// The key that came is not the one that its author signed.
    BrokenGrant,
    /// The key that its author gave is for later messages.
    Earlier,
    /// Its number is further on than a key goes.
    TooFar,
    /// The key is not the one that the message was committed to.
    OtherKey,
    /// The key does not open it.
    Broken,
    /// There is no key for this device.
    NoEntry,
    /// The key for this device is none, or for another device.
    NotOurs,
}

/// Something that the person must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// Somebody signed a place in the room's log that is not this client's.
    Split(UserName),
    /// The log cannot be followed.
    LogBroken(Broken),
    /// After a return, the log is not the one of before.
    LogChanged,
    /// Something that somebody sent was held back for very long.
    HeldBack(Thing, UserName),
    /// Something that somebody sent came while the log was broken.
    Unplaced(Thing, UserName),
    /// A signature does not hold.
    BadSignature(Thing, UserName),
    /// The keys of an author cannot be had.
    NoKeys(Thing, UserName, BadKey),
    /// Nobody has shown the keys that signed something.
    KeysMissing(Thing, UserName),
    /// Keys that somebody has shown do not belong together.
    BadKeys(UserName, BadBundle),
    /// A key came in the name of somebody who signs, and has not signed for it.
    UnsignedKey(UserName, Fingerprint),
    /// The keys are another account's.
    OtherAccount(Thing, UserName),
    /// Another key is pinned for the author.
    KeyChanged {
        /// What came with the key; nothing when it was only listed.
        with: Option<Thing>,
        /// Whose name it bears.
        user: UserName,
        /// The pinned key.
        pinned: KeyName,
        /// The other.
        shown: KeyName,
    },
    /// There are too many names to know another.
    TooManyNames(Thing, UserName),
    /// There are too many runs to count another.
    TooManyRuns(Thing, UserName),
    /// Somebody speaks who is not listed.
    Unlisted(Thing, UserName),
    /// Something was taken before.
    Repeated(Thing, UserName),
    /// What this client said came back.
    OwnEcho(Thing),
    /// So many messages and acts of somebody did not come.
    Missing {
        /// Whose.
        user: UserName,
        /// How many.
        count: u64,
        /// Whether this client was away meanwhile.
        away: bool,
    },
    /// So many direct messages of somebody did not come.
    MissingDirect {
        /// Whose.
        user: UserName,
        /// How many.
        count: u64,
        /// Whether this client was away meanwhile.
        away: bool,
    },
    /// A message cannot be read.
    Unreadable(UserName, Unreadable),
    /// A direct message cannot be read.
    UnreadableDirect(UserName, Unreadable),
    /// A message bears another name than its signature.
    OtherName(UserName),
    /// A message without a signature, in a name that signs.
    Unsigned(UserName),
    /// A message without a signature from somebody who is not listed on the legacy wire.
    UnlistedLegacy(UserName),
    /// A direct message that is not for this client, or not from whom it says.
    NotForUs(UserName),
    /// What waits for keys is too much.
    TooMuch(Thing, UserName),
    /// The list of members is not the one that the log has.
    BadRoster,
    /// The room has more members than this client takes.
    RoomTooLarge,
    /// The own session is not listed.
    NotListed,
    /// The room of this name is another than before.
    OtherRoom(RoomName),
    /// The room kept legacy members out, and does not any more.
    Opened(RoomName),
    /// Legacy members are listed in a room that keeps them out.
    LegacyInside(RoomName),
    /// Something came for a room that this client is not in.
    ElsewhereEvent(RoomName),
    /// The server does not keep to the protocol.
    Protocol(Text),
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split(_) | Self::LogBroken(_) | Self::LogChanged | Self::HeldBack(..) | Self::Unplaced(..) => {
                self.of_log(f)
            }
            Self::BadSignature(..)
            | Self::NoKeys(..)
            | Self::KeysMissing(..)
            | Self::BadKeys(..)
            | Self::UnsignedKey(..)
            | Self::OtherAccount(..)
            | Self::KeyChanged { .. }
            | Self::TooManyNames(..)
            | Self::TooManyRuns(..) => self.of_keys(f),
            Self::BadRoster
            | Self::RoomTooLarge
            | Self::NotListed
            | Self::OtherRoom(_)
            | Self::Opened(_)
            | Self::LegacyInside(_)
            | Self::ElsewhereEvent(_)
            | Self::Protocol(_) => self.of_room(f),
            _ => self.of_messages(f),
        }
    }
}

impl Alarm {
    fn of_log(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split(user) => write!(
                f,
                "WARNING: people are shown different rooms! {} has seen another course of events here than you, or the server \
                 changed what came. It is not shown, and nothing more is sent here until you /join again.",
                Name(user)
            ),
            Self::LogBroken(Broken::NotJoined) => f.write_str(
                "WARNING: the server says that you are in the room, and does not let the others see it. Nothing is sent there.",
            ),
            Self::LogBroken(Broken::Number { expected, found }) => write!(
                f,
                "WARNING: the server dropped or repeated something: event {expected} of the room is due, and {found} came. \
                 Nothing more is sent here until you /join again."
            ),
            Self::LogChanged => f.write_str(
                "WARNING: people are shown different rooms! What the server says has happened here before your return is not \
                 what you have seen. Nothing more is sent here until you /join again.",
            ),
            Self::HeldBack(thing, user) => {
                write!(f, "WARNING: a {thing} of {} was held back for very long, and is not shown.", Name(user))
            }
            Self::Unplaced(thing, user) => {
                write!(f, "A {thing} of {} is not shown: see the warning above, and /join again.", Name(user))
            }
            _ => Ok(()),
        }
    }

    fn of_keys(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSignature(thing, user) => write!(
                f,
                "WARNING: a {thing} came in the name of {}, and its signature does not hold. Either the server or whoever sent \
                 it did that. It is not shown.",
                Name(user)
            ),
            Self::NoKeys(thing, user, why) => write!(
                f,
                "WARNING: a {thing} came in the name of {}, and its keys cannot be had: {why}. Either the server or whoever \
                 sent it did that. It is not shown.",
                Name(user)
            ),
            Self::KeysMissing(thing, user) => write!(
                f,
                "WARNING: a {thing} came in the name of {}, signed with keys that nobody has shown. It is not shown: it may be \
                 anybody's.",
                Name(user)
            ),
            Self::BadKeys(user, why) => write!(
                f,
                "WARNING: keys came in the name of {} that do not hold: {why}. Either the server or whoever sent them did \
                 that. They are not used.",
                Name(user)
            ),
            Self::UnsignedKey(user, key) => write!(
                f,
                "WARNING: a key came in the name of {} that {} has not signed: {key}. Either the server or whoever sent it \
                 did that. It can read nothing of yours.",
                Name(user),
                Name(user)
            ),
            Self::OtherAccount(thing, user) => write!(
                f,
                "WARNING: a {thing} came in the name of {} with the keys of somebody else. It is not shown.",
                Name(user)
            ),
            Self::KeyChanged { with, user, pinned, shown } => {
                write!(
                    f,
                    "WARNING: the key of {} is not the known one!\n  known: {pinned}\n  now:   {shown}\n",
                    Name(user)
                )?;
                if let Some(thing) = with {
                    write!(f, "  A {thing} with it is not shown, and it can read nothing of yours.")?;
                } else {
                    f.write_str("  It can read nothing of yours.")?;
                }
                write!(f, " If {} confirms the new key: /accept {} {shown}", Name(user), Name(user))
            }
            Self::TooManyNames(thing, user) => write!(
                f,
                "A {thing} of {} is not shown: the server has shown so many names that no more are taken.",
                Name(user)
            ),
            Self::TooManyRuns(thing, user) => write!(
                f,
                "A {thing} of {} is not shown: so many clients were seen here that no more can be counted. Start again.",
                Name(user)
            ),
            _ => Ok(()),
        }
    }

    fn of_room(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRoster => f.write_str(
                "WARNING: the server's list of members is not the one that the others have. Nothing is sent while it is so.",
            ),
            Self::RoomTooLarge => f.write_str("The room has more members than this program takes: you can read, not speak."),
            Self::NotListed => {
                f.write_str("WARNING: the server does not list you here: the others do not see that you read.")
            }
            Self::OtherRoom(room) => write!(
                f,
                "WARNING: this is another {} than the one that you knew: it was deleted and made again, maybe by somebody else.",
                Room(room)
            ),
            Self::Opened(room) => write!(
                f,
                "WARNING: {} kept the old wire out, and does not any more. Members on the old wire get nothing of what you \
                 write until you /join again.",
                Room(room)
            ),
            Self::LegacyInside(room) => write!(
                f,
                "WARNING: {} keeps the old wire out, and the server lists members on it. They get nothing of what you write.",
                Room(room)
            ),
            Self::ElsewhereEvent(room) => {
                write!(f, "WARNING: something came for {}, where you are not. It is not shown.", Room(room))
            }
            Self::Protocol(what) => write!(f, "WARNING: {what}. The connection is given up."),
            _ => Ok(()),
        }
    }

    fn of_messages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlisted(thing, user) => write!(
                f,
                "WARNING: a {thing} came from a client of {} that the server does not list here. It is not shown.",
                Name(user)
            ),
            Self::Repeated(thing, user) => {
                write!(f, "WARNING: a {thing} of {} was repeated, or came too late. It is not shown again.", Name(user))
            }
            Self::OwnEcho(thing) => write!(f, "WARNING: the server sent a {thing} of your own back. It is not shown."),
            Self::Missing { user, count, away } => {
                missing("message or act", "messages or acts", user, *count, *away, f)
            }
            Self::MissingDirect { user, count, away } => {
                missing("direct message", "direct messages", user, *count, *away, f)?;
                if !away {
                    write!(
                        f,
                        " Either the server dropped it, or {} lost the connection while it was sent.",
                        Name(user)
                    )?;
                }
                Ok(())
            }
            Self::Unreadable(user, why) => unreadable("A message", user, *why, f),
            Self::UnreadableDirect(user, why) => unreadable("A direct message", user, *why, f),
            Self::OtherName(user) => {
                write!(f, "WARNING: a message of {} bears another name inside. It is not shown.", Name(user))
            }
            Self::Unsigned(user) => write!(
                f,
                "WARNING: a message came in the name of {} without a signature, and {} signs. It is not shown: it may be \
                 anybody's.",
                Name(user),
                Name(user)
            ),
            Self::UnlistedLegacy(user) => write!(
                f,
                "WARNING: an unsigned message came in the name of {}, who is not listed on the old wire. It is not shown.",
                Name(user)
            ),
            Self::NotForUs(user) => write!(
                f,
                "WARNING: a direct message of {} came that is not for this client. It is not shown.",
                Name(user)
            ),
            Self::TooMuch(thing, user) => {
                write!(f, "A {thing} of {} is not shown: too much waits for the keys of others.", Name(user))
            }
            _ => Ok(()),
        }
    }
}

fn missing(one: &str, many: &str, user: &UserName, count: u64, away: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (what, was, is) = if count == 1 { (one, "was", "is") } else { (many, "were", "are") };
    match away {
        true => write!(f, "{count} {what} of {} {was} missed while you were away.", Name(user)),
        false => write!(f, "WARNING: {count} {what} of {} {is} missing.", Name(user)),
    }
}

fn unreadable(what: &str, user: &UserName, why: Unreadable, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let user = Name(user);
    match why {
        Unreadable::NotGranted => write!(
            f,
            "{what} of {user} cannot be read: no key for it has come. Ask {user} whether your key is accepted (/keys), and to \
             say it again."
        ),
        Unreadable::BrokenGrant => write!(
            f,
            "WARNING: {what} of {user} cannot be read: the key that came is not the one that {user} signed. Either the server \
             or {user}'s program did that."
        ),
        Unreadable::Earlier => {
            write!(
                f,
                "{what} of {user} cannot be read: the key that you have is for later ones. Ask {user} to say it again."
            )
        }
        Unreadable::TooFar => write!(f, "{what} of {user} cannot be read: it is numbered out of all bounds."),
        Unreadable::OtherKey => write!(
            f,
            "WARNING: {what} of {user} is not shown: it is bound to another key than the one that was given for it."
        ),
        Unreadable::Broken => {
            write!(
                f,
                "WARNING: {what} of {user} cannot be read, though it is signed: it was broken when it was sealed."
            )
        }
        Unreadable::NotOurs => write!(
            f,
            "{what} of {user} cannot be read: your key does not open it. It is damaged, or sealed for another key of yours."
        ),
        Unreadable::NoEntry => {
            write!(f, "{what} of {user} cannot be read: it came without a key for you. Ask {user} to say it again.")
        }
    }
}

/// A count of something in words: `1 line was`, `3 lines were`.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// How long something lasts: until a time in milliseconds since 1970, from `unix` seconds on. Two clocks are compared, so it
/// is rounded.
pub(super) fn until(until: Option<u64>, unix: u64) -> String {
    let Some(seconds) = until.map(|until| (until / 1000).saturating_sub(unix)) else {
        return "for good".to_owned();
    };
    let unit = match seconds {
        0..100 => 1,
        100..7_000 => 60,
        7_000..170_000 => 3_600,
        _ => 86_400,
    };
    lasting((seconds + unit / 2) / unit * unit)
}

/// So many seconds, exactly, in the largest unit that allows it: `for 90 seconds`, `for 2 hours`.
pub(super) fn lasting(seconds: u64) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let fits = |(unit, _): &(u64, &str)| seconds > 0 && seconds.is_multiple_of(*unit);
    let (unit, name) = units.into_iter().find(fits).unwrap_or((1, "second"));
    match seconds / unit {
        1 => format!("for 1 {name}"),
        n => format!("for {n} {name}s"),
    }
}

/// Some names and how many more: `alice, bob and 3 more`.
pub(super) fn names<'a>(names: impl IntoIterator<Item = &'a UserName>, most: usize) -> String {
    let mut names: Vec<&UserName> = names.into_iter().collect();
    names.dedup();
    let shown: Vec<String> = names.iter().take(most).map(|name| Name(name).to_string()).collect();
    match names.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Ed25519Key;

    #[test]
    fn every_alarm_says_something_and_nobody_can_speak_through_it() {
        let eve = || UserName::new("eve\n* all is well (");
        let room = || RoomName::new("den\nbob: hi");
        let key = KeyName::from(Ed25519Key([1; 32]));
        let mut alarms = vec![
            Alarm::Split(eve()),
            Alarm::LogBroken(Broken::NotJoined),
            Alarm::LogBroken(Broken::Number { expected: 3, found: 5 }),
            Alarm::LogChanged,
            Alarm::KeyChanged { with: None, user: eve(), pinned: key, shown: key },
            Alarm::KeyChanged { with: Some(Thing::Direct), user: eve(), pinned: key, shown: key },
            Alarm::BadKeys(eve(), BadBundle::Signature),
            Alarm::UnsignedKey(eve(), Fingerprint::of(b"key")),
            Alarm::OwnEcho(Thing::Act),
            Alarm::Missing { user: eve(), count: 1, away: true },
            Alarm::Missing { user: eve(), count: 2, away: false },
            Alarm::MissingDirect { user: eve(), count: 2, away: false },
            Alarm::OtherName(eve()),
            Alarm::Unsigned(eve()),
            Alarm::UnlistedLegacy(eve()),
            Alarm::NotForUs(eve()),
            Alarm::BadRoster,
            Alarm::RoomTooLarge,
            Alarm::NotListed,
            Alarm::OtherRoom(room()),
            Alarm::Opened(room()),
            Alarm::LegacyInside(room()),
            Alarm::ElsewhereEvent(room()),
            Alarm::Protocol(Text::sanitize("the server sent\nnonsense")),
        ];
        for thing in [Thing::Message, Thing::Act, Thing::Grant, Thing::Direct] {
            alarms.extend([
                Alarm::HeldBack(thing, eve()),
                Alarm::Unplaced(thing, eve()),
                Alarm::BadSignature(thing, eve()),
                Alarm::NoKeys(thing, eve(), BadKey::NotGiven),
                Alarm::OtherAccount(thing, eve()),
                Alarm::KeysMissing(thing, eve()),
                Alarm::TooManyNames(thing, eve()),
                Alarm::TooManyRuns(thing, eve()),
                Alarm::Unlisted(thing, eve()),
                Alarm::Repeated(thing, eve()),
                Alarm::TooMuch(thing, eve()),
            ]);
        }
        for why in [
            Unreadable::NotGranted,
            Unreadable::BrokenGrant,
            Unreadable::Earlier,
            Unreadable::TooFar,
            Unreadable::OtherKey,
            Unreadable::Broken,
            Unreadable::NoEntry,
            Unreadable::NotOurs,
        ] {
            alarms.extend([Alarm::Unreadable(eve(), why), Alarm::UnreadableDirect(eve(), why)]);
        }
        for alarm in alarms {
            let words = alarm.to_string();
            assert!(words.len() > 20 && words.ends_with(['.', '=']), "{alarm:?}: {words}");
            let own_lines = if matches!(alarm, Alarm::KeyChanged { .. }) { 4 } else { 1 };
            assert_eq!(words.lines().count(), own_lines, "{words}");
            assert!(!words.contains("eve\n") && !words.contains("den\n"), "{words}");
        }
    }

    #[test]
    fn counts_and_lists_are_said_as_people_say_them() {
        let names_ = ["al", "bo", "cy", "di"].map(UserName::new);
        assert_eq!(names(&names_, 5), "al, bo, cy, di");
        assert_eq!(names(&names_, 2), "al, bo and 2 more");
        assert_eq!(counted(1, "line was", "lines were"), "1 line was");
        for (ms, words) in [
            (None, "for good"),
            (Some(30_000), "for 30 seconds"),
            (Some(60_000), "for 1 minute"),
            (Some(121_000), "for 2 minutes"),
            (Some(599_000), "for 10 minutes"),
            (Some(600_000), "for 10 minutes"),
            (Some(0), "for 0 seconds"),
            (Some(2 * 86_400_000 + 1_000), "for 2 days"),
        ] {
            assert_eq!(until(ms, 0), words);
        }
        assert_eq!(until(Some(7_200_000), 0), "for 2 hours");
        for (seconds, words) in
            [(1, "for 1 second"), (90, "for 90 seconds"), (3_600, "for 1 hour"), (0, "for 0 seconds")]
        {
            assert_eq!(lasting(seconds), words);
        }
        assert_eq!(until(Some(7 * 86_400_000), 0), "for 7 days");
    }
}
