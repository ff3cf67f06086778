//! JSON as the modern wire has it: one object a line, no key twice at any depth, and only whole numbers that every
//! implementation of JSON can hold.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::value::Json;
use crate::protocol::package::MAX_JSON_DEPTH;
pub(super) use crate::protocol::text::write_text;
use crate::protocol::text::{depth, is_plain};

/// As many fields as most lines have at most.
const USUAL_FIELDS: usize = 16;

/// A field that is missing, of the wrong type or malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Any JSON value; its texts are borrowed from the line where they hold no escapes.
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(u64),
    /// A number that no field takes: negative, with a fraction, or too large.
    OtherNumber,
    Text(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Fields<'a>),
}

/// The fields of an object, in the order in which they came.
pub(super) struct Fields<'a>(pub(super) Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Fields<'a> {
    /// Reads a line; `None` when it is no JSON object, is nested too deeply, or has a key twice.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        if depth(line) > MAX_JSON_DEPTH {
            return None;
        }
        match serde_json::from_slice(line) {
            Ok(Value::Object(fields)) => Some(fields),
            _ => None,
        }
    }

    fn find(&mut self, name: &str) -> Option<&mut Value<'a>> {
        let found = self.0.iter_mut().find(|(key, _)| key == name);
        found.map(|(_, value)| value).filter(|value| !matches!(value, Value::Null))
    }

    /// Whether the field is there. One that is `null` is not.
    pub(super) fn has(&mut self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Takes a field that may be absent.
    pub(super) fn optional<T: Json>(&mut self, name: &'static str) -> Result<Option<T>, Malformed> {
        let Some(value) = self.find(name) else { return Ok(None) };
        T::read(std::mem::replace(value, Value::Null)).map(Some).ok_or(Malformed(name))
    }

    /// Takes a field that has to be there.
    pub(super) fn required<T: Json>(&mut self, name: &'static str) -> Result<T, Malformed> {
        self.optional(name)?.ok_or(Malformed(name))
    }

    /// Takes a field that has to be there and is one of the wire's words.
    pub(super) fn word(&mut self, name: &'static str) -> Result<Cow<'a, str>, Malformed> {
        match self.find(name).map(|value| std::mem::replace(value, Value::Null)) {
            Some(Value::Text(word)) => Ok(word),
            _ => Err(Malformed(name)),
        }
    }

    /// Whether a key is there twice; in an object of any size in no more time than sorting takes.
    fn repeats(&self) -> bool {
        if self.0.len() <= USUAL_FIELDS {
            let is_later = |i: usize, key: &str| self.0.iter().skip(i + 1).any(|(later, _)| later == key);
            return self.0.iter().enumerate().any(|(i, (key, _))| is_later(i, key));
        }
        let mut keys: Vec<&str> = self.0.iter().map(|(key, _)| &**key).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| matches!(pair, [one, next] if one == next))
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::OtherNumber)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::OtherNumber)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value<'de>, A::Error> {
        let mut fields = Fields(Vec::with_capacity(USUAL_FIELDS / 2));
        while let Some(entry) = entries.next_entry::<Key<'de>, Value<'de>>()? {
            fields.0.push((entry.0.0, entry.1));
        }
        // Where two readers took different ones of two equal keys, one line would say two things.
        if fields.repeats() { Err(A::Error::custom("a key twice")) } else { Ok(Value::Object(fields)) }
    }
}

/// A key, borrowed where it can be: serde's own reader of `Cow` never borrows.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match from.deserialize_str(ValueVisitor)? {
            Value::Text(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("a key that is no text")),
        }
    }
}

/// An object that is being written.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Begins an object at the end of `out`.
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Goes on with an object that has fields and has not ended.
    pub(super) fn resume(out: &'a mut Vec<u8>) -> Self {
        Self { out, empty: false }
    }

    /// Writes a field whose name is one of the wire's words.
    pub(super) fn field<T: Json>(&mut self, name: &'static str, value: &T) {
        self.name(|out| write_word(out, name));
        value.write(self.out);
    }

    /// Writes a field whose name and value are words of the wire.
    pub(super) fn word(&mut self, name: &'static str, word: &'static str) {
        self.name(|out| write_word(out, name));
        write_word(self.out, word);
    }

    /// Writes a field of any name.
    pub(super) fn entry<T: Json>(&mut self, name: &str, value: &T) {
        self.name(|out| write_text(out, name));
        value.write(self.out);
    }

    fn name(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        write(self.out);
        self.out.push(b':');
    }

    /// Ends the object.
    pub(super) fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes a word of the wire, which needs no escapes.
pub(super) fn write_word(out: &mut Vec<u8>, word: &'static str) {
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

/// Writes a whole number.
pub(super) fn write_number(out: &mut Vec<u8>, number: u64) {
    let _ = serde_json::to_writer(out, &number); // writing to memory cannot fail
}

/// Bytes that a text takes as a JSON string, its quotes aside: what limits on texts count.
///
/// A text comes in that many bytes at least, and always leaves in exactly that many.
pub fn json_len(text: &str) -> usize {
    if is_plain(text) {
        return text.len();
    }
    let extra = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(extra).sum::<usize>()
}
