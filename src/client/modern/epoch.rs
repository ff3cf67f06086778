//! The own epoch in a room: its chain, and who holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::answers::is_stored_form;
use crate::crypto::{ChainKey, FernetKey};
use crate::names::UserName;
use crate::protocol::modern::Reader;

/// How long an epoch lasts.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How many counters an epoch lasts.
const MOST_COUNTERS: u64 = 4_096;

/// An epoch.
struct Epoch {
    number: u64,
    /// The chain, at the counter of the next statement.
    chain: ChainKey,
    since: Duration,
    first: u64,
    /// To whom the chain was ever sent, whether it arrived or not: once one of them is gone, the epoch ends.
    given: BTreeMap<Reader, UserName>,
    /// Who has it, as the server said.
    holders: BTreeSet<Reader>,
    /// Who asked for it again: that is heard once.
    asked: BTreeSet<Reader>,
    /// Whether one of those to whom it was given was put out of the room.
    expelled: bool,
}

/// What this client says in one room: counters, and the epoch that opens it. Lives as long as the program.
#[derive(Default)]
pub(super) struct Outgoing {
    /// The last counter that was used.
    used: u64,
    last_epoch: u64,
    epoch: Option<Epoch>,
}

impl Outgoing {
    /// The counter of the next statement or act.
    pub(super) fn next_counter(&self) -> u64 {
        self.used.saturating_add(1)
    }

    /// The counter of the next was used: the chain moves on, and has no way back.
    pub(super) fn advance(&mut self) {
        self.used = self.next_counter();
        if let Some(epoch) = &mut self.epoch {
            epoch.chain.step();
        }
    }

