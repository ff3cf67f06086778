//! What must hold whatever the server does.
//!
//! - Nothing is shown as verified, pinned or one's own that its author did not send so, to that place; nothing twice; each
//!   author's in order. Nothing without a signature is shown in a name that signs.
//! - Whoever can open something with the adversary's keys was shown to its sender before, under a name that is nobody else's.

use std::collections::{HashMap, HashSet};

use secure_chat::client::modern::{Place as ShownPlace, Shown, ShownAct, Trust};
use secure_chat::crypto::envelope;
use secure_chat::names::{Text, UserName};
use secure_chat::transcript::{RunId, Verb};
use serde_json::Value;

use crate::modern_world::{Person, Place, Seen, Sent, Who, World, keys};

/// Of the wraps that were made for keys of others, one in so many is tried all the same.
const SAMPLE: usize = 32;

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Did {
    author: String,
    room: String,
    verb: String,
    target: String,
    argument: String,
}

/// Watches a world.
pub struct Oracle {
    /// Accounts of people who are what they seem.
    honest: Vec<String>,
    /// The bundles that the adversary's device key is in, and in whose name.
    pub made_up: HashMap<String, String>,
    looked: Vec<usize>,
    checked: Vec<usize>,
    /// The number of the last thing that a viewer was shown of an author in a place.
    last: HashMap<(usize, String, String), usize>,
    /// Who did what, by the run and the counter; each is done once.
    done: HashSet<(RunId, u64, Did)>,
    acts: Vec<(usize, Did)>,
    /// How many wraps were looked at.
    wraps: usize,
    /// How much was opened with the adversary's keys, whose owner was shown as a reader.
    pub opened: usize,
}

impl Oracle {
    pub fn new(honest: &[&str]) -> Self {
        Self {
            honest: honest.iter().map(|name| (*name).to_owned()).collect(),
            made_up: HashMap::new(),
            looked: Vec::new(),
            checked: Vec::new(),
            last: HashMap::new(),
            done: HashSet::new(),
            acts: Vec::new(),
            wraps: 0,
            opened: 0,
        }
    }

