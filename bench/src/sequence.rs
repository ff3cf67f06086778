//! Whether each message came once, and in order: one such record for each pair of a receiver and a sender.

use std::collections::BTreeSet;

/// What was heard of one sender, whose messages are numbered from 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sequence {
    next: u64,
    /// Numbers below `next` that have not come.
    missing: BTreeSet<u64>,
}

/// Deliveries that were not as they should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Faults {
    /// Never came.
    pub(crate) lost: u64,
    /// Came more than once.
    pub(crate) duplicated: u64,
    /// Came behind a later one.
    pub(crate) reordered: u64,
}

impl Faults {
    pub(crate) fn total(&self) -> u64 {
        self.lost + self.duplicated + self.reordered
    }
}

impl Sequence {
    /// Takes the number of a message that came.
    pub(crate) fn heard(&mut self, number: u64, faults: &mut Faults) {
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
        } else if self.missing.remove(&number) {
            faults.reordered += 1;
        } else {
            faults.duplicated += 1;
        }
    }

    /// How many of the `sent` messages have not come.
    pub(crate) fn lost_of(&self, sent: u64) -> u64 {
        self.missing.len() as u64 + sent.saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(numbers: &[u64], sent: u64) -> Faults {
        let (mut sequence, mut faults) = (Sequence::default(), Faults::default());
        numbers.iter().for_each(|number| sequence.heard(*number, &mut faults));
        faults.lost = sequence.lost_of(sent);
        faults
    }

    #[test]
    fn what_comes_once_and_in_order_is_no_fault() {
        assert_eq!(hear(&[0, 1, 2, 3], 4), Faults::default());
        assert_eq!(hear(&[], 0), Faults::default());
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        assert_eq!(hear(&[0, 2], 3), Faults { lost: 1, ..Faults::default() });
        assert_eq!(hear(&[0, 1], 4), Faults { lost: 2, ..Faults::default() });
        assert_eq!(hear(&[0, 1, 1, 0], 2), Faults { duplicated: 2, ..Faults::default() });
        assert_eq!(hear(&[1, 0, 2], 3), Faults { reordered: 1, ..Faults::default() });
        assert_eq!(hear(&[3, 1, 1, 0], 5), Faults { lost: 2, duplicated: 1, reordered: 2 });
        assert_eq!(hear(&[3, 1, 1, 0], 5).total(), 5);
    }
}
