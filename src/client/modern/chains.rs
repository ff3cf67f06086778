//! What others granted: their chains, by bundle, run and epoch.
//!
//! Two epochs of a run are kept: messages of the last one may still be on their way when the next begins. None is replaced:
//! whoever could replace a grant could make two readers open one token with different keys.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::crypto::{ChainKey, FernetKey, PrivateKey};
use crate::transcript::{BundleHash, GrantCheck, RoomId, RunId};

/// Most runs whose chains are kept; the one that was met first goes. It asks for its key again when it needs it.
const MOST_RUNS: usize = 8_192;

/// Epochs of a run that are kept.
const EPOCHS: usize = 2;

/// Whose chain it is, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RunKey {
    /// The room.
    pub(super) room: RoomId,
    /// The author's bundle.
    pub(super) bundle: BundleHash,
    /// The run of its client.
    pub(super) run: RunId,
}

/// A grant whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    /// The epoch, from 1.
    pub(super) epoch: u64,
    /// The counter whose message key the chain key makes.
    pub(super) counter: u64,
    /// Tells the chain key from another.
    pub(super) check: GrantCheck,
    /// The chain key, wrapped for this device.
    pub(super) wrap: String,
}

/// Why there is no key for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// Nothing was granted for this epoch.
    NotGranted,
    /// What was granted is not what its author signed. It is forgotten.
    Broken,
    /// The grant begins behind this message.
    Earlier,
    /// The counter is further on than an epoch goes.
    TooFar,
}

enum State {
    /// Not needed yet.
    Wrapped(String),
    Open(ChainKey),
}

struct Chain {
    counter: u64,
    check: GrantCheck,
    state: State,
}

/// The key of one message, and its chain as it will be when the key proves to be right.
pub(super) struct Stepped {
    /// The message's key.
    pub(super) key: FernetKey,
    chain: ChainKey,
    counter: u64,
}

/// The chains of everyone, in all rooms that this client was in.
#[derive(Default)]
pub(super) struct Chains {
    runs: HashMap<RunKey, BTreeMap<u64, Chain>>,
    order: VecDeque<RunKey>,
    unwraps: u64,
}

impl Chains {
    /// Takes a grant, unless there is one of this epoch or there are two of later ones. Says whether it was taken.
    pub(super) fn grant(&mut self, of: RunKey, granted: Granted) -> bool {
        if !self.runs.contains_key(&of) {
            if self.order.len() >= MOST_RUNS
                && let Some(oldest) = self.order.pop_front()
            {
                self.runs.remove(&oldest);
            }
            self.order.push_back(of);
        }
        let epochs = self.runs.entry(of).or_default();
        let Granted { epoch, counter, check, wrap } = granted;
        let too_old = epochs.len() >= EPOCHS && epochs.keys().next().is_some_and(|oldest| epoch < *oldest);
        if too_old || epochs.contains_key(&epoch) {
            return false;
        }
        epochs.insert(epoch, Chain { counter, check, state: State::Wrapped(wrap) });
        if epochs.len() > EPOCHS {
            epochs.pop_first();
        }
        true
    }

    /// Whether there is a grant for the epoch.
    #[cfg(test)]
    fn has(&self, of: &RunKey, epoch: u64) -> bool {
        self.runs.get(of).is_some_and(|epochs| epochs.contains_key(&epoch))
    }

    /// The key of a message. Nothing changes but that a grant is unwrapped at its first use: the chain moves with
    /// [`Chains::keep`].
    ///
    /// # Errors
    /// [`NoKey`] says why there is none.
    pub(super) fn key(&mut self, of: &RunKey, epoch: u64, counter: u64, own: &PrivateKey) -> Result<Stepped, NoKey> {
        let epochs = self.runs.get_mut(of).ok_or(NoKey::NotGranted)?;
        let chain = epochs.get_mut(&epoch).ok_or(NoKey::NotGranted)?;
        let steps = counter.checked_sub(chain.counter).ok_or(NoKey::Earlier)?;
        if let State::Wrapped(wrap) = &chain.state {
            self.unwraps += 1;
            match ChainKey::unwrap(wrap, own, &chain.check) {
                Some(key) => chain.state = State::Open(key),
                None => {
                    epochs.remove(&epoch);
                    return Err(NoKey::Broken);
                }
            }
        }
        let State::Open(open) = &chain.state else { return Err(NoKey::Broken) };
        let chain = open.advanced(steps).ok_or(NoKey::TooFar)?;
        Ok(Stepped { key: chain.message_key(), chain, counter })
    }

    /// Moves the chain behind a message whose key proved to be right: nothing before can be opened any more.
    pub(super) fn keep(&mut self, of: &RunKey, epoch: u64, stepped: Stepped) {
        let Some(chain) = self.runs.get_mut(of).and_then(|epochs| epochs.get_mut(&epoch)) else { return };
        let Stepped { chain: mut next, counter, .. } = stepped;
        next.step();
        chain.counter = counter.saturating_add(1);
        chain.state = State::Open(next);
    }

