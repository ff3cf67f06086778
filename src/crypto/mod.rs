//! Keys, envelopes and password hashes. Knows no network, no files and no clock.
//!
//! Every function here is a pure function of its arguments, the random draws of keys, salts, Fernet IVs and OAEP seeds excepted.

pub mod envelope;
mod fernet;
mod fingerprint;
pub mod password;
mod rsa;

pub use self::fernet::{FernetKey, Unopenable};
pub use self::fingerprint::{BadFingerprint, Fingerprint};
pub use self::rsa::{KeyError, PrivateKey, PublicKey};
