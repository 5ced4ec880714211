//! Training: from a lock to a registered model, with everything recorded that rebuilds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::Array;
use bytes::Bytes;
use icecore_core::{
    ArtifactStore, Error, Model, ModelRegistry, ModelVersion, NewRun, ParamValue, PinnedTable,
    Result, RunEntries, RunId, RunStatus, RunTracker, SnapshotCatalog, SnapshotSelector, Trainer,
    TrainingSet,
};
use icecore_dataset::{DatasetSpec, LoadOptions, LoadedSet, Lock, lockfile_path};
use icecore_train::{cross_validate, decode_model, metrics, model_hash, split};
use serde::{Deserialize, Serialize};

use crate::Project;

/// The path of a model's file among its run's artifacts.
const MODEL_FILE: &str = "model/model.icm";
/// The path of the training set's lock among a run's artifacts.
const LOCK_FILE: &str = "dataset.lock.toml";
/// The path of the parameters, the split and the folds among a run's artifacts.
const RECIPE_FILE: &str = "recipe.json";

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
    /// How much each feature counts, greatest first.
    pub importance: Vec<(String, f64)>,
}

/// What became of building a run's model again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReproduceReport {
    /// The run.
    pub run_id: RunId,
    /// Whether the model's bytes are equal.
    pub equal: bool,
    /// The training set's content hash that the run recorded.
    pub content_hash: String,
    /// SHA-256 of the model's file, built again.
    pub model_hash: String,
    /// SHA-256 of the model's file that the run recorded.
    pub recorded_hash: String,
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
        let (spec, path) = self.training(name)?;
        let lock = Lock::read(&lockfile_path(&path)).map_err(|error| {
            error.with_help(format!("build the training set first: `icecore dataset build {name}`"))
        })?;
        let mut options = LoadOptions::default();
        if let Some(selector) = at {
            options = options.with_at(selector.clone());
        }
        let loaded = self.load_set(&lock, options).await?;
        let recipe = Recipe::of(&spec)?;
        let run_name = format!("{name}-{}-snapshot-{}", recipe.algorithm, loaded.pin.snapshot);
        let run = NewRun::new(spec.experiment(), run_name)
            .with_inputs(loaded.set.provenance().to_vec())
            .with_tag("icecore.dataset", spec.name.clone());
        let run = self.tracker().start(run).await?;
        let training = Training { spec, lock, loaded, recipe };
        let outcome = self.fit_and_register(&run, training).await;
        let status = if outcome.is_ok() { RunStatus::Finished } else { RunStatus::Failed };
        let finished = self.tracker().finish(&run, status).await;
        // Why the training failed matters more than that its record could not be closed.
        let report = outcome?;
        finished.map(|()| report)
    }

    async fn load_set(&self, lock: &Lock, options: LoadOptions) -> Result<LoadedSet> {
        let loaded = icecore_dataset::load(self.engine(), lock, options).await?;
        if loaded.set.rows() == 0 {
            return Err(Error::invalid(format!("`{}` has no row with a label", loaded.pin)));
        }
        Ok(loaded)
    }

    async fn fit_and_register(&self, run: &RunId, training: Training) -> Result<TrainReport> {
        let trainer = training.recipe.trainer()?;
        let params = self.run_params(&training, &*trainer).await?;
        self.tracker().log(run, RunEntries { params, ..RunEntries::default() }).await?;
        self.keep_sources(run, &training).await?;

        let Training { spec, loaded, recipe, .. } = training;
        let set = loaded.set;
        let fitted = tokio::task::spawn_blocking(move || fit(&recipe, &*trainer, &set))
            .await
            .map_err(|error| Error::internal("training stopped").with_source(error))??;
        let metrics = fitted.metrics.clone();
        self.tracker().log(run, RunEntries { metrics, ..RunEntries::default() }).await?;
        let version = self.register(run, &spec, &fitted).await?;
        Ok(TrainReport {
            run_id: run.clone(),
            model: version.model,
            version: version.version,
            model_hash: version.hash,
            dataset: loaded.pin,
            rows: fitted.rows,
            metrics: fitted.metrics,
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
        let name = spec.model.as_ref().map_or(spec.name.as_str(), |model| model.name.as_str());
        self.tracker().register(name, run, MODEL_FILE, &fitted.hash).await
    }

    async fn run_params(
        &self,
        training: &Training,
        trainer: &dyn Trainer,
    ) -> Result<BTreeMap<String, String>> {
        let Training { spec, lock, loaded, recipe } = training;
        let pin = &loaded.pin;
        let history = self.catalog().history(&pin.table).await?;
        let committed = history.iter().find(|snapshot| snapshot.id == pin.snapshot);
        let mut params = trainer.params();
        let mut add = |name: &str, value: String| params.insert(name.to_owned(), value);
        add("algorithm", recipe.algorithm.clone());
        add("training_table", pin.table.to_string());
        add("training_data_table", pin.table.to_string());
        add("training_data_snapshot_id", pin.snapshot.to_string());
        add("training_data_version", pin.snapshot.to_string());
        add("training_data_row_count", loaded.set.rows().to_string());
        add("training_data_unlabelled_count", loaded.unlabelled.to_string());
        if *pin == lock.materialized {
            add("training_data_content_hash", lock.content_hash.clone());
        }
        if let Some(committed) = committed {
            add("training_data_timestamp", committed.committed_at.to_string());
        }
        if let (Some(first), Some(last)) = (loaded.first_moment, loaded.last_moment) {
            add("training_start_date", first.date().to_string());
            add("training_end_date", last.date().to_string());
        }
        if let Some(version) = &spec.feature_set_version {
            add("feature_set_version", version.clone());
        }
        for view in &lock.plan.views {
            add(&format!("definition_hash.{}", view.name), view.definition_hash.clone());
        }
        add("split_validation", recipe.validation.to_string());
        add("split_seed", recipe.split_seed.to_string());
        add("cv_folds", recipe.folds.to_string());
        add("code_version", self.code_version().to_owned());
        add(
            "library_versions",
            format!("icecore {}, arrow {}", env!("CARGO_PKG_VERSION"), arrow::ARROW_VERSION),
        );
        add("platform", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
        Ok(params)
    }

    /// Reads a registered model and checks that its bytes are those that were registered.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` if they are not.
    pub async fn load_model(&self, version: &ModelVersion) -> Result<Arc<dyn Model>> {
        let file = self.artifacts().get(&version.run, &version.artifact).await?;
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

    /// Trains a run's model again, from the pins and parameters that it recorded, and compares the
    /// bytes (C28, C63). Nothing is recorded.
    ///
    /// # Errors
    ///
    /// `NotFound` if the run, its lock or its data is gone.
    pub async fn reproduce(&self, run: &RunId) -> Result<ReproduceReport> {
        let recorded = self.tracker().get(run).await?;
        let missing = |error: Error| {
            error.with_note(format!("run `{run}` is `{}`: it trained no model", recorded.name))
        };
        let lock = self.artifacts().get(run, LOCK_FILE).await.map_err(missing)?;
        let lock = Lock::parse(LOCK_FILE, &String::from_utf8_lossy(&lock))?;
        let recipe = self.artifacts().get(run, RECIPE_FILE).await.map_err(missing)?;
        let recipe: Recipe = serde_json::from_slice(&recipe).map_err(|error| {
            Error::corrupt(format!("the recipe of run `{run}` cannot be read")).with_source(error)
        })?;
        let recorded_hash =
            model_hash(&self.artifacts().get(run, MODEL_FILE).await.map_err(missing)?);
        let snapshot = recorded
            .params
            .get("training_data_snapshot_id")
            .ok_or_else(|| missing(Error::not_found("the run names no training data")))?;
        let options = LoadOptions::default().with_at(SnapshotSelector::parse(snapshot)?);
        let loaded = self.load_set(&lock, options).await?;
        let trainer = recipe.trainer()?;
        let bytes = tokio::task::spawn_blocking(move || trainer.fit(&loaded.set)?.encode())
            .await
            .map_err(|error| Error::internal("training stopped").with_source(error))??;
        let model_hash = model_hash(&bytes);
        Ok(ReproduceReport {
            run_id: run.clone(),
            equal: model_hash == recorded_hash,
            content_hash: lock.content_hash,
            model_hash,
            recorded_hash,
        })
    }
}

/// Everything that a training reads.
struct Training {
    spec: DatasetSpec,
    lock: Lock,
    loaded: LoadedSet,
    recipe: Recipe,
}

/// What decides a model besides its rows. It is kept with the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Recipe {
    algorithm: String,
    params: BTreeMap<String, ParamValue>,
    validation: f64,
    split_seed: u64,
    folds: usize,
}

impl Recipe {
    fn of(spec: &DatasetSpec) -> Result<Self> {
        let model = spec.model.as_ref().ok_or_else(|| {
            Error::invalid(format!("`{}` does not say what to train", spec.name))
                .with_help("add a `[model]` table with a name and an algorithm to its file")
        })?;
        Ok(Self {
            algorithm: model.algorithm.clone(),
            params: model.params.clone(),
            validation: spec.split.map_or(0.0, |split| split.validation),
            split_seed: spec.split.map_or(0, |split| split.seed),
            folds: spec.cross_validation.map_or(0, |validation| validation.folds),
        })
    }

    fn trainer(&self) -> Result<Arc<dyn Trainer>> {
        icecore_train::trainer(&self.algorithm, &self.params)
    }
}

/// What a fit gives.
struct Fitted {
    file: Bytes,
    hash: String,
    rows: usize,
    metrics: BTreeMap<String, f64>,
    signature: serde_json::Value,
    input_example: serde_json::Value,
    importance: Vec<(String, f64)>,
}

/// Validation split, cross-validation, and the final fit on all rows.
fn fit(recipe: &Recipe, trainer: &dyn Trainer, set: &TrainingSet) -> Result<Fitted> {
    let mut scores = BTreeMap::new();
    scores.insert("training_row_count".to_owned(), set.rows() as f64);
    let positives = set.labels().values().iter().filter(|label| **label > 0.5).count();
    scores.insert("positive_class_rate".to_owned(), positives as f64 / set.rows() as f64);

    if recipe.validation > 0.0 {
        let split = split::train_validation(set.row_ids(), recipe.validation, recipe.split_seed)?;
        let (training, held_out) = split.apply(set)?;
        scores.extend(validate(&*trainer.fit(&training)?, &held_out)?);
    }
    if recipe.folds > 1 {
        let validated = cross_validate(trainer, set, recipe.folds)?;
        scores.insert("cv_auc_mean".to_owned(), validated.mean);
        scores.insert("cv_auc_std".to_owned(), validated.std);
    }
    let model = trainer.fit(set)?;
    let file = Bytes::from(model.encode()?);
    let signature = serde_json::to_value(model.signature())
        .map_err(|error| Error::internal("cannot write the signature").with_source(error))?;
    let names = model.signature().inputs.iter().map(|column| column.name.clone());
    let mut importance: Vec<_> = names.zip(model.importance()).collect();
    importance.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(Fitted {
        hash: model_hash(&file),
        file,
        rows: set.rows(),
        metrics: scores,
        signature,
        input_example: crate::rows::to_json(&set.features().slice(0, set.rows().min(5)))?,
        importance,
    })
}

fn validate(model: &dyn Model, held_out: &TrainingSet) -> Result<BTreeMap<String, f64>> {
    use arrow::array::AsArray;
    let scores = model.predict(held_out.features())?;
    let scores = scores
        .as_primitive_opt::<arrow::datatypes::Float64Type>()
        .ok_or_else(|| Error::internal(format!("the model gave {}", scores.data_type())))?
        .values();
    let labels = held_out.labels().values();
    let measured = [
        ("val_auc_roc", metrics::roc_auc(labels, scores)),
        ("val_auc_pr", metrics::pr_auc(labels, scores)),
        ("val_log_loss", metrics::log_loss(labels, scores)),
        ("val_brier", metrics::brier(labels, scores)),
        ("val_row_count", Some(held_out.rows() as f64)),
    ];
    // A metric that is not defined, such as an AUC of one class, is not recorded.
    let defined = measured.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Ok(defined.collect())
}
