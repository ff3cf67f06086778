//! Every request in every state gets the answer that the tables of docs/PROTOCOL.md say: the first check that fails, in the order
//! of the rows. What is expected is written here as data, beside what is true in each state; the hub is asked through the codecs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may fail loudly")]

mod common;

use common::member::Member;
use common::world::{World, announce, bundle_keys, login, password, run_id};
use secure_chat::chat::{Dialect, SessionId};
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{
    ActRequest, Answer, DirectBody, DirectRequest, DirectStamp, GrantRequest, GrantStamp, OkBody, Reader, RequestBody,
    RequestType, SessionToken, SignedText, Wrap, Wraps,
};
use secure_chat::transcript::{BundleHash, Commitment, GrantCheck, LogHash, Position, Signature, Verb};

/// What is true of the session that asks, and of the room `den`, which is alice's.
#[derive(Debug, Clone, Copy)]
struct State {
    name: &'static str,
    user: Option<&'static str>,
    announced: bool,
    room: Option<&'static str>,
    muted: bool,
    banned: bool,
    /// Whether it is listed in the den, there or away, so that it needs no password.
    listed: bool,
    den_is_gone: bool,
}

const OUT: State = State {
    name: "a guest",
    user: None,
    announced: false,
    room: None,
    muted: false,
    banned: false,
    listed: false,
    den_is_gone: false,
};
const BOB: State = State { user: Some("bob"), announced: true, ..OUT };
const IN_DEN: State = State { room: Some("den"), listed: true, ..BOB };

const STATES: [State; 17] = [
    OUT,
    State { name: "logged in", announced: false, ..BOB },
    State { name: "announced", ..BOB },
    State { name: "a member", ..IN_DEN },
    State { name: "the owner", user: Some("alice"), ..IN_DEN },
    State { name: "god", user: Some("god"), ..IN_DEN },
    State { name: "muted", muted: true, ..IN_DEN },
    State { name: "the owner, muted by god", user: Some("alice"), muted: true, ..IN_DEN },
    State { name: "banned", banned: true, ..BOB },
    State { name: "kicked", ..BOB },
    State { name: "in another room", room: Some("attic"), ..BOB },
    State { name: "the owner in another room", user: Some("alice"), room: Some("attic"), ..BOB },
    State { name: "god in another room", user: Some("god"), room: Some("attic"), ..BOB },
    State { name: "away", listed: true, ..BOB },
    State { name: "returned", ..IN_DEN },
    State { name: "after its room was deleted", den_is_gone: true, ..BOB },
    State { name: "logged out", ..OUT },
];

/// A check: what it asks, and the error when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    LogIn,
    Bundle,
    /// In the den.
    Here,
    OutOfRooms,
    Exists,
    IsFree,
    NotBanned,
    /// The den's password was right, or is not needed.
    Password,
    /// Too many wrong ones were given, where one is needed.
    Unhurried,
    NotMuted,
    /// A counter out of order, which goes unnoticed as long as the session could not say anything.
    Uncounted,
    /// Owner or god.
    Rules,
    /// God.
    IsGod,
    /// Whatever is true of the session.
    Never(&'static str),
}
use Check::{
    Bundle, Exists, Here, IsFree, IsGod, LogIn, Never, NotBanned, NotMuted, OutOfRooms, Password as RoomPassword,
    Rules, Uncounted, Unhurried,
};

impl Check {
    /// The error, if the check fails.
    fn fails(self, state: &State) -> Option<&'static str> {
        let is_god = state.user == Some("god");
        let (holds, error) = match self {
            LogIn => (state.user.is_some(), "login_first"),
            Bundle => (state.announced, "announce_first"),
            Here if state.room.is_none() => (false, "join_first"),
            Here => (state.room == Some("den"), "room_mismatch"),
            OutOfRooms => (state.room.is_none(), "in_room"),
            Exists => (!state.den_is_gone, "no_such_room"),
            IsFree => (state.den_is_gone, "room_exists"),
            NotBanned => (!state.banned, "banned"),
            RoomPassword => (is_god || state.listed, "wrong_room_password"),
            Unhurried => (is_god || state.listed, "too_many_attempts"),
            NotMuted => (!state.muted, "muted"),
            Uncounted => (state.muted, "out_of_order"),
            Rules => (is_god || state.user == Some("alice"), "forbidden"),
            IsGod => (is_god, "forbidden"),
            Never(error) => (false, error),
        };
        (!holds).then_some(error)
    }
}

/// The checks that a request has before those of its row.
const U: &[Check] = &[LogIn];
const A: &[Check] = &[LogIn, Bundle];
const R: &[Check] = &[LogIn, Bundle, Here];

/// A session in a state, and the others.
struct Scene {
    world: World,
    me: Member,
    carol: Member,
    /// A token of dave's, who is gone.
    token: SessionToken,
}

