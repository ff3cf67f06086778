//! Names, passwords and text from outside, parsed once at the edge and valid for ever after.
//!
//! Two kinds of names exist side by side. What somebody *registers* must satisfy the policy of
//! [`UserName::register`]; what the Python server once allowed keeps working, so a name that is merely *looked up*
//! ([`UserName::new`]) is any word. Either way a name prints sanitized, whatever it is made of.

use std::fmt;
use std::sync::Arc;

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_security::confusable_detection::skeleton;
use unicode_segmentation::UnicodeSegmentation;
use zeroize::Zeroizing;

/// Most characters in a name that is registered today.
pub const MAX_NAME_CHARS: usize = 32;

/// The reserved account that needs no room password and comes and goes without a notice.
pub const GOD: &str = "god";

/// Why a name cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// More than [`MAX_NAME_CHARS`] characters.
    TooLong,
    /// A character outside letters, digits, `_`, `.` and `-` (and a leading `#` of a room).
    Character,
    /// Nothing but punctuation.
    Empty,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a name has at most {MAX_NAME_CHARS} characters"),
            Self::Character => f.write_str("a name is made of letters, digits and _ . -"),
            Self::Empty => f.write_str("a name needs a letter or a digit"),
        }
    }
}

impl std::error::Error for NameError {}

/// The name of an account. Compared as stored; prints sanitized.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Arc<str>);

/// The name of a room. Compared as stored; prints sanitized.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

macro_rules! name {
    ($type:ident, $what:literal) => {
        impl $type {
            #[doc = concat!("The ", $what, " exactly as somebody typed it or a database holds it.")]
            pub fn new(word: &str) -> Self {
                Self(word.into())
            }

            /// The same in NFC, the form in which names are registered.
            pub fn normalized(&self) -> Self {
                if is_nfc(&self.0) { self.clone() } else { Self(self.0.nfc().collect::<String>().into()) }
            }

            /// The stored form, unsanitized: for look-ups, wires and files, never for a terminal.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(Text::sanitize(&self.0).as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Self(<String as serde::Deserialize>::deserialize(from)?.into()))
            }
        }
    };
}

name!(UserName, "user's name");
name!(RoomName, "room's name");

impl UserName {
    /// A name for a new account.
    ///
    /// # Errors
    /// [`NameError`] when the name breaks the policy: 1 to [`MAX_NAME_CHARS`] Unicode letters, digits, `_`, `.`, `-`.
    pub fn register(word: &str) -> Result<Self, NameError> {
        let name = Self::new(word).normalized();
        check_policy(&name.0)?;
        Ok(name)
    }

    /// The reserved name.
    pub fn god() -> Self {
        Self::new(GOD)
    }

    /// Whether this is the reserved account itself.
    pub fn is_god(&self) -> bool {
        &*self.0 == GOD
    }

    /// Whether this is the reserved name or something that a person would take for it.
    pub fn is_god_in_disguise(&self) -> bool {
        // Some capitals look like others whose small letters do not. Marks can be seen, but nobody else has such power.
        let is_god = |name: &str| shape(&name.nfkd().filter(|c| !is_combining_mark(*c)).collect::<String>()) == GOD;
        // A long name is taken for nothing so short; its skeleton would take long to find.
        self.0.len() <= 4 * MAX_NAME_CHARS && (is_god(&self.0.to_lowercase()) || is_god(&self.0))
    }

    /// What decides whether another name looks like this one.
    pub fn likeness(&self) -> Likeness {
        Likeness::of(&self.0)
    }
}

impl RoomName {
    /// A name for a new room; as [`UserName::register`], with an optional leading `#`.
    ///
    /// # Errors
    /// [`NameError`] when the name breaks the policy.
    pub fn register(word: &str) -> Result<Self, NameError> {
        let name = Self::new(word).normalized();
        if name.0.chars().count() > MAX_NAME_CHARS {
            return Err(NameError::TooLong);
        }
        check_policy(name.0.strip_prefix('#').unwrap_or(&name.0))?;
        Ok(name)
    }

    /// What decides whether another name looks like this one.
    pub fn likeness(&self) -> Likeness {
        Likeness::of(&self.0)
    }
}

fn check_policy(name: &str) -> Result<(), NameError> {
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(NameError::TooLong);
    }
    let allowed = |c: char| c.is_alphanumeric() || is_combining_mark(c) || matches!(c, '_' | '.' | '-');
    let is_seen = Text::sanitize(name).as_str() == name && !name.chars().any(is_variation_selector);
    if !name.chars().all(allowed) || name.starts_with(is_combining_mark) || !is_seen {
        return Err(NameError::Character);
    }
    if !name.chars().any(char::is_alphanumeric) {
        return Err(NameError::Empty);
    }
    Ok(())
}

fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// What a name looks like: its form without case, and the skeleton (UTS #39, section 4) of its compatibility form (NFKC), without
/// case: letters in circles, in full width or of mathematics look like plain ones.
///
/// Two names clash when they differ in case only, or when they have one skeleton and are not both ASCII:
/// `admin` and Cyrillic `аdmin` clash, `user1` and `userl` do not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Likeness {
    /// The name in lower case.
    pub folded: Box<str>,
    /// The confusables skeleton of the folded name, folded again.
    pub skeleton: Box<str>,
    /// Whether the name is ASCII.
    pub ascii: bool,
}

