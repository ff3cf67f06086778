//! The lines of one turn that go to many: each is encoded once, and its recipients share the bytes until they are encrypted.

use std::ops::Range;

/// Largest buffer that is kept for the next turn, in bytes.
const KEEP: usize = 1024 * 1024;

/// The lines, one behind the other.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Adds what `encode` appends; gives its place.
    pub(super) fn add(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let start = self.0.len();
        encode(&mut self.0);
        start..self.0.len()
    }

    pub(super) fn get(&self, place: Range<usize>) -> &[u8] {
        self.0.get(place).unwrap_or_default()
    }

    /// Forgets all lines: nobody has a place here any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(KEEP);
    }
}
