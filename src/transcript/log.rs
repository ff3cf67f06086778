//! A room's log: the one order that all its members hash.

use super::{
    ChangesHash, LogHash, LogNonce, MessageHash, Realm, RoomId, RosterHash, Signature, Verb, enc, label, sha256,
};
use crate::names::{RoomName, UserName};

/// What moves a room's log by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Sessions came and went.
    Members {
        /// How many came.
        joined: u64,
        /// How many went.
        removed: u64,
        /// Which.
        changes: ChangesHash,
        /// Who is there now.
        roster: RosterHash,
    },
    /// Somebody said something.
    Message {
        /// Whose session it was.
        account: &'a UserName,
        /// The token.
        message: MessageHash,
        /// The statement's; none from a legacy member.
        signature: Option<&'a Signature>,
    },
    /// Somebody did something.
    Act {
        /// Whose session it was.
        account: &'a UserName,
        /// What was done.
        verb: Verb,
        /// To whom, or empty.
        target: &'a str,
        /// What else it takes, or empty.
        argument: &'a str,
        /// The act's; none when it is the server's word alone.
        signature: Option<&'a Signature>,
    },
}

impl Event<'_> {
    /// What is hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let optional = |signature: Option<&Signature>| signature.map_or(Vec::new(), |s| s.0.to_vec());
        match *self {
            Self::Members { joined, removed, changes, roster } => {
                let [joined, removed] = [joined, removed].map(u64::to_be_bytes);
                enc(&[label!("event members"), &joined, &removed, &changes.0, &roster.0])
            }
            Self::Message { account, message, signature } => {
                let account = account.as_str().as_bytes();
                enc(&[label!("event message"), account, &message.0, &optional(signature)])
            }
            Self::Act { account, verb, target, argument, signature } => enc(&[
                label!("event act"),
                account.as_str().as_bytes(),
                verb.as_str().as_bytes(),
                target.as_bytes(),
                argument.as_bytes(),
                &optional(signature),
            ]),
        }
    }
}

/// L(0): where a room's log starts when the server does.
pub fn log_start(realm: &Realm, room_id: &RoomId, room: &RoomName, nonce: &LogNonce) -> LogHash {
    LogHash(sha256(&enc(&[label!("log"), &realm.0, &room_id.0, room.as_str().as_bytes(), &nonce.0])))
}

/// L(n) from L(n−1): event `n`, from 1.
pub fn log_step(previous: &LogHash, n: u64, event: &Event<'_>) -> LogHash {
    LogHash(sha256(&enc(&[label!("log"), &previous.0, &n.to_be_bytes(), &sha256(&event.to_bytes())])))
}

/// A place in a room's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// How many events there were.
    pub n: u64,
    /// L(n).
    pub log: LogHash,
}

impl Position {
    /// Where there is no log: through a server that speaks the legacy wire alone, n and L are zero.
    pub const NOWHERE: Self = Self { n: 0, log: LogHash([0; 32]) };

    /// The place after one more event.
    pub fn after(&self, event: &Event<'_>) -> Self {
        let n = self.n.wrapping_add(1); // 2⁶⁴ events do not happen
        Self { n, log: log_step(&self.log, n, event) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_depends_on_every_event_and_on_their_order() {
        let (alice, bob) = (UserName::new("alice"), UserName::new("bob"));
        let start = log_start(&Realm([1; 32]), &RoomId([2; 16]), &RoomName::new("den"), &LogNonce([3; 16]));
        let start = Position { n: 0, log: start };
        let said = |account| Event::Message { account, message: MessageHash::of("token"), signature: None };
        let signature = Signature([9; 64]);
        let signed = Event::Message { account: &alice, message: MessageHash::of("token"), signature: Some(&signature) };
        let (one, other) = (said(&alice), said(&bob));
        assert_eq!(start.after(&one).n, 1);
        assert_eq!(start.after(&one).after(&other).n, 2);
        assert_ne!(start.after(&one).after(&other), start.after(&other).after(&one));
        assert_ne!(start.after(&one), start.after(&signed));
        assert_ne!(log_step(&start.log, 1, &one), log_step(&start.log, 2, &one));
        let act =
            |target, argument| Event::Act { account: &alice, verb: Verb::Kick, target, argument, signature: None };
        assert_ne!(start.after(&act("bob", "")), start.after(&act("", "bob")));
    }
}
