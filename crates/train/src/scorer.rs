//! What models compute with.

use icecore_core::OutputKind;

use crate::bayes::BayesScorer;
use crate::columns::Values;
use crate::forest::TreeScorer;
use crate::kernel::KernelScorer;
use crate::linear::{LinearClasses, LinearLink, LinearScorer};
use crate::neighbors::NeighborScorer;
use crate::tree::Link;

/// What a model computes with.
#[derive(Debug)]
pub(crate) enum Scorer {
    Trees(TreeScorer),
    Linear(LinearScorer),
    LinearClasses(LinearClasses),
    Bayes(BayesScorer),
    Neighbors(NeighborScorer),
    Kernel(KernelScorer),
}

impl Scorer {
    /// What its output means.
    pub(crate) const fn output(&self) -> OutputKind {
        match self {
            Self::Trees(trees) => match trees.ensemble().link {
                Link::Logistic | Link::Mean => OutputKind::Probability,
                Link::Identity | Link::Exp => OutputKind::Value,
                Link::Softmax | Link::Shares => OutputKind::Classes,
            },
            Self::Linear(linear) => match linear.link {
                LinearLink::Logistic => OutputKind::Probability,
                LinearLink::Identity => OutputKind::Value,
            },
            Self::LinearClasses(_) => OutputKind::Classes,
            Self::Bayes(_) => OutputKind::Probability,
            Self::Neighbors(neighbors) => neighbors.output,
            Self::Kernel(kernel) => kernel.output(),
        }
    }

    /// How many numbers a row gets.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Trees(trees) => trees.ensemble().outputs(),
            Self::LinearClasses(classes) => classes.sums.len(),
            _ => 1,
        }
    }

    /// Rows that one task scores: fewer where a row is much work.
    pub(crate) const fn task_rows(&self) -> usize {
        match self {
            Self::Trees(_) | Self::Linear(_) | Self::LinearClasses(_) | Self::Bayes(_) => 4_096,
            Self::Neighbors(_) | Self::Kernel(_) => 64,
        }
    }

    /// Writes the predictions of rows; the first is row `start` of the columns.
    pub(crate) fn score(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        match self {
            Self::Trees(trees) => trees.score(columns, start, out),
            Self::Linear(linear) => linear.score(columns, start, out),
            Self::LinearClasses(classes) => classes.score(columns, start, out),
            Self::Bayes(bayes) => bayes.score(columns, start, out),
            Self::Neighbors(neighbors) => neighbors.score(columns, start, out),
            Self::Kernel(kernel) => kernel.score(columns, start, out),
        }
    }

    /// Whether predictions are made of a raw score.
    pub(crate) const fn has_margins(&self) -> bool {
        !matches!(self, Self::Neighbors(_))
    }

    /// Writes the raw scores that predictions are made of; the first is of row `start`.
    pub(crate) fn margins(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        match self {
            Self::Trees(trees) => trees.margins(columns, start, out),
            Self::Linear(linear) => linear.margins(columns, start, out),
            Self::LinearClasses(classes) => classes.margins(columns, start, out),
            Self::Bayes(bayes) => bayes.margins(columns, start, out),
            Self::Neighbors(neighbors) => neighbors.score(columns, start, out),
            Self::Kernel(kernel) => kernel.margins(columns, start, out),
        }
    }
}
