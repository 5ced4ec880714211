//! How good predictions are.
//!
//! Of two classes, labels are zero or one and predictions are probabilities of one; of numbers,
//! both are numbers; of more classes, labels are their numbers and predictions are a probability
//! of each, row by row; of rankings, labels are whole numbers and predictions order the rows of a
//! group. Every measure is `None` where it is not defined: no rows that count, slices of different
//! lengths, labels that are none, a prediction that is NaN; the areas also if only one class is
//! there. None of them depends on the order of rows.
//!
//! [`Scored`] has them all, of rows that count as often as their weights say; the functions are of
//! rows that count once.

mod areas;
mod classes;
mod curves;
mod measure;
mod numbers;
mod ranking;
mod scored;

pub use areas::{accuracy, brier, log_loss, pr_auc, roc_auc};
pub use classes::{ClassConfusion, class_accuracy, class_log_loss};
pub use curves::{
    CalibrationBin, Confusion, CurvePoint, calibration, confusion, lift, precision_recall_curve,
    roc_curve,
};
pub use measure::Measure;
pub use numbers::{mae, poisson_deviance, quantile_loss, rmse};
pub(crate) use ranking::{best_gain, discount, gain, is_relevance, ndcg_of};
pub use ranking::{mean_average_precision, ndcg};
pub use scored::Scored;

use icecore_core::{Result, TrainingSource};

use crate::arithmetic::ordered_sum;

/// The share of rows whose label is above one half, as often as each counts; none if none counts.
///
/// # Errors
///
/// As [`TrainingSource::read`].
pub fn positive_rate(source: &dyn TrainingSource) -> Result<Option<f64>> {
    let (mut rows, mut positive) = (0_u64, 0_u64);
    let (mut weights, mut positive_weights) = (Vec::new(), Vec::new());
    source.read(&mut |part| {
        let labels = part.labels().values();
        match part.weights() {
            None => {
                rows += labels.len() as u64;
                positive += labels.iter().filter(|label| **label > 0.5).count() as u64;
            }
            Some(of) => {
                weights.extend_from_slice(of.values());
                let pairs = of.values().iter().zip(labels);
                let pairs = pairs.filter(|(_, label)| **label > 0.5);
                positive_weights.extend(pairs.map(|(weight, _)| *weight));
            }
        }
        Ok(())
    })?;
    let all = rows as f64 + ordered_sum(weights);
    Ok((all > 0.0).then(|| (positive as f64 + ordered_sum(positive_weights)) / all))
}

#[cfg(test)]
mod tests;
