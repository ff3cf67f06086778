//! What is no line of the wire, and how that is said.

use serde_json::{Map, Value};

use super::super::*;

const LINES: &str = include_str!("../../../../tests/golden/modern-lines.txt");

/// Fields of requests that may be absent.
const OPTIONAL: [(&str, &str); 7] = [
    ("register", "token"),
    ("create", "modern_only"),
    ("join", "password"),
    ("send", "encrypted_keys"),
    ("send", "resend"),
    ("act", "secret"),
    ("act", "resend"),
];

/// The same of the server's lines, and fields without which a line is of the other of two forms.
const SERVER_OPTIONAL: [(&str, &str); 11] = [
    ("ok", "duplicate"),
    ("ok", "owner"),
    ("ok", "counter"),
    ("ok", "token"),
    ("hello", "motd"),
    ("message", "encrypted_key"),
    ("message", "legacy"),
    ("act", "signature"),
    ("error", "id"),
    ("error", "until"),
    ("part", "away"),
];

fn code(line: impl AsRef<[u8]>) -> ErrorCode {
    decode_request(line.as_ref()).unwrap_err().code
}

/// The objects of the lines of one speaker, with what was asked.
fn golden(speaker: &str) -> impl Iterator<Item = (&str, Map<String, Value>)> {
    LINES.lines().filter_map(move |line| line.strip_prefix(speaker)?.strip_prefix(' ')).map(move |line| {
        let (asked, line) = if speaker == "S" { line.split_once(' ').unwrap() } else { ("", line) };
        (asked, serde_json::from_str(line).unwrap())
    })
}

fn read(asked: &str, object: &Map<String, Value>) -> Result<FromServer, BadLine> {
    decode_server(&serde_json::to_vec(object).unwrap(), |_| RequestType::from_word(asked))
}

/// The object without the field, and with the field as everything that it is not.
fn spoilt<'a>(object: &'a Map<String, Value>, field: &'a str) -> impl Iterator<Item = Map<String, Value>> + 'a {
    let others = serde_json::json!([null, true, -1, 1.5, 9007199254740992u64, 7, "?", [7], {"?": 7}]);
    let others = others.as_array().unwrap().clone();
    let here = object.get(field).unwrap();
    let is_other = move |value: &Value| std::mem::discriminant(value) != std::mem::discriminant(here);
    let replaced = others.into_iter().filter(is_other).map(move |value| {
        let mut object = object.clone();
        object.insert(field.to_owned(), value);
        object
    });
    let mut without = object.clone();
    without.remove(field);
    std::iter::once(without).chain(replaced)
}

#[test]
fn a_request_without_one_of_its_fields_is_refused_by_the_fields_name() {
    for (_, object) in golden("C") {
        let (id, kind) = (object["id"].as_u64(), object["type"].as_str().unwrap().to_owned());
        for field in object.keys() {
            for bad in spoilt(&object, field) {
                let optional = OPTIONAL.contains(&(&kind, field));
                let read = decode_request(&serde_json::to_vec(&bad).unwrap());
                if optional && bad.get(field).is_none_or(Value::is_null) {
                    assert!(read.is_ok(), "{bad:?}");
                    continue;
                }
                let refusal = read.unwrap_err();
                assert_eq!(refusal.id, id.filter(|_| field != "id"), "{bad:?}");
                assert_eq!((refusal.code, refusal.field), (ErrorCode::BadRequest, Some(&**field)), "{bad:?}");
            }
        }
    }
}

#[test]
fn a_servers_line_without_one_of_its_fields_is_refused_by_the_lines_type() {
    for (asked, object) in golden("S") {
        let kind = object["type"].as_str().unwrap();
        for field in object.keys().filter(|field| *field != "type") {
            for bad in spoilt(&object, field) {
                if SERVER_OPTIONAL.contains(&(kind, field)) && bad.get(field).is_none_or(Value::is_null) {
                    continue;
                }
                match read(asked, &bad) {
                    Err(BadLine::Malformed { line, .. }) => assert_eq!(line, kind),
                    other => panic!("{other:?}: {bad:?}"),
                }
            }
        }
    }
}

