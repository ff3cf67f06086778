//! What the vectors are made from: fixed, and without a pattern that could hide a mistake.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secure_chat::crypto::{FernetKey, SigningKey, envelope};
use secure_chat::names::UserName;
use secure_chat::transcript::{Realm, bundle};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::RSA;
use crate::compute::compute;

/// The largest integer that any JSON reader takes.
const LARGEST: u64 = (1 << 53) - 1;

/// Bytes that depend on a name alone.
fn bytes<const N: usize>(name: &str) -> [u8; N] {
    std::array::from_fn(|i| Sha512::digest(name)[i])
}

fn b64<const N: usize>(name: &str) -> String {
    STANDARD.encode(bytes::<N>(name))
}

/// The field of an old vector, as long as it still gives what is expected: what is salted is not made anew without need.
fn kept(
    old: &[Value],
    kind: &str,
    field: &str,
    mut input: Value,
    make: impl FnOnce() -> String,
    good: impl Fn(&Value) -> bool,
) -> Value {
    let old = old.iter().find(|vector| vector["kind"] == kind).map(|vector| vector["input"][field].clone());
    input[field] = old.unwrap_or_default();
    if !compute(kind, &input).is_some_and(|output| good(&output)) {
        input[field] = make().into();
    }
    input
}

/// All inputs, with their kinds.
pub(crate) fn inputs(old: &[Value]) -> Vec<(&'static str, Value)> {
    let token = token(old);
    let message = &token["token"];
    [
        vec![("hello", json!({ "exporter": b64::<32>("exporter"), "seed": b64::<32>("server") }))],
        vec![("bundle", bundle_input(old))],
        signed_in_room(message),
        vec![("direct", direct(message)), ("log", log(message)), ("roster", roster())],
        vec![("commitment", json!({ "key": token["key"] }))],
        chains(),
        vec![("wrap", wrapped(old)), ("token", token.clone())],
        vec![("safety number", safety_number())],
    ]
    .concat()
}

fn bundle_input(old: &[Value]) -> Value {
    let (account, spki) = (UserName::new("zoë"), RSA.public().spki_der());
    let signing_key = SigningKey::from_seed(&bytes("zoë")).verifying_key().bytes();
    let input = json!({
        "realm": b64::<32>("realm"), "account": account.as_str(), "seed": b64::<32>("zoë"), "rsa_key": STANDARD.encode(spki),
    });
    let signed = bundle(&Realm(bytes("realm")), &account, &signing_key, spki);
    kept(old, "bundle", "rsa_signature", input, || STANDARD.encode(RSA.sign_pss(&signed).unwrap()), |_| true)
}

fn signed_in_room(message: &Value) -> Vec<(&'static str, Value)> {
    let with = |fields: Value| {
        let mut input = json!({
            "realm": b64::<32>("realm"), "room": "#déjà-vu", "account": "zoë", "bundle": b64::<32>("bundle"),
            "run": b64::<16>("run"), "n": 70_000, "log": b64::<32>("log"), "seed": b64::<32>("zoë"),
        });
        input.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        input
    };
    let statement = json!({
        "kind": "text", "epoch": 3, "counter": 300, "commitment": b64::<32>("commitment"), "encrypted_message": message,
    });
    let mut through_legacy = with(statement.clone());
    through_legacy["epoch"] = 0.into();
    through_legacy["n"] = 0.into();
    through_legacy["log"] = STANDARD.encode([0; 32]).into();
    let act = |verb: &str, target: &str, argument: &str, counter: u64| {
        with(json!({ "verb": verb, "target": target, "argument": argument, "counter": counter }))
    };
    vec![
        ("statement", with(statement)),
        ("statement", through_legacy),
        ("grant", with(json!({ "epoch": 3, "counter": 301, "check": b64::<32>("check") }))),
        ("act", act("kick", "bob", "spam, again", 302)),
        ("act", act("ban", "Боб", "3600", 303)),
        ("act", act("unban", "bob", "", 304)),
        ("act", act("mute", "bob", "", 305)),
        ("act", act("unmute", "bob", "", 306)),
        ("act", act("topic", "", "naïve plans — 漢字", 307)),
        ("act", act("flags", "", "modern-only", 308)),
        ("act", act("password", "", "", 309)),
        ("act", act("delete", "", "", 310)),
        ("act", act("leave", "", "", LARGEST)),
    ]
}

