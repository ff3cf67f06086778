//! Work that takes long, on a few threads of its own: checks of keys and signatures, and hashes of passwords. It needs deep stacks and much
//! memory for a moment, which a connection's own thread would keep for as long as it lives.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::process;
use crate::server::sync::{Builder, Presence, Sender, bounded, unbounded};

type Job = Box<dyn FnOnce() + Send>;

/// Threads for one kind of work, done in the order in which it comes. They end when all who hold a copy are gone.
#[derive(Clone)]
pub(super) struct Workers(Sender<Job>);

/// Who comes first when the processor has too much to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    /// As everybody.
    Normal,
    /// After everybody else.
    Low,
}

impl Workers {
    /// So many threads, called `name-0` and on.
    pub(super) fn start(name: &str, threads: usize, priority: Priority, presence: &Presence) -> io::Result<Self> {
        let (sender, jobs) = unbounded::<Job>(); // each connection waits for the one it has
        for i in 0..threads {
            let (jobs, presence) = (jobs.clone(), presence.clone());
            let work = move || {
                if priority == Priority::Low {
                    process::step_back();
                }
                jobs.iter().for_each(|job| _ = catch_unwind(AssertUnwindSafe(job)));
                drop(presence);
            };
            Builder::new().name(format!("{name}-{i}")).spawn(work)?;
        }
        Ok(Self(sender))
    }

    /// Does the job on one of the threads and waits for it; `None` when it panicked. The thread lives on: whatever the job held is
    /// gone with it.
    pub(super) fn perform<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, outcome) = bounded(1);
        let job = move || _ = done.send(job()); // who waits is there until it comes
        self.0.send(Box::new(job)).ok()?;
        outcome.recv().ok()
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "that is what is tested")]
mod tests {
    use super::*;
    use crate::server::sync::presence;

    #[test]
    fn what_is_done_comes_back_to_whom_it_belongs() {
        let workers = Workers::start("test", 2, Priority::Low, &presence().0).unwrap();
        let askers: Vec<_> = (0..8)
            .map(|n| {
                let workers = workers.clone();
                let ask = move || (0..100).all(|i| workers.perform(move || n * 100 + i) == Some(n * 100 + i));
                Builder::new().spawn(ask).unwrap()
            })
            .collect();
        assert!(askers.into_iter().all(|asker| asker.join().unwrap()));
    }

    #[test]
    fn a_panic_is_an_answer() {
        let workers = Workers::start("test", 1, Priority::Normal, &presence().0).unwrap();
        assert_eq!(workers.perform(|| panic!("on purpose")), None::<()>);
        assert_eq!(workers.perform(|| 7), Some(7));
    }
}
