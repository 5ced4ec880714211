//! Where a join reads feature rows.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::common::DFSchema;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::{Expr, ident, lit};
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, SendableRecordBatchStream,
};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use icecore_core::{Error, FeatureTable, Result};
use icecore_engine::from_datafusion;

use crate::sorted::Rows;
use crate::spine::{Bounds, KeyBounds};
use crate::table::JoinTable;

/// Where the rows of one view come from.
#[async_trait]
pub(crate) trait FeatureSource: fmt::Debug + Send + Sync {
    /// The table's columns.
    fn schema(&self) -> SchemaRef;

    /// When each state of the table was committed, ascending, where states decide what was known.
    fn epochs(&self) -> Option<Arc<[i64]>> {
        None
    }

    /// The column with the newest event behind a row, where rows were made for the spine's very
    /// moments: each is then seen at its own moment and no other.
    fn newest(&self) -> Option<&str> {
        None
    }

    /// Plans the reading of what the join takes of the rows.
    async fn plan(&self, table: &Arc<JoinTable>) -> Result<Arc<dyn FeatureRows>>;
}

/// The rows of one view, planned.
#[async_trait]
pub(crate) trait FeatureRows: fmt::Debug + Send + Sync {
    /// The plan that gives them, where it is known before the spine is.
    fn plan(&self) -> Option<&Arc<dyn ExecutionPlan>> {
        None
    }

    /// The same rows from such a plan after it was optimized.
    fn with_plan(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn FeatureRows>> {
        Err(Error::internal(format!("rows of no plan cannot come from {}", plan.name())))
    }

    /// The filter that readers of the plan look at while they read; what it says is known when the
    /// spine was read.
    fn reach(&self) -> Option<Arc<dyn PhysicalExpr>> {
        None
    }

    /// Whether rows are made for the spine's moments, which costs more than reading them.
    fn is_made(&self) -> bool {
        false
    }

    /// The rows that a spine of these bounds may see, and maybe others, prepared for the merge; and
    /// how often they were read before.
    async fn read(
        &self,
        table: &Arc<JoinTable>,
        bounds: (&Bounds, usize),
        context: &Arc<TaskContext>,
    ) -> Result<Rows>;
}

/// Rows of a frame.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) rows: DataFrame,
    pub(crate) newest: Option<String>,
}

impl Frame {
    pub(crate) const fn of_table(rows: DataFrame) -> Self {
        Self { rows, newest: None }
    }
}

#[async_trait]
impl FeatureSource for Frame {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.rows.schema().inner())
    }

    fn newest(&self) -> Option<&str> {
        self.newest.as_deref()
    }

    async fn plan(&self, table: &Arc<JoinTable>) -> Result<Arc<dyn FeatureRows>> {
        let frame = self.rows.clone().select_columns(&table.reads()).map_err(from_datafusion)?;
        let plan = frame.create_physical_plan().await.map_err(from_datafusion)?;
        // Which columns it will look at has to be known from the start.
        let schema = plan.schema();
        let columns = columns_of_filters(table).filter_map(|name| {
            let at = schema.index_of(name).ok()?;
            Some(Arc::new(Column::new(name, at)) as Arc<dyn PhysicalExpr>)
        });
        let everything = Arc::new(Literal::new(ScalarValue::Boolean(Some(true))));
        let reach = Arc::new(DynamicFilterPhysicalExpr::new(columns.collect(), everything));
        Ok(Arc::new(Planned { plan, reach, is_made: self.newest.is_some() }))
    }
}

/// Rows that a plan gives.
#[derive(Debug)]
struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    reach: Arc<DynamicFilterPhysicalExpr>,
    is_made: bool,
}

#[async_trait]
impl FeatureRows for Planned {
    fn plan(&self) -> Option<&Arc<dyn ExecutionPlan>> {
        Some(&self.plan)
    }

