//! An order of rows that does not depend on how they came.

use std::cmp::Ordering;

use crate::columns::Values;

/// The positions of rows, sorted by id, then by features, then by label. Rows that are equal in
/// all of them are interchangeable.
pub(crate) fn canonical_order(columns: &[Values], labels: &[f64], ids: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_unstable_by(|a, b| {
        let features = || {
            columns
                .iter()
                .map(|column| compare(column[*a], column[*b]))
                .find(|ordering| ordering.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        ids[*a].cmp(&ids[*b]).then_with(features).then_with(|| compare(labels[*a], labels[*b]))
    });
    order
}

/// Numbers in their order, a missing one last, zeros of both signs alike.
fn compare(a: f64, b: f64) -> Ordering {
    a.is_nan().cmp(&b.is_nan()).then_with(|| a.partial_cmp(&b).unwrap_or(Ordering::Equal))
}
