//! How far slow work is, in words.

use std::time::Duration;

/// The words come no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// What was said of it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    said: Option<Duration>,
    done: usize,
}

impl Progress {
    /// What is to be said now that so much is done; where nobody looks on, it is said `once`.
    pub(super) fn words(&mut self, now: Duration, done: usize, total: usize, once: bool) -> Option<String> {
        let goes_on = self.done < done && self.done > 0;
        self.done = if done < total { done } else { 0 };
        let said = std::mem::take(&mut self.said).filter(|_| goes_on);
        if said.is_some_and(|said| once || (now < said + PAUSE && done < total)) {
            self.said = said.filter(|_| done < total);
            return None;
        }
        self.said = Some(now).filter(|_| done < total);
        let percent = done.saturating_mul(100) / total.max(1);
        let readers = if total == 1 { "reader" } else { "readers" };
        Some(format!("Preparing keys for {} {readers}: {percent}%", grouped(total)))
    }
}

/// A number as people read it: `12,345`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(progress: &mut Progress, ms: u64, done: usize, once: bool) -> Option<String> {
        progress.words(Duration::from_millis(ms), done, 2000, once)
    }

    #[test]
    fn it_is_said_once_a_second_and_at_the_end() {
        let mut progress = Progress::default();
        let percent = |percent| Some(format!("Preparing keys for 2,000 readers: {percent}%"));
        for _ in 0..2 {
            assert_eq!(said(&mut progress, 500, 128, false), percent(6));
            assert_eq!(said(&mut progress, 600, 256, false), None);
            assert_eq!(said(&mut progress, 1499, 384, false), None);
            assert_eq!(said(&mut progress, 1500, 1000, false), percent(50));
            assert_eq!(said(&mut progress, 1600, 2000, false), percent(100));
        }
        assert_eq!(progress.words(Duration::ZERO, 1, 1, false).unwrap(), "Preparing keys for 1 reader: 100%");
    }

    #[test]
    fn where_nobody_looks_on_it_is_said_once_for_each_time() {
        let mut progress = Progress::default();
        for last in [2000, 1000, 2000] {
            assert!(said(&mut progress, 0, 128, true).is_some());
            assert_eq!(said(&mut progress, 5000, 256, true), None);
            assert_eq!(said(&mut progress, 9000, last, true), None); // one of them is given up
        }
    }

    #[test]
    fn large_numbers_are_grouped() {
        for (number, words) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), words);
        }
    }
}
