//! Lines to types and back.

use std::fmt;

use super::answer::{Answer, OkBody, PartBody};
use super::error_code::{ErrorCode, ErrorWord};
use super::event::{Event, EventType, MessageEvent};
use super::hello::Hello;
use super::json::{Fields, Malformed, Object, write_text};
use super::record::Record;
use super::request::{Request, RequestBody, RequestType};
use super::{MAX_LINE, PROTOCOL};
use crate::names::Text;

const TYPE: &str = "type";
const ID: &str = "id";
const HELLO: &str = "hello";
const OK: &str = "ok";
const PART: &str = "part";
const ERROR: &str = "error";
const PROTOCOL_FIELD: &str = "protocol";

/// How every line ends.
const END: &[u8] = b"}\n";

/// Why a client's line is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The request's id, if it could be read.
    pub id: Option<u64>,
    /// `bad_json`, `bad_request` or `unknown_type`.
    pub code: ErrorCode,
    /// The field that is missing or malformed.
    pub field: Option<&'static str>,
}

impl Refusal {
    /// The error that says so.
    pub fn to_answer(&self) -> Answer {
        let text = match self.field {
            Some(field) => {
                format!("The field \"{field}\" is missing or malformed: see the protocol's table of requests.")
            }
            None => self.code.text(),
        };
        Answer::Error { id: self.id, code: self.code, text: Text::sanitize(&text) }
    }
}

/// Reads a line of a client, without its end.
///
/// # Errors
/// [`Refusal`], which is answered.
pub fn decode_request(line: &[u8]) -> Result<Request, Refusal> {
    let refusal = |id, code, field| Refusal { id, code, field };
    let mut fields = Fields::parse(line).ok_or(refusal(None, ErrorCode::BadJson, None))?;
    let malformed = |id| move |Malformed(field)| refusal(id, ErrorCode::BadRequest, Some(field));
    let id = fields.required(ID).map_err(malformed(None))?;
    let word = fields.word(TYPE).map_err(malformed(Some(id)))?;
    let kind = RequestType::from_word(&word).ok_or(refusal(Some(id), ErrorCode::UnknownType, None))?;
    let body = RequestBody::take(kind, &mut fields).map_err(malformed(Some(id)))?;
    Ok(Request { id, body })
}

/// Why a server's line makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLine {
    /// Not a JSON object, too deep, a key twice, or no `type`.
    NotJson,
    /// A field of a line of this type is missing or malformed.
    Malformed {
        /// The line's type.
        line: &'static str,
        /// The field.
        field: &'static str,
    },
    /// An answer to nothing that was asked.
    Unasked,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("the server sent a line that is not of this protocol"),
            Self::Malformed { line, field } => {
                write!(f, "the server sent a broken line: {line} without a good {field}")
            }
            Self::Unasked => f.write_str("the server answered what was not asked"),
        }
    }
}

impl std::error::Error for BadLine {}

/// A line of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromServer {
    /// Its first.
    Hello(Hello),
    /// An answer, or a part of one.
    Answer(Answer),
    /// What it says unasked.
    Event(Event),
    /// Of a type that a newer server may have: to be ignored.
    Unknown,
}

/// Reads a line of a server, without its end. `asked` tells what was asked under an id, if it is not answered yet: it
/// decides how an answer is read.
///
/// # Errors
/// [`BadLine`]: this server is not to be talked with.
pub fn decode_server(line: &[u8], asked: impl FnOnce(u64) -> Option<RequestType>) -> Result<FromServer, BadLine> {
    let mut fields = Fields::parse(line).ok_or(BadLine::NotJson)?;
    let word = fields.word(TYPE).map_err(|_| BadLine::NotJson)?;
    let malformed = |line| move |Malformed(field)| BadLine::Malformed { line, field };
    match &*word {
        HELLO => decode_hello(&mut fields).map(FromServer::Hello).map_err(malformed(HELLO)),
        ERROR => decode_error(&mut fields).map(FromServer::Answer).map_err(malformed(ERROR)),
        OK | PART => {
            let line = if word == OK { OK } else { PART };
            let id = fields.required(ID).map_err(malformed(line))?;
            let asked = asked(id).ok_or(BadLine::Unasked)?;
            decode_answer(line, id, asked, &mut fields).map(FromServer::Answer).map_err(malformed(line))
        }
        word => match EventType::from_word(word) {
            Some(kind) => Event::take(kind, &mut fields).map(FromServer::Event).map_err(malformed(kind.as_str())),
            None => Ok(FromServer::Unknown),
        },
    }
}

