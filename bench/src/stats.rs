//! Statistics of what was measured.

/// Mean and variance, one value after the other (Welford's method).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Sample {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        let off = value - self.mean;
        self.mean += off / self.count as f64;
        self.squares += off * (value - self.mean);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn mean(&self) -> f64 {
        self.mean
    }

    /// Of what it is a sample of.
    pub(crate) fn variance(&self) -> f64 {
        self.squares / (self.count.saturating_sub(1) as f64).max(1.0)
    }
}

/// Welch's t: how many standard errors apart two means are; 0 when there is nothing to tell them apart by.
pub(crate) fn welch(a: &Sample, b: &Sample) -> f64 {
    let error = (a.variance() / (a.count as f64).max(1.0) + b.variance() / (b.count as f64).max(1.0)).sqrt();
    if error > 0.0 { (a.mean - b.mean) / error } else { 0.0 }
}

/// A straight line through points, by least squares.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Slope {
    /// y for each x.
    pub(crate) slope: f64,
    /// Its standard error, as if the deviations from the line were independent.
    pub(crate) error: f64,
}

impl Slope {
    /// Of at least three points that are not all above each other; else there is none, and it is zero.
    pub(crate) fn of(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
        let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        if points.len() < 3 || spread == 0.0 {
            return Self::default();
        }
        let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
        let off: f64 = points.iter().map(|point| (point.1 - y - slope * (point.0 - x)).powi(2)).sum();
        Self { slope, error: (off / (count - 2.0) / spread).sqrt() }
    }

    /// The same for `times` as much of x.
    pub(crate) fn per(self, times: f64) -> Self {
        Self { slope: self.slope * times, error: self.error * times }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[f64]) -> Sample {
        let mut sample = Sample::default();
        values.iter().for_each(|value| sample.add(*value));
        sample
    }

    fn is_near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-3
    }

    #[test]
    fn welchs_t_is_as_it_is_defined() {
        let (a, b) = (sample(&[1.0, 2.0, 3.0, 4.0]), sample(&[3.0, 5.0, 7.0]));
        assert!(is_near(a.mean(), 2.5) && is_near(a.variance(), 5.0 / 3.0) && is_near(b.variance(), 4.0));
        assert!(is_near(welch(&a, &b), -2.5 / (5.0_f64 / 12.0 + 4.0 / 3.0).sqrt()));
        assert!(is_near(welch(&sample(&[1.0, 1.0]), &sample(&[1.0])), 0.0));
    }

    #[test]
    fn a_slope_is_that_of_the_points() {
        let exact: Vec<_> = (0..10).map(|x| (f64::from(x), 3.0 + 2.0 * f64::from(x))).collect();
        let Slope { slope, error } = Slope::of(&exact).per(10.0);
        assert!(is_near(slope, 20.0) && is_near(error, 0.0));
        let noisy = Slope::of(&[(0.0, 0.0), (1.0, 2.0), (2.0, 1.0)]);
        assert!(is_near(noisy.slope, 0.5) && is_near(noisy.error, (1.5_f64 / 2.0).sqrt()));
        assert_eq!(Slope::of(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), Slope::default());
    }
}
