//! The chat package: one encrypted message and the wrapped keys of those who may read it.

use std::fmt;

use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::names::{RoomName, UserName};
use crate::protocol::text::{depth, is_plain, write_text};

/// Deepest nesting of JSON that is looked at. Checked before serde_json sees the bytes: its own limit would
/// overflow a connection thread's small stack in a debug build.
pub const MAX_JSON_DEPTH: usize = 16;

/// Most entries of `encrypted_keys`: more than fit a message of the largest size with real keys in them.
pub const MAX_ENTRIES: usize = 4096;

/// Why bytes are no package, in the order of the Python server's checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageError {
    /// Not a JSON object, too deep, a key twice, or more than [`MAX_ENTRIES`] entries.
    NotJson,
    /// No `room`, or an empty one.
    MissingRoom,
    /// `room` is there but `encrypted_message` or `encrypted_keys` is missing or of the wrong type. A Python
    /// receiver would break on it, so it is not passed on. Holds the room, which is checked first.
    Incomplete(RoomName),
}

/// One chat message as it travels: a Fernet token, the message's key wrapped for each reader, the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The Fernet token.
    pub encrypted_message: String,
    /// User name to base64 of the wrapped key, in the sender's order.
    pub encrypted_keys: IndexMap<String, String>,
    /// The room it is for.
    pub room: RoomName,
    /// The JSON up to the first entry of `encrypted_keys`, and what follows the last: rendered once for all receivers.
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Package {
    /// Puts a package together.
    pub fn new(encrypted_message: String, encrypted_keys: IndexMap<String, String>, room: RoomName) -> Self {
        let mut head = b"{\"encrypted_message\":".to_vec();
        write_text(&mut head, &encrypted_message);
        head.extend_from_slice(b",\"encrypted_keys\":{");
        let mut tail = b"},\"room\":".to_vec();
        write_text(&mut tail, room.as_str());
        tail.push(b'}');
        Self { encrypted_message, encrypted_keys, room, head, tail }
    }

    /// Reads a package.
    ///
    /// # Errors
    /// [`PackageError`], in the order in which the Python server checks.
    pub fn from_json(text: &str) -> Result<Self, PackageError> {
        // A derived reader takes an array for a struct: only an object is a package.
        if !text.trim_start().starts_with('{') || depth(text.as_bytes()) > MAX_JSON_DEPTH {
            return Err(PackageError::NotJson);
        }
        let raw: Raw = serde_json::from_str(text).map_err(|_| PackageError::NotJson)?;
        let room = match raw.room {
            None | Some(Field::Null) => return Err(PackageError::MissingRoom),
            Some(Field::Text(room)) if room.is_empty() => return Err(PackageError::MissingRoom),
            Some(Field::Text(room)) => RoomName::new(&room),
            // Something that no room is called: the mismatch that the Python server reports.
            Some(_) => return Err(PackageError::Incomplete(RoomName::new(""))),
        };
        match (raw.encrypted_message, raw.encrypted_keys) {
            (Some(Field::Text(token)), Some(Field::Map(keys))) => Ok(Self::new(token, keys, room)),
            _ => Err(PackageError::Incomplete(room)),
        }
    }

    /// The package as JSON with every entry.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = self.head.clone();
        for (i, (user, key)) in self.encrypted_keys.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            push_entry(&mut out, user, key);
        }
        out.extend_from_slice(&self.tail);
        out
    }

    /// Writes the package with `reader`'s entry alone, or with none when the sender gave none.
    pub fn render_for(&self, reader: &UserName, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        if let Some(key) = self.encrypted_keys.get(reader.as_str()) {
            push_entry(out, reader.as_str(), key);
        }
        out.extend_from_slice(&self.tail);
    }

    /// Writes the package without any entry.
    pub fn render_without_keys(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.tail);
    }

    /// An upper bound of [`Package::len_for`] over all readers, cheap to find.
    pub fn longest(&self) -> usize {
        // JSON escapes make up to six bytes of one.
        let entries = self.encrypted_keys.iter().map(|(user, key)| 6 * user.len() + key.len() + 5);
        let plain = self.encrypted_keys.values().all(|key| is_plain(key));
        let entry = entries.max().unwrap_or(0);
        if plain { self.head.len() + entry + self.tail.len() } else { usize::MAX }
    }

    /// Bytes of the package with `reader`'s entry alone.
    pub fn len_for(&self, reader: &UserName) -> usize {
        let mut entry = Vec::new();
        if let Some(key) = self.encrypted_keys.get(reader.as_str()) {
            push_entry(&mut entry, reader.as_str(), key);
        }
        self.head.len() + entry.len() + self.tail.len()
    }
}

