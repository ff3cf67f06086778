//! The chat client: threads, screen, files, and the state machine that decides everything.
//!
//! ```text
//! reader ──messages (64)──▶┐
//! input ──lines───────────▶┤ main: select! → machine → print | queue, flush ──full socket──▶ drain
//! signals ────────────────▶┘
//! ```
//! The input thread may be waiting for a line when the program ends, and the reader for the server; nothing depends on them, so
//! they end with the process. The lines' channel has no bound in a terminal, where a person's speed bounds it (see
//! [`input::LineEditor::read`]), and holds 64 where stdin is a file or a pipe, which then waits.
//!
//! [`machine`], [`keyring`], [`packages`], [`key_name`], [`known_keys`], [`requests`], [`trust`], [`typed`] and [`wire`] are pure.

pub mod connect;
pub mod failure;
pub mod identity;
pub mod input;
pub mod key_command;
pub mod key_file;
pub mod key_name;
pub mod keyring;
pub mod known_keys;
pub mod machine;
pub mod modern;
pub mod options;
pub mod packages;
pub mod requests;
pub mod screen;
pub mod session;
pub mod terminal;
pub mod trust;
pub mod typed;
pub mod wire;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, unbounded};

use connect::{Connected, Expectation};
use failure::{Exit, Failure};
use identity::Identity;
use input::{LineEditor, Typing};
use key_file::KeyFile;
use keyring::Keyring;
use known_keys::Change;
use machine::Machine;
use options::{Command, Options};
use screen::Screen;
use session::{Events, Session};
use terminal::Terminal;
use trust::Met;
use wire::{Dialect, Wire};

/// Messages and lines that wait for main; beyond it, reading waits.
const WAITING: usize = 64;

/// How long main may take to end after a signal; it may be stuck in a terminal or a pipe that nobody reads.
const SIGNAL_GRACE: Duration = Duration::from_secs(2);

/// Runs the client with the command line `args`; the exit codes are those of [`Exit`].
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::read(args) {
        Ok(options) => options,
        Err(help) => {
            let _ = help.print(); // to stdout or stderr; without them there is nobody to tell
            return if help.use_stderr() { ExitCode::from(Exit::Usage as u8) } else { ExitCode::SUCCESS };
        }
    };
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
    let connected = connect::connect(&options.server, roots, expectation)?;
    match connected.wire {
        Wire::Legacy => chat_legacy(options, terminal, identity, keys, &expectation, connected),
        Wire::Modern { .. } => {
            Err(Failure::unexpected(format!("{} speaks a wire that this client does not.", options.server)))
        }
    }
}

fn chat_legacy(
    options: &Options,
    terminal: &Terminal,
    identity: Identity,
    keys: KeyFile,
    expectation: &Expectation,
    connected: Connected,
) -> Result<(), Failure> {
    let Connected { stream, wire, met: Met { server, why }, .. } = connected;
    let (before, address) = (expectation.known, options.server.to_string());
    let is_new = before != Some(server);
    let known = if is_new {
        keys.remember(&[Change::Server { address, before, server }])? // before anything is sent
    } else {
        keys.load()?
    };

    let stream = Arc::new(stream);
    let (mut screen, editor) = open_screen()?;
    greet(&mut screen, &identity, &why, is_new).map_err(Failure::usage)?;
    let keyring = Keyring::new(known.pins(server.home()).rsa);
    let machine = Machine::new(identity.key, keyring).map_err(Failure::unexpected)?;
    let machine = if io::stdin().is_terminal() { machine } else { machine.scripted() };

    let signals = watch_signals(terminal, 0)?; // before the line editor changes the terminal's settings
    let (to_main, heard) = bounded(WAITING);
    let reading = Arc::clone(&stream);
    spawn("reader", move || session::read_server(&reading, &to_main))?;
    let typing = read_lines(editor, terminal, wire.dialect())?;
    let events = Events { typing, wire: heard, signals };
    Session::new(stream, machine, screen, keys, server.home()).run(events)
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
    Ok((Screen::above(printer).map_err(Failure::unexpected)?, Some(editor)))
}

fn greet(screen: &mut Screen, identity: &Identity, why: &str, is_new_server: bool) -> io::Result<()> {
    let in_terminal = matches!(screen, Screen::Terminal(_));
    if in_terminal || is_new_server {
        screen.say(why)?;
    }
    if in_terminal {
        screen.say(&format!("Your own key: {}.", identity.key.public().fingerprint()))?;
        typed::help(Dialect::Legacy).iter().try_for_each(|words| screen.say(words))?;
    }
    Ok(())
}

/// Tells main of the first signal that ends programs, and ends this one, with the exit code `code`, when main does not.
#[cfg(unix)]
fn watch_signals(terminal: &Terminal, code: i32) -> Result<Receiver<()>, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::unexpected)?;
    let (to_main, events) = bounded(1);
    let terminal = terminal.clone();
    spawn("signals", move || {
        if signals.forever().next().is_some() {
            let _ = to_main.send(()); // main may have ended by itself
            thread::sleep(SIGNAL_GRACE);
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
