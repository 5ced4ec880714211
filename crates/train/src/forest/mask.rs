//! Byte codes of blocks of 64 rows, and splits over them.

use crate::tree::Side;

/// Rows of a block.
pub(crate) const LANES: usize = 64;

/// The codes of one feature for a block of rows.
///
/// They are stored with their upper bit flipped, so that comparing them as signed bytes, which
/// every vector unit can, orders them as unsigned ones.
pub(crate) type Codes = [i8; LANES];

/// A code as it is stored.
pub(crate) const fn biased(code: u8) -> i8 {
    (code ^ 0x80) as i8
}

/// A code as a number.
pub(crate) const fn unbiased(code: i8) -> u8 {
    code as u8 ^ 0x80
}

/// A split over codes: a row goes right if its code, less the shift, is above the limit.
///
/// A shift of one makes the greatest code of the code of a missing value, which is the least
/// otherwise: this is how a missing value goes right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodeSplit {
    feature: u32,
    limit: i8,
    shift: i8,
}

impl CodeSplit {
    /// Codes up to `code` go left; missing values go where they are told.
    pub(crate) const fn new(feature: u32, code: u8, missing: Side) -> Self {
        let shift = match missing {
            Side::Left => 0,
            Side::Right => 1,
        };
        Self { feature, limit: biased(code).wrapping_sub(shift), shift }
    }

    pub(crate) const fn feature(self) -> usize {
        self.feature as usize
    }

    /// Whether a row goes right.
    #[inline(always)]
    pub(crate) const fn goes_right(self, code: i8) -> bool {
        code.wrapping_sub(self.shift) > self.limit
    }
}
