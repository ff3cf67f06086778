//! The file that a backup goes to: there whole, or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::unfinished::{Progress, Unfinished};
use super::{STANDARD, folder_of};
use crate::server::error::ServerError;

/// What errors call it.
const STANDARD_OUTPUT: &str = "standard output";

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
    pub(super) fn create(path: &Path, replace: bool, unfinished: &Unfinished) -> Result<Self, ServerError> {
        if path == Path::new(STANDARD) {
            if io::stdout().is_terminal() {
                let why = io::Error::other("it is a terminal: name a file, or pass the backup on to a program");
                return Err(ServerError::File("write to", STANDARD_OUTPUT.into(), why));
            }
            return Ok(Self::Standard(io::stdout().lock()));
        }
        check_place(path, replace)?;
        // Two who make the same backup at once do not meet.
        let mut temporary = OsString::from(path);
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut progress = unfinished.progress();
        let file = options.open(&temporary);
        let file = file.map_err(|error| ServerError::File("create", temporary.clone(), error))?;
        let removed = temporary.clone();
        // That it was there, and now is not, is said.
        *progress = Progress::Making(Box::new(move || _ = fs::remove_file(removed)));
        Ok(Self::File { file, temporary, path: path.to_owned(), replace })
    }

    /// Where to say what is in it: not among its bytes.
    pub(super) fn said_to(&self) -> Box<dyn Write> {
        match self {
            Self::Standard(_) => Box::new(io::stderr()),
            Self::File { .. } => Box::new(io::stdout()),
        }
    }

    /// What is said when it is whole.
    pub(super) fn done(&self) -> String {
        match self {
            Self::Standard(_) => "the backup is written to standard output".to_owned(),
            Self::File { path, .. } => format!("{} is made", path.display()),
        }
    }

    /// As errors are to name it.
    pub(super) fn name(&self) -> PathBuf {
        match self {
            Self::Standard(_) => STANDARD_OUTPUT.into(),
            Self::File { path, .. } => path.clone(),
        }
    }

    /// What earlier backups of this name have left that were cut off.
    pub(super) fn left_over(&self) -> Vec<PathBuf> {
        match self {
            Self::Standard(_) => Vec::new(),
            Self::File { path, temporary, .. } => {
                temporary_files(path).into_iter().filter(|other| other.file_name() != temporary.file_name()).collect()
            }
        }
    }

    /// Gives the file its name, once it is on disk.
    pub(super) fn keep(mut self, unfinished: &Unfinished) -> Result<(), ServerError> {
        match &mut self {
            Self::Standard(out) => {
                out.flush().map_err(|error| ServerError::File("write to", STANDARD_OUTPUT.into(), error))?;
                *unfinished.progress() = Progress::Done;
                Ok(())
            }
            Self::File { file, temporary, path, replace } => {
                let path = &*path;
                let failed = |action| move |error| ServerError::File(action, path.clone(), error);
                file.sync_all().map_err(failed("write"))?;
                let mut progress = unfinished.progress();
                give_name(temporary, path, *replace).map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => ServerError::BackupExists(path.to_owned()),
                    _ => ServerError::File("make", path.to_owned(), error),
                })?;
                *progress = Progress::Done;
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

/// Whether a backup may get this name: what is no regular file is nobody's old backup, and a rename would put a file in
/// its place.
fn check_place(path: &Path, replace: bool) -> Result<(), ServerError> {
    let folder = folder_of(path);
    if !folder.try_exists().map_err(|error| ServerError::File("look for", folder.to_owned(), error))? {
        return Err(ServerError::NoFolder(folder.to_owned()));
    }
    let unsuitable = |why| Err(ServerError::Unsuitable(path.to_owned(), why));
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|error| ServerError::File("look for", path.to_owned(), error))?.file_type(),
    };
    if found.is_dir() {
        return unsuitable("is a folder: name a file in it");
    }
    if found.is_symlink() {
        return unsuitable("is a symbolic link: name the file itself, or `-` for standard output");
    }
    if !found.is_file() {
        return unsuitable("is no regular file; for a device or a pipe use `-` and let the shell open it");
    }
    if replace { Ok(()) } else { Err(ServerError::BackupExists(path.to_owned())) }
}

/// What backups of this name have left that were cut off, or are being made.
fn temporary_files(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else { return Vec::new() };
    let is_temporary = |other: &str| {
        let number = other.strip_prefix(&*name).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".tmp"));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let entries = folder_of(path).read_dir().into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.filter(|entry| is_temporary(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect();
    paths.sort();
    paths
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
        File::open(folder_of(path))?.sync_all()?;
    }
    Ok(())
}
