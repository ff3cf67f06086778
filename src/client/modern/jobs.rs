//! Slow work, which is done elsewhere and comes back: RSA operations for others' keys.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::client::modern::keys::{BadKey, Key};
use crate::crypto::{Bundle, PublicKey, envelope};
use crate::names::UserName;
use crate::protocol::modern::{self as wire, Wrap};
use crate::transcript::{self, BundleHash, KeyHash, Realm};

/// Most keys that one job wraps for: some 3 ms of work.
pub const WRAPS: usize = 128;

/// Work for another thread. Jobs may be done in any order.
pub enum Job {
    /// Checks keys that the server gave.
    Check(Check),
    /// Wraps a key for readers.
    Wrap(WrapJob),
}

/// What a job came to; the machine takes it as an input.
pub enum Done {
    /// A [`Job::Check`], for each hash that was asked for.
    Checked(Vec<(BundleHash, Result<Key, BadKey>)>),
    /// A [`Job::Wrap`].
    Wrapped {
        /// The job's number.
        id: u64,
        /// The wraps; a reader whose key the library refuses is not among them.
        wraps: Vec<(Target, Wrap)>,
    },
}

/// Keys that the server gave.
pub struct Check {
    /// The server.
    pub realm: Realm,
    /// What was asked for.
    pub asked: Vec<BundleHash>,
    /// What came.
    pub bundles: Vec<Arc<wire::Bundle>>,
}

/// A key, and whom it is to be wrapped for.
pub struct WrapJob {
    /// The job's number.
    pub id: u64,
    /// A chain key or a message key.
    pub secret: Zeroizing<[u8; 32]>,
    /// At most [`WRAPS`] readers.
    pub readers: Vec<(Target, PublicKey)>,
}

/// Whom a key is wrapped for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// All runs of a device.
    Bundle(BundleHash),
    /// A legacy member.
    Legacy(UserName),
}

impl Job {
    /// Does it.
    pub fn run(self) -> Done {
        match self {
            Self::Check(check) => Done::Checked(check.run()),
            Self::Wrap(WrapJob { id, secret, readers }) => {
                let wrap = |key: &PublicKey| Wrap::new(envelope::wrap(&secret, key).ok()?);
                let wraps = readers.into_iter().filter_map(|(target, key)| Some((target, wrap(&key)?))).collect();
                Done::Wrapped { id, wraps }
            }
        }
    }
}

impl Check {
    fn run(self) -> Vec<(BundleHash, Result<Key, BadKey>)> {
        let given: Vec<_> = self.bundles.iter().map(|bundle| check(&self.realm, bundle)).collect();
        let find = |asked: &BundleHash| {
            let found = given.iter().find(|(hash, _)| hash == asked);
            found.map_or(Err(BadKey::NotGiven), |(_, result)| result.clone())
        };
        self.asked.iter().map(|asked| (*asked, find(asked))).collect()
    }
}

