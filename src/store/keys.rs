//! The public keys that users announced, in a file of their own: inside the database, those of a million accounts would
//! make it five times as large.
//!
//! `public_keys.log` has a line for each announcement: user, PEM and HMAC-SHA256 over both, each in base64. Only where
//! lines begin is held in memory. It is a record of what was announced, and clients announce at each log-in: so nothing
//! waits for the disk, and a damaged line costs that line alone.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::StoreError;
use super::folder::{Folder, PUBLIC_KEYS, private};
use crate::crypto::FernetKey;
use crate::names::UserName;

/// Superseded lines that are left in a small file, in lines.
const SUPERSEDED: u64 = 10_000;

/// The record of announced public keys.
pub struct KeyFile {
    /// Locked for as long as something may be written.
    folder: Arc<Folder>,
    path: PathBuf,
    file: File,
    /// Where whole lines end.
    len: u64,
    /// Whether a failed write may have left something behind them.
    torn: bool,
    /// Whether another file may have the name by now: the record is opened anew before the next write.
    stale: bool,
    /// The last line of each user.
    places: HashMap<UserName, Place>,
    damaged_lines: u64,
    /// All whole lines, those that were superseded included.
    lines: u64,
    /// At how many lines it is worth reading all, to keep only those that count.
    compact_at: u64,
    mac: Hmac<Sha256>,
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    len: usize,
}

/// What one pass over the file finds.
#[derive(Default)]
struct Scan {
    places: HashMap<UserName, Place>,
    len: u64,
    lines: u64,
    damaged: u64,
}

impl KeyFile {
    /// Opens the record or begins one. Drops a last line that was cut short; when more than half of the lines are
    /// superseded, keeps only the others.
    pub(super) fn open(folder: &Arc<Folder>, key: &FernetKey) -> Result<Self, StoreError> {
        Self::load(folder, mac(key))
    }

    fn load(folder: &Arc<Folder>, mac: Hmac<Sha256>) -> Result<Self, StoreError> {
        let path = folder.path(PUBLIC_KEYS);
        let mut file = open(&path)?;
        let mut scan = Scan::of(&mut file).map_err(StoreError::io("read", &path))?;
        if scan.lines / 2 > scan.places.len() as u64 {
            // Where there is no room for it, the next start tries again. Which file has the name now, is for the system
            // to say, whatever failed.
            let _ = scan.compact(folder, &mut file);
            file = open(&path)?;
            scan = Scan::of(&mut file).map_err(StoreError::io("read", &path))?;
        }
        let Scan { places, len, lines, damaged: damaged_lines } = scan;
        // Whatever was cut short goes before the first write: reading does not need it gone.
        let torn = true;
        let compact_at = 2 * lines + SUPERSEDED;
        let stale = false;
        Ok(Self {
            folder: Arc::clone(folder),
            path,
            file,
            len,
            torn,
            stale,
            places,
            damaged_lines,
            lines,
            compact_at,
            mac,
        })
    }

    /// Begins an empty record, in place of what an earlier database left.
    pub(super) fn create(folder: &Arc<Folder>, key: &FernetKey) -> Result<Self, StoreError> {
        folder.replace(PUBLIC_KEYS, b"")?;
        Self::open(folder, key)
    }

    /// The key that the user announced last, as PEM.
    ///
    /// # Errors
    /// [`StoreError::KeyDamaged`] when the line does not authenticate, [`StoreError::Io`].
    pub fn get(&mut self, user: &UserName) -> Result<Option<String>, StoreError> {
        let Some(place) = self.places.get(user).copied() else { return Ok(None) };
        let mut line = vec![0; place.len];
        let found = self.file.seek(SeekFrom::Start(place.offset));
        found.and_then(|_| self.file.read_exact(&mut line)).map_err(StoreError::io("read", &self.path))?;
        let damaged = || StoreError::KeyDamaged { path: self.path.clone(), user: user.clone() };
        parse(&self.mac, &line).filter(|(name, _)| name == user).map(|(_, pem)| Some(pem)).ok_or_else(damaged)
    }

    /// Records a key; says whether it is another than the one that was recorded.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the key recorded before still counts then.
    pub fn put(&mut self, user: &UserName, pem: &str) -> Result<bool, StoreError> {
        // A damaged line is superseded like any other.
        if self.get(user).is_ok_and(|known| known.as_deref() == Some(pem)) {
            return Ok(false);
        }
        self.freshen()?;
        let line = self.line(user, pem);
        if self.torn {
            self.file.set_len(self.len).map_err(StoreError::io("shorten", &self.path))?;
        }
        self.torn = true;
        let there = self.file.seek(SeekFrom::Start(self.len));
        there.and_then(|_| self.file.write_all(&line)).map_err(StoreError::io("write", &self.path))?;
        self.torn = false;
        self.places.insert(user.clone(), Place { offset: self.len, len: line.len() });
        self.len += line.len() as u64;
        self.lines += 1;
        if self.lines > self.compact_at {
            self.compact_at = 2 * self.lines; // when it fails: not again at once
            self.stale = true;
            let _ = self.freshen(); // the key is kept; who writes next hears of a failure
        }
        Ok(true)
    }

    fn freshen(&mut self) -> Result<(), StoreError> {
        if self.stale {
            let compact_at = self.compact_at;
            *self = Self::load(&Arc::clone(&self.folder), self.mac.clone())?;
            self.compact_at = self.compact_at.max(compact_at);
        }
        Ok(())
    }

