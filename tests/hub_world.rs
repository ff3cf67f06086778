//! The hub in a simulated world: random people do random things, disks fail, and the rules hold.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may fail loudly")]

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use secure_chat::chat::{
    Change, Dialect, Directory, Effect, Entries, Hub, Input, Now, RsaKey, SessionId, Verifier, Work, WorkDone,
};
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::{ClientMessage, Command, Notice, Package, Reply, ServerMessage};
use secure_chat::transcript::Realm;

const NAMES: [&str; 4] = ["alice", "bob", "carol", "god"];
const ROOMS: [&str; 3] = ["lobby", "den", "attic"];

#[derive(Debug, Clone)]
enum Act {
    Connect,
    Disconnect(usize),
    Register(usize, usize),
    Login(usize, usize, bool),
    Create(usize, usize),
    Join(usize, usize, bool),
    Key(usize, usize),
    Chat(usize, usize),
    List(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let session = 0usize..8;
    let name = 0..NAMES.len();
    let room = 0..ROOMS.len();
    let right = prop::bool::weighted(0.8);
    prop_oneof![
        3 => Just(Act::Connect),
        1 => session.clone().prop_map(Act::Disconnect),
        2 => (session.clone(), name.clone()).prop_map(|(s, n)| Act::Register(s, n)),
        4 => (session.clone(), name.clone(), right).prop_map(|(s, n, ok)| Act::Login(s, n, ok)),
        2 => (session.clone(), room.clone()).prop_map(|(s, r)| Act::Create(s, r)),
        6 => (session.clone(), room.clone(), right).prop_map(|(s, r, ok)| Act::Join(s, r, ok)),
        2 => (session.clone(), name).prop_map(|(s, n)| Act::Key(s, n)),
        6 => (session.clone(), room).prop_map(|(s, r)| Act::Chat(s, r)),
        1 => session.prop_map(Act::List),
    ]
}

/// Carries out the hub's effects, as the server's threads do, and keeps a model of who is where.
struct World {
    hub: Hub,
    open: Vec<SessionId>,
    ids: u64,
    /// What is saved. That each change fits is for the hub to see to.
    disk: Entries,
    disk_fails: bool,
    users: HashMap<SessionId, UserName>,
    places: HashMap<SessionId, RoomName>,
    /// What each session heard since it was last asked.
    heard: HashMap<SessionId, Vec<ServerMessage>>,
}

impl World {
    fn new() -> Self {
        let mut disk = Entries::default();
        disk.apply(Change::AddUser { user: UserName::god(), password: Verifier::new("pw") }).unwrap();
        Self {
            hub: Hub::new(Directory::new(disk.clone()), Realm([1; 32]), [2; 32]),
            open: Vec::new(),
            ids: 0,
            disk,
            disk_fails: false,
            users: HashMap::new(),
            places: HashMap::new(),
            heard: HashMap::new(),
        }
    }

    /// Feeds one input and everything that follows from it; how often the session was told to go on.
    fn feed(&mut self, input: Input, session: SessionId) -> usize {
        let mut inputs = vec![input];
        let mut ready = 0;
        while let Some(input) = inputs.pop() {
            let now = Now { elapsed: Duration::from_secs(self.ids), unix_ms: self.ids * 1000 };
            for effect in self.hub.handle(now, input) {
                match effect {
                    Effect::Send(to, message) => self.hear(to, message),
                    Effect::Deliver(to, message) => to.into_iter().for_each(|to| self.hear(to, message.clone())),
                    Effect::Work(to, work) => inputs.push(Input::Worked(to, perform(work))),
                    Effect::Store(session, change) => {
                        let saved = !self.disk_fails;
                        if saved {
                            self.disk.apply(change.clone()).unwrap();
                        }
                        inputs.push(Input::Stored { session, change, saved });
                    }
                    Effect::Ready(to) => {
                        assert_eq!(to, session, "only who asked is told to go on");
                        ready += 1;
                    }
                    Effect::SaveKey(key) => assert_eq!(Some(&key.user), self.users.get(&session)),
                    Effect::Suspicious(..) => {}
                    Effect::Answer(..) | Effect::Tell(..) | Effect::TellKeyed(..) | Effect::End(_) => {
                        panic!("nobody is on the modern wire")
                    }
                }
            }
        }
        ready
    }

