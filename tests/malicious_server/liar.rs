//! A server that lies well: what it has told each client once, it keeps to. It lists the ghosts that it has introduced, leaves
//! out whom it has hidden, numbers on from what it has dropped, and gives the keys of those whom it made up.

use std::collections::HashMap;

use secure_chat::crypto::SigningKey;
use secure_chat::names::RoomName;
use secure_chat::transcript::{
    self, EntryKey, KeyHash, Realm, RoomId, RosterEntry, RosterHash, changes_hash, roster_hash,
};
use serde_json::{Value, json};

use super::forger::{Forger, base64, entry_json, entry_of};
use crate::modern_world::{Who, exporter};
use secure_chat::chat::SessionId;

/// What a client was told of its room.
#[derive(Default)]
struct View {
    room: String,
    id: Option<RoomId>,
    entries: Option<Vec<RosterEntry>>,
    gathered: Vec<RosterEntry>,
    /// Who is there for this client alone, and who is not.
    ghosts: Vec<RosterEntry>,
    hidden: Vec<RosterEntry>,
    /// By how much events are numbered otherwise.
    shift: i64,
}

impl View {
    fn has_lies(&self) -> bool {
        !self.ghosts.is_empty() || !self.hidden.is_empty()
    }

    /// The roster as this client is to see it, from the true one.
    fn lie(&self, entries: &[RosterEntry]) -> Vec<RosterEntry> {
        let shown = entries.iter().filter(|entry| !self.hidden.contains(entry));
        shown.chain(&self.ghosts).cloned().collect()
    }
}

/// The liar.
pub struct Liar {
    realm_key: SigningKey,
    /// Everyone whom it can make up.
    pub forgers: Vec<Forger>,
    views: HashMap<Who, View>,
}

/// Who is to be made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ghost {
    /// A name that nobody knows.
    Stranger,
    /// Another device of somebody who is known, with another signing key.
    Device,
    /// A known name, on the legacy wire.
    Legacy,
    /// An unknown name on the legacy wire.
    LegacyStranger,
}

pub const GHOSTS: [Ghost; 4] = [Ghost::Stranger, Ghost::Device, Ghost::Legacy, Ghost::LegacyStranger];

/// The names that no honest person has.
pub const STRANGERS: [&str; 2] = ["spooky", "gasper"];

impl Liar {
    pub fn new(realm_key: &SigningKey, names: &[&str]) -> Self {
        let realm = realm_key.verifying_key().realm();
        let forgers = names.iter().chain(&STRANGERS).map(|name| Forger::new(realm, name)).collect();
        let realm_key = SigningKey::from_seed(realm_key.expose_seed());
        Self { realm_key, forgers, views: HashMap::new() }
    }

    pub fn realm(&self) -> Realm {
        self.realm_key.verifying_key().realm()
    }

    pub fn forger(&self, account: &str) -> Option<&Forger> {
        self.forgers.iter().find(|forger| forger.account.as_str() == account)
    }

    /// Forgets what it told: it is honest again, and everybody joins anew.
    pub fn repent(&mut self) {
        self.views.clear();
    }

    /// Signs a hello anew; with a realm of its own when the line bears another than the server's.
    pub fn sign_hello(&self, line: &mut Value, session: SessionId) {
        let bytes = transcript::hello(&exporter(session));
        let key = match line["realm"] == json!(self.realm().to_base64()) {
            true => &self.realm_key,
            false => {
                let key = &self.forgers[0].signing;
                line["realm"] = key.verifying_key().realm().to_base64().into();
                key
            }
        };
        line["signature"] = key.sign(&bytes).to_base64().into();
    }

    /// Makes a change of the members that is told otherwise than it is fit what the client was told before.
    pub fn fit_members(&mut self, who: Who, truth: &Value, told: &mut Value) {
        let realm = self.realm();
        let view = self.views.entry(who).or_default();
        let (Some(before), Some(id)) = (&view.entries, view.id) else { return };
        let real_after = changed(before, &entries(truth, "joined"), &entries(truth, "removed"));
        let told_after = changed(&view.lie(before), &entries(told, "joined"), &entries(told, "removed"));
        told["roster"] = roster(realm, id, &view.room, &told_after).to_base64().into();
        view.ghosts = told_after.iter().filter(|entry| !real_after.contains(entry)).cloned().collect();
        view.hidden = real_after.iter().filter(|entry| !told_after.contains(entry)).cloned().collect();
        view.entries = Some(real_after);
    }

    /// Adds somebody made up to the members who joined.
    pub fn add_ghost(&self, line: &mut Value, ghost: Ghost, known: &str) -> Option<()> {
        let entry = match ghost {
            Ghost::Stranger => self.forger(STRANGERS[0])?.entry(),
            Ghost::Device => self.forger(known)?.entry(),
            Ghost::Legacy | Ghost::LegacyStranger => {
                let name = if ghost == Ghost::Legacy { known } else { STRANGERS[1] };
                let forger = self.forger(name)?;
                let key = EntryKey::Legacy(Some(KeyHash::of(forger.rsa.public().spki_der())));
                RosterEntry { key, ..forger.entry() }
            }
        };
        line["joined"].as_array_mut()?.push(entry_json(&entry));
        Some(())
    }

