//! A server that changes one line, as cleverly as it can, and is honest otherwise, or at least keeps to what it told.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use secure_chat::chat::SessionId;
use serde_json::{Value, json};

use super::chronicle::Chronicle;
use super::forger::position;
use super::liar::{GHOSTS, Ghost, Liar, STRANGERS};
use super::lines::{Field, Kinds, OPS, Pool, fields, mutate, written};
use crate::modern_world::{Passing, Way, Who};

/// What is done to a whole line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOp {
    Drop,
    Repeat,
    /// The next line overtakes it.
    Swap,
    /// It comes when the scene is over.
    Late,
    /// It goes to somebody else, too.
    Cross,
    /// An older line of its kind comes in its place.
    Old,
    /// It ends early.
    Cut,
    /// It is no line at all.
    Garbage,
    /// Somebody made up joins with it, and speaks.
    Ghost(Ghost),
}

impl LineOp {
    /// What can be done to a line of this kind.
    fn all(kind: &str) -> Vec<Self> {
        use LineOp::{Cross, Cut, Drop, Garbage, Late, Old, Repeat, Swap};
        let mut all = vec![Drop, Repeat, Swap, Late, Cross, Old, Cut, Garbage];
        if kind == "members listed" {
            all.extend(GHOSTS.map(LineOp::Ghost));
        }
        all
    }

    /// What stands for it in the table, where a field's name would stand.
    fn name(self) -> String {
        format!("{WHOLE} {self:?}")
    }
}

/// What the names of those begin with that change whole lines.
pub const WHOLE: &str = "(line)";

/// Which line is to be changed, and how.
#[derive(Debug, Clone)]
pub struct Target {
    pub kind: String,
    pub field: String,
    /// The how manieth line of its kind.
    pub nth: usize,
    /// Whether everything that the server can make fit is made to fit.
    pub smart: bool,
}

/// What was done.
#[derive(Debug, Clone)]
pub struct Hit {
    pub what: String,
    /// Whether it must be noticed: an event of the room was dropped, repeated or moved.
    pub moves_log: bool,
}

/// How many lines of a kind are remembered for each client.
const HISTORY: usize = 8;

pub struct Meddler {
    kinds: Kinds,
    pool: Pool,
    pub liar: Liar,
    rng: StdRng,
    target: Option<Target>,
    count: usize,
    /// Lines that passed.
    passed: usize,
    pub hit: Option<Hit>,
    /// A line that the next one overtakes.
    held: Option<(Who, Way, Vec<u8>)>,
    /// What comes when the scene is over.
    pub late: Vec<(Who, Way, Vec<u8>)>,
    history: HashMap<(Who, String), VecDeque<Vec<u8>>>,
    /// Kinds and fields that passed, with how often.
    pub record: Option<BTreeMap<(String, String), usize>>,
    pub hash_members: bool,
    /// Connections whose hello does not prove the realm.
    unproven: HashSet<SessionId>,
    /// What a client must never do, and did.
    pub misdeed: Option<String>,
    /// Where the log of each client is, as far as it was told the truth.
    chronicles: HashMap<Who, Chronicle>,
    /// The adversary's own client: its lines are nobody's concern.
    own: Who,
    people: usize,
    /// What the adversary knows of the devices of others: their public keys.
    device_keys: HashMap<Who, secure_chat::crypto::PublicKey>,
}

impl Meddler {
    pub fn new(liar: Liar, own: Who, device_keys: HashMap<Who, secure_chat::crypto::PublicKey>) -> Self {
        Self {
            kinds: Kinds::default(),
            pool: Pool::default(),
            liar,
            rng: StdRng::seed_from_u64(0),
            target: None,
            count: 0,
            passed: 0,
            hit: None,
            held: None,
            late: Vec::new(),
            history: HashMap::new(),
            record: None,
            hash_members: false,
            unproven: HashSet::new(),
            misdeed: None,
            chronicles: HashMap::new(),
            own,
            people: device_keys.len(),
            device_keys,
        }
    }

    /// Makes it change a line.
    pub fn arm(&mut self, target: Target, seed: u64) {
        self.rng = StdRng::seed_from_u64(seed);
        (self.target, self.count, self.hit) = (Some(target), 0, None);
    }

    /// It changes nothing more, but what it has told it keeps to. Gives what it held back.
    pub fn disarm(&mut self) -> Vec<(Who, Way, Vec<u8>)> {
        self.target = None;
        let mut late = std::mem::take(&mut self.late);
        late.extend(self.held.take());
        late
    }

    /// It is honest.
    pub fn repent(&mut self) {
        self.disarm();
        self.liar.repent();
        self.unproven.clear();
    }

