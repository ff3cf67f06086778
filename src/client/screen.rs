//! What the person sees. Whatever comes from outside is a [`Text`], which is safe to print.
//!
//! | | messages | the server's words | own words |
//! |---|---|---|---|
//! | terminal | `bob: hello` | `-- bob joined the chat!` | `* …` |
//! | plain | stdout: `bob: hello` | stdout: `bob joined the chat!` | stderr: `* …` |

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustyline::ExternalPrinter;

use crate::names::Text;
use crate::protocol::legacy;

/// Lines that wait to be drawn; beyond it, whoever shows one waits.
const WAITING: usize = 1024;

/// How long the last lines may take to be drawn, when the program ends.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Goes up one row and down again: drawn, it changes nothing.
const NOTHING: &str = "\x1b[A\n";

/// Where lines are printed.
pub enum Screen {
    /// To a terminal, above the line that is being edited, by a thread that draws.
    Terminal(Sender<Drawing>),
    /// To stdout and stderr.
    Plain,
}

/// What the drawing thread is to do.
pub enum Drawing {
    /// Draw a line.
    Line(String),
    /// Tell when all lines before are drawn.
    Settle(Sender<()>),
}

/// Draws lines until nobody has any more. The line editor takes them one at a time while a line is being edited, and none
/// while it ends: only this thread waits for it.
fn draw(printer: &mut dyn ExternalPrinter, drawings: &Receiver<Drawing>) {
    for drawing in drawings {
        let drawn = match drawing {
            Drawing::Line(line) => printer.print(format!("{line}\n")),
            Drawing::Settle(done) => {
                // The editor holds one line that it has not drawn yet, so what was drawn is known two lines later.
                let drawn = printer.print(NOTHING.into()).and_then(|()| printer.print(NOTHING.into()));
                let _ = done.send(()); // whoever asked may have given up
                drawn
            }
        };
        if drawn.is_err() {
            return; // the terminal is gone
        }
    }
}

impl Screen {
    /// A screen that draws above the line that an editor edits.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn above(mut printer: Box<dyn ExternalPrinter + Send>) -> io::Result<Self> {
        let (to_draw, drawings) = bounded(WAITING);
        thread::Builder::new().name("screen".into()).spawn(move || draw(&mut *printer, &drawings))?;
        Ok(Self::Terminal(to_draw))
    }

    /// Waits until everything is drawn, for half a second at most.
    pub fn settle(&self) {
        let Self::Terminal(to_draw) = self else { return };
        let (done, is_done) = bounded(1);
        if to_draw.send_timeout(Drawing::Settle(done), LAST_LINES).is_ok() {
            let _ = is_done.recv_timeout(LAST_LINES); // a terminal that does not draw keeps nobody from leaving
        }
    }

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

    fn line(&self, line: &str) -> io::Result<()> {
        match self {
            Self::Terminal(to_draw) => {
                to_draw.send(Drawing::Line(line.to_owned())).map_err(|_| io::ErrorKind::BrokenPipe.into())
            }
            Self::Plain => {
                let mut stdout = io::stdout().lock();
                writeln!(stdout, "{line}")?;
                stdout.flush()
            }
        }
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
    if ["*", "--", "?"].iter().any(|mark| text.starts_with(mark)) {
        return true; // or like words of the client's own
    }
    let Some((name, rest)) = text.split_once(':') else { return false };
    rest.starts_with(char::is_whitespace) && legacy::is_word(name) && !["Error", "Usage"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_are_told_from_messages() {
        for text in ["bob: hello", "bob:\u{a0}hello", "* The key of bob is accepted.", "-- eve", "?: x"] {
            assert!(passes_for_a_message(text), "{text}");
        }
        for text in ["bob joined the chat!", "Available rooms: a, b", "Error: message room mismatch.", "Usage: /join"] {
            assert!(!passes_for_a_message(text), "{text}");
        }
    }
}
