//! The legacy wire: a TLS record is a message (`docs/PROTOCOL.md`).

use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use rustls::ClientConnection;

use super::{Heard, Identity, Out, Stage, Wire};
use crate::accounts::{PASSWORD, user_name};
use crate::payload::Stamps;
use crate::target::Target;

/// Most bytes that a Python peer takes for one message.
const PYTHON_LIMIT: usize = 4096;

/// What a package has around its token when it has no keys and a room with a short name, in bytes.
pub(crate) const AROUND_TOKEN: usize = 65;

/// What stands between entries.
const SEPARATOR: &str = ", ";

/// Entries of `encrypted_keys`, as they stand in the package: for each place in a room, in as many parts as the server's
/// wire needs.
pub(crate) struct WrappedKeys {
    parts: Vec<String>,
}

impl WrappedKeys {
    /// A package without entries.
    pub(crate) fn none() -> Self {
        Self { parts: vec![String::new()] }
    }

    /// Entries for all members of a room, for texts of so many bytes. No server looks at their content: 256 bytes in base64, as
    /// RSA-2048 has them.
    pub(crate) fn for_room(members: usize, text: usize, target: Target) -> Self {
        let left = PYTHON_LIMIT.saturating_sub(text + AROUND_TOKEN + SEPARATOR.len());
        let limit = if target == Target::PythonKeys { left } else { usize::MAX };
        let mut parts = vec![String::new()];
        for member in 0..members {
            let entry = entry(member);
            match parts.last_mut() {
                Some(part) if part.is_empty() => part.push_str(&entry),
                Some(part) if part.len() + entry.len() < limit => {
                    part.push_str(SEPARATOR);
                    part.push_str(&entry);
                }
                _ => parts.push(entry),
            }
        }
        Self { parts }
    }

    fn is_none(&self) -> bool {
        self.parts.iter().all(String::is_empty)
    }
}

/// The key of an entry: the account's name, which in a benchmark with entries is the place in the only room.
fn entry(member: usize) -> String {
    let bytes: Vec<u8> = (0..256_usize).map(|i| (i * 31 + member * 17) as u8).collect();
    format!("\"{}\": \"{}\"", user_name(member), STANDARD.encode(bytes))
}

/// A legacy client.
pub(super) struct Legacy {
    identity: Identity,
    wrapped: Rc<WrappedKeys>,
    /// How its own entry begins, when the packages have entries.
    own: Option<String>,
    /// What it announces, if it does.
    key: Option<Arc<str>>,
    probing: bool,
    stage: Stage,
    stamps: Rc<Stamps>,
}

impl Legacy {
    pub(super) fn new(
        identity: Identity,
        members: usize,
        wrapped: Rc<WrappedKeys>,
        key: Option<Arc<str>>,
        probing: bool,
        stamps: Rc<Stamps>,
    ) -> Self {
        let own = (!wrapped.is_none()).then(|| format!("\"{}\":", user_name(identity.index % members.max(1))));
        Self { identity, wrapped, own, key, probing, stage: Stage::Dialing, stamps }
    }

    fn announce(&self, out: &mut Out) {
        if let Some(pem) = &self.key {
            out.say(format!("PUBKEY::{}::{pem}", self.identity.user));
        }
    }

    fn reach(&mut self, stage: Stage, heard: &mut Heard) {
        self.stage = stage;
        heard.stage = Some(stage);
    }

    fn package(&self, package: &[u8], heard: &mut Heard) {
        // Of a message that came in parts, the one counts that can be read.
        if self.own.as_ref().is_none_or(|own| memmem::find(package, own.as_bytes()).is_some()) {
            heard.stamps.extend(self.stamps.find(package));
        }
    }

    fn text(&mut self, text: &str, heard: &mut Heard) {
        let user = &self.identity.user;
        match self.stage {
            Stage::Dialing if text == "Unknown command." => self.reach(Stage::Connected, heard),
            Stage::Connected if text == format!("Login successful. Welcome, {user}!") => {
                self.reach(Stage::LoggedIn, heard);
            }
            Stage::LoggedIn if text == format!("{user} joined the chat!") => self.reach(Stage::Joined, heard),
            _ if text.ends_with(" joined the chat!") || text.ends_with(" left the chat.") => {}
            _ if text.starts_with("PUBKEY::") => {}
            _ => heard.fail(text),
        }
    }
}