    fn with_plan(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn FeatureRows>> {
        Ok(Arc::new(Self { plan, reach: Arc::clone(&self.reach), is_made: self.is_made }))
    }

    fn is_made(&self) -> bool {
        self.is_made
    }

    fn reach(&self) -> Option<Arc<dyn PhysicalExpr>> {
        Some(Arc::clone(&self.reach) as Arc<dyn PhysicalExpr>)
    }

    async fn read(
        &self,
        table: &Arc<JoinTable>,
        (bounds, part): (&Bounds, usize),
        context: &Arc<TaskContext>,
    ) -> Result<Rows> {
        let prepared = table.prepared_schema();
        if bounds.moments.is_none() {
            // No row of the spine has a moment, so none sees anything.
            let nothing = futures::stream::empty();
            let nothing = RecordBatchStreamAdapter::new(Arc::clone(&prepared), nothing);
            return Ok(Rows { schema: prepared, partitions: vec![Box::pin(nothing)] });
        }
        let schema = self.plan.schema();
        let columns = DFSchema::try_from(Arc::clone(&schema)).map_err(from_datafusion)?;
        let reached = filters(table, &schema, bounds).into_iter().reduce(Expr::and);
        let reached = reached.unwrap_or_else(|| lit(true));
        let reached = create_physical_expr(&reached, &columns, &ExecutionProps::new());
        let updated = reached.and_then(|reached| self.reach.update(reached));
        updated.map_err(from_datafusion)?;
        self.reach.mark_complete();
        // Some operators remember that they ran.
        let plan = match part {
            0 => Arc::clone(&self.plan),
            _ => reset_plan_states(Arc::clone(&self.plan)).map_err(from_datafusion)?,
        };
        let partitions = plan.output_partitioning().partition_count();
        let partitions = (0..partitions).map(|partition| {
            let rows = plan.execute(partition, Arc::clone(context));
            Ok(preparing(rows.map_err(from_datafusion)?, table, None))
        });
        let partitions = partitions.collect::<Result<_>>()?;
        Ok(Rows { schema: prepared, partitions })
    }
}

/// The columns that [`filters`] looks at.
fn columns_of_filters(table: &JoinTable) -> impl Iterator<Item = &str> {
    let keys = table.keys.iter().map(|(_, own)| own.as_str());
    let times = std::iter::once(table.feature.event_timestamp.as_str());
    keys.chain(times.chain(table.deciding_created()))
}

/// The rows that a spine of these bounds may see, in the columns that the join reads.
pub(crate) fn narrowed(frame: DataFrame, table: &JoinTable, bounds: &Bounds) -> Result<DataFrame> {
    let schema = Arc::clone(frame.schema().inner());
    let mut frame = frame;
    for filter in filters(table, &schema, bounds) {
        frame = frame.filter(filter).map_err(from_datafusion)?;
    }
    let mut reads = table.reads();
    if table.epochs.is_some() {
        // An earlier state has no column that was added later.
        reads.retain(|name| schema.column_with_name(name).is_some());
    }
    frame.select_columns(&reads).map_err(from_datafusion)
}

/// Rows as the merge reads them.
pub(crate) fn preparing(
    rows: SendableRecordBatchStream,
    table: &Arc<JoinTable>,
    epoch: Option<i64>,
) -> SendableRecordBatchStream {
    let schema = table.prepared_schema();
    let (table, output) = (Arc::clone(table), Arc::clone(&schema));
    let rows = rows.map(move |batch| {
        let prepared = table.prepare(&batch?, &output, epoch);
        prepared.map_err(|error| DataFusionError::External(error.into()))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// What every feature row that joins has in common; readers skip files and row groups by it.
fn filters(table: &JoinTable, schema: &SchemaRef, bounds: &Bounds) -> Vec<Expr> {
    let Some((first, last)) = bounds.moments else { return vec![lit(false)] };
    let FeatureTable { event_timestamp, .. } = &table.feature;
    let latest = last.saturating_sub(table.delay_micros());
    let mut filters = Vec::new();
    if let Some(last) = moment_literal(schema, event_timestamp, latest) {
        filters.push(ident(event_timestamp).lt_eq(last));
    }
    let oldest = table.options.ttl_micros.map(|ttl| first.saturating_sub(ttl));
    if let Some(oldest) = oldest.and_then(|at| moment_literal(schema, event_timestamp, at)) {
        filters.push(ident(event_timestamp).gt_eq(oldest));
    }
    if let Some(created) = table.deciding_created()
        && let Some(latest) = moment_literal(schema, created, latest)
    {
        filters.push(ident(created).lt_eq(latest));
    }
    for (at, own) in &table.keys {
        let bounded = bounds.keys.iter().find(|key| key.column == *at);
        let (Some(bounded), Ok(field)) = (bounded, schema.field_with_name(own)) else { continue };
        let KeyBounds { least, greatest, few, .. } = bounded;
        // A bound that the table's narrower integers cannot hold bounds nothing.
        if let Ok(least) = least.cast_to(field.data_type()) {
            filters.push(ident(own).gt_eq(lit(least)));
        }
        if let Ok(greatest) = greatest.cast_to(field.data_type()) {
            filters.push(ident(own).lt_eq(lit(greatest)));
        }
        // Pages of columns with none of a few keys are not decoded; a value that the table's type
        // cannot hold is none of its keys.
        if let Some(few) = few {
            let few = few.iter().filter_map(|value| value.cast_to(field.data_type()).ok());
            filters.push(ident(own).in_list(few.map(lit).collect(), false));
        }
    }
    filters
}

/// A moment as a value of a column, where the column counts microseconds or days.
fn moment_literal(schema: &SchemaRef, column: &str, micros: i64) -> Option<Expr> {
    match schema.field_with_name(column).ok()?.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Some(lit(ScalarValue::TimestampMicrosecond(Some(micros), zone.clone())))
        }
        DataType::Date32 => {
            let days = icecore_core::Timestamp::from_micros(micros).date().days();
            Some(lit(ScalarValue::Date32(Some(days))))
        }
        _ => None,
    }
}
