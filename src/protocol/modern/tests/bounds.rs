//! How much a line may hold, and that the largest of each kind fits.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::super::*;
use crate::names::{RoomName, Text, UserName};
use crate::transcript::{
    BundleHash, ChangeHash, ChangesHash, Commitment, Ed25519Key, EntryKey, GrantCheck, Kind, LogHash, Position, RoomId,
    RosterEntry, RosterHash, RunId, Signature, Verb,
};

/// The field that a request is refused for, if any.
fn refused(request: Value) -> Option<&'static str> {
    let refusal = decode_request(request.to_string().as_bytes()).err()?;
    assert_eq!(refusal.code, ErrorCode::BadRequest);
    refusal.field
}

fn base64(len: usize) -> String {
    STANDARD.encode(vec![7; len])
}

#[test]
fn names_are_as_long_as_their_json_may_be() {
    let who = |room: &str| refused(json!({"type": "who", "id": 1, "room": room}));
    assert_eq!(who(""), None); // no room is called so, which is for the hub to say
    assert_eq!(who(&"ö".repeat(2048)), None);
    assert_eq!(who(&"ö".repeat(2049)), Some("room"));
    assert_eq!(who(&"\u{1}".repeat(682)), None);
    assert_eq!(who(&"\u{1}".repeat(683)), Some("room"));
}

#[test]
fn lists_and_maps_are_bounded() {
    let hashes = |n| refused(json!({"type": "bundles", "id": 1, "hashes": vec![base64(32); n]}));
    assert_eq!([0, 1, 32, 33].map(hashes), [Some("hashes"), None, None, Some("hashes")]);
    let keys = |n: usize| {
        let keys: serde_json::Map<_, _> = (0..n).map(|i| (i.to_string(), json!("QQ=="))).collect();
        refused(json!({"type": "attach", "id": 1, "room": "r", "encrypted_keys": keys}))
    };
    assert_eq!([0, 4096, 4097].map(keys), [None, None, Some("encrypted_keys")]);
}

#[test]
fn numbers_are_those_that_every_json_holds() {
    let need = |epoch: &str| {
        let (bundle, run) = (base64(32), base64(16));
        let line = format!(
            r#"{{"type":"need_key","id":0,"room":"r","user":"u","bundle":"{bundle}","run":"{run}","epoch":{epoch}}}"#
        );
        decode_request(line.as_bytes()).is_ok()
    };
    assert!(["1", "9007199254740991"].into_iter().all(need));
    assert!(
        !["0", "-1", "-0", "1.0", "1e0", "9007199254740992", "18446744073709551616", "\"1\""].into_iter().any(need)
    );
}

#[test]
fn base64_has_one_form_and_the_right_length() {
    let resume = |token: String, run: String| refused(json!({"type": "resume", "id": 1, "token": token, "run": run}));
    assert_eq!(resume(base64(32), base64(16)), None);
    for bad in
        [base64(31), base64(33), base64(30), String::new(), base64(32).replace('=', ""), format!("{}\n", base64(32))]
    {
        assert_eq!(resume(bad, base64(16)), Some("token"));
    }
    let unused_bits = base64(32).replace("c=", "d=");
    assert_ne!(unused_bits, base64(32));
    assert_eq!(resume(unused_bits, base64(16)), Some("token"));
    assert_eq!(resume(base64(32), base64(15)), Some("run"));
    for good in ["QQ==".to_owned(), base64(256), base64(512)] {
        assert_eq!(Wrap::new(good.clone()).unwrap().as_str(), good);
    }
    for bad in [String::new(), "QQ".into(), "QR==".into(), "Q_==".into(), "QQ==\n".into(), base64(514)] {
        assert_eq!(Wrap::new(bad.clone()), None, "{bad}");
    }
    let announce = |rsa_key: String| {
        let (key, run, signature) = (base64(32), base64(16), base64(64));
        refused(json!({"type": "announce", "id": 1, "signing_key": key, "rsa_key": rsa_key, "signature": signature,
            "rsa_signature": base64(512), "run": run}))
    };
    assert_eq!([1, 550, 1024, 1027].map(|len| announce(base64(len))), [None, None, None, Some("rsa_key")]);
}

