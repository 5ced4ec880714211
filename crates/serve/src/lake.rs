//! The slow path: the newest predictions in the lakehouse.

mod apart;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float64Type, SchemaRef};
use arrow::util::display::array_value_to_string;
use async_trait::async_trait;
use futures::TryStreamExt;
use icecore_catalog::{FilePlan, IcebergCatalog};
use icecore_core::{
    Clock, CompareOp, Date, Error, ErrorKind, Literal, PinnedTable, Predicate, Result, ScanOptions,
    SnapshotCatalog, SnapshotSelector, TableName,
};
use tokio::time::Instant;
use tracing::{debug, info};

use crate::ScoreRoute;

pub(crate) use apart::Apart;

/// A score as the lakehouse has it.
#[derive(Debug, Clone, PartialEq)]
pub struct LakeScore {
    /// The prediction.
    pub probability: f64,
    /// The version of the model that made it, as text; absent where the table does not say.
    pub model_version: Option<String>,
    /// The date that it was made for.
    pub score_date: Date,
}

/// Finds scores that are not in the cache.
///
/// # Contract
///
/// - `None` means that the entity has no score; everything else that is wrong is an error.
/// - A call may be given up at any moment.
#[async_trait]
pub trait ScoreLookup: fmt::Debug + Send + Sync + 'static {
    /// The word for this path in answers, such as `iceberg`.
    fn latency_path(&self) -> &str;

    /// The newest score of an entity.
    async fn lookup(&self, route: &ScoreRoute, key: &str) -> Result<Option<LakeScore>>;

    /// Answers once scores of this route can be looked up.
    async fn check(&self, route: &ScoreRoute) -> Result<()> {
        self.lookup(route, "").await.map(|_| ())
    }
}

/// How a [`LakeLookup`] reads.
#[derive(Debug, Clone)]
pub struct LakeOptions {
    /// For how long a pin of a table is used before the catalog is asked for a newer one.
    pub pin_ttl: Duration,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self { pin_ttl: Duration::from_secs(1) }
    }
}

/// Scores from prediction tables of a catalog.
///
/// A table is pinned, and the newest date that it has predictions for, not after today, is found
/// in the metadata of its files (D13, D18). A lookup then reads only the files of that date whose
/// range of keys has the key. Pins are shared by all requests and renewed by one of them.
#[derive(Debug)]
pub struct LakeLookup {
    catalog: IcebergCatalog,
    clock: Arc<dyn Clock>,
    options: LakeOptions,
    tables: Mutex<HashMap<TableName, Arc<TableState>>>,
}

#[derive(Debug, Default)]
struct TableState {
    current: Mutex<Option<Arc<Target>>>,
    /// Held by the request that renews `current`; the others go on with what there is.
    renewing: tokio::sync::Mutex<()>,
}

/// What is read of a table, until it is renewed.
#[derive(Debug)]
struct Target {
    pin: PinnedTable,
    schema: SchemaRef,
    /// The newest date that has predictions; absent where there are none.
    newest: Option<Date>,
    today: Date,
    renewed_at: Instant,
}

impl LakeLookup {
    /// Looks scores up in the tables of this catalog.
    #[must_use]
    pub fn new(catalog: IcebergCatalog, clock: Arc<dyn Clock>, options: LakeOptions) -> Self {
        Self { catalog, clock, options, tables: Mutex::default() }
    }

    fn state(&self, table: &TableName) -> Arc<TableState> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tables.entry(table.clone()).or_default())
    }

    /// What to read of a route's table; nothing if there is no such table yet.
    async fn target(&self, route: &ScoreRoute) -> Result<Option<Arc<Target>>> {
        let state = self.state(&route.table);
        let today = self.clock.now().date();
        let is_fresh = |target: &Arc<Target>| {
            target.renewed_at.elapsed() < self.options.pin_ttl && target.today == today
        };
        let known = state.current();
        if known.as_ref().is_some_and(is_fresh) {
            return Ok(known);
        }
        let _renewing = match (state.renewing.try_lock(), &known) {
            (Ok(guard), _) => guard,
            // Another request renews it. What there is was the newest until just now.
            (Err(_), Some(known)) if known.today == today => return Ok(Some(Arc::clone(known))),
            (Err(_), _) => state.renewing.lock().await,
        };
        let known = state.current();
        if known.as_ref().is_some_and(is_fresh) {
            return Ok(known);
        }
        let renewed = self.renew(route, known.as_deref(), today).await?.map(Arc::new);
        *state.current.lock().unwrap_or_else(PoisonError::into_inner) = renewed.clone();
        Ok(renewed)
    }

    async fn renew(
        &self,
        route: &ScoreRoute,
        known: Option<&Target>,
        today: Date,
    ) -> Result<Option<Target>> {
        let pin = match self.catalog.pin(&route.table, &SnapshotSelector::Latest).await {
            Ok(pin) => pin,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                debug!(table = %route.table, "there are no predictions yet");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let renewed_at = Instant::now();
        if let Some(known) = known
            && known.pin == pin
            && known.today == today
        {
            let (schema, newest) = (known.schema.clone(), known.newest);
            return Ok(Some(Target { pin, schema, newest, today, renewed_at }));
        }
        let plan = self.catalog.plan_files(&pin, None).await?;
        let newest = match newest_partition(&plan, &route.date_column, today) {
            Some(newest) => newest,
            None => self.newest_row(&pin, &route.date_column, today).await?,
        };
        info!(%pin, ?newest, "serving predictions");
        Ok(Some(Target { pin, schema: plan.schema, newest, today, renewed_at }))
    }

    /// The greatest date of any row, for a table whose files do not say it.
    async fn newest_row(
        &self,
        pin: &PinnedTable,
        column: &str,
        today: Date,
    ) -> Result<Option<Date>> {
        let filter = Predicate::compare(column, CompareOp::LtEq, Literal::Date(today));
        let options = ScanOptions::default().with_columns([column]).with_filter(filter);
        let mut rows = self.catalog.scan(pin, options).await?;
        let mut newest = None;
        while let Some(batch) = rows.try_next().await? {
            let dates = cast(batch.column(0), &DataType::Date32)?;
            newest = newest.max(arrow::compute::max(dates.as_primitive::<Date32Type>()));
        }
        Ok(newest.map(Date::from_days))
    }
}

