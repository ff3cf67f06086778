//! The files of a database as they stand: to be looked at, to be copied, and to be put into another folder.
//!
//! No lock is needed for that, not even beside a server that writes. The journal is read before the snapshot. A fold replaces
//! them in the other order, and a snapshot names the last group that is folded into it: so whatever is folded in between,
//! the groups that were read are in the snapshot or continue it, and none is missing between the two. What is being appended
//! meanwhile is at worst a torn tail.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::contents::Writer;
use super::folder::{DATABASE, Folder, JOURNAL, KEY, LOCK, PUBLIC_KEYS, missing, private, read};
use super::keys::KeyCensus;
use super::{Loaded, StoreError, parse_key};
use crate::chat::{Entries, Verifier};
use crate::crypto::FernetKey;
use crate::crypto::password::PasswordHash;
use crate::transcript::Realm;

/// How often files are read that do not fit each other: a group that is withdrawn because it could not be saved may be read
/// just before, and never again.
const ATTEMPTS: usize = 3;

/// The files of a database, but for the public keys: those are many, and damage to them is small.
pub struct Parts {
    /// The folder, or whatever they are from, as errors are to name it.
    at: PathBuf,
    key: Zeroizing<Vec<u8>>,
    journal: Option<Vec<u8>>,
    snapshot: Vec<u8>,
}

/// Who wrote a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// This version: format 2.
    Ours,
    /// An earlier one: format 1.
    Earlier,
    /// A Python server.
    Python,
}

/// What a database holds. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who wrote it.
    pub wrote: Wrote,
    /// The server's public key; none before [`Wrote::Ours`].
    pub realm: Option<Realm>,
    /// Bytes of the snapshot.
    pub snapshot_bytes: u64,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// Whole groups of changes in the journal.
    pub groups: u64,
    /// Bytes behind them: after a crash, of a group that nobody was told is saved.
    pub torn: u64,
    /// Whether there is no journal, as a crash leaves a database that was being made, or somebody who removed it.
    pub journal_missing: bool,
    /// Accounts, god's included.
    pub accounts: usize,
    /// Rooms.
    pub rooms: usize,
    /// Bans of all rooms, those that have run out included.
    pub bans: usize,
    /// Mutes, likewise.
    pub mutes: usize,
    /// Passwords that a single round, or none, protects, as a Python server has it.
    pub weak: usize,
    /// Passwords of which a Python server's hash is protected like the others, until the next log-in.
    pub wrapped: usize,
    /// Passwords whose hash is none that this version knows.
    pub unknown: usize,
    /// The public keys.
    pub keys: KeyCensus,
}

impl Parts {
    /// Reads the files of a folder.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::NoFolder`], [`StoreError::Orphan`], [`StoreError::KeyMissing`],
    /// [`StoreError::Io`].
    pub fn read(dir: &Path) -> Result<Self, StoreError> {
        let journal = read(dir, JOURNAL)?;
        let snapshot = read(dir, DATABASE)?.ok_or_else(|| missing(dir))?;
        let key = read(dir, KEY)?.ok_or_else(|| StoreError::KeyMissing { path: dir.join(KEY) })?;
        Ok(Self { at: dir.to_owned(), key: Zeroizing::new(key), journal, snapshot })
    }

    /// The same, and what they hold: all of it was read and found to be whole.
    ///
    /// # Errors
    /// Those of [`read`](Self::read) and of [`examine`](Self::examine).
    pub fn read_and_examine(dir: &Path) -> Result<(Self, Report), StoreError> {
        let mut attempts = 1;
        loop {
            let parts = Self::read(dir)?;
            match parts.examine() {
                Ok(report) => return Ok((parts, report)),
                Err(error) if attempts == ATTEMPTS => return Err(error),
                Err(_) => attempts += 1,
            }
        }
    }

    /// These files; errors name them as files of the folder `at`.
    pub fn new(at: &Path, key: Vec<u8>, journal: Vec<u8>, snapshot: Vec<u8>) -> Self {
        Self { at: at.to_owned(), key: Zeroizing::new(key), journal: Some(journal), snapshot }
    }

