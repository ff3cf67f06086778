//! Accounts and rooms, made before the server starts, so that neither hashing nor key generation is measured.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secure_chat::chat::{Change, Verifier};
use secure_chat::crypto::{Bundle, PrivateKey, SigningKey};
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::modern::BundleKeys;
use secure_chat::store::Store;
use secure_chat::transcript::{Realm, RoomId};

use crate::servers::Plan;

/// The password of every account and of every room.
pub(crate) const PASSWORD: &str = "pw";

/// Changes that are saved at once.
const GROUP: usize = 10_000;

pub(crate) fn user_name(account: usize) -> String {
    format!("u{account}")
}

pub(crate) fn room_name(room: usize) -> String {
    format!("bench{room}")
}

/// What clients need to log in. The keys of an account are signed when they are first asked for: some 0.7 ms each.
pub(crate) struct Accounts(Option<Keys>);

struct Keys {
    realm: Realm,
    signing: SigningKey,
    rsa: PrivateKey,
    signed: RefCell<HashMap<usize, BundleKeys>>,
}

impl Accounts {
    /// Of a server that knows nothing of keys.
    pub(crate) fn plain() -> Self {
        Self(None)
    }

    /// Makes the database of a server of ours in an empty folder; where it is not folded, all is in the journal still.
    ///
    /// A password costs `rounds` to check.
    pub(crate) fn create(dir: &Path, plan: Plan) -> Result<Self> {
        let Plan { accounts, rooms, folded, rounds, .. } = plan;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let verifier = Verifier::new(hash(rounds));
        let mut opened =
            Store::create(dir, verifier.clone(), now).context("the benchmark's database cannot be made")?;
        let users = (0..accounts)
            .map(|account| Change::AddUser { user: UserName::new(&user_name(account)), password: verifier.clone() });
        let rooms = (0..rooms).map(|room| Change::AddRoom {
            room: RoomName::new(&room_name(room)),
            password: verifier.clone(),
            id: RoomId((room as u128 + 1).to_be_bytes()),
            owner: None,
            modern_only: false,
        });
        let changes: Vec<_> = users.chain(rooms).collect();
        for group in changes.chunks(GROUP) {
            opened.store.commit(group, now).context("the benchmark's accounts cannot be saved")?;
        }
        if folded {
            opened.store.fold(now).context("the benchmark's accounts cannot be saved")?;
        }
        Self::of(opened.realm_key.verifying_key().realm())
    }

    /// Of a server that names itself so: with keys of its own.
    pub(crate) fn of(realm: Realm) -> Result<Self> {
        let rsa = PrivateKey::generate().context("an RSA key cannot be made")?;
        Ok(Self(Some(Keys { realm, signing: SigningKey::generate(), rsa, signed: RefCell::default() })))
    }

    pub(crate) fn realm(&self) -> Result<Realm> {
        Ok(self.some()?.realm)
    }

    /// What the client of this account announces on the modern wire. All share one RSA key, which no server minds.
    pub(crate) fn keys(&self, account: usize) -> Result<BundleKeys> {
        let Keys { realm, signing, rsa, signed } = self.some()?;
        if let Some(keys) = signed.borrow().get(&account) {
            return Ok(keys.clone());
        }
        let user = UserName::new(&user_name(account));
        let bundle = Bundle::sign(realm, &user, signing, rsa).context("a bundle cannot be signed")?;
        let keys = BundleKeys {
            signing_key: bundle.signing_key().bytes(),
            rsa_key: Arc::clone(bundle.rsa().spki_der()),
            signature: *bundle.signature(),
            rsa_signature: Arc::clone(bundle.rsa_signature()),
        };
        signed.borrow_mut().insert(account, keys.clone());
        Ok(keys)
    }

    /// The public key that legacy clients announce.
    pub(crate) fn public_pem(&self) -> Result<Arc<str>> {
        match &self.0 {
            Some(keys) => Ok(Arc::clone(keys.rsa.public().pem())),
            None => Ok(Arc::clone(PrivateKey::generate().context("an RSA key cannot be made")?.public().pem())),
        }
    }

    fn some(&self) -> Result<&Keys> {
        self.0.as_ref().context("these accounts were made without keys")
    }
}

/// The hash of [`PASSWORD`] as the store has it, of so many rounds.
fn hash(rounds: u32) -> String {
    let salt = [7; 16];
    let hash = pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(PASSWORD.as_bytes(), &salt, rounds);
    format!("$pbkdf2-sha256$i={rounds}${}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may fail loudly")]
mod tests {
    use super::*;
    use secure_chat::crypto::password::{Hasty, PasswordHash};
    use secure_chat::names::Password;

    #[test]
    fn the_hash_is_that_of_the_password() {
        for rounds in [1, 1000] {
            let hash = PasswordHash::parse(&hash(rounds)).unwrap();
            assert!(hash.verify::<Hasty>(&Password::new(PASSWORD)) && !hash.is_weak() && !hash.is_legacy());
        }
    }

    #[test]
    fn a_database_is_made_with_all_accounts_and_rooms() {
        let dir = tempfile::tempdir().unwrap();
        let accounts = Accounts::create(dir.path(), Plan { folded: false, ..Plan::new(20, 3) }).unwrap();
        let opened = Store::open(dir.path(), 0).unwrap();
        assert_eq!(opened.realm_key.verifying_key().realm(), accounts.some().unwrap().realm);
        assert!(accounts.keys(19).is_ok());
        assert!(Accounts::plain().keys(0).is_err());
    }
}
