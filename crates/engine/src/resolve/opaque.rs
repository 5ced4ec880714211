//! A view that is not looked through.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, internal_err};
use datafusion::datasource::TableType;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use icecore_core::TableName;

/// A view's name and columns: enough to plan with.
#[derive(Debug)]
pub(crate) struct OpaqueView {
    name: TableName,
    schema: SchemaRef,
}

impl OpaqueView {
    pub(crate) fn new(name: TableName, schema: &SchemaRef) -> Self {
        Self { name, schema: Arc::clone(schema) }
    }

    /// The view's name.
    pub(crate) const fn name(&self) -> &TableName {
        &self.name
    }
}

#[async_trait]
impl TableProvider for OpaqueView {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        internal_err!("view `{}` was planned to be looked at, not to be run", self.name)
    }
}