/// One row of the product: what is asked, after what, and the checks in their order.
struct Row {
    what: &'static str,
    before: fn(&mut Scene),
    ask: fn(&Scene) -> RequestBody,
    needs: &'static [Check],
    checks: &'static [Check],
}

fn nothing(_: &mut Scene) {}

fn row(what: &'static str, needs: &'static [Check], checks: &'static [Check], ask: fn(&Scene) -> RequestBody) -> Row {
    Row { what, before: nothing, ask, needs, checks }
}

impl Row {
    fn after(self, before: fn(&mut Scene)) -> Self {
        Self { before, ..self }
    }

    fn expected(&self, state: &State) -> &'static str {
        self.needs.iter().chain(self.checks).find_map(|check| check.fails(state)).unwrap_or("ok")
    }
}

fn den() -> RoomName {
    RoomName::new("den")
}

fn create(room: &str, word: &str) -> RequestBody {
    RequestBody::Create { room: RoomName::new(room), password: password(word), modern_only: false }
}

fn register(user: &str, word: &str) -> RequestBody {
    RequestBody::Register { user: UserName::new(user), password: password(word), token: None }
}

fn passwd(old: &str, new: &str) -> RequestBody {
    RequestBody::Passwd { old: password(old), new: password(new) }
}

fn account(word: &str) -> RequestBody {
    RequestBody::Account { password: password(word), legacy: false }
}

fn join(room: &str, word: Option<&str>) -> RequestBody {
    RequestBody::Join { room: RoomName::new(room), password: word.map(Password::new) }
}

fn sessions(user: &str) -> RequestBody {
    RequestBody::Sessions { user: UserName::new(user) }
}

fn wrap() -> Wrap {
    Wrap::new("QQ==".to_owned()).unwrap()
}

fn attach(entries: usize) -> RequestBody {
    let encrypted_keys = (0..entries).map(|n| (UserName::new(&format!("u{n}")), wrap())).collect();
    RequestBody::Attach { room: den(), encrypted_keys }
}

/// A message: what is wrong with it, if anything.
fn send(scene: &Scene, wrong_counter: bool, stale: bool, too_large: bool, resend: bool) -> RequestBody {
    let mut message = scene.me.message(&den(), &"x".repeat(if too_large { 24_577 } else { 100 }));
    if wrong_counter {
        message.stamp.counter += 5;
    }
    if stale {
        message.stamp.at.log = LogHash([0; 32]);
    }
    if resend {
        message.stamp.counter -= 1;
    }
    message.resend = resend;
    RequestBody::Send(message)
}

fn grant(scene: &Scene, wraps: Wraps) -> GrantRequest {
    let (check, signature) = (GrantCheck([5; 32]), Signature([6; 64]));
    GrantRequest { room: den(), stamp: GrantStamp { epoch: 1, counter: 1, at: scene.me.at(), check, signature }, wraps }
}

fn need_key(reader: Reader) -> RequestBody {
    RequestBody::NeedKey { room: den(), user: UserName::new("carol"), reader, epoch: 1 }
}

fn act(scene: &Scene, verb: Verb, target: &str, argument: &str) -> RequestBody {
    RequestBody::Act(scene.me.deed(&den(), verb, target, argument))
}

fn changed(scene: &Scene, verb: Verb, change: fn(&mut ActRequest)) -> RequestBody {
    let target = if verb == Verb::Kick { "erin" } else { "" };
    let mut act = scene.me.deed(&den(), verb, target, "");
    change(&mut act);
    RequestBody::Act(act)
}

fn direct(scene: &Scene, user: &str, change: fn(&mut DirectBody)) -> RequestBody {
    let mut readers = vec![scene.carol.reader()];
    match scene.me.user.as_str() {
        "alice" => readers.push(Member::reader_of("alice", 1, 1)),
        "god" => readers.push(Member::reader_of("god", 9, 9)),
        _ => {}
    }
    readers.push(scene.me.reader());
    let wraps = readers.iter().map(|reader| (reader.bundle, wrap())).collect();
    let (commitment, signature) = (Commitment([1; 32]), Signature([2; 64]));
    let stamp = DirectStamp { counter: 1, commitment, signature };
    let mut body = DirectBody { encrypted_message: "x".into(), wraps, readers, stamp };
    change(&mut body);
    RequestBody::Direct(DirectRequest { user: UserName::new(user), body })
}

fn disk_fails(scene: &mut Scene) {
    scene.world.disk_fails = true;
}

/// Asks the same many times, whatever comes of it.
fn often(scene: &mut Scene, times: usize, ask: fn(&Scene) -> RequestBody) {
    for _ in 0..times {
        let body = ask(scene);
        scene.world.ask(scene.me.session, body);
    }
}

