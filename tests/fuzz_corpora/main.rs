//! Every input that the fuzzer was given or found, on the compiler that everybody has. `fuzz/` has the targets, and
//! CONTRIBUTING.md says how they are fuzzed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "tests may fail loudly"
)]

mod seeds;
#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use targets::TARGETS;

/// Most bytes of all corpora: they are in every clone.
const MOST_BYTES: u64 = 200 * 1024;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// What is in a folder; nothing when it is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn names(folder: &str, strip: &str) -> BTreeSet<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().trim_end_matches(strip).to_owned();
    entries(&self::folder(folder)).into_iter().map(name).collect()
}

/// Runs every input that is kept for a target.
fn replay(name: &str) {
    let inputs: Vec<PathBuf> =
        ["corpus", "regressions"].iter().flat_map(|kind| entries(&folder(kind).join(name))).collect();
    assert!(!inputs.is_empty(), "{name} has no corpus: CONTRIBUTING.md says how one is made");
    for input in inputs {
        let data = fs::read(&input).unwrap();
        let done = catch_unwind(AssertUnwindSafe(|| targets::run(name, &data)));
        assert!(done.is_ok(), "{} is what the panic above is about", input.display());
    }
}

/// A test for each target, so that they run side by side.
macro_rules! replays {
    ($($target:ident)+) => {
        const REPLAYED: &[&str] = &[$(stringify!($target)),+];

        mod every_input_of {
            $(#[test]
            fn $target() {
                super::replay(stringify!($target));
            })+
        }
    };
}

replays! {
    records legacy_codec modern_requests modern_answers package names commands signed_bytes known_keys snapshot journal pem hub
    legacy_client modern_client
}

#[test]
fn every_target_has_a_corpus_a_program_and_a_test_and_every_corpus_a_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("corpus", ""), targets);
    assert_eq!(names("fuzz_targets", ".rs"), targets);
    assert_eq!(REPLAYED.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), targets);
    assert!(names("regressions", "").is_subset(&targets));
    assert!(names("dict", ".dict").is_subset(&targets));
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for target in &targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target} is not built");
        let program = fs::read_to_string(folder("fuzz_targets").join(format!("{target}.rs"))).unwrap();
        assert!(program.contains(&format!("target!({target})")), "the program of {target} is another's");
    }
}

#[test]
fn the_corpora_are_small() {
    let files = entries(&folder("corpus")).into_iter().flat_map(|target| entries(&target));
    let bytes: u64 = files.map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes: keep what `cargo fuzz cmin` leaves, and of that the smallest");
}

/// Writes the seeds anew: `cargo test --test fuzz_corpora -- --ignored`. A seed on which its target panics is written all the
/// same, and fails this test.
#[test]
#[ignore = "writes files"]
fn seeds_are_written() {
    for (target, seeds) in seeds::all() {
        let corpus = folder("corpus").join(target);
        fs::create_dir_all(&corpus).unwrap();
        let is_seed = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-"));
        entries(&corpus).iter().filter(|path| is_seed(path)).for_each(|old| fs::remove_file(old).unwrap());
        seeds.into_iter().for_each(|(name, content)| fs::write(corpus.join(name), content).unwrap());
    }
    REPLAYED.iter().for_each(|target| replay(target));
}
