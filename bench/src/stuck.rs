//! A member who stops reading, in a room at full speed: dropped alone and told why, while the others lose nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::crowd::Crowd;
use crate::pace::Window;
use crate::payload::Stamp;
use crate::proc::{self, Holdings};
use crate::sequence::{Faults, Sequence};
use crate::servers::{self, Plan, Programs};
use crate::target::Target;
use crate::wires::{Casting, Heard, Stage};

/// Members; the first speaks, the last stops reading.
const MEMBERS: usize = 10;

/// Messages under way.
const WINDOW: u64 = 64;

/// Bytes of a message.
const SIZE: usize = 700;

/// How long nothing may come before what is missing counts as lost.
const LATE: Duration = Duration::from_secs(5);

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stuck {
    pub(crate) target: Target,
    pub(crate) messages: u64,
    /// To each of the members who read.
    pub(crate) readers: usize,
    pub(crate) faults: Faults,
    pub(crate) deliveries_per_second: f64,
    /// Messages that were said until the server's log told that the stuck one was dropped.
    pub(crate) dropped_at: Option<u64>,
    /// What the stuck one still read when it read again: messages, and the server's last words.
    pub(crate) read_late: u64,
    pub(crate) last_words: String,
    pub(crate) pss_before: u64,
    pub(crate) pss_most: u64,
}

struct Room {
    crowd: Crowd,
    text: usize,
    heard: Vec<Sequence>,
    faults: Faults,
    window: Window,
}

impl Room {
    fn readers(&self) -> u64 {
        self.heard.len() as u64
    }

    fn say(&mut self) -> Result<()> {
        let stamp = Stamp { sender: 0, number: self.window.sent, time: 0 };
        self.window.sent += 1;
        self.crowd.say(0, &stamp.to_text(self.text))
    }

    fn pump(&mut self) -> Result<()> {
        let Self { crowd, heard, faults, window, .. } = self;
        crowd.pump(Some(Duration::from_millis(100)), |index, what: &Heard| {
            // The speaker hears nothing of its own, and the stuck one is looked at later.
            let Some(sequence) = index.checked_sub(1).and_then(|reader| heard.get_mut(reader)) else { return };
            for stamp in &what.stamps {
                sequence.heard(stamp.number, faults);
                window.delivered += 1;
            }
        })
    }
}

pub(crate) fn run(target: Target, programs: &Programs, messages: u64) -> Result<Stuck> {
    ensure!(target.is_ours() && !target.has_keys(), "{} is not measured so", target.name());
    let (server, accounts) = servers::start(target, programs, Plan::new(MEMBERS, 1))?;
    let text = target.text_size(SIZE);
    let crowd = Crowd::new(server.address, Casting::new(target, accounts, 1, MEMBERS, text))?;
    let heard = vec![Sequence::default(); MEMBERS - 2];
    let mut room = Room { crowd, text, heard, faults: Faults::default(), window: Window::default() };
    room.crowd.gather(MEMBERS, Stage::Joined)?;
    room.crowd.settle(Duration::from_millis(300))?;
    room.crowd.stall(MEMBERS - 1);
    let pss_before = proc::pss(server.pid())?;
    let (mut dropped_at, mut pss_most, begun) = (None, pss_before, Instant::now());
    let mut last = (0, begun);
    let readers = room.readers();
    while room.window.delivered < messages * readers && last.1.elapsed() < LATE {
        while room.window.sent < messages && room.window.is_open(WINDOW, readers) {
            room.say()?;
            if room.window.sent.is_multiple_of(1000) {
                pss_most = pss_most.max(Holdings::of(server.pid())?.pss);
                dropped_at = dropped_at.or_else(|| server.log().contains("does not read").then_some(room.window.sent));
            }
        }
        room.pump().with_context(|| format!("{}; its server said:\n{}", target.name(), server.log()))?;
        if room.window.delivered > last.0 {
            last = (room.window.delivered, Instant::now());
        }
    }
    let seconds = last.1.duration_since(begun).as_secs_f64();
    let mut faults = room.faults;
    faults.lost = room.heard.iter().map(|sequence| sequence.lost_of(room.window.sent)).sum();
    let (read_late, last_words) = room.crowd.read_at_last(MEMBERS - 1)?;
    if room.window.sent < messages {
        bail!("only {} of {messages} messages were said: nothing came for {LATE:?}", room.window.sent);
    }
    Ok(Stuck {
        target,
        messages,
        readers: readers as usize,
        faults,
        deliveries_per_second: room.window.delivered as f64 / seconds,
        dropped_at,
        read_late,
        last_words,
        pss_before,
        pss_most,
    })
}
