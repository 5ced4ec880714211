//! The operations, each on icecore's side and on the oracle's.

mod columns;
mod pyiceberg;
mod row_changes;
mod upkeep;

use arrow::datatypes::{DataType, Field, Schema};
use icecore_catalog::RowMode::{CopyOnWrite as ByCopy, MergeOnRead as ByFiles};
use icecore_catalog::{RollbackPolicy, TagMove};
use icecore_core::{
    CommitOptions, Error, RefName, Result, SnapshotCatalog as _, SnapshotSelector, WriteMode,
};

use super::lake::{Lake, row};
use crate::readers::Readers;
use crate::rows::{Rows, Value};

/// What is done to a table of sixty rows in two commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Append,
    Overwrite,
    OverwritePartitions,
    Delete,
    DeleteByFiles,
    DeleteTwice,
    DeleteTwiceByFiles,
    DeleteRegion,
    OverwriteWhere,
    OverwriteWhereByFiles,
    Upsert,
    UpsertByFiles,
    UpsertByTwoKeys,
    DeleteUpsertAndGoOn,
    RowDelta,
    AddColumn,
    Widen,
    DropAndAddColumn,
    RenameColumns,
    MoveColumn,
    AddColumnWithDefault,
    Repartition,
    SortBy,
    TagAndBranch,
    Rollback,
    Publish,
    CherryPick,
    Expire,
    RewriteManifests,
    Compact,
    CompactDeletes,
    CompactEqualityDeletes,
    PyicebergAppend,
    PyicebergOverwrite,
    PyicebergDelete,
    PyicebergUpsert,
    PyicebergEvolve,
}

impl Operation {
    pub(super) fn all() -> Vec<Self> {
        vec![
            Self::Append,
            Self::Overwrite,
            Self::OverwritePartitions,
            Self::Delete,
            Self::DeleteByFiles,
            Self::DeleteTwice,
            Self::DeleteTwiceByFiles,
            Self::DeleteRegion,
            Self::OverwriteWhere,
            Self::OverwriteWhereByFiles,
            Self::Upsert,
            Self::UpsertByFiles,
            Self::UpsertByTwoKeys,
            Self::DeleteUpsertAndGoOn,
            Self::RowDelta,
            Self::AddColumn,
            Self::Widen,
            Self::DropAndAddColumn,
            Self::RenameColumns,
            Self::MoveColumn,
            Self::AddColumnWithDefault,
            Self::Repartition,
            Self::SortBy,
            Self::TagAndBranch,
            Self::Rollback,
            Self::Publish,
            Self::CherryPick,
            Self::Expire,
            Self::RewriteManifests,
            Self::Compact,
            Self::CompactDeletes,
            Self::CompactEqualityDeletes,
            Self::PyicebergAppend,
            Self::PyicebergOverwrite,
            Self::PyicebergDelete,
            Self::PyicebergUpsert,
            Self::PyicebergEvolve,
        ]
    }

    /// Whether the states before it can still be read.
    pub(super) const fn keeps_history(self) -> bool {
        !matches!(self, Self::Expire)
    }

    /// Whether it can be done in this version of the format: PyIceberg writes version 2 alone, and
    /// defaults came with version 3.
    pub(super) fn is_possible(self, version: u8) -> bool {
        match self {
            Self::AddColumnWithDefault => version == 3,
            _ => version == 2 || !format!("{self:?}").starts_with("Pyiceberg"),
        }
    }

