//! Finding the row of one set that has the same key as a row of another.
//!
//! Keys are compared by value and type, column by column: a NaN equals a NaN, `-0.0` equals `0.0`,
//! and a null equals a null. A table of hashes says for most rows that nothing matches; what may
//! match is compared.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, make_comparator};
use arrow::compute::SortOptions;
use icecore_core::{Error, Result};

use super::hash::hash_rows;
use crate::predicate::comparable;

/// At most half of the slots are taken.
const SLOTS_PER_KEY: usize = 2;
const EMPTY: u64 = 0;

/// Rows by their keys, each key once.
#[derive(Debug)]
pub(crate) struct KeyTable {
    columns: Vec<ArrayRef>,
    /// The upper half of a key's hash, and its row plus one; [`EMPTY`] where there is none.
    slots: Vec<u64>,
    mask: usize,
}

/// Two rows of the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duplicate {
    pub(crate) first: u32,
    pub(crate) second: u32,
}

/// Rows of a batch, and for each the row of the table that has its key.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    pub(crate) rows: Vec<u32>,
    pub(crate) found: Vec<u32>,
}

type Equal<'a> = Box<dyn Fn(usize, usize) -> bool + Send + Sync + 'a>;

impl KeyTable {
    /// A table of all rows; `resolve` says which of two rows with the same key stays.
    ///
    /// # Errors
    ///
    /// `Unsupported` for columns that cannot be keys; what `resolve` fails with.
    pub(crate) fn build(
        columns: &[ArrayRef],
        mut resolve: impl FnMut(Duplicate) -> Result<u32>,
    ) -> Result<Self> {
        let columns: Vec<ArrayRef> = columns.iter().map(comparable).collect();
        let rows = columns.first().map_or(0, Array::len);
        if u32::try_from(rows).is_err() {
            return Err(Error::unsupported("more than 4294967295 keys at once"));
        }
        let hashes = hash_rows(&columns, rows)?;
        let size = (rows.saturating_mul(SLOTS_PER_KEY)).next_power_of_two().max(16);
        let mut table = Self { columns, slots: vec![EMPTY; size], mask: size - 1 };
        let columns = table.columns.clone();
        let equal = equality(&columns, &columns)?;
        for (row, hash) in (0_u32..).zip(&hashes) {
            let slot = table.slot(*hash, |found| equal(row as usize, found as usize));
            let before = table.slots.get(slot).copied().and_then(row_of);
            let stays = match before {
                None => row,
                Some(first) => resolve(Duplicate { first, second: row })?,
            };
            if let Some(slot) = table.slots.get_mut(slot) {
                *slot = entry(*hash, stays);
            }
        }
        Ok(table)
    }

    /// The rows of these columns whose key is in the table.
    ///
    /// # Errors
    ///
    /// `Internal` if the columns are of other types than the table's.
    pub(crate) fn find(&self, columns: &[ArrayRef]) -> Result<Matches> {
        let columns: Vec<ArrayRef> = columns.iter().map(comparable).collect();
        let hashes = hash_rows(&columns, columns.first().map_or(0, Array::len))?;
        let equal = equality(&columns, &self.columns)?;
        let mut matches = Matches::default();
        for (row, hash) in (0_u32..).zip(&hashes) {
            let slot = self.slot(*hash, |found| equal(row as usize, found as usize));
            if let Some(found) = self.slots.get(slot).copied().and_then(row_of) {
                matches.rows.push(row);
                matches.found.push(found);
            }
        }
        Ok(matches)
    }

    /// The rows that are in the table, in order: all but those that lost to another of their key.
    pub(crate) fn rows(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = self.slots.iter().copied().filter_map(row_of).collect();
        rows.sort_unstable();
        rows
    }

    /// Where the key with this hash is, or would be.
    fn slot(&self, hash: u64, is_same: impl Fn(u32) -> bool) -> usize {
        let upper = hash >> 32;
        #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits count")]
        let mut at = hash as usize & self.mask;
        loop {
            let slot = self.slots.get(at).copied().unwrap_or(EMPTY);
            match row_of(slot) {
                None => return at,
                Some(row) if slot >> 32 == upper && is_same(row) => return at,
                Some(_) => at = (at + 1) & self.mask,
            }
        }
    }
}

const fn entry(hash: u64, row: u32) -> u64 {
    (hash & !0xFFFF_FFFF) | (row as u64 + 1)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is the row")]
const fn row_of(slot: u64) -> Option<u32> {
    (slot as u32).checked_sub(1)
}

/// Whether a row of the left columns has the key of a row of the right ones.
fn equality<'a>(left: &[ArrayRef], right: &[ArrayRef]) -> Result<Equal<'a>> {
    if left.len() != right.len() {
        return Err(Error::internal("keys of different columns are compared"));
    }
    let mut parts = Vec::with_capacity(left.len());
    for (left, right) in left.iter().zip(right) {
        parts.push(make_comparator(left, right, SortOptions::default())?);
    }
    Ok(Box::new(move |left, right| {
        parts.iter().all(|compare| compare(left, right) == Ordering::Equal)
    }))
}

#[cfg(test)]
mod tests;
