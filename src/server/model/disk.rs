//! The database as far as the store's thread uses it: it remembers what was synced, and may fail.

use std::io;
use std::sync::{Arc, Mutex};

use crate::chat::Change;
use crate::names::UserName;
use crate::store::StoreError;

/// What is on the disk, as a test sees it.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    synced: Vec<Change>,
    folded: usize,
    keys_synced: bool,
    /// Whether it refuses to write from now on.
    broken: bool,
}

impl Disk {
    /// Whether this change is on the disk.
    pub(crate) fn has(&self, change: &Change) -> bool {
        self.0.lock().unwrap().synced.contains(change)
    }

    /// Refuses to write from now on.
    pub(crate) fn fail(&self) {
        self.0.lock().unwrap().broken = true;
    }

    /// Whether everything was folded and synced when the store ended.
    pub(crate) fn is_at_rest(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.folded == state.synced.len() && state.keys_synced
    }

    fn write(&self, write: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        shuttle::thread::yield_now(); // a disk takes its time: others go on
        let mut state = self.0.lock().unwrap();
        if state.broken {
            let source = io::ErrorKind::StorageFull.into();
            return Err(StoreError::Io { action: "write", path: "database.journal".into(), source });
        }
        write(&mut state);
        Ok(())
    }
}

/// What [`crate::store::Store`] is for the store's thread.
pub(crate) struct Store(pub(crate) Disk);

impl Store {
    pub(crate) fn commit(&mut self, changes: &[Change], _: u64) -> Result<(), StoreError> {
        let result = self.0.write(|state| state.synced.extend_from_slice(changes));
        shuttle::thread::yield_now(); // and its answer, too
        result
    }

    pub(crate) fn fold(&mut self, _: u64) -> Result<(), StoreError> {
        self.0.write(|state| state.folded = state.synced.len())
    }

    pub(crate) fn journal_len(&self) -> u64 {
        0
    }
}

/// What [`crate::store::KeyFile`] is for the store's thread.
pub(crate) struct KeyFile(pub(crate) Disk);

impl KeyFile {
    pub(crate) fn put(&mut self, _: &UserName, _: &str) -> Result<bool, StoreError> {
        self.0.write(|state| state.keys_synced = false).map(|()| true)
    }

    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.0.write(|state| state.keys_synced = true)
    }
}
