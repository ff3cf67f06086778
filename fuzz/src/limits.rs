//! What an input may take, and the account that `fuzz/run` keeps.

use std::alloc::System;
use std::fs;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use cap::Cap;
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::targets;

/// Most memory, in bytes: an allocation beyond it fails and ends the process, so that its input is kept.
const MEMORY: usize = 256 << 20;

/// Most time of the processor: how busy the machine is does not matter.
const TIME: Duration = Duration::from_secs(1);

/// How often the account is written, in time of the processor.
const WRITTEN_EVERY: Duration = Duration::from_millis(100);

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, MEMORY);

static ACCOUNT: Mutex<Account> = Mutex::new(Account::new());

/// Where the account is written: `FUZZ_ACCOUNT`, if it is set.
static FILE: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("FUZZ_ACCOUNT").map(PathBuf::from));

/// What has been done since the start of the process.
struct Account {
    executions: u64,
    slowest: Duration,
    written: Duration,
}

impl Account {
    const fn new() -> Self {
        Self { executions: 0, slowest: Duration::ZERO, written: Duration::ZERO }
    }

    fn note(&mut self, took: Duration) {
        self.executions += 1;
        self.slowest = self.slowest.max(took);
        let used = clock(ClockId::ProcessCPUTime);
        if used >= self.written + WRITTEN_EVERY {
            self.written = used;
            self.write(used);
        }
    }

    /// Executions, milliseconds of the processor, microseconds of the slowest input, most bytes at once. A rename, so that it is
    /// whole whenever the process ends.
    fn write(&self, used: Duration) {
        if let Some(file) = &*FILE {
            let Self { executions, slowest, .. } = self;
            let most = ALLOCATOR.max_allocated();
            let line = format!("{executions} {} {} {most}\n", used.as_millis(), slowest.as_micros());
            let beside = file.with_extension("new");
            fs::write(&beside, line).and_then(|()| fs::rename(&beside, file)).expect("the account can be written");
        }
    }
}

/// Runs a target on an input.
///
/// # Panics
/// When it takes longer than it may.
pub fn watched(target: &str, data: &[u8]) {
    let before = clock(ClockId::ProcessCPUTime); // a target may have threads
    targets::run(target, data);
    let took = clock(ClockId::ProcessCPUTime).saturating_sub(before);
    ACCOUNT.lock().unwrap_or_else(PoisonError::into_inner).note(took);
    assert!(took <= TIME, "this input took {took:?}");
}

fn clock(which: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(which);
    Duration::new(tv_sec.unsigned_abs(), u32::try_from(tv_nsec).unwrap_or(0))
}
