//! The test vectors of the modern wire: our code reproduces them, a Python script that was written from the
//! specification reproduces them, and nothing in them can be altered without being noticed.
//!
//! `cargo test --test vectors -- --ignored regenerate` writes them anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "tests may fail loudly"
)]

#[path = "../common/mod.rs"]
mod common;
mod compute;
mod samples;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secure_chat::crypto::{PrivateKey, SigningKey};
use secure_chat::transcript::Signature;
use serde_json::{Value, json};

use common::programs::{python, script};
use compute::compute;

const FILE: &str = "tests/vectors/modern.json";
const RSA_KEY: &str = "tests/data/rsa-2048.private";

static RSA: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::from_pem(&fs::read_to_string(path(RSA_KEY)).unwrap()).unwrap());

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(&fs::read_to_string(path(FILE)).unwrap()).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

/// The kinds of vectors, in the file's order.
const KINDS: [&str; 13] = [
    "hello",
    "bundle",
    "statement",
    "grant",
    "act",
    "direct",
    "log",
    "roster",
    "commitment",
    "chain",
    "wrap",
    "token",
    "safety number",
];

#[test]
fn our_code_reproduces_every_vector() {
    let vectors = vectors();
    for vector in &vectors {
        let kind = vector["kind"].as_str().unwrap();
        assert_eq!(compute(kind, &vector["input"]).as_ref(), Some(&vector["output"]), "{kind}");
    }
    let mut kinds: Vec<_> = vectors.iter().map(|vector| vector["kind"].as_str().unwrap()).collect();
    kinds.dedup();
    assert_eq!(kinds, KINDS);
}

#[test]
fn python_reproduces_every_vector_from_the_specification() {
    let Some(python) = python() else { return };
    let output = script(&python, "vectors.py").args([path(FILE), path(RSA_KEY)]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), format!("{} vectors reproduced", vectors().len()));
}

/// What is altered in an input changes what comes out of it or is refused, and the signature does not hold for it.
#[test]
fn whatever_is_altered_is_noticed() {
    for vector in vectors() {
        let (kind, input, output) = (vector["kind"].as_str().unwrap(), &vector["input"], &vector["output"]);
        let signed = Signed::of(input, output);
        for (place, altered) in alterations(input) {
            let Some(other) = compute(kind, &altered) else { continue };
            assert_ne!(&other, output, "{kind}: {place} was altered and nobody noticed");
            if let (Some(signed), false) = (&signed, place == "/seed") {
                let bytes = STANDARD.decode(other["bytes"].as_str().unwrap()).unwrap();
                let holds = signed.key.verifying_key().verify(&bytes, &signed.signature);
                assert!(!holds, "{kind}: {place} was altered and the signature holds");
            }
        }
    }
}

#[test]
fn an_altered_signature_does_not_hold() {
    for vector in vectors() {
        let Some(signed) = Signed::of(&vector["input"], &vector["output"]) else { continue };
        assert!(signed.key.verifying_key().verify(&signed.bytes, &signed.signature));
        for bit in 0..8 * Signature::LEN {
            let mut altered = signed.signature;
            altered.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!signed.key.verifying_key().verify(&signed.bytes, &altered), "{} {bit}", vector["kind"]);
        }
    }
}

/// What is signed in a vector, and how.
struct Signed {
    key: SigningKey,
    bytes: Vec<u8>,
    signature: Signature,
}

impl Signed {
    fn of(input: &Value, output: &Value) -> Option<Self> {
        let seed = STANDARD.decode(input["seed"].as_str()?).unwrap();
        Some(Self {
            key: SigningKey::from_seed(&seed.try_into().unwrap()),
            bytes: STANDARD.decode(output["bytes"].as_str().unwrap()).unwrap(),
            signature: Signature::from_base64(output["signature"].as_str().unwrap()).unwrap(),
        })
    }
}

/// Fields that are text as it stands; all other strings are base64.
const TEXT: [&str; 12] = [
    "account",
    "argument",
    "encrypted_message",
    "kind",
    "other_account",
    "recipient",
    "room",
    "target",
    "token",
    "type",
    "verb",
    "wrapped",
];

/// The input with one thing altered in every way: a bit of each byte, two bits of each number, a list one shorter.
fn alterations(input: &Value) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    leaves(input, String::new(), &mut places);
    let altered = |place: &String| {
        let original = input.pointer(place).unwrap();
        let name = place.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap();
        let with = |value| {
            let mut input = input.clone();
            *input.pointer_mut(place).unwrap() = value;
            (place.clone(), input)
        };
        variants(name, original).into_iter().filter(|value| value != original).map(with).collect::<Vec<_>>()
    };
    places.iter().flat_map(altered).collect()
}

/// The JSON pointers of all that can be altered.
fn leaves(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| leaves(field, format!("{at}/{name}"), places)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| leaves(item, format!("{at}/{i}"), places));
            places.push(at);
        }
        _ => places.push(at),
    }
}

fn variants(name: &str, value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.iter().skip(1).take(1).map(|_| items[1..].into()).collect(),
        Value::Number(number) => [1, 1 << 40].map(|bit| (number.as_u64().unwrap() ^ bit).into()).to_vec(),
        Value::String(text) if TEXT.contains(&name) => {
            let flipped = flips(text.as_bytes()).filter_map(|bytes| String::from_utf8(bytes).ok());
            flipped.chain([format!("{text}x")]).map(Value::from).collect()
        }
        Value::String(text) => {
            let bytes = STANDARD.decode(text).unwrap();
            let longer = [&bytes[..], &[0]].concat();
            flips(&bytes).chain([longer, vec![0; 32]]).map(|bytes| STANDARD.encode(bytes).into()).collect()
        }
        _ => panic!("no such value in a vector: {value}"),
    }
}

fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).map(|i| {
        let mut bytes = bytes.to_vec();
        bytes[i] ^= 1 << (i % 7);
        bytes
    })
}

#[test]
#[ignore = "writes tests/vectors/modern.json"]
fn regenerate() {
    let old = if path(FILE).exists() { vectors() } else { Vec::new() };
    let made = samples::inputs(&old).into_iter().map(|(kind, input)| {
        let output = compute(kind, &input).unwrap_or_else(|| panic!("{kind} is refused"));
        json!({ "kind": kind, "input": input, "output": output })
    });
    let file = json!({ "protocol": "secure-chat/1", "rsa_key": RSA_KEY, "vectors": made.collect::<Vec<_>>() });
    fs::write(path(FILE), serde_json::to_string_pretty(&file).unwrap() + "\n").unwrap();
}
