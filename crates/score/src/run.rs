//! Batch scoring: the rows of a plan in, predictions out, one atomic commit.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use icecore_catalog::IcebergCatalog;
use icecore_core::{
    BatchStream, CommitOptions, Date, Error, ErrorKind, NewTable, PinnedTable, Result, RunId,
    SnapshotCatalog, SnapshotInfo, WriteMode,
};
use icecore_engine::Engine;
use icecore_features::Definitions;
use icecore_monitor::{Observed, Profile, ProfileOptions, TableWriteMode, TableWriter};
use serde::{Deserialize, Serialize};

use crate::ScoringSpec;
use crate::plan::{ScorePlan, ScoringModel};
use crate::rows::{Whose, open};
use crate::scorer::{ModelTally, Scorer, Tally, first_pin};

/// Summary field: the scoring job that predictions are of.
pub(crate) const SCORING: &str = "icecore.scoring";
/// Summary field: the date that was scored.
const SCORING_DATE: &str = "icecore.scoring-date";
/// Summary field: what decided every row but the run's id.
const SCORING_JOB: &str = "icecore.scoring-job";
/// Summary field: the run that the predictions belong to.
const RUN_ID: &str = "icecore.run-id";

/// Something to call with the number of rows that are scored so far, from any thread.
#[derive(Clone)]
pub struct ScoreProgress(Arc<dyn Fn(u64) + Send + Sync>);

impl ScoreProgress {
    /// Calls this after each batch.
    pub fn new(callback: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }
}

impl fmt::Debug for ScoreProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScoreProgress")
    }
}

/// What a scoring job works with.
#[derive(Debug)]
pub struct ScoreJob<'a> {
    /// The job's definition.
    pub spec: &'a ScoringSpec,
    /// The project's feature views.
    pub definitions: &'a Definitions,
    /// Which rows it reads.
    pub plan: &'a ScorePlan,
    /// The models that score, the champion first.
    pub models: &'a [ScoringModel],
    /// The run that the predictions belong to.
    pub run: RunId,
    /// Called as rows pass.
    pub progress: Option<ScoreProgress>,
}

/// What a scoring job did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoreReport {
    /// The date that was scored.
    pub date: Date,
    /// The state of the prediction table.
    pub predictions: PinnedTable,
    /// The feature rows of the first view.
    pub features: PinnedTable,
    /// Rows of the prediction table.
    pub rows: u64,
    /// Rows in the highest band.
    pub high_rows: u64,
    /// The mean prediction; absent where nothing was predicted.
    pub mean_prediction: Option<f64>,
    /// How many rows have which state of their features.
    pub statuses: Vec<(String, u64)>,
    /// Entities that got no row because they have no features.
    pub skipped: u64,
    /// What each model said, the champion first.
    pub models: Vec<ModelReport>,
}

/// Statistics of a scoring (C107, C171).
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreStatistics {
    /// What the models read.
    pub features: Profile,
    /// What came of it.
    pub predictions: Profile,
}

/// What one model said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// `champion`, or the challenger's name.
    pub role: String,
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// Rows with a prediction.
    pub predicted: u64,
    /// The mean prediction.
    pub mean_prediction: Option<f64>,
    /// Rows of each band.
    pub buckets: Vec<(String, u64)>,
    /// The share of rows that it puts into the champion's band.
    pub same_bucket: Option<f64>,
    /// The mean distance from the champion's prediction.
    pub mean_distance: Option<f64>,
}

