//! Lines of the wire as a meddler sees them: what kind they are of, which fields they have, and what can be done to those.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use rand::rngs::StdRng;
use secure_chat::chat::SessionId;
use serde_json::{Map, Value, json};

use crate::modern_world::{Passing, Way};

/// Tells what a line is: `hello`, `ok join`, `part who`, `error send`, `request send`, `members listed`, `act kick` …
#[derive(Default)]
pub struct Kinds {
    asked: HashMap<(SessionId, u64), String>,
}

impl Kinds {
    pub fn of(&mut self, passing: &Passing<'_>, line: &Value) -> String {
        let word = line["type"].as_str().unwrap_or("?");
        if passing.way == Way::Up {
            if let Some(id) = line["id"].as_u64() {
                self.asked.insert((passing.session, id), word.to_owned());
            }
            return format!("request {word}");
        }
        match word {
            "ok" | "part" | "error" => {
                let asked = line["id"].as_u64().and_then(|id| self.asked.get(&(passing.session, id)));
                format!("{word} {}", asked.map_or("?", String::as_str))
            }
            "members" if line["changes"].is_null() => "members listed".to_owned(),
            "members" => "members hashed".to_owned(),
            "message" if line["legacy"] == true => "message legacy".to_owned(),
            "message" => "message modern".to_owned(),
            "act" => format!("act {}", line["verb"].as_str().unwrap_or("?")),
            word => word.to_owned(),
        }
    }
}

/// A step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// Where something stands in a line: as it is named in the table, and how to get there.
#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub path: Vec<Step>,
}

/// Objects whose keys are data.
const MAPS: [&str; 2] = ["wraps", "encrypted_keys"];

/// All fields of a line, the nested ones and those that hold others among them.
pub fn fields(line: &Value) -> Vec<Field> {
    let mut all = Vec::new();
    collect(line, "", &mut Vec::new(), &mut all);
    all
}

fn collect(value: &Value, name: &str, path: &mut Vec<Step>, all: &mut Vec<Field>) {
    if !path.is_empty() {
        all.push(Field { name: name.to_owned(), path: path.clone() });
    }
    let mut into = |step: Step, name: String, value: &Value| {
        path.push(step);
        collect(value, &name, path, all);
        path.pop();
    };
    match value {
        Value::Object(object) => {
            let is_map = MAPS.contains(&name);
            for (key, value) in object {
                let name = match (is_map, name.is_empty()) {
                    (true, _) => format!("{name}{{}}"),
                    (false, true) => key.clone(),
                    (false, false) => format!("{name}.{key}"),
                };
                into(Step::Key(key.clone()), name, value);
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                into(Step::Index(i), format!("{name}[]"), value);
            }
        }
        _ => {}
    }
}

/// What can be done to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Another character, bit, number or truth.
    Flip,
    /// A value that stood in this field of another line: of another sender, of before, of another room.
    Other,
    Empty,
    Huge,
    /// A string for a number, and so on.
    WrongType,
    Missing,
    Null,
    /// The key twice, with another value.
    Doubled,
    /// Of a list or map: an item less, one twice, or the other way round.
    Reshape,
    /// The smallest, the largest, none that is allowed.
    Extreme,
    /// Characters that are not seen, or that a terminal obeys.
    Invisible,
    /// The key of a map's item is another.
    Rekey,
}

pub const OPS: [Op; 12] = [
    Op::Flip,
    Op::Other,
    Op::Empty,
    Op::Huge,
    Op::WrongType,
    Op::Missing,
    Op::Null,
    Op::Doubled,
    Op::Reshape,
    Op::Extreme,
    Op::Invisible,
    Op::Rekey,
];

/// Values that were seen in the session, by the name of their field.
#[derive(Default)]
pub struct Pool(BTreeMap<String, Vec<Value>>);

/// How many values of a field are remembered.
const REMEMBERED: usize = 48;

impl Pool {
    pub fn add(&mut self, line: &Value) {
        for Field { name, path } in fields(line) {
            let Some(value) = at(line, &path) else { continue };
            let values = self.0.entry(last_word(&name).to_owned()).or_default();
            if !values.contains(value) {
                values.push(value.clone());
                if values.len() > REMEMBERED {
                    values.remove(1); // the first ones stay, as something really old
                }
            }
        }
    }

    /// Another value that stood in a field of this name.
    fn other(&self, name: &str, than: &Value, rng: &mut StdRng) -> Option<Value> {
        let others: Vec<_> = self.0.get(last_word(name))?.iter().filter(|value| *value != than).collect();
        if others.is_empty() { None } else { Some(others[rng.random_range(0..others.len())].clone()) }
    }
}

fn last_word(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

pub fn at<'a>(line: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(line, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(i) => value.get(i),
    })
}