impl Likeness {
    /// Whether a person could take the two for one.
    pub fn clashes_with(&self, other: &Self) -> bool {
        self.folded == other.folded || (self.skeleton == other.skeleton && !(self.ascii && other.ascii))
    }
}

impl Likeness {
    fn of(name: &str) -> Self {
        let folded = name.to_lowercase();
        Self { skeleton: shape(&folded).into(), ascii: name.is_ascii(), folded: folded.into() }
    }
}

/// The skeleton of a name's compatibility form, in small letters.
fn shape(name: &str) -> String {
    let shape: String = match name.is_ascii() {
        true => skeleton(name).collect(),
        false => skeleton(&name.nfkc().collect::<String>()).collect(),
    };
    shape.to_lowercase()
}

/// A password as somebody typed it: wiped when dropped, never printed.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The bytes that are hashed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Text from another that is safe to show: no control characters, nothing invisible, one line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Text(String);

impl Text {
    /// Makes text safe for a terminal, a log or a notice.
    ///
    /// Line ends, tabs and the other white-space controls become one space each. Dropped are all other C0 and C1 controls,
    /// bidirectional controls, zero-width and other invisible characters. A zero-width joiner or non-joiner
    /// stays where it shapes a script or an emoji: behind a character outside ASCII in one grapheme cluster (UAX #29).
    pub fn sanitize(raw: &str) -> Self {
        if raw.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Self(raw.to_owned());
        }
        let raw = raw.replace("\r\n", " ");
        let mut safe = String::with_capacity(raw.len());
        for cluster in raw.graphemes(true) {
            let mut before = None;
            for c in cluster.chars() {
                let shown = match c {
                    '\t' | '\n' | '\x0b' | '\x0c' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{2800}' => {
                        ' ' // the last is Braille's blank, which looks like one
                    }
                    '\u{200c}' | '\u{200d}' if before.is_some_and(|c: char| !c.is_ascii()) => c,
                    c if is_invisible(c) => continue,
                    c => c,
                };
                safe.push(shown);
                before = Some(shown);
            }
        }
        Self(safe)
    }

    /// The sanitized text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Controls, and characters that leave no mark of their own (a part of Unicode's Default_Ignorable_Code_Point).
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_what_is_printable_and_nothing_else() {
        let shown = |raw| Text::sanitize(raw).as_str().to_owned();
        assert_eq!(shown("plain text"), "plain text");
        assert_eq!(shown("\x1b[31mred\x1b[0m"), "[31mred[0m");
        assert_eq!(shown("\x1b]0;title\x07rest\u{9b}2J"), "]0;titlerest2J");
        assert_eq!(shown("two\r\nlines\tand\u{2028}more"), "two lines and more");
        assert_eq!(shown("a\u{202e}b\u{2066}c\u{200b}d\u{feff}"), "abcd");
        assert_eq!(shown("naïve Ω 漢字"), "naïve Ω 漢字");
    }

    #[test]
    fn joiners_stay_inside_a_cluster_only() {
        let shown = |raw| Text::sanitize(raw).as_str().to_owned();
        let family = "👩\u{200d}👩\u{200d}👧";
        assert_eq!(shown(family), family);
        let persian = "می\u{200c}خواهم";
        assert_eq!(shown(persian), persian);
        assert_eq!(shown("bob\u{200d}"), "bob");
        assert_eq!(shown("\u{200d}bob\u{200c}by"), "bobby");
        assert_eq!(shown("a\u{2800}\u{200d}b"), "a b", "a blank of Braille joins nothing");
    }

    #[test]
    fn names_that_can_be_registered() {
        for good in ["a", "alice", "Zoë", "o.k-2_x", "漢字", "हिन्दी", &"x".repeat(32)] {
            assert!(UserName::register(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            (&*"x".repeat(33), NameError::TooLong),
            ("a b", NameError::Character),
            ("a\x1b", NameError::Character),
            ("a\u{200d}", NameError::Character),
            ("#room", NameError::Character),
            ("...", NameError::Empty),
            ("\u{3164}", NameError::Character),
            ("x\u{fe0f}", NameError::Character),
            ("", NameError::Empty),
        ] {
            assert_eq!(UserName::register(bad), Err(why), "{bad:?}");
        }
        assert!(RoomName::register("#room").is_ok());
        assert_eq!(RoomName::register("#"), Err(NameError::Empty));
    }

    #[test]
    fn names_are_registered_in_one_normal_form() {
        assert_eq!(UserName::register("Zoe\u{308}"), Ok(UserName::new("Zoë")));
        assert_eq!(UserName::new("Zoe\u{308}").normalized(), UserName::new("Zoë"));
    }

    #[test]
    fn god_is_known_in_every_disguise() {
        for disguise in
            ["god", "God", "GOD", "gоd", "ɡod", "g\u{3bf}d", "ｇｏｄ", "𝐆𝐨𝐝", "ⓖod", "Ԍod", "g0d", "gód", "g\u{335}od"]
        {
            assert!(UserName::new(disguise).is_god_in_disguise(), "{disguise}");
        }
        for other in ["good", "gog", "dog", "gød"] {
            assert!(!UserName::new(other).is_god_in_disguise(), "{other}");
        }
    }

    #[test]
    fn a_name_prints_sanitized_and_a_password_not_at_all() {
        assert_eq!(UserName::new("bob\x1b[2J").to_string(), "bob[2J");
        assert_eq!(format!("{:?}", Password::new("secret")), "Password(…)");
    }
}
