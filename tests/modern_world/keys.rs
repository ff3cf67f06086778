//! Keys for people who exist in tests alone. RSA keys are slow to make, so a few are shared: what tells people apart is the
//! signing key and the name, which a bundle binds to the RSA key.

use std::sync::{Arc, LazyLock};

use secure_chat::crypto::{PrivateKey, SigningKey};
use sha2::{Digest, Sha256};

/// RSA keys that people share; the one behind them is the adversary's.
pub const SHARED: usize = 4;

static RSA: LazyLock<Vec<Arc<PrivateKey>>> = LazyLock::new(|| {
    let makers: Vec<_> = (0..=SHARED).map(|_| std::thread::spawn(|| PrivateKey::generate().unwrap())).collect();
    makers.into_iter().map(|maker| maker.join().unwrap().into()).collect()
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
