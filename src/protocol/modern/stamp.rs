//! What requests and events have in common: who, and what was signed.

use super::json::{Fields, Malformed, Object};
use super::record::{Record, record, words};
use super::value::{SignedText, objects, word_values};
use crate::names::UserName;
use crate::transcript::{
    BundleHash, Commitment, EntryKey, GrantCheck, KeyHash, Kind, Position, RosterEntry, RunId, Signature, Verb,
};

record! {
    /// One run of a client, which holds the keys of a bundle.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Reader {
        /// Its keys.
        must bundle: BundleHash,
        /// The run.
        must run: RunId,
    }
}

record! {
    /// Whose session an event comes from, by the server's word.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Author {
        /// The account.
        must user: UserName,
        /// Its client.
        flat reader: Reader,
    }
}

record! {
    /// What the statement of a message says beside who and where.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Stamp {
        /// What kind of message it is.
        must kind: Kind,
        /// The sender's epoch, from 1.
        positive epoch: u64,
        /// From 1 in a run and room; messages and acts share it.
        positive counter: u64,
        /// What the sender last saw.
        must at: Position,
        /// The key that opens it.
        must commitment: Commitment,
        /// Over the statement.
        must signature: Signature,
    }
}

record! {
    /// What a grant says beside who and where.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct GrantStamp {
        /// The sender's epoch, from 1.
        positive epoch: u64,
        /// The counter whose message key the granted chain key makes.
        positive counter: u64,
        /// What the sender last saw.
        must at: Position,
        /// Tells the chain key from any other.
        must check: GrantCheck,
        /// Over the grant.
        must signature: Signature,
    }
}

record! {
    /// What an act is signed with.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ActStamp {
        /// From 1 in a run and room; messages and acts share it.
        positive counter: u64,
        /// What the actor last saw.
        must at: Position,
        /// Over the act.
        must signature: Signature,
    }
}

record! {
    /// What is done, to whom.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Deed {
        /// What.
        must verb: Verb,
        /// To whom; empty where nobody is named.
        must target: SignedText,
        /// What else it takes, or empty.
        must argument: SignedText,
    }
}

record! {
    /// What a direct message is signed with.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct DirectStamp {
        /// From 1 in a run and for a recipient.
        positive counter: u64,
        /// The key that opens it.
        must commitment: Commitment,
        /// Over the direct message.
        must signature: Signature,
    }
}

impl Record for Position {
    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self { n: fields.required("n")?, log: fields.required("log")? })
    }

    fn put(&self, object: &mut Object<'_>) {
        object.field("n", &self.n);
        object.field("log", &self.log);
    }
}

words! {
    /// What wire a member is on.
    pub enum EntryKind {
        /// This one.
        Modern = "modern",
        /// That of the Python scripts.
        Legacy = "legacy",
    }
}

impl Record for RosterEntry {
    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let key = match fields.required("kind")? {
            EntryKind::Modern => EntryKey::Modern(fields.required("key")?),
            EntryKind::Legacy => match fields.required::<String>("key")? {
                none if none.is_empty() => EntryKey::Legacy(None),
                hash => EntryKey::Legacy(Some(KeyHash::from_base64(&hash).map_err(|_| Malformed("key"))?)),
            },
        };
        Ok(Self { account: fields.required("user")?, key, run: fields.required("run")? })
    }

    fn put(&self, object: &mut Object<'_>) {
        object.field("user", &self.account);
        match self.key {
            EntryKey::Modern(bundle) => {
                object.field("kind", &EntryKind::Modern);
                object.field("key", &bundle);
            }
            EntryKey::Legacy(key) => {
                object.field("kind", &EntryKind::Legacy);
                object.field("key", &key.map_or(String::new(), |key| key.to_base64()));
            }
        }
        object.field("run", &self.run);
    }
}

objects!(Position, Reader, RosterEntry);
word_values!(EntryKind);
