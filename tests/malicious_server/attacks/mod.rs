//! Attacks that have a name, one test each, and each with what happens when the server is honest.

mod acts;
mod bounds;
mod direct;
mod doors;
mod keys;
mod log;
mod readers;
mod words;

use std::cell::RefCell;
use std::rc::Rc;

use secure_chat::chat::SessionId;
use secure_chat::client::modern::{Alarm, Trust};
use serde_json::Value;

use super::chronicle::Chronicle;
use super::forger::Forger;
use super::lines::{Kinds, written};
use super::scenes::{Cast, stage};
use crate::modern_world::{Passing, Way, Who, World};

/// A line on its way, which may be changed, dropped, and put between others.
struct Line<'a> {
    way: Way,
    who: Who,
    session: SessionId,
    kind: &'a str,
    value: Value,
    dropped: bool,
    before: Vec<Value>,
    after: Vec<Value>,
}

impl Line<'_> {
    fn drop(&mut self) {
        self.dropped = true;
    }

    fn is(&self, who: Who, kind: &str) -> bool {
        self.who == who && self.kind == kind
    }
}

/// Has every line pass a meddler's hands.
fn tamper(world: &mut World, mut meddle: impl FnMut(&mut Line<'_>) + 'static) {
    let mut kinds = Kinds::default();
    world.put(move |passing: &Passing<'_>, on: &mut Vec<(Who, Vec<u8>)>| {
        let value: Value = serde_json::from_slice(passing.line).expect("honest lines are JSON");
        let kind = kinds.of(passing, &value);
        let Passing { way, who, session, .. } = *passing;
        let mut line =
            Line { way, who, session, kind: &kind, value, dropped: false, before: Vec::new(), after: Vec::new() };
        meddle(&mut line);
        let Line { value, dropped, before, after, .. } = line;
        let own = (!dropped).then_some(value);
        on.extend(before.into_iter().chain(own).chain(after).map(|line| (who, written(&line))));
    });
}

/// Follows what one client sees of its room, so that something new can be put where it fits; everything passes.
fn follow(world: &mut World, who: Who) -> Rc<RefCell<Chronicle>> {
    let chronicle = Rc::new(RefCell::new(Chronicle::default()));
    let shared = Rc::clone(&chronicle);
    let account = world[who].account.clone();
    tamper(world, move |line| {
        if line.who == who {
            shared.borrow_mut().see(line.way, line.kind, &line.value, &account);
        }
    });
    // It begins with a join.
    world.cut(who);
    world.pass(std::time::Duration::from_secs(3));
    assert!(chronicle.borrow().at.is_some(), "{} is in a room", world[who].account);
    chronicle
}

fn entry_of(world: &World, who: Who) -> secure_chat::transcript::RosterEntry {
    let person = &world[who];
    let forger = Forger::with(
        world.server.realm(),
        &person.account,
        secure_chat::crypto::SigningKey::from_seed(person.signing().expose_seed()),
        person.rsa().clone(),
    );
    secure_chat::transcript::RosterEntry { run: person.run(), ..forger.entry() }
}

/// Whoever runs the server, in somebody's name.
fn forger(world: &World, account: &str) -> Forger {
    Forger::new(world.server.realm(), account)
}

/// Somebody as one who makes lines of its own.
fn as_forger(world: &World, who: Who) -> Forger {
    let person = &world[who];
    let signing = secure_chat::crypto::SigningKey::from_seed(person.signing().expose_seed());
    let own = Forger::with(world.server.realm(), &person.account, signing, person.rsa().clone());
    Forger { run: person.run(), ..own }
}

/// Where a client's log is, when it does not know who is listed: members have changed by their hash alone.
fn unlisted_place(world: &mut World, who: Who, other: Who) -> secure_chat::transcript::Position {
    let chronicle = Rc::new(RefCell::new(Chronicle::default()));
    let shared = Rc::clone(&chronicle);
    let account = world[who].account.clone();
    tamper(world, move |line| {
        if line.way == Way::Down && line.kind == "members listed" {
            crate::liar::Liar::hash_members(&mut line.value);
        }
        if line.who == who {
            shared.borrow_mut().see(line.way, line.kind, &line.value, &account);
        }
    });
    world.type_line(who, "/join den pw");
    world.type_line(other, "/leave");
    world.type_line(other, "/join den pw");
    chronicle.borrow().at.unwrap()
}

/// What somebody was alarmed of since a mark.
fn alarms<'a>(world: &'a World, mark: &[usize], who: Who) -> Vec<&'a Alarm> {
    world[who].alarms(mark[who.0])
}

macro_rules! assert_alarmed {
    ($world:expr, $mark:expr, $who:expr, $alarm:pat $(if $guard:expr)?) => {
        let found = alarms(&$world, &$mark, $who);
        assert!(
            found.iter().any(|alarm| matches!(alarm, $alarm $(if $guard)?)),
            "{} was not alarmed so: {found:?}\n{}",
            $world[$who].account,
            $world.screens(&$mark)
        );
    };
}
use assert_alarmed;

/// Nobody was alarmed.
fn assert_calm(world: &World, mark: &[usize]) {
    for who in (0..world.people.len()).map(Who) {
        assert!(alarms(world, mark, who).is_empty(), "{}", world.screens(mark));
    }
}

/// Somebody says something that exactly these see, as verified or pinned, or as their own.
fn assert_heard(world: &mut World, author: Who, text: &str, by: &[Who]) {
    let mark = world.mark();
    world.say(author, "den", text);
    for who in by {
        let trust = world[*who].trust_of(mark[who.0], text);
        assert!(
            trust.is_some_and(|trust| trust >= Trust::Pinned),
            "{} did not hear {text:?}\n{}",
            world[*who].account,
            world.screens(&mark)
        );
    }
}

/// Somebody does not hear something.
fn assert_unheard(world: &World, who: Who, text: &str) {
    assert_eq!(world[who].trust_of(0, text), None, "{}", world.screens(&[]));
}

/// The honest world in which everybody hears everybody.
fn calm_stage() -> (World, Cast) {
    let (mut world, cast) = stage();
    let Cast { alice, bob, carol, .. } = cast;
    let mark = world.mark();
    assert_heard(&mut world, alice, "is everybody there?", &[bob, carol]);
    assert_heard(&mut world, bob, "I am", &[alice, carol]);
    assert_heard(&mut world, carol, "so am I", &[alice, bob]);
    assert_calm(&world, &mark);
    (world, cast)
}
