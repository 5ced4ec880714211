//! The best question to ask at a node.

use super::histogram::{Histogram, Layout};
use super::packed::{Steps, Sums};
use super::value::{Bounds, Penalties, Slope};
use crate::tree::{CategorySet, Side};

/// A gain below it is rounding noise.
const GAIN_MIN: f64 = 1e-9;

/// What is known of a feature beforehand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rule {
    /// Whether its values are categories.
    pub(super) is_categorical: bool,
    /// One if the prediction may only rise with it, minus one if it may only fall.
    pub(super) monotone: i8,
}

/// What a candidate asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Asked {
    /// The last bin that goes left.
    UpTo(u8),
    /// The categories that go left.
    OneOf(CategorySet),
}

/// A way to split a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) feature: usize,
    pub(super) asked: Asked,
    pub(super) missing: Side,
    pub(super) left: Sums,
    pub(super) gain: f64,
}

/// Looks for splits, by the parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) layout: &'a Layout,
    pub(super) penalties: Penalties,
    pub(super) steps: Steps,
    /// One of each feature.
    pub(super) rules: &'a [Rule],
    /// Whether neither constraints nor an L1 penalty change what a leaf is worth.
    pub(super) is_plain: bool,
}

/// A node whose split is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) totals: Sums,
    pub(super) bounds: Bounds,
}

impl Search<'_> {
    /// Whether a node of this many rows can be split at all.
    pub(super) const fn is_large_enough(&self, rows: i64) -> bool {
        rows >= 2 * self.penalties.min_samples_leaf
    }

    /// The value of a leaf with these sums, before the learning rate.
    pub(super) fn value(&self, sums: Sums, bounds: Bounds) -> f64 {
        let penalty = (self.penalties.l1, self.penalties.l2);
        Slope::new(sums, &self.steps).value(penalty, bounds)
    }

    /// The split that gains most. Of equal ones, the first by feature, then by threshold, then
    /// with missing values on the right.
    pub(super) fn best(
        &self,
        histogram: &Histogram,
        asker: Asker,
        features: &[usize],
    ) -> Option<Candidate> {
        let before = self.worth(asker.totals, self.penalties.l2, asker.bounds);
        let least = self.penalties.min_gain.max(GAIN_MIN);
        let mut best: Option<Candidate> = None;
        let mut best_score = before + least;
        for feature in features {
            let cells = histogram.feature(self.layout, *feature);
            let rule = self.rules.get(*feature).copied().unwrap_or_default();
            let found = if rule.is_categorical {
                super::categorical::best(self, cells, asker, best_score)
            } else {
                self.best_threshold(cells, asker, (rule, best_score))
            };
            let Some(found) = found else { continue };
            best_score = found.score;
            let gain = found.score - before;
            let Found { asked, missing, left, .. } = found;
            best = Some(Candidate { feature: *feature, asked, missing, left, gain });
        }
        best
    }

    fn best_threshold(
        &self,
        cells: &[Sums],
        asker: Asker,
        (rule, mut best_score): (Rule, f64),
    ) -> Option<Found> {
        let (missing, values) = cells.split_first()?;
        let mut best = None;
        for side in [Side::Right, Side::Left] {
            if side == Side::Left && missing.rows == 0 {
                continue;
            }
            let start = if side == Side::Left { *missing } else { Sums::default() };
            let found = if self.is_plain {
                self.scan(values, (start, asker.totals), best_score)
            } else {
                self.scan_constrained(values, (start, asker), (rule.monotone, best_score))
            };
            let Some((code, left, score)) = found else { continue };
            best_score = score;
            let missing = if missing.rows > 0 { side } else { larger(left, asker.totals) };
            best = Some(Found { asked: Asked::UpTo(code), missing, left, score });
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
        let least = self.penalties.min_samples_leaf;
        let l2 = self.penalties.l2;
        let Steps { gradient: by_gradient, hessian: by_hessian, .. } = self.steps;
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
                (left.gradient as f64 * by_gradient, right.gradient as f64 * by_gradient);
            let left_hessian = left.hessian as f64 * by_hessian + l2;
            let right_hessian = right.hessian as f64 * by_hessian + l2;
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

    /// As [`Self::scan`], where the values of leaves are bounded, or must rise or fall.
    fn scan_constrained(
        &self,
        values: &[Sums],
        (start, asker): (Sums, Asker),
        (monotone, mut best_score): (i8, f64),
    ) -> Option<(u8, Sums, f64)> {
        let mut best = None;
        let mut left = start;
        let least = self.penalties.min_samples_leaf;
        let penalty = (self.penalties.l1, self.penalties.l2);
        for (code, cell) in (1_u8..=u8::MAX).zip(values) {
            if cell.rows == 0 {
                continue;
            }
            left.add(*cell);
            if left.rows < least {
                continue;
            }
            let right = asker.totals.minus(left);
            if right.rows < least {
                break;
            }
            let sides = [left, right].map(|sums| Slope::new(sums, &self.steps));
            let values = sides.map(|slope| slope.value(penalty, asker.bounds));
            if f64::from(monotone) * (values[1] - values[0]) < 0.0 {
                continue;
            }
            let score = sides[0].gain(penalty, values[0]) + sides[1].gain(penalty, values[1]);
            if score > best_score {
                best_score = score;
                best = Some((code, left, score));
            }
        }
        best
    }

    /// What a leaf with these sums gains, against none.
    pub(super) fn worth(&self, sums: Sums, l2: f64, bounds: Bounds) -> f64 {
        let slope = Slope::new(sums, &self.steps);
        let penalty = (self.penalties.l1, l2);
        slope.gain(penalty, slope.value(penalty, bounds))
    }
}

/// The best question about one feature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) asked: Asked,
    pub(super) missing: Side,
    pub(super) left: Sums,
    pub(super) score: f64,
}

/// Where a missing value goes at a split that saw none: with the majority.
pub(super) const fn larger(left: Sums, totals: Sums) -> Side {
    if left.rows * 2 >= totals.rows { Side::Left } else { Side::Right }
}