/// A name that takes as much room as any.
fn long() -> String {
    "\u{1}".repeat(MAX_NAME / 6)
}

fn user() -> UserName {
    UserName::new(&long())
}

fn room() -> RoomName {
    RoomName::new(&long())
}

fn at() -> Position {
    Position { n: MAX_NUMBER, log: LogHash([0xff; 32]) }
}

fn author() -> Author {
    Author { user: user(), reader: reader() }
}

fn reader() -> Reader {
    Reader { bundle: BundleHash([0xff; 32]), run: RunId([0xff; 16]) }
}

fn stamp() -> Stamp {
    let (commitment, signature) = (Commitment([0xff; 32]), Signature([0xff; 64]));
    Stamp { kind: Kind::Text, epoch: MAX_NUMBER, counter: MAX_NUMBER, at: at(), commitment, signature }
}

fn grant_stamp() -> GrantStamp {
    let (check, signature) = (GrantCheck([0xff; 32]), Signature([0xff; 64]));
    GrantStamp { epoch: MAX_NUMBER, counter: MAX_NUMBER, at: at(), check, signature }
}

fn message(encrypted_message: String, origin: Origin) -> Event {
    let (room, user) = (room(), user());
    Event::Message(MessageEvent { room, n: MAX_NUMBER, time: MAX_NUMBER, user, encrypted_message, origin })
}

fn line_len(answer: &Answer) -> usize {
    let mut out = Vec::new();
    encode_answer(answer, &mut out);
    out.len()
}

#[test]
fn the_largest_events_fit_a_line() {
    let token = "\u{1}".repeat(MAX_ENCRYPTED_MESSAGE / 6);
    assert!(fits(&message(token.clone(), Origin::Modern { reader: reader(), stamp: stamp() })));
    assert!(fits(&message(token, Origin::Legacy { encrypted_key: Some("\u{1}".repeat(1024 / 6)) })));
    let text = SignedText::new(&long());
    let deed = Deed { verb: Verb::Password, target: text.clone(), argument: text };
    let stamp = ActStamp { counter: MAX_NUMBER, at: at(), signature: Signature([0xff; 64]) };
    let proof = Some(ActProof { reader: reader(), stamp });
    let act = ActEvent { room: room(), n: MAX_NUMBER, time: MAX_NUMBER, user: user(), deed, proof };
    assert!(fits(&Event::Act(act)));
    let wrap = Wrap::new(base64(513)).unwrap();
    assert!(fits(&Event::Grant(GrantEvent { room: room(), author: author(), stamp: grant_stamp(), wrap })));
    let changes = Changes::Hashed { joined: MAX_NUMBER, removed: MAX_NUMBER, changes: ChangesHash([0xff; 32]) };
    let roster = RosterHash([0xff; 32]);
    assert!(fits(&Event::Members(MembersEvent { room: room(), n: MAX_NUMBER, time: MAX_NUMBER, roster, changes })));
}

#[test]
fn the_largest_answers_fit_a_line() {
    let join = JoinOk {
        room: room(),
        room_id: RoomId([0xff; 16]),
        n: MAX_NUMBER,
        before: LogHash([0xff; 32]),
        joined: vec![ChangeHash([0xff; 32]); MAX_CHANGES],
        removed: Vec::new(),
        roster: RosterHash([0xff; 32]),
        count: MAX_NUMBER,
        topic: Text::sanitize(&"\"".repeat(512)),
        owner: Some(user()),
        modern_only: false,
        counter: Some(MAX_NUMBER),
        time: MAX_NUMBER,
    };
    assert!(line_len(&Answer::Ok { id: MAX_NUMBER, body: OkBody::Join(join) }) <= MAX_LINE);
    let readers = vec![reader(); MAX_SESSIONS];
    let sessions = OkBody::Sessions { user: user(), recipient: readers.clone(), own: readers };
    assert!(line_len(&Answer::Ok { id: MAX_NUMBER, body: sessions }) <= MAX_LINE);
    let missing = vec![BundleHash([0xff; 32]); MAX_HASHES];
    assert!(line_len(&Answer::Ok { id: MAX_NUMBER, body: OkBody::Bundles { missing } }) <= MAX_LINE);
}

