//! What can go wrong with the files of the database, said to whoever runs the server.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::names::UserName;

/// Why the database cannot be opened or written. Each message says what is wrong, where, and what to do.
#[derive(Debug)]
pub enum StoreError {
    /// Another server has the folder open.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The operating system refused something: no space, no permission, a failing disk.
    Io {
        /// What was tried, as in "cannot {action} {path}".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no database to open.
    Missing {
        /// Where `database.enc` should be.
        path: PathBuf,
    },
    /// There is not even the folder.
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// There is a database, but not its journal, and no crash leaves it so.
    JournalMissing {
        /// Where `database.journal` should be.
        path: PathBuf,
    },
    /// A file that belongs to a database lies there without its `database.enc`.
    Orphan {
        /// Where `database.enc` should be.
        path: PathBuf,
        /// What lies there.
        leftover: PathBuf,
    },
    /// A database is to be created where there is one.
    Exists {
        /// The `database.enc` that is there.
        path: PathBuf,
    },
    /// There is a database, but no key to it.
    KeyMissing {
        /// Where `db_key.bin` should be.
        path: PathBuf,
    },
    /// `db_key.bin` holds no key.
    KeyInvalid {
        /// The file.
        path: PathBuf,
    },
    /// The key does not open `database.enc`.
    Unopenable {
        /// The database.
        path: PathBuf,
        /// The key that was tried.
        key: PathBuf,
    },
    /// `database.enc` was written by a later version of this program.
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
    /// `database.enc` has no format number and is not what the Python server writes either. Nothing was changed.
    NotPython {
        /// The database.
        path: PathBuf,
        /// What is unexpected.
        why: String,
    },
    /// A file authenticates no longer, or says what cannot be. Nothing was changed.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, in a file of lines.
        line: Option<Line>,
        /// What is wrong with it.
        why: String,
    },
    /// A line of `public_keys.log` does not authenticate.
    KeyDamaged {
        /// The file.
        path: PathBuf,
        /// Whose key it was.
        user: UserName,
    },
}

/// A line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: u64,
    /// Where it begins, in bytes.
    pub offset: u64,
}

impl StoreError {
    /// For `map_err`: the system refused to do `action` to `path`.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path } => {
                write!(f, "another server uses this database ({} is locked); stop it first", path.display())
            }
            Self::Io { action, path, source } => write!(f, "cannot {action} {}: {source}", path.display()),
            Self::Missing { path } => {
                write!(f, "{} is not there; name the server's folder with --data-dir", path.display())
            }
            Self::NoFolder { path } => {
                write!(f, "{} does not exist; name the server's folder with --data-dir", path.display())
            }
            Self::JournalMissing { path } => write!(
                f,
                "{} is missing, and with it what was changed since database.enc was written; restore all files from \
                 one backup, or, to go on without those changes, make an empty file of that name",
                path.display()
            ),
            Self::Orphan { path, leftover } => write!(
                f,
                "{} is there, but {} is not; restore all files from one backup, or move {0} away to begin anew",
                leftover.display(),
                path.display()
            ),
            Self::Exists { path } => {
                write!(f, "{} exists already; open it, or move it away to begin anew", path.display())
            }
            Self::KeyMissing { path } => {
                write!(f, "the key {} is missing; restore the one that belongs to the database", path.display())
            }
            Self::KeyInvalid { path } => {
                write!(f, "{} is no key (44 characters of base64); restore it from a backup", path.display())
            }
            Self::Unopenable { path, key } => write!(
                f,
                "{} cannot be opened with {}: it is damaged or was sealed with another key; restore both from one backup",
                path.display(),
                key.display()
            ),
            Self::Newer { path, format } => {
                write!(f, "{} has format {format}; this version reads 1 and 2: use a later one", path.display())
            }
            Self::NotPython { path, why } => {
                write!(f, "{} cannot be taken over: {why}; nothing was changed", path.display())
            }
            Self::Damaged { path, line: Some(line), why } => write!(
                f,
                "{}, line {}: {why} (it begins at byte {}); nothing was changed: restore all files from one backup",
                path.display(),
                line.number,
                line.offset
            ),
            Self::Damaged { path, line: None, why } => {
                write!(f, "{}: {why}; nothing was changed: restore all files from one backup", path.display())
            }
            Self::KeyDamaged { path, user } => {
                write!(f, "{} holds a damaged key of {user}; it is replaced when {user} logs in again", path.display())
            }
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