    /// The number of the epoch.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.epoch.as_ref().map(|epoch| epoch.number)
    }

    /// The chain key of the next counter, which is what a grant gives.
    pub(super) fn chain(&self) -> Option<&ChainKey> {
        self.epoch.as_ref().map(|epoch| &epoch.chain)
    }

    /// The key of the next message.
    pub(super) fn message_key(&self) -> Option<FernetKey> {
        self.epoch.as_ref().map(|epoch| epoch.chain.message_key())
    }

    /// Whether the epoch, if there is one, has lasted too long, whoever holds it.
    pub(super) fn is_worn_out(&self, now: Duration) -> bool {
        let counters = |epoch: &Epoch| self.next_counter().saturating_sub(epoch.first);
        self.epoch.as_ref().is_some_and(|e| e.expelled || now >= e.since + LONGEST || counters(e) >= MOST_COUNTERS)
    }

    /// Begins a new epoch, unless the one that there is goes on: nobody to whom it was given is missing from `readers`.
    pub(super) fn renew(&mut self, readers: &BTreeSet<Reader>, now: Duration, draw: impl FnOnce() -> ChainKey) {
        let goes_on = |epoch: &Epoch| epoch.given.keys().all(|given| readers.contains(given));
        if self.epoch.as_ref().is_some_and(goes_on) && !self.is_worn_out(now) {
            return;
        }
        self.last_epoch = self.last_epoch.saturating_add(1);
        self.epoch = Some(Epoch {
            number: self.last_epoch,
            chain: draw(),
            since: now,
            first: self.next_counter(),
            given: BTreeMap::new(),
            holders: BTreeSet::new(),
            asked: BTreeSet::new(),
            expelled: false,
        });
    }

    /// Whether it holds the epoch.
    pub(super) fn holds(&self, reader: &Reader) -> bool {
        self.epoch.as_ref().is_some_and(|epoch| epoch.holders.contains(reader))
    }

    /// Everybody who may have the chain, with their accounts.
    pub(super) fn given_to(&self) -> impl Iterator<Item = (&Reader, &UserName)> {
        self.epoch.iter().flat_map(|epoch| &epoch.given)
    }

    /// The chain key is sent to a reader.
    pub(super) fn give(&mut self, reader: Reader, account: UserName) {
        if let Some(epoch) = &mut self.epoch {
            epoch.given.insert(reader, account);
        }
    }

    /// The server has taken a grant of this epoch.
    pub(super) fn given(&mut self, epoch: u64, readers: &[Reader]) {
        if let Some(current) = self.epoch.as_mut().filter(|current| current.number == epoch) {
            current.holders.extend(readers);
        }
    }

    /// A holder says that it has no key: it gets the next one, once an epoch.
    pub(super) fn ask(&mut self, reader: Reader, epoch: u64) -> bool {
        let Some(current) = self.epoch.as_mut().filter(|current| current.number == epoch) else { return false };
        let heard = current.given.contains_key(&reader) && current.asked.insert(reader);
        heard && current.holders.remove(&reader)
    }

    /// A reader came, or came back: what was given to it before may be lost, so it is given again.
    pub(super) fn came(&mut self, reader: &Reader) {
        if let Some(epoch) = &mut self.epoch {
            epoch.holders.remove(reader);
        }
    }

    /// An account was put out of the room, given as typed.
    pub(super) fn expel(&mut self, typed: &UserName) {
        if let Some(epoch) = &mut self.epoch {
            epoch.expelled |= epoch.given.values().any(|given| is_stored_form(given, typed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::{BundleHash, RunId};

    const NOW: Duration = Duration::from_secs(100);

    fn reader(of: u8) -> Reader {
        Reader { bundle: BundleHash([of; 32]), run: RunId([of; 16]) }
    }

    fn readers(of: &[u8]) -> BTreeSet<Reader> {
        of.iter().map(|of| reader(*of)).collect()
    }

    fn renew(outgoing: &mut Outgoing, of: &[u8], now: Duration) -> u64 {
        let fresh = outgoing.last_epoch as u8 + 1;
        outgoing.renew(&readers(of), now, || ChainKey::from_raw(&[fresh; 32]));
        for of in of {
            outgoing.give(reader(*of), UserName::new(&of.to_string()));
        }
        let epoch = outgoing.epoch().unwrap();
        outgoing.given(epoch, &readers(of).into_iter().collect::<Vec<_>>());
        epoch
    }

    #[test]
    fn an_epoch_goes_on_while_its_holders_stay_and_others_come() {
        let mut outgoing = Outgoing::default();
        assert_eq!(renew(&mut outgoing, &[1, 2], NOW), 1);
        assert_eq!(renew(&mut outgoing, &[1, 2, 3], NOW), 1);
        assert!(outgoing.holds(&reader(3)));
        assert_eq!(renew(&mut outgoing, &[1, 3], NOW), 2);
        assert_eq!(outgoing.given_to().count(), 2);
        assert_eq!(renew(&mut outgoing, &[1, 2, 3], NOW), 2, "who comes back gets the next key");
    }

    #[test]
    fn an_epoch_ends_with_a_kick_with_time_and_with_its_counters() {
        let mut outgoing = Outgoing::default();
        renew(&mut outgoing, &[1], NOW);
        outgoing.expel(&UserName::new("9"));
        assert_eq!(renew(&mut outgoing, &[1], NOW), 1);
        outgoing.expel(&UserName::new("1"));
        assert_eq!(renew(&mut outgoing, &[1], NOW), 2, "whoever was kicked and is back");
        assert_eq!(renew(&mut outgoing, &[1], NOW + LONGEST - Duration::from_secs(1)), 2);
        assert_eq!(renew(&mut outgoing, &[1], NOW + LONGEST), 3);
        (0..MOST_COUNTERS - 1).for_each(|_| outgoing.advance());
        assert_eq!(renew(&mut outgoing, &[1], NOW + LONGEST), 3);
        outgoing.advance();
        assert_eq!(renew(&mut outgoing, &[1], NOW + LONGEST), 4);
    }

    #[test]
    fn whoever_may_have_the_chain_ends_the_epoch_by_going_whether_it_was_confirmed_or_not() {
        let mut outgoing = Outgoing::default();
        outgoing.renew(&readers(&[1]), NOW, || ChainKey::from_raw(&[1; 32]));
        outgoing.give(reader(1), UserName::new("1"));
        assert!(!outgoing.holds(&reader(1)), "the server has not said so");
        assert_eq!(renew(&mut outgoing, &[2], NOW), 2);
    }

    #[test]
    fn who_asks_is_given_the_key_again_once() {
        let mut outgoing = Outgoing::default();
        renew(&mut outgoing, &[1, 2], NOW);
        assert!(!outgoing.ask(reader(9), 1) && !outgoing.ask(reader(1), 2));
        assert!(outgoing.ask(reader(1), 1));
        assert!(!outgoing.holds(&reader(1)) && outgoing.holds(&reader(2)));
        assert_eq!(renew(&mut outgoing, &[1, 2], NOW), 1);
        assert!(!outgoing.ask(reader(1), 1));
        assert!(outgoing.holds(&reader(1)));
        assert_eq!(renew(&mut outgoing, &[2], NOW), 2, "it may have had the key all the time");
    }

    #[test]
    fn who_comes_back_is_given_the_key_again_and_ends_the_epoch_by_going() {
        let mut outgoing = Outgoing::default();
        renew(&mut outgoing, &[1, 2], NOW);
        outgoing.came(&reader(1));
        assert!(!outgoing.holds(&reader(1)) && outgoing.holds(&reader(2)));
        assert_eq!(renew(&mut outgoing, &[1, 2], NOW), 1);
        outgoing.came(&reader(1));
        assert_eq!(renew(&mut outgoing, &[2], NOW), 2);
    }

    #[test]
    fn the_chain_follows_the_counter() {
        let mut outgoing = Outgoing::default();
        outgoing.advance(); // an act, before any epoch
        renew(&mut outgoing, &[1], NOW);
        assert_eq!(outgoing.next_counter(), 2);
        let chain = outgoing.chain().unwrap().clone();
        outgoing.advance();
        let key = *outgoing.message_key().unwrap().expose_raw();
        assert_eq!(key, *chain.advanced(1).unwrap().message_key().expose_raw());
    }
}
