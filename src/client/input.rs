//! The thread that reads what the person types.

use std::borrow::Cow;
use std::io::{self, BufRead};

use crossbeam_channel::Sender;
use rustyline::Helper;
use rustyline::completion::Completer;
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, Config, Editor};
use zeroize::Zeroizing;

use crate::client::terminal::Terminal;
use crate::client::typed::{self, Typed};

const PROMPT: &str = "> ";

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
pub fn read_plain(to: &Sender<Typing>) {
    let mut stdin = io::stdin().lock();
    let mut number = 0u64;
    loop {
        let mut line = Vec::new();
        number += 1;
        let typing = match stdin.read_until(b'\n', &mut line) {
            Ok(0) => Typing::End,
            Ok(_) => match String::from_utf8(line) {
                Ok(line) => Typing::Line(line.trim_end_matches(['\n', '\r']).to_owned()),
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

/// The line editor.
pub struct LineEditor(Editor<Mask, MemHistory>);

impl LineEditor {
    /// An editor on stdin and stdout.
    ///
    /// # Errors
    /// What the terminal reports.
    pub fn new() -> rustyline::Result<Self> {
        // History is added by hand: passwords stay out of it.
        let config = Config::builder().auto_add_history(false).build();
        let mut editor = Editor::with_history(config, MemHistory::new())?;
        editor.set_helper(Some(Mask::default()));
        Ok(Self(editor))
    }

    /// What prints above the line that is being edited.
    ///
    /// # Errors
    /// What the terminal reports.
    pub fn printer(&mut self) -> rustyline::Result<Box<dyn rustyline::ExternalPrinter + Send>> {
        Ok(Box::new(self.0.create_external_printer()?))
    }

    /// Reads lines until the person is done.
    ///
    /// `to` must not have a bound: main waits for this thread to print, so this thread must never wait for main.
    pub fn read(mut self, terminal: &Terminal, to: &Sender<Typing>) {
        loop {
            let typing = self.next(terminal);
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

    fn next(&mut self, terminal: &Terminal) -> Typing {
        let line = match self.edit(terminal, PROMPT) {
            Ok(line) => line,
            Err(typing) => return typing,
        };
        if !line.trim().is_empty() {
            let _ = self.0.add_history_entry(typed::without_password(&line)); // it is in memory: nothing can fail
        }
        if typed::lacks_password(&line) { self.ask_password(terminal, &line) } else { Typing::Line(line) }
    }

    /// Asks for what a `/login NAME` lacks. The text that is typed is masked, so messages may come meanwhile.
    fn ask_password(&mut self, terminal: &Terminal, line: &str) -> Typing {
        self.mask(true);
        let password = self.edit(terminal, "Password: ").map(Zeroizing::new);
        self.mask(false);
        match password {
            Ok(password) if password.is_empty() => Typing::Say("Not sent: without a password.".into()),
            Ok(password) if password.contains(char::is_whitespace) => Typing::Say(
                "Not sent: a password has no white space; the server would take its first word alone.".into(),
            ),
            Ok(password) => Typing::Line(format!("{} {}", line.trim_end(), password.as_str())),
            Err(typing) => typing,
        }
    }

    fn mask(&mut self, on: bool) {
        if let Some(mask) = self.0.helper_mut() {
            mask.on = on;
        }
        self.0.set_color_mode(if on { ColorMode::Forced } else { ColorMode::Enabled }); // the mask is a highlighter
    }

    fn edit(&mut self, terminal: &Terminal, prompt: &str) -> Result<String, Typing> {
        let edited = terminal.edit(|| self.0.readline(prompt)).ok_or(Typing::End)?;
        edited.map_err(|error| match error {
            ReadlineError::Eof => Typing::End,
            ReadlineError::Interrupted => Typing::Interrupted,
            error => Typing::Failed(error.to_string()),
        })
    }
}

/// Shows stars instead of what is typed.
#[derive(Default)]
struct Mask {
    on: bool,
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
        if self.on { Cow::Owned("*".repeat(line.chars().count())) } else { Cow::Borrowed(line) }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.on && kind != CmdKind::MoveCursor
    }
}
