//! Sums of gradients by feature and bin.

use super::packed::{PACKED_ROWS, Sums, widen};
use super::rows::RowNumber;
use crate::forest::hardware::prefetch;
use crate::forest::mask::{Codes, LANES};

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

    /// How many groups there are.
    pub(super) fn groups(&self) -> usize {
        self.features().div_ceil(GROUP_WIDTH_MAX)
    }

    /// Widths that cut the features into groups, none much smaller than the others.
    pub(super) fn group_widths(&self) -> Vec<usize> {
        let (features, groups) = (self.features(), self.groups());
        (0..groups).map(|group| (features + group) / groups).collect()
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

    /// Adds the packed gradients of rows, all of them of the same group of features.
    pub(super) fn add_rows<'a>(
        &mut self,
        layout: &Layout,
        parts: impl Iterator<Item = Part<'a>> + Clone,
    ) {
        let Some(Part { group, .. }) = parts.clone().next() else { return };
        let offsets = &layout.offsets[group.first_feature..=group.first_feature + group.width];
        let cells = &mut self.cells[offsets[0]..];
        match group.width {
            1 => add::<1>(parts, offsets, cells),
            2 => add::<2>(parts, offsets, cells),
            3 => add::<3>(parts, offsets, cells),
            4 => add::<4>(parts, offsets, cells),
            5 => add::<5>(parts, offsets, cells),
            6 => add::<6>(parts, offsets, cells),
            7 => add::<7>(parts, offsets, cells),
            8 => add::<8>(parts, offsets, cells),
            9 => add::<9>(parts, offsets, cells),
            10 => add::<10>(parts, offsets, cells),
            11 => add::<11>(parts, offsets, cells),
            _ => add::<GROUP_WIDTH_MAX>(parts, offsets, cells),
        }
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
    codes: Vec<i8>,
}

impl RowGroup {
    /// Room for this many rows of so many features, from `first_feature` on.
    pub(super) fn new(first_feature: usize, width: usize, rows: usize) -> Self {
        let codes = Vec::with_capacity(rows.next_multiple_of(LANES) * width);
        Self { first_feature, width, codes }
    }

    pub(super) const fn width(&self) -> usize {
        self.width
    }

    /// Adds rows, whose codes are given in one column each.
    pub(super) fn push(&mut self, columns: &[Vec<i8>]) {
        let first = self.codes.len();
        let rows = columns.first().map_or(0, Vec::len);
        self.codes.resize(first + rows * self.width, 0);
        for (place, column) in columns.iter().enumerate() {
            for (row, code) in self.codes[first..].chunks_exact_mut(self.width).zip(column) {
                row[place] = *code;
            }
        }
    }

    /// Fills up the last block of rows.
    pub(super) fn finish(&mut self) {
        self.codes.resize(self.codes.len().next_multiple_of(LANES * self.width), 0);
    }

    /// Finds the code of a row, of one of the features.
    #[inline(always)]
    pub(super) fn codes_of<'a>(&'a self, place: usize) -> impl Fn(usize) -> &'a i8 {
        let (codes, width) = (&self.codes[..], self.width);
        move |row| &codes[row * width + place]
    }

    /// The codes of the features, for a block of rows.
    #[inline(always)]
    pub(super) fn block(&self, block: usize, codes: &mut [Codes]) {
        let size = LANES * self.width;
        let mut spare = [[0; LANES]; GROUP_WIDTH_MAX];
        let spare = &mut spare.as_flattened_mut()[..size];
        let codes = &mut codes.as_flattened_mut()[..size];
        // A row's number moves from above its column's to below it, bit by bit.
        riffle(&self.codes[block * size..][..size], spare);
        riffle(spare, codes);
        riffle(codes, spare);
        riffle(spare, codes);
        riffle(codes, spare);
        riffle(spare, codes);
    }
}

/// Takes from both halves in turn, as cards are shuffled.
#[inline(always)]
fn riffle(from: &[i8], to: &mut [i8]) {
    let (low, high) = from.split_at(from.len() / 2);
    for (pair, (low, high)) in to.as_chunks_mut::<2>().0.iter_mut().zip(low.iter().zip(high)) {
        *pair = [*low, *high];
    }
}

/// Rows of a group whose packed gradients are added.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) group: &'a RowGroup,
    pub(super) rows: &'a [RowNumber],
    /// The packed gradients of all rows of the group.
    pub(super) packed: &'a [u32],
}

/// A row is fetched while so many before it are added.
const AHEAD: usize = 24;

fn add<'a, const WIDTH: usize>(
    parts: impl Iterator<Item = Part<'a>>,
    offsets: &[usize],
    cells: &mut [Sums],
) {
    let mut sums = [[0; 256]; WIDTH];
    let mut room = PACKED_ROWS;
    for Part { group, mut rows, packed } in parts {
        let (codes, _) = group.codes.as_chunks::<WIDTH>();
        while !rows.is_empty() {
            let count = room.min(rows.len());
            add_rows(rows, count, (codes, packed), &mut sums);
            room -= count;
            if room == 0 {
                unpack(&mut sums, offsets, cells);
                room = PACKED_ROWS;
            }
            rows = &rows[count..];
        }
    }
    if room < PACKED_ROWS {
        unpack(&mut sums, offsets, cells);
    }
}

/// Adds the first of these rows, so few that their packed sums cannot carry.
#[inline(always)]
fn add_rows<const WIDTH: usize>(
    rows: &[RowNumber],
    count: usize,
    (codes, packed): (&[[i8; WIDTH]], &[u32]),
    sums: &mut [[u64; 256]; WIDTH],
) {
    for (at, row) in rows[..count].iter().enumerate() {
        // The rows of a node lie apart: memory is asked for them before they are needed.
        if let Some(next) = rows.get(at + AHEAD) {
            prefetch(&codes[usize::from(*next)]);
            prefetch(&packed[usize::from(*next)]);
        }
        let row = usize::from(*row);
        let packed = widen(packed[row]);
        for (sums, code) in sums.iter_mut().zip(&codes[row]) {
            let sum = &mut sums[usize::from(*code as u8)];
            *sum = sum.wrapping_add(packed);
        }
    }
}

/// Moves packed sums, which are by code, to the cells of their features, which are by bin: the codes of
/// the lower bins are negative.
fn unpack<const WIDTH: usize>(
    sums: &mut [[u64; 256]; WIDTH],
    offsets: &[usize],
    cells: &mut [Sums],
) {
    for (sums, ends) in sums.iter_mut().zip(offsets.windows(2)) {
        let cells = &mut cells[ends[0] - offsets[0]..ends[1] - offsets[0]];
        let (lower, upper) = cells.split_at_mut(cells.len().min(128));
        let (of_upper, of_lower) = sums.split_at_mut(128);
        for (cells, sums) in [(lower, of_lower), (upper, of_upper)] {
            for (cell, sum) in cells.iter_mut().zip(sums) {
                cell.add(Sums::unpack(*sum));
                *sum = 0;
            }
        }
    }
}
