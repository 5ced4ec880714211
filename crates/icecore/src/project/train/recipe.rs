//! What decides a model besides its rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, UInt64Array};
use icecore_core::{
    Error, Model, OutputKind, ParamValue, Result, SnapshotSelector, Trainer, TrainingSet,
};
use icecore_dataset::{DatasetSpec, FoldBy, LoadOptions, LoadedSet};
use icecore_train::StepSpec;
use icecore_train::metrics::Measure;
use icecore_train::split::{self, Split};
use serde::{Deserialize, Serialize};

use super::rows::Rows;

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
    #[serde(default)]
    pub(super) folds_by: FoldBy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
    /// The column whose values are queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ranked_by: Option<String>,
    #[serde(default)]
    pub(super) gap: usize,
    /// By what chance decides which rows are in which fold, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shuffle_seed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) preprocess: Vec<StepSpec>,
    /// The types of columns that the training set's table had made wider than the lock's inputs
    /// give them: ids of rows and the model's signature go by them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) types: BTreeMap<String, String>,
}

impl Recipe {
    pub(super) fn of(spec: &DatasetSpec) -> Result<Self> {
        let model = spec.model.as_ref().ok_or_else(|| {
            Error::invalid(format!("`{}` does not say what to train", spec.name))
                .with_help("add a `[model]` table with a name and an algorithm to its file")
        })?;
        let cross = spec.cross_validation.as_ref();
        Ok(Self {
            algorithm: model.algorithm.clone(),
            params: model.params.clone(),
            validation: spec.split.as_ref().map_or(0.0, |split| split.validation),
            split_seed: spec.split.as_ref().map_or(0, |split| split.seed),
            folds: cross.map_or(0, |cross| cross.folds),
            folds_by: cross.map_or(FoldBy::Row, |cross| cross.by),
            group: cross.and_then(|cross| cross.group.clone()),
            ranked_by: spec.group.clone(),
            gap: cross.map_or(0, |cross| cross.gap),
            shuffle_seed: cross.filter(|cross| cross.shuffle).map(|cross| cross.seed.unwrap_or(42)),
            weight: spec.weight.clone(),
            preprocess: spec.preprocess.clone(),
            types: BTreeMap::new(),
        })
    }

    pub(super) fn trainer(&self) -> Result<Arc<dyn Trainer>> {
        self.trainer_with(&self.params)
    }

    /// A trainer with these parameters in place of the recipe's.
    fn trainer_with(&self, params: &BTreeMap<String, ParamValue>) -> Result<Arc<dyn Trainer>> {
        icecore_train::pipeline(&self.preprocess, &self.algorithm, params)
    }

    /// The recipe with these parameters among its own: `STEP.PARAM` is one of a step.
    pub(super) fn with(&self, params: &BTreeMap<String, ParamValue>) -> Result<Self> {
        let mut recipe = self.clone();
        for (name, value) in params {
            let params = match name.split_once('.') {
                None => &mut recipe.params,
                Some((step, _)) => &mut recipe.step(step, name)?.params,
            };
            let name = name.split_once('.').map_or(name.as_str(), |(_, param)| param);
            params.insert(name.to_owned(), value.clone());
        }
        Ok(recipe)
    }

