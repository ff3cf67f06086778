//! The server's behaviour as a state machine: the [`Hub`] turns what sessions say into effects.
//!
//! Pure: whatever takes time (hashing, saving) leaves as an effect and comes back as an input.

mod bundles;
mod directory;
mod hub;
mod limits;
mod quota;
mod rate;
mod registration;
mod room;
mod session;
mod throttle;
mod timers;
mod tokens;

pub use bundles::{KnownBundle, RsaKey};
pub use directory::{
    Account, Change, Clash, Directory, Entries, Looks, MAX_RESTRICTIONS, MAX_TOPIC, Misfit, Restrictions, Room,
    Subject, Unfit, Verifier,
};
pub use hub::{Hub, is_waited_for};
pub use limits::{GuessRates, Limits};
pub use quota::{Quota, Usage};
pub use rate::{Level, Rate};
pub use registration::{Registration, RegistrationTokens};
pub use session::{Audience, Dialect, Effect, Input, Now, SessionId, SessionMap, Work, WorkDone};
pub use throttle::network;
