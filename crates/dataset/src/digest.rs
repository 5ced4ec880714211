//! The hash of a training set's rows, whatever has become of their table's types.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use futures::TryStreamExt;
use icecore_core::{BatchStream, PinnedTable, Result, ScanOptions, SnapshotCatalog};
use icecore_engine::Engine;
use icecore_kernel::ContentHash;

use crate::lock::Lock;
use crate::rows::{Content, joined};

/// Rows, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsDigest {
    /// How many.
    pub rows: u64,
    /// Their hash, whatever their order and layout.
    pub content_hash: String,
}

impl From<Content> for RowsDigest {
    fn from(content: Content) -> Self {
        Self { rows: content.rows, content_hash: content.content_hash }
    }
}

/// Reads all rows of a state of the dataset's table and hashes the columns of the lock, those that
/// the state has, in the lock's types: at the lock's pin it is the lock's hash.
///
/// # Errors
///
/// `NotFound` if the state has expired.
pub async fn digest(engine: &Engine, lock: &Lock, pin: &PinnedTable) -> Result<RowsDigest> {
    let schema = engine.catalog().schema(pin).await?;
    let columns = lock.columns.iter().map(|column| column.name.clone());
    let columns = columns.filter(|name| schema.column_with_name(name).is_some());
    let options = ScanOptions::default().with_columns(columns);
    let rows = engine.catalog().scan(pin, options).await?;
    digest_as(rows, &|name| {
        let column = lock.columns.iter().find(|column| column.name == name)?;
        column.data_type.parse().ok()
    })
    .await
}

/// Joins the rows of a lock again from its pins and hashes them. Keeps none.
///
/// # Errors
///
/// `NotFound` if a pin has expired.
pub async fn rebuilt_digest(engine: &Engine, lock: &Lock) -> Result<RowsDigest> {
    Ok(joined(engine, &lock.plan).await?.drain().await?.into())
}

/// Hashes the rows of a table in the types that they were written in.
pub(crate) async fn digest_as(
    mut rows: BatchStream,
    written: &(dyn Fn(&str) -> Option<DataType> + Sync),
) -> Result<RowsDigest> {
    let schema = narrowed_schema(rows.schema(), written);
    let mut hash = ContentHash::default();
    while let Some(batch) = rows.try_next().await? {
        // Values that were never written so are others, whatever else is in their place.
        match narrowed(&batch, &schema)? {
            (narrow, true) => hash.add_batch(&narrow)?,
            (_, false) => hash.add_batch(&batch)?,
        }
    }
    Ok(RowsDigest { rows: hash.rows(), content_hash: hash.to_hex() })
}

/// The columns of a table in the types that they were written in: another build may have made one
/// wider since, and the hash of a value goes by its type.
pub(crate) fn narrowed_schema(
    table: &SchemaRef,
    written: &dyn Fn(&str) -> Option<DataType>,
) -> SchemaRef {
    let fields = table.fields().iter().map(|field| match written(field.name()) {
        Some(written) if is_wider(field.data_type(), &written) => {
            Arc::new(field.as_ref().clone().with_data_type(written))
        }
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn is_wider(table: &DataType, written: &DataType) -> bool {
    match (table, written) {
        (DataType::Int64, DataType::Int32) | (DataType::Float64, DataType::Float32) => true,
        (DataType::Decimal128(wide, scale), DataType::Decimal128(narrow, other)) => {
            scale == other && wide > narrow
        }
        _ => false,
    }
}

/// A batch in narrower types, and whether every value fits into them; the others are null.
pub(crate) fn narrowed(batch: &RecordBatch, schema: &SchemaRef) -> Result<(RecordBatch, bool)> {
    let (mut columns, mut fits) = (Vec::with_capacity(batch.num_columns()), true);
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        if column.data_type() == field.data_type() {
            columns.push(Arc::clone(column));
            continue;
        }
        let narrow = cast(column, field.data_type())?;
        let back = cast(&narrow, column.data_type())?;
        let lost = distinct(&back, column)?;
        fits &= lost.true_count() == 0;
        columns.push(nullif(&narrow, &lost)?);
    }
    Ok((RecordBatch::try_new(Arc::clone(schema), columns)?, fits))
}
