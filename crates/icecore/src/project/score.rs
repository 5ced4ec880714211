//! Scoring and materialization, with the audit run that records them.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use bytes::Bytes;
use icecore_core::{
    ArtifactStore, Date, Error, ErrorKind, ModelRegistry, ModelSelector, NewRun, Result,
    RunEntries, RunId, RunStatus, RunTracker,
};
use icecore_score::{
    ExplainedInput, MaterializeOptions, MaterializeReport, ModelUri, ScoreJob, ScorePlan,
    ScoreProgress, ScoreReport, ScoringModel, ScoringSpec,
};
use serde::Serialize;
use serde_json::Value;

use crate::Project;
use crate::project::monitors::{FEATURES_FILE, PREDICTIONS_FILE};

/// The path of what was read, among a scoring run's artifacts.
pub(crate) const PLAN_FILE: &str = "scoring/plan.json";
/// The path of what was done, among a scoring run's artifacts.
const REPORT_FILE: &str = "scoring/report.json";

/// How to score.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ScoreOptions {
    /// The date to score; absent means the newest that the features have.
    pub date: Option<Date>,
    /// Scores again what is there already.
    pub force: bool,
    /// Called as rows pass.
    pub progress: Option<ScoreProgress>,
}

impl ScoreOptions {
    /// Scores this date.
    #[must_use]
    pub const fn with_date(mut self, date: Option<Date>) -> Self {
        self.date = date;
        self
    }

    /// Scores again what is there already.
    #[must_use]
    pub const fn with_force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Calls this as rows pass.
    #[must_use]
    pub fn with_progress(mut self, progress: ScoreProgress) -> Self {
        self.progress = Some(progress);
        self
    }
}

/// What a scoring did, and which run recorded it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredRun {
    /// The audit run.
    pub run_id: RunId,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub model_version: u32,
    /// Whether rows were written; otherwise the table held the same predictions already, made by
    /// the run.
    pub changed: bool,
    /// What was done.
    pub report: ScoreReport,
}

/// A stored prediction with the features that produced it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedScore {
    /// The stored row.
    pub stored: Value,
    /// The run that wrote it.
    pub run_id: RunId,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub model_version: u32,
    /// The date that was scored.
    pub date: Date,
    /// The tables that were read, at the states that were read.
    pub sources: Vec<String>,
    /// The prediction, computed again from the features below; absent where there is none to make.
    pub prediction: Option<f64>,
    /// Whether that is the stored one, to the bit.
    pub equal: bool,
    /// The raw score over all training rows, which contributions are added to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<f64>,
    /// What the model read, that which moved the prediction most first.
    pub features: Vec<ExplainedFeature>,
}

/// A feature of an explained prediction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedFeature {
    /// Its name, its view and what it added to the raw score.
    pub name: String,
    /// The view that gave it.
    pub view: Option<String>,
    /// Its value.
    pub value: Value,
    /// What it added to the raw score.
    pub contribution: Option<f64>,
}

/// What the serving cache was filled with, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MaterializedScores {
    /// The store, without secrets.
    pub store: String,
    /// What was done.
    #[serde(flatten)]
    pub report: MaterializeReport,
}

impl Project {
    /// Says what a scoring would read, and with which versions of the models; scores nothing.
    ///
    /// # Errors
    ///
    /// Those of [`score`](Self::score).
    pub async fn plan_score(&self, name: &str, date: Option<Date>) -> Result<ScorePlan> {
        let spec = self.scoring(name)?;
        let models = self.scoring_models(&spec).await?;
        let definitions = self.definitions()?;
        icecore_score::plan(self.engine(), &definitions, &spec, &models, date).await
    }

    /// Scores the entities of a date with the registered model and its challengers and records an
    /// audit run (C77-C84). Predictions of equal models and equal features are not made twice.
    ///
    /// # Errors
    ///
    /// `NotFound` if a model, its alias or the date's features are not there.
    pub async fn score(&self, name: &str, options: ScoreOptions) -> Result<ScoredRun> {
        let spec = self.scoring(name)?;
        let definitions = self.definitions()?;
        let models = self.scoring_models(&spec).await?;
        let date = options.date;
        let plan = icecore_score::plan(self.engine(), &definitions, &spec, &models, date).await?;
        if !options.force
            && let Some(done) = self.scored_before(&spec, &plan).await?
        {
            return Ok(done);
        }
        let new = NewRun::new(format!("/scoring/{name}"), format!("batch-scoring-{}", plan.date))
            .with_inputs(plan.pins.clone())
            .with_tag("icecore.scoring", name);
        let run = self.tracker().start(new).await?;
        let job = ScoreJob {
            spec: &spec,
            definitions: &definitions,
            plan: &plan,
            models: &models,
            run: run.clone(),
            progress: options.progress,
        };
        let outcome = self.score_and_record(job).await;
        let status = if outcome.is_ok() { RunStatus::Finished } else { RunStatus::Failed };
        let finished = self.tracker().finish(&run, status).await;
        let report = outcome?;
        finished?;
        Ok(scored(run, true, report))
    }

