//! The server's certificate and key: read from PEM files, or made.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use zeroize::{Zeroize, Zeroizing};

/// Years from 1970 in which a certificate that we make is valid: pins carry the trust, not dates.
const FROM_YEAR: i32 = 2020;
const TO_YEAR: i32 = 2120;

/// Why a server cannot use a certificate or a key.
#[derive(Debug)]
pub enum CertificateError {
    /// A file cannot be read or written.
    Io(PathBuf, io::Error),
    /// A file holds no certificate, or one that rustls refuses (X.509 version 1, for example).
    Certificate(PathBuf),
    /// A file holds no private key.
    Key(PathBuf),
    /// rustls refuses the pair: the key is not that of the certificate, or too weak.
    Pair(PathBuf, rustls::Error),
    /// A self-signed certificate could not be made.
    Generate(rcgen::Error),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Certificate(path) => {
                write!(f, "{} holds no X.509 version 3 certificate in PEM; sslcertgen.sh makes one", path.display())
            }
            Self::Key(path) => write!(f, "{} holds no private key in PEM; sslcertgen.sh makes one", path.display()),
            Self::Pair(path, rustls::Error::InconsistentKeys(_)) => write!(
                f,
                "the key beside {} is that of another certificate; restore both from one backup, or make both anew \
                 with sslcertgen.sh",
                path.display()
            ),
            Self::Pair(path, error) => write!(
                f,
                "the key of {} is damaged or of a kind that cannot be used; restore both from one backup, or make \
                 both anew with sslcertgen.sh ({error})",
                path.display()
            ),
            Self::Generate(error) => write!(f, "a self-signed certificate could not be made: {error}"),
        }
    }
}

impl std::error::Error for CertificateError {}

/// A certificate chain and its private key.
pub struct ServerIdentity {
    /// The certificates, the server's own first, in DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key, in DER.
    pub key: PrivateKeyDer<'static>,
    certificate_path: PathBuf,
}

impl ServerIdentity {
    /// Reads a pair of PEM files.
    ///
    /// # Errors
    /// [`CertificateError`] names the file and what is wrong with it.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let read = |path: &Path| fs::read(path).map_err(|error| CertificateError::Io(path.to_owned(), error));
        Self::from_pem((certificate, &read(certificate)?), (key, &Zeroizing::new(read(key)?)))
    }

    /// The pair of two PEM texts; errors name them by these paths.
    ///
    /// # Errors
    /// [`CertificateError`] names the file and what is wrong with it.
    pub fn from_pem(certificate: (&Path, &[u8]), key: (&Path, &[u8])) -> Result<Self, CertificateError> {
        let (path, mut pem) = certificate;
        let chain: Vec<_> = rustls_pemfile::certs(&mut pem)
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::Certificate(path.to_owned()))?;
        let certificate_path = path.to_owned();
        let (path, mut pem) = key;
        let key_der = rustls_pemfile::private_key(&mut pem).ok().flatten();
        let key = key_der.ok_or_else(|| CertificateError::Key(path.to_owned()))?;
        let identity = Self { chain, key, certificate_path };
        identity.spki()?;
        Ok(identity)
    }

    /// Makes an ECDSA P-256 key and a self-signed certificate, and writes both to new files (the key's with mode 0600).
    ///
    /// # Errors
    /// [`CertificateError`]; an existing file is an error, nothing is overwritten.
    pub fn generate(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CertificateError::Generate)?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let mut params = CertificateParams::new(names).map_err(CertificateError::Generate)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "secure-chat");
        params.is_ca = IsCa::ExplicitNoCa;
        params.not_before = rcgen::date_time_ymd(FROM_YEAR, 1, 1);
        params.not_after = rcgen::date_time_ymd(TO_YEAR, 1, 1);
        let made = params.self_signed(&pair).map_err(CertificateError::Generate)?;
        if let Some(folder) = key.parent() {
            fs::create_dir_all(folder).map_err(|error| CertificateError::Io(folder.to_owned(), error))?;
        }
        write_new(key, Zeroizing::new(pair.serialize_pem()).as_bytes())?;
        write_new(certificate, made.pem().as_bytes())?;
        sync_folders_of(key); // a certificate that is gone after a power loss would be another at the next start
        Self::load(certificate, key)
    }

    /// The SubjectPublicKeyInfo of the server's own certificate, in DER: what its fingerprint is made of.
    ///
    /// # Errors
    /// [`CertificateError::Certificate`] when there is none or rustls cannot read it.
    pub fn spki(&self) -> Result<Vec<u8>, CertificateError> {
        let unusable = || CertificateError::Certificate(self.certificate_path.clone());
        let own = self.chain.first().ok_or_else(unusable)?;
        let parsed = ParsedCertificate::try_from(own).map_err(|_| unusable())?;
        Ok(parsed.subject_public_key_info().as_ref().to_vec())
    }

    /// Where the certificate came from.
    pub fn certificate_path(&self) -> &Path {
        &self.certificate_path
    }
}

impl Drop for ServerIdentity {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CertificateError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|error| CertificateError::Io(path.to_owned(), error))
}

/// Waits until the name of a new file is on disk, and that of the folder that it is in, where folders can be synced and read.
fn sync_folders_of(path: &Path) {
    for folder in path.ancestors().skip(1).take(2).filter(|_| cfg!(unix)) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_can_be_loaded_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (crt, key) = (dir.path().join("certs/server.crt"), dir.path().join("certs/server.key"));
        let made = ServerIdentity::generate(&crt, &key).unwrap();
        assert_eq!(ServerIdentity::load(&crt, &key).unwrap().spki().unwrap(), made.spki().unwrap());
        assert!(matches!(ServerIdentity::generate(&crt, &key), Err(CertificateError::Io(..))));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (crt, key) = (dir.path().join("a.crt"), dir.path().join("a.key"));
        assert!(matches!(ServerIdentity::load(&crt, &key), Err(CertificateError::Io(..))));
        ServerIdentity::generate(&crt, &key).unwrap();
        assert!(matches!(ServerIdentity::load(&crt, &crt), Err(CertificateError::Key(_))));
        assert!(matches!(ServerIdentity::load(&key, &key), Err(CertificateError::Certificate(_))));
    }
}
