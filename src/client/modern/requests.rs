//! Requests that are not answered yet. The server answers them in order, each once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::client::modern::roster::MOST_ENTRIES;
use crate::names::{Password, RoomName, UserName};
use crate::protocol::modern::{self as wire, PartBody, Reader, RequestType, RoomItem};
use crate::transcript::RoomId;

/// How long an answer is waited for: passwords take their time where many log in at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Most rooms of a list that are shown.
pub(super) const MOST_ROOMS: usize = 10_000;

/// What was asked.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the variants are the requests of docs/PROTOCOL.md")]
pub(super) enum Asked {
    Ping,
    Register {
        /// Who, as typed.
        user: UserName,
    },
    Login {
        /// Who, as typed.
        user: UserName,
    },
    Resume,
    Logout,
    Announce,
    Passwd,
    Account {
        /// Whether legacy log-ins are to be allowed.
        legacy: bool,
    },
    Create,
    List,
    Join {
        /// The password, for a return.
        password: Option<Password>,
        /// The room as it was asked for.
        room: RoomName,
        /// The room that was left for it.
        left: Option<RoomName>,
    },
    Who {
        /// The room that it is about.
        room: RoomId,
    },
    Bundles,
    Sessions {
        /// Whose, as typed.
        user: UserName,
    },
    Attach,
    Send,
    Grant {
        /// Of which epoch.
        epoch: u64,
        /// Who gets it.
        to: Vec<Reader>,
    },
    NeedKey,
    Act,
    Direct,
}

impl Asked {
    /// The word of the request.
    pub(super) const fn kind(&self) -> RequestType {
        match self {
            Self::Ping => RequestType::Ping,
            Self::Register { .. } => RequestType::Register,
            Self::Login { .. } => RequestType::Login,
            Self::Resume => RequestType::Resume,
            Self::Logout => RequestType::Logout,
            Self::Announce => RequestType::Announce,
            Self::Passwd => RequestType::Passwd,
            Self::Account { .. } => RequestType::Account,
            Self::Create => RequestType::Create,
            Self::List => RequestType::List,
            Self::Join { .. } => RequestType::Join,
            Self::Who { .. } => RequestType::Who,
            Self::Bundles => RequestType::Bundles,
            Self::Sessions { .. } => RequestType::Sessions,
            Self::Attach => RequestType::Attach,
            Self::Send => RequestType::Send,
            Self::Grant { .. } => RequestType::Grant,
            Self::NeedKey => RequestType::NeedKey,
            Self::Act => RequestType::Act,
            Self::Direct => RequestType::Direct,
        }
    }
}

/// What came in parts, up to a bound.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Of `list`.
    pub(super) rooms: Vec<RoomItem>,
    /// Of `who`; at most one more than a roster may have.
    pub(super) entries: Vec<wire::Entry>,
    /// Of `bundles`.
    pub(super) bundles: Vec<Arc<wire::Bundle>>,
}

impl Parts {
    fn add(&mut self, part: PartBody) {
        match part {
            PartBody::Rooms(rooms) => extend(&mut self.rooms, rooms, MOST_ROOMS),
            PartBody::Entries(entries) => extend(&mut self.entries, entries, MOST_ENTRIES + 1),
            PartBody::Bundles(bundles) => extend(&mut self.bundles, bundles, wire::MAX_HASHES),
        }
    }
}

fn extend<T>(all: &mut Vec<T>, more: Vec<T>, most: usize) {
    let free = most.saturating_sub(all.len());
    all.extend(more.into_iter().take(free));
}

/// A request.
#[derive(Debug)]
pub(super) struct Open {
    /// Its number.
    pub(super) id: u64,
    /// What was asked.
    pub(super) asked: Asked,
    /// What came of the answer so far.
    pub(super) parts: Parts,
    since: Duration,
}

/// An answer that is not the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutOfTurn;

/// The open requests, in order.
#[derive(Debug, Default)]
pub(super) struct Requests {
    last: u64,
    open: VecDeque<Open>,
}

impl Requests {
    /// The number of the next request.
    pub(super) fn next_id(&self) -> u64 {
        self.last + 1
    }

    /// Takes note of a request that is sent now; gives its number.
    pub(super) fn push(&mut self, asked: Asked, now: Duration) -> u64 {
        self.last += 1;
        self.open.push_back(Open { id: self.last, asked, parts: Parts::default(), since: now });
        self.last
    }

    /// What was asked under a number.
    pub(super) fn kind(&self, id: u64) -> Option<RequestType> {
        self.open.iter().find(|open| open.id == id).map(|open| open.asked.kind())
    }

    /// Whether a request of this kind is open.
    pub(super) fn is_open(&self, kind: RequestType) -> bool {
        self.open.iter().any(|open| open.asked.kind() == kind)
    }

    /// How many are open.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes a part of the answer to the first.
    ///
    /// # Errors
    /// [`OutOfTurn`] for another.
    pub(super) fn part(&mut self, id: u64, part: PartBody) -> Result<(), OutOfTurn> {
        let first = self.open.front_mut().filter(|open| open.id == id).ok_or(OutOfTurn)?;
        first.parts.add(part);
        Ok(())
    }

    /// The first is answered.
    ///
    /// # Errors
    /// [`OutOfTurn`] when the answer is to another: the first will have none.
    pub(super) fn answered(&mut self, id: u64) -> Result<Open, OutOfTurn> {
        self.open.pop_front_if(|open| open.id == id).ok_or(OutOfTurn)
    }

    /// When the first has waited too long.
    pub(super) fn patience_ends(&self) -> Option<Duration> {
        self.open.front().map(|open| open.since + PATIENCE)
    }

    /// The connection is lost: nothing is answered any more.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    #[test]
    fn answers_come_in_order_each_once() {
        let mut requests = Requests::default();
        let ids = [Asked::Ping, Asked::List, Asked::Send].map(|asked| requests.push(asked, NOW));
        assert_eq!(requests.kind(ids[1]), Some(RequestType::List));
        assert_eq!(requests.kind(99), None);
        assert_eq!(requests.answered(ids[1]).err(), Some(OutOfTurn));
        assert_eq!(requests.part(ids[1], PartBody::Rooms(Vec::new())), Err(OutOfTurn));
        assert_eq!(requests.answered(ids[0]).unwrap().id, ids[0]);
        assert_eq!(requests.answered(ids[0]).err(), Some(OutOfTurn));
        assert_eq!(requests.patience_ends(), Some(NOW + PATIENCE));
        requests.clear();
        assert_eq!((requests.len(), requests.patience_ends()), (0, None));
        assert!(requests.next_id() > ids[2], "a number is never used again");
    }

    #[test]
    fn parts_add_up_to_a_bound() {
        let mut requests = Requests::default();
        let id = requests.push(Asked::List, NOW);
        let item = RoomItem { room: RoomName::new("r"), modern_only: false, members: 1 };
        for _ in 0..4 {
            requests.part(id, PartBody::Rooms(vec![item.clone(); 4000])).unwrap();
        }
        assert_eq!(requests.answered(id).unwrap().parts.rooms.len(), MOST_ROOMS);
    }
}
