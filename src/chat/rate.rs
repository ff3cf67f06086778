//! How often something may happen: so many at once, and in the long run so many in a time.

use std::time::Duration;

/// A leaky bucket: what happens fills it, and time empties it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many may happen at once.
    burst: u32,
    /// After how long one more may.
    every: Duration,
}

impl Rate {
    /// As often as anybody likes.
    pub const NONE: Self = Self { burst: u32::MAX, every: Duration::ZERO };

    /// So many at once, and one more each time that `every` has passed.
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every }
    }

    /// So many at once, and as many in each `period` from then on. None at all counts as one.
    pub const fn per(burst: u32, period: Duration) -> Self {
        match period.checked_div(burst) {
            Some(every) => Self { burst, every },
            None => Self { burst: 1, every: period },
        }
    }

    /// Whether it holds nobody back.
    pub const fn is_none(&self) -> bool {
        self.every.is_zero()
    }

    /// How long until one more may happen after a burst.
    pub const fn interval(&self) -> Duration {
        self.every
    }

    /// How long a full bucket takes until it is empty.
    const fn depth(&self) -> Duration {
        self.every.saturating_mul(self.burst)
    }
}

/// How full a bucket is: when the last of what counts will be forgotten, in the time of [`Now::elapsed`](super::Now::elapsed).
#[derive(Debug, Clone, Copy, Default)]
pub struct Level(Duration);

impl Level {
    /// How long until one more may happen; zero when it may.
    pub fn wait(self, rate: &Rate, now: Duration) -> Duration {
        if rate.is_none() {
            return Duration::ZERO;
        }
        self.0.saturating_add(rate.every).saturating_sub(now.saturating_add(rate.depth()))
    }

    /// Whether nothing counts any more.
    pub fn is_empty(self, now: Duration) -> bool {
        self.0 <= now
    }

    /// Counts so many, also more than there is room for: the next has to wait until they are forgotten.
    pub fn add(&mut self, rate: &Rate, count: u32, now: Duration) {
        self.0 = self.0.max(now).saturating_add(rate.every.saturating_mul(count));
    }

    /// Counts one, but no more than fill the bucket: what was under way at once does not make the wait longer.
    pub fn add_within(&mut self, rate: &Rate, now: Duration) {
        self.add(rate, 1, now);
        self.0 = self.0.min(now.saturating_add(rate.depth()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_may_happen_at_once_and_then_one_in_each_interval() {
        let (rate, mut level) = (Rate::per(5, Duration::from_secs(10)), Level::default());
        for _ in 0..5 {
            assert_eq!(level.wait(&rate, START), Duration::ZERO);
            level.add(&rate, 1, START);
        }
        assert_eq!(level.wait(&rate, START), 2 * SECOND);
        assert_eq!(level.wait(&rate, START + SECOND), SECOND);
        assert_eq!(level.wait(&rate, START + 2 * SECOND), Duration::ZERO);
        assert!(!level.is_empty(START + 9 * SECOND) && level.is_empty(START + 10 * SECOND));
    }

    #[test]
    fn what_is_larger_than_the_burst_is_paid_for_in_time() {
        let (rate, mut level) = (Rate::per(10, Duration::from_secs(10)), Level::default());
        level.add(&rate, 25, START);
        assert_eq!(level.wait(&rate, START), 16 * SECOND);
        let mut full = Level::default();
        (0..25).for_each(|_| full.add_within(&rate, START));
        assert_eq!(full.wait(&rate, START), SECOND);
    }

    #[test]
    fn without_a_rate_nobody_waits_and_no_number_overflows() {
        let mut level = Level::default();
        level.add(&Rate::NONE, u32::MAX, START);
        assert_eq!(level.wait(&Rate::NONE, START), Duration::ZERO);
        assert!(level.is_empty(START));
        let slow = Rate::new(u32::MAX, Duration::MAX);
        level.add(&slow, u32::MAX, START);
        assert_eq!(level.wait(&slow, START), Duration::ZERO);
        assert_eq!(Rate::per(0, SECOND), Rate::new(1, SECOND));
    }
}