    /// Waits until all keys are on disk.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(StoreError::io("sync", &self.path))
    }

    /// How many lines were damaged beyond telling whose they were, and were passed over.
    pub fn damaged_lines(&self) -> u64 {
        self.damaged_lines
    }

    fn line(&self, user: &UserName, pem: &str) -> Vec<u8> {
        let signed = format!("{} {}", BASE64.encode(user.as_str()), BASE64.encode(pem));
        let mac = self.mac.clone().chain_update(&signed).finalize().into_bytes();
        format!("{signed} {}\n", BASE64.encode(mac)).into_bytes()
    }
}

/// What a record of public keys holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyCensus {
    /// Users with a key that can be read.
    pub users: usize,
    /// Lines, those that were superseded included.
    pub lines: u64,
    /// Lines that do not authenticate.
    pub damaged: u64,
    /// Bytes of a last line that was cut short.
    pub torn: u64,
}

impl KeyCensus {
    /// Reads a whole record and checks every line of it; `copy` gets all of it.
    ///
    /// # Errors
    /// Those of reading it and of writing the copy.
    pub(super) fn of(record: impl Read, key: &FernetKey, mut copy: impl Write) -> std::io::Result<Self> {
        let (mac, mut record) = (mac(key), BufReader::with_capacity(1 << 16, record));
        let (mut census, mut line) = (Self::default(), Vec::new());
        let mut users = HashSet::new();
        while record.read_until(b'\n', &mut line)? > 0 {
            copy.write_all(&line)?;
            match parse(&mac, &line) {
                _ if !line.ends_with(b"\n") => census.torn = line.len() as u64,
                Some((user, _)) => _ = users.insert(user),
                None => census.damaged += 1,
            }
            census.lines += u64::from(line.ends_with(b"\n"));
            line.clear();
        }
        Ok(Self { users: users.len(), ..census })
    }
}

/// The user and the key of a line that authenticates.
fn parse(keyed: &Hmac<Sha256>, line: &[u8]) -> Option<(UserName, String)> {
    let (signed, mac) = str::from_utf8(line).ok()?.trim_end().rsplit_once(' ')?;
    keyed.clone().chain_update(signed).verify_slice(&BASE64.decode(mac).ok()?).ok()?;
    let (name, pem) = signed.split_once(' ')?;
    Some((user_of(name.as_bytes())?, String::from_utf8(BASE64.decode(pem).ok()?).ok()?))
}

impl Scan {
    fn of(file: &mut File) -> std::io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let (mut scan, mut line) = (Self::default(), Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            scan.lines += 1;
            match line.split(|byte| *byte == b' ').next().and_then(user_of) {
                Some(user) => {
                    scan.places.insert(user, Place { offset: scan.len, len: line.len() });
                }
                None => scan.damaged += 1,
            }
            scan.len += line.len() as u64;
            line.clear();
        }
        Ok(scan)
    }

    /// Replaces the file by one of the lines that count, in their order.
    fn compact(&self, folder: &Folder, file: &mut File) -> Result<(), StoreError> {
        let path = folder.path(PUBLIC_KEYS);
        let mut staged = folder.stage_empty(PUBLIC_KEYS)?;
        let mut places: Vec<Place> = self.places.values().copied().collect();
        places.sort_unstable_by_key(|place| place.offset);
        copy(file, &places, staged.file()).map_err(StoreError::io("copy", &path))?;
        staged.sync()?;
        staged.rename(&path)?;
        folder.sync()
    }
}

/// Not for appending: on Windows, such a file cannot be shortened.
fn open(path: &Path) -> Result<File, StoreError> {
    let file = private().read(true).write(true).create(true).truncate(false).open(path);
    file.map_err(StoreError::io("open", path))
}

fn copy(from: &mut File, places: &[Place], to: &mut File) -> std::io::Result<()> {
    let mut from = BufReader::with_capacity(1 << 16, from);
    let mut to = BufWriter::with_capacity(1 << 16, to);
    let mut at = from.seek(SeekFrom::Start(0))?;
    for place in places {
        // Relative, so that what is buffered stays of use.
        from.seek_relative(place.offset.saturating_sub(at).try_into().unwrap_or(i64::MAX))?;
        at = place.offset + std::io::copy(&mut Read::by_ref(&mut from).take(place.len as u64), &mut to)?;
    }
    to.flush()
}

/// The user of a line, from its first field.
fn user_of(name: &[u8]) -> Option<UserName> {
    let name = String::from_utf8(BASE64.decode(name).ok()?).ok()?;
    // Exactly as it was written: a name from a Python database need not be in NFC.
    serde::Deserialize::deserialize(serde::de::value::StringDeserializer::<serde::de::value::Error>::new(name)).ok()
}

/// HMAC-SHA256 under a key of its own, derived from the database's.
fn mac(key: &FernetKey) -> Hmac<Sha256> {
    let derived = keyed(key.expose().trim_end_matches('=').as_bytes()).chain_update("secure-chat public_keys.log");
    keyed(&*Zeroizing::new(<[u8; 32]>::from(derived.finalize().into_bytes())))
}

/// HMAC-SHA256 under a key of at most 64 bytes, which RFC 2104 pads with zeros.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::new((&*block).into())
}
