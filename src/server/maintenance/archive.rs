//! A backup: a tar archive of the files of a data folder, in a fixed order, and last their SHA-256 sums in the form of `sha256sum`.
//!
//! The sums are there to notice damage. They prove nothing about who made the archive, and need not: it holds the key of
//! everything in it.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::path::Path;
use std::rc::Rc;

use sha2::{Digest, Sha256};
use tar::Header;

use super::certificate::{self, Certificate};
use crate::server::clock::unix_seconds;
use crate::server::error::ServerError;
use crate::store::{KeyCensus, Parts, Report};

const KEY: &str = "db_key.bin";
const JOURNAL: &str = "database.journal";
const DATABASE: &str = "database.enc";

/// The record of public keys.
pub(super) const PUBLIC_KEYS: &str = "public_keys.log";

/// The sums of all others.
const SUMS: &str = "SHA256SUMS";

/// What an archive is made of, in bytes (POSIX ustar).
const BLOCK: u64 = 512;

/// How files begin that operators make of backups: gzip, zstd, xz, bzip2, age, its armor, and that of OpenPGP.
const WRAPPED: [&[u8]; 7] = [
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"\xfd7zXZ\0",
    b"BZh",
    b"age-encryption.org/",
    b"-----BEGIN AGE ENCRYPTED FILE-----",
    b"-----BEGIN PGP MESSAGE-----",
];

/// An archive that is being written.
pub(super) struct Archive<W: Write> {
    to: W,
    sums: String,
    /// Of the file that is being added.
    name: &'static str,
    digest: Sha256,
    /// Bytes that it still lacks, and that it was said to have.
    missing: u64,
    len: u64,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, sums: String::new(), name: "", digest: Sha256::new(), missing: 0, len: 0 }
    }

    /// Adds a file.
    pub(super) fn add(&mut self, name: &'static str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.write_all(bytes)?;
        self.end()
    }

    /// Begins a file of `len` bytes, which are to be written to this, until [`end`](Self::end).
    pub(super) fn begin(&mut self, name: &'static str, len: u64) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_size(len);
        header.set_mode(0o600);
        header.set_mtime(unix_seconds());
        header.set_cksum();
        self.to.write_all(header.as_bytes())?;
        (self.name, self.digest, self.missing, self.len) = (name, Sha256::new(), len, len);
        Ok(())
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.missing > 0 {
            return Err(io::Error::other(format!("{} became shorter while it was copied: try again", self.name)));
        }
        let padding = self.len.next_multiple_of(BLOCK) - self.len;
        io::copy(&mut io::repeat(0).take(padding), &mut self.to)?;
        self.sums.push_str(&sum(&self.digest, self.name));
        Ok(())
    }

    /// Adds the sums and ends the archive.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let sums = std::mem::take(&mut self.sums);
        self.add(SUMS, sums.as_bytes())?;
        io::copy(&mut io::repeat(0).take(2 * BLOCK), &mut self.to)?;
        self.to.flush()
    }
}

impl<W: Write> Write for Archive<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        self.missing = self.missing.saturating_sub(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A line of the sums.
fn sum(digest: &Sha256, name: &str) -> String {
    let hex: String = digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}  {name}\n")
}

/// Reads a whole archive: what it holds, after all of it was checked, decrypted and replayed. The public keys, of which there
/// may be many, go on to `keys_to`, as they come.
pub(super) fn read(
    mut from: impl Read,
    at: &Path,
    keys_to: impl Write,
) -> Result<(Parts, Option<Certificate>, Report), ServerError> {
    let mut beginning = Vec::new();
    let begun = from.by_ref().take(BLOCK).read_to_end(&mut beginning);
    begun.map_err(|error| ServerError::File("read", at.to_owned(), error))?;
    check_beginning(at, &beginning)?;
    let seen = Rc::new(Seen::default());
    let mut archive = tar::Archive::new(Source { from: beginning.chain(from), seen: Rc::clone(&seen) });
    let all = archive.entries().map_err(|_| bad(at, "its beginning is damaged"))?;
    // Raw: extensions of the format, which no backup has, are files of another name.
    let mut entries = Entries { entries: all.raw(true), at, seen, last: "", next: None, sums: String::new() };
    entries.advance()?;
    let key = entries.expect(KEY)?;
    let journal = entries.expect(JOURNAL)?;
    let snapshot = entries.expect(DATABASE)?;
    let certificate = if entries.is_next(certificate::CERTIFICATE) {
        Some((entries.expect(certificate::CERTIFICATE)?, entries.expect(certificate::KEY)?))
    } else {
        None
    };
    let parts = Parts::new(at, key, journal, snapshot);
    let mut keys = KeyCensus::default();
    if entries.is_next(PUBLIC_KEYS) {
        keys = entries.read(PUBLIC_KEYS, |record| Ok(parts.examine_keys(record, keys_to)?))?;
    }
    entries.check_sums()?;
    // Only now is it known that what does not open is not the archive's fault.
    let certificate = certificate.map(|(pem, key)| Certificate::of_archive(at, pem, key)).transpose()?;
    let report = Report { keys, ..parts.examine()? };
    Ok((parts, certificate, report))
}

fn bad(at: &Path, why: &str) -> ServerError {
    ServerError::Backup(at.to_owned(), format!("{why}; use another backup"))
}

