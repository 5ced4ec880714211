//! What decides a model besides its rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, UInt64Array};
use icecore_core::{Error, Model, OutputKind, ParamValue, Result, Trainer, TrainingSet};
use icecore_dataset::DatasetSpec;
use icecore_train::metrics::Measure;
use icecore_train::split::{self, Split};
use serde::{Deserialize, Serialize};

/// Folds of a search where the definition says none.
const FOLDS: usize = 5;

/// What decides a model besides its rows. It is kept with the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Recipe {
    pub(super) algorithm: String,
    pub(super) params: BTreeMap<String, ParamValue>,
    pub(super) validation: f64,
    pub(super) split_seed: u64,
    pub(super) folds: usize,
}

impl Recipe {
    pub(super) fn of(spec: &DatasetSpec) -> Result<Self> {
        let model = spec.model.as_ref().ok_or_else(|| {
            Error::invalid(format!("`{}` does not say what to train", spec.name))
                .with_help("add a `[model]` table with a name and an algorithm to its file")
        })?;
        Ok(Self {
            algorithm: model.algorithm.clone(),
            params: model.params.clone(),
            validation: spec.split.as_ref().map_or(0.0, |split| split.validation),
            split_seed: spec.split.as_ref().map_or(0, |split| split.seed),
            folds: spec.cross_validation.map_or(0, |validation| validation.folds),
        })
    }

    pub(super) fn trainer(&self) -> Result<Arc<dyn Trainer>> {
        icecore_train::trainer(&self.algorithm, &self.params)
    }

    /// What the model will give.
    fn output(&self) -> OutputKind {
        match self.params.get("objective").map(ToString::to_string).as_deref() {
            Some("multiclass") => OutputKind::Classes,
            Some("squared" | "absolute" | "quantile" | "poisson") => OutputKind::Value,
            _ => OutputKind::Probability,
        }
    }

    /// What is measured where nobody says.
    pub(super) fn measure(&self) -> Measure {
        Measure::usual(self.output())
    }

    /// The folds of cross-validation: with each class alike often where there are some.
    pub(super) fn splits(&self, set: &TrainingSet) -> Result<Vec<Split>> {
        let folds = if self.folds > 1 { self.folds } else { FOLDS };
        match self.output() {
            OutputKind::Value => split::k_fold(set.row_ids(), folds, self.split_seed),
            _ => split::stratified_k_fold(set, folds),
        }
    }

    /// The rows to learn from and those that validate, if some do: as the set itself says, else by
    /// the hash of their ids.
    pub(super) fn held_out(
        &self,
        (set, validation): (&TrainingSet, Option<&BooleanArray>),
    ) -> Result<Option<(TrainingSet, TrainingSet)>> {
        if self.validation <= 0.0 {
            return Ok(None);
        }
        if let Some(validation) = validation {
            return divided(validation)?.apply(set).map(Some);
        }
        split::train_validation(set.row_ids(), self.validation, self.split_seed)?
            .apply(set)
            .map(Some)
    }

    fn stops_early(&self) -> bool {
        let rounds = self.params.get("early_stopping_rounds").and_then(ParamValue::as_int);
        rounds.is_some_and(|rounds| rounds > 0)
    }

    /// The model on all rows. Where learning stops early, it has as many rounds as `watched`, the
    /// one that was stopped by the rows that validate.
    pub(super) fn final_model(
        &self,
        set: &TrainingSet,
        watched: Option<&dyn Model>,
    ) -> Result<Arc<dyn Model>> {
        let rounds = watched.filter(|_| self.stops_early()).and_then(Model::rounds);
        let Some(rounds) = rounds else { return self.trainer()?.fit(set) };
        let mut params = self.params.clone();
        params.insert("n_estimators".to_owned(), ParamValue::Int(rounds.max(1) as i64));
        params.insert("early_stopping_rounds".to_owned(), ParamValue::Int(0));
        icecore_train::trainer(&self.algorithm, &params)?.fit(set)
    }

    /// The model that this recipe makes of these rows, from the beginning.
    pub(super) fn model(
        &self,
        (set, validation): (&TrainingSet, Option<&BooleanArray>),
    ) -> Result<Arc<dyn Model>> {
        if !self.stops_early() {
            return self.final_model(set, None);
        }
        match self.held_out((set, validation))? {
            None => self.final_model(set, None),
            Some((training, held_out)) => {
                let watched = self.trainer()?.fit_watching(&training, &held_out)?;
                self.final_model(set, Some(&*watched))
            }
        }
    }
}

/// The rows that learn and those that validate.
fn divided(validation: &BooleanArray) -> Result<Split> {
    let side = |wanted: bool| {
        let rows = (0_u64..).zip(validation.values().iter());
        UInt64Array::from_iter_values(rows.filter_map(|(row, is)| (is == wanted).then_some(row)))
    };
    let split = Split { training: side(false), validation: side(true) };
    if split.training.is_empty() || split.validation.is_empty() {
        let (training, validation) = (split.training.len(), split.validation.len());
        return Err(Error::invalid(format!(
            "of the rows with a label {training} learn and {validation} validate"
        ))
        .with_help("change `[split]` in the training set's file and build it again"));
    }
    Ok(split)
}
