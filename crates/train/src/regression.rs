//! Linear regression of numbers: plain and ridge, fitted by smartcore, lasso and elastic net.
//!
//! Penalties are those of scikit-learn's estimators of the same names, on standardized features:
//! ridge has `|y - Xw|² + l2 |w|²`, the others `|y - Xw|² / 2n + alpha (r |w|₁ + (1 - r) / 2 |w|²)`.
//! Labels are taken near zero and one before a solver sees them. Lasso and elastic net go down
//! coordinates (Friedman, Hastie and Tibshirani, "Regularization paths for generalized linear models
//! via coordinate descent", 2010), because the interior point of smartcore leaves no weight at zero.

use std::collections::BTreeMap;

use icecore_core::{Error, ErrorKind, Result, TrainingSet};
use smartcore::error::Failed;
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::linear_regression::{
    LinearRegression, LinearRegressionParameters, LinearRegressionSolverName,
};
use smartcore::linear::ridge_regression::{RidgeRegression, RidgeRegressionParameters};

use crate::ParamValue;
use crate::canonical::Canonical;
use crate::columns::Values;
use crate::design::Design;
use crate::fit::{Fit, Learned, Learner};
use crate::forest::{exponent, power_of_two};
use crate::linear::{LinearLink, LinearScorer};
use crate::params::{ParamReader, positive_to};
use crate::scorer::Scorer;
use crate::smart::shielded;

/// The algorithms' names.
pub(crate) const LINEAR: &str = "linear_regression";
pub(crate) const RIDGE: &str = "ridge";
pub(crate) const LASSO: &str = "lasso";
pub(crate) const ELASTIC_NET: &str = "elastic_net";

/// Weights of labels near one are found when no sweep changes one by more than this.
const TOLERANCE: f64 = 1e-12;
/// The most columns whose products with each other are kept.
const WIDTH_MAX: usize = 5_000;

#[derive(Debug, Clone, Copy)]
enum Penalty {
    None { by_qr: bool },
    Ridge { l2: f64 },
    Net { alpha: f64, l1_ratio: f64, max_iter: usize },
}

#[derive(Debug, Clone)]
struct Regression {
    algorithm: &'static str,
    penalty: Penalty,
}

/// A trainer of one of the four.
pub(crate) fn trainer(
    algorithm: &'static str,
    given: &BTreeMap<String, ParamValue>,
) -> Result<Fit> {
    let mut read = ParamReader::new(algorithm, given);
    let penalty = match algorithm {
        RIDGE => Penalty::Ridge { l2: read.float("l2", 1.0, positive_to(1e9)) },
        LASSO => Penalty::Net {
            alpha: read.float("alpha", 1.0, positive_to(1e9)),
            l1_ratio: 1.0,
            max_iter: read.int("max_iter", 1_000, 1..=100_000) as usize,
        },
        ELASTIC_NET => Penalty::Net {
            alpha: read.float("alpha", 1.0, positive_to(1e9)),
            l1_ratio: read.float("l1_ratio", 0.5, 0.0..=1.0),
            max_iter: read.int("max_iter", 1_000, 1..=100_000) as usize,
        },
        _ => Penalty::None { by_qr: read.choice("solver", "svd", &["svd", "qr"]) == "qr" },
    };
    let threads = read.threads();
    Ok(Fit::new(algorithm, Regression { algorithm, penalty }, (read.finish()?, threads)))
}

impl Learner for Regression {
    fn learn(&self, set: &TrainingSet, _: Option<&TrainingSet>) -> Result<Learned> {
        let rows = Canonical::new(set)?;
        rows.check_numbers()?;
        Ok(Learned::new(Scorer::Linear(self.fit(&rows.features, &rows.labels)?)))
    }
}

