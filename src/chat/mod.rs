//! The server's behaviour as a state machine: the [`Hub`] turns what sessions say into effects.

mod directory;

pub use directory::{Account, Change, Clash, Directory, Misfit, Room, Verifier};
