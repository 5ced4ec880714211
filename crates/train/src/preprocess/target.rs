//! The mean label of categories, without leakage.
//!
//! A row that took part in the mean that it is encoded by would see its own label. So the rows of
//! training are dealt to folds, and each is encoded by the rows of the other folds; rows that come
//! later, by all of them. The folds are alike in their labels (`deal`), because the mean of a fold
//! that has more of them is told by the others, which have less. Means of rare categories are drawn
//! to the mean of all (Micci-Barreca, "A preprocessing scheme for high-cardinality categorical
//! attributes", 2001).

use icecore_core::{Result, TrainingSet};

use super::Operation;
use super::folds::deal;
use super::operation::ENCODED_MAX;
use super::table::Column;
use crate::categories::Categories;
use crate::exact::Exact;

/// The most folds: the fewer rows one has, the more its mean tells of each label.
pub(super) const FOLDS_MAX: usize = 20;

/// How categories are encoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoding {
    pub(super) folds: usize,
    /// How many rows the mean of all counts for.
    pub(super) smooth: f64,
    pub(super) seed: u64,
}

/// Labels with their weights, by category and fold.
struct Means {
    encoding: Encoding,
    categories: Categories,
    /// The group of each row: its category, then what is missing, then what is rare.
    groups: Vec<usize>,
    folds: Vec<usize>,
    /// The sum of labels and that of weights, by group and fold.
    sums: Vec<Vec<(f64, f64)>>,
}

impl Means {
    fn new(encoding: Encoding, column: &Column, set: &TrainingSet) -> Result<Self> {
        let array = column.array();
        let categories = Categories::fit(&*array, ENCODED_MAX)?;
        let (missing, rare) = (categories.len(), categories.len() + 1);
        let places = categories.encode(&*array)?;
        let group = |(place, is_missing): (&f64, bool)| match (is_missing, place.is_nan()) {
            (true, _) => missing,
            (false, true) => rare,
            (false, false) => *place as usize,
        };
        let groups: Vec<usize> = places.iter().zip(column.missing()).map(group).collect();
        let folds =
            deal((encoding.folds, encoding.seed), set.labels().values(), set.row_ids().values());
        let weight = |row: usize| set.weights().map_or(1.0, |weights| weights.value(row));
        let mut rows: Vec<(usize, usize, f64, f64)> = (0..groups.len())
            .map(|row| (groups[row], folds[row], set.labels().value(row), weight(row)))
            .collect();
        // In this order, sums come out the same however the rows came.
        rows.sort_unstable_by(|a, b| {
            (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)).then(a.3.total_cmp(&b.3))
        });
        let mut sums = vec![vec![(0.0, 0.0); encoding.folds]; rare + 1];
        for (group, fold, label, weight) in rows {
            let sum = &mut sums[group][fold];
            *sum = (sum.0 + label * weight, sum.1 + weight);
        }
        Ok(Self { encoding, categories, groups, folds, sums })
    }

    /// The sums of a group, or of all, without a fold.
    fn sum(&self, groups: std::ops::Range<usize>, without: Option<usize>) -> (f64, f64) {
        let folds = self.sums[groups].iter().flat_map(|group| group.iter().enumerate());
        folds
            .filter(|(fold, _)| Some(*fold) != without)
            .fold((0.0, 0.0), |sum, (_, (labels, weights))| (sum.0 + labels, sum.1 + weights))
    }

    /// The mean of each group without a fold, and that of all rows.
    fn means(&self, without: Option<usize>) -> (Vec<f64>, f64) {
        let share = |(labels, weights): (f64, f64), other: f64| {
            let mean = labels / weights;
            if weights > 0.0 && mean.is_finite() { mean } else { other }
        };
        let all = share(self.sum(0..self.sums.len(), without), 0.0);
        let mean = |group: usize| {
            let (labels, weights) = self.sum(group..group + 1, without);
            let smooth = self.encoding.smooth;
            share((labels + smooth * all, weights + smooth), all)
        };
        ((0..self.sums.len()).map(mean).collect(), all)
    }
}

/// The encoding for rows that come later.
pub(super) fn fit(encoding: Encoding, column: &Column, set: &TrainingSet) -> Result<Operation> {
    let means = Means::new(encoding, column, set)?;
    let (of_groups, all) = means.means(None);
    let categories = means.categories;
    let missing = Exact(of_groups.get(categories.len()).copied().unwrap_or(all));
    let values = of_groups.into_iter().take(categories.len()).map(Exact).collect();
    Ok(Operation::Encode { categories, values, missing, unknown: Exact(all) })
}

/// The rows that were learned from, each encoded by the rows of the other folds.
pub(super) fn out_of_fold(
    encoding: Encoding,
    column: &Column,
    set: &TrainingSet,
) -> Result<Column> {
    let means = Means::new(encoding, column, set)?;
    let rare = means.sums.len() - 1;
    let by_fold: Vec<(Vec<f64>, f64)> =
        (0..encoding.folds).map(|fold| means.means(Some(fold))).collect();
    let encoded = means.groups.iter().zip(&means.folds).map(|(group, fold)| {
        let (of_groups, all) = &by_fold[*fold];
        if *group == rare { *all } else { of_groups[*group] }
    });
    Ok(Column::Numbers(encoded.collect()))
}
