//! What changed between two states of a table.
//!
//! A row that came is written if nothing newer is there. That is enough, except where the newest
//! row of an entity is gone and nothing as new came in its place: then the newest one that the
//! table still has is looked up, and may take the place of the one that is gone.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use icecore_catalog::{ChangeMode, ChangeOptions};
use icecore_core::{
    BatchStream, Error, Literal, OnlineChange, PinnedTable, Predicate, Result, RowVersion,
    ScanOptions, SnapshotCatalog,
};
use icecore_online::Origin;

use crate::marker::Claim;
use crate::reader::Reader;
use crate::report::{MaterializeOptions, ViewReport};
use crate::send::{Batch, send, send_all};
use crate::view::{Source, ViewShape};

/// Above so many entities, the whole table is read for the rows that they still have.
const LOOKUPS_MAX: usize = 2_000;

/// Entities of which a row is gone.
pub(crate) type Gone = HashMap<Bytes, Loss>;

#[derive(Debug)]
pub(crate) struct Loss {
    /// The newest row that is gone.
    pub(crate) gone: RowVersion,
    /// The newest row that came.
    pub(crate) came: Option<RowVersion>,
    /// The first of its join keys, to look rows up by; absent where it is not known.
    pub(crate) first_key: Option<Literal>,
}

pub(crate) async fn run(
    source: &Source<'_>,
    shape: &ViewShape,
    (from, to): (&PinnedTable, &PinnedTable),
    (options, claim): (&MaterializeOptions, Option<&Claim<'_>>),
    report: &mut ViewReport,
) -> Result<()> {
    let mut gone = match only_appended(source, from, to).await? {
        true => Gone::new(),
        false => losses(source, shape, (from, to)).await?,
    };
    let reader = Reader::new(shape, Origin::Table);
    let mut read = 0;
    let changes = changes(source, (from, to), ChangeMode::Net).await?;
    let batches = changes.map(|batch| {
        let batch = rows_of(&batch?, Side::Came)?;
        read += batch.num_rows() as u64;
        options.tell(read);
        let rows = reader.read(&batch)?;
        for (key, version) in rows.keys.iter().zip(&rows.versions) {
            if let Some(loss) = gone.get_mut(key) {
                loss.came = loss.came.max(Some(*version));
            }
        }
        Ok(Batch::Changes(rows.into_changes()))
    });
    let summary = send_all(source, &shape.view, batches, claim).await?;
    report.written += summary.applied;
    report.unchanged += summary.stale;
    report.read += read;
    gone.retain(|_, loss| loss.came.is_none_or(|came| came < loss.gone));
    restore(source, shape, to, (claim, gone), report).await
}

/// Whether every commit between two states only brought rows.
async fn only_appended(source: &Source<'_>, from: &PinnedTable, to: &PinnedTable) -> Result<bool> {
    let history = source.engine.catalog().history(&to.table).await?;
    let find = |pin: &PinnedTable| history.iter().find(|info| info.id == pin.snapshot);
    let Some(mut at) = find(to) else { return Ok(false) };
    // Back from the later state to the earlier one, if there is such a way.
    while at.id != from.snapshot {
        if at.operation != "append" {
            return Ok(false);
        }
        let parent = at.parent.and_then(|parent| history.iter().find(|info| info.id == parent));
        match parent {
            Some(parent) => at = parent,
            None => return Ok(from.snapshot == PinnedTable::EMPTY && at.parent.is_none()),
        }
    }
    Ok(true)
}

async fn changes(
    source: &Source<'_>,
    (from, to): (&PinnedTable, &PinnedTable),
    mode: ChangeMode,
) -> Result<BatchStream> {
    Ok(source.engine.catalog().changes(from, to, ChangeOptions::new(mode)).await?.rows)
}

/// Which half of the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Came,
    Gone,
}

