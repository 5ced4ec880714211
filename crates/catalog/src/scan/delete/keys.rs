//! Rows that are deleted by the values of their key.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::row::{RowConverter, SortField};
use futures::TryStreamExt;
use iceberg::spec::NestedFieldRef;
use iceberg::table::Table;
use icecore_core::{Error, Result};

use crate::predicate::comparable;
use crate::scan::file::{Decode, decode, names_of};
use crate::storage::{KnownFile as _, ListedFile};

/// The keys that an equality delete file deletes. A null is a key like any other.
#[derive(Debug)]
pub(in crate::scan) struct DeletedKeys {
    /// The columns of the key.
    pub(in crate::scan) columns: Vec<NestedFieldRef>,
    keys: HashSet<Box<[u8]>>,
}

impl DeletedKeys {
    pub(super) async fn load(table: &Table, file: &ListedFile) -> Result<Self> {
        let path = file.file_path();
        let ids = file.equality_ids();
        if ids.is_empty() {
            return Err(Error::corrupt(format!(
                "equality delete file `{path}` does not say by which columns"
            )));
        }
        let columns = ids.iter().map(|id| {
            column(table, *id).ok_or_else(|| {
                Error::unsupported(format!(
                    "equality delete file `{path}` deletes by field {id}, which is no column"
                ))
            })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let decode_all = Decode::all(columns.clone(), names_of(table)?);
        let mut batches = decode(table.file_io(), file, decode_all).await?;
        let mut keys = HashSet::new();
        while let Some(batch) = batches.try_next().await? {
            for row in &rows(batch.columns())? {
                if !keys.contains(row.data()) {
                    keys.insert(Box::from(row.data()));
                }
            }
        }
        Ok(Self { columns, keys })
    }

    /// Which rows, of which this is the key, are not deleted by any of these.
    pub(in crate::scan) fn live(deletes: &[Arc<Self>], key: &[ArrayRef]) -> Result<BooleanArray> {
        let rows = rows(key)?;
        let live = rows.iter().map(|row| {
            let row = row.data();
            !deletes.iter().any(|delete| delete.keys.contains(row))
        });
        Ok(BooleanArray::new(live.collect(), None))
    }
}

/// A column by its id, dropped ones among them, as the youngest schema that has it does.
fn column(table: &Table, id: i32) -> Option<NestedFieldRef> {
    let metadata = table.metadata();
    let mut schemas: Vec<_> = metadata.schemas_iter().collect();
    schemas.sort_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
    let schemas = std::iter::once(metadata.current_schema()).chain(schemas);
    let mut fields = schemas.flat_map(|schema| schema.as_struct().fields());
    fields.find(|field| field.id == id && field.field_type.is_primitive()).cloned()
}

/// Keys as bytes that are equal where the keys are.
fn rows(key: &[ArrayRef]) -> Result<arrow::row::Rows> {
    let key: Vec<ArrayRef> = key.iter().map(comparable).collect();
    let fields = key.iter().map(|column| SortField::new(column.data_type().clone()));
    Ok(RowConverter::new(fields.collect())?.convert_columns(&key)?)
}
