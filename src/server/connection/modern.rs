//! A connection on the modern wire: records mean nothing, a line is a request.

use std::io;

use tracing::debug;

use super::{Connection, Inbound, Over};
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
    hash: BundleHash,
    /// Or why it is refused, and what was refused.
    bundle: Result<Arc<KnownBundle>, (String, BundleKeys)>,
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
    fn take(&mut self, connection: &mut Connection, record: &[u8]) -> Result<(), Over> {
        let mut rest = record;
        while let Some(line) = self.lines.next(&mut rest) {
            match line {
                Line::TooLong => {
                    let refusal = Refusal { id: None, code: ErrorCode::LineTooLong, field: None };
                    connection.tell(Input::Request(connection.link.session, Err(refusal)), 0)?;
                }
                Line::Whole(line) if line.trim_ascii().is_empty() => {}
                Line::Whole(line) => self.pass_on(connection, decode(&line), line.len())?,
            }
        }
        Ok(())
    }
}

/// Its stack is free again before the request's slow work begins.
#[inline(never)]
fn decode(line: &[u8]) -> Result<Box<Request>, Refusal> {
    decode_request(line).map(Box::new)
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
        request: Result<Box<Request>, Refusal>,
        len: usize,
    ) -> Result<(), Over> {
        let waits = request.as_ref().is_ok_and(|request| is_waited_for(request.body.kind()));
        let input = self.input(connection, request);
        connection.tell(input, len)?;
        if waits {
            self.user = connection.work_until_ready()?;
            self.lines.set_limit(if self.user.is_some() { MAX_LINE } else { MAX_GUEST_LINE });
        }
        Ok(())
    }

    fn input(&mut self, connection: &Connection, request: Result<Box<Request>, Refusal>) -> Input {
        let session = connection.link.session;
        match request.as_deref() {
            Ok(Request { id, body: RequestBody::Announce { keys, run } }) => {
                let (hash, bundle) = self.check_bundle(connection, keys);
                Input::Announce { session, id: *id, run: *run, hash, bundle }
            }
            _ => Input::Request(session, request),
        }
    }

    #[inline(never)]
    fn check_bundle(
        &mut self,
        connection: &Connection,
        keys: &BundleKeys,
    ) -> (BundleHash, Result<Arc<KnownBundle>, String>) {
        let Some(user) = self.user.clone() else {
            return (BundleHash([0; 32]), Err("nobody is logged in".into())); // which is what the hub says first
        };
        let known = self.last_bundle.take().filter(|last| last.user == user && last.keys() == keys);
        let Some(checked) = known.or_else(|| Checked::new(self.realm, user, keys, connection)) else {
            return (BundleHash([0; 32]), Err("it could not be checked".into()));
        };
        if let Err((why, _)) = &checked.bundle {
            debug!(session = %connection.link.session, %why, "bundle refused");
        }
        let outcome = (checked.hash, checked.bundle.clone().map_err(|(why, _)| why));
        self.last_bundle = Some(checked);
        outcome
    }
}

impl Checked {
    /// `None` when the check panicked.
    fn new(realm: Realm, user: UserName, keys: &BundleKeys, connection: &Connection) -> Option<Self> {
        let (account, checked_keys) = (user.clone(), keys.clone());
        let (hash, outcome) = connection.services.checks.perform(connection.link.peer.ip(), move || {
            let BundleKeys { signing_key, rsa_key, signature, rsa_signature } = &checked_keys;
            let hash = BundleHash::of(&transcript::bundle(&realm, &account, signing_key, rsa_key));
            let bundle = Bundle::verify(&realm, &account, signing_key, rsa_key, signature, rsa_signature);
            (hash, bundle.map(drop))
        })?;
        let bundle = match outcome {
            Ok(()) => Ok(Arc::new(KnownBundle { hash, account: user.clone(), keys: keys.clone() })),
            Err(why) => Err((why.to_string(), keys.clone())),
        };
        Some(Self { user, hash, bundle })
    }

    fn keys(&self) -> &BundleKeys {
        match &self.bundle {
            Ok(known) => &known.keys,
            Err((_, keys)) => keys,
        }
    }
}
