//! What is remembered of the people and the rooms of one server.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::key_name::KeyName;
use crate::crypto::Fingerprint;
use crate::names::{RoomName, UserName};
use crate::transcript::{BundleHash, Ed25519Key, RoomId};

/// Most devices of one account that are remembered; beyond it, the oldest is forgotten.
pub const MAX_DEVICES: usize = 16;

/// How far a signing key is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It was the first for its name, or the person accepted it.
    Seen,
    /// The person compared the safety number.
    Verified,
}

/// The signing key of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer {
    /// The key.
    pub key: Ed25519Key,
    /// How far it is trusted.
    pub trust: Trust,
}

/// An RSA key that stood in a bundle which the account's pinned signing key had signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The bundle.
    pub bundle: BundleHash,
    /// The fingerprint of its RSA key.
    pub rsa: Fingerprint,
}

/// Which of all rooms that ever bore its name a room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomPin {
    /// Its id.
    pub id: RoomId,
    /// Whether it keeps legacy members out.
    pub modern_only: bool,
}

/// Everything that is pinned in one realm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    /// The RSA keys of legacy members.
    pub rsa: BTreeMap<UserName, Fingerprint>,
    /// The signing keys of accounts.
    pub signers: BTreeMap<UserName, Signer>,
    /// The devices of accounts with a pinned signing key, at most [`MAX_DEVICES`] each, the oldest first.
    pub devices: BTreeMap<UserName, Vec<Device>>,
    /// The rooms.
    pub rooms: BTreeMap<RoomName, RoomPin>,
    /// Whose messages are not shown.
    pub blocked: BTreeSet<UserName>,
}

/// Something that was learned about people or rooms, and is to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Learned {
    /// The RSA key of a legacy member.
    Rsa {
        /// Whose key it is.
        user: UserName,
        /// Its fingerprint.
        key: Fingerprint,
        /// Whether it was accepted in the place of another.
        replaces: bool,
    },
    /// A signing key was seen first. It takes no other's place.
    SignerSeen(UserName, Ed25519Key),
    /// The person accepted a signing key: it takes the place of another, whose devices are forgotten, and counts as seen.
    SignerAccepted(UserName, Ed25519Key),
    /// The person compared the safety number of exactly this key. It counts only where this key is pinned.
    SignerVerified(UserName, Ed25519Key),
    /// A device stood in a bundle. It counts only where the bundle's signing key is pinned.
    Device {
        /// Whose device it is.
        user: UserName,
        /// The key that signed the bundle.
        signer: Ed25519Key,
        /// The device.
        device: Device,
    },
    /// A room was entered first, or changed; being modern-only is only lost where it replaces.
    Room {
        /// Its name.
        room: RoomName,
        /// What is pinned.
        pin: RoomPin,
        /// Whether it takes the place of another room of this name, or of what was known of this one.
        replaces: bool,
    },
    /// The person does not want to see somebody's messages.
    Blocked(UserName),
    /// The person wants to see them again.
    Unblocked(UserName),
}

impl Pins {
    /// Takes in what was learned, as far as it does not contradict what is pinned.
    pub fn learn(&mut self, learned: &Learned) {
        match learned {
            Learned::Rsa { user, key, replaces: true } => drop(self.rsa.insert(user.clone(), *key)),
            Learned::Rsa { user, key, replaces: false } => drop(self.rsa.entry(user.clone()).or_insert(*key)),
            Learned::SignerSeen(user, key) => {
                self.signers.entry(user.clone()).or_insert(Signer { key: *key, trust: Trust::Seen });
            }
            Learned::SignerAccepted(user, key) if !self.is_signer(user, key) => {
                self.signers.insert(user.clone(), Signer { key: *key, trust: Trust::Seen });
                self.devices.remove(user);
            }
            Learned::SignerVerified(user, key) => {
                if let Some(signer) = self.signers.get_mut(user).filter(|signer| signer.key == *key) {
                    signer.trust = Trust::Verified;
                }
            }
            Learned::Device { user, signer, device } if self.is_signer(user, signer) => self.add_device(user, *device),
            Learned::SignerAccepted(..) | Learned::Device { .. } => {}
            Learned::Room { room, pin, replaces } => self.learn_room(room, *pin, *replaces),
            Learned::Blocked(user) => drop(self.blocked.insert(user.clone())),
            Learned::Unblocked(user) => drop(self.blocked.remove(user)),
        }
    }

    /// Whether a legacy member with this RSA key may be the account that it is named after: one with a pinned signing key is only
    /// there on the devices that this key has signed for.
    pub fn may_be(&self, user: &UserName, rsa: &Fingerprint) -> bool {
        let mut devices = self.devices.get(user).into_iter().flatten();
        !self.signers.contains_key(user) || devices.any(|device| device.rsa == *rsa)
    }

    fn is_signer(&self, user: &UserName, key: &Ed25519Key) -> bool {
        self.signers.get(user).is_some_and(|signer| signer.key == *key)
    }

    fn add_device(&mut self, user: &UserName, device: Device) {
        let devices = self.devices.entry(user.clone()).or_default();
        if !devices.contains(&device) {
            devices.push(device);
            devices.drain(..devices.len().saturating_sub(MAX_DEVICES));
        }
    }

    fn learn_room(&mut self, room: &RoomName, pin: RoomPin, replaces: bool) {
        let pinned = self.rooms.entry(room.clone()).or_insert(pin);
        if replaces {
            *pinned = pin;
        } else if pinned.id == pin.id {
            pinned.modern_only |= pin.modern_only;
        }
    }

    /// Why what was learned does not go with what is pinned: another client of the same person may have pinned it meanwhile.
    pub fn contradiction(&self, learned: &Learned) -> Option<String> {
        let another = |user: &UserName, pinned: KeyName, key: KeyName| {
            format!("Another client has pinned {pinned} for {user}, not {key}. Start again to decide.")
        };
        match learned {
            Learned::Rsa { user, key, replaces: false } => {
                let pinned = self.rsa.get(user).filter(|pinned| *pinned != key)?;
                Some(another(user, (*pinned).into(), (*key).into()))
            }
            Learned::SignerSeen(user, key) | Learned::SignerVerified(user, key) => {
                let pinned = self.signers.get(user).filter(|signer| signer.key != *key)?;
                Some(another(user, pinned.key.into(), (*key).into()))
            }
            Learned::Room { room, pin, replaces: false } => {
                let pinned = self.rooms.get(room)?;
                let loosened = pinned.modern_only && !pin.modern_only;
                (pinned.id != pin.id || loosened).then(|| {
                    format!("Another client has come to know {room} as another room than this. Start again to decide.")
                })
            }
            _ => None,
        }
    }

    /// Takes over what another realm knew of the same people, unless this one knows better. Rooms are not taken over: their
    /// ids come from one server's database, and a server that speaks the legacy wire alone has none.
    pub(super) fn inherit(&mut self, from: &Self) {
        for (user, key) in &from.rsa {
            self.rsa.entry(user.clone()).or_insert(*key);
        }
        for (user, signer) in &from.signers {
            let pinned = self.signers.entry(user.clone()).or_insert(*signer);
            if pinned.key == signer.key {
                from.devices.get(user).into_iter().flatten().for_each(|device| self.add_device(user, *device));
            }
        }
        self.blocked.extend(from.blocked.iter().cloned());
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
