//! Keys, envelopes and password hashes. Knows no network, no files and no clock.
//!
//! Every function here is a pure function of its arguments, the random draws of keys, salts, IVs and OAEP seeds excepted.

mod bundle;
pub mod envelope;
mod epoch;
mod fernet;
mod fingerprint;
pub mod password;
mod rsa;
mod safety;
mod signing;

pub use self::bundle::{BadBundle, Bundle};
pub use self::epoch::{ChainKey, MAX_STEPS};
pub use self::fernet::{FernetKey, Unopenable};
pub use self::fingerprint::{BadFingerprint, Fingerprint};
pub use self::rsa::{KeyError, PrivateKey, PublicKey};
pub use self::safety::SafetyNumber;
pub use self::signing::{BadVerifyingKey, SigningKey, SigningKeyError, VerifyingKey};
