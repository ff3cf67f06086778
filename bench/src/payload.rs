//! What is said: a text that looks like a Fernet token, and says who said it, as which message, and when.

use std::io::Write;

use memchr::memmem::Finder;

/// How the text begins, which nothing else on any wire holds.
const MARK: &[u8] = b"gAAAAABbench-";

/// Hexadecimal digits of the sender, the number and the time.
const DIGITS: [usize; 3] = [5, 11, 16];

/// The shortest text, in bytes.
pub(crate) const SHORTEST: usize = MARK.len() + DIGITS[0] + DIGITS[1] + DIGITS[2];

/// What a message says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Its sender, counted over all rooms.
    pub(crate) sender: u32,
    /// From 0 for each sender.
    pub(crate) number: u64,
    /// When it was due, in nanoseconds since the load began.
    pub(crate) time: u64,
}

impl Stamp {
    /// The text, filled up to `size` bytes.
    pub(crate) fn to_text(self, size: usize) -> String {
        let mut text = Vec::with_capacity(size.max(SHORTEST));
        text.extend_from_slice(MARK);
        let [sender, number, time] = DIGITS;
        // Writing to memory cannot fail.
        let _ = write!(text, "{:0sender$x}{:0number$x}{:0time$x}", self.sender, self.number, self.time);
        text.resize(size.max(SHORTEST), b'x');
        String::from_utf8(text).unwrap_or_default() // it is ASCII
    }
}

/// Finds stamps.
pub(crate) struct Stamps(Finder<'static>);

impl Stamps {
    pub(crate) fn new() -> Self {
        Self(Finder::new(MARK))
    }

    /// The stamp of the message in these bytes, if there is one.
    pub(crate) fn find(&self, message: &[u8]) -> Option<Stamp> {
        let start = self.0.find(message)? + MARK.len();
        let mut rest = message.get(start..)?;
        let mut next = |digits: usize| {
            let (number, behind) = rest.split_at_checked(digits)?;
            rest = behind;
            number.iter().try_fold(0_u64, |sum, digit| Some(sum << 4 | u64::from(char::from(*digit).to_digit(16)?)))
        };
        let [sender, number, time] = DIGITS;
        Some(Stamp { sender: u32::try_from(next(sender)?).ok()?, number: next(number)?, time: next(time)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_wherever_it_stands() {
        let stamp = Stamp { sender: 9999, number: 1 << 40, time: u64::MAX };
        for size in [0, SHORTEST, 400, 700] {
            let text = stamp.to_text(size);
            assert_eq!(text.len(), size.max(SHORTEST));
            let message = format!(":u1 PRIVMSG #bench0 :{text}\r\n");
            assert_eq!(Stamps::new().find(message.as_bytes()), Some(stamp));
        }
    }

    #[test]
    fn what_has_none_or_half_of_one_has_none() {
        let text = Stamp { sender: 1, number: 2, time: 3 }.to_text(0);
        for message in ["", "PING", &text[..SHORTEST - 1], &text.replace('0', "z"), &text[1..]] {
            assert_eq!(Stamps::new().find(message.as_bytes()), None, "{message}");
        }
    }
}
