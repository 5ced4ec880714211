//! Rows as JSON.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use icecore_core::{Error, Result};
use serde_json::Value;
use std::sync::Arc;

/// A batch as a list of objects. Snapshot ids become strings: they exceed 2^53, which is what
/// readers of JSON keep exactly.
///
/// # Errors
///
/// `Internal` for a type that JSON cannot hold.
pub fn to_json(batch: &RecordBatch) -> Result<Value> {
    let batch = with_text_ids(batch)?;
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::JsonArray>(Vec::new());
    writer.write(&batch)?;
    writer.finish()?;
    let bytes = writer.into_inner();
    if bytes.is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::internal("rows did not become JSON").with_source(error))
}

fn with_text_ids(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let is_id = |field: &Field| {
        *field.data_type() == DataType::Int64
            && (field.name().ends_with("snapshot_id") || field.name() == "parent_id")
    };
    let mut fields = Vec::with_capacity(schema.fields().len());
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if is_id(field) {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, field.is_nullable())));
            columns.push(arrow::compute::cast(column, &DataType::Utf8)?);
        } else {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
        }
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// A cell as text, for people.
///
/// # Errors
///
/// `Internal` for a type that has no text.
pub fn cell(column: &dyn Array, row: usize) -> Result<String> {
    let format = arrow::util::display::FormatOptions::default().with_null("");
    let formatter = arrow::util::display::ArrayFormatter::try_new(column, &format)?;
    Ok(formatter.value(row).to_string())
}
