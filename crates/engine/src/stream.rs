//! From DataFusion's streams to ours.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use icecore_core::{BatchStream, Result};

use crate::error::from_datafusion;
use crate::files::moment;
use crate::window::moments_of;

/// The type in which values of this type leave the engine.
fn seam_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Timestamp(..) => moment(),
        DataType::Dictionary(_, value) => seam_type(value),
        DataType::List(field) => DataType::List(seam_field(field)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(seam_field).collect()),
        other => other.clone(),
    }
}

fn seam_field(field: &FieldRef) -> FieldRef {
    let data_type = seam_type(field.data_type());
    if *field.data_type() == data_type {
        return Arc::clone(field);
    }
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

/// A schema in the types in which values leave the engine.
pub(crate) fn seam_schema(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(seam_field).collect::<Vec<_>>()))
}

/// A stream in the types in which values leave the engine.
pub(crate) fn normalized(stream: SendableRecordBatchStream) -> Result<BatchStream> {
    let schema = seam_schema(&stream.schema());
    let target = Arc::clone(&schema);
    let batches = stream.map(move |batch| match batch {
        Ok(batch) => fit(&batch, &target),
        Err(error) => Err(from_datafusion(error)),
    });
    Ok(BatchStream::new(schema, batches))
}

fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else if matches!(column.data_type(), DataType::Timestamp(..)) {
                moments_of(column).map_err(from_datafusion)
            } else {
                Ok(cast(column, field.data_type())?)
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
