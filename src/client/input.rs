//! The thread that reads what the person types.

use std::borrow::Cow;
use std::io::{self, BufRead, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;
use rustyline::Helper;
use rustyline::completion::Completer;
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{
    Cmd, ColorMode, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, KeyCode, KeyEvent,
    Modifiers, RepeatCount,
};
use zeroize::Zeroizing;

use crate::client::terminal::Terminal;
use crate::client::typed::{self, Question, Typed};
use crate::client::wire::Dialect;
use crate::prompt;
use crate::protocol::legacy;

const PROMPT: &str = "> ";
const AGAIN: &str = "The same again: ";
const LACKS: &str = "lacks a password, or is no command; passwords are asked for at a terminal alone.";

/// What the person did.
#[derive(Debug)]
pub enum Typing {
    /// A line, without its end.
    Line(String),
    /// Something to tell the person about a line that was not taken.
    Say(String),
    /// There will be no more lines.
    End,
    /// Ctrl-C.
    Interrupted,
    /// Lines can be read no more.
    Failed(String),
}

/// Reads lines from stdin as they are, until its end.
pub fn read_plain(terminal: &Terminal, dialect: Dialect, to: &Sender<Typing>) {
    let mut stdin = io::stdin().lock();
    let stdin_is_terminal = stdin.is_terminal();
    let mut number = 0u64;
    loop {
        let mut line = Vec::new();
        number += 1;
        let typing = match stdin.read_until(b'\n', &mut line) {
            Ok(0) => Typing::End,
            // What follows may be meant as the answer, and would go to the room.
            Ok(_) if !stdin_is_terminal && typed::lacks_password(&String::from_utf8_lossy(&line), dialect) => {
                let _ = to.send(Typing::Say(format!("Not sent, nor is what follows: line {number} {LACKS}"))); // main may have ended
                Typing::End
            }
            Ok(_) => match String::from_utf8(line) {
                Ok(line) => take_plain(terminal, dialect, line.trim_end_matches(['\n', '\r'])),
                Err(_) => Typing::Say(format!("Line {number} of the input is not UTF-8 and was not sent.")),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Typing::Failed(error.to_string()),
        };
        let last = matches!(typing, Typing::End | Typing::Failed(_));
        if to.send(typing).is_err() || last {
            return;
        }
    }
}

/// A line of stdin; somebody who sits at a terminal without the line editor is asked for passwords, too.
fn take_plain(terminal: &Terminal, dialect: Dialect, line: &str) -> Typing {
    if !io::stdin().is_terminal() {
        return Typing::Line(line.to_owned());
    }
    with_passwords(line, typed::questions(line, dialect), |question| {
        let answer = terminal.edit(|| prompt::hidden(question)).ok_or(Typing::End)?;
        answer.map_err(|error| Typing::Say(format!("Not sent: the password cannot be asked for: {error}.")))
    })
}

/// The line with the passwords that it lacks, or why it cannot be sent.
fn with_passwords(line: &str, questions: &[Question], mut ask: impl FnMut(&str) -> Result<String, Typing>) -> Typing {
    let mut line = if questions.is_empty() { line } else { line.trim_end() }.to_owned();
    for question in questions {
        match ask_one(*question, &mut ask) {
            Ok(password) => line.extend([" ", &password]),
            Err(typing) => return typing,
        }
    }
    Typing::Line(line)
}

fn ask_one(
    question: Question,
    ask: &mut impl FnMut(&str) -> Result<String, Typing>,
) -> Result<Zeroizing<String>, Typing> {
    let not_sent = |why: &str| Err(Typing::Say(format!("Not sent: {why}.")));
    let (Question::Password(prompt) | Question::NewPassword(prompt)) = question;
    let password = Zeroizing::new(ask(prompt)?);
    if password.is_empty() {
        return not_sent("without a password");
    }
    if !legacy::is_word(&password) {
        return not_sent("a password has no white space; the server would take its first word alone");
    }
    if matches!(question, Question::NewPassword(_)) && *Zeroizing::new(ask(AGAIN)?) != *password {
        return not_sent("the two passwords differ");
    }
    Ok(password)
}

/// The line editor.
pub struct LineEditor {
    editor: Editor<Mask, MemHistory>,
    masked: Arc<AtomicBool>,
}

impl LineEditor {
    /// An editor on stdin and stdout.
    ///
    /// # Errors
    /// What the terminal reports.
    pub fn new() -> rustyline::Result<Self> {
        // History is added by hand: passwords stay out of it.
        let config = Config::builder().auto_add_history(false).build();
        let mut editor = Editor::with_history(config, MemHistory::new())?;
        let masked = Arc::new(AtomicBool::new(false));
        editor.set_helper(Some(Mask(Arc::clone(&masked))));
        let plain_keys = EventHandler::Conditional(Box::new(Mask(Arc::clone(&masked))));
        editor.bind_sequence(Event::Any, plain_keys);
        Ok(Self { editor, masked })
    }

    /// What prints above the line that is being edited.
    ///
    /// # Errors
    /// What the terminal reports.
    pub fn printer(&mut self) -> rustyline::Result<Box<dyn rustyline::ExternalPrinter + Send>> {
        Ok(Box::new(self.editor.create_external_printer()?))
    }

    /// Reads lines until the person is done.
    ///
    /// `to` must not have a bound: main waits for this thread to print, so this thread must never wait for main.
    pub fn read(mut self, terminal: &Terminal, dialect: Dialect, to: &Sender<Typing>) {
        loop {
            let edited = match self.edit(terminal, PROMPT) {
                Ok(edited) => edited,
                Err(end) => {
                    let _ = to.send(end); // main may have ended
                    return;
                }
            };
            // A paste may bring several lines, and each is a line. What is behind one that lacks a password may be that.
            let mut lines = edited.split(['\n', '\r']).filter(|line| !line.trim().is_empty());
            while let Some(line) = lines.next() {
                let rest = if typed::lacks_password(line, dialect) { lines.by_ref().count() } else { 0 };
                if rest > 0 {
                    let asked = !typed::questions(line, dialect).is_empty();
                    let why = if asked { "lacks a password, which is asked for" } else { "is not complete" };
                    let words = format!("Not sent: what was pasted behind a line that {why}.");
                    if to.send(Typing::Say(words)).is_err() {
                        return;
                    }
                }
                let typing = self.take(terminal, dialect, line);
                let last = match &typing {
                    Typing::Line(line) => Typed::parse(line) == Typed::Quit,
                    Typing::Say(_) => false,
                    _ => true,
                };
                if to.send(typing).is_err() || last {
                    return;
                }
            }
        }
    }

    fn take(&mut self, terminal: &Terminal, dialect: Dialect, line: &str) -> Typing {
        if !line.trim().is_empty() {
            let _ = self.editor.add_history_entry(typed::without_password(line)); // it is in memory: nothing can fail
        }
        with_passwords(line, typed::questions(line, dialect), |prompt| self.ask_password(terminal, prompt))
    }

    /// Asks for a password. The text that is typed is masked, so messages may come meanwhile.
    fn ask_password(&mut self, terminal: &Terminal, prompt: &str) -> Result<String, Typing> {
        self.mask(true);
        let password = self.edit(terminal, prompt);
        self.mask(false);
        password
    }

    fn mask(&mut self, on: bool) {
        self.masked.store(on, Ordering::SeqCst);
        self.editor.set_color_mode(if on { ColorMode::Forced } else { ColorMode::Enabled }); // the mask is a highlighter
    }

    fn edit(&mut self, terminal: &Terminal, prompt: &str) -> Result<String, Typing> {
        let edited = terminal.edit(|| self.editor.readline(prompt)).ok_or(Typing::End)?;
        edited.map_err(|error| match error {
            ReadlineError::Eof => Typing::End,
            ReadlineError::Interrupted => Typing::Interrupted,
            error => Typing::Failed(error.to_string()),
        })
    }
}

/// While it is set, shows stars instead of what is typed, and lets only keys through that type, delete and move: others bring
/// back what was deleted, or look for it in the history.
struct Mask(Arc<AtomicBool>);

impl Mask {
    fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl ConditionalEventHandler for Mask {
    fn handle(&self, event: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        use KeyCode::{Backspace, BracketedPasteStart, Char, Delete, End, Enter, Home, Left, Right};
        let is_plain = |KeyEvent(code, modifiers): &KeyEvent| match code {
            Char('C' | 'D' | 'H' | 'J' | 'M') => true, // Ctrl: interrupt, end, backspace, enter
            Char(_) => !modifiers.intersects(Modifiers::CTRL | Modifiers::ALT),
            Backspace | BracketedPasteStart | Delete | End | Enter | Home | Left | Right => {
                !modifiers.intersects(Modifiers::CTRL | Modifiers::ALT)
            }
            _ => false,
        };
        let keys = match event {
            Event::KeySeq(keys) => keys.as_slice(),
            _ => return None,
        };
        (self.is_on() && !keys.iter().all(is_plain)).then_some(Cmd::Noop)
    }
}

impl Helper for Mask {}
impl Completer for Mask {
    type Candidate = String;
}
impl Hinter for Mask {
    type Hint = String;
}
impl Validator for Mask {}

impl Highlighter for Mask {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.is_on() { Cow::Owned("*".repeat(line.chars().count())) } else { Cow::Borrowed(line) }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.is_on() && kind != CmdKind::MoveCursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a line when these answers are given; they have to be all that is asked.
    fn answered(line: &str, answers: &[&str]) -> String {
        let mut answers = answers.iter();
        let asked = with_passwords(line, typed::questions(line, Dialect::Modern), |_| {
            answers.next().map(|answer| (*answer).to_owned()).ok_or(Typing::End)
        });
        assert_eq!(answers.next(), None, "less was asked");
        match asked {
            Typing::Line(line) | Typing::Say(line) => line,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_line_gets_the_passwords_that_it_lacks_and_new_ones_are_asked_for_twice() {
        assert_eq!(answered("hello  ", &[]), "hello  ");
        assert_eq!(answered("/login bob ", &["pw"]), "/login bob pw");
        assert_eq!(answered("/passwd", &["old", "new", "new"]), "/passwd old new");
        assert_eq!(answered("/passwd old", &["new", "new"]), "/passwd old new");
        assert_eq!(answered("/account legacy off", &["pw"]), "/account legacy off pw");
    }

    #[test]
    fn a_password_that_cannot_be_right_is_not_sent() {
        assert_eq!(answered("/login bob", &[""]), "Not sent: without a password.");
        assert!(answered("/login bob", &["two words"]).contains("white space"));
        assert_eq!(answered("/passwd", &["old", "new", "other"]), "Not sent: the two passwords differ.");
        assert_eq!(answered("/room passwd", &["new"]), "End");
    }
}
