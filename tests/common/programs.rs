//! Programs that talk in lines: the Python peers, and our client in its plain mode.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use super::PATIENCE;

/// A Python with PyPI's `cryptography`, in a virtual environment below `target/`, made when it is first needed.
///
/// `None`, and the reason on the standard error, where there is no python3; with `CI=true` that is a failure.
pub fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match PYTHON.get_or_init(make_environment) {
        Ok(python) => Some(python.clone()),
        Err(why) if std::env::var("CI").as_deref() == Ok("true") => panic!("no Python peers: {why}"),
        Err(why) => {
            eprintln!("SKIPPED: no Python peers: {why}");
            None
        }
    }
}

fn make_environment() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    fs::create_dir_all(&target).map_err(|error| error.to_string())?;
    // Test programs may run side by side: one makes the environment, the others wait.
    let lock = File::create(target.join("python.lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let folder = target.join("python");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let done = folder.join("cryptography-is-installed");
    if !done.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "cryptography"]))?;
        File::create(done).map_err(|error| error.to_string())?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// One of the scripts in `tests/python`.
pub fn script(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name));
    command
}

/// A program that is fed lines and whose lines are heard, standard output and standard error apart.
pub struct Program {
    pub child: Child,
    stdin: Mutex<Option<ChildStdin>>,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

impl Program {
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = Mutex::new(child.stdin.take());
        let lines = listen(child.stdout.take().unwrap());
        let errors = listen(child.stderr.take().unwrap());
        Self { child, stdin, lines, errors }
    }

    /// Types a line.
    pub fn types(&self, line: &str) {
        writeln!(self.stdin.lock().unwrap().as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends its input.
    pub fn ends_input(&self) {
        self.stdin.lock().unwrap().take();
    }

    /// Waits for a line of its standard output that holds `text`; gives it back.
    #[track_caller]
    pub fn shows(&self, text: &str) -> String {
        wait_for(&self.lines, text).unwrap_or_else(|seen| {
            let errors: Vec<_> = self.errors.try_iter().collect();
            panic!("{text:?} never came on standard output; these did: {seen:#?}; and on standard error: {errors:#?}")
        })
    }

    /// Waits for a line of its standard error that holds `text`; gives it back.
    #[track_caller]
    pub fn complains(&self, text: &str) -> String {
        wait_for(&self.errors, text)
            .unwrap_or_else(|seen| panic!("{text:?} never came on standard error; these did: {seen:#?}"))
    }

    /// What it has shown and nobody waited for.
    pub fn rest(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    /// Waits for its end; its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.ends_input();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The first line that holds `text`; those that came instead, when the time is up or the program has ended.
fn wait_for(lines: &Receiver<String>, text: &str) -> Result<String, Vec<String>> {
    let deadline = Instant::now() + PATIENCE * 3; // a debug build and forty RSA keys on two cores
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(text) => return Ok(line),
            Ok(line) => seen.push(line),
            Err(_) => return Err(seen),
        }
    }
}
