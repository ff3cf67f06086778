//! Values of every type of the wire, made of bytes that proptest draws and shrinks.

use std::hash::Hash;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;

use super::super::value::for_hashes;
use super::super::*;
use crate::names::{Password, RoomName, Text, UserName};
use crate::transcript::{
    BundleHash, ChangeHash, ChangesHash, Commitment, Ed25519Key, EntryKey, GrantCheck, KeyHash, Kind, LogHash,
    Position, Realm, RoomId, RosterEntry, RosterHash, RunId, Signature, Verb,
};

/// Bytes to make values of; zeros once they are used up.
pub(in super::super) struct Source<'a>(pub(in super::super) &'a [u8]);

impl Source<'_> {
    pub(in super::super) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }
}

/// Something that can be made of bytes.
pub(in super::super) trait Sample {
    fn sample(source: &mut Source<'_>) -> Self;
}

/// A field, by how it is written on the wire.
macro_rules! sample_field {
    (positive $source:ident) => {
        1 + <u64 as $crate::protocol::modern::tests::sample::Sample>::sample($source)
            % $crate::protocol::modern::MAX_NUMBER
    };
    (few $source:ident) => {
        (0..=$source.byte() % 32).map(|_| $crate::protocol::modern::tests::sample::Sample::sample($source)).collect()
    };
    ($mode:ident $source:ident) => {
        $crate::protocol::modern::tests::sample::Sample::sample($source)
    };
}
pub(in super::super) use sample_field;

macro_rules! samples {
    ($($type:ty: $make:expr;)+) => {
        $(impl Sample for $type {
            fn sample(source: &mut Source<'_>) -> Self {
                let make: fn(&mut Source<'_>) -> Self = $make;
                make(source)
            }
        })+
    };
}

samples! {
    u64: |s| (u64::from_be_bytes(s.array()) >> (s.byte() % 64)) & MAX_NUMBER;
    bool: |s| s.byte() % 2 == 1;
    String: text;
    UserName: |s| Self::new(&text(s));
    RoomName: |s| Self::new(&text(s));
    Password: |s| Self::new(text(s));
    Text: |s| Self::sanitize(&text(s));
    SignedText: |s| Self::new(&text(s));
    SessionToken: |s| Self::new(s.array());
    Verb: |s| s.pick(Self::ALL);
    Kind: |_| Self::Text;
    RemovedWhy: |s| s.pick(Self::ALL);
    ByeReason: |s| s.pick(Self::ALL);
    Arc<[u8]>: |s| bytes(s).into();
    Wrap: |s| Self::new(STANDARD.encode([vec![s.byte()], bytes(s)].concat())).unwrap();
    Position: |s| Self { n: Sample::sample(s), log: Sample::sample(s) };
    RosterEntry: |s| Self { account: Sample::sample(s), key: Sample::sample(s), run: Sample::sample(s) };
    EntryKey: |s| match s.below(3) {
        0 => Self::Legacy(None),
        1 => Self::Legacy(Some(KeyHash(s.array()))),
        _ => Self::Modern(Sample::sample(s)),
    };
    Changes: |s| match s.below(2) {
        0 => Self::Listed { joined: Sample::sample(s), removed: Sample::sample(s) },
        _ => Self::Hashed { joined: Sample::sample(s), removed: Sample::sample(s), changes: Sample::sample(s) },
    };
    Origin: |s| match s.below(2) {
        0 => Self::Legacy { encrypted_key: Sample::sample(s) },
        _ => Self::Modern { reader: Sample::sample(s), stamp: Sample::sample(s) },
    };
    Arc<Bundle>: |s| Self::new(match s.below(2) {
        0 => Bundle::Legacy { user: Sample::sample(s), rsa_key: Sample::sample(s) },
        _ => Bundle::Modern { user: Sample::sample(s), keys: Sample::sample(s) },
    });
}

macro_rules! hash_samples {
    ($($type:ident),+) => {
        $(impl Sample for $type {
            fn sample(source: &mut Source<'_>) -> Self {
                Self(source.array())
            }
        })+
    };
}

for_hashes!(hash_samples);

/// Text with all that JSON and terminals find difficult.
fn text(source: &mut Source<'_>) -> String {
    const CHARS: [char; 20] = [
        'a', 'Z', '0', ' ', '"', '\\', '/', '\n', '\r', '\t', '\u{1}', '\u{8}', '\u{7f}', 'ö', '漢', '\u{2028}',
        '\u{202e}', '\u{200d}', '😀', '{',
    ];
    (0..source.below(12)).map(|_| source.pick(&CHARS)).collect()
}

fn bytes(source: &mut Source<'_>) -> Vec<u8> {
    (0..source.below(40)).map(|_| source.byte()).collect()
}

impl<T: Sample> Sample for Option<T> {
    fn sample(source: &mut Source<'_>) -> Self {
        (source.byte() % 2 == 1).then(|| T::sample(source))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(source: &mut Source<'_>) -> Self {
        (0..source.below(5)).map(|_| T::sample(source)).collect()
    }
}

impl<K: Sample + Hash + Eq, V: Sample> Sample for IndexMap<K, V> {
    fn sample(source: &mut Source<'_>) -> Self {
        (0..source.below(5)).map(|_| (K::sample(source), V::sample(source))).collect()
    }
}

pub(super) fn request(source: &mut Source<'_>) -> Request {
    let kind = source.pick(RequestType::ALL);
    Request { id: Sample::sample(source), body: RequestBody::sample(kind, source) }
}

/// An answer, and what it answers.
pub(super) fn answer(source: &mut Source<'_>) -> (Answer, RequestType) {
    let asked = source.pick(RequestType::ALL);
    let (id, kind) = (Sample::sample(source), source.below(4));
    let answer = match (kind, asked) {
        (0, _) => Answer::Error {
            id: Sample::sample(source),
            code: ErrorCode::sample(source.pick(ErrorWord::ALL), source),
            text: Sample::sample(source),
        },
        (1, RequestType::List) => Answer::Part { id, body: PartBody::Rooms(Sample::sample(source)) },
        (1, RequestType::Who) => Answer::Part { id, body: PartBody::Entries(Sample::sample(source)) },
        (1, RequestType::Bundles) => Answer::Part { id, body: PartBody::Bundles(Sample::sample(source)) },
        _ => Answer::Ok { id, body: OkBody::sample(asked, source) },
    };
    (answer, asked)
}

pub(super) fn event(source: &mut Source<'_>) -> Event {
    let kind = source.pick(EventType::ALL);
    Event::sample(kind, source)
}

pub(super) fn hello(source: &mut Source<'_>) -> Hello {
    Sample::sample(source)
}