fn decode_hello(fields: &mut Fields<'_>) -> Result<Hello, Malformed> {
    let protocol = fields.word(PROTOCOL_FIELD)?;
    if protocol == PROTOCOL { Hello::take(fields) } else { Err(Malformed(PROTOCOL_FIELD)) }
}

fn decode_error(fields: &mut Fields<'_>) -> Result<Answer, Malformed> {
    let word = fields.word("code")?;
    let code = ErrorCode::take(ErrorWord::from_word(&word).unwrap_or(ErrorWord::Other), fields)?;
    Ok(Answer::Error { id: fields.optional(ID)?, code, text: fields.required("text")? })
}

fn decode_answer(line: &str, id: u64, asked: RequestType, fields: &mut Fields<'_>) -> Result<Answer, Malformed> {
    if line == OK {
        OkBody::take(asked, fields).map(|body| Answer::Ok { id, body })
    } else {
        PartBody::take(asked, fields).map(|body| Answer::Part { id, body })
    }
}

/// Writes a line of this type.
fn line(out: &mut Vec<u8>, kind: &'static str, write: impl FnOnce(&mut Object<'_>)) {
    let mut object = Object::begin(out);
    object.word(TYPE, kind);
    write(&mut object);
    object.end();
    out.push(b'\n');
}

/// Appends a request's line to `out`. It may hold a password: then `out` is to be wiped, and better not to grow.
pub fn encode_request(request: &Request, out: &mut Vec<u8>) {
    line(out, request.body.kind().as_str(), |object| {
        object.field(ID, &request.id);
        request.body.put(object);
    });
}

/// Appends an answer's line to `out`.
pub fn encode_answer(answer: &Answer, out: &mut Vec<u8>) {
    match answer {
        Answer::Ok { id, body } => line(out, OK, |object| {
            object.field(ID, id);
            body.put(object);
        }),
        Answer::Part { id, body } => line(out, PART, |object| {
            object.field(ID, id);
            body.put(object);
        }),
        Answer::Error { id, code, text } => line(out, ERROR, |object| {
            if let Some(id) = id {
                object.field(ID, id);
            }
            object.word("code", code.kind().as_str());
            object.field("text", text);
            code.put(object);
        }),
    }
}

/// Appends an event's line to `out`.
pub fn encode_event(event: &Event, out: &mut Vec<u8>) {
    line(out, event.kind().as_str(), |object| event.put(object));
}

/// A message of a legacy member that goes to many: it is encoded once, and each gets a line with its own key.
pub struct KeyedLine(Vec<u8>);

impl KeyedLine {
    /// Encodes a message without a key.
    pub fn new(message: &MessageEvent) -> Self {
        let mut out = Vec::new();
        line(&mut out, EventType::Message.as_str(), |object| message.put(object));
        out.truncate(out.len().saturating_sub(END.len()));
        Self(out)
    }

    /// Appends the line with this key to `out`: it is the last field.
    pub fn encode_with(&self, key: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
        out.extend_from_slice(b",\"encrypted_key\":");
        write_text(out, key);
        out.extend_from_slice(END);
    }
}

/// Appends the server's first line to `out`.
pub fn encode_hello(hello: &Hello, out: &mut Vec<u8>) {
    line(out, HELLO, |object| {
        object.word(PROTOCOL_FIELD, PROTOCOL);
        hello.put(object);
    });
}

/// Whether an event fits a line.
pub fn fits(event: &Event) -> bool {
    let mut out = Vec::new();
    encode_event(event, &mut out);
    out.len() <= MAX_LINE
}
