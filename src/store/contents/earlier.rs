//! What earlier versions wrote, and what the Python server writes: read, and made what it would be today.

use std::marker::PhantomData;

use indexmap::IndexMap;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::{Contents, Snapshot, Unique, Writer};
use crate::chat::{Account, Change, Entries, Room, Verifier};
use crate::crypto::SigningKey;
use crate::crypto::password::PasswordHash;
use crate::names::{RoomName, UserName};
use crate::store::mark::Mark;
use crate::transcript::RoomId;

/// The format before a server had a realm and a room an id.
pub(super) const FORMAT: u64 = 1;

/// Reads a snapshot of that format.
pub(super) fn read(json: &[u8]) -> serde_json::Result<Snapshot> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Earlier {
        #[serde(rename = "format")]
        _format: IgnoredAny,
        journal: Mark,
        #[serde(deserialize_with = "users")]
        users: IndexMap<UserName, Account>,
        #[serde(deserialize_with = "rooms")]
        rooms: IndexMap<RoomName, Room>,
    }
    let Earlier { journal, users, rooms, .. } = serde_json::from_slice(json)?;
    Ok(Snapshot { contents: with_realm(users, rooms), last: journal, writer: Writer::Earlier })
}

/// Reads a Python server's database.
pub(super) fn read_python(json: &[u8]) -> serde_json::Result<Snapshot> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Python {
        #[serde(deserialize_with = "python_users")]
        users: IndexMap<UserName, Account>,
        #[serde(deserialize_with = "python_rooms")]
        rooms: IndexMap<RoomName, Room>,
    }
    let Python { users, rooms } = serde_json::from_slice(json)?;
    Ok(Snapshot { contents: with_realm(users, rooms), last: Mark::start(), writer: Writer::Python })
}

/// Reads a change that was written differently: the making of a room, which had no id.
pub(super) fn read_change(json: &[u8]) -> Option<Change> {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case", tag = "change", deny_unknown_fields)]
    enum Earlier {
        AddRoom { room: RoomName, password: Verifier },
    }
    let Earlier::AddRoom { room, password } = serde_json::from_slice(json).ok()?;
    Some(Change::AddRoom { room, password, id: draw_id(), owner: None, modern_only: false })
}

fn with_realm(users: IndexMap<UserName, Account>, rooms: IndexMap<RoomName, Room>) -> Contents {
    Contents { entries: Entries { users, rooms }, realm_key: SigningKey::generate() }
}

fn draw_id() -> RoomId {
    RoomId(rand::random())
}

/// All that a user or a room was.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    password: Verifier,
}

fn users<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<UserName, Account>, D::Error> {
    let convert = |Entry { password }| Some(Account::new(password));
    from.deserialize_map(Unique { what: "user", convert, marker: PhantomData })
}

fn rooms<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<RoomName, Room>, D::Error> {
    let convert = |Entry { password }| Some(Room::new(password, draw_id(), None));
    from.deserialize_map(Unique { what: "room", convert, marker: PhantomData })
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

fn python_users<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<UserName, Account>, D::Error> {
    let convert = |PythonUser { salt, pass_hash: hash }| {
        let is_hex = hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| Account::new(verifier(&PasswordHash::LegacySha256 { salt, hash })))
    };
    from.deserialize_map(Unique { what: "user", convert, marker: PhantomData })
}

fn python_rooms<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<RoomName, Room>, D::Error> {
    let convert =
        |PythonRoom { password }| Some(Room::new(verifier(&PasswordHash::LegacyPlain(password)), draw_id(), None));
    from.deserialize_map(Unique { what: "room", convert, marker: PhantomData })
}

fn verifier(hash: &PasswordHash) -> Verifier {
    Verifier::new(hash.to_string())
}
