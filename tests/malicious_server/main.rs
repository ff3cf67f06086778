//! A malicious server against the real client: whoever runs the server has the realm's key, sees and changes every line in both
//! directions, and makes keys and sessions of its own. `docs/SECURITY.md` names what must hold all the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "tests may fail loudly"
)]

#[path = "../modern_world/mod.rs"]
mod modern_world;

mod attacks;
mod chronicle;
mod forger;
mod liar;
mod lines;
mod meddler;
mod mutation;
mod oracle;
mod scenes;
mod secrecy;
