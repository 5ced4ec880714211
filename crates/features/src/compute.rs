//! Computing a view into its table.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use futures::StreamExt;
use icecore_core::{
    BatchStream, CommitOptions, Date, Emit, Error, ErrorKind, FeatureView, NewTable, PinnedTable,
    Result, RunId, SnapshotCatalog, SnapshotId, SnapshotSelector, TableName, TimeRange, Timestamp,
    WriteMode,
};
use icecore_engine::Engine;

use crate::Definitions;
use crate::counted::{Counts, ProgressCallback};
use crate::document::joined;
use crate::estimate::{Estimate, estimate};
use crate::job::{Found, Job, RUN_ID, range_text};
use crate::local::{compute, pin_sources, source_schema};
use crate::partition::{Grain, grain, grid_point_from};
use crate::source::{Source, locate_source};

/// What to compute, and how.
#[derive(Debug, Clone, Default)]
pub struct ComputeOptions {
    /// Rows from this moment on; absent means from the first event.
    pub from: Option<Timestamp>,
    /// Rows before this moment; absent means to the last event. With
    /// [`Emit::Every`](icecore_core::Emit::Every), to the first grid point that is not before the
    /// last event, so that every event is in a row.
    pub to: Option<Timestamp>,
    /// The states to read of the tables that the view reads; those not named are read at their
    /// latest.
    pub at: Vec<(TableName, SnapshotSelector)>,
    /// The run that asks for it, recorded in the snapshot.
    pub run: Option<RunId>,
    /// Compute and commit even if the table already holds the result.
    pub full: bool,
    /// Change nothing; report what would be read and written.
    pub dry_run: bool,
    /// Called as rows pass.
    pub progress: Option<ProgressCallback>,
}

/// What a computation did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComputeReport {
    /// The view.
    pub view: String,
    /// The table that holds its rows.
    pub table: TableName,
    /// The state with the rows; absent in a dry run, and when there were no rows to write into a
    /// table without any.
    pub snapshot_id: Option<SnapshotId>,
    /// Feature rows in that state's commit; an upper bound is not known in a dry run, so 0.
    pub rows: u64,
    /// What was read.
    pub sources: Vec<PinnedTable>,
    /// The hash of the view's definition.
    pub definition_hash: String,
    /// Whether there is a new snapshot (in a dry run: whether there would be).
    pub changed: bool,
    /// The event timestamps of the rows: the range asked for, widened to whole partitions.
    pub range: TimeRange,
    /// Events read. In a dry run, an upper bound from the statistics of the files. 0 when the
    /// table already held the result.
    pub input_rows: u64,
    /// Events left out because a join key or the event timestamp is null.
    pub excluded_rows: u64,
    /// In a dry run: the first and last day that may get rows, where the files' statistics tell.
    pub days: Option<(Date, Date)>,
    /// Columns that the table did not have before.
    pub added_columns: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Computes a view and commits its rows.
///
/// The sources are pinned first, so the result is that of one moment. The same work on the same
/// pins changes nothing the second time.
///
/// # Errors
///
/// `NotFound` for an unknown view or source; `InvalidInput` for a view of stored features, a
/// definition that does not fit its source, and a table with another partitioning; `Conflict` if
/// another writer replaced the same partitions meanwhile.
pub async fn compute_view(
    engine: &Engine,
    definitions: &Definitions,
    view: &str,
    options: ComputeOptions,
) -> Result<ComputeReport> {
    let view = definitions.view(view)?;
    let table = computed_table(definitions, view)?.clone();
    let sources = pin_sources(engine, view, &options.at)
        .await
        .map_err(|error| locate_source(definitions, view, error))?;
    let source = Source::open(engine, definitions, view, &sources).await.map_err(joined)?;
    let mut notes = Vec::new();
    let range = effective_range(engine, &source, &options, &mut notes).await?;
    let definition_hash = definitions.definition_hash(view);
    let job = Job::new(view, &definition_hash, &sources, range);
    let mut report = ComputeReport {
        view: view.name.clone(),
        table,
        snapshot_id: None,
        rows: 0,
        sources,
        definition_hash,
        changed: true,
        range,
        input_rows: 0,
        excluded_rows: 0,
        days: None,
        added_columns: Vec::new(),
        notes,
    };
    let history = history(engine, &report.table).await?;
    let found = job.find(&history);
    if let (Found::Done(snapshot), false) = (found, options.full) {
        report.changed = false;
        report.snapshot_id = Some(snapshot.id);
        report.rows = u64::try_from(snapshot.count("added-records")).unwrap_or(0);
        report.notes.push("the table already holds this result".to_owned());
        return Ok(report);
    }
    if options.dry_run {
        let Estimate { rows, days } = estimate(engine, view, &report.sources, range).await?;
        (report.input_rows, report.days) = (rows, days);
        return Ok(report);
    }
    let job_id = (!options.full).then(|| job.id(found));
    let commit = commit_options(view, &job, job_id, options.run.as_ref());
    write(engine, &source, commit, options.progress, &mut report).await?;
    Ok(report)
}

fn computed_table<'d>(definitions: &Definitions, view: &'d FeatureView) -> Result<&'d TableName> {
    if view.is_stored() {
        let error =
            Error::invalid(format!("`{}` has stored features, nothing to compute", view.name))
                .with_note("they stay in their source and are read from there");
        return Err(definitions.locate(view, "", error));
    }
    view.table.as_ref().ok_or_else(|| {
        let error = Error::invalid(format!("`{}` has no `table` to write its rows to", view.name));
        definitions.locate(view, "", error.with_help("write `table = \"namespace.table\"`"))
    })
}

