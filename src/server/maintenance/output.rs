//! The file that a backup goes to: there whole, or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::STANDARD;
use crate::server::error::ServerError;

/// Where a backup is written.
pub(super) enum Output {
    Standard(io::StdoutLock<'static>),
    File {
        file: File,
        /// Where it is until it is whole; removed unless it is [kept](Output::keep).
        temporary: PathBuf,
        path: PathBuf,
        replace: bool,
    },
}

impl Output {
    /// Begins the file; nobody but its owner can read it.
    pub(super) fn create(path: &Path, replace: bool) -> Result<Self, ServerError> {
        if path == Path::new(STANDARD) {
            if io::stdout().is_terminal() {
                let why = io::Error::other("it is a terminal: name a file, or pass the backup on to a program");
                return Err(ServerError::File("write to", "standard output".into(), why));
            }
            return Ok(Self::Standard(io::stdout().lock()));
        }
        if !replace && path.try_exists().map_err(|error| ServerError::File("look for", path.to_owned(), error))? {
            return Err(ServerError::BackupExists(path.to_owned()));
        }
        // Two who make the same backup at once do not meet.
        let mut temporary = OsString::from(path);
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&temporary);
        let file = file.map_err(|error| ServerError::File("create", temporary.clone(), error))?;
        Ok(Self::File { file, temporary, path: path.to_owned(), replace })
    }

    pub(super) fn is_standard(&self) -> bool {
        matches!(self, Self::Standard(_))
    }

    /// Gives the file its name, once it is on disk.
    pub(super) fn keep(mut self) -> Result<(), ServerError> {
        match &mut self {
            Self::Standard(out) => {
                out.flush().map_err(|error| ServerError::File("write to", "standard output".into(), error))
            }
            Self::File { file, temporary, path, replace } => {
                let path = &*path;
                let failed = |action| move |error| ServerError::File(action, path.clone(), error);
                file.sync_all().map_err(failed("write"))?;
                give_name(temporary, path, *replace).map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => ServerError::BackupExists(path.to_owned()),
                    _ => ServerError::File("make", path.to_owned(), error),
                })?;
                sync_folder_of(path).map_err(failed("write"))
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Self::File { temporary, .. } = self {
            let _ = fs::remove_file(temporary); // after a rename there is nothing of that name
        }
    }
}

/// Unlike a rename, a link replaces nothing that somebody has made meanwhile. Some file systems know no links.
fn give_name(temporary: &Path, path: &Path, replace: bool) -> io::Result<()> {
    if !replace {
        match fs::hard_link(temporary, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
            linked => return linked,
        }
    }
    fs::rename(temporary, path)
}

/// Waits until the name of a new file is on disk. Without effect where folders cannot be synced.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
