//! What happens before the server listens: the certificate, god's password, the database, the limits of the machine.

use std::fs::{self, File};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::chat::Verifier;
use crate::crypto::password::{Hasty, PasswordHash};
use crate::names::{Password, Text};
use crate::prompt;
use crate::protocol::legacy;
use crate::server::clock::unix_seconds;
use crate::server::error::ServerError;
use crate::server::options::{Files, Options};
use crate::server::permissions;
use crate::store::{self, Opened, Origin, Store};
use crate::tls::ServerIdentity;

/// Descriptors that are not for connections: files, pollers, the standard streams.
const SPARE_DESCRIPTORS: u64 = 64;

/// A thread takes four mappings; where they end, making a thread aborts the process.
const MAPPINGS_PER_CONNECTION: u64 = 5;

/// Most connections, whatever the machine allows.
const MOST_CONNECTIONS: u64 = 50_000;

/// Longest message of the day, in bytes.
const MOST_MOTD: usize = 1024;

/// The named certificate; else one in the data folder; else a new one.
pub(super) fn identity(files: &Files) -> Result<ServerIdentity, ServerError> {
    if let Some((certificate, key)) = certificate_files(files)? {
        let is_ours = files.key.is_none();
        permissions::close(&key, is_ours);
        return Ok(ServerIdentity::load(&certificate, &key)?);
    }
    let certs = files.data_dir.join("certs");
    let made = ServerIdentity::generate(&certs.join("server.crt"), &certs.join("server.key"))?;
    info!(certificate = %made.certificate_path().display(), "made a self-signed certificate, because there was none");
    Ok(made)
}

/// The named certificate and its key, or those in the data folder. Where one is, the other must be.
pub(super) fn certificate_files(files: &Files) -> Result<Option<(PathBuf, PathBuf)>, ServerError> {
    if let (Some(certificate), Some(key)) = (&files.cert, &files.key) {
        return Ok(Some((certificate.clone(), key.clone())));
    }
    // What cannot be looked for may be there: it is not to be replaced by a new one.
    let is_there =
        |path: &Path| path.try_exists().map_err(|error| ServerError::File("look for", path.to_owned(), error));
    for place in [files.data_dir.join("certs"), files.data_dir.clone()] {
        let (certificate, key) = (place.join("server.crt"), place.join("server.key"));
        match (is_there(&certificate)?, is_there(&key)?) {
            (true, true) => return Ok(Some((certificate, key))),
            (true, false) => return Err(ServerError::HalfCertificate { missing: key, there: certificate }),
            (false, true) => return Err(ServerError::HalfCertificate { missing: certificate, there: key }),
            (false, false) => {}
        }
    }
    Ok(None)
}

/// The database that is there, or a new one.
pub(super) fn database(options: &Options) -> Result<Opened, ServerError> {
    let dir = &options.files.data_dir;
    if !store::exists(dir)? {
        let password = god_password(options.god_password_file.as_deref())?;
        let god = Verifier::new(PasswordHash::new::<Hasty>(&password).to_string());
        return Ok(Store::create(dir, god, unix_seconds())?);
    }
    permissions::close(&dir.join("db_key.bin"), true);
    let opened = Store::open(dir, unix_seconds())?;
    if opened.keys.damaged_lines() > 0 {
        warn!(
            lines = opened.keys.damaged_lines(),
            "public_keys.log holds lines that cannot be read; they are passed over"
        );
    }
    if opened.torn > 0 {
        warn!(
            bytes = opened.torn,
            "dropped the end of database.journal, which is unfinished: after a crash, changes that nobody was told \
             are saved; if somebody or the disk cut the file, more may be missing"
        );
    }
    if opened.journal_missing {
        warn!(
            "database.journal was missing, and an empty one is made: after a crash while the database was being made, \
             nothing is lost; if somebody removed it, all that was changed since is"
        );
    }
    if let Origin::TakenOver { backup } = &opened.origin {
        announce_take_over(backup);
    }
    Ok(opened)
}

fn announce_take_over(backup: &Path) {
    let backup = backup.display();
    warn!(
        "took over the Python server's database; the original is in {backup}, with the old, weakly protected passwords. \
         To go back: stop this server, move {backup} to database.enc, delete database.journal, start the Python server \
         (what was registered since is lost). Once you are sure to stay, delete {backup}"
    );
}

/// The message of the day, if there is one.
pub(super) fn motd(options: &Options) -> Result<Option<Text>, ServerError> {
    let text = match (&options.motd, &options.motd_file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => {
            let mut text = Vec::new();
            // One byte more than may be is enough to see that it is too long.
            let read = File::open(file).and_then(|file| file.take(MOST_MOTD as u64 + 1).read_to_end(&mut text));
            read.map_err(|error| ServerError::Motd(format!("{}: {error}", file.display())))?;
            String::from_utf8_lossy(&text).into_owned()
        }
        (None, None) => return Ok(None),
    };
    if text.len() > MOST_MOTD {
        return Err(ServerError::Motd(format!("it has more than {MOST_MOTD} bytes")));
    }
    let text = Text::sanitize(text.trim());
    Ok((!text.as_str().is_empty()).then_some(text))
}

/// From the file; else hidden and twice on a terminal; else one line of standard input.
fn god_password(file: Option<&Path>) -> Result<Password, ServerError> {
    let failed = |why: String| ServerError::GodPassword(why);
    let password = match file {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|error| failed(format!("{}: {error}", file.display())))?;
            let text = Zeroizing::new(text);
            Password::new(text.lines().next().unwrap_or_default())
        }
        None if io::stdin().is_terminal() => ask_twice().map_err(|error| failed(error.to_string()))?,
        None => {
            let mut line = Zeroizing::new(String::new());
            io::stdin().lock().read_line(&mut line).map_err(|error| failed(error.to_string()))?;
            Password::new(line.trim_end_matches(['\r', '\n']))
        }
    };
    match password.expose() {
        "" => Err(failed("it is empty; give one line on standard input, or --god-password-file".into())),
        // A command is split at white space: nobody could type it.
        text if !legacy::is_word(text) => Err(failed("it holds white space, so nobody could log in with it".into())),
        _ => Ok(password),
    }
}

fn ask_twice() -> io::Result<Password> {
    writeln!(
        io::stderr(),
        "There is no database yet. Choose the password of the reserved user 'god', who may enter every room."
    )?;
    loop {
        let first = Password::new(prompt::hidden("Password for god: ")?);
        if first.expose() == Password::new(prompt::hidden("The same again: ")?).expose() {
            return Ok(first);
        }
        writeln!(io::stderr(), "The two differ. Once more.")?;
    }
}

/// As many connections as descriptors and mappings allow.
pub(super) fn most_connections() -> usize {
    let by_descriptors = descriptors().saturating_sub(SPARE_DESCRIPTORS);
    let by_mappings = fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map_or(u64::MAX, |mappings| mappings / MAPPINGS_PER_CONNECTION);
    by_descriptors.min(by_mappings).min(MOST_CONNECTIONS) as usize
}

/// The limit on open files, after raising it as far as it goes.
#[cfg(unix)]
fn descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    in_force.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn descriptors() -> u64 {
    u64::MAX
}