fn direct(message: &Value) -> Value {
    let reader = |bundle: &str, run: &str| json!({ "bundle": b64::<32>(bundle), "run": b64::<16>(run) });
    json!({
        "realm": b64::<32>("realm"), "account": "zoë", "bundle": b64::<32>("bundle"), "run": b64::<16>("run"),
        "recipient": "bob", "counter": 7, "commitment": b64::<32>("commitment"), "encrypted_message": message,
        "readers": [reader("bob", "first"), reader("bob", "second"), reader("bundle", "other"), reader("phone", "run")],
        "seed": b64::<32>("zoë"),
    })
}

fn modern(account: &str, run: &str) -> Value {
    json!({ "account": account, "kind": "modern", "key": b64::<32>(account), "run": b64::<16>(run) })
}

fn legacy(account: &str, key: &str) -> Value {
    json!({ "account": account, "kind": "legacy", "key": key, "run": b64::<16>(account) })
}

fn log(message: &Value) -> Value {
    let roster = b64::<32>("roster");
    let signature = b64::<64>("signature");
    let members = |joined: Value, removed: Value| json!({ "type": "members", "joined": joined, "removed": removed, "roster": roster });
    let said = |account: &str, signature: &str| json!({ "type": "message", "account": account, "encrypted_message": message, "signature": signature });
    let act = |account: &str, verb: &str, target: &str, argument: &str, signature: &str| {
        json!({
            "type": "act", "account": account, "verb": verb, "target": target, "argument": argument, "signature": signature,
        })
    };
    json!({
        "realm": b64::<32>("realm"), "room_id": b64::<16>("room id"), "room": "#déjà-vu", "nonce": b64::<16>("nonce"),
        "events": [
            members(json!([modern("zoë", "run")]), json!([])),
            members(json!([modern("bob", "first"), legacy("carol", "")]), json!([])),
            members(json!([legacy("carol", &b64::<32>("carol's key"))]), json!([legacy("carol", "")])),
            said("zoë", &signature),
            said("carol", ""),
            members(json!([modern("zoë", "run")]), json!([modern("zoë", "run")])),
            { "type": "members in numbers", "joined_count": 300, "removed_count": 2, "changes": b64::<32>("changes"), "roster": roster },
            act("zoë", "kick", "bob", "spam", &signature),
            act("zoë", "topic", "", "naïve plans — 漢字", &signature),
            act("zoë", "delete", "", "", ""),
        ],
    })
}

fn roster() -> Value {
    let twice = modern("bob", "first");
    json!({
        "realm": b64::<32>("realm"), "room_id": b64::<16>("room id"), "room": "#déjà-vu",
        "entries": [
            modern("zoë", "run"), twice, modern("bob", "second"), twice, legacy("carol", ""),
            legacy("dave", &b64::<32>("dave's key")),
        ],
    })
}

fn chains() -> Vec<(&'static str, Value)> {
    let chain = |counter: u64| json!({ "chain_key": b64::<32>("chain"), "grant_counter": 301, "counter": counter });
    [301, 302, 303, 350, 301 + 4095].map(|counter| ("chain", chain(counter))).to_vec()
}

fn wrapped(old: &[Value]) -> Value {
    let make = || envelope::wrap(&bytes("chain"), RSA.public()).unwrap();
    kept(old, "wrap", "wrapped", json!({}), make, |output| output["key"] == b64::<32>("chain"))
}

/// A padded statement under a key of the chain.
fn token(old: &[Value]) -> Value {
    let key = FernetKey::from_raw(&bytes("message key"));
    let text = "zoë: naïve plans — 漢字";
    let input = json!({ "key": STANDARD.encode(key.expose_raw()) });
    let make = || key.seal(envelope::pad(text).as_bytes(), 1_800_000_000);
    let good = |output: &Value| output["text"] == text && output["time"] == 1_800_000_000;
    kept(old, "token", "token", input, make, good)
}

fn safety_number() -> Value {
    let key = |name: &str| STANDARD.encode(SigningKey::from_seed(&bytes(name)).verifying_key().bytes().0);
    json!({
        "realm": b64::<32>("realm"), "account": "zoë", "signing_key": key("zoë"), "other_account": "bob", "other_key": key("bob"),
    })
}
