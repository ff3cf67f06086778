//! A connection on the modern wire: records mean nothing, a line is a request.

use std::io;

use tracing::debug;

use super::{BrokerGone, Connection, Inbound};
use crate::chat::{Input, KnownBundle, is_waited_for};
use crate::crypto::Bundle;
use crate::names::UserName;
use crate::protocol::modern::{
    BundleKeys, ErrorCode, MAX_GUEST_LINE, MAX_LINE, Refusal, Request, RequestBody, decode_request, encode_hello,
};
use crate::protocol::{Line, LineReader};
use crate::server::clock::unix_ms;
use crate::server::host::Host;
use crate::server::link::Link;
use crate::server::sync::Arc;
use crate::transcript::{self, BundleHash, Realm};

/// What a peer has said so far.
pub(super) struct Modern {
    lines: LineReader,
    realm: Realm,
    /// Who is logged in.
    user: Option<UserName>,
    /// The last bundle that was announced and what the check said: a client announces one bundle many times.
    last_bundle: Option<Checked>,
}

/// A bundle that was looked at.
struct Checked {
    user: UserName,
    keys: BundleKeys,
    hash: BundleHash,
    bundle: Result<Arc<KnownBundle>, String>,
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
    fn take(&mut self, connection: &mut Connection, record: &[u8]) -> Result<(), BrokerGone> {
        let mut rest = record;
        while let Some(line) = self.lines.next(&mut rest) {
            match line {
                Line::TooLong => {
                    let refusal = Refusal { id: None, code: ErrorCode::LineTooLong, field: None };
                    connection.tell(Input::Request(connection.link.session, Err(refusal)), 0)?;
                }
                Line::Whole(line) if line.trim_ascii().is_empty() => {}
                Line::Whole(line) => self.pass_on(connection, decode_request(&line), line.len())?,
            }
        }
        Ok(())
    }
}

impl Modern {
    pub(super) fn new(realm: Realm) -> Self {
        Self { lines: LineReader::new(MAX_GUEST_LINE), realm, user: None, last_bundle: None }
    }

    /// A request is waited for when slow work may be needed for it or its answer may be long. All else is passed on as it
    /// comes.
    fn pass_on(
        &mut self,
        connection: &mut Connection,
        request: Result<Request, Refusal>,
        len: usize,
    ) -> Result<(), BrokerGone> {
        let waits = request.as_ref().is_ok_and(|request| is_waited_for(request.body.kind()));
        let session = connection.link.session;
        let input = match request {
            Ok(Request { id, body: RequestBody::Announce { keys, run } }) => {
                let (hash, bundle) = self.check_bundle(connection, keys);
                Input::Announce { session, id, run, hash, bundle }
            }
            request => Input::Request(session, request.map(Box::new)),
        };
        connection.tell(input, len)?;
        if waits {
            self.user = connection.work_until_ready()?;
            self.lines.set_limit(if self.user.is_some() { MAX_LINE } else { MAX_GUEST_LINE });
        }
        Ok(())
    }

    fn check_bundle(
        &mut self,
        connection: &Connection,
        keys: BundleKeys,
    ) -> (BundleHash, Result<Arc<KnownBundle>, String>) {
        let Some(user) = self.user.clone() else {
            return (BundleHash([0; 32]), Err("nobody is logged in".into())); // which is what the hub says first
        };
        let known = self.last_bundle.take().filter(|last| last.user == user && last.keys == keys);
        let checked = known.unwrap_or_else(|| Checked::new(&self.realm, user, keys));
        if let Err(why) = &checked.bundle {
            debug!(session = %connection.link.session, %why, "bundle refused");
        }
        let outcome = (checked.hash, checked.bundle.clone());
        self.last_bundle = Some(checked);
        outcome
    }
}

impl Checked {
    fn new(realm: &Realm, user: UserName, keys: BundleKeys) -> Self {
        let BundleKeys { signing_key, rsa_key, signature, rsa_signature } = &keys;
        let hash = BundleHash::of(&transcript::bundle(realm, &user, signing_key, rsa_key));
        let bundle = Bundle::verify(realm, &user, signing_key, rsa_key, signature, rsa_signature);
        let known = |bundle: Bundle| KnownBundle {
            hash,
            account: user.clone(),
            keys: keys.clone(),
            pem: Arc::clone(bundle.rsa().pem()),
        };
        let bundle = bundle.map(|bundle| Arc::new(known(bundle))).map_err(|why| why.to_string());
        Self { user, keys, hash, bundle }
    }
}
