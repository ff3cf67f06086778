//! Crossbeam's channels as far as the server uses them: bounded and unbounded, with many at either end, and no `select!`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use crossbeam_channel::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

use super::time::{Instant, Queue};
use super::{Mutex, lock};

struct Channel<T> {
    /// `None` for a channel without a bound.
    capacity: Option<usize>,
    state: Mutex<State<T>>,
    not_empty: Queue,
    not_full: Queue,
}

struct State<T> {
    messages: VecDeque<T>,
    senders: usize,
    receivers: usize,
}

pub(crate) struct Sender<T>(Arc<Channel<T>>);

pub(crate) struct Receiver<T>(Arc<Channel<T>>);

pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    new(Some(capacity))
}

pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    new(None)
}

fn new<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let state = Mutex::new(State { messages: VecDeque::new(), senders: 1, receivers: 1 });
    let channel = Arc::new(Channel { capacity, state, not_empty: Queue::default(), not_full: Queue::default() });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, message: T) -> Result<(), SendError<T>> {
        let mut message = message;
        loop {
            let mut state = lock(&self.0.state);
            message = match self.0.put(&mut state, message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(message)) => return Err(SendError(message)),
                // The server sends nothing through a channel that holds nothing: its end is all that is waited for.
                Err(TrySendError::Full(_)) if self.0.capacity == Some(0) => panic!("a rendezvous is not modelled"),
                Err(TrySendError::Full(message)) => message,
            };
            let place = self.0.not_full.enter();
            drop(state);
            place.wait(None);
        }
    }

    pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.0.put(&mut lock(&self.0.state), message)
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        self.recv_until(None).map_err(|_| RecvError)
    }

    pub(crate) fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(Instant::now() + timeout))
    }

    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = lock(&self.0.state);
        self.0.take(&mut state)
    }

    /// What comes, until the end.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// What is there.
    pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    fn recv_until(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        loop {
            let mut state = lock(&self.0.state);
            match self.0.take(&mut state) {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(TryRecvError::Empty) => {
                    let place = self.0.not_empty.enter();
                    drop(state);
                    place.wait(deadline);
                }
            }
        }
    }
}

impl<T> Channel<T> {
    fn put(&self, state: &mut State<T>, message: T) -> Result<(), TrySendError<T>> {
        if state.receivers == 0 {
            return Err(TrySendError::Disconnected(message));
        }
        if self.capacity.is_some_and(|capacity| state.messages.len() >= capacity) {
            return Err(TrySendError::Full(message));
        }
        state.messages.push_back(message);
        self.not_empty.wake_one();
        Ok(())
    }

