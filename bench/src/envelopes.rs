//! What a client's cryptography costs, beside the same work in Python's `cryptography`.

use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::time::{ClockId, clock_gettime};
use secure_chat::crypto::{FernetKey, PrivateKey, SigningKey, envelope};
use serde::{Deserialize, Serialize};

/// As long as its token of 700 bytes allows.
const TEXT: &str = "alice: what is said here is said for its length. ";
const TEXT_LEN: usize = 420;

/// What is signed, in bytes.
const STATEMENT: [u8; 400] = [0; 400];

/// When the tokens are sealed, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

/// Milliseconds of the processor that each piece of work takes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// To unwrap a message's key, and open it.
    pub(crate) legacy_read: f64,
    /// To seal a message, and wrap its key for each recipient.
    pub(crate) legacy_send: f64,
    /// To seal a message under a key that its readers have, and sign it.
    pub(crate) modern_send: f64,
    /// To verify and open it.
    pub(crate) modern_read: f64,
}

/// The least of each, over all rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Envelopes {
    pub(crate) recipients: usize,
    pub(crate) rounds: usize,
    pub(crate) ours: Costs,
    pub(crate) python: Costs,
}

/// Measures both in turn.
pub(crate) fn run(python: &Path, script: &Path, recipients: usize, rounds: usize) -> Result<Envelopes> {
    let rsa = PrivateKey::generate().map_err(|error| anyhow!("an RSA key: {error}"))?;
    let mut file = tempfile::NamedTempFile::new().context("making a file for a key")?;
    file.write_all(rsa.expose_pem().as_bytes()).context("writing a key")?;
    let text: String = TEXT.chars().cycle().take(TEXT_LEN).collect();
    let (mut ours, mut theirs) = (None, None);
    for _ in 0..rounds {
        ours = Some(least(ours, measure(&rsa, &text, recipients)?));
        theirs = Some(least(theirs, measure_python(python, script, file.path(), &text, recipients)?));
    }
    let (ours, python) = ours.zip(theirs).context("no round was measured")?;
    Ok(Envelopes { recipients, rounds, ours, python })
}

fn least(before: Option<Costs>, now: Costs) -> Costs {
    let Some(before) = before else { return now };
    Costs {
        legacy_read: before.legacy_read.min(now.legacy_read),
        legacy_send: before.legacy_send.min(now.legacy_send),
        modern_send: before.modern_send.min(now.modern_send),
        modern_read: before.modern_read.min(now.modern_read),
    }
}

/// How long each piece of work is repeated.
const SECONDS: f64 = 0.5;

fn measure(rsa: &PrivateKey, text: &str, recipients: usize) -> Result<Costs> {
    let (public, signing) = (rsa.public(), SigningKey::generate());
    let (verifying, key) = (signing.verifying_key(), FernetKey::generate());
    let sealed = envelope::seal(text, NOW);
    let wrap = sealed.wrap_for(public).map_err(|error| anyhow!("wrapping a key: {error}"))?;
    let read = || ensure_some(envelope::open(black_box(&sealed.token), &wrap, rsa).as_deref());
    let send = || {
        let sealed = envelope::seal(black_box(text), NOW);
        (0..recipients).try_for_each(|_| sealed.wrap_for(public).map(|wrap| _ = black_box(wrap)))?;
        Ok(())
    };
    let token = key.seal(text.as_bytes(), NOW);
    let signature = signing.sign(&STATEMENT);
    Ok(Costs {
        legacy_read: best(50, read)?,
        legacy_send: best(1, || send().map_err(|error: secure_chat::crypto::KeyError| anyhow!("{error}")))?,
        modern_send: best(500, || {
            black_box((key.seal(black_box(text).as_bytes(), NOW), signing.sign(black_box(&STATEMENT))));
            Ok(())
        })?,
        modern_read: best(500, || {
            ensure!(verifying.verify(black_box(&STATEMENT), &signature), "a signature does not fit");
            ensure_some(key.open(black_box(&token)).ok())
        })?,
    })
}

fn ensure_some<T>(opened: Option<T>) -> Result<()> {
    black_box(opened).map(|_| ()).context("a message does not open")
}

/// The least processor time of one piece of work, in milliseconds; they are timed by `at_once`.
fn best(at_once: u32, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    let mut least = f64::INFINITY;
    while begun.elapsed().as_secs_f64() < SECONDS || least.is_infinite() {
        let before = processor_time();
        for _ in 0..at_once {
            work()?;
        }
        let each = processor_time().saturating_sub(before) / at_once;
        least = least.min(1000.0 * each.as_secs_f64());
    }
    Ok(least)
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

fn measure_python(python: &Path, script: &Path, key: &Path, text: &str, recipients: usize) -> Result<Costs> {
    let mut command = Command::new(python);
    command.arg(script).arg(key).args([text, &recipients.to_string(), &SECONDS.to_string()]);
    let done = command.output().with_context(|| format!("starting {}", python.display()))?;
    ensure!(
        done.status.success(),
        "{} {}: {}; it needs the package cryptography (--python names another)",
        python.display(),
        script.display(),
        String::from_utf8_lossy(&done.stderr).trim()
    );
    serde_json::from_slice(&done.stdout).context("reading what Python measured")
}
