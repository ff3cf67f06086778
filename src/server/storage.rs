//! The thread that owns the disk: commits changes in groups and folds the journal.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::chat::{Change, Input, SessionId};
use crate::protocol::KeyAnnouncement;
use crate::server::clock::unix_seconds;
use crate::server::mailbox::{Event, Order};
#[cfg(all(test, feature = "model"))]
use crate::server::model::disk::{KeyFile, Store};
use crate::server::sync::{Instant, Receiver, RecvTimeoutError, Sender};
#[cfg(not(all(test, feature = "model")))]
use crate::store::{KeyFile, Store};

/// Most changes in one group.
const GROUP: usize = 4096;

/// Bytes of journal that are folded into the snapshot.
const FOLD_AT: u64 = 16 * 1024 * 1024;

/// A weak hash that a log-in replaced is folded away at once, unless folding has just taken this share of the time: one in so
/// many.
const FOLDING_SHARE: u32 = 10;

/// How long to wait after a fold that failed.
const RETRY: Duration = Duration::from_secs(10);

/// What is said of it: also when somebody else changed the files, the operator learns where to look.
const NOT_FOLDED: &str = "the journal could not be folded into the database and keeps all changes; `chat-server \
                          check` says whether both are whole";

/// The store's thread.
pub(super) struct Storage {
    store: Store,
    keys: KeyFile,
    events: Sender<Event>,
    /// Whether the snapshot still holds weak hashes of the Python server.
    weak_on_disk: bool,
    /// Whether a strengthened hash could not be saved.
    conversion_failed: bool,
    /// Whether the journal replaces a weak hash that the snapshot holds.
    fold_owed: bool,
    /// From when on folding takes no more than its share of the time, and one that failed may be tried again.
    may_fold: Instant,
}

impl Storage {
    pub(super) fn new(store: Store, keys: KeyFile, events: Sender<Event>, weak_on_disk: bool) -> Self {
        Self { store, keys, events, weak_on_disk, conversion_failed: false, fold_owed: false, may_fold: Instant::now() }
    }

    /// Carries out orders until the broker is gone; then folds and syncs.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        while let Some(first) = self.next(orders) {
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
            if self.store.journal_len() > FOLD_AT && self.may_fold <= Instant::now() {
                self.fold();
            }
        }
        self.fold();
        if let Err(error) = self.keys.sync() {
            error!(%error, "the keys could not be written to the disk");
        }
    }

    /// Waits for an order; folds meanwhile, when a fold is owed and its time has come.
    fn next(&mut self, orders: &Receiver<Order>) -> Option<Order> {
        while self.fold_owed {
            match orders.recv_deadline(self.may_fold) {
                Ok(order) => return Some(order),
                Err(RecvTimeoutError::Timeout) => _ = self.fold(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        orders.recv().ok()
    }

    fn commit(&mut self, group: Vec<(Option<SessionId>, Change)>) {
        if group.is_empty() {
            return;
        }
        let changes: Vec<_> = group.iter().map(|(_, change)| change.clone()).collect();
        let saved = self.save(&changes);
        if !saved {
            self.conversion_failed |= group.iter().any(|(session, _)| session.is_none());
        }
        // A log-in that replaced a single-round hash is answered when the snapshot does not hold it any longer.
        let replaced = |(session, change): &(Option<_>, Change)| {
            session.is_some() && matches!(change, Change::SetUserPassword { .. } | Change::SetRoomPassword { .. })
        };
        self.fold_owed |= self.weak_on_disk && saved && group.iter().any(replaced);
        if self.fold_owed && self.may_fold <= Instant::now() {
            self.fold();
        }
        for (session, change) in group {
            let input = Input::Stored { session, change, saved };
            let _ = self.events.send(Event::Input(input)); // a broker that has given up waiting needs no telling
        }
    }

    /// Whether it worked. A panic, as when the system gives no random numbers, costs the group and not the thread: those who
    /// wait for an answer would wait for ever. The journal is repaired before the next group.
    fn save(&mut self, changes: &[Change]) -> bool {
        match catch_unwind(AssertUnwindSafe(|| self.store.commit(changes, unix_seconds()))) {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => {
                error!(%error, changes = changes.len(), "changes could not be saved, and were not made");
            }
            Err(_) => {
                error!(changes = changes.len(), "changes could not be saved, and were not made: the store panicked")
            }
        }
        false
    }

    /// Whether it worked.
    fn fold(&mut self) -> bool {
        let begun = Instant::now();
        let folded = match catch_unwind(AssertUnwindSafe(|| self.store.fold(unix_seconds()))) {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                warn!(%error, "{NOT_FOLDED}");
                false
            }
            Err(_) => {
                error!("{NOT_FOLDED}: the store panicked");
                false
            }
        };
        self.fold_owed &= !folded;
        let pause = (begun.elapsed() * FOLDING_SHARE).max(if folded { Duration::ZERO } else { RETRY });
        self.may_fold = Instant::now() + pause;
        folded
    }

    fn strengthened(&mut self) {
        if !self.conversion_failed && self.fold() {
            self.weak_on_disk = false;
            info!(
                "conversion finished: neither database.enc nor its journal holds a hash of the Python server any more"
            );
        } else {
            error!("not all hashes of the Python server could be replaced; the next start goes on with it");
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
