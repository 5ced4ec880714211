//! Reading a pinned table.

mod plan;
mod read;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use iceberg::spec::{NestedFieldRef, Schema, SchemaRef, SnapshotRef};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, PinnedTable, Result, SnapshotId};

pub(crate) use plan::plan_files;
pub use plan::{ColumnRange, FilePlan, PlannedFile};
pub(crate) use read::scan;

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
            .with_help("it may have been expired; `icecore log` lists the snapshots there are")),
        },
    }
}

/// The columns that Iceberg's planning may be asked about. It holds no bounds of lists and structs,
/// and it leaves out every file from before a column became wider.
fn steady_columns<'a>(table: &Table, columns: &'a Schema) -> BTreeSet<&'a str> {
    let is_steady = |field: &&NestedFieldRef| {
        let mut schemas = table.metadata().schemas_iter();
        field.field_type.is_primitive()
            && schemas.all(|schema| {
                schema.field_by_id(field.id).is_none_or(|past| past.field_type == field.field_type)
            })
    };
    let fields = columns.as_struct().fields().iter().filter(is_steady);
    fields.map(|field| field.name.as_str()).collect()
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
