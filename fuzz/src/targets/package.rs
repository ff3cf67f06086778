//! The chat package: read, written for each reader, and what is attached to it.

use indexmap::IndexMap;
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::modern::Attached;
use secure_chat::protocol::{MAX_ENTRIES, Package, entry_len};

use super::bytes::Bytes;

/// The first byte chooses between a text that may be a package, and a package of what follows.
pub fn run(data: &[u8]) {
    let bytes = &mut Bytes(data);
    if bytes.byte() & 1 == 0 { read(&String::from_utf8_lossy(bytes.rest())) } else { make(bytes) }
}

fn read(text: &str) {
    let Ok(package) = Package::from_json(text) else { return };
    assert!(package.encrypted_keys.len() <= MAX_ENTRIES);
    assert!(!package.room.as_str().is_empty());
    // Another reader of JSON sees the same in it, if it takes what is passed over here: halves of characters, endless numbers.
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(text) {
        assert_eq!(value["room"], package.room.as_str());
        assert_eq!(value["encrypted_message"], package.encrypted_message);
        let keys = value["encrypted_keys"].as_object().unwrap();
        assert_eq!(keys.len(), package.encrypted_keys.len());
        package.encrypted_keys.iter().for_each(|(user, key)| assert_eq!(keys[user], *key));
    }
    let json = match Attached::read(text, &package) {
        Attached::Nothing => None,
        Attached::Signed(signed) => Some(signed.package(&package)),
        Attached::Bundle(bundle) => Some(bundle.package(&package.room)),
    };
    if let Some(json) = json {
        let again = String::from_utf8(json).unwrap();
        assert_eq!(Package::from_json(&again).as_ref(), Ok(&package));
        assert_eq!(Attached::read(&again, &package), Attached::read(text, &package));
    }
    check(&package);
}

fn make(bytes: &mut Bytes<'_>) {
    let (token, room) = (bytes.text(), bytes.text());
    let mut keys = IndexMap::new();
    while !bytes.is_empty() {
        keys.insert(bytes.text(), bytes.text());
    }
    check(&Package::new(token, keys, RoomName::new(if room.is_empty() { "r" } else { &room })));
}

fn check(package: &Package) {
    let json = String::from_utf8(package.to_json()).unwrap();
    assert_eq!(Package::from_json(&json).as_ref(), Ok(package));
    let readers = package.encrypted_keys.keys().map(String::as_str).take(20).chain(["nobody\u{7f}"]);
    for reader in readers.map(UserName::new) {
        let mut out = Vec::new();
        package.render_for(&reader, &mut out);
        assert_eq!(out.len(), package.len_for(&reader));
        assert!(out.len() <= package.longest());
        let got = Package::from_json(std::str::from_utf8(&out).unwrap()).unwrap();
        assert_eq!((&got.encrypted_message, &got.room), (&package.encrypted_message, &package.room));
        let own = package.encrypted_keys.get(reader.as_str());
        assert_eq!(got.encrypted_keys.len(), usize::from(own.is_some()), "its own entry alone");
        assert_eq!(got.encrypted_keys.get(reader.as_str()), own);
    }
    let mut bare = Vec::new();
    package.render_without_keys(&mut bare);
    let entries = package.encrypted_keys.iter().map(|(user, key)| entry_len(&UserName::new(user), key));
    let commas = usize::from(!package.encrypted_keys.is_empty()); // the first has none
    assert_eq!(bare.len() + entries.sum::<usize>() - commas, json.len());
}
