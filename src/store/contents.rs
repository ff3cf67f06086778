//! What a database holds, and the JSON of both formats: ours and the Python server's.

use std::fmt;
use std::hash::Hash;
use std::io;
use std::marker::PhantomData;

use indexmap::IndexMap;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::mark::Mark;
use crate::chat::{Account, Entries, Room, Verifier};
use crate::crypto::password::PasswordHash;
use crate::names::{RoomName, UserName};

/// The format that is written. A Python server's database bears no number.
const FORMAT: u64 = 1;

/// A snapshot, read.
#[derive(Debug)]
pub(super) enum Snapshot {
    /// One of ours, and the last group that is folded into it.
    Ours(Entries, Mark),
    /// A Python server's, converted.
    Python(Entries),
}

/// Why a text that opened is no snapshot.
#[derive(Debug)]
pub(super) enum BadSnapshot {
    /// Of a later version's format.
    Newer(u64),
    /// Ours by its number, but not by its content.
    Damaged(String),
    /// Neither ours nor a Python server's.
    NotPython(String),
}

/// The snapshot's text, with the last group that is folded into it.
///
/// # Errors
/// Never, as far as serde_json can be trusted with maps whose keys are strings.
pub(super) fn to_json(entries: &Entries, journal: Mark) -> io::Result<Zeroizing<Vec<u8>>> {
    let form = Form { format: FORMAT, journal, users: &entries.users, rooms: &entries.rooms };
    // Measured first: a buffer that grows leaves unwiped copies behind.
    let mut measure = Measure(0);
    serde_json::to_writer(&mut measure, &form)?;
    let mut json = Zeroizing::new(Vec::with_capacity(measure.0));
    serde_json::to_writer(&mut *json, &form)?;
    Ok(json)
}

#[derive(Serialize)]
struct Form<'a> {
    format: u64,
    journal: Mark,
    users: &'a IndexMap<UserName, Account>,
    rooms: &'a IndexMap<RoomName, Room>,
}

struct Measure(usize);

impl io::Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the text of a snapshot.
pub(super) fn read(json: &[u8]) -> Result<Snapshot, BadSnapshot> {
    #[derive(Deserialize)]
    struct Probe {
        format: Option<u64>,
    }
    let probe: Probe = serde_json::from_slice(json).map_err(|e| BadSnapshot::NotPython(e.to_string()))?;
    match probe.format {
        Some(FORMAT) => read_ours(json).map_err(|e| BadSnapshot::Damaged(e.to_string())),
        Some(format) => Err(BadSnapshot::Newer(format)),
        None => read_python(json).map_err(|e| BadSnapshot::NotPython(e.to_string())),
    }
}

fn read_ours(json: &[u8]) -> serde_json::Result<Snapshot> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ours {
        #[serde(rename = "format")]
        _format: IgnoredAny,
        journal: Mark,
        #[serde(deserialize_with = "as_it_is")]
        users: IndexMap<UserName, Account>,
        #[serde(deserialize_with = "as_it_is")]
        rooms: IndexMap<RoomName, Room>,
    }
    let Ours { journal, users, rooms, .. } = serde_json::from_slice(json)?;
    Ok(Snapshot::Ours(Entries { users, rooms }, journal))
}

fn read_python(json: &[u8]) -> serde_json::Result<Snapshot> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Python {
        #[serde(deserialize_with = "converted_users")]
        users: IndexMap<UserName, Account>,
        #[serde(deserialize_with = "converted_rooms")]
        rooms: IndexMap<RoomName, Room>,
    }
    let Python { users, rooms } = serde_json::from_slice(json)?;
    Ok(Snapshot::Python(Entries { users, rooms }))
}

/// A user as the Python server keeps it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PythonUser {
    salt: String,
    pass_hash: String,
}

/// A room as the Python server keeps it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PythonRoom {
    password: String,
}

fn converted_users<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<UserName, Account>, D::Error> {
    let convert = |PythonUser { salt, pass_hash: hash }| {
        let is_hex = hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| Account { password: verifier(&PasswordHash::LegacySha256 { salt, hash }) })
    };
    from.deserialize_map(Unique { what: "user", convert, marker: PhantomData })
}

fn converted_rooms<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<RoomName, Room>, D::Error> {
    let convert = |PythonRoom { password }| {
        let password = PasswordHash::LegacyPlain(password);
        Some(Room { password: verifier(&password) })
    };
    from.deserialize_map(Unique { what: "room", convert, marker: PhantomData })
}

fn as_it_is<'de, D, K, V>(from: D) -> Result<IndexMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: DeserializeOwned + Hash + Eq + fmt::Display,
    V: DeserializeOwned,
{
    from.deserialize_map(Unique { what: "entry", convert: Some, marker: PhantomData })
}

fn verifier(hash: &PasswordHash) -> Verifier {
    Verifier::new(hash.to_string())
}

/// Reads a map in its order, refuses a name that occurs twice, and names the entry that has another form than `R`.
struct Unique<K, R, F> {
    what: &'static str,
    convert: F,
    marker: PhantomData<(K, R)>,
}

impl<'de, K, R, V, F> Visitor<'de> for Unique<K, R, F>
where
    K: Deserialize<'de> + Hash + Eq + fmt::Display,
    R: Deserialize<'de>,
    F: FnMut(R) -> Option<V>,
{
    type Value = IndexMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map from names to what each {} is", self.what)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = IndexMap::new();
        while let Some(name) = map.next_key::<K>()? {
            // The reason stays out of the message: serde quotes values, and the values here are secrets.
            let value = map.next_value::<R>().ok().and_then(&mut self.convert);
            let Some(value) = value else {
                return Err(A::Error::custom(format_args!("{} {name} has an unexpected form", self.what)));
            };
            if entries.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{} {name} occurs twice", self.what)));
            }
            entries.insert(name, value);
        }
        Ok(entries)
    }
}
