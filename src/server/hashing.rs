//! Slow work with passwords, on the thread of the connection that waits for it, with a bounded number of permits.

use std::collections::HashSet;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tracing::{debug, error};
use zeroize::Zeroizing;

use crate::chat::{Verifier, Work, WorkDone};
use crate::crypto::password::PasswordHash;
use crate::names::Password;
use crate::server::sync::{AtomicUsize, Mutex, Ordering, Semaphore, lock};

/// Verified passwords that are remembered before all are forgotten.
const REMEMBERED: usize = 200_000;

/// Hashes and checks passwords.
///
/// A password that was verified once passes from then on by a keyed hash, in microseconds: a room of two thousand must not cost
/// two thousand times 600,000 rounds after a restart. The key is drawn at the start and never leaves memory; the hash
/// covers the stored verifier, so a changed password is unknown again. A wrong password always pays in full.
pub(super) struct Hasher {
    permits: Semaphore,
    /// One block of the hash, so that HMAC takes it as it is.
    key: Zeroizing<[u8; 64]>,
    verified: Mutex<HashSet<[u8; 32]>>,
    /// How often PBKDF2 was computed.
    hashes: AtomicUsize,
}

impl Hasher {
    pub(super) fn new(permits: usize) -> Self {
        Self {
            permits: Semaphore::new(permits),
            key: Zeroizing::new(rand::random()),
            verified: Mutex::default(),
            hashes: AtomicUsize::new(0),
        }
    }

    /// How often PBKDF2 was computed since the start: what a session token, or a password that is known, saves.
    pub(super) fn hashes(&self) -> usize {
        self.hashes.load(Ordering::Relaxed)
    }

    /// Computes PBKDF2 once, with a permit.
    fn compute<T>(&self, hash: impl FnOnce() -> T) -> T {
        let result = self.permits.with_permit(hash);
        let hashes = self.hashes.fetch_add(1, Ordering::Relaxed) + 1;
        debug!(hashes, "a password was hashed");
        result
    }

    /// Does what the hub wants done.
    pub(super) fn perform(&self, work: Work) -> WorkDone {
        match work {
            Work::Hash(password) => WorkDone::Hashed(self.hash(&password)),
            Work::Check { password, verifier: None } => {
                self.compute(|| PasswordHash::of_nobody().verify(&password));
                WorkDone::Checked { right: false, better: None }
            }
            Work::Check { password, verifier: Some(verifier) } => self.check(&password, &verifier),
        }
    }

    fn hash(&self, password: &Password) -> Verifier {
        Verifier::new(self.compute(|| PasswordHash::new(password)).to_string())
    }

    fn check(&self, password: &Password, verifier: &Verifier) -> WorkDone {
        let tag = self.tag(password, verifier);
        if lock(&self.verified).contains(&tag) {
            return WorkDone::Checked { right: true, better: None };
        }
        let Ok(hash) = PasswordHash::parse(verifier.as_str()) else {
            error!("a stored password hash is not one that this version knows: nobody can log in with it");
            return WorkDone::Checked { right: false, better: None };
        };
        let right = self.compute(|| hash.verify(password));
        let better = (right && hash.is_legacy()).then(|| self.hash(password));
        if right && better.is_none() {
            self.remember(tag);
        }
        WorkDone::Checked { right, better }
    }

    fn remember(&self, tag: [u8; 32]) {
        let mut verified = lock(&self.verified);
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(tag);
    }

    fn tag(&self, password: &Password, verifier: &Verifier) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new((&*self.key).into());
        mac.update(&(verifier.as_str().len() as u64).to_be_bytes());
        mac.update(verifier.as_str().as_bytes());
        mac.update(password.expose().as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The same secret under PBKDF2, when less protects it.
    pub(super) fn strengthen(&self, weak: &Verifier) -> Option<Verifier> {
        let hash = PasswordHash::parse(weak.as_str()).ok()?;
        if !hash.is_weak() {
            return None;
        }
        let strong = self.compute(|| hash.strengthened())?;
        Some(Verifier::new(strong.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verified_password_is_known_and_a_wrong_one_is_not() {
        let hasher = Hasher::new(1);
        let [right, wrong] = ["right", "wrong"].map(Password::new);
        let verifier = hasher.hash(&right);
        let passes = |password: &Password| {
            let work = Work::Check { password: password.clone(), verifier: Some(verifier.clone()) };
            matches!(hasher.perform(work), WorkDone::Checked { right: true, .. })
        };
        assert!(!passes(&wrong) && passes(&right));
        assert_eq!(hasher.hashes(), 3);
        assert!(lock(&hasher.verified).contains(&hasher.tag(&right, &verifier)));
        assert!(!passes(&wrong) && passes(&right));
        assert_eq!(hasher.hashes(), 4, "a wrong one always pays");
    }

    #[test]
    fn an_old_hash_is_replaced_once_the_password_is_known() {
        let hasher = Hasher::new(1);
        let password = Password::new("pw");
        let verifier = Verifier::new(PasswordHash::LegacyPlain("pw".into()).to_string());
        let done = hasher.perform(Work::Check { password, verifier: Some(verifier) });
        let WorkDone::Checked { right: true, better: Some(better) } = done else { panic!("{done:?}") };
        assert!(better.as_str().starts_with("$pbkdf2-sha256$"));
        assert!(hasher.strengthen(&better).is_none());
    }
}
