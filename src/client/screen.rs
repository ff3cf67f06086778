//! What the person sees. Whatever comes from outside is a [`Text`], which is safe to print.
//!
//! | | messages | the server's words | own words |
//! |---|---|---|---|
//! | terminal | `bob: hello` | `-- bob joined the chat!` | `* …` |
//! | plain | stdout: `bob: hello` | stdout: `bob joined the chat!` | stderr: `* …` |

use std::io::{self, Write};

use rustyline::ExternalPrinter;

use crate::names::Text;
use crate::protocol::legacy;

/// Where lines are printed.
pub enum Screen {
    /// To a terminal, above the line that is being edited.
    Terminal(Box<dyn ExternalPrinter + Send>),
    /// To stdout and stderr.
    Plain,
}

impl Screen {
    /// Shows a message of another.
    ///
    /// # Errors
    /// What stdout reports; `BrokenPipe` when nobody reads it any more.
    pub fn message(&mut self, text: &Text) -> io::Result<()> {
        self.line(text.as_str())
    }

    /// Shows the server's words.
    ///
    /// # Errors
    /// As [`Screen::message`].
    pub fn server(&mut self, text: &Text) -> io::Result<()> {
        match self {
            Self::Plain if !passes_for_a_message(text.as_str()) => self.line(text.as_str()),
            _ => self.line(&format!("-- {text}")),
        }
    }

    /// Says the client's own words, which may be several lines.
    ///
    /// # Errors
    /// As [`Screen::message`]; a stderr that is closed is no error.
    pub fn say(&mut self, words: &str) -> io::Result<()> {
        for line in words.lines() {
            match self {
                Self::Plain => say_plainly(line),
                Self::Terminal(_) => self.line(&format!("* {line}"))?,
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        if let Self::Terminal(printer) = self {
            if printer.print(format!("{line}\n")).is_ok() {
                return Ok(());
            }
            *self = Self::Plain; // the line editor has ended
        }
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()
    }
}

/// Own words on stderr, for whoever reads it.
pub fn say_plainly(words: &str) {
    for line in words.lines() {
        let _ = writeln!(io::stderr(), "* {line}"); // without a stderr there is nobody to tell
    }
}

/// Whether words of the server look like somebody's message, which they must not where nothing else tells them apart.
fn passes_for_a_message(text: &str) -> bool {
    let Some((name, _)) = text.split_once(": ") else { return false };
    legacy::words(name).eq([name]) && !["Error", "Usage"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_are_told_from_messages() {
        assert!(passes_for_a_message("bob: hello"));
        for text in ["bob joined the chat!", "Available rooms: a, b", "Error: message room mismatch.", "Usage: /join"] {
            assert!(!passes_for_a_message(text), "{text}");
        }
    }
}
