//! The table that a view's rows are in.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use futures::{StreamExt, stream};
use icecore_catalog::{RowFilter, RowOptions, RowTest};
use icecore_core::{
    BatchStream, CommitOptions, CompareOp, Error, ErrorKind, FeatureView, Literal, NewTable,
    PinnedTable, Predicate, Result, SnapshotCatalog, SnapshotId, SnapshotInfo, TableName,
    TimeRange, Timestamp, WriteMode,
};
use icecore_engine::Engine;
use icecore_monitor::{ProfileOptions, TableWriteMode, TableWriter};

use crate::Definitions;
use crate::affected::Affected;
use crate::counted::Counts;
use crate::source::Source;

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// The state with the rows; absent where the table still has none.
    pub(crate) snapshot: Option<SnapshotId>,
    pub(crate) changed: bool,
    /// Rows that are gone or replaced.
    pub(crate) removed_rows: u64,
}

/// Which rows of the table are replaced.
#[derive(Debug, Clone)]
pub(crate) enum Area {
    /// Those of a stretch of time. Without new rows nothing happens, unless it has to.
    Range(TimeRange, OnNothing),
    /// Those that events that changed had a part in.
    Affected(Arc<Affected>),
}

/// What happens to the rows of a range that has no events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnNothing {
    /// They stay (C146): a source that is empty is more likely a mistake.
    Keep,
    /// They are removed.
    Remove,
}

/// The table of a view whose rows are computed.
pub(crate) fn computed_table<'d>(
    definitions: &Definitions,
    view: &'d FeatureView,
) -> Result<&'d TableName> {
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

/// The snapshots of a table, oldest first; none if there is no table.
pub(crate) async fn history(engine: &Engine, table: &TableName) -> Result<Vec<SnapshotInfo>> {
    match engine.catalog().history(table).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// The state that a history ends at.
pub(crate) fn head(history: &[SnapshotInfo]) -> SnapshotId {
    let newest = history.iter().rev().find(|snapshot| snapshot.on_main);
    newest.map_or(PinnedTable::EMPTY, |snapshot| snapshot.id)
}

/// Replaces rows in one commit: those of the area, or all where a range is written over everything.
///
/// # Errors
///
/// `Conflict` if others committed rows since the base of `commit` that are replaced.
pub(crate) async fn replace(
    engine: &Engine,
    source: &Source<'_>,
    table: &TableName,
    (area, rows): (Area, BatchStream),
    mut commit: CommitOptions,
) -> Result<Written> {
    let catalog = engine.catalog();
    let write = source.view.write;
    let (rows, is_empty) = match area {
        Area::Range(_, OnNothing::Keep) => peeked(rows).await?,
        _ => (rows, false),
    };
    let keys = ProfileOptions::default().with_private(source.keys.iter().cloned());
    let statistics = TableWriter::new(catalog, table, keys).await?;
    let rows = statistics.observe(rows);
    if is_empty {
        // Overwriting with nothing would remove what is there.
        commit.mode = WriteMode::Append;
    }
    let (filter, mode) = match (area, write) {
        // However ranges are written, all other rows are still those of the sources.
        (Area::Affected(affected), _) => {
            (Some(RowFilter::from(affected as Arc<dyn RowTest>)), TableWriteMode::Delta)
        }
        _ if is_empty => (None, TableWriteMode::Append),
        // A range is made of whole partitions.
        (Area::Range(range, _), WriteMode::OverwritePartitions) => {
            let range = RowFilter::from(within(&source.view.event_timestamp, range));
            (Some(range), TableWriteMode::ReplacePartitions)
        }
        (Area::Range(..), WriteMode::Overwrite) => (None, TableWriteMode::Replace),
        (Area::Range(..), _) => (None, TableWriteMode::Append),
    };
    let Some(filter) = filter else {
        let done = catalog.commit(table, rows, commit).await?;
        if done.changed {
            statistics.store_or_warn(catalog, &done.pinned, mode).await;
        }
        return Ok(Written {
            snapshot: some(&done.pinned),
            changed: done.changed,
            removed_rows: done.removed_rows,
        });
    };
    let options = RowOptions::default().with_commit(commit);
    let done = catalog.overwrite_where(table, filter, rows, options).await?;
    if done.changed {
        statistics.store_or_warn(catalog, &done.pinned, mode).await;
    }
    Ok(Written { snapshot: some(&done.pinned), changed: done.changed, removed_rows: done.deleted })
}

fn some(pinned: &PinnedTable) -> Option<SnapshotId> {
    (pinned.snapshot != PinnedTable::EMPTY).then_some(pinned.snapshot)
}

/// The same rows, and whether there are none.
async fn peeked(rows: BatchStream) -> Result<(BatchStream, bool)> {
    let schema = rows.schema().clone();
    let mut rows = rows.boxed();
    let mut first = None;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        if batch.num_rows() > 0 {
            first = Some(batch);
            break;
        }
    }
    let is_empty = first.is_none();
    let rows = stream::iter(first.map(Ok)).chain(rows);
    Ok((BatchStream::new(schema, rows), is_empty))
}

/// A stretch of time as a predicate.
pub(crate) fn within(column: &str, range: TimeRange) -> Predicate {
    let compare = |op, moment: Option<Timestamp>| {
        moment.map(|moment| Predicate::compare(column, op, Literal::Timestamp(moment)))
    };
    let ends = [compare(CompareOp::GtEq, range.from), compare(CompareOp::Lt, range.to)];
    Predicate::And(ends.into_iter().flatten().collect())
}

/// Counts rows as they come out.
pub(crate) fn counted(rows: BatchStream, counts: Arc<Counts>) -> BatchStream {
    let schema = rows.schema().clone();
    let rows = rows.inspect(move |batch| {
        if let Ok(batch) = batch {
            counts.add_out(batch.num_rows());
        }
    });
    BatchStream::new(schema, rows)
}

/// What was done so that a table can take rows.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) added_columns: Vec<String>,
    is_new: bool,
}

impl Prepared {
    /// Takes back a table that was made for rows which could not be computed.
    pub(crate) async fn take_back(&self, engine: &Engine, table: &TableName) {
        if !self.is_new {
            return;
        }
        let catalog = engine.catalog();
        let taken = async {
            let found = catalog.describe(table).await?;
            // Unless somebody else gives it rows in this moment.
            match found.head {
                None => catalog.drop_table_at(table, &found.metadata_location).await.map(|_| ()),
                Some(_) => Ok(()),
            }
        };
        if let Err(error) = taken.await {
            tracing::warn!(%table, %error, "an empty table is left");
        }
    }
}

/// Creates the table, or gives it the columns that are new.
pub(crate) async fn ensure_table(
    engine: &Engine,
    source: &Source<'_>,
    table: &TableName,
    schema: &SchemaRef,
) -> Result<Prepared> {
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
        Ok(is_new) => Ok(Prepared { is_new, added_columns: Vec::new() }),
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
            let added = evolved.map_err(|error| source.definitions.locate(view, "table", error))?;
            Ok(Prepared { is_new: false, added_columns: added })
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
