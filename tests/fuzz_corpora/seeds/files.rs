//! Seeds of files: what a client knows, the database, keys and certificates.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf, Salt, ScryptParams};
use pkcs8::{PrivateKeyInfoRef, SecretDocument};
use secure_chat::chat::{Change, Verifier};
use secure_chat::client::key_name::KeyName;
use secure_chat::crypto::{Fingerprint, SigningKey};
use secure_chat::names::{RoomName, UserName};
use secure_chat::tls::ServerIdentity;
use secure_chat::transcript::{BundleHash, Realm, RoomId};

use super::wires::text;
use super::{Seed, numbered};

pub fn known_keys() -> Vec<Seed> {
    let print = Fingerprint::of(b"key");
    let realm = KeyName::from(Realm([1; 32]));
    let (signer, bundle, id) = (realm, BundleHash([2; 32]), RoomId([3; 16]));
    let old = KeyName::from(print);
    let second = "# secure-chat known keys, version 2\n";
    let files = [
        format!("# secure-chat known keys, version 1\nserver a:1 pinned {print}\nuser {print} bob {print}\n"),
        format!("{second}server chat.example.org:12345 pinned {print} modern {realm}\nserver b:1 ca {print}\n"),
        format!(
            "{second}user {old} bob rsa {print}\nsigner {realm} bob verified {signer}\ndevice {realm} bob {bundle} {print}\n"
        ),
        format!(
            "{second}room {realm} %23den {id} modern-only\nroom {realm} lobby {id}\nblock {realm} eve\nblock {realm} %\n"
        ),
        format!("{second}# a comment\n\n  signer {realm} Zo%C3%AB seen {signer}\n"),
        format!("{second}block {realm} bob\nblock {realm} bob\n"),
        format!("{second}block {realm} %+1\n"),
        format!("{second}block {realm} eve"),
        second.to_owned(),
        String::new(),
    ];
    numbered(files.map(String::into_bytes))
}

