//! Training: from a lock to a registered model, with everything recorded that rebuilds it.

mod children;
mod classes;
mod environment;
mod evaluation;
mod fit;
mod pictures;
mod recipe;
mod reproduce;
mod rows;
mod search;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use icecore_core::{
    ArtifactStore, Error, Model, ModelRegistry, ModelVersion, NewRun, PinnedTable, Result,
    RunEntries, RunId, RunStatus, RunTracker, SnapshotCatalog, SnapshotSelector, Trainer,
};
use icecore_dataset::{DatasetSpec, LoadOptions, Lock, lockfile_path};
use icecore_monitor::{Profile, ProfileOptions};
use icecore_train::{decode_model, model_hash};
use serde::Serialize;

use crate::Project;
use crate::project::monitors::FEATURES_FILE;
use children::Parent;
use environment::environment;
use fit::{Fitted, fit};
use recipe::Recipe;
use rows::Rows;

pub use reproduce::{ReproduceOptions, ReproduceReport, RowsProof};

/// The path of a model's file among its run's artifacts.
pub(crate) const MODEL_FILE: &str = "model/model.icm";
/// The path of the training set's lock among a run's artifacts.
pub(crate) const LOCK_FILE: &str = "dataset.lock.toml";
/// The path of the parameters, the split and the folds among a run's artifacts.
const RECIPE_FILE: &str = "recipe.json";

/// How to train.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TrainOptions {
    /// Another version of the training set's table than the locked one.
    pub at: Option<SnapshotSelector>,
    /// Whether rows stay in their table, however few they are: they are read part by part, and no
    /// more of them is in memory than a byte for each value. The model is the same.
    pub streams: bool,
}

impl TrainOptions {
    /// Trains on this version of the training set's table.
    #[must_use]
    pub fn with_at(mut self, at: Option<SnapshotSelector>) -> Self {
        self.at = at;
        self
    }

    /// Says whether rows must stay in their table.
    #[must_use]
    pub const fn with_streams(mut self, streams: bool) -> Self {
        self.streams = streams;
        self
    }
}

/// What a training did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainReport {
    /// The run that recorded it.
    pub run_id: RunId,
    /// The registered model's name.
    pub model: String,
    /// The version that it was registered as.
    pub version: u32,
    /// SHA-256 of the model's file.
    pub model_hash: String,
    /// The training set's state.
    pub dataset: PinnedTable,
    /// Rows with a label.
    pub rows: usize,
    /// Metrics by name.
    pub metrics: BTreeMap<String, f64>,
    /// How much each feature counts, greatest first; all zeros where none does.
    pub importance: Vec<(String, f64)>,
    /// What makes the model one that nobody wants, though it was trained as asked.
    pub warnings: Vec<String>,
}

/// What to say of a model by how much its features count.
fn warnings(dataset: &str, importance: &[(String, f64)]) -> Vec<String> {
    let says_nothing = !importance.is_empty() && importance.iter().all(|(_, share)| *share == 0.0);
    let warning = format!(
        "the model gives every row the same prediction, for no feature says anything of the label: \
         `icecore dataset build {dataset}` says how many rows have features"
    );
    says_nothing.then_some(warning).into_iter().collect()
}

impl Project {
    /// Trains on the locked training set, or on another version of its table, and registers the
    /// model (C22-C28, C51-C63).
    ///
    /// # Errors
    ///
    /// `NotFound` if the training set was not built; `InvalidInput` for rows or parameters that
    /// the algorithm cannot use. The run is then recorded as failed.
    pub async fn train(&self, name: &str, at: Option<&SnapshotSelector>) -> Result<TrainReport> {
        self.train_opts(name, TrainOptions { at: at.cloned(), ..TrainOptions::default() }).await
    }

