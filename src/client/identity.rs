//! The person's keys: where they are, and how they are made. A key file is never overwritten, and of two clients that make one
//! at the same time, one makes the other's, too.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use etcetera::BaseStrategy;
use indicatif::ProgressBar;

use crate::client::failure::Failure;
use crate::client::key_file::{create_private, lock, replace, sync_folder};
use crate::client::screen::say_plainly;
use crate::crypto::{PrivateKey, PublicKey, SigningKey};

const PRIVATE: &str = "private_key.pem";
const PUBLIC: &str = "public_key.pem";
const SIGNING: &str = "signing_key.pem";
const REPLACED: &str = "signing_key.pem.old";

/// From when on a spinner says that a key is being made.
const SPINNER_AFTER: Duration = Duration::from_millis(300);

/// The key pair and its folder.
pub struct Identity {
    /// The folder, where `known_keys` is, too.
    pub folder: PathBuf,
    /// The private key.
    pub key: PrivateKey,
    /// Whether it was made just now.
    pub is_new: bool,
}

impl Identity {
    /// Loads the pair from the folder that is named, else from the current one if the Python client left one there, else from
    /// the person's data folder. A missing pair is made.
    ///
    /// # Errors
    /// [`Failure`] names the file that cannot be read or written, or is damaged. A private key is never overwritten.
    pub fn open(named: Option<&Path>) -> Result<Self, Failure> {
        let folder = open_folder(named)?;
        let path = folder.join(PRIVATE);
        let (key, is_new) = match read(&path)? {
            Some(pem) => {
                let key = parse(&path, PrivateKey::from_pem(&pem))?;
                protect(&path)?;
                (key, false)
            }
            None => make(&path)?,
        };
        keep_public(&folder.join(PUBLIC), key.public(), is_new)?;
        Ok(Self { folder, key, is_new })
    }

    /// The account's signing key, which is made when it is needed first.
    ///
    /// # Errors
    /// As [`signing_key`].
    pub fn signing_key(&self) -> Result<SigningKey, Failure> {
        signing_key(&self.folder)
    }
}

/// The folder of the person's keys, which may not be there yet: see [`Identity::open`].
///
/// # Errors
/// When the person has no home.
pub fn find_folder(named: Option<&Path>) -> Result<PathBuf, Failure> {
    folder(named, Path::new(PRIVATE).exists())
}

/// The same, made when it is missing.
///
/// # Errors
/// As [`find_folder`], and when it cannot be made.
pub fn open_folder(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let folder = find_folder(named)?;
    make_folder(&folder).map_err(|error| file_failure(&folder, &error))?;
    Ok(folder)
}

/// The RSA key in a folder, if there is one.
///
/// # Errors
/// As [`Identity::open`].
pub fn find_key(folder: &Path) -> Result<Option<PrivateKey>, Failure> {
    let path = folder.join(PRIVATE);
    read(&path)?.map(|pem| parse(&path, PrivateKey::from_pem(&pem))).transpose()
}

/// The signing key in a folder, if there is one.
///
/// # Errors
/// [`Failure`] names the file when it cannot be read or is damaged; it is not touched.
pub fn find_signing_key(folder: &Path) -> Result<Option<SigningKey>, Failure> {
    let path = folder.join(SIGNING);
    let Some(pem) = read(&path)? else { return Ok(None) };
    let key = parse(&path, SigningKey::from_pem(&pem))?;
    protect(&path)?;
    Ok(Some(key))
}

/// The signing key in a folder, which is made when it is needed first.
///
/// # Errors
/// As [`find_signing_key`], and when it cannot be written.
pub fn signing_key(folder: &Path) -> Result<SigningKey, Failure> {
    if let Some(key) = find_signing_key(folder)? {
        return Ok(key);
    }
    let (path, key) = (folder.join(SIGNING), SigningKey::generate());
    let pem = key.to_pem().map_err(Failure::unexpected)?;
    if write_first(&path, &pem)? {
        return Ok(key);
    }
    find_signing_key(folder)?.ok_or_else(|| file_failure(&path, &io::ErrorKind::NotFound.into()))
}

/// What became of a signing key that was to be taken over.
#[derive(Debug, PartialEq, Eq)]
pub enum Installed {
    /// It is the first.
    First,
    /// It was there already.
    Already,
    /// It took the place of another, which is in this file now.
    Replaced(PathBuf),
}

