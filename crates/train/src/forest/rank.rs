//! Values as bytes: a value's rank among thresholds.

use super::mask::{Codes, biased};

/// The most thresholds of one feature whose ranks fit into a byte beside the code for "missing".
pub(crate) const MAX_THRESHOLDS: usize = 254;

/// Thresholds of a group, and groups of a table.
const GROUP: usize = 16;

/// The sorted thresholds of one feature.
///
/// The code of a value is one more than the number of thresholds below it; zero is "missing".
#[derive(Debug)]
pub(crate) struct RankTable {
    /// Padded with infinity, which is below no value.
    groups: Box<[[f64; GROUP]; GROUP]>,
    /// The last threshold of each group.
    pivots: [f64; GROUP],
    len: usize,
}

impl RankTable {
    /// A table of at most [`MAX_THRESHOLDS`] thresholds, sorted and distinct, none of them infinity.
    pub(crate) fn new(thresholds: &[f64]) -> Self {
        debug_assert!(thresholds.len() <= MAX_THRESHOLDS);
        let mut groups = Box::new([[f64::INFINITY; GROUP]; GROUP]);
        for (slot, threshold) in groups.as_flattened_mut().iter_mut().zip(thresholds) {
            *slot = *threshold;
        }
        let pivots = groups.map(|group| group[GROUP - 1]);
        Self { groups, pivots, len: thresholds.len() }
    }

    /// The number of distinct codes, "missing" among them.
    pub(crate) const fn codes(&self) -> usize {
        self.len + 2
    }

    /// The greatest code of the values that are at most this threshold, which is one of the table
    /// or infinity.
    pub(crate) fn code_up_to(&self, threshold: f64) -> u8 {
        self.rank(threshold) as u8 + 1
    }

    /// Writes the codes of at most 64 values; what is in the lanes beyond them does not count.
    #[inline(always)]
    pub(crate) fn encode(&self, values: &[f64], codes: &mut Codes) {
        for (code, value) in codes.iter_mut().zip(values) {
            *code = self.code(*value);
        }
    }

    /// The code of a value.
    #[inline(always)]
    pub(crate) fn code(&self, value: f64) -> i8 {
        // Nothing is below a value that is missing, so that its rank is zero, too.
        biased(self.rank(value) as u8 + u8::from(!value.is_nan()))
    }

    /// The number of thresholds below the value: the groups that lie below it as a whole, and
    /// what is below it in the group that follows. Comparing with all of a group takes a few
    /// vector instructions and no branch.
    #[inline(always)]
    fn rank(&self, value: f64) -> usize {
        let group = count_below(&self.pivots, value);
        // The last pivot is infinite, so that there is always a group that follows.
        group * GROUP + count_below(&self.groups[group % GROUP], value)
    }
}

#[inline(always)]
fn count_below(thresholds: &[f64; GROUP], value: f64) -> usize {
    thresholds.iter().map(|threshold| usize::from(*threshold < value)).sum()
}