fn at_mut<'a>(line: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(line, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(i) => value.get_mut(i),
    })
}

/// Stands for a key that is there twice, until the line is written.
const TWICE: &str = "\u{1}twice";

/// Does something to a field. `false` when that cannot be done to it, or changes nothing.
pub fn mutate(line: &mut Value, field: &Field, op: Op, pool: &Pool, rng: &mut StdRng) -> bool {
    let before = line.clone();
    let Some(value) = at_mut(line, &field.path) else { return false };
    let new = match op {
        Op::Flip => flipped(value, rng),
        Op::Other => pool.other(&field.name, value, rng),
        Op::Empty => emptied(value),
        Op::Huge => huge(value, rng),
        Op::WrongType => Some(wrong(value, rng)),
        Op::Null => Some(Value::Null),
        Op::Reshape => reshaped(value, rng),
        Op::Extreme => extreme(value, rng),
        Op::Invisible => invisible(value, rng),
        Op::Missing | Op::Doubled | Op::Rekey => return in_parent(line, field, op, pool, rng) && *line != before,
    };
    match new {
        Some(new) => *value = new,
        None => return false,
    }
    *line != before
}

fn in_parent(line: &mut Value, field: &Field, op: Op, pool: &Pool, rng: &mut StdRng) -> bool {
    let Some((last, parent)) = field.path.split_last() else { return false };
    let other =
        at(line, &field.path).and_then(|value| pool.other(&field.name, value, rng).or_else(|| flipped(value, rng)));
    let Some(parent) = at_mut(line, parent) else { return false };
    match (parent, last, op) {
        (Value::Object(object), Step::Key(key), Op::Missing) => object.remove(key).is_some(),
        (Value::Array(items), Step::Index(i), Op::Missing) => {
            items.remove(*i);
            true
        }
        (Value::Object(object), Step::Key(key), Op::Doubled) => {
            object.insert(TWICE.to_owned(), json!({ "key": key, "value": other.unwrap_or(Value::Null) }));
            true
        }
        (Value::Object(object), Step::Key(key), Op::Rekey) if field.name.ends_with("{}") => {
            let Some(value) = object.remove(key) else { return false };
            let key = flipped(&Value::String(key.clone()), rng).unwrap_or_default();
            object.insert(key.as_str().unwrap_or_default().to_owned(), value);
            true
        }
        _ => false,
    }
}

