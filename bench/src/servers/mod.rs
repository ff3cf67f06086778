//! The servers that are measured: each is started on a loopback port with a configuration of its own in a temporary folder, its
//! limits raised, and ended by its process id.

mod brokers;
mod irc;
mod ours;
mod python;

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use secure_chat::tls::ServerIdentity;
use tempfile::TempDir;

use crate::accounts::Accounts;
use crate::target::Target;

/// How long a server may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where programs are besides the search path: Debian has servers there.
const SYSTEM_PROGRAMS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// What a server has to know beforehand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) accounts: usize,
    pub(crate) rooms: usize,
    /// Of a server of ours: whether that is in the snapshot, and not in the journal.
    pub(crate) folded: bool,
    /// Of a server of ours: what it costs to check a password, in rounds of PBKDF2.
    pub(crate) rounds: u32,
    /// Of a server of ours: whether it limits rates, as it does by default.
    pub(crate) limited: bool,
}

impl Plan {
    /// All in the snapshot, with passwords that are checked in no time: hashing is not what is measured.
    pub(crate) fn new(accounts: usize, rooms: usize) -> Self {
        Self { accounts, rooms, folded: true, rounds: 1, limited: false }
    }
}

/// Where programs are that are not installed.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) chat_server: PathBuf,
    pub(crate) python_server: PathBuf,
}

/// A folder with what a server needs of it.
struct Site {
    dir: TempDir,
    port: u16,
}

impl Site {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The path of a file as configurations take it.
    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }

    /// The certificate: P-256, self-signed, as ours is by default.
    fn certify(&self) -> Result<()> {
        ServerIdentity::generate(&self.path("server.crt"), &self.path("server.key"))
            .context("a certificate cannot be made")?;
        Ok(())
    }
}

/// A server that runs; it ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) version: String,
    /// How long it took until it listened.
    pub(crate) started_in: Duration,
    site: Site,
}

/// Why a target cannot be measured here.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

/// Whether everything is there that this target needs.
pub(crate) fn find(target: Target, programs: &Programs) -> Result<PathBuf, Missing> {
    let there = |path: &Path, what: &str| {
        if path.is_file() {
            Ok(path.to_owned())
        } else {
            Err(Missing(format!("{} is not there: {what}", path.display())))
        }
    };
    match target {
        Target::Modern | Target::Legacy | Target::LegacyKeys => {
            there(&programs.chat_server, "cargo build --release, or name it with --chat-server")
        }
        Target::Python | Target::PythonKeys => {
            there(&programs.python_server, "name it with --python-server")?;
            python::check()?;
            installed("python3", "python3")
        }
        Target::Ngircd => installed("ngircd", "ngircd"),
        Target::Inspircd => installed("inspircd", "inspircd"),
        Target::Nats => installed("nats-server", "nats-server"),
        Target::Mosquitto => installed("mosquitto", "mosquitto"),
    }
}

fn installed(program: &str, package: &str) -> Result<PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(SYSTEM_PROGRAMS.iter().map(PathBuf::from));
    let found = places.map(|place| place.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| Missing(format!("{program} is not installed: apt-get install {package}")))
}

/// Starts the target's server; gives the accounts that it knows, too.
pub(crate) fn start(target: Target, programs: &Programs, plan: Plan) -> Result<(Server, Accounts)> {
    let program = find(target, programs).map_err(|Missing(why)| anyhow::anyhow!(why))?;
    let dir = tempfile::Builder::new().prefix("secure-chat-bench-").tempdir().context("no temporary folder")?;
    let site = Site { dir, port: free_port()? };
    let mut accounts = Accounts::plain();
    let command = match target {
        Target::Modern | Target::Legacy | Target::LegacyKeys => {
            accounts = Accounts::create(site.dir.path(), plan)?;
            ours::command(&program, &site, plan.limited)
        }
        Target::Python | Target::PythonKeys => python::command(&program, &programs.python_server, &site, plan)?,
        Target::Ngircd => irc::ngircd(&program, &site)?,
        Target::Inspircd => irc::inspircd(&program, &site)?,
        Target::Nats => brokers::nats(&program, &site)?,
        Target::Mosquitto => brokers::mosquitto(&program, &site)?,
    };
    let version = version(target, &program);
    Ok((Server::launch(command, site, version)?, accounts))
}

/// The first line of what the program says of itself.
fn version(target: Target, program: &Path) -> String {
    let option = if target == Target::Mosquitto { "-h" } else { "--version" };
    let output = Command::new(program).arg(option).stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown version").trim().to_owned()
}

/// A port that is free now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no loopback port is free")?;
    Ok(listener.local_addr().context("a socket without an address")?.port())
}

impl Server {
    fn launch(mut command: Command, site: Site, version: String) -> Result<Self> {
        let log = site.path("output.log");
        let output = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let errors = output.try_clone().context("a file cannot be shared")?;
        command.current_dir(site.dir.path()).stdin(Stdio::null()).stdout(output).stderr(errors);
        let program = command.get_program().to_owned();
        let begun = Instant::now();
        let child = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, site.port));
        let mut server = Self { child, address, version, started_in: Duration::ZERO, site };
        server.wait_until_it_listens(begun)?;
        server.started_in = begun.elapsed();
        Ok(server)
    }

    fn wait_until_it_listens(&mut self, begun: Instant) -> Result<()> {
        let deadline = begun + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().context("asking for the server")?;
            if ended.is_some() || Instant::now() >= deadline {
                let log = self.log();
                bail!("the server does not listen on {}; it said:\n{log}", self.address);
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it printed.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.site.path("output.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, Signal::TERM); // it may have ended by itself
        }
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill(); // if it still has not ended
        let _: io::Result<_> = self.child.wait();
    }
}
