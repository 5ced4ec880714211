//! One push source: its queue, its table, its views.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use icecore_core::{
    Error, ErrorKind, PushSource, Result, SnapshotCatalog, SnapshotSelector, Timestamp,
};
use icecore_engine::Engine;
use icecore_engine::files::{Misfit, rows_of_columns};
use icecore_features::Definitions;
use icecore_materialize::PushedViews;
use serde_json::Value;
use tokio::time::Instant;

use crate::columns::Columns;
use crate::queue::{Batch, Limits, Queue};
use crate::{CommitReport, PushOptions, PushStatus};

/// For how long the columns of a table are taken to be what they were.
const PLAN_TTL: Duration = Duration::from_secs(30);
/// Values that do not fit and are named.
const MISFITS_MAX: usize = 100;

/// One push source.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) source: PushSource,
    dir: PathBuf,
    limits: Limits,
    queue: Mutex<Option<Arc<Queue>>>,
    plan: Mutex<Option<(Instant, Arc<Plan>)>>,
    /// Batches that a push writes to the online store right now.
    underway: Mutex<BTreeSet<u64>>,
    /// Whether there may be views that could not be materialized after a commit.
    pub(crate) stale: AtomicBool,
    /// What the last materialization of each view came to.
    standings: Mutex<BTreeMap<String, Standing>>,
    /// With which position catching up goes on.
    turn: AtomicU64,
    /// One commit at a time.
    pub(crate) committing: tokio::sync::Mutex<()>,
    pub(crate) accepted_rows: AtomicU64,
    pub(crate) left_to_table: AtomicU64,
    pub(crate) dropped: AtomicU64,
    left_out_values: AtomicU64,
    committed_rows: AtomicU64,
    failed_commits: AtomicU64,
    error: Mutex<Option<String>>,
}

/// What the last materialization of a view came to, of those of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Standing {
    /// The view has what the table had before this position of the queue.
    Has(u64),
    /// Nobody has filled the view: it has what was pushed, and nothing else.
    Unfilled,
    /// It failed; the next one that does not brings a view that is filled what the table has.
    Fails {
        /// When it first did.
        since: Instant,
        /// Whether it will as long as nothing else changes.
        is_final: bool,
        /// Whether the view is known to be filled.
        is_filled: bool,
    },
}

