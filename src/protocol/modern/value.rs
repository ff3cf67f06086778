//! What a field holds, and the values that only this wire has.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::json::{Object, Value, json_len, write_number, write_text};
use super::record::Record;
use super::{MAX_ITEMS, MAX_NAME};
use crate::names::{Password, RoomName, Text, UserName};
use crate::transcript::{
    BundleHash, ChangeHash, ChangesHash, Commitment, Ed25519Key, GrantCheck, Kind, LogHash, Realm, RoomId, RosterHash,
    RunId, Signature, Verb,
};

/// A value of a field.
pub(super) trait Json: Sized {
    /// Reads it; `None` when it is of another type or malformed.
    fn read(value: Value<'_>) -> Option<Self>;

    /// Writes it.
    fn write(&self, out: &mut Vec<u8>);
}

/// Largest number on the wire, 2⁵³ − 1: beyond it, not every implementation of JSON counts in ones (RFC 8259, section 6).
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Most bytes in an RSA key's SubjectPublicKeyInfo and in its signature, well over those of 4096 bits.
const MAX_BYTES: usize = 1024;

/// Most base64 characters of a wrapped key: RSA with 4096 bits.
const MAX_WRAP: usize = 684;

impl Json for u64 {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Number(number @ 0..=MAX_NUMBER) => Some(number),
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_number(out, *self);
    }
}

impl Json for bool {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

/// Types that are a text on the wire: how it is read, and how it is had.
macro_rules! texts {
    ($($type:ty: $read:expr, $text:expr;)+) => {
        $(impl Json for $type {
            fn read(value: Value<'_>) -> Option<Self> {
                match value {
                    Value::Text(text) => $read(text),
                    _ => None,
                }
            }

            fn write(&self, out: &mut Vec<u8>) {
                let text: fn(&Self) -> &str = $text;
                write_text(out, text(self));
            }
        })+
    };
}

type Raw<'a> = std::borrow::Cow<'a, str>;

texts! {
    String: |text: Raw<'_>| Some(text.into_owned()), |text| text;
    UserName: |text: Raw<'_>| name_fits(&text).then(|| Self::new(&text)), Self::as_str;
    RoomName: |text: Raw<'_>| name_fits(&text).then(|| Self::new(&text)), Self::as_str;
    Password: |text: Raw<'_>| Some(Self::new(text.into_owned())), Self::expose;
    Text: |text: Raw<'_>| Some(Self::sanitize(&text)), Self::as_str;
    SignedText: |text: Raw<'_>| name_fits(&text).then(|| Self::new(&text)), Self::as_str;
    Wrap: |text: Raw<'_>| Self::new(text.into_owned()), Self::as_str;
    Verb: |text: Raw<'_>| text.parse().ok(), |verb| verb.as_str();
    Kind: |text: Raw<'_>| (text == Self::Text.as_str()).then_some(Self::Text), |kind| kind.as_str();
}

/// Whether a name can travel: its form in JSON takes at most [`MAX_NAME`] bytes, so that every line with names in it
/// stays within the limit. Names that are registered are far shorter; those of a Python server may be of any length.
pub fn name_fits(name: &str) -> bool {
    name.len() <= MAX_NAME && json_len(name) <= MAX_NAME
}

/// Does the same for each type of a fixed length, which are base64 on the wire.
macro_rules! for_hashes {
    ($do:ident) => {
        $do!(
            BundleHash,
            ChangeHash,
            ChangesHash,
            Commitment,
            Ed25519Key,
            GrantCheck,
            LogHash,
            Realm,
            RoomId,
            RosterHash,
            RunId,
            Signature
        );
    };
}
#[cfg(test)]
pub(super) use for_hashes;

macro_rules! hashes {
    ($($type:ident),+) => {
        $(impl Json for $type {
            fn read(value: Value<'_>) -> Option<Self> {
                match value {
                    Value::Text(text) => Self::from_base64(&text).ok(),
                    _ => None,
                }
            }

            fn write(&self, out: &mut Vec<u8>) {
                write_base64(out, &self.0);
            }
        })+
    };
}

for_hashes!(hashes);

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let encoded = out.get_mut(start..).and_then(|free| STANDARD.encode_slice(bytes, free).ok());
    debug_assert_eq!(encoded, Some(out.len() - start));
    out.push(b'"');
}

/// An RSA key (SubjectPublicKeyInfo, DER) or a signature by one.
impl Json for Arc<[u8]> {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) if text.len() <= MAX_BYTES.div_ceil(3) * 4 => {
                STANDARD.decode(&*text).ok().map(Into::into)
            }
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_base64(out, self);
    }
}

