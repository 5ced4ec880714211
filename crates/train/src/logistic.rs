//! Logistic regression, fitted by smartcore.
//!
//! Features are standardized and missing values imputed by statistics that belong to the model.
//! The rows go to the solver in canonical order, so that its sums come out the same.

use std::collections::BTreeMap;

use icecore_core::{Error, Result, TrainingSet};
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters};

use crate::ParamValue;
use crate::arithmetic::ln;
use crate::canonical::Canonical;
use crate::columns::{self, Values};
use crate::design::Design;
use crate::fit::{Fit, Learned, Learner};
use crate::linear::{LinearLink, LinearScorer};
use crate::params::ParamReader;
use crate::scorer::Scorer;
use crate::smart::shielded;

/// The algorithm's name.
pub(crate) const ALGORITHM: &str = "logistic_regression";

/// Learns a logistic regression with an L2 penalty.
#[derive(Debug, Clone)]
struct Logistic {
    l2: f64,
}

/// A trainer with these parameters.
pub(crate) fn trainer(given: &BTreeMap<String, ParamValue>) -> Result<Fit> {
    let mut read = ParamReader::new(ALGORITHM, given);
    let l2 = read.float("l2", 1.0, 0.0..=1e9);
    // The solver has one thread, but every algorithm may be told how many to use.
    let threads = read.threads();
    Ok(Fit::new(ALGORITHM, Logistic { l2 }, (read.finish()?, threads)))
}

impl Learner for Logistic {
    fn learn(&self, set: &TrainingSet, _: Option<&TrainingSet>) -> Result<Learned> {
        columns::binary_labels(set)?;
        let rows = Canonical::new(set)?;
        let labels: Vec<u32> = rows.labels.iter().map(|label| *label as u32).collect();
        let scorer = fit(&rows.features, &labels, self.l2)?;
        Ok(Learned::new(Scorer::Linear(scorer)))
    }
}

/// The log odds of a class, where half a row of one that was never seen keeps them finite.
pub(crate) fn log_odds(positive: usize, rows: usize) -> f64 {
    let seen = if positive == 0 || positive == rows { 0.5 } else { 0.0 };
    ln((positive as f64 + seen) / ((rows - positive) as f64 + seen))
}

fn fit(features: &[Values], labels: &Vec<u32>, l2: f64) -> Result<LinearScorer> {
    let rows = labels.len();
    let positive = labels.iter().filter(|label| **label == 1).count();
    let design = Design::new(features);
    if positive == 0 || positive == rows || design.width() == 0 {
        return Ok(design.constant(LinearLink::Logistic, log_odds(positive, rows)));
    }
    let width = design.width();
    let matrix = design.matrix(features);
    let model = shielded(ALGORITHM, || {
        let x = DenseMatrix::new(rows, width, matrix, false)?;
        LogisticRegression::fit(&x, labels, LogisticRegressionParameters::default().with_alpha(l2))
    })?;
    let weights: Vec<f64> = (0..width).map(|place| *model.coefficients().get((0, place))).collect();
    let intercept = *model.intercept().get((0, 0));
    design.scorer(LinearLink::Logistic, intercept, &weights).ok_or_else(|| {
        Error::invalid("logistic regression found no finite weights")
            .with_help("the classes can be told apart without error: raise `l2`")
    })
}

#[cfg(test)]
mod tests;
