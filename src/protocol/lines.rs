//! Splits what comes on the modern wire into lines: there, where records end means nothing.

use std::borrow::Cow;

use memchr::memchr;

/// What bytes completed.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, without its end; borrowed when it came in one piece.
    Whole(Cow<'a, [u8]>),
    /// A line over the limit begins. Its bytes are gone, and so will be those that are still to come.
    TooLong,
}

impl Line<'_> {
    /// The line in memory of its own.
    pub fn into_owned(self) -> Line<'static> {
        match self {
            Self::Whole(line) => Line::Whole(line.into_owned().into()),
            Self::TooLong => Line::TooLong,
        }
    }
}

/// Turns bytes, however they are cut, into lines that end with `\n`; a `\r` before it is dropped.
///
/// Holds fewer than `limit` bytes, whatever comes.
#[derive(Debug)]
pub struct LineReader {
    limit: usize,
    begun: Vec<u8>,
    /// Whether the line that is under way was reported as too long.
    skipping: bool,
}

impl LineReader {
    /// Takes lines up to `limit` bytes, their `\n` included.
    pub fn new(limit: usize) -> Self {
        Self { limit, begun: Vec::new(), skipping: false }
    }

    /// Takes lines up to `limit` bytes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes from the front of `bytes` until a line is complete or too long; `None` when all are taken.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Line<'a>> {
        while !bytes.is_empty() {
            let (part, ended) = match memchr(b'\n', bytes) {
                Some(end) => (bytes.get(..end).unwrap_or_default(), true),
                None => (*bytes, false),
            };
            *bytes = bytes.get(part.len() + usize::from(ended)..).unwrap_or_default();
            if self.skipping {
                self.skipping = !ended;
                continue;
            }
            if self.begun.len() + part.len() >= self.limit {
                self.begun = Vec::new();
                self.skipping = !ended;
                return Some(Line::TooLong);
            }
            if ended && self.begun.is_empty() {
                return Some(Line::Whole(part.strip_suffix(b"\r").unwrap_or(part).into()));
            }
            self.hold(part);
            if ended {
                let mut line = std::mem::take(&mut self.begun);
                line.pop_if(|last| *last == b'\r');
                return Some(Line::Whole(line.into()));
            }
        }
        None
    }

    /// Grows by doubling, but never beyond the limit.
    fn hold(&mut self, part: &[u8]) {
        let needed = self.begun.len() + part.len();
        if needed > self.begun.capacity() {
            let room = (2 * self.begun.capacity()).min(self.limit).max(needed);
            self.begun.reserve_exact(room - self.begun.len());
        }
        self.begun.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read<'a>(reader: &mut LineReader, mut bytes: &'a [u8]) -> Vec<Line<'a>> {
        let mut lines = Vec::new();
        while let Some(line) = reader.next(&mut bytes) {
            lines.push(line);
        }
        assert!(bytes.is_empty());
        lines
    }

    fn whole(line: &str) -> Line<'_> {
        Line::Whole(line.as_bytes().into())
    }

    #[test]
    fn a_line_ends_with_its_line_feed_and_loses_one_carriage_return() {
        let mut reader = LineReader::new(100);
        assert_eq!(
            read(&mut reader, b"one\ntwo\r\n\n\r\r\na\rb\nbeg"),
            [whole("one"), whole("two"), whole(""), whole("\r"), whole("a\rb"),]
        );
        assert_eq!(read(&mut reader, b"un\r"), []);
        assert_eq!(read(&mut reader, b"\nnext\n"), [whole("begun"), whole("next")]);
    }

    #[test]
    fn the_limit_counts_the_line_feed() {
        let mut reader = LineReader::new(4);
        assert_eq!(
            read(&mut reader, b"abc\nabcd\nab\r\nabc\r\n"),
            [whole("abc"), Line::TooLong, whole("ab"), Line::TooLong]
        );
    }

    #[test]
    fn a_line_without_an_end_is_reported_at_once_and_once_and_swallows_nothing_else() {
        let mut reader = LineReader::new(10);
        assert_eq!(read(&mut reader, &[b'a'; 10]), [Line::TooLong]);
        for _ in 0..1000 {
            assert_eq!(read(&mut reader, &[b'a'; 1000]), []);
        }
        assert_eq!(reader.begun.capacity(), 0);
        assert_eq!(read(&mut reader, b"aaa\nnext\n"), [whole("next")]);
    }

    #[test]
    fn the_limit_can_change_between_two_lines_of_one_record() {
        let mut reader = LineReader::new(3);
        let mut bytes = &b"ab\nlonger\nx"[..];
        assert_eq!(reader.next(&mut bytes), Some(whole("ab")));
        reader.set_limit(8);
        assert_eq!(reader.next(&mut bytes), Some(whole("longer")));
        assert_eq!(reader.next(&mut bytes), None);
    }

    /// What a whole text is made of, looked at from above.
    fn expected<'a>(text: &'a [u8], limit: usize) -> Vec<Line<'a>> {
        let mut parts: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let rest = parts.pop().unwrap();
        let line = |part: &'a [u8]| match part.len() < limit {
            true => Line::Whole(part.strip_suffix(b"\r").unwrap_or(part).into()),
            false => Line::TooLong,
        };
        let unended = (rest.len() >= limit).then_some(Line::TooLong);
        parts.into_iter().map(line).chain(unended).collect()
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_lines_are_the_same(
            text in prop::collection::vec(prop_oneof![4 => Just(b'a'), 1 => Just(b'\n'), 1 => Just(b'\r')], 0..300),
            cuts in prop::collection::vec(1usize..40, 1..100),
            limit in 1usize..30,
        ) {
            let mut reader = LineReader::new(limit);
            let (mut rest, mut lines) = (&text[..], Vec::new());
            for cut in cuts.into_iter().cycle().take(text.len()) {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                lines.extend(read(&mut reader, piece));
                prop_assert!(reader.begun.capacity() <= limit);
                rest = after;
            }
            prop_assert_eq!(lines, expected(&text, limit));
        }
    }
}
