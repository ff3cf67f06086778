//! Sender keys: the chain of an epoch, the message keys that it makes, and what commits to them.
//!
//! A chain only runs forward: who is given a chain key opens what comes from then on, and nothing from before.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypto::{FernetKey, KeyError, PrivateKey, PublicKey, envelope};
use crate::transcript::{Commitment, GrantCheck};

/// Most steps that a chain is advanced at once, a few milliseconds of hashing: an epoch has 4,096 counters.
pub const MAX_STEPS: u64 = 4_096;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_the_standard() {
        // RFC 4231, test case 1, whose key of 20 bytes is padded with zeros all the same.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let tag = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, *hmac(&key, b"Hi There"));
        assert_eq!(tag, "sDRMYdjbOFNcqK/OrwvxK4gdwgDJgz2nJuk3bC4yz/c=");
    }

    #[test]
    fn a_chain_runs_forward_by_counters() {
        let granted = ChainKey::from_raw(&[5; 32]);
        let mut chain = granted.clone();
        let mut seen = Vec::new();
        for by in 0..20 {
            assert_eq!(granted.advanced(by).unwrap().expose_raw(), chain.expose_raw());
            seen.extend([*chain.expose_raw(), *chain.message_key().expose_raw(), chain.grant_check().0]);
            chain.step();
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 60); // nothing comes twice, and no key is another one's check
        assert_eq!(granted.expose_raw(), &[5; 32]);
    }

    #[test]
    fn a_counter_that_was_made_up_costs_little() {
        let chain = ChainKey::generate();
        assert!(chain.advanced(MAX_STEPS).is_some());
        assert!(chain.advanced(MAX_STEPS + 1).is_none());
        assert!(chain.advanced(u64::MAX).is_none());
    }

    #[test]
    fn a_grant_is_opened_by_its_reader_and_as_it_was_made() {
        let [bob, eve] = [(); 2].map(|()| PrivateKey::generate().unwrap());
        let chain = ChainKey::generate();
        let wrapped = chain.wrap_for(bob.public()).unwrap();
        let check = chain.grant_check();
        assert_eq!(ChainKey::unwrap(&wrapped, &bob, &check).unwrap().expose_raw(), chain.expose_raw());
        assert!(ChainKey::unwrap(&wrapped, &eve, &check).is_none());
        assert!(ChainKey::unwrap(&wrapped, &bob, &ChainKey::generate().grant_check()).is_none());
        assert!(ChainKey::unwrap(&wrapped[4..], &bob, &check).is_none());
    }

    #[test]
    fn a_commitment_is_to_both_halves_of_a_key() {
        let raw = [9; 32];
        let commitment = FernetKey::from_raw(&raw).commitment();
        assert!(FernetKey::from_raw(&raw).is_committed_by(&commitment));
        for i in 0..32 {
            let mut other = raw;
            other[i] ^= 1;
            assert!(!FernetKey::from_raw(&other).is_committed_by(&commitment), "{i}");
        }
    }

    /// Why there is a commitment: keys that share their first half both take a token as authentic.
    #[test]
    fn fernet_alone_commits_to_half_of_a_key() {
        let (one, mut other) = ([9; 32], [9; 32]);
        let token = FernetKey::from_raw(&one).seal(b"fifteen bytes..", 0);
        // The padding comes out right under one key in 256.
        let opened = (1..=u16::MAX).find_map(|bits| {
            (other[30], other[31]) = (9 ^ bits as u8, 9 ^ (bits >> 8) as u8);
            FernetKey::from_raw(&other).open(&token).ok()
        });
        assert!(opened.is_some_and(|text| &**text != b"fifteen bytes.."));
    }
}
