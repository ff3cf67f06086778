//! The legacy wire: what the Python scripts say, byte for byte. One message is one TLS record.
//!
//! The whole table stands in `docs/PROTOCOL.md`; `tests/golden/legacy.txt` holds a line for each row.

use std::borrow::Cow;
use std::sync::Arc;

use pkcs8::LineEnding;
use pkcs8::der::pem;

use crate::names::{Password, RoomName, Text, UserName};
use crate::protocol::modern::{Attached, OwnedBundle, Signed};
use crate::protocol::{ClientMessage, Command, KeyAnnouncement, Notice, Package, Reply, ServerMessage};

/// Most bytes in a message to a legacy peer: it takes what one `recv(4096)` returns for one whole message.
pub const MAX_OUTBOUND: usize = 4096;

const COMMAND: &str = "CMD::";
const KEY: &str = "PUBKEY::";

/// Reads one message of a client. Total: whatever comes is a message, if only one that is answered with an error.
pub fn decode_client(message: &[u8]) -> ClientMessage {
    let text = decode_utf8(message);
    if let Some(line) = text.strip_prefix(COMMAND) {
        ClientMessage::Command(decode_command(line))
    } else if let Some(key) = text.strip_prefix(KEY) {
        ClientMessage::Key(decode_key(key))
    } else {
        ClientMessage::Chat(Package::from_json(&text))
    }
}

/// The bytes of a command line, as typed.
pub fn encode_command(line: &str) -> Vec<u8> {
    format!("{COMMAND}{line}").into_bytes()
}

/// The bytes of a key announcement.
pub fn encode_key(key: &KeyAnnouncement) -> Vec<u8> {
    format!("{KEY}{}::{}", key.user.as_str(), key.pem).into_bytes()
}

/// A DER SubjectPublicKeyInfo in PEM, as keys are announced: 64 characters a line, one newline at the end (RFC 7468, section 13).
pub fn spki_pem(spki: &[u8]) -> Arc<str> {
    let pem = pem::encode_string("PUBLIC KEY", LineEnding::LF, spki);
    pem.unwrap_or_default().into() // only what is longer than memory has none
}

/// UTF-8 as the scripts read it: bytes that are none are dropped.
fn decode_utf8(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.utf8_chunks().map(|chunk| chunk.valid()).collect()),
    }
}

/// Splits a line as Python's `str.split()` does, which takes U+001C to U+001F for white space too.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)).filter(|word| !word.is_empty())
}

/// Whether a text is one word and nothing else: what a name or a password in a command has to be.
pub fn is_word(text: &str) -> bool {
    words(text).eq([text])
}

fn decode_command(line: &str) -> Command {
    let mut words = words(line);
    let command = words.next().unwrap_or_default().to_lowercase();
    let (first, second) = (words.next().map(clip), words.next());
    let user = || Some((UserName::new(first?), Password::new(second?)));
    match command.as_str() {
        "/register" => Command::Register(user().map(|(user, pw)| (user, pw, words.next().map(Password::new)))),
        "/login" => Command::Login(user()),
        "/create" => Command::Create(first.zip(second).map(|(r, p)| (RoomName::new(r), Password::new(p)))),
        "/join" => Command::Join(first.map(|room| (RoomName::new(room), second.map(Password::new)))),
        "/list" => Command::List,
        _ => Command::Unknown,
    }
}

/// No name is longer than a message of the scripts, and what is done with a name takes time that grows with it.
fn clip(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_OUTBOUND)).unwrap_or(name)
}

/// Reads what follows `PUBKEY::`. A name may hold colons, PEM cannot.
fn decode_key(text: &str) -> KeyAnnouncement {
    let (user, pem) = text.rsplit_once("::").unwrap_or_default();
    KeyAnnouncement { user: UserName::new(clip(user)), pem: pem.into() }
}

/// A server's message, encoded once for all who get it.
#[derive(Debug)]
pub enum Encoded {
    /// The same records for everyone.
    Same(Vec<Vec<u8>>),
    /// Its own entry for each reader.
    Chat(Arc<Package>),
}

impl Encoded {
    /// Hands each record for `reader` to `emit`; `scratch` is room to build one in.
    pub fn records_for(&self, reader: Option<&UserName>, scratch: &mut Vec<u8>, mut emit: impl FnMut(&[u8])) {
        match (self, reader) {
            (Self::Same(records), _) => records.iter().for_each(|record| emit(record)),
            (Self::Chat(package), Some(reader)) => {
                scratch.clear();
                package.render_for(reader, scratch);
                emit(scratch);
            }
            (Self::Chat(_), None) => {}
        }
    }
}

