//! What probabilities are worth at every threshold.

use serde::Serialize;

use super::{is_defined, ties};
use crate::arithmetic::ordered_sum;

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CurvePoint {
    /// Rows of at least this prediction are taken for positive; infinity takes none.
    pub threshold: f64,
    /// The false positive rate, or the recall.
    pub x: f64,
    /// The true positive rate, or the precision.
    pub y: f64,
}

/// The ROC curve, from no row taken for positive to all: a point of each distinct prediction.
#[must_use]
pub fn roc_curve(labels: &[f64], predictions: &[f64]) -> Option<Vec<CurvePoint>> {
    let points = thresholds(labels, predictions)?;
    let (_, positives, negatives) = *points.last()?;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let point = |(threshold, found, wrong): (f64, u128, u128)| CurvePoint {
        threshold,
        x: wrong as f64 / negatives as f64,
        y: found as f64 / positives as f64,
    };
    let none = CurvePoint { threshold: f64::INFINITY, x: 0.0, y: 0.0 };
    Some(std::iter::once(none).chain(points.into_iter().map(point)).collect())
}

/// The precision-recall curve, from no row taken for positive to all.
#[must_use]
pub fn precision_recall_curve(labels: &[f64], predictions: &[f64]) -> Option<Vec<CurvePoint>> {
    let points = thresholds(labels, predictions)?;
    let (_, positives, _) = *points.last()?;
    if positives == 0 {
        return None;
    }
    let point = |(threshold, found, wrong): (f64, u128, u128)| CurvePoint {
        threshold,
        x: found as f64 / positives as f64,
        y: found as f64 / (found + wrong) as f64,
    };
    let none = CurvePoint { threshold: f64::INFINITY, x: 0.0, y: 1.0 };
    Some(std::iter::once(none).chain(points.into_iter().map(point)).collect())
}

/// For each distinct prediction, the greatest first: the positive and the negative rows of at
/// least it.
fn thresholds(labels: &[f64], predictions: &[f64]) -> Option<Vec<(f64, u128, u128)>> {
    let (mut found, mut wrong) = (0, 0);
    let groups = ties(labels, predictions)?;
    let point = |group: &super::Tie| {
        found += group.positive;
        wrong += group.negative;
        (group.prediction, found, wrong)
    };
    Some(groups.iter().map(point).collect())
}

/// Rows whose predictions lie in one range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CalibrationBin {
    /// How many there are.
    pub rows: u64,
    /// Their mean prediction.
    pub predicted: f64,
    /// The share of them that is positive.
    pub observed: f64,
}

/// The calibration curve: predictions in `bins` ranges of equal width, those without rows left
/// out. A good model has what it predicts.
#[must_use]
pub fn calibration(
    labels: &[f64],
    predictions: &[f64],
    bins: usize,
) -> Option<Vec<CalibrationBin>> {
    let probable = predictions.iter().all(|prediction| (0.0..=1.0).contains(prediction));
    if !is_defined(labels, predictions) || !probable || bins == 0 {
        return None;
    }
    let mut rows: Vec<(Vec<f64>, u64)> = vec![(Vec::new(), 0); bins];
    for (label, prediction) in labels.iter().zip(predictions) {
        // A prediction on the border belongs below it, as scikit-learn has it.
        let bin = ((prediction * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        rows[bin].0.push(*prediction);
        rows[bin].1 += u64::from(*label == 1.0);
    }
    let filled = rows.into_iter().filter(|(predictions, _)| !predictions.is_empty());
    let bin = |(predictions, positive): (Vec<f64>, u64)| {
        let count = predictions.len() as f64;
        CalibrationBin {
            rows: predictions.len() as u64,
            predicted: ordered_sum(predictions) / count,
            observed: positive as f64 / count,
        }
    };
    Some(filled.map(bin).collect())
}

/// How many rows are on which side of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Confusion {
    /// Positive rows of at least the threshold.
    pub true_positive: u64,
    /// Negative rows of at least the threshold.
    pub false_positive: u64,
    /// Negative rows below it.
    pub true_negative: u64,
    /// Positive rows below it.
    pub false_negative: u64,
}

impl Confusion {
    /// The share of rows taken for positive that are.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positive, self.true_positive + self.false_positive)
    }

    /// The share of positive rows that are taken for it.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        share(self.true_positive, self.true_positive + self.false_negative)
    }

    /// The harmonic mean of precision and recall.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        let wrong = self.false_positive + self.false_negative;
        share(2 * self.true_positive, 2 * self.true_positive + wrong)
    }
}

fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

/// The confusion matrix at a threshold, which itself counts as positive.
#[must_use]
pub fn confusion(labels: &[f64], predictions: &[f64], threshold: f64) -> Option<Confusion> {
    if !is_defined(labels, predictions) || threshold.is_nan() {
        return None;
    }
    let count = |positive: bool, taken: bool| {
        let pairs = labels.iter().zip(predictions);
        pairs.filter(|(l, p)| (**l == 1.0) == positive && (**p >= threshold) == taken).count()
            as u64
    };
    Some(Confusion {
        true_positive: count(true, true),
        false_positive: count(false, true),
        true_negative: count(false, false),
        false_negative: count(true, false),
    })
}

/// How much more often rows are positive among this share of them, those of greatest prediction,
/// than among all. A tie at the border counts in part.
///
/// ```
/// use icecore_train::metrics::lift;
///
/// let (labels, predictions) = ([1.0, 1.0, 0.0, 0.0], [0.9, 0.8, 0.2, 0.1]);
/// assert_eq!(lift(&labels, &predictions, 0.5), Some(2.0));
/// assert_eq!(lift(&labels, &predictions, 1.0), Some(1.0));
/// ```
#[must_use]
pub fn lift(labels: &[f64], predictions: &[f64], top: f64) -> Option<f64> {
    let groups = ties(labels, predictions)?;
    let positives: u128 = groups.iter().map(|group| group.positive).sum();
    if positives == 0 || !(top > 0.0 && top <= 1.0) {
        return None;
    }
    let rows = labels.len() as f64;
    let wanted = (top * rows).ceil().min(rows);
    let (mut taken, mut found) = (0.0, 0.0);
    for group in &groups {
        let size = (group.positive + group.negative) as f64;
        let part = ((wanted - taken) / size).min(1.0);
        found += group.positive as f64 * part;
        taken += size * part;
        if part < 1.0 {
            break;
        }
    }
    Some(found / wanted / (positives as f64 / rows))
}
