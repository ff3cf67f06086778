//! Seeds of what clients send: what honest ones say, recorded.

use crate::targets::hub;
use crate::targets::world::hub as world;
use secure_chat::chat::{Dialect, SessionId};
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::modern::{
    DirectBody, DirectRequest, DirectStamp, GrantRequest, GrantStamp, Reader, RequestBody, Wrap,
};
use secure_chat::transcript::{BundleHash, Commitment, GrantCheck, Signature, Verb};

use self::member::Member;
use self::world::World;
use super::{Seed, numbered};

#[path = "../../common/follower.rs"]
#[allow(dead_code, unreachable_pub, clippy::all, reason = "tests use the rest of it")]
mod follower;
#[path = "../../common/member.rs"]
#[allow(dead_code, unreachable_pub, clippy::all, reason = "tests use the rest of it")]
mod member;

pub fn hub() -> Vec<Seed> {
    let scenes: [fn(&mut World); 4] = [talk, acts, accounts, grants];
    let recorded = scenes.map(|scene| {
        let mut world = hub::stage();
        world.said = Some(Vec::new());
        scene(&mut world);
        script(&world.said.take().unwrap())
    });
    let legacy = [
        "a/register zoe pw\na/login zoe pw\naPUBKEY::zoe::key 1\na/create cave pw\na/join cave pw\n+300\nb/login bob pw\n\
         b/join cave pw\nbPUBKEY::bob::key 2\na{\"encrypted_message\":\"t\",\"encrypted_keys\":{\"bob\":\"Qg==\"},\"room\":\"cave\"}\n\
         b{\"room\":\"den\"}\nb{\"room\":\"cave\"}\na/list\n!a\n+1000",
        "a/login god pw\na/join den\nb/login ann wrong\nb/login ann pw\nb/join den pw\nbPUBKEY::ann::nonsense\n~\nb/create x y\n~",
        "0{\"type\":\"login\",\"id\":1,\"user\":\"ann\",\"password\":\"pw\"}\n0{\"type\":\"join\",\"id\":2,\"room\":\"den\",\"password\":\"pw\"}\n\
         0no JSON\n0{\"type\":\"nonsense\",\"id\":3}\n0{\"type\":\"ping\",\"id\":4}\n0{\"type\":\"logout\",\"id\":5}\n+70000",
    ];
    numbered(recorded.into_iter().chain(legacy.map(|script| script.as_bytes().to_vec())))
}

/// The sessions in the order in which they were connected, which is that in which they are named first.
fn script(said: &[(SessionId, Vec<u8>)]) -> Vec<u8> {
    let lines = said.iter().map(|(session, line)| {
        let digit = b'0' + u8::try_from(session.0 - 1).unwrap();
        [&[digit], &line[..]].concat()
    });
    lines.collect::<Vec<_>>().join(&b'\n')
}

fn two(world: &mut World) -> (Member, Member) {
    (Member::in_room(world, "ann", 1, 1, "den"), Member::in_room(world, "bob", 2, 2, "den"))
}

fn talk(world: &mut World) {
    let (mut ann, mut bob) = two(world);
    ann.says(world, "token one").unwrap();
    bob.says(world, "token two").unwrap();
    bob.who(world);
    world.request(bob.session, RequestBody::Sessions { user: UserName::new("ann") });
    ann.says(world, "token three").unwrap();
    let _ = bob.does(world, Verb::Leave, "", "");
}

fn acts(world: &mut World) {
    let (mut ann, mut bob) = two(world);
    for (verb, target, argument) in [
        (Verb::Topic, "", "about"),
        (Verb::Mute, "bob", "30"),
        (Verb::Unmute, "bob", ""),
        (Verb::Flags, "", "modern_only"),
        (Verb::Kick, "bob", "too loud"),
        (Verb::Password, "", ""),
        (Verb::Delete, "den", ""),
    ] {
        ann.hear(world);
        let _ = ann.does(world, verb, target, argument);
    }
    bob.hear(world);
}

fn accounts(world: &mut World) {
    let session = world.connect(Dialect::Modern);
    let (user, password) = (UserName::new("zoe"), world::password("pw"));
    world.request(session, RequestBody::Register { user: user.clone(), password: password.clone(), token: None });
    world.request(session, RequestBody::Login { user: user.clone(), password: password.clone() });
    world.request(session, world::announce(3, 3));
    world.request(session, RequestBody::Create { room: RoomName::new("#cave"), password, modern_only: true });
    world.request(session, world::join("#cave"));
    world.request(session, RequestBody::List);
    world.request(session, RequestBody::Ping);
    world.request(session, RequestBody::Logout);
}

fn grants(world: &mut World) {
    let (ann, bob) = two(world);
    let room = RoomName::new("den");
    let wrap = || Wrap::new("AAAA".into()).unwrap();
    let Reader { bundle, .. } = bob.reader();
    let stamp =
        GrantStamp { epoch: 1, counter: 1, at: ann.at(), check: GrantCheck([4; 32]), signature: Signature([1; 64]) };
    let grant = GrantRequest { room: room.clone(), stamp, wraps: [(bundle, wrap())].into() };
    world.request(ann.session, RequestBody::Grant(grant));
    let need = RequestBody::NeedKey { room, user: UserName::new("ann"), reader: ann.reader(), epoch: 1 };
    world.request(bob.session, need);
    let hashes = vec![bundle, BundleHash([9; 32])];
    world.request(ann.session, RequestBody::Bundles { hashes });
    let readers = vec![bob.reader(), ann.reader()];
    let wraps = [(bundle, wrap()), (ann.reader().bundle, wrap())].into();
    let stamp = DirectStamp { counter: 1, commitment: Commitment([3; 32]), signature: Signature([1; 64]) };
    let body = DirectBody { encrypted_message: "token".into(), wraps, readers, stamp };
    world.request(ann.session, RequestBody::Direct(DirectRequest { user: UserName::new("bob"), body }));
}
