//! The chat client: threads, screen, files, and the state machines that decide everything.
//!
//! [`session`] has the threads and how they hang together. The input thread may be waiting for a line when the program ends, and
//! the reader for the server; nothing depends on them, so they end with the process. The lines' channel has no bound in a
//! terminal, where a person's speed bounds it (see [`input::LineEditor::read`]), and holds 64 where stdin is a file or a pipe,
//! which then waits.
//!
//! [`machine`] and [`modern`], with all that they use, are pure: `tests/architecture.rs` names their files.

pub mod alarm;
mod bundles;
pub mod connect;
mod counters;
pub mod dial;
pub mod failure;
pub mod identity;
pub mod input;
pub mod key_command;
pub mod key_file;
pub mod key_name;
mod key_words;
pub mod keyring;
pub mod known_keys;
pub mod machine;
pub mod modern;
pub mod options;
pub mod packages;
mod people;
pub mod reader;
pub mod requests;
pub mod screen;
pub mod session;
pub mod shown;
pub mod signed;
pub mod terminal;
pub mod trust;
pub mod typed;
pub mod wire;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, unbounded};

use connect::{Connected, Expectation};
use dial::Dialer;
use failure::{Exit, Failure};
use identity::Identity;
use input::{LineEditor, Typing};
use key_file::KeyFile;
use key_name::KeyName;
use known_keys::{Change, KnownKeys, Server};
use options::{Command, Options};
use screen::Screen;
use session::{Client, Person, Session};
use terminal::Terminal;
use trust::Met;
use wire::{Dialect, Wire};

use crate::crypto::SigningKey;
use crate::process;
use crate::tls::Roots;
use crate::transcript::RunId;

/// Lines of a script that wait for main; beyond it, reading waits.
const WAITING: usize = 64;

/// How long main may take to end after a signal; it may be stuck in a terminal or a pipe that nobody reads.
const SIGNAL_GRACE: Duration = Duration::from_secs(3);

/// What comes sooner is the same wish: some programs send two signals to be sure of one.
const SIGNAL_AGAIN: Duration = Duration::from_millis(300);

/// Runs the client with the command line `args`; the exit codes are those of [`Exit`].
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::read(args) {
        Ok(options) => options,
        Err(help) => {
            let _ = help.print(); // to stdout or stderr; without them there is nobody to tell
            return if help.use_stderr() { ExitCode::from(Exit::Usage as u8) } else { ExitCode::SUCCESS };
        }
    };
    process::give_up(options.core_dumps);
    let terminal = Terminal::save();
    let ended = match &options.command {
        Some(Command::Key(command)) => key_command::run(command, options.identity.as_deref(), &terminal),
        None => chat(&options, &terminal),
    };
    terminal.restore();
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            screen::say_plainly(&failure.words);
            ExitCode::from(failure.exit as u8)
        }
    };
    terminal.restore();
    code
}

fn chat(options: &Options, terminal: &Terminal) -> Result<(), Failure> {
    let roots = connect::roots(options.ca.as_deref())?;
    let identity = Identity::open(options.identity.as_deref())?;
    if identity.is_new {
        let folder = identity.folder.display();
        screen::say_plainly(&format!(
            "A new key pair is in {folder}. Without it, nothing that is sent to you can be read."
        ));
    }
    let keys = KeyFile::in_folder(&identity.folder);
    let expectation = Expectation {
        known: keys.load()?.server(&options.server.to_string()),
        accepted_key: options.accept_server_key,
        accepted_realm: options.accept_realm,
        allow_legacy: options.allow_legacy,
    };
    let connected = connect::connect(&options.server, roots.clone(), expectation)?;
    let start = Start { options, terminal, identity, keys, before: expectation.known };
    match connected.wire {
        Wire::Legacy => start.legacy(connected),
        Wire::Modern { exporter } => start.modern(connected, exporter, roots),
    }
}

/// What there is when a server has chosen a wire.
struct Start<'a> {
    options: &'a Options,
    terminal: &'a Terminal,
    identity: Identity,
    keys: KeyFile,
    /// What was known of the server.
    before: Option<Server>,
}

