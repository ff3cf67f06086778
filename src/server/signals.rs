//! SIGINT and SIGTERM end the server in order.

use std::io;

/// Waits for a signal in a thread of its own and then calls `end`, once. A second signal ends the process at once.
#[cfg(unix)]
pub(super) fn on_end(end: impl FnOnce() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::TERM_SIGNALS;
    use signal_hook::iterator::Signals;

    use crate::server::sync::{Arc, AtomicBool, Builder};

    // Armed by the first signal: whoever sends a second one does not want to wait.
    let impatient = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        signal_hook::flag::register_conditional_shutdown(*signal, 130, Arc::clone(&impatient))?;
        signal_hook::flag::register(*signal, Arc::clone(&impatient))?;
    }
    let mut signals = Signals::new(TERM_SIGNALS)?;
    let wait = move || {
        if signals.forever().next().is_some() {
            end();
        }
    };
    Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

/// Where signals cannot be waited for, a flag is looked at.
#[cfg(not(unix))]
pub(super) fn on_end(end: impl FnOnce() + Send + 'static) -> io::Result<()> {
    use std::time::Duration;

    use crate::server::sync::{Arc, AtomicBool, Builder, Ordering};

    let asked = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    let wait = move || {
        while !asked.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(200));
        }
        end();
    };
    Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}
