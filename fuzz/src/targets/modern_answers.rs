//! What a server of the modern wire says: what a client reads.

use secure_chat::protocol::modern::{
    Event, FromServer, KeyedLine, MAX_LINE, MessageEvent, Origin, RequestType, decode_server, encode_answer,
    encode_event, encode_hello,
};

/// A byte that says what was asked, and a line without its end.
pub fn run(data: &[u8]) {
    let Some((asked, line)) = data.split_first() else { return };
    let asked = RequestType::ALL[usize::from(*asked) % RequestType::ALL.len()];
    if line.len() >= MAX_LINE {
        return;
    }
    let Ok(said) = decode_server(line, |_| Some(asked)) else { return };
    let value: serde_json::Value = serde_json::from_slice(line).expect("another reader of JSON takes it, too");
    let Some(written) = write(&said) else { return };
    let kind: serde_json::Value = serde_json::from_slice(&written).expect("what is written is JSON");
    assert_eq!(kind["type"], value["type"]);
    let again = decode_server(written.trim_ascii_end(), |_| Some(asked));
    assert_eq!(again.as_ref(), Ok(&said));
    assert_eq!(write(&said).as_ref(), Some(&written));
    if let FromServer::Event(Event::Message(message)) = &said {
        keyed(message, &written);
    }
}

fn write(said: &FromServer) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match said {
        FromServer::Hello(hello) => encode_hello(hello, &mut out),
        FromServer::Answer(answer) => encode_answer(answer, &mut out),
        FromServer::Event(event) => encode_event(event, &mut out),
        FromServer::Unknown => return None,
    }
    Some(out)
}

/// A line that is written once, and completed for each reader, is the line that would be written for this reader.
fn keyed(message: &MessageEvent, written: &[u8]) {
    if let Origin::Legacy { encrypted_key: Some(key) } = &message.origin {
        let bare = MessageEvent { origin: Origin::Legacy { encrypted_key: None }, ..message.clone() };
        let mut out = Vec::new();
        KeyedLine::new(&bare).encode_with(key, &mut out);
        assert_eq!(out, written);
    }
}
