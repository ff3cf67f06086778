//! The folder of the database: its lock, and files that are replaced whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::StoreError;

/// The key of the database, as the Python server keeps it.
pub(super) const KEY: &str = "db_key.bin";
/// The snapshot.
pub(super) const DATABASE: &str = "database.enc";
/// What changed since the snapshot.
pub(super) const JOURNAL: &str = "database.journal";
/// Locked while a server runs. It stays when the server ends: to remove it would be a race.
pub(super) const LOCK: &str = "database.lock";
/// The Python server's database as it was before it was taken over.
pub(super) const BACKUP: &str = "database.enc.python";
/// The public keys that were announced.
pub(super) const PUBLIC_KEYS: &str = "public_keys.log";

/// Files that are replaced, and that a crash can leave a temporary file of.
const REPLACED: [&str; 5] = [KEY, DATABASE, JOURNAL, BACKUP, PUBLIC_KEYS];

/// The name that the new content of `name` has until it is on disk.
pub(super) fn temporary(name: &str) -> String {
    format!("{name}.tmp")
}

/// The folder, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
}

/// New content of a file, on disk under a temporary name. Removed again unless it is [renamed](Staged::rename).
pub(super) struct Staged {
    file: File,
    path: PathBuf,
}

impl Folder {
    /// Takes the lock.
    pub(super) fn lock(path: &Path) -> Result<Self, StoreError> {
        let lock = path.join(LOCK);
        let file = private().write(true).create(true).truncate(false).open(&lock);
        let file = file.map_err(StoreError::io("open", &lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: lock }),
            Err(TryLockError::Error(source)) => Err(StoreError::Io { action: "lock", path: lock, source }),
        }
    }

    /// Where it is.
    pub(super) fn dir(&self) -> &Path {
        &self.path
    }

    /// Where the file `name` is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The content of a file; `None` when there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        read(&self.path, name)
    }

    /// Writes `bytes` to a temporary file for `name` and waits until they are on disk.
    pub(super) fn stage(&self, name: &str, bytes: &[u8]) -> Result<Staged, StoreError> {
        let mut staged = self.stage_empty(name)?;
        staged.file.write_all(bytes).map_err(StoreError::io("write", &staged.path))?;
        staged.sync()?;
        Ok(staged)
    }

    /// A temporary file for `name` that is yet to be written.
    pub(super) fn stage_empty(&self, name: &str) -> Result<Staged, StoreError> {
        let path = self.path(&temporary(name));
        remove(&path)?;
        // Appending: the journal goes on being written through this very handle.
        let file = private().read(true).append(true).create_new(true).open(&path);
        let file = file.map_err(StoreError::io("create", &path))?;
        Ok(Staged { file, path })
    }

    /// Replaces a file whole; when this returns without an error, it will be there after a power loss.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.stage(name, bytes)?.rename(&self.path(name))?;
        self.sync()
    }

    /// Waits until the names of new and renamed files are on disk. Without effect where folders cannot be synced.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        if cfg!(unix) {
            let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
            synced.map_err(StoreError::io("sync", &self.path))?;
        }
        Ok(())
    }

    /// Removes what a crash left under temporary names.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        REPLACED.iter().try_for_each(|name| remove(&self.path(&temporary(name))))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // To close the file is not enough: a process that was being started just now has it open too.
        let _ = self.lock.unlock();
    }
}

impl Staged {
    /// The file, to be written.
    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Waits until the content is on disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(StoreError::io("sync", &self.path))
    }

    /// Gives the file its name, in place of the one that has it. Lasting only once the folder is synced.
    pub(super) fn rename(&self, path: &Path) -> Result<File, StoreError> {
        let file = self.file.try_clone().map_err(StoreError::io("open", &self.path))?;
        fs::rename(&self.path, path).map_err(StoreError::io("replace", path))?;
        Ok(file)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing of that name. Otherwise its space is given back, if that can be done;
        // what stays is swept at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Options for files that nobody else may read, from their creation on.
pub(super) fn private() -> OpenOptions {
    #[cfg_attr(not(unix), allow(unused_mut, reason = "there is no mode to set"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// That there is no database: with its journal there, it was one; without the folder, it is elsewhere.
pub(super) fn missing(dir: &Path) -> StoreError {
    let (path, leftover) = (dir.join(DATABASE), dir.join(JOURNAL));
    match (leftover.try_exists(), dir.try_exists()) {
        (Ok(true), _) => StoreError::Orphan { path, leftover },
        (_, Ok(false)) => StoreError::NoFolder { path: dir.to_owned() },
        _ => StoreError::Missing { path },
    }
}

/// The content of a file; `None` when there is none.
pub(super) fn read(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let path = dir.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io("read", &path)(e)),
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(e)),
        _ => Ok(()),
    }
}