/// Encodes a message of the server.
pub fn encode_server(message: &ServerMessage) -> Encoded {
    Encoded::Same(match message {
        ServerMessage::Chat(package) => return Encoded::Chat(Arc::clone(package)),
        ServerMessage::Key(key) => vec![encode_key(key)],
        ServerMessage::Notice(notice) => vec![cut(notice_text(notice))],
        ServerMessage::Reply(Reply::Rooms(rooms)) => encode_rooms(rooms),
        ServerMessage::Reply(reply) => vec![cut(reply_text(reply))],
    })
}

/// A text that names something of any length must still fit the wire.
fn cut(mut text: String) -> Vec<u8> {
    if text.len() > MAX_OUTBOUND {
        text.truncate(text.floor_char_boundary(MAX_OUTBOUND));
    }
    text.into_bytes()
}

/// As many lists as it takes: one longer than the wire would reach a Python client in pieces.
fn encode_rooms(rooms: &[RoomName]) -> Vec<Vec<u8>> {
    if rooms.is_empty() {
        return vec![b"No rooms found.".to_vec()];
    }
    let mut lists = Vec::new();
    let mut list = String::new();
    for room in rooms {
        let room = room.to_string();
        if !list.is_empty() && list.len() + 2 + room.len() > MAX_OUTBOUND {
            lists.push(cut(std::mem::take(&mut list)));
        }
        list.push_str(if list.is_empty() { "Available rooms: " } else { ", " });
        list.push_str(&room);
    }
    lists.push(cut(list));
    lists
}

fn notice_text(notice: &Notice) -> String {
    match notice {
        Notice::Joined(user) => format!("{user} joined the chat!"),
        Notice::Left(user) => format!("{user} left the chat."),
    }
}

fn reply_text(reply: &Reply) -> String {
    match reply {
        Reply::Registered(user) => format!("Registration successful for {user}. You may now /login."),
        Reply::UserExists => "Registration failed: User already exists.".into(),
        Reply::UserLooksAlike => "Registration failed: Another user's name looks like this one.".into(),
        Reply::GodIsReserved => "Cannot create 'god' user. That is reserved.".into(),
        Reply::BadUserName(why) => format!("Registration failed: {why}."),
        Reply::RegisterUsage => "Usage: /register <username> <password>".into(),
        Reply::LoggedIn(user) => format!("Login successful. Welcome, {user}!"),
        Reply::LoginFailed => "Login failed. Invalid username or password.".into(),
        Reply::TooManyAttempts { seconds } => format!("Too many wrong passwords or tokens. Try again in {seconds} s."),
        Reply::LoginUsage => "Usage: /login <username> <password>".into(),
        Reply::RoomCreated(room) => format!("Room '{room}' created."),
        Reply::RoomExists => "Create room failed: Room already exists.".into(),
        Reply::RoomLooksAlike => "Create room failed: Another room's name looks like this one.".into(),
        Reply::BadRoomName(why) => format!("Create room failed: {why}."),
        Reply::CreateUsage => "Usage: /create <roomName> <roomPassword>".into(),
        Reply::NoSuchRoom(room) => format!("Room '{room}' does not exist."),
        Reply::IncorrectRoomPassword => "Incorrect room password.".into(),
        Reply::JoinUsage => "Usage: /join <roomName> <roomPassword>".into(),
        Reply::JoinUsageBare => "Usage: /join <roomName> [<roomPassword>]".into(),
        Reply::Rooms(_) => String::new(), // encoded by encode_rooms
        Reply::LoginFirst => "You must /login first.".into(),
        Reply::UnknownCommand => "Unknown command.".into(),
        Reply::JoinFirst => "You must /join a room to chat.".into(),
        Reply::MissingRoom => "Invalid message format: missing room.".into(),
        Reply::RoomMismatch => "Error: message room mismatch.".into(),
        Reply::InvalidFormat => "Invalid message format.".into(),
        Reply::MessageTooLong => "Error: message too long.".into(),
        Reply::NotDelivered { members } => {
            format!("Error: message too long for {members} of the room, who did not get it. Send it in shorter parts.")
        }
        Reply::KeyRefused(why) => format!("Error: your public key was refused: {why}. Others cannot write to you."),
        Reply::Banned { room, .. } => format!("You are banned from '{room}'."),
        Reply::Muted => "You are muted in this room.".into(),
        Reply::ModernOnly(room) => format!("Room '{room}' takes modern clients only."),
        Reply::PutOut { room, by } => format!("You were removed from '{room}' by {by}."),
        Reply::LegacyLoginOff => "Legacy log-ins are switched off for this account.".into(),
        Reply::PasswordChanged => "The password of this account was changed. You must connect and /login again.".into(),
        Reply::ShuttingDown => "The server is shutting down.".into(),
        Reply::TooSlow => "You did not read what was sent to you: connect again.".into(),
        Reply::ModernClientsOnly => "This server takes modern clients only.".into(),
        Reply::RegistrationClosed => {
            "Registration failed: This server makes no new accounts. Ask whoever runs it.".into()
        }
        Reply::RegistrationToken => "Registration failed: It needs a valid token from whoever runs the server: \
                                     /register <username> <password> <token>"
            .into(),
        Reply::NoTokenNeeded => "Registration failed: No token is needed here, and a password is one word.".into(),
        Reply::TooManyRegistrations { seconds } => {
            format!("Registration failed: Too many new accounts from your address. Try again in {seconds} s.")
        }
        Reply::TooManyNewRooms { seconds } => {
            format!("Create room failed: Too many new rooms from your address. Try again in {seconds} s.")
        }
        Reply::TooManyAccounts => "Registration failed: The server has as many accounts as it takes.".into(),
        Reply::TooManyRooms => "Create room failed: The server has as many rooms as it takes.".into(),
        Reply::TooManyOwnRooms => "Create room failed: You own as many rooms as one user may.".into(),
        Reply::TooManySessions => "Login failed. Too many sessions of this user: end one first.".into(),
        Reply::LoginTimeout => "You did not log in for too long. Connect again when you want to.".into(),
        Reply::Idle => "You did nothing for too long, so the session ends. Connect again, and /login.".into(),
        Reply::NotSaved => {
            "Error: the server could not save the change, so nothing was changed. Try again later.".into()
        }
    }
}

