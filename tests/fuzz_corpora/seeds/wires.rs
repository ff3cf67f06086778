//! Seeds of both wires, out of the golden transcripts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use secure_chat::client::typed::{command, greeting, help};
use secure_chat::client::wire::Dialect;
use secure_chat::protocol::modern::RequestType;

use super::{Seed, numbered};

/// Longest line of a transcript that becomes a seed; a longer one has only more of the same.
const LONGEST: usize = 1600;

/// A file of the tests.
pub fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)).unwrap()
}

fn prefixed(first: u8, rest: &[u8]) -> Vec<u8> {
    [&[first], rest].concat()
}

pub fn records() -> Vec<Seed> {
    let record = |len: u16| [&len.to_be_bytes()[..], b"a"].concat();
    let legacy = |limit: u16, lens: &[u16]| {
        let records: Vec<u8> = lens.iter().flat_map(|len| record(*len)).collect();
        prefixed(0, &[&limit.to_be_bytes()[..], &records].concat())
    };
    let modern = |limit: u8, cuts: &[u8], text: &[u8]| {
        prefixed(1, &[&[limit, u8::try_from(cuts.len()).unwrap()], cuts, text].concat())
    };
    numbered([
        legacy(1000, &[5, 0, 16384, 7]),
        legacy(900, &[16384, 16384, 3, 9]),
        legacy(u16::MAX, &[16384; 70]),
        legacy(0, &[0, 1, 16383, 16384, 0]),
        modern(100, &[1, 2, 3], b"one\ntwo\r\n\n\r\r\na\rb\nrest"),
        modern(4, &[4, 4], b"abcd\nabcde\nabc\r\nabcdefghi\n"),
        modern(0, &[], b"\n\r\nx"),
    ])
}

/// The lines of `tests/golden/legacy.txt`: who says them, and what.
fn golden() -> Vec<(bool, Vec<u8>)> {
    let script = text("golden/legacy.txt");
    let mut lines = Vec::new();
    for line in script.lines().filter(|line| !line.starts_with('#')) {
        let mut said = line.get(3..).unwrap_or_default().to_owned();
        for name in ["alice", "bob", "god"] {
            said = said.replace(&format!("{{{name}}}"), &text(&format!("data/{name}.pub")));
        }
        match line.get(1..3) {
            Some("> ") if said.starts_with('/') => lines.push((true, format!("CMD::{said}").into_bytes())),
            Some("> ") => lines.push((true, said.into_bytes())),
            Some("< ") => lines.push((false, said.into_bytes())),
            _ => {}
        }
    }
    lines
}

pub fn legacy() -> Vec<Seed> {
    let mut seen = BTreeSet::new();
    let lines = golden().into_iter().filter(|(up, said)| seen.insert((*up, said[..said.len().min(13)].to_vec())));
    let seeds = lines.map(|(up, said)| prefixed(if up { 0 } else { 0x80 }, &said));
    numbered(seeds.filter(|seed| seed.len() <= LONGEST).chain(packages_of_rooms().map(|json| prefixed(0x80, &json))))
}

pub fn packages() -> Vec<Seed> {
    let said = golden().into_iter().map(|(_, said)| said).filter(|said| said.starts_with(b"{"));
    let made = [
        &b"\x01\x05token\x03den\x03bob\x04Qg==\x03eve\x00"[..],
        b"\x01\x00\x00",
        b"\x01\x02\"\\\x01\n\x02\xff\x00\x01\"",
    ];
    let read = said.chain(packages_of_rooms()).map(|json| prefixed(0, &json));
    numbered(read.chain(made.map(<[u8]>::to_vec)).filter(|seed| seed.len() <= LONGEST))
}

/// Packages with what modern clients attach on the legacy wire.
fn packages_of_rooms() -> impl Iterator<Item = Vec<u8>> {
    super::client::attached().into_iter()
}

