//! The hub in a simulated world of both wires: random people do random things, connections are lost, the disk fails or takes its
//! time, and every member that hashes what it hears has the same log as all others.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::member::Member;
use common::world::{Heard, World, announce, login, password};
use proptest::prelude::*;
use secure_chat::chat::{Dialect, SessionId};
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{
    ActRequest, Answer, Entry, Event, GrantRequest, GrantStamp, OkBody, RequestBody, SendRequest, Wrap,
};
use secure_chat::protocol::{Reply, ServerMessage};
use secure_chat::transcript::{BundleHash, EntryKey, GrantCheck, LogHash, Position, Signature, Verb};

const NAMES: [&str; 4] = ["alice", "bob", "carol", "god"];
const ROOMS: [&str; 2] = ["den", "attic"];
const VERBS: [Verb; 10] = [
    Verb::Kick,
    Verb::Ban,
    Verb::Unban,
    Verb::Mute,
    Verb::Unmute,
    Verb::Topic,
    Verb::Flags,
    Verb::Password,
    Verb::Delete,
    Verb::Leave,
];

#[derive(Debug, Clone)]
enum Step {
    /// A client starts: user, keys, run.
    Start(usize, u8, u16),
    Lose(usize),
    Resume(usize),
    LoginAgain(usize, usize),
    Logout(usize),
    Create(usize, usize),
    Join(usize, usize, bool),
    Say(usize),
    Resend(usize),
    Stale(usize),
    Act(usize, usize, usize),
    Who(usize),
    Grant(usize),
    NeedKey(usize, usize),
    Passwd(usize),
    LegacyLogin(usize, bool),
    PythonStarts(usize),
    PythonEnds(usize),
    PythonLogsIn(usize, usize),
    PythonJoins(usize, usize),
    PythonSays(usize),
    PythonKey(usize, u8),
    Pass(u64),
    DiskFails(bool),
    DiskWaits(bool),
    Write,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0usize..6;
    let room = 0..ROOMS.len();
    let name = 0..NAMES.len();
    prop_oneof![
        6 => (name.clone(), 0u8..3, 0u16..3).prop_map(|(n, k, r)| Step::Start(n, k, r)),
        3 => who.clone().prop_map(Step::Lose),
        4 => who.clone().prop_map(Step::Resume),
        1 => (who.clone(), name.clone()).prop_map(|(w, n)| Step::LoginAgain(w, n)),
        1 => who.clone().prop_map(Step::Logout),
        2 => (who.clone(), room.clone()).prop_map(|(w, r)| Step::Create(w, r)),
        10 => (who.clone(), room.clone(), prop::bool::weighted(0.9)).prop_map(|(w, r, ok)| Step::Join(w, r, ok)),
        8 => who.clone().prop_map(Step::Say),
        2 => who.clone().prop_map(Step::Resend),
        1 => who.clone().prop_map(Step::Stale),
        5 => (who.clone(), 0..VERBS.len(), name.clone()).prop_map(|(w, v, n)| Step::Act(w, v, n)),
        3 => who.clone().prop_map(Step::Who),
        1 => who.clone().prop_map(Step::Grant),
        1 => (who.clone(), who.clone()).prop_map(|(w, o)| Step::NeedKey(w, o)),
        1 => who.clone().prop_map(Step::Passwd),
        1 => (who.clone(), any::<bool>()).prop_map(|(w, on)| Step::LegacyLogin(w, on)),
        3 => name.clone().prop_map(Step::PythonStarts),
        1 => (who.clone(), name).prop_map(|(w, n)| Step::PythonLogsIn(w, n)),
        1 => who.clone().prop_map(Step::PythonEnds),
        4 => (who.clone(), room).prop_map(|(w, r)| Step::PythonJoins(w, r)),
        4 => who.clone().prop_map(Step::PythonSays),
        2 => (who, 0u8..3).prop_map(|(w, k)| Step::PythonKey(w, k)),
        4 => (0u64..90).prop_map(Step::Pass),
        1 => prop::bool::weighted(0.3).prop_map(Step::DiskFails),
        1 => any::<bool>().prop_map(Step::DiskWaits),
        4 => Just(Step::Write),
    ]
}

/// Somebody on the legacy wire.
struct Python {
    session: SessionId,
    user: UserName,
    room: Option<RoomName>,
}

