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
use unicode_security::mixed_script::AugmentedScriptSet;
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
    /// Letters of scripts that nobody writes together.
    Scripts,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a name has at most {MAX_NAME_CHARS} characters"),
            Self::Character => f.write_str("a name is made of letters, digits and _ . -"),
            Self::Empty => f.write_str("a name needs a letter or a digit"),
            Self::Scripts => f.write_str("the letters of a name are of one script"),
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
    /// [`NameError`] when the name breaks the policy: 1 to [`MAX_NAME_CHARS`] Unicode letters of one script, digits, `_`, `.`,
    /// `-`.
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
        // A long name is taken for nothing so short; its shapes would take long to find.
        if self.0.len() > 4 * MAX_NAME_CHARS {
            return false;
        }
        // Marks can be seen, but nobody else has such power.
        let bare: String = self.0.nfkd().filter(|c| !is_combining_mark(*c)).collect();
        shapes(&bare).iter().any(|shape| &**shape == GOD)
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
    if mixes_scripts(name) {
        return Err(NameError::Scripts);
    }
    Ok(())
}

/// Whether letters come from scripts that are not written together: what is not *highly restrictive* by UTS #39, section 5.2,
/// the level that it has identifiers use. Latin beside Chinese, Japanese or Korean is: people write so. The next level would
/// take Latin beside Armenian or Georgian, whose letters look like Latin ones, and beside Arabic or Hebrew, where nobody sees
/// in which order a name is read. Other than there, letters of rare scripts are as good as any: they are somebody's.
fn mixes_scripts(name: &str) -> bool {
    let latin = AugmentedScriptSet::for_char('a');
    let (mut all, mut beside_latin) = (AugmentedScriptSet::default(), AugmentedScriptSet::default());
    for set in name.chars().map(AugmentedScriptSet::for_char) {
        all.intersect_with(set);
        let mut shared = latin;
        shared.intersect_with(set);
        if shared.is_empty() {
            beside_latin.intersect_with(set);
        }
    }
    all.is_empty() && !(beside_latin.hanb || beside_latin.jpan || beside_latin.kore)
}

fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// What a name looks like: its form without case, and its shapes.
///
/// Two names clash when they differ in case only, or when they have a shape in common and are not both ASCII:
/// `admin` and Cyrillic `аdmin` clash, and so do `BOB` and `вов`, whose capitals are `ВОВ`; `user1` and `userl` do not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Likeness {
    /// The name in lower case.
    pub folded: Box<str>,
    /// What it may be taken for, all different: one for a name in ASCII, and at most three.
    pub shapes: Vec<Box<str>>,
    /// Whether the name is ASCII.
    pub ascii: bool,
}

impl Likeness {
    /// Whether a person could take the two for one.
    pub fn clashes_with(&self, other: &Self) -> bool {
        let has_shape = |shape| other.shapes.contains(shape);
        self.folded == other.folded || (self.shapes.iter().any(has_shape) && !(self.ascii && other.ascii))
    }
}

impl Likeness {
    fn of(name: &str) -> Self {
        Self { shapes: shapes(name), ascii: name.is_ascii(), folded: name.to_lowercase().into() }
    }
}

/// What a name may be taken for: skeletons (UTS #39, section 4) of its compatibility form (letters in circles, in full width or
/// of mathematics look like plain ones), without case.
///
/// A letter's cases look like different letters: Greek `Ν` like N, its small `ν` like v. Of some, one case alone looks like a
/// letter of ASCII, or the tables know one alone. So there is the skeleton of the small letters; and, letter by letter, what is
/// ASCII of the capital before the small one, and what is ASCII of what is shown before either.
fn shapes(name: &str) -> Vec<Box<str>> {
    if name.is_ascii() {
        return vec![without_case(&name.to_ascii_lowercase()).into()];
    }
    let letters: Vec<Letter> = name.nfkd().map(Letter::of).collect();
    let shape = |of: fn(&Letter) -> &str| without_case(&letters.iter().map(of).collect::<String>());
    let mut shapes: Vec<Box<str>> = Vec::new();
    for shape in [shape(Letter::small), shape(Letter::capital), shape(Letter::plain)] {
        if !shapes.iter().any(|other| **other == *shape) {
            shapes.push(shape.into());
        }
    }
    shapes
}

/// The skeletons of a letter: as it is, and in either case.
struct Letter {
    shown: String,
    small: String,
    capital: String,
}

impl Letter {
    fn of(c: char) -> Self {
        let skeleton = |text: String| skeleton(&text).collect();
        Self {
            shown: skeleton(c.into()),
            small: skeleton(c.to_lowercase().collect()),
            capital: skeleton(c.to_uppercase().collect()),
        }
    }

    fn small(&self) -> &str {
        &self.small
    }

