//! What the person sees. Whatever comes from outside is a [`Text`], or a name that is shown as [`Name`], and safe to print.
//!
//! | | messages, acts | the server's words | own words |
//! |---|---|---|---|
//! | terminal | `bob (pinned): hello` | `-- bob joined the chat!` | `* …` |
//! | plain | stdout: `bob (pinned): hello` | stdout: `bob joined the chat!` | stderr: `* …` |
//!
//! A message without a name, which the legacy wire allows, begins with `?`. Colours say nothing that the words do not say.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use crossbeam_channel::{Receiver, Sender, bounded};
use rustyline::ExternalPrinter;

use crate::client::modern::{Name, Shown, ShownAct, Trust};
use crate::names::{Text, UserName};
use crate::protocol::legacy;

/// Lines that wait to be drawn; beyond it, whoever shows one waits.
const WAITING: usize = 1024;

/// How long the last lines may take to be drawn, when the program ends.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Goes up one row and down again: drawn, it changes nothing.
const NOTHING: &str = "\x1b[A\n";

const ALARM: Style = AnsiColor::Red.on_default().bold();

/// The colour of a name, by who vouches for what stands behind it.
const fn style(trust: Trust) -> Style {
    match trust {
        Trust::Verified => AnsiColor::Green.on_default(),
        Trust::Pinned => AnsiColor::Cyan.on_default(),
        Trust::Unsigned => AnsiColor::Yellow.on_default(),
        Trust::Own => Style::new().bold(),
    }
}

/// Something to be shown.
#[derive(Debug)]
pub enum Line {
    /// A message.
    Message(Shown),
    /// A message over the legacy wire that bears no name.
    Nameless(Text),
    /// What somebody did.
    Act(ShownAct),
    /// What the server says.
    Server(Text),
    /// The client's own words, which may be several lines.
    Own(String),
    /// The same, which warn.
    Alarm(String),
}

/// Where lines are printed.
pub enum Screen {
    /// To a terminal, above the line that is being edited, by a thread that draws.
    Terminal {
        /// To that thread.
        to_draw: Sender<Drawing>,
        /// Whether names and alarms are coloured.
        coloured: bool,
    },
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
    pub fn above(mut printer: Box<dyn ExternalPrinter + Send>, coloured: bool) -> io::Result<Self> {
        let (to_draw, drawings) = bounded(WAITING);
        thread::Builder::new().name("screen".into()).spawn(move || draw(&mut *printer, &drawings))?;
        Ok(Self::Terminal { to_draw, coloured })
    }

    /// Whether somebody sits in front of it.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// Waits until everything is drawn, for half a second at most.
    pub fn settle(&self) {
        let Self::Terminal { to_draw, .. } = self else { return };
        let (done, is_done) = bounded(1);
        if to_draw.send_timeout(Drawing::Settle(done), LAST_LINES).is_ok() {
            let _ = is_done.recv_timeout(LAST_LINES); // a terminal that does not draw keeps nobody from leaving
        }
    }

    /// Shows something.
    ///
    /// # Errors
    /// What stdout reports; `BrokenPipe` when nobody reads it any more. A stderr that is closed is no error.
    pub fn show(&self, line: &Line) -> io::Result<()> {
        match line {
            Line::Message(shown) => self.line(&self.with_name(&shown.author, shown.trust, &shown.to_string())),
            Line::Nameless(text) => {
                let unknown = self.paint(style(Trust::Unsigned), "?");
                self.line(&format!("{unknown} ({}): {text}", Trust::Unsigned.word()))
            }
            Line::Act(act) => self.line(&self.with_name(&act.author, act.trust, &act.to_string())),
            Line::Server(text) if self.is_terminal() || passes_for_another(text.as_str()) => {
                self.line(&format!("-- {text}"))
            }
            Line::Server(text) => self.line(text.as_str()),
            Line::Own(words) => self.own(words, Style::new()),
            Line::Alarm(words) => self.own(words, ALARM),
        }
    }

    /// Shows the client's own words; see [`Screen::show`].
    ///
    /// # Errors
    /// As [`Screen::show`].
    pub fn say(&self, words: &str) -> io::Result<()> {
        self.own(words, Style::new())
    }

    fn own(&self, words: &str, style: Style) -> io::Result<()> {
        for line in words.lines() {
            match self {
                Self::Plain => say_plainly(line),
                Self::Terminal { .. } => self.line(&self.paint(style, &format!("* {line}")))?,
            }
        }
        Ok(())
    }

