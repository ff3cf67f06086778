//! The journal: what changed since the snapshot, appended and synced group by group.
//!
//! A line is a Fernet token. The lines of a group are its changes and, last, its [`Mark`], whose check continues that of
//! the group before. An append that was cut short leaves whole lines without their mark, and then at most the beginning
//! of a line, or the zeros that some file systems show where data never arrived. That is a torn tail; nobody was told
//! that it was saved. Everything else that does not fit is damage, and nothing is done about damage but say so.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::contents::{self, Recorded};
use super::folder::{Folder, JOURNAL};
use super::mark::Mark;
use super::{StoreError, token};
use crate::chat::Change;
use crate::crypto::FernetKey;

/// Fewest zeros at the end that are taken for data that never arrived; fewer are damage.
const FEWEST_ZEROS: usize = 16;

/// What is wrong with a journal, and in which line, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: u64,
    pub(super) why: String,
}

/// Hands the changes of all whole groups behind `snapshot` to `apply` and returns the last group's mark.
///
/// Groups that are folded into the snapshot already are passed over, as a crash between the writing of the snapshot and
/// the emptying of the journal leaves them; but they are checked.
pub(super) fn read(
    journal: &[u8],
    key: &FernetKey,
    snapshot: Mark,
    mut apply: impl FnMut(Recorded) -> Result<(), String>,
) -> Result<Mark, Fault> {
    let mut last = None;
    let (mut group, mut pending) = (Vec::new(), Vec::new());
    let mut number = 0;
    let mut lines = journal.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(whole) = lines.next_if(|line| line.ends_with(b"\n")) {
        number += 1;
        let fault = |why: &str| Fault { line: number, why: why.to_owned() };
        let line = whole.strip_suffix(b"\n").unwrap_or(whole);
        let json = token::open(key, line).ok_or_else(|| fault("the line is damaged or was sealed with another key"))?;
        let Ok(mark) = serde_json::from_slice::<Mark>(&json) else {
            pending.push(contents::read_change(&json).ok_or_else(|| fault("the line holds no change"))?);
            group.extend_from_slice(whole);
            continue;
        };
        check_order(last, snapshot, mark, &group).map_err(fault)?;
        group.clear();
        for change in pending.drain(..).filter(|_| mark.group > snapshot.group) {
            apply(change).map_err(|why| fault(&why))?;
        }
        last = Some(mark);
    }
    let rest = lines.next().unwrap_or_default();
    check_torn(rest, key).map_err(|why| Fault { line: number + 1, why: why.to_owned() })?;
    Ok(last.filter(|last| last.group > snapshot.group).unwrap_or(snapshot))
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

/// Whether what follows the last line feed can be what an append left that was cut short.
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

/// The journal of an open store, to be appended to.
#[derive(Debug)]
pub(super) struct Journal {
    /// Open for reading and appending.
    file: File,
    /// The bytes up to the last group that is saved.
    len: u64,
    /// SHA-256 over those bytes.
    digest: Sha256,
    /// The last group that is saved.
    last: Mark,
    /// Whether the file, under its name and on disk, holds those bytes and no more, as far as the system has said.
    sound: bool,
}

impl Journal {
    /// An empty journal behind a snapshot, in place of what was there.
    pub(super) fn start(folder: &Folder, last: Mark) -> Result<Self, StoreError> {
        let staged = folder.stage(JOURNAL, b"")?;
        let file = staged.rename(&folder.path(JOURNAL))?;
        folder.sync()?;
        Ok(Self { file, len: 0, digest: Sha256::new(), last, sound: true })
    }

    /// Its size in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The last group that is saved.
    pub(super) fn last(&self) -> Mark {
        self.last
    }

    /// Appends one group, and returns when it is on disk.
    pub(super) fn append(
        &mut self,
        folder: &Folder,
        key: &FernetKey,
        changes: &[Change],
        now: u64,
    ) -> Result<(), StoreError> {
        self.repair(folder)?;
        let path = folder.path(JOURNAL);
        let unsayable = |e: serde_json::Error| StoreError::io("write", &path)(e.into());
        let (lines, mark) = group(key, self.last, changes, now).map_err(unsayable)?;
        let written = self.file.write_all(&lines).map_err(StoreError::io("write", &path));
        let synced = written.and_then(|()| self.file.sync_data().map_err(StoreError::io("sync", &path)));
        if let Err(error) = synced {
            self.sound = false;
            self.withdraw(folder);
            return Err(error);
        }
        self.len += lines.len() as u64;
        self.digest.update(&lines);
        self.last = mark;
        Ok(())
    }

    /// Tries to take a group back that was not saved, lest a crash brings it up as if it had been. What fails here is
    /// made good by [`repair`](Self::repair) before the next group.
    fn withdraw(&mut self, folder: &Folder) {
        let _ = self.file.set_len(self.len);
        let _ = self.repair(folder);
    }

    /// Makes the file hold what was saved and no more. Does nothing when it does.
    ///
    /// A new file: once a sync has failed, the system may show pages of the old one that never reached the disk, and a
    /// second sync succeeds without writing them.
    pub(super) fn repair(&mut self, folder: &Folder) -> Result<(), StoreError> {
        if self.sound {
            return Ok(());
        }
        let saved = self.saved(folder)?;
        self.replace(folder, &saved)
    }

    /// The bytes of all groups that are saved, read from the file and checked.
    pub(super) fn saved(&mut self, folder: &Folder) -> Result<Vec<u8>, StoreError> {
        let path = folder.path(JOURNAL);
        let mut saved = Vec::new();
        let start = self.file.seek(SeekFrom::Start(0));
        let read = start.and_then(|_| Read::by_ref(&mut self.file).take(self.len).read_to_end(&mut saved));
        read.map_err(StoreError::io("read", &path))?;
        if Sha256::digest(&saved) != self.digest.clone().finalize() {
            let why = "it changed while it was in use".to_owned();
            return Err(StoreError::Damaged { path, line: None, why });
        }
        Ok(saved)
    }

    /// Empties the journal, once all of it is in the snapshot.
    ///
    /// A new file rather than a shorter one: should that fail in between, it does so as a repair does.
    pub(super) fn clear(&mut self, folder: &Folder) -> Result<(), StoreError> {
        self.replace(folder, b"")
    }

    fn replace(&mut self, folder: &Folder, content: &[u8]) -> Result<(), StoreError> {
        let staged = folder.stage(JOURNAL, content)?;
        // From here on it is unknown which of the two a power loss would leave.
        self.sound = false;
        self.file = staged.rename(&folder.path(JOURNAL))?;
        self.len = content.len() as u64;
        self.digest = Sha256::new().chain_update(content);
        folder.sync()?;
        self.sound = true;
        Ok(())
    }
}

/// The lines of a group, and its mark.
fn group(key: &FernetKey, last: Mark, changes: &[Change], now: u64) -> serde_json::Result<(Vec<u8>, Mark)> {
    let mut lines = Vec::new();
    for change in changes {
        push_line(&mut lines, key, &Zeroizing::new(serde_json::to_vec(change)?), now);
    }
    let mark = last.next(&lines);
    push_line(&mut lines, key, &serde_json::to_vec(&mark)?, now);
    Ok((lines, mark))
}

fn push_line(lines: &mut Vec<u8>, key: &FernetKey, json: &[u8], now: u64) {
    lines.extend_from_slice(key.seal(json, now).as_bytes());
    lines.push(b'\n');
}
