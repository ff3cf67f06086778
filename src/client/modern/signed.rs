//! What is signed, as it came, and whether the signature holds.

use crate::client::alarm::Thing;
use crate::crypto::VerifyingKey;
use crate::names::{RoomName, UserName};
use crate::protocol::modern::{self as wire, ActStamp, Deed, DirectBody, DirectEvent, GrantStamp, Reader, Stamp};
use crate::transcript::{self, MessageHash, Realm, RoomId, readers_hash};

/// Where something was said.
#[derive(Debug, Clone)]
pub(super) struct InRoom {
    pub(super) room: RoomName,
    pub(super) id: RoomId,
    /// Whom the author did not know to be gone.
    pub(super) gone: Option<Option<UserName>>,
    /// How often this client was away from the room when it came.
    pub(super) absences: u64,
}

/// A message.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) at: InRoom,
    pub(super) stamp: Stamp,
    pub(super) token: String,
    pub(super) time: u64,
}

/// Something that was done.
#[derive(Debug, Clone)]
pub(super) struct Did {
    pub(super) at: InRoom,
    /// Its place in the room's log.
    pub(super) n: u64,
    pub(super) deed: Deed,
    pub(super) stamp: ActStamp,
}

/// Something that somebody signed.
#[derive(Debug)]
pub(super) enum Signed {
    Message(Said),
    Act(Did),
    Grant {
        at: InRoom,
        stamp: GrantStamp,
        wrap: String,
    },
    /// And how often this client was away when it came.
    Direct(Box<DirectEvent>, u64),
}

impl Signed {
    pub(super) fn thing(&self) -> Thing {
        match self {
            Self::Message(_) => Thing::Message,
            Self::Act(_) => Thing::Act,
            Self::Grant { .. } => Thing::Grant,
            Self::Direct(..) => Thing::Direct,
        }
    }

    pub(super) fn len(&self) -> usize {
        const FIXED: usize = 512;
        FIXED
            + match self {
                Self::Message(said) => said.token.len(),
                Self::Act(did) => did.deed.target.as_str().len() + did.deed.argument.as_str().len(),
                Self::Grant { wrap, .. } => wrap.len(),
                Self::Direct(event, _) => event.body.encrypted_message.len() + 1024 * event.body.wraps.len(),
            }
    }

    pub(super) fn is_signed(&self, realm: Realm, author: &wire::Author, key: &VerifyingKey) -> bool {
        let in_room = |at: &InRoom| (at.room.clone(), author.user.clone());
        match self {
            Self::Message(Said { at, stamp, token, .. }) => {
                let (room, account) = in_room(at);
                let author = author_of(realm, &room, &account, author.reader);
                let Stamp { kind, epoch, counter, at, commitment, signature } = *stamp;
                let message = MessageHash::of(token);
                let statement = transcript::Statement { author, kind, epoch, counter, at, commitment, message };
                key.verify(&statement.to_bytes(), &signature)
            }
            Self::Act(Did { at, deed, stamp, .. }) => {
                let (room, account) = in_room(at);
                let author = author_of(realm, &room, &account, author.reader);
                let (target, argument) = (deed.target.as_str(), deed.argument.as_str());
                let ActStamp { counter, at, signature } = *stamp;
                let act = transcript::Act { author, counter, at, verb: deed.verb, target, argument };
                key.verify(&act.to_bytes(), &signature)
            }
            Self::Grant { at, stamp, .. } => {
                let (room, account) = in_room(at);
                let author = author_of(realm, &room, &account, author.reader);
                let GrantStamp { epoch, counter, at, check, signature } = *stamp;
                let grant = transcript::Grant { author, epoch, counter, at, check };
                key.verify(&grant.to_bytes(), &signature)
            }
            Self::Direct(event, _) => {
                let statement = direct_statement(realm, &event.author, &event.recipient, &event.body);
                key.verify(&statement.to_bytes(), &event.body.stamp.signature)
            }
        }
    }
}

/// The author's fields of what is signed in a room.
pub(super) fn author_of<'a>(
    realm: Realm,
    room: &'a RoomName,
    account: &'a UserName,
    reader: Reader,
) -> transcript::Author<'a> {
    transcript::Author { realm, room, account, bundle: reader.bundle, run: reader.run }
}

/// What is signed of a direct message.
pub(super) fn direct_statement<'a>(
    realm: Realm,
    author: &'a wire::Author,
    recipient: &'a UserName,
    body: &DirectBody,
) -> transcript::Direct<'a> {
    transcript::Direct {
        realm,
        account: &author.user,
        bundle: author.reader.bundle,
        run: author.reader.run,
        recipient,
        counter: body.stamp.counter,
        commitment: body.stamp.commitment,
        readers: readers_hash(body.readers.iter().map(|reader| (reader.bundle, reader.run))),
        message: MessageHash::of(&body.encrypted_message),
    }
}