/// Says something, if it may.
fn speak(scene: &mut Scene) {
    if scene.me.room() == Some(den()) {
        let _ = scene.me.says(&mut scene.world, "before");
    }
}

#[rustfmt::skip] // a table
fn rows() -> Vec<Row> {
    vec![
        row("ping", &[], &[], |_| RequestBody::Ping),
        row("register", &[], &[], |_| register("newcomer", "pw")),
        row("register: god", &[], &[Never("reserved")], |_| register("God", "two words")),
        row("register: taken", &[], &[Never("user_exists")], |_| register("carol", "two words")),
        row("register: no name", &[], &[Never("bad_name")], |_| register("no name", "two words")),
        row("register: alike", &[], &[Never("looks_alike")], |_| register("CAROL", "two words")),
        row("register: bad password", &[], &[Never("bad_password")], |_| register("newcomer", "two words")),
        row("register: disk fails", &[], &[Never("not_saved")], |_| register("newcomer", "pw")).after(disk_fails),
        row("login", &[], &[], |_| login("carol")),
        row("login: wrong", &[], &[Never("login_failed")], |_| RequestBody::Login { user: UserName::new("carol"), password: password("no") }),
        row("login: nobody", &[], &[Never("login_failed")], |_| login("nobody")),
        row("login: too often", &[], &[Never("too_many_attempts")], |_| login("nobody")).after(|s| often(s, 40, |_| login("nobody"))),
        row("resume", &[], &[], |s| RequestBody::Resume { token: s.token.clone(), run: run_id(77) }),
        row("resume: bad token", &[], &[Never("bad_token")], |_| RequestBody::Resume { token: SessionToken::new([0; 32]), run: run_id(77) }),
        row("announce", U, &[OutOfRooms], |_| announce(50, 77)),
        row("announce: broken", U, &[OutOfRooms, Never("bad_bundle")], |_| {
            let mut keys = bundle_keys(50);
            keys.rsa_signature = [0].into();
            RequestBody::Announce { keys, run: run_id(77) }
        }),
        row("announce: too many", U, &[OutOfRooms, Never("too_many_keys")], |_| announce(80, 77)).after(|s| {
            for keys in 60..77 {
                s.world.ask(s.me.session, announce(keys, 77));
            }
        }),
        row("logout", U, &[], |_| RequestBody::Logout),
        row("passwd", U, &[], |_| passwd("pw", "new")),
        row("passwd: wrong", U, &[Never("wrong_password")], |_| passwd("no", "two words")),
        row("passwd: bad", U, &[Never("bad_password")], |_| passwd("pw", "two words")),
        row("passwd: disk fails", U, &[Never("not_saved")], |_| passwd("pw", "new")).after(disk_fails),
        row("passwd: too often", U, &[Never("too_many_attempts")], |_| passwd("pw", "new")).after(|s| often(s, 40, |_| passwd("no", "new"))),
        row("account", U, &[], |_| account("pw")),
        row("account: wrong", U, &[Never("wrong_password")], |_| account("no")),
        row("account: disk fails", U, &[Never("not_saved")], |_| account("pw")).after(disk_fails),
        row("account: too often", U, &[Never("too_many_attempts")], |_| account("pw")).after(|s| often(s, 40, |_| account("no"))),
        row("create", U, &[], |_| create("cellar", "pw")),
        row("create: taken", U, &[Never("room_exists")], |_| create("attic", "two words")),
        row("create: the den", U, &[IsFree], |_| create("den", "pw")),
        row("create: no name", U, &[Never("bad_name")], |_| create("no name", "two words")),
        row("create: alike", U, &[Never("looks_alike")], |_| create("ATTIC", "two words")),
        row("create: bad password", U, &[Never("bad_password")], |_| create("cellar", "two words")),
        row("create: disk fails", U, &[Never("not_saved")], |_| create("cellar", "pw")).after(disk_fails),
        row("list", U, &[], |_| RequestBody::List),
        row("join", A, &[Exists, NotBanned], |_| join("den", Some("pw"))),
        row("join: wrong", A, &[Exists, NotBanned, RoomPassword], |_| join("den", Some("no"))),
        row("join: none", A, &[Exists, NotBanned, RoomPassword], |_| join("den", None)),
        row("join: nowhere", A, &[Never("no_such_room")], |_| join("nowhere", Some("pw"))),
        row("join: too often", A, &[Exists, NotBanned, Unhurried], |_| join("den", Some("pw"))).after(|s| often(s, 40, |_| join("den", Some("no")))),
        row("who", R, &[], |_| RequestBody::Who { room: den() }),
        row("bundles", U, &[], |_| RequestBody::Bundles { hashes: vec![BundleHash([1; 32])] }),
        row("sessions", A, &[], |_| sessions("carol")),
        row("sessions: nobody", A, &[Never("no_such_user")], |_| sessions("nobody")),
        row("sessions: offline", A, &[Never("offline")], |_| sessions("dave")),
        row("attach", R, &[], |_| attach(4096)),
        row("attach: too many", R, &[Never("too_large")], |_| attach(1)).after(|s| often(s, 1, |_| attach(4096))),
        row("send", R, &[NotMuted], |s| send(s, false, false, false, false)),
        row("send: the next", R, &[NotMuted], |s| send(s, false, false, false, false)).after(speak),
        row("send: again", R, &[NotMuted], |s| send(s, false, false, false, s.me.counter > 1)).after(speak),
        row("send: all wrong", R, &[NotMuted, Never("out_of_order")], |s| send(s, true, true, true, false)).after(speak),
        row("send: stale and too large", R, &[NotMuted, Never("stale")], |s| send(s, false, true, true, false)).after(speak),
        row("send: too large", R, &[NotMuted, Never("too_large")], |s| send(s, false, false, true, false)).after(speak),
        row("grant", R, &[], |s| RequestBody::Grant(grant(s, Wraps::new()))),
        row("grant: stale", R, &[Never("stale")], |s| {
            let mut grant = grant(s, Wraps::new());
            grant.stamp.at = Position { n: 1, log: LogHash([0; 32]) };
            RequestBody::Grant(grant)
        }),
        row("grant: too much", R, &[Never("too_large")], |s| RequestBody::Grant(heavy(s))).after(|s| often(s, 25, |s| RequestBody::Grant(heavy(s)))),
        row("need_key", R, &[], |s| need_key(s.carol.reader())),
        row("need_key: of nobody here", R, &[Never("not_here")], |s| need_key(Reader { run: run_id(99), ..s.carol.reader() })),

        row("kick", R, &[Rules], |s| act(s, Verb::Kick, "erin", "reason")),
        row("kick: god", R, &[Rules, Never("forbidden")], |s| act(s, Verb::Kick, "god", "")),
        row("kick: the owner", R, &[Rules, IsGod], |s| act(s, Verb::Kick, "alice", "")),
        row("kick: nobody", R, &[Rules, Never("no_such_user")], |s| act(s, Verb::Kick, "nobody", "")),
        row("kick: who is not here", R, &[Rules, Never("not_here")], |s| act(s, Verb::Kick, "dave", &"x".repeat(257))),
        row("kick: long reason", R, &[Rules, Never("bad_request")], |s| act(s, Verb::Kick, "erin", &"x".repeat(257))),
        row("kick: all wrong", R, &[Rules, Never("bad_request")], |s| changed(s, Verb::Kick, |act| {
            act.stamp.counter += 5;
            act.stamp.at.n += 5;
            act.deed.argument = SignedText::new(&"x".repeat(257));
        })).after(speak),
        row("kick: out of order and stale", R, &[Rules, Uncounted, Never("stale")], |s| changed(s, Verb::Kick, |act| {
            act.stamp.counter += 5;
            act.stamp.at.n += 5;
        })).after(speak),
        row("kick: stale", R, &[Rules, Never("stale")], |s| changed(s, Verb::Kick, |act| act.stamp.at.n += 5)).after(speak),
        row("ban", R, &[Rules], |s| act(s, Verb::Ban, "erin", "60")),
        row("ban: who is not here", R, &[Rules], |s| act(s, Verb::Ban, "dave", "")),
        row("ban: god", R, &[Rules, Never("forbidden")], |s| act(s, Verb::Ban, "god", "")),
        row("ban: the owner", R, &[Rules, IsGod], |s| act(s, Verb::Ban, "alice", "")),
        row("ban: nobody", R, &[Rules, Never("no_such_user")], |s| act(s, Verb::Ban, "nobody", "x")),
        row("ban: no duration", R, &[Rules, Never("bad_request")], |s| act(s, Verb::Ban, "erin", "+60")),
        row("ban: disk fails", R, &[Rules, Never("not_saved")], |s| act(s, Verb::Ban, "erin", "")).after(disk_fails),
        row("unban", R, &[Rules], |s| act(s, Verb::Unban, "erin", "")),
        row("unban: nobody", R, &[Rules, Never("no_such_user")], |s| act(s, Verb::Unban, "nobody", "")),
        row("unban: with an argument", R, &[Rules, Never("bad_request")], |s| act(s, Verb::Unban, "erin", "x")),
        row("unban: disk fails", R, &[Rules, Never("not_saved")], |s| act(s, Verb::Unban, "erin", "")).after(disk_fails),
        row("mute", R, &[Rules], |s| act(s, Verb::Mute, "erin", "")),
        row("mute: god", R, &[Rules, Never("forbidden")], |s| act(s, Verb::Mute, "god", "")),
        row("mute: the owner", R, &[Rules, IsGod], |s| act(s, Verb::Mute, "alice", "")),
        row("mute: nobody", R, &[Rules, Never("no_such_user")], |s| act(s, Verb::Mute, "nobody", "")),
        row("mute: no duration", R, &[Rules, Never("bad_request")], |s| act(s, Verb::Mute, "erin", "99999999999999999999")),
        row("mute: disk fails", R, &[Rules, Never("not_saved")], |s| act(s, Verb::Mute, "erin", "")).after(disk_fails),
        row("unmute", R, &[Rules], |s| act(s, Verb::Unmute, "erin", "")),
        row("unmute: the owner", R, &[Rules, IsGod], |s| act(s, Verb::Unmute, "alice", "")),
        row("unmute: with an argument", R, &[Rules, Never("bad_request")], |s| act(s, Verb::Unmute, "erin", "x")),
        row("unmute: disk fails", R, &[Rules, Never("not_saved")], |s| act(s, Verb::Unmute, "erin", "")).after(disk_fails),
        row("topic", R, &[Rules], |s| act(s, Verb::Topic, "", &"x".repeat(512))),
        row("topic: too long", R, &[Rules, Never("bad_request")], |s| act(s, Verb::Topic, "", &"x".repeat(513))),
        row("topic: with a target", R, &[Rules, Never("bad_request")], |s| act(s, Verb::Topic, "erin", "x")),
        row("topic: stale", R, &[Rules, Never("stale")], |s| changed(s, Verb::Topic, |act| act.stamp.at.n += 5)),
        row("topic: disk fails", R, &[Rules, Never("not_saved")], |s| act(s, Verb::Topic, "", "x")).after(disk_fails),
        row("flags", R, &[Rules], |s| act(s, Verb::Flags, "", "modern-only")),
        row("flags: none", R, &[Rules], |s| act(s, Verb::Flags, "", "")),
        row("flags: another", R, &[Rules, Never("bad_request")], |s| act(s, Verb::Flags, "", "secret")),
        row("flags: disk fails", R, &[Rules, Never("not_saved")], |s| act(s, Verb::Flags, "", "")).after(disk_fails),
        row("password", R, &[Rules], |s| act(s, Verb::Password, "", "")),
        row("password: none", R, &[Rules, Never("bad_request")], |s| changed(s, Verb::Password, |act| act.secret = None)),
        row("password: bad", R, &[Rules, Never("bad_password")], |s| changed(s, Verb::Password, |act| act.secret = Some(Password::new("two words")))),
        row("password: with an argument", R, &[Rules, Never("bad_request")], |s| act(s, Verb::Password, "", "x")),
        row("password: stale", R, &[Rules, Never("stale")], |s| changed(s, Verb::Password, |act| act.stamp.at.n += 5)),
        row("password: disk fails", R, &[Rules, Never("not_saved")], |s| act(s, Verb::Password, "", "")).after(disk_fails),
        row("delete", R, &[Rules], |s| act(s, Verb::Delete, "", "")),
        row("delete: with an argument", R, &[Rules, Never("bad_request")], |s| act(s, Verb::Delete, "", "x")),
        row("delete: disk fails", R, &[Rules, Never("not_saved")], |s| act(s, Verb::Delete, "", "")).after(disk_fails),
        row("leave", R, &[], |s| act(s, Verb::Leave, "", "")),
        row("leave: stale", R, &[], |s| changed(s, Verb::Leave, |act| act.stamp.at.n += 5)),
        row("leave: with a target", R, &[Never("bad_request")], |s| act(s, Verb::Leave, "erin", "")),
        row("leave: again", R, &[Uncounted], |s| changed(s, Verb::Leave, |act| act.stamp.counter += 5)).after(speak),

        row("direct", A, &[], |s| direct(s, "carol", |_| {})),
        row("direct: nobody", A, &[Never("no_such_user")], |s| direct(s, "nobody", |_| {})),
        row("direct: offline", A, &[Never("offline")], |s| direct(s, "dave", |_| {})),
        row("direct: a reader less", A, &[Never("readers_changed")], |s| direct(s, "carol", |body| {
            body.readers.pop();
            body.encrypted_message = "x".repeat(24_577);
        })),
        row("direct: a wrap more", A, &[Never("readers_changed")], |s| direct(s, "carol", |body| _ = body.wraps.insert(BundleHash([9; 32]), wrap()))),
        row("direct: too large", A, &[Never("too_large")], |s| direct(s, "carol", |body| body.encrypted_message = "x".repeat(24_577))),
    ]
}