/// The line as text. What stands twice is written twice.
pub fn written(line: &Value) -> Vec<u8> {
    let mut text = String::new();
    write_value(line, &mut text);
    text.into_bytes()
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => write_object(object, text),
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                text.push_str(if i > 0 { "," } else { "" });
                write_value(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn write_object(object: &Map<String, Value>, text: &mut String) {
    text.push('{');
    for (i, (key, value)) in object.iter().enumerate() {
        text.push_str(if i > 0 { "," } else { "" });
        let (key, value) = match key.as_str() {
            TWICE => (value["key"].as_str().unwrap_or_default(), &value["value"]),
            key => (key, value),
        };
        text.push_str(&format!("{}:", Value::from(key)));
        write_value(value, text);
    }
    text.push('}');
}

fn flipped(value: &Value, rng: &mut StdRng) -> Option<Value> {
    Some(match value {
        Value::String(text) => Value::String(flipped_text(text, rng)),
        Value::Number(number) => {
            let number = number.as_u64()?;
            let by = [1, 2, 60_000, 10_000_000][rng.random_range(0..4)];
            json!(if rng.random() { number.saturating_sub(by) } else { number.saturating_add(by) })
        }
        Value::Bool(truth) => json!(!truth),
        Value::Array(items) if !items.is_empty() => {
            let mut items = items.clone();
            let i = rng.random_range(0..items.len());
            items[i] = flipped(&items[i], rng)?;
            Value::Array(items)
        }
        Value::Object(object) if !object.is_empty() => {
            let mut object = object.clone();
            let i = rng.random_range(0..object.len());
            let value = object.values_mut().nth(i)?;
            *value = flipped(value, rng)?;
            Value::Object(object)
        }
        _ => return None,
    })
}

/// A bit of what the base64 stands for, or another character.
fn flipped_text(text: &str, rng: &mut StdRng) -> String {
    match STANDARD.decode(text) {
        Ok(mut bytes) if bytes.len() >= 16 => {
            let i = rng.random_range(0..bytes.len());
            bytes[i] ^= 1 << rng.random_range(0..8);
            STANDARD.encode(bytes)
        }
        _ if text.is_empty() => "x".to_owned(),
        _ => {
            let mut chars: Vec<char> = text.chars().collect();
            let i = rng.random_range(0..chars.len());
            chars[i] = if chars[i] == 'q' { 'z' } else { 'q' };
            chars.into_iter().collect()
        }
    }
}

fn emptied(value: &Value) -> Option<Value> {
    Some(match value {
        Value::String(_) => json!(""),
        Value::Number(_) => json!(0),
        Value::Array(_) => json!([]),
        Value::Object(_) => json!({}),
        _ => return None,
    })
}

fn huge(value: &Value, rng: &mut StdRng) -> Option<Value> {
    let long = [5_000, 30_000, 70_000][rng.random_range(0..3)];
    Some(match value {
        Value::String(text) => {
            let filling = if text.is_empty() { "A" } else { text };
            let mut text = filling.repeat(long / filling.len() + 1);
            let end = text.floor_char_boundary(long);
            text.truncate(end);
            json!(text)
        }
        Value::Number(_) => json!([(1u64 << 53) - 1, 1 << 53, u64::MAX][rng.random_range(0..3)]),
        Value::Array(items) => {
            let item = items.first().cloned().unwrap_or_else(|| json!("x"));
            Value::Array(vec![item; [200, 2_000][rng.random_range(0..2)]])
        }
        Value::Object(object) if !object.is_empty() => {
            let value = object.values().next()?.clone();
            Value::Object((0..300).map(|i| (format!("user{i}"), value.clone())).collect())
        }
        _ => return None,
    })
}

fn wrong(value: &Value, rng: &mut StdRng) -> Value {
    let all = [json!("word"), json!(7), json!(true), json!([1]), json!({ "a": 1 }), json!(1.5), json!(-3)];
    let others: Vec<_> =
        all.into_iter().filter(|other| std::mem::discriminant(other) != std::mem::discriminant(value)).collect();
    others[rng.random_range(0..others.len())].clone()
}

fn reshaped(value: &Value, rng: &mut StdRng) -> Option<Value> {
    match value {
        Value::Array(items) => {
            let mut items = items.clone();
            match rng.random_range(0..3) {
                0 => drop(items.pop()?),
                1 => items.push(items.first()?.clone()),
                _ => items.reverse(),
            }
            Some(Value::Array(items))
        }
        Value::Object(object) => {
            let mut object = object.clone();
            let key = object.keys().nth(rng.random_range(0..object.len().max(1)))?.clone();
            object.remove(&key);
            Some(Value::Object(object))
        }
        _ => None,
    }
}

fn extreme(value: &Value, rng: &mut StdRng) -> Option<Value> {
    let pick = rng.random_range(0..4);
    Some(match value {
        Value::Number(_) => [json!(1), json!((1u64 << 53) - 1), json!(-1), json!(1e300)][pick].clone(),
        Value::String(text) => match STANDARD.decode(text) {
            Ok(bytes) if bytes.len() >= 16 => json!(STANDARD.encode(vec![[0, 0xff, 1, 0x80][pick]; bytes.len()])),
            _ => {
                json!([text.to_uppercase(), format!(" {text}"), format!("{text}x"), text.chars().rev().collect()][pick])
            }
        },
        _ => return None,
    })
}

fn invisible(value: &Value, rng: &mut StdRng) -> Option<Value> {
    let text = value.as_str()?;
    let all = ["\u{202e}", "\u{200b}", "\x1b[2J", "\r", "\n", "\u{0}", "\u{2028}", "е"];
    Some(json!(format!("{text}{}", all[rng.random_range(0..all.len())])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn fields_have_names_without_what_is_data() {
        let line = json!({ "at": { "n": 1 }, "joined": [{ "user": "bob" }], "wraps": { "abc": "def" } });
        let names: Vec<_> = fields(&line).into_iter().map(|field| field.name).collect();
        assert_eq!(names, ["at", "at.n", "joined", "joined[]", "joined[].user", "wraps", "wraps{}"]);
    }

    #[test]
    fn every_way_to_change_a_field_changes_it() {
        let line = json!({ "n": 5, "user": "bob", "run": "MDEyMzQ1Njc4OWFiY2RlZg==", "list": ["a", "b"], "wraps": { "abc": "def" }, "f": true });
        let mut rng = StdRng::seed_from_u64(1);
        let mut pool = Pool::default();
        pool.add(&json!({ "user": "eve", "n": 4, "list": [] }));
        for op in OPS {
            let mut hits = 0;
            for field in fields(&line) {
                let mut copy = line.clone();
                if mutate(&mut copy, &field, op, &pool, &mut rng) {
                    hits += 1;
                    assert_ne!(written(&copy), written(&line), "{op:?} of {}", field.name);
                }
            }
            assert!(hits > 0, "{op:?}");
        }
        let mut copy = line.clone();
        let user = fields(&line).into_iter().find(|field| field.name == "user").unwrap();
        assert!(mutate(&mut copy, &user, Op::Doubled, &pool, &mut rng));
        assert_eq!(String::from_utf8(written(&copy)).unwrap().matches("\"user\"").count(), 2);
    }
}
