//! Where a join reads feature rows.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, ident, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlanProperties, SendableRecordBatchStream};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use icecore_core::{FeatureTable, Result};
use icecore_engine::from_datafusion;

use crate::sorted::Rows;
use crate::spine::Bounds;
use crate::table::JoinTable;

/// The rows of one feature table.
#[async_trait]
pub(crate) trait FeatureRows: fmt::Debug + Send + Sync {
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

    /// The rows that a spine of these bounds may see, and maybe others, prepared for the merge.
    async fn read(&self, table: Arc<JoinTable>, bounds: &Bounds) -> Result<Rows>;
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
impl FeatureRows for Frame {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.rows.schema().inner())
    }

    fn newest(&self) -> Option<&str> {
        self.newest.as_deref()
    }

    async fn read(&self, table: Arc<JoinTable>, bounds: &Bounds) -> Result<Rows> {
        let prepared = table.prepared_schema();
        let frame = narrowed(self.rows.clone(), &table, bounds)?;
        let context = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await.map_err(from_datafusion)?;
        let partitions = (0..plan.output_partitioning().partition_count()).map(|partition| {
            let rows = plan.execute(partition, Arc::clone(&context)).map_err(from_datafusion)?;
            Ok(preparing(rows, &table, None))
        });
        let partitions = partitions.collect::<Result<_>>()?;
        Ok(Rows { schema: prepared, partitions })
    }
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
        let bounded = bounds.keys.iter().find(|(key, ..)| key == at);
        let (Some((_, low, high)), Ok(field)) = (bounded, schema.field_with_name(own)) else {
            continue;
        };
        // A bound that the table's narrower integers cannot hold bounds nothing.
        if let Ok(low) = low.cast_to(field.data_type()) {
            filters.push(ident(own).gt_eq(lit(low)));
        }
        if let Ok(high) = high.cast_to(field.data_type()) {
            filters.push(ident(own).lt_eq(lit(high)));
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
