//! The threads of a server that runs, and its end.

use std::time::Duration;

use tracing::warn;

use crate::server::mailbox::Event;
use crate::server::sync::{Absence, Arc, AtomicBool, JoinHandle, Ordering, Sender};

/// How long connections may take to end after their sessions have.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a server that runs consists of.
pub(super) struct Running {
    pub(super) events: Sender<Event>,
    pub(super) stop_conversion: Arc<AtomicBool>,
    pub(super) listener: JoinHandle<()>,
    pub(super) broker: JoinHandle<()>,
    pub(super) conversion: JoinHandle<()>,
    pub(super) storage: JoinHandle<()>,
    /// Of the threads that come and go with the connections.
    pub(super) all_gone: Absence,
}

impl Running {
    /// Ends the server in its order: nobody is let in any more; the broker says goodbye, and ends when the sessions have ended and
    /// what was under way is saved; the store syncs.
    pub(super) fn end(self, stop_listener: impl FnOnce()) {
        self.stop_conversion.store(true, Ordering::Relaxed);
        stop_listener();
        join(self.listener);
        let _ = self.events.send(Event::Shutdown); // a broker that has panicked needs no telling; joining it says so
        drop(self.events);
        join(self.broker);
        join(self.conversion);
        join(self.storage);
        if !self.all_gone.wait(FAREWELL) {
            warn!("connections were still busy");
        }
    }
}

pub(super) fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        warn!("a thread had panicked");
    }
}