    /// How often something was unwrapped, an RSA operation each.
    pub(super) fn unwraps(&self) -> u64 {
        self.unwraps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

    const BOB: RunKey = RunKey { room: RoomId([1; 16]), bundle: BundleHash([2; 32]), run: RunId([3; 16]) };

    fn chain(epoch: u8) -> ChainKey {
        ChainKey::from_raw(&[epoch; 32])
    }

    fn granted(epoch: u8, counter: u64) -> Granted {
        let chain = chain(epoch);
        let wrap = chain.wrap_for(KEY.public()).unwrap();
        Granted { epoch: epoch.into(), counter, check: chain.grant_check(), wrap }
    }

    /// The raw key of a message; the chain is moved behind it.
    fn take(chains: &mut Chains, epoch: u64, counter: u64) -> Result<[u8; 32], NoKey> {
        let stepped = chains.key(&BOB, epoch, counter, &KEY)?;
        let key = *stepped.key.expose_raw();
        chains.keep(&BOB, epoch, stepped);
        Ok(key)
    }

    #[test]
    fn a_grant_opens_what_comes_from_its_counter_on_and_is_unwrapped_once() {
        let mut chains = Chains::default();
        assert_eq!(take(&mut chains, 1, 5), Err(NoKey::NotGranted));
        assert!(chains.grant(BOB, granted(1, 5)));
        assert_eq!(chains.unwraps(), 0);
        assert_eq!(take(&mut chains, 1, 4), Err(NoKey::Earlier));
        for counter in [5, 6, 9] {
            let expected = *chain(1).advanced(counter - 5).unwrap().message_key().expose_raw();
            assert_eq!(take(&mut chains, 1, counter), Ok(expected));
        }
        assert_eq!(take(&mut chains, 1, 9), Err(NoKey::Earlier), "the chain has no way back");
        assert_eq!(chains.unwraps(), 1);
    }

    #[test]
    fn a_key_that_is_not_kept_moves_nothing() {
        let mut chains = Chains::default();
        chains.grant(BOB, granted(1, 5));
        let far = *chains.key(&BOB, 1, 100, &KEY).unwrap().key.expose_raw();
        assert!(take(&mut chains, 1, 5).is_ok());
        assert_eq!(take(&mut chains, 1, 100), Ok(far));
        assert_eq!(take(&mut chains, 1, u64::MAX), Err(NoKey::TooFar));
    }

    #[test]
    fn no_grant_is_replaced_and_two_epochs_are_kept() {
        let mut chains = Chains::default();
        assert!(chains.grant(BOB, granted(2, 5)));
        let other = Granted { epoch: 2, ..granted(7, 5) };
        assert!(!chains.grant(BOB, other));
        assert_eq!(take(&mut chains, 2, 5), Ok(*chain(2).message_key().expose_raw()));
        assert!(chains.grant(BOB, granted(3, 6)));
        assert!(!chains.grant(BOB, granted(1, 1)), "older than both");
        assert!(take(&mut chains, 2, 6).is_ok(), "what is still on its way");
        assert!(chains.grant(BOB, granted(4, 7)));
        assert_eq!(take(&mut chains, 2, 7), Err(NoKey::NotGranted));
        assert!(take(&mut chains, 3, 6).is_ok());
        assert!(take(&mut chains, 4, 7).is_ok());
        assert!(chains.has(&BOB, 4) && !chains.has(&BOB, 2));
    }

    #[test]
    fn a_wrap_that_is_not_what_was_signed_is_forgotten() {
        let mut chains = Chains::default();
        for wrap in ["", "AAAA", &chain(9).wrap_for(KEY.public()).unwrap()] {
            assert!(chains.grant(BOB, Granted { wrap: wrap.into(), ..granted(1, 5) }));
            assert_eq!(take(&mut chains, 1, 5), Err(NoKey::Broken));
            assert!(!chains.has(&BOB, 1));
        }
        assert!(chains.grant(BOB, granted(1, 5)));
        assert!(take(&mut chains, 1, 5).is_ok());
    }

    #[test]
    fn rooms_bundles_and_runs_have_chains_of_their_own_and_not_without_end() {
        let mut chains = Chains::default();
        chains.grant(BOB, granted(1, 5));
        for other in [
            RunKey { room: RoomId([9; 16]), ..BOB },
            RunKey { bundle: BundleHash([9; 32]), ..BOB },
            RunKey { run: RunId([9; 16]), ..BOB },
        ] {
            assert_eq!(chains.key(&other, 1, 5, &KEY).err(), Some(NoKey::NotGranted));
        }
        let grant = granted(1, 1);
        for i in 0..MOST_RUNS as u128 {
            chains.grant(RunKey { run: RunId((1 << 64 | i).to_be_bytes()), ..BOB }, grant.clone());
        }
        assert!(!chains.has(&BOB, 1));
        assert_eq!(chains.runs.len(), MOST_RUNS);
    }
}