/// A grant of some 58 KB.
fn heavy(scene: &Scene) -> GrantRequest {
    let long = Wrap::new("A".repeat(684)).unwrap();
    grant(scene, (0..80u8).map(|n| (BundleHash([n; 32]), long.clone())).collect())
}

/// The world in which the session is in a state.
fn scene(state: &State) -> Scene {
    let mut world = World::new();
    ["alice", "bob", "carol", "dave", "erin"].iter().for_each(|user| world.add_user(user));
    let mut owner = Member::new(&mut world, "alice", 1, 1);
    let mut erin = Member::new(&mut world, "erin", 5, 5);
    owner.asks(&mut world, create("den", "pw")).unwrap();
    erin.asks(&mut world, create("attic", "pw")).unwrap();
    let mut dave = Member::new(&mut world, "dave", 4, 4);
    let token = dave.token.clone().unwrap();
    dave.lose(&mut world);
    owner.join(&mut world, "den");
    erin.join(&mut world, "den");
    let mut god = Member::in_room(&mut world, "god", 9, 9, "den");
    let carol = Member::in_room(&mut world, "carol", 3, 3, "den");
    let me = me(&mut world, state, &mut owner, &mut god);
    let mut scene = Scene { world, me, carol, token };
    scene.me.hear(&mut scene.world);
    scene
}