impl TableState {
    fn current(&self) -> Option<Arc<Target>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl ScoreLookup for LakeLookup {
    /// The document that icecore follows says `duckdb_iceberg` here, after the engine that its
    /// example reads with. No DuckDB is involved in ours, so the field keeps its name and says
    /// what is true.
    fn latency_path(&self) -> &str {
        "iceberg"
    }

    async fn lookup(&self, route: &ScoreRoute, key: &str) -> Result<Option<LakeScore>> {
        let Some(target) = self.target(route).await? else { return Ok(None) };
        let Some(newest) = target.newest else { return Ok(None) };
        let Some(key) = literal(&target.schema, &route.entity_column, key)? else {
            return Ok(None);
        };
        let filter = Predicate::And(vec![
            Predicate::equal(&route.date_column, Literal::Date(newest)),
            Predicate::equal(&route.entity_column, key),
        ]);
        let has_version = target.schema.column_with_name(MODEL_VERSION).is_some();
        let mut columns = vec![route.prediction_column.as_str()];
        columns.extend(has_version.then_some(MODEL_VERSION));
        let options = ScanOptions::default().with_columns(columns).with_filter(filter);
        let mut rows = self.catalog.scan(&target.pin, options).await?;
        while let Some(batch) = rows.try_next().await? {
            if batch.num_rows() > 0 {
                return score(&batch, newest);
            }
        }
        Ok(None)
    }

    async fn check(&self, route: &ScoreRoute) -> Result<()> {
        self.target(route).await.map(|_| ())
    }
}

/// The column that predictions carry the version of their model in.
const MODEL_VERSION: &str = "model_version";

/// The greatest date up to `today` among the partitions, or nothing if a file does not lie in the
/// partition of one date.
fn newest_partition(plan: &FilePlan, column: &str, today: Date) -> Option<Option<Date>> {
    let mut newest = None;
    for file in &plan.files {
        let (_, value) = file.partition().into_iter().find(|(name, _)| *name == column)?;
        match value {
            Some(Literal::Date(date)) if date <= today => newest = newest.max(Some(date)),
            Some(Literal::Date(_)) | None => {}
            Some(_) => return None,
        }
    }
    Some(newest)
}

/// The key as a value of the entity's column; nothing where no such value can be in it.
fn literal(schema: &SchemaRef, column: &str, key: &str) -> Result<Option<Literal>> {
    let field = schema.field_with_name(column).map_err(|_| {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        Error::not_found(format!("the predictions have no column `{column}`"))
            .with_candidates(column, names)
    })?;
    match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Ok(Some(Literal::Text(key.to_owned())))
        }
        DataType::Int32 => Ok(key.parse::<i32>().ok().map(|key| Literal::Int(key.into()))),
        DataType::Int64 => Ok(key.parse().ok().map(Literal::Int)),
        other => Err(Error::unsupported(format!(
            "scores cannot be looked up by column `{column}` of type {other}"
        ))),
    }
}

/// The score in the first row; nothing if it has no prediction.
fn score(batch: &RecordBatch, score_date: Date) -> Result<Option<LakeScore>> {
    let prediction = cast(batch.column(0), &DataType::Float64)?;
    let prediction = prediction.as_primitive::<Float64Type>();
    if prediction.is_null(0) {
        return Ok(None);
    }
    let model_version = match batch.column_by_name(MODEL_VERSION) {
        Some(versions) if versions.is_valid(0) => Some(array_value_to_string(versions, 0)?),
        _ => None,
    };
    Ok(Some(LakeScore { probability: prediction.value(0), model_version, score_date }))
}

#[cfg(test)]
pub(crate) mod tests;