/// Makes another device's signing key the one in a folder.
///
/// # Errors
/// [`Failure`] when another one is there and is not to be replaced, or cannot be kept, and when a file cannot be read or
/// written: then nothing has changed.
pub fn install_signing_key(folder: &Path, key: &SigningKey, replaces: bool) -> Result<Installed, Failure> {
    let path = folder.join(SIGNING);
    let pem = key.to_pem().map_err(Failure::unexpected)?;
    let failed = |error: io::Error| file_failure(&path, &error);
    let _lock = lock(&path).map_err(failed)?;
    let before = read(&path)?;
    let is_it = |pem: &str| SigningKey::from_pem(pem).is_ok_and(|before| before.verifying_key() == key.verifying_key());
    let installed = match before {
        Some(before) if is_it(&before) => return Ok(Installed::Already),
        Some(_) if !replaces => return Err(Failure::usage(another_key(&path))),
        Some(before) => {
            let old = folder.join(REPLACED);
            keep(&old, before.as_bytes()).map_err(|error| file_failure(&old, &error))?;
            Installed::Replaced(old)
        }
        None => Installed::First,
    };
    replace(&path, pem.as_bytes()).map_err(|error| {
        if let Installed::Replaced(old) = &installed {
            let _ = fs::remove_file(old); // it is where it was
        }
        failed(error)
    })?;
    Ok(installed)
}

fn another_key(path: &Path) -> String {
    format!(
        "{} holds another signing key. Those who know you by that one will be warned. To put the new one in its place, add \
         --replace; the old one is then kept as {REPLACED}.",
        path.display()
    )
}

/// Writes a new file that its owner alone can read.
///
/// # Errors
/// What the system reports; `AlreadyExists` when it is there. Then there is nothing new.
pub fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_private(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.and_then(|()| sync_folder(path)).inspect_err(|_| {
        let _ = fs::remove_file(path); // half a key is worse than none
    })
}

/// Writes the file of a new key, unless another client was faster; whether it did.
fn write_first(path: &Path, pem: &str) -> Result<bool, Failure> {
    let written = lock(path).and_then(|_lock| {
        if path.try_exists()? {
            return Ok(false);
        }
        replace(path, pem.as_bytes())?;
        Ok(true)
    });
    written.map_err(|error| file_failure(path, &error))
}

fn file_failure(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

fn folder(named: Option<&Path>, here: bool) -> Result<PathBuf, Failure> {
    match named {
        Some(folder) => Ok(folder.to_owned()),
        None if here => Ok(".".into()),
        None => {
            let strategy = etcetera::choose_base_strategy().map_err(|_| {
                Failure::usage("Your home folder is not known. Name a folder for your keys with --identity.")
            })?;
            Ok(strategy.data_dir().join("secure-chat"))
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()), // another client was faster
        result => result,
    }
}

/// The file's text, or nothing when it is not there.
fn read(path: &Path) -> Result<Option<zeroize::Zeroizing<String>>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_failure(path, &error)),
    }
}

/// A key that the Python client left may be readable by others: from now on it is not.
#[cfg(unix)]
fn protect(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error: io::Error| file_failure(path, &error);
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0
        && let Err(error) = fs::set_permissions(path, PermissionsExt::from_mode(mode & 0o700))
    {
        say_plainly(&format!("{} can be read by others, and that cannot be changed: {error}.", path.display()));
    }
    Ok(())
}

#[cfg(not(unix))]
fn protect(_: &Path) -> Result<(), Failure> {
    Ok(())
}

fn parse<T>(path: &Path, parsed: Result<T, impl fmt::Display>) -> Result<T, Failure> {
    parsed.map_err(|why| {
        let hint = "Put it right from a copy; or move it away, and a new key is made, which others will be warned of";
        Failure::usage(format!("{} cannot be used: {why}. {hint}.", path.display()))
    })
}

/// The key that was made, or that another client made meanwhile; and whether it is new.
fn make(path: &Path) -> Result<(PrivateKey, bool), Failure> {
    let key = generate()?;
    if write_first(path, key.expose_pem())? {
        return Ok((key, true));
    }
    let pem = read(path)?.unwrap_or_default();
    Ok((parse(path, PrivateKey::from_pem(&pem))?, false))
}

/// Makes a key on a thread of its own, behind a spinner when it takes long.
fn generate() -> Result<PrivateKey, Failure> {
    let (to, from) = mpsc::channel();
    let maker = thread::Builder::new().name("key".into()).spawn(move || to.send(PrivateKey::generate()));
    let maker = maker.map_err(Failure::unexpected)?;
    let made = from.recv_timeout(SPINNER_AFTER).or_else(|_| {
        let spinner = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        spinner.set_message("Making your key pair…");
        spinner.enable_steady_tick(Duration::from_millis(100));
        let made = from.recv();
        spinner.finish_and_clear();
        made
    });
    let _ = maker.join(); // what it made has come through the channel
    made.map_err(Failure::unexpected)?.map_err(|why| Failure::unexpected(format!("No key could be made: {why}.")))
}

