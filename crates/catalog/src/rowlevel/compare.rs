//! Whether values are the same, bit for bit.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, make_comparator};
use arrow::compute::SortOptions;
use arrow::compute::kernels::cmp::distinct;
use icecore_core::Result;

/// Notes the rows in which two columns differ. Nulls are the same, and so are equal NaNs; zeros of
/// two signs are not.
pub(super) fn differing(left: &ArrayRef, right: &ArrayRef, differs: &mut [bool]) -> Result<()> {
    if left.data_type().is_nested() {
        let compare = make_comparator(left, right, SortOptions::default())?;
        for (row, differs) in differs.iter_mut().enumerate() {
            *differs |= compare(row, row) != Ordering::Equal;
        }
        return Ok(());
    }
    let answers = distinct(left, right)?;
    for (differs, answer) in differs.iter_mut().zip(answers.values()) {
        *differs |= answer;
    }
    Ok(())
}