    /// The only step of this name.
    fn step(&mut self, step: &str, param: &str) -> Result<&mut StepSpec> {
        let names: Vec<String> = self.preprocess.iter().map(|step| step.step.clone()).collect();
        let mut found = self.preprocess.iter_mut().filter(|spec| spec.step == step);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(Error::invalid(format!("`{param}` is of a step that is not there"))
                .with_candidates(step, names.iter().map(String::as_str))
                .with_note(format!("steps: {}", names.join(", ")))),
            (Some(_), Some(_)) => {
                Err(Error::invalid(format!("`{param}` is of several steps `{step}`"))
                    .with_help("search the parameters of a step that is there once"))
            }
        }
    }

    /// What to load of the training set at this state, or at the locked one.
    pub(super) fn loads(&self, at: Option<SnapshotSelector>) -> LoadOptions {
        let group = self.ranked_by.clone().or_else(|| self.group.clone());
        let mut options = LoadOptions::default().with_weight(self.weight.clone()).with_group(group);
        if let Some(at) = at {
            options = options.with_at(at);
        }
        if self.folds_by == FoldBy::Time { options.with_moments() } else { options }
    }

    /// What the model will give.
    pub(super) fn output(&self) -> OutputKind {
        let numbers =
            ["linear_regression", "ridge", "lasso", "elastic_net", "knn_regressor", "svr"];
        if numbers.contains(&self.algorithm.as_str()) {
            return OutputKind::Value;
        }
        match self.params.get("objective").map(ToString::to_string).as_deref() {
            Some("multiclass") => OutputKind::Classes,
            Some("squared" | "absolute" | "quantile" | "poisson" | "lambdarank") => {
                OutputKind::Value
            }
            _ => OutputKind::Probability,
        }
    }

    /// What is measured where nobody says.
    pub(super) fn measure(&self) -> Measure {
        match self.params.get("objective").map(ToString::to_string).as_deref() {
            Some("lambdarank") => Measure::Ndcg(self.ndcg_at()),
            Some("quantile") => Measure::QuantileLoss(self.alpha()),
            Some("absolute") => Measure::Mae,
            Some("poisson") => Measure::PoissonDeviance,
            _ => Measure::usual(self.output()),
        }
    }

    /// The quantile of the objective and of its loss.
    fn alpha(&self) -> f64 {
        self.params.get("alpha").and_then(ParamValue::as_float).unwrap_or(0.5)
    }

    /// The measure of this name, of the quantile or the first rows that the parameters say.
    pub(super) fn measure_named(&self, name: &str) -> Result<Measure> {
        Ok(match Measure::named(name, self.alpha())? {
            Measure::Ndcg(_) => Measure::Ndcg(self.ndcg_at()),
            other => other,
        })
    }

    /// How many first rows of a query count.
    fn ndcg_at(&self) -> usize {
        let at = self.params.get("ndcg_at").and_then(ParamValue::as_int);
        at.and_then(|at| usize::try_from(at).ok()).unwrap_or(10)
    }

    /// Whether the model orders the rows of each query.
    pub(super) fn ranks(&self) -> bool {
        self.params.get("objective").is_some_and(|name| name.to_string() == "lambdarank")
    }

    /// Whether a training is cross-validated.
    pub(super) fn is_cross_validated(&self) -> bool {
        self.folds > 1 || self.folds == 1 && self.folds_by == FoldBy::Time
    }

    /// The folds of cross-validation: with each class alike often where there are some, or by groups
    /// or time, where the definition says so.
    pub(super) fn splits(&self, loaded: &LoadedSet) -> Result<Vec<Split>> {
        let set = &loaded.set;
        let folds = if self.is_cross_validated() { self.folds } else { FOLDS };
        match (self.folds_by, set.groups(), &loaded.moments) {
            (FoldBy::Row, Some(groups), _) if self.ranked_by.is_some() => {
                return split::group_k_fold(groups, folds);
            }
            (FoldBy::Group, Some(groups), _) => return split::group_k_fold(groups, folds),
            (FoldBy::Time, _, Some(moments)) => {
                return split::time_series_split(moments, set.row_ids(), folds, self.gap);
            }
            _ => {}
        }
        match (self.output(), self.shuffle_seed) {
            (OutputKind::Value, seed) => {
                split::k_fold(set.row_ids(), folds, seed.unwrap_or(self.split_seed))
            }
            (_, Some(seed)) => split::stratified_k_fold_shuffled(set, folds, seed),
            _ => split::stratified_k_fold(set, folds),
        }
    }

    /// The rows to learn from and those that validate, if some do: as the set itself says, else by
    /// the hash of their ids.
    pub(super) fn held_out(
        &self,
        loaded: &LoadedSet,
    ) -> Result<Option<(TrainingSet, TrainingSet)>> {
        let (set, validation) = (&loaded.set, loaded.validation.as_ref());
        if self.validation <= 0.0 {
            return Ok(None);
        }
        if let Some(validation) = validation {
            return divided(validation)?.apply(set).map(Some);
        }
        // The rows of a query stay together.
        let groups = set.groups().filter(|_| self.ranked_by.is_some());
        let ids = groups.unwrap_or(set.row_ids());
        split::train_validation(ids, self.validation, self.split_seed)?.apply(set).map(Some)
    }

    fn stops_early(&self) -> bool {
        let rounds = self.params.get("early_stopping_rounds").and_then(ParamValue::as_int);
        rounds.is_some_and(|rounds| rounds > 0)
    }

    /// Why the rows have to be in memory, if they do: else they can be read from their table.
    pub(super) fn needs_memory(&self) -> Option<&'static str> {
        if self.algorithm != "gbdt" {
            Some("only `gbdt` learns from rows that it reads part by part")
        } else if !self.preprocess.is_empty() {
            Some("steps of preprocessing are fitted to all rows at once")
        } else if self.is_cross_validated() {
            Some("cross-validation takes rows apart as it needs them")
        } else {
            None
        }
    }

    /// The model on all rows. Where learning stops early, it has as many rounds as `watched`, the
    /// one that was stopped by the rows that validate.
    pub(super) fn final_model(
        &self,
        rows: &Rows,
        watched: Option<&dyn Model>,
    ) -> Result<Arc<dyn Model>> {
        let rounds = watched.filter(|_| self.stops_early()).and_then(Model::rounds);
        let Some(rounds) = rounds else { return self.trainer()?.fit_source(rows.source(), None) };
        let mut params = self.params.clone();
        params.insert("n_estimators".to_owned(), ParamValue::Int(rounds.max(1) as i64));
        params.insert("early_stopping_rounds".to_owned(), ParamValue::Int(0));
        self.trainer_with(&params)?.fit_source(rows.source(), None)
    }

    /// The model that this recipe makes of these rows, from the beginning.
    pub(super) fn model(&self, rows: &Rows) -> Result<Arc<dyn Model>> {
        let mut watched = None;
        if self.stops_early() {
            rows.divide(self, &mut |training, held_out| {
                watched = Some(self.trainer()?.fit_source(training, Some(held_out))?);
                Ok(())
            })?;
        }
        self.final_model(rows, watched.as_deref())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            algorithm: "gbdt".to_owned(),
            params: BTreeMap::new(),
            validation: 0.0,
            split_seed: 0,
            folds: 0,
            folds_by: FoldBy::Row,
            group: None,
            ranked_by: None,
            gap: 0,
            shuffle_seed: None,
            weight: None,
            preprocess: Vec::new(),
            types: BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_usually_measured_is_what_the_objective_minimizes() {
        let mut recipe = recipe();
        assert_eq!(recipe.measure(), Measure::RocAuc);
        recipe.params.insert("alpha".to_owned(), ParamValue::Float(0.9));
        for (objective, expected) in [
            ("multiclass", Measure::LogLoss),
            ("squared", Measure::Rmse),
            ("absolute", Measure::Mae),
            ("quantile", Measure::QuantileLoss(0.9)),
            ("poisson", Measure::PoissonDeviance),
            ("lambdarank", Measure::Ndcg(10)),
        ] {
            recipe.params.insert("objective".to_owned(), objective.into());
            assert_eq!(recipe.measure(), expected);
        }
    }

    #[test]
    fn a_parameter_may_be_one_of_a_step() {
        let mut recipe = recipe();
        recipe.preprocess = vec![StepSpec::new("scale", BTreeMap::new())];
        let given = |name: &str| BTreeMap::from([(name.to_owned(), "robust".into())]);
        let with = recipe.with(&given("scale.method")).unwrap();
        assert_eq!(with.preprocess[0].params, given("method"));
        assert!(with.params.is_empty() && recipe.preprocess[0].params.is_empty());
        assert_eq!(recipe.with(&given("method")).unwrap().params, given("method"));
        let error = recipe.with(&given("scael.method")).unwrap_err();
        assert_eq!(error.to_string(), "`scael.method` is of a step that is not there");
        assert_eq!(error.help(), Some("did you mean `scale`?"));
        recipe.preprocess.push(StepSpec::new("scale", BTreeMap::new()));
        assert!(recipe.with(&given("scale.method")).is_err());
    }

    #[test]
    fn a_measure_that_is_named_takes_its_parameter_from_the_recipe() {
        let mut recipe = recipe();
        assert_eq!(recipe.measure_named("ndcg").unwrap(), Measure::Ndcg(10));
        recipe.params.insert("ndcg_at".to_owned(), ParamValue::Int(3));
        recipe.params.insert("alpha".to_owned(), ParamValue::Float(0.9));
        assert_eq!(recipe.measure_named("ndcg").unwrap(), Measure::Ndcg(3));
        assert_eq!(recipe.measure_named("quantile_loss").unwrap(), Measure::QuantileLoss(0.9));
        assert_eq!(recipe.measure_named("map").unwrap(), Measure::Map);
        assert!(recipe.measure_named("nope").is_err());
    }
}
