//! A connection on the modern wire: records mean nothing, a line is a request.

use std::io;

use super::{BrokerGone, Connection, Inbound};
use crate::protocol::modern::{
    Answer, ErrorCode, MAX_GUEST_LINE, OkBody, Refusal, Request, RequestBody, decode_request, encode_answer,
    encode_hello,
};
use crate::protocol::{Line, LineReader};
use crate::server::clock::unix_ms;
use crate::server::host::Host;
use crate::server::link::Link;
use crate::server::sync::Arc;

/// What a peer has said so far.
pub(super) struct Modern {
    lines: LineReader,
}

/// Says the first line: who this server is, with a signature that fits this connection alone.
///
/// # Errors
/// When the connection's TLS gives nothing to sign: below TLS 1.3.
pub(super) fn greet(link: &Arc<Link>, host: &Host) -> io::Result<()> {
    let hello = host.hello(&link.stream.exporter()?, unix_ms());
    let mut line = Vec::new();
    encode_hello(&hello, &mut line);
    link.stream.queue(&line);
    link.flush();
    Ok(())
}

impl Inbound for Modern {
    fn take(&mut self, connection: &Connection, record: &[u8]) -> Result<(), BrokerGone> {
        let mut rest = record;
        while let Some(line) = self.lines.next(&mut rest) {
            match line {
                Line::TooLong => {
                    let refusal = Refusal { id: None, code: ErrorCode::LineTooLong, field: None };
                    self.request(connection, Err(refusal))?;
                }
                Line::Whole(line) if line.trim_ascii().is_empty() => {}
                Line::Whole(line) => self.request(connection, decode_request(&line))?,
            }
        }
        Ok(())
    }
}

impl Modern {
    pub(super) fn new() -> Self {
        Self { lines: LineReader::new(MAX_GUEST_LINE) }
    }

    /// Answers what needs no hub: keep-alive, and what is no request.
    fn request(&mut self, connection: &Connection, request: Result<Request, Refusal>) -> Result<(), BrokerGone> {
        let answer = match request {
            Ok(Request { id, body: RequestBody::Ping }) => Answer::Ok { id, body: OkBody::Ping { time: unix_ms() } },
            Ok(Request { id, .. }) => Answer::error(id, ErrorCode::UnknownType),
            Err(refusal) => refusal.to_answer(),
        };
        let mut line = Vec::new();
        encode_answer(&answer, &mut line);
        connection.link.stream.queue(&line);
        connection.link.flush();
        Ok(())
    }
}
