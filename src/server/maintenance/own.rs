//! The files of a server, which no backup is to replace.

use std::fs;
use std::path::{Path, PathBuf};

use super::report;
use crate::server::error::ServerError;
use crate::server::options::Files;

/// Names in a data folder. Each may have a new content beside it, as `NAME.tmp`.
const NAMES: [&str; 6] =
    ["db_key.bin", "database.enc", "database.journal", "database.lock", "database.enc.python", "public_keys.log"];

/// Those of a certificate and its key, in `certs` or in the folder itself.
const CERTIFICATE: [&str; 2] = ["server.crt", "server.key"];

/// # Errors
/// [`ServerError::Unsuitable`] when it is, or would be, a file of the server: by its place, or by another name of it.
pub(super) fn refuse(file: &Path, files: &Files) -> Result<(), ServerError> {
    let place = place(file);
    let is_own = |own: &PathBuf| is_same(own, file) || (place.is_some() && self::place(own) == place);
    match all(files).iter().any(is_own) {
        true => Err(ServerError::Unsuitable(file.to_owned(), "is a file of the server: choose another name")),
        false => Ok(()),
    }
}

/// All that there are or may be.
fn all(files: &Files) -> Vec<PathBuf> {
    let dir = &files.data_dir;
    let names = NAMES.iter().flat_map(|name| [dir.join(name), dir.join(format!("{name}.tmp"))]);
    let certificate = CERTIFICATE.iter().flat_map(|name| [dir.join(name), dir.join("certs").join(name)]);
    let named = [&files.cert, &files.key].into_iter().flatten().cloned();
    names.chain(certificate).chain(named).chain(report::python_backups(dir)).collect()
}

/// Where a file is or would be, however its folder was named.
fn place(file: &Path) -> Option<PathBuf> {
    Some(fs::canonicalize(super::folder_of(file)).ok()?.join(file.file_name()?))
}

/// Whether both are there and one file.
#[cfg(unix)]
fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    id(one).is_some_and(|one| Some(one) == id(other))
}

#[cfg(not(unix))]
fn is_same(one: &Path, other: &Path) -> bool {
    fs::canonicalize(one).is_ok_and(|one| fs::canonicalize(other).is_ok_and(|other| one == other))
}
