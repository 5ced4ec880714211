//! How many events of a window count.

use arrow::buffer::BooleanBuffer;

use super::bounds::Bounds;

/// Counts events of any range of rows in constant time.
#[derive(Debug)]
pub(crate) enum Counts {
    /// Every event counts.
    All,
    /// How many count before each row.
    Before(Vec<u32>),
}

impl Counts {
    pub(crate) fn new(valid: Option<&BooleanBuffer>) -> Self {
        let Some(valid) = valid else { return Self::All };
        Self::Before(before(valid.iter()))
    }

    /// How many count before a row.
    pub(crate) fn before(&self, row: usize) -> usize {
        match self {
            Self::All => row,
            Self::Before(before) => before[row] as usize,
        }
    }

    pub(crate) fn in_windows(&self, bounds: Bounds<'_>) -> Vec<u32> {
        match self {
            Self::All => bounds.iter().map(|(start, end)| (end - start) as u32).collect(),
            Self::Before(before) => {
                bounds.iter().map(|(start, end)| before[end] - before[start]).collect()
            }
        }
    }
}

/// How often `yes` came before each position, and in all.
pub(crate) fn before(yes: impl Iterator<Item = bool>) -> Vec<u32> {
    let mut total = 0;
    let mut before = Vec::with_capacity(yes.size_hint().0 + 1);
    before.push(0);
    before.extend(yes.map(|yes| {
        total += u32::from(yes);
        total
    }));
    before
}
