//! What probabilities are worth at every threshold.

use serde::{Serialize, Serializer};

use super::scored::{Scored, Sum, Tie, mean, ties};

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

impl Scored<'_> {
    /// The ROC curve, from no row taken for positive to all: a point of each distinct prediction.
    #[must_use]
    pub fn roc_curve(&self) -> Option<Vec<CurvePoint>> {
        let points = thresholds(self)?;
        let (_, positives, negatives) = *points.last()?;
        if positives == 0.0 || negatives == 0.0 {
            return None;
        }
        let point = |(threshold, found, wrong): (f64, f64, f64)| CurvePoint {
            threshold,
            x: wrong / negatives,
            y: found / positives,
        };
        let none = CurvePoint { threshold: f64::INFINITY, x: 0.0, y: 0.0 };
        Some(std::iter::once(none).chain(points.into_iter().map(point)).collect())
    }

    /// The precision-recall curve, from no row taken for positive to all.
    #[must_use]
    pub fn precision_recall_curve(&self) -> Option<Vec<CurvePoint>> {
        let points = thresholds(self)?;
        let (_, positives, _) = *points.last()?;
        if positives == 0.0 {
            return None;
        }
        let point = |(threshold, found, wrong): (f64, f64, f64)| CurvePoint {
            threshold,
            x: found / positives,
            y: found / (found + wrong),
        };
        let none = CurvePoint { threshold: f64::INFINITY, x: 0.0, y: 1.0 };
        Some(std::iter::once(none).chain(points.into_iter().map(point)).collect())
    }

    /// The calibration curve: predictions in `bins` ranges of equal width, those without rows left
    /// out. A good model has what it predicts.
    #[must_use]
    pub fn calibration(&self, bins: usize) -> Option<Vec<CalibrationBin>> {
        let rows = self.binary()?;
        let mut probable = rows.clone().map(|row| row.prediction());
        if bins == 0 || !probable.all(|prediction| (0.0..=1.0).contains(&prediction)) {
            return None;
        }
        let mut filled = vec![Vec::new(); bins];
        for row in rows {
            // A prediction on the border belongs below it, as scikit-learn has it.
            let bin = ((row.prediction() * bins as f64).ceil() as usize).clamp(1, bins) - 1;
            filled[bin].push(row);
        }
        let bin = |rows: Vec<_>| CalibrationBin {
            rows: rows.len() as u64,
            predicted: mean(rows.iter().copied(), |row| row.prediction()),
            observed: mean(rows.iter().copied(), |row| row.label),
        };
        Some(filled.into_iter().filter(|rows| !rows.is_empty()).map(bin).collect())
    }

    /// The confusion matrix at a threshold, which itself counts as positive.
    #[must_use]
    pub fn confusion(&self, threshold: f64) -> Option<Confusion> {
        let groups = ties(self).filter(|_| !threshold.is_nan())?;
        let mut sums = [Sum::default(); 4];
        for group in &groups {
            let at = if group.prediction >= threshold { 0 } else { 2 };
            sums[at].add(group.positive);
            sums[at + 1].add(group.negative);
        }
        let [true_positive, false_positive, false_negative, true_negative] =
            sums.map(|sum| sum.value());
        Some(Confusion { true_positive, false_positive, true_negative, false_negative })
    }

    /// How much more often rows are positive among this share of them, those of greatest
    /// prediction, than among all. Rows at the border, which are a tie, count in part.
    #[must_use]
    pub fn lift(&self, top: f64) -> Option<f64> {
        let groups = ties(self).filter(|_| top > 0.0 && top <= 1.0)?;
        let (mut positives, mut rows) = (Sum::default(), Sum::default());
        for group in &groups {
            positives.add(group.positive);
            rows.add(group.weight());
        }
        let (positives, rows) = (positives.value(), rows.value());
        if positives == 0.0 {
            return None;
        }
        let wanted = top * rows;
        let (mut taken, mut found) = (Sum::default(), Sum::default());
        for group in &groups {
            let size = group.weight();
            let part = ((wanted - taken.value()) / size).clamp(0.0, 1.0);
            found.add(group.positive * part);
            taken.add(size * part);
            if part < 1.0 {
                break;
            }
        }
        Some(found.value() / wanted / (positives / rows))
    }
}

/// For each distinct prediction, the greatest first: the weight of the positive and of the negative
/// rows of at least it.
fn thresholds(scored: &Scored<'_>) -> Option<Vec<(f64, f64, f64)>> {
    let (mut found, mut wrong) = (Sum::default(), Sum::default());
    let groups = ties(scored)?;
    let point = |group: &Tie| {
        found.add(group.positive);
        wrong.add(group.negative);
        (group.prediction, found.value(), wrong.value())
    };
    Some(groups.iter().map(point).collect())
}

/// Rows whose predictions lie in one range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CalibrationBin {
    /// How many there are that count.
    pub rows: u64,
    /// Their mean prediction.
    pub predicted: f64,
    /// The share of them that is positive.
    pub observed: f64,
}

/// How many rows are on which side of a threshold: as many as their weights sum to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Confusion {
    /// Positive rows of at least the threshold.
    #[serde(serialize_with = "whole")]
    pub true_positive: f64,
    /// Negative rows of at least the threshold.
    #[serde(serialize_with = "whole")]
    pub false_positive: f64,
    /// Negative rows below it.
    #[serde(serialize_with = "whole")]
    pub true_negative: f64,
    /// Positive rows below it.
    #[serde(serialize_with = "whole")]
    pub false_negative: f64,
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
        share(2.0 * self.true_positive, 2.0 * self.true_positive + wrong)
    }
}

/// A share, where there is anything.
pub(super) fn share(part: f64, all: f64) -> Option<f64> {
    (all > 0.0).then(|| part / all)
}

/// How many rows, which is a whole number where all of them count once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Count(#[serde(serialize_with = "whole")] pub(super) f64);

/// Writes a number as a whole one where it is.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn whole<S: Serializer>(count: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    // Up to 2^53, whole numbers are themselves.
    if count.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(count) {
        serializer.serialize_u64(*count as u64)
    } else {
        serializer.serialize_f64(*count)
    }
}

/// [`Scored::roc_curve`] of rows that count once.
#[must_use]
pub fn roc_curve(labels: &[f64], predictions: &[f64]) -> Option<Vec<CurvePoint>> {
    Scored::new(labels, predictions).roc_curve()
}

/// [`Scored::precision_recall_curve`] of rows that count once.
#[must_use]
pub fn precision_recall_curve(labels: &[f64], predictions: &[f64]) -> Option<Vec<CurvePoint>> {
    Scored::new(labels, predictions).precision_recall_curve()
}

/// [`Scored::calibration`] of rows that count once.
#[must_use]
pub fn calibration(
    labels: &[f64],
    predictions: &[f64],
    bins: usize,
) -> Option<Vec<CalibrationBin>> {
    Scored::new(labels, predictions).calibration(bins)
}

/// [`Scored::confusion`] of rows that count once.
#[must_use]
pub fn confusion(labels: &[f64], predictions: &[f64], threshold: f64) -> Option<Confusion> {
    Scored::new(labels, predictions).confusion(threshold)
}

/// [`Scored::lift`] of rows that count once.
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
    Scored::new(labels, predictions).lift(top)
}
