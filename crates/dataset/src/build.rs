//! Builds: the plan's rows into a table, a tag on what they came from, and the lockfile.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use icecore_catalog::{IcebergCatalog, TableLayout, TagMove};
use icecore_core::{
    Clock, CommitOptions, Committed, Error, ErrorKind, NewTable, PinnedTable, RefName, Result,
    SnapshotCatalog, SnapshotSelector, SystemClock, TableName, WriteMode,
};
use icecore_engine::Engine;
use icecore_features::Definitions;
use icecore_monitor::{ProfileOptions, TableWriteMode, TableWriter};
use tracing::{info, warn};

use crate::DatasetSpec;
use crate::lock::{DatasetPlan, Lock, lockfile_path};
use crate::plan::plan;
use crate::rows::{Content, Joined, joined, joined_at};
use crate::target::{DATASET, check_fits, check_made_here};

/// How to build a training set.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BuildOptions {
    /// States of tables that are not to be read at their latest.
    pub at: Vec<(TableName, SnapshotSelector)>,
    /// Where the moment of the build comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self { at: Vec::new(), clock: Arc::new(SystemClock) }
    }
}

impl BuildOptions {
    /// Reads these tables at these states.
    #[must_use]
    pub fn with_at(mut self, at: Vec<(TableName, SnapshotSelector)>) -> Self {
        self.at = at;
        self
    }

    /// Takes the moment of the build from this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

/// What a build made.
#[derive(Debug, Clone, PartialEq)]
pub struct BuiltDataset {
    /// The dataset's name.
    pub dataset: String,
    /// The table that holds the rows.
    pub table: TableName,
    /// Its state.
    pub snapshot: PinnedTable,
    /// How many rows it has.
    pub rows: u64,
    /// The hash of its rows.
    pub content_hash: String,
    /// Where the lock is written.
    pub lockfile: PathBuf,
    /// What the rows were made from.
    pub lock: Lock,
    /// Whether rows were written; false where the inputs and the rows are those of the lock.
    pub changed: bool,
}

/// Builds a training set: pins every input, joins, checks that no row saw its future, writes the
/// rows, tags what they came from, and writes the lockfile beside the definition.
///
/// Building again from the same pins and definitions writes nothing.
///
/// # Errors
///
/// As [`plan`], and `InvalidInput` if the definition does not come from a file, or if its table has
/// rows that no build of the set wrote. Rows become visible, if at all, before the lockfile: a build
/// that fails leaves the old lock and its pins.
pub async fn build(
    engine: &Engine,
    definitions: &Definitions,
    spec: &DatasetSpec,
    options: BuildOptions,
) -> Result<BuiltDataset> {
    let lockfile = spec.path().map(lockfile_path).ok_or_else(|| {
        Error::invalid(format!("dataset `{}` has no file to write a lock beside", spec.name))
    })?;
    let plan = plan(engine, definitions, spec, &options.at).await?;
    let previous = match Lock::read(&lockfile) {
        Ok(lock) => Some(lock),
        // A lock that nothing can be read from is replaced.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) if error.kind() == ErrorKind::Unsupported => None,
        Err(error) => return Err(error),
    };
    check_made_here(engine, spec, (&plan, previous.as_ref())).await?;
    if let Some(lock) = previous
        && lock.plan == plan
        && still_stands(engine, &lock).await?
    {
        tag(engine.catalog(), &lock).await?;
        return Ok(built(lock, lockfile, false));
    }
    let (materialized, content) =
        materialize(engine, spec, &plan).await.map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => spec.locate(&spec.name, error),
            _ => error,
        })?;
    let mut lock = lock(plan, materialized, content, &options)?;
    lock.tag = tag(engine.catalog(), &lock).await?;
    lock.write(&lockfile)?;
    info!(dataset = %spec.name, rows = lock.rows, snapshot = %lock.materialized, "built a dataset");
    Ok(built(lock, lockfile, true))
}

fn built(lock: Lock, lockfile: PathBuf, changed: bool) -> BuiltDataset {
    BuiltDataset {
        dataset: lock.plan.dataset.clone(),
        table: lock.materialized.table.clone(),
        snapshot: lock.materialized.clone(),
        rows: lock.rows,
        content_hash: lock.content_hash.clone(),
        lockfile,
        lock,
        changed,
    }
}

