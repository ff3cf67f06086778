//! Names, and text that is shown.

use secure_chat::names::{MAX_NAME_CHARS, RoomName, Text, UserName};

/// Two words, or one, divided by a zero.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (one, other) = text.split_once('\0').unwrap_or((&text, ""));
    shown(one);
    user(one, other);
    room(one);
}

/// Nothing that moves a cursor, turns a line around or leaves no mark reaches a screen, whatever came.
fn shown(raw: &str) {
    let text = Text::sanitize(raw);
    assert_eq!(Text::sanitize(text.as_str()), text, "what is safe stays as it is");
    assert!(text.as_str().len() <= raw.len());
    let mut before = None;
    for c in text.as_str().chars() {
        assert!(!c.is_control(), "{c:?}");
        let code = u32::from(c);
        let bidi = matches!(code, 0x61c | 0x200e | 0x200f | 0x202a..=0x202e | 0x2066..=0x2069);
        let break_or_blank = matches!(code, 0x2028 | 0x2029 | 0x2800 | 0x3164 | 0x115f | 0x1160 | 0xffa0);
        let invisible =
            matches!(code, 0xad | 0x34f | 0x200b | 0x2060..=0x2065 | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe0fff);
        assert!(!(bidi || break_or_blank || invisible), "U+{code:04X}");
        if matches!(c, '\u{200c}' | '\u{200d}') {
            assert!(before.is_some_and(|c: char| !c.is_ascii()), "a joiner that joins nothing");
        }
        before = Some(c);
    }
    assert_eq!(UserName::new(raw).to_string(), text.as_str(), "a name is shown like any text");
    assert_eq!(format!("{:?}", RoomName::new(raw)), text.as_str());
}

fn user(word: &str, other: &str) {
    let likes = |one: &UserName, other: &UserName| one.likeness().clashes_with(&other.likeness());
    assert_eq!(UserName::new(word).as_str(), word, "kept as it came");
    if word.len() + other.len() <= 1024 {
        let (one, other) = (UserName::new(word), UserName::new(other));
        assert!(likes(&one, &one), "everybody looks like himself");
        assert_eq!(likes(&one, &other), likes(&other, &one));
        assert!(likes(&one, &UserName::new(&word.to_lowercase())), "case hides nobody");
    }
    let Ok(name) = UserName::register(word) else { return };
    assert_eq!(UserName::register(name.as_str()).as_ref(), Ok(&name), "registered once and for all");
    assert_eq!(name.normalized(), name);
    assert_eq!(name.to_string(), name.as_str(), "what is registered is seen");
    assert!((1..=MAX_NAME_CHARS).contains(&name.as_str().chars().count()));
    assert!(!name.as_str().chars().any(char::is_whitespace), "one word on the legacy wire");
    assert!(secure_chat::protocol::legacy::is_word(name.as_str()));
    assert!(secure_chat::protocol::modern::name_fits(name.as_str()));
    let is_god = name.as_str().eq_ignore_ascii_case("god");
    assert!(!is_god || name.is_god_in_disguise());
    assert!(RoomName::register(name.as_str()).is_ok(), "a room may be called so, too");
}

fn room(word: &str) {
    let Ok(name) = RoomName::register(word) else { return };
    assert_eq!(RoomName::register(name.as_str()).as_ref(), Ok(&name));
    assert_eq!(name.to_string(), name.as_str());
    assert!(secure_chat::protocol::legacy::is_word(name.as_str()));
    let rest = name.as_str().strip_prefix('#').unwrap_or(name.as_str());
    assert!(UserName::register(rest).is_ok(), "but for a leading #, a room is called as a person may be");
}