    /// How a reader refuses the state after it, where it does.
    pub(super) fn refused_by(self, reader: &str, _version: u8) -> Option<&'static str> {
        match (self, reader) {
            (Self::RowDelta, "pyiceberg") => {
                Some("PyIceberg does not yet support equality deletes")
            }
            _ => None,
        }
    }

    /// Does it, and returns what the table holds then.
    pub(super) async fn apply(
        self,
        lake: &Lake,
        readers: &mut Readers,
        rows: Rows,
    ) -> Result<Rows> {
        match self {
            Self::Append => append(lake, rows).await,
            Self::Overwrite => overwrite(lake, rows).await,
            Self::OverwritePartitions => overwrite_partitions(lake, rows).await,
            Self::Delete => row_changes::delete(lake, ByCopy, rows).await,
            Self::DeleteByFiles => row_changes::delete(lake, ByFiles, rows).await,
            Self::DeleteTwice => row_changes::delete_twice(lake, ByCopy, rows).await,
            Self::DeleteTwiceByFiles => row_changes::delete_twice(lake, ByFiles, rows).await,
            Self::DeleteRegion => row_changes::delete_region(lake, ByFiles, rows).await,
            Self::OverwriteWhere => row_changes::overwrite_where(lake, ByCopy, rows).await,
            Self::OverwriteWhereByFiles => row_changes::overwrite_where(lake, ByFiles, rows).await,
            Self::Upsert => row_changes::upsert(lake, ByCopy, &["id"], rows).await,
            Self::UpsertByFiles => row_changes::upsert(lake, ByFiles, &["id"], rows).await,
            Self::UpsertByTwoKeys => {
                row_changes::upsert(lake, ByCopy, &["region", "id"], rows).await
            }
            Self::DeleteUpsertAndGoOn => row_changes::delete_and_go_on(lake, ByFiles, rows).await,
            Self::RowDelta => row_changes::row_delta(lake, rows).await,
            Self::AddColumn => add_column(lake, rows).await,
            Self::Widen => widen(lake, rows).await,
            Self::DropAndAddColumn => columns::drop_and_add(lake, rows).await,
            Self::RenameColumns => columns::rename(lake, rows).await,
            Self::MoveColumn => columns::reorder(lake, rows).await,
            Self::AddColumnWithDefault => columns::add_with_default(lake, rows).await,
            Self::Repartition => columns::repartition(lake, rows).await,
            Self::SortBy => columns::sort(lake, rows).await,
            Self::TagAndBranch => tag_and_branch(lake, rows).await,
            Self::Rollback => rollback(lake, rows).await,
            Self::Publish => publish(lake, rows).await,
            Self::CherryPick => cherry_pick(lake, rows).await,
            Self::Expire => upkeep::expire(lake, rows).await,
            Self::RewriteManifests => upkeep::rewrite_manifests(lake, rows).await,
            Self::Compact => upkeep::compact(lake, rows).await,
            Self::CompactDeletes => upkeep::compact_deletes(lake, rows).await,
            Self::CompactEqualityDeletes => upkeep::compact_equality_deletes(lake, rows).await,
            Self::PyicebergAppend => pyiceberg::append(lake, readers, rows).await,
            Self::PyicebergOverwrite => pyiceberg::overwrite(lake, readers, rows).await,
            Self::PyicebergDelete => pyiceberg::delete(lake, readers, rows).await,
            Self::PyicebergUpsert => pyiceberg::upsert(lake, readers, rows).await,
            Self::PyicebergEvolve => pyiceberg::evolve(lake, readers, rows).await,
        }
    }
}

/// Rows of numbers that begin where those of the base end.
fn fresh(rows: &Rows, count: i64) -> Rows {
    rows.with((100..100 + count).map(|id| row(id, 1)).collect())
}

async fn append(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    let more = fresh(&rows, 12);
    lake.append(&more).await?;
    rows.rows.extend(more.rows);
    Ok(rows)
}

async fn overwrite(lake: &Lake, rows: Rows) -> Result<Rows> {
    let all = fresh(&rows, 20);
    lake.commit(&all, CommitOptions::new(WriteMode::Overwrite)).await?;
    Ok(all)
}

async fn overwrite_partitions(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    // Numbers that are three apart share a region; nine of them lie on one day.
    let new = rows.with((0..4).map(|step| row(300 + 9 * step, 2)).collect());
    lake.commit(&new, CommitOptions::new(WriteMode::OverwritePartitions)).await?;
    let touched: Vec<_> = new.rows.iter().map(|row| lake.partition_of(row)).collect();
    rows.rows.retain(|row| !touched.contains(&lake.partition_of(row)));
    rows.rows.extend(new.rows);
    Ok(rows)
}

