//! When who says something next.

use std::time::Duration;

/// How the load is made.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// So many deliveries a second, whatever the server does: what it delays counts from when it was due.
    Open {
        /// Deliveries a second, over all rooms.
        rate: f64,
    },
    /// Each sender has so many messages under way at a time.
    Closed {
        /// Messages.
        window: u64,
    },
}

/// The even timetable of an open loop: message `k` of all is due at `k` intervals.
#[derive(Debug, Clone)]
pub(crate) struct Timetable {
    interval: f64,
    next: u64,
}

impl Timetable {
    /// For so many deliveries a second, when each message is delivered to so many.
    pub(crate) fn new(rate: f64, receivers: usize) -> Self {
        Self { interval: receivers as f64 / rate, next: 0 }
    }

    /// When the next message is due, since the start.
    pub(crate) fn due(&self) -> Duration {
        Duration::from_secs_f64(self.next as f64 * self.interval)
    }

    /// Takes the next message, if it is due: when it was, and which it is.
    pub(crate) fn take(&mut self, now: Duration) -> Option<(u64, Duration)> {
        let due = self.due();
        (due <= now).then(|| {
            self.next += 1;
            (self.next - 1, due)
        })
    }
}

/// One sender's messages under way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Window {
    pub(crate) sent: u64,
    /// Deliveries of its messages so far.
    pub(crate) delivered: u64,
}

impl Window {
    /// Whether one more message makes no more than `window` that are not yet with all receivers.
    pub(crate) fn is_open(&self, window: u64, receivers: u64) -> bool {
        (self.sent + 1) * receivers <= self.delivered + window * receivers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timetable_is_even_and_catches_up() {
        let mut timetable = Timetable::new(20_000.0, 100);
        let ms = Duration::from_millis;
        assert_eq!(timetable.take(ms(0)), Some((0, ms(0))));
        assert_eq!(timetable.take(ms(4)), None);
        assert_eq!(timetable.take(ms(16)), Some((1, ms(5))));
        assert_eq!(timetable.take(ms(16)), Some((2, ms(10))));
        assert_eq!(timetable.take(ms(16)), Some((3, ms(15))));
        assert_eq!((timetable.take(ms(16)), timetable.due()), (None, ms(20)));
    }

    #[test]
    fn a_window_opens_when_a_whole_message_has_come() {
        let mut window = Window::default();
        while window.is_open(2, 3) {
            window.sent += 1;
        }
        assert_eq!(window.sent, 2);
        window.delivered = 2;
        assert!(!window.is_open(2, 3));
        window.delivered = 3;
        assert!(window.is_open(2, 3));
    }
}