/// Whether a lock's table is there, and its inputs give the rows that it says.
async fn still_stands(engine: &Engine, lock: &Lock) -> Result<bool> {
    let selector = SnapshotSelector::Id(lock.materialized.snapshot);
    match engine.catalog().pin(&lock.materialized.table, &selector).await {
        Ok(pin) if pin == lock.materialized => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let content = joined(engine, &lock.plan).await?.drain().await?;
    Ok(content.content_hash == lock.content_hash && content.rows == lock.rows)
}

async fn materialize(
    engine: &Engine,
    spec: &DatasetSpec,
    plan: &DatasetPlan,
) -> Result<(PinnedTable, Content)> {
    let catalog = engine.catalog();
    let filter = plan.filter.as_deref().and_then(|filter| spec.place_of(filter));
    let joined = joined_at(engine, plan, filter).await?;
    let layouts = prepare(catalog, plan, joined.rows.schema()).await?;
    let written = write(catalog, plan, joined).await;
    // Columns of rows that never came would stay for ever.
    if let (Err(error), Some((made, before))) = (&written, layouts)
        && error.kind() != ErrorKind::OutcomeUnknown
        && let Err(error) = catalog.restore_layout(&plan.table, made, before).await
    {
        warn!(table = %plan.table, %error, "new columns without rows stay");
    }
    let (committed, content) = written?;
    if committed.changed && committed.added_rows != content.rows {
        return Err(Error::internal(format!(
            "{} of {} rows of dataset `{}` were written",
            committed.added_rows, content.rows, plan.dataset
        )));
    }
    Ok((committed.pinned, content))
}

/// Makes the table, or gives it the columns that are new. Returns what its layout is now and was
/// before, if it was there.
async fn prepare(
    catalog: &IcebergCatalog,
    plan: &DatasetPlan,
    schema: &SchemaRef,
) -> Result<Option<(TableLayout, TableLayout)>> {
    let table = &plan.table;
    match catalog.describe(table).await {
        Ok(described) => check_fits(&described, schema)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let order = plan.keys.iter().chain([&plan.event_timestamp]);
            let new = NewTable::new(Arc::clone(schema)).with_sort_by(order.cloned());
            catalog.ensure_table(table, &new).await?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let before = catalog.layout(table).await?;
    let added = catalog.evolve(table, schema).await?;
    if !added.is_empty() {
        info!(%table, columns = added.join(", "), "added columns");
    }
    Ok(Some((catalog.layout(table).await?, before)))
}

async fn write(
    catalog: &IcebergCatalog,
    plan: &DatasetPlan,
    joined: Joined,
) -> Result<(Committed, Content)> {
    let inputs: Vec<String> = plan.pins().iter().map(ToString::to_string).collect();
    let options = CommitOptions::new(WriteMode::Overwrite)
        .with_summary(DATASET, &plan.dataset)
        .with_summary("icecore.dataset.inputs", inputs.join(","));
    let (rows, content) = joined.observed();
    let keys = ProfileOptions::default().with_private(plan.keys.iter().cloned());
    let statistics = TableWriter::new(catalog, &plan.table, keys).await?;
    let rows = statistics.observe(rows);
    let committed = catalog.commit(&plan.table, rows, options).await?;
    if committed.changed {
        let mode = TableWriteMode::Replace;
        statistics.store_or_warn(catalog, &committed.pinned, mode).await;
    }
    Ok((committed, content()))
}

fn lock(
    plan: DatasetPlan,
    materialized: PinnedTable,
    content: Content,
    options: &BuildOptions,
) -> Result<Lock> {
    Ok(Lock {
        version: Lock::FORM,
        created_at: options.clock.now(),
        icecore_version: env!("CARGO_PKG_VERSION").to_owned(),
        rows: content.rows,
        tag: tag_name(&plan.dataset, &content.content_hash)?,
        content_hash: content.content_hash,
        materialized,
        plan,
        columns: content.columns,
        leak_check: content.leak_check,
    })
}

/// Tags the rows and everything that they came from, so that retention keeps it (C134). Returns the
/// name of the rows' tag.
async fn tag(catalog: &IcebergCatalog, lock: &Lock) -> Result<RefName> {
    let name = tag_name(&lock.plan.dataset, &lock.content_hash)?;
    for pin in lock.plan.pins() {
        tag_one(catalog, &pin, &name).await?;
    }
    tag_one(catalog, &lock.materialized, &name).await
}

fn tag_name(dataset: &str, content_hash: &str) -> Result<RefName> {
    RefName::parse(&format!("dataset-{dataset}-{}", content_hash.get(..12).unwrap_or_default()))
}

/// Tags one state. A tag is never moved: where another state of the table has it, because it gave
/// the same rows, this one's name also says its snapshot.
async fn tag_one(catalog: &IcebergCatalog, pin: &PinnedTable, name: &RefName) -> Result<RefName> {
    if pin.snapshot == PinnedTable::EMPTY {
        return Ok(name.clone());
    }
    match catalog.tag(pin, name, TagMove::Refuse).await {
        Ok(()) => Ok(name.clone()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let own = RefName::parse(&format!("{name}-{}", pin.snapshot))?;
            catalog.tag(pin, &own, TagMove::Refuse).await?;
            Ok(own)
        }
        Err(error) => Err(error),
    }
}