    pub fn pass(&mut self, passing: &Passing<'_>, on: &mut Vec<(Who, Vec<u8>)>) {
        let who = passing.who;
        let Ok(mut line) = serde_json::from_slice::<Value>(passing.line) else {
            return on.push((who, passing.line.to_vec()));
        };
        if who == self.own {
            return on.push((who, passing.line.to_vec()));
        }
        self.watch(passing, &line);
        let listed = self.kinds.of(passing, &line);
        let truth = line.clone();
        let mut kind = listed.clone();
        if self.hash_members && listed == "members listed" && Liar::hash_members(&mut line).is_some() {
            kind = "members hashed".to_owned();
        }
        self.note(passing, &kind, &line);
        let is_target = self.target.as_ref().is_some_and(|target| target.kind == kind) && self.hit.is_none() && {
            self.count += 1;
            self.target.as_ref().is_some_and(|target| self.count > target.nth)
        };
        let overtaken =
            self.held.take_if(|(held_by, way, _)| *held_by == who && *way == passing.way).map(|(.., line)| line);
        let mut lines = Vec::new();
        if is_target && let Some(changed) = self.change(passing, &kind, &truth, &line) {
            lines.extend(changed);
        } else {
            let before =
                if passing.way == Way::Down { self.keep_to_it(who, &listed, &truth, &mut line) } else { Vec::new() };
            lines.extend(before.iter().map(|line| (who, written(line))));
            lines.push((who, written(&line)));
            self.chronicles.entry(who).or_default().see(passing.way, &kind, &line, name_of(who));
        }
        on.extend(lines);
        if let Some(held) = overtaken {
            // What is no event of the room moves nothing, wherever it comes.
            let both = |held: &Value| is_event(passing.way, held) && is_event(passing.way, &truth);
            if let (Some(hit), Ok(line)) = (&mut self.hit, serde_json::from_slice::<Value>(&held)) {
                hit.moves_log |= both(&line);
            }
            on.push((who, held));
        }
    }

    fn keep_to_it(&mut self, who: Who, listed: &str, truth: &Value, line: &mut Value) -> Vec<Value> {
        let mut true_line = truth.clone();
        let before = self.liar.keep_to_it(who, listed, &mut true_line);
        for field in ["n", "roster", "entries", "missing"] {
            if let (Some(to), Some(from)) = (line.get_mut(field), true_line.get(field)) {
                *to = from.clone();
            }
        }
        before
    }

    /// No client says anything to a server that did not prove who it is.
    fn watch(&mut self, passing: &Passing<'_>, line: &Value) {
        if passing.way == Way::Up && self.unproven.contains(&passing.session) {
            self.misdeed = Some(format!("a client spoke to a server that is not proved: {}", line["type"]));
        }
    }

    fn note(&mut self, passing: &Passing<'_>, kind: &str, line: &Value) {
        if let Some(record) = &mut self.record {
            let names: HashSet<_> = fields(line).into_iter().map(|field| field.name).collect();
            for name in names.into_iter().chain(LineOp::all(kind).into_iter().map(LineOp::name)) {
                *record.entry((kind.to_owned(), name)).or_default() += 1;
            }
        }
        self.passed += 1;
        if self.passed < 400 || self.passed.is_multiple_of(8) {
            self.pool.add(line);
        }
        let history = self.history.entry((passing.who, kind.to_owned())).or_default();
        if history.len() >= HISTORY {
            history.pop_front();
        }
        history.push_back(passing.line.to_vec());
    }

    /// Changes the line; gives what comes in its place.
    fn change(
        &mut self,
        passing: &Passing<'_>,
        kind: &str,
        truth: &Value,
        line: &Value,
    ) -> Option<Vec<(Who, Vec<u8>)>> {
        let target = self.target.clone()?;
        match LineOp::all(kind).into_iter().find(|op| op.name() == target.field) {
            Some(op) => self.change_line(passing, op, kind, truth, line, target.smart),
            None => self.change_field(passing, kind, truth, line, &target),
        }
    }

