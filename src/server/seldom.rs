//! Something that peers can make happen without end, and that is logged now and then.

use std::time::{Duration, Instant};

/// How long nothing more is said of it.
const PAUSE: Duration = Duration::from_secs(10);

/// When it was said last, and what happened since.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    said: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// It happened once more. If it is to be said: how often it happened unsaid.
    pub(super) fn happens(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_is_said_at_once_and_the_others_are_counted() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.happens(start), Some(0));
        assert_eq!([1, 2, 3].map(|ms| seldom.happens(start + Duration::from_millis(ms))), [None; 3]);
        assert_eq!(seldom.happens(start + PAUSE), Some(3));
        assert_eq!(seldom.happens(start + PAUSE), None);
    }
}
