//! The thread that owns the disk: commits changes in groups and folds the journal.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{error, info, warn};

use crate::chat::{Change, Input, SessionId};
use crate::protocol::KeyAnnouncement;
use crate::server::broker::Event;
use crate::server::sync::{Receiver, Sender};
use crate::store::{KeyFile, Store};

/// Most changes in one group.
const GROUP: usize = 4096;

/// Bytes of journal that are folded into the snapshot.
const FOLD_AT: u64 = 16 * 1024 * 1024;

/// A fold that takes longer than this is not done before a reply, but left for later.
const QUICK: Duration = Duration::from_millis(50);

/// What the broker wants of the disk.
pub(super) enum Order {
    /// Write a change; the outcome goes back with the session.
    Commit(Option<SessionId>, Change),
    /// Keep a key. Nobody waits for it.
    SaveKey(KeyAnnouncement),
    /// The last weak hash was replaced: fold, so that none is left on the disk, and say so.
    Strengthened,
}

/// The store's thread.
pub(super) struct Storage {
    store: Store,
    keys: KeyFile,
    events: Sender<Event>,
    /// Whether the snapshot still holds weak hashes that a change may have replaced.
    weak_on_disk: bool,
    /// What the last fold took.
    last_fold: Duration,
}

impl Storage {
    pub(super) fn new(store: Store, keys: KeyFile, events: Sender<Event>, weak_on_disk: bool) -> Self {
        Self { store, keys, events, weak_on_disk, last_fold: Duration::ZERO }
    }

    /// Carries out orders until the broker is gone; then folds and syncs.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(first) = orders.recv() {
            let mut group = Vec::new();
            for order in std::iter::once(first).chain(orders.try_iter().take(GROUP)) {
                match order {
                    Order::Commit(session, change) => group.push((session, change)),
                    Order::SaveKey(key) => self.save_key(&key),
                    Order::Strengthened => {
                        self.commit(std::mem::take(&mut group));
                        self.strengthened();
                    }
                }
            }
            self.commit(group);
            if self.store.journal_len() > FOLD_AT {
                self.fold();
            }
        }
        self.fold();
        if let Err(error) = self.keys.sync() {
            error!(%error, "the keys could not be written to the disk");
        }
    }

    fn commit(&mut self, group: Vec<(Option<SessionId>, Change)>) {
        if group.is_empty() {
            return;
        }
        let changes: Vec<_> = group.iter().map(|(_, change)| change.clone()).collect();
        let result = self.store.commit(&changes, now());
        if let Err(error) = &result {
            error!(%error, changes = changes.len(), "changes could not be saved, and were not made");
        }
        // A log-in that replaced a single-round hash: the snapshot must not hold it any longer.
        let replaced =
            |change: &Change| matches!(change, Change::SetUserPassword { .. } | Change::SetRoomPassword { .. });
        if result.is_ok() && self.weak_on_disk && self.last_fold < QUICK && changes.iter().any(replaced) {
            self.fold();
        }
        for (session, change) in group {
            let input = Input::Stored { session, change, saved: result.is_ok() };
            let _ = self.events.send(Event::Input(input)); // a broker that has given up waiting needs no telling
        }
    }

    fn fold(&mut self) {
        let begun = Instant::now();
        if let Err(error) = self.store.fold(now()) {
            warn!(%error, "the journal could not be folded into the database; nothing is lost");
        }
        self.last_fold = begun.elapsed();
    }

    fn strengthened(&mut self) {
        match self.store.fold(now()) {
            Ok(()) => {
                self.weak_on_disk = false;
                info!(
                    "conversion finished: neither database.enc nor its journal holds a hash of the Python server any more"
                );
            }
            Err(error) => {
                error!(%error, "the converted database could not be written; it is tried again at the next start")
            }
        }
    }

    fn save_key(&mut self, key: &KeyAnnouncement) {
        match self.keys.put(&key.user, &key.pem) {
            Ok(true) => info!(user = %key.user, "a key that was not known for this user"),
            Ok(false) => {}
            Err(error) => warn!(%error, user = %key.user, "a key could not be kept"),
        }
    }
}

/// Seconds since 1970; a clock before that counts as 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
