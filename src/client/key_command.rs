//! `chat-client key`: shows the person's keys, and carries the signing key from one device to another.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::client::failure::{Exit, Failure};
use crate::client::identity::{self, Installed};
use crate::client::key_name::KeyName;
use crate::client::options::{KeyCommand, Passphrase};
use crate::client::screen::say_plainly;
use crate::client::terminal::Terminal;
use crate::crypto::{SigningKey, VerifyingKey};
use crate::names::Password;
use crate::prompt;

/// Longest file that is read, in bytes: no exported key is as long.
const MAX_FILE: u64 = 64 * 1024;

/// Longest line that a passphrase is read from, in bytes.
const MAX_LINE: u64 = 4096;

/// Does what was asked with the keys in the folder that is named, else in the one that [`identity::find_folder`] finds.
///
/// # Errors
/// [`Failure`] says which file is at fault; then nothing has changed.
pub fn run(command: &KeyCommand, named: Option<&Path>, terminal: &Terminal) -> Result<(), Failure> {
    let folder = || identity::open_folder(named);
    match command {
        KeyCommand::Show => show(&identity::find_folder(named)?),
        KeyCommand::Export { file, passphrase } => export(&folder()?, file, passphrase, terminal),
        KeyCommand::Import { file, passphrase, replace } => import(&folder()?, file, passphrase, *replace, terminal),
    }
}

fn show(folder: &Path) -> Result<(), Failure> {
    let none = || "none yet; it is made when it is first needed".to_owned();
    let rsa = identity::find_key(folder)?.map_or_else(none, |key| key.public().fingerprint().to_string());
    let signing = identity::find_signing_key(folder)?;
    let signing = signing.map_or_else(none, |key| names(&key.verifying_key()));
    let written = writeln!(io::stdout(), "RSA key: {rsa}\nSigning key: {signing}");
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::usage(error)),
        _ => Ok(()),
    }
}

/// A signing key's fingerprint, and the key itself, which is as short.
fn names(key: &VerifyingKey) -> String {
    format!("{} ({})", key.fingerprint(), KeyName::from(key.bytes()))
}

fn export(folder: &Path, file: &Path, from: &Passphrase, terminal: &Terminal) -> Result<(), Failure> {
    if file.symlink_metadata().is_ok() {
        return Err(unusable(file, &"it is there already, and is not overwritten")); // before anything is asked
    }
    let key = identity::signing_key(folder)?;
    let passphrase = read_passphrase(from, true, terminal)?;
    let pem = key.to_encrypted_pem(&passphrase).map_err(Failure::unexpected)?;
    identity::keep(file, pem.as_bytes()).map_err(|error| unusable(file, &error))?;
    say_plainly(&format!(
        "Your signing key {} is in {}, encrypted. Who has the file and the passphrase can write in your name.\n\
         On the other device: chat-client key import FILE",
        names(&key.verifying_key()),
        file.display()
    ));
    Ok(())
}

fn import(folder: &Path, file: &Path, from: &Passphrase, replace: bool, terminal: &Terminal) -> Result<(), Failure> {
    let mut pem = Zeroizing::new(String::new());
    let read = File::open(file).and_then(|file| file.take(MAX_FILE).read_to_string(&mut pem));
    read.map_err(|error| unusable(file, &error))?;
    if !pem.contains("ENCRYPTED") {
        return Err(unusable(file, &"it is no signing key that was exported")); // before anything is asked
    }
    let passphrase = read_passphrase(from, false, terminal)?;
    let key = SigningKey::from_encrypted_pem(&pem, &passphrase).map_err(|why| unusable(file, &why))?;
    let name = names(&key.verifying_key());
    say_plainly(&match identity::install_signing_key(folder, &key, replace)? {
        Installed::First => format!("Your signing key is {name} now."),
        Installed::Already => format!("Your signing key is {name} already."),
        Installed::Replaced(old) => format!("Your signing key is {name} now. The one before is in {}.", old.display()),
    });
    Ok(())
}

fn unusable(file: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("{}: {why}.", file.display()))
}

fn read_passphrase(from: &Passphrase, twice: bool, terminal: &Terminal) -> Result<Password, Failure> {
    let passphrase = match &from.passphrase_file {
        Some(path) => {
            let file = File::open(path).map_err(|error| unusable(path, &error))?;
            first_line(&mut BufReader::new(file)).map_err(|error| unusable(path, &error))?
        }
        None if io::stdin().is_terminal() => ask(twice, terminal)?,
        None => first_line(&mut io::stdin().lock()).map_err(|error| Failure::usage(format!("stdin: {error}.")))?,
    };
    if passphrase.is_empty() {
        return Err(Failure::usage("Without a passphrase the key would not be encrypted."));
    }
    Ok(Password::new(passphrase.as_str()))
}

fn first_line(from: &mut impl BufRead) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    from.take(MAX_LINE).read_line(&mut line)?;
    let len = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(len);
    Ok(line)
}

fn ask(twice: bool, terminal: &Terminal) -> Result<Zeroizing<String>, Failure> {
    let _signals = super::watch_signals(terminal, Exit::Usage as i32)?; // they would leave the terminal without an echo
    let answer_to = |question: &str| {
        let answer = terminal.edit(|| prompt::hidden(question)).ok_or(io::ErrorKind::Interrupted.into());
        let answer = answer.flatten().map_err(|error| Failure::usage(format!("No passphrase was given: {error}.")));
        answer.map(Zeroizing::new)
    };
    let passphrase = answer_to("Passphrase: ")?;
    if twice && *answer_to("The same again: ")? != *passphrase {
        return Err(Failure::usage("The two passphrases differ."));
    }
    Ok(passphrase)
}
