//! What boosting minimizes: gradients in fixed point, packed for addition.
//!
//! A packed gradient is one integer: 27 bits of gradient, signed, above 24 bits of hessian above
//! 13 bits of a count of rows. Adding [`PACKED_ROWS`] of them cannot carry from one field into the
//! next, so one addition sums all three, and the sum does not depend on the order.

use crate::arithmetic::ln;
use crate::forest::mask::LANES;

/// The most rows whose packed gradients may be added before the sum is unpacked.
pub(super) const PACKED_ROWS: usize = 4_096;

const COUNT_BITS: u32 = 13;
const HESSIAN_BITS: u32 = 24;
const GRADIENT_MAX: i32 = (1 << 14) - 1;
const HESSIAN_MAX: i32 = (1 << 12) - 1;

/// Adding it to a float of magnitude below 2^22 leaves the rounded integer in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Sums over rows: gradients and hessians in steps of the objective.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) gradient: i64,
    pub(super) hessian: i64,
    pub(super) rows: i64,
}

impl Sums {
    /// What a sum of packed gradients holds.
    #[inline]
    pub(super) const fn unpack(packed: u64) -> Self {
        Self {
            gradient: (packed as i64) >> (HESSIAN_BITS + COUNT_BITS),
            hessian: (packed >> COUNT_BITS & ((1 << HESSIAN_BITS) - 1)) as i64,
            rows: (packed & ((1 << COUNT_BITS) - 1)) as i64,
        }
    }

    #[inline]
    pub(super) const fn add(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.hessian += other.hessian;
        self.rows += other.rows;
    }

    #[inline]
    pub(super) const fn minus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }
}

/// A loss of a raw score and a label.
pub(super) trait Objective: Sync {
    /// The size of one step of a gradient's or a hessian's fixed point.
    const STEP: f64;

    /// The raw score to begin with, the best constant.
    fn base(&self, labels: &[f64]) -> f64;

    /// Whether trees can improve on the constant.
    fn can_improve(&self, labels: &[f64]) -> bool;

    /// The packed gradients of a block of rows.
    fn gradients(&self, scores: &[f32; LANES], labels: &[f32; LANES], packed: &mut [u64; LANES]);
}

/// The log-loss of labels that are zero or one; raw scores are log odds.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogLoss;

impl Objective for LogLoss {
    // The gradient lies in [-1, 1] and the hessian in [0, 1/4]: 14 and 12 bits.
    const STEP: f64 = 1.0 / 16_384.0;

    fn base(&self, labels: &[f64]) -> f64 {
        let rows = labels.len() as f64;
        let positive = labels.iter().filter(|label| **label == 1.0).count() as f64;
        if positive == 0.0 || positive == rows {
            // Half a row of the class that was never seen keeps the odds finite.
            return ln((positive + 0.5) / (rows - positive + 0.5));
        }
        ln(positive / (rows - positive))
    }

    fn can_improve(&self, labels: &[f64]) -> bool {
        labels.iter().any(|label| *label != labels[0])
    }

    fn gradients(&self, scores: &[f32; LANES], labels: &[f32; LANES], packed: &mut [u64; LANES]) {
        const STEPS: f32 = 16_384.0;
        let mut gradients = [0_i32; LANES];
        let mut hessians = [0_i32; LANES];
        for lane in 0..LANES {
            let probability = sigmoid(scores[lane]);
            gradients[lane] = round((probability - labels[lane]) * STEPS);
            hessians[lane] = round(probability * (1.0 - probability) * STEPS);
        }
        for lane in 0..LANES {
            let gradient = gradients[lane].clamp(-GRADIENT_MAX, GRADIENT_MAX);
            // A hessian of zero would make the weight of a row infinite.
            let hessian = hessians[lane].clamp(1, HESSIAN_MAX);
            packed[lane] = pack(gradient, hessian);
        }
    }
}

const fn pack(gradient: i32, hessian: i32) -> u64 {
    let packed =
        ((gradient as i64) << (HESSIAN_BITS + COUNT_BITS)) + ((hessian as i64) << COUNT_BITS) + 1;
    packed as u64
}

#[inline(always)]
fn round(value: f32) -> i32 {
    (value + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32
}

/// The sigmoid by a polynomial of its own: the same bits everywhere, and in vector registers.
#[inline(always)]
fn sigmoid(score: f32) -> f32 {
    let power = (-score).clamp(-80.0, 80.0) * std::f32::consts::LOG2_E;
    let shifted = power + ROUND;
    let r = (power - (shifted - ROUND)) * std::f32::consts::LN_2;
    let e = 1.0
        + r * (1.0
            + r * (0.5
                + r * (0.166_666_67
                    + r * (0.041_666_668 + r * (0.008_333_334 + r * 0.001_388_888_9)))));
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    1.0 / (1.0 + e * f32::from_bits(exponent << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_block_of_the_greatest_gradients_does_not_carry() {
        for gradient in [-GRADIENT_MAX, GRADIENT_MAX, -1, 0] {
            for hessian in [1, HESSIAN_MAX] {
                let packed = pack(gradient, hessian).wrapping_mul(PACKED_ROWS as u64);
                let sums = Sums::unpack(packed);
                let rows = PACKED_ROWS as i64;
                assert_eq!(sums.gradient, i64::from(gradient) * rows);
                assert_eq!(sums.hessian, i64::from(hessian) * rows);
                assert_eq!(sums.rows, rows);
            }
        }
    }

    #[test]
    fn gradients_are_those_of_the_log_loss() {
        let mut scores = [0.0; LANES];
        let mut labels = [0.0; LANES];
        for lane in 0..LANES {
            scores[lane] = lane as f32 * 0.5 - 16.0;
            labels[lane] = (lane % 2) as f32;
        }
        let mut packed = [0; LANES];
        LogLoss.gradients(&scores, &labels, &mut packed);
        for lane in 0..LANES {
            let p = 1.0 / (1.0 + (-f64::from(scores[lane])).exp());
            let sums = Sums::unpack(packed[lane]);
            let gradient = sums.gradient as f64 * LogLoss::STEP;
            assert!((gradient - (p - f64::from(labels[lane]))).abs() < 1e-4, "lane {lane}");
            let hessian = sums.hessian as f64 * LogLoss::STEP;
            assert!((hessian - p * (1.0 - p)).abs() < 1.3e-4, "lane {lane}");
            assert_eq!(sums.rows, 1);
        }
    }
}
