//! Log odds or numbers as weighted sums of standardized features.

use crate::arithmetic::sigmoid;
use crate::columns::Values;
use crate::forest::{shares, softmax};

/// Standardized values lie within ± this: farther out, a number says no more.
pub(crate) const STANDARD_MAX: f64 = 1e6;
/// Weights lie within ± this, so that no sum overflows.
pub(crate) const WEIGHT_MAX: f64 = 1e150;

/// What a feature adds to the sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LinearTerm {
    /// The mean of the training rows.
    pub(crate) center: f64,
    /// Their standard deviation.
    pub(crate) scale: f64,
    /// What one standard deviation adds.
    pub(crate) weight: f64,
    /// What a missing value adds; its value counts as the mean.
    pub(crate) missing_weight: f64,
}

impl LinearTerm {
    /// A feature that says nothing.
    pub(crate) const SILENT: Self =
        Self { center: 0.0, scale: 1.0, weight: 0.0, missing_weight: 0.0 };

    /// The value in standard deviations from the mean; none if it is missing or infinite.
    pub(crate) fn standardize(&self, value: f64) -> Option<f64> {
        let standard = || ((value - self.center) / self.scale).clamp(-STANDARD_MAX, STANDARD_MAX);
        value.is_finite().then(standard)
    }

    /// What a value adds to the sum.
    fn adds(&self, value: f64) -> f64 {
        match self.standardize(value) {
            Some(standard) => self.weight * standard,
            None => self.missing_weight,
        }
    }
}

/// What the sum means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinearLink {
    /// Log odds.
    Logistic,
    /// The prediction.
    Identity,
}

/// A linear model with its preprocessing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LinearScorer {
    pub(crate) link: LinearLink,
    pub(crate) intercept: f64,
    /// One of each input.
    pub(crate) terms: Vec<LinearTerm>,
}

impl LinearScorer {
    /// Writes the sums of rows; the first is row `start` of the columns.
    pub(crate) fn margins(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        out.fill(self.intercept);
        for (term, column) in self.terms.iter().zip(columns) {
            for (odds, value) in out.iter_mut().zip(&column[start..]) {
                *odds += term.adds(*value);
            }
        }
    }

    /// Writes the predictions of rows; the first is row `start` of the columns.
    pub(crate) fn score(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        self.margins(columns, start, out);
        if self.link == LinearLink::Logistic {
            for odds in out {
                *odds = sigmoid(*odds);
            }
        }
    }

    /// What each input adds to the sum of a row, and the intercept. Where the inputs are
    /// independent, these are Shapley values: a standardized feature is zero in the mean.
    pub(crate) fn contributions(&self, columns: &[Values], row: usize) -> Vec<f64> {
        let terms = self.terms.iter().zip(columns).map(|(term, column)| term.adds(column[row]));
        terms.chain([self.intercept]).collect()
    }

    /// The sizes of the weights.
    pub(crate) fn weights(&self) -> Vec<f64> {
        self.terms.iter().map(|term| term.weight.abs() + term.missing_weight.abs()).collect()
    }
}

/// What the sums of classes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClassLink {
    /// Logarithms of shares.
    Softmax,
    /// Log odds of each class against all others, whose probabilities are then made to sum to one.
    Shares,
}

/// A linear model of several classes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LinearClasses {
    pub(crate) link: ClassLink,
    /// The sum of each class.
    pub(crate) sums: Vec<LinearScorer>,
}

impl LinearClasses {
    /// Writes the sums of rows, those of a row's classes one after the other; the first is row
    /// `start` of the columns.
    pub(crate) fn margins(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        let classes = self.sums.len();
        let mut sums = vec![0.0; out.len() / classes];
        for (class, linear) in self.sums.iter().enumerate() {
            linear.margins(columns, start, &mut sums);
            for (row, sum) in out.chunks_exact_mut(classes).zip(&sums) {
                row[class] = *sum;
            }
        }
    }

    /// Writes the predictions of rows; the first is row `start` of the columns.
    pub(crate) fn score(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        self.margins(columns, start, out);
        for row in out.chunks_exact_mut(self.sums.len()) {
            match self.link {
                ClassLink::Softmax => softmax(row),
                ClassLink::Shares => {
                    row.iter_mut().for_each(|odds| *odds = sigmoid(*odds));
                    let shares = shares(row);
                    row.copy_from_slice(&shares);
                }
            }
        }
    }

    /// What each input adds to the sums of a row, class after class.
    pub(crate) fn contributions(&self, columns: &[Values], row: usize) -> Vec<f64> {
        self.sums.iter().flat_map(|linear| linear.contributions(columns, row)).collect()
    }

    /// The sizes of the weights, of all classes together.
    pub(crate) fn weights(&self) -> Vec<f64> {
        let of_classes: Vec<Vec<f64>> = self.sums.iter().map(LinearScorer::weights).collect();
        let inputs = of_classes.first().map_or(0, Vec::len);
        (0..inputs).map(|input| of_classes.iter().map(|weights| weights[input]).sum()).collect()
    }
}