    /// A line that begins with a name, which is coloured.
    fn with_name(&self, user: &UserName, trust: Trust, line: &str) -> String {
        let name = Name(user).to_string();
        match line.strip_prefix(&name) {
            Some(rest) => self.paint(style(trust), &name) + rest,
            None => line.to_owned(),
        }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        let coloured = matches!(self, Self::Terminal { coloured: true, .. });
        if coloured { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn line(&self, line: &str) -> io::Result<()> {
        match self {
            Self::Terminal { to_draw, .. } => {
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

/// Whether a terminal is to be coloured: see <https://no-color.org>.
pub fn takes_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Own words on stderr, for whoever reads it.
pub fn say_plainly(words: &str) {
    for line in words.lines() {
        let _ = writeln!(io::stderr(), "* {line}"); // without a stderr there is nobody to tell
    }
}

/// Whether words of the server look like somebody's message or act, or like the client's own words, which they must not where
/// nothing else tells them apart.
fn passes_for_another(text: &str) -> bool {
    if ["*", "--", "?"].iter().any(|mark| text.starts_with(mark)) {
        return true;
    }
    let vouched = legacy::words(text).nth(1).and_then(|word| word.strip_prefix('('));
    if vouched.is_some_and(|word| TRUSTS.iter().any(|trust| word.starts_with(first_word(*trust)))) {
        return true;
    }
    let Some((name, rest)) = text.split_once(':') else { return false };
    rest.starts_with(char::is_whitespace) && legacy::is_word(name) && !["Error", "Usage"].contains(&name)
}

const TRUSTS: [Trust; 4] = [Trust::Unsigned, Trust::Pinned, Trust::Verified, Trust::Own];

fn first_word(trust: Trust) -> &'static str {
    trust.word().split([',', ' ']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::modern::Place;
    use crate::names::RoomName;
    use crate::transcript::Verb;

    fn shown(trust: Trust) -> Shown {
        let place = Place::Room(RoomName::new("r"));
        Shown { author: UserName::new("bob"), trust, place, marks: Vec::new(), text: Text::sanitize("hi bob (you)") }
    }

    fn act(trust: Trust) -> ShownAct {
        let (author, target) = (UserName::new("bob"), UserName::new("eve"));
        ShownAct { author, trust, verb: Verb::Kick, target, argument: Text::sanitize("loud") }
    }

    #[test]
    fn the_servers_words_are_told_from_those_of_others() {
        for text in ["bob: hello", "bob:\u{a0}hello", "* The key of bob is accepted.", "-- eve", "? (x): y"] {
            assert!(passes_for_another(text), "{text}");
        }
        for trust in TRUSTS {
            for line in [shown(trust).to_string(), act(trust).to_string()] {
                assert!(passes_for_another(&line), "{line}");
                assert!(passes_for_another(&line.replacen(' ', "\u{a0}", 1)), "{line}");
            }
        }
        for text in [
            "bob joined the chat!",
            "Available rooms: a, b",
            "Error: message room mismatch.",
            "Usage: /join",
            "lobby (2 sessions)",
            "lobby (1 session, without the old wire)",
        ] {
            assert!(!passes_for_another(text), "{text}");
        }
    }

    /// What a terminal is given for a line.
    fn drawn(coloured: bool, line: Line) -> String {
        let (to_draw, drawings) = bounded(WAITING);
        Screen::Terminal { to_draw, coloured }.show(&line).unwrap();
        let lines = drawings.iter().map(|drawing| match drawing {
            Drawing::Line(line) => line,
            Drawing::Settle(_) => "settled".to_owned(),
        });
        lines.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn colours_say_what_the_words_say() {
        for (trust, coloured) in [
            (Trust::Verified, "\x1b[32mbob\x1b[0m (verified): hi bob (you)"),
            (Trust::Pinned, "\x1b[36mbob\x1b[0m (pinned): hi bob (you)"),
            (Trust::Unsigned, "\x1b[33mbob\x1b[0m (unsigned, legacy): hi bob (you)"),
            (Trust::Own, "\x1b[1mbob\x1b[0m (you): hi bob (you)"),
        ] {
            assert_eq!(drawn(true, Line::Message(shown(trust))), coloured);
            assert_eq!(drawn(false, Line::Message(shown(trust))), shown(trust).to_string());
        }
        assert_eq!(drawn(true, Line::Act(act(Trust::Verified))), "\x1b[32mbob\x1b[0m (verified) kicked eve: loud");
        let alarm = || Line::Alarm("WARNING: one\n  two".to_owned());
        assert_eq!(drawn(true, alarm()), "\x1b[1m\x1b[31m* WARNING: one\x1b[0m|\x1b[1m\x1b[31m*   two\x1b[0m");
        assert_eq!(drawn(false, alarm()), "* WARNING: one|*   two");
        let nameless = || Line::Nameless(Text::sanitize("hi"));
        assert_eq!(drawn(true, nameless()), "\x1b[33m?\x1b[0m (unsigned, legacy): hi");
        assert_eq!(drawn(false, nameless()), "? (unsigned, legacy): hi");
        for line in [Line::Own("one".to_owned()), Line::Server(Text::sanitize("one"))] {
            assert!(!drawn(true, line).contains('\x1b'));
        }
    }
}
