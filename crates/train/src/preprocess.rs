//! Preprocessing: steps that are fitted with the model and kept in its file.
//!
//! A step fits one operation to each of its columns, and an operation turns one column into one or
//! several. What was fitted depends on the multiset of rows: statistics are those of sorted values,
//! and folds go by the hashes of row ids. Scoring runs the operations of training, and so has their
//! bits.

mod folds;
mod operation;
mod step;
mod table;
mod target;

use arrow::array::RecordBatch;
use icecore_core::{Error, Result, SignatureColumn, TrainingSet};
use serde::{Deserialize, Serialize};

pub(crate) use operation::{Fill, Operation, Unknown};
pub(crate) use step::Step;
pub use step::StepSpec;
use table::{Feature, Table};

/// The most columns that preprocessing makes.
const FEATURES_MAX: usize = 100_000;

/// An operation and the column that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FittedStep {
    pub(crate) column: String,
    pub(crate) operation: Operation,
}

/// A column that the algorithm sees, and the number of the input that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) column: SignatureColumn,
    pub(crate) input: usize,
}

/// Fits the steps, one after the other, and gives the rows as the algorithm sees them.
pub(crate) fn fit(steps: &[Step], set: &TrainingSet) -> Result<(Vec<FittedStep>, TrainingSet)> {
    let inputs = crate::columns::inputs(&set.features().schema())?;
    let mut table = Table::bind(set.features(), &inputs)?;
    let mut fitted = Vec::new();
    for step in steps {
        for name in step.columns_of(&table.features())? {
            let operation = step.fit(table.column(&name)?, set)?;
            // The rows that a category was encoded by must not be encoded by themselves.
            let columns = match step.fit_out_of_fold(table.column(&name)?, set)? {
                Some(column) => vec![column],
                None => operation.run(table.column(&name)?)?,
            };
            table.replace(&name, &operation, columns)?;
            fitted.push(FittedStep { column: name, operation });
        }
    }
    let set = with_features(set, table.into_batch()?)?;
    Ok((fitted, set))
}

/// Rows as the algorithm sees them, by operations that were fitted before.
pub(crate) fn prepared(
    steps: &[FittedStep],
    inputs: &[SignatureColumn],
    set: &TrainingSet,
) -> Result<TrainingSet> {
    with_features(set, apply(steps, inputs, set.features())?)
}

/// The set with other features: its labels, ids, groups and weights are as they were.
pub(crate) fn with_features(set: &TrainingSet, features: RecordBatch) -> Result<TrainingSet> {
    let new = TrainingSet::new(features, set.labels().clone(), set.row_ids().clone())?;
    let mut new = new.with_provenance(set.provenance().to_vec());
    if let Some(groups) = set.groups() {
        new = new.with_groups(groups.clone())?;
    }
    match set.weights() {
        Some(weights) => new.with_weights(weights.clone()),
        None => Ok(new),
    }
}

/// The columns that the algorithm sees of these rows.
pub(crate) fn apply(
    steps: &[FittedStep],
    inputs: &[SignatureColumn],
    rows: &RecordBatch,
) -> Result<RecordBatch> {
    let mut table = Table::bind(rows, inputs)?;
    for step in steps {
        let columns = step.operation.run(table.column(&step.column)?)?;
        table.replace(&step.column, &step.operation, columns)?;
    }
    table.into_batch()
}

/// The columns that the algorithm sees, if the operations are sound and fit each other.
pub(crate) fn origins(steps: &[FittedStep], inputs: &[SignatureColumn]) -> Result<Vec<Origin>> {
    let mut features = Feature::of_inputs(inputs);
    for step in steps {
        step.operation.check()?;
        let at = features.iter().position(|feature| feature.name == step.column);
        let at = at.ok_or_else(|| {
            Error::corrupt(format!("preprocessing has no column `{}`", step.column))
        })?;
        let outputs = step.operation.outputs(&features[at])?;
        features.splice(at..=at, outputs);
        if features.len() > FEATURES_MAX {
            return Err(Error::new(
                icecore_core::ErrorKind::LimitExceeded,
                format!("preprocessing makes more than {FEATURES_MAX} columns"),
            ));
        }
    }
    let mut names: Vec<&String> = features.iter().map(|feature| &feature.name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::invalid(format!("preprocessing makes the column `{}` twice", pair[0]))
            .with_help("rename a feature"));
    }
    let origin = |(feature, input): (Feature, &SignatureColumn)| {
        let untouched =
            feature.name == input.name && !steps.iter().any(|step| step.column == feature.name);
        let data_type = match (untouched, feature.is_text) {
            (true, _) => input.data_type.clone(),
            (false, true) => "Utf8".to_owned(),
            (false, false) => "Float64".to_owned(),
        };
        Origin { column: SignatureColumn { name: feature.name, data_type }, input: feature.input }
    };
    Ok(features
        .into_iter()
        .filter_map(|feature| Some((inputs.get(feature.input)?, feature)))
        .map(|(input, feature)| origin((feature, input)))
        .collect())
}

#[cfg(test)]
mod tests;
