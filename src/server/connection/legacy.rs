//! A connection on the legacy wire: a record is a message, or a part of a long one.

use std::time::Duration;

use tracing::{debug, info};

use super::{Connection, Inbound, Over, READ};
use crate::chat::{Input, Quota, RsaKey, Usage};
use crate::crypto::PublicKey;
use crate::protocol::{
    ClientMessage, KeyAnnouncement, RECORD_LIMIT, Reassembled, Reassembler, Reply, ServerMessage, legacy,
};
use crate::server::link::Link;
use crate::server::sync::Arc;

/// Longest message of somebody who is not logged in, in bytes: what one record may hold, so that nothing of it is kept while more
/// is waited for. Commands and keys are shorter.
const MAX_GUEST_MESSAGE: usize = RECORD_LIMIT - 1;

/// Longest message while others have begun too many, in bytes: some 80 recipients.
const SCARCE: usize = 32 * 1024;

/// How long somebody who is turned away may take to read why.
const PARTING: Duration = Duration::from_secs(5);

/// A key, or why it is refused.
type CheckedKey = Result<RsaKey, String>;

/// What a peer has said so far.
pub(super) struct Legacy {
    reassembler: Reassembler,
    /// What it holds of a message that has begun.
    unfinished: Usage,
    /// Longest message, in bytes.
    most: usize,
    /// Whether somebody is logged in.
    logged_in: bool,
    /// The last key that was announced and what the check said: a client announces one key many times.
    last_key: Option<(Arc<str>, CheckedKey)>,
}

/// Says, on its own wire, that only modern clients are served.
pub(super) fn turn_away(link: &Arc<Link>) {
    info!(session = %link.session, peer = %link.peer, "turned away: a client of the legacy wire");
    let sorry = legacy::encode_server(&ServerMessage::Reply(Reply::ModernClientsOnly));
    sorry.records_for(None, &mut Vec::new(), |record| link.stream.queue(record));
    link.stream.queue_close();
    link.flush();
    link.stream.see_off(PARTING);
}

impl Inbound for Legacy {
    fn take(&mut self, connection: &mut Connection, record: &[u8]) -> Result<(), Over> {
        self.reassembler.set_limit(self.longest());
        let message = self.reassembler.push(record);
        self.unfinished.set(self.reassembler.held());
        match message {
            None => Ok(()),
            Some(Reassembled::TooLong) => self.pass_on(connection, ClientMessage::TooLong, 0),
            Some(Reassembled::Message(message)) => {
                self.pass_on(connection, legacy::decode_client(&message), message.len())
            }
        }
    }
}

impl Legacy {
    /// One whose messages have at most so many bytes.
    pub(super) fn new(most: usize, unfinished: &Arc<Quota>) -> Self {
        let (reassembler, unfinished) = (Reassembler::new(0), Usage::of(unfinished));
        Self { reassembler, unfinished, most, logged_in: false, last_key: None }
    }

    /// Longest message at the moment, in bytes.
    fn longest(&self) -> usize {
        match (self.logged_in, self.unfinished.quota().is_full()) {
            (false, _) => MAX_GUEST_MESSAGE.min(self.most),
            (true, true) => SCARCE.min(self.most),
            (true, false) => self.most,
        }
    }

    /// A command is waited for, so that what follows it (a key right behind a `/login`) finds it done; so is a key, which is
    /// written to the disk.
    fn pass_on(&mut self, connection: &mut Connection, message: ClientMessage, len: usize) -> Result<(), Over> {
        let session = connection.link.session;
        let is_command = matches!(message, ClientMessage::Command(_));
        let is_key = matches!(message, ClientMessage::Key(_));
        let input = match message {
            ClientMessage::Key(announced) => {
                let KeyAnnouncement { user, pem } = announced;
                Input::Key { session, user, key: self.check_key(connection, pem) }
            }
            message => Input::Message(session, message),
        };
        connection.tell(input, len)?;
        if is_key && !is_command {
            connection.ask_for_turn()?;
        }
        if is_command || is_key {
            let user = connection.work_until_ready()?;
            self.logged_in = user.is_some();
        }
        Ok(())
    }

    fn check_key(&mut self, connection: &Connection, pem: Arc<str>) -> CheckedKey {
        if !self.logged_in {
            return Err("nobody is logged in".into()); // the hub passes it over, unseen
        }
        let known = self.last_key.as_ref().filter(|(last, _)| *last == pem).map(|(_, key)| key.clone());
        let key = known.unwrap_or_else(|| {
            let text = Arc::clone(&pem);
            let checked =
                connection.services.checks.perform(connection.link.peer.ip(), move || PublicKey::from_pem(&text));
            match checked {
                // Copies: what is kept is not to lie between what the check needed for a moment.
                Some(Ok(key)) => Ok(RsaKey { pem: (**key.pem()).into(), spki: (**key.spki_der()).into() }),
                Some(Err(why)) => Err(why.to_string()),
                None => Err("it could not be checked".into()),
            }
        });
        if let Err(why) = &key {
            debug!(session = %connection.link.session, %why, "key refused");
        }
        if pem.len() < READ {
            self.last_key = Some((pem, key.clone()));
        }
        key
    }
}
