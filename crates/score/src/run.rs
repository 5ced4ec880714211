//! Batch scoring: feature rows of a date in, predictions out, one atomic commit.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use futures::StreamExt;
use icecore_catalog::IcebergCatalog;
use icecore_core::{
    BatchStream, CommitOptions, Date, Error, Model, ModelVersion, NewTable, PinnedTable, Result,
    RunId, SnapshotCatalog, SnapshotSelector, Span, WriteMode,
};
use icecore_engine::Engine;
use icecore_features::Definitions;
use icecore_kernel::ExactSum;

use crate::ScoringSpec;
use crate::sql::{ident, table_sql};

/// Which rows a scoring job reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScorePlan {
    /// The feature rows, pinned.
    pub features: PinnedTable,
    /// The date to score.
    pub date: Date,
    /// The columns that identify an entity.
    pub keys: Vec<String>,
    event_timestamp: String,
}

/// What a scoring job works with.
#[derive(Debug)]
pub struct ScoreJob<'a> {
    /// The job's definition.
    pub spec: &'a ScoringSpec,
    /// Which rows it reads.
    pub plan: ScorePlan,
    /// The model that scores.
    pub model: Arc<dyn Model>,
    /// Which version it is.
    pub version: ModelVersion,
    /// The run that the predictions belong to.
    pub run: RunId,
}

/// What a scoring job did.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreReport {
    /// The date that was scored.
    pub date: Date,
    /// The state of the prediction table.
    pub predictions: PinnedTable,
    /// The feature rows that were read.
    pub features: PinnedTable,
    /// Rows scored.
    pub rows: u64,
    /// Rows in the highest band.
    pub high_rows: u64,
    /// The mean prediction; absent where nothing was scored.
    pub mean_prediction: Option<f64>,
}

/// Counts over all batches. The sum is exact, so that the mean does not depend on their order.
#[derive(Debug, Default, Clone)]
struct Tally {
    rows: u64,
    high_rows: u64,
    sum: ExactSum,
}

/// Pins the features of a scoring job and finds the date to score: the wanted one, or the newest
/// that the view has. With a maximum age, an older row may stand in for a missing one (D13).
///
/// # Errors
///
/// `NotFound` if the view has no row of the date; `InvalidInput` if it has no table.
pub async fn plan(
    engine: &Engine,
    definitions: &Definitions,
    spec: &ScoringSpec,
    date: Option<Date>,
) -> Result<ScorePlan> {
    let view = definitions.view(&spec.view)?;
    let source = view.table.as_ref().or(view.source.as_ref()).ok_or_else(|| {
        Error::invalid(format!("feature view `{}` is not stored in a table", view.name))
            .with_help("give it a `table`")
    })?;
    let features = engine.catalog().pin(source, &SnapshotSelector::Latest).await?;
    let date = scoring_date(engine, &features, date, spec.max_age).await?;
    Ok(ScorePlan {
        features,
        date,
        keys: definitions.join_keys(view)?,
        event_timestamp: view.event_timestamp.clone(),
    })
}

/// Scores the rows of a date and commits them in place of those of the same date (C77-C84).
///
/// # Errors
///
/// `NotFound` if there is no row to score; `InvalidInput` if the model reads a column that the
/// view does not have.
pub async fn score(engine: &Engine, job: ScoreJob<'_>) -> Result<ScoreReport> {
    let ScorePlan { features, date, keys, event_timestamp } = job.plan;
    let catalog = engine.catalog();
    let query = feature_query(&features, &event_timestamp, &keys, date, job.spec.max_age);
    let rows = engine.sql(&query, std::slice::from_ref(&features)).await?;
    let schema = prediction_schema(job.spec, rows.schema(), &keys)?;
    ensure_table(catalog, job.spec, &schema, &keys).await?;

    let tally = Arc::new(Mutex::new(Tally::default()));
    let options = CommitOptions::new(WriteMode::OverwritePartitions)
        .with_summary("icecore.run-id", job.run.as_str())
        .with_summary("icecore.model", format!("{}/{}", job.version.model, job.version.version))
        .with_summary("icecore.sources", features.to_string());
    let scorer = Scorer {
        schema: Arc::clone(&schema),
        keys,
        date,
        feature_snapshot: features.snapshot.get(),
        spec: job.spec.clone(),
        model: job.model,
        version: job.version,
        run: job.run,
        tally: Arc::clone(&tally),
    };
    let scored = rows.map(move |batch| scorer.score(&batch?));
    let committed =
        catalog.commit(&job.spec.table, BatchStream::new(schema, scored), options).await?;

    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if tally.rows == 0 {
        return Err(Error::not_found(format!("`{features}` has no row to score for {date}")));
    }
    Ok(ScoreReport {
        date,
        predictions: committed.pinned,
        features,
        rows: tally.rows,
        high_rows: tally.high_rows,
        mean_prediction: Some(tally.sum.to_f64() / tally.rows as f64),
    })
}