/// Scores the rows of a plan and commits them in place of those of the same date (C77-C84). Batches
/// pass one after the other: memory does not grow with the rows.
///
/// # Errors
///
/// `NotFound` if there is no row to score; `InvalidInput` if a model reads a column that the rows
/// do not have or that has another type, before any row is scored.
pub async fn score(engine: &Engine, job: ScoreJob<'_>) -> Result<(ScoreReport, ScoreStatistics)> {
    let (spec, plan) = (job.spec, job.plan);
    let rows = open(engine, job.definitions, plan, Whose::All).await?;
    let tally = Arc::new(Mutex::new(Tally::default()));
    let scorer =
        Scorer::new((spec, plan), job.models, rows.schema(), job.run.clone(), Arc::clone(&tally))?;
    let schema = Arc::clone(&scorer.schema);
    ensure_table(engine.catalog(), spec, &schema, &plan.keys).await?;

    let options = CommitOptions::new(WriteMode::OverwritePartitions)
        .with_summary(SCORING, &spec.name)
        .with_summary(SCORING_DATE, plan.date.to_string())
        .with_summary(SCORING_JOB, plan.job(spec))
        .with_summary(RUN_ID, job.run.as_str())
        .with_summary("icecore.model", model_names(job.models))
        .with_summary("icecore.sources", serde_json::to_string(&plan.pins).unwrap_or_default());
    let (progress, counted) = (job.progress, Arc::clone(&tally));
    let inputs = job.models.iter().flat_map(|model| &model.model.signature().inputs);
    let inputs = ProfileOptions::default().with_columns(inputs.map(|input| input.name.clone()));
    let features = Observed::new(rows.schema(), &inputs);
    let private = plan.keys.iter().cloned().chain(["run_id".to_owned()]);
    let private = ProfileOptions::default().with_private(private);
    let statistics = TableWriter::new(engine.catalog(), &spec.table, private).await?;
    let (seen, date_partitions) = (features.clone(), statistics.clone());
    let scored = rows.map(move |batch| {
        let batch = batch?;
        let predictions = scorer.score(&batch)?;
        seen.add(&batch)?;
        if let Some(ScoreProgress(call)) = &progress {
            call(counted.lock().unwrap_or_else(PoisonError::into_inner).rows);
        }
        Ok(predictions)
    });
    let scored = date_partitions.observe(BatchStream::new(schema, scored));
    let committed = engine.catalog().commit(&spec.table, scored, options).await?;

    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if tally.rows == 0 {
        let date = plan.date;
        return Err(Error::not_found(format!("`{}` has no row to score for {date}", spec.name))
            .with_note(match tally.skipped {
                0 => "nobody is to be scored".to_owned(),
                skipped => format!("{skipped} entities have no features that are young enough"),
            }));
    }
    if committed.changed {
        let mode = TableWriteMode::ReplacePartitions;
        statistics.store_or_warn(engine.catalog(), &committed.pinned, mode).await;
    }
    let statistics =
        ScoreStatistics { features: features.profile(), predictions: statistics.profile() };
    let models: Vec<&ScoringModel> = job.models.iter().collect();
    Ok((report(&models, plan, committed.pinned, &tally, spec)?, statistics))
}

fn report(
    models: &[&ScoringModel],
    plan: &ScorePlan,
    predictions: PinnedTable,
    tally: &Tally,
    spec: &ScoringSpec,
) -> Result<ScoreReport> {
    let champion = tally.models.first().cloned().unwrap_or_default();
    let mean =
        |tally: &ModelTally, sum: f64| (tally.predicted > 0).then(|| sum / tally.predicted as f64);
    let buckets = spec.buckets.clone().unwrap_or_default();
    let reports = models.iter().zip(&tally.models).map(|(model, counted)| {
        let is_champion = model.role == crate::plan::CHAMPION;
        let share = counted.same_bucket as f64 / tally.rows.max(1) as f64;
        ModelReport {
            role: model.role.clone(),
            model: model.version.model.clone(),
            version: model.version.version,
            predicted: counted.predicted,
            mean_prediction: mean(counted, counted.sum.to_f64()),
            buckets: counted.buckets.clone().into_iter().collect(),
            same_bucket: (!is_champion && !counted.buckets.is_empty()).then_some(share),
            mean_distance: mean(counted, counted.distance.to_f64()).filter(|_| !is_champion),
        }
    });
    Ok(ScoreReport {
        date: plan.date,
        predictions,
        features: first_pin(plan)?,
        rows: tally.rows,
        high_rows: champion.buckets.get(buckets.highest()).copied().unwrap_or(0),
        mean_prediction: mean(&champion, champion.sum.to_f64()),
        statuses: tally.statuses.clone().into_iter().collect(),
        skipped: tally.skipped,
        models: reports.collect(),
    })
}

