//! What people and servers sign.

use std::fmt;
use std::str::FromStr;

use super::{
    BundleHash, Commitment, Ed25519Key, GrantCheck, MessageHash, Position, ReadersHash, Realm, RunId, enc, label,
    sha256_of_all,
};
use crate::names::{RoomName, UserName};

/// What a server's key signs in its hello: 32 bytes of the TLS exporter `EXPORTER-secure-chat/1` (RFC 5705; no context).
pub fn hello(exporter: &[u8; 32]) -> Vec<u8> {
    enc(&[label!("hello"), exporter])
}

/// What both keys of a bundle sign; `spki` is the RSA key's canonical DER SubjectPublicKeyInfo.
pub fn bundle(realm: &Realm, account: &UserName, signing_key: &Ed25519Key, spki: &[u8]) -> Vec<u8> {
    enc(&[label!("bundle"), &realm.0, account.as_str().as_bytes(), &signing_key.0, spki])
}

/// Who speaks in a room: an account, with a bundle, in one run of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author<'a> {
    /// The server.
    pub realm: Realm,
    /// The room.
    pub room: &'a RoomName,
    /// The account.
    pub account: &'a UserName,
    /// Its signing key and its device's RSA key.
    pub bundle: BundleHash,
    /// The run of its client.
    pub run: RunId,
}

impl Author<'_> {
    /// The author's fields behind a label, then the others.
    fn enc<const N: usize>(&self, label: &[u8], rest: [&[u8]; N]) -> Vec<u8> {
        let room = self.room.as_str().as_bytes();
        let account = self.account.as_str().as_bytes();
        let mut fields = vec![label, &self.realm.0, room, account, &self.bundle.0, &self.run.0];
        fields.extend(rest);
        enc(&fields)
    }
}

/// What kind of message a statement makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A line that somebody said.
    Text,
}

impl Kind {
    /// The word that is signed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
        }
    }
}

/// A message in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Who says it, and where.
    pub author: Author<'a>,
    /// What kind of message it is.
    pub kind: Kind,
    /// The sender's epoch, from 1; 0 where the key is in `encrypted_keys`.
    pub epoch: u64,
    /// From 1 in a run and room; statements and acts share it.
    pub counter: u64,
    /// What the sender last saw.
    pub at: Position,
    /// The key that opens it.
    pub commitment: Commitment,
    /// The token.
    pub message: MessageHash,
}

impl Statement<'_> {
    /// What is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let [epoch, counter, n] = [self.epoch, self.counter, self.at.n].map(u64::to_be_bytes);
        let kind = self.kind.as_str().as_bytes();
        let rest = [kind, &epoch, &counter, &n, &self.at.log.0, &self.commitment.0, &self.message.0];
        self.author.enc(label!("message"), rest)
    }
}

/// A chain key that its sender gives to readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant<'a> {
    /// Whose chain it is, and where.
    pub author: Author<'a>,
    /// The sender's epoch, from 1.
    pub epoch: u64,
    /// The counter whose message key the granted chain key makes.
    pub counter: u64,
    /// What the sender last saw.
    pub at: Position,
    /// Tells whether what was unwrapped is the chain key that was granted.
    pub check: GrantCheck,
}

impl Grant<'_> {
    /// What is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let [epoch, counter, n] = [self.epoch, self.counter, self.at.n].map(u64::to_be_bytes);
        self.author.enc(label!("grant"), [&epoch, &counter, &n, &self.at.log.0, &self.check.0])
    }
}

/// Something that somebody does to a room or to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act<'a> {
    /// Who does it, and where.
    pub author: Author<'a>,
    /// From 1 in a run and room; statements and acts share it.
    pub counter: u64,
    /// What the actor last saw.
    pub at: Position,
    /// What is done.
    pub verb: Verb,
    /// To whom, or empty.
    pub target: &'a str,
    /// What else it takes, or empty.
    pub argument: &'a str,
}

