//! What this client signs where a server speaks the legacy wire alone, and what it makes of the signatures of others. Such a
//! server keeps no log: authorship is proved, and that nothing of an author is missing or repeated; no more.

use std::collections::BTreeMap;

use crate::crypto::envelope::Sealed;
use crate::crypto::{BadBundle, Bundle, KeyError, PrivateKey, SigningKey, VerifyingKey};
use crate::names::{RoomName, UserName};
use crate::protocol::modern::{BundleKeys, OwnedBundle, Reader, Signed};
use crate::transcript::{
    self, Author, BundleHash, Ed25519Key, Kind, LogHash, MessageHash, Position, Realm, RunId, Signature, Statement,
};

/// What is signed of a message in a room without a log.
fn statement<'a>(
    realm: Realm,
    room: &'a RoomName,
    account: &'a UserName,
    signed: &Signed,
    token: &str,
) -> Statement<'a> {
    let Signed { author: Reader { bundle, run }, kind, counter, commitment, .. } = *signed;
    Statement {
        author: Author { realm, room, account, bundle, run },
        kind,
        epoch: 0,
        counter,
        at: Position { n: 0, log: LogHash([0; 32]) },
        commitment,
        message: MessageHash::of(token),
    }
}

/// Whether a signing key signed a message of its account for a room.
pub fn is_signed(
    realm: Realm,
    room: &RoomName,
    account: &UserName,
    key: &VerifyingKey,
    signed: &Signed,
    token: &str,
) -> bool {
    key.verify(&statement(realm, room, account, signed, token).to_bytes(), &signed.signature)
}

/// Checks the two signatures of a bundle that came over the wire.
///
/// # Errors
/// As [`Bundle::verify`].
pub fn verify(realm: &Realm, bundle: &OwnedBundle) -> Result<Bundle, BadBundle> {
    let OwnedBundle { user, keys: BundleKeys { signing_key, rsa_key, signature, rsa_signature } } = bundle;
    Bundle::verify(realm, user, signing_key, rsa_key, signature, rsa_signature)
}

/// What names a bundle that came over the wire, before it is checked.
pub fn hash_of(realm: &Realm, bundle: &OwnedBundle) -> BundleHash {
    let keys = &bundle.keys;
    BundleHash::of(&transcript::bundle(realm, &bundle.user, &keys.signing_key, &keys.rsa_key))
}

/// The person's hand: signs what this client says.
pub struct Signer {
    realm: Realm,
    key: SigningKey,
    run: RunId,
    bundle: Option<Bundle>,
    /// The last counter of each account in each room: as many as the person joins.
    counters: BTreeMap<(UserName, RoomName), u64>,
}

impl Signer {
    /// Nobody is logged in yet. A realm is that of the server's certificate; a run is drawn at each start of the client.
    pub fn new(realm: Realm, key: SigningKey, run: RunId) -> Self {
        Self { realm, key, run, bundle: None, counters: BTreeMap::new() }
    }

    /// The realm in which is signed.
    pub fn realm(&self) -> Realm {
        self.realm
    }

    /// The account's key.
    pub fn signing_key(&self) -> Ed25519Key {
        self.key.verifying_key().bytes()
    }

    /// From now on `account` signs, on the device with the key `rsa`.
    ///
    /// # Errors
    /// [`KeyError::Library`], as [`Bundle::sign`]: then nobody signs.
    pub fn set_account(&mut self, account: &UserName, rsa: &PrivateKey) -> Result<(), KeyError> {
        if self.bundle.as_ref().is_none_or(|bundle| bundle.account() != account) {
            self.bundle = None;
            self.bundle = Some(Bundle::sign(&self.realm, account, &self.key, rsa)?);
        }
        Ok(())
    }

    /// The keys that vouch for what is signed, if an account is logged in.
    pub fn bundle(&self) -> Option<&Bundle> {
        self.bundle.as_ref()
    }

    /// Whether it is this very client.
    pub fn is(&self, author: &Reader) -> bool {
        author.run == self.run && self.bundle.as_ref().is_some_and(|bundle| bundle.hash() == author.bundle)
    }

    /// The package that brings the own keys to a room.
    pub fn announcement(&self, room: &RoomName) -> Option<Vec<u8>> {
        let bundle = self.bundle.as_ref()?;
        let keys = BundleKeys {
            signing_key: bundle.signing_key().bytes(),
            rsa_key: bundle.rsa().spki_der().clone(),
            signature: *bundle.signature(),
            rsa_signature: bundle.rsa_signature().clone(),
        };
        Some(OwnedBundle { user: bundle.account().clone(), keys }.package(room))
    }