/// The lines of `tests/golden/modern-lines.txt` behind this word.
fn lines(of: &str) -> Vec<String> {
    let lines = text("golden/modern-lines.txt");
    let lines = lines.lines().filter_map(|line| line.strip_prefix(of)).map(str::to_owned);
    lines.filter(|line| line.len() <= LONGEST).collect()
}

pub fn requests() -> Vec<Seed> {
    let odd =
        ["no JSON", "[\"ping\"]", "{\"type\":\"ping\",\"id\":1,\"\\u0069d\":2}", "{\"type\":\"ping\",\"id\":1e3}"];
    numbered(lines("C ").into_iter().chain(odd.map(str::to_owned)).map(String::into_bytes))
}

pub fn answers() -> Vec<Seed> {
    let seeds = lines("S ").into_iter().map(|line| {
        let (asked, line) = line.split_once(' ').unwrap();
        let asked = RequestType::ALL.iter().position(|kind| kind.as_str() == asked).unwrap_or(0);
        prefixed(u8::try_from(asked).unwrap(), line.as_bytes())
    });
    numbered(seeds)
}

pub fn names() -> Vec<Seed> {
    let words = [
        "alice\0аlice",
        "#den\0#Den",
        "Zoe\u{308}\0Zoë",
        "god\0GOD",
        "gоd",
        "o.k-2_x",
        "漢字",
        "हिन्दी",
        "...",
        "#",
        "می\u{200c}خواهم",
        "👩\u{200d}👩\u{200d}👧",
        "bob\u{200d}",
        "a\u{202e}b\u{2066}c",
        "\x1b[31mred\x1b[0m",
        "two\r\nlines\tand\u{2028}more",
        "x\u{fe0f}",
        "\u{3164}",
        "ﬁ\0fi",
        "İ\0i",
        "ß\0SS",
        "admin\0ADMIN",
        "user1\0userl",
        "\u{2800}",
        "a\u{301}\u{200d}b",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ];
    numbered(words.map(|word| word.as_bytes().to_vec()))
}

pub fn commands() -> Vec<Seed> {
    let typed = [
        "/register ann pw",
        "/login ann pw",
        " /login ann pw",
        "/LOGIN ann",
        "/passwd old new",
        "/account legacy off pw",
        "/create den pw",
        "/join den pw",
        "/join den",
        "/room passwd new",
        "/room modern-only on",
        "/room delete den",
        "/topic -",
        "/topic about it",
        "/msg bob hello there",
        "/kick bob too loud",
        "/ban bob 2h",
        "/ban bob 99999999999d",
        "/mute bob 30s",
        "/verify bob yes",
        "/accept bob SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "exit",
        "/accept bob ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "/quit",
        "hello /join",
        "/",
        "\u{1c}/list",
        "\u{feff}/login ann pw",
        "/nonsense \u{1b}[2J",
    ];
    let known = command::MODERN.iter().chain(command::LEGACY).map(|word| format!("{word} a b"));
    let said = [Dialect::Legacy, Dialect::Modern].into_iter().flat_map(|on| help(on).iter().chain(greeting(on)));
    let lines = typed.into_iter().map(str::to_owned).chain(known).chain(said.map(|words| (*words).to_owned()).take(4));
    numbered(lines.map(String::into_bytes))
}

pub fn signed_bytes() -> Vec<Seed> {
    let tail =
        b"\x01\x03den\x05alice\x02\x03\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x09\x04\x05\x06\x03bob\x03why";
    let kinds = (0..9u8).map(|kind| [&[kind], &tail[..], &[(kind + 1) % 9], &tail[..]].concat());
    let twice = [(2u8, b"\x01\x02ab\x01c"), (2, b"\x01\x01a\x02bc")].map(|(kind, text)| prefixed(kind, text));
    let plain = [&b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c"[..], b"\0\0\0\x05abc"].map(<[u8]>::to_vec);
    numbered(kinds.chain([twice.concat()]).chain(plain))
}
