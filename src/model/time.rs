//! Threads that wait, and a clock that goes on only when all of them do.
//!
//! Nothing but waiting takes time. When every thread waits, the clock jumps to the earliest moment that one of them waits for; so no
//! timeout hides that somebody was forgotten, and "an hour later" means that nothing more happens by itself. When nobody waits for a
//! moment either, the checker reports a deadlock.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Add;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::thread::{self, Thread};

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(CLOCK.with_borrow(|clock| clock.now))
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }

    pub(crate) fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub(crate) fn checked_add(&self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

#[derive(Default)]
struct Clock {
    now: Duration,
    /// Threads that have begun and not ended.
    threads: usize,
    /// Of these, the ones that wait.
    waiting: usize,
    timers: BTreeMap<(Duration, u64), Arc<Waiter>>,
    timers_set: u64,
}

thread_local! {
    /// Of the execution under way: the checker runs all its threads on this one, and changes from one to another only at its own
    /// locks, of which there are none in this file.
    static CLOCK: RefCell<Clock> = RefCell::default();
}

/// Begins an execution with the thread that calls.
pub(crate) fn start() {
    CLOCK.set(Clock { threads: 1, ..Clock::default() });
}

/// Waits so long: for what is under way to come to rest.
pub(crate) fn sleep(time: Duration) {
    let nobody = Queue::default();
    nobody.enter().wait(Some(Instant::now() + time));
}

/// Lets the clock go on if all threads wait.
fn pass() {
    let due = CLOCK.with_borrow_mut(|clock| {
        if clock.waiting < clock.threads {
            return None;
        }
        let ((moment, _), waiter) = clock.timers.pop_first()?;
        clock.now = clock.now.max(moment);
        clock.waiting -= 1;
        Some(waiter)
    });
    due.into_iter().for_each(|waiter| _ = waiter.wake(TIMED_OUT)); // others may go on here: nothing is borrowed any more
}

const ASLEEP: u8 = 0;
const WOKEN: u8 = 1;
const TIMED_OUT: u8 = 2;

/// A thread that waits, or is about to.
struct Waiter {
    thread: Thread,
    state: AtomicU8,
    /// Whether the clock counts it among those that wait.
    counted: AtomicBool,
}

impl Waiter {
    /// Whether it was this that woke it.
    fn wake(&self, why: u8) -> bool {
        let first = self.state.compare_exchange(ASLEEP, why, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if first {
            self.thread.unpark();
        }
        first
    }
}

/// Threads that wait for the same thing.
#[derive(Default)]
pub(super) struct Queue(Mutex<VecDeque<Arc<Waiter>>>);

/// A place in a queue.
pub(super) struct Place<'a> {
    queue: &'a Queue,
    waiter: Arc<Waiter>,
}

impl Queue {
    /// Takes a place, before the lock is given back that guards what is waited for: so nothing is missed.
    pub(super) fn enter(&self) -> Place<'_> {
        let state = AtomicU8::new(ASLEEP);
        let waiter = Arc::new(Waiter { thread: thread::current(), state, counted: AtomicBool::new(false) });
        self.0.lock().unwrap().push_back(Arc::clone(&waiter));
        Place { queue: self, waiter }
    }

    /// Wakes one, if anybody waits.
    pub(super) fn wake_one(&self) {
        // Others may go on while one is woken: the queue is not locked then.
        let next = || self.0.lock().unwrap().pop_front();
        _ = std::iter::from_fn(next).any(|waiter| wake(&waiter));
    }

    pub(super) fn wake_all(&self) {
        let waiters = std::mem::take(&mut *self.0.lock().unwrap());
        waiters.iter().for_each(|waiter| _ = wake(waiter));
    }
}

/// Whether it was asleep.
fn wake(waiter: &Waiter) -> bool {
    // Counted out first: while it is woken, others may go on.
    let asleep = waiter.state.load(Ordering::SeqCst) == ASLEEP;
    if asleep && waiter.counted.load(Ordering::SeqCst) {
        CLOCK.with_borrow_mut(|clock| clock.waiting -= 1);
    }
    waiter.wake(WOKEN)
}

