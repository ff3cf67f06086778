//! The thread for slow work: RSA operations for others' keys.

use std::io;
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::client::modern::{Done, Job, Target, WrapJob};
use crate::protocol::modern::Wrap;

/// Fewest wraps that are worth a thread of their own: it costs as much as one or two.
const WORTH_A_THREAD: usize = 16;

/// What does a job.
pub type Worker = fn(Job) -> Done;

/// The way to the thread and back. Neither channel has a bound: the machine has one job for wraps under way, and as many for
/// checks as it has requests for keys.
pub(super) struct Work {
    jobs: Sender<Job>,
    done: Receiver<Done>,
}

impl Work {
    /// Starts the thread, which ends with the program.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(worker: Worker) -> io::Result<Self> {
        let (jobs, todo) = unbounded();
        let (to_main, done) = unbounded();
        let work = move || {
            for job in todo {
                if to_main.send(worker(job)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("work".into()).spawn(work)?;
        Ok(Self { jobs, done })
    }

    pub(super) fn give(&self, job: Job) {
        let _ = self.jobs.send(job); // the thread ends with the program
    }

    pub(super) fn done(&self) -> &Receiver<Done> {
        &self.done
    }
}

/// Does a job, a large one on all cores.
pub fn work(job: Job) -> Done {
    match job {
        Job::Wrap(wrap) => on_all_cores(wrap),
        job => job.run(),
    }
}

fn on_all_cores(job: WrapJob) -> Done {
    let WrapJob { id, secret, readers } = job;
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = readers.len().div_ceil(cores).max(WORTH_A_THREAD);
    let shares: Vec<Vec<_>> = readers.chunks(share).map(<[_]>::to_vec).collect();
    let helpers = shares.len().saturating_sub(1);
    let todo = Mutex::new(shares);
    let next = || todo.lock().ok().and_then(|mut shares| shares.pop());
    let wrap = || {
        let shares = std::iter::from_fn(next);
        let jobs = shares.map(|readers| Job::Wrap(WrapJob { id, secret: secret.clone(), readers }));
        jobs.flat_map(|job| wraps_of(job.run())).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        // The share of a thread that cannot be had is done by the others.
        let helper = |_| thread::Builder::new().name("wrap".into()).spawn_scoped(scope, wrap).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(helper).collect();
        let mut wraps = wrap();
        helpers.into_iter().for_each(|helper| wraps.extend(helper.join().unwrap_or_default()));
        Done::Wrapped { id, wraps }
    })
}

fn wraps_of(done: Done) -> Vec<(Target, Wrap)> {
    match done {
        Done::Wrapped { wraps, .. } => wraps,
        Done::Checked(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;
    use crate::names::UserName;
    use std::collections::BTreeSet;
    use zeroize::Zeroizing;

    #[test]
    fn work_for_many_readers_is_done_for_each_of_them_once() {
        let key = PrivateKey::generate().unwrap().public().clone();
        let work = Work::start(work).unwrap();
        for count in [1, WORTH_A_THREAD + 1, 128] {
            let readers = (0..count).map(|i| (Target::Legacy(UserName::new(&format!("u{i}"))), key.clone())).collect();
            work.give(Job::Wrap(WrapJob { id: 7, secret: Zeroizing::new([1; 32]), readers }));
            let Done::Wrapped { id: 7, wraps } = work.done().recv().unwrap() else { panic!("other work") };
            let targets: BTreeSet<&Target> = wraps.iter().map(|(target, _)| target).collect();
            assert_eq!((wraps.len(), targets.len()), (count, count));
        }
    }
}