    /// As [`Self::train`], with options.
    ///
    /// # Errors
    ///
    /// As [`Self::train`]; `InvalidInput` if rows cannot be streamed that must be.
    pub async fn train_opts(&self, name: &str, options: TrainOptions) -> Result<TrainReport> {
        let (spec, path) = self.training(name)?;
        let lock = Lock::read(&lockfile_path(&path)).map_err(|error| {
            error.with_help(format!("build the training set first: `icecore dataset build {name}`"))
        })?;
        let mut recipe = Recipe::of(&spec)?;
        let memory = match &spec.search {
            Some(_) => Some("a search cross-validates"),
            None => recipe.needs_memory(),
        };
        if let (true, Some(why)) = (options.streams, memory) {
            return Err(Error::invalid(format!("`{name}` cannot be streamed: {why}"))
                .with_help("train it without `--stream`"));
        }
        let options = (recipe.loads(options.at), (options.streams, memory.is_none()));
        let (rows, learned) = self.rows(&lock, options).await?;
        rows.types().clone_into(&mut recipe.types);
        let run_name = format!("{name}-{}-snapshot-{}", recipe.algorithm, rows.pin().snapshot);
        let run = NewRun::new(spec.experiment(), run_name)
            .with_inputs(rows.source().provenance().to_vec())
            .with_tag("icecore.dataset", spec.name.clone());
        let run = self.tracker().start(run).await?;
        let training = Training { spec, lock, rows, learned, recipe };
        let outcome = self.fit_and_register(&run, training).await;
        let status = if outcome.is_ok() { RunStatus::Finished } else { RunStatus::Failed };
        let finished = self.tracker().finish(&run, status).await;
        // Why the training failed matters more than that its record could not be closed.
        let report = outcome?;
        finished.map(|()| report)
    }

    /// The rows of a training and their statistics. They stay in their table where they must, or
    /// where they can and are many.
    async fn rows(
        &self,
        lock: &Lock,
        (options, (must_stream, can_stream)): (LoadOptions, (bool, bool)),
    ) -> Result<(Rows, Profile)> {
        let engine = self.engine();
        let is_large = can_stream
            && icecore_dataset::size(engine, lock, &options).await? >= rows::STREAMED_FROM;
        let mut profile: Option<Profile> = None;
        let mut add = |features: &RecordBatch| match &mut profile {
            Some(profile) => profile.add(features),
            None => {
                profile = Some(Profile::of(features, &ProfileOptions::default())?);
                Ok(())
            }
        };
        let rows = if must_stream || is_large {
            Rows::Streamed(icecore_dataset::open(engine, lock, &options, add).await?)
        } else {
            let loaded = icecore_dataset::load(engine, lock, options).await?;
            add(loaded.set.features())?;
            Rows::Loaded(Box::new(loaded))
        };
        if rows.count() == 0 {
            return Err(Error::invalid(format!("`{}` has no row with a label", rows.pin())));
        }
        Ok((rows, profile.unwrap_or_default()))
    }

    async fn fit_and_register(&self, run: &RunId, mut training: Training) -> Result<TrainReport> {
        training.check_classes().await?;
        let parent = Parent {
            run: run.clone(),
            experiment: training.spec.experiment(),
            dataset: training.spec.name.clone(),
            inputs: training.rows.source().provenance().to_vec(),
        };
        let failed = match training.spec.search.clone() {
            Some(search) => self.search(&parent, &mut training, search).await?,
            None => None,
        };
        let trainer = training.recipe.trainer()?;
        let params = self.run_params(&training, &*trainer).await?;
        self.tracker().log(run, RunEntries { params, ..RunEntries::default() }).await?;
        self.keep_sources(run, &training).await?;

        let Training { spec, rows, learned, recipe, .. } = training;
        self.keep_profile(run, FEATURES_FILE, &learned).await;
        let pin = rows.pin().clone();
        let fitted = self.with_children(&parent, move |tell| fit(&recipe, &rows, tell)).await?;
        let metrics = fitted.metrics.clone();
        self.tracker().log(run, RunEntries { metrics, ..RunEntries::default() }).await?;
        let version = self.register(run, &spec, &fitted).await?;
        Ok(TrainReport {
            run_id: run.clone(),
            model: version.model,
            version: version.version,
            model_hash: version.hash,
            dataset: pin,
            rows: fitted.rows,
            metrics: fitted.metrics,
            warnings: failed.into_iter().chain(warnings(&spec.name, &fitted.importance)).collect(),
            importance: fitted.importance,
        })
    }

    /// Keeps with the run what it takes to do it again: the lock and the recipe.
    async fn keep_sources(&self, run: &RunId, training: &Training) -> Result<()> {
        let recipe = serde_json::to_vec_pretty(&training.recipe)
            .map_err(|error| Error::internal("cannot write the recipe").with_source(error))?;
        let store = self.artifacts();
        store.put(run, RECIPE_FILE, Bytes::from(recipe)).await?;
        store.put(run, LOCK_FILE, Bytes::from(training.lock.to_toml()?)).await
    }

