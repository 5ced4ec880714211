//! Sums of gradients by feature and bin.

use super::packed::{PACKED_ROWS, Sums, widen};
use crate::forest::mask::{Codes, LANES, biased, unbiased};

/// The most features of a [`RowGroup`]: their packed sums stay in the nearest cache.
pub(super) const GROUP_WIDTH_MAX: usize = 12;

/// Where each feature's cells are in a [`Histogram`].
#[derive(Debug)]
pub(super) struct Layout {
    /// The first cell of each feature, and the end.
    offsets: Vec<usize>,
}

impl Layout {
    /// The layout of features with these numbers of bins, the one of missing values included.
    pub(super) fn new(bins: impl IntoIterator<Item = usize>) -> Self {
        let mut offsets = vec![0];
        let mut end = 0;
        for bins in bins {
            end += bins;
            offsets.push(end);
        }
        Self { offsets }
    }

    pub(super) fn features(&self) -> usize {
        self.offsets.len() - 1
    }

    fn cells(&self) -> usize {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// Widths that cut the features into groups, none much smaller than the others.
    pub(super) fn group_widths(&self) -> Vec<usize> {
        let features = self.features();
        let groups = features.div_ceil(GROUP_WIDTH_MAX).max(1);
        (0..groups).map(|group| (features + group) / groups).filter(|width| *width > 0).collect()
    }
}

/// Sums of the gradients of some rows, by feature and bin.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    cells: Vec<Sums>,
}

impl Histogram {
    pub(super) fn zero(layout: &Layout) -> Self {
        Self { cells: vec![Sums::default(); layout.cells()] }
    }

    /// The sums of a feature, by bin: the first is that of missing values.
    pub(super) fn feature(&self, layout: &Layout, feature: usize) -> &[Sums] {
        &self.cells[layout.offsets[feature]..layout.offsets[feature + 1]]
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (cell, other) in self.cells.iter_mut().zip(&other.cells) {
            cell.add(*other);
        }
    }

    /// Leaves the sums of the rows that are not in `other`.
    pub(super) fn subtract(&mut self, other: &Self) {
        for (cell, other) in self.cells.iter_mut().zip(&other.cells) {
            *cell = cell.minus(*other);
        }
    }
}

/// The bins of neighbouring features, row by row.
#[derive(Debug)]
pub(super) struct RowGroup {
    first_feature: usize,
    width: usize,
    bins: Vec<u8>,
}

impl RowGroup {
    /// Room for this many rows of so many features, from `first_feature` on.
    pub(super) fn new(first_feature: usize, width: usize, rows: usize) -> Self {
        let bins = Vec::with_capacity(rows.next_multiple_of(LANES) * width);
        Self { first_feature, width, bins }
    }

    pub(super) const fn width(&self) -> usize {
        self.width
    }

    /// Adds rows, whose codes are given in one column each.
    pub(super) fn push(&mut self, columns: &[Vec<i8>]) {
        let first = self.bins.len();
        let rows = columns.first().map_or(0, Vec::len);
        self.bins.resize(first + rows * self.width, 0);
        for (place, column) in columns.iter().enumerate() {
            for (row, code) in self.bins[first..].chunks_exact_mut(self.width).zip(column) {
                row[place] = unbiased(*code);
            }
        }
    }

    /// Fills up the last block of rows.
    pub(super) fn finish(&mut self) {
        self.bins.resize(self.bins.len().next_multiple_of(LANES * self.width), 0);
    }

    #[inline(always)]
    pub(super) fn bin(&self, row: usize, place: usize) -> u8 {
        self.bins[row * self.width + place]
    }

    /// The codes of one of the features, for a block of rows.
    #[inline(always)]
    pub(super) fn block(&self, place: usize, block: usize, codes: &mut Codes) {
        let rows = &self.bins[block * LANES * self.width..][..LANES * self.width];
        for (code, row) in codes.iter_mut().zip(rows.chunks_exact(self.width)) {
            *code = biased(row[place]);
        }
    }

    /// Adds the packed gradients of these rows to a histogram.
    pub(super) fn add_rows(
        &self,
        rows: &[u32],
        packed: &[u32],
        layout: &Layout,
        to: &mut Histogram,
    ) {
        let first = layout.offsets[self.first_feature];
        let offsets = &layout.offsets[self.first_feature..=self.first_feature + self.width];
        let cells = &mut to.cells[first..];
        match self.width {
            1 => add::<1>(rows, (&self.bins, packed), offsets, cells),
            2 => add::<2>(rows, (&self.bins, packed), offsets, cells),
            3 => add::<3>(rows, (&self.bins, packed), offsets, cells),
            4 => add::<4>(rows, (&self.bins, packed), offsets, cells),
            5 => add::<5>(rows, (&self.bins, packed), offsets, cells),
            6 => add::<6>(rows, (&self.bins, packed), offsets, cells),
            7 => add::<7>(rows, (&self.bins, packed), offsets, cells),
            8 => add::<8>(rows, (&self.bins, packed), offsets, cells),
            9 => add::<9>(rows, (&self.bins, packed), offsets, cells),
            10 => add::<10>(rows, (&self.bins, packed), offsets, cells),
            11 => add::<11>(rows, (&self.bins, packed), offsets, cells),
            _ => add::<GROUP_WIDTH_MAX>(rows, (&self.bins, packed), offsets, cells),
        }
    }
}

/// Rows that are fetched before any of them is added.
const FETCHED: usize = 32;

fn add<const WIDTH: usize>(
    rows: &[u32],
    (bins, packed): (&[u8], &[u32]),
    offsets: &[usize],
    cells: &mut [Sums],
) {
    let (bins, _) = bins.as_chunks::<WIDTH>();
    let mut sums = [[0_u64; 256]; WIDTH];
    let mut fetched = [([0_u8; WIDTH], 0_u64); FETCHED];
    for block in rows.chunks(PACKED_ROWS) {
        for some in block.chunks(FETCHED) {
            // The rows of a node lie apart. Fetching them in a loop that does nothing else lets
            // many loads wait for memory at once.
            for (slot, row) in fetched.iter_mut().zip(some) {
                *slot = (bins[*row as usize], widen(packed[*row as usize]));
            }
            for (bins, packed) in &fetched[..some.len()] {
                for (sums, bin) in sums.iter_mut().zip(bins) {
                    let sum = &mut sums[usize::from(*bin)];
                    *sum = sum.wrapping_add(*packed);
                }
            }
        }
        for (sums, ends) in sums.iter_mut().zip(offsets.windows(2)) {
            let cells = &mut cells[ends[0] - offsets[0]..ends[1] - offsets[0]];
            for (cell, sum) in cells.iter_mut().zip(sums) {
                cell.add(Sums::unpack(*sum));
                *sum = 0;
            }
        }
    }
}
