//! What the model of a graph gives, and what may become of that.

use icecore_core::Result;

use super::linear;
use super::model::OnnxNode;
use crate::import::{ImportedScorer, unsupported};
use crate::linear::ClassLink;
use crate::tree::Link;

/// A model that was found, with what the graph makes of its scores.
#[derive(Debug)]
pub(super) struct Predicted {
    op: String,
    scorer: ImportedScorer,
    /// How many classes it names; zero for a number.
    labels: usize,
    /// Whether the graph gives no number for a row in which something is missing.
    is_unfilled: bool,
    /// Whether the scores of two classes, where it gives them, sum to one.
    is_mirrored: bool,
    /// Whether the scores of classes are made to sum to one.
    is_normalized: bool,
}

impl Predicted {
    pub(super) fn new(node: &OnnxNode, scorer: ImportedScorer, may_be_missing: bool) -> Self {
        let is_unfilled = may_be_missing && !matches!(scorer, ImportedScorer::Trees(_));
        let names =
            ["classlabels_ints", "classlabels_int64s"].map(|name| node.integers(name).len());
        let texts = node.texts("classlabels_strings").len();
        let is_classifier = node.op.ends_with("Classifier");
        let labels = if is_classifier { texts.max(names[0]).max(names[1]).max(2) } else { 0 };
        let is_mirrored = !is_classifier || linear::is_mirrored(node);
        Self { op: node.op.clone(), scorer, labels, is_unfilled, is_mirrored, is_normalized: false }
    }

    pub(super) const fn has_classes(&self) -> bool {
        self.labels > 0
    }

    pub(super) const fn is_unfilled(&self) -> bool {
        self.is_unfilled
    }

    /// How many numbers a row gets in the graph.
    pub(super) fn width(&self) -> usize {
        self.labels.max(1)
    }

    /// Whether a shape leaves a row's numbers beside each other.
    pub(super) fn has_shape(&self, shape: &[f64]) -> bool {
        match shape {
            [_] => self.width() == 1,
            [_, width] => *width == self.width() as f64,
            _ => false,
        }
    }

    /// Notes that the scores are divided by their sum.
    pub(super) fn normalize(&mut self, node: &OnnxNode) -> Result<()> {
        let norm = node.text("norm", "MAX");
        // Of probabilities that sum to one, and of odds of each class against all others.
        let sums_to_one = match &self.scorer {
            ImportedScorer::Trees(trees) => {
                matches!(trees.link, Link::Logistic | Link::Mean | Link::Softmax)
            }
            ImportedScorer::Linear(_) => self.is_mirrored,
            ImportedScorer::LinearClasses(_) => true,
        };
        if norm != "L1" || !self.has_classes() || !sums_to_one {
            return Err(unsupported(&format!(
                "a graph with `Normalizer` by {norm} after the model"
            ))
            .with_help("convert the model so that it gives probabilities: no `raw_scores`"));
        }
        self.is_normalized = true;
        Ok(())
    }

    /// The operator and the scorer, if that is what the graph gives.
    pub(super) fn finish(self) -> Result<(String, ImportedScorer)> {
        if let ImportedScorer::LinearClasses(classes) = &self.scorer
            && classes.link == ClassLink::Shares
            && !self.is_normalized
        {
            return Err(unsupported("scores of classes that do not sum to one").with_help(
                "probabilities of each class against all others are followed by `Normalizer` by L1",
            ));
        }
        Ok((self.op, self.scorer))
    }
}