    fn hear(&mut self, to: SessionId, message: ServerMessage) {
        if let ServerMessage::Chat(package) = &message {
            assert_eq!(self.places.get(&to), Some(&package.room), "a package outside its room");
        }
        self.heard.entry(to).or_default().push(message);
    }

    fn command(&mut self, session: SessionId, command: Command) -> Vec<ServerMessage> {
        self.heard.remove(&session);
        let ready = self.feed(Input::Message(session, ClientMessage::Command(command)), session);
        assert_eq!(ready, 1, "every command is answered once");
        self.heard.remove(&session).unwrap_or_default()
    }

    fn in_room(&self, room: &RoomName) -> HashSet<SessionId> {
        self.places.iter().filter(|(_, r)| *r == room).map(|(s, _)| *s).collect()
    }

    fn act(&mut self, act: &Act) {
        let session = |open: &[SessionId], i: usize| open.get(i % open.len().max(1)).copied();
        let password = |right: bool| Password::new(if right { "pw" } else { "wrong" });
        match *act {
            Act::Connect => {
                self.ids += 1;
                let id = SessionId(self.ids);
                self.open.push(id);
                self.feed(Input::Connected(id, IpAddr::from([127, 0, 0, 1]), Dialect::Legacy), id);
            }
            Act::Disconnect(i) => {
                let Some(id) = session(&self.open, i) else { return };
                self.open.retain(|open| *open != id);
                let place = self.places.remove(&id);
                let user = self.users.remove(&id);
                self.heard.clear();
                self.feed(Input::Disconnected(id), id);
                if let (Some(room), Some(user)) = (place, user) {
                    self.assert_noticed(&room, (!user.is_god()).then_some(Notice::Left(user)));
                }
            }
            Act::Register(i, n) => {
                let Some(id) = session(&self.open, i) else { return };
                let user = UserName::new(NAMES[n]);
                let existed = self.disk.users.contains_key(&user);
                let reply = self.command(id, Command::Register(Some((user.clone(), password(true), None))));
                let expected = match (user.is_god(), existed, self.disk_fails) {
                    (true, ..) => Reply::GodIsReserved,
                    (_, true, _) => Reply::UserExists,
                    (_, _, true) => Reply::NotSaved,
                    _ => Reply::Registered(user),
                };
                assert_eq!(reply, [ServerMessage::Reply(expected)]);
            }
            Act::Login(i, n, right) => {
                let Some(id) = session(&self.open, i) else { return };
                let user = UserName::new(NAMES[n]);
                let exists = self.disk.users.contains_key(&user);
                let reply = self.command(id, Command::Login(Some((user.clone(), password(right)))));
                if reply == [ServerMessage::Reply(Reply::LoggedIn(user.clone()))] {
                    assert!(exists && right);
                    self.users.insert(id, user);
                    self.places.remove(&id);
                } else {
                    assert!(
                        !(exists && right)
                            || matches!(reply[..], [ServerMessage::Reply(Reply::TooManyAttempts { .. })])
                    );
                }
            }
            Act::Create(i, r) => {
                let Some(id) = session(&self.open, i) else { return };
                let room = RoomName::new(ROOMS[r]);
                let existed = self.disk.rooms.contains_key(&room);
                let reply = self.command(id, Command::Create(Some((room.clone(), password(true)))));
                let expected = match (self.users.contains_key(&id), existed, self.disk_fails) {
                    (false, ..) => Reply::LoginFirst,
                    (_, true, _) => Reply::RoomExists,
                    (_, _, true) => Reply::NotSaved,
                    _ => Reply::RoomCreated(room),
                };
                assert_eq!(reply, [ServerMessage::Reply(expected)]);
            }
            Act::Join(i, r, right) => {
                self.join(session(&self.open, i), &RoomName::new(ROOMS[r]), password(right), right)
            }
            Act::Key(i, n) => {
                let Some(session) = session(&self.open, i) else { return };
                let user = UserName::new(NAMES[n]);
                let own = self.users.get(&session) == Some(&user);
                self.heard.clear();
                let pem = format!("key of {session}");
                let key = RsaKey { spki: pem.as_bytes().into(), pem: pem.into() };
                self.feed(Input::Key { session, user, key: Ok(key) }, session);
                let others = self.places.get(&session).map(|room| self.in_room(room)).unwrap_or_default();
                let reached: HashSet<_> = self.heard.keys().copied().collect();
                assert!(reached.is_subset(&others) && !reached.contains(&session));
                assert!(own || reached.is_empty(), "a key for another's name was passed on");
            }
            Act::Chat(i, r) => {
                let Some(id) = session(&self.open, i) else { return };
                let room = RoomName::new(ROOMS[r]);
                let package = Package::new("t".into(), Default::default(), room.clone());
                self.heard.clear();
                self.feed(Input::Message(id, ClientMessage::Chat(Ok(package))), id);
                let mut reached: HashSet<_> = self.heard.keys().copied().collect();
                match self.places.get(&id) {
                    Some(place) if *place == room => {
                        reached.insert(id);
                        assert_eq!(reached, self.in_room(&room), "to everyone in the room but the sender");
                        assert!(!self.heard.contains_key(&id));
                    }
                    Some(_) => assert_eq!(self.heard[&id], [ServerMessage::Reply(Reply::RoomMismatch)]),
                    None => assert_eq!(self.heard[&id], [ServerMessage::Reply(Reply::JoinFirst)]),
                }
            }
            Act::List(i) => {
                let Some(id) = session(&self.open, i) else { return };
                let reply = self.command(id, Command::List);
                match &reply[..] {
                    [ServerMessage::Reply(Reply::Rooms(rooms))] => {
                        assert!(rooms.iter().eq(self.disk.rooms.keys()));
                    }
                    other => assert_eq!(*other, [ServerMessage::Reply(Reply::LoginFirst)]),
                }
            }
        }
    }

