//! Slow work with passwords, on threads that step back behind those who deliver messages.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tracing::{debug, error};
use zeroize::Zeroizing;

use crate::chat::{Verifier, Work, WorkDone};
use crate::crypto::password::{Manners, PasswordHash};
use crate::names::Password;
use crate::server::link::Link;
use crate::server::sync::{Arc, AtomicUsize, Mutex, Ordering, lock};
use crate::server::workers::Workers;

/// Verified passwords that are remembered before all are forgotten.
const REMEMBERED: usize = 200_000;

/// What a thread that hashes does for others. Left to itself, a kernel looks only at the ticks of its clock, up to 10 ms apart, whether
/// another thread has more right to the processor.
enum Yielding {}

impl Manners for Yielding {
    fn give_way() {
        std::thread::yield_now();
    }
}

/// Hashes and checks passwords.
///
/// A password that was verified once passes from then on by a keyed hash, in microseconds: a room of two thousand must not cost
/// two thousand times 600,000 rounds after a restart. The key is drawn at the start and never leaves memory; the hash
/// covers the stored verifier, so a changed password is unknown again. A wrong password always pays in full.
pub(super) struct Hasher {
    workers: Workers,
    /// One block of the hash, so that HMAC takes it as it is.
    key: Zeroizing<[u8; 64]>,
    verified: Mutex<HashSet<[u8; 32]>>,
    /// How often PBKDF2 was computed.
    hashes: Arc<AtomicUsize>,
}

impl Hasher {
    /// One that counts in `hashes` how often PBKDF2 is computed: what a session token, or a password that is known, saves.
    pub(super) fn new(workers: Workers, hashes: Arc<AtomicUsize>) -> Self {
        Self { workers, key: Zeroizing::new(rand::random()), verified: Mutex::default(), hashes }
    }

    /// Computes PBKDF2 once for whoever is at this connection, or for the server itself; `None` when nobody waits for it any more,
    /// or when it panicked.
    fn compute<T: Send + 'static>(
        &self,
        asker: Option<&Arc<Link>>,
        hash: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let address = asker.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |link| link.peer.ip());
        let (asker, hashes) = (asker.cloned(), Arc::clone(&self.hashes));
        let job = move || {
            if asker.is_some_and(|link| link.is_deserted()) {
                return None; // those who ask and go at once cost no more than that
            }
            let result = hash();
            let hashes = hashes.fetch_add(1, Ordering::Relaxed) + 1;
            debug!(hashes, "a password was hashed");
            Some(result)
        };
        self.workers.perform(address, job).flatten()
    }

    /// Does what the hub wants done for somebody, and waits for it; `None` when they have gone, or when it panicked.
    pub(super) fn perform(&self, asker: Option<&Arc<Link>>, work: Work) -> Option<WorkDone> {
        match work {
            Work::Hash(password) => self.hash(asker, password).map(WorkDone::Hashed),
            Work::Check { password, verifier: None } => {
                self.compute(asker, move || PasswordHash::of_nobody().verify::<Yielding>(&password))?;
                Some(WorkDone::Checked { right: false, better: None })
            }
            Work::Check { password, verifier: Some(verifier) } => self.check(asker, password, &verifier),
        }
    }

    fn hash(&self, asker: Option<&Arc<Link>>, password: Password) -> Option<Verifier> {
        Some(Verifier::new(self.compute(asker, move || PasswordHash::new::<Yielding>(&password))?.to_string()))
    }

    fn check(&self, asker: Option<&Arc<Link>>, password: Password, verifier: &Verifier) -> Option<WorkDone> {
        let tag = self.tag(&password, verifier);
        if lock(&self.verified).contains(&tag) {
            return Some(WorkDone::Checked { right: true, better: None });
        }
        let Ok(hash) = PasswordHash::parse(verifier.as_str()) else {
            error!("a stored password hash is not one that this version knows: nobody can log in with it");
            return Some(WorkDone::Checked { right: false, better: None });
        };
        let is_legacy = hash.is_legacy();
        let right = {
            let password = password.clone();
            self.compute(asker, move || hash.verify::<Yielding>(&password))?
        };
        let better = if right && is_legacy { Some(self.hash(asker, password)?) } else { None };
        if right && better.is_none() {
            self.remember(tag);
        }
        Some(WorkDone::Checked { right, better })
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

    /// The same secret under PBKDF2, when less protects it. It waits its turn like any network's.
    pub(super) fn strengthen(&self, weak: &Verifier) -> Option<Verifier> {
        let hash = PasswordHash::parse(weak.as_str()).ok()?;
        if !hash.is_weak() {
            return None;
        }
        let strong = self.compute(None, move || hash.strengthened::<Yielding>())??;
        Some(Verifier::new(strong.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::sync::presence;
    use crate::server::workers::Priority;

    fn hasher() -> Hasher {
        Hasher::new(Workers::start("hash", 1, Priority::GivingWay, &presence().0).unwrap(), Arc::default())
    }

    #[test]
    fn a_verified_password_is_known_and_a_wrong_one_is_not() {
        let hasher = hasher();
        let [right, wrong] = ["right", "wrong"].map(Password::new);
        let verifier = hasher.hash(None, right.clone()).unwrap();
        let passes = |password: &Password| {
            let work = Work::Check { password: password.clone(), verifier: Some(verifier.clone()) };
            matches!(hasher.perform(None, work), Some(WorkDone::Checked { right: true, .. }))
        };
        assert!(!passes(&wrong) && passes(&right));
        assert_eq!(hasher.hashes.load(Ordering::Relaxed), 3);
        assert!(lock(&hasher.verified).contains(&hasher.tag(&right, &verifier)));
        assert!(!passes(&wrong) && passes(&right));
        assert_eq!(hasher.hashes.load(Ordering::Relaxed), 4, "a wrong one always pays");
    }

    #[test]
    fn an_old_hash_is_replaced_once_the_password_is_known() {
        let hasher = hasher();
        let password = Password::new("pw");
        let verifier = Verifier::new(PasswordHash::LegacyPlain("pw".into()).to_string());
        let done = hasher.perform(None, Work::Check { password, verifier: Some(verifier) });
        let Some(WorkDone::Checked { right: true, better: Some(better) }) = done else { panic!("{done:?}") };
        assert!(better.as_str().starts_with("$pbkdf2-sha256$"));
        assert!(hasher.strengthen(&better).is_none());
    }
}
