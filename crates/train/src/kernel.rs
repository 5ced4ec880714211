//! Support vectors, and what a row's likeness to them says.

use icecore_core::OutputKind;

use crate::arithmetic::{exp, sigmoid};
use crate::columns::Values;
use crate::linear::LinearTerm;
use crate::neighbors::standardized;

/// How alike two rows are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kernel {
    /// Their dot product.
    Linear,
    /// e to the power of minus `gamma` times the square of their distance.
    Rbf { gamma: f64 },
    /// A power of their dot product times `gamma`, plus one.
    Polynomial { gamma: f64, degree: u32 },
}

impl Kernel {
    pub(crate) fn of(self, a: &[f64], b: &[f64]) -> f64 {
        let dot = || a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        match self {
            Self::Linear => dot(),
            Self::Rbf { gamma } => {
                let distance: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
                exp(-gamma * distance)
            }
            Self::Polynomial { gamma, degree } => {
                let base = gamma * dot() + 1.0;
                (0..degree).fold(1.0, |power, _| power * base)
            }
        }
    }
}

/// What the sum over support vectors becomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Meaning {
    /// Log odds, by this factor and this summand (Platt, "Probabilistic outputs for support vector
    /// machines", 1999).
    Platt { factor: f64, summand: f64 },
    /// The prediction, in units of the scale from the center.
    Number { center: f64, scale: f64 },
}

/// A support vector machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KernelScorer {
    pub(crate) kernel: Kernel,
    pub(crate) meaning: Meaning,
    pub(crate) terms: Vec<LinearTerm>,
    /// The support vectors, one after the other.
    pub(crate) vectors: Vec<f64>,
    pub(crate) weights: Vec<f64>,
    pub(crate) base: f64,
}

impl KernelScorer {
    pub(crate) const fn output(&self) -> OutputKind {
        match self.meaning {
            Meaning::Platt { .. } => OutputKind::Probability,
            Meaning::Number { .. } => OutputKind::Value,
        }
    }

    /// The sum over support vectors for a standardized row.
    pub(crate) fn decide(&self, row: &[f64]) -> f64 {
        let mut sum = self.base;
        for (number, weight) in self.weights.iter().enumerate() {
            let vector = &self.vectors[number * row.len()..(number + 1) * row.len()];
            sum += weight * self.kernel.of(row, vector);
        }
        sum
    }

    pub(crate) fn margins(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        let mut asked = Vec::with_capacity(self.terms.len());
        for (row, value) in out.iter_mut().enumerate() {
            standardized(&self.terms, columns, start + row, &mut asked);
            let sum = self.decide(&asked);
            let margin = match self.meaning {
                Meaning::Platt { factor, summand } => factor * sum + summand,
                Meaning::Number { center, scale } => center + scale * sum,
            };
            // Polynomials of values far out may have no number.
            *value = if margin.is_nan() { 0.0 } else { margin.clamp(-f64::MAX, f64::MAX) };
        }
    }

    pub(crate) fn score(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        self.margins(columns, start, out);
        if matches!(self.meaning, Meaning::Platt { .. }) {
            for odds in out {
                *odds = sigmoid(*odds);
            }
        }
    }
}
