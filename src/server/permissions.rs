//! Who may read and write the files of a data folder. Where the system has no such thing, nothing is said of it.

use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

/// What the group and all others may do.
pub(super) const OTHERS: u32 = 0o077;

/// That they may write.
pub(super) const OTHERS_WRITE: u32 = 0o022;

/// Lets nobody else read a key: a Python server leaves its own open to all. One that is not `ours`, or lies elsewhere
/// behind a link, may be shared on purpose: then this is only said.
pub(super) fn close(path: &Path, ours: bool) {
    let Some(found) = mode(path).filter(|mode| mode & OTHERS != 0) else { return };
    let (key, mode) = (path.display(), format!("{found:04o}"));
    if !ours || path.is_symlink() {
        return warn!(%key, mode, "this key is open to others");
    }
    match set_private(path) {
        Ok(()) => info!(%key, mode, "this key was open to others: now its owner alone can read it (mode 0600)"),
        Err(error) => warn!(%key, mode, %error, "this key is open to others, and that cannot be changed"),
    }
}

/// The permissions of a file or folder, if they can be looked at.
#[cfg(unix)]
pub(super) fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    Some(path.metadata().ok()?.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
pub(super) fn mode(_: &Path) -> Option<u32> {
    None
}

#[cfg(unix)]
fn set_private(path: &Path) -> io::Result<()> {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    set_permissions(path, Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn set_private(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The folder itself, and what a server does not replace but opens to write, as far as this process may not.
#[cfg(unix)]
pub(super) fn not_writable(dir: &Path) -> Vec<PathBuf> {
    use rustix::fs::{Access, access};
    let (folder, file) = (Access::WRITE_OK | Access::EXEC_OK, Access::WRITE_OK | Access::READ_OK);
    let files = ["database.lock", "public_keys.log"].map(|name| (dir.join(name), file));
    let mut all = vec![(dir.to_owned(), folder)];
    all.extend(files.into_iter().filter(|(path, _)| path.exists()));
    all.into_iter().filter(|(path, wanted)| access(path, *wanted).is_err()).map(|(path, _)| path).collect()
}

#[cfg(not(unix))]
pub(super) fn not_writable(_: &Path) -> Vec<PathBuf> {
    Vec::new()
}
