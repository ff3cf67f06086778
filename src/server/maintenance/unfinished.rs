//! What a signal finds that ends a backup or a restore before it is done: it is removed, for there are secrets in it.

use std::io::{self, Write};
use std::process;

use crate::server::error::ServerError;
use crate::server::signals;
use crate::server::sync::{Arc, Mutex, MutexGuard, lock};

/// What a shell says of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// How far the work is.
pub(super) enum Progress {
    /// Nothing is made so far.
    Begun,
    /// This removes what is made.
    Making(Box<dyn FnOnce() + Send>),
    /// It is done: whoever does it ends the process.
    Done,
}

/// Work that a signal may end.
pub(super) struct Unfinished(Arc<Mutex<Progress>>);

impl Unfinished {
    /// Waits for SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// [`ServerError::System`] when the system gives no thread to wait in.
    pub(super) fn watch() -> Result<Self, ServerError> {
        let unfinished = Self(Arc::new(Mutex::new(Progress::Begun)));
        let watched = Self(Arc::clone(&unfinished.0));
        let watching = signals::on_end(move || watched.interrupt());
        watching.map_err(|error| ServerError::System("the operating system gives no thread or signal", error))?;
        Ok(unfinished)
    }

    /// Held while a file gets or changes a name, and its progress is told: so nothing is made behind what removes it.
    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.0)
    }

    fn interrupt(&self) {
        let mut progress = self.progress();
        match std::mem::replace(&mut *progress, Progress::Begun) {
            Progress::Done => return,
            Progress::Begun => {}
            Progress::Making(remove) => remove(),
        }
        // Nobody may read it any more.
        let _ = writeln!(io::stderr(), "chat-server: interrupted; nothing is left of what was begun");
        process::exit(INTERRUPTED) // with the guard: who waits for it makes nothing more
    }
}
