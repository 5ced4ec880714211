//! Logistic regression, fitted by smartcore.
//!
//! Features are standardized and missing values imputed by statistics that belong to the model.
//! The rows go to the solver in canonical order, so that its sums come out the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore_core::{Error, Model, OutputKind, Result, Trainer, TrainingSet};
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters};

use crate::ParamValue;
use crate::arithmetic::ln;
use crate::canonical::canonical_order;
use crate::columns::{self, Values};
use crate::linear::{LinearScorer, LinearTerm, WEIGHT_MAX};
use crate::model::{FittedModel, Header, Scorer};
use crate::params::ParamReader;
use crate::smart::shielded;

/// The algorithm's name.
pub(crate) const ALGORITHM: &str = "logistic_regression";

/// Learns a logistic regression with an L2 penalty.
#[derive(Debug, Clone)]
pub(crate) struct LogisticTrainer {
    l2: f64,
    effective: BTreeMap<String, String>,
}

impl LogisticTrainer {
    pub(crate) fn new(given: &BTreeMap<String, ParamValue>) -> Result<Self> {
        let mut read = ParamReader::new(ALGORITHM, given);
        let l2 = read.float("l2", 1.0, 0.0..=1e9);
        // The solver has one thread, but every algorithm may be told how many to use.
        let _ = read.threads();
        Ok(Self { l2, effective: read.finish()? })
    }
}

impl Trainer for LogisticTrainer {
    fn algorithm(&self) -> &'static str {
        ALGORITHM
    }

    fn params(&self) -> BTreeMap<String, String> {
        self.effective.clone()
    }

    fn fit(&self, set: &TrainingSet) -> Result<Arc<dyn Model>> {
        let header = Header::new(ALGORITHM, &self.effective, set, OutputKind::Probability)?;
        let labels = columns::binary_labels(set)?;
        let features = columns::features(set)?;
        let order = canonical_order(&features, labels, set.row_ids().values());
        let labels: Vec<u32> = order.iter().map(|row| labels[*row] as u32).collect();
        let features: Vec<Values> =
            features.iter().map(|column| order.iter().map(|row| column[*row]).collect()).collect();
        let scorer = Scorer::Linear(fit(&features, &labels, self.l2)?);
        Ok(Arc::new(FittedModel { header, scorer }))
    }
}

/// What a column of the solver's matrix is made of.
#[derive(Debug, Clone, Copy)]
enum Design {
    /// The standardized values of an input.
    Value(usize),
    /// Whether the values of an input are missing.
    Missing(usize),
}

fn fit(features: &[Values], labels: &Vec<u32>, l2: f64) -> Result<LinearScorer> {
    let rows = labels.len();
    let positive = labels.iter().filter(|label| **label == 1).count();
    let mut terms: Vec<LinearTerm> = features.iter().map(standard).collect();
    let design = design(features, &terms);
    if positive == 0 || positive == rows || design.is_empty() {
        // Half a row of a class that was never seen keeps the odds finite.
        let seen = if positive == 0 || positive == rows { 0.5 } else { 0.0 };
        let odds = (positive as f64 + seen) / ((rows - positive) as f64 + seen);
        terms.fill(LinearTerm::SILENT);
        return Ok(LinearScorer { intercept: ln(odds), terms });
    }
    let mut matrix = vec![0.0; rows * design.len()];
    for (place, source) in design.iter().enumerate() {
        let cells = matrix[place..].iter_mut().step_by(design.len());
        match source {
            Design::Value(input) => {
                for (cell, value) in cells.zip(&features[*input]) {
                    *cell = terms[*input].standardize(*value).unwrap_or(0.0);
                }
            }
            Design::Missing(input) => {
                for (cell, value) in cells.zip(&features[*input]) {
                    *cell = f64::from(u8::from(!value.is_finite()));
                }
            }
        }
    }
    let (intercept, weights) = solve(matrix, labels, design.len(), l2)?;
    for (source, weight) in design.into_iter().zip(weights) {
        match source {
            Design::Value(input) => terms[input].weight = weight,
            Design::Missing(input) => terms[input].missing_weight = weight,
        }
    }
    Ok(LinearScorer { intercept, terms })
}

/// The mean and the deviation of the values that are there.
fn standard(column: &Values) -> LinearTerm {
    let greatest =
        column.iter().filter(|v| v.is_finite()).fold(0.0, |max: f64, v| max.max(v.abs()));
    if greatest == 0.0 {
        return LinearTerm::SILENT;
    }
    // In units of the greatest, so that no square overflows.
    let units = || column.iter().filter(|value| value.is_finite()).map(|value| value / greatest);
    let count = units().count() as f64;
    let mean = units().sum::<f64>() / count;
    let variance = units().map(|unit| (unit - mean) * (unit - mean)).sum::<f64>() / count;
    let scale = variance.sqrt() * greatest;
    // What remains of a constant column after rounding is no variance.
    if variance.sqrt() <= 1e-12 || !scale.is_normal() {
        return LinearTerm { center: mean * greatest, ..LinearTerm::SILENT };
    }
    LinearTerm { center: mean * greatest, scale, ..LinearTerm::SILENT }
}

/// The columns that can tell rows apart.
fn design(features: &[Values], terms: &[LinearTerm]) -> Vec<Design> {
    let mut design = Vec::new();
    for (input, (column, term)) in features.iter().zip(terms).enumerate() {
        let missing = column.iter().filter(|value| !value.is_finite()).count();
        let standards = || column.iter().filter_map(|value| term.standardize(*value));
        let varies = standards().next().is_some_and(|first| standards().any(|v| v != first));
        if varies {
            design.push(Design::Value(input));
        }
        if missing > 0 && missing < column.len() {
            design.push(Design::Missing(input));
        }
    }
    design
}

/// The intercept and the weights.
fn solve(matrix: Vec<f64>, labels: &Vec<u32>, width: usize, l2: f64) -> Result<(f64, Vec<f64>)> {
    let rows = labels.len();
    let model = shielded(ALGORITHM, || {
        let x = DenseMatrix::new(rows, width, matrix, false)?;
        LogisticRegression::fit(&x, labels, LogisticRegressionParameters::default().with_alpha(l2))
    })?;
    let weights: Vec<f64> = (0..width).map(|place| *model.coefficients().get((0, place))).collect();
    let intercept = *model.intercept().get((0, 0));
    let finite = |weight: &f64| weight.abs() <= WEIGHT_MAX;
    if !weights.iter().chain([&intercept]).all(finite) {
        return Err(Error::invalid("logistic regression found no finite weights")
            .with_help("the classes can be told apart without error: raise `l2`"));
    }
    Ok((intercept, weights))
}

#[cfg(test)]
mod tests;