impl Start<'_> {
    fn legacy(self, connected: Connected) -> Result<(), Failure> {
        let Connected { stream, met, .. } = connected;
        let home = met.server.home();
        let pins = self.remember(&met)?.pins(home);
        let signing_key = self.identity.signing_key()?;
        let person = self.person(&met, Dialect::Legacy, &self.own_keys(&signing_key))?;
        let (run, server) = (RunId(rand::random()), met.server.key);
        let own = machine::Own { rsa: self.identity.key, signing_key, run, server };
        let machine = machine::Machine::new(own, pins).map_err(Failure::unexpected)?;
        let machine = if io::stdin().is_terminal() { machine } else { machine.scripted() };
        Session::new(Client::Legacy(machine.into(), home), person, session::work)?.run_legacy(stream)
    }

    fn modern(self, connected: Connected, exporter: [u8; 32], roots: Roots) -> Result<(), Failure> {
        let Options { server: address, accept_realm, .. } = self.options;
        let greeted = dial::greet(address, *accept_realm, connected, exporter)?;
        let realm = greeted.realm;
        let pins = self.remember(&greeted.met)?.pins(KeyName::from(realm));
        let signing_key = self.identity.signing_key()?;
        let person = self.person(&greeted.met, Dialect::Modern, &self.own_keys(&signing_key))?;
        let dialer = Dialer { address: address.clone(), roots, server: greeted.met.server };
        let scripted = !io::stdin().is_terminal();
        let rsa = Arc::new(self.identity.key);
        let config = modern::Config { realm, signing_key, rsa, pins, seed: rand::random(), scripted };
        let machine = modern::Machine::new(config);
        Session::new(Client::Modern(machine.into()), person, session::work)?.run_modern(greeted, dialer)
    }

    fn own_keys(&self, signing_key: &SigningKey) -> [String; 2] {
        [
            format!("Your signing key: {}.", KeyName::from(signing_key.verifying_key().bytes())),
            format!("This device's key: {}.", self.identity.key.public().fingerprint()),
        ]
    }

    /// What is known from now on: it is on the disk before anything is sent.
    fn remember(&self, met: &Met) -> Result<KnownKeys, Failure> {
        if !self.is_new(met) {
            return self.keys.load();
        }
        let (before, address, server) = (self.before, self.options.server.to_string(), met.server);
        self.keys.remember(&[Change::Server { address, before, server }])
    }

    fn is_new(&self, met: &Met) -> bool {
        self.before != Some(met.server)
    }

    /// Opens the screen, says where one is, and starts to read what is typed.
    fn person(&self, met: &Met, dialect: Dialect, own_keys: &[String]) -> Result<Person, Failure> {
        let (screen, editor) = open_screen()?;
        self.greet(&screen, met, dialect, own_keys).map_err(Failure::usage)?;
        let signals = watch_signals(self.terminal, 0)?; // before the line editor changes the terminal's settings
        let typing = read_lines(editor, self.terminal, dialect)?;
        Ok(Person { typing, signals, screen, keys: self.keys.clone() })
    }

    fn greet(&self, screen: &Screen, met: &Met, dialect: Dialect, own_keys: &[String]) -> io::Result<()> {
        if screen.is_terminal() || self.is_new(met) {
            screen.say(&met.why)?;
        }
        if screen.is_terminal() {
            own_keys.iter().try_for_each(|words| screen.say(words))?;
            typed::greeting(dialect).iter().try_for_each(|words| screen.say(words))?;
        }
        Ok(())
    }
}

/// Starts the thread that reads what is typed.
fn read_lines(editor: Option<LineEditor>, terminal: &Terminal, dialect: Dialect) -> Result<Receiver<Typing>, Failure> {
    let terminal = terminal.clone();
    let (to_main, typing) = if editor.is_some() { unbounded() } else { bounded(WAITING) };
    spawn("input", move || match editor {
        Some(editor) => editor.read(&terminal, dialect, &to_main),
        None => input::read_plain(&terminal, dialect, &to_main),
    })?;
    Ok(typing)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    thread::Builder::new().name(name.into()).spawn(work).map(drop).map_err(Failure::unexpected)
}

fn open_screen() -> Result<(Screen, Option<LineEditor>), Failure> {
    if !terminal::is_usable() {
        return Ok((Screen::Plain, None));
    }
    let mut editor = LineEditor::new().map_err(Failure::unexpected)?;
    let printer = editor.printer().map_err(Failure::unexpected)?;
    Ok((Screen::above(printer, screen::takes_colours()).map_err(Failure::unexpected)?, Some(editor)))
}

/// Tells main of the first signal that ends programs, and ends this one, with the exit code `code`, when main does not, or at
/// a second one that comes later.
#[cfg(unix)]
fn watch_signals(terminal: &Terminal, code: i32) -> Result<Receiver<()>, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::unexpected)?;
    let (caught, of_signals) = bounded(2);
    spawn("signals", move || {
        for _ in signals.forever() {
            let _ = caught.try_send(()); // more than two say nothing new
        }
    })?;
    let (to_main, events) = bounded(1);
    let terminal = terminal.clone();
    spawn("end", move || {
        if of_signals.recv().is_ok() {
            let _ = to_main.send(()); // main may have ended by itself
            let first = Instant::now();
            let wait = || SIGNAL_GRACE.saturating_sub(first.elapsed());
            while of_signals.recv_timeout(wait()).is_ok() && first.elapsed() < SIGNAL_AGAIN {}
            terminal.restore();
            std::process::exit(code);
        }
    })?;
    Ok(events)
}

/// Where there are no such signals, the system ends the program.
#[cfg(not(unix))]
fn watch_signals(_: &Terminal, _: i32) -> Result<Receiver<()>, Failure> {
    Ok(crossbeam_channel::never())
}
