//! What is said of a database, a line each.

use std::path::{Path, PathBuf};

use super::certificate::Certificate;
use crate::server::options::Files;
use crate::server::permissions;
use crate::server::setup;
use crate::store::{KeyCensus, Report, Wrote};

/// What it holds.
pub(super) fn describe(report: &Report, certificate: Option<&Certificate>) -> Vec<String> {
    let wrote = match report.wrote {
        Wrote::Ours => "format 2",
        Wrote::Earlier => "format 1, which the next start converts",
        Wrote::Python => "of the Python server, which the next start takes over",
    };
    let mut lines = vec![
        format!("database.enc: {} bytes, {wrote}", report.snapshot_bytes),
        format!("database.journal: {} bytes, {} groups of changes", report.journal_bytes, report.groups),
        format!("accounts: {}, god's included", report.accounts),
        format!("rooms: {}, with {} bans and {} mutes", report.rooms, report.bans, report.mutes),
        format!(
            "password hashes of the Python server: {} yet to be strengthened, {} strengthened",
            report.weak, report.wrapped
        ),
        format!("public_keys.log: keys of {} users in {} lines", report.keys.users, report.keys.lines),
    ];
    lines.extend(report.realm.map(|realm| format!("realm: ed25519:{realm}")));
    lines.push(match certificate {
        Some(certificate) => format!("certificate: {}, {}", certificate.path.display(), certificate.fingerprint),
        None => "certificate: none; the server makes one when it starts".to_owned(),
    });
    lines
}

/// What an operator should know, and what no server minds.
pub(super) fn warnings(report: &Report) -> Vec<String> {
    let KeyCensus { damaged, torn, .. } = report.keys;
    let of = |count: u64, what: &str| (count > 0).then(|| format!("warning: {count} {what}"));
    let warnings = [
        of(
            report.torn,
            "bytes at the end of database.journal are an unfinished end: after a crash, of changes that nobody was \
             told are saved; if somebody or the disk cut the file, more may be missing",
        ),
        report.journal_missing.then(|| {
            "warning: database.journal is missing: after a crash while the database was being made, nothing is lost; \
             if somebody removed it, all that was changed since is"
                .to_owned()
        }),
        of(damaged, "lines of public_keys.log are damaged; keys that are missing come back when their users log in"),
        of(torn, "bytes at the end of public_keys.log are of a line that was cut short; it does not count"),
        of(report.unknown as u64, "password hashes are none that this version knows: nobody can log in with them"),
    ];
    warnings.into_iter().flatten().collect()
}

/// What a backup left that was cut off.
pub(super) fn warning_of_left_over(path: &Path) -> String {
    format!(
        "warning: {} is of a backup that was interrupted, unless one is being made: delete it, it is as secret as \
         a backup",
        path.display()
    )
}

/// The same of the files themselves.
pub(super) fn warnings_of_folder(files: &Files) -> Vec<String> {
    let dir = &files.data_dir;
    let names = ["db_key.bin", "database.enc", "database.journal", "public_keys.log"];
    let key = setup::certificate_files(files).ok().flatten().map(|(_, key)| key);
    let secret = names.map(|name| dir.join(name)).into_iter().chain(key);
    let mut warnings: Vec<String> = secret.filter_map(|path| open_to_others(&path)).collect();
    warnings.extend([dir.clone(), dir.join("certs")].iter().filter_map(|folder| writable_by_others(folder)));
    warnings.extend(permissions::not_writable(dir).into_iter().map(|path| {
        let path = path.display();
        format!("warning: {path} cannot be written to by whoever checks: a server that may not either does not start")
    }));
    warnings.extend(python_backups(dir).into_iter().map(|path| {
        let path = path.display();
        format!("warning: {path} holds the old, weakly protected passwords; delete it once you are sure to stay")
    }));
    warnings
}

fn open_to_others(path: &Path) -> Option<String> {
    let mode = permissions::mode(path).filter(|mode| mode & permissions::OTHERS != 0)?;
    let path = path.display();
    Some(format!("warning: {path} is open to others (mode {mode:04o}): chmod 600 {path}"))
}

/// Who may write to a folder may put other files in place of those that are there.
fn writable_by_others(folder: &Path) -> Option<String> {
    let mode = permissions::mode(folder).filter(|mode| mode & permissions::OTHERS_WRITE != 0)?;
    let path = folder.display();
    Some(format!("warning: others can write to {path} (mode {mode:04o}), and replace what is in it: chmod go-w {path}"))
}

/// The copies of a Python server's database that a take-over left.
pub(super) fn python_backups(dir: &Path) -> Vec<PathBuf> {
    let entries = dir.read_dir().into_iter().flatten().flatten();
    let names = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("database.enc.python"));
    let mut paths: Vec<PathBuf> = names.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
