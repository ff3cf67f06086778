//! Bundles: an account's signing key and a device's RSA key, each vouching for the other.

use std::fmt;
use std::sync::Arc;

use crate::crypto::{KeyError, PrivateKey, PublicKey, SigningKey, VerifyingKey};
use crate::names::UserName;
use crate::transcript::{BundleHash, Ed25519Key, Realm, Signature, bundle};

/// What is wrong with a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadBundle {
    /// The signing key is none.
    SigningKey,
    /// The RSA key is none that is taken.
    RsaKey(KeyError),
    /// The signing key did not sign it.
    Signature,
    /// The RSA key did not sign it.
    RsaSignature,
}

impl fmt::Display for BadBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SigningKey => f.write_str("the signing key is not an Ed25519 public key"),
            Self::RsaKey(error) => write!(f, "the RSA key is not taken: {error}"),
            Self::Signature => f.write_str("the signing key did not sign it"),
            Self::RsaSignature => f.write_str("the RSA key did not sign it"),
        }
    }
}

impl std::error::Error for BadBundle {}

/// A bundle whose two signatures hold.
#[derive(Debug, Clone)]
pub struct Bundle {
    account: UserName,
    signing_key: VerifyingKey,
    rsa: PublicKey,
    signature: Signature,
    rsa_signature: Arc<[u8]>,
    hash: BundleHash,
}

impl Bundle {
    /// Makes the bundle of an account on a device.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library refuses to sign, which no checked key makes it do.
    pub fn sign(realm: &Realm, account: &UserName, key: &SigningKey, rsa: &PrivateKey) -> Result<Self, KeyError> {
        let bytes = bundle(realm, account, &key.verifying_key().bytes(), rsa.public().spki_der());
        Ok(Self {
            account: account.clone(),
            signing_key: key.verifying_key(),
            rsa: rsa.public().clone(),
            signature: key.sign(&bytes),
            rsa_signature: rsa.sign_pss(&bytes)?.into(),
            hash: BundleHash::of(&bytes),
        })
    }

    /// Checks a bundle as it came; `spki` is the RSA key's DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`BadBundle`] says what is wrong with it.
    pub fn verify(
        realm: &Realm,
        account: &UserName,
        signing_key: &Ed25519Key,
        spki: &[u8],
        signature: &Signature,
        rsa_signature: &[u8],
    ) -> Result<Self, BadBundle> {
        let key = VerifyingKey::parse(signing_key).map_err(|_| BadBundle::SigningKey)?;
        let rsa = PublicKey::from_spki_der(spki).map_err(BadBundle::RsaKey)?;
        let bytes = bundle(realm, account, signing_key, spki);
        if !key.verify(&bytes, signature) {
            return Err(BadBundle::Signature);
        }
        if !rsa.verify_pss(&bytes, rsa_signature) {
            return Err(BadBundle::RsaSignature);
        }
        let (account, hash) = (account.clone(), BundleHash::of(&bytes));
        Ok(Self { account, signing_key: key, rsa, signature: *signature, rsa_signature: rsa_signature.into(), hash })
    }

    /// Whose it is.
    pub fn account(&self) -> &UserName {
        &self.account
    }

    /// The account's key.
    pub fn signing_key(&self) -> &VerifyingKey {
        &self.signing_key
    }

    /// The device's key.
    pub fn rsa(&self) -> &PublicKey {
        &self.rsa
    }

    /// The signing key's signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The RSA key's signature, as long as its modulus.
    pub fn rsa_signature(&self) -> &Arc<[u8]> {
        &self.rsa_signature
    }

    /// What names it.
    pub fn hash(&self) -> BundleHash {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_holds_as_it_was_made_and_in_no_other_way() {
        let (realm, alice) = (Realm([1; 32]), UserName::new("alice"));
        let [rsa, other_rsa] = [(); 2].map(|()| PrivateKey::generate().unwrap());
        let [key, other_key] = [(); 2].map(|()| SigningKey::generate());
        let good = Bundle::sign(&realm, &alice, &key, &rsa).unwrap();
        let check = |realm, account, signing_key, rsa: &PublicKey, signature, rsa_signature| {
            Bundle::verify(realm, account, signing_key, rsa.spki_der(), signature, rsa_signature).map(|b| b.hash())
        };
        let (public, signature, rsa_signature) = (good.signing_key().bytes(), good.signature(), good.rsa_signature());
        let verified = check(&realm, &alice, &public, good.rsa(), signature, rsa_signature);
        assert_eq!(verified, Ok(good.hash()));

        let elsewhere = check(&Realm([2; 32]), &alice, &public, good.rsa(), signature, rsa_signature);
        assert_eq!(elsewhere, Err(BadBundle::Signature));
        let eve = UserName::new("eve");
        assert_eq!(check(&realm, &eve, &public, good.rsa(), signature, rsa_signature), Err(BadBundle::Signature));
        let other = other_key.verifying_key().bytes();
        assert_eq!(check(&realm, &alice, &other, good.rsa(), signature, rsa_signature), Err(BadBundle::Signature));
        let swapped = check(&realm, &alice, &public, other_rsa.public(), signature, rsa_signature);
        assert_eq!(swapped, Err(BadBundle::Signature));
        let small = Ed25519Key([0; 32]);
        assert_eq!(check(&realm, &alice, &small, good.rsa(), signature, rsa_signature), Err(BadBundle::SigningKey));
        // A device's key cannot be claimed without it: the RSA key must have signed, too.
        let bytes = bundle(&realm, &alice, &public, rsa.public().spki_der());
        let forged = other_rsa.sign_pss(&bytes).unwrap();
        assert_eq!(check(&realm, &alice, &public, good.rsa(), signature, &forged), Err(BadBundle::RsaSignature));
        let no_key = Bundle::verify(&realm, &alice, &public, b"key", signature, rsa_signature);
        assert_eq!(no_key.err(), Some(BadBundle::RsaKey(KeyError::Malformed)));
    }
}
