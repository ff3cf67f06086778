//! What a database holds, and its JSON; [`earlier`] has that of earlier versions and of the Python server.

mod earlier;

use std::fmt;
use std::hash::Hash;
use std::io;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use indexmap::IndexMap;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::mark::Mark;
use crate::chat::{Account, Change, Entries, Room};
use crate::crypto::SigningKey;
use crate::names::{RoomName, UserName};

/// The format that is written. A Python server's database bears no number.
const FORMAT: u64 = 2;

/// All that is stored.
pub(super) struct Contents {
    pub(super) entries: Entries,
    /// The realm's key: drawn once in the life of a database.
    pub(super) realm_key: SigningKey,
}

/// A snapshot, read.
pub(super) struct Snapshot {
    pub(super) contents: Contents,
    /// The last group that is folded into it.
    pub(super) last: Mark,
    pub(super) writer: Writer,
}

/// Who wrote a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// This version.
    Ours,
    /// One that knew no realm, and no ids of rooms: they were drawn as it was read.
    Earlier,
    /// A Python server. The mark was drawn, too.
    Python,
}

/// A change, read from a journal.
pub(super) struct Recorded {
    pub(super) change: Change,
    /// Whether a part of it was drawn as it was read: an earlier version wrote it.
    pub(super) drawn: bool,
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
pub(super) fn to_json(contents: &Contents, journal: Mark) -> io::Result<Zeroizing<Vec<u8>>> {
    let Contents { entries: Entries { users, rooms }, realm_key } = contents;
    let form = Form { format: FORMAT, realm_key, journal, users, rooms };
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
    #[serde(serialize_with = "write_key")]
    realm_key: &'a SigningKey,
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
        Some(earlier::FORMAT) => earlier::read(json).map_err(|e| BadSnapshot::Damaged(e.to_string())),
        Some(format) => Err(BadSnapshot::Newer(format)),
        None => earlier::read_python(json).map_err(|e| BadSnapshot::NotPython(e.to_string())),
    }
}

fn read_ours(json: &[u8]) -> serde_json::Result<Snapshot> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ours {
        #[serde(rename = "format")]
        _format: IgnoredAny,
        #[serde(deserialize_with = "read_key")]
        realm_key: SigningKey,
        journal: Mark,
        #[serde(deserialize_with = "as_it_is")]
        users: IndexMap<UserName, Account>,
        #[serde(deserialize_with = "as_it_is")]
        rooms: IndexMap<RoomName, Room>,
    }
    let Ours { realm_key, journal, users, rooms, .. } = serde_json::from_slice(json)?;
    let contents = Contents { entries: Entries { users, rooms }, realm_key };
    Ok(Snapshot { contents, last: journal, writer: Writer::Ours })
}

/// Reads the text of one change.
pub(super) fn read_change(json: &[u8]) -> Option<Recorded> {
    match serde_json::from_slice(json) {
        Ok(change) => Some(Recorded { change, drawn: false }),
        Err(_) => earlier::read_change(json).map(|change| Recorded { change, drawn: true }),
    }
}

fn write_key<S: Serializer>(key: &&SigningKey, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&Zeroizing::new(BASE64.encode(key.expose_seed())))
}

fn read_key<'de, D: Deserializer<'de>>(from: D) -> Result<SigningKey, D::Error> {
    // Borrowed, so that no copy is left behind; and without a reason, which could quote it.
    let text = <&str>::deserialize(from).ok();
    let seed = text.and_then(|text| BASE64.decode(text).ok()).map(Zeroizing::new);
    let seed = seed.as_deref().and_then(|seed| seed.as_array());
    seed.map(SigningKey::from_seed).ok_or_else(|| D::Error::custom("the realm's key has an unexpected form"))
}

fn as_it_is<'de, D, K, V>(from: D) -> Result<IndexMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: DeserializeOwned + Hash + Eq + fmt::Display,
    V: DeserializeOwned,
{
    from.deserialize_map(Unique { what: "entry", convert: Some, marker: PhantomData })
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