    /// Looks at what is new in the world.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&mut self, world: &World) -> Result<(), String> {
        self.looked.resize(world.people.len(), 0);
        self.checked.resize(world.people.len(), 0);
        for (i, person) in world.people.iter().enumerate() {
            self.doings(person, self.checked[i]);
        }
        for (i, person) in world.people.iter().enumerate() {
            for seen in &person.screen[self.looked[i]..] {
                is_plain(seen).map_err(|what| format!("{} was shown {what}: {seen:?}", person.account))?;
                match seen {
                    Seen::Message(shown) => self.message(world, Who(i), shown)?,
                    Seen::Act(act) => self.act(world, Who(i), act)?,
                    _ => {}
                }
            }
            self.looked[i] = person.screen.len();
            let sent = person.sent.as_deref().unwrap_or_default();
            if self.is_honest(&person.account) {
                for Sent { shown, line, .. } in &sent[self.checked[i]..] {
                    self.readers(world, Who(i), *shown, line)?;
                }
            }
            self.checked[i] = sent.len();
        }
        Ok(())
    }

    /// Looks at nothing but whether all that is shown can be seen.
    ///
    /// # Errors
    /// What cannot.
    pub fn check_plain(&self, world: &World) -> Result<(), String> {
        let mut all = world.people.iter().flat_map(|person| person.screen.iter());
        all.try_for_each(|seen| is_plain(seen).map_err(|what| format!("{what}: {seen:?}")))
    }

    /// Takes note of what somebody did.
    fn doings(&mut self, person: &Person, from: usize) {
        for Sent { run, line, .. } in &person.sent.as_deref().unwrap_or_default()[from..] {
            let Ok(line) = serde_json::from_slice::<Value>(line) else { continue };
            if line["type"] == "act" {
                let word = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
                let (verb, target, argument) = (word("verb"), word("target"), word("argument"));
                let did = Did { author: person.account.clone(), room: word("room"), verb, target, argument };
                self.done.insert((*run, line["counter"].as_u64().unwrap_or_default(), did));
            }
        }
    }

    fn is_honest(&self, account: &str) -> bool {
        self.honest.iter().any(|name| name == account)
    }

    fn message(&mut self, world: &World, viewer: Who, shown: &Shown) -> Result<(), String> {
        let (author, text) = (shown.author.as_str().to_owned(), shown.text.as_str());
        let complaint = |what: &str| Err(format!("{} was shown {what}: {shown:?}", world[viewer].account));
        if !self.is_honest(&world[viewer].account) {
            return Ok(());
        }
        if let Some(said) = world.said.get(text).filter(|said| said.author != author) {
            return complaint(&format!("what {} said", said.author));
        }
        if !self.is_honest(&author) {
            return Ok(());
        }
        if shown.trust == Trust::Unsigned {
            let signs = world[viewer].pins.signers.contains_key(&shown.author) || author == world[viewer].account;
            return if signs { complaint("something unsigned in a name that signs") } else { Ok(()) };
        }
        let Some(said) = world.said.get(text) else { return complaint("what nobody said") };
        let place = match &shown.place {
            ShownPlace::Room(room) => Place::Room(room.to_string()),
            ShownPlace::Direct { to } => Place::Direct(to.to_string()),
        };
        if said.author != author || said.place != place {
            return complaint(&format!("what {} said in {:?}", said.author, said.place));
        }
        if (shown.trust == Trust::Own) != (author == world[viewer].account) {
            return complaint("a message with somebody else's trust");
        }
        let key = (viewer.0, author, format!("{place:?}"));
        if self.last.insert(key, said.number).is_some_and(|last| last >= said.number) {
            return complaint("something twice, or out of order");
        }
        Ok(())
    }

    fn act(&mut self, world: &World, viewer: Who, act: &ShownAct) -> Result<(), String> {
        let author = act.author.as_str();
        if act.trust == Trust::Unsigned || !self.is_honest(author) || !self.is_honest(&world[viewer].account) {
            return Ok(());
        }
        let is_it = |did: &Did| {
            did.author == author
                && did.verb == act.verb.as_str()
                && UserName::new(&did.target) == act.target
                && Text::sanitize(&did.argument) == act.argument
        };
        let shown = self.acts.iter().filter(|(who, did)| *who == viewer.0 && is_it(did)).count();
        let done = self.done.iter().filter(|(.., did)| is_it(did)).count();
        if let Some((.., did)) = self.done.iter().find(|(.., did)| is_it(did)) {
            self.acts.push((viewer.0, did.clone()));
        }
        match shown < done {
            true => Ok(()),
            false => {
                Err(format!("{} was shown what {author} did not do, or not so often: {act:?}", world[viewer].account))
            }
        }
    }

    /// Tries the adversary's keys on what somebody gave to readers.
    fn readers(&mut self, world: &World, sender: Who, shown: usize, line: &[u8]) -> Result<(), String> {
        let Ok(line) = serde_json::from_slice::<Value>(line) else { return Ok(()) };
        for field in ["wraps", "encrypted_keys"] {
            for (target, wrap) in line[field].as_object().into_iter().flatten() {
                self.wraps += 1;
                let is_others = wrap.as_str().is_some_and(|wrap| world.for_others.contains(wrap));
                if is_others && !self.wraps.is_multiple_of(SAMPLE) {
                    continue;
                }
                if envelope::unwrap(wrap.as_str().unwrap_or_default(), &keys::adversary_rsa()).is_none() {
                    continue;
                }
                let name = if field == "wraps" { self.made_up.get(target) } else { Some(target) };
                self.reader(world, sender, shown, name, &line)?;
                self.opened += 1;
            }
        }
        Ok(())
    }

    fn reader(
        &self,
        world: &World,
        sender: Who,
        shown: usize,
        name: Option<&String>,
        line: &Value,
    ) -> Result<(), String> {
        let account = &world[sender].account;
        let kind = line["type"].as_str().unwrap_or_default();
        let Some(name) = name.filter(|name| !self.is_honest(name)) else {
            return Err(format!("a {kind} of {account} is opened by the adversary's key in the name of {name:?}"));
        };
        if kind == "direct" && line["user"] != name.as_str() {
            return Err(format!("a direct message of {account} to {} is opened by {name}", line["user"]));
        }
        // Who goes is to be told of again. A direct message is for whoever it names, in a room or not.
        let mut told = world[sender].screen[..shown].iter().rev().filter_map(|seen| match seen {
            Seen::Act(act) if kind != "direct" && goes(act, name) => Some(false),
            Seen::Server(words) if kind != "direct" && words.starts_with(&format!("{name} is gone")) => Some(false),
            Seen::Server(words) | Seen::Say(words) if words.contains(name.as_str()) => Some(true),
            _ => None,
        });
        match told.next() {
            Some(true) => Ok(()),
            Some(false) => Err(format!("{name} reads a {kind} of {account}, who was told that it went")),
            None => Err(format!("{name} reads a {kind} of {account}, who was not told")),
        }
    }
}

/// Whether somebody goes by an act.
fn goes(act: &ShownAct, name: &str) -> bool {
    match act.verb {
        Verb::Kick | Verb::Ban => act.target.as_str() == name,
        Verb::Leave => act.author.as_str() == name,
        _ => false,
    }
}

/// What is shown is what can be seen, and one line is one line.
fn is_plain(seen: &Seen) -> Result<(), &'static str> {
    let words = seen.to_string();
    let may_break = matches!(seen, Seen::Alarm(_) | Seen::End(_));
    let hidden = |c: char| {
        (c.is_control() && !(may_break && c == '\n'))
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
    };
    if words.contains(hidden) {
        return Err("something that is not seen");
    }
    match seen {
        Seen::Message(shown) if !words.starts_with(&shown.head()) => Err("a line that does not begin with its author"),
        _ => Ok(()),
    }
}
