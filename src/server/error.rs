//! Why the server cannot run, and what exit code says so.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::store::StoreError;
use crate::tls::CertificateError;

/// Most names of a folder's content that are said.
const MOST_NAMES: usize = 5;

/// Why the server ended.
#[derive(Debug)]
pub enum ServerError {
    /// A certificate or key cannot be used.
    Certificate(CertificateError),
    /// The database cannot be used.
    Store(StoreError),
    /// The password of god cannot be had, in words.
    GodPassword(String),
    /// The message of the day cannot be had or is too long, in words.
    Motd(String),
    /// A file that is no part of the data folder cannot be read or written: what was tried, as in "cannot {action} {path}".
    File(&'static str, PathBuf, io::Error),
    /// A file is no backup, or damaged, in words.
    Backup(PathBuf, String),
    /// A backup is to be made where there is a file.
    BackupExists(PathBuf),
    /// A backup is to be made in a folder that is not there.
    NoFolder(PathBuf),
    /// A backup is to be restored where there is something: the names.
    NotEmpty(PathBuf, Vec<String>),
    /// What was named is nothing that could be read or written, in words.
    Unsuitable(PathBuf, &'static str),
    /// Of a certificate and its key in the data folder, one is missing.
    HalfCertificate {
        /// The one that is missing.
        missing: PathBuf,
        /// The other one.
        there: PathBuf,
    },
    /// The tokens for new accounts cannot be had, in words.
    RegistrationTokens(String),
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// This thread, without which nobody is served, has panicked; the log says where.
    Died(&'static str),
    /// The operating system refuses something that the server cannot do without.
    System(&'static str, io::Error),
}

impl ServerError {
    /// 1 for usage or input, 2 for the unexpected, 3 for the network.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Certificate(_)
            | Self::Store(_)
            | Self::GodPassword(_)
            | Self::Motd(_)
            | Self::File(..)
            | Self::Backup(..)
            | Self::BackupExists(_)
            | Self::NoFolder(_)
            | Self::NotEmpty(..)
            | Self::Unsuitable(..)
            | Self::HalfCertificate { .. }
            | Self::RegistrationTokens(_) => 1,
            Self::Died(_) | Self::System(..) => 2,
            Self::Listen(..) => 3,
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::GodPassword(why) => write!(f, "the password of god: {why}"),
            Self::Motd(why) => write!(f, "the message of the day: {why}"),
            Self::File(action, path, error) => write!(f, "cannot {action} {}: {error}", path.display()),
            Self::Backup(path, why) => write!(f, "{} cannot be restored: {why}", path.display()),
            Self::BackupExists(path) => write!(f, "{} exists: choose another name, or --replace it", path.display()),
            Self::NoFolder(path) => write!(f, "there is no folder {}", path.display()),
            Self::NotEmpty(path, names) => write_not_empty(f, path, names),
            Self::Unsuitable(path, why) => write!(f, "{} {why}", path.display()),
            Self::HalfCertificate { missing, there } => write!(
                f,
                "{} is missing, but {} is there; restore it from a backup, or remove the other, and a new certificate \
                 with a new key is made",
                missing.display(),
                there.display()
            ),
            Self::RegistrationTokens(why) => write!(f, "the tokens for new accounts: {why}"),
            Self::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use: is a server running already? Choose another with --listen")
            }
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Died(thread) => {
                write!(f, "the thread {thread} has panicked, which is a fault of this program: please report it")
            }
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

/// What a restore leaves that was cut off has no database yet: that may go. Where there is one, nobody is told to
/// delete it.
fn write_not_empty(f: &mut fmt::Formatter<'_>, path: &Path, names: &[String]) -> fmt::Result {
    let (some, more) = names.split_at(names.len().min(MOST_NAMES));
    let (path, some) = (path.display(), some.join(", "));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    write!(f, "{path} is not empty, it holds {some}{more}: name an empty or a new folder with --data-dir")?;
    if names.iter().any(|name| name == "database.enc") {
        return Ok(());
    }
    write!(f, "; if a restore was interrupted there, delete them")
}

impl std::error::Error for ServerError {}

impl From<CertificateError> for ServerError {
    fn from(error: CertificateError) -> Self {
        Self::Certificate(error)
    }
}

impl From<StoreError> for ServerError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
