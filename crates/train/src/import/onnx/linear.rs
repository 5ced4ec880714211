//! `LinearClassifier` and `LinearRegressor`.

use icecore_core::Result;

use super::feature::Feature;
use super::model::OnnxNode;
use crate::import::{ImportedScorer, corrupt, unsupported};
use crate::linear::{ClassLink, LinearClasses, LinearLink, LinearScorer, LinearTerm, WEIGHT_MAX};

/// The most classes of a model.
const CLASSES_MAX: usize = 1_000;
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
    let output = |number: usize| row(&weights, &intercepts, (number, width));
    let transform = node.text("post_transform", "NONE");
    let (link, (of_output, intercept)) = match (is_class, outputs, transform.as_str()) {
        (false, 1, "NONE") => (LinearLink::Identity, output(0)),
        (true, 1, "LOGISTIC") if labels == 2 => (LinearLink::Logistic, output(0)),
        // The sigmoid of each class, of which the second is asked for.
        (true, 2, "LOGISTIC") => (LinearLink::Logistic, output(1)),
        (true, 2, "SOFTMAX") => {
            let ((first, base), (second, other)) = (output(0), output(1));
            let differences = first.iter().zip(&second).map(|(a, b)| b - a).collect();
            (LinearLink::Logistic, (differences, other - base))
        }
        (true, 3..=CLASSES_MAX, "SOFTMAX" | "LOGISTIC")
            if labels == outputs && weights.len() == outputs * width =>
        {
            let link = if transform == "SOFTMAX" { ClassLink::Softmax } else { ClassLink::Shares };
            let sum = |number| sum((LinearLink::Identity, output(number)), table, features);
            let sums = (0..outputs).map(sum).collect::<Result<_>>()?;
            return Ok(ImportedScorer::LinearClasses(LinearClasses { link, sums }));
        }
        _ => return Err(unsupported(&format!("a linear model by `{transform}`"))),
    };
    if of_output.len() != width {
        return Err(corrupt("it has another number of weights than of features"));
    }
    sum((link, (of_output, intercept)), table, features).map(ImportedScorer::Linear)
}

/// Whether the second of two classes has the weights of the first with other signs, so that their
/// probabilities sum to one; where there are no two, they do.
pub(super) fn is_mirrored(node: &OnnxNode) -> bool {
    if node.text("post_transform", "NONE") != "LOGISTIC" {
        return true;
    }
    let mirrored = |numbers: Vec<f64>| {
        let (first, second) = numbers.split_at(numbers.len() / 2);
        first.len() == second.len() && first.iter().zip(second).all(|(a, b)| *a == -b)
    };
    let intercepts = node.floats("intercepts");
    intercepts.len() != 2 || mirrored(intercepts) && mirrored(node.floats("coefficients"))
}

/// The weighted sum of columns, as one of features.
fn sum(
    (link, (weights, intercept)): (LinearLink, (Vec<f64>, f64)),
    table: &[Feature],
    features: usize,
) -> Result<LinearScorer> {
    let silent = LinearTerm { scale: UNIT, ..LinearTerm::SILENT };
    let mut terms = vec![silent; features];
    let mut intercept = intercept;
    for (weight, column) in weights.iter().zip(table) {
        let (slope, summand) = column.line();
        let Some(term) = terms.get_mut(column.number) else {
            return Err(corrupt("a column of its weights is not there"));
        };
        term.weight += weight * slope * UNIT;
        intercept += weight * summand;
        // What a missing value adds, beside the summand. Where the graph gives no number for it, it
        // counts as zero.
        let missing = column.value(f64::NAN);
        term.missing_weight += if missing.is_nan() { 0.0 } else { weight * (missing - summand) };
    }
    let is_finite = |number: f64| number.abs() <= WEIGHT_MAX;
    let sound = |term: &LinearTerm| is_finite(term.weight) && is_finite(term.missing_weight);
    if !is_finite(intercept) || !terms.iter().all(sound) {
        return Err(corrupt("a weight in it is no number"));
    }
    Ok(LinearScorer { link, intercept, terms })
}

/// The weights and the intercept of one output.
fn row(weights: &[f64], intercepts: &[f64], (number, width): (usize, usize)) -> (Vec<f64>, f64) {
    let weights = weights.get(number * width..(number + 1) * width).unwrap_or_default();
    (weights.to_vec(), intercepts.get(number).copied().unwrap_or(0.0))
}
