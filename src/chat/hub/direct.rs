//! Direct messages: from one account to the sessions of another, and to the others of its own.

use std::collections::HashSet;
use std::sync::Arc;

use crate::chat::hub::Hub;
use crate::chat::{Audience, Effect, SessionId};
use crate::names::UserName;
use crate::protocol::modern::{
    DirectBody, DirectEvent, DirectRequest, ErrorCode, Event, MAX_ENCRYPTED_MESSAGE, MAX_SESSIONS, OkBody, Reader,
    fits, json_len,
};

impl Hub {
    pub(super) fn sessions(&mut self, session: SessionId, user: &UserName) {
        match self.readers_for(session, user) {
            Err(code) => self.refuse(session, code),
            Ok((recipient, own)) => {
                let readers = |sessions: Vec<(SessionId, Reader)>| sessions.into_iter().map(|(_, r)| r).collect();
                let (recipient, own) = (readers(recipient), readers(own));
                self.done(session, OkBody::Sessions { user: user.clone(), recipient, own });
            }
        }
    }

    /// The sessions that a direct message is for: the recipient's, and the sender's own.
    #[allow(clippy::type_complexity, reason = "two lists of one kind")]
    fn readers_for(
        &self,
        session: SessionId,
        user: &UserName,
    ) -> Result<(Vec<(SessionId, Reader)>, Vec<(SessionId, Reader)>), ErrorCode> {
        if !self.directory.users().contains_key(user) {
            return Err(ErrorCode::NoSuchUser);
        }
        let recipient = self.modern_sessions(user);
        if recipient.is_empty() {
            return Err(ErrorCode::Offline);
        }
        let own = self.user_of(session).map(|own| self.modern_sessions(own)).unwrap_or_default();
        Ok((recipient, own))
    }

    fn modern_sessions(&self, user: &UserName) -> Vec<(SessionId, Reader)> {
        let reader = |session: &SessionId| {
            let (bundle, run) = self.member(*session)?.bundle()?;
            Some((*session, Reader { bundle: bundle.hash, run }))
        };
        self.sessions_of(user).iter().rev().filter_map(reader).take(MAX_SESSIONS).collect()
    }

    pub(super) fn direct(&mut self, session: SessionId, direct: DirectRequest) {
        let Some(author) = self.author(session) else { return };
        let user = self.directory.stored_user(&direct.user);
        let sessions = match self.readers_for(session, &user) {
            Err(code) => return self.refuse(session, code),
            Ok((recipient, own)) => recipient.into_iter().chain(own).collect::<Vec<_>>(),
        };
        if !is_for(&direct.body, &sessions) {
            return self.refuse(session, ErrorCode::ReadersChanged);
        }
        let too_large = json_len(&direct.body.encrypted_message) > MAX_ENCRYPTED_MESSAGE;
        let time = self.now.unix_ms;
        let event = Event::Direct(DirectEvent { author, recipient: user, time, body: direct.body });
        if too_large || !fits(&event) {
            return self.refuse(session, ErrorCode::TooLarge);
        }
        let mut of: Vec<_> = sessions.into_iter().map(|(reader, _)| reader).collect();
        of.sort_unstable();
        of.dedup();
        let audience = Audience::All { of: Arc::new(of), except: Some(session) };
        self.effects.push(Effect::Tell(audience, Box::new(event)));
        self.done(session, OkBody::Direct { time });
    }
}

/// Whether a message names just these readers, each once, and has a key for each of their bundles.
fn is_for(body: &DirectBody, sessions: &[(SessionId, Reader)]) -> bool {
    let expected: HashSet<_> = sessions.iter().map(|(_, reader)| *reader).collect();
    let named: HashSet<_> = body.readers.iter().copied().collect();
    let bundles: HashSet<_> = expected.iter().map(|reader| reader.bundle).collect();
    let has_keys = body.wraps.len() == bundles.len() && body.wraps.keys().all(|bundle| bundles.contains(bundle));
    named == expected && named.len() == body.readers.len() && has_keys
}
