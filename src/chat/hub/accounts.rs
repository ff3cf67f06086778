//! Who a session is: log-ins, tokens, bundles, and what an account's owner changes.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use crate::chat::bundles::Known;
use crate::chat::hub::Hub;
use crate::chat::hub::creations::is_typable;
use crate::chat::hub::endings::Timer;
use crate::chat::hub::saving::{Outcome, Wanted};
use crate::chat::hub::session::{AccountChange, Attempt, Keys, MAX_KEYS, Member, Pending, State};
use crate::chat::throttle::Try;
use crate::chat::tokens::{LIFE, TokenHash};
use crate::chat::{Change, Effect, KnownBundle, SessionId, Subject, Verifier, Work};
use crate::names::{Password, Text, UserName};
use crate::protocol::Reply;
use crate::protocol::modern::{Answer, ByeReason, ErrorCode, NewToken, OkBody, SessionToken};
use crate::transcript::{BundleHash, RunId};

/// How often it is looked for tokens whose life has ended.
const SWEEP: Duration = Duration::from_secs(60 * 60);

impl Hub {
    /// Makes a session a user's; whoever it was before is gone from the room where it was. On the legacy wire without a
    /// notice, as the scripts have it.
    pub(super) fn become_user(&mut self, session: SessionId, user: UserName) {
        self.become_nobody(session);
        let keys = match self.is_modern(session) {
            true => Keys::None,
            false => Keys::Legacy { key: None, run: RunId(self.rng.random()) },
        };
        if let Some(found) = self.sessions.get_mut(&session) {
            found.state = State::LoggedIn(Member { user: user.clone(), keys });
            self.accounts.entry(user).or_default().push(session);
        }
    }

    /// Forgets who a session was. On the modern wire it is lost to its room.
    pub(super) fn become_nobody(&mut self, session: SessionId) {
        if self.is_modern(session) {
            self.lose(session);
        } else if let Some((room, entry)) = self.place_of(session) {
            self.step_out(session);
            self.unlist(&room, &entry);
            self.settle_members(&room);
        }
        self.forget_bundle(session);
        let Some(found) = self.sessions.get_mut(&session) else { return };
        found.since = self.now.elapsed;
        if let State::LoggedIn(Member { user, .. }) = std::mem::replace(&mut found.state, State::Guest)
            && let Some(sessions) = self.accounts.get_mut(&user)
        {
            sessions.retain(|other| *other != session);
            if sessions.is_empty() {
                self.accounts.remove(&user);
            }
        }
    }

    fn forget_bundle(&mut self, session: SessionId) {
        let bundle = self.member(session).and_then(Member::bundle).map(|(bundle, _)| bundle.hash);
        bundle.iter().for_each(|hash| self.bundles.release(&hash.0));
    }

    /// A token does what the log-in and the announcement did that it came from.
    pub(super) fn resume(&mut self, session: SessionId, token: &SessionToken, run: RunId) {
        let token = TokenHash::of(token.expose());
        let Some(pass) = self.tokens.renew(self.now.elapsed, token) else {
            return self.refuse(session, ErrorCode::BadToken);
        };
        let Some(Known::Modern(bundle)) = self.bundles.get(&pass.bundle.0).cloned() else {
            return self.refuse(session, ErrorCode::BadToken); // its bundle is held for as long as it lives
        };
        let takes_place =
            |other: SessionId| self.member(other).and_then(Member::bundle).is_some_and(|(_, taken)| taken == run);
        if self.has_too_many_sessions(session, &pass.user, takes_place) {
            return self.refuse(session, ErrorCode::TooManySessions);
        }
        self.become_user(session, pass.user.clone());
        self.set_bundle(session, bundle, run);
        self.modern_mut(session).into_iter().for_each(|modern| modern.token = Some(token));
        self.done(session, OkBody::Resume { user: pass.user, bundle: pass.bundle, expires: self.expiry() });
    }

    pub(super) fn announce_request(
        &mut self,
        session: SessionId,
        id: u64,
        run: RunId,
        hash: BundleHash,
        bundle: Result<Arc<KnownBundle>, String>,
    ) {
        self.heard(session);
        self.begin(session, id);
        match self.announce_refused(session, hash) {
            Some(code) => self.refuse(session, code),
            None => self.announce(session, run, bundle),
        }
        self.ready_unless_pending(session);
    }

