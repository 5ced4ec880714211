//! `LinearClassifier` and `LinearRegressor`.

use icecore_core::Result;

use super::feature::Feature;
use super::model::OnnxNode;
use crate::import::{ImportedScorer, corrupt, unsupported};
use crate::linear::{LinearLink, LinearScorer, LinearTerm, WEIGHT_MAX};

/// Values are taken in units so large that none of them is out of range: a power of two, which
/// changes no bit.
const UNIT: f64 = (1_u64 << 60) as f64;

pub(super) fn read(node: &OnnxNode, table: &[Feature], features: usize) -> Result<ImportedScorer> {
    let is_class = node.op == "LinearClassifier";
    let weights = node.floats("coefficients");
    let intercepts = node.floats("intercepts");
    let labels =
        node.integers("classlabels_ints").len().max(node.texts("classlabels_strings").len());
    let width = table.len();
    let outputs = weights.len().checked_div(width).unwrap_or(0);
    let transform = node.text("post_transform", "NONE");
    let (link, (weights, intercept)) = match (is_class, outputs, transform.as_str()) {
        (false, 1, "NONE") => (LinearLink::Identity, row(&weights, &intercepts, (0, width))),
        (true, 1, "LOGISTIC") if labels == 2 => {
            (LinearLink::Logistic, row(&weights, &intercepts, (0, width)))
        }
        // The sigmoid of each class, of which the second is asked for.
        (true, 2, "LOGISTIC") => (LinearLink::Logistic, row(&weights, &intercepts, (1, width))),
        (true, 2, "SOFTMAX") => {
            let (first, base) = row(&weights, &intercepts, (0, width));
            let (second, other) = row(&weights, &intercepts, (1, width));
            let differences = first.iter().zip(&second).map(|(a, b)| b - a).collect();
            (LinearLink::Logistic, (differences, other - base))
        }
        (true, ..) if labels > 2 => {
            return Err(unsupported("a linear model of more than two classes"));
        }
        _ => return Err(unsupported(&format!("a linear model by `{transform}`"))),
    };
    if weights.len() != width {
        return Err(corrupt("it has another number of weights than of features"));
    }
    let silent = LinearTerm { scale: UNIT, ..LinearTerm::SILENT };
    let mut terms = vec![silent; features];
    let mut intercept = intercept;
    for (weight, column) in weights.iter().zip(table) {
        let (slope, summand) = column.line();
        let term = &mut terms[column.number];
        term.weight += weight * slope * UNIT;
        intercept += weight * summand;
        // What a missing value adds, beside the summand.
        let missing = column.value(f64::NAN);
        term.missing_weight += if missing.is_nan() { 0.0 } else { weight * (missing - summand) };
    }
    let is_finite = |number: f64| number.abs() <= WEIGHT_MAX;
    let sound = |term: &LinearTerm| is_finite(term.weight) && is_finite(term.missing_weight);
    if !is_finite(intercept) || !terms.iter().all(sound) {
        return Err(corrupt("a weight in it is no number"));
    }
    Ok(ImportedScorer::Linear(LinearScorer { link, intercept, terms }))
}

/// The weights and the intercept of one output.
fn row(weights: &[f64], intercepts: &[f64], (number, width): (usize, usize)) -> (Vec<f64>, f64) {
    let weights = weights.get(number * width..(number + 1) * width).unwrap_or_default();
    (weights.to_vec(), intercepts.get(number).copied().unwrap_or(0.0))
}
