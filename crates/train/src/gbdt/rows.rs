//! What is kept of each row: its bins, a byte each, and its label, weight and key.

use std::cmp::Ordering;

use super::histogram::{Layout, RowGroup};
use super::packed::Lanes;
use crate::forest::mask::{Codes, LANES};

/// The number of a row in its shard.
pub(super) type RowNumber = u16;

/// The codes of rows, each of them once: row by row, of some features at once. Sums of gradients, which
/// take the longest, read whole rows; trees that are added to scores turn a block of rows into columns.
#[derive(Debug)]
pub(super) struct Bins {
    groups: Vec<RowGroup>,
    /// The group of each feature, and its place there.
    places: Vec<(usize, usize)>,
}

/// The codes of some rows, column by column.
pub(super) type ColumnCodes = Vec<Vec<i8>>;

impl Bins {
    /// Room for the bins of this many rows.
    pub(super) fn new(layout: &Layout, rows: usize) -> Self {
        let widths = layout.group_widths();
        let place = |(group, width): (usize, &usize)| (0..*width).map(move |at| (group, at));
        let places = widths.iter().enumerate().flat_map(place).collect();
        let mut first = 0;
        let group = |width: usize| {
            first += width;
            RowGroup::new(first - width, width, rows)
        };
        Self { groups: widths.into_iter().map(group).collect(), places }
    }

    /// Adds rows whose codes are given.
    pub(super) fn push(&mut self, codes: &ColumnCodes) {
        let mut rest = codes.as_slice();
        for group in &mut self.groups {
            let (of_group, after) = rest.split_at(group.width());
            group.push(of_group);
            rest = after;
        }
    }

    /// Fills up the last block.
    pub(super) fn finish(&mut self) {
        self.groups.iter_mut().for_each(RowGroup::finish);
    }

    pub(super) fn features(&self) -> usize {
        self.places.len()
    }

    pub(super) fn groups(&self) -> &[RowGroup] {
        &self.groups
    }

    /// The codes of all features, for a block of rows.
    #[inline(always)]
    pub(super) fn block(&self, block: usize, codes: &mut [Codes]) {
        let mut rest = codes;
        for group in &self.groups {
            let (of_group, after) = rest.split_at_mut(group.width());
            group.block(block, of_group);
            rest = after;
        }
    }

    /// Finds the code of a row, of one feature.
    #[inline(always)]
    pub(super) fn codes_of<'a>(&'a self, feature: usize) -> impl Fn(usize) -> &'a i8 {
        let (group, place) = self.places[feature];
        self.groups[group].codes_of(place)
    }

    /// Compares the codes of a row with those of one of others.
    pub(super) fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        let code = |bins: &Self, row: usize, feature| *bins.codes_of(feature)(row);
        (0..self.features())
            .map(|feature| code(self, row, feature).cmp(&code(other, other_row, feature)))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// Labels as training sees them.
#[derive(Debug)]
pub(super) enum Labels {
    /// Whole numbers.
    Bytes(Vec<u8>),
    Numbers(Vec<f32>),
}

impl Labels {
    /// Room for this many labels, which are whole numbers below 256 or are not.
    pub(super) fn new(are_bytes: bool, rows: usize) -> Self {
        let rows = rows.next_multiple_of(LANES);
        if are_bytes {
            Self::Bytes(Vec::with_capacity(rows))
        } else {
            Self::Numbers(Vec::with_capacity(rows))
        }
    }

    pub(super) fn push(&mut self, labels: &[f32]) {
        match self {
            Self::Bytes(bytes) => bytes.extend(labels.iter().map(|label| *label as u8)),
            Self::Numbers(numbers) => numbers.extend_from_slice(labels),
        }
    }

    pub(super) fn finish(&mut self) {
        match self {
            Self::Bytes(bytes) => fill_up(bytes),
            Self::Numbers(numbers) => fill_up(numbers),
        }
    }

    #[inline(always)]
    pub(super) fn of(&self, row: usize) -> f32 {
        match self {
            Self::Bytes(bytes) => f32::from(bytes[row]),
            Self::Numbers(numbers) => numbers[row],
        }
    }

    /// The labels of a block of rows.
    #[inline(always)]
    pub(super) fn block(&self, block: usize) -> Lanes {
        match self {
            Self::Bytes(bytes) => bytes.as_chunks::<LANES>().0[block].map(f32::from),
            Self::Numbers(numbers) => numbers.as_chunks::<LANES>().0[block],
        }
    }
}

/// Fills up the last block.
pub(super) fn fill_up<T: Copy + Default>(values: &mut Vec<T>) {
    values.resize(values.len().next_multiple_of(LANES), T::default());
}

#[cfg(test)]
mod tests {
    use icecore_testkit::Random;

    use super::*;

    #[test]
    fn a_block_of_columns_has_the_codes_of_its_rows() {
        let mut random = Random::new(1);
        for features in 1..30 {
            let layout = Layout::new(vec![256; features]);
            let rows = 3 * LANES - 5;
            let mut column = |_| (0..rows).map(|_| random.below(256) as u8 as i8).collect();
            let codes: ColumnCodes = (0..features).map(&mut column).collect();
            let mut bins = Bins::new(&layout, rows);
            bins.push(&codes);
            bins.finish();
            let mut of_block = vec![[0; LANES]; features];
            for row in 0..rows {
                bins.block(row / LANES, &mut of_block);
                for feature in 0..features {
                    let expected = codes[feature][row];
                    assert_eq!(of_block[feature][row % LANES], expected, "{features} {row}");
                    assert_eq!(*bins.codes_of(feature)(row), expected);
                }
            }
        }
    }
}