    fn join(&mut self, session: Option<SessionId>, room: &RoomName, password: Password, right: bool) {
        let Some(id) = session else { return };
        let exists = self.disk.rooms.contains_key(room);
        let user = self.users.get(&id).cloned();
        let is_god = user.as_ref().is_some_and(UserName::is_god);
        self.heard.clear();
        let goes = user.is_some() && exists && (right || is_god);
        let old = self.places.get(&id).cloned();
        let ready = self
            .feed(Input::Message(id, ClientMessage::Command(Command::Join(Some((room.clone(), Some(password)))))), id);
        assert_eq!(ready, 1);
        let throttled = matches!(
            self.heard.get(&id).map(Vec::as_slice),
            Some([ServerMessage::Reply(Reply::TooManyAttempts { .. })])
        );
        if !goes || throttled {
            assert_eq!(self.heard.len(), 1, "a refusal is for the one who asked");
            return;
        }
        self.places.insert(id, room.clone());
        let user = user.unwrap();
        self.assert_noticed(room, (!is_god).then_some(Notice::Joined(user.clone())));
        if let Some(old) = old.filter(|old| old != room) {
            self.assert_noticed(&old, (!is_god).then_some(Notice::Left(user)));
        }
        // The newcomer's keys come before its own notice.
        let heard = self.heard.get(&id).cloned().unwrap_or_default();
        let notice = heard.iter().position(|m| matches!(m, ServerMessage::Notice(_))).unwrap_or(heard.len());
        assert!(heard[notice..].iter().all(|m| !matches!(m, ServerMessage::Key(_))));
    }

    /// Everyone in the room heard the notice, and nobody else.
    fn assert_noticed(&self, room: &RoomName, notice: Option<Notice>) {
        let heard = |session: &SessionId| {
            let notices = self.heard.get(session).into_iter().flatten();
            notices.filter(|m| matches!((m, &notice), (ServerMessage::Notice(n), Some(notice)) if n == notice)).count()
        };
        let here = self.in_room(room);
        for session in &self.open {
            let expected = usize::from(notice.is_some() && here.contains(session));
            assert_eq!(heard(session), expected, "{notice:?} at {session}");
        }
    }
}

fn perform(work: Work) -> WorkDone {
    match work {
        Work::Hash(password) => WorkDone::Hashed(Verifier::new(password.expose())),
        Work::Check { password, verifier } => {
            let right = verifier.is_some_and(|verifier| verifier.as_str() == password.expose());
            WorkDone::Checked { right, better: None }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]
    #[test]
    fn the_rules_hold_whatever_people_do(acts in prop::collection::vec((act(), prop::bool::weighted(0.1)), 1..150)) {
        let mut world = World::new();
        for (act, disk_fails) in &acts {
            world.disk_fails = *disk_fails;
            world.act(act);
            // Memory and disk agree, always, also in the order.
            let hub = world.hub.directory();
            prop_assert!(hub.users().iter().eq(&world.disk.users) && hub.rooms().iter().eq(&world.disk.rooms));
        }
    }
}
