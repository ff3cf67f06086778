//! The journal: what changed since the snapshot, appended and synced group by group.
//!
//! A line is a Fernet token. The lines of a group are its changes and, last, its [`Mark`], whose check continues that of
//! the group before. An append that was cut short leaves a torn tail: [`read()`] knows how one looks. Nobody was told that it
//! was saved. Everything else that does not fit is damage, and nothing is done about damage but say so.

mod read;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub(super) use self::read::{Fault, Found, read};

use super::StoreError;
use super::folder::{Folder, JOURNAL};
use super::mark::Mark;
use crate::chat::Change;
use crate::crypto::FernetKey;

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
        self.sound = false; // until it is on disk
        let written = self.file.write_all(&lines).map_err(StoreError::io("write", &path));
        let synced = written.and_then(|()| self.file.sync_data().map_err(StoreError::io("sync", &path)));
        if let Err(error) = synced {
            self.withdraw(folder);
            return Err(error);
        }
        self.sound = true;
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
