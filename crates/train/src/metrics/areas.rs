//! Measures of probabilities of two classes.

use super::scored::{Scored, Sum, mean, ties};
use crate::arithmetic::ln;

/// The least probability that the log-loss takes a row's label to have.
pub(super) const PROBABILITY_MIN: f64 = 1e-15;

impl Scored<'_> {
    /// The area under the ROC curve: the probability that a positive row is ranked above a negative
    /// one, where a tie counts half.
    #[must_use]
    pub fn roc_auc(&self) -> Option<f64> {
        let groups = ties(self)?;
        // Twice the weight of pairs in order, so that a tie's half is whole.
        let (mut twice, mut negatives, mut positives) =
            (Sum::default(), Sum::default(), Sum::default());
        for group in groups.iter().rev() {
            twice.add(group.positive * (2.0 * negatives.value() + group.negative));
            negatives.add(group.negative);
            positives.add(group.positive);
        }
        let pairs = positives.value() * negatives.value();
        (pairs > 0.0).then(|| twice.value() / (2.0 * pairs))
    }

    /// The area under the precision-recall curve, as average precision: each recall counts with the
    /// precision that is reached at it, without interpolation.
    #[must_use]
    pub fn pr_auc(&self) -> Option<f64> {
        let groups = ties(self)?;
        let (mut found, mut seen, mut area) = (Sum::default(), Sum::default(), 0.0);
        for group in &groups {
            found.add(group.positive);
            seen.add(group.weight());
            area += group.positive * (found.value() / seen.value());
        }
        let has_both = found.value() > 0.0 && groups.iter().any(|group| group.negative > 0.0);
        has_both.then(|| area / found.value())
    }

    /// The mean of minus the logarithm of the probability that was given to each row's label.
    #[must_use]
    pub fn log_loss(&self) -> Option<f64> {
        Some(mean(self.binary()?, |row| {
            let prediction = row.prediction();
            let given = if row.label == 1.0 { prediction } else { 1.0 - prediction };
            -ln(given.clamp(PROBABILITY_MIN, 1.0))
        }))
    }

    /// The mean square of what lies between prediction and label.
    #[must_use]
    pub fn brier(&self) -> Option<f64> {
        Some(mean(self.binary()?, |row| (row.prediction() - row.label).powi(2)))
    }

    /// The share of rows that are on their label's side of the threshold, which itself counts as
    /// one.
    #[must_use]
    pub fn accuracy(&self, threshold: f64) -> Option<f64> {
        Some(mean(self.binary()?, |row| {
            f64::from(u8::from((row.prediction() >= threshold) == (row.label == 1.0)))
        }))
    }
}

/// [`Scored::roc_auc`] of rows that count once.
///
/// ```
/// use icecore_train::metrics::roc_auc;
///
/// assert_eq!(roc_auc(&[0.0, 0.0, 1.0, 1.0], &[0.1, 0.4, 0.35, 0.8]), Some(0.75));
/// assert_eq!(roc_auc(&[1.0, 1.0], &[0.1, 0.4]), None);
/// ```
#[must_use]
pub fn roc_auc(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    Scored::new(labels, predictions).roc_auc()
}

/// [`Scored::pr_auc`] of rows that count once.
#[must_use]
pub fn pr_auc(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    Scored::new(labels, predictions).pr_auc()
}

/// [`Scored::log_loss`] of rows that count once.
#[must_use]
pub fn log_loss(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    Scored::new(labels, predictions).log_loss()
}

/// [`Scored::brier`] of rows that count once.
#[must_use]
pub fn brier(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    Scored::new(labels, predictions).brier()
}

/// [`Scored::accuracy`] of rows that count once.
#[must_use]
pub fn accuracy(labels: &[f64], predictions: &[f64], threshold: f64) -> Option<f64> {
    Scored::new(labels, predictions).accuracy(threshold)
}
