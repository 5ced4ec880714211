//! How good predictions are.
//!
//! Of two classes, labels are zero or one and predictions are probabilities of one; of numbers,
//! both are numbers; of more classes, labels are their numbers and predictions are a probability
//! of each, row by row; of rankings, labels are whole numbers and predictions order the rows of a
//! group. Every function returns `None` where its measure is not defined: no rows,
//! slices of different lengths, labels that are none, a prediction that is NaN; the areas also if
//! only one class is there. None of them depends on the order of rows.

mod classes;
mod curves;
mod measure;
mod numbers;
mod ranking;

pub use classes::{class_accuracy, class_log_loss};
pub use curves::{
    CalibrationBin, Confusion, CurvePoint, calibration, confusion, lift, precision_recall_curve,
    roc_curve,
};
pub use measure::Measure;
pub use numbers::{mae, quantile_loss, rmse};
pub(crate) use ranking::{best_gain, discount, gain, is_relevance, ndcg_of};
pub use ranking::{mean_average_precision, ndcg};

use crate::arithmetic::{ln, ordered_sum};

/// The least probability that the log-loss takes a row's label to have.
const PROBABILITY_MIN: f64 = 1e-15;

/// The area under the ROC curve: the probability that a positive row is ranked above a negative
/// one, where a tie counts half.
///
/// ```
/// use icecore_train::metrics::roc_auc;
///
/// assert_eq!(roc_auc(&[0.0, 0.0, 1.0, 1.0], &[0.1, 0.4, 0.35, 0.8]), Some(0.75));
/// assert_eq!(roc_auc(&[1.0, 1.0], &[0.1, 0.4]), None);
/// ```
#[must_use]
pub fn roc_auc(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    let groups = ties(labels, predictions)?;
    // Twice the number of pairs in order, so that a tie's half is whole.
    let (mut twice, mut negatives, mut positives) = (0_u128, 0_u128, 0_u128);
    for group in groups.iter().rev() {
        twice += group.positive * (2 * negatives + group.negative);
        negatives += group.negative;
        positives += group.positive;
    }
    let pairs = positives * negatives;
    (pairs > 0).then(|| twice as f64 / (2.0 * pairs as f64))
}

/// The area under the precision-recall curve, as average precision: each recall counts with the
/// precision that is reached at it, without interpolation.
#[must_use]
pub fn pr_auc(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    let groups = ties(labels, predictions)?;
    let positives: u128 = groups.iter().map(|group| group.positive).sum();
    let rows: u128 = groups.iter().map(|group| group.positive + group.negative).sum();
    if positives == 0 || positives == rows {
        return None;
    }
    let (mut found, mut seen, mut area) = (0_u128, 0_u128, 0.0);
    for group in &groups {
        found += group.positive;
        seen += group.positive + group.negative;
        area += group.positive as f64 * (found as f64 / seen as f64);
    }
    Some(area / positives as f64)
}

/// The mean of minus the logarithm of the probability that was given to each row's label.
#[must_use]
pub fn log_loss(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    mean(labels, predictions, |label, prediction| {
        let given = if label == 1.0 { prediction } else { 1.0 - prediction };
        -ln(given.clamp(PROBABILITY_MIN, 1.0))
    })
}

/// The mean square of what lies between prediction and label.
#[must_use]
pub fn brier(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    mean(labels, predictions, |label, prediction| (prediction - label) * (prediction - label))
}

/// The share of rows that are on their label's side of the threshold, which itself counts as one.
#[must_use]
pub fn accuracy(labels: &[f64], predictions: &[f64], threshold: f64) -> Option<f64> {
    mean(labels, predictions, |label, prediction| {
        f64::from(u8::from((prediction >= threshold) == (label == 1.0)))
    })
}

fn is_defined(labels: &[f64], predictions: &[f64]) -> bool {
    !labels.is_empty()
        && labels.len() == predictions.len()
        && labels.iter().all(|label| *label == 0.0 || *label == 1.0)
        && !predictions.iter().any(|prediction| prediction.is_nan())
}

fn mean(labels: &[f64], predictions: &[f64], term: impl Fn(f64, f64) -> f64) -> Option<f64> {
    is_defined(labels, predictions).then(|| {
        let terms =
            labels.iter().zip(predictions).map(|(label, prediction)| term(*label, *prediction));
        ordered_sum(terms.collect()) / labels.len() as f64
    })
}

/// Rows of one prediction.
#[derive(Debug, Clone, Copy)]
struct Tie {
    prediction: f64,
    positive: u128,
    negative: u128,
}

/// The rows by prediction, the greatest first.
fn ties(labels: &[f64], predictions: &[f64]) -> Option<Vec<Tie>> {
    if !is_defined(labels, predictions) {
        return None;
    }
    let mut rows: Vec<(f64, f64)> =
        predictions.iter().copied().zip(labels.iter().copied()).collect();
    rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    // Zeros of both signs are neighbours and one prediction.
    Some(
        rows.chunk_by(|a, b| a.0 == b.0)
            .map(|group| {
                let positive = group.iter().filter(|(_, label)| *label == 1.0).count() as u128;
                Tie { prediction: group[0].0, positive, negative: group.len() as u128 - positive }
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests;
