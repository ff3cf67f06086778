//! Durations, sizes and rates, as an operator writes them.

use std::time::Duration;

use crate::chat::Rate;

/// Longest time that an option may name: nothing that is computed with it overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A number and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit))
}

/// Reads `500ms`, `30s`, `10m`, `2h` or `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let read = split(text).and_then(|(number, unit)| {
        let ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => 24 * 60 * 60 * 1000,
            _ => return None,
        };
        number.checked_mul(ms).map(Duration::from_millis).filter(|duration| *duration <= LONGEST)
    });
    read.ok_or_else(|| "a time is a number and ms, s, m, h or d, such as 90s or 2h, and at most 365d".to_owned())
}

/// The same of a time that has to pass: zero is none.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| match time.is_zero() {
        true => Err("this cannot be switched off: give it at least 1ms".to_owned()),
        false => Ok(time),
    })
}

/// The same where `0` stands for ever.
pub(super) fn time_or_ever(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { duration(text) }
}

/// Reads bytes: `4096`, `64KiB`, `4MiB` or `1GiB`.
pub(super) fn bytes(text: &str) -> Result<u32, String> {
    let read = split(text).and_then(|(number, unit)| {
        let bytes = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        u32::try_from(number.checked_mul(bytes)?).ok()
    });
    read.ok_or_else(|| "a size is a number of bytes, or of KiB, MiB or GiB, such as 64KiB, below 4GiB".to_owned())
}

/// Reads `100/10s`: 100 at once, and in the long run 100 in 10 seconds.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || "a rate is how many and in what time, such as 100/10s".to_owned();
    let (count, period) = text.split_once('/').ok_or_else(wrong)?;
    let too_large = || format!("the number is too large: at most {}", u32::MAX);
    let count = match count.parse() {
        Ok(count) => count,
        Err(_) if !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) => return Err(too_large()),
        Err(_) => return Err(wrong()),
    };
    per(count, duration(period)?)
}

/// Reads `8MiB/16s`.
pub(super) fn byte_rate(text: &str) -> Result<Rate, String> {
    let wrong = || "a rate of bytes is a size and a time, such as 8MiB/16s".to_owned();
    let (size, period) = text.split_once('/').ok_or_else(wrong)?;
    per(bytes(size)?, duration(period)?)
}

fn per(count: u32, period: Duration) -> Result<Rate, String> {
    if count == 0 || period.is_zero() {
        return Err("a rate needs a count of at least 1 and a time above 0; --no-rate-limits lifts them all".to_owned());
    }
    let rate = Rate::per(count, period);
    if rate.is_none() {
        return Err("so many in so short a time is no limit; --no-rate-limits lifts them all".to_owned());
    }
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        let ms = |text| duration(text).map(|time| time.as_millis()).ok();
        assert_eq!(
            ["250ms", "90s", "10m", "2h", "365d", "0s"].map(ms),
            [250, 90_000, 600_000, 7_200_000, 31_536_000_000, 0].map(Some)
        );
        for wrong in ["", "s", "10", "1.5h", "-1s", "+1s", "1 s", "1w", "366d", "99999999999999999999s", "é"] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
        assert_eq!(time_or_ever("0"), Ok(Duration::ZERO));
        assert!(timeout("0s").is_err() && timeout("0").is_err() && timeout("1s").is_ok());
    }

    #[test]
    fn sizes_may_have_a_unit() {
        assert_eq!(
            ["4096", "10B", "64KiB", "4MiB", "3GiB"].map(|text| bytes(text).ok()),
            [Some(4096), Some(10), Some(65_536), Some(4_194_304), Some(3_221_225_472)]
        );
        for wrong in ["", "KiB", "1KB", "1kib", "4GiB", "18446744073709551615GiB", "-1", "1.5MiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_have_a_burst_and_a_time() {
        assert_eq!(rate("100/10s"), Ok(Rate::new(100, Duration::from_millis(100))));
        assert_eq!(byte_rate("1MiB/1s"), Ok(Rate::new(1 << 20, Duration::from_nanos(953))));
        for wrong in ["", "100", "/10s", "100/", "0/10s", "10/0s", "4294967295/1ms", "1/2/3s", "1,5/1s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert!(byte_rate("100/s").is_err());
        for (wrong, why) in [
            ("4294967296/1h", "too large"),
            ("0/1h", "at least 1"),
            ("1/0s", "a time above 0"),
            ("4294967295/1ms", "no limit"),
            ("x/1h", "such as 100/10s"),
        ] {
            assert!(rate(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }
}
