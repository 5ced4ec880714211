//! Streams that DataFusion partitions and sorts, spilling what does not fit in memory.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, Partitioning, SendableRecordBatchStream};
use futures::StreamExt;
use icecore_core::{BatchStream, Error, Result};
use icecore_engine::from_datafusion;

/// Partitions of rows that can be read once.
pub(crate) struct Rows {
    pub(crate) schema: SchemaRef,
    pub(crate) partitions: Vec<SendableRecordBatchStream>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("partitions", &self.partitions.len()).finish_non_exhaustive()
    }
}

impl Rows {
    /// Hashes rows by their keys into `partitions`, and sorts each one by the keys and then by the
    /// columns of `then`: equal keys meet in one partition, at the same number in every call.
    pub(crate) fn clustered(
        self,
        keys: &[usize],
        then: &[usize],
        context: &Arc<TaskContext>,
    ) -> Result<Self> {
        let partitions = context.session_config().target_partitions().max(1);
        let schema = Arc::clone(&self.schema);
        let mut plan = self.into_plan()?;
        if partitions > 1 {
            let by = keys.iter().map(|&key| column(&schema, key)).collect();
            let hashed = RepartitionExec::try_new(plan, Partitioning::Hash(by, partitions));
            plan = Arc::new(hashed.map_err(from_datafusion)?);
        } else if plan.properties().partitioning.partition_count() > 1 {
            let one = RepartitionExec::try_new(plan, Partitioning::RoundRobinBatch(1));
            plan = Arc::new(one.map_err(from_datafusion)?);
        }
        let order = ordering(&schema, keys.iter().chain(then).copied())?;
        let sorted: Arc<dyn ExecutionPlan> =
            Arc::new(SortExec::new(order, plan).with_preserve_partitioning(true));
        let partitions = (0..sorted.properties().partitioning.partition_count())
            .map(|partition| {
                sorted.execute(partition, Arc::clone(context)).map_err(from_datafusion)
            })
            .collect::<Result<_>>()?;
        Ok(Self { schema, partitions })
    }

    /// Sorts everything by one column into one stream.
    pub(crate) fn sorted_by(
        self,
        by: usize,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let order = ordering(&self.schema, [by])?;
        let plan = self.into_plan()?;
        let sorted = SortExec::new(order.clone(), plan).with_preserve_partitioning(true);
        let merged = SortPreservingMergeExec::new(order, Arc::new(sorted));
        merged.execute(0, Arc::clone(context)).map_err(from_datafusion)
    }

    fn into_plan(self) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = self
            .partitions
            .into_iter()
            .map(|stream| Arc::new(Once::new(stream)) as Arc<dyn PartitionStream>)
            .collect();
        let leaf = StreamingTableExec::try_new(self.schema, partitions, None, [], false, None);
        Ok(Arc::new(leaf.map_err(from_datafusion)?))
    }
}

/// A stream as a plan, which is executed once.
pub(crate) fn single_use(rows: BatchStream) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = Arc::clone(rows.schema());
    let rows = rows.map(|batch| batch.map_err(|error| DataFusionError::External(error.into())));
    let rows = RecordBatchStreamAdapter::new(Arc::clone(&schema), rows);
    Rows { schema, partitions: vec![Box::pin(rows)] }.into_plan()
}

fn column(schema: &SchemaRef, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema.field(index).name(), index))
}

/// Ascending, nulls first: the order of [`arrow::row`] with its default options.
fn ordering(schema: &SchemaRef, by: impl IntoIterator<Item = usize>) -> Result<LexOrdering> {
    let options = SortOptions { descending: false, nulls_first: true };
    let by = by.into_iter().map(|index| PhysicalSortExpr::new(column(schema, index), options));
    LexOrdering::new(by).ok_or_else(|| Error::internal("a sort needs a column"))
}

/// A stream as a partition of a plan, which is executed once.
struct Once {
    schema: SchemaRef,
    stream: Mutex<Option<SendableRecordBatchStream>>,
}

impl Once {
    fn new(stream: SendableRecordBatchStream) -> Self {
        Self { schema: stream.schema(), stream: Mutex::new(Some(stream)) }
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let taken = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| {
            let again = DataFusionError::Internal("a stream was read twice".to_owned());
            let failure = futures::stream::once(async { Err(again) });
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), failure))
        })
    }
}
