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
//! emptied after a fold: what the snapshot has is passed over.

mod contents;
mod error;
mod folder;
mod journal;
mod keys;
mod mark;
#[cfg(test)]
mod tests;
mod token;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

pub use self::error::StoreError;
pub use self::keys::KeyFile;

use self::contents::{BadSnapshot, Contents, Recorded, Snapshot, Writer};
use self::folder::{BACKUP, DATABASE, Folder, JOURNAL, KEY};
use self::journal::{Fault, Journal};
use self::mark::Mark;
use crate::chat::{Account, Change, Directory, Entries, Verifier};
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
        Ok(Opened::new(Self { folder, key, journal }, contents, keys, Origin::Ours))
    }

    /// Opens a database, be it ours or a Python server's, and folds its journal into it.
    ///
    /// # Errors
    /// Any [`StoreError`] but [`StoreError::Exists`]. Nothing was changed then, except when an [`StoreError::Io`] came
    /// while it was written: what is on disk can still be opened.
    pub fn open(dir: &Path, now: u64) -> Result<Opened, StoreError> {
        let folder = Arc::new(Folder::lock(dir)?);
        if !exists(dir)? {
            return Err(StoreError::Missing { path: folder.path(DATABASE) });
        }
        let key = read_key(&folder)?.ok_or_else(|| StoreError::KeyMissing { path: folder.path(KEY) })?;
        let journal = folder.read(JOURNAL)?.unwrap_or_default();
        let loaded = Loaded::read(&folder, &key, &journal)?;

        // Everything has been read and found to be whole: from here on files change.
        folder.sweep()?;
        let Loaded { contents, last, writer, drawn } = loaded;
        let origin = if writer == Writer::Python { back_up(&folder)? } else { Origin::Ours };
        // Also when all groups are in the snapshot already: that its name is on disk is known only of those written now.
        // And what was drawn must be on disk before anybody hears of it, or the next start would draw it anew.
        if !journal.is_empty() || drawn {
            write_snapshot(&folder, &key, &contents, last, now)?;
        }
        let journal = Journal::start(&folder, last)?;
        let keys = KeyFile::open(&folder, &key)?;
        Ok(Opened::new(Self { folder, key, journal }, contents, keys, origin))
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
        let Loaded { contents, last, drawn, .. } = Loaded::read(&self.folder, &self.key, &journal)?;
        if last != self.journal.last() || drawn {
            let why = "it changed while it was in use".to_owned();
            return Err(StoreError::Damaged { path: self.folder.path(DATABASE), line: None, why });
        }
        write_snapshot(&self.folder, &self.key, &contents, last, now)?;
        self.journal.clear(&self.folder)
    }

    /// The size of the journal in bytes. It takes about as long to read as a snapshot of that size, and as much memory.
    pub fn journal_len(&self) -> u64 {
        self.journal.len()
    }
}

impl Opened {
    fn new(store: Store, contents: Contents, keys: KeyFile, origin: Origin) -> Self {
        let Contents { entries, realm_key } = contents;
        Self { store, directory: Directory::new(entries), realm_key, keys, origin }
    }
}

/// A snapshot and a journal, read.
struct Loaded {
    contents: Contents,
    last: Mark,
    writer: Writer,
    /// Whether a part of it was drawn just now, so that it is on no disk yet.
    drawn: bool,
}

impl Loaded {
    fn read(folder: &Folder, key: &FernetKey, journal: &[u8]) -> Result<Self, StoreError> {
        let Snapshot { mut contents, last: snapshot, writer } = read_snapshot(folder, key)?;
        if writer == Writer::Python && !journal.is_empty() {
            let why = "it belongs to another database than database.enc, which a Python server wrote".to_owned();
            return Err(StoreError::Damaged { path: folder.path(JOURNAL), line: None, why });
        }
        let mut drawn = writer != Writer::Ours;
        let apply = |recorded: Recorded| {
            drawn |= recorded.drawn;
            contents.entries.apply(recorded.change).map_err(|misfit| misfit.to_string())
        };
        let last = journal::read(journal, key, snapshot, apply);
        let last = last.map_err(|Fault { line, why }| {
            let path = folder.path(JOURNAL);
            StoreError::Damaged { path, line: Some(line), why }
        })?;
        Ok(Self { contents, last, writer, drawn })
    }
}

fn read_key(folder: &Folder) -> Result<Option<FernetKey>, StoreError> {
    let Some(bytes) = folder.read(KEY)?.map(Zeroizing::new) else { return Ok(None) };
    let key = str::from_utf8(&bytes).ok().and_then(FernetKey::parse);
    key.map(Some).ok_or_else(|| StoreError::KeyInvalid { path: folder.path(KEY) })
}

fn draw_key(folder: &Folder) -> Result<FernetKey, StoreError> {
    let key = FernetKey::generate();
    folder.replace(KEY, key.expose().as_bytes())?;
    Ok(key)
}

fn read_snapshot(folder: &Folder, key: &FernetKey) -> Result<Snapshot, StoreError> {
    let path = folder.path(DATABASE);
    let Some(token) = folder.read(DATABASE)? else { return Err(StoreError::Missing { path }) };
    let Some(json) = token::open(key, token.trim_ascii_end()) else {
        return Err(StoreError::Unopenable { path, key: folder.path(KEY) });
    };
    drop(token);
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

/// Copies a Python server's database to a name of its own, and waits until the copy is on disk.
fn back_up(folder: &Folder) -> Result<Origin, StoreError> {
    let path = folder.path(DATABASE);
    let original = folder.read(DATABASE)?.ok_or(StoreError::Missing { path })?;
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
