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
mod ranking;
mod shard;
mod split_search;
mod stop;
mod target;
mod value;

use std::collections::BTreeMap;

use icecore_core::{Error, ErrorKind, OutputKind, Result, TrainingSet};

use crate::ParamValue;
use crate::arithmetic::ordered_sum;
use crate::columns;
use crate::fit::{Fit, Learned, Learner};
use crate::forest::TreeScorer;
use crate::scorer::Scorer;
use crate::split;
use boost::{Examples, boost};
use params::BoostParams;
use split_search::Rule;

/// The algorithm's name.
pub(crate) const ALGORITHM: &str = "gbdt";

/// Learns gradient-boosted trees.
#[derive(Debug, Clone)]
pub(crate) struct Gbdt {
    params: BoostParams,
}

/// A trainer with these parameters.
pub(crate) fn trainer(given: &BTreeMap<String, ParamValue>) -> Result<Fit> {
    let (params, threads, effective) = params::read(given)?;
    Ok(Fit::new(ALGORITHM, Gbdt { params }, (effective, threads)))
}

impl Learner for Gbdt {
    /// Holds out rows to watch, where the parameters say so and nobody gave any.
    fn learn(&self, set: &TrainingSet, watched: Option<&TrainingSet>) -> Result<Learned> {
        if self.params.patience == 0 || watched.is_some() || set.rows() < 2 {
            return self.learn_from(set, watched.filter(|_| self.params.patience > 0));
        }
        let share = self.params.validation_fraction;
        // The rows of a query stay together.
        let groups = set.groups().filter(|_| self.params.objective.ranking().is_some());
        let ids = groups.unwrap_or(set.row_ids());
        match split::train_validation(ids, share, self.params.seed) {
            Ok(split) => {
                let (learned, watched) = split.apply(set)?;
                self.learn_from(&learned, Some(&watched))
            }
            // Too few ids to hold some out.
            Err(_) => self.learn_from(set, None),
        }
    }

    fn has_classes(&self) -> bool {
        self.params.objective.output() == OutputKind::Classes
    }

    fn knows_weights(&self) -> bool {
        true
    }
}

impl Gbdt {
    fn learn_from(&self, set: &TrainingSet, watched: Option<&TrainingSet>) -> Result<Learned> {
        let objective = self.params.objective;
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
        let weights = self.weights(set, labels);
        let learned = Examples {
            columns: &features,
            labels,
            weights: weights.as_deref(),
            ids: set.row_ids().values(),
            groups: self.groups(set)?,
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
                    columns::bind(watched.features(), &columns::inputs(set)?, &categories)?;
                let examples = Examples {
                    columns: &columns,
                    labels,
                    weights: watched.weights().map(|weights| weights.values().as_ref()),
                    ids: watched.row_ids().values(),
                    groups: self.groups(watched)?,
                };
                boost(&self.params, &rules, learned, Some(examples), outputs)
            }
        };
        let scorer = Scorer::Trees(TreeScorer::new(ensemble, features.len()));
        Ok(Learned { scorer, categories })
    }

    /// The groups that rows are ranked in, if they are.
    fn groups<'a>(&self, set: &'a TrainingSet) -> Result<Option<&'a [u64]>> {
        match (self.params.objective.ranking(), set.groups()) {
            (None, _) => Ok(None),
            (Some(_), Some(groups)) => Ok(Some(groups.values())),
            (Some(_), None) => Err(Error::invalid("`lambdarank` ranks rows in groups, and there are none")
                .with_help(
                    "name the column of the query, `group = \"query_id\"`, or give the training set groups",
                )),
        }
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

#[cfg(test)]
mod tests;