/// What a server said, as far as a client needs to understand it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromServer {
    /// A message that the client acts on.
    Known(ServerMessage),
    /// A chat package that its author, it says, has signed.
    Signed(Arc<Package>, Box<Signed>),
    /// Somebody's keys, it says.
    Bundle(Box<OwnedBundle>),
    /// Any other text: it is for the person, who gets it sanitized.
    Text(Text),
}

/// Reads one message of a server: JSON first, then a key, then the texts that are known; all else is shown as it is.
pub fn decode_server(message: &[u8]) -> FromServer {
    let text = decode_utf8(message);
    if let Ok(package) = Package::from_json(&text) {
        return match Attached::read(&text, &package) {
            Attached::Nothing => FromServer::Known(ServerMessage::Chat(Arc::new(package))),
            Attached::Signed(signed) => FromServer::Signed(Arc::new(package), signed.into()),
            Attached::Bundle(bundle) => FromServer::Bundle(bundle.into()),
        };
    }
    if let Some(key) = text.strip_prefix(KEY) {
        return FromServer::Known(ServerMessage::Key(decode_key(key)));
    }
    if let Some(notice) = decode_notice(&text) {
        return FromServer::Known(ServerMessage::Notice(notice));
    }
    match decode_reply(&text) {
        Some(reply) => FromServer::Known(ServerMessage::Reply(reply)),
        None => FromServer::Text(Text::sanitize(&text)),
    }
}

fn decode_notice(text: &str) -> Option<Notice> {
    let one_word = |name: &str| is_word(name).then(|| UserName::new(name));
    if let Some(user) = text.strip_suffix(" joined the chat!") {
        return one_word(user).map(Notice::Joined);
    }
    one_word(text.strip_suffix(" left the chat.")?).map(Notice::Left)
}

/// The replies that settle a request of the client; the person reads the others as text.
fn decode_reply(text: &str) -> Option<Reply> {
    const FIXED: [Reply; 8] = [
        Reply::LoginFailed,
        Reply::LoginUsage,
        Reply::IncorrectRoomPassword,
        Reply::JoinUsage,
        Reply::JoinUsageBare,
        Reply::LoginFirst,
        Reply::JoinFirst,
        Reply::RoomMismatch,
    ];
    if let Some(reply) = FIXED.into_iter().find(|reply| reply_text(reply) == text) {
        return Some(reply);
    }
    let between = |start, end| text.strip_prefix(start)?.strip_suffix(end);
    if let Some(user) = between("Login successful. Welcome, ", "!") {
        return Some(Reply::LoggedIn(UserName::new(user)));
    }
    if let Some(seconds) = between("Too many wrong passwords or tokens. Try again in ", " s.") {
        return Some(Reply::TooManyAttempts { seconds: seconds.parse().ok()? });
    }
    between("Room '", "' does not exist.").map(|room| Reply::NoSuchRoom(RoomName::new(room)))
}

