//! A pseudo-terminal and what a person would see on it.

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex};

use portable_pty::{Child, CommandBuilder, PtyPair, PtySize, native_pty_system};

use super::becomes_true;

/// A program in a terminal of 60 lines of 100 characters.
pub struct Screen {
    pub child: Box<dyn Child + Send + Sync>,
    writer: Mutex<Box<dyn Write + Send>>,
    seen: Arc<Mutex<Seen>>,
    _pair: PtyPair,
}

struct Seen {
    parser: vt100::Parser,
    /// Every byte that came, for what must never come.
    raw: Vec<u8>,
}

impl Screen {
    /// The client, with what it keeps in this folder, at its prompt.
    pub fn client(server: &str, identity: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_chat-client"));
        command.args([server, "--identity"]);
        command.arg(identity);
        command.env_remove("NO_COLOR");
        variables.iter().for_each(|(name, value)| command.env(name, value));
        let screen = Self::start(command);
        screen.edits("> ");
        screen
    }

    pub fn start(command: CommandBuilder) -> Self {
        Self::start_as("xterm-256color", command)
    }

    /// The same, in a terminal of this kind.
    pub fn start_as(term: &str, mut command: CommandBuilder) -> Self {
        let size = PtySize { rows: 60, cols: 100, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        command.env("TERM", term);
        let child = pair.slave.spawn_command(command).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let writer = Mutex::new(pair.master.take_writer().unwrap());
        let seen = Arc::new(Mutex::new(Seen {
            parser: vt100::Parser::new(const { NonZero::new(60).unwrap() }, const { NonZero::new(100).unwrap() }, 1000),
            raw: Vec::new(),
        }));
        let to = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                let mut seen = to.lock().unwrap();
                seen.parser.process(&buffer[..len]);
                seen.raw.extend_from_slice(&buffer[..len]);
            }
        });
        Self { child, writer, seen, _pair: pair }
    }

    /// Presses keys.
    pub fn types(&self, keys: &str) {
        let mut writer = self.writer.lock().unwrap();
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    /// Types a line at the prompt and waits until what it leads to is there, and the prompt again.
    pub fn enters(&self, line: &str, leads_to: &str) {
        self.types(&format!("{line}\r"));
        self.shows(leads_to);
        self.edits("> ");
    }

    /// The screen's text, line by line, without what is blank at the ends.
    pub fn text(&self) -> String {
        self.seen.lock().unwrap().parser.screen().contents()
    }

    /// Everything that was ever written to the terminal.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().raw).into_owned()
    }

    /// Waits until the screen holds `text`.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        assert!(becomes_true(|| self.text().contains(text)), "{text:?} is not on this screen:\n{}", self.text());
    }

    /// Waits until the last line, where the cursor is, is `line`.
    #[track_caller]
    pub fn edits(&self, line: &str) {
        let current = || self.text().trim_end().lines().last().unwrap_or_default().trim_end().to_owned();
        let is_it = becomes_true(|| current() == line.trim_end());
        assert!(is_it, "{line:?} is not the last line of this screen:\n{}", self.text());
    }

    /// Waits for the program's end; its exit code.
    pub fn exit_code(&mut self) -> u32 {
        self.child.wait().unwrap().exit_code()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
