//! What the parts cost by themselves: codecs, the hub's turn, keys, tokens and passwords. `cargo bench --bench parts`; a filter
//! behind `--` chooses. What a whole server costs beside others is for `bench/`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark may fail loudly"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::LazyLock;

use common::member::Member;
use common::world::World;
use divan::{Bencher, black_box};
use secure_chat::chat::Input;
use secure_chat::crypto::password::{Hasty, PasswordHash};
use secure_chat::crypto::{Bundle, ChainKey, FernetKey, PrivateKey, SigningKey, envelope};
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{
    Event, MessageEvent, Origin, Request, RequestBody, decode_request, decode_server, encode_event, encode_request,
};
use secure_chat::protocol::{Package, ServerMessage, legacy};
use secure_chat::transcript::Realm;

const NOW: u64 = 1_800_000_000;

/// As long as its token of 700 bytes allows.
const TEXT: &str = "alice: It was a bright cold day, and the clocks were striking as they always do when somebody measures them. \
    What is said here is said again, so that it has the length of a long message and not more: it was a bright cold day, \
    and the clocks were striking as they always do when somebody measures them. What is said here is said again, so that \
    it has the length of a long message.";

static RSA: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());
static SIGNING: LazyLock<SigningKey> = LazyLock::new(SigningKey::generate);

fn main() {
    divan::main();
}

/// A room with members who have all come, and one who speaks.
fn room(members: usize) -> (World, Member) {
    let mut world = World::new();
    world.add_user("alice");
    world.add_user("bob");
    let den = RoomName::new("den");
    world.change(secure_chat::chat::Change::AddRoom {
        room: den,
        password: secure_chat::chat::Verifier::new("pw"),
        id: secure_chat::transcript::RoomId([1; 16]),
        owner: None,
        modern_only: false,
    });
    let alice = Member::in_room(&mut world, "alice", 1, 0, "den");
    for run in 1..members {
        let mut bob = Member::new(&mut world, "bob", 2, u16::try_from(run).unwrap());
        bob.ask_join(&mut world, "den", Some("pw"));
    }
    world.pass(std::time::Duration::from_secs(1));
    world.forget_all();
    (world, alice)
}

fn message(alice: &Member) -> (Event, Request) {
    let token = FernetKey::from_raw(&[7; 32]).seal(TEXT.as_bytes(), NOW);
    let send = alice.message(&RoomName::new("den"), &token);
    let event = MessageEvent {
        room: send.room.clone(),
        n: 4711,
        time: NOW * 1000,
        user: alice.user.clone(),
        encrypted_message: token,
        origin: Origin::Modern { reader: alice.reader(), stamp: send.stamp },
    };
    (Event::Message(event), Request { id: 4711, body: RequestBody::Send(send) })
}

mod codecs {
    use super::*;

    #[divan::bench]
    fn modern_event_encode(bencher: Bencher<'_, '_>) {
        let (event, _) = message(&room(1).1);
        let mut line = Vec::new();
        bencher.bench_local(|| {
            line.clear();
            encode_event(black_box(&event), &mut line);
            line.len()
        });
    }

    #[divan::bench]
    fn modern_event_decode(bencher: Bencher<'_, '_>) {
        let (event, _) = message(&room(1).1);
        let mut line = Vec::new();
        encode_event(&event, &mut line);
        bencher.bench(|| decode_server(black_box(line.trim_ascii_end()), |_| None));
    }

    #[divan::bench]
    fn modern_request_decode(bencher: Bencher<'_, '_>) {
        let (_, request) = message(&room(1).1);
        let mut line = Vec::new();
        encode_request(&request, &mut line);
        bencher.bench(|| decode_request(black_box(line.trim_ascii_end())));
    }

    /// A package with an entry of `encrypted_keys` for each of so many members.
    fn package(members: usize) -> Vec<u8> {
        let key = RSA.public();
        let sealed = envelope::seal(TEXT, NOW);
        let wrap = sealed.wrap_for(key).unwrap();
        let keys = (0..members).map(|member| (format!("member{member}"), wrap.clone())).collect();
        Package::new(sealed.token, keys, RoomName::new("den")).to_json()
    }

    #[divan::bench(args = [10, 100, 1000])]
    fn legacy_package_decode(bencher: Bencher<'_, '_>, members: usize) {
        let package = package(members);
        bencher.bench(|| legacy::decode_client(black_box(&package)));
    }