    /// Tells a change of the members by its hash alone, as it is done in large rooms.
    pub fn hash_members(line: &mut Value) -> Option<()> {
        line["joined"].as_array()?;
        let (joined, removed) = (entries(line, "joined"), entries(line, "removed"));
        let changes = changes_hash(
            joined.iter().map(|entry| entry.change(true)),
            removed.iter().map(|entry| entry.change(false)),
        );
        let line = line.as_object_mut()?;
        line.remove("joined");
        line.remove("removed");
        line.insert("joined_count".into(), joined.len().into());
        line.insert("removed_count".into(), removed.len().into());
        line.insert("changes".into(), changes.to_base64().into());
        Some(())
    }

    /// Events are numbered by so much more, or less, from here on.
    pub fn shift(&mut self, who: Who, by: i64) {
        self.views.entry(who).or_default().shift += by;
    }

    /// Keeps to what was told: changes an honest line so that it fits. Gives lines that go before it.
    pub fn keep_to_it(&mut self, who: Who, kind: &str, line: &mut Value) -> Vec<Value> {
        let realm = self.realm();
        if kind == "ok join" {
            self.joined(who, line);
            return Vec::new();
        }
        let before = if kind == "ok bundles" { self.give_made_up(line) } else { Vec::new() };
        let view = self.views.entry(who).or_default();
        match kind {
            "part who" => {
                let entries = line["entries"].as_array().into_iter().flatten().filter_map(entry_of);
                view.gathered.extend(entries);
                if view.has_lies()
                    && let Some(entries) = line["entries"].as_array_mut()
                {
                    entries.retain(|entry| entry_of(entry).is_none_or(|entry| !view.hidden.contains(&entry)));
                    entries.extend(view.ghosts.iter().map(entry_json));
                }
            }
            "ok who" => view.entries = Some(std::mem::take(&mut view.gathered)),
            "members listed" => {
                let (joined, removed) = (entries(line, "joined"), entries(line, "removed"));
                if let (Some(before), Some(id)) = (&mut view.entries, view.id) {
                    *before = changed(before, &joined, &removed);
                    if view.has_lies() {
                        let told = view.lie(view.entries.as_deref().unwrap_or_default());
                        line["roster"] = roster(realm, id, &view.room, &told).to_base64().into();
                    }
                }
            }
            _ => {}
        }
        if view.shift != 0 && line["n"].is_u64() {
            line["n"] = line["n"].as_u64().unwrap_or_default().saturating_add_signed(view.shift).into();
        }
        before
    }

    fn joined(&mut self, who: Who, line: &Value) {
        let room = line["room"].as_str().unwrap_or_default().to_owned();
        let id = line["room_id"].as_str().and_then(|id| RoomId::from_base64(id).ok());
        self.views.insert(who, View { room, id, ..View::default() });
    }

    /// The bundles of those whom the hub does not know.
    fn give_made_up(&self, line: &mut Value) -> Vec<Value> {
        let id = line["id"].clone();
        let Some(missing) = line["missing"].as_array_mut() else { return Vec::new() };
        let mut given = Vec::new();
        missing.retain(|hash| {
            let found = self.forgers.iter().find_map(|forger| {
                let legacy = KeyHash::of(forger.rsa.public().spki_der());
                let bundle = match hash.as_str() {
                    Some(hash) if hash == forger.bundle.hash().to_base64() => forger.bundle_json(),
                    Some(hash) if hash == legacy.to_base64() => {
                        let rsa_key = base64(forger.rsa.public().spki_der());
                        json!({ "kind": "legacy", "user": forger.account.as_str(), "rsa_key": rsa_key })
                    }
                    _ => return None,
                };
                Some(json!({ "type": "part", "id": id, "bundles": [bundle] }))
            });
            let is_missing = found.is_none();
            given.extend(found);
            is_missing
        });
        given
    }
}

fn entries(line: &Value, field: &str) -> Vec<RosterEntry> {
    line[field].as_array().into_iter().flatten().filter_map(entry_of).collect()
}

fn changed(before: &[RosterEntry], joined: &[RosterEntry], removed: &[RosterEntry]) -> Vec<RosterEntry> {
    let mut after = before.to_vec();
    after.extend(joined.iter().cloned());
    for gone in removed {
        if let Some(at) = after.iter().position(|entry| entry == gone) {
            after.remove(at);
        }
    }
    after
}

fn roster(realm: Realm, id: RoomId, room: &str, entries: &[RosterEntry]) -> RosterHash {
    roster_hash(&realm, &id, &RoomName::new(room), entries.iter().map(RosterEntry::leaf))
}
