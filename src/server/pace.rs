//! How fast one connection may speak. Who is faster is not refused: the connection's thread reads on later, and TCP tells the peer.
//! So nothing is lost, and nobody else notices.

use std::time::Duration;

use crate::chat::{Level, Rate};
use crate::server::sync::Instant;

/// What one connection has said lately.
pub(super) struct Pace {
    messages: Meter,
    bytes: Meter,
    begun: Instant,
}

struct Meter {
    rate: Rate,
    level: Level,
}

impl Pace {
    pub(super) fn new(messages: Rate, bytes: Rate) -> Self {
        let meter = |rate| Meter { rate, level: Level::default() };
        Self { messages: meter(messages), bytes: meter(bytes), begun: Instant::now() }
    }

    /// How long one more message has to wait. It is counted.
    pub(super) fn message(&mut self) -> Duration {
        self.messages.take(1, self.begun)
    }

    /// How long bytes that were read have to wait. They are counted.
    pub(super) fn bytes(&mut self, len: usize) -> Duration {
        self.bytes.take(u32::try_from(len).unwrap_or(u32::MAX), self.begun)
    }
}

impl Meter {
    fn take(&mut self, count: u32, begun: Instant) -> Duration {
        if self.rate.is_none() {
            return Duration::ZERO;
        }
        let now = begun.elapsed();
        let wait = self.level.wait(&self.rate, now);
        self.level.add(&self.rate, count, now);
        wait
    }
}
