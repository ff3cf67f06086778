use ed25519_dalek::Verifier;
use pkcs8::EncodePublicKey;
use pkcs8::der::asn1::OctetStringRef;

use super::*;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

/// The public keys of order 1, 2, 4 and 8, and the other ways to write them.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

#[test]
fn the_published_vector_is_reproduced() {
    // RFC 8032, section 7.1, test 2.
    let key = SigningKey::from_seed(&hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
    let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let signature = hex(concat!(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    ));
    assert_eq!(key.verifying_key().bytes(), Ed25519Key(public));
    assert_eq!(key.sign(&[0x72]), Signature(signature));
    assert!(key.verifying_key().verify(&[0x72], &Signature(signature)));
}

#[test]
fn a_signature_holds_for_its_message_and_key_alone() {
    let key = SigningKey::generate();
    let signature = key.sign(b"message");
    assert!(key.verifying_key().verify(b"message", &signature));
    assert!(!key.verifying_key().verify(b"massage", &signature));
    assert!(!SigningKey::generate().verifying_key().verify(b"message", &signature));
    for bit in 0..512 {
        let mut changed = signature;
        changed.0[bit / 8] ^= 1 << (bit % 8);
        assert!(!key.verifying_key().verify(b"message", &changed), "{bit}");
    }
}

/// s and s + ℓ are the same number for the curve.
#[test]
fn a_signature_has_no_second_form() {
    let key = SigningKey::generate();
    let mut signature = key.sign(b"message");
    let order: [u8; 32] = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0;
    for (byte, add) in signature.0[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert!(!key.verifying_key().verify(b"message", &signature));
}

#[test]
fn an_r_of_small_order_is_refused() {
    let key = SigningKey::from_seed(&[7; 32]);
    let mut signature = Signature([0; 64]);
    signature.0[0] = 1; // R is the neutral element, s = H(R, key, message) · secret
    let s = hex::<32>("d4c5323131ff9683cfb3d30197c786c9043f1052d6c2d5293f19d6f36b911104");
    signature.0[32..].copy_from_slice(&s);
    let lax = ed25519_dalek::Signature::from_bytes(&signature.0);
    assert!(key.verifying_key().0.verify(b"message", &lax).is_ok(), "the vector must fulfil the equation");
    assert!(!key.verifying_key().verify(b"message", &signature));
}

#[test]
fn keys_of_small_order_are_refused() {
    for key in SMALL_ORDER {
        assert_eq!(VerifyingKey::parse(&Ed25519Key(hex(key))), Err(BadVerifyingKey), "{key}");
    }
}

/// y and y + p are the same number, as long as the sum fits into 255 bits.
#[test]
fn keys_in_another_form_are_refused() {
    let mut points = 0;
    for (low, sign) in (0xed..=0xff).flat_map(|low| [(low, 0x7f), (low, 0xff)]) {
        let mut key = [0xff; 32];
        (key[0], key[31]) = (low, sign);
        points += usize::from(ed25519_dalek::VerifyingKey::from_bytes(&key).is_ok_and(|key| !key.is_weak()));
        assert_eq!(VerifyingKey::parse(&Ed25519Key(key)), Err(BadVerifyingKey));
    }
    assert!(points > 0, "some of them must be points of large order");
    assert_eq!(VerifyingKey::parse(&Ed25519Key([2; 32])), Err(BadVerifyingKey), "no point at all");
}

#[test]
fn a_public_key_survives_its_text() {
    let key = SigningKey::generate().verifying_key();
    assert_eq!(VerifyingKey::parse(&key.bytes()), Ok(key));
    let json = serde_json::to_string(&key).unwrap();
    assert_eq!(json, format!("\"{key}\""));
    assert_eq!(serde_json::from_str::<VerifyingKey>(&json).unwrap(), key);
    assert!(serde_json::from_str::<VerifyingKey>(&format!("\"{}\"", Ed25519Key(hex(SMALL_ORDER[0])))).is_err());
    assert_eq!(key.fingerprint(), Fingerprint::of(key.0.to_public_key_der().unwrap().as_bytes()));
    assert_eq!(key.realm().0, key.bytes().0);
}

#[test]
fn a_key_survives_its_files() {
    let (key, passphrase) = (SigningKey::generate(), Password::new("correct horse"));
    let pem = key.to_pem().unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!(SigningKey::from_pem(&pem).unwrap().expose_seed(), key.expose_seed());
    let with_public = key.secret.to_pkcs8_pem(LineEnding::CRLF).unwrap();
    assert_eq!(SigningKey::from_pem(&with_public).unwrap().expose_seed(), key.expose_seed());

    let encrypted = key.to_encrypted_pem(&passphrase).unwrap();
    assert!(encrypted.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    assert_eq!(SigningKey::from_encrypted_pem(&encrypted, &passphrase).unwrap().expose_seed(), key.expose_seed());
    let refusal = |pem: &str, passphrase: &str| SigningKey::from_encrypted_pem(pem, &Password::new(passphrase)).err();
    assert_eq!(refusal(&encrypted, "Correct horse"), Some(SigningKeyError::Passphrase));
    assert_eq!(refusal(&pem, "correct horse"), Some(SigningKeyError::Malformed));
    assert_eq!(SigningKey::from_pem(&encrypted).err(), Some(SigningKeyError::Malformed));
    assert_ne!(key.to_encrypted_pem(&passphrase).unwrap(), encrypted);
}

#[test]
fn what_is_no_key_file_is_refused() {
    let rsa = crate::crypto::PrivateKey::generate().unwrap();
    let other_public = {
        let (key, other) = (SigningKey::generate(), SigningKey::generate());
        let public_key = Some(ed25519_dalek::pkcs8::PublicKeyBytes(other.verifying_key().bytes().0));
        let bytes = KeypairBytes { secret_key: *key.expose_seed(), public_key };
        bytes.to_pkcs8_pem(LineEnding::LF).unwrap()
    };
    let long = "A".repeat(1 << 20);
    for bad in ["", "hello", rsa.expose_pem(), rsa.public().pem(), &other_public, &long] {
        assert_eq!(SigningKey::from_pem(bad).err(), Some(SigningKeyError::Malformed));
        let encrypted = SigningKey::from_encrypted_pem(bad, &Password::new("x"));
        assert_eq!(encrypted.err(), Some(SigningKeyError::Malformed));
    }
}

/// An encrypted key of noise, with the given cost.
fn noise_under(n: u64, r: u16, p: u16, key_length: Option<u16>, len: usize) -> Option<SigningKeyError> {
    let kdf = Kdf::Scrypt(ScryptParams {
        salt: Salt::new([1; 16]).unwrap(),
        cost_parameter: n,
        block_size: r,
        parallelization: p,
        key_length,
    });
    let scheme = pbes2::Parameters { kdf, encryption: pbes2::EncryptionScheme::Aes256Cbc { iv: [2; 16] } };
    let encrypted_data = OctetStringRef::new(&[3; 64][..len]).unwrap();
    let info = EncryptedPrivateKeyInfoRef { encryption_algorithm: scheme.into(), encrypted_data };
    let pem = SecretDocument::try_from(&info).unwrap().to_pem(ENCRYPTED_PEM_LABEL, LineEnding::LF).unwrap();
    SigningKey::from_encrypted_pem(&pem, &Password::new("x")).err()
}

#[test]
fn a_file_that_would_take_long_or_all_memory_is_refused_at_once() {
    for (n, r, p) in [
        (1 << 40, 8, 1),
        (1 << 14, 8, 17),
        (1 << 63, 65535, 65535),
        (1 << 18, 8, 1),
        (1 << 17, 8, 9),
        (2, 65535, 65535),
        (0, 8, 1),
        (3, 8, 1),
    ] {
        assert_eq!(noise_under(n, r, p, None, 64), Some(SigningKeyError::Encryption), "{n} {r} {p}");
    }
}

#[test]
fn nonsense_within_the_limits_is_refused_without_a_panic() {
    for (n, r, p, key_length, len) in [
        (16, 1, 1, None, 64),
        (16, 1, 1, None, 0),
        (16, 1, 1, None, 15),
        (1, 1, 1, None, 64),
        (16, 0, 1, None, 64),
        (16, 1, 0, None, 64),
        (16, 1, 1, Some(0), 64),
        (16, 1, 1, Some(16), 64),
        (16, 1, 1, Some(65535), 64),
    ] {
        let refusal = noise_under(n, r, p, key_length, len);
        assert_eq!(refusal, Some(SigningKeyError::Passphrase), "{n} {r} {p} {key_length:?} {len}");
    }
}

#[test]
fn a_damaged_file_is_refused_without_a_panic() {
    let passphrase = Password::new("x");
    let seed = *SigningKey::generate().expose_seed();
    let encrypted = {
        let key = KeypairBytes { secret_key: seed, public_key: None }.to_pkcs8_der().unwrap();
        let kdf = Kdf::Scrypt(ScryptParams {
            salt: Salt::new([1; 16]).unwrap(),
            cost_parameter: 16,
            block_size: 1,
            parallelization: 1,
            key_length: None,
        });
        let scheme = pbes2::Parameters { kdf, encryption: pbes2::EncryptionScheme::Aes256Cbc { iv: [2; 16] } };
        let key = PrivateKeyInfoRef::try_from(key.as_bytes()).unwrap();
        key.encrypt_with_params(scheme, "x").unwrap()
    };
    for at in 0..encrypted.as_bytes().len() {
        for flip in [1, 0x80, 0xff] {
            let mut der = encrypted.as_bytes().to_vec();
            der[at] ^= flip;
            let Ok(document) = SecretDocument::try_from(der) else { continue };
            let pem = document.to_pem(ENCRYPTED_PEM_LABEL, LineEnding::LF).unwrap();
            if let Ok(key) = SigningKey::from_encrypted_pem(&pem, &passphrase) {
                assert_eq!(key.expose_seed().len(), 32);
            }
        }
    }
}
