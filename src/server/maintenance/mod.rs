//! What an operator does with a data folder apart from serving: look at it, copy it, put a copy back.

mod archive;
mod certificate;
mod output;
mod report;

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use self::archive::Archive;
use self::certificate::Certificate;
use self::output::Output;
use crate::process;
use crate::server::error::ServerError;
use crate::server::options::{Command, Files};
use crate::store::{Parts, Report};

/// The name that stands for standard input or output.
const STANDARD: &str = "-";

/// Does what the command line asks for instead of serving.
///
/// # Errors
/// [`ServerError`] says why it was not done.
pub fn perform(command: &Command) -> Result<(), ServerError> {
    process::give_up(false);
    match command {
        Command::Check { files } => check(files),
        Command::Backup { file, replace, files } => backup(file, *replace, files),
        Command::Restore { file, verify: true, .. } => verify(file),
        Command::Restore { file, data_dir, .. } => restore(file, data_dir),
    }
}

fn check(files: &Files) -> Result<(), ServerError> {
    let dir = &files.data_dir;
    let (parts, mut report) = Parts::read_and_examine(dir)?;
    if let Some((record, len)) = Parts::open_keys(dir)? {
        report.keys = parts.examine_keys(record.take(len), io::sink())?;
    }
    let certificate = Certificate::find(files)?;
    let mut said = report::describe(&report, certificate.as_ref());
    said.extend(report::warnings(&report));
    said.extend(report::warnings_of_folder(files));
    say(io::stdout(), &said);
    Ok(())
}

fn backup(file: &Path, replace: bool, files: &Files) -> Result<(), ServerError> {
    let dir = &files.data_dir;
    let mut output = Output::create(file, replace)?;
    let (parts, mut report) = Parts::read_and_examine(dir)?;
    let certificate = Certificate::find(files)?;
    let keys = Parts::open_keys(dir)?;
    let written = |error| ServerError::File("write", file.to_owned(), error);
    let mut archive = Archive::new(BufWriter::new(&mut output));
    for (name, bytes) in parts.files() {
        archive.add(name, bytes).map_err(written)?;
    }
    if let Some(certificate) = &certificate {
        certificate.files().into_iter().try_for_each(|(name, bytes)| archive.add(name, bytes)).map_err(written)?;
    }
    if let Some((record, len)) = keys {
        archive.begin(archive::PUBLIC_KEYS, len).map_err(written)?;
        report.keys = parts.examine_keys(record.take(len), &mut archive)?;
        archive.end().map_err(written)?;
    }
    archive.finish().map_err(written)?;
    let on_standard_output = output.is_standard();
    output.keep()?;
    let mut said = report::describe(&report, certificate.as_ref());
    said.extend(report::warnings(&report));
    if on_standard_output {
        say(io::stderr(), &said)
    } else {
        say(io::stdout(), &said)
    }
    Ok(())
}

fn verify(file: &Path) -> Result<(), ServerError> {
    let (_, certificate, report) = archive::read(input(file)?, file, io::sink())?;
    say_restored(&report, certificate.as_ref());
    Ok(())
}

/// Nothing is left in the folder when it fails, as nothing was before.
fn restore(file: &Path, dir: &Path) -> Result<(), ServerError> {
    let input = input(file)?;
    make_empty(dir)?;
    let restored = unpack(input, file, dir);
    if restored.is_err() {
        Parts::remove(dir);
        Certificate::remove(dir);
    }
    let (certificate, report) = restored?;
    say_restored(&report, certificate.as_ref());
    Ok(())
}

/// The database comes last: until all else is on disk, there is none.
fn unpack(input: impl Read, file: &Path, dir: &Path) -> Result<(Option<Certificate>, Report), ServerError> {
    let mut keys = BufWriter::new(Parts::create_keys(dir)?);
    let (parts, certificate, report) = archive::read(input, file, &mut keys)?;
    let synced = keys.into_inner().map_err(io::IntoInnerError::into_error).and_then(|keys| keys.sync_all());
    synced.map_err(|error| ServerError::File("write", dir.join(archive::PUBLIC_KEYS), error))?;
    if let Some(certificate) = &certificate {
        certificate.put(dir)?;
    }
    parts.put(dir)?;
    Ok((certificate, report))
}

fn say_restored(report: &Report, certificate: Option<&Certificate>) {
    let mut said = report::describe(report, certificate);
    said.extend(report::warnings(report));
    say(io::stdout(), &said);
}

fn input(file: &Path) -> Result<Box<dyn Read>, ServerError> {
    if file == Path::new(STANDARD) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file).map_err(|error| ServerError::File("open", file.to_owned(), error))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// Makes the folder, unless it is there and empty.
fn make_empty(dir: &Path) -> Result<(), ServerError> {
    let failed = |action| move |error| ServerError::File(action, dir.to_owned(), error);
    fs::create_dir_all(dir).map_err(failed("make"))?;
    match fs::read_dir(dir).map_err(failed("read"))?.next() {
        Some(_) => Err(ServerError::NotEmpty(dir.to_owned())),
        None => Ok(()),
    }
}

/// Whoever reads it may have closed it, and then nothing is left to say.
fn say(mut to: impl Write, lines: &[String]) {
    let _ = lines.iter().try_for_each(|line| writeln!(to, "{line}"));
}