struct People {
    world: World,
    members: Vec<Member>,
    pythons: Vec<Python>,
    /// The last message of each member.
    last: BTreeMap<usize, SendRequest>,
}

impl People {
    fn new() -> Self {
        let mut world = World::new();
        NAMES[..3].iter().for_each(|user| world.add_user(user));
        let owner = world.connect(Dialect::Modern);
        world.ok(owner, login("alice"));
        let room = RoomName::new(ROOMS[0]);
        world.ok(owner, RequestBody::Create { room, password: password("pw"), modern_only: false });
        world.disconnect(owner);
        Self { world, members: Vec::new(), pythons: Vec::new(), last: BTreeMap::new() }
    }

    /// Whether a member may ask for something: it is connected, and what it asked before is answered.
    fn free(&self, who: usize) -> Option<usize> {
        let member = self.members.get(who)?;
        let is_free = self.is_up(member.session) && !self.world.waits.contains(&member.session);
        is_free.then_some(who)
    }

    fn is_up(&self, session: SessionId) -> bool {
        self.world.hub.user_of(session).is_some()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Start(n, keys, run) => self.start(NAMES[n], keys, run),
            Step::Pass(seconds) => self.world.pass(Duration::from_secs(seconds)),
            Step::DiskFails(fails) => self.world.disk_fails = fails,
            Step::DiskWaits(waits) => self.world.disk_waits = waits,
            Step::Write => self.world.write(),
            Step::Lose(who) => self.lose(who),
            Step::Resume(who) => self.resume(who),
            Step::PythonStarts(n) => self.python_starts(NAMES[n]),
            Step::PythonEnds(who)
            | Step::PythonLogsIn(who, _)
            | Step::PythonJoins(who, _)
            | Step::PythonSays(who)
            | Step::PythonKey(who, _) => self.python(who, step),
            Step::LoginAgain(who, _)
            | Step::Logout(who)
            | Step::Create(who, _)
            | Step::Join(who, _, _)
            | Step::Say(who)
            | Step::Resend(who)
            | Step::Stale(who)
            | Step::Act(who, _, _)
            | Step::Who(who)
            | Step::Grant(who)
            | Step::NeedKey(who, _)
            | Step::Passwd(who)
            | Step::LegacyLogin(who, _) => {
                if let Some(who) = self.free(who) {
                    self.member(who, step);
                }
            }
        }
        self.everybody_hears();
    }

    fn start(&mut self, user: &str, keys: u8, run: u16) {
        if self.members.len() == 6 {
            return;
        }
        let session = self.world.connect(Dialect::Modern);
        let id = self.world.request(session, login(user));
        // The password may have been changed, and then nobody logs in any more.
        if matches!(self.world.answer_to(session, id).1, Some(Answer::Ok { .. })) {
            let token = match self.world.ok(session, announce(keys, run)) {
                OkBody::Announce { session, .. } => session.token,
                other => panic!("{other:?}"),
            };
            self.members.push(Member::adopt(session, user, keys, run, token));
        }
    }

    fn lose(&mut self, who: usize) {
        if let Some(member) = self.members.get_mut(who)
            && self.world.hub.user_of(member.session).is_some()
        {
            member.lose(&mut self.world);
            assert!(!self.world.waits.contains(&member.session));
        }
    }

    fn resume(&mut self, who: usize) {
        let Some(member) = self.members.get(who) else { return };
        if !self.is_up(member.session) {
            let _ = self.members[who].resume(&mut self.world);
            if !self.is_up(self.members[who].session) {
                self.world.disconnect(self.members[who].session);
                self.members.remove(who); // its token is gone
                self.last.clear();
            }
        }
    }

    fn member(&mut self, who: usize, step: &Step) {
        let (world, member) = (&mut self.world, &mut self.members[who]);
        match *step {
            Step::LoginAgain(_, n) => {
                let id = world.request(member.session, login(NAMES[n]));
                member.follower = None;
                let answer = world.answer_to(member.session, id).1;
                // Whoever it is now has no bundle; it goes.
                let _ = answer;
                world.disconnect(member.session);
                world.take(member.session);
                self.members.remove(who);
                self.last.clear();
            }
            Step::Logout(_) => {
                member.asks(world, RequestBody::Logout).unwrap();
                world.disconnect(member.session);
                self.members.remove(who);
                self.last.clear();
            }
            Step::Create(_, r) => {
                let room = RoomName::new(ROOMS[r]);
                member.begins(world, RequestBody::Create { room, password: password("pw"), modern_only: false });
            }
            Step::Join(_, r, right) => {
                let before = member.room();
                let id = member.ask_join(world, ROOMS[r], Some(if right { "pw" } else { "wrong" }));
                if matches!(member.outcome(id), Some(Err(_))) {
                    assert_eq!(member.room(), before, "a join that fails changes nothing");
                }
            }
            Step::Say(_) if member.room().is_some() => self.say(who),
            Step::Resend(_) => self.resend(who),
            Step::Stale(_) if member.room().is_some() => {
                let mut message = member.message(&member.room().unwrap(), "stale");
                message.stamp.at = Position { n: member.at().n, log: LogHash([1; 32]) };
                assert!(member.sends(world, message).is_err());
            }
            Step::Act(_, verb, n) if member.room().is_some() => {
                let (verb, room) = (VERBS[verb], member.room().unwrap());
                let is_targeted = matches!(verb, Verb::Kick | Verb::Ban | Verb::Unban | Verb::Mute | Verb::Unmute);
                let argument = match verb {
                    Verb::Ban | Verb::Mute => "20",
                    Verb::Flags if n > 1 => "modern-only",
                    Verb::Topic => "topic",
                    _ => "",
                };
                let mut act: ActRequest = member.deed(&room, verb, if is_targeted { NAMES[n] } else { "" }, argument);
                act.secret = act.secret.map(|_| Password::new("pw"));
                member.acts(world, act);
            }
            Step::Who(_) if member.room().is_some() => self.who(who),
            Step::Grant(_) if member.room().is_some() => self.grant(who),
            Step::NeedKey(_, other) if member.room().is_some() => self.need_key(who, other),
            Step::Passwd(_) => {
                member.begins(world, RequestBody::Passwd { old: password("pw"), new: password("pw") });
            }
            Step::LegacyLogin(_, legacy) => {
                member.begins(world, RequestBody::Account { password: password("pw"), legacy });
            }
            _ => {}
        }
    }

    fn say(&mut self, who: usize) {
        let room = self.members[who].room().unwrap();
        self.everybody_hears();
        self.members.iter_mut().for_each(|member| member.events.clear());
        let member = &mut self.members[who];
        let message = member.message(&room, "token");
        let outcome = member.sends(&mut self.world, message.clone());
        let is_muted = matches!(outcome, Err("muted"));
        assert!(outcome.is_ok() || is_muted, "who is up to date may speak: {outcome:?}");
        self.everybody_hears();
        for (other, member) in self.members.iter().enumerate() {
            let heard = member.events.iter().filter(|event| matches!(event, Event::Message(_))).count();
            let is_there = member.room().as_ref() == Some(&room) && other != who;
            assert_eq!(heard, usize::from(is_there && !is_muted), "once to each member, and to nobody else");
        }
        if !is_muted {
            self.last.insert(who, message);
        }
    }

    /// Gives a key to everybody, wherever they are; those in the room get theirs.
    fn grant(&mut self, who: usize) {
        self.everybody_hears();
        let room = self.members[who].room().unwrap();
        self.members.iter_mut().for_each(|member| member.events.clear());
        let wraps = self.members.iter().map(|m| (m.reader().bundle, Wrap::new("QQ==".to_owned()).unwrap())).collect();
        let (check, signature, at) = (GrantCheck([5; 32]), Signature([6; 64]), self.members[who].at());
        let stamp = GrantStamp { epoch: 1, counter: 1, at, check, signature };
        let body = RequestBody::Grant(GrantRequest { room: room.clone(), stamp, wraps });
        self.members[who].asks(&mut self.world, body).unwrap();
        self.everybody_hears();
        for (other, member) in self.members.iter().enumerate() {
            let heard = member.events.iter().filter(|event| matches!(event, Event::Grant(_))).count();
            let is_there = member.room().as_ref() == Some(&room) && other != who;
            assert_eq!(heard, usize::from(is_there), "one to each member but the one who gives it");
        }
    }

    fn need_key(&mut self, who: usize, other: usize) {
        let Some(asked) = self.members.get(other) else { return };
        let room = self.members[who].room().unwrap();
        let (user, reader) = (asked.user.clone(), asked.reader());
        let is_asked = |m: &Member| m.user == user && m.reader() == reader && m.room().as_ref() == Some(&room);
        let is_there = self.members.iter().any(is_asked);
        let body = RequestBody::NeedKey { room, user, reader, epoch: 1 };
        let outcome = self.members[who].asks(&mut self.world, body);
        assert_eq!(outcome.is_ok(), is_there, "{outcome:?}");
    }

    fn resend(&mut self, who: usize) {
        let Some(mut message) = self.last.get(&who).cloned() else { return };
        let member = &mut self.members[who];
        if member.room().as_ref() != Some(&message.room) || member.counter != message.stamp.counter + 1 {
            return;
        }
        let n = member.at().n;
        message.resend = true;
        // In a room that was empty meanwhile, nobody remembers: what was signed for its old log is stale.
        if let Ok(accepted) = member.sends(&mut self.world, message) {
            assert!(accepted.duplicate);
        }
        assert_eq!(member.at().n, n, "nothing happened");
    }

    /// The list is what everybody knows: those who are there, and those who were lost.
    fn who(&mut self, who: usize) {
        let room = self.members[who].room().unwrap();
        let before = self.members[who].at();
        self.members[who].who(&mut self.world);
        assert_eq!(self.members[who].at(), before, "a small room has been told of everything");
        let entries = self.members[who].entries.clone();
        let here = self.members.iter().filter(|member| member.room().as_ref() == Some(&room));
        let expected: BTreeSet<_> = here.map(Member::entry).collect();
        let present = entries.iter().filter(|e| e.entry.key.bundle().is_some() && !e.away);
        assert_eq!(
            present.map(|e| e.entry.clone()).collect::<BTreeSet<_>>(),
            expected,
            "listed as there is who is there"
        );
        let hash = |entry: &Entry| match entry.entry.key {
            EntryKey::Modern(hash) => Some(hash),
            EntryKey::Legacy(key) => key.map(|key| BundleHash(key.0)),
        };
        let hashes: Vec<_> = entries.iter().filter_map(hash).collect();
        let known = self.members[who].asks(&mut self.world, RequestBody::Bundles { hashes });
        assert_eq!(known, Ok(OkBody::Bundles { missing: vec![] }), "who is listed can be written to");
        let legacy = |user: &UserName| {
            entries.iter().filter(|e| matches!(e.entry.key, EntryKey::Legacy(_)) && e.entry.account == *user).count()
        };
        for name in NAMES.map(UserName::new) {
            let there = self.pythons.iter().filter(|p| p.room.as_ref() == Some(&room) && p.user == name).count();
            assert_eq!(legacy(&name), there, "a legacy member is always listed: {name}");
        }
    }

    fn python_starts(&mut self, user: &str) {
        if self.pythons.len() == 6 {
            return;
        }
        let session = self.world.connect(Dialect::Legacy);
        self.world.command(session, &format!("/login {user} pw"));
        if self.world.hub.user_of(session).is_some() {
            self.pythons.push(Python { session, user: UserName::new(user), room: None });
        } else {
            self.world.disconnect(session);
        }
    }

    fn python(&mut self, who: usize, step: &Step) {
        let Some(python) = self.pythons.get_mut(who) else { return };
        if self.world.waits.contains(&python.session) {
            return;
        }
        match *step {
            Step::PythonEnds(_) => {
                self.world.disconnect(python.session);
                self.world.take(python.session);
                self.pythons.remove(who);
            }
            Step::PythonLogsIn(_, n) => {
                let texts = self.world.command(python.session, &format!("/login {} pw", NAMES[n]));
                if texts == [format!("Login successful. Welcome, {}!", NAMES[n])] {
                    (python.user, python.room) = (UserName::new(NAMES[n]), None);
                }
            }
            Step::PythonJoins(_, r) => {
                let room = RoomName::new(ROOMS[r]);
                let texts = self.world.command(python.session, &format!("/join {room} pw"));
                let refused = ["does not exist.", "banned from", "modern clients only", "Too many", "Incorrect"];
                let is_in = texts.iter().all(|text| !refused.iter().any(|words| text.contains(words)));
                if is_in {
                    python.room = Some(room);
                }
            }
            Step::PythonSays(_) => {
                let room = python.room.clone().unwrap_or(RoomName::new("nowhere"));
                self.world.package(python.session, &room, "hi", &[("alice", "QQ=="), ("bob", "Qg==")]);
            }
            Step::PythonKey(_, key) => {
                let user = python.user.clone();
                self.world.key(python.session, &user, key);
            }
            _ => {}
        }
    }

    /// All that was sent is heard, and those who are in one room agree on its log.
    fn everybody_hears(&mut self) {
        for member in &mut self.members {
            member.hear(&mut self.world);
            if self.world.hub.user_of(member.session).is_none() {
                member.follower = None; // it was told to go
            }
        }
        let mut heads: BTreeMap<RoomName, Position> = BTreeMap::new();
        for member in &self.members {
            if let Some(room) = member.room() {
                let head = *heads.entry(room).or_insert(member.at());
                assert_eq!(head, member.at(), "all members have one log");
            }
        }
        let world = &mut self.world;
        self.pythons.retain_mut(|python| {
            for heard in world.take(python.session) {
                python.hears(&heard);
            }
            world.hub.user_of(python.session).is_some()
        });
    }
}

