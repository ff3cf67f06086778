//! The encrypted database: a sealed snapshot, and a journal of what changed since.
//!
//! | file | content |
//! |---|---|
//! | `db_key.bin` | the Fernet key of everything else, 44 characters |
//! | `database.enc` | the snapshot, the realm's key included: one Fernet token over JSON |
//! | `database.journal` | a token for each change since, in groups; see [`Store::commit`] |
//! | `database.lock` | locked while a server runs |
//! | `database.enc.python` | a Python server's database as it was before it was taken over |
//! | `public_keys.log` | the public keys that were announced: [`KeyFile`] |
//!
//! What [`Store::commit`] returned for survives crashes and power losses at any moment. To that end nothing is ever
//! overwritten: the journal is appended to, all else is written under a temporary name, synced and renamed. Damage is
//! never repaired by guessing: opening fails, says what is wrong, and changes nothing. Only a torn tail, the beginning of
//! a group that nobody was told is saved, is dropped.
//!
//! A snapshot names the last group that is folded into it. So it does not matter when, or whether, the journal is
//! emptied after a fold: what the snapshot has is passed over. But it must be there, since no crash takes it
//! away once it is on disk; one that somebody else cut short looks like an older one, for nothing remembers how long it
//! was.

mod contents;
mod error;
mod folder;
mod journal;
mod keys;
mod mark;
mod parts;
#[cfg(test)]
mod tests;
mod token;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use zeroize::Zeroizing;

pub use self::error::{Line, StoreError};
pub use self::keys::{KeyCensus, KeyFile};
pub use self::parts::{Claim, Parts, Report, Wrote, names_in};

use self::contents::{BadSnapshot, Contents, Recorded, Snapshot, Writer};
use self::folder::{BACKUP, DATABASE, Folder, JOURNAL, KEY};
use self::journal::{Fault, Found, Journal};
use self::mark::Mark;
use crate::chat::{Account, Change, Directory, Entries, Looks, Verifier};
use crate::crypto::{FernetKey, SigningKey};
use crate::names::UserName;

/// A database that was just opened or created.
pub struct Opened {
    /// Where changes are saved.
    pub store: Store,
    /// What is saved.
    pub directory: Directory,
    /// The realm's key, drawn once in the life of the database.
    pub realm_key: SigningKey,
    /// The public keys that were announced.
    pub keys: KeyFile,
    /// Where it came from.
    pub origin: Origin,
    /// Bytes that were dropped behind the last whole group of the journal: what a crash left of one that nobody was told
    /// is saved, unless somebody else cut the file.
    pub torn: usize,
    /// Whether there was no journal, as a crash leaves a database that was being made, or somebody who removed it.
    pub journal_missing: bool,
}

/// Where a database came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This program wrote it.
    Ours,
    /// A Python server's database was converted just now.
    TakenOver {
        /// The untouched copy of what it was.
        backup: PathBuf,
    },
}

/// An open database. The folder is locked until this and its [`KeyFile`] are dropped.
pub struct Store {
    folder: Arc<Folder>,
    key: FernetKey,
    journal: Journal,
}

/// Whether there is a database in the folder. What a crash left of one that was being created is none.
///
/// # Errors
/// [`StoreError::Orphan`] when there is a journal without its database: a new one would bury the rest. [`StoreError::Io`].
pub fn exists(dir: &Path) -> Result<bool, StoreError> {
    let there = |path: &Path| path.try_exists().map_err(StoreError::io("look for", path));
    let (path, leftover) = (dir.join(DATABASE), dir.join(JOURNAL));
    if there(&path)? {
        return Ok(true);
    }
    if there(&leftover)? { Err(StoreError::Orphan { path, leftover }) } else { Ok(false) }
}

impl Store {
    /// Creates a database in which only god has an account. A `db_key.bin` that is there is used; `now` is in seconds
    /// since 1970, as everywhere in this module.
    ///
    /// # Errors
    /// [`StoreError::Exists`], and any other but [`StoreError::NotPython`].
    pub fn create(dir: &Path, god: Verifier, now: u64) -> Result<Opened, StoreError> {
        let folder = Arc::new(Folder::lock(dir)?);
        if exists(dir)? {
            return Err(StoreError::Exists { path: folder.path(DATABASE) });
        }
        let key = match read_key(&folder)? {
            Some(key) => key,
            None => draw_key(&folder)?,
        };
        let mark = Mark::start();
        let mut entries = Entries::default();
        entries.users.insert(UserName::god(), Account::new(god));
        let contents = Contents { entries, realm_key: SigningKey::generate() };
        let keys = KeyFile::create(&folder, &key)?;
        write_snapshot(&folder, &key, &contents, mark, now)?;
        let journal = Journal::start(&folder, mark)?;
        let Contents { entries, realm_key } = contents;
        let store = Self { folder, key, journal };
        Ok(Opened {
            store,
            directory: Directory::new(entries),
            realm_key,
            keys,
            origin: Origin::Ours,
            torn: 0,
            journal_missing: false,
        })
    }