#[test]
fn unknown_fields_are_ignored_at_any_place() {
    for (_, mut object) in golden("C") {
        let written = |object: &Map<String, Value>| {
            let mut out = Vec::new();
            encode_request(&decode_request(&serde_json::to_vec(object).unwrap()).unwrap(), &mut out);
            out
        };
        let before = written(&object);
        object.insert("future".into(), serde_json::json!({"a": [1.5, {"b": null}], "c": "d"}));
        if let Some(Value::Object(at)) = object.get_mut("at") {
            at.insert("future".into(), Value::Bool(true));
        }
        assert_eq!(written(&object), before);
    }
}

#[test]
fn what_is_no_json_object_is_bad_json() {
    let deep = format!(r#"{{"type":"ping","id":1,"x":{}{}}}"#, "[".repeat(16), "]".repeat(16));
    let bottomless = "[".repeat(65_000);
    for bad in [
        "",
        " ",
        "ping",
        "7",
        "null",
        "[]",
        r#"["ping",1]"#,
        r#"{"type":"ping","id":1"#,
        r#"{"type":"ping","id":1}}"#,
        r#"{"type":"ping","id":1}{"type":"ping","id":2}"#,
        r#"{"type":"ping","id":1,}"#,
        r#"{"type":"ping","id":01}"#,
        r#"{"type":"ping","id":1,"x":NaN}"#,
        r#"{"type":"ping","id":1,"x":"\ud800"}"#,
        "{\"type\":\"ping\",\"id\":1,\"x\":\"\u{1}\"}",
        "\u{feff}{\"type\":\"ping\",\"id\":1}",
        &deep,
        &bottomless,
    ] {
        let refusal = decode_request(bad.as_bytes()).unwrap_err();
        assert_eq!(refusal, Refusal { id: None, code: ErrorCode::BadJson, field: None }, "{bad:.60}");
        assert_eq!(decode_server(bad.as_bytes(), |_| None), Err(BadLine::NotJson), "{bad:.60}");
    }
    assert_eq!(code(b"{\"type\":\"ping\",\"id\":1,\"x\":\"\xff\"}"), ErrorCode::BadJson);
    assert!(decode_request(b" {\t\"type\" : \"ping\" , \"id\" : 1 }\r").is_ok());
    assert!(decode_request(deep.replacen('[', "", 1).replacen(']', "", 1).as_bytes()).is_ok());
}

#[test]
fn a_key_twice_is_refused_wherever_it_is() {
    for bad in [
        r#"{"type":"ping","id":1,"id":1}"#,
        r#"{"type":"ping","type":"list","id":1}"#,
        r#"{"type":"ping","id":1,"x":null,"x":null}"#,
        r#"{"type":"ping","id":1,"x":{"y":1,"z":2,"y":3}}"#,
        r#"{"type":"ping","id":1,"x":[[{"y":1,"\u0079":3}]]}"#,
        r#"{"type":"attach","id":1,"room":"r","encrypted_keys":{"bob":"QQ==","carol":"QQ==","b\u006fb":"Qg=="}}"#,
    ] {
        assert_eq!(code(bad), ErrorCode::BadJson, "{bad}");
    }
    assert!(decode_request(br#"{"type":"ping","id":1,"x":{"id":1},"y":{"id":1}}"#).is_ok());
}

#[test]
fn a_refusal_repeats_the_id_when_there_is_one() {
    let refusal = |line: &str| decode_request(line.as_bytes()).unwrap_err();
    let bad = |id, field| Refusal { id, code: ErrorCode::BadRequest, field: Some(field) };
    assert_eq!(refusal("{}"), bad(None, "id"));
    assert_eq!(refusal(r#"{"type":"ping"}"#), bad(None, "id"));
    assert_eq!(refusal(r#"{"id":7}"#), bad(Some(7), "type"));
    assert_eq!(refusal(r#"{"type":"who","id":7}"#), bad(Some(7), "room"));
    assert_eq!(refusal(r#"{"type":"who","id":9007199254740992}"#), bad(None, "id"));
    assert_eq!(refusal(r#"{"type":"who","id":"7"}"#), bad(None, "id"));
    assert_eq!(refusal(r#"{"type":"who","id":7.0}"#), bad(None, "id"));
    let unknown = refusal(r#"{"type":"Ping","id":7}"#);
    assert_eq!(unknown, Refusal { id: Some(7), code: ErrorCode::UnknownType, field: None });
    assert_eq!(unknown.to_answer(), Answer::error(7, ErrorCode::UnknownType));
    let Answer::Error { id: Some(7), code: ErrorCode::BadRequest, text } = bad(Some(7), "room").to_answer() else {
        panic!()
    };
    assert!(text.as_str().contains("\"room\""));
}

#[test]
fn a_client_ignores_what_it_does_not_know_and_believes_no_answer_to_nothing() {
    let read = |line: &str, asked| decode_server(line.as_bytes(), |id| if id == 7 { asked } else { None });
    assert_eq!(read(r#"{"type":"party","room":5}"#, None), Ok(FromServer::Unknown));
    assert_eq!(read(r#"{"type":"ping","id":7}"#, None), Ok(FromServer::Unknown));
    assert_eq!(read(r#"{"room":5}"#, None), Err(BadLine::NotJson));
    assert_eq!(read(r#"{"type":"ok","id":7,"time":1}"#, None), Err(BadLine::Unasked));
    assert_eq!(read(r#"{"type":"ok","id":8,"time":1}"#, Some(RequestType::Ping)), Err(BadLine::Unasked));
    let malformed = |line, field| Err(BadLine::Malformed { line, field });
    assert_eq!(read(r#"{"type":"ok","time":1}"#, Some(RequestType::Ping)), malformed("ok", "id"));
    let rooms = r#"{"type":"part","id":7,"rooms":[]}"#;
    assert!(read(rooms, Some(RequestType::List)).is_ok());
    assert_eq!(read(rooms, Some(RequestType::Who)), malformed("part", "entries"));
    assert_eq!(read(rooms, Some(RequestType::Ping)), malformed("part", "type"));
    let hello = golden("S").find(|(_, object)| object["type"] == "hello").unwrap().1;
    let other = serde_json::to_string(&hello).unwrap().replace("secure-chat/1", "secure-chat/2");
    assert_eq!(read(&other, None), malformed("hello", "protocol"));
    let new = r#"{"type":"error","id":7,"code":"too_wet","text":"Dry \u001b[31mit."}"#;
    let Ok(FromServer::Answer(Answer::Error { id: Some(7), code: ErrorCode::Other, text })) = read(new, None) else {
        panic!()
    };
    assert_eq!(text.as_str(), "Dry [31mit.");
}

#[test]
fn kinds_of_entries_are_hashed_by_the_words_that_are_sent() {
    use crate::transcript::{BundleHash, EntryKey};
    assert_eq!(EntryKey::Modern(BundleHash([0; 32])).kind(), EntryKind::Modern.as_str());
    assert_eq!(EntryKey::Legacy(None).kind(), EntryKind::Legacy.as_str());
}

#[test]
fn secrets_print_nothing() {
    let secrets = ["correct-horse", "battery-staple", "swordfish", "marlin"];
    for (_, object) in golden("C") {
        let line = serde_json::to_vec(&object).unwrap();
        let shown = format!("{:?}", decode_request(&line).unwrap());
        assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{shown}");
    }
    assert_eq!(format!("{:?}", SessionToken::new([7; 32])), "SessionToken(…)");
}
