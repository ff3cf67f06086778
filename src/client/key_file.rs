//! `known_keys` on the disk: written whole or not at all, by one client at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::client::failure::Failure;
use crate::client::known_keys::{Change, KnownKeys};

/// The file.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The file in an identity's folder; it may not be there yet.
    pub fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join("known_keys") }
    }

    /// What it holds; nothing when it is not there.
    ///
    /// # Errors
    /// When it cannot be read or is malformed: that is for the person to look at, and stops the client.
    pub fn load(&self) -> Result<KnownKeys, Failure> {
        let path = self.path.display();
        let text = match fs::read(&self.path) {
            Ok(bytes) => {
                String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{path} is damaged: not UTF-8")))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KnownKeys::default()),
            Err(error) => return Err(Failure::usage(format!("{path}: {error}"))),
        };
        KnownKeys::parse(&text).map_err(|why| {
            let hint = "Put it right, or move it away and check every fingerprint anew.";
            Failure::usage(format!("{path} is damaged: {why}. {hint}"))
        })
    }

    /// Adds changes to what the file holds by now: another client may have written it since.
    ///
    /// # Errors
    /// As [`KeyFile::load`], when it cannot be written, and when another client has come to know something else; then it is as
    /// it was.
    pub fn remember(&self, changes: &[Change]) -> Result<KnownKeys, Failure> {
        let failed = |error: io::Error| Failure::usage(format!("{} cannot be written: {error}", self.path.display()));
        let _lock = lock(&self.path).map_err(failed)?;
        let mut known = self.load()?;
        for change in changes {
            if let Some(words) = known.contradiction(change) {
                return Err(Failure::untrusted(words));
            }
            known.apply(change);
        }
        replace(&self.path, known.to_text().as_bytes()).map_err(failed)?;
        Ok(known)
    }
}

/// Keeps other clients from writing `path`, or any other file of its folder, until the lock is dropped.
///
/// # Errors
/// What the system reports.
pub fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path.with_file_name("known_keys.lock"))?;
    file.lock()?;
    Ok(file)
}

/// Writes a file, readable by its owner alone, beside `path` and puts it in its place: it is there whole or not at all.
/// Called under [`lock`].
///
/// # Errors
/// What the system reports; then what was there before is there still.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {} // one that a crash left may have another mode
    }
    let mut file = create_private(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file); // Windows replaces closed files only
    fs::rename(&beside, path)?;
    sync_folder(path)
}

/// Makes a new file that its owner alone can read.
///
/// # Errors
/// What the system reports; `AlreadyExists` when it is there.
pub fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the name of a new file as durable as its content.
#[cfg(unix)]
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Folders cannot be synced here.
#[cfg(not(unix))]
pub fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::known_keys::{Learned, Server, Vouched};
    use crate::crypto::Fingerprint;
    use crate::names::UserName;
    use crate::transcript::{Ed25519Key, Realm};

    fn server(address: &str) -> Change {
        let server = Server { by: Vouched::Pinned, key: Fingerprint::of(address.as_bytes()), realm: None };
        Change::Server { address: address.into(), before: None, server }
    }

    #[test]
    fn what_another_client_came_to_know_meanwhile_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::in_folder(dir.path());
        let known = file.remember(&[server("a:1")]).unwrap();
        assert_eq!(file.remember(&[server("a:1")]).unwrap(), known, "both saw the same");
        let other = Server { by: Vouched::Pinned, key: Fingerprint::of(b"other"), realm: None };
        let change = Change::Server { address: "a:1".into(), before: None, server: other };
        let refused = file.remember(&[change]).unwrap_err();
        assert_eq!(refused.exit, crate::client::failure::Exit::Untrusted);
        assert_eq!(file.load().unwrap(), known);
    }

    #[test]
    fn two_clients_do_not_forget_each_others_pins() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (KeyFile::in_folder(dir.path()), KeyFile::in_folder(dir.path()));
        assert_eq!(one.load().unwrap(), KnownKeys::default());
        one.remember(&[server("a:1")]).unwrap();
        let both = other.remember(&[server("b:1")]).unwrap();
        assert!(both.server("a:1").is_some() && both.server("b:1").is_some());
        assert_eq!(one.load().unwrap(), both);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(dir.path().join("known_keys")).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_of_version_1_becomes_one_of_version_2_when_something_is_learned() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = (KeyFile::in_folder(dir.path()), dir.path().join("known_keys"));
        let key = Fingerprint::of(b"a:1");
        let old = format!("# secure-chat known keys, version 1\nserver a:1 pinned {key}\nuser {key} bob {key}\n");
        fs::write(&path, &old).unwrap();
        let known = file.load().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), old, "reading changes nothing");
        let before = known.server("a:1");
        let realm = Some(Realm([1; 32]));
        let change = Change::Server { address: "a:1".into(), before, server: Server { realm, ..before.unwrap() } };
        let known = file.remember(&[change]).unwrap();
        assert_eq!(known.pins(Realm([1; 32]).into()).rsa.len(), 1, "its users came along");
        assert_eq!(file.load().unwrap(), known);
        assert!(fs::read_to_string(&path).unwrap().starts_with("# secure-chat known keys, version 2\n"));
    }

    #[test]
    fn two_clients_that_see_different_keys_do_not_overwrite_each_others() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (KeyFile::in_folder(dir.path()), KeyFile::in_folder(dir.path()));
        let bob = |key| Learned::SignerSeen(UserName::new("bob"), Ed25519Key([key; 32]));
        let change = |learned| Change::Learned(Realm([1; 32]).into(), learned);
        let known = one.remember(&[change(bob(1))]).unwrap();
        let eve = Learned::SignerSeen(UserName::new("eve"), Ed25519Key([3; 32]));
        let refused = other.remember(&[change(eve), change(bob(2))]).unwrap_err();
        assert_eq!(refused.exit, crate::client::failure::Exit::Untrusted);
        assert_eq!(one.load().unwrap(), known, "nothing of it was written");
    }

    #[test]
    fn a_damaged_file_stops_the_client_and_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::in_folder(dir.path());
        for damaged in [&b""[..], b"server", b"\xff"] {
            fs::write(dir.path().join("known_keys"), damaged).unwrap();
            assert!(file.load().is_err());
            assert!(file.remember(&[server("a:1")]).is_err());
            assert_eq!(fs::read(dir.path().join("known_keys")).unwrap(), damaged);
        }
    }
}
