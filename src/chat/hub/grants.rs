//! Chain keys that members give each other: each receiver gets its own alone.

use std::time::Duration;

use crate::chat::SessionId;
use crate::chat::hub::Hub;
use crate::chat::hub::session::Granted;
use crate::names::RoomName;
use crate::protocol::modern::{ErrorCode, Event, GrantEvent, GrantRequest, OkBody, Wrap, Wraps};
use crate::transcript::BundleHash;

/// How long what was granted counts.
const MINUTE: Duration = Duration::from_secs(60);

/// Bytes that every session may grant in a minute.
const BUDGET: usize = 1024 * 1024;

/// And for each entry of its room's roster.
const BUDGET_PER_ENTRY: usize = 600;

/// Bytes of a wrap's bundle hash in base64, with what JSON needs.
const HASH: usize = 50;

impl Hub {
    pub(super) fn grant(&mut self, session: SessionId, grant: GrantRequest) {
        let (Some(room), Some(author)) = (self.room_of(session).cloned(), self.author(session)) else { return };
        let bytes = grant.wraps.values().map(|wrap| wrap.as_str().len() + HASH).sum();
        let entries = self.rooms.get(&room).map_or(0, |live| live.roster.len());
        let now = self.now.elapsed;
        let Some(modern) = self.modern_mut(session) else { return };
        if !modern.granted.allows(now, bytes, BUDGET + BUDGET_PER_ENTRY * entries) {
            return self.refuse(session, ErrorCode::TooLarge);
        }
        if !self.is_current(&room, &grant.stamp.at) {
            return self.refuse(session, ErrorCode::Stale);
        }
        self.modern_mut(session).into_iter().for_each(|modern| modern.granted.bytes += bytes);
        let GrantRequest { stamp, wraps, .. } = grant;
        for (reader, wrap) in self.readers_in(session, &room, wraps) {
            let (room, author) = (room.clone(), author.clone());
            self.tell_one(reader, Event::Grant(GrantEvent { room, author, stamp, wrap }));
        }
        self.done(session, OkBody::Grant);
    }

    /// The sessions that are here for each bundle, but for the one that grants.
    fn readers_in(&self, granter: SessionId, room: &RoomName, wraps: Wraps) -> Vec<(SessionId, Wrap)> {
        let Some(live) = self.rooms.get(room) else { return Vec::new() };
        let readers = |(bundle, wrap): (BundleHash, Wrap)| {
            let here = live.with_bundle(&bundle).iter().copied().filter(move |reader| *reader != granter);
            here.map(move |reader| (reader, wrap.clone()))
        };
        wraps.into_iter().flat_map(readers).collect()
    }
}

impl Granted {
    /// Whether so much more stays within a limit.
    fn allows(&mut self, now: Duration, bytes: usize, limit: usize) -> bool {
        if now >= self.since + MINUTE {
            *self = Self { since: now, bytes: 0 };
        }
        self.bytes + bytes <= limit
    }
}
