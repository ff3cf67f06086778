//! Who this server is, as every connection hears it.

use crate::crypto::SigningKey;
use crate::names::Text;
use crate::protocol::modern::{Hello, Limits};
use crate::transcript::{self, Realm};

/// The server's name and version, as it gives it.
const NAME: &str = concat!("secure-chat ", env!("CARGO_PKG_VERSION"));

/// What the operator and the database say of the server.
pub(super) struct Host {
    realm_key: SigningKey,
    motd: Option<Text>,
    takes_legacy: bool,
}

impl Host {
    pub(super) fn new(realm_key: SigningKey, motd: Option<Text>, takes_legacy: bool) -> Self {
        Self { realm_key, motd, takes_legacy }
    }

    /// What names the server.
    pub(super) fn realm(&self) -> Realm {
        self.realm_key.verifying_key().realm()
    }

    /// Whether clients of the legacy wire are let in.
    pub(super) fn takes_legacy(&self) -> bool {
        self.takes_legacy
    }

    /// The first line for the connection of this exporter, at `time` in milliseconds since 1970.
    pub(super) fn hello(&self, exporter: &[u8; 32], time: u64) -> Hello {
        Hello {
            server: Text::sanitize(NAME),
            realm: self.realm(),
            signature: self.realm_key.sign(&transcript::hello(exporter)),
            time,
            limits: Limits::default(),
            motd: self.motd.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_signed_for_one_connection_alone() {
        let host = Host::new(SigningKey::generate(), Some(Text::sanitize("Be kind.")), true);
        let hello = host.hello(&[1; 32], 5);
        let key = host.realm_key.verifying_key();
        assert_eq!((hello.realm, hello.time), (host.realm(), 5));
        assert_eq!(hello.motd.unwrap().as_str(), "Be kind.");
        assert!(key.verify(&transcript::hello(&[1; 32]), &hello.signature));
        assert!(!key.verify(&transcript::hello(&[2; 32]), &hello.signature));
    }
}