/// The text of a message that is for a person: notices and replies, sanitized.
pub fn text_of(message: &ServerMessage) -> Option<Text> {
    match message {
        ServerMessage::Notice(notice) => Some(Text::sanitize(&notice_text(notice))),
        ServerMessage::Reply(reply) => Some(Text::sanitize(&reply_text(reply))),
        ServerMessage::Key(_) | ServerMessage::Chat(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(message: ServerMessage) -> Vec<String> {
        let mut texts = Vec::new();
        encode_server(&message)
            .records_for(None, &mut Vec::new(), |r| texts.push(String::from_utf8(r.to_vec()).unwrap()));
        texts
    }

    #[test]
    fn a_command_is_split_as_python_splits_it() {
        let join = decode_client(b"CMD::  /JOIN\x1croom\xc2\xa0pass word");
        let ClientMessage::Command(Command::Join(Some((room, Some(password))))) = join else { panic!("{join:?}") };
        assert_eq!((room.as_str(), password.expose()), ("room", "pass"));
        assert!(matches!(decode_client(b"CMD::"), ClientMessage::Command(Command::Unknown)));
        assert!(matches!(decode_client(b"CMD::/join"), ClientMessage::Command(Command::Join(None))));
        assert!(matches!(decode_client(b"CMD::/login a"), ClientMessage::Command(Command::Login(None))));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_dropped() {
        let list = decode_client(b"\xffCMD::/li\xc3st");
        assert!(matches!(list, ClientMessage::Command(Command::List)), "{list:?}");
    }

    #[test]
    fn a_key_keeps_its_newlines() {
        let key = KeyAnnouncement { user: UserName::new("bob"), pem: "-----BEGIN PUBLIC KEY-----\nQQ==\n".into() };
        assert_eq!(encode_key(&key), b"PUBKEY::bob::-----BEGIN PUBLIC KEY-----\nQQ==\n");
        let ClientMessage::Key(read) = decode_client(&encode_key(&key)) else { panic!() };
        assert_eq!(read, key);
    }

    #[test]
    fn a_long_list_of_rooms_comes_in_messages_that_fit() {
        let rooms: Vec<_> = (0..1000).map(|i| RoomName::new(&format!("room-{i}"))).collect();
        let lists = texts(ServerMessage::Reply(Reply::Rooms(rooms)));
        assert!(
            lists.len() > 1 && lists.iter().all(|l| l.len() <= MAX_OUTBOUND && l.starts_with("Available rooms: room-"))
        );
        let names = lists.iter().flat_map(|l| l["Available rooms: ".len()..].split(", ")).count();
        assert_eq!(names, 1000);
    }

    #[test]
    fn no_reply_is_longer_than_the_wire() {
        let long = RoomName::new(&"ö".repeat(9000));
        assert!(texts(ServerMessage::Reply(Reply::NoSuchRoom(long)))[0].len() <= MAX_OUTBOUND);
    }

    #[test]
    fn a_client_understands_what_settles_its_requests() {
        for reply in [
            Reply::LoggedIn(UserName::new("bob")),
            Reply::LoginFailed,
            Reply::NoSuchRoom(RoomName::new("r")),
            Reply::IncorrectRoomPassword,
            Reply::LoginFirst,
            Reply::TooManyAttempts { seconds: 7 },
        ] {
            let message = ServerMessage::Reply(reply);
            assert_eq!(decode_server(texts(message.clone())[0].as_bytes()), FromServer::Known(message));
        }
        for notice in [Notice::Joined(UserName::new("bob")), Notice::Left(UserName::new("bob"))] {
            let message = ServerMessage::Notice(notice);
            assert_eq!(decode_server(texts(message.clone())[0].as_bytes()), FromServer::Known(message));
        }
        let text = decode_server(b"\x1b[2Jbob and alice left the chat.");
        assert_eq!(text, FromServer::Text(Text::sanitize("[2Jbob and alice left the chat.")));
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes in prop::collection::vec(any::<u8>(), 0..400), prefix in 0..3usize) {
            let mut message = ["CMD::", "PUBKEY::", "{"][prefix].as_bytes().to_vec();
            message.extend(bytes);
            let _ = decode_client(&message);
            let _ = decode_server(&message);
        }
    }
}