    async fn register(
        &self,
        run: &RunId,
        spec: &DatasetSpec,
        fitted: &Fitted,
    ) -> Result<ModelVersion> {
        let json = |value: &serde_json::Value| Bytes::from(format!("{value:#}\n"));
        let store = self.artifacts();
        store.put(run, MODEL_FILE, fitted.file.clone()).await?;
        store.put(run, "model/signature.json", json(&fitted.signature)).await?;
        store.put(run, "model/input_example.json", json(&fitted.input_example)).await?;
        store
            .put(run, "model/importance.json", json(&serde_json::json!(fitted.importance)))
            .await?;
        for (path, text) in &fitted.files {
            store.put(run, path, Bytes::from(text.clone())).await?;
        }
        let name = spec.model.as_ref().map_or(spec.name.as_str(), |model| model.name.as_str());
        self.tracker().register(name, run, MODEL_FILE, &fitted.hash).await
    }

    async fn run_params(
        &self,
        training: &Training,
        trainer: &dyn Trainer,
    ) -> Result<BTreeMap<String, String>> {
        let Training { spec, lock, rows, recipe, .. } = training;
        let pin = rows.pin();
        let content_hash = match *pin == lock.materialized {
            true => lock.content_hash.clone(),
            false => icecore_dataset::digest(self.engine(), lock, pin).await?.content_hash,
        };
        let history = self.catalog().history(&pin.table).await?;
        let committed = history.iter().find(|snapshot| snapshot.id == pin.snapshot);
        let mut params = trainer.params();
        let mut add = |name: &str, value: String| params.insert(name.to_owned(), value);
        add("algorithm", recipe.algorithm.clone());
        add("training_table", pin.table.to_string());
        add("training_data_table", pin.table.to_string());
        add("training_data_snapshot_id", pin.snapshot.to_string());
        add("training_data_version", pin.snapshot.to_string());
        add("training_data_row_count", rows.count().to_string());
        add("training_data_unlabelled_count", rows.unlabelled().to_string());
        add("training_data_content_hash", content_hash);
        if let Some(committed) = committed {
            add("training_data_timestamp", committed.committed_at.to_string());
        }
        if let (Some(first), Some(last)) = rows.moments() {
            add("training_start_date", first.date().to_string());
            add("training_end_date", last.date().to_string());
        }
        if let Some(version) = &spec.feature_set_version {
            add("feature_set_version", version.clone());
        }
        for view in &lock.plan.views {
            add(&format!("definition_hash.{}", view.view()), view.definition_hash.clone());
        }
        add("split_validation", recipe.validation.to_string());
        add("split_seed", recipe.split_seed.to_string());
        add("cv_folds", recipe.folds.to_string());
        if let Some(group) = &recipe.ranked_by {
            add("group", group.clone());
        }
        if let Some(weight) = &recipe.weight {
            add("weight", weight.clone());
        }
        add("code_version", self.code_version().to_owned());
        for (name, value) in environment() {
            add(name, value);
        }
        Ok(params)
    }

    /// Reads a registered model and checks that its bytes are those that were registered.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` if they are not.
    pub async fn load_model(&self, version: &ModelVersion) -> Result<Arc<dyn Model>> {
        load_registered(self.artifacts(), version).await
    }

    /// The lock of the training set that a run learned from, as it was then.
    ///
    /// # Errors
    ///
    /// `NotFound` if the run kept none.
    pub async fn run_lock(&self, run: &RunId) -> Result<Lock> {
        let lock = self.artifacts().get(run, LOCK_FILE).await?;
        Lock::parse(LOCK_FILE, &String::from_utf8_lossy(&lock))
    }
}

/// Everything that a training reads.
struct Training {
    spec: DatasetSpec,
    lock: Lock,
    rows: Rows,
    /// What the features are like.
    learned: Profile,
    recipe: Recipe,
}

/// Loads a registered version's model, and checks that it is the one that was registered.
pub(crate) async fn load_registered(
    artifacts: &icecore_tracking::FileArtifacts,
    version: &ModelVersion,
) -> Result<Arc<dyn Model>> {
    let file = artifacts.get(&version.run, &version.artifact).await?;
    let hash = model_hash(&file);
    if hash != version.hash {
        return Err(Error::corrupt(format!(
            "the file of model `{}` version {} is not the one that was registered",
            version.model, version.version
        ))
        .with_note(format!("registered {}, found {hash}", version.hash))
        .with_help(format!("rebuild it with `icecore reproduce {}`", version.run)));
    }
    decode_model(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_learned_nothing_is_warned_of() {
        let of = |shares: &[f64]| {
            let shares = shares.iter().map(|share| ("a".to_owned(), *share));
            warnings("churn", &shares.collect::<Vec<_>>())
        };
        assert!(of(&[0.0, 0.0])[0].contains("`icecore dataset build churn`"));
        // Some algorithms do not tell.
        assert!(of(&[]).is_empty() && of(&[1.0, 0.0]).is_empty());
    }
}
