//! What is said in one turn of the broker, encoded once for all who get it: each of them has a place here, and shares the bytes until
//! they are encrypted.

use std::io::IoSlice;
use std::ops::Range;

use crate::names::UserName;
use crate::protocol::Package;
use crate::server::sync::Arc;

/// Largest buffer that is kept for the next turn, in bytes.
const KEEP: usize = 1024 * 1024;

/// The lines for the modern wire, one behind the other.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Adds what `encode` appends; gives its place.
    pub(super) fn add(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let start = self.0.len();
        encode(&mut self.0);
        start..self.0.len()
    }

    fn get(&self, place: Range<usize>) -> &[u8] {
        self.0.get(place).unwrap_or_default()
    }
}

/// The records for the legacy wire; a place is a range of their numbers.
#[derive(Default)]
pub(super) struct Records {
    records: Vec<Record>,
    bytes: Vec<u8>,
}

enum Record {
    /// The same for all.
    Same(Range<usize>),
    /// A package with an entry for each reader, who gets its own alone.
    Own(Arc<Package>),
}

impl Records {
    /// Adds what `encode` appends; gives its place.
    pub(super) fn add(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let start = self.bytes.len();
        encode(&mut self.bytes);
        self.push(Record::Same(start..self.bytes.len()))
    }

    /// Adds a package; gives its place.
    pub(super) fn add_package(&mut self, package: &Arc<Package>) -> Range<usize> {
        if package.encrypted_keys.is_empty() {
            return self.add(|bytes| package.render_without_keys(bytes));
        }
        self.push(Record::Own(Arc::clone(package)))
    }

    fn push(&mut self, record: Record) -> Range<usize> {
        self.records.push(record);
        self.records.len() - 1..self.records.len()
    }
}

/// Everything that is said in a turn.
#[derive(Default)]
pub(super) struct Said {
    pub(super) lines: Lines,
    pub(super) records: Records,
}

impl Said {
    /// Hands the lines at these places to `seal`, as the pieces of one message; nothing when there are none.
    pub(super) fn lines_at<'a>(
        &self,
        places: impl IntoIterator<Item = &'a Range<usize>>,
        mut seal: impl FnMut(&[IoSlice<'_>]),
    ) {
        let places = places.into_iter().filter(|place| !place.is_empty());
        let pieces: Vec<_> = places.map(|place| IoSlice::new(self.lines.get(place.clone()))).collect();
        if !pieces.is_empty() {
            seal(&pieces);
        }
    }

    /// Hands each record at a place to `seal`, as `reader` gets it; `scratch` is room to build one in.
    pub(super) fn records_at(
        &self,
        place: Range<usize>,
        reader: Option<&UserName>,
        scratch: &mut Vec<u8>,
        mut seal: impl FnMut(&[u8]),
    ) {
        for record in self.records.records.get(place).unwrap_or_default() {
            match (record, reader) {
                (Record::Same(place), _) => seal(self.records.bytes.get(place.clone()).unwrap_or_default()),
                (Record::Own(package), Some(reader)) => {
                    scratch.clear();
                    package.render_for(reader, scratch);
                    seal(scratch);
                }
                (Record::Own(_), None) => {}
            }
        }
    }

    /// Bytes that are kept for the turn, packages aside.
    pub(super) fn len(&self) -> usize {
        self.lines.0.len() + self.records.bytes.len()
    }

    /// Forgets everything: nobody has a place here any more.
    pub(super) fn clear(&mut self) {
        self.records.records.clear();
        for bytes in [&mut self.lines.0, &mut self.records.bytes] {
            bytes.clear();
            bytes.shrink_to(KEEP);
        }
    }
}
