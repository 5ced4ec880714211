//! Values as bytes: a value's rank among thresholds.

use super::mask::{Codes, LANES, biased};

/// The most thresholds of one feature whose ranks fit into a byte beside the code for "missing".
/// One of them may be infinite: no value is above it.
pub(crate) const MAX_THRESHOLDS: usize = 254;

const SLOTS: usize = 256;

/// The sorted thresholds of one feature.
///
/// The code of a value is one more than the number of thresholds below it; zero is "missing".
#[derive(Debug)]
pub(crate) struct RankTable {
    /// Padded with infinity, which is below no value.
    slots: Box<[f64; SLOTS]>,
    len: usize,
    /// Half of the power of two that holds the thresholds: the first step of the search.
    first_step: usize,
}

impl RankTable {
    /// A table of at most [`MAX_THRESHOLDS`] thresholds, sorted and distinct.
    pub(crate) fn new(thresholds: &[f64]) -> Self {
        debug_assert!(thresholds.len() <= MAX_THRESHOLDS);
        let mut slots = Box::new([f64::INFINITY; SLOTS]);
        for (slot, threshold) in slots.iter_mut().zip(thresholds) {
            *slot = *threshold;
        }
        let first_step = (thresholds.len() + 1).next_power_of_two() / 2;
        Self { slots, len: thresholds.len(), first_step }
    }

    /// The number of distinct codes, "missing" among them.
    pub(crate) const fn codes(&self) -> usize {
        self.len + 2
    }

    /// The greatest code of the values that are at most this threshold of the table.
    pub(crate) fn code_up_to(&self, threshold: f64) -> u8 {
        let rank = self.slots.iter().take(self.len).filter(|slot| **slot < threshold).count();
        (rank + 1) as u8
    }

    /// Writes the codes of at most 64 values; what is in the lanes beyond them does not count.
    pub(crate) fn encode(&self, values: &[f64], codes: &mut Codes) {
        let mut lanes = [0.0; LANES];
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = *value;
        }
        let mut ranks = [0_usize; LANES];
        // One step of the binary search for all lanes before the next step: the lanes do not wait
        // for each other.
        let mut step = self.first_step;
        while step > 0 {
            for (rank, value) in ranks.iter_mut().zip(&lanes) {
                let below = self.slots[(*rank + step - 1) % SLOTS] < *value;
                *rank += step * usize::from(below);
            }
            step /= 2;
        }
        for ((code, rank), value) in codes.iter_mut().zip(ranks).zip(&lanes) {
            *code = biased(if value.is_nan() { 0 } else { rank as u8 + 1 });
        }
    }
}