impl Wire for Legacy {
    fn begin(&mut self, _: &ClientConnection, heard: &mut Heard, out: &mut Out) {
        if self.probing {
            out.say("CMD::/bench");
        } else {
            self.reach(Stage::Connected, heard);
        }
    }

    fn login(&mut self, out: &mut Out) {
        out.say(format!("CMD::/login {} {PASSWORD}", self.identity.user));
        self.announce(out);
    }

    fn join(&mut self, out: &mut Out) {
        out.say(format!("CMD::/join {} {PASSWORD}", self.identity.room));
        self.announce(out);
    }

    fn say(&mut self, text: &str, out: &mut Out) {
        for keys in &self.wrapped.parts {
            let mut package = String::with_capacity(text.len() + keys.len() + AROUND_TOKEN);
            // Writing to memory cannot fail.
            let _ = write!(
                package,
                "{{\"encrypted_message\": \"{text}\", \"encrypted_keys\": {{{keys}}}, \"room\": \"{}\"}}",
                self.identity.room
            );
            out.say(package);
        }
    }

    fn ping(&mut self, _: &mut Out) {} // the wire has nothing for it, and needs nothing

    fn hear(&mut self, record: &[u8], heard: &mut Heard, _: &mut Out) {
        match str::from_utf8(record) {
            _ if record.starts_with(b"{") => self.package(record, heard),
            Ok(text) => self.text(text, heard),
            Err(_) => heard.fail("a record that is not UTF-8"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Stamp;

    fn legacy(index: usize, target: Target) -> Legacy {
        let identity = Identity { index, user: user_name(index), room: "bench0".into() };
        let wrapped = if target.has_keys() {
            WrappedKeys::for_room(100, 700 - AROUND_TOKEN, target)
        } else {
            WrappedKeys::none()
        };
        Legacy::new(identity, 100, Rc::new(wrapped), None, false, Rc::new(Stamps::new()))
    }

    fn said(target: Target) -> Vec<Vec<u8>> {
        let mut out = Out::default();
        legacy(0, target).say(&Stamp { sender: 0, number: 1, time: 2 }.to_text(700 - AROUND_TOKEN), &mut out);
        out.0
    }

    #[test]
    fn a_package_without_keys_has_the_size_that_was_asked_for() {
        let packages = said(Target::Legacy);
        assert_eq!(packages.iter().map(Vec::len).collect::<Vec<_>>(), [700]);
        let package = secure_chat::protocol::Package::from_json(&String::from_utf8_lossy(&packages.concat()));
        assert!(package.is_ok_and(|package| package.encrypted_message.len() == 700 - AROUND_TOKEN));
    }

    #[test]
    fn each_member_reads_a_message_once_whether_it_comes_in_parts_or_not() {
        for (target, parts) in [(Target::LegacyKeys, 1..2), (Target::PythonKeys, 10..20)] {
            let packages = said(target);
            assert!(parts.contains(&packages.len()), "{target:?}: {} parts", packages.len());
            assert!(target == Target::LegacyKeys || packages.iter().all(|package| package.len() <= PYTHON_LIMIT));
            for index in [1, 10, 99] {
                let mut heard = Heard::default();
                let mut member = legacy(index, target);
                packages.iter().for_each(|package| member.hear(package, &mut heard, &mut Out::default()));
                assert_eq!(heard.stamps.len(), 1, "{target:?}, member {index}");
            }
        }
    }

    #[test]
    fn what_a_server_says_is_understood() {
        let (mut member, mut heard, mut out) = (legacy(7, Target::Legacy), Heard::default(), Out::default());
        member.reach(Stage::Connected, &mut heard);
        for (text, stage) in [
            ("Login successful. Welcome, u7!", Stage::LoggedIn),
            ("u8 joined the chat!", Stage::LoggedIn),
            ("u7 joined the chat!", Stage::Joined),
            ("u8 left the chat.", Stage::Joined),
        ] {
            member.hear(text.as_bytes(), &mut heard, &mut out);
            assert_eq!((heard.stage, heard.failure.as_deref()), (Some(stage), None), "{text}");
        }
        member.hear(b"Incorrect room password.", &mut heard, &mut out);
        assert_eq!(heard.failure.as_deref(), Some("Incorrect room password."));
    }
}