    fn take(&self, state: &mut State<T>) -> Result<T, TryRecvError> {
        match state.messages.pop_front() {
            Some(message) => {
                self.not_full.wake_one();
                Ok(message)
            }
            None if state.senders == 0 => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        lock(&self.0.state).senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        lock(&self.0.state).receivers += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.senders -= 1;
        if state.senders == 0 {
            self.0.not_empty.wake_all();
        }
    }
}

impl<T> Drop for Receiver<T> {
    /// With the last receiver goes what nobody will take.
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.receivers -= 1;
        if state.receivers == 0 {
            let unread = std::mem::take(&mut state.messages);
            self.0.not_full.wake_all();
            drop(state);
            drop(unread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{self, spawn};
    use proptest::prelude::*;
    use shuttle::{Config, Runner, scheduler::RandomScheduler};

    #[derive(Debug, Clone)]
    enum Step {
        Send(u8),
        TrySend(u8),
        Recv,
        TryRecv,
        RecvTimeout,
        TryIter,
        CloneSender,
        DropSender,
        CloneReceiver,
        DropReceiver,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => any::<u8>().prop_map(Step::Send),
            4 => any::<u8>().prop_map(Step::TrySend),
            4 => Just(Step::Recv),
            2 => Just(Step::TryRecv),
            2 => Just(Step::RecvTimeout),
            1 => Just(Step::TryIter),
            1 => Just(Step::CloneSender),
            1 => Just(Step::DropSender),
            1 => Just(Step::CloneReceiver),
            1 => Just(Step::DropReceiver),
        ];
        prop::collection::vec(step, 0..40)
    }

    /// What comes of the steps; those that would wait for ever are left out.
    macro_rules! outcomes {
        ($channel:path, $capacity:expr, $steps:expr) => {{
            use $channel as channel;
            let (sender, receiver) = match $capacity {
                Some(capacity) => channel::bounded(capacity),
                None => channel::unbounded(),
            };
            let (mut senders, mut receivers, mut waiting) = (vec![sender], vec![receiver], 0);
            let mut outcomes = Vec::new();
            for step in $steps {
                let full = $capacity.is_some_and(|capacity| waiting >= capacity) && !receivers.is_empty();
                let empty = waiting == 0 && !senders.is_empty();
                let outcome = match (step, senders.last(), receivers.last()) {
                    (Step::Send(n), Some(sender), _) if !full => format!("{:?}", sender.send(*n)),
                    (Step::TrySend(n), Some(sender), _) => format!("{:?}", sender.try_send(*n)),
                    (Step::Recv, _, Some(receiver)) if !empty => format!("{:?}", receiver.recv()),
                    (Step::TryRecv, _, Some(receiver)) => format!("{:?}", receiver.try_recv()),
                    (Step::RecvTimeout, _, Some(receiver)) => format!("{:?}", receiver.recv_timeout(Duration::ZERO)),
                    (Step::TryIter, _, Some(receiver)) => format!("{:?}", receiver.try_iter().collect::<Vec<_>>()),
                    (Step::CloneSender, Some(sender), _) => {
                        let another = sender.clone();
                        senders.push(another);
                        continue;
                    }
                    (Step::CloneReceiver, _, Some(receiver)) => {
                        let another = receiver.clone();
                        receivers.push(another);
                        continue;
                    }
                    (Step::DropSender, Some(_), _) => {
                        senders.pop();
                        continue;
                    }
                    (Step::DropReceiver, _, Some(_)) => {
                        receivers.pop();
                        if receivers.is_empty() {
                            waiting = 0;
                        }
                        continue;
                    }
                    _ => continue,
                };
                match step {
                    Step::Send(_) | Step::TrySend(_) => waiting += usize::from(outcome == "Ok(())"),
                    Step::TryIter => waiting = 0,
                    _ => waiting -= usize::from(outcome.starts_with("Ok")),
                }
                outcomes.push(outcome);
            }
            outcomes
        }};
    }

    proptest! {
        #[test]
        fn it_does_what_crossbeam_does(capacity in prop::option::of(0..4usize), steps in steps()) {
            let real = outcomes!(crossbeam_channel, capacity, &steps);
            let scheduler = RandomScheduler::new(1);
            Runner::new(scheduler, Config::new()).run(move || {
                time::start();
                assert_eq!(outcomes!(crate::model::channel, capacity, &steps), real);
            });
        }
    }

    /// Two who send through little room to two who receive: nothing is lost, doubled or overtaken, and all end.
    #[test]
    fn those_who_wait_at_either_end_are_woken() {
        for capacity in [Some(1), Some(2), None] {
            shuttle::check_random(
                move || {
                    time::start();
                    let (sender, receiver) = new(capacity);
                    let receivers: Vec<_> = (0..2)
                        .map(|_| {
                            let receiver = receiver.clone();
                            spawn("receiver", move || receiver.iter().collect::<Vec<_>>())
                        })
                        .collect();
                    drop(receiver);
                    for who in 0..2 {
                        let sender = sender.clone();
                        spawn("sender", move || (0..4).for_each(|n| sender.send((who, n)).unwrap()));
                    }
                    drop(sender);
                    let received: Vec<Vec<_>> = receivers.into_iter().map(|thread| thread.join().unwrap()).collect();
                    for received in &received {
                        let of = |who| received.iter().filter(move |(from, _)| *from == who);
                        assert!((0..2).all(|who| of(who).is_sorted()), "{received:?}");
                    }
                    let mut all = received.concat();
                    all.sort_unstable();
                    assert_eq!(all, (0..2).flat_map(|who| (0..4).map(move |n| (who, n))).collect::<Vec<_>>());
                },
                200,
            );
        }
    }
}
