//! Statistics of a column that do not depend on the order of its rows: values are sorted first.

use crate::forest::{exponent, power_of_two};

/// The finite values of a column, in order.
#[derive(Debug)]
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    pub(crate) fn new(values: &[f64]) -> Self {
        // Adding zero turns a negative zero into a positive one.
        let finite = values.iter().filter(|value| value.is_finite()).map(|value| value + 0.0);
        let mut sorted: Vec<f64> = finite.collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Self(sorted)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A power of two in which no sum overflows, and by which division loses nothing.
    fn unit(&self) -> f64 {
        let ends = [self.least().abs(), self.greatest().abs()];
        power_of_two(exponent(ends[0].max(ends[1])).clamp(-1_000, 1_023))
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(0.0)
    }

    pub(crate) fn greatest(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    /// The mean; zero where there is no value.
    pub(crate) fn mean(&self) -> f64 {
        let unit = self.unit();
        let count = self.0.len().max(1) as f64;
        self.0.iter().map(|value| value / unit).sum::<f64>() / count * unit
    }

    /// The standard deviation of the values as they are, divided by their number.
    pub(crate) fn deviation(&self) -> f64 {
        let unit = self.unit();
        let mean = self.mean() / unit;
        let square = |value: &f64| (value / unit - mean) * (value / unit - mean);
        let count = self.0.len().max(1) as f64;
        let deviation = (self.0.iter().map(square).sum::<f64>() / count).sqrt();
        // What remains of a constant column after rounding is no variance.
        if deviation <= 1e-12 { 0.0 } else { deviation * unit }
    }

    /// The value below which there is this share, by a straight line between its neighbours, as
    /// numpy has it.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let place = last as f64 * share;
        let (below, part) = (place.floor(), place - place.floor());
        let at = |place: usize| self.0.get(place.min(last)).copied().unwrap_or(0.0);
        let (low, high) = (at(below as usize), at(below as usize + 1));
        let gap = high - low;
        if gap.is_finite() { low + gap * part } else { low * (1.0 - part) + high * part }
    }

    /// The value that is there most often; of several, the least.
    pub(crate) fn most_frequent(&self) -> f64 {
        let mut best = (0, 0.0);
        for group in self.0.chunk_by(|a, b| a == b) {
            if group.len() > best.0 {
                best = (group.len(), group[0]);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_the_values_that_are_there() {
        let sorted = Sorted::new(&[4.0, f64::NAN, 1.0, 2.0, f64::INFINITY, 1.0]);
        assert_eq!((sorted.least(), sorted.greatest()), (1.0, 4.0));
        assert_eq!((sorted.mean(), sorted.most_frequent()), (2.0, 1.0));
        assert_eq!((sorted.quantile(0.5), sorted.quantile(1.0)), (1.5, 4.0));
        assert!((sorted.deviation() - 1.5_f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn extreme_values_have_statistics() {
        let sorted = Sorted::new(&[f64::MAX, f64::MAX, f64::MIN]);
        assert!((sorted.mean() / f64::MAX - 1.0 / 3.0).abs() < 1e-15);
        assert!(sorted.deviation().is_finite() && sorted.quantile(0.25).is_finite());
        let none = Sorted::new(&[f64::NAN]);
        assert_eq!((none.mean(), none.deviation(), none.quantile(0.5)), (0.0, 0.0, 0.0));
        assert_eq!(Sorted::new(&[0.1; 7]).deviation(), 0.0);
    }
}