    /// Of one package, what each of its members gets.
    #[divan::bench(args = [10, 100, 1000])]
    fn legacy_package_for_all(bencher: Bencher<'_, '_>, members: usize) {
        let package = Package::from_json(std::str::from_utf8(&package(members)).unwrap()).unwrap();
        let message = ServerMessage::Chat(package.into());
        let names: Vec<_> = (0..members).map(|member| UserName::new(&format!("member{member}"))).collect();
        let mut scratch = Vec::new();
        bencher.bench_local(|| {
            let encoded = legacy::encode_server(black_box(&message));
            let mut bytes = 0;
            for name in &names {
                encoded.records_for(Some(name), &mut scratch, |record| bytes += record.len());
            }
            bytes
        });
    }
}

mod hub {
    use super::*;

    /// A message to so many: log, counters, and one event for all.
    #[divan::bench(args = [10, 100, 1000])]
    fn message_turn(bencher: Bencher<'_, '_>, members: usize) {
        let (mut world, alice) = room(members);
        let (_, request) = message(&alice);
        let RequestBody::Send(mut send) = request.body else { panic!("no message") };
        bencher.bench_local(|| {
            let request = Request { id: 1, body: RequestBody::Send(send.clone()) };
            send.stamp.counter += 1;
            let effects = world.hub.handle(world.now, Input::Request(alice.session, Ok(Box::new(request))));
            assert_eq!(effects.len(), 2, "an event for the others, and an answer");
            effects
        });
    }
}

mod keys {
    use super::*;

    #[divan::bench]
    fn oaep_wrap(bencher: Bencher<'_, '_>) {
        let key = RSA.public();
        bencher.bench(|| envelope::wrap(black_box(&[7; 32]), key).unwrap());
    }

    #[divan::bench]
    fn oaep_unwrap(bencher: Bencher<'_, '_>) {
        let wrapped = envelope::wrap(&[7; 32], RSA.public()).unwrap();
        bencher.bench(|| envelope::unwrap(black_box(&wrapped), &RSA).unwrap());
    }

    #[divan::bench]
    fn chain_step() -> ChainKey {
        let mut chain = ChainKey::from_raw(&[7; 32]);
        chain.step();
        chain
    }

    #[divan::bench]
    fn chain_message_key(bencher: Bencher<'_, '_>) {
        let chain = ChainKey::from_raw(&[7; 32]);
        bencher.bench(|| black_box(&chain).message_key());
    }

    #[divan::bench]
    fn statement_sign(bencher: Bencher<'_, '_>) {
        bencher.bench(|| SIGNING.sign(black_box(&[7; 400])));
    }

    #[divan::bench]
    fn statement_verify(bencher: Bencher<'_, '_>) {
        let (key, signature) = (SIGNING.verifying_key(), SIGNING.sign(&[7; 400]));
        bencher.bench(|| assert!(key.verify(black_box(&[7; 400]), &signature)));
    }

    #[divan::bench]
    fn bundle_verify(bencher: Bencher<'_, '_>) {
        let (realm, account) = (Realm([7; 32]), UserName::new("alice"));
        let bundle = Bundle::sign(&realm, &account, &SIGNING, &RSA).unwrap();
        let (key, rsa) = (bundle.signing_key().bytes(), bundle.rsa().clone());
        bencher.bench(|| {
            Bundle::verify(&realm, &account, &key, rsa.spki_der(), bundle.signature(), bundle.rsa_signature()).unwrap()
        });
    }
}

mod messages {
    use super::*;

    #[divan::bench]
    fn fernet_seal(bencher: Bencher<'_, '_>) {
        let key = FernetKey::from_raw(&[7; 32]);
        bencher.bench(|| key.seal(black_box(TEXT.as_bytes()), NOW));
    }

    #[divan::bench]
    fn fernet_open(bencher: Bencher<'_, '_>) {
        let key = FernetKey::from_raw(&[7; 32]);
        let token = key.seal(TEXT.as_bytes(), NOW);
        bencher.bench(|| key.open(black_box(&token)).unwrap());
    }

    /// On the legacy wire: a key of its own is unwrapped for each message.
    #[divan::bench]
    fn envelope_open(bencher: Bencher<'_, '_>) {
        let sealed = envelope::seal(TEXT, NOW);
        let wrap = sealed.wrap_for(RSA.public()).unwrap();
        bencher.bench(|| envelope::open(black_box(&sealed.token), &wrap, &RSA).unwrap());
    }
}

/// The server hashes for as long as that takes, on purpose.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn password_check(bencher: Bencher<'_, '_>) {
    let password = Password::new("correct-horse");
    let hash = PasswordHash::new::<Hasty>(&password);
    bencher.bench(|| assert!(hash.verify::<Hasty>(black_box(&password))));
}
