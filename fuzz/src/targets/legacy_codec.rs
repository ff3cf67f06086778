//! The codec of the legacy wire, in both directions.

use std::sync::Arc;

use secure_chat::names::{RoomName, Text, UserName};
use secure_chat::protocol::legacy::{
    FromServer, MAX_OUTBOUND, decode_client, decode_server, encode_key, encode_server, is_word,
};
use secure_chat::protocol::{ClientMessage, Command, Package, ServerMessage};

/// The first byte says who reads.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0..0x80, message)) => server_reads(message),
        Some((_, message)) => client_reads(message),
        None => {}
    }
}

fn server_reads(message: &[u8]) {
    match decode_client(message) {
        ClientMessage::Command(command) => check_command(&command),
        ClientMessage::Key(key) => {
            assert!(key.user.as_str().len() <= MAX_OUTBOUND);
            let ClientMessage::Key(again) = decode_client(&encode_key(&key)) else { panic!("{key:?} became another") };
            assert_eq!(again, key);
        }
        ClientMessage::Chat(Ok(package)) => {
            let ClientMessage::Chat(Ok(again)) = decode_client(&package.to_json()) else { panic!("{package:?}") };
            assert_eq!(again, package);
        }
        ClientMessage::Chat(Err(_)) => {}
        ClientMessage::TooLong => panic!("the codec knows no limit"),
    }
}

/// What is read as one word is one.
fn check_command(command: &Command) {
    let word = |name: &str, password: Option<&str>| {
        assert!(is_word(name), "{name:?}");
        assert!(name.len() <= MAX_OUTBOUND);
        assert!(password.is_none_or(is_word));
    };
    match command {
        Command::Register(Some((user, password, token))) => {
            word(user.as_str(), Some(password.expose()));
            assert!(token.as_ref().is_none_or(|token| is_word(token.expose())));
        }
        Command::Login(Some((user, password))) => word(user.as_str(), Some(password.expose())),
        Command::Create(Some((room, password))) => word(room.as_str(), Some(password.expose())),
        Command::Join(Some((room, password))) => word(room.as_str(), password.as_ref().map(|word| word.expose())),
        _ => {}
    }
}

fn client_reads(message: &[u8]) {
    let read = decode_server(message);
    match &read {
        FromServer::Text(text) => assert_eq!(*text, Text::sanitize(text.as_str()), "sanitized once and for all"),
        FromServer::Signed(package, signed) => assert_eq!(decode_server(&signed.package(package)), read),
        FromServer::Bundle(bundle) => {
            assert_eq!(decode_server(&bundle.package(&RoomName::new("r"))), read);
        }
        FromServer::Known(ServerMessage::Chat(package)) => check_chat(package),
        FromServer::Known(known) => check_known(known),
    }
}

fn check_chat(package: &Arc<Package>) {
    let read = decode_server(&package.to_json());
    assert_eq!(read, FromServer::Known(ServerMessage::Chat(Arc::clone(package))));
}

/// What is understood is said again in words that are understood likewise, once names are as they are shown.
fn check_known(known: &ServerMessage) {
    let mut said = known.clone();
    for _ in 0..2 {
        let mut records = Vec::new();
        encode_server(&said).records_for(Some(&UserName::new("bob")), &mut Vec::new(), |r| records.push(r.to_vec()));
        let [record] = &records[..] else { return }; // the list of rooms may take more than one
        let is_key = matches!(said, ServerMessage::Key(_));
        assert!(is_key || record.len() <= MAX_OUTBOUND, "{} bytes", record.len());
        if record.len() >= MAX_OUTBOUND && !is_key {
            return; // it may have been cut
        }
        match decode_server(record) {
            FromServer::Known(again) if again == said => return,
            FromServer::Known(again) => said = again,
            FromServer::Text(_) => return, // a name that is two words when it is shown
            other => panic!("{said:?} became {other:?}"),
        }
    }
    panic!("{known:?} is never the same");
}
