//! Measures of more than two classes.

use super::PROBABILITY_MIN;
use crate::arithmetic::{ln, ordered_sum};

/// The rows with their labels, if every label is the number of a class.
fn rows<'a>(
    labels: &'a [f64],
    predictions: &'a [f64],
    classes: usize,
) -> Option<impl Iterator<Item = (usize, &'a [f64])>> {
    let known = |label: &f64| *label >= 0.0 && *label < classes as f64 && label.fract() == 0.0;
    let is_defined = !labels.is_empty()
        && classes > 1
        && labels.len().checked_mul(classes) == Some(predictions.len())
        && labels.iter().all(known)
        && !predictions.iter().any(|prediction| prediction.is_nan());
    let rows = labels.iter().map(|label| *label as usize).zip(predictions.chunks(classes.max(1)));
    is_defined.then_some(rows)
}

/// The mean of minus the logarithm of the probability that was given to each row's class.
#[must_use]
pub fn class_log_loss(labels: &[f64], predictions: &[f64], classes: usize) -> Option<f64> {
    let terms = rows(labels, predictions, classes)?
        .map(|(label, row)| -ln(row[label].clamp(PROBABILITY_MIN, 1.0)))
        .collect();
    Some(ordered_sum(terms) / labels.len() as f64)
}

/// The share of rows whose class is the one of greatest probability; of equal ones, the first.
#[must_use]
pub fn class_accuracy(labels: &[f64], predictions: &[f64], classes: usize) -> Option<f64> {
    let right = rows(labels, predictions, classes)?
        .filter(|(label, row)| {
            let best = row.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (at, value)| {
                if *value > best.1 { (at, *value) } else { best }
            });
            best.0 == *label
        })
        .count();
    Some(right as f64 / labels.len() as f64)
}
