//! What each target does with an input: more than not to panic, it says what has to hold.

pub mod bytes;
pub mod commands;
pub mod hub;
pub mod known_keys;
pub mod legacy_client;
pub mod legacy_codec;
pub mod modern_answers;
pub mod modern_client;
pub mod modern_requests;
pub mod names;
pub mod package;
pub mod pem;
pub mod records;
pub mod signed_bytes;
pub mod store;
pub mod world;

/// Does something with an input, and panics when something does not hold.
pub type Target = fn(&[u8]);

/// All targets, by their names: those of the programs in `fuzz_targets` and of the folders in `corpus`.
pub const TARGETS: [(&str, Target); 15] = [
    ("records", records::run),
    ("legacy_codec", legacy_codec::run),
    ("modern_requests", modern_requests::run),
    ("modern_answers", modern_answers::run),
    ("package", package::run),
    ("names", names::run),
    ("commands", commands::run),
    ("signed_bytes", signed_bytes::run),
    ("known_keys", known_keys::run),
    ("snapshot", store::snapshot),
    ("journal", store::journal),
    ("pem", pem::run),
    ("hub", hub::run),
    ("legacy_client", legacy_client::run),
    ("modern_client", modern_client::run),
];

/// Runs a target.
///
/// # Panics
/// When something does not hold, and when there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    target(data);
}
