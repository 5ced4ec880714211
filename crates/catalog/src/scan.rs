//! Reading a pinned table.

mod delete;
mod file;
mod plan;
mod read;
mod rows;
mod task;

#[cfg(test)]
mod tests;

use iceberg::spec::{SchemaRef, SnapshotRef};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, PinnedTable, Result, SnapshotId};

pub(crate) use delete::deleted_positions;
pub(crate) use file::{StoredChunk, StoredFile};
pub(crate) use plan::plan_files;
pub use plan::{ColumnRange, FilePlan, PlannedFile};
pub(crate) use read::{scan, scan_files};
pub(crate) use rows::{TaskRead, read_task};
pub(crate) use task::{DeleteTask, FileFacts, FileTask, plan_tasks};

use crate::error::Context as _;

/// The snapshot that an id means; `None` for the table before its first.
fn snapshot(table: &Table, id: Option<i64>) -> Result<Option<SnapshotRef>> {
    match id.map(SnapshotId::new) {
        None | Some(PinnedTable::EMPTY) => Ok(None),
        Some(id) => match table.metadata().snapshot_by_id(id.get()) {
            Some(snapshot) => Ok(Some(snapshot.clone())),
            None => Err(Error::new(
                ErrorKind::NotFound,
                format!("table `{}` has no snapshot `{id}`", table.identifier()),
            )
            .with_help(
                "it may have been expired; `icecore table log` lists the snapshots there are",
            )),
        },
    }
}

/// The columns that a snapshot was written with.
fn columns_of(table: &Table, snapshot: Option<&SnapshotRef>) -> Result<SchemaRef> {
    match snapshot {
        Some(snapshot) => {
            snapshot.schema(table.metadata()).context(|| "cannot read a snapshot's columns")
        }
        None => Ok(table.metadata().current_schema().clone()),
    }
}
