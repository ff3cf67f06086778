//! Self-hosted, end-to-end encrypted group chat for the terminal.
//!
//! The crate documentation is the map of the house. Arrows mean "may import"; nothing points back,
//! everyone may import [`names`] and [`transcript`], and `tests/architecture.rs` enforces it.
//!
//! ```text
//! bin → server, client
//! server → tls, store, chat, protocol, crypto, arguments, prompt, process    client → tls, crypto, protocol, arguments, prompt, process
//! store → chat, crypto      chat → protocol      protocol, crypto, tls, arguments, prompt, process → (none)      transcript → names
//! ```
//!
//! | room | what happens there |
//! |---|---|
//! | [`names`] | user names, room names, passwords, sanitized text: parsed once at the edge |
//! | [`transcript`] | the bytes of everything that is signed or hashed on the modern wire, and the hashes |
//! | [`protocol`] | messages as types, and the codecs of both wires |
//! | [`crypto`] | Fernet, RSA and Ed25519 keys and their fingerprints, the message envelope, password hashing |
//! | [`chat`] | the server's behaviour on both wires as a state machine: [`chat::Hub`] turns inputs into effects |
//! | [`store`] | the encrypted database: a sealed snapshot and a journal |
//! | [`tls`] | certificates, rustls configurations, pinning, record-preserving streams |
//! | [`arguments`] | what is said of a command line that cannot be read |
//! | [`prompt`] | hidden questions for passwords |
//! | [`process`] | what a process gives up: files for others, core dumps |
//! | [`server`] | the server's threads |
//! | [`client`] | the client's threads and screen; its state machine and key ring |
//!
//! [`names`], [`transcript`], [`protocol`], [`crypto`], [`chat`] and the client's state machine are pure: no sockets,
//! files, threads, channels, clocks or rustls in them. Time comes in as an argument.

pub mod arguments;
pub mod chat;
#[cfg(not(all(test, feature = "model")))] // its threads are not modelled
pub mod client;
pub mod crypto;
#[cfg(all(test, feature = "model"))]
mod model;
pub mod names;
pub mod process;
pub mod prompt;
pub mod protocol;
pub mod server;
pub mod store;
pub mod tls;
pub mod transcript;
