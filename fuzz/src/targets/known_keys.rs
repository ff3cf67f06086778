//! The file of what a client knows: servers, people and rooms.

use secure_chat::client::known_keys::KnownKeys;

/// The file's text.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(known) = KnownKeys::parse(&text) else { return };
    let written = known.to_text();
    assert_eq!(KnownKeys::parse(&written).as_ref(), Ok(&known));
    assert_eq!(known.to_text(), written);
    // Nothing of it is passed over, and nothing is taken for empty.
    let entries = |text: &str| text.lines().skip(1).filter(|line| is_entry(line)).count();
    assert_eq!(entries(&written), entries(&text), "an entry a line: {written}");
    assert_eq!(known == KnownKeys::default(), entries(&text) == 0);
    if text.starts_with("# secure-chat known keys, version 2") {
        for entry in text.lines().skip(1).filter(|line| is_entry(line)) {
            if entry.trim_start().starts_with("server") {
                continue; // an address is written as it is: that of a zone has a percent sign
            }
            assert!(entry.split('%').skip(1).all(is_escape), "no program writes {entry:?}");
        }
    }
    // What was cut short is seen to be, but where a whole line went.
    if let Some((last, _)) = written.char_indices().nth_back(0)
        && entries(&written) > 0
    {
        assert!(KnownKeys::parse(&written[..last]).is_err(), "the line feed at the end is missing");
    }
}

fn is_entry(line: &str) -> bool {
    !line.trim().is_empty() && !line.trim().starts_with('#')
}

/// What follows a percent sign: two hexadecimal digits, or nothing of the name.
fn is_escape(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(char::is_whitespace) || {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    }
}
