//! Deleting rows by key without looking for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::compute::concat_batches;
use futures::TryStreamExt;
use iceberg::spec::{PartitionSpecRef, PrimitiveType, Schema, TableMetadata, Type};
use icecore_core::{BatchStream, Error, Result};

use super::target::Target;
use super::writing::Writing;
use crate::schema;
use crate::write::Conform;
use crate::write::equality_deletes::{DeletedKeys, key_schema};

/// Keys whose rows are to be gone, and rows that come in.
///
/// The rows that are there are not read: an equality delete file says which keys are gone, and
/// every reader looks for them. Some engines cannot read such tables at all, PyIceberg among them,
/// and each read pays until the table is compacted.
#[derive(Debug)]
#[non_exhaustive]
pub struct RowDelta {
    /// Rows that were there before and have one of these keys are gone. The columns are those that
    /// are compared; a null equals a null.
    pub deleted_keys: BatchStream,
    /// Rows that come in, whatever their keys.
    pub rows: Option<BatchStream>,
}

impl RowDelta {
    /// Deletes rows of these keys.
    #[must_use]
    pub const fn new(deleted_keys: BatchStream) -> Self {
        Self { deleted_keys, rows: None }
    }

    /// Puts these rows in.
    #[must_use]
    pub fn with_rows(mut self, rows: BatchStream) -> Self {
        self.rows = Some(rows);
        self
    }
}

/// Writes what a delta needs.
///
/// # Errors
///
/// `NotFound` for a column that the table lacks, `Unsupported` for keys that no delete file can
/// hold or whose partition does not follow from them; those of the storage.
pub(crate) async fn delete_keys(
    target: &Target,
    delta: RowDelta,
    writing: &mut Writing,
) -> Result<()> {
    let keys = deleted_keys(target, delta.deleted_keys).await?;
    if let Some(rows) = delta.rows {
        writing.insert(rows).await?;
    }
    for keys in keys {
        writing.delete_keys(&keys).await?;
    }
    Ok(())
}

/// The keys in the table's types, once for each partitioning that files of the table are of: a key
/// of a partition says nothing about files of another partitioning.
async fn deleted_keys(target: &Target, keys: BatchStream) -> Result<Vec<DeletedKeys>> {
    let metadata = target.table.metadata();
    let names: Vec<String> =
        keys.schema().fields().iter().map(|field| field.name().clone()).collect();
    let columns = key_schema(target.columns(), &names)?;
    check_types(&columns)?;
    let specs = specs(target).await?;
    for spec in &specs {
        check_partition(metadata, spec, &columns)?;
    }
    let arrow = schema::to_arrow(&columns)?;
    let conform = Conform::try_new(keys.schema(), &arrow)?;
    let batches: Vec<_> = keys.and_then(async |batch| conform.batch(&batch)).try_collect().await?;
    let (schema, keys) = (Arc::new(columns), concat_batches(&arrow, &batches)?);
    let deleted = specs.into_iter().map(|spec| DeletedKeys {
        schema: schema.clone(),
        keys: keys.clone(),
        spec,
    });
    Ok(deleted.collect())
}

/// The partitionings that keys have to be written for. One of no partitions speaks of all files.
async fn specs(target: &Target) -> Result<Vec<PartitionSpecRef>> {
    let metadata = target.table.metadata();
    let mut ids = BTreeSet::from([metadata.default_partition_spec_id()]);
    ids.extend(target.tasks(None).await?.iter().map(|task| task.spec_id));
    let specs = ids.into_iter().filter_map(|id| metadata.partition_spec_by_id(id).cloned());
    let specs: Vec<PartitionSpecRef> = specs.collect();
    match specs.iter().find(|spec| spec.is_unpartitioned()) {
        Some(global) => Ok(vec![global.clone()]),
        None => Ok(specs),
    }
}

fn check_types(columns: &Schema) -> Result<()> {
    for field in columns.as_struct().fields() {
        let fits = match field.field_type.as_ref() {
            Type::Primitive(primitive) => {
                !matches!(primitive, PrimitiveType::Float | PrimitiveType::Double)
            }
            _ => false,
        };
        if !fits {
            return Err(Error::unsupported(format!(
                "rows cannot be deleted by column `{}`, which is `{}`",
                field.name, field.field_type
            )));
        }
    }
    Ok(())
}

fn check_partition(
    metadata: &TableMetadata,
    spec: &PartitionSpecRef,
    columns: &Schema,
) -> Result<()> {
    for field in spec.fields() {
        if columns.field_by_id(field.source_id).is_none() {
            let source = metadata.current_schema().field_by_id(field.source_id);
            let name = source.map_or(field.name.as_str(), |source| source.name.as_str());
            return Err(Error::unsupported(format!(
                "the partition of a deleted key does not follow from it: it lacks `{name}`"
            ))
            .with_help("add the column to the keys, or upsert, which looks for the rows instead"));
        }
    }
    Ok(())
}
