//! Dividing rows into parts, by their ids and never by their positions.

use std::collections::BTreeMap;

use arrow::array::UInt64Array;
use icecore_core::{Error, Result, TrainingSet};

use crate::arithmetic::mix_pair;
use crate::canonical::canonical_order;
use crate::columns;
use crate::divide::bound;

pub use crate::divide::{By, Divided, Side, sample};

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
    let hashes: Vec<u64> = row_ids.values().iter().map(|id| mix_pair(seed, *id)).collect();
    let bound = bound(hashes.clone(), validation)?;
    Ok(Split::new(&hashes.iter().map(|hash| *hash <= bound).collect::<Vec<_>>()))
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
    let labels = set.labels().values();
    let features = columns::rough(set)?;
    let order = canonical_order(&features, labels, set.row_ids().values());
    let classes = enough(classes(labels, &order), folds)?;
    Ok(deal(labels.len(), &classes, folds))
}

/// Divides the rows into folds that have each label as often as the others do, rows of a label in
/// the order of the hashes of their ids with the seed: what scikit-learn's
/// `StratifiedKFold(folds, shuffle=True)` does, but for which rows the chance picks. Each fold has
/// as many rows of each label as [`stratified_k_fold`] gives it.
///
/// # Errors
///
/// As [`stratified_k_fold`].
pub fn stratified_k_fold_shuffled(
    set: &TrainingSet,
    folds: usize,
    seed: u64,
) -> Result<Vec<Split>> {
    let labels = set.labels().values();
    let ids = set.row_ids().values();
    let order = canonical_order(&columns::rough(set)?, labels, ids);
    let mut classes = enough(classes(labels, &order), folds)?;
    for (_, rows) in &mut classes {
        // Rows of one id stay in their order.
        rows.sort_by_key(|row| mix_pair(seed, ids[*row]));
    }
    Ok(deal(labels.len(), &classes, folds))
}

/// What scikit-learn's `StratifiedKFold(folds)` does without shuffling, row for row: the rows
/// count as they come. [`stratified_k_fold`] is the one that does not depend on their order.
///
/// # Errors
///
/// As [`stratified_k_fold`].
pub fn stratified_k_fold_in_order(labels: &[f64], folds: usize) -> Result<Vec<Split>> {
    let order: Vec<usize> = (0..labels.len()).collect();
    let classes = enough(classes(labels, &order), folds)?;
    Ok(deal(labels.len(), &classes, folds))
}

/// The classes, if each has as many rows as there are folds.
fn enough(classes: Vec<(f64, Vec<usize>)>, folds: usize) -> Result<Vec<(f64, Vec<usize>)>> {
    if folds < 2 {
        return Err(Error::invalid(format!("{folds} folds")).with_help("give at least 2"));
    }
    for (label, rows) in &classes {
        if rows.len() < folds {
            return Err(Error::invalid(format!(
                "label `{label}` has {} rows, fewer than {folds} folds",
                rows.len()
            ))
            .with_help("use fewer folds or more rows"));
        }
    }
    Ok(classes)
}

fn deal(rows: usize, classes: &[(f64, Vec<usize>)], folds: usize) -> Vec<Split> {
    let mut fold_of = vec![0; rows];
    let mut start = 0;
    for (_, rows) in classes {
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
    folds_as_splits(&fold_of, folds)
}

fn folds_as_splits(fold_of: &[usize], folds: usize) -> Vec<Split> {
    let split = |fold| Split::new(&fold_of.iter().map(|of| *of == fold).collect::<Vec<_>>());
    (0..folds).map(split).collect()
}

/// Divides the rows into folds by the hash of their ids with the seed: rows of one id stay
/// together, and no fold depends on the order of rows.
///
/// # Errors
///
/// `InvalidInput` if there are fewer than two folds, or fewer ids than folds.
pub fn k_fold(row_ids: &UInt64Array, folds: usize, seed: u64) -> Result<Vec<Split>> {
    let mut ids: Vec<(u64, u64)> =
        row_ids.values().iter().map(|id| (mix_pair(seed, *id), *id)).collect();
    ids.sort_unstable();
    ids.dedup();
    if folds < 2 || ids.len() < folds {
        return Err(Error::invalid(format!("{folds} folds of {} ids", ids.len()))
            .with_help("give at least 2 folds, and as many rows as folds"));
    }
    let fold = |id: &u64| {
        let place = ids.binary_search(&(mix_pair(seed, *id), *id)).unwrap_or(0);
        place * folds / ids.len()
    };
    let fold_of: Vec<usize> = row_ids.values().iter().map(fold).collect();
    Ok(folds_as_splits(&fold_of, folds))
}

/// Divides the rows into folds such that rows of one group stay together, and folds are about
/// equally large: the largest group first, each to the fold that has the fewest rows, as
/// scikit-learn's `GroupKFold` does. Of equally large groups, the greater number comes first.
///
/// # Errors
///
/// `InvalidInput` if there are fewer than two folds, or fewer groups than folds.
pub fn group_k_fold(groups: &UInt64Array, folds: usize) -> Result<Vec<Split>> {
    let mut rows: BTreeMap<u64, usize> = BTreeMap::new();
    for group in groups.values() {
        *rows.entry(*group).or_default() += 1;
    }
    if folds < 2 || rows.len() < folds {
        return Err(Error::invalid(format!("{folds} folds of {} groups", rows.len()))
            .with_help("give at least 2 folds, and as many groups as folds"));
    }
    let mut largest: Vec<(usize, u64)> = rows.iter().map(|(group, rows)| (*rows, *group)).collect();
    largest.sort_unstable_by(|a, b| b.cmp(a));
    let mut sizes = vec![0; folds];
    let mut fold_of_group: BTreeMap<u64, usize> = BTreeMap::new();
    for (rows, group) in largest {
        let lightest = (0..folds).min_by_key(|fold| sizes[*fold]).unwrap_or(0);
        sizes[lightest] += rows;
        fold_of_group.insert(group, lightest);
    }
    let fold_of: Vec<usize> = groups
        .values()
        .iter()
        .map(|group| fold_of_group.get(group).copied().unwrap_or(0))
        .collect();
    Ok(folds_as_splits(&fold_of, folds))
}

/// Splits whose validation rows come after all of their training rows in time, each later than
/// the one before it: scikit-learn's `TimeSeriesSplit(splits, gap=gap)` over the rows in order of
/// their moments, those of one moment in order of their ids. `gap` rows between both sides belong
/// to neither.
///
/// # Errors
///
/// `InvalidInput` if there is no split, not one id and moment a row, or too few rows.
pub fn time_series_split(
    moments: &[i64],
    row_ids: &UInt64Array,
    splits: usize,
    gap: usize,
) -> Result<Vec<Split>> {
    let rows = moments.len();
    let size = rows / (splits + 1);
    let first = rows.saturating_sub(size * splits);
    if splits == 0 || rows != row_ids.values().len() || size == 0 || first <= gap {
        return Err(Error::invalid(format!(
            "{rows} rows cannot be divided into {splits} splits in time with {gap} rows between"
        ))
        .with_help("use fewer splits, a smaller gap, or more rows"));
    }
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_key(|row| (moments[*row], row_ids.value(*row)));
    let positions = |places: std::ops::Range<usize>| {
        let mut rows: Vec<u64> = order[places].iter().map(|row| *row as u64).collect();
        rows.sort_unstable();
        UInt64Array::from(rows)
    };
    let split = |number: usize| {
        let start = rows - (splits - number) * size;
        Split { training: positions(0..start - gap), validation: positions(start..start + size) }
    };
    Ok((0..splits).map(split).collect())
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
