//! Sender keys: the chain of an epoch, the message keys that it makes, and what commits to them.
//!
//! A chain only runs forward: who is given a chain key opens what comes from then on, and nothing from before.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypto::{FernetKey, KeyError, PrivateKey, PublicKey, envelope};
use crate::transcript::{Commitment, GrantCheck};

/// Most steps that a chain is advanced at once, some 10 ms of hashing. An epoch has 4,096 messages, and some acts.
pub const MAX_STEPS: u64 = 16_384;

/// A chain key, 32 bytes: wiped when dropped, never printed.
#[derive(Clone)]
pub struct ChainKey(Zeroizing<[u8; 32]>);

impl ChainKey {
    /// Draws the chain key of a new epoch.
    pub fn generate() -> Self {
        Self::from_raw(&Zeroizing::new(rand::random()))
    }

    /// The chain key of these 32 bytes.
    pub fn from_raw(raw: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*raw))
    }

    /// The 32 bytes.
    pub fn expose_raw(&self) -> &[u8; 32] {
        &self.0
    }

    /// Wraps it for a reader, as [`envelope::wrap`] does.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library refuses, which no checked key makes it do.
    pub fn wrap_for(&self, reader: &PublicKey) -> Result<String, KeyError> {
        envelope::wrap(&self.0, reader)
    }

    /// Unwraps a granted one; `None` whatever is wrong with it, and when it is not the one that was granted.
    pub fn unwrap(wrapped: &str, reader: &PrivateKey, check: &GrantCheck) -> Option<Self> {
        let key = Self(envelope::unwrap(wrapped, reader)?);
        key.matches(check).then_some(key)
    }

    /// The key of the message whose counter the chain has come to.
    pub fn message_key(&self) -> FernetKey {
        FernetKey::from_raw(&hmac(&self.0, &[1]))
    }

    /// Moves on to the next counter; the old chain key is gone.
    pub fn step(&mut self) {
        self.0 = hmac(&self.0, &[2]);
    }

    /// A copy that is this many counters further on. `None` beyond [`MAX_STEPS`]: a counter that was made up must not cost more.
    pub fn advanced(&self, by: u64) -> Option<Self> {
        if by > MAX_STEPS {
            return None;
        }
        let mut copy = self.clone();
        (0..by).for_each(|_| copy.step());
        Some(copy)
    }

    /// What a grant says about it.
    pub fn grant_check(&self) -> GrantCheck {
        GrantCheck(*hmac(&self.0, b"grant"))
    }

    /// Whether it is the one that a grant is about.
    pub fn matches(&self, check: &GrantCheck) -> bool {
        self.grant_check().0.ct_eq(&check.0).into()
    }
}

impl FernetKey {
    /// What binds a message to this key: Fernet's MAC has only half of it, so that one token could open under many.
    pub fn commitment(&self) -> Commitment {
        Commitment(*hmac(self.expose_raw(), b"key"))
    }

    /// Whether it is the key that a message was committed to.
    pub fn is_committed_by(&self, commitment: &Commitment) -> bool {
        self.commitment().0.ct_eq(&commitment.0).into()
    }
}

/// HMAC-SHA256 under a key of 32 bytes, which RFC 2104 pads with zeros.
fn hmac(key: &[u8; 32], message: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}