impl Python {
    fn hears(&mut self, heard: &Heard) {
        match heard {
            Heard::Legacy(ServerMessage::Chat(package)) => {
                assert_eq!(self.room.as_ref(), Some(&package.room), "a package outside its room");
            }
            Heard::Legacy(ServerMessage::Reply(Reply::PutOut { room, .. } | Reply::ModernOnly(room))) => {
                assert_eq!(self.room.take().as_ref(), Some(room));
            }
            Heard::Legacy(_) => {}
            Heard::Answer(_) | Heard::Event(_) => panic!("{heard:?} on the legacy wire"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]
    #[test]
    fn whatever_people_do_all_members_have_one_log(steps in prop::collection::vec(step(), 1..150)) {
        let mut people = People::new();
        for step in &steps {
            people.step(step);
            // Memory and disk agree, always, also in the order.
            let directory = people.world.hub.directory();
            prop_assert!(directory.users().iter().eq(&people.world.disk.users));
            prop_assert!(directory.rooms().iter().eq(&people.world.disk.rooms));
        }
        // Nobody waits for ever.
        people.world.disk_waits = false;
        (0..200).for_each(|_| people.world.write());
        people.world.pass(Duration::from_secs(1));
        prop_assert!(people.world.waits.is_empty());
        people.everybody_hears();
    }
}

/// A room of hundreds, in which changes are collected: they come, are lost and return, speak and ask who is there.
#[test]
fn in_a_crowd_everybody_has_one_log() {
    let mut world = World::new();
    let users: Vec<_> = (0..8).map(|n| format!("user{n}")).collect();
    users.iter().for_each(|user| world.add_user(user));
    let owner = world.connect(Dialect::Modern);
    world.ok(owner, login(&users[0]));
    let room = RoomName::new("den");
    world.ok(owner, RequestBody::Create { room, password: password("pw"), modern_only: false });
    let mut members: Vec<_> = (0..400u16)
        .map(|n| {
            let mut member = Member::new(&mut world, &users[usize::from(n) % 8], (n % 3) as u8, n);
            member.ask_join(&mut world, "den", Some("pw"));
            member
        })
        .collect();
    let mut random = 1u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for round in 0..3000 {
        let who = next(members.len());
        let member = &mut members[who];
        member.hear(&mut world);
        let is_up = world.hub.user_of(member.session).is_some();
        match next(20) {
            0 | 1 if is_up => member.lose(&mut world),
            _ if !is_up => _ = member.resume(&mut world),
            _ if world.waits.contains(&member.session) => {}
            _ if member.room().is_none() => _ = member.ask_join(&mut world, "den", Some("pw")),
            2..10 => _ = member.says(&mut world, &format!("{round}")).unwrap(),
            _ => member.who(&mut world),
        }
        if next(4) == 0 {
            world.pass(Duration::from_millis(next(400) as u64));
        }
        if next(20) == 0 {
            let sessions: Vec<_> = members.iter().map(|member| member.session).collect();
            for session in sessions {
                if world.hub.user_of(session).is_some() && !world.waits.contains(&session) {
                    world.request(session, RequestBody::Ping); // everyone shows a sign of life
                }
            }
        }
    }
    world.pass(Duration::from_secs(1));
    assert!(world.waits.is_empty());
    let mut heads = Vec::new();
    for member in &mut members {
        member.hear(&mut world);
        heads.extend(member.room().map(|_| member.at()));
    }
    assert!(heads.len() > 256 && heads.iter().all(|head| *head == heads[0]), "{} members", heads.len());
}
