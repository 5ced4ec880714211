//! Reading a table through the catalog, where its files are not the rows: some are deleted, or a
//! column has another name in older files.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};
use icecore_catalog::IcebergCatalog;
use icecore_core::{PinnedTable, Predicate, ScanOptions, SnapshotCatalog};

use super::native::Request;
use crate::error::to_datafusion;

/// One partition of rows from the catalog.
#[derive(Debug)]
pub(super) struct CatalogScan {
    catalog: IcebergCatalog,
    pin: PinnedTable,
    schema: SchemaRef,
    options: ScanOptions,
    label: String,
    properties: Arc<PlanProperties>,
}

impl CatalogScan {
    pub(super) fn new(
        catalog: &IcebergCatalog,
        pin: &PinnedTable,
        request: Request<'_>,
        filter: Option<Predicate>,
    ) -> Result<Self, DataFusionError> {
        let schema = match request.projection {
            Some(projection) => Arc::new(request.schema.project(projection)?),
            None => Arc::clone(request.schema),
        };
        // Rows without columns have a number, which only a column can tell.
        let names: Vec<String> = match schema.fields().is_empty() {
            true => request.schema.fields().iter().take(1).map(|f| f.name().clone()).collect(),
            false => schema.fields().iter().map(|field| field.name().clone()).collect(),
        };
        let mut options = ScanOptions::default().with_columns(names);
        options.filter = filter;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            catalog: catalog.clone(),
            pin: pin.clone(),
            schema,
            options,
            label: request.label.to_owned(),
            properties: Arc::new(properties),
        })
    }
}

impl DisplayAs for CatalogScan {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CatalogScan: {}", self.label)
    }
}

impl ExecutionPlan for CatalogScan {
    fn name(&self) -> &'static str {
        "CatalogScan"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        if partition != 0 {
            return internal_err!("a catalog scan has one partition, not {partition}");
        }
        let (catalog, pin) = (self.catalog.clone(), self.pin.clone());
        let mut options = self.options.clone();
        options.batch_rows = Some(context.session_config().batch_size());
        let schema = Arc::clone(&self.schema);
        let batches = futures::stream::once(async move { catalog.scan(&pin, options).await })
            .try_flatten()
            .map(move |batch| fit(&batch.map_err(to_datafusion)?, &schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }
}

/// The columns of the schema, in its types. A column that only counted the rows falls away.
fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| cast(column, field.data_type()))
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

#[cfg(test)]
mod tests;
