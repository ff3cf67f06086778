//! What a journal says, and what its end looks like after an append that was cut short.

use std::num::NonZero;
use std::thread;

use crate::crypto::FernetKey;
use crate::store::contents::{self, Recorded};
use crate::store::mark::Mark;
use crate::store::token;

/// Lines that are opened at a time: enough that threads pay, few enough that what they hold is no second journal.
const BATCH: usize = 16 * 1024;

/// Fewer lines than this are not worth another thread: to open one takes some 3 µs.
const FEWEST_FOR_THREADS: usize = 512;

/// Most threads that open lines.
const MOST_THREADS: usize = 4;

/// Fewest zeros at the end that are taken for data that never arrived; fewer are damage.
const FEWEST_ZEROS: usize = 16;

/// What disks write whole or not at all, in bytes: parts of an append that arrive, or do not, are made of these.
const SECTOR: usize = 512;

/// What is wrong with a journal, and where.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Fault {
    /// The line, counted from 1.
    pub(in crate::store) line: u64,
    /// Where it begins, in bytes.
    pub(in crate::store) offset: u64,
    pub(in crate::store) why: String,
}

/// What a journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Found {
    /// The last group that is saved, be it here or in the snapshot.
    pub(in crate::store) last: Mark,
    /// Whole groups.
    pub(in crate::store) groups: u64,
    /// Bytes behind them: a group that nobody was told is saved.
    pub(in crate::store) torn: usize,
}

/// A line that opened.
enum Line {
    Change(Recorded),
    Mark(Mark),
}

/// Hands the changes of all whole groups behind `snapshot` to `apply`.
///
/// Groups that are folded into the snapshot already are passed over, as a crash between the writing of the snapshot and
/// the emptying of the journal leaves them; but they are checked.
pub(in crate::store) fn read(
    journal: &[u8],
    key: &FernetKey,
    snapshot: Mark,
    apply: impl FnMut(Recorded) -> Result<(), String>,
) -> Result<Found, Fault> {
    let mut reading = Reading { journal, snapshot, apply, last: None, groups: 0, start: 0, pending: Vec::new() };
    let (whole, rest) = journal.split_at(memchr::memrchr(b'\n', journal).map_or(0, |at| at + 1));
    let mut lines = whole.split_inclusive(|byte| *byte == b'\n');
    let (mut number, mut offset) = (0, 0);
    loop {
        let batch: Vec<_> = lines.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        for (text, line) in batch.iter().zip(open_all(key, &batch)) {
            number += 1;
            let taken = line.map_err(str::to_owned).and_then(|line| reading.take(line, offset, text.len()));
            if let Err(why) = taken {
                return reading.end_at(Fault { line: number, offset: offset as u64, why }, key);
            }
            offset += text.len();
        }
    }
    match check_torn(rest, key) {
        Ok(()) => Ok(reading.found()),
        Err(why) => reading.end_at(Fault { line: number + 1, offset: offset as u64, why: why.to_owned() }, key),
    }
}

/// A journal of which a part is read.
struct Reading<'a, F> {
    journal: &'a [u8],
    snapshot: Mark,
    apply: F,
    /// The last group.
    last: Option<Mark>,
    groups: u64,
    /// Where the group begins that is being read.
    start: usize,
    /// Its changes.
    pending: Vec<Recorded>,
}

impl<F: FnMut(Recorded) -> Result<(), String>> Reading<'_, F> {
    /// Takes the next line, which begins at `offset` and has `len` bytes.
    fn take(&mut self, line: Line, offset: usize, len: usize) -> Result<(), String> {
        let mark = match line {
            Line::Mark(mark) => mark,
            Line::Change(change) => {
                self.pending.push(change);
                return Ok(());
            }
        };
        let group = self.journal.get(self.start..offset).unwrap_or_default();
        check_order(self.last, self.snapshot, mark, group)?;
        for change in self.pending.drain(..).filter(|_| mark.group > self.snapshot.group) {
            (self.apply)(change)?;
        }
        self.last = Some(mark);
        self.groups += 1;
        self.start = offset + len;
        Ok(())
    }

    fn found(&self) -> Found {
        let last = self.last.filter(|last| last.group > self.snapshot.group).unwrap_or(self.snapshot);
        Found { last, groups: self.groups, torn: self.journal.len() - self.start }
    }

    /// What the journal holds, when the fault is that of an append of which parts are missing.
    fn end_at(&self, fault: Fault, key: &FernetKey) -> Result<Found, Fault> {
        let tail = self.journal.get(self.start..).unwrap_or_default();
        if has_holes(tail, self.start, key, self.last.unwrap_or(self.snapshot)) { Ok(self.found()) } else { Err(fault) }
    }
}