    /// Opens a database, be it ours or a Python server's, and folds its journal into it.
    ///
    /// # Errors
    /// Any [`StoreError`] but [`StoreError::Exists`]. Nothing was changed then, except when an [`StoreError::Io`] came
    /// while it was written: what is on disk can still be opened.
    pub fn open(dir: &Path, now: u64) -> Result<Opened, StoreError> {
        let folder = Arc::new(Folder::lock(dir)?);
        if !exists(dir)? {
            return Err(folder::missing(dir));
        }
        let key = read_key(&folder)?.ok_or_else(|| StoreError::KeyMissing { path: folder.path(KEY) })?;
        let journal = folder.read(JOURNAL)?;
        let loaded = Loaded::read(folder.dir(), &key, read_token(&folder)?, journal.as_deref())?;
        let is_empty = journal.as_ref().is_none_or(Vec::is_empty);
        drop(journal); // what is to be written takes as much again

        // Everything has been read and found to be whole: from here on files change.
        folder.sweep()?;
        let Loaded { contents, found, writer, drawn, journal_missing } = loaded;
        let origin = if writer == Writer::Python { back_up(&folder)? } else { Origin::Ours };
        // Also when all groups are in the snapshot already: that its name is on disk is known only of those written now.
        // And what was drawn must be on disk before anybody hears of it, or the next start would draw it anew.
        let looks = if is_empty && !drawn {
            Looks::of(&contents.entries)
        } else {
            let write = || write_snapshot(&folder, &key, &contents, found.last, now);
            let (written, looks) = side_by_side(write, || Looks::of(&contents.entries));
            written?;
            looks
        };
        let journal = Journal::start(&folder, found.last)?;
        let keys = KeyFile::open(&folder, &key)?;
        let Contents { entries, realm_key } = contents;
        let directory = Directory::with_looks(entries, looks);
        let store = Self { folder, key, journal };
        Ok(Opened { store, directory, realm_key, keys, origin, torn: found.torn, journal_missing })
    }

    /// Saves a group of changes, all of it or nothing, and returns when it is on disk. That the changes fit the directory
    /// is for the caller to see to: a journal in which they do not cannot be opened again.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the group was not saved. The next call may succeed, once the cause is gone.
    pub fn commit(&mut self, changes: &[Change], now: u64) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.journal.append(&self.folder, &self.key, changes, now)
    }

    /// Writes a new snapshot of all that is saved, and empties the journal. Works from file to file, so that no second
    /// copy of the directory stays in memory.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing that was saved is lost, and the store can be used as before. [`StoreError::Damaged`]
    /// and [`StoreError::Unopenable`] when somebody else changed the files.
    pub fn fold(&mut self, now: u64) -> Result<(), StoreError> {
        self.journal.repair(&self.folder)?;
        if self.journal.len() == 0 {
            return Ok(());
        }
        let journal = self.journal.saved(&self.folder)?;
        let token = read_token(&self.folder)?;
        let Loaded { contents, found, drawn, .. } = Loaded::read(self.folder.dir(), &self.key, token, Some(&journal))?;
        drop(journal);
        if found.last != self.journal.last() || drawn {
            let why = "it changed while it was in use".to_owned();
            return Err(StoreError::Damaged { path: self.folder.path(DATABASE), line: None, why });
        }
        write_snapshot(&self.folder, &self.key, &contents, found.last, now)?;
        self.journal.clear(&self.folder)
    }

    /// The size of the journal in bytes. It takes about as long to read as a snapshot of that size, and as much memory.
    pub fn journal_len(&self) -> u64 {
        self.journal.len()
    }
}

/// A snapshot and a journal, read.
struct Loaded {
    contents: Contents,
    found: Found,
    writer: Writer,
    /// Whether a part of it was drawn just now, so that it is on no disk yet.
    drawn: bool,
    /// Whether there should be a journal, and a crash may be the reason that there is none.
    journal_missing: bool,
}

