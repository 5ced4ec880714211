//! The best question to ask at a node.

use super::BoostParams;
use super::histogram::{Histogram, Layout};
use super::objective::Sums;
use crate::tree::Side;

/// A gain below it is rounding noise.
const GAIN_MIN: f64 = 1e-9;

/// A way to split a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) feature: usize,
    /// The last bin that goes left.
    pub(super) code: u8,
    pub(super) missing: Side,
    pub(super) left: Sums,
    pub(super) gain: f64,
}

/// Looks for splits, by the parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) layout: &'a Layout,
    pub(super) params: &'a BoostParams,
    /// The size of one step of the sums.
    pub(super) step: f64,
}

impl Search<'_> {
    /// Whether a node of this many rows can be split at all.
    pub(super) const fn is_large_enough(&self, rows: i64) -> bool {
        rows >= 2 * self.params.min_samples_leaf
    }

    /// The value of a leaf with these sums.
    pub(super) fn leaf(&self, sums: Sums) -> f64 {
        let hessian = sums.hessian as f64 * self.step + self.params.l2;
        let newton =
            if hessian > 0.0 { -(sums.gradient as f64 * self.step) / hessian } else { 0.0 };
        newton.clamp(-crate::tree::LEAF_MAX, crate::tree::LEAF_MAX) * self.params.learning_rate
    }

    /// The split that gains most. Of equal ones, the first by feature, then by threshold, then
    /// with missing values on the right.
    pub(super) fn best(
        &self,
        histogram: &Histogram,
        totals: Sums,
        features: &[usize],
    ) -> Option<Candidate> {
        let before = self.score(totals);
        let least = self.params.min_gain.max(GAIN_MIN);
        let mut best = None;
        let mut best_score = before + least;
        for feature in features {
            let cells = histogram.feature(self.layout, *feature);
            let Some((missing, values)) = cells.split_first() else { continue };
            for side in [Side::Right, Side::Left] {
                if side == Side::Left && missing.rows == 0 {
                    continue;
                }
                let start = if side == Side::Left { *missing } else { Sums::default() };
                let Some((code, left, score)) = self.scan(values, (start, totals), best_score)
                else {
                    continue;
                };
                best_score = score;
                let side = if missing.rows > 0 { side } else { larger(left, totals) };
                let gain = score - before;
                best = Some(Candidate { feature: *feature, code, missing: side, left, gain });
            }
        }
        best
    }

    /// The threshold of a feature with the best score above `best_score`: the last bin that goes
    /// left, the sums of the left side, and the score.
    fn scan(
        &self,
        values: &[Sums],
        (start, totals): (Sums, Sums),
        mut best_score: f64,
    ) -> Option<(u8, Sums, f64)> {
        let mut best = None;
        let mut left = start;
        let least = self.params.min_samples_leaf;
        let l2 = self.params.l2;
        for (code, cell) in (1_u8..=u8::MAX).zip(values) {
            // An empty bin divides the rows as the bin before it does.
            if cell.rows == 0 {
                continue;
            }
            left.add(*cell);
            if left.rows < least {
                continue;
            }
            let right = totals.minus(left);
            if right.rows < least {
                break;
            }
            let (left_gradient, right_gradient) =
                (left.gradient as f64 * self.step, right.gradient as f64 * self.step);
            let left_hessian = left.hessian as f64 * self.step + l2;
            let right_hessian = right.hessian as f64 * self.step + l2;
            // The sum of both scores, with one division.
            let score = (left_gradient * left_gradient * right_hessian
                + right_gradient * right_gradient * left_hessian)
                / (left_hessian * right_hessian);
            if score > best_score {
                best_score = score;
                best = Some((code, left, score));
            }
        }
        best
    }

    fn score(&self, sums: Sums) -> f64 {
        let gradient = sums.gradient as f64 * self.step;
        let hessian = sums.hessian as f64 * self.step + self.params.l2;
        if hessian > 0.0 { gradient * gradient / hessian } else { 0.0 }
    }
}

/// Where a missing value goes at a split that saw none: with the majority.
const fn larger(left: Sums, totals: Sums) -> Side {
    if left.rows * 2 >= totals.rows { Side::Left } else { Side::Right }
}