impl Place<'_> {
    /// Waits until it is woken, or until the moment has come; whether it was woken.
    pub(super) fn wait(self, until: Option<Instant>) -> bool {
        let Self { queue, waiter } = self;
        let mut timer = None;
        if waiter.state.load(Ordering::SeqCst) == ASLEEP {
            waiter.counted.store(true, Ordering::SeqCst);
            timer = CLOCK.with_borrow_mut(|clock| {
                clock.waiting += 1;
                let key = (until?.0, clock.timers_set);
                clock.timers_set += 1;
                clock.timers.insert(key, Arc::clone(&waiter));
                Some(key)
            });
            pass();
        }
        while waiter.state.load(Ordering::SeqCst) == ASLEEP {
            thread::park();
        }
        if let Some(key) = timer {
            CLOCK.with_borrow_mut(|clock| _ = clock.timers.remove(&key));
        }
        queue.0.lock().unwrap().retain(|other| !Arc::ptr_eq(other, &waiter));
        waiter.state.load(Ordering::SeqCst) == WOKEN
    }
}

/// Begins threads, as `std::thread::Builder` does.
pub(crate) struct Builder(thread::Builder);

/// A thread that can be waited for.
pub(crate) struct JoinHandle<T> {
    thread: thread::JoinHandle<T>,
    ended: Arc<Ended>,
}

#[derive(Default)]
struct Ended {
    is: AtomicBool,
    joiners: Queue,
}

/// Counts a thread out, whatever ends it.
struct Life(Arc<Ended>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.is.store(true, Ordering::SeqCst);
        self.0.joiners.wake_all();
        CLOCK.with_borrow_mut(|clock| clock.threads -= 1);
        pass();
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self(thread::Builder::new())
    }

    pub(crate) fn name(self, name: String) -> Self {
        Self(self.0.name(name))
    }

    /// The checker gives all threads the same.
    pub(crate) fn stack_size(self, _: usize) -> Self {
        self
    }

    pub(crate) fn spawn<T: Send + 'static>(
        self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        CLOCK.with_borrow_mut(|clock| clock.threads += 1);
        let ended = Arc::new(Ended::default());
        let life = Life(Arc::clone(&ended));
        let thread = self.0.spawn(move || {
            let outcome = run();
            drop(life);
            outcome
        })?;
        Ok(JoinHandle { thread, ended })
    }
}

impl<T> JoinHandle<T> {
    pub(crate) fn join(self) -> std::thread::Result<T> {
        let place = self.ended.joiners.enter();
        if !self.ended.is.load(Ordering::SeqCst) {
            place.wait(None);
        }
        self.thread.join()
    }
}

/// Begins a thread of a test.
pub(crate) fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().name(name.into()).spawn(run).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::channel::{RecvTimeoutError, bounded};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_passes_when_all_wait_and_not_before() {
        shuttle::check_random(
            || {
                start();
                let (sender, receiver) = bounded(1);
                let busy = spawn("busy", move || {
                    (0..20).for_each(|_| thread::yield_now());
                    assert_eq!(Instant::now(), Instant(Duration::ZERO), "somebody was busy");
                    sleep(SECOND * 3);
                    sender.send(Instant::now()).unwrap();
                    sleep(SECOND * 60);
                });
                let begun = Instant::now();
                assert_eq!(receiver.recv_timeout(SECOND * 2), Err(RecvTimeoutError::Timeout));
                assert_eq!(begun.elapsed(), SECOND * 2);
                assert_eq!(receiver.recv_timeout(SECOND * 2), Ok(begun + SECOND * 3));
                assert_eq!(receiver.recv_timeout(SECOND * 100), Err(RecvTimeoutError::Disconnected));
                assert_eq!(begun.elapsed(), SECOND * 63);
                busy.join().unwrap();
            },
            200,
        );
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn who_waits_for_nobody_is_found() {
        shuttle::check_random(
            || {
                start();
                let (sender, receiver) = bounded::<()>(1);
                spawn("idle", move || receiver.recv()).join().unwrap().unwrap();
                drop(sender);
            },
            10,
        );
    }
}
