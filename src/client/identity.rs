//! The person's key pair: where it is, and how it is made.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use etcetera::BaseStrategy;
use indicatif::ProgressBar;

use crate::client::failure::Failure;
use crate::client::key_file::{create_private, sync_folder};
use crate::client::screen::say_plainly;
use crate::crypto::{PrivateKey, PublicKey};

const PRIVATE: &str = "private_key.pem";
const PUBLIC: &str = "public_key.pem";

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
        let folder = folder(named, Path::new(PRIVATE).exists())?;
        make_folder(&folder).map_err(|error| Failure::usage(format!("{}: {error}", folder.display())))?;
        let path = folder.join(PRIVATE);
        let (key, is_new) = match read(&path)? {
            Some(pem) => {
                let key = parse_private(&path, &pem)?;
                protect(&path)?;
                (key, false)
            }
            None => (make(&path)?, true),
        };
        keep_public(&folder.join(PUBLIC), key.public(), is_new)?;
        Ok(Self { folder, key, is_new })
    }
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
        Err(error) => Err(Failure::usage(format!("{}: {error}", path.display()))),
    }
}

/// A key that the Python client left may be readable by others: from now on it is not.
#[cfg(unix)]
fn protect(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error: io::Error| Failure::usage(format!("{}: {error}", path.display()));
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

fn parse_private(path: &Path, pem: &str) -> Result<PrivateKey, Failure> {
    PrivateKey::from_pem(pem).map_err(|why| {
        let hint = "Put it right from a copy; or move it away, and a new key is made, which others will be warned of";
        Failure::usage(format!("{} cannot be used: {why}. {hint}.", path.display()))
    })
}

fn make(path: &Path) -> Result<PrivateKey, Failure> {
    let key = generate()?;
    let failed = |error: io::Error| Failure::usage(format!("{}: {error}", path.display()));
    let mut file = match create_private(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let pem = read(path)?.unwrap_or_default(); // another client was faster: its key is the person's
            return parse_private(path, &pem);
        }
        file => file.map_err(failed)?,
    };
    let written = file.write_all(key.expose_pem().as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| sync_folder(path)) {
        let _ = fs::remove_file(path); // half a key would stop the next start
        return Err(failed(error));
    }
    Ok(key)
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
    fs::write(path, key.pem().as_bytes()).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
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
    fn the_folder_is_the_named_one_or_that_of_the_python_client_or_the_data_folder() {
        assert_eq!(folder(Some(Path::new("x")), true).unwrap(), Path::new("x"));
        assert_eq!(folder(None, true).unwrap(), Path::new("."));
        assert!(folder(None, false).unwrap().ends_with("secure-chat"));
    }
}
