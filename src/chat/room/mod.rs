//! A room that somebody is in: its log, who is listed there, what each run said last.

mod counters;
mod log;
mod roster;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub(in crate::chat) use self::counters::{Counters, Taken, Verdict};
pub(in crate::chat) use self::log::Log;
pub(in crate::chat) use self::roster::{Changes, Joined, Place, Roster};

use crate::chat::SessionId;
use crate::names::RoomName;
use crate::transcript::{
    BundleHash, ChangeHash, ChangesHash, Event, LogHash, LogNonce, Realm, RoomId, RosterEntry, RosterHash,
    changes_hash, log_start,
};

/// A room that somebody is in.
#[derive(Debug)]
pub(in crate::chat) struct LiveRoom {
    pub(in crate::chat) name: RoomName,
    pub(in crate::chat) id: RoomId,
    pub(in crate::chat) log: Log,
    pub(in crate::chat) roster: Roster,
    pub(in crate::chat) counters: Counters,
    /// Sessions on the legacy wire, in the order in which they came.
    legacy: Vec<SessionId>,
    /// Sessions on the modern wire that know where the log is. Shared with what is being sent to them.
    modern: Arc<Vec<SessionId>>,
    by_bundle: HashMap<BundleHash, Vec<SessionId>>,
    /// When the changes that are being collected are told.
    pub(in crate::chat) due: Option<Duration>,
}

/// A change of the members as it was written to the log.
#[derive(Debug)]
pub(in crate::chat) struct Told {
    /// The event's number.
    pub(in crate::chat) n: u64,
    /// The log before it.
    pub(in crate::chat) before: LogHash,
    pub(in crate::chat) joined: Vec<ChangeHash>,
    pub(in crate::chat) removed: Vec<ChangeHash>,
    /// The hash over both.
    pub(in crate::chat) changes: ChangesHash,
    /// The roster after it.
    pub(in crate::chat) roster: RosterHash,
}

impl LiveRoom {
    /// A room in which nobody is yet. Its log starts anew.
    pub(in crate::chat) fn new(realm: &Realm, id: RoomId, name: RoomName, nonce: LogNonce) -> Self {
        Self {
            log: Log::new(log_start(realm, &id, &name, &nonce)),
            name,
            id,
            roster: Roster::default(),
            counters: Counters::default(),
            legacy: Vec::new(),
            modern: Arc::default(),
            by_bundle: HashMap::new(),
            due: None,
        }
    }

    pub(in crate::chat) fn legacy(&self) -> &[SessionId] {
        &self.legacy
    }

    pub(in crate::chat) fn modern(&self) -> &Arc<Vec<SessionId>> {
        &self.modern
    }

    /// Those on the modern wire but for some, who learn what happens otherwise.
    pub(in crate::chat) fn modern_but(&self, known: &HashSet<SessionId>) -> Arc<Vec<SessionId>> {
        match self.modern.iter().any(|session| known.contains(session)) {
            true => Arc::new(self.modern.iter().copied().filter(|session| !known.contains(session)).collect()),
            false => Arc::clone(&self.modern),
        }
    }

    /// Sessions that have a bundle.
    pub(in crate::chat) fn with_bundle(&self, bundle: &BundleHash) -> &[SessionId] {
        self.by_bundle.get(bundle).map(Vec::as_slice).unwrap_or_default()
    }

    pub(in crate::chat) fn roster_hash(&self, realm: &Realm) -> RosterHash {
        self.roster.hash(realm, &self.id, &self.name)
    }

    /// Gives a session what is said from now on. One that has a place keeps it.
    pub(in crate::chat) fn seat(&mut self, session: SessionId, entry: &RosterEntry) {
        match entry.key.bundle() {
            None if !self.legacy.contains(&session) => self.legacy.push(session),
            Some(bundle) if !self.with_bundle(&bundle).contains(&session) => {
                self.by_bundle.entry(bundle).or_default().push(session);
                Arc::make_mut(&mut self.modern).push(session);
            }
            _ => {}
        }
    }

    /// Gives a session nothing more.
    pub(in crate::chat) fn unseat(&mut self, session: SessionId, entry: &RosterEntry) {
        let Some(bundle) = entry.key.bundle() else { return self.legacy.retain(|seated| *seated != session) };
        if let Some(seated) = self.by_bundle.get_mut(&bundle) {
            seated.retain(|seated| *seated != session);
            if seated.is_empty() {
                self.by_bundle.remove(&bundle);
            }
            Arc::make_mut(&mut self.modern).retain(|seated| *seated != session);
        }
    }

    /// Writes a change of the members to the log.
    pub(in crate::chat) fn write_changes(&mut self, realm: &Realm, changes: &Changes, now: Duration) -> Told {
        let joined: Vec<_> = changes.joined.iter().map(|joined| joined.entry.change(true)).collect();
        let removed: Vec<_> = changes.removed.iter().map(|entry| entry.change(false)).collect();
        let hash = changes_hash(joined.iter().copied(), removed.iter().copied());
        let roster = self.roster_hash(realm);
        let (came, went) = (joined.len() as u64, removed.len() as u64);
        let event = Event::Members { joined: came, removed: went, changes: hash, roster };
        let before = self.log.write(&event);
        if changes.somebody_went() {
            self.log.let_go(now);
        }
        Told { n: self.log.head().n, before, joined, removed, changes: hash, roster }
    }
}
