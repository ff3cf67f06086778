//! What members on the legacy wire say: keys and packages; and what they are told of keys.

use std::collections::HashSet;
use std::sync::Arc;

use crate::chat::bundles::{Known, hash_of};
use crate::chat::hub::Hub;
use crate::chat::hub::session::{Keys, MAX_KEYS, Member, State, Wire};
use crate::chat::{Effect, RsaKey, SessionId};
use crate::names::{RoomName, UserName};
use crate::protocol::legacy::MAX_OUTBOUND;
use crate::protocol::modern::{MAX_ENCRYPTED_MESSAGE, json_len};
use crate::protocol::{KeyAnnouncement, Package, PackageError, Reply, ServerMessage};
use crate::transcript::RosterEntry;

impl Hub {
    /// The newcomer gets the keys of those in the room, before its own notice; those get the newcomer's.
    pub(super) fn exchange_keys(&mut self, newcomer: SessionId, room: &RoomName, came: bool) {
        let others = self.legacy_others(newcomer, room);
        let of_legacy = others.iter().filter_map(|other| self.member(*other)?.announcement());
        let mut given = HashSet::new();
        // One user's sessions may share a key.
        let keys: Vec<_> = of_legacy
            .chain(self.keys_of_modern(room))
            .filter(|key| given.insert((key.user.clone(), Arc::clone(&key.pem))))
            .collect();
        self.effects.extend(keys.into_iter().map(|key| Effect::Send(newcomer, ServerMessage::Key(key))));
        if came {
            let own = self.member(newcomer).and_then(Member::announcement);
            self.tell_key(newcomer, room, own);
        }
    }

    /// The RSA keys of those who are listed on the modern wire, the away ones among them: they may return without a notice.
    fn keys_of_modern(&self, room: &RoomName) -> impl Iterator<Item = KeyAnnouncement> {
        let roster = self.rooms.get(room).into_iter().flat_map(|live| live.roster.iter());
        roster.filter_map(|listed| {
            listed.entry.key.bundle()?;
            let Some(Known::Modern(bundle)) = self.bundles.get(&hash_of(&listed.entry.key)?) else { return None };
            Some(KeyAnnouncement { user: listed.entry.account.clone(), pem: bundle.pem() })
        })
    }

    /// Tells the others on the legacy wire a member's key.
    pub(super) fn tell_key(&mut self, session: SessionId, room: &RoomName, key: Option<KeyAnnouncement>) {
        let others = self.legacy_others(session, room);
        key.into_iter().for_each(|key| self.deliver(others.clone(), ServerMessage::Key(key)));
    }

    /// A key counts only from the logged-in session of its user. The Python client announces one after every `/login`,
    /// whether or not that worked, so a key for another name is no news to anyone but the log.
    pub(super) fn key(&mut self, session: SessionId, user: UserName, key: Result<RsaKey, String>) {
        let user = self.directory.stored_user(&user);
        let Some(found) = self.sessions.get_mut(&session) else { return };
        let (member, room) = match &mut found.state {
            State::LoggedIn(member) if member.user == user => (member, None),
            State::InRoom(member, room) if member.user == user => (member, Some(room.clone())),
            _ => return self.effects.push(Effect::Suspicious(session, "a key for a name that is not logged in here")),
        };
        let key = match key {
            Ok(key) => key,
            Err(why) => return self.reply(session, Reply::KeyRefused(why)),
        };
        let (Wire::Legacy { keys, last_key }, Keys::Legacy { key: own, .. }) = (&mut found.wire, &mut member.keys)
        else {
            return; // the modern wire has bundles
        };
        if own.as_ref() == Some(&key) {
            return; // the room has it already
        }
        if last_key.as_ref() != Some(&key.pem) {
            *last_key = Some(Arc::clone(&key.pem)); // kept over a new log-in, which announces the same one
            *keys += 1;
        }
        if *keys > MAX_KEYS {
            return self.reply(session, Reply::KeyRefused("it is one of too many of this connection".into()));
        }
        let pem = Arc::clone(&key.pem);
        let before = room.as_ref().and_then(|_| member.entry());
        if let Keys::Legacy { key: own, .. } = &mut member.keys {
            *own = Some(key);
        }
        let announcement = KeyAnnouncement { user, pem };
        self.effects.push(Effect::SaveKey(announcement.clone()));
        if let (Some(room), Some(before)) = (room, before) {
            self.tell_key(session, &room, Some(announcement));
            self.list_key(session, &room, &before);
        }
    }

    /// A member's entry in the roster bears its new key from now on.
    fn list_key(&mut self, session: SessionId, room: &RoomName, before: &RosterEntry) {
        let Some(entry) = self.member(session).and_then(Member::entry) else { return };
        self.tell_news_of_legacy(room, before);
        let Some(live) = self.rooms.get_mut(room) else { return };
        live.roster.remove(before);
        live.roster.list(entry.clone(), session, false);
        self.hold_key(session, &entry);
        hash_of(&before.key).iter().for_each(|hash| self.bundles.release(hash));
        self.settle_members(room);
    }

    pub(super) fn chat(&mut self, session: SessionId, package: Result<Package, PackageError>) {
        let Some(found) = self.sessions.get(&session) else { return };
        let Some(room) = found.room() else { return self.reply(session, Reply::JoinFirst) };
        match package {
            Err(PackageError::NotJson) => self.reply(session, Reply::InvalidFormat),
            Err(PackageError::MissingRoom) => self.reply(session, Reply::MissingRoom),
            Err(PackageError::Incomplete(named)) if self.directory.stored_room(&named) == *room => {
                self.reply(session, Reply::InvalidFormat)
            }
            Ok(package) if self.directory.stored_room(&package.room) == *room => {
                let room = room.clone();
                self.chat_in(session, &room, package);
            }
            Ok(_) | Err(PackageError::Incomplete(_)) => self.reply(session, Reply::RoomMismatch),
        }
    }

    fn chat_in(&mut self, session: SessionId, room: &RoomName, package: Package) {
        if self.muted(session, room).is_some() {
            return self.reply(session, Reply::Muted);
        }
        let package = Arc::new(package);
        let fits_modern = json_len(&package.encrypted_message) <= MAX_ENCRYPTED_MESSAGE;
        if fits_modern {
            self.log_package(session, room, &package);
        }
        let others = self.rooms.get(room).map_or(0, |live| live.modern().len());
        let members = self.pass_on(session, room, package) + if fits_modern { 0 } else { others };
        if members > 0 {
            self.reply(session, Reply::NotDelivered { members });
        }
    }

    /// Passes a package on to the members on the legacy wire but the sender, to each with its own entry; gives how many do not
    /// get it, because it is too long for their wire.
    pub(super) fn pass_on(&mut self, sender: SessionId, room: &RoomName, package: Arc<Package>) -> usize {
        let mut readers = self.legacy_others(sender, room);
        let before = readers.len();
        if package.longest() > MAX_OUTBOUND {
            let fits = |reader: &SessionId| self.user_of(*reader).is_some_and(|u| package.len_for(u) <= MAX_OUTBOUND);
            readers.retain(fits);
        }
        let members = before - readers.len();
        self.deliver(readers, ServerMessage::Chat(package));
        members
    }
}
