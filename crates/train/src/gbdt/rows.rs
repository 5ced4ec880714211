//! What is kept of each row: its bins, a byte each, and its label, weight and key.

use std::cmp::Ordering;

use super::histogram::{Layout, RowGroup};
use super::packed::Lanes;
use crate::forest::mask::{Codes, LANES, biased};

/// The codes of rows.
#[derive(Debug)]
pub(super) struct Bins {
    /// Of each feature, one row after the other, filled up to whole blocks; absent where rows are
    /// so many that two copies of them would be too much.
    columns: Option<Vec<Vec<i8>>>,
    /// The same, row by row: of some features at once, for histograms.
    groups: Vec<RowGroup>,
    /// The group of each feature, and its place there.
    places: Vec<(usize, usize)>,
}

/// How bins are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// By column and by row, where there is room.
    Both,
    /// By row: for many rows.
    Rows,
    /// By column: for rows that are only scored.
    Columns,
}

impl Keeping {
    /// From so many bins on, rows that are learned from are kept once.
    const ONCE_FROM: usize = 1 << 28;

    /// How this many rows are kept that are learned from.
    pub(super) const fn of(rows: usize, features: usize) -> Self {
        if rows.saturating_mul(features) < Self::ONCE_FROM { Self::Both } else { Self::Rows }
    }
}

/// The codes of some rows, column by column.
pub(super) type ColumnCodes = Vec<Vec<i8>>;

impl Bins {
    /// Room for the bins of this many rows.
    pub(super) fn new(layout: &Layout, rows: usize, keeping: Keeping) -> Self {
        let room = |_| Vec::with_capacity(rows.next_multiple_of(LANES));
        let columns =
            (keeping != Keeping::Rows).then(|| (0..layout.features()).map(room).collect());
        let widths = layout.group_widths();
        let place = |(group, width): (usize, &usize)| (0..*width).map(move |at| (group, at));
        let places = widths.iter().enumerate().flat_map(place).collect();
        let mut first = 0;
        let group = |width: usize| {
            first += width;
            RowGroup::new(first - width, width, rows)
        };
        let groups = if keeping == Keeping::Columns {
            Vec::new()
        } else {
            widths.into_iter().map(group).collect()
        };
        Self { columns, groups, places }
    }

    /// Adds rows whose codes are given.
    pub(super) fn push(&mut self, codes: &ColumnCodes) {
        for (column, codes) in self.columns.iter_mut().flatten().zip(codes) {
            column.extend_from_slice(codes);
        }
        let mut rest = codes.as_slice();
        for group in &mut self.groups {
            let (of_group, after) = rest.split_at(group.width());
            group.push(of_group);
            rest = after;
        }
    }

    /// Fills up the last block.
    pub(super) fn finish(&mut self) {
        self.columns.iter_mut().flatten().for_each(fill_up);
        self.groups.iter_mut().for_each(RowGroup::finish);
    }

    pub(super) fn groups(&self) -> &[RowGroup] {
        &self.groups
    }

    /// The codes of a feature, for a block of rows.
    #[inline(always)]
    pub(super) fn block(&self, feature: usize, block: usize, codes: &mut Codes) {
        match &self.columns {
            Some(columns) => *codes = columns[feature].as_chunks().0[block],
            None => {
                let (group, place) = self.places[feature];
                self.groups[group].block(place, block, codes);
            }
        }
    }

    /// The code of a row.
    pub(super) fn code(&self, feature: usize, row: u32) -> i8 {
        match &self.columns {
            Some(columns) => columns[feature][row as usize],
            None => {
                let (group, place) = self.places[feature];
                biased(self.groups[group].bin(row as usize, place))
            }
        }
    }

    /// Compares the codes of a row with those of one of others.
    pub(super) fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        let codes = |bins: &Self, row: usize, feature| bins.code(feature, row as u32);
        (0..self.places.len())
            .map(|feature| codes(self, row, feature).cmp(&codes(other, other_row, feature)))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// Hands a function that tells a row's code of a feature to `work`, which is compiled for both
    /// ways in which it may be kept.
    #[inline]
    pub(super) fn with_codes<T>(&self, feature: usize, work: impl CodeWork<T>) -> T {
        match &self.columns {
            Some(columns) => {
                let column = &columns[feature];
                work.run(|row| column[row as usize])
            }
            None => {
                let (group, place) = self.places[feature];
                let group = &self.groups[group];
                work.run(|row| biased(group.bin(row as usize, place)))
            }
        }
    }
}

/// Work on the codes of one feature.
pub(super) trait CodeWork<T> {
    fn run(self, code: impl Fn(u32) -> i8) -> T;
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