    /// Signs the next message for a room. `None` when nobody is logged in.
    pub fn sign(&mut self, room: &RoomName, sealed: &Sealed) -> Option<Signed> {
        let bundle = self.bundle.as_ref()?;
        let last = self.counters.entry((bundle.account().clone(), room.clone())).or_default();
        *last += 1;
        let author = Reader { bundle: bundle.hash(), run: self.run };
        let unsigned = Signed {
            author,
            kind: Kind::Text,
            counter: *last,
            commitment: sealed.commitment(),
            signature: Signature([0; 64]),
        };
        let statement = statement(self.realm, room, bundle.account(), &unsigned, &sealed.token);
        Some(Signed { signature: self.key.sign(&statement.to_bytes()), ..unsigned })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::envelope;
    use crate::protocol::legacy::{FromServer, decode_server};
    use crate::transcript::Commitment;
    use std::sync::LazyLock;

    static RSA: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());
    const REALM: Realm = Realm([1; 32]);

    fn signer(run: u8) -> Signer {
        let mut signer = Signer::new(REALM, SigningKey::from_seed(&[1; 32]), RunId([run; 16]));
        signer.set_account(&UserName::new("bob"), &RSA).unwrap();
        signer
    }

    #[test]
    fn who_is_not_logged_in_signs_nothing() {
        let mut nobody = Signer::new(REALM, SigningKey::generate(), RunId([0; 16]));
        let room = RoomName::new("r");
        assert!(nobody.sign(&room, &envelope::seal("bob: hi", 0)).is_none() && nobody.announcement(&room).is_none());
    }

    #[test]
    fn a_signature_holds_for_its_realm_room_bundle_counter_and_token_alone() {
        let mut bob = signer(1);
        let (room, sealed) = (RoomName::new("r"), envelope::seal("bob: hi", 0));
        let signed = bob.sign(&room, &sealed).unwrap();
        let (name, key) = (UserName::new("bob"), *bob.bundle().unwrap().signing_key());
        let holds = |signed: &Signed, token: &str| is_signed(REALM, &room, &name, &key, signed, token);
        assert!(holds(&signed, &sealed.token));
        assert!(!holds(&signed, &sealed.token[1..]));
        assert!(!is_signed(Realm([2; 32]), &room, &name, &key, &signed, &sealed.token));
        assert!(!is_signed(REALM, &RoomName::new("s"), &name, &key, &signed, &sealed.token));
        assert!(!is_signed(REALM, &room, &UserName::new("eve"), &key, &signed, &sealed.token));
        let other = SigningKey::from_seed(&[2; 32]).verifying_key();
        assert!(!is_signed(REALM, &room, &name, &other, &signed, &sealed.token));
        let author = signed.author;
        for other in [
            Signed { counter: signed.counter + 1, ..signed },
            Signed { commitment: Commitment([0; 32]), ..signed },
            Signed { author: Reader { run: RunId([9; 16]), ..author }, ..signed },
            Signed { author: Reader { bundle: BundleHash([9; 32]), ..author }, ..signed },
        ] {
            assert!(!holds(&other, &sealed.token), "{other:?}");
        }
    }

    #[test]
    fn accounts_and_rooms_are_counted_for_themselves() {
        let mut bob = signer(1);
        let mut counters = |rooms: &[&str]| -> Vec<u64> {
            let sealed = envelope::seal("bob: hi", 0);
            rooms.iter().map(|room| bob.sign(&RoomName::new(room), &sealed).unwrap().counter).collect()
        };
        assert_eq!(counters(&["r", "r", "s", "r"]), [1, 2, 1, 3]);
        bob.set_account(&UserName::new("carol"), &RSA).unwrap();
        assert_eq!(bob.sign(&RoomName::new("r"), &envelope::seal("carol: hi", 0)).unwrap().counter, 1);
        bob.set_account(&UserName::new("bob"), &RSA).unwrap();
        assert_eq!(bob.sign(&RoomName::new("r"), &envelope::seal("bob: hi", 0)).unwrap().counter, 4);
    }

    #[test]
    fn an_announced_bundle_holds_where_it_was_made() {
        let bob = signer(1);
        let announced = decode_server(&bob.announcement(&RoomName::new("r")).unwrap());
        let FromServer::Bundle(announced) = announced else { panic!("{announced:?}") };
        assert_eq!(verify(&REALM, &announced).unwrap().hash(), bob.bundle().unwrap().hash());
        assert_eq!(hash_of(&REALM, &announced), bob.bundle().unwrap().hash());
        assert!(verify(&Realm([2; 32]), &announced).is_err());
        assert!(bob.is(&Reader { bundle: bob.bundle().unwrap().hash(), run: RunId([1; 16]) }));
        assert!(!signer(2).is(&Reader { bundle: bob.bundle().unwrap().hash(), run: RunId([1; 16]) }));
    }
}
