//! Gradient-boosted trees: histograms of integers, so that the model is a function of the rows.
//!
//! Values are binned by quantiles of the whole column, gradients are rounded to fixed point, and
//! everything that is summed over rows is an integer: neither the order of the rows nor the number
//! of threads can change a bit. Rows are sampled by the hash of their id.

mod bins;
mod boost;
mod categorical;
mod code_tree;
mod grow;
mod histogram;
mod objective;
mod packed;
mod params;
mod shard;
mod split_search;
mod stop;
mod target;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::UInt64Array;
use icecore_core::{Error, ErrorKind, Model, Result, Trainer, TrainingSet};

use crate::ParamValue;
use crate::arithmetic::ordered_sum;
use crate::columns;
use crate::forest::TreeScorer;
use crate::model::{FittedModel, Header, Scorer};
use crate::split;
use boost::{Examples, boost};
use params::BoostParams;
use split_search::Rule;

/// The algorithm's name.
pub(crate) const ALGORITHM: &str = "gbdt";

/// Learns gradient-boosted trees.
#[derive(Debug, Clone)]
pub(crate) struct GbdtTrainer {
    params: BoostParams,
    threads: usize,
    effective: BTreeMap<String, String>,
}

impl GbdtTrainer {
    pub(crate) fn new(given: &BTreeMap<String, ParamValue>) -> Result<Self> {
        let (params, threads, effective) = params::read(given)?;
        Ok(Self { params, threads, effective })
    }

    /// Holds out rows to watch, where the parameters say so and nobody gave any.
    fn fit_here(&self, set: &TrainingSet, watched: Option<&TrainingSet>) -> Result<FittedModel> {
        if self.params.patience == 0 || watched.is_some() || set.rows() < 2 {
            return self.learn(set, watched.filter(|_| self.params.patience > 0), set.rows());
        }
        let share = self.params.validation_fraction;
        match split::train_validation(set.row_ids(), share, self.params.seed) {
            Ok(split) => {
                let (learned, watched) = split.apply(set)?;
                self.learn(&learned, Some(&watched), set.rows())
            }
            // Too few ids to hold some out.
            Err(_) => self.learn(set, None, set.rows()),
        }
    }

    fn learn(
        &self,
        set: &TrainingSet,
        watched: Option<&TrainingSet>,
        rows: usize,
    ) -> Result<FittedModel> {
        let objective = self.params.objective;
        let mut header = Header::new(ALGORITHM, &self.effective, set, objective.output())?;
        header.rows = rows as u64;
        let set = &with_weight(set)?;
        let (labels, outputs) = objective.labels(set)?;
        if labels.len() > u32::MAX as usize {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{} rows are more than `{ALGORITHM}` can number", labels.len()),
            )
            .with_help("sample the spine"));
        }
        let (features, categories) = columns::categorical_features(set, &self.params.categorical)?;
        let rules = self.rules(set, &categories)?;
        header.categories = categories;
        let weights = self.weights(set, labels);
        let learned = Examples {
            columns: &features,
            labels,
            weights: weights.as_deref(),
            ids: set.row_ids().values(),
        };
        let ensemble = match watched {
            None => boost(&self.params, &rules, learned, None, outputs),
            Some(watched) => {
                let (labels, seen) = objective.labels(watched)?;
                if seen > outputs {
                    return Err(Error::invalid("the validation rows have classes of their own")
                        .with_help("stratify the split"));
                }
                let columns =
                    columns::bind(watched.features(), &header.signature, &header.categories)?;
                let examples = Examples {
                    columns: &columns,
                    labels,
                    weights: watched.weights().map(|weights| weights.values().as_ref()),
                    ids: watched.row_ids().values(),
                };
                boost(&self.params, &rules, learned, Some(examples), outputs)
            }
        };
        let scorer = Scorer::Trees(TreeScorer::new(ensemble, features.len()));
        Ok(FittedModel { header, scorer })
    }

    fn rules(
        &self,
        set: &TrainingSet,
        categories: &columns::CategoriesByName,
    ) -> Result<Vec<Rule>> {
        let schema = set.features().schema();
        columns::check_names(&schema, self.params.monotone.keys().map(String::as_str))?;
        let rule = |name: &String| Rule {
            is_categorical: categories.contains_key(name),
            monotone: self.params.monotone.get(name).copied().unwrap_or(0),
        };
        let rules: Vec<Rule> = schema.fields().iter().map(|field| rule(field.name())).collect();
        for (field, rule) in schema.fields().iter().zip(&rules) {
            if rule.is_categorical && rule.monotone != 0 {
                return Err(Error::invalid(format!(
                    "`monotone` names the feature `{}`, which has categories",
                    field.name()
                ))
                .with_help("categories have no order that a prediction could follow"));
            }
        }
        Ok(rules)
    }

    /// How often each row counts, if not once each.
    fn weights(&self, set: &TrainingSet, labels: &[f64]) -> Option<Vec<f64>> {
        let given = set.weights().map(|weights| weights.values().to_vec());
        let by_class: Option<Vec<f64>> = if self.params.is_balanced {
            Some(balanced(labels, given.as_deref()))
        } else {
            (self.params.positive_weight != 1.0).then(|| vec![1.0, self.params.positive_weight])
        };
        let Some(by_class) = by_class else { return given };
        let weight = |row: usize| given.as_ref().map_or(1.0, |weights| weights[row]);
        let class = |label: f64| by_class.get(label as usize).copied().unwrap_or(1.0);
        Some(labels.iter().enumerate().map(|(row, label)| weight(row) * class(*label)).collect())
    }
}

/// What makes the classes count alike: rows over classes and rows of the class.
fn balanced(labels: &[f64], weights: Option<&[f64]>) -> Vec<f64> {
    let classes = labels.iter().copied().fold(0.0, f64::max) as usize + 1;
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let mut by_class: Vec<Vec<f64>> = vec![Vec::new(); classes];
    for (row, label) in labels.iter().enumerate() {
        by_class[*label as usize].push(weight(row));
    }
    let sums: Vec<f64> = by_class.into_iter().map(ordered_sum).collect();
    let all: f64 = sums.iter().sum();
    let seen = sums.iter().filter(|sum| **sum > 0.0).count() as f64;
    sums.into_iter().map(|sum| if sum > 0.0 { all / (seen * sum) } else { 1.0 }).collect()
}

/// The rows that count at all.
fn with_weight(set: &TrainingSet) -> Result<TrainingSet> {
    let Some(weights) = set.weights().filter(|weights| weights.values().contains(&0.0)) else {
        return Ok(set.clone());
    };
    let rows = (0..set.rows()).filter(|row| weights.value(*row) > 0.0);
    set.take(&UInt64Array::from_iter_values(rows.map(|row| row as u64)))
}

impl Trainer for GbdtTrainer {
    fn algorithm(&self) -> &'static str {
        ALGORITHM
    }

    fn params(&self) -> BTreeMap<String, String> {
        self.effective.clone()
    }

    fn fit(&self, set: &TrainingSet) -> Result<Arc<dyn Model>> {
        let model = crate::pool::with_threads(self.threads, || self.fit_here(set, None))?;
        Ok(Arc::new(model))
    }

    fn fit_watching(&self, set: &TrainingSet, validation: &TrainingSet) -> Result<Arc<dyn Model>> {
        let fit = || self.fit_here(set, Some(validation));
        Ok(Arc::new(crate::pool::with_threads(self.threads, fit)?))
    }
}

#[cfg(test)]
mod tests;
