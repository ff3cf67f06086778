//! Messages that come in pieces, or several at once.

/// Bytes that wait for the rest of their message.
#[derive(Default)]
pub(super) struct Pieces(Vec<u8>);

impl Pieces {
    /// Takes bytes. `message` looks at what has come and says how many bytes it used; 0 when it needs more.
    pub(super) fn take(&mut self, bytes: &[u8], mut message: impl FnMut(&[u8]) -> usize) {
        if self.0.is_empty() {
            let used = use_up(bytes, &mut message);
            self.0.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            self.0.extend_from_slice(bytes);
            let used = use_up(&self.0, &mut message);
            self.0.drain(..used);
        }
    }

    /// The same for lines: `line` is without its end, `\n` or `\r\n`.
    pub(super) fn lines(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        self.take(bytes, |bytes| {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return 0 };
            let content = bytes.get(..end).unwrap_or_default();
            line(content.strip_suffix(b"\r").unwrap_or(content));
            end + 1
        });
    }
}

fn use_up(bytes: &[u8], message: &mut impl FnMut(&[u8]) -> usize) -> usize {
    let mut used = 0;
    while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
        match message(rest) {
            0 => break,
            more => used += more,
        }
    }
    used.min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_come() {
        let text = b"one\r\ntwo\n\nthree\r\nrest";
        for size in 1..=text.len() {
            let (mut pieces, mut lines) = (Pieces::default(), Vec::new());
            for piece in text.chunks(size) {
                pieces.lines(piece, |line| lines.push(String::from_utf8_lossy(line).into_owned()));
            }
            assert_eq!(lines, ["one", "two", "", "three"], "in pieces of {size}");
            assert_eq!(pieces.0, b"rest");
        }
    }
}