    /// What stands against a bundle before anybody looks whether it is one. Broken ones count, too.
    fn announce_refused(&mut self, session: SessionId, hash: BundleHash) -> Option<ErrorCode> {
        if let Err(code) = self.may_announce(session) {
            return Some(code);
        }
        if self.room_of(session).is_some() {
            return Some(ErrorCode::InRoom);
        }
        let modern = self.modern_mut(session)?;
        if !modern.bundles.contains(&hash) {
            if modern.bundles.len() >= MAX_KEYS {
                return Some(ErrorCode::TooManyKeys);
            }
            modern.bundles.push(hash);
        }
        None
    }

    fn announce(&mut self, session: SessionId, run: RunId, bundle: Result<Arc<KnownBundle>, String>) {
        let bundle = match bundle {
            Ok(bundle) if self.user_of(session) == Some(&bundle.account) => bundle,
            Ok(_) => return self.refuse(session, ErrorCode::BadBundle), // it was checked for another account
            Err(why) => return self.refuse_bundle(session, &why),
        };
        let hash = bundle.hash;
        self.set_bundle(session, bundle, run);
        self.revoke_token(session);
        if let Some(token) = self.new_token(session, hash) {
            self.done(session, OkBody::Announce { bundle: hash, session: token });
        }
    }

    fn refuse_bundle(&mut self, session: SessionId, why: &str) {
        let Some(modern) = self.modern_mut(session) else { return };
        let answer = Answer::Error {
            id: Some(modern.request),
            code: ErrorCode::BadBundle,
            text: Text::sanitize(&format!("The server refused your keys: {why}.")),
        };
        self.effects.push(Effect::Answer(session, answer));
    }

    /// Gives a session its bundle. Another session that has the same run is over.
    fn set_bundle(&mut self, session: SessionId, bundle: Arc<KnownBundle>, run: RunId) {
        self.forget_bundle(session);
        let Some(user) = self.user_of(session).cloned() else { return };
        let has_run =
            |other: &SessionId| self.member(*other).and_then(Member::bundle).is_some_and(|(_, taken)| taken == run);
        let same_run: Vec<_> =
            self.sessions_of(&user).iter().copied().filter(|s| *s != session && has_run(s)).collect();
        same_run.into_iter().for_each(|other| self.end(other, ByeReason::Replaced));
        self.bundles.hold(bundle.hash.0, Known::Modern(Arc::clone(&bundle)));
        if let Some(State::LoggedIn(member)) = self.sessions.get_mut(&session).map(|found| &mut found.state) {
            member.keys = Keys::Bundle { bundle, run };
        }
    }

    /// The sessions of an account, in the order of their log-ins.
    pub(super) fn sessions_of(&self, user: &UserName) -> &[SessionId] {
        self.accounts.get(user).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether one more session would be too many for an account. The session itself is not counted, nor those that go for it.
    pub(super) fn has_too_many_sessions(
        &self,
        session: SessionId,
        user: &UserName,
        goes: impl Fn(SessionId) -> bool,
    ) -> bool {
        let stays = |other: &&SessionId| **other != session && !goes(**other);
        self.sessions_of(user).iter().filter(stays).count() >= self.limits.sessions_per_user
    }

    /// When a token ends that is used now, in milliseconds since 1970.
    fn expiry(&self) -> u64 {
        self.now.unix_ms.saturating_add(u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX))
    }

    /// Draws a token for a session.
    fn new_token(&mut self, session: SessionId, bundle: BundleHash) -> Option<NewToken> {
        let user = self.user_of(session)?.clone();
        let secret = SessionToken::new(self.rng.random());
        let token = TokenHash::of(secret.expose());
        let known = self.bundles.get(&bundle.0)?.clone();
        self.bundles.hold(bundle.0, known);
        let gone = self.tokens.add(self.now.elapsed, token, user, bundle);
        gone.iter().for_each(|pass| self.bundles.release(&pass.bundle.0));
        if !std::mem::replace(&mut self.sweeps, true) {
            self.timers.set(self.now.elapsed + SWEEP, Timer::Tokens);
        }
        self.modern_mut(session)?.token = Some(token);
        Some(NewToken { token: secret, expires: self.expiry() })
    }

    fn revoke_token(&mut self, session: SessionId) {
        let token = self.modern_mut(session).and_then(|modern| modern.token.take());
        let pass = token.and_then(|token| self.tokens.revoke(token));
        pass.iter().for_each(|pass| self.bundles.release(&pass.bundle.0));
    }

