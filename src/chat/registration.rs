//! Who may make an account.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::names::Password;

/// Who may make an account. god always may, once logged in.
#[derive(Debug, Clone, Default)]
pub enum Registration {
    /// Anybody.
    #[default]
    Open,
    /// Who has one of these tokens.
    Token(RegistrationTokens),
    /// Nobody.
    Closed,
}

/// What the operator gives to those who may make an account: as SHA-256 alone. Not printed.
#[derive(Clone)]
pub struct RegistrationTokens(Vec<[u8; 32]>);

impl RegistrationTokens {
    /// These tokens.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a Password>) -> Self {
        Self(tokens.into_iter().map(digest).collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none, so that nobody can make an account.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is one of them. All are compared, each in constant time.
    pub(super) fn hold(&self, token: &Password) -> bool {
        let typed = digest(token);
        self.0.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&typed)).into()
    }
}

impl fmt::Debug for RegistrationTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistrationTokens({})", self.0.len())
    }
}

fn digest(token: &Password) -> [u8; 32] {
    Sha256::digest(token.expose()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_known_and_no_other_and_none_is_printed() {
        let [one, two, other] = ["one", "two", "three"].map(Password::new);
        let tokens = RegistrationTokens::new([&one, &two]);
        assert!(tokens.hold(&one) && tokens.hold(&two));
        assert!(!tokens.hold(&other) && !tokens.hold(&Password::new("")) && !tokens.hold(&Password::new("one ")));
        assert_eq!((tokens.len(), format!("{tokens:?}")), (2, "RegistrationTokens(2)".to_owned()));
        assert!(!RegistrationTokens::new([]).hold(&one));
    }
}
