//! Keys for people who exist in tests alone. RSA keys are slow to make, so a few lie ready and are shared: what tells people
//! apart is the signing key and the name, which a bundle binds to the RSA key.

use std::sync::{Arc, LazyLock};

use secure_chat::crypto::{PrivateKey, SigningKey};
use sha2::{Digest, Sha256};

/// RSA keys that people share; the one behind them is the adversary's.
pub const SHARED: usize = 4;

/// They are the same in each run, so that what follows from a seed does so again. Nobody else has ever used them.
static RSA: LazyLock<Vec<Arc<PrivateKey>>> = LazyLock::new(|| {
    let pem = include_str!("../data/rsa-keys-of-tests.private");
    let keys: Vec<_> = pem.split_inclusive("-----END RSA PRIVATE KEY-----\n").collect();
    assert_eq!(keys.len(), SHARED + 1);
    keys.into_iter().map(|key| Arc::new(PrivateKey::from_pem(key).unwrap())).collect()
});

/// A device's key.
pub fn rsa(device: usize) -> Arc<PrivateKey> {
    Arc::clone(&RSA[device % SHARED])
}

/// A key that no honest person has.
pub fn adversary_rsa() -> Arc<PrivateKey> {
    Arc::clone(&RSA[SHARED])
}

/// The signing key that a word stands for.
pub fn signing(of: &str) -> SigningKey {
    SigningKey::from_seed(&Sha256::digest(of.as_bytes()).into())
}