/// The rows that came, or those that are gone.
pub(crate) fn rows_of(batch: &RecordBatch, side: Side) -> Result<RecordBatch> {
    let types = batch.column_by_name("_change_type").and_then(|types| types.as_string_opt::<i32>());
    let types: &StringArray =
        types.ok_or_else(|| Error::internal("changes do not say what they are"))?;
    let is_wanted = |change: Option<&str>| {
        matches!(change, Some("insert" | "update_after")) == (side == Side::Came)
    };
    let wanted: BooleanArray = types.iter().map(|change| Some(is_wanted(change))).collect();
    Ok(filter_record_batch(batch, &wanted)?)
}

/// The rows that are gone. Of a table that is pushed to, also those that came and went between the
/// two states: the store may have them from the push.
async fn losses(
    source: &Source<'_>,
    shape: &ViewShape,
    (from, to): (&PinnedTable, &PinnedTable),
) -> Result<Gone> {
    let is_pushed_to = source.definitions.push_sources.iter().any(|of| of.table == to.table);
    let mode = if is_pushed_to { ChangeMode::Log } else { ChangeMode::Net };
    let reader = Reader::new(shape, Origin::Table);
    let mut gone = Gone::new();
    let mut changes = changes(source, (from, to), mode).await?;
    while let Some(batch) = changes.try_next().await? {
        let batch = rows_of(&batch, Side::Gone)?;
        let read = reader.read(&batch)?;
        let first = shape.keys.first().and_then(|key| batch.column_by_name(key.name()));
        for ((key, version), place) in read.keys.into_iter().zip(read.versions).zip(read.places) {
            let loss = gone.entry(key).or_insert_with(|| Loss {
                gone: version,
                came: None,
                first_key: first.and_then(|column| literal(column, place)),
            });
            loss.gone = loss.gone.max(version);
        }
    }
    Ok(gone)
}

/// A value to filter by; `None` where its type cannot be filtered by here.
fn literal(column: &dyn Array, row: usize) -> Option<Literal> {
    if let Some(texts) = column.as_string_opt::<i32>() {
        return texts.is_valid(row).then(|| Literal::Text(texts.value(row).to_owned()));
    }
    let numbers = column.as_primitive_opt::<Int64Type>()?;
    numbers.is_valid(row).then(|| Literal::Int(numbers.value(row)))
}

/// Puts the newest row that the table still has in the place of one that is gone, or none.
pub(crate) async fn restore(
    source: &Source<'_>,
    shape: &ViewShape,
    to: &PinnedTable,
    (claim, gone): (Option<&Claim<'_>>, Gone),
    report: &mut ViewReport,
) -> Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    let mut scan = ScanOptions::default().with_columns(shape.columns());
    let keys: Option<Vec<Literal>> = gone.values().map(|loss| loss.first_key.clone()).collect();
    if let (Some(keys), Some(first)) =
        (keys.filter(|keys| keys.len() <= LOOKUPS_MAX), shape.keys.first())
    {
        scan = scan.with_filter(Predicate::In(first.name().clone(), keys));
    }
    let reader = Reader::new(shape, Origin::Table);
    let mut newest: HashMap<Bytes, (RowVersion, Bytes)> = HashMap::new();
    let mut rows = source.engine.catalog().scan(to, scan).await?;
    while let Some(batch) = rows.try_next().await? {
        let read = reader.read(&batch)?;
        for ((key, version), row) in read.keys.into_iter().zip(read.versions).zip(read.rows) {
            if gone.contains_key(&key) {
                let known = newest.entry(key).or_insert_with(|| (version, row.clone()));
                if version > known.0 {
                    *known = (version, row);
                }
            }
        }
    }
    let mut changes = Vec::with_capacity(gone.len());
    for (key, loss) in gone {
        let found = newest.remove(&key);
        let until = found.as_ref().map_or(loss.gone, |(version, _)| loss.gone.max(*version));
        changes.push(OnlineChange { key, row: found.map(|(_, row)| row), until });
    }
    let (written, removed): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| change.row.is_some());
    let written = send(source, &shape.view, written, claim).await?;
    let removed = send(source, &shape.view, removed, claim).await?;
    report.written += written.applied;
    report.removed += removed.applied;
    report.unchanged += written.stale + removed.stale;
    Ok(())
}
