//! What leaves are worth.

use super::packed::{Steps, Sums};
use crate::tree::LEAF_MAX;

/// What is held against leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Penalties {
    pub(super) l1: f64,
    pub(super) l2: f64,
    /// What a split about categories adds to `l2`.
    pub(super) cat_l2: f64,
    /// How many steps of hessian a category is thought to have at the mean.
    pub(super) cat_smooth: f64,
    /// What a split gains at least.
    pub(super) min_gain: f64,
    pub(super) min_samples_leaf: i64,
    pub(super) learning_rate: f64,
}

/// The values that a leaf may have, so that constraints above it hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Bounds {
    pub(super) const NONE: Self = Self { low: -LEAF_MAX, high: LEAF_MAX };
}

/// Sums in the units of the loss.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slope {
    gradient: f64,
    hessian: f64,
}

impl Slope {
    pub(super) fn new(sums: Sums, steps: &Steps) -> Self {
        Self {
            gradient: sums.gradient as f64 * steps.gradient,
            hessian: sums.hessian as f64 * steps.hessian,
        }
    }

    /// The value that lowers the loss most, within the bounds.
    pub(super) fn value(self, (l1, l2): (f64, f64), bounds: Bounds) -> f64 {
        let hessian = self.hessian + l2;
        let toward = shrink(self.gradient, l1);
        let newton = if hessian > 0.0 { -toward / hessian } else { 0.0 };
        newton.clamp(bounds.low, bounds.high)
    }

    /// Twice what a leaf of this value lowers the loss by.
    pub(super) fn gain(self, (l1, l2): (f64, f64), value: f64) -> f64 {
        -(2.0 * self.gradient * value
            + (self.hessian + l2) * value * value
            + 2.0 * l1 * value.abs())
    }

    /// The mean direction, in which a category is ordered.
    pub(super) fn ratio(self, smooth: f64) -> f64 {
        self.gradient / (self.hessian + smooth).max(f64::MIN_POSITIVE)
    }
}

/// Moves a number toward zero.
fn shrink(number: f64, by: f64) -> f64 {
    if number > by {
        number - by
    } else if number < -by {
        number + by
    } else {
        0.0
    }
}
