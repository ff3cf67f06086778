//! The terminal's settings: saved at the start, put back at every end, even while the line editor waits in its thread.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether lines can be edited here: with both ends at a terminal that understands more than text.
pub fn is_usable() -> bool {
    let dumb = std::env::var("TERM").is_ok_and(|term| ["dumb", "cons25", "emacs"].contains(&term.as_str()));
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

/// The settings as they were.
#[derive(Clone)]
pub struct Terminal {
    #[cfg(unix)]
    saved: Option<rustix::termios::Termios>,
    editing: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Terminal {
    /// Saves the settings of the terminal on stdin, if there is one.
    pub fn save() -> Self {
        Self {
            #[cfg(unix)]
            saved: rustix::termios::tcgetattr(io::stdin()).ok(),
            editing: Arc::default(),
            ended: Arc::default(),
        }
    }

    /// Runs the line editor; `None` once the settings were put back for good.
    pub fn edit<T>(&self, edit: impl FnOnce() -> T) -> Option<T> {
        self.editing.store(true, Ordering::SeqCst);
        if self.ended.load(Ordering::SeqCst) {
            return None;
        }
        let edited = edit();
        self.editing.store(false, Ordering::SeqCst);
        Some(edited)
    }

    /// Puts the settings back for good. Called a second time at the very end: the line editor may have begun a line meanwhile.
    pub fn restore(&self) {
        let again = self.ended.swap(true, Ordering::SeqCst);
        if !self.editing.load(Ordering::SeqCst) {
            return; // the line editor has put them back itself
        }
        #[cfg(unix)]
        if let Some(saved) = &self.saved {
            use rustix::termios::{OptionalActions, tcsetattr};
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, saved); // the terminal may be gone
        }
        if !again && io::stdout().is_terminal() {
            // The line editor's bracketed paste ends, and so does the line with its prompt.
            let _ = io::stdout().write_all(b"\x1b[?2004l\r\n").and_then(|()| io::stdout().flush());
        }
    }
}
