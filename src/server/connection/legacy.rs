//! A connection on the legacy wire: a record is a message, or a part of a long one.

use std::time::Duration;

use tracing::{debug, info};

use super::{BrokerGone, Connection, Inbound, READ};
use crate::chat::{Input, RsaKey};
use crate::crypto::PublicKey;
use crate::protocol::{ClientMessage, KeyAnnouncement, Reassembled, Reassembler, Reply, ServerMessage, legacy};
use crate::server::link::Link;
use crate::server::sync::Arc;

/// Longest message of somebody who is not logged in: keys and commands are short. In bytes.
const MAX_GUEST_MESSAGE: usize = 64 * 1024;

/// How long somebody who is turned away may take to read why.
const PARTING: Duration = Duration::from_secs(5);

/// A key, or why it is refused.
type CheckedKey = Result<RsaKey, String>;

/// What a peer has said so far.
pub(super) struct Legacy {
    reassembler: Reassembler,
    /// Longest message, and that of a guest, in bytes.
    most: usize,
    guests: usize,
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
    fn take(&mut self, connection: &mut Connection, record: &[u8]) -> Result<(), BrokerGone> {
        match self.reassembler.push(record) {
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
    pub(super) fn new(most: usize) -> Self {
        let guests = MAX_GUEST_MESSAGE.min(most);
        Self { reassembler: Reassembler::new(guests), most, guests, last_key: None }
    }

    /// A command is waited for, so that what follows it (a key right behind a `/login`) finds it done; so is a key, which is
    /// written to the disk.
    fn pass_on(&mut self, connection: &mut Connection, message: ClientMessage, len: usize) -> Result<(), BrokerGone> {
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
            self.reassembler.set_limit(if user.is_some() { self.most } else { self.guests });
        }
        Ok(())
    }

    fn check_key(&mut self, connection: &Connection, pem: Arc<str>) -> CheckedKey {
        let known = self.last_key.as_ref().filter(|(last, _)| *last == pem).map(|(_, key)| key.clone());
        let key = known.unwrap_or_else(|| {
            let text = Arc::clone(&pem);
            let checked = connection.services.checks.perform(move || PublicKey::from_pem(&text));
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
