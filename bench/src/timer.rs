//! A timer that a poll can wait for, finer than its own timeouts of whole milliseconds.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// The timer.
pub(crate) struct Timer(OwnedFd);

impl Timer {
    pub(crate) fn new(registry: &Registry, token: Token) -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).context("a timer cannot be made")?;
        let source = &mut SourceFd(&timer.as_raw_fd());
        registry.register(source, token, Interest::READABLE).context("a timer cannot be waited for")?;
        Ok(Self(timer))
    }

    /// Wakes the poll once, after this time; an earlier setting is forgotten.
    pub(crate) fn set(&self, after: Duration) -> Result<()> {
        let after = after.max(Duration::from_nanos(1)); // zero would switch it off
        let it_value = Timespec { tv_sec: after.as_secs() as i64, tv_nsec: i64::from(after.subsec_nanos()) };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec).context("a timer cannot be set")?;
        Ok(())
    }
}
