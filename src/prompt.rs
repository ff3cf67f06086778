//! Questions for passwords, whose answers are not shown.

use std::io;

/// Asks on the terminal. The answer is not shown, nor is what somebody types who is faster than the question.
///
/// # Errors
/// What the terminal reports, and that there is none.
pub fn hidden(question: &str) -> io::Result<String> {
    let _silence = Silence::begin(); // `rpassword` asks first and is silent then
    rpassword::prompt_password(question)
}

/// While it lives, the terminal shows nothing of what is typed.
#[cfg(unix)]
struct Silence(Option<(std::fs::File, rustix::termios::Termios)>);

#[cfg(unix)]
impl Silence {
    fn begin() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let silence = || {
            let terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
            let before = tcgetattr(&terminal).ok()?;
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
            tcsetattr(&terminal, OptionalActions::Now, &silent).ok()?;
            Some((terminal, before))
        };
        Self(silence()) // without a terminal, it is for the question to say so
    }
}

#[cfg(unix)]
impl Drop for Silence {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        if let Some((terminal, before)) = &self.0 {
            let _ = tcsetattr(terminal, OptionalActions::Now, before); // the terminal may be gone
        }
    }
}

#[cfg(not(unix))]
struct Silence;

#[cfg(not(unix))]
impl Silence {
    fn begin() -> Self {
        Self
    }
}
