//! A histogram of times that keeps its relative error small from nanoseconds to hours.

/// Each power of two is divided into so many buckets: the error is at most 1/128 of the value.
const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;

/// Counts of values, which are nanoseconds everywhere in this program.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

/// The bucket of a value: exact below 64, then 64 buckets for each power of two.
fn bucket_of(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(SUB_BITS + 1);
    (u64::from(shift) * SUB + (value >> shift)) as usize
}

/// The middle of a bucket.
fn middle_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / SUB).saturating_sub(1);
    let low = (bucket - shift * SUB) << shift;
    low + (1 << shift) / 2
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; bucket_of(u64::MAX) + 1], count: 0, max: 0 }
    }

    pub(crate) fn add(&mut self, value: u64) {
        if let Some(count) = self.buckets.get_mut(bucket_of(value)) {
            *count += 1;
        }
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// Adds what another has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(count, more)| *count += more);
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The value that this share (0 to 1) of all values does not exceed; 0 when there are none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle_of(bucket).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_within_one_percent_of_its_values() {
        for exponent in 0..63 {
            for offset in [0, 1, 12_345] {
                let value = (1_u64 << exponent) + offset;
                let found = middle_of(bucket_of(value));
                assert!(found.abs_diff(value) as f64 <= value as f64 / 100.0, "{value} became {found}");
            }
        }
        assert!(bucket_of(u64::MAX) < Histogram::new().buckets.len());
    }

    #[test]
    fn buckets_follow_their_values() {
        let buckets: Vec<_> = (0..100_000).map(bucket_of).collect();
        assert!(buckets.is_sorted());
        let mut distinct = buckets;
        distinct.dedup();
        assert_eq!(*distinct.last().unwrap() + 1, distinct.len(), "no bucket is left out");
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut times = Histogram::new();
        assert_eq!(times.quantile(0.5), 0);
        let mut odd = Histogram::new();
        (1..=100_000).for_each(|value| if value % 2 == 0 { times.add(value) } else { odd.add(value) });
        times.merge(&odd);
        assert_eq!(times.count(), 100_000);
        for (share, exact) in [(0.0, 1), (0.5, 50_000), (0.99, 99_000), (0.999, 99_900), (1.0, 100_000)] {
            let found = times.quantile(share);
            assert!(found.abs_diff(exact) <= exact / 100, "{share}: {found} for {exact}");
        }
    }
}
