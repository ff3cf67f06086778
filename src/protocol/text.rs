//! JSON texts and nesting, looked at a block or a text at a time: what is said is mostly base64, and most of the bytes of a message are
//! passed over here.

use memchr::memchr2;

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// Whether a text is in JSON what it is here.
pub(super) fn is_plain(text: &str) -> bool {
    let needs_escape = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    // Without a way out within a block, a processor looks at all its bytes at once.
    text.as_bytes().chunks(BLOCK).all(|block| !block.iter().fold(false, |any, byte| any | needs_escape(*byte)))
}

/// Writes a text with its quotes, in the shortest form that JSON has for it.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing to memory cannot fail; a failure would leave a line that is no JSON, which no peer takes for anything.
        let _ = serde_json::to_writer(out, text);
    }
}

/// How deeply arrays and objects are nested, brackets inside strings aside.
pub(super) fn depth(json: &[u8]) -> usize {
    let (mut open, mut deepest) = (0usize, 0usize);
    let mut rest = json;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'"' => rest = after_string(after),
            b'{' | b'[' => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What follows the end of the string whose inside begins here.
fn after_string(mut inside: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', inside) {
        let ends = inside.get(at) == Some(&b'"');
        inside = inside.get(at + if ends { 1 } else { 2 }..).unwrap_or_default(); // a backslash and what it escapes
        if ends {
            return inside;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, a byte at a time.
    fn plain_depth(json: &[u8]) -> usize {
        let (mut open, mut deepest) = (0usize, 0usize);
        let (mut in_string, mut escaped) = (false, false);
        for &b in json {
            match b {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => {
                    open += 1;
                    deepest = deepest.max(open);
                }
                b'}' | b']' if !in_string => open = open.saturating_sub(1),
                _ => {}
            }
        }
        deepest
    }

    proptest! {
        #[test]
        fn depth_is_that_of_a_plain_count(json in r#"[\[\]{}"\\a,:]{0,40}"#) {
            prop_assert_eq!(depth(json.as_bytes()), plain_depth(json.as_bytes()));
        }

        #[test]
        fn texts_are_written_as_serde_json_writes_them(text in r#"([ -~]|[\x00-\x7f]|é){0,200}"#) {
            let mut out = Vec::new();
            write_text(&mut out, &text);
            let expected = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(is_plain(&text), expected.len() == text.len() + 2);
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
