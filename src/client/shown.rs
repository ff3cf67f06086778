//! What is shown of a message: who vouches for it stands in front of it, in words.
//!
//! | line | who vouches |
//! |---|---|
//! | `bob (verified): text` | bob's key, whose safety number the person compared |
//! | `bob (pinned): text` | the key that was the first for this name, or that the person accepted |
//! | `bob (you): text` | the own key, on another device |
//! | `bob (unsigned, legacy): text` | the server alone |
//! | `bob (verified, direct): text` | as above; it came to this account alone |

use std::fmt::{self, Write};

use unicode_normalization::char::is_combining_mark;

use crate::names::{RoomName, Text, UserName};

/// Who vouches for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trust {
    /// Nobody but the server: it came over the legacy wire.
    Unsigned,
    /// The first signing key of this name, or one that the person accepted.
    Pinned,
    /// The signing key that the person verified.
    Verified,
    /// The own signing key, on another device.
    Own,
}

impl Trust {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned, legacy",
            Self::Pinned => "pinned",
            Self::Verified => "verified",
            Self::Own => "you",
        }
    }
}

/// Where a message was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a room.
    Room(RoomName),
    /// To one account alone.
    Direct {
        /// Which.
        to: UserName,
    },
}

/// Something that is to be known about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Its author did not know yet that somebody was gone, who may be able to read it.
    SentBefore(Option<UserName>),
    /// The author's clock and the server's differ by more than two minutes: seconds since 1970.
    Times {
        /// What the author says.
        author: u64,
        /// What the server says.
        server: u64,
    },
    /// The author's clock and the one of this device differ by more than two minutes: seconds since 1970.
    Came {
        /// What the author says.
        author: u64,
        /// When it came.
        here: u64,
    },
    /// The author's name can be taken for another's that was known before.
    LooksLike(UserName),
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SentBefore(Some(name)) => write!(f, "(sent before {} was gone)", Name(name)),
            Self::SentBefore(None) => f.write_str("(sent before others were gone)"),
            Self::Times { author, server } => {
                write!(f, "(written {}, says the author; sent {}, says the server)", Clock(*author), Clock(*server))
            }
            Self::Came { author, here } => {
                write!(f, "(written {}, says the author; came {})", Clock(*author), Clock(*here))
            }
            Self::LooksLike(name) => write!(f, "(another than {}, whose name looks like this)", Name(name)),
        }
    }
}

/// A message that may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Who said it.
    pub author: UserName,
    /// Who vouches for that.
    pub trust: Trust,
    /// Where.
    pub place: Place,
    /// What is to be known about it.
    pub marks: Vec<Mark>,
    /// What was said.
    pub text: Text,
}

impl Shown {
    /// What stands before the text, up to the colon.
    pub fn head(&self) -> String {
        let trust = self.trust.word();
        let mut head = match &self.place {
            Place::Room(_) => format!("{} ({trust})", Name(&self.author)),
            Place::Direct { to } if self.trust == Trust::Own => {
                format!("{} ({trust}, direct to {})", Name(&self.author), Name(to))
            }
            Place::Direct { .. } => format!("{} ({trust}, direct)", Name(&self.author)),
        };
        for mark in &self.marks {
            let _ = write!(head, " {mark}"); // writing to memory cannot fail
        }
        head
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.head(), self.text)
    }
}

/// A name as it is shown: no two names are shown alike in all their characters, and none can pass for more than a name.
///
/// Letters, digits, their marks and `_ . @ + #` stand for themselves, `-` where it does not come first. Everything else that a
/// Python server let into a name stands as its bytes, `%28` for `(`.
pub struct Name<'a>(pub &'a UserName);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_name(self.0.as_str(), f)
    }
}

/// A room's name as it is shown; see [`Name`].
pub struct Room<'a>(pub &'a RoomName);

impl fmt::Display for Room<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_name(self.0.as_str(), f)
    }
}

fn show_name(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if name.is_empty() {
        return f.write_str("%");
    }
    let mut first = true;
    for c in name.chars() {
        let stands = c.is_alphanumeric() || matches!(c, '_' | '.' | '@' | '+' | '#') || (!first && is_inner(c));
        if stands && !is_unseen(c) {
            f.write_char(c)?;
        } else {
            c.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(f, "%{byte:02X}"))?;
        }
        first = false;
    }
    Ok(())
}

fn is_inner(c: char) -> bool {
    c == '-' || is_combining_mark(c)
}

