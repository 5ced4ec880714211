//! Dividing rows into parts, by their ids and never by their positions.

use arrow::array::UInt64Array;
use icecore_core::{Error, Result, TrainingSet};

use crate::arithmetic::mix_pair;
use crate::canonical::canonical_order;
use crate::columns;

/// The positions of rows to learn from and of rows to measure with, each in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Rows to learn from.
    pub training: UInt64Array,
    /// Rows to measure with.
    pub validation: UInt64Array,
}

impl Split {
    fn new(is_validation: &[bool]) -> Self {
        let side = |wanted: bool| {
            let rows = is_validation.iter().enumerate().filter(|(_, is)| **is == wanted);
            UInt64Array::from_iter_values(rows.map(|(row, _)| row as u64))
        };
        Self { training: side(false), validation: side(true) }
    }

    /// The rows to learn from and those to measure with, as sets.
    ///
    /// # Errors
    ///
    /// Fails if the split is not one of this set.
    pub fn apply(&self, set: &TrainingSet) -> Result<(TrainingSet, TrainingSet)> {
        Ok((set.take(&self.training)?, set.take(&self.validation)?))
    }
}

/// Chooses a share of the rows for validation, by the hash of their ids with the seed.
///
/// The number of validation rows is `validation` times the number of rows, rounded up as
/// scikit-learn does. Rows of one id stay together, so it is exceeded where the last chosen id
/// has more rows. A row stays on its side when others come or go, but for those near the border.
///
/// # Errors
///
/// `InvalidInput` if the share is not between zero and one, or if a side would be empty.
pub fn train_validation(row_ids: &UInt64Array, validation: f64, seed: u64) -> Result<Split> {
    if !(validation > 0.0 && validation < 1.0) {
        return Err(Error::invalid(format!("validation share `{validation}`"))
            .with_help("give a number above 0 and below 1, such as 0.2"));
    }
    let ids = row_ids.values();
    let wanted = (validation * ids.len() as f64).ceil() as usize;
    let mut order: Vec<(u64, u64, usize)> =
        ids.iter().enumerate().map(|(row, id)| (mix_pair(seed, *id), *id, row)).collect();
    order.sort_unstable();
    let mut is_validation = vec![false; ids.len()];
    let mut chosen = 0;
    for group in order.chunk_by(|a, b| a.1 == b.1) {
        if chosen >= wanted {
            break;
        }
        for (_, _, row) in group {
            is_validation[*row] = true;
        }
        chosen += group.len();
    }
    if chosen == 0 || chosen == ids.len() {
        return Err(Error::invalid(format!(
            "{} rows of {} ids cannot be divided into training and validation",
            ids.len(),
            order.chunk_by(|a, b| a.1 == b.1).count()
        )));
    }
    Ok(Split::new(&is_validation))
}

/// Divides the rows into folds that have each label as often as the others do.
///
/// It is what scikit-learn's `StratifiedKFold(folds)` does without shuffling, over the rows in
/// canonical order: by id, then by features.
///
/// # Errors
///
/// `InvalidInput` if there are fewer than two folds, or a label has fewer rows than there are
/// folds.
pub fn stratified_k_fold(set: &TrainingSet, folds: usize) -> Result<Vec<Split>> {
    if folds < 2 {
        return Err(Error::invalid(format!("{folds} folds")).with_help("give at least 2"));
    }
    let labels = set.labels().values();
    let features = columns::features(set)?;
    let order = canonical_order(&features, labels, set.row_ids().values());
    let classes = classes(labels, &order);
    for (label, rows) in &classes {
        if rows.len() < folds {
            return Err(Error::invalid(format!(
                "label `{label}` has {} rows, fewer than {folds} folds",
                rows.len()
            ))
            .with_help("use fewer folds or more rows"));
        }
    }
    let mut fold_of = vec![0; labels.len()];
    let mut start = 0;
    for (_, rows) in &classes {
        // The rows of all classes one after the other are dealt to the folds in turn; how many
        // of this class each fold gets is what counts.
        let dealt =
            |fold: usize| (start..start + rows.len()).filter(|place| place % folds == fold).count();
        let folds_of_class = (0..folds).flat_map(|fold| std::iter::repeat_n(fold, dealt(fold)));
        for (row, fold) in rows.iter().zip(folds_of_class) {
            fold_of[*row] = fold;
        }
        start += rows.len();
    }
    let split = |fold| Split::new(&fold_of.iter().map(|of| *of == fold).collect::<Vec<_>>());
    Ok((0..folds).map(split).collect())
}

/// The rows of each label, labels in order of their first row.
fn classes(labels: &[f64], order: &[usize]) -> Vec<(f64, Vec<usize>)> {
    let mut classes: Vec<(f64, Vec<usize>)> = Vec::new();
    for row in order {
        let label = labels[*row];
        match classes
            .iter_mut()
            .find(|(other, _)| *other == label || other.is_nan() && label.is_nan())
        {
            Some((_, rows)) => rows.push(*row),
            None => classes.push((label, vec![*row])),
        }
    }
    classes
}

#[cfg(test)]
mod tests;