/// What was found out about the table and the views that are made of it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) columns: Columns,
    pub(crate) views: PushedViews,
    /// Columns without which an event belongs to nobody, or to no time.
    required: Vec<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    pub(crate) fn new(source: PushSource, dir: PathBuf, options: &PushOptions) -> Self {
        let limits = Limits { bytes_max: options.queue_bytes, ..Limits::default() };
        Self {
            source,
            dir,
            limits,
            queue: Mutex::default(),
            plan: Mutex::default(),
            underway: Mutex::default(),
            stale: AtomicBool::default(),
            standings: Mutex::default(),
            turn: AtomicU64::new(0),
            committing: tokio::sync::Mutex::default(),
            accepted_rows: AtomicU64::new(0),
            left_to_table: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            left_out_values: AtomicU64::new(0),
            committed_rows: AtomicU64::new(0),
            failed_commits: AtomicU64::new(0),
            error: Mutex::default(),
        }
    }

    /// The queue, opened at the first use. The views may lack what the table has of it.
    pub(crate) fn queue(&self) -> Result<Arc<Queue>> {
        let mut queue = lock(&self.queue);
        if let Some(queue) = &*queue {
            return Ok(Arc::clone(queue));
        }
        let opened = Arc::new(Queue::open(&self.dir, self.limits.clone())?);
        let end = opened.committed_end();
        let is_of_table = |batch: &Arc<Batch>| batch.to.is_offline() && batch.position < end;
        self.stale.store(opened.behind().iter().any(is_of_table), Ordering::Relaxed);
        *queue = Some(Arc::clone(&opened));
        Ok(opened)
    }

    pub(crate) async fn plan(&self, engine: &Engine, of: &Definitions) -> Result<Arc<Plan>> {
        let known = lock(&self.plan).clone();
        if let Some((made, plan)) = &known
            && made.elapsed() < PLAN_TTL
        {
            return Ok(Arc::clone(plan));
        }
        match self.find_out(engine, of).await {
            Ok(plan) => {
                let plan = Arc::new(plan);
                *lock(&self.plan) = Some((Instant::now(), Arc::clone(&plan)));
                Ok(plan)
            }
            // Without the catalog, what was known of the table until now still holds.
            Err(error) => match known {
                Some((_, plan)) if error.kind() == ErrorKind::Unavailable => Ok(plan),
                _ => Err(error),
            },
        }
    }

    /// What was found out does not hold any more.
    pub(crate) fn forget_plan(&self) {
        *lock(&self.plan) = None;
    }

    /// Counts the values of events, by column, that their table has no place for any more.
    pub(crate) fn leaves_out(&self, values: &BTreeMap<String, u64>) {
        let (source, table) = (&self.source.name, &self.source.table);
        for (column, count) in values.iter().filter(|(_, count)| **count > 0) {
            tracing::warn!(source, %table, column, count, "values of a dropped column are left out");
            self.left_out_values.fetch_add(*count, Ordering::Relaxed);
        }
    }

    async fn find_out(&self, engine: &Engine, definitions: &Definitions) -> Result<Plan> {
        let table = &self.source.table;
        let catalog = engine.catalog();
        let pin =
            catalog.pin(table, &SnapshotSelector::Latest).await.map_err(|error| {
                match error.kind() {
                    ErrorKind::NotFound => error.with_help(format!(
                        "make it with its first rows: `icecore ingest {table} FILE`"
                    )),
                    _ => error,
                }
            })?;
        let schema = catalog.schema(&pin).await?;
        let columns = Columns { schema, uuid: catalog.describe(table).await?.uuid };
        let mut required: Vec<String> = Vec::new();
        for view in definitions.views_of(table) {
            let keys = definitions.join_keys(view)?;
            required.extend(keys.into_iter().chain([view.event_timestamp.clone()]));
        }
        required.sort();
        required.dedup();
        let views = PushedViews::open(engine, definitions, &pin).await?;
        Ok(Plan { columns, views, required })
    }

    /// Keeps others from writing a batch to the online store as long as the answer lives; `None`
    /// while another push writes it.
    pub(crate) fn underway(&self, position: u64) -> Option<Underway<'_>> {
        let is_alone = lock(&self.underway).insert(position);
        is_alone.then(|| Underway { lane: self, position })
    }

    /// Batches that the online store does not have, and that no push writes right now.
    pub(crate) fn behind(&self) -> Vec<Arc<Batch>> {
        let Some(queue) = lock(&self.queue).clone() else { return Vec::new() };
        let mut behind = queue.behind();
        let underway = lock(&self.underway);
        behind.retain(|batch| !underway.contains(&batch.position));
        behind
    }

    /// The same, beginning after the one that had its turn last: one that takes long, or fails, is
    /// not always the first.
    pub(crate) fn behind_in_turn(&self) -> Vec<Arc<Batch>> {
        let mut behind = self.behind();
        let turn = self.turn.load(Ordering::Relaxed);
        let before = behind.partition_point(|batch| batch.position < turn);
        behind.rotate_left(before);
        behind
    }

    pub(crate) fn has_its_turn(&self, batch: &Batch) {
        self.turn.store(batch.position + 1, Ordering::Relaxed);
    }

    pub(crate) fn standing(&self, view: &str) -> Option<Standing> {
        lock(&self.standings).get(view).copied()
    }

    pub(crate) fn stands(&self, view: &str, standing: Standing) {
        lock(&self.standings).insert(view.to_owned(), standing);
    }

    /// A materialization of a view has failed.
    pub(crate) fn fails(&self, view: &str, is_filled: bool, error: &Error) {
        let since = match self.standing(view) {
            Some(Standing::Fails { since, .. }) => since,
            _ => Instant::now(),
        };
        let is_final = !error.kind().is_retryable();
        self.stands(view, Standing::Fails { since, is_final, is_filled });
    }

    pub(crate) fn status(&self) -> PushStatus {
        let queue = lock(&self.queue).clone();
        let pending = queue.as_ref().map(|queue| queue.pending()).unwrap_or_default();
        PushStatus {
            source: self.source.name.clone(),
            table: self.source.table.clone(),
            batches: pending.len() as u64,
            rows: pending.iter().map(|batch| u64::from(batch.rows)).sum(),
            bytes: queue.as_ref().map_or(0, |queue| queue.bytes_kept()),
            oldest: pending.first().map(|batch| batch.at),
            behind: self.behind().len() as u64,
            left_to_table: self.left_to_table.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            left_out_values: self.left_out_values.load(Ordering::Relaxed),
            accepted_rows: self.accepted_rows.load(Ordering::Relaxed),
            committed_rows: self.committed_rows.load(Ordering::Relaxed),
            failed_commits: self.failed_commits.load(Ordering::Relaxed),
            error: lock(&self.error).clone(),
        }
    }

    /// Counts a commit.
    pub(crate) fn note(&self, committed: &Result<CommitReport>) {
        let mut said = lock(&self.error);
        match committed {
            Ok(report) => {
                self.committed_rows.fetch_add(report.rows, Ordering::Relaxed);
                *said = None;
            }
            Err(error) => {
                self.failed_commits.fetch_add(1, Ordering::Relaxed);
                *said = Some(error.to_string());
                if !error.kind().is_retryable() {
                    // The table may not be what it was. Later events are checked by what it is.
                    self.forget_plan();
                }
            }
        }
    }

    /// How long the oldest batch has waited.
    pub(crate) fn waits_since(&self) -> Option<Timestamp> {
        let queue = lock(&self.queue).clone()?;
        queue.pending().first().map(|batch| batch.at)
    }
}

