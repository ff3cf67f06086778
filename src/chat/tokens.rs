//! Session tokens: with one, a client comes back without its password.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::names::UserName;
use crate::transcript::BundleHash;

/// How long a token is good after its last use.
pub(super) const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Tokens of one account; one more, and the oldest goes.
pub(super) const MAX_TOKENS: usize = 64;

/// SHA-256 of a token: all that is kept of it. A token has 256 random bits, so nothing slower is needed, and looking it up in
/// a table tells nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(super) fn of(token: &[u8; 32]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// What a token stands for.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    pub(super) user: UserName,
    pub(super) bundle: BundleHash,
    end: Duration,
}

/// The tokens of all accounts.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    passes: HashMap<TokenHash, Pass>,
    /// Those of each account, the oldest first.
    accounts: HashMap<UserName, VecDeque<TokenHash>>,
}

impl Tokens {
    /// Keeps a token; gives those that go for it.
    pub(super) fn add(&mut self, now: Duration, token: TokenHash, user: UserName, bundle: BundleHash) -> Vec<Pass> {
        let mut gone = Vec::new();
        let own = self.accounts.entry(user.clone()).or_default();
        own.push_back(token);
        while own.len() > MAX_TOKENS {
            gone.extend(own.pop_front().and_then(|oldest| self.passes.remove(&oldest)));
        }
        self.passes.insert(token, Pass { user, bundle, end: now + LIFE });
        gone
    }

    /// What a token stands for; its life begins anew.
    pub(super) fn renew(&mut self, now: Duration, token: TokenHash) -> Option<Pass> {
        let pass = self.passes.get_mut(&token).filter(|pass| now < pass.end)?;
        pass.end = now + LIFE;
        Some(pass.clone())
    }

    /// Takes back one token.
    pub(super) fn revoke(&mut self, token: TokenHash) -> Option<Pass> {
        let pass = self.passes.remove(&token)?;
        if let Some(own) = self.accounts.get_mut(&pass.user) {
            own.retain(|other| *other != token);
            if own.is_empty() {
                self.accounts.remove(&pass.user);
            }
        }
        Some(pass)
    }

    /// Takes back all tokens of an account.
    pub(super) fn revoke_all(&mut self, user: &UserName) -> Vec<Pass> {
        let own = self.accounts.remove(user).unwrap_or_default();
        own.into_iter().filter_map(|token| self.passes.remove(&token)).collect()
    }

    /// Takes back all whose life has ended.
    pub(super) fn sweep(&mut self, now: Duration) -> Vec<Pass> {
        let ended = self.passes.iter().filter(|(_, pass)| pass.end <= now);
        let ended: Vec<_> = ended.map(|(token, _)| *token).collect();
        ended.into_iter().filter_map(|token| self.revoke(token)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.passes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);
    const BUNDLE: BundleHash = BundleHash([1; 32]);

    fn token(n: u8) -> TokenHash {
        TokenHash::of(&[n; 32])
    }

    fn bob() -> UserName {
        UserName::new("bob")
    }

    #[test]
    fn a_token_lives_for_a_day_after_its_last_use() {
        let mut tokens = Tokens::default();
        tokens.add(NOW, token(1), bob(), BUNDLE);
        let almost = LIFE - Duration::from_secs(1);
        let pass = tokens.renew(NOW + almost, token(1)).unwrap();
        assert_eq!((pass.user, pass.bundle), (bob(), BUNDLE));
        assert!(tokens.renew(NOW + almost * 2, token(1)).is_some());
        assert!(tokens.renew(NOW + almost * 2 + LIFE, token(1)).is_none());
        assert!(tokens.renew(NOW, token(2)).is_none());
    }

    #[test]
    fn those_whose_life_has_ended_are_swept_away() {
        let mut tokens = Tokens::default();
        tokens.add(NOW, token(1), bob(), BUNDLE);
        tokens.add(NOW + LIFE / 2, token(2), bob(), BUNDLE);
        assert!(tokens.sweep(NOW + LIFE / 2).is_empty());
        assert_eq!(tokens.sweep(NOW + LIFE).len(), 1);
        assert!(tokens.renew(NOW + LIFE, token(2)).is_some());
        assert_eq!(tokens.sweep(NOW + LIFE * 2).len(), 1);
        assert!(tokens.is_empty() && tokens.accounts.is_empty());
    }

    #[test]
    fn an_account_has_so_many_tokens_and_then_the_oldest_goes() {
        let mut tokens = Tokens::default();
        for n in 0..MAX_TOKENS as u8 {
            assert!(tokens.add(NOW, token(n), bob(), BUNDLE).is_empty());
        }
        tokens.add(NOW, token(100), UserName::new("eve"), BUNDLE);
        assert_eq!(tokens.add(NOW, token(101), bob(), BUNDLE).len(), 1);
        assert!(tokens.renew(NOW, token(0)).is_none());
        assert!([1, 100, 101].iter().all(|n| tokens.renew(NOW, token(*n)).is_some()));
    }

    #[test]
    fn what_is_taken_back_is_gone() {
        let mut tokens = Tokens::default();
        for n in 1..=3 {
            tokens.add(NOW, token(n), bob(), BUNDLE);
        }
        tokens.add(NOW, token(4), UserName::new("eve"), BUNDLE);
        assert!(tokens.revoke(token(1)).is_some() && tokens.revoke(token(1)).is_none());
        assert_eq!(tokens.revoke_all(&bob()).len(), 2);
        assert!((1..=3).all(|n| tokens.renew(NOW, token(n)).is_none()));
        assert!(tokens.renew(NOW, token(4)).is_some());
        tokens.revoke(token(4));
        assert!(tokens.passes.is_empty() && tokens.accounts.is_empty());
    }
}