/// Writes the public key where it is missing; one of another pair would make a Python client announce a key that it cannot read.
fn keep_public(path: &Path, key: &PublicKey, is_new: bool) -> Result<(), Failure> {
    if let Some(pem) = read(path)?.filter(|_| !is_new) {
        return match PublicKey::from_pem(&pem) {
            Ok(public) if public.fingerprint() == key.fingerprint() => Ok(()),
            _ => Err(Failure::usage(format!(
                "{} is damaged, or not the other half of {PRIVATE}. Delete it, and it is made again from {PRIVATE}.",
                path.display()
            ))),
        };
    }
    let written = lock(path).and_then(|_lock| replace(path, key.pem().as_bytes())); // whole, for a client that reads it now
    written.map_err(|error| file_failure(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(result: Result<Identity, Failure>) -> String {
        match result {
            Err(failure) => failure.words,
            Ok(_) => panic!("it opened"),
        }
    }

    #[test]
    fn a_pair_is_made_once_and_the_public_half_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("deep/identity");
        let made = Identity::open(Some(&folder)).unwrap();
        assert!(made.is_new);
        let pem = fs::read_to_string(folder.join(PRIVATE)).unwrap();
        assert!(pem.starts_with("-----BEGIN RSA PRIVATE KEY-----"));
        fs::remove_file(folder.join(PUBLIC)).unwrap();
        let again = Identity::open(Some(&folder)).unwrap();
        assert!(!again.is_new);
        assert_eq!(fs::read_to_string(folder.join(PRIVATE)).unwrap(), pem);
        assert_eq!(fs::read_to_string(folder.join(PUBLIC)).unwrap(), **made.key.public().pem());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&folder), mode(&folder.join(PRIVATE))), (0o700, 0o600));
        }
    }

    #[test]
    fn damaged_files_are_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let other = PrivateKey::generate().unwrap();
        Identity::open(Some(dir.path())).unwrap();
        fs::write(dir.path().join(PUBLIC), other.public().pem().as_bytes()).unwrap();
        assert!(words(Identity::open(Some(dir.path()))).contains(PUBLIC));
        fs::write(dir.path().join(PRIVATE), "-----BEGIN").unwrap();
        assert!(words(Identity::open(Some(dir.path()))).contains(PRIVATE));
        assert_eq!(fs::read_to_string(dir.path().join(PRIVATE)).unwrap(), "-----BEGIN");
    }

    #[test]
    fn the_signing_key_is_made_once_when_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SIGNING);
        assert!(find_signing_key(dir.path()).unwrap().is_none());
        assert!(!path.exists());
        let key = signing_key(dir.path()).unwrap();
        let pem = fs::read_to_string(&path).unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(signing_key(dir.path()).unwrap().verifying_key(), key.verifying_key());
        assert_eq!(fs::read_to_string(&path).unwrap(), pem);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn clients_that_start_at_once_have_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let start = std::sync::Barrier::new(8);
        let keys: Vec<_> = thread::scope(|scope| {
            let clients: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        signing_key(dir.path()).unwrap().verifying_key()
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        assert_eq!(find_signing_key(dir.path()).unwrap().unwrap().verifying_key(), keys[0]);
    }

    #[test]
    fn a_damaged_signing_key_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SIGNING);
        for damaged in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            fs::write(&path, damaged).unwrap();
            for tried in [signing_key(dir.path()), find_signing_key(dir.path()).map(Option::unwrap)] {
                let words = tried.map(|_| ()).unwrap_err().words;
                assert!(words.contains(SIGNING), "{words}");
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn another_signing_key_is_replaced_on_request_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two, three) = (SigningKey::generate(), SigningKey::generate(), SigningKey::generate());
        let (path, old) = (dir.path().join(SIGNING), dir.path().join(REPLACED));
        let is = |path: &Path, key: &SigningKey| {
            let pem = fs::read_to_string(path).unwrap();
            SigningKey::from_pem(&pem).unwrap().verifying_key() == key.verifying_key()
        };
        assert_eq!(install_signing_key(dir.path(), &one, false).unwrap(), Installed::First);
        assert_eq!(install_signing_key(dir.path(), &one, false).unwrap(), Installed::Already);
        let words = install_signing_key(dir.path(), &two, false).unwrap_err().words;
        assert!(words.contains("--replace"), "{words}");
        assert!(is(&path, &one) && !old.exists());
        assert_eq!(install_signing_key(dir.path(), &two, true).unwrap(), Installed::Replaced(old.clone()));
        assert!(is(&path, &two) && is(&old, &one));
        // What is kept is never lost.
        let words = install_signing_key(dir.path(), &three, true).unwrap_err().words;
        assert!(words.contains(REPLACED), "{words}");
        assert!(is(&path, &two) && is(&old, &one));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(&old)), (0o600, 0o600));
        }
    }

    #[test]
    fn the_folder_is_the_named_one_or_that_of_the_python_client_or_the_data_folder() {
        assert_eq!(folder(Some(Path::new("x")), true).unwrap(), Path::new("x"));
        assert_eq!(folder(None, true).unwrap(), Path::new("."));
        assert!(folder(None, false).unwrap().ends_with("secure-chat"));
    }
}