/// A bundle or a legacy key, and the hash under which it may be asked for.
fn check(realm: &Realm, bundle: &wire::Bundle) -> (BundleHash, Result<Key, BadKey>) {
    match bundle {
        wire::Bundle::Modern { user, keys } => {
            let bytes = transcript::bundle(realm, user, &keys.signing_key, &keys.rsa_key);
            let (signature, rsa_signature) = (&keys.signature, &keys.rsa_signature);
            let bundle = Bundle::verify(realm, user, &keys.signing_key, &keys.rsa_key, signature, rsa_signature);
            (BundleHash::of(&bytes), bundle.map(|bundle| Key::Modern(bundle.into())).map_err(BadKey::Bundle))
        }
        wire::Bundle::Legacy { rsa_key, .. } => {
            let key = PublicKey::from_spki_der(rsa_key);
            (BundleHash(KeyHash::of(rsa_key).0), key.map(Key::Legacy).map_err(BadKey::Rsa))
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(check) => write!(f, "Check({})", check.asked.len()),
            Self::Wrap(wrap) => write!(f, "Wrap({})", wrap.readers.len()),
        }
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checked(results) => write!(f, "Checked({})", results.len()),
            Self::Wrapped { wraps, .. } => write!(f, "Wrapped({})", wraps.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{BadBundle, ChainKey, PrivateKey, SigningKey};
    use std::sync::LazyLock;

    const REALM: Realm = Realm([1; 32]);
    static RSA: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

    fn bundle() -> Bundle {
        Bundle::sign(&REALM, &UserName::new("bob"), &SigningKey::from_seed(&[1; 32]), &RSA).unwrap()
    }

    fn on_the_wire(bundle: &Bundle) -> wire::Bundle {
        let keys = wire::BundleKeys {
            signing_key: bundle.signing_key().bytes(),
            rsa_key: bundle.rsa().spki_der().clone(),
            signature: *bundle.signature(),
            rsa_signature: bundle.rsa_signature().clone(),
        };
        wire::Bundle::Modern { user: bundle.account().clone(), keys }
    }

    fn checked(asked: &[BundleHash], bundles: Vec<wire::Bundle>) -> Vec<Result<Key, BadKey>> {
        let bundles = bundles.into_iter().map(Arc::new).collect();
        let job = Job::Check(Check { realm: REALM, asked: asked.to_vec(), bundles });
        let Done::Checked(results) = job.run() else { panic!("another job's result") };
        assert!(results.iter().map(|(hash, _)| hash).eq(asked));
        results.into_iter().map(|(_, result)| result).collect()
    }

    #[test]
    fn each_key_that_was_asked_for_is_the_one_that_came_or_none() {
        let bundle = bundle();
        let legacy = BundleHash(RSA.public().spki_hash().0);
        let legacy_key = wire::Bundle::Legacy { user: UserName::new("eve"), rsa_key: RSA.public().spki_der().clone() };
        let results = checked(&[bundle.hash(), legacy, BundleHash([9; 32])], vec![legacy_key, on_the_wire(&bundle)]);
        let [Ok(Key::Modern(modern)), Ok(Key::Legacy(key)), Err(BadKey::NotGiven)] = &results[..] else {
            panic!("{results:?}")
        };
        assert_eq!((modern.hash(), key.spki_hash()), (bundle.hash(), RSA.public().spki_hash()));
    }

    #[test]
    fn a_bundle_that_somebody_else_put_together_is_broken() {
        let good = bundle();
        let mut forged = on_the_wire(&good);
        let wire::Bundle::Modern { keys, .. } = &mut forged else { panic!("{forged:?}") };
        keys.signature.0[5] ^= 1;
        let results = checked(&[good.hash()], vec![forged]);
        assert!(matches!(results[..], [Err(BadKey::Bundle(BadBundle::Signature))]), "{results:?}");
        // Another name makes another hash, and that one was not asked for.
        let mut renamed = on_the_wire(&good);
        let wire::Bundle::Modern { user, .. } = &mut renamed else { panic!("{renamed:?}") };
        *user = UserName::new("eve");
        assert!(matches!(checked(&[good.hash()], vec![renamed])[..], [Err(BadKey::NotGiven)]));
    }

    #[test]
    fn a_wrapped_key_is_for_its_reader() {
        let chain = ChainKey::from_raw(&[7; 32]);
        let target = Target::Bundle(BundleHash([1; 32]));
        let readers = vec![(target.clone(), RSA.public().clone())];
        let job = Job::Wrap(WrapJob { id: 3, secret: Zeroizing::new([7; 32]), readers });
        let Done::Wrapped { id: 3, wraps } = job.run() else { panic!("another job's result") };
        assert_eq!(wraps[0].0, target);
        assert!(ChainKey::unwrap(wraps[0].1.as_str(), &RSA, &chain.grant_check()).is_some());
    }
}
