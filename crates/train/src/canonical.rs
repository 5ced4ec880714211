//! An order of rows that does not depend on how they came.

use std::cmp::Ordering;

use icecore_core::{Result, TrainingSet};

use crate::columns::{self, Values};

/// The greatest label that is learned: no square of it overflows.
const LABEL_MAX: f64 = 1e140;

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

/// Rows of numbers in canonical order, for algorithms whose sums depend on the order.
#[derive(Debug)]
pub(crate) struct Canonical {
    pub(crate) features: Vec<Values>,
    pub(crate) labels: Vec<f64>,
    pub(crate) ids: Vec<u64>,
}

impl Canonical {
    /// The rows of a set that has some.
    pub(crate) fn new(set: &TrainingSet) -> Result<Self> {
        let labels = columns::labels(set)?;
        let features = columns::features(set)?;
        let ids = set.row_ids().values();
        let order = canonical_order(&features, labels, ids);
        Ok(Self {
            features: features
                .iter()
                .map(|column| order.iter().map(|row| column[*row]).collect())
                .collect(),
            labels: order.iter().map(|row| labels[*row]).collect(),
            ids: order.iter().map(|row| ids[*row]).collect(),
        })
    }

    /// Refuses labels that no regression can learn.
    pub(crate) fn check_numbers(&self) -> Result<()> {
        match self.labels.iter().find(|label| label.is_nan() || label.abs() > LABEL_MAX) {
            None => Ok(()),
            Some(label) => Err(columns::no_label(
                *label,
                &format!(
                    "labels are numbers from {:e} to {LABEL_MAX:e}: filter such rows in the spine, \
                     or give labels in larger units",
                    -LABEL_MAX
                ),
            )),
        }
    }
}
