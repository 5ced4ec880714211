//! A process that works on the table.
#![expect(clippy::expect_used, reason = "what a simulation is made of is right or a bug of it")]

use std::sync::Arc;

use arrow::array::{AsArray, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use icecore_catalog::{
    CleanOptions, ExpireOptions, IcebergCatalog, RollbackPolicy, RowMode, RowOptions, TagMove,
    UpsertOptions,
};
use icecore_core::{
    BatchStream, CommitOptions, Committed, Error, ErrorKind, PinnedTable, RefName, Result,
    ScanOptions, SnapshotCatalog, SnapshotId, SnapshotSelector, Span, TableName, Timestamp,
    WriteMode,
};

use super::effect::{Effect, Row};
use super::ledger::{Action, Said};

/// The summary field that says which job made a snapshot.
pub(super) const JOB: &str = "sim.job";

pub(super) fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("part", DataType::Int32, false),
        Field::new("value", DataType::Int64, false),
    ]))
}

fn stream(rows: &[Row]) -> BatchStream {
    let ids = Int64Array::from_iter_values(rows.iter().map(|(id, _, _)| *id));
    let parts = Int32Array::from_iter_values(rows.iter().map(|(_, part, _)| *part));
    let values = Int64Array::from_iter_values(rows.iter().map(|(_, _, value)| *value));
    let columns_of: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(ids), Arc::new(parts), Arc::new(values)];
    let batch = RecordBatch::try_new(columns(), columns_of).expect("columns of one length");
    BatchStream::from_batches(columns(), vec![batch])
}

/// The rows that a pin reads, in order of id.
pub(super) async fn rows_of(catalog: &IcebergCatalog, pin: &PinnedTable) -> Result<Vec<Row>> {
    let batch = catalog.scan(pin, ScanOptions::default()).await?.concat().await?;
    let ids = batch.column(0).as_primitive::<Int64Type>().values();
    let parts = batch.column(1).as_primitive::<Int32Type>().values();
    let values = batch.column(2).as_primitive::<Int64Type>().values();
    let rows = ids.iter().zip(parts).zip(values);
    let mut rows: Vec<Row> = rows.map(|((id, part), value)| (*id, *part, *value)).collect();
    rows.sort_unstable();
    Ok(rows)
}

/// Does a piece of work in a process.
pub(super) async fn perform(
    catalog: &IcebergCatalog,
    table: &TableName,
    (number, action): (u64, &Action),
) -> Said {
    let said = match action {
        Action::Change(effect) => change(catalog, table, (number, effect)).await,
        Action::Tag(name, snapshot) => tag(catalog, table, name, *snapshot).await,
        Action::Rollback(to) => rollback(catalog, table, *to).await,
        Action::Read(snapshot) => read(catalog, table, *snapshot).await,
        Action::Expire | Action::Clean => maintain(catalog, table, action).await,
    };
    said.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &Error) -> Said {
    if error.kind() == ErrorKind::OutcomeUnknown {
        return Said::Unknown(error.attempt().map(str::to_owned));
    }
    Said::Failed(error.kind(), format!("{error:?}"))
}

/// Both ways in which rows leave their files are taken.
const fn row_mode(number: u64) -> RowMode {
    if number.is_multiple_of(2) { RowMode::CopyOnWrite } else { RowMode::MergeOnRead }
}

fn done(committed: &Committed) -> Said {
    Said::Done(Some(committed.pinned.snapshot), committed.changed)
}

async fn change(
    catalog: &IcebergCatalog,
    table: &TableName,
    (number, effect): (u64, &Effect),
) -> Result<Said> {
    let options = |mode| {
        CommitOptions::new(mode)
            .with_summary(JOB, number.to_string())
            .with_job_id(format!("job-{number}"))
    };
    let committed = match effect {
        Effect::Append(rows) => {
            catalog.commit(table, stream(rows), options(WriteMode::Append)).await?
        }
        Effect::Replace(_, rows) => {
            catalog.commit(table, stream(rows), options(WriteMode::OverwritePartitions)).await?
        }
        Effect::ReplaceAll(rows) => {
            catalog.commit(table, stream(rows), options(WriteMode::Overwrite)).await?
        }
        Effect::Amend(partition, row) => {
            let pin = catalog.pin(table, &SnapshotSelector::Latest).await?;
            let mut rows = rows_of(catalog, &pin).await?;
            rows.retain(|(id, part, _)| part == partition && *id != row.0);
            rows.push(*row);
            let options = options(WriteMode::OverwritePartitions).with_base(pin.snapshot);
            catalog.commit(table, stream(&rows), options).await?
        }
        Effect::Delete(partition, below) => {
            let options = RowOptions::default()
                .with_commit(options(WriteMode::Append))
                .with_mode(row_mode(number));
            let filter = Effect::filter(*partition, *below);
            let changes = catalog.delete(table, filter, options).await?;
            return Ok(Said::Done(Some(changes.pinned.snapshot), changes.changed));
        }
        Effect::Upsert(rows) => {
            let options = UpsertOptions::default()
                .with_commit(options(WriteMode::Append))
                .with_mode(row_mode(number));
            let key = ["id".to_owned()];
            let changes = catalog.upsert(table, stream(rows), &key, options).await?;
            return Ok(Said::Done(Some(changes.pinned.snapshot), changes.changed));
        }
    };
    Ok(done(&committed))
}

async fn pin_of(catalog: &IcebergCatalog, table: &TableName, id: i64) -> Result<PinnedTable> {
    catalog.pin(table, &SnapshotSelector::Id(SnapshotId::new(id))).await
}

async fn tag(
    catalog: &IcebergCatalog,
    table: &TableName,
    name: &str,
    snapshot: i64,
) -> Result<Said> {
    let pin = pin_of(catalog, table, snapshot).await?;
    catalog.tag(&pin, &RefName::parse(name)?, TagMove::Refuse).await?;
    Ok(Said::Done(Some(pin.snapshot), false))
}

async fn rollback(catalog: &IcebergCatalog, table: &TableName, to: i64) -> Result<Said> {
    let pin = catalog.rollback(table, SnapshotId::new(to), RollbackPolicy::Force).await?;
    Ok(Said::Done(Some(pin.snapshot), false))
}

async fn read(catalog: &IcebergCatalog, table: &TableName, snapshot: Option<i64>) -> Result<Said> {
    let pin = match snapshot {
        Some(id) => pin_of(catalog, table, id).await?,
        None => catalog.pin(table, &SnapshotSelector::Latest).await?,
    };
    let rows = rows_of(catalog, &pin).await?;
    Ok(Said::Rows(pin.snapshot.get(), rows))
}

/// Old enough to expire, and to belong to no writer.
pub(super) const OLD: Span = Span::from_micros(3 * 3_600_000_000);

async fn maintain(catalog: &IcebergCatalog, table: &TableName, action: &Action) -> Result<Said> {
    match action {
        Action::Clean => {
            catalog.clean(table, CleanOptions::default().with_older_than(OLD)).await?;
        }
        _ => {
            // A process does not know how wrong its clock is; two hours are far more than that.
            let latest = catalog.history(table).await?.last().map(|last| last.committed_at);
            let before =
                latest.map(|moment| Timestamp::from_micros(moment.micros() - OLD.micros() / 2));
            let options =
                ExpireOptions::default().with_older_than(before).with_retain_last(Some(2));
            catalog.expire(table, options).await?;
        }
    }
    Ok(Said::Done(None, false))
}
