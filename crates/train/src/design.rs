//! The matrix that linear models are fitted to: standardized values, and where they are missing.

use crate::columns::Values;
use crate::linear::{LinearLink, LinearScorer, LinearTerm, WEIGHT_MAX};

/// What a column of the matrix is made of.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// The standardized values of an input.
    Value(usize),
    /// Whether the values of an input are missing, less how often they are.
    Missing(usize),
}

/// The columns that can tell rows apart. The mean of each is zero.
#[derive(Debug)]
pub(crate) struct Design {
    terms: Vec<LinearTerm>,
    columns: Vec<Source>,
    /// How often each input is missing.
    missing: Vec<f64>,
}

impl Design {
    /// The design for these inputs, whose rows are in canonical order.
    pub(crate) fn new(features: &[Values]) -> Self {
        let terms: Vec<LinearTerm> = features.iter().map(|column| standard(column)).collect();
        let (mut columns, mut shares) = (Vec::new(), Vec::new());
        for (input, (column, term)) in features.iter().zip(&terms).enumerate() {
            let missing = column.iter().filter(|value| !value.is_finite()).count();
            shares.push(missing as f64 / column.len().max(1) as f64);
            let standards = || column.iter().filter_map(|value| term.standardize(*value));
            let varies = standards().next().is_some_and(|first| standards().any(|v| v != first));
            if varies {
                columns.push(Source::Value(input));
            }
            if missing > 0 && missing < column.len() {
                columns.push(Source::Missing(input));
            }
        }
        Self { terms, columns, missing: shares }
    }

    pub(crate) const fn width(&self) -> usize {
        self.columns.len()
    }

    /// The matrix, row by row.
    pub(crate) fn matrix(&self, features: &[Values]) -> Vec<f64> {
        let rows = features.first().map_or(0, |column| column.len());
        let mut matrix = vec![0.0; rows * self.width()];
        for (place, source) in self.columns.iter().enumerate() {
            let cells = matrix[place..].iter_mut().step_by(self.width());
            match source {
                Source::Value(input) => {
                    for (cell, value) in cells.zip(&features[*input]) {
                        *cell = self.terms[*input].standardize(*value).unwrap_or(0.0);
                    }
                }
                Source::Missing(input) => {
                    for (cell, value) in cells.zip(&features[*input]) {
                        let missing = f64::from(u8::from(!value.is_finite()));
                        *cell = missing - self.missing[*input];
                    }
                }
            }
        }
        matrix
    }

    /// The model that adds these weights of the matrix's columns, if all of them are finite.
    pub(crate) fn scorer(
        &self,
        link: LinearLink,
        mut intercept: f64,
        weights: &[f64],
    ) -> Option<LinearScorer> {
        let mut terms = self.terms.clone();
        for (source, weight) in self.columns.iter().zip(weights) {
            match source {
                Source::Value(input) => terms[*input].weight = *weight,
                Source::Missing(input) => {
                    terms[*input].missing_weight = *weight;
                    intercept -= weight * self.missing[*input];
                }
            }
        }
        let is_finite = |weight: &f64| weight.abs() <= WEIGHT_MAX;
        weights.iter().chain([&intercept]).all(is_finite).then_some(LinearScorer {
            link,
            intercept,
            terms,
        })
    }

    /// The model that gives every row the same.
    pub(crate) fn constant(&self, link: LinearLink, intercept: f64) -> LinearScorer {
        let terms = vec![LinearTerm::SILENT; self.terms.len()];
        LinearScorer { link, intercept, terms }
    }
}

/// The mean and the deviation of the values that are there, whose order is canonical.
pub(crate) fn standard(column: &[f64]) -> LinearTerm {
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