/// Opens lines, on several threads where it pays: a million take one thread some seconds.
fn open_all(key: &FernetKey, lines: &[&[u8]]) -> Vec<Result<Line, &'static str>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let share = lines.len().div_ceil(threads).max(FEWEST_FOR_THREADS);
    let open = |lines: &[&[u8]]| lines.iter().map(|line| open_line(key, line)).collect::<Vec<_>>();
    thread::scope(|scope| {
        let mut shares = lines.chunks(share);
        let own = shares.next().unwrap_or_default();
        let spawn = |share| thread::Builder::new().name("journal".into()).spawn_scoped(scope, move || open(share)).ok();
        let others: Vec<_> = shares.map(|share| (share, spawn(share))).collect();
        let mut opened = open(own);
        for (share, thread) in others {
            // The system may have no thread to give: then this one does it.
            let theirs = thread.and_then(|thread| thread.join().ok());
            opened.extend(theirs.unwrap_or_else(|| open(share)));
        }
        opened
    })
}

fn open_line(key: &FernetKey, line: &[u8]) -> Result<Line, &'static str> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let json = token::open(key, line).ok_or("the line is damaged or was sealed with another key")?;
    if let Ok(mark) = serde_json::from_slice(&json) {
        return Ok(Line::Mark(mark));
    }
    contents::read_change(&json).map(Line::Change).ok_or("the line holds no change")
}

/// Whether a group may stand where it stands: behind the group `last`, or first in the journal.
fn check_order(last: Option<Mark>, snapshot: Mark, mark: Mark, group: &[u8]) -> Result<(), &'static str> {
    let before = match last {
        Some(last) => Some(last),
        None => (mark.group > snapshot.group).then_some(snapshot),
    };
    if before.is_some_and(|before| Some(mark.group) != before.group.checked_add(1)) {
        return Err("a group of changes is missing before this one");
    }
    if before.is_some_and(|before| mark != before.next(group)) || (mark.group == snapshot.group && mark != snapshot) {
        return Err("the group of changes that ends here does not continue what is before it");
    }
    Ok(())
}

/// Whether what follows the last line feed can be what an append left that was cut short: the beginning of a line, or the
/// zeros that some file systems show where data never arrived.
fn check_torn(rest: &[u8], key: &FernetKey) -> Result<(), &'static str> {
    let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let zeros = rest.get(text.len()..).unwrap_or_default();
    if zeros.iter().any(|byte| *byte != 0) || (1..FEWEST_ZEROS).contains(&zeros.len()) {
        return Err("the line holds what was never written to it");
    }
    if !text.iter().all(|byte| token::is_token_char(*byte)) {
        return Err("the line holds what was never written to it");
    }
    // The line feed may have turned into a character that occurs in tokens: then the line had been whole.
    if text.split_last().is_some_and(|(_, before)| token::open(key, before).is_some()) {
        return Err("the line feed at its end is damaged");
    }
    Ok(())
}

/// Whether the `tail` that begins at `start`, behind the group `last`, is one append of which sectors are missing, and nothing
/// else: a disk that loses its power may have written them in any order, and zeros are read where none arrived.
///
/// Every line without a zero must be whole, and the only mark is that of the next group, as the last line of all: behind it
/// there would be groups that were saved, and before them damage.
fn has_holes(tail: &[u8], start: usize, key: &FernetKey, last: Mark) -> bool {
    if !tail.contains(&0) || !holes_are_sectors(tail, start) {
        return false;
    }
    let mut lines = tail.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        let is_cut = is_last && !line.ends_with(b"\n") && line.iter().all(|byte| token::is_token_char(*byte));
        let fits = line.contains(&0)
            || is_cut
            || match open_line(key, line) {
                Ok(Line::Change(_)) => true,
                Ok(Line::Mark(mark)) => is_last && Some(mark.group) == last.group.checked_add(1),
                Err(_) => false,
            };
        if !fits {
            return false;
        }
    }
    true
}

/// Whether all runs of zeros begin and end where sectors do, or where the append does.
fn holes_are_sectors(tail: &[u8], start: usize) -> bool {
    let (mut offset, end) = (start, start + tail.len());
    tail.chunk_by(|a, b| (*a == 0) == (*b == 0)).all(|run| {
        let begin = offset;
        offset += run.len();
        let begins = begin == start || begin.is_multiple_of(SECTOR);
        let ends = offset == end || offset.is_multiple_of(SECTOR);
        run.first() != Some(&0) || (begins && ends)
    })
}