/// The columns of a table with one added, or with another type.
async fn evolve(lake: &Lake, rows: &Rows, column: &str, kind: DataType) -> Result<Vec<String>> {
    let mut fields: Vec<Field> =
        rows.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    match fields.iter_mut().find(|field| field.name() == column) {
        Some(field) => field.set_data_type(kind),
        None => fields.push(Field::new(column, kind, true)),
    }
    lake.catalog.evolve(&lake.table, &std::sync::Arc::new(Schema::new(fields))).await
}

async fn add_column(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    evolve(lake, &rows, "channel", DataType::Utf8).await?;
    rows.columns.push(("channel".to_owned(), DataType::Utf8));
    for row in &mut rows.rows {
        row.push(Value::Null);
    }
    let more = rows.with((100..103).map(|id| with(row(id, 1), Value::text("web"))).collect());
    lake.append(&more).await?;
    rows.rows.extend(more.rows);
    Ok(rows)
}

fn with(mut row: Vec<Value>, value: Value) -> Vec<Value> {
    row.push(value);
    row
}

async fn widen(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    evolve(lake, &rows, "visits", DataType::Int64).await?;
    let place = rows.at("visits");
    rows.columns[place].1 = DataType::Int64;
    let mut more = fresh(&rows, 3);
    more.rows[0][place] = Value::Int(1 << 40);
    lake.append(&more).await?;
    rows.rows.extend(more.rows);
    Ok(rows)
}

async fn tag_and_branch(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    let (tag, branch) = (RefName::parse("v1")?, RefName::parse("audit")?);
    let pin = lake.pin().await;
    lake.catalog.tag(&pin, &tag, TagMove::Refuse).await?;
    lake.catalog.branch(&pin, &branch).await?;
    let before = rows.state();
    let more = fresh(&rows, 5);
    lake.append(&more).await?;
    rows.rows.extend(more.rows);
    for name in [tag, branch] {
        let named = lake.catalog.pin(&lake.table, &SnapshotSelector::Ref(name)).await?;
        if lake.scan(Some(&named)).await?.state() != before {
            return Err(Error::internal("a ref moved with `main`"));
        }
    }
    Ok(rows)
}

async fn rollback(lake: &Lake, rows: Rows) -> Result<Rows> {
    let pin = lake.pin().await;
    lake.commit(&fresh(&rows, 5), CommitOptions::new(WriteMode::Overwrite)).await?;
    lake.catalog.rollback(&lake.table, pin.snapshot, RollbackPolicy::AncestorsOnly).await?;
    Ok(rows)
}

/// A branch with two commits that nobody saw until it was published.
async fn publish(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    let branch = RefName::parse("audit")?;
    lake.catalog.branch(&lake.pin().await, &branch).await?;
    let before = rows.state();
    for from in [100, 200] {
        let more = rows.with((from..from + 5).map(|id| row(id, 1)).collect());
        let options = CommitOptions::new(WriteMode::Append).with_branch(branch.clone());
        lake.commit(&more, options).await?;
        if lake.scan(None).await?.state() != before {
            return Err(Error::internal("`main` moved with a branch"));
        }
        rows.rows.extend(more.rows);
    }
    lake.catalog.publish(&lake.table, &branch).await?;
    Ok(rows)
}

/// One of two appends to a branch, after `main` went on.
async fn cherry_pick(lake: &Lake, rows: Rows) -> Result<Rows> {
    let branch = RefName::parse("side")?;
    lake.catalog.branch(&lake.pin().await, &branch).await?;
    let mut rows = append(lake, rows).await?;
    for (from, taken) in [(200, false), (300, true)] {
        let more = rows.with((from..from + 5).map(|id| row(id, 1)).collect());
        let options = CommitOptions::new(WriteMode::Append).with_branch(branch.clone());
        let done = lake.commit(&more, options).await?;
        if taken {
            let picked = done.pinned.snapshot;
            lake.catalog.cherry_pick(&lake.table, picked, &RefName::main()).await?;
            rows.rows.extend(more.rows);
        }
    }
    Ok(rows)
}
