//! A room's log as whoever runs the server sees it pass, so that a forgery can be put where it fits. It is written from the
//! specification, apart from the client's.

use std::collections::HashMap;

use secure_chat::transcript::{ChangeHash, ChangesHash, Event, LogHash, Position, RosterHash, changes_hash};
use serde_json::{Value, json};

use super::forger::{entry_of, event_after};
use crate::modern_world::Way;

#[derive(Default)]
pub struct Chronicle {
    /// Where the client's log is.
    pub at: Option<Position>,
    /// What it asked to be said or done, by the request's number.
    asked: HashMap<u64, Value>,
    /// The lines of the room that came, in order.
    pub lines: Vec<Value>,
}

impl Chronicle {
    /// Takes a line of the client of the account `own`.
    pub fn see(&mut self, way: Way, kind: &str, line: &Value, own: &str) {
        let id = line["id"].as_u64();
        if way == Way::Up {
            self.asked.extend(id.map(|id| (id, line.clone())));
            return;
        }
        match kind {
            "ok join" => self.at = joined(line),
            "ok send" | "ok act" if line["duplicate"].is_null() => {
                let Some(mut said) = id.and_then(|id| self.asked.remove(&id)) else { return };
                said["type"] = if kind == "ok send" { json!("message") } else { said["type"].clone() };
                said["user"] = own.into();
                self.step(&said);
            }
            "members listed" | "members hashed" => {
                self.at = self.at.and_then(|at| Some(at.after(&members(line)?)));
            }
            kind if kind.starts_with("message") || kind.starts_with("act") => self.step(line),
            _ => {}
        }
        if id.is_none() {
            self.lines.push(line.clone());
        }
    }

    /// Moves on by a message or an act.
    pub fn step(&mut self, line: &Value) {
        self.at = self.at.and_then(|at| event_after(at, line));
    }

    /// The number of the next event.
    pub fn next(&self) -> u64 {
        self.at.map_or(0, |at| at.n + 1)
    }
}

fn members(line: &Value) -> Option<Event<'static>> {
    let roster = RosterHash::from_base64(line["roster"].as_str()?).ok()?;
    if let Some(changes) = line["changes"].as_str() {
        let (joined, removed) = (line["joined_count"].as_u64()?, line["removed_count"].as_u64()?);
        return Some(Event::Members { joined, removed, changes: ChangesHash::from_base64(changes).ok()?, roster });
    }
    let changes = |field: &str, came: bool| -> Option<Vec<ChangeHash>> {
        line[field].as_array()?.iter().map(|entry| Some(entry_of(entry)?.change(came))).collect()
    };
    let (joined, removed) = (changes("joined", true)?, changes("removed", false)?);
    let count = |changes: &[ChangeHash]| changes.len() as u64;
    let (came, went) = (count(&joined), count(&removed));
    Some(Event::Members { joined: came, removed: went, changes: changes_hash(joined, removed), roster })
}

fn joined(line: &Value) -> Option<Position> {
    let hashes = |field: &str| -> Option<Vec<ChangeHash>> {
        line[field].as_array()?.iter().map(|hash| ChangeHash::from_base64(hash.as_str()?).ok()).collect()
    };
    let (joined, removed) = (hashes("joined")?, hashes("removed")?);
    let roster = RosterHash::from_base64(line["roster"].as_str()?).ok()?;
    let before = Position { n: line["n"].as_u64()? - 1, log: LogHash::from_base64(line["before"].as_str()?).ok()? };
    let (came, went) = (joined.len() as u64, removed.len() as u64);
    Some(before.after(&Event::Members { joined: came, removed: went, changes: changes_hash(joined, removed), roster }))
}