    /// The files, with the names that they have in a folder, in an order in which they can be put into one. A journal
    /// that may be missing is an empty one.
    pub fn files(&self) -> [(&'static str, &[u8]); 3] {
        [(KEY, &self.key), (JOURNAL, self.journal.as_deref().unwrap_or_default()), (DATABASE, &self.snapshot)]
    }

    /// Opens all of it, as a server would, and says what is in it but for the public keys.
    ///
    /// # Errors
    /// Any [`StoreError`] of opening a database.
    pub fn examine(&self) -> Result<Report, StoreError> {
        let Loaded { contents, found, writer, journal_missing, .. } =
            Loaded::read(&self.at, &self.parsed_key()?, &self.snapshot, self.journal.as_deref())?;
        let Entries { users, rooms } = &contents.entries;
        let wrote = match writer {
            Writer::Ours => Wrote::Ours,
            Writer::Earlier => Wrote::Earlier,
            Writer::Python => Wrote::Python,
        };
        let hashes = users.values().map(|account| &account.password).chain(rooms.values().map(|room| &room.password));
        let hashes = Hashes::count(hashes);
        Ok(Report {
            wrote,
            realm: (wrote == Wrote::Ours).then(|| contents.realm_key.verifying_key().realm()),
            snapshot_bytes: self.snapshot.len() as u64,
            journal_bytes: self.journal.as_ref().map_or(0, Vec::len) as u64,
            groups: found.groups,
            torn: found.torn as u64,
            journal_missing,
            accounts: users.len(),
            rooms: rooms.len(),
            bans: rooms.values().map(|room| room.bans.len()).sum(),
            mutes: rooms.values().map(|room| room.mutes.len()).sum(),
            weak: hashes.weak,
            wrapped: hashes.wrapped,
            unknown: hashes.unknown,
            keys: KeyCensus::default(),
        })
    }

    /// Opens the record of public keys of a folder, if there is one, with the bytes that it has now: more may be appended.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open_keys(dir: &Path) -> Result<Option<(File, u64)>, StoreError> {
        let path = dir.join(PUBLIC_KEYS);
        match File::open(&path) {
            Ok(file) => {
                let len = file.metadata().map_err(StoreError::io("read", &path))?.len();
                Ok(Some((file, len)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("open", &path)(error)),
        }
    }

    /// Checks a record of public keys and passes it on to `copy`.
    ///
    /// # Errors
    /// [`StoreError::KeyInvalid`]; [`StoreError::Io`] when it cannot be read or passed on.
    pub fn examine_keys(&self, record: impl Read, copy: impl Write) -> Result<KeyCensus, StoreError> {
        let census = KeyCensus::of(record, &self.parsed_key()?, copy);
        census.map_err(StoreError::io("read or copy", &self.at.join(PUBLIC_KEYS)))
    }

    /// Puts the files into a folder that is claimed, the database last: until all is on disk, there is no database in it. The
    /// public keys are written already.
    ///
    /// # Errors
    /// [`StoreError::Exists`], [`StoreError::Io`].
    pub fn put(&self, claim: &Claim) -> Result<(), StoreError> {
        let Claim(folder) = claim;
        if super::exists(folder.dir())? {
            return Err(StoreError::Exists { path: folder.path(DATABASE) });
        }
        self.files().into_iter().try_for_each(|(name, bytes)| folder.replace(name, bytes))
    }

    fn parsed_key(&self) -> Result<FernetKey, StoreError> {
        parse_key(&self.key).ok_or_else(|| StoreError::KeyInvalid { path: self.at.join(KEY) })
    }
}

/// A folder without a database, to put one into, whose lock this process holds: no server starts in it meanwhile.
pub struct Claim(Folder);

impl Claim {
    /// Takes the lock of a folder.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it, [`StoreError::Io`].
    pub fn of(dir: &Path) -> Result<Self, StoreError> {
        Folder::lock(dir).map(Self)
    }

    /// What is in the folder besides the lock.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        let dir = self.0.dir();
        let mut names = names_in(dir).map_err(StoreError::io("read", dir))?;
        names.retain(|name| name != LOCK);
        Ok(names)
    }

    /// Makes the file of public keys.
    ///
    /// # Errors
    /// [`StoreError::Io`], also when there is one already.
    pub fn create_keys(&self) -> Result<File, StoreError> {
        let path = self.0.path(PUBLIC_KEYS);
        private().write(true).create_new(true).open(&path).map_err(StoreError::io("create", &path))
    }

    /// What removes all that a store has in the folder, as far as that can be done; the lock goes last.
    pub fn remover(&self) -> impl FnOnce() + Send + use<> {
        let paths = [DATABASE, JOURNAL, KEY, PUBLIC_KEYS, LOCK].map(|name| self.0.path(name));
        move || paths.iter().for_each(|path| _ = fs::remove_file(path)) // why it is removed is said
    }
}

/// What is in a folder, in the order of the names. A name that cannot be read is one, too.
///
/// # Errors
/// What the operating system says.
pub fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| entry.map_or("?".into(), |entry| entry.file_name());
    let mut names: Vec<_> = fs::read_dir(dir)?.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// How passwords are kept.
#[derive(Default)]
struct Hashes {
    weak: usize,
    wrapped: usize,
    unknown: usize,
}

impl Hashes {
    fn count<'a>(verifiers: impl Iterator<Item = &'a Verifier>) -> Self {
        let mut hashes = Self::default();
        for verifier in verifiers {
            match PasswordHash::parse(verifier.as_str()) {
                Err(_) => hashes.unknown += 1,
                Ok(hash) if hash.is_weak() => hashes.weak += 1,
                Ok(hash) if hash.is_legacy() => hashes.wrapped += 1,
                Ok(_) => {}
            }
        }
        hashes
    }
}
