//! Labels as training sees them.

use crate::arithmetic::{ln, ordered_sum};
use crate::forest::{exponent, power_of_two};

/// Labels near zero, and what predictions begin with.
#[derive(Debug)]
pub(super) struct Target {
    /// The best constant raw score of each output.
    pub(super) bases: Vec<f64>,
    /// What the raw score of each output is at first during training.
    pub(super) starts: Vec<f32>,
    /// What is taken from labels.
    shift: f64,
    /// What leaves are multiplied with, a power of two.
    pub(super) scale: f64,
}

impl Target {
    /// Zero and one, or numbers of classes: logarithms of shares are the best constants.
    pub(super) fn classes(labels: &[f64], weights: Option<&[f64]>, outputs: usize) -> Self {
        let weight_of = |class: f64| {
            let rows = labels.iter().enumerate().filter(|(_, label)| **label == class);
            match weights {
                None => rows.count() as f64,
                Some(weights) => ordered_sum(rows.map(|(row, _)| weights[row]).collect()),
            }
        };
        // Half a row of a class that was never seen keeps the odds finite.
        let bases: Vec<f64> = if outputs == 1 {
            let (positive, negative) = (weight_of(1.0), weight_of(0.0));
            let seen = if positive == 0.0 || negative == 0.0 { 0.5 } else { 0.0 };
            vec![ln((positive + seen) / (negative + seen))]
        } else {
            let by_class: Vec<f64> =
                (0..outputs).map(|class| weight_of(class as f64).max(0.5)).collect();
            let all: f64 = by_class.iter().sum();
            by_class.into_iter().map(|weight| ln(weight / all)).collect()
        };
        let starts = bases.iter().map(|base| *base as f32).collect();
        Self { starts, bases, shift: 0.0, scale: 1.0 }
    }

    /// Counts, whose mean's logarithm is the best constant.
    pub(super) fn counts(labels: &[f64], weights: Option<&[f64]>) -> Self {
        let base = ln(mean(labels, weights).clamp(1e-10, 1e30));
        let (bases, starts) = (vec![base], vec![base as f32]);
        Self { starts, bases, shift: 0.0, scale: 1.0 }
    }

    /// How relevant rows are; scores begin at zero, and only their order counts.
    pub(super) fn ranks() -> Self {
        let (bases, starts) = (vec![0.0], vec![0.0]);
        Self { starts, bases, shift: 0.0, scale: 1.0 }
    }

    /// Numbers of any size, of which the mean or a quantile is the best constant.
    pub(super) fn numbers(labels: &[f64], weights: Option<&[f64]>, of: Option<f64>) -> Self {
        let base = match of {
            None => mean(labels, weights),
            Some(alpha) => {
                let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
                let pairs = labels.iter().enumerate().map(|(row, label)| (*label, weight(row)));
                quantile(pairs.collect(), alpha)
            }
        };
        let base = base.clamp(-crate::tree::VALUE_MAX, crate::tree::VALUE_MAX);
        let farthest = labels.iter().map(|label| (label - base).abs()).fold(0.0, f64::max);
        // The power of two keeps every bit. Below 2^900, no sum of leaves overflows.
        let scale = power_of_two(exponent(farthest).clamp(-1_000, 900));
        let (bases, starts) = (vec![base], vec![0.0]);
        Self { starts, bases, shift: base, scale }
    }

    /// Labels as training sees them: numbers are differences from the base, in units of `scale`.
    pub(super) fn encode(&self, labels: &[f64]) -> Vec<f32> {
        let label = |label: &f64| ((label - self.shift) / self.scale).clamp(-1e30, 1e30) as f32;
        labels.iter().map(label).collect()
    }
}

/// The mean in units of the greatest, so that no sum overflows.
fn mean(labels: &[f64], weights: Option<&[f64]>) -> f64 {
    let greatest = labels.iter().map(|label| label.abs()).fold(0.0, f64::max);
    if greatest == 0.0 {
        return 0.0;
    }
    let unit = power_of_two(exponent(greatest).min(1_023));
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let terms = labels.iter().enumerate().map(|(row, label)| label / unit * weight(row));
    let all = match weights {
        None => labels.len() as f64,
        Some(weights) => ordered_sum(weights.to_vec()),
    };
    ordered_sum(terms.collect()) / all * unit
}

/// The least value at or below which there is this share of the weight.
pub(super) fn quantile(mut values: Vec<(f64, f64)>, alpha: f64) -> f64 {
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let all: f64 = values.iter().map(|(_, weight)| weight).sum();
    let wanted = alpha * all;
    let mut below = 0.0;
    for (value, weight) in &values {
        below += weight;
        if below >= wanted {
            return *value;
        }
    }
    values.last().map_or(0.0, |(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_the_best_ones() {
        let labels = [3.0, 1.0, 2.0, 10.0];
        assert_eq!(Target::numbers(&labels, None, None).bases, [4.0]);
        assert_eq!(Target::numbers(&labels, None, Some(0.5)).bases, [2.0]);
        assert_eq!(Target::numbers(&labels, Some(&[1.0, 0.5, 0.1, 9.0]), Some(0.5)).bases, [10.0]);
        assert!((Target::counts(&labels, None).bases[0] - 4.0_f64.ln()).abs() < 1e-15);
        let classes = Target::classes(&[0.0, 2.0, 2.0, 2.0], None, 3);
        assert!((classes.bases[2].exp() - 3.0 / 4.5).abs() < 1e-12, "{classes:?}");
    }

    #[test]
    fn numbers_of_any_size_are_labels() {
        for factor in [1e-300, 1.0, 1e260] {
            let labels = [factor, -factor, 3.0 * factor];
            let target = Target::numbers(&labels, None, None);
            let labels = target.encode(&labels);
            assert!(labels.iter().all(|label| label.is_finite() && label.abs() <= 1.0));
            assert!(labels[0] == 0.0 && labels[2] > 0.4, "{target:?}");
        }
    }
}
