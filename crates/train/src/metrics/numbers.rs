//! Measures of predicted numbers.

use crate::arithmetic::ordered_sum;

fn mean(labels: &[f64], predictions: &[f64], term: impl Fn(f64, f64) -> f64) -> Option<f64> {
    let is_defined = !labels.is_empty()
        && labels.len() == predictions.len()
        && labels.iter().chain(predictions).all(|value| value.is_finite());
    is_defined.then(|| {
        let pairs = labels.iter().zip(predictions);
        let terms = pairs.map(|(label, prediction)| term(*label, *prediction)).collect();
        ordered_sum(terms) / labels.len() as f64
    })
}

/// The root of the mean square of the differences.
#[must_use]
pub fn rmse(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    let square = |label: f64, prediction: f64| (label - prediction) * (label - prediction);
    mean(labels, predictions, square).map(f64::sqrt)
}

/// The mean of the absolute differences.
#[must_use]
pub fn mae(labels: &[f64], predictions: &[f64]) -> Option<f64> {
    mean(labels, predictions, |label, prediction| (label - prediction).abs())
}

/// The mean pinball loss, which is least where a share of `alpha` lies below the predictions.
#[must_use]
pub fn quantile_loss(labels: &[f64], predictions: &[f64], alpha: f64) -> Option<f64> {
    if !(alpha > 0.0 && alpha < 1.0) {
        return None;
    }
    mean(labels, predictions, |label, prediction| {
        let above = label - prediction;
        if above > 0.0 { alpha * above } else { (alpha - 1.0) * above }
    })
}
