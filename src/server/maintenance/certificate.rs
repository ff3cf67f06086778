//! The certificate of a data folder and its key, as files.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::output::sync_folder_of;
use crate::crypto::Fingerprint;
use crate::server::error::ServerError;
use crate::server::options::Files;
use crate::server::setup;
use crate::tls::{self, ServerIdentity};

/// Its name in a backup and in a folder that is restored, where the server looks first.
pub(super) const CERTIFICATE: &str = "certs/server.crt";

/// That of its key.
pub(super) const KEY: &str = "certs/server.key";

/// A certificate that a server can use.
pub(super) struct Certificate {
    /// Where it was found.
    pub(super) path: PathBuf,
    pub(super) fingerprint: Fingerprint,
    pem: Vec<u8>,
    key_pem: Zeroizing<Vec<u8>>,
}

impl Certificate {
    /// The one that a server would take; none when it would make one.
    pub(super) fn find(files: &Files) -> Result<Option<Self>, ServerError> {
        let Some((certificate, key)) = setup::certificate_files(files)? else { return Ok(None) };
        let read = |path: &Path| fs::read(path).map_err(|error| ServerError::File("read", path.to_owned(), error));
        let (pem, key_pem) = (read(&certificate)?, read(&key)?);
        Self::new(certificate, pem, &key, key_pem).map(Some)
    }

    /// The one of a backup.
    pub(super) fn of_archive(at: &Path, pem: Vec<u8>, key_pem: Vec<u8>) -> Result<Self, ServerError> {
        Self::new(at.join(CERTIFICATE), pem, &at.join(KEY), key_pem)
    }

    fn new(path: PathBuf, pem: Vec<u8>, key: &Path, key_pem: Vec<u8>) -> Result<Self, ServerError> {
        let key_pem = Zeroizing::new(key_pem);
        let identity = ServerIdentity::from_pem((&path, &pem), (key, &key_pem))?;
        let fingerprint = Fingerprint::of(&identity.spki()?);
        tls::server_config(&identity)?; // whether key and certificate belong together
        Ok(Self { path, fingerprint, pem, key_pem })
    }

    /// Both files, by their names in a backup.
    pub(super) fn files(&self) -> [(&'static str, &[u8]); 2] {
        [(CERTIFICATE, &self.pem), (KEY, &self.key_pem)]
    }

    /// Writes both into an empty folder, and waits until they are on disk.
    pub(super) fn put(&self, dir: &Path) -> Result<(), ServerError> {
        for (name, bytes) in self.files() {
            let path = dir.join(name);
            write_new(&path, bytes).map_err(|error| ServerError::File("write", path, error))?;
        }
        Ok(())
    }

    /// Removes both, as far as they are there.
    pub(super) fn remove(dir: &Path) {
        for name in [CERTIFICATE, KEY] {
            let _ = fs::remove_file(dir.join(name)); // it was made just now; what failed before is said
        }
        let _ = dir.join(KEY).parent().map(fs::remove_dir);
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_folder_of(path)
}