impl<T: Json> Json for Vec<T> {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Array(items) if items.len() <= MAX_ITEMS => items.into_iter().map(T::read).collect(),
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (i, item) in self.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            item.write(out);
        }
        out.push(b']');
    }
}

/// What can be the key of a map.
pub(super) trait MapKey: Hash + Eq + Sized {
    fn from_key(key: Raw<'_>) -> Option<Self>;
    fn with_key<R>(&self, then: impl FnOnce(&str) -> R) -> R;
}

impl MapKey for UserName {
    fn from_key(key: Raw<'_>) -> Option<Self> {
        Self::read(Value::Text(key))
    }

    fn with_key<R>(&self, then: impl FnOnce(&str) -> R) -> R {
        then(self.as_str())
    }
}

impl MapKey for BundleHash {
    fn from_key(key: Raw<'_>) -> Option<Self> {
        Self::read(Value::Text(key))
    }

    fn with_key<R>(&self, then: impl FnOnce(&str) -> R) -> R {
        then(&self.to_base64())
    }
}

impl<K: MapKey, V: Json> Json for IndexMap<K, V> {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Object(entries) if entries.0.len() <= MAX_ITEMS => {
                entries.0.into_iter().map(|(key, value)| K::from_key(key).zip(V::read(value))).collect()
            }
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        for (key, value) in self {
            key.with_key(|key| object.entry(key, value));
        }
        object.end();
    }
}

/// Reads a record that is an object of its own.
pub(super) fn read_record<T: Record>(value: Value<'_>) -> Option<T> {
    match value {
        Value::Object(mut fields) => T::take(&mut fields).ok(),
        _ => None,
    }
}

/// Writes a record as an object of its own.
pub(super) fn write_record<T: Record>(record: &T, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    record.put(&mut object);
    object.end();
}

/// Records that are values of fields, too.
macro_rules! objects {
    ($($type:ty),+) => {
        $(impl $crate::protocol::modern::value::Json for $type {
            fn read(value: $crate::protocol::modern::json::Value<'_>) -> Option<Self> {
                $crate::protocol::modern::value::read_record(value)
            }

            fn write(&self, out: &mut Vec<u8>) {
                $crate::protocol::modern::value::write_record(self, out);
            }
        })+
    };
}

/// Enums of words that are values of fields, too.
macro_rules! word_values {
    ($($type:ty),+) => {
        $(impl $crate::protocol::modern::value::Json for $type {
            fn read(value: $crate::protocol::modern::json::Value<'_>) -> Option<Self> {
                match value {
                    $crate::protocol::modern::json::Value::Text(word) => Self::from_word(&word),
                    _ => None,
                }
            }

            fn write(&self, out: &mut Vec<u8>) {
                $crate::protocol::modern::json::write_text(out, self.as_str());
            }
        })+
    };
}

pub(super) use {objects, word_values};

/// A key that is wrapped for one reader: canonical base64 of 1 to 512 bytes, the length of an RSA modulus.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wrap(String);

impl Wrap {
    /// Takes a wrapped key; `None` for what is not canonical base64 or too long.
    pub fn new(base64: String) -> Option<Self> {
        let fits = (1..=MAX_WRAP).contains(&base64.len());
        (fits && STANDARD.decode(&base64).is_ok()).then_some(Self(base64))
    }

    /// The base64.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The base64.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Text that is signed or hashed just as it is, so it is kept that way. Prints sanitized.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct SignedText(Arc<str>);

impl SignedText {
    /// The text as it came.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text as it came: for hashes, wires and look-ups, never for a terminal.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as it can be shown.
    pub fn to_text(&self) -> Text {
        Text::sanitize(&self.0)
    }
}

impl fmt::Display for SignedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_text().as_str())
    }
}

impl fmt::Debug for SignedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_text().as_str())
    }
}

/// What a session is resumed with: 32 random bytes. Wiped when dropped, never printed, compared in constant time.
#[derive(Clone)]
pub struct SessionToken(Zeroizing<[u8; 32]>);

impl SessionToken {
    /// Takes the bytes over.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, of which the server keeps the SHA-256 alone.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SessionToken {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for SessionToken {}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

impl Json for SessionToken {
    fn read(value: Value<'_>) -> Option<Self> {
        let Value::Text(text) = value else { return None };
        if text.len() != 44 {
            return None; // before it is decoded
        }
        let mut bytes = Zeroizing::new([0; 33]); // what 44 characters may hold at most
        let length = STANDARD.decode_slice(&*text, &mut *bytes).ok()?;
        bytes.get(..length)?.try_into().ok().map(Self::new)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_base64(out, self.expose());
    }
}
