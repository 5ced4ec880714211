//! What a first reading of the rows tells: where columns are cut, which categories there are, what
//! labels are like.

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;
use icecore_core::{Error, ErrorKind, Result, TrainingSet, TrainingSource, is_text_type};
use rayon::prelude::*;

use super::bins::{self, Sampler};
use super::params::BoostParams;
use crate::arithmetic::ordered_sum;
use crate::categories::{Categories, Counts};
use crate::columns::{self, CategoriesByName};
use crate::tree::CATEGORIES_MAX;

/// What is known of rows before they are learned from.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) rows: usize,
    pub(super) labels: Numbers,
    /// How often each row counts, if not once each.
    pub(super) weights: Option<Vec<f64>>,
    pub(super) weighing: Weighing,
    pub(super) outputs: usize,
    pub(super) categories: CategoriesByName,
    /// The cut points of each column.
    pub(super) cuts: Vec<Vec<f64>>,
}

/// What rows count.
#[derive(Debug, Clone, Default)]
pub(super) struct Weighing {
    /// Whether they have weights of their own.
    pub(super) is_given: bool,
    /// What a row of each class counts.
    by_class: Option<Vec<f64>>,
}

impl Weighing {
    /// Only weights of their own, if they have some.
    pub(super) const GIVEN: Self = Self { is_given: true, by_class: None };

    /// The weights of rows, if they do not all count once.
    pub(super) fn weights(&self, labels: &[f64], given: Option<&[f64]>) -> Option<Vec<f64>> {
        let given = given.filter(|_| self.is_given);
        let Some(by_class) = &self.by_class else { return given.map(<[f64]>::to_vec) };
        let class = |label: f64| by_class.get(label as usize).copied().unwrap_or(1.0);
        let weight = |row: usize| given.map_or(1.0, |weights| weights[row]);
        Some(labels.iter().enumerate().map(|(row, label)| weight(row) * class(*label)).collect())
    }
}

/// Numbers that come in parts. If there is one part, it is not copied.
#[derive(Debug, Default)]
pub(super) enum Numbers {
    #[default]
    None,
    Whole(ScalarBuffer<f64>),
    Parts(Vec<f64>),
}

impl Numbers {
    fn push(&mut self, part: &ScalarBuffer<f64>) {
        *self = match std::mem::take(self) {
            Self::None => Self::Whole(part.clone()),
            Self::Whole(first) => Self::Parts([&first[..], &part[..]].concat()),
            Self::Parts(mut all) => {
                all.extend_from_slice(part);
                Self::Parts(all)
            }
        };
    }

    /// Whether there is one part.
    const fn is_first(&self) -> bool {
        matches!(self, Self::Whole(_))
    }

    pub(super) fn as_slice(&self) -> &[f64] {
        match self {
            Self::None => &[],
            Self::Whole(whole) => whole,
            Self::Parts(all) => all,
        }
    }
}

/// What is known of a column so far.
#[derive(Debug)]
enum Column {
    Numbers(Sampler),
    Categories(Counts),
}

impl Column {
    fn add(&mut self, array: &ArrayRef, ids: &[u64]) -> Result<()> {
        match self {
            Self::Numbers(sampler) => {
                sampler.add(&columns::values(array)?, ids);
                Ok(())
            }
            Self::Categories(counts) => counts.add(array),
        }
    }

    /// Where the column is cut; all of it may be given now, if nothing of it was before.
    fn finish(
        mut self,
        whole: Option<(&ArrayRef, &[u64])>,
        max_bins: usize,
    ) -> Result<(Vec<f64>, Option<Categories>)> {
        if let (Self::Categories(counts), Some((array, _))) = (&mut self, whole) {
            counts.add(array)?;
        }
        Ok(match (self, whole) {
            (Self::Numbers(_), Some((array, ids))) => {
                (bins::cuts_of(&columns::values(array)?, ids, max_bins), None)
            }
            (Self::Numbers(sampler), None) => (sampler.cuts(max_bins), None),
            (Self::Categories(counts), _) => {
                let categories = counts.most(CATEGORIES_MAX);
                // A cut between each category and the next.
                let cuts = (1..categories.len()).map(|category| category as f64 - 0.5);
                (cuts.collect(), Some(categories))
            }
        })
    }
}

