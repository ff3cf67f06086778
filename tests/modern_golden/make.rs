//! What the people of the script seal and sign, as a client does.

use secure_chat::crypto::{ChainKey, FernetKey, envelope};
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::modern::Reader;
use secure_chat::transcript::{
    Act, Author, Direct, Grant, Kind, MessageHash, Position, ReadersHash, Signature, Statement, readers_hash,
};
use serde_json::json;

use super::values::{Values, position};

/// Makes what a directive says; its parts get names.
pub(crate) fn make(values: &mut Values, what: &str, words: &[&str], text: &str) {
    match (what, words) {
        ("message", [name, who, room, "epoch", epoch, "counter", counter, legacy @ ..]) => {
            let room = RoomName::new(room);
            message(values, name, who, &room, (number(epoch), number(counter)), text, !legacy.is_empty());
        }
        ("package", [name, who]) => package(values, name, who, text),
        ("grant", [name, who, room, "epoch", epoch, "counter", counter]) => {
            grant(values, name, who, &RoomName::new(room), number(epoch), number(counter));
        }
        ("act", [name, who, room, "counter", counter, verb, target @ ..]) => {
            let (room, target) = (RoomName::new(room), target.first().copied().unwrap_or_default());
            act(values, name, who, &room, number(counter), [verb, target, text]);
        }
        ("direct", [name, who, recipient, "counter", counter, "readers", readers @ ..]) => {
            direct(values, name, who, &UserName::new(recipient), number(counter), readers, text);
        }
        _ => panic!("nobody knows how to make {what} {words:?}"),
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap()
}

fn now() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn author<'a>(values: &'a Values, who: &str, room: &'a RoomName) -> Author<'a> {
    let (realm, run) = (values.realm(), values.cast.run(who));
    let bundle = values.cast.bundle(&realm, who).hash();
    Author { realm, room, account: values.cast.account(who), bundle, run }
}

/// The chain of a sender's epoch at a counter; it begins at counter 1.
fn chain(values: &mut Values, who: &str, epoch: u64, counter: u64) -> ChainKey {
    let run = values.cast.run(who);
    let chain = values.chains.entry((run, epoch)).or_insert_with(ChainKey::generate);
    chain.advanced(counter - 1).unwrap()
}

fn name(values: &mut Values, name: &str, parts: &[(&str, String)]) {
    for (part, value) in parts {
        let called = if part.is_empty() { name.to_owned() } else { format!("{name}.{part}") };
        values.named.insert(called, value.clone());
    }
}

fn sign(values: &Values, who: &str, bytes: &[u8]) -> Signature {
    values.cast.signing_key(who).sign(bytes)
}

fn place(values: &Values, who: &str) -> Position {
    *values.places.get(who).unwrap_or_else(|| panic!("{who} was in no room"))
}

fn plaintext(values: &mut Values, who: &str, text: &str) -> String {
    let text = values.fill(text);
    format!("{}: {text}", values.cast.account(who))
}

/// A message to a room; one that no legacy member reads is padded.
fn message(
    values: &mut Values,
    called: &str,
    who: &str,
    room: &RoomName,
    (epoch, counter): (u64, u64),
    text: &str,
    legacy: bool,
) {
    let key = chain(values, who, epoch, counter).message_key();
    let at = place(values, who);
    let text = plaintext(values, who, text);
    let token = match legacy {
        true => key.seal(text.as_bytes(), now()),
        false => key.seal(envelope::pad(&text).as_bytes(), now()),
    };
    let commitment = key.commitment();
    let author = author(values, who, room);
    let message = MessageHash::of(&token);
    let statement = Statement { author, kind: Kind::Text, epoch, counter, at, commitment, message };
    let signature = sign(values, who, &statement.to_bytes());
    values.keys.insert(called.to_owned(), *key.expose_raw());
    let parts = [
        ("", token),
        ("at", position(&at)),
        ("commitment", commitment.to_base64()),
        ("signature", signature.to_base64()),
    ];
    name(values, called, &parts);
}

/// What a legacy member says.
fn package(values: &mut Values, called: &str, who: &str, text: &str) {
    let key = FernetKey::generate();
    let text = plaintext(values, who, text);
    values.keys.insert(called.to_owned(), *key.expose_raw());
    name(values, called, &[("", key.seal(text.as_bytes(), now()))]);
}

fn grant(values: &mut Values, called: &str, who: &str, room: &RoomName, epoch: u64, counter: u64) {
    let chain = chain(values, who, epoch, counter);
    let (at, check) = (place(values, who), chain.grant_check());
    let grant = Grant { author: author(values, who, room), epoch, counter, at, check };
    let signature = sign(values, who, &grant.to_bytes());
    values.keys.insert(called.to_owned(), *chain.expose_raw());
    let parts = [("at", position(&at)), ("check", check.to_base64()), ("signature", signature.to_base64())];
    name(values, called, &parts);
}

fn act(
    values: &mut Values,
    called: &str,
    who: &str,
    room: &RoomName,
    counter: u64,
    [verb, target, argument]: [&str; 3],
) {
    let at = place(values, who);
    let author = author(values, who, room);
    let act = Act { author, counter, at, verb: verb.parse().unwrap(), target, argument };
    let signature = sign(values, who, &act.to_bytes());
    name(values, called, &[("at", position(&at)), ("signature", signature.to_base64())]);
}

fn direct(
    values: &mut Values,
    called: &str,
    who: &str,
    recipient: &UserName,
    counter: u64,
    people: &[&str],
    text: &str,
) {
    let realm = values.realm();
    let key = FernetKey::generate();
    values.keys.insert(called.to_owned(), *key.expose_raw());
    let text = envelope::pad(&plaintext(values, who, text));
    let token = key.seal(text.as_bytes(), now());
    let reader = |name: &&str| {
        let entry = values.cast.entry(&realm, name);
        Reader { bundle: entry.key.bundle().unwrap(), run: entry.run }
    };
    let readers: Vec<_> = people.iter().map(reader).collect();
    let direct = Direct {
        realm,
        account: values.cast.account(who),
        bundle: values.cast.bundle(&realm, who).hash(),
        run: values.cast.run(who),
        recipient,
        counter,
        commitment: key.commitment(),
        readers: hash_of(&readers),
        message: MessageHash::of(&token),
    };
    let signature = sign(values, who, &direct.to_bytes());
    let readers: Vec<_> = readers.iter().map(|r| json!({ "bundle": r.bundle, "run": r.run }).to_string()).collect();
    let parts = [
        ("", token),
        ("commitment", key.commitment().to_base64()),
        ("readers", format!("[{}]", readers.join(","))),
        ("signature", signature.to_base64()),
    ];
    name(values, called, &parts);
}

fn hash_of(readers: &[Reader]) -> ReadersHash {
    readers_hash(readers.iter().map(|reader| (reader.bundle, reader.run)))
}