#[test]
fn a_list_comes_in_parts_that_fit_and_leave_nothing_out() {
    let entry = |i: usize| {
        let account = UserName::new(&"\u{1}".repeat(i * i % 600));
        let entry = RosterEntry { account, key: EntryKey::Modern(BundleHash([i as u8; 32])), run: RunId([0xff; 16]) };
        Entry { entry, away: i.is_multiple_of(3) }
    };
    let entries: Vec<_> = (0..3000).map(entry).collect();
    let answers: Vec<_> = parts(MAX_NUMBER, entries.clone()).collect();
    assert!(answers.iter().all(|answer| line_len(answer) <= MAX_LINE));
    let filled = answers.iter().filter(|answer| line_len(answer) > MAX_LINE / 2).count();
    assert!(filled + 1 >= answers.len(), "no line but the last is much too short");
    let again = answers.into_iter().flat_map(|answer| match answer {
        Answer::Part { id: MAX_NUMBER, body: PartBody::Entries(entries) } => entries,
        other => panic!("{other:?}"),
    });
    assert_eq!(again.collect::<Vec<_>>(), entries);
    assert_eq!(parts(1, Vec::<Entry>::new()).count(), 0);
}

#[test]
fn any_number_of_the_largest_bundles_comes_in_parts_that_fit() {
    let bytes: Arc<[u8]> = vec![0xff; 1024].into();
    let (signing_key, signature) = (Ed25519Key([0xff; 32]), Signature([0xff; 64]));
    let keys = BundleKeys { signing_key, rsa_key: Arc::clone(&bytes), signature, rsa_signature: bytes };
    let bundle = Arc::new(Bundle::Modern { user: user(), keys });
    let answers: Vec<_> = parts(MAX_NUMBER, vec![bundle; MAX_HASHES]).collect();
    assert!(answers.len() > 1 && answers.iter().all(|answer| line_len(answer) <= MAX_LINE));
}

#[test]
fn a_grant_for_thousands_comes_in_requests_that_fit() {
    let wrap = Wrap::new(base64(512)).unwrap();
    let bundle = |i: u16| {
        let mut hash = [0; 32];
        hash[..2].copy_from_slice(&i.to_be_bytes());
        BundleHash(hash)
    };
    let wraps: Wraps = (0..2000).map(|i| (bundle(i), wrap.clone())).collect();
    let pieces = split_wraps(wraps.clone());
    for wraps in pieces.clone() {
        let body = RequestBody::Grant(GrantRequest { room: room(), stamp: grant_stamp(), wraps });
        let mut out = Vec::new();
        encode_request(&Request { id: MAX_NUMBER, body }, &mut out);
        assert!(out.len() <= MAX_LINE);
    }
    assert_eq!(pieces.into_iter().flatten().collect::<Wraps>(), wraps);

    let keys: EncryptedKeys = (0..500).map(|i| (UserName::new(&format!("{i}\u{1}\"")), wrap.clone())).collect();
    let pieces = split_keys(keys.clone());
    for encrypted_keys in pieces.clone() {
        let mut out = Vec::new();
        let body = RequestBody::Attach { room: room(), encrypted_keys };
        encode_request(&Request { id: MAX_NUMBER, body }, &mut out);
        assert!(out.len() <= MAX_LINE && out.len() > MAX_LINE / 8);
    }
    assert_eq!(pieces.into_iter().flatten().collect::<IndexMap<_, _>>(), keys);
}

#[test]
fn long_names_in_a_room_that_is_not_large_may_not_fit() {
    let entry = |name: &str| RosterEntry {
        account: UserName::new(name),
        key: EntryKey::Modern(BundleHash([0xff; 32])),
        run: RunId([0xff; 16]),
    };
    let members = |name: &str| {
        let changes = Changes::Listed { joined: vec![entry(name); 256], removed: Vec::new() };
        Event::Members(MembersEvent { room: room(), n: 1, time: 1, roster: RosterHash([0xff; 32]), changes })
    };
    assert!(fits(&members(&"x".repeat(32))));
    assert!(!fits(&members(&"x".repeat(200))));
}
