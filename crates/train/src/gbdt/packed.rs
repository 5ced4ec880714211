//! Gradients in fixed point, packed for addition.
//!
//! A row keeps its gradient, signed, above twelve bits of hessian, in 32 bits. For addition both are
//! set apart ([`widen`]): 27 bits of gradient above 24 bits of hessian above 13 bits of a count of
//! rows. Adding [`PACKED_ROWS`] of them cannot carry from one field into the next, so one addition
//! sums all three, and the sum does not depend on the order. That so few
//! bits lose nothing is known from Shi et al., "Quantized training of gradient boosting decision
//! trees" (NeurIPS 2022), which goes down to three.

use crate::arithmetic::mix_u32;
use crate::forest::mask::LANES;

/// The most rows whose packed gradients may be added before the sum is unpacked.
pub(super) const PACKED_ROWS: usize = 4_096;

const COUNT_BITS: u32 = 13;
const HESSIAN_BITS: u32 = 24;
const ROW_HESSIAN_BITS: u32 = 12;
const GRADIENT_MAX: i32 = (1 << 14) - 1;
const HESSIAN_MAX: i32 = (1 << 12) - 1;
const GRADIENT_STEPS: f64 = 16_384.0;
const HESSIAN_STEPS: f64 = 4_096.0;

/// Adding it to a float of magnitude below 2^22 leaves the rounded integer in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0;

/// Numbers of a block of rows.
pub(super) type Lanes = [f32; LANES];

/// Sums over rows: gradients and hessians in steps.
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

/// How gradients become integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Steps {
    /// The size of one step of a gradient.
    pub(super) gradient: f64,
    /// The size of one step of a hessian.
    pub(super) hessian: f64,
    /// Whether what lies between two steps goes to one of them by the hash of the row's key with
    /// this number, so that sums are right in the mean, or to the nearer one.
    pub(super) dither: Option<u32>,
}

impl Steps {
    /// Steps for gradients and hessians up to these, which are powers of two.
    pub(super) fn up_to(gradient: f64, hessian: f64, dither: Option<u32>) -> Self {
        Self { gradient: gradient / GRADIENT_STEPS, hessian: hessian / HESSIAN_STEPS, dither }
    }

    /// Packs the gradients and hessians of a block of rows, whose keys are given.
    #[inline(always)]
    pub(super) fn pack(
        &self,
        (gradients, hessians): (&Lanes, &Lanes),
        keys: &[u32; LANES],
        packed: &mut [u32; LANES],
    ) {
        let (by_gradient, by_hessian) = ((1.0 / self.gradient) as f32, (1.0 / self.hessian) as f32);
        let mut shifts = [0.0_f32; LANES];
        if let Some(number) = self.dither {
            for (shift, key) in shifts.iter_mut().zip(keys) {
                // From -1/2 to below 1/2.
                *shift = (mix_u32(key ^ number) >> 8) as f32 / 16_777_216.0 - 0.5;
            }
        }
        for lane in 0..LANES {
            let gradient = round(gradients[lane] * by_gradient + shifts[lane])
                .clamp(-GRADIENT_MAX, GRADIENT_MAX);
            // A hessian of zero would make the weight of a row infinite.
            let hessian = round(hessians[lane] * by_hessian + shifts[lane]).clamp(1, HESSIAN_MAX);
            packed[lane] = pack(gradient, hessian);
        }
    }
}

#[inline(always)]
const fn pack(gradient: i32, hessian: i32) -> u32 {
    (gradient << ROW_HESSIAN_BITS | hessian) as u32
}

/// A packed gradient, ready to be added to others.
#[inline(always)]
pub(super) const fn widen(packed: u32) -> u64 {
    let gradient = (packed as i32 >> ROW_HESSIAN_BITS) as i64;
    let hessian = (packed & ((1 << ROW_HESSIAN_BITS) - 1)) as i64;
    ((gradient << (HESSIAN_BITS + COUNT_BITS)) + (hessian << COUNT_BITS) + 1) as u64
}

#[inline(always)]
fn round(value: f32) -> i32 {
    (value + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_block_of_the_greatest_gradients_does_not_carry() {
        for gradient in [-GRADIENT_MAX, GRADIENT_MAX, -1, 0] {
            for hessian in [1, HESSIAN_MAX] {
                let packed = widen(pack(gradient, hessian)).wrapping_mul(PACKED_ROWS as u64);
                let sums = Sums::unpack(packed);
                let rows = PACKED_ROWS as i64;
                assert_eq!(sums.gradient, i64::from(gradient) * rows);
                assert_eq!(sums.hessian, i64::from(hessian) * rows);
                assert_eq!(sums.rows, rows);
            }
        }
    }

    #[test]
    fn what_lies_between_steps_is_right_in_the_mean() {
        let steps = Steps::up_to(1.0, 1.0, Some(7));
        let (gradients, hessians) = ([0.3 / 16_384.0; LANES], [2.25 / 4_096.0; LANES]);
        let mut sums = Sums::default();
        for block in 0..1_000_u32 {
            let keys = std::array::from_fn(|lane| mix_u32(block * 64 + lane as u32));
            let mut packed = [0; LANES];
            steps.pack((&gradients, &hessians), &keys, &mut packed);
            packed.iter().for_each(|packed| sums.add(Sums::unpack(widen(*packed))));
        }
        let mean = |sum: i64| sum as f64 / 64_000.0;
        assert!((mean(sums.gradient) - 0.3).abs() < 0.01, "{sums:?}");
        assert!((mean(sums.hessian) - 2.25).abs() < 0.01, "{sums:?}");
    }
}
