//! Work that takes long, on a few threads of its own: checks of keys and signatures, and hashes of passwords. It needs deep stacks and much
//! memory for a moment, which a connection's own thread would keep for as long as it lives.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::chat;
use crate::process;
use crate::server::sync::{Arc, Builder, Mutex, Presence, Sender, bounded, lock, unbounded};

type Job = Box<dyn FnOnce() + Send>;

/// Threads for one kind of work. Networks take turns, so that one that wants much delays itself alone. They end when all who hold
/// a copy are gone.
#[derive(Clone)]
pub(super) struct Workers {
    jobs: Arc<Mutex<FairQueue<IpAddr, Job>>>,
    /// One message for each job.
    arrivals: Sender<()>,
}

/// What is wanted, by whom: round robin over those who want something, each in its own order.
struct FairQueue<K, T> {
    wanted: HashMap<K, VecDeque<T>>,
    turns: VecDeque<K>,
}

impl<K: Hash + Eq + Clone, T> FairQueue<K, T> {
    fn new() -> Self {
        Self { wanted: HashMap::new(), turns: VecDeque::new() }
    }

    fn push(&mut self, of: K, what: T) {
        let own = self.wanted.entry(of.clone()).or_default();
        if own.is_empty() {
            self.turns.push_back(of);
        }
        own.push_back(what);
    }

    fn pop(&mut self) -> Option<T> {
        let of = self.turns.pop_front()?;
        let own = self.wanted.get_mut(&of)?;
        let next = own.pop_front();
        if own.is_empty() {
            self.wanted.remove(&of);
        } else {
            self.turns.push_back(of);
        }
        next
    }
}

/// Who comes first when the processors have too much to do: what is said, then who comes, and then passwords.
///
/// A thread gets the processor for some milliseconds at a time, so whoever has as much right to it as the broker delays what it delivers
/// by as much.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    /// As everybody.
    Normal,
    /// After those who are there: handshakes.
    Low,
    /// Passwords, whose hashing offers the processor to others by itself ([`crate::crypto::password::Manners`]): that is what counts. On
    /// Linux kernels since late in 2025 each offer costs it a turn, too, so that few steps are enough, and more would keep people out
    /// while there is much to do.
    GivingWay,
}

impl Priority {
    /// Gives it to the calling thread, for good.
    pub(super) fn take(self) {
        match self {
            Self::Normal => {}
            Self::Low => process::step_back(10),
            Self::GivingWay => process::step_back(5),
        }
    }
}

impl Workers {
    /// So many threads, called `name-0` and on.
    pub(super) fn start(name: &str, threads: usize, priority: Priority, presence: &Presence) -> io::Result<Self> {
        let (arrivals, arrived) = unbounded(); // each connection waits for the one it has
        let jobs = Arc::new(Mutex::new(FairQueue::new()));
        for i in 0..threads {
            let (jobs, arrived, presence) = (Arc::clone(&jobs), arrived.clone(), presence.clone());
            let work = move || {
                priority.take();
                while let Ok(()) = arrived.recv() {
                    let next = lock(&jobs).pop();
                    next.into_iter().for_each(|job: Job| _ = catch_unwind(AssertUnwindSafe(job)));
                }
                drop(presence);
            };
            Builder::new().name(format!("{name}-{i}")).spawn(work)?;
        }
        Ok(Self { jobs, arrivals })
    }

    /// Does a job for somebody on one of the threads and waits for it; `None` when it panicked. The thread lives on: whatever the
    /// job held is gone with it.
    pub(super) fn perform<T: Send + 'static>(
        &self,
        address: IpAddr,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, outcome) = bounded(1);
        let job = move || _ = done.send(job()); // who waits is there until it comes
        lock(&self.jobs).push(chat::network(address), Box::new(job));
        self.arrivals.send(()).ok()?;
        outcome.recv().ok()
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "that is what is tested")]
mod tests {
    use super::*;
    use crate::server::sync::presence;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn networks_take_turns_and_each_keeps_its_own_order() {
        let mut queue = FairQueue::new();
        let flood = (0..5).map(|n| ("flood", n));
        flood.chain([("one", 1), ("two", 1), ("two", 2)]).for_each(|(of, n)| queue.push(of, (of, n)));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let expected = [("flood", 0), ("one", 1), ("two", 1), ("flood", 1), ("two", 2), ("flood", 2)];
        assert_eq!(order[..6], expected);
        assert_eq!(order[6..], [("flood", 3), ("flood", 4)]);
        assert!(queue.wanted.is_empty() && queue.turns.is_empty(), "nothing is kept of who is served");
    }

    #[test]
    fn what_is_done_comes_back_to_whom_it_belongs() {
        let workers = Workers::start("test", 2, Priority::GivingWay, &presence().0).unwrap();
        let askers: Vec<_> = (0..8)
            .map(|n| {
                let workers = workers.clone();
                let ask = move || (0..100).all(|i| workers.perform(HERE, move || n * 100 + i) == Some(n * 100 + i));
                Builder::new().spawn(ask).unwrap()
            })
            .collect();
        assert!(askers.into_iter().all(|asker| asker.join().unwrap()));
    }

    #[test]
    fn a_panic_is_an_answer() {
        let workers = Workers::start("test", 1, Priority::Normal, &presence().0).unwrap();
        assert_eq!(workers.perform(HERE, || panic!("on purpose")), None::<()>);
        assert_eq!(workers.perform(HERE, || 7), Some(7));
    }
}