impl Survey {
    /// Reads all rows once.
    pub(super) fn of(params: &BoostParams, source: &dyn TrainingSource) -> Result<Self> {
        let schema = source.schema();
        columns::check_names(&schema, params.categorical.iter().map(String::as_str))?;
        let column = |field: &std::sync::Arc<arrow::datatypes::Field>| {
            if is_text_type(field.data_type()) || params.categorical.contains(field.name()) {
                Column::Categories(Counts::of(field.data_type()))
            } else {
                Column::Numbers(Sampler::default())
            }
        };
        let mut looked: Vec<Column> = schema.fields().iter().map(column).collect();
        let (mut labels, mut weights) = (Numbers::None, Numbers::None);
        // Of rows that come at once, one column after the other is looked at, and then let go.
        let mut first: Option<TrainingSet> = None;
        let look = |looked: &mut [Column], part: &TrainingSet| {
            let (ids, arrays) = (part.row_ids().values(), part.features().columns());
            looked.par_iter_mut().zip(arrays).try_for_each(|(column, array)| column.add(array, ids))
        };
        source.read(&mut |part: TrainingSet| {
            params.objective.check(part.labels().values())?;
            labels.push(part.labels().values());
            if let Some(given) = part.weights() {
                weights.push(given.values());
            }
            if labels.is_first() {
                first = Some(part);
                return Ok(());
            }
            if let Some(first) = first.take() {
                look(&mut looked, &first)?;
            }
            look(&mut looked, &part)
        })?;
        let rows = labels.as_slice().len();
        columns::check_rows(rows)?;
        if rows > u32::MAX as usize {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{rows} rows are more than `{}` can number", super::ALGORITHM),
            )
            .with_help("sample the spine"));
        }
        let outputs = params.objective.outputs(labels.as_slice());
        let finish = |(at, column): (usize, Column)| {
            let whole = first.as_ref();
            let whole =
                whole.map(|part| (part.features().column(at), &part.row_ids().values()[..]));
            column.finish(whole, params.max_bins)
        };
        let finished: Result<Vec<_>> = looked.into_par_iter().enumerate().map(finish).collect();
        let (cuts, found): (Vec<_>, Vec<_>) = finished?.into_iter().unzip();
        let categories = schema.fields().iter().zip(found);
        let categories =
            categories.filter_map(|(field, found)| Some((field.name().clone(), found?))).collect();
        let given = Some(weights.as_slice()).filter(|weights| weights.iter().any(|w| *w != 1.0));
        let weighing = Weighing {
            is_given: given.is_some(),
            by_class: by_class(params, labels.as_slice(), given),
        };
        let weights = weighing.weights(labels.as_slice(), given);
        Ok(Self { rows, labels, weights, weighing, outputs, categories, cuts })
    }
}

/// What a row of each class counts, if not once.
fn by_class(params: &BoostParams, labels: &[f64], weights: Option<&[f64]>) -> Option<Vec<f64>> {
    if params.is_balanced {
        return Some(balanced(labels, weights));
    }
    (params.positive_weight != 1.0).then(|| vec![1.0, params.positive_weight])
}

/// What makes the classes count alike: rows over classes and rows of the class.
fn balanced(labels: &[f64], weights: Option<&[f64]>) -> Vec<f64> {
    let classes = labels.iter().copied().fold(0.0, f64::max) as usize + 1;
    let sums: Vec<f64> = match weights {
        None => {
            let mut rows = vec![0_u64; classes];
            labels.iter().for_each(|label| rows[*label as usize] += 1);
            rows.into_iter().map(|rows| rows as f64).collect()
        }
        Some(weights) => {
            let mut by_class: Vec<Vec<f64>> = vec![Vec::new(); classes];
            for (label, weight) in labels.iter().zip(weights) {
                by_class[*label as usize].push(*weight);
            }
            by_class.into_iter().map(ordered_sum).collect()
        }
    };
    let all: f64 = sums.iter().sum();
    let seen = sums.iter().filter(|sum| **sum > 0.0).count() as f64;
    sums.into_iter().map(|sum| if sum > 0.0 { all / (seen * sum) } else { 1.0 }).collect()
}
