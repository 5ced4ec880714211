//! Columns, partitions and sort orders between Arrow and Iceberg.

mod alter;
mod alteration;
mod column_type;
mod columns;
mod draft;
mod evolution;
mod layout;
mod partition;
mod sort;
mod type_text;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use iceberg::spec::{Schema, TableMetadata};
use icecore_core::{Error, ErrorKind, Result};

pub(crate) use alter::{Redesign, alter};
pub use alteration::{Alteration, ColumnPlace, NewColumn};
#[cfg(test)]
pub(crate) use column_type::to_iceberg;
pub(crate) use column_type::to_iceberg_of;
pub(crate) use draft::ids_of;
pub(crate) use evolution::evolution;
pub(crate) use partition::{describe_partition, partition_spec};
pub(crate) use sort::{describe_sort, sort_order};
pub use type_text::ColumnType;

use crate::error::Context as _;

/// The Arrow schema that rows of a table are read and written with. Moments are
/// `Timestamp(Microsecond, "+00:00")`, text is `Utf8`, and each field carries its Iceberg id.
pub(crate) fn to_arrow(schema: &Schema) -> Result<SchemaRef> {
    let arrow = iceberg::arrow::schema_to_arrow_schema(schema);
    arrow.map(Arc::new).context(|| "cannot read the table's columns")
}

/// Paths of the columns that tell a row from every other one, in order.
pub(crate) fn describe_identifier(schema: &Schema) -> Vec<String> {
    let paths = schema.identifier_field_ids().filter_map(|id| schema.name_by_field_id(id));
    let mut paths: Vec<String> = paths.map(str::to_owned).collect();
    paths.sort();
    paths
}

/// Whether every column of every file of the table can be found by its present name: no schema of
/// the table's past calls one field by two names, or two fields by one name.
pub(crate) fn names_are_stable(metadata: &TableMetadata) -> bool {
    let mut name_of = BTreeMap::new();
    let mut id_of = BTreeMap::new();
    has_all_schemas(metadata)
        && metadata.schemas_iter().all(|schema| {
            schema.field_id_to_name_map().iter().all(|(id, name)| {
                *name_of.entry(*id).or_insert_with(|| name.clone()) == *name
                    && *id_of.entry(name.clone()).or_insert(*id) == *id
            })
        })
}

/// Whether no schema of the table's past is seen to be gone: they are numbered as they come. Some
/// engines drop those that no snapshot has any more, and files from their time are still there.
fn has_all_schemas(metadata: &TableMetadata) -> bool {
    let ids: BTreeSet<i32> = metadata.schemas_iter().map(|schema| schema.schema_id()).collect();
    ids.into_iter().zip(0..).all(|(id, place)| id == place)
}

/// The error for a column that a table does not have: it lists those that it has.
pub(crate) fn no_such_column(schema: &Schema, name: &str) -> Error {
    let columns: Vec<&str> =
        schema.as_struct().fields().iter().map(|field| field.name.as_str()).collect();
    unknown_column(name, &columns)
}

/// The error for a column that is not one of these.
pub(crate) fn unknown_column(name: &str, columns: &[&str]) -> Error {
    Error::new(ErrorKind::NotFound, format!("the table has no column `{name}`"))
        .with_note(format!("columns: {}", columns.join(", ")))
        .with_candidates(name, columns.iter().copied())
}
