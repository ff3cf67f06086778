//! What an operator does with a data folder apart from serving: look at it, copy it, put a copy back.

mod archive;
mod certificate;
mod output;
mod own;
mod report;
mod unfinished;

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use self::archive::Archive;
use self::certificate::Certificate;
use self::output::Output;
use self::unfinished::{Progress, Unfinished};
use crate::names::Text;
use crate::process;
use crate::server::error::ServerError;
use crate::server::options::{Command, Files};
use crate::store::{Claim, Parts, Report, names_in};

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
    own::refuse(file, files)?;
    let unfinished = Unfinished::watch()?;
    let mut output = Output::create(file, replace, &unfinished)?;
    let (parts, mut report) = Parts::read_and_examine(dir)?;
    let certificate = Certificate::find(files)?;
    let keys = Parts::open_keys(dir)?;
    let target = output.name();
    let written = |error| ServerError::File("write to", target.clone(), error);
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
    let (left_over, done, to) = (output.left_over(), output.done(), output.said_to());
    output.keep(&unfinished)?;
    let mut said = report::describe(&report, certificate.as_ref());
    said.extend(report::warnings(&report));
    said.extend(left_over.iter().map(|path| report::warning_of_left_over(path)));
    said.push(done);
    say(to, &said);
    Ok(())
}

fn verify(file: &Path) -> Result<(), ServerError> {
    let name = name(file);
    let (_, certificate, report) = archive::read(input(file)?, name, io::sink())?;
    say_restored(&report, certificate.as_ref(), format!("{} can be restored; nothing was written", name.display()));
    Ok(())
}

/// Nothing is left in the folder when it fails, or is interrupted, as nothing was before.
fn restore(file: &Path, dir: &Path) -> Result<(), ServerError> {
    let input = input(file)?;
    let unfinished = Unfinished::watch()?;
    let claim = claim(dir)?;
    let restored = unpack(input, file, dir, &claim, &unfinished);
    if restored.is_err() {
        remover(dir, &claim)();
    }
    let (certificate, report) = restored?;
    let done = format!("restored into {0}: start it with chat-server --data-dir {0}", dir.display());
    say_restored(&report, certificate.as_ref(), done);
    Ok(())
}

/// What removes all that was put into a folder that was empty.
fn remover(dir: &Path, claim: &Claim) -> impl FnOnce() + Send + use<> {
    let (dir, remove) = (dir.to_owned(), claim.remover());
    move || {
        Certificate::remove(&dir);
        remove();
    }
}

/// The database comes last: until all else is on disk, there is none.
fn unpack(
    input: impl Read,
    file: &Path,
    dir: &Path,
    claim: &Claim,
    unfinished: &Unfinished,
) -> Result<(Option<Certificate>, Report), ServerError> {
    let mut keys = BufWriter::new(begin(dir, claim, unfinished)?);
    let (parts, certificate, report) = archive::read(input, name(file), &mut keys)?;
    let synced = keys.into_inner().map_err(io::IntoInnerError::into_error).and_then(|keys| keys.sync_all());
    synced.map_err(|error| ServerError::File("write", dir.join(archive::PUBLIC_KEYS), error))?;
    let mut progress = unfinished.progress();
    if let Some(certificate) = &certificate {
        certificate.put(dir)?;
    }
    parts.put(claim)?;
    *progress = Progress::Done;
    Ok((certificate, report))
}

/// The first file of a folder that is restored.
fn begin(dir: &Path, claim: &Claim, unfinished: &Unfinished) -> Result<File, ServerError> {
    let mut progress = unfinished.progress();
    let keys = claim.create_keys()?;
    *progress = Progress::Making(Box::new(remover(dir, claim)));
    Ok(keys)
}

fn say_restored(report: &Report, certificate: Option<&Certificate>, done: String) {
    let mut said = report::describe(report, certificate);
    said.extend(report::warnings(report));
    said.push(done);
    say(io::stdout(), &said);
}

/// The backup, as it is called.
fn name(file: &Path) -> &Path {
    if file == Path::new(STANDARD) { Path::new("standard input") } else { file }
}

fn input(file: &Path) -> Result<Box<dyn Read>, ServerError> {
    if file == Path::new(STANDARD) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file).map_err(|error| ServerError::File("open", file.to_owned(), error))?;
    if file.is_dir() {
        return Err(ServerError::Unsuitable(file.to_owned(), "is a folder; name the backup's file"));
    }
    Ok(Box::new(BufReader::new(opened)))
}

/// Makes the folder, unless it is there and empty, and locks it: a server that is started meanwhile finds it in use.
fn claim(dir: &Path) -> Result<Claim, ServerError> {
    let failed = |action| move |error| ServerError::File(action, dir.to_owned(), error);
    let not_empty = |names| ServerError::NotEmpty(dir.to_owned(), names);
    fs::create_dir_all(dir).map_err(failed("make"))?;
    let names = names_in(dir).map_err(failed("read"))?;
    if !names.is_empty() {
        return Err(not_empty(names)); // without a lock file in it that was not there
    }
    let claim = Claim::of(dir)?;
    let names = claim.names()?; // of a server that began and ended just now
    if names.is_empty() { Ok(claim) } else { Err(not_empty(names)) }
}

/// The folder that a file is in, or would be.
fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whoever reads it may have closed it, and then nothing is left to say. Names of files may hold what does harm to a
/// terminal.
fn say(mut to: impl Write, lines: &[String]) {
    let _ = lines.iter().try_for_each(|line| writeln!(to, "{}", Text::sanitize(line).as_str()));
}