    fn change_field(
        &mut self,
        passing: &Passing<'_>,
        kind: &str,
        truth: &Value,
        line: &Value,
        target: &Target,
    ) -> Option<Vec<(Who, Vec<u8>)>> {
        let who = passing.who;
        let all: Vec<Field> = fields(line).into_iter().filter(|field| field.name == target.field).collect();
        let field = all.get(self.rng.random_range(0..all.len().max(1)))?.clone();
        let mut ops = OPS;
        ops.shuffle(&mut self.rng);
        let mut changed = line.clone();
        let op = ops.into_iter().find(|op| {
            changed = line.clone();
            mutate(&mut changed, &field, *op, &self.pool, &mut self.rng)
        })?;
        let mut before = Vec::new();
        if target.smart {
            before = self.make_fit(passing, kind, truth, &mut changed, &field.name);
        }
        if !target.smart || kind != "members listed" {
            self.keep_to_it(who, kind, truth, &mut line.clone());
        }
        if kind == "hello" && ["realm", "signature", "type"].iter().any(|field| changed[field] != line[field]) {
            self.unproven.insert(passing.session);
        }
        let smart = if target.smart { ", made to fit" } else { "" };
        let what = format!("{op:?} of {} in {kind}{smart}: {line} became {changed}", field.name);
        self.hit = Some(Hit { what: shortened(&what), moves_log: false });
        before.push(changed);
        Some(before.iter().map(|line| (who, written(line))).collect())
    }

    /// Does what a server can do so that a changed line looks right. Gives lines that go before it.
    fn make_fit(
        &mut self,
        passing: &Passing<'_>,
        kind: &str,
        truth: &Value,
        changed: &mut Value,
        field: &str,
    ) -> Vec<Value> {
        match kind {
            "hello" if field != "signature" => self.liar.sign_hello(changed, passing.session),
            "members listed" => self.liar.fit_members(passing.who, truth, changed),
            "ok join" => {
                if let (Some(old), Some(new)) = (truth["n"].as_u64(), changed["n"].as_u64())
                    && old != new
                {
                    self.liar.keep_to_it(passing.who, kind, &mut truth.clone());
                    self.liar.shift(passing.who, new.wrapping_sub(old).cast_signed());
                }
            }
            "part bundles" => self.substitute(changed),
            _ if field == "signature" => {}
            "message modern" => return self.forge_message(passing.who, changed),
            kind if ["grant", "direct"].contains(&kind) || kind.starts_with("act ") => self.adopt(passing.who, changed),
            _ => {}
        }
        Vec::new()
    }

    /// Puts bundles with keys of its own in the place of others'.
    fn substitute(&self, changed: &mut Value) {
        for bundle in changed["bundles"].as_array_mut().into_iter().flatten() {
            if let Some(forger) = bundle["user"].as_str().and_then(|user| self.liar.forger(user)) {
                *bundle = forger.bundle_json();
            }
        }
    }

    /// Makes a message that would be readable, with a grant before it.
    fn forge_message(&self, to: Who, changed: &mut Value) -> Vec<Value> {
        let forger = changed["user"].as_str().and_then(|user| self.liar.forger(user));
        let (Some(forger), Some(at), Some(key)) = (forger, position(changed), self.device_keys.get(&to)) else {
            return Vec::new();
        };
        let (room, n) =
            (changed["room"].as_str().unwrap_or_default().to_owned(), changed["n"].as_u64().unwrap_or_default());
        *changed = forger.message(&room, n, at, 1, &format!("forged in {room} as event {n}"));
        vec![forger.grant(&room, at, key)]
    }

    fn adopt(&self, to: Who, changed: &mut Value) {
        let forger = changed["user"].as_str().and_then(|user| self.liar.forger(user));
        let (Some(forger), Some(key)) = (forger, self.device_keys.get(&to)) else { return };
        if changed["type"] == "grant" {
            changed["check"] = forger.chain.grant_check().to_base64().into();
            changed["wrap"] = forger.chain.wrap_for(key).unwrap().into();
        }
        forger.adopt(changed);
    }

    /// An older line, of this kind if there is one.
    fn older(&mut self, than: &[u8], kind: &str) -> Option<Vec<u8>> {
        let of = |is_it: &dyn Fn(&str) -> bool| {
            let mut lines: Vec<_> =
                self.history.iter().filter(|((_, of), _)| is_it(of)).flat_map(|(_, lines)| lines).collect();
            lines.retain(|line| line.as_slice() != than);
            lines.sort(); // in whatever order the map has them
            lines.into_iter().cloned().collect::<Vec<_>>()
        };
        let mut lines = of(&|other| other == kind);
        if lines.is_empty() {
            lines = of(&|other| other.starts_with("request") == kind.starts_with("request"));
        }
        let i = self.rng.random_range(0..lines.len().max(1));
        lines.into_iter().nth(i)
    }

