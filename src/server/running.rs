//! The threads of a server that runs, and its end.

use std::time::Duration;

use tracing::warn;

use crate::server::mailbox::Event;
use crate::server::sync::{Absence, Arc, AtomicBool, JoinHandle, Ordering, Sender};

/// How long connections may take to end after their sessions have.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why the server ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Somebody wants it to.
    Asked,
    /// This thread, without which nobody is served, has panicked.
    Died(&'static str),
}

/// Held by a thread that the server cannot do without: when it panics, the server ends, and whoever watches over it can start it again.
pub(super) struct Vital {
    pub(super) thread: &'static str,
    pub(super) ended: Sender<End>,
}

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.ended.try_send(End::Died(self.thread)); // or it ends already
        }
    }
}

/// What a server that runs consists of.
pub(super) struct Running {
    pub(super) events: Sender<Event>,
    pub(super) stop_conversion: Arc<AtomicBool>,
    pub(super) listener: JoinHandle<()>,
    pub(super) reception: JoinHandle<()>,
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
        join(self.reception);
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

#[cfg(not(feature = "model"))] // whose threads panic in their own way
#[cfg(test)]
#[allow(clippy::panic, reason = "that is what is tested")]
mod tests {
    use super::*;
    use crate::server::sync::{Builder, bounded};

    #[test]
    fn a_vital_thread_that_panics_ends_the_server_and_one_that_ends_does_not() {
        let (ended, end) = bounded(1);
        let vital = |thread| Vital { thread, ended: ended.clone() };
        let (well, ill) = (vital("well"), vital("ill"));
        join(Builder::new().spawn(move || drop(well)).unwrap());
        assert!(end.try_recv().is_err());
        let panic = move || {
            let _vital = ill;
            panic!("on purpose");
        };
        join(Builder::new().spawn(panic).unwrap());
        assert_eq!(end.try_recv(), Ok(End::Died("ill")));
    }
}