/// The range of the rows: whole partitions, and an end where rows would go on for ever.
async fn effective_range(
    engine: &Engine,
    source: &Source<'_>,
    options: &ComputeOptions,
    notes: &mut Vec<String>,
) -> Result<TimeRange> {
    let view = source.view;
    let asked = TimeRange { from: options.from, to: options.to };
    if let (Some(from), Some(to)) = (asked.from, asked.to)
        && from >= to
    {
        return Err(Error::invalid(format!("the range from {from} to {to} is empty"))
            .with_note("`from` is the first moment inside, `to` the first one after"));
    }
    let mut range = asked;
    if view.write == WriteMode::OverwritePartitions && asked != TimeRange::default() {
        range = grain(view).widen(asked);
        if range != asked {
            let why = match grain(view) {
                Grain::Everything => "no partition is by time, so everything is replaced",
                _ => "partitions are replaced whole",
            };
            let range = range_text(range);
            notes.push(format!("the range was widened to {range}: {why}"));
        }
    }
    if let (Emit::Every { every, align }, None) = (&view.emit, range.to) {
        let last = source.last_event(engine).await?;
        // Without an event there is no row, whatever the end.
        let last = last.unwrap_or_default();
        let point = grid_point_from(last, *every, *align);
        range.to = Some(Timestamp::from_micros(point.micros().saturating_add(1)));
    }
    Ok(range)
}

async fn history(engine: &Engine, table: &TableName) -> Result<Vec<icecore_core::SnapshotInfo>> {
    match engine.catalog().history(table).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

fn commit_options(
    view: &FeatureView,
    job: &Job,
    job_id: Option<String>,
    run: Option<&RunId>,
) -> CommitOptions {
    let mut commit = CommitOptions::new(view.write);
    for (field, value) in job.summary() {
        commit = commit.with_summary(field, value);
    }
    if let Some(run) = run {
        commit = commit.with_summary(RUN_ID, run.to_string());
    }
    match job_id {
        Some(job_id) => commit.with_job_id(job_id),
        None => commit,
    }
}

async fn write(
    engine: &Engine,
    source: &Source<'_>,
    commit: CommitOptions,
    progress: Option<ProgressCallback>,
    report: &mut ComputeReport,
) -> Result<()> {
    let view = source.view;
    let schema = source_schema(engine, source).await?;
    report.added_columns = ensure_table(engine, source, &report.table, &schema).await?;
    if !report.added_columns.is_empty() && report.range != TimeRange::default() {
        let columns = report.added_columns.join(", ");
        report.notes.push(format!("new columns are null outside the range: {columns}"));
    }
    let counts = Arc::new(Counts::new(progress));
    let rows = compute(engine, source, report.range, &counts).await?;
    let committed =
        engine.catalog().commit(&report.table, counted(rows, Arc::clone(&counts)), commit).await?;
    report.changed = committed.changed;
    report.rows = counts.rows_out();
    let snapshot = committed.pinned.snapshot;
    report.snapshot_id = (snapshot != PinnedTable::EMPTY).then_some(snapshot);
    report.input_rows = counts.rows_in();
    report.excluded_rows = counts.excluded();
    if report.excluded_rows > 0 {
        let excluded = report.excluded_rows;
        tracing::warn!(view = %view.name, excluded, "left out events without a key or a time");
        report.notes.push(format!("{excluded} events without a join key or a time were left out"));
    }
    tracing::info!(view = %view.name, table = %report.table, rows = report.rows, "computed features");
    Ok(())
}

fn counted(rows: BatchStream, counts: Arc<Counts>) -> BatchStream {
    let schema = rows.schema().clone();
    let rows = rows.inspect(move |batch| {
        if let Ok(batch) = batch {
            counts.add_out(batch.num_rows());
        }
    });
    BatchStream::new(schema, rows)
}

/// Creates the table, or gives it the columns that are new. Returns those.
async fn ensure_table(
    engine: &Engine,
    source: &Source<'_>,
    table: &TableName,
    schema: &SchemaRef,
) -> Result<Vec<String>> {
    let view = source.view;
    let catalog = engine.catalog();
    // A feature may leave the definition later, and its column then stays empty.
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let sort_by = source.keys.iter().chain([&view.event_timestamp]);
    let new = NewTable::new(Arc::clone(&schema))
        .with_partition_by(view.partition_by.clone())
        .with_sort_by(sort_by.cloned());
    match catalog.ensure_table(table, &new).await {
        Ok(_) => Ok(Vec::new()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let described = catalog.describe(table).await?;
            if !same_fields(&described.partition_by, &view.partition_by) {
                let part = "partition_by";
                let error = Error::new(
                    ErrorKind::AlreadyExists,
                    format!("table `{table}` is partitioned differently than `{}` says", view.name),
                )
                .with_note(format!("the table: {}", described.partition_by.join(", ")))
                .with_note(format!("the view: {}", view.partition_by.join(", ")))
                .with_help("name another `table`, or drop this one and compute everything again");
                return Err(source.definitions.locate(view, part, error));
            }
            let evolved = catalog.evolve(table, &schema).await;
            evolved.map_err(|error| source.definitions.locate(view, "table", error))
        }
        Err(error) => Err(source.definitions.locate(view, "table", error)),
    }
}

fn same_fields(left: &[String], right: &[String]) -> bool {
    let plain = |fields: &[String]| -> Vec<String> {
        let spaceless = |field: &String| field.chars().filter(|c| !c.is_whitespace()).collect();
        fields.iter().map(spaceless).collect()
    };
    plain(left) == plain(right)
}

#[cfg(test)]
mod tests;
