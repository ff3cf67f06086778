use proptest::prelude::*;

use super::super::*;
use super::sample::{self, Source};

/// What a writer appends, which has to be one line.
fn line(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"before\n".to_vec();
    write(&mut out);
    assert_eq!(out.pop(), Some(b'\n'));
    let line = out.split_off(7);
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    line
}

fn request_line(request: &Request) -> Vec<u8> {
    line(|out| encode_request(request, out))
}

/// Some line of the server, and what was asked before.
fn server_line(source: &mut Source<'_>) -> (FromServer, Vec<u8>, RequestType) {
    match source.byte() % 8 {
        0 => {
            let hello = sample::hello(source);
            let line = line(|out| encode_hello(&hello, out));
            (FromServer::Hello(hello), line, RequestType::Ping)
        }
        1..=3 => {
            let (answer, asked) = sample::answer(source);
            let line = line(|out| encode_answer(&answer, out));
            (FromServer::Answer(answer), line, asked)
        }
        _ => {
            let event = sample::event(source);
            let line = line(|out| encode_event(&event, out));
            (FromServer::Event(event), line, RequestType::Ping)
        }
    }
}

/// Whatever the line is: reading it ends well, and what was read survives.
fn read_both_ways(bytes: &[u8], asked: RequestType) {
    if let Ok(request) = decode_request(bytes) {
        let again = request_line(&request);
        assert_eq!(request_line(&decode_request(&again).unwrap()), again);
    }
    match decode_server(bytes, |_| Some(asked)) {
        Ok(FromServer::Hello(hello)) => {
            let again = line(|out| encode_hello(&hello, out));
            assert_eq!(decode_server(&again, |_| None), Ok(FromServer::Hello(hello)));
        }
        Ok(FromServer::Answer(answer)) => {
            let again = line(|out| encode_answer(&answer, out));
            assert_eq!(decode_server(&again, |_| Some(asked)), Ok(FromServer::Answer(answer)));
        }
        Ok(FromServer::Event(event)) => {
            let again = line(|out| encode_event(&event, out));
            assert_eq!(decode_server(&again, |_| None), Ok(FromServer::Event(event)));
        }
        Ok(FromServer::Unknown) | Err(_) => {}
    }
}

/// One change of a line: a byte replaced, left out or doubled, a piece repeated, the end cut off.
fn mutate(line: &mut Vec<u8>, source: &mut Source<'_>) {
    const BYTES: &[u8] = b"{}[]\",:\\u0az-.eE1\x00\x80\xff \ntrue";
    let at = |source: &mut Source<'_>, len: usize| {
        usize::from(u16::from_be_bytes([source.byte(), source.byte()])) % len.max(1)
    };
    if line.is_empty() {
        return;
    }
    let place = at(source, line.len());
    match source.byte() % 5 {
        0 => line[place] = BYTES[usize::from(source.byte()) % BYTES.len()],
        1 => drop(line.remove(place)),
        2 => line.insert(place, BYTES[usize::from(source.byte()) % BYTES.len()]),
        3 => {
            let piece = line[place..].iter().copied().take(at(source, 60)).collect::<Vec<_>>();
            let into = at(source, line.len());
            drop(line.splice(into..into, piece));
        }
        _ => line.truncate(place),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_request_survives_the_wire(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        let request = sample::request(&mut Source(&bytes));
        let line = request_line(&request);
        let read = decode_request(&line).unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{request:?}"));
        prop_assert_eq!(request_line(&read), line); // passwords, too, which print nothing
    }

    #[test]
    fn what_a_server_says_survives_the_wire(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        let (said, line, asked) = server_line(&mut Source(&bytes));
        prop_assert_eq!(decode_server(&line, |_| Some(asked)), Ok(said));
    }

    #[test]
    fn no_bytes_break_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..300), asked in 0..20usize) {
        read_both_ways(&bytes, RequestType::ALL[asked]);
        let object = [b"{\"id\":1,\"type\":\"ok\",", &bytes[..], b"}"].concat();
        read_both_ways(&object, RequestType::ALL[asked]);
    }

    #[test]
    fn no_mutation_breaks_the_reading(
        bytes in prop::collection::vec(any::<u8>(), 0..800),
        changes in prop::collection::vec(any::<u8>(), 8..64),
        server: bool,
    ) {
        let source = &mut Source(&bytes);
        let (mut line, asked) = if server {
            let (_, line, asked) = server_line(source);
            (line, asked)
        } else {
            (request_line(&sample::request(source)), RequestType::Ping)
        };
        for change in changes.chunks(8) {
            mutate(&mut line, &mut Source(change));
            read_both_ways(&line, asked);
        }
    }

    #[test]
    fn a_text_takes_as_many_bytes_as_counted(text: String) {
        let written = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(json_len(&text), written.len() - 2);
    }
}
