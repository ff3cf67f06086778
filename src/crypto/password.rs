//! Password hashes, as text in the manner of the PHC string format.
//!
//! | form | meaning |
//! |---|---|
//! | `$pbkdf2-sha256$i=600000$<salt>$<hash>` | PBKDF2-HMAC-SHA256 (RFC 8018) of the password |
//! | `$pbkdf2-sha256-over-legacy$i=600000$<salt>$<hash>$<legacy salt>` | the same of the Python server's hash, in hex |
//! | `$legacy-sha256$<legacy salt>$<hex>` | the Python server's single round: SHA-256 of salt and password |
//! | `$legacy-plain$<base64>` | a room password as the Python server keeps it |
//!
//! Salts are 16 bytes, hashes 32, both in base64 without padding (the legacy salt: base64 of its text).

mod rounds;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::names::Password;

pub use rounds::{Hasty, Manners};

/// Rounds of PBKDF2 in a hash that is made today.
pub const ROUNDS: u32 = 600_000;

/// Most rounds that a stored hash may ask for: a damaged count must not stop the server for a day.
const MAX_ROUNDS: u32 = 10_000_000;

/// A text that is no password hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadHash;

impl fmt::Display for BadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a password hash")
    }
}

impl std::error::Error for BadHash {}

/// A stored password hash. Not printed.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// PBKDF2 of the password.
    Pbkdf2(Pbkdf2),
    /// PBKDF2 of the Python server's hash in hex, and that hash's salt.
    OverLegacy(Pbkdf2, String),
    /// The Python server's hash.
    LegacySha256 {
        /// 16 letters and digits, prepended to the password.
        salt: String,
        /// SHA-256 in hex.
        hash: String,
    },
    /// A room password of the Python server.
    LegacyPlain(String),
}

/// The parameters and the output of one PBKDF2.
#[derive(Clone, PartialEq, Eq)]
pub struct Pbkdf2 {
    rounds: u32,
    salt: [u8; 16],
    hash: [u8; 32],
}

impl Pbkdf2 {
    fn new<M: Manners>(secret: &[u8]) -> Self {
        let salt = rand::random();
        Self { rounds: ROUNDS, salt, hash: rounds::pbkdf2::<M>(secret, &salt, ROUNDS) }
    }

    fn verify<M: Manners>(&self, secret: &[u8]) -> bool {
        rounds::pbkdf2::<M>(secret, &self.salt, self.rounds).ct_eq(&self.hash).into()
    }

    fn parse<'a>(mut fields: impl Iterator<Item = &'a str>) -> Option<Self> {
        let rounds = fields.next()?.strip_prefix("i=")?.parse().ok()?;
        let salt = BASE64.decode(fields.next()?).ok()?.try_into().ok()?;
        let hash = BASE64.decode(fields.next()?).ok()?.try_into().ok()?;
        (1..=MAX_ROUNDS).contains(&rounds).then_some(Self { rounds, salt, hash })
    }
}

impl fmt::Display for Pbkdf2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i={}${}${}", self.rounds, BASE64.encode(self.salt), BASE64.encode(self.hash))
    }
}

impl PasswordHash {
    /// Hashes a new password: some 80 ms.
    pub fn new<M: Manners>(password: &Password) -> Self {
        Self::Pbkdf2(Pbkdf2::new::<M>(password.expose().as_bytes()))
    }

    /// A hash that no password has, for users who do not exist: checking it takes as long as checking a real one.
    pub fn of_nobody() -> Self {
        Self::Pbkdf2(Pbkdf2 { rounds: ROUNDS, salt: [0; 16], hash: [0; 32] })
    }

    /// Whether this is the password: some 80 ms, whatever the form, so that the form cannot be told from the time.
    pub fn verify<M: Manners>(&self, password: &Password) -> bool {
        let password = password.expose();
        match self {
            Self::Pbkdf2(pbkdf2) => pbkdf2.verify::<M>(password.as_bytes()),
            Self::OverLegacy(pbkdf2, salt) => pbkdf2.verify::<M>(legacy_hash(salt, password).as_bytes()),
            Self::LegacySha256 { salt, hash } => {
                spend_time::<M>(password);
                legacy_hash(salt, password).as_bytes().ct_eq(hash.as_bytes()).into()
            }
            Self::LegacyPlain(plain) => {
                spend_time::<M>(password);
                password.as_bytes().ct_eq(plain.as_bytes()).into()
            }
        }
    }

    /// Whether a single round, or none, is all that protects the password.
    pub fn is_weak(&self) -> bool {
        matches!(self, Self::LegacySha256 { .. } | Self::LegacyPlain(_))
    }

