//! What boosting minimizes.

use icecore_core::{OutputKind, Result};

use super::packed::{Lanes, ROUND, Steps};
use super::ranking::Ranking;
use super::target::Target;
use crate::arithmetic::{exp, ln};
use crate::columns;
use crate::forest::mask::LANES;
use crate::forest::{exponent, power_of_two};
use crate::metrics::is_relevance;
use crate::tree::Link;

/// The most classes of a model.
const CLASSES_MAX: usize = 1_000;
/// LightGBM's `poisson_max_delta_step`: hessians are as if the score were so much greater, which
/// keeps steps small where the expected count is.
const POISSON_DELTA: f32 = 0.7;

/// A loss of raw scores and a label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Objective {
    /// The log-loss of labels that are zero or one; the raw score is the log odds.
    LogLoss,
    /// The log-loss of labels that are numbers of classes; there is a raw score of each class.
    Softmax,
    /// The square of the difference.
    Squared,
    /// The difference, which leads to the median.
    Absolute,
    /// The pinball loss, which leads to this quantile.
    Quantile(f64),
    /// The deviance of counts; the raw score is the logarithm of the expected count.
    Poisson,
    /// The order of the rows of each query; its gradients come from all of them.
    Rank(Ranking),
}

impl Objective {
    /// The names that a user gives.
    pub(super) const NAMES: [&'static str; 7] =
        ["binary", "multiclass", "squared", "absolute", "quantile", "poisson", "lambdarank"];

    /// The objective of a name; `alpha` is the quantile.
    pub(super) fn named(name: &str, alpha: f64, ranking: Ranking) -> Self {
        match name {
            "multiclass" => Self::Softmax,
            "squared" => Self::Squared,
            "absolute" => Self::Absolute,
            "quantile" => Self::Quantile(alpha),
            "poisson" => Self::Poisson,
            "lambdarank" => Self::Rank(ranking),
            _ => Self::LogLoss,
        }
    }

    pub(super) const fn link(self) -> Link {
        match self {
            Self::LogLoss => Link::Logistic,
            Self::Softmax => Link::Softmax,
            Self::Squared | Self::Absolute | Self::Quantile(_) | Self::Rank(_) => Link::Identity,
            Self::Poisson => Link::Exp,
        }
    }

    pub(super) const fn output(self) -> OutputKind {
        match self {
            Self::LogLoss => OutputKind::Probability,
            Self::Softmax => OutputKind::Classes,
            _ => OutputKind::Value,
        }
    }

    /// Whether labels are numbers of classes.
    pub(super) const fn has_classes(self) -> bool {
        matches!(self, Self::LogLoss | Self::Softmax)
    }

    /// The quantile of residuals that a leaf has, where it is not a Newton step.
    pub(super) const fn quantile(self) -> Option<f64> {
        match self {
            Self::Absolute => Some(0.5),
            Self::Quantile(alpha) => Some(alpha),
            _ => None,
        }
    }

    /// How rows are ranked, if they are.
    pub(super) const fn ranking(self) -> Option<Ranking> {
        match self {
            Self::Rank(ranking) => Some(ranking),
            _ => None,
        }
    }

    /// Refuses labels that the objective does not know.
    pub(super) fn check(self, labels: &[f64]) -> Result<()> {
        let (known, help): (fn(f64) -> bool, &str) = match self {
            Self::LogLoss => return columns::check_binary(labels),
            Self::Softmax => (
                |label| (0.0..CLASSES_MAX as f64).contains(&label) && label.fract() == 0.0,
                "number the classes from 0 on",
            ),
            Self::Poisson => {
                (|label| label >= 0.0 && label.is_finite(), "counts are finite and at least 0")
            }
            Self::Rank(_) => {
                (is_relevance, "how relevant a row is, is a whole number from 0 to 30")
            }
            _ => (f64::is_finite, "filter such rows in the spine"),
        };
        match labels.iter().find(|label| !known(**label)) {
            None => Ok(()),
            Some(label) => Err(columns::no_label(*label, help)),
        }
    }

    /// The number of outputs that it takes to learn these labels.
    pub(super) fn outputs(self, labels: &[f64]) -> usize {
        match self {
            // A model of one class has a second one that nothing belongs to.
            Self::Softmax => labels.iter().copied().fold(1.0, f64::max) as usize + 1,
            _ => 1,
        }
    }

    /// Whether labels, as training sees them, are whole numbers below 256.
    pub(super) const fn has_small_labels(self, outputs: usize) -> bool {
        match self {
            Self::LogLoss | Self::Rank(_) => true,
            Self::Softmax => outputs <= 256,
            _ => false,
        }
    }

    /// Whether the greatest gradient must be looked for before each round.
    pub(super) const fn is_unbounded(self) -> bool {
        matches!(self, Self::Squared | Self::Poisson | Self::Rank(_))
    }

    /// Steps for gradients up to `greatest`, a gradient and a hessian; the weights are at most
    /// `weight` where there are some.
    pub(super) fn steps(self, greatest: (f32, f32), weight: Option<f64>, number: u32) -> Steps {
        let above = |value: f64| power_of_two(exponent(value).clamp(-100, 100));
        match (self, weight) {
            // A gradient lies in [-1, 1] and a hessian in [0, 1/4].
            (Self::LogLoss, None) => Steps::up_to(1.0, 0.25, None),
            (Self::LogLoss, Some(weight)) => {
                Steps::up_to(above(weight), above(weight) / 4.0, Some(number))
            }
            (Self::Softmax, _) => {
                let weight_or_one = above(weight.unwrap_or(0.75));
                Steps::up_to(weight_or_one, weight_or_one / 2.0, weight.map(|_| number))
            }
            (Self::Absolute | Self::Quantile(_), _) => {
                let weight_or_one = above(weight.unwrap_or(1.0));
                Steps::up_to(weight_or_one, weight_or_one, weight.map(|_| number))
            }
            (Self::Squared | Self::Poisson | Self::Rank(_), _) => Steps::up_to(
                above(f64::from(greatest.0)),
                above(f64::from(greatest.1)),
                Some(number),
            ),
        }
    }

    /// The gradients and hessians of the first output, of a block of rows.
    #[inline(always)]
    pub(super) fn gradients(
        self,
        (scores, labels): (&Lanes, &Lanes),
        (gradients, hessians): (&mut Lanes, &mut Lanes),
    ) {
        match self {
            Self::LogLoss | Self::Softmax => {
                for lane in 0..LANES {
                    let probability = sigmoid(scores[lane]);
                    gradients[lane] = probability - labels[lane];
                    hessians[lane] = probability * (1.0 - probability);
                }
            }
            Self::Squared => {
                for lane in 0..LANES {
                    gradients[lane] = scores[lane] - labels[lane];
                    hessians[lane] = 1.0;
                }
            }
            Self::Absolute => {
                for lane in 0..LANES {
                    let difference = scores[lane] - labels[lane];
                    gradients[lane] = if difference == 0.0 { 0.0 } else { difference.signum() };
                    hessians[lane] = 1.0;
                }
            }
            Self::Quantile(alpha) => {
                let alpha = alpha as f32;
                for lane in 0..LANES {
                    let above = scores[lane] > labels[lane];
                    gradients[lane] = if above { 1.0 - alpha } else { -alpha };
                    hessians[lane] = 1.0;
                }
            }
            // They are given, not computed row by row.
            Self::Rank(_) => {}
            Self::Poisson => {
                for lane in 0..LANES {
                    gradients[lane] = exp_f32(scores[lane]) - labels[lane];
                    hessians[lane] = exp_f32(scores[lane] + POISSON_DELTA);
                }
            }
        }
    }

    /// The loss of one row.
    pub(super) fn loss(self, scores: impl Fn(usize) -> f64, label: f64, outputs: usize) -> f64 {
        let score = scores(0);
        match self {
            Self::LogLoss => {
                let toward = if label > 0.5 { -score } else { score };
                // log(1 + e^x), without the overflow.
                toward.max(0.0) + ln(1.0 + exp(-toward.abs()))
            }
            Self::Softmax => {
                let greatest = (0..outputs).map(&scores).fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = (0..outputs).map(|k| exp(scores(k) - greatest)).sum();
                ln(sum) + greatest - scores(label as usize)
            }
            Self::Squared | Self::Rank(_) => (score - label) * (score - label),
            Self::Absolute => (score - label).abs(),
            Self::Quantile(alpha) => {
                if label > score {
                    alpha * (label - score)
                } else {
                    (1.0 - alpha) * (score - label)
                }
            }
            Self::Poisson => exp(score) - label * score,
        }
    }

    /// The labels as training sees them, and the raw scores to begin with, the best constants.
    pub(super) fn target(self, labels: &[f64], weights: Option<&[f64]>, outputs: usize) -> Target {
        match self {
            Self::LogLoss | Self::Softmax => Target::classes(labels, weights, outputs),
            Self::Poisson => Target::counts(labels, weights),
            Self::Rank(_) => Target::ranks(),
            Self::Squared => Target::numbers(labels, weights, None),
            Self::Absolute => Target::numbers(labels, weights, Some(0.5)),
            Self::Quantile(alpha) => Target::numbers(labels, weights, Some(alpha)),
        }
    }
}

/// The probabilities of classes for a block of rows, in place of their scores.
#[inline(always)]
pub(super) fn softmax_block(scores: &mut [Lanes]) {
    let mut greatest = [f32::NEG_INFINITY; LANES];
    for class in scores.iter() {
        for (greatest, score) in greatest.iter_mut().zip(class) {
            *greatest = greatest.max(*score);
        }
    }
    let mut sums = [0.0_f32; LANES];
    for class in scores.iter_mut() {
        for lane in 0..LANES {
            class[lane] = exp_f32(class[lane] - greatest[lane]);
            sums[lane] += class[lane];
        }
    }
    for class in scores {
        for (power, sum) in class.iter_mut().zip(&sums) {
            *power /= sum;
        }
    }
}

/// The sigmoid by a polynomial of its own: the same bits everywhere, and in vector registers.
#[inline(always)]
fn sigmoid(score: f32) -> f32 {
    1.0 / (1.0 + exp_f32(-score))
}

/// e to the power of the score, saturating at ±80.
#[inline(always)]
pub(super) fn exp_f32(score: f32) -> f32 {
    let power = score.clamp(-80.0, 80.0) * std::f32::consts::LOG2_E;
    let shifted = power + ROUND;
    let r = (power - (shifted - ROUND)) * std::f32::consts::LN_2;
    let e = 1.0
        + r * (1.0
            + r * (0.5
                + r * (0.166_666_67
                    + r * (0.041_666_668 + r * (0.008_333_334 + r * 0.001_388_888_9)))));
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    e * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gradients and hessians against the differences of the loss.
    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        let objectives =
            [Objective::LogLoss, Objective::Squared, Objective::Absolute, Objective::Quantile(0.8)];
        for objective in objectives.into_iter().chain([Objective::Poisson]) {
            let scores: Lanes = std::array::from_fn(|lane| lane as f32 * 0.17 - 5.3);
            let labels: Lanes = std::array::from_fn(|lane| (lane % 2) as f32);
            let (mut gradients, mut hessians) = ([0.0; LANES], [0.0; LANES]);
            objective.gradients((&scores, &labels), (&mut gradients, &mut hessians));
            for lane in 0..LANES {
                let at = |shift: f64| {
                    objective.loss(|_| f64::from(scores[lane]) + shift, labels[lane].into(), 1)
                };
                let slope = (at(1e-4) - at(-1e-4)) / 2e-4;
                // The square's half is what is minimized.
                let factor = if objective == Objective::Squared { 2.0 } else { 1.0 };
                let gradient = f64::from(gradients[lane]) * factor;
                assert!(
                    (gradient - slope).abs() < 1e-3,
                    "{objective:?} {lane}: {gradient} {slope}"
                );
                assert!(hessians[lane] > 0.0);
            }
        }
    }

    #[test]
    fn probabilities_of_classes_sum_to_one() {
        let mut scores = [[1.0; LANES], [-3.0; LANES], [80.0; LANES]];
        softmax_block(&mut scores);
        let sum: f32 = scores.iter().map(|class| class[5]).sum();
        assert!((sum - 1.0).abs() < 1e-6 && scores[2][5] > 0.99);
    }
}
