//! Requests of the modern wire: what a server reads.

use secure_chat::protocol::modern::{
    Answer, FromServer, MAX_LINE, decode_request, decode_server, encode_answer, encode_request,
};
use serde_json::Value;

/// One line, without its end.
pub fn run(line: &[u8]) {
    // On a connection no line is longer: the reader drops it.
    if line.len() >= MAX_LINE {
        return;
    }
    let value = serde_json::from_slice::<Value>(line).ok();
    match decode_request(line) {
        Ok(request) => {
            let value = value.expect("another reader of JSON takes it, too");
            assert_eq!(value["id"], request.id);
            assert_eq!(value["type"], request.body.kind().as_str());
            let mut written = Vec::new();
            encode_request(&request, &mut written);
            let again = decode_request(written.trim_ascii_end()).expect("what was written can be read");
            assert_eq!(format!("{again:?}"), format!("{request:?}"));
            let mut twice = Vec::new();
            encode_request(&again, &mut twice);
            assert_eq!(twice, written, "passwords, too, which print nothing");
        }
        Err(refusal) => {
            let answer = refusal.to_answer();
            let mut written = Vec::new();
            encode_answer(&answer, &mut written);
            assert!(written.len() <= MAX_LINE);
            assert_eq!(decode_server(written.trim_ascii_end(), |_| None), Ok(FromServer::Answer(answer.clone())));
            if let (Answer::Error { id: Some(id), .. }, Some(value)) = (answer, value) {
                assert_eq!(value["id"], id);
            }
        }
    }
}