impl Act<'_> {
    /// What is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let [counter, n] = [self.counter, self.at.n].map(u64::to_be_bytes);
        let verb = self.verb.as_str().as_bytes();
        let rest = [&counter, &n, &self.at.log.0[..], verb, self.target.as_bytes(), self.argument.as_bytes()];
        self.author.enc(label!("act"), rest)
    }
}

/// A message to one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direct<'a> {
    /// The server.
    pub realm: Realm,
    /// Who says it.
    pub account: &'a UserName,
    /// Its signing key and its device's RSA key.
    pub bundle: BundleHash,
    /// The run of its client.
    pub run: RunId,
    /// To whom.
    pub recipient: &'a UserName,
    /// From 1 in a run, for each recipient.
    pub counter: u64,
    /// The key that opens it.
    pub commitment: Commitment,
    /// Everyone who gets the key.
    pub readers: ReadersHash,
    /// The token.
    pub message: MessageHash,
}

impl Direct<'_> {
    /// What is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        enc(&[
            label!("direct"),
            &self.realm.0,
            self.account.as_str().as_bytes(),
            &self.bundle.0,
            &self.run.0,
            self.recipient.as_str().as_bytes(),
            &self.counter.to_be_bytes(),
            &self.commitment.0,
            &self.readers.0,
            &self.message.0,
        ])
    }
}

/// The hash over the readers of a direct message, in whatever order they come.
pub fn readers_hash(readers: impl IntoIterator<Item = (BundleHash, RunId)>) -> ReadersHash {
    let mut readers: Vec<_> = readers.into_iter().collect();
    readers.sort_unstable();
    let fields = readers.iter().flat_map(|(bundle, run)| [&bundle.0[..], &run.0[..]]);
    ReadersHash(sha256_of_all(&[], fields))
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $verb:ident = $word:literal),+ $(,)?) => {
        /// What an act does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Verb {
            $($(#[$doc])* $verb),+
        }

        impl Verb {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$verb),+];

            /// The word that is signed and sent.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$verb => $word),+
                }
            }
        }
    };
}

verbs! {
    /// Puts a member out of the room.
    Kick = "kick",
    /// Puts an account out and keeps it out.
    Ban = "ban",
    /// Lets it in again.
    Unban = "unban",
    /// Lets a member speak no more.
    Mute = "mute",
    /// Lets it speak again.
    Unmute = "unmute",
    /// Sets the room's topic.
    Topic = "topic",
    /// Ends the room.
    Delete = "delete",
    /// Sets what the room allows.
    Flags = "flags",
    /// Sets the room's password.
    Password = "password",
    /// Leaves the room.
    Leave = "leave",
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no verb of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownVerb;

impl fmt::Display for UnknownVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no verb of an act")
    }
}

impl std::error::Error for UnknownVerb {}

impl FromStr for Verb {
    type Err = UnknownVerb;

    fn from_str(word: &str) -> Result<Self, UnknownVerb> {
        Self::ALL.iter().copied().find(|verb| verb.as_str() == word).ok_or(UnknownVerb)
    }
}

impl serde::Serialize for Verb {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Verb {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(from)?;
        word.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_words_in_lower_case() {
        assert_eq!(Verb::ALL.len(), 10);
        for verb in Verb::ALL {
            let word = verb.as_str();
            assert!(word.bytes().all(|b| b.is_ascii_lowercase()), "{word}");
            assert_eq!(word.parse(), Ok(*verb));
            assert_eq!(serde_json::from_str::<Verb>(&serde_json::to_string(verb).unwrap()).unwrap(), *verb);
        }
        assert_eq!("Kick".parse::<Verb>(), Err(UnknownVerb));
        assert_eq!("".parse::<Verb>(), Err(UnknownVerb));
    }

    #[test]
    fn readers_are_a_set_of_runs() {
        let reader = |bundle, run| (BundleHash([bundle; 32]), RunId([run; 16]));
        let both = readers_hash([reader(1, 2), reader(3, 4)]);
        assert_eq!(both, readers_hash([reader(3, 4), reader(1, 2)]));
        assert_ne!(both, readers_hash([reader(1, 4), reader(3, 2)]));
        assert_ne!(both, readers_hash([reader(1, 2)]));
    }
}
