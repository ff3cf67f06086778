//! What has been seen before: which servers, and whose keys and which rooms there. `known_keys/text.rs` has the file's format.
//!
//! Names mean something only where they were given, so people and rooms are remembered by realm. A realm is named by the
//! server's key ([`KeyName`]).

mod pins;
mod text;

use std::collections::BTreeMap;

use crate::client::key_name::KeyName;
use crate::crypto::Fingerprint;
use crate::transcript::Realm;

pub use self::pins::{Device, Learned, MAX_DEVICES, Pins, RoomPin, Signer, Trust};
pub use self::text::Malformed;

/// Why a server was trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// Its key was pinned, on first use or at the person's word.
    Pinned,
    /// An authority vouched for its name.
    Authority,
}

/// A server that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Why it was trusted.
    pub by: Vouched,
    /// The fingerprint of its certificate's key.
    pub key: Fingerprint,
    /// Its realm, once it has spoken the modern wire: offering less is a downgrade from then on.
    pub realm: Option<Realm>,
}

impl Server {
    /// The realm in which its people and rooms are remembered.
    pub fn home(&self) -> KeyName {
        self.realm.map_or(self.key.into(), KeyName::from)
    }
}

/// Something to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A server was met first, or something about it is new.
    Server {
        /// `host:port`, as the person names it.
        address: String,
        /// What was known of it when it was judged.
        before: Option<Server>,
        /// What is known of it from now on.
        server: Server,
    },
    /// Something was learned in a realm.
    Learned(KeyName, Learned),
}

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownKeys {
    servers: BTreeMap<String, Server>,
    /// No entry is empty.
    realms: BTreeMap<KeyName, Pins>,
}

impl KnownKeys {
    /// What is known of the server at `address`.
    pub fn server(&self, address: &str) -> Option<Server> {
        self.servers.get(address).copied()
    }

    /// What is pinned in a realm.
    pub fn pins(&self, realm: KeyName) -> Pins {
        self.realms.get(&realm).cloned().unwrap_or_default()
    }

    /// Remembers a change, as far as it does not contradict what is known.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Server { address, server, .. } => {
                let before = self.servers.insert(address.clone(), *server).map(|before| before.home());
                if let Some(before) = before.filter(|before| *before != server.home()) {
                    self.carry_over(before, server.home());
                }
            }
            Change::Learned(realm, learned) => self.realms.entry(*realm).or_default().learn(learned),
        }
        self.realms.retain(|_, pins| !pins.is_empty());
    }

    /// Why a change contradicts what is known, in words for the person: another client of the same identity may have come to
    /// know something else since this one looked.
    pub fn contradiction(&self, change: &Change) -> Option<String> {
        match change {
            // What the person saw was judged by what the file held before.
            Change::Server { address, before, server } => {
                let known = self.server(address);
                (known != *before && known != Some(*server))
                    .then(|| format!("Another client has come to know {address} in the meantime. Start again."))
            }
            Change::Learned(realm, learned) => self.realms.get(realm)?.contradiction(learned),
        }
    }

    /// The users of a server that is in another realm now are the same people, until their keys tell otherwise: their pins go
    /// along, as far as they were trusted. A realm of the legacy wire is forgotten when no address leads there any more; one of
    /// the modern wire stays as it is, for it may come back.
    fn carry_over(&mut self, old: KeyName, new: KeyName) {
        let Some(pins) = self.realms.get(&old).cloned() else { return };
        self.realms.entry(new).or_default().inherit(&pins);
        let is_used = self.servers.values().any(|server| server.home() == old);
        if matches!(old, KeyName::Sha256(_)) && !is_used {
            self.realms.remove(&old);
        }
    }
}

#[cfg(test)]
mod tests;