    /// The capital's, where it is ASCII; else the small letter's.
    fn capital(&self) -> &str {
        if self.capital.is_ascii() { &self.capital } else { &self.small }
    }

    /// What is shown, where it is ASCII; else whichever case is.
    fn plain(&self) -> &str {
        let ascii = [&self.shown, &self.capital, &self.small].into_iter().find(|skeleton| skeleton.is_ascii());
        ascii.unwrap_or(&self.shown)
    }
}

/// The skeleton of a skeleton's small letters: of ASCII, only I and M have other skeletons than their small letters, those of l
/// and of rn. So an i counts as an l, too.
fn without_case(skeletons: &str) -> String {
    let small = skeletons.to_lowercase();
    let shape: String = skeleton(&small).collect();
    shape.to_lowercase().replace('i', "l")
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
        for good in [
            "a",
            "alice",
            "Zoë",
            "o.k-2_x",
            "漢字",
            "हिन्दी",
            "Ωμέγα_7",
            "борис-2",
            "ᏣᎳᎩ",
            "中村taro",
            "김bob",
            &"x".repeat(32),
        ] {
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
            ("bоb", NameError::Scripts), // with a Cyrillic о
            ("ꞬoᎠ", NameError::Scripts),
            ("bobשלום", NameError::Scripts),
            ("boբ", NameError::Scripts),
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
        for disguise in [
            "god",
            "God",
            "GOD",
            "gоd",
            "ɡod",
            "g\u{3bf}d",
            "ｇｏｄ",
            "𝐆𝐨𝐝",
            "ⓖod",
            "Ԍod",
            "g0d",
            "gód",
            "g\u{335}od",
            "ꞬoᎠ",
            "ꞬoD",
            "goꭰ",
        ] {
            assert!(UserName::new(disguise).is_god_in_disguise(), "{disguise}");
        }
        for other in ["good", "gog", "dog", "gød"] {
            assert!(!UserName::new(other).is_god_in_disguise(), "{other}");
        }
    }

    #[test]
    fn a_name_clashes_with_what_its_capitals_or_its_small_letters_look_like() {
        let clash = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|name| UserName::new(name).likeness());
            assert_eq!(one.clashes_with(&other), other.clashes_with(&one));
            one.clashes_with(&other)
        };
        for (one, others) in [
            ("BOB", &["ΒΟΒ", "ВОВ", "вов", "βοβ", "ВоВ"][..]), // Greek and Cyrillic
            ("bob", &["ΒΟΒ", "ВОВ", "вов"]),
            ("ΒΟΒ", &["ВОВ", "вов", "Bob"]),
            ("TOM", &["ТОМ", "том", "Том"]),
            ("mark", &["ᎷᎪᎡᏦ", "ＭＡＲＫ", "ꮇꭺꭱꮶ"]), // Cherokee, of full width
            ("DAVID", &["ᎠAVID", "ꭰAVID"]),
            ("van", &["νan", "Van\u{200d}", "ⓥan"]),
            ("nat", &["ΝΑΤ", "Νατ", "νατ"]), // Greek, which looks like it in capitals,
            ("vat", &["νατ"]),               // like another name as it is,
            ("vov", &["ΝΟΝ", "νον"]),        // and like others in small letters
            ("isis", &["Іѕіѕ", "ІЅІЅ", "іѕіѕ"]),
            ("Strauß", &["Strauβ", "STRAUSS", "strauß"]),
            ("Πι", &["Пι"]), // Greek, and a Cyrillic capital
        ] {
            for other in others {
                assert!(clash(one, other), "{one} and {other}");
            }
        }
        for (one, other) in [("van", "nan"), ("user1", "userl"), ("борис", "boris"), ("zoe", "Zoë"), ("Ωμέγα", "Омега")]
        {
            assert!(!clash(one, other), "{one} and {other}");
        }
    }

    /// What is compared of a name in ASCII is what would be compared of it letter by letter.
    #[test]
    fn a_name_in_ascii_has_one_shape_in_whatever_case() {
        for c in ('!'..='~').map(String::from) {
            let [shape] = &shapes(&c)[..] else { panic!("{c}") };
            assert_eq!(shapes(&c.to_uppercase()), shapes(&c), "{c}");
            let letter = Letter::of(c.chars().next().unwrap());
            for skeleton in [letter.small(), letter.capital(), letter.plain()] {
                assert_eq!(without_case(skeleton), **shape, "{c}");
            }
        }
    }

    #[test]
    fn a_name_prints_sanitized_and_a_password_not_at_all() {
        assert_eq!(UserName::new("bob\x1b[2J").to_string(), "bob[2J");
        assert_eq!(format!("{:?}", Password::new("secret")), "Password(…)");
    }
}