fn me(world: &mut World, state: &State, owner: &mut Member, god: &mut Member) -> Member {
    let user = state.user.unwrap_or("bob");
    if matches!(state.name, "a guest" | "logged in") {
        let session = world.connect(Dialect::Modern);
        if state.user.is_some() {
            world.ok(session, login(user));
        }
        return Member::adopt(session, user, 2, 2, SessionToken::new([1; 32]));
    }
    let mut me = Member::new(world, user, 2, 2);
    if let Some(room) = state.room {
        me.join(world, room);
    }
    let by_owner = |world: &mut World, owner: &mut Member, verb, target| {
        owner.does(world, verb, target, "").unwrap().unwrap();
    };
    match state.name {
        "muted" => by_owner(world, owner, Verb::Mute, "bob"),
        "the owner, muted by god" => by_owner(world, god, Verb::Mute, "alice"),
        "banned" => by_owner(world, owner, Verb::Ban, "bob"),
        "kicked" => {
            me.join(world, "den");
            by_owner(world, owner, Verb::Kick, "bob");
        }
        "away" | "returned" => {
            me.join(world, "den");
            me.lose(world);
            me.resume(world).unwrap();
            if state.name == "returned" {
                me.join(world, "den");
            }
        }
        "after its room was deleted" => {
            me.join(world, "den");
            by_owner(world, owner, Verb::Delete, "");
        }
        "logged out" => _ = me.asks(world, RequestBody::Logout).unwrap(),
        _ => {}
    }
    me.hear(world);
    me
}