    /// Whether the password itself should be hashed again at the next chance.
    pub fn is_legacy(&self) -> bool {
        !matches!(self, Self::Pbkdf2(_))
    }

    /// The same secret under PBKDF2, as far as that can be done without the password: some 80 ms. `None` when it is already.
    pub fn strengthened<M: Manners>(&self) -> Option<Self> {
        match self {
            Self::LegacySha256 { salt, hash } => {
                Some(Self::OverLegacy(Pbkdf2::new::<M>(hash.as_bytes()), salt.clone()))
            }
            Self::LegacyPlain(plain) => Some(Self::Pbkdf2(Pbkdf2::new::<M>(plain.as_bytes()))),
            Self::Pbkdf2(_) | Self::OverLegacy(..) => None,
        }
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`BadHash`] when it is none.
    pub fn parse(text: &str) -> Result<Self, BadHash> {
        Self::parse_fields(text).ok_or(BadHash)
    }

    fn parse_fields(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix('$')?.split('$');
        let decoded = |field: Option<&str>| String::from_utf8(BASE64.decode(field?).ok()?).ok();
        let hash = match fields.next()? {
            "pbkdf2-sha256" => Self::Pbkdf2(Pbkdf2::parse(&mut fields)?),
            "pbkdf2-sha256-over-legacy" => Self::OverLegacy(Pbkdf2::parse(&mut fields)?, decoded(fields.next())?),
            "legacy-sha256" => Self::LegacySha256 { salt: decoded(fields.next())?, hash: fields.next()?.to_owned() },
            "legacy-plain" => Self::LegacyPlain(decoded(fields.next())?),
            _ => return None,
        };
        fields.next().is_none().then_some(hash)
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pbkdf2(pbkdf2) => write!(f, "$pbkdf2-sha256${pbkdf2}"),
            Self::OverLegacy(pbkdf2, salt) => write!(f, "$pbkdf2-sha256-over-legacy${pbkdf2}${}", BASE64.encode(salt)),
            Self::LegacySha256 { salt, hash } => write!(f, "$legacy-sha256${}${hash}", BASE64.encode(salt)),
            Self::LegacyPlain(plain) => write!(f, "$legacy-plain${}", BASE64.encode(plain)),
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// What the Python server stores: hex SHA-256 of salt and password.
fn legacy_hash(salt: &str, password: &str) -> String {
    let digest = Sha256::new().chain_update(salt).chain_update(password).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spend_time<M: Manners>(password: &str) {
    std::hint::black_box(rounds::pbkdf2::<M>(password.as_bytes(), &[0; 16], ROUNDS));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legacy() -> PasswordHash {
        let salt = "Ab3dEf6hIj9kLm2n".to_owned();
        PasswordHash::LegacySha256 { hash: legacy_hash(&salt, "secret"), salt }
    }

    #[test]
    fn every_form_takes_its_password_and_no_other_and_survives_its_text() {
        let secret = Password::new("secret");
        let plain = PasswordHash::LegacyPlain("secret".into());
        let forms = [
            PasswordHash::new::<Hasty>(&secret),
            legacy(),
            legacy().strengthened::<Hasty>().unwrap(),
            plain.strengthened::<Hasty>().unwrap(),
            plain,
        ];
        for form in forms {
            let form = PasswordHash::parse(&form.to_string()).unwrap();
            assert!(form.verify::<Hasty>(&secret), "{form}");
            assert!(!form.verify::<Hasty>(&Password::new("Secret")), "{form}");
            assert!(!format!("{form:?}").contains('$'));
        }
        assert!(!PasswordHash::of_nobody().verify::<Hasty>(&secret));
    }

    #[test]
    fn strengthening_leaves_no_single_round() {
        assert!(legacy().is_weak() && legacy().is_legacy());
        let strong = legacy().strengthened::<Hasty>().unwrap();
        assert!(!strong.is_weak() && strong.is_legacy() && strong.strengthened::<Hasty>().is_none());
        let room = PasswordHash::LegacyPlain("pw".into()).strengthened::<Hasty>().unwrap();
        assert!(!room.is_weak() && !room.is_legacy());
    }

    #[test]
    fn damaged_hashes_are_refused() {
        let good = PasswordHash::of_nobody().to_string();
        for bad in [
            "",
            "$",
            "plain",
            "$md5$x",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}$"),
            &good.replace("600000", "0"),
            &good.replace("600000", "4000000000"),
        ] {
            assert_eq!(PasswordHash::parse(bad), Err(BadHash), "{bad}");
        }
    }
}