    /// What somebody made up says right behind the change of the members that lists them.
    fn ghost_speaks(&mut self, who: Who, ghost: Ghost, known: &str, joined: &Value) -> Vec<Value> {
        let Some(chronicle) = self.chronicles.get_mut(&who) else { return Vec::new() };
        chronicle.see(Way::Down, "members listed", joined, name_of(who));
        let account = match ghost {
            Ghost::Stranger => STRANGERS[0],
            Ghost::LegacyStranger => STRANGERS[1],
            Ghost::Device | Ghost::Legacy => known,
        };
        let (Some(at), Some(key), Some(forger)) = (chronicle.at, self.device_keys.get(&who), self.liar.forger(account))
        else {
            return Vec::new();
        };
        let (room, text) = (joined["room"].as_str().unwrap_or_default(), format!("made up after event {}", at.n));
        let lines = match ghost {
            Ghost::Stranger | Ghost::Device => {
                vec![forger.grant(room, at, key), forger.message(room, at.n + 1, at, 1, &text)]
            }
            Ghost::Legacy | Ghost::LegacyStranger => vec![forger.legacy(room, at.n + 1, key, &text)],
        };
        self.liar.shift(who, 1);
        lines
    }

    fn change_line(
        &mut self,
        passing: &Passing<'_>,
        op: LineOp,
        kind: &str,
        truth: &Value,
        line: &Value,
        smart: bool,
    ) -> Option<Vec<(Who, Vec<u8>)>> {
        let (who, way) = (passing.who, passing.way);
        let is_event = is_event(way, line);
        let mut told = line.clone();
        let before = if way == Way::Down { self.keep_to_it(who, kind, truth, &mut told) } else { Vec::new() };
        let mut lines: Vec<_> = before.iter().map(|line| (who, written(line))).collect();
        let told_text = written(&told);
        match op {
            LineOp::Drop if smart && is_event => self.liar.shift(who, -1),
            LineOp::Drop => {}
            LineOp::Repeat => {
                lines.push((who, told_text.clone()));
                if smart && is_event {
                    self.liar.shift(who, 1);
                    told["n"] = (told["n"].as_u64()? + 1).into();
                }
                lines.push((who, written(&told)));
            }
            LineOp::Swap => self.held = Some((who, way, told_text)),
            LineOp::Late => self.late.push((who, way, told_text)),
            LineOp::Cross => {
                let other = Who((who.0 + 1 + self.rng.random_range(0..self.people - 1)) % self.people);
                lines.push((other, told_text.clone()));
                lines.push((who, told_text));
            }
            LineOp::Old => {
                let old = self.older(passing.line, kind)?;
                let mut old: Value = serde_json::from_slice(&old).ok()?;
                for field in ["id", "n"].into_iter().filter(|field| smart && told.get(field).is_some()) {
                    old[field] = told[field].clone();
                }
                lines.push((who, written(&old)));
            }
            LineOp::Cut => {
                let end = self.rng.random_range(0..told_text.len());
                lines.push((who, told_text[..end].to_vec()));
            }
            LineOp::Garbage => {
                let all: [&[u8]; 6] = [b"\xff\xfe", b"[]", b"{}", b"null", b"{\"type\":\"\"}", b"\0"];
                lines.push((who, all[self.rng.random_range(0..all.len())].to_vec()));
                lines.push((who, told_text));
            }
            LineOp::Ghost(ghost) => {
                truth.get("joined")?;
                let known: Vec<_> =
                    ["alice", "bob", "carol"].into_iter().filter(|name| *name != name_of(who)).collect();
                let known = known[self.rng.random_range(0..known.len())];
                told = truth.clone();
                self.liar.add_ghost(&mut told, ghost, known)?;
                // The truth was taken in already: what is told adds to it.
                let no_change = json!({ "joined": [], "removed": [] });
                let mut added = json!({ "joined": [told["joined"].as_array()?.last()?], "removed": [] });
                self.liar.fit_members(who, &no_change, &mut added);
                told["roster"] = added["roster"].clone();
                lines.push((who, written(&told)));
                lines.extend(self.ghost_speaks(who, ghost, known, &told).iter().map(|line| (who, written(line))));
            }
        }
        let smart = if smart { ", made to fit" } else { "" };
        let moves_log = is_event && matches!(op, LineOp::Drop | LineOp::Repeat | LineOp::Old);
        let what = format!("{op:?} of {kind}{smart} for {}: {line}", name_of(who));
        self.hit = Some(Hit { what: shortened(&what), moves_log });
        Some(lines)
    }
}

/// Whether a line is an event in a room's log.
fn is_event(way: Way, line: &Value) -> bool {
    way == Way::Down && line["n"].is_u64() && line["id"].is_null() && line["type"] != "not_delivered"
}

/// Whose line it is, for a person who reads why a test failed.
fn name_of(who: Who) -> &'static str {
    ["alice", "bob", "carol", "mallory"].get(who.0).copied().unwrap_or("?")
}

fn shortened(text: &str) -> String {
    text.chars().take(6_000).collect()
}