/// Letters that leave no mark of their own, and selectors of variants, which are marks.
fn is_unseen(c: char) -> bool {
    let alone = c.encode_utf8(&mut [0; 4]).to_owned();
    Text::sanitize(&alone).as_str() != alone || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// A time of day, UTC, with its date: `2026-11-27 03:05:09`.
struct Clock(u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 86_400;
        let (days, second) = (self.0 / DAY, self.0 % DAY);
        if days > 2_932_896 {
            return f.write_str("in a year that has five digits");
        }
        // Days of the Gregorian calendar, counted from 1 March of the year 0 in cycles of 400 years.
        let day = days + 719_468;
        let (cycle, day) = (day / 146_097, day % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let date = day - (153 * month + 2) / 5 + 1;
        let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = cycle * 400 + year + carry;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(author: &str, trust: Trust) -> Shown {
        Shown {
            author: UserName::new(author),
            trust,
            place: Place::Room(RoomName::new("r")),
            marks: Vec::new(),
            text: Text::sanitize("hello"),
        }
    }

    #[test]
    fn who_vouches_is_said_in_words() {
        for (trust, line) in [
            (Trust::Verified, "bob (verified): hello"),
            (Trust::Pinned, "bob (pinned): hello"),
            (Trust::Own, "bob (you): hello"),
            (Trust::Unsigned, "bob (unsigned, legacy): hello"),
        ] {
            assert_eq!(shown("bob", trust).to_string(), line);
        }
        let place = Place::Direct { to: UserName::new("al") };
        let direct = Shown { place: place.clone(), ..shown("bob", Trust::Verified) };
        assert_eq!(direct.to_string(), "bob (verified, direct): hello");
        assert_eq!(Shown { place, ..shown("bob", Trust::Own) }.to_string(), "bob (you, direct to al): hello");
    }

    #[test]
    fn what_is_to_be_known_stands_before_the_colon() {
        let marks = vec![
            Mark::SentBefore(Some(UserName::new("eve"))),
            Mark::SentBefore(None),
            Mark::Times { author: 1_700_000_000, server: 1_700_000_500 },
            Mark::Came { author: 1_700_000_000, here: 1_700_000_500 },
            Mark::LooksLike(UserName::new("bob")),
        ];
        let line = Shown { marks, ..shown("bоb", Trust::Pinned) }.to_string();
        assert_eq!(
            line,
            "bоb (pinned) (sent before eve was gone) (sent before others were gone) (written 2023-11-14 22:13:20, says the \
             author; sent 2023-11-14 22:21:40, says the server) (written 2023-11-14 22:13:20, says the author; came 2023-11-14 \
             22:21:40) (another than bob, whose name looks like this): hello"
        );
    }

    #[test]
    fn a_name_is_never_more_than_a_name() {
        for (name, line) in [
            ("bob(verified):", "bob%28verified%29%3A (unsigned, legacy): hello"),
            ("bob\u{2800}(verified):", "bob%E2%A0%80%28verified%29%3A (unsigned, legacy): hello"),
            ("*", "%2A (unsigned, legacy): hello"),
            ("--", "%2D- (unsigned, legacy): hello"),
            ("?", "%3F (unsigned, legacy): hello"),
            ("b\x1b[2Job", "b%1B%5B2Job (unsigned, legacy): hello"),
            ("bob\u{200d}", "bob%E2%80%8D (unsigned, legacy): hello"),
            ("bob\u{fe0f}", "bob%EF%B8%8F (unsigned, legacy): hello"),
            ("bob%28", "bob%2528 (unsigned, legacy): hello"),
            ("\u{3164}", "%E3%85%A4 (unsigned, legacy): hello"),
            ("\u{308}a", "%CC%88a (unsigned, legacy): hello"),
            ("", "% (unsigned, legacy): hello"),
        ] {
            assert_eq!(shown(name, Trust::Unsigned).to_string(), line);
        }
        for good in ["alice", "Zoë", "o.k-2_x", "漢字", "हिन्दी", "a@b", "Zoe\u{308}"] {
            assert_eq!(Name(&UserName::new(good)).to_string(), good);
        }
        assert_eq!(Room(&RoomName::new("#den :")).to_string(), "#den%20%3A");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (time, clock) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_799, "2000-02-29 23:59:59"),
            (1_767_225_599, "2025-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (253_402_300_799, "9999-12-31 23:59:59"),
            (u64::MAX, "in a year that has five digits"),
        ] {
            assert_eq!(Clock(time).to_string(), clock);
        }
    }
}
