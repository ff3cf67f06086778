//! A backup: a tar archive of the files of a data folder, in a fixed order, and last their SHA-256 sums in the form of `sha256sum`.
//!
//! The sums are there to notice damage. They prove nothing about who made the archive, and need not: it holds the key of
//! everything in it.

use std::io::{self, Read, Write};
use std::path::Path;

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
    from: impl Read,
    at: &Path,
    keys_to: impl Write,
) -> Result<(Parts, Option<Certificate>, Report), ServerError> {
    let unreadable = |error: io::Error| bad(at, &error.to_string());
    let mut archive = tar::Archive::new(from);
    let mut entries = Entries { entries: archive.entries().map_err(unreadable)?, at, next: None, sums: String::new() };
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
    ServerError::Backup(at.to_owned(), why.to_owned())
}

type Entry<'a, R> = tar::Entry<'a, R>;

/// The files of an archive, each in its turn.
struct Entries<'a, R: Read> {
    entries: tar::Entries<'a, R>,
    at: &'a Path,
    next: Option<Entry<'a, R>>,
    /// Of what was read.
    sums: String,
}

impl<'a, R: Read> Entries<'a, R> {
    fn advance(&mut self) -> Result<(), ServerError> {
        self.next = self.entries.next().transpose().map_err(|error| bad(self.at, &error.to_string()))?;
        Ok(())
    }

    fn is_next(&self, name: &str) -> bool {
        self.next.as_ref().is_some_and(|entry| &*entry.path_bytes() == name.as_bytes())
    }

    fn expect(&mut self, name: &str) -> Result<Vec<u8>, ServerError> {
        let at = self.at;
        self.read(name, |entry| {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|error| bad(at, &format!("{name}: {error}")))?;
            Ok(bytes)
        })
    }

    /// Reads the next file, which must have this name, with `take`, and goes on to the one behind it.
    fn read<T>(
        &mut self,
        name: &str,
        take: impl FnOnce(&mut Summing<'_, Entry<'a, R>>) -> Result<T, ServerError>,
    ) -> Result<T, ServerError> {
        if !self.is_next(name) {
            return Err(bad(
                self.at,
                &format!("it is no backup of chat-server, or cut short: where {name} should begin, it does not"),
            ));
        }
        let Some(mut entry) = self.next.take() else { return Err(bad(self.at, "it is cut short")) };
        let len = entry.size();
        let mut summing = Summing { from: &mut entry, digest: Sha256::new(), len: 0 };
        let taken = take(&mut summing)?;
        if summing.len != len {
            return Err(bad(self.at, &format!("it is cut short in {name}")));
        }
        self.sums.push_str(&sum(&summing.digest, name));
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