fn model_names(models: &[ScoringModel]) -> String {
    let name = |model: &ScoringModel| format!("{}/{}", model.version.model, model.version.version);
    models.iter().map(name).collect::<Vec<_>>().join(",")
}

/// The run whose predictions for the plan's date the table already holds, where they are of equal
/// models and equal features.
///
/// # Errors
///
/// Those of reading the table's history.
pub async fn scored_before(
    engine: &Engine,
    spec: &ScoringSpec,
    plan: &ScorePlan,
) -> Result<Option<(RunId, PinnedTable)>> {
    let history = match engine.catalog().history(&spec.table).await {
        Ok(history) => history,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (job, date) = (plan.job(spec), plan.date.to_string());
    for snapshot in history.iter().rev().filter(|snapshot| snapshot.on_main) {
        let field = |name: &str| snapshot.summary.get(name);
        if field(SCORING_JOB) == Some(&job) {
            let Some(run) = field(RUN_ID) else { return Ok(None) };
            let latest = icecore_core::SnapshotSelector::Latest;
            let pin = engine.catalog().pin(&spec.table, &latest).await?;
            return Ok(Some((RunId::new(run.clone()), pin)));
        }
        if !leaves_alone(snapshot, &date) {
            return Ok(None);
        }
    }
    Ok(None)
}

/// The run that wrote the predictions of a date, or the newest, and the date.
///
/// # Errors
///
/// `NotFound` if there is no prediction table.
pub async fn scored_by(
    engine: &Engine,
    spec: &ScoringSpec,
    date: Option<Date>,
) -> Result<Option<(RunId, Date)>> {
    let history = engine.catalog().history(&spec.table).await?;
    let mut newest: Option<(RunId, Date)> = None;
    for snapshot in history.iter().filter(|snapshot| snapshot.on_main) {
        let field = |name: &str| snapshot.summary.get(name);
        let (Some(run), Some(of)) = (field(RUN_ID), field(SCORING_DATE)) else { continue };
        let of = Date::parse(of)?;
        let is_wanted = match date {
            Some(date) => date == of,
            None => newest.as_ref().is_none_or(|(_, known)| *known <= of),
        };
        if field(SCORING) == Some(&spec.name) && is_wanted {
            newest = Some((RunId::new(run.clone()), of));
        }
    }
    Ok(newest)
}

/// Opens the rows that a plan scores, from the states that it names.
///
/// # Errors
///
/// `NotFound` if one of the states has expired.
pub async fn scored_rows(
    engine: &Engine,
    definitions: &Definitions,
    plan: &ScorePlan,
) -> Result<BatchStream> {
    open(engine, definitions, plan, Whose::All).await
}

/// Whether the rows of a date are as they were before a snapshot.
fn leaves_alone(snapshot: &SnapshotInfo, date: &str) -> bool {
    let scored = snapshot.summary.get(SCORING_DATE);
    snapshot.operation == "replace" || scored.is_some_and(|other| other != date)
}

async fn ensure_table(
    catalog: &IcebergCatalog,
    spec: &ScoringSpec,
    schema: &SchemaRef,
    keys: &[String],
) -> Result<()> {
    match catalog.describe(&spec.table).await {
        Ok(_) => {
            let added = catalog.evolve(&spec.table, schema).await?;
            if !added.is_empty() {
                tracing::info!(table = %spec.table, columns = added.join(", "), "added columns");
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let new = NewTable::new(Arc::clone(schema))
                .with_partition_by([spec.date_column.clone()])
                .with_sort_by(keys.iter().cloned());
            catalog.ensure_table(&spec.table, &new).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
