//! A pinned table as DataFusion sees it.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use icecore_catalog::{FilePlan, IcebergCatalog, PlannedFile};
use icecore_core::{PinnedTable, Predicate, Result, SnapshotCatalog, TableName};

use crate::error::to_datafusion;

mod filter;
mod native;
mod plain;
mod running;
mod scan;
mod source;
mod statistics;

pub(crate) use filter::{exact as exact_predicate, weak as implied_predicate};
pub(crate) use plain::{fit, plain};
pub(crate) use source::PinnedSource;

/// A table at one snapshot.
#[derive(Debug)]
pub(crate) struct PinnedProvider {
    catalog: IcebergCatalog,
    pin: PinnedTable,
    schema: SchemaRef,
}

impl PinnedProvider {
    /// Opens a table at its pin.
    pub(crate) async fn open(catalog: IcebergCatalog, pin: PinnedTable) -> Result<Self> {
        let schema = plain(&catalog.schema(&pin).await?);
        Ok(Self { catalog, pin, schema })
    }

    /// The table's name.
    pub(crate) const fn table(&self) -> &TableName {
        &self.pin.table
    }

    async fn plan(&self, filter: Option<&Predicate>) -> Result<FilePlan> {
        self.catalog.plan_files(&self.pin, filter).await
    }
}

#[async_trait]
impl TableProvider for PinnedProvider {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        // Files are skipped by what is known of them; rows are filtered by the operators.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let filter = filter::predicate(filters, &self.schema);
        let plan = self.plan(filter.as_ref()).await.map_err(to_datafusion)?;
        let label =
            format!("table={}, files={} of {}", self.pin, plan.files.len(), plan.total_files);
        tracing::debug!(table = %self.pin, kept = plan.files.len(), of = plan.total_files, "planned a read");
        let (schema, is_selective, label) = (&self.schema, plan.is_selective, label.as_str());
        let request = native::Request { schema, projection, filters, limit, is_selective, label };
        let is_native = |file: &PlannedFile| file.native;
        let (native, others): (Vec<_>, Vec<_>) = plan.files.into_iter().partition(is_native);
        if others.is_empty() {
            return native::plan(state, &native, request);
        }
        let partitions = state.config().target_partitions().max(1);
        let rows = scan::Rows { catalog: &self.catalog, pin: &self.pin, files: others, filter };
        let scan = Arc::new(scan::CatalogScan::new(rows, request, partitions)?);
        if native.is_empty() {
            return Ok(scan);
        }
        // Only the files that rows were deleted from take the longer way.
        UnionExec::try_new(vec![native::plan(state, &native, request)?, scan])
    }
}