/// What came of a request: `ok`, or the word of the error. There is one answer, and nothing is waited for any more.
fn outcome(world: &mut World, session: SessionId, body: RequestBody) -> &'static str {
    let (parts, answer) = world.ask(session, body.clone());
    assert!(!world.waits.contains(&session), "{body:?} leaves the session waiting");
    match answer {
        Some(Answer::Ok { body: ok, .. }) => {
            assert_eq!(ok.kind(), body.kind());
            assert!(parts.is_empty() || matches!(body.kind(), RequestType::List | RequestType::Who));
            "ok"
        }
        Some(Answer::Error { code, text, .. }) => {
            assert!(parts.is_empty() && !text.as_str().is_empty());
            code.kind().as_str()
        }
        other => panic!("{body:?}: {other:?}"),
    }
}

#[test]
fn every_request_in_every_state_is_answered_as_the_table_says() {
    let rows = rows();
    let asked: Vec<_> = rows.iter().map(|row| (row.ask)(&scene(&STATES[3])).kind()).collect();
    let missing: Vec<_> = RequestType::ALL.iter().filter(|kind| !asked.contains(kind)).collect();
    assert!(missing.is_empty(), "no row asks for {missing:?}");
    let mut wrong = Vec::new();
    for state in &STATES {
        for row in &rows {
            let mut scene = scene(state);
            (row.before)(&mut scene);
            let body = (row.ask)(&scene);
            let expected = row.expected(state);
            let was = outcome(&mut scene.world, scene.me.session, body);
            if was != expected {
                wrong.push(format!("{}, {}: {was} and not {expected}", state.name, row.what));
            }
            // A refusal changes nothing: the session is who and where it was.
            if was != "ok" {
                let who = Row { what: "who", before: nothing, ask: row.ask, needs: R, checks: &[] };
                let now = outcome(&mut scene.world, scene.me.session, RequestBody::Who { room: den() });
                let is_as_before = now == who.expected(state) || row.what.starts_with("announce");
                if !is_as_before {
                    wrong.push(format!("{}, {}: afterwards, who is {now}", state.name, row.what));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len() * STATES.len(), wrong.join("\n"));
}

#[test]
fn a_resend_is_answered_as_the_first_was_in_whatever_state() {
    for state in STATES.iter().filter(|state| state.room == Some("den") && !state.muted) {
        let mut scene = scene(state);
        let message = scene.me.message(&den(), "once");
        let first = scene.me.sends(&mut scene.world, message.clone()).unwrap();
        let resent = secure_chat::protocol::modern::SendRequest { resend: true, ..message };
        let again = scene.me.sends(&mut scene.world, resent).unwrap();
        assert!(again.duplicate && again.n == first.n, "{}", state.name);
    }
}

/// A command of the legacy wire, a package or a key; the reply of a guest, that of everybody else, and where it differs. An
/// empty reply is none.
struct LegacyRow {
    say: &'static str,
    guest: &'static str,
    others: &'static str,
    but: &'static [(&'static str, &'static str)],
}

impl LegacyRow {
    fn reply(&self, state: &str) -> &'static str {
        let default = if state == "a guest" { self.guest } else { self.others };
        self.but.iter().find(|(name, _)| *name == state).map_or(default, |(_, reply)| reply)
    }
}

const LEGACY_STATES: [&str; 11] = [
    "a guest",
    "logged in",
    "a member",
    "the owner",
    "god",
    "muted",
    "banned",
    "elsewhere",
    "put out",
    "modern-only",
    "after its room was deleted",
];

const FIRST: &str = "You must /login first.";
const JOIN_FIRST: &str = "You must /join a room to chat.";
const MISMATCH: &str = "Error: message room mismatch.";
const MUTED: &str = "You are muted in this room.";
const BANNED: &str = "You are banned from 'den'.";
const MODERN_ONLY: &str = "Room 'den' takes modern clients only.";
const NO_ROOM: &str = "Room 'den' does not exist.";
const WRONG: &str = "Incorrect room password.";
const USAGE: &str = "Usage: /join <roomName> <roomPassword>";
const TOO_LONG: &str = "Error: message too long for 3 of the room, who did not get it. Send it in shorter parts.";

/// What everyone is told, whatever the state.
const fn always(say: &'static str, reply: &'static str) -> LegacyRow {
    LegacyRow { say, guest: reply, others: reply, but: &[] }
}

/// What everyone is told who is logged in.
const fn logged_in(say: &'static str, others: &'static str, but: &'static [(&'static str, &'static str)]) -> LegacyRow {
    LegacyRow { say, guest: FIRST, others, but }
}

/// What members of the den are told of a package; all others are told to join.
const fn package(say: &'static str, but: &'static [(&'static str, &'static str)]) -> LegacyRow {
    LegacyRow { say, guest: JOIN_FIRST, others: JOIN_FIRST, but }
}

#[rustfmt::skip] // a table
const LEGACY_ROWS: &[LegacyRow] = &[
    always("/register", "Usage: /register <username> <password>"),
    always("/register newcomer pw", "Registration successful for newcomer. You may now /login."),
    always("/register God pw", "Cannot create 'god' user. That is reserved."),
    always("/register carol pw", "Registration failed: User already exists."),
    always("/register CAROL pw", "Registration failed: Another user's name looks like this one."),
    always("/register ... pw", "Registration failed: a name needs a letter or a digit."),
    always("/login", "Usage: /login <username> <password>"),
    always("/login carol pw", "Login successful. Welcome, carol!"),
    always("/login carol no", "Login failed. Invalid username or password."),
    always("/login modern pw", "Legacy log-ins are switched off for this account."),
    always("/login modern no", "Login failed. Invalid username or password."),
    logged_in("/create cellar", "Usage: /create <roomName> <roomPassword>", &[]),
    logged_in("/create cellar pw", "Room 'cellar' created.", &[]),
    logged_in("/create attic pw", "Create room failed: Room already exists.", &[]),
    logged_in("/create ATTIC pw", "Create room failed: Another room's name looks like this one.", &[]),
    logged_in("/list", "Available rooms: den, attic", &[("after its room was deleted", "Available rooms: attic")]),
    logged_in("/join", "Usage: /join <roomName> [<roomPassword>]", &[]),
    logged_in("/join den", USAGE, &[("god", "")]),
    logged_in("/join nowhere pw", "Room 'nowhere' does not exist.", &[]),
    logged_in("/join den no", WRONG, &[
        ("god", ""), ("banned", BANNED), ("modern-only", MODERN_ONLY), ("after its room was deleted", NO_ROOM),
    ]),
    logged_in("/join den pw", "bob joined the chat!", &[
        ("the owner", "alice joined the chat!"), ("god", ""), ("banned", BANNED), ("modern-only", MODERN_ONLY),
        ("after its room was deleted", NO_ROOM),
    ]),
    always("/nonsense", "Unknown command."),
    package("a package for the den", &[
        ("a member", ""), ("the owner", ""), ("god", ""), ("muted", MUTED), ("elsewhere", MISMATCH),
    ]),
    package("a package for the attic", &[
        ("a member", MISMATCH), ("the owner", MISMATCH), ("god", MISMATCH), ("muted", MISMATCH), ("elsewhere", ""),
    ]),
    package("a package that is too long", &[
        ("a member", TOO_LONG), ("the owner", TOO_LONG), ("god", TOO_LONG), ("muted", MUTED), ("elsewhere", MISMATCH),
    ]),
    always("a key", ""),
];

fn legacy_scene(state: &str) -> (World, SessionId) {
    let mut world = World::new();
    ["alice", "bob", "carol", "erin", "modern"].iter().for_each(|user| world.add_user(user));
    let mut owner = Member::new(&mut world, "alice", 1, 1);
    let mut modern = Member::new(&mut world, "modern", 6, 6);
    modern.asks(&mut world, account("pw")).unwrap();
    owner.asks(&mut world, create("den", "pw")).unwrap();
    owner.asks(&mut world, create("attic", "pw")).unwrap();
    owner.join(&mut world, "den");
    let _erin = Member::in_room(&mut world, "erin", 5, 5, "den");
    let _carol = Member::in_room(&mut world, "carol", 3, 3, "den");
    let user = match state {
        "the owner" => "alice",
        "god" => "god",
        _ => "bob",
    };
    let session = world.connect(Dialect::Legacy);
    if state != "a guest" {
        world.command(session, &format!("/login {user} pw"));
    }
    if !matches!(state, "a guest" | "logged in" | "elsewhere") {
        world.command(session, "/join den pw");
    }
    match state {
        "elsewhere" => _ = world.command(session, "/join attic pw"),
        "muted" => _ = owner.does(&mut world, Verb::Mute, "bob", "").unwrap().unwrap(),
        "banned" => _ = owner.does(&mut world, Verb::Ban, "bob", "").unwrap().unwrap(),
        "put out" => _ = owner.does(&mut world, Verb::Kick, "bob", "").unwrap().unwrap(),
        "after its room was deleted" => _ = owner.does(&mut world, Verb::Delete, "", "").unwrap().unwrap(),
        "modern-only" => _ = owner.does(&mut world, Verb::Flags, "", "modern-only").unwrap().unwrap(),
        _ => {}
    }
    world.take(session);
    (world, session)
}

#[test]
fn every_command_of_the_legacy_wire_in_every_state_is_answered_as_the_table_says() {
    let mut wrong = Vec::new();
    for row in LEGACY_ROWS {
        for state in LEGACY_STATES {
            let expected = row.reply(state);
            let (mut world, session) = legacy_scene(state);
            let user = world.hub.user_of(session).cloned().unwrap_or(UserName::new("bob"));
            let texts = match row.say {
                "a package for the den" | "a package for the attic" | "a package that is too long" => {
                    let room = if row.say.ends_with("attic") { "attic" } else { "den" };
                    let token = "x".repeat(if row.say.ends_with("long") { 24_577 } else { 10 });
                    world.package(session, &RoomName::new(room), &token, &[]);
                    world.texts(session)
                }
                "a key" => {
                    world.key(session, &user, 1);
                    world.texts(session)
                }
                command => world.command(session, command),
            };
            let texts: Vec<_> = texts.into_iter().filter(|text| !text.starts_with("PUBKEY::")).collect();
            let expected: Vec<_> = Some(expected).filter(|text| !text.is_empty()).into_iter().collect();
            if texts != expected {
                wrong.push(format!("{state}, {}: {texts:?} and not {expected:?}", row.say));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_request_does_is_done() {
    // The rows above look at answers; these look at what is true afterwards.
    let mut scene = scene(&STATES[4]);
    let OkBody::Act(accepted) = scene.me.does(&mut scene.world, Verb::Topic, "", "spring").unwrap().unwrap() else {
        panic!()
    };
    assert_eq!(accepted.n, scene.me.at().n);
    assert_eq!(scene.world.hub.directory().rooms()[&den()].topic, "spring");
    scene.me.does(&mut scene.world, Verb::Flags, "", "modern-only").unwrap().unwrap();
    assert!(scene.world.hub.directory().rooms()[&den()].modern_only);
    scene.me.does(&mut scene.world, Verb::Password, "", "").unwrap().unwrap();
    let mut bob = Member::new(&mut scene.world, "bob", 2, 22);
    assert_eq!(bob.asks(&mut scene.world, join("den", Some("pw"))), Err("wrong_room_password"));
    assert!(bob.asks(&mut scene.world, join("den", Some("new"))).is_ok());
}
