//! Rows with what was predicted of them, and how often each counts.

use crate::arithmetic::ordered_sum;

/// Labels with predictions. Weights say how often each row counts, as scikit-learn's
/// `sample_weight` does: a row of weight two counts as two rows do, one of weight zero is as if it
/// were not there.
///
/// ```
/// use icecore_train::metrics::Scored;
///
/// let (labels, predictions) = ([0.0, 0.0, 1.0, 1.0], [0.1, 0.4, 0.35, 0.8]);
/// let rows = Scored::new(&labels, &predictions);
/// assert_eq!(rows.roc_auc(), Some(0.75));
/// assert_eq!(rows.with_weights(Some(&[1.0, 0.0, 1.0, 1.0])).roc_auc(), Some(1.0));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    labels: &'a [f64],
    predictions: &'a [f64],
    weights: Option<&'a [f64]>,
}

/// A row that counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) label: f64,
    /// The prediction, or that of each class.
    pub(super) predictions: &'a [f64],
    pub(super) weight: f64,
    /// Its place among all rows.
    pub(super) place: usize,
}

impl Row<'_> {
    pub(super) fn prediction(&self) -> f64 {
        self.predictions.first().copied().unwrap_or(f64::NAN)
    }
}

impl<'a> Scored<'a> {
    /// Rows that all count once.
    #[must_use]
    pub const fn new(labels: &'a [f64], predictions: &'a [f64]) -> Self {
        Self { labels, predictions, weights: None }
    }

    /// Says how often each row counts. Measures of weights that are not one of each row, finite and
    /// at least zero, are not defined.
    #[must_use]
    pub const fn with_weights(mut self, weights: Option<&'a [f64]>) -> Self {
        self.weights = weights;
        self
    }

    /// How many rows there are, those that do not count among them.
    pub(super) const fn len(&self) -> usize {
        self.labels.len()
    }

    /// The rows that count, with so many predictions each; none if there is none, or if lengths
    /// differ or weights are none.
    pub(super) fn rows(&self, width: usize) -> Option<impl Iterator<Item = Row<'a>> + Clone> {
        let Self { labels, predictions, weights } = *self;
        let is_weight = |weight: &f64| weight.is_finite() && *weight >= 0.0;
        let is_weighed = weights.is_none_or(|weights| {
            weights.len() == labels.len()
                && weights.iter().all(is_weight)
                && weights.iter().any(|weight| *weight > 0.0)
        });
        let is_whole = width > 0 && labels.len().checked_mul(width) == Some(predictions.len());
        if labels.is_empty() || !is_whole || !is_weighed {
            return None;
        }
        let rows = labels.iter().zip(predictions.chunks_exact(width)).enumerate();
        Some(rows.filter_map(move |(place, (label, predictions))| {
            let weight = weights.map_or(1.0, |weights| weights[place]);
            (weight > 0.0).then_some(Row { label: *label, predictions, weight, place })
        }))
    }

    /// The rows that count, if each is of one of two classes and none is predicted to be NaN.
    pub(super) fn binary(&self) -> Option<impl Iterator<Item = Row<'a>> + Clone> {
        let rows = self.rows(1)?;
        let is_defined =
            |row: Row<'_>| (row.label == 0.0 || row.label == 1.0) && !row.prediction().is_nan();
        rows.clone().all(is_defined).then_some(rows)
    }
}

/// The mean of a term of rows, whatever their order.
pub(super) fn mean<'a>(
    rows: impl Iterator<Item = Row<'a>> + Clone,
    term: impl Fn(&Row<'_>) -> f64,
) -> f64 {
    let terms = rows.clone().map(|row| row.weight * term(&row)).collect();
    ordered_sum(terms) / ordered_sum(rows.map(|row| row.weight).collect())
}

/// A sum that keeps what its roundings lose (Neumaier, 1974): of counts, it is exact.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    rounded: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, term: f64) {
        let sum = self.rounded + term;
        self.lost += if self.rounded.abs() >= term.abs() {
            (self.rounded - sum) + term
        } else {
            (term - sum) + self.rounded
        };
        self.rounded = sum;
    }

    pub(super) const fn value(self) -> f64 {
        self.rounded + self.lost
    }
}

/// Rows of one prediction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tie {
    pub(super) prediction: f64,
    /// The weight of positive rows.
    pub(super) positive: f64,
    /// The weight of the others.
    pub(super) negative: f64,
}

impl Tie {
    pub(super) fn weight(&self) -> f64 {
        self.positive + self.negative
    }
}

/// The rows by prediction, the greatest first.
pub(super) fn ties(scored: &Scored<'_>) -> Option<Vec<Tie>> {
    let rows = scored.binary()?;
    let mut rows: Vec<(f64, f64, f64)> =
        rows.map(|row| (row.prediction(), row.label, row.weight)).collect();
    rows.sort_unstable_by(|a, b| {
        // Zeros of both signs are one prediction, whose weights are summed in one order.
        let by_prediction = (b.0 + 0.0).total_cmp(&(a.0 + 0.0));
        by_prediction.then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2))
    });
    let tie = |group: &[(f64, f64, f64)]| {
        let (mut positive, mut negative) = (Sum::default(), Sum::default());
        for (_, label, weight) in group {
            if *label == 1.0 { positive.add(*weight) } else { negative.add(*weight) }
        }
        let prediction = group.first().map_or(f64::NAN, |row| row.0);
        Tie { prediction, positive: positive.value(), negative: negative.value() }
    };
    Some(rows.chunk_by(|a, b| a.0 == b.0).map(tie).collect())
}