pub fn snapshots() -> Vec<Seed> {
    let check = "1".repeat(64);
    let (id, key) = (RoomId([3; 16]), BASE64.encode([9; 32]));
    let journal = format!(r#""journal":{{"group":3,"check":"{check}"}}"#);
    let hash = "$pbkdf2-sha256$i=600000$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let user = format!(r#"{{"password":"{hash}"}}"#);
    let room = format!(
        r#"{{"password":"{hash}","id":"{id}","owner":"ann","topic":"about","modern_only":true,"bans":{{"eve":{{"until":1800000000}}}}}}"#
    );
    let bare = format!(r#"{{"password":"{hash}","id":"{id}"}}"#);
    let quiet = format!(r#"{{"password":"{hash}","legacy_login":false}}"#);
    let sha = "a".repeat(64);
    let texts = [
        format!(
            r#"{{"format":2,"realm_key":"{key}",{journal},"users":{{"god":{user},"ann":{quiet}}},"rooms":{{"den":{bare}}}}}"#
        ),
        format!(r#"{{"format":2,"realm_key":"{key}",{journal},"users":{{}},"rooms":{{"den":{room}}}}}"#),
        format!(r#"{{"format":2,"realm_key":"{key}",{journal},"users":{{"a":{user},"a":{user}}},"rooms":{{}}}}"#),
        format!(r#"{{"format":1,{journal},"users":{{"god":{user}}},"rooms":{{"den":{user}}}}}"#),
        format!(
            r#"{{"users":{{"bob":{{"salt":"Ab3d","pass_hash":"{sha}"}}}},"rooms":{{"lobby":{{"password":"pw"}}}}}}"#
        ),
        format!(r#"{{"format":3,{journal}}}"#),
        "[]".to_owned(),
    ];
    numbered(texts.map(String::into_bytes))
}

fn changes() -> Vec<Change> {
    let (room, user) = (RoomName::new("den"), UserName::new("ann"));
    let password = Verifier::new("$hash");
    vec![
        Change::AddUser { user: user.clone(), password: password.clone() },
        Change::AddRoom {
            room: room.clone(),
            password: password.clone(),
            id: RoomId([3; 16]),
            owner: Some(user.clone()),
            modern_only: false,
        },
        Change::SetTopic { room: room.clone(), topic: "about".into() },
        Change::Ban { room: room.clone(), user: user.clone(), until: Some(1_800_000_000), at: 1_700_000_000 },
        Change::Mute { room: room.clone(), user: user.clone(), until: None, at: 1_700_000_000 },
        Change::Unban { room: room.clone(), user: user.clone() },
        Change::Unmute { room: room.clone(), user: user.clone() },
        Change::SetRoomPassword { room: room.clone(), password: password.clone() },
        Change::SetRoomFlags { room: room.clone(), modern_only: true },
        Change::SetUserPassword { user: user.clone(), password },
        Change::SetLegacyLogin { user, allowed: false },
        Change::RemoveRoom { room },
    ]
}

pub fn journals() -> Vec<Seed> {
    let lines: Vec<Vec<u8>> = changes().iter().map(|change| serde_json::to_vec(change).unwrap()).collect();
    let earlier = br#"{"change":"add_room","room":"lobby","password":"$hash"}"#.to_vec();
    let sealed = |groups: &[&[Vec<u8>]]| {
        let groups: Vec<Vec<u8>> = groups.iter().map(|group| group.join(&0)).collect();
        [&[0], &groups.join(&b'\n')[..]].concat()
    };
    let mark = br#"{"group":7,"check":"00"}"#.to_vec();
    let whole = [sealed(&[&lines]), sealed(&[&lines[..2], &lines[2..5], &lines[5..]]), sealed(&[&[earlier], &[mark]])];
    let raw =
        [&b"\x01gAAAAA"[..], b"\x01gAAAAA\n", b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"].map(<[u8]>::to_vec);
    // Three groups, and one damage of each kind to what they are.
    let drawn = b"\x02\x00\x00\x00\x01\x00\x00\x01\x02\x01\x04\x00\x00\x03abc\x02\x01\x00\x02\x05\x00\x01\x07\x01\x01\x06\x00\x00";
    let damages = (0..8u8).map(|kind| [&[2], &drawn[..], &[0, 1, 200, kind, 0, 90, 3, 1, 2, 3]].concat());
    let holes = [(0, 1), (0, 2), (0, u64::MAX), (1, 1), (1, 4)];
    let holes = holes.map(|(where_from, lost)| [&[3], &drawn[1..19], &[where_from], &u64::to_be_bytes(lost)].concat());
    numbered(whole.into_iter().chain(raw).chain(damages).chain(holes))
}

fn der(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64.decode(base64).unwrap()
}

pub fn pem() -> Vec<Seed> {
    let whole = |pem: &str| [&[0], pem.as_bytes()].concat();
    let of = |label: u8, der: &[u8]| [&[2 + label], der].concat();
    let (alice, private) = (text("data/alice.pub"), text("data/rsa-2048.private"));
    let signing = SigningKey::from_seed(&[7; 32]).to_pem().unwrap();
    let (certificate, key) = server();
    let mut seeds = vec![
        whole(&alice),
        whole(&text("data/rsa-1024.pub")),
        whole(&signing),
        whole("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        whole("$pbkdf2-sha256$i=600000$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        whole("$legacy-sha256$QWIz$aa"),
        whole(&Fingerprint::of(b"key").to_string()),
        [&[1], format!("{certificate}{key}").as_bytes()].concat(),
        of(0, &der(&private)),
        of(1, &der(&signing)),
        of(1, &der(&key)),
        of(2, &der(&alice)),
        of(2, &der(&text("data/rsa-2048-e3.pub"))),
        of(4, &der(&certificate)),
    ];
    seeds.extend(encrypted(&signing).iter().map(|der| of(3, der)));
    numbered(seeds)
}

/// A server's certificate and key.
fn server() -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    ServerIdentity::generate(&certificate, &key).unwrap();
    (fs::read_to_string(certificate).unwrap(), fs::read_to_string(key).unwrap())
}

/// A signing key under the passphrase `pw`, cheaply.
fn encrypted(signing: &str) -> [Vec<u8>; 2] {
    let (_, der) = SecretDocument::from_pem(signing.trim()).unwrap();
    let salt = || Salt::new([5; 16]).unwrap();
    let scrypt = ScryptParams { salt: salt(), cost_parameter: 4, block_size: 1, parallelization: 1, key_length: None };
    let pbkdf2 = Pbkdf2Params { salt: salt(), iteration_count: 3, key_length: None, prf: Pbkdf2Prf::HmacWithSha256 };
    [Kdf::Scrypt(scrypt), Kdf::Pbkdf2(pbkdf2)].map(|kdf| {
        let scheme = Parameters { kdf, encryption: EncryptionScheme::Aes256Cbc { iv: [6; 16] } };
        let key = PrivateKeyInfoRef::try_from(der.as_bytes()).unwrap();
        key.encrypt_with_params(scheme, "pw").unwrap().as_bytes().to_vec()
    })
}
