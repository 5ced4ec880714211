//! The rows that changed between two states, as a table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt};
use icecore_catalog::{ChangeOptions, IcebergCatalog};
use icecore_core::{Error, PinnedTable};

use crate::error::to_datafusion;
use crate::provider::{fit, plain};

/// The column that tells a row that is gone from one that came.
pub(super) const CHANGE_TYPE: &str = "_change_type";

/// How many columns say what changed; they are the last ones.
const ADDED: usize = 3;

/// The columns of a table among those of its changes.
pub(super) fn columns(schema: &SchemaRef) -> Vec<String> {
    let own = schema.fields().len().saturating_sub(ADDED);
    schema.fields().iter().take(own).map(|field| field.name().clone()).collect()
}

/// The table of the rows that were inserted and deleted from one state to another. Every query
/// reads them anew, so that they are never held as a whole.
pub(super) fn changed_rows(
    catalog: &IcebergCatalog,
    old: &PinnedTable,
    new: &PinnedTable,
    schema: &SchemaRef,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let schema = plain(schema);
    let rows = ChangedRows {
        catalog: catalog.clone(),
        old: old.clone(),
        new: new.clone(),
        schema: Arc::clone(&schema),
    };
    Ok(Arc::new(StreamingTable::try_new(schema, vec![Arc::new(rows)])?))
}

#[derive(Debug)]
struct ChangedRows {
    catalog: IcebergCatalog,
    old: PinnedTable,
    new: PinnedTable,
    schema: SchemaRef,
}

impl PartitionStream for ChangedRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (catalog, old, new) = (self.catalog.clone(), self.old.clone(), self.new.clone());
        let schema = Arc::clone(&self.schema);
        let rows = async move {
            let changes = catalog.changes(&old, &new, ChangeOptions::default()).await?;
            Ok::<_, Error>(changes.rows)
        };
        let batches = futures::stream::once(rows).try_flatten().map(move |batch| {
            let batch: RecordBatch = batch.map_err(to_datafusion)?;
            fit(&batch, &schema)
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}