    async fn score_and_record(&self, job: ScoreJob<'_>) -> Result<ScoreReport> {
        let (run, plan, spec) = (job.run.clone(), job.plan, job.spec);
        self.artifacts().put(&run, PLAN_FILE, document(plan)?).await?;
        let (report, statistics) = icecore_score::score(self.engine(), job).await?;
        self.keep_profile(&run, FEATURES_FILE, &statistics.features).await;
        self.keep_profile(&run, PREDICTIONS_FILE, &statistics.predictions).await;
        self.artifacts().put(&run, REPORT_FILE, document(&report)?).await?;
        self.audit(&run, spec, (plan, &report)).await?;
        Ok(report)
    }

    /// The champion and its challengers, as the registry has them now.
    async fn scoring_models(&self, spec: &ScoringSpec) -> Result<Vec<ScoringModel>> {
        let challengers = spec.challengers.iter().map(|(name, uri)| (name.clone(), uri));
        let roles = std::iter::once(("champion".to_owned(), &spec.model)).chain(challengers);
        let mut models = Vec::with_capacity(1 + spec.challengers.len());
        for (role, uri) in roles {
            let version = self.tracker().resolve(&uri.name, &uri.selector).await?;
            let model = self.load_model(&version).await?;
            models.push(ScoringModel { role, uri: ModelUri::clone(uri), version, model });
        }
        Ok(models)
    }