/// Whether this may be the first block of a backup: what is none at all is told from one that is damaged.
fn check_beginning(at: &Path, block: &[u8]) -> Result<(), ServerError> {
    if WRAPPED.iter().any(|magic| block.starts_with(magic)) {
        return Err(ServerError::Backup(at.to_owned(), "it is compressed or encrypted: unpack it first".to_owned()));
    }
    if block.is_empty() {
        return Err(bad(at, "it is empty"));
    }
    if !block.starts_with(KEY.as_bytes()) {
        return Err(bad(at, &format!("it is no backup of chat-server: it does not begin with {KEY}")));
    }
    if block.len() as u64 == BLOCK { Ok(()) } else { Err(bad(at, "it is cut short at its beginning")) }
}

type Entry<'a, R> = tar::Entry<'a, R>;

/// What became of reading an archive, whatever the crate says of it: its errors quote the bytes that it found.
#[derive(Default)]
struct Seen {
    /// Whether there was nothing left where more was expected.
    end: Cell<bool>,
    /// What the system said.
    error: RefCell<Option<String>>,
}

/// What an archive is read from.
struct Source<R> {
    from: R,
    seen: Rc<Seen>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer);
        match &read {
            Ok(0) if !buffer.is_empty() => self.seen.end.set(true),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                _ = self.seen.error.borrow_mut().replace(error.to_string());
            }
            _ => {}
        }
        read
    }
}

/// The files of an archive, each in its turn.
struct Entries<'a, R: Read> {
    entries: tar::Entries<'a, R>,
    at: &'a Path,
    seen: Rc<Seen>,
    /// The file that was read last; none yet when it is empty.
    last: &'static str,
    next: Option<Entry<'a, R>>,
    /// Of what was read.
    sums: String,
}

impl<'a, R: Read> Entries<'a, R> {
    fn advance(&mut self) -> Result<(), ServerError> {
        match self.entries.next().transpose() {
            Ok(next) => self.next = next,
            Err(_) => return Err(self.broken_off().unwrap_or_else(|| self.damaged_header())),
        }
        Ok(())
    }

    /// Why there is no more, when the reason is not what was read.
    fn broken_off(&self) -> Option<ServerError> {
        if let Some(error) = &*self.seen.error.borrow() {
            return Some(bad(self.at, &format!("it cannot be read behind {}: {error}", self.last)));
        }
        self.seen.end.get().then(|| bad(self.at, &format!("it is cut short after {}", self.last)))
    }

    fn damaged_header(&self) -> ServerError {
        let place = if self.last.is_empty() { format!("in front of {KEY}") } else { format!("behind {}", self.last) };
        bad(self.at, &format!("the header {place} is damaged"))
    }

    /// Why the next file does not have this name.
    fn unexpected(&self, name: &str) -> ServerError {
        let last = self.last;
        let what = if self.next.is_some() { "comes something else than" } else { "it ends, without" };
        let none = || bad(self.at, &format!("it is no backup of chat-server: behind {last} {what} {name}"));
        self.broken_off().unwrap_or_else(none)
    }

    fn is_next(&self, name: &str) -> bool {
        self.next.as_ref().is_some_and(|entry| &*entry.path_bytes() == name.as_bytes())
    }

    fn expect(&mut self, name: &'static str) -> Result<Vec<u8>, ServerError> {
        let at = self.at;
        self.read(name, |entry| {
            let mut bytes = Vec::new();
            // The error is the system's: of the archive's own, there are none inside a file.
            entry.read_to_end(&mut bytes).map_err(|error| ServerError::File("read", at.join(name), error))?;
            Ok(bytes)
        })
    }

    /// Reads the next file, which must have this name, with `take`, and goes on to the one behind it.
    fn read<T>(
        &mut self,
        name: &'static str,
        take: impl FnOnce(&mut Summing<'_, Entry<'a, R>>) -> Result<T, ServerError>,
    ) -> Result<T, ServerError> {
        if !self.is_next(name) {
            return Err(self.unexpected(name));
        }
        let Some(mut entry) = self.next.take() else { return Err(self.unexpected(name)) };
        let len = entry.size();
        let mut summing = Summing { from: &mut entry, digest: Sha256::new(), len: 0 };
        let taken = take(&mut summing)?;
        if summing.len != len {
            return Err(bad(self.at, &format!("it is cut short in {name}")));
        }
        self.sums.push_str(&sum(&summing.digest, name));
        self.last = name;
        self.advance()?;
        Ok(taken)
    }

    /// Whether everything that was read is what was backed up, and nothing more is there.
    fn check_sums(&mut self) -> Result<(), ServerError> {
        let found = std::mem::take(&mut self.sums);
        let written = self.expect(SUMS)?;
        let written = String::from_utf8_lossy(&written);
        let differs = found.lines().zip(written.lines().chain(std::iter::repeat(""))).find(|(one, other)| one != other);
        match differs.and_then(|(found, _)| found.split_whitespace().nth(1)) {
            Some(name) => Err(bad(self.at, &format!("{name} is not what was backed up, by its SHA-256 sum"))),
            None if found != written => Err(bad(self.at, "a file is missing that was backed up")),
            None if self.next.is_some() => Err(bad(self.at, "it holds more than was backed up")),
            None => Ok(()),
        }
    }
}

/// What is read through it, summed up.
struct Summing<'a, R> {
    from: &'a mut R,
    digest: Sha256,
    len: u64,
}

impl<R: Read> Read for Summing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.digest.update(buffer.get(..read).unwrap_or_default());
        self.len += read as u64;
        Ok(read)
    }
}