/// Bytes that the entry of `user` takes in a package, with the comma before it: what a sender adds up to fill a package.
pub fn entry_len(user: &UserName, key: &str) -> usize {
    let mut entry = vec![b','];
    push_entry(&mut entry, user.as_str(), key);
    entry.len()
}

fn push_entry(out: &mut Vec<u8>, user: &str, key: &str) {
    write_text(out, user);
    out.push(b':');
    write_text(out, key);
}

/// A package of any shape, so that the checks can come in their order.
#[derive(serde::Deserialize)]
struct Raw {
    #[serde(default)]
    encrypted_message: Option<Field>,
    #[serde(default)]
    encrypted_keys: Option<Field>,
    #[serde(default)]
    room: Option<Field>,
}

enum Field {
    Null,
    Text(String),
    Map(IndexMap<String, String>),
    Other,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Field, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Field, A::Error> {
        while items.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    /// A map that takes the last of two equal keys would let two readers see two packages: refused.
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Field, A::Error> {
        let mut map = IndexMap::new();
        let mut all_text = true;
        while let Some(key) = entries.next_key::<String>()? {
            let value = match entries.next_value::<Field>()? {
                Field::Text(text) => text,
                _ => {
                    all_text = false;
                    String::new()
                }
            };
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key twice"));
            }
            if map.len() > MAX_ENTRIES {
                return Err(A::Error::custom("too many entries"));
            }
        }
        Ok(if all_text { Field::Map(map) } else { Field::Other })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"encrypted_message": "tok", "encrypted_keys": {"bob": "Qg==", "al\"ice": "QQ=="}, "room": "r", "extra": [1]}"#;

    #[test]
    fn a_package_survives_its_json() {
        let package = Package::from_json(GOOD).unwrap();
        assert_eq!(package.encrypted_keys.len(), 2);
        let again = Package::from_json(std::str::from_utf8(&package.to_json()).unwrap()).unwrap();
        assert_eq!(again, package);
    }

    #[test]
    fn each_reader_gets_its_own_entry_alone() {
        let package = Package::from_json(GOOD).unwrap();
        for (reader, keys) in [("bob", r#"{"bob":"Qg=="}"#), ("al\"ice", r#"{"al\"ice":"QQ=="}"#), ("eve", "{}")] {
            let reader = UserName::new(reader);
            let mut out = Vec::new();
            package.render_for(&reader, &mut out);
            assert_eq!(
                String::from_utf8(out.clone()).unwrap(),
                format!(r#"{{"encrypted_message":"tok","encrypted_keys":{keys},"room":"r"}}"#)
            );
            assert_eq!(out.len(), package.len_for(&reader));
        }
    }

    #[test]
    fn what_is_wrong_is_found_in_the_order_of_the_python_server() {
        let error = |json: &str| Package::from_json(json).unwrap_err();
        let crowd: Vec<String> = (0..=MAX_ENTRIES).map(|i| format!(r#""{i}":"""#)).collect();
        let crowded = format!(r#"{{"encrypted_message":"t","encrypted_keys":{{{}}},"room":"r"}}"#, crowd.join(","));
        let array = r#"["t",{"bob":"QQ=="},"r"]"#;
        for broken in [&crowded, array, "", "hello", "[1]", "5", "{", &"[".repeat(100_000)] {
            assert_eq!(Package::from_json(broken), Err(PackageError::NotJson), "{broken:.40}");
        }
        assert_eq!(error("nonsense"), PackageError::NotJson);
        assert_eq!(error("{}"), PackageError::MissingRoom);
        assert_eq!(error(r#"{"room": ""}"#), PackageError::MissingRoom);
        assert_eq!(error(r#"{"room": null}"#), PackageError::MissingRoom);
        assert_eq!(error(r#"{"room": "r"}"#), PackageError::Incomplete(RoomName::new("r")));
        assert_eq!(error(r#"{"room": 5}"#), PackageError::Incomplete(RoomName::new("")));
        let twice = r#"{"encrypted_message":"t","encrypted_keys":{"bob":"x","bob":"y"},"room":"r"}"#;
        assert_eq!(error(twice), PackageError::NotJson);
        let number = r#"{"encrypted_message":"t","encrypted_keys":{"bob":5},"room":"r"}"#;
        assert_eq!(error(number), PackageError::Incomplete(RoomName::new("r")));
    }
}
