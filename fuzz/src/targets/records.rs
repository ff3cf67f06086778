//! What TLS hands over, put together: whole messages of the legacy wire, lines of the modern one.

use secure_chat::protocol::{Line, LineReader, RECORD_LIMIT, Reassembled, Reassembler};

use super::bytes::Bytes;

/// Most records of one input: enough to go over a limit of a message.
const RECORDS: usize = 80;

/// The first byte chooses the wire.
pub fn run(data: &[u8]) {
    let bytes = &mut Bytes(data);
    if bytes.byte() & 1 == 0 { legacy(bytes) } else { modern(bytes) }
}

/// Records, each of a length and of one byte over and over, against a plain account of what they mean.
fn legacy(bytes: &mut Bytes<'_>) {
    let limit = usize::from(bytes.short()) * 20;
    let mut reassembler = Reassembler::new(limit);
    let mut message: Option<Vec<u8>> = None;
    for _ in 0..RECORDS {
        if bytes.is_empty() {
            break;
        }
        let (len, fill) = (usize::from(bytes.short()).min(RECORD_LIMIT), bytes.byte());
        let record = vec![fill; len];
        let got = reassembler.push(&record);
        if message.is_none() && record.is_empty() {
            assert_eq!(got, None, "padding is no message");
            continue;
        }
        let whole = message.get_or_insert_default();
        whole.extend_from_slice(&record);
        let expected = match len {
            RECORD_LIMIT => None,
            _ => message.take().map(|whole| match whole.len() {
                len if len <= limit => Reassembled::Message(whole),
                _ => Reassembled::TooLong,
            }),
        };
        assert_eq!(got, expected);
    }
}

/// Lines are the same however the bytes are cut, and what a plain split says.
fn modern(bytes: &mut Bytes<'_>) {
    let limit = usize::from(bytes.byte()) + 1;
    let cuts = bytes.piece();
    let content = bytes.rest();
    let whole = read(limit, [content]);
    let expected: Vec<Line<'_>> = content
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| match line.strip_suffix(b"\n") {
            _ if line.strip_suffix(b"\n").unwrap_or(line).len() >= limit => Some(Line::TooLong),
            Some(line) => Some(Line::Whole(line.strip_suffix(b"\r").unwrap_or(line).into())),
            None => None, // not over yet
        })
        .collect();
    assert_eq!(whole, expected);
    assert_eq!(read(limit, content.chunks(1)), expected, "byte by byte");
    let mut rest = Bytes(content);
    let mut pieces: Vec<&[u8]> = cuts.iter().map(|cut| rest.take(usize::from(*cut))).collect();
    pieces.push(rest.rest());
    assert_eq!(read(limit, pieces), expected, "cut at {cuts:?}");
}

fn read<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Line<'a>> {
    let mut reader = LineReader::new(limit);
    let mut lines = Vec::new();
    for mut piece in pieces {
        while let Some(line) = reader.next(&mut piece) {
            lines.push(line);
        }
        assert!(piece.is_empty(), "all is taken");
    }
    lines
}