impl Regression {
    fn fit(&self, features: &[Values], labels: &[f64]) -> Result<LinearScorer> {
        let (mean, scale) = near_zero(labels);
        let design = Design::new(features);
        let is_constant = labels.iter().all(|label| *label == labels[0]);
        if is_constant || design.width() == 0 {
            return Ok(design.constant(LinearLink::Identity, mean));
        }
        let width = design.width();
        let matrix = design.matrix(features);
        let near: Vec<f64> = labels.iter().map(|label| (label - mean) / scale).collect();
        let (mut weights, rest) = match self.penalty {
            Penalty::Net { alpha, l1_ratio, max_iter } => {
                let penalty = (alpha * l1_ratio / scale, alpha * (1.0 - l1_ratio));
                (descend(&matrix, &near, (penalty, max_iter))?, 0.0)
            }
            _ => shielded(self.algorithm, || {
                let x = DenseMatrix::new(labels.len(), width, matrix, false)?;
                self.penalty.solve(&x, &near, width)
            })
            .map_err(|error| {
                if labels.len() > width {
                    return error;
                }
                error.with_note(format!("{} rows have {width} columns", labels.len()))
            })?,
        };
        for weight in &mut weights {
            *weight *= scale;
        }
        design.scorer(LinearLink::Identity, mean + rest * scale, &weights).ok_or_else(|| {
            Error::invalid(format!("`{}` found no finite weights", self.algorithm))
                .with_help("scale the label, or train with `gbdt`")
        })
    }
}

/// The mean of numbers in canonical order, and a power of two that they lie within from there.
pub(crate) fn near_zero(labels: &[f64]) -> (f64, f64) {
    let greatest = labels.iter().map(|label| label.abs()).fold(0.0, f64::max);
    let unit = power_of_two(exponent(greatest).clamp(-1_000, 1_023));
    let count = labels.len().max(1) as f64;
    let mean = labels.iter().map(|label| label / unit).sum::<f64>() / count * unit;
    let farthest = labels.iter().map(|label| (label - mean).abs()).fold(0.0, f64::max);
    (mean, power_of_two(exponent(farthest).clamp(-1_000, 1_000)))
}

impl Penalty {
    /// The weights, and what is added to the mean.
    fn solve(
        self,
        x: &DenseMatrix<f64>,
        y: &Vec<f64>,
        width: usize,
    ) -> Result<(Vec<f64>, f64), Failed> {
        let column = |weights: &DenseMatrix<f64>| -> Vec<f64> {
            (0..width).map(|place| *weights.get((place, 0))).collect()
        };
        match self {
            Self::None { by_qr } => {
                let solver = if by_qr {
                    LinearRegressionSolverName::QR
                } else {
                    LinearRegressionSolverName::SVD
                };
                let params = LinearRegressionParameters::default().with_solver(solver);
                let model = LinearRegression::fit(x, y, params)?;
                Ok((column(model.coefficients()), *model.intercept()))
            }
            Self::Ridge { l2 } => {
                let params =
                    RidgeRegressionParameters::default().with_alpha(l2).with_normalize(false);
                Ok((column(RidgeRegression::fit(x, y, params)?.coefficients()), 0.0))
            }
            Self::Net { .. } => Err(Failed::fit("it is not solved by the library")),
        }
    }
}

/// The weights that the penalties of sizes and squares leave, coordinate by coordinate.
fn descend(
    matrix: &[f64],
    labels: &[f64],
    ((l1, l2), sweeps): ((f64, f64), usize),
) -> Result<Vec<f64>> {
    let rows = labels.len().max(1);
    let width = matrix.len() / rows;
    if width > WIDTH_MAX {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("{width} columns are more than {WIDTH_MAX}"),
        )
        .with_help("leave features out, or train with `ridge` or `gbdt`"));
    }
    let mut products = vec![0.0; width * width];
    let mut toward = vec![0.0; width];
    for (row, label) in matrix.chunks_exact(width).zip(labels) {
        for (a, value) in row.iter().enumerate() {
            toward[a] += value * label / rows as f64;
            let scaled = value / rows as f64;
            for (product, other) in products[a * width..][..width].iter_mut().zip(row) {
                *product += scaled * other;
            }
        }
    }
    let mut weights = vec![0.0; width];
    for _ in 0..sweeps {
        let mut greatest = 0.0_f64;
        for at in 0..width {
            let of_row = &products[at * width..(at + 1) * width];
            let own = of_row[at];
            let others: f64 = of_row.iter().zip(&weights).map(|(p, w)| p * w).sum();
            let slope = toward[at] - (others - own * weights[at]);
            let shrunk = (slope.abs() - l1).max(0.0) * slope.signum();
            let weight = if own + l2 > 0.0 { shrunk / (own + l2) } else { 0.0 };
            greatest = greatest.max((weight - weights[at]).abs());
            weights[at] = weight;
        }
        if greatest <= TOLERANCE {
            break;
        }
    }
    Ok(weights)
}

#[cfg(test)]
mod tests;