impl Loaded {
    /// Reads the snapshot's token and the journal, if there is one; errors name them as files of the folder `at`.
    fn read(at: &Path, key: &FernetKey, token: impl AsRef<[u8]>, journal: Option<&[u8]>) -> Result<Self, StoreError> {
        let Snapshot { mut contents, last: snapshot, writer } = read_snapshot(at, key, token)?;
        let journal_missing = journal.is_none() && writer != Writer::Python;
        if journal_missing && !may_lack_journal(snapshot) {
            return Err(StoreError::JournalMissing { path: at.join(JOURNAL) });
        }
        let journal = journal.unwrap_or_default();
        if writer == Writer::Python && !journal.is_empty() {
            let why = "it belongs to another database than database.enc, which a Python server wrote".to_owned();
            return Err(StoreError::Damaged { path: at.join(JOURNAL), line: None, why });
        }
        let mut drawn = writer != Writer::Ours;
        let apply = |recorded: Recorded| {
            drawn |= recorded.drawn;
            contents.entries.apply(recorded.change).map_err(|misfit| misfit.to_string())
        };
        let found = journal::read(journal, key, snapshot, apply);
        let found = found.map_err(|Fault { line: number, offset, why }| StoreError::Damaged {
            path: at.join(JOURNAL),
            line: Some(Line { number, offset }),
            why,
        })?;
        Ok(Self { contents, found, writer, drawn, journal_missing })
    }
}

/// Whether a crash may leave this snapshot without a journal.
///
/// One whose database is made, or taken over, is on disk before its journal is; but no group is saved, and so none
/// folded, until the journal's name is on disk. From then on a journal is only replaced, by a rename.
fn may_lack_journal(snapshot: Mark) -> bool {
    snapshot.group == 0
}

fn read_key(folder: &Folder) -> Result<Option<FernetKey>, StoreError> {
    let Some(bytes) = folder.read(KEY)?.map(Zeroizing::new) else { return Ok(None) };
    parse_key(&bytes).map(Some).ok_or_else(|| StoreError::KeyInvalid { path: folder.path(KEY) })
}

fn parse_key(bytes: &[u8]) -> Option<FernetKey> {
    str::from_utf8(bytes).ok().and_then(FernetKey::parse)
}

fn draw_key(folder: &Folder) -> Result<FernetKey, StoreError> {
    let key = FernetKey::generate();
    folder.replace(KEY, key.expose().as_bytes())?;
    Ok(key)
}

fn read_token(folder: &Folder) -> Result<Vec<u8>, StoreError> {
    folder.read(DATABASE)?.ok_or_else(|| folder::missing(folder.dir()))
}

fn read_snapshot(at: &Path, key: &FernetKey, token: impl AsRef<[u8]>) -> Result<Snapshot, StoreError> {
    let path = at.join(DATABASE);
    let Some(json) = token::open(key, token.as_ref().trim_ascii_end()) else {
        return Err(StoreError::Unopenable { path, key: at.join(KEY) });
    };
    drop(token); // where it was ours, it takes as much memory as what is made of it
    contents::read(&json).map_err(|bad| match bad {
        BadSnapshot::Newer(format) => StoreError::Newer { path, format },
        BadSnapshot::Damaged(why) => StoreError::Damaged { path, line: None, why },
        BadSnapshot::NotPython(why) => StoreError::NotPython { path, why },
    })
}

fn write_snapshot(
    folder: &Folder,
    key: &FernetKey,
    contents: &Contents,
    mark: Mark,
    now: u64,
) -> Result<(), StoreError> {
    let json = contents::to_json(contents, mark).map_err(StoreError::io("write", &folder.path(DATABASE)))?;
    let token = key.seal(&json, now);
    drop(json);
    folder.replace(DATABASE, token.as_bytes())
}

/// Does two things at the same time, where the system has a thread for the second.
fn side_by_side<A, B: Send>(one: impl FnOnce() -> A, other: impl Fn() -> B + Sync) -> (A, B) {
    let (one, theirs) = thread::scope(|scope| {
        let thread = thread::Builder::new().name("looks".into()).spawn_scoped(scope, &other).ok();
        let one = one();
        (one, thread.and_then(|thread| thread.join().ok()))
    });
    (one, theirs.unwrap_or_else(other))
}

/// Copies a Python server's database to a name of its own, and waits until the copy is on disk.
fn back_up(folder: &Folder) -> Result<Origin, StoreError> {
    let original = read_token(folder)?;
    let mut name = BACKUP.to_owned();
    for n in 2.. {
        match folder.read(&name)? {
            // Written anew although it is there: only so is it known to be on disk.
            Some(bytes) if bytes != original => name = format!("{BACKUP}-{n}"),
            Some(_) | None => break,
        }
    }
    let backup = folder.path(&name);
    folder.stage(BACKUP, &original)?.rename(&backup)?;
    folder.sync()?;
    Ok(Origin::TakenOver { backup })
}