/// A push that writes a batch to the online store. However it ends, the batch is behind then,
/// unless the queue was told that it is written.
#[derive(Debug)]
pub(crate) struct Underway<'a> {
    lane: &'a Lane,
    position: u64,
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        lock(&self.lane.underway).remove(&self.position);
    }
}

impl Plan {
    /// The columns of a push without those that the table does not have and that have no value:
    /// clients send every column that they know of, such as Feast's a view's of other projects.
    pub(crate) fn known(
        &self,
        columns: BTreeMap<String, Vec<Value>>,
    ) -> BTreeMap<String, Vec<Value>> {
        let says_something = |(name, values): &(&String, &Vec<Value>)| {
            self.columns.schema.field_with_name(name).is_ok()
                || values.iter().any(|value| !value.is_null())
        };
        let kept = columns.iter().filter(says_something).count();
        if kept == 0 || kept == columns.len() {
            return columns;
        }
        let is_kept = |(name, values): &(String, Vec<Value>)| says_something(&(name, values));
        columns.into_iter().filter(is_kept).collect()
    }

    /// The rows of a push, or every value that does not fit.
    pub(crate) fn rows(&self, columns: &BTreeMap<String, Vec<Value>>) -> Result<RecordBatch> {
        let read = rows_of_columns(&self.columns.schema, columns);
        let (rows, misfits) = read.map_err(|error| self.explained(error, columns))?;
        if misfits.is_empty() {
            self.check(&rows)?;
            return Ok(rows);
        }
        Err(refused(&misfits))
    }

    /// Which column it is that no JSON is read as, in words of ours.
    fn explained(&self, error: Error, columns: &BTreeMap<String, Vec<Value>>) -> Error {
        let said = error.to_string();
        let is_it = |name: &&String| said.contains(&format!("`{name}`"));
        let Some(name) =
            columns.keys().find(is_it).filter(|_| error.kind() == ErrorKind::Unsupported)
        else {
            return error;
        };
        let found = self.columns.schema.field_with_name(name);
        let holds = match found.map(Field::data_type) {
            Ok(DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)) => "lists",
            Ok(DataType::Map(..)) => "maps",
            Ok(DataType::Struct(_)) => "structs",
            Ok(DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_)) => "bytes",
            _ => "values that JSON has no word for",
        };
        let message = format!("column `{name}` holds {holds}, which are not pushed as JSON");
        let one = Error::unsupported(message.clone()).with_note(format!("df.{name}"));
        Error::unsupported(message)
            .with_help(format!("leave `{name}` out, or push its events from a Parquet file"))
            .with_related(vec![one])
    }

    /// Fails for events without an entity or a time.
    pub(crate) fn check(&self, rows: &RecordBatch) -> Result<()> {
        let mut misfits = Vec::new();
        for name in &self.required {
            let Some(column) = rows.column_by_name(name).filter(|c| c.null_count() > 0) else {
                continue;
            };
            let nulls = (0..rows.num_rows()).filter(|row| column.is_null(*row));
            misfits.extend(nulls.map(|row| Misfit {
                row,
                column: name.clone(),
                message: format!("column `{name}` must have a value"),
            }));
        }
        if misfits.is_empty() { Ok(()) } else { Err(refused(&misfits)) }
    }
}

/// One error with all others as related ones, so that nothing has to be sent twice to be understood.
fn refused(misfits: &[Misfit]) -> Error {
    let one = |misfit: &Misfit| {
        Error::invalid(format!("row {}: {}", misfit.row, misfit.message))
            .with_note(format!("df.{}[{}]", misfit.column, misfit.row))
    };
    let all: Vec<Error> = misfits.iter().take(MISFITS_MAX).map(one).collect();
    Error::invalid(format!("{} values do not fit, so no event was accepted", misfits.len()))
        .with_related(all)
}
