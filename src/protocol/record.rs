//! Puts long legacy messages together: the TLS record is the frame.

/// Most plaintext bytes in one TLS record (RFC 8446, section 5.1).
pub const RECORD_LIMIT: usize = 16_384;

/// Most bytes in one inbound message: a package for some two thousand recipients.
pub const MAX_MESSAGE: usize = 1024 * 1024;

/// What a record completed.
#[derive(Debug, PartialEq, Eq)]
pub enum Reassembled {
    /// A whole message.
    Message(Vec<u8>),
    /// A message over the limit ended here; its bytes are gone.
    TooLong,
}

/// Turns records into messages.
///
/// A message goes on only after a record of exactly [`RECORD_LIMIT`] bytes; a shorter record ends it, so an unfinished
/// brace cannot swallow what follows. Holds at most `limit` bytes.
#[derive(Debug)]
pub struct Reassembler {
    limit: usize,
    begun: Vec<u8>,
    overflowed: bool,
}

impl Default for Reassembler {
    fn default() -> Self {
        Self::new(MAX_MESSAGE)
    }
}

impl Reassembler {
    /// Takes messages up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, begun: Vec::new(), overflowed: false }
    }

    /// Takes messages up to `limit` bytes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Bytes of the message that has begun.
    pub fn held(&self) -> usize {
        self.begun.capacity()
    }

    /// Takes one record's plaintext; gives the message that it ends, if it ends one.
    pub fn push(&mut self, record: &[u8]) -> Option<Reassembled> {
        if record.is_empty() && self.begun.is_empty() && !self.overflowed {
            return None; // an empty record is no message: TLS stacks send them as padding
        }
        if self.begun.len() + record.len() > self.limit {
            self.overflowed = true;
            self.begun = Vec::new();
        }
        if !self.overflowed {
            self.begun.extend_from_slice(record);
        }
        if record.len() == RECORD_LIMIT {
            return None;
        }
        if std::mem::take(&mut self.overflowed) {
            return Some(Reassembled::TooLong);
        }
        Some(Reassembled::Message(std::mem::take(&mut self.begun)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a TLS stack makes of one write: full records and a last shorter one.
    fn records(message: &[u8]) -> impl Iterator<Item = &[u8]> {
        message.chunks(RECORD_LIMIT)
    }

    #[test]
    fn a_message_ends_with_the_first_short_record() {
        let mut reassembler = Reassembler::default();
        assert_eq!(reassembler.push(&[b'a'; RECORD_LIMIT]), None);
        let whole = reassembler.push(b"b");
        assert!(matches!(whole, Some(Reassembled::Message(m)) if m.len() == RECORD_LIMIT + 1));
        assert_eq!(reassembler.push(b"next"), Some(Reassembled::Message(b"next".to_vec())));
    }

    #[test]
    fn an_oversized_message_is_reported_once_and_swallows_nothing_else() {
        let mut reassembler = Reassembler::new(20_000);
        assert_eq!(reassembler.push(&[b'a'; RECORD_LIMIT]), None);
        assert_eq!(reassembler.push(&[b'a'; RECORD_LIMIT]), None);
        assert_eq!(reassembler.push(b"end"), Some(Reassembled::TooLong));
        assert_eq!(reassembler.push(b"next"), Some(Reassembled::Message(b"next".to_vec())));
    }

    proptest! {
        #[test]
        fn messages_survive_their_records(lengths in prop::collection::vec(1usize..60_000, 1..6)) {
            // A length that is a multiple of the record limit cannot be told from an unfinished message.
            let lengths = lengths.into_iter().map(|n| if n % RECORD_LIMIT == 0 { n + 1 } else { n });
            let sent: Vec<Vec<u8>> = lengths.enumerate().map(|(i, n)| vec![i as u8; n]).collect();
            let mut reassembler = Reassembler::default();
            let got: Vec<_> = sent.iter().flat_map(|m| records(m)).filter_map(|r| reassembler.push(r)).collect();
            prop_assert_eq!(got, sent.into_iter().map(Reassembled::Message).collect::<Vec<_>>());
        }
    }
}
