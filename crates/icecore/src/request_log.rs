//! What was asked and answered, as tables.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, is_not_null, nullif};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use icecore_catalog::IcebergCatalog;
use icecore_core::{
    BatchStream, CommitOptions, NewTable, Result, SnapshotCatalog, TableName, WriteMode,
};
use icecore_monitor::{ProfileOptions, TableWriteMode, TableWriter};
use icecore_serve::{LogUnit, RequestSink};

/// A table for each log, partitioned by the hour of the request: `NAMESPACE.features_SERVICE`,
/// `NAMESPACE.model_NAME`, `NAMESPACE.scores_JOB`.
#[derive(Debug)]
pub(crate) struct LogTables {
    pub(crate) catalog: IcebergCatalog,
    pub(crate) namespace: String,
}

#[async_trait]
impl RequestSink for LogTables {
    async fn write(&self, unit: &LogUnit) -> Result<()> {
        let table = TableName::parse(&format!("{}.{}", self.namespace, unit.log))?;
        let new = NewTable::new(unit.rows.schema()).with_partition_by(["hour(event_timestamp)"]);
        if !self.catalog.ensure_table(&table, &new).await? {
            let known = self.catalog.describe(&table).await?.schema;
            let rows = fitted(&unit.rows, &known)?;
            self.catalog.evolve(&table, &rows.schema()).await?;
            return self.append(&table, unit, rows).await;
        }
        self.append(&table, unit, unit.rows.clone()).await
    }
}

impl LogTables {
    async fn append(&self, table: &TableName, unit: &LogUnit, rows: RecordBatch) -> Result<()> {
        let private = ProfileOptions::default().with_private(unit.keys.iter().cloned());
        let statistics = TableWriter::new(&self.catalog, table, private).await?;
        let stream = BatchStream::from_batches(rows.schema(), vec![rows]);
        let options = CommitOptions::new(WriteMode::Append).with_job_id(&unit.id);
        let committed = self.catalog.commit(table, statistics.observe(stream), options).await?;
        if committed.changed {
            // What is drift of an hour, is told from these (C105).
            let mode = TableWriteMode::Append;
            statistics.store_or_warn(&self.catalog, &committed.pinned, mode).await;
        }
        Ok(())
    }
}

/// Behind the name of a column: the column with what was sent and is not of its type.
const AS_SENT: &str = "_as_sent";

/// The rows with the types that the table has its columns in. A value of another type is logged as
/// text in a column of its own: what one client sends is no reason not to log the others.
fn fitted(rows: &RecordBatch, table: &SchemaRef) -> Result<RecordBatch> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    let mut misfits: Vec<(String, ArrayRef)> = Vec::new();
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let wanted = table.field_with_name(field.name()).map(Field::data_type);
        let wanted = wanted.unwrap_or_else(|_| field.data_type());
        let fits = cast_with_options(column, wanted, &strict).or_else(|_| {
            let fits = cast_or_null(column, wanted);
            let sent = nullif(&cast_or_null(column, &DataType::Utf8), &is_not_null(&fits)?)?;
            misfits.push((format!("{}{AS_SENT}", field.name()), sent));
            Ok::<_, arrow::error::ArrowError>(fits)
        })?;
        fields.push(Field::new(field.name(), wanted.clone(), true));
        columns.push(fits);
    }
    for (name, sent) in misfits {
        let is_other = |known: &Field| known.data_type() != &DataType::Utf8;
        let is_taken = rows.schema_ref().field_with_name(&name).is_ok()
            || table.field_with_name(&name).is_ok_and(is_other);
        if !is_taken {
            fields.push(Field::new(name, DataType::Utf8, true));
            columns.push(sent);
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The values that have this type; the others are null.
fn cast_or_null(column: &ArrayRef, data_type: &DataType) -> ArrayRef {
    let cast = cast_with_options(column, data_type, &CastOptions::default());
    cast.unwrap_or_else(|_| new_null_array(data_type, column.len()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn what_is_not_of_the_logs_type_is_kept_as_it_was_sent() {
        let sent = |values: ArrayRef| RecordBatch::try_from_iter([("user", values)]).unwrap();
        let table = sent(Arc::new(Int64Array::from(vec![1]))).schema();
        let numbers: ArrayRef = Arc::new(StringArray::from(vec![Some("42"), None]));
        let rows = fitted(&sent(numbers), &table).unwrap();
        assert_eq!(rows.columns(), [Arc::new(Int64Array::from(vec![Some(42), None])) as ArrayRef]);
        let mixed: ArrayRef = Arc::new(StringArray::from(vec![Some("42"), Some("u42"), None]));
        let rows = fitted(&sent(mixed), &table).unwrap();
        assert_eq!(rows.schema().field(1).name(), "user_as_sent");
        let user: ArrayRef = Arc::new(Int64Array::from(vec![Some(42), None, None]));
        let as_sent: ArrayRef = Arc::new(StringArray::from(vec![None, Some("u42"), None]));
        assert_eq!(rows.columns(), [user, as_sent]);
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(7)])]);
        let rows = fitted(&sent(Arc::new(list)), &table).unwrap();
        assert_eq!((rows.num_rows(), rows.column(0).null_count()), (1, 1));
    }
}