    /// The finished run whose predictions of equal models and features the table holds.
    async fn scored_before(
        &self,
        spec: &ScoringSpec,
        plan: &ScorePlan,
    ) -> Result<Option<ScoredRun>> {
        let before = icecore_score::scored_before(self.engine(), spec, plan).await?;
        let Some((run, predictions)) = before else { return Ok(None) };
        match self.tracker().get(&run).await {
            Ok(recorded) if recorded.status == RunStatus::Finished => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let report = match self.artifacts().get(&run, REPORT_FILE).await {
            Ok(report) => serde_json::from_slice::<ScoreReport>(&report),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(mut report) = report else { return Ok(None) };
        report.predictions = predictions;
        Ok(Some(scored(run, false, report)))
    }

    async fn audit(
        &self,
        run: &RunId,
        spec: &ScoringSpec,
        (plan, report): (&ScorePlan, &ScoreReport),
    ) -> Result<()> {
        let mut params = BTreeMap::new();
        let mut metrics = BTreeMap::new();
        let mut add = |name: &str, value: String| params.insert(name.to_owned(), value);
        add("scoring_date", report.date.to_string());
        add("model_uri", spec.model.to_string());
        add("feature_table", report.features.table.to_string());
        add("feature_snapshot_id", report.features.snapshot.to_string());
        add("prediction_snapshot_id", report.predictions.snapshot.to_string());
        add("code_version", self.code_version().to_owned());
        for view in &plan.views {
            add(&format!("definition_hash.{}", view.name), view.definition_hash.clone());
        }
        for model in &report.models {
            let prefix = match model.role.as_str() {
                "champion" => String::new(),
                role => format!("{role}."),
            };
            add(&format!("{prefix}model_version"), model.version.to_string());
            let mut measure =
                |name: &str, value: f64| metrics.insert(format!("{prefix}{name}"), value);
            for (bucket, rows) in &model.buckets {
                measure(&format!("bucket.{bucket}"), *rows as f64);
            }
            for (name, value) in [
                ("avg_churn_probability", model.mean_prediction),
                ("same_bucket_share", model.same_bucket),
                ("mean_distance", model.mean_distance),
            ] {
                if let Some(value) = value {
                    measure(name, value);
                }
            }
        }
        metrics.insert("scored_user_count".to_owned(), report.rows as f64);
        metrics.insert("high_risk_count".to_owned(), report.high_rows as f64);
        metrics.insert("skipped_user_count".to_owned(), report.skipped as f64);
        for (status, rows) in &report.statuses {
            metrics.insert(format!("status.{status}"), *rows as f64);
        }
        self.tracker().log(run, RunEntries { params, metrics, ..RunEntries::default() }).await
    }

    /// The columns of a scoring job's key.
    ///
    /// # Errors
    ///
    /// `NotFound` and `InvalidInput` for definitions that are not there or cannot be read.
    pub fn scoring_keys(&self, name: &str) -> Result<Vec<String>> {
        let spec = self.scoring(name)?;
        let definitions = self.definitions()?;
        let mut keys: Vec<String> = Vec::new();
        for view in spec.views() {
            for key in definitions.join_keys(definitions.view(view)?)? {
                let key = spec.keys.get(&key).cloned().unwrap_or(key);
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        Ok(keys)
    }

    /// Every stored prediction of an entity between two dates, each with the features that
    /// produced it, read from the states that its run read (C114).
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such prediction, or if what it was made from has expired.
    pub async fn explain_scores(
        &self,
        name: &str,
        key: &BTreeMap<String, String>,
        dates: (Option<Date>, Option<Date>),
    ) -> Result<Vec<ExplainedScore>> {
        let spec = self.scoring(name)?;
        let definitions = self.definitions()?;
        let stored = icecore_score::predictions_of(self.engine(), &spec, key, dates).await?;
        if stored.num_rows() == 0 {
            let named = key.iter().map(|(name, value)| format!("{name}={value}"));
            let named = named.collect::<Vec<_>>().join(" ");
            return Err(Error::not_found(format!(
                "`{}` has no prediction for `{named}`",
                spec.table
            ))
            .with_help("name other dates with `--from` and `--to`, or score first"));
        }
        let mut explained = Vec::with_capacity(stored.num_rows());
        for row in 0..stored.num_rows() {
            let stored = stored.slice(row, 1);
            explained.push(self.explain_stored((&spec, &definitions), key, &stored).await?);
        }
        Ok(explained)
    }

    async fn explain_stored(
        &self,
        (spec, definitions): (&ScoringSpec, &icecore_features::Definitions),
        key: &BTreeMap<String, String>,
        stored: &RecordBatch,
    ) -> Result<ExplainedScore> {
        let run = text(stored, "run_id").map(RunId::new).ok_or_else(|| {
            Error::corrupt(format!("a prediction in `{}` does not say its run", spec.table))
        })?;
        let plan = self.artifacts().get(&run, PLAN_FILE).await.map_err(|error| {
            error
                .with_note(format!("run `{run}` kept no plan: its predictions cannot be explained"))
        })?;
        let plan: ScorePlan = serde_json::from_slice(&plan).map_err(|error| {
            Error::corrupt(format!("the plan of run `{run}` cannot be read")).with_source(error)
        })?;
        let planned = plan
            .models
            .first()
            .ok_or_else(|| Error::corrupt(format!("the plan of run `{run}` names no model")))?;
        let selector = ModelSelector::Version(planned.version);
        let version = self.tracker().resolve(&planned.uri.name, &selector).await?;
        let model = self.load_model(&version).await?;
        let found =
            icecore_score::explain_score(self.engine(), definitions, &plan, &*model, key).await?;
        let before = number(stored, &spec.prediction);
        let equal = before.map(f64::to_bits) == found.prediction.map(f64::to_bits);
        let values = first_object(&crate::rows::to_json(&found.row)?);
        let mut features: Vec<ExplainedFeature> =
            found.inputs.into_iter().map(|input| feature(input, &values)).collect();
        let size = |feature: &ExplainedFeature| feature.contribution.map_or(0.0, f64::abs);
        features.sort_by(|a, b| size(b).total_cmp(&size(a)));
        Ok(ExplainedScore {
            stored: first_object(&crate::rows::to_json(stored)?),
            run_id: run,
            model: version.model,
            model_version: version.version,
            date: plan.date,
            sources: plan.pins.iter().map(ToString::to_string).collect(),
            prediction: found.prediction,
            equal,
            expected: found.expected,
            features,
        })
    }

    /// Copies the selected scores to the serving cache (C85).
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no score yet, `Unavailable` if the cache does not answer.
    pub async fn materialize(
        &self,
        name: &str,
        options: MaterializeOptions,
    ) -> Result<MaterializedScores> {
        let spec = self.scoring(name)?;
        let store = self.online().await?;
        let report = icecore_score::materialize(self.engine(), &*store, &spec, options).await?;
        Ok(MaterializedScores { store: store.location().to_owned(), report })
    }
}

fn scored(run_id: RunId, changed: bool, report: ScoreReport) -> ScoredRun {
    let champion = report.models.first();
    let model = champion.map_or_else(String::new, |model| model.model.clone());
    let model_version = champion.map_or(0, |model| model.version);
    ScoredRun { run_id, model, model_version, changed, report }
}

fn document<T: Serialize>(value: &T) -> Result<Bytes> {
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::internal("cannot write a document").with_source(error))?;
    Ok(Bytes::from(bytes))
}

fn feature(input: ExplainedInput, values: &Value) -> ExplainedFeature {
    let value = values.get(&input.name).cloned().unwrap_or(Value::Null);
    let ExplainedInput { name, view, contribution } = input;
    ExplainedFeature { name, view, value, contribution }
}

fn first_object(rows: &Value) -> Value {
    rows.get(0).cloned().unwrap_or(Value::Null)
}

fn text(row: &RecordBatch, column: &str) -> Option<String> {
    let column = row.column_by_name(column)?;
    let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8).ok()?;
    let column = column.as_string::<i32>();
    column.is_valid(0).then(|| column.value(0).to_owned())
}

fn number(row: &RecordBatch, column: &str) -> Option<f64> {
    let column = row.column_by_name(column)?.as_primitive_opt::<Float64Type>()?;
    column.is_valid(0).then(|| column.value(0))
}
