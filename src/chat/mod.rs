//! The server's behaviour as a state machine: the [`Hub`] turns what sessions say into effects.
//!
//! Pure: whatever takes time (hashing, saving) leaves as an effect and comes back as an input.

mod directory;
mod hub;
mod session;
mod throttle;

pub use directory::{Account, Change, Clash, Directory, Entries, Misfit, Room, Verifier};
pub use hub::Hub;
pub use session::{Creation, Effect, Entry, Input, SessionId, Work, WorkDone};