/// The newest date that the view has, at or before the wanted one; without a maximum age only the
/// wanted date itself will do (D13).
async fn scoring_date(
    engine: &Engine,
    features: &PinnedTable,
    wanted: Option<Date>,
    max_age: Option<Span>,
) -> Result<Date> {
    let newest = newest_date(engine, features, "feature_date", wanted).await?;
    let near = |newest: Date| {
        let reach = max_age.map_or(0, |age| age.micros() / Span::from_days(1).micros());
        wanted.is_none_or(|wanted| i64::from(wanted.days() - newest.days()) <= reach)
    };
    match (newest, wanted) {
        (Some(newest), _) if near(newest) => Ok(wanted.unwrap_or(newest)),
        (Some(newest), Some(wanted)) => {
            Err(Error::not_found(format!("`{}` has no features of {wanted}", features.table))
                .with_note(format!("the newest before it are of {newest}"))
                .with_help(format!(
                    "compute them with `icecore features compute`, or score `--date {newest}`"
                )))
        }
        _ => Err(Error::not_found(format!("`{}` has no features to score", features.table))
            .with_help("compute them with `icecore features compute`")),
    }
}

/// The greatest value of a date column, at most `until`.
pub(crate) async fn newest_date(
    engine: &Engine,
    table: &PinnedTable,
    column: &str,
    until: Option<Date>,
) -> Result<Option<Date>> {
    let until =
        until.map_or_else(String::new, |date| format!(" WHERE {} <= DATE '{date}'", ident(column)));
    let query = format!("SELECT max({}) FROM {}{until}", ident(column), table_sql(table));
    let answer = engine.sql(&query, std::slice::from_ref(table)).await?.concat().await?;
    if answer.num_rows() == 0 || answer.column(0).is_null(0) {
        return Ok(None);
    }
    let dates = arrow::compute::cast(answer.column(0), &DataType::Date32)?;
    Ok(Some(Date::from_days(dates.as_primitive::<arrow::datatypes::Date32Type>().value(0))))
}

/// The rows of the date; with a maximum age the newest row of each entity within it.
fn feature_query(
    features: &PinnedTable,
    event_timestamp: &str,
    keys: &[String],
    date: Date,
    max_age: Option<Span>,
) -> String {
    let table = table_sql(features);
    let days = max_age.map_or(0, |age| age.micros() / Span::from_days(1).micros());
    let Ok(days @ 1..) = i32::try_from(days) else {
        return format!("SELECT * FROM {table} WHERE feature_date = DATE '{date}'");
    };
    let first = date.plus_days(-days);
    let keys: Vec<String> = keys.iter().map(|key| ident(key)).collect();
    format!(
        "SELECT * FROM {table} WHERE feature_date BETWEEN DATE '{first}' AND DATE '{date}' \
         QUALIFY row_number() OVER (PARTITION BY {} ORDER BY {} DESC) = 1",
        keys.join(", "),
        ident(event_timestamp)
    )
}

fn prediction_schema(spec: &ScoringSpec, rows: &SchemaRef, keys: &[String]) -> Result<SchemaRef> {
    let mut fields = Vec::with_capacity(keys.len() + 6);
    for key in keys {
        fields.push(Field::new(key, rows.field_with_name(key)?.data_type().clone(), false));
    }
    fields.push(Field::new(&spec.prediction, DataType::Float64, false));
    fields.push(Field::new(&spec.date_column, DataType::Date32, false));
    fields.push(Field::new("score_bucket", DataType::Utf8, false));
    fields.push(Field::new("model_version", DataType::Int64, false));
    fields.push(Field::new("feature_snapshot_id", DataType::Int64, false));
    fields.push(Field::new("run_id", DataType::Utf8, false));
    Ok(Arc::new(Schema::new(fields)))
}

async fn ensure_table(
    catalog: &IcebergCatalog,
    spec: &ScoringSpec,
    schema: &SchemaRef,
    keys: &[String],
) -> Result<()> {
    let new = NewTable::new(Arc::clone(schema))
        .with_partition_by([spec.date_column.clone()])
        .with_sort_by(keys.iter().cloned());
    catalog.ensure_table(&spec.table, &new).await?;
    Ok(())
}

/// Turns feature rows into prediction rows.
struct Scorer {
    schema: SchemaRef,
    keys: Vec<String>,
    date: Date,
    feature_snapshot: i64,
    spec: ScoringSpec,
    model: Arc<dyn Model>,
    version: ModelVersion,
    run: RunId,
    tally: Arc<Mutex<Tally>>,
}

impl Scorer {
    fn score(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let predictions = self.model.predict(rows)?;
        let values = predictions.as_primitive_opt::<Float64Type>().ok_or_else(|| {
            Error::internal(format!("the model gave {}", predictions.data_type()))
        })?;
        let buckets = self.spec.buckets.column(values);
        self.count(values, &buckets);

        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for key in &self.keys {
            let column = rows.column_by_name(key).ok_or_else(|| {
                Error::internal(format!("feature rows have lost their key `{key}`"))
            })?;
            columns.push(Arc::clone(column));
        }
        columns.push(Arc::clone(&predictions));
        columns.push(Arc::new(Date32Array::from_value(self.date.days(), count)));
        columns.push(Arc::new(buckets));
        columns.push(Arc::new(Int64Array::from_value(i64::from(self.version.version), count)));
        columns.push(Arc::new(Int64Array::from_value(self.feature_snapshot, count)));
        let run = std::iter::repeat_n(self.run.as_str(), count);
        columns.push(Arc::new(StringArray::from_iter_values(run)));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn count(&self, predictions: &arrow::array::Float64Array, buckets: &StringArray) {
        let high = self.spec.buckets.highest();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.rows += predictions.len() as u64;
        tally.high_rows += buckets.iter().filter(|bucket| *bucket == Some(high)).count() as u64;
        for prediction in predictions.values() {
            tally.sum.add(*prediction);
        }
    }
}
