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
mod pairs;
mod params;
mod ranking;
mod rows;
mod shard;
mod shards;
mod split_search;
mod stop;
mod survey;
mod target;
mod value;

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use icecore_core::{Error, ErrorKind, OutputKind, Result, TrainingSet, TrainingSource};

use crate::ParamValue;
use crate::columns;
use crate::divide::{By, Divided};
use crate::fit::{Fit, Learned, Learner};
use crate::forest::TreeScorer;
use crate::scorer::Scorer;
use boost::{Examples, boost};
use params::BoostParams;
use split_search::Rule;
use survey::Survey;

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
    fn learn(&self, set: &TrainingSet, watched: Option<&TrainingSet>) -> Result<Learned> {
        self.learn_source(set, watched.map(|watched| watched as &dyn TrainingSource))
    }

    fn reads_parts(&self) -> bool {
        true
    }

    /// Holds out rows to watch, where the parameters say so and nobody gave any.
    fn learn_source(
        &self,
        source: &dyn TrainingSource,
        watched: Option<&dyn TrainingSource>,
    ) -> Result<Learned> {
        if self.params.patience == 0 || watched.is_some() {
            return self.learn_from(source, watched.filter(|_| self.params.patience > 0));
        }
        // The rows of a query stay together.
        let by = if self.params.objective.ranking().is_some() { By::Group } else { By::Row };
        let share = self.params.validation_fraction;
        match Divided::new(source, by, (share, self.params.seed)) {
            Ok(divided) => self.learn_from(&divided.training(), Some(&divided.validation())),
            // Too few ids to hold some out.
            Err(error) if error.kind() == ErrorKind::InvalidInput => self.learn_from(source, None),
            Err(error) => Err(error),
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
    fn learn_from(
        &self,
        learned: &dyn TrainingSource,
        watched: Option<&dyn TrainingSource>,
    ) -> Result<Learned> {
        let schema = learned.schema();
        let inputs = columns::inputs(&schema)?;
        let survey = Survey::of(&self.params, learned)?;
        let rules = self.rules(&schema, &survey.categories)?;
        let examples = Examples { learned, watched, inputs: &inputs, rules: &rules };
        let (ensemble, categories) = boost(&self.params, examples, survey)?;
        let scorer = Scorer::Trees(TreeScorer::new(ensemble, inputs.len()));
        Ok(Learned { scorer, categories })
    }

    fn rules(&self, schema: &Schema, categories: &columns::CategoriesByName) -> Result<Vec<Rule>> {
        columns::check_names(schema, self.params.monotone.keys().map(String::as_str))?;
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
}

#[cfg(test)]
mod tests;
