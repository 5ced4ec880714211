//! What was asked and answered, as tables.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use icecore_catalog::IcebergCatalog;
use icecore_core::{
    BatchStream, CommitOptions, Error, NewTable, Result, SnapshotCatalog, TableName, WriteMode,
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

/// The rows with the types that the table has its columns in.
fn fitted(rows: &RecordBatch, table: &SchemaRef) -> Result<RecordBatch> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let wanted = table.field_with_name(field.name()).map(Field::data_type);
        let wanted = wanted.unwrap_or_else(|_| field.data_type());
        let cast = cast_with_options(column, wanted, &options).map_err(|error| {
            Error::invalid(format!("`{}` is {wanted} in the log: {error}", field.name()))
        })?;
        fields.push(Field::new(field.name(), wanted.clone(), true));
        columns.push(cast);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