    /// Forgets the tokens whose life has ended. One call for all: a timer for each would outlive those that are revoked.
    pub(super) fn sweep_tokens(&mut self) {
        let ended = self.tokens.sweep(self.now.elapsed);
        ended.iter().for_each(|pass| self.bundles.release(&pass.bundle.0));
        self.sweeps = !self.tokens.is_empty();
        if self.sweeps {
            self.timers.set(self.now.elapsed + SWEEP, Timer::Tokens);
        }
    }

    pub(super) fn log_out(&mut self, session: SessionId) {
        self.leave_room(session);
        self.revoke_token(session);
        self.become_nobody(session);
        self.done(session, OkBody::Logout);
    }

    pub(super) fn change_password(&mut self, session: SessionId, old: Password, new: Password) {
        self.check_own(session, old, AccountChange::Password(new));
    }

    pub(super) fn change_account(&mut self, session: SessionId, password: Password, legacy: bool) {
        self.check_own(session, password, AccountChange::LegacyLogin(legacy));
    }

    pub(super) fn check_own(&mut self, session: SessionId, password: Password, change: AccountChange) {
        let Some(user) = self.user_of(session).cloned() else { return };
        let Some(against) = self.directory.users().get(&user).map(|account| account.password.clone()) else { return };
        let attempt = Attempt::Change(change.clone());
        if self.may_try(session, Try::Login(&user), &attempt, &password) {
            let verifier = Some(against.clone());
            self.work(session, Pending::CheckOwn { change, against }, Work::Check { password, verifier });
        }
    }

    pub(super) fn checked_own(&mut self, session: SessionId, change: AccountChange, against: Verifier, right: bool) {
        let Some(user) = self.user_of(session).cloned() else { return };
        if !right {
            self.throttle.failed(self.now.elapsed, session);
            return self.refuse(session, ErrorCode::WrongPassword);
        }
        self.try_passed(session, Some(&user));
        match change {
            AccountChange::Password(new) if is_typable(&new) => {
                self.work(session, Pending::HashOwn { instead_of: against }, Work::Hash(new));
            }
            AccountChange::Password(_) => self.refuse(session, ErrorCode::BadPassword),
            AccountChange::LegacyLogin(allowed) => {
                self.store_own(session, Change::SetLegacyLogin { user, allowed }, None);
            }
        }
    }

    pub(super) fn store_own_password(&mut self, session: SessionId, password: Verifier, instead_of: Verifier) {
        let Some(user) = self.user_of(session).cloned() else { return };
        self.store_own(session, Change::SetUserPassword { user, password }, Some(instead_of));
    }

    fn store_own(&mut self, session: SessionId, change: Change, instead_of: Option<Verifier>) {
        let wanted = Wanted { session: Some(session), change, instead_of };
        self.wait_for_store(session, Pending::StoreOwn, wanted);
    }

    /// Answers a session whose own account was to be changed.
    pub(super) fn settle_own(&mut self, session: SessionId, change: &Change, outcome: Outcome) {
        if outcome != Outcome::Made {
            return self.reply(session, Reply::NotSaved);
        }
        let body = match change {
            Change::SetUserPassword { user, .. } => OkBody::Passwd { session: self.renew_account(session, user) },
            Change::SetLegacyLogin { user, allowed: false } => {
                self.end_legacy(user);
                OkBody::Account
            }
            _ => OkBody::Account,
        };
        self.done(session, body);
    }

    /// With its password, an account loses all its sessions and tokens but the one that asked; that one gets another token.
    fn renew_account(&mut self, session: SessionId, user: &UserName) -> Option<NewToken> {
        self.overtake(&Subject::User(user.clone()));
        for pass in self.tokens.revoke_all(user) {
            self.bundles.release(&pass.bundle.0);
        }
        let others: Vec<_> = self.sessions_of(user).iter().copied().filter(|other| *other != session).collect();
        others.into_iter().for_each(|other| self.end(other, ByeReason::PasswordChanged));
        let (bundle, _) = self.member(session)?.bundle()?;
        self.new_token(session, bundle.hash)
    }

    /// An account takes legacy log-ins no more: those that there are end.
    pub(super) fn end_legacy(&mut self, user: &UserName) {
        let legacy: Vec<_> = self.sessions_of(user).iter().copied().filter(|other| !self.is_modern(*other)).collect();
        for session in legacy {
            self.reply(session, Reply::LegacyLoginOff);
            self.cut(session);
        }
    }
}
