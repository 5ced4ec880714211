//! What becomes of events that do not fit the memory: they are sorted on disk.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, Partitioning};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::WindowNode;
use super::exec::{FeatureWindowExec, columns, ordering};
use super::gather::{Gathered, plain};

/// The plan that sorts what was gathered and what is left of the input.
pub(super) fn sorted_instead(
    node: &WindowNode,
    gathered: Vec<Gathered>,
    memory: MemoryReservation,
    schema: &SchemaRef,
) -> Result<Arc<dyn ExecutionPlan>> {
    tracing::debug!(bytes = memory.size(), "events do not fit the memory and are sorted on disk");
    let partitions = gathered.len();
    let events: Arc<dyn ExecutionPlan> = Arc::new(Resumed::new(schema, gathered, memory));
    let keys = columns(schema, node.keys.len());
    let events = RepartitionExec::try_new(events, Partitioning::Hash(keys, partitions))?;
    let order = LexOrdering::new(ordering(schema, node.keys.len() + 1));
    let order = order.ok_or_else(|| DataFusionError::Internal("events have no order".into()))?;
    let sorted = SortExec::new(order, Arc::new(events)).with_preserve_partitioning(true);
    Ok(Arc::new(FeatureWindowExec::try_new(node.clone(), Arc::new(sorted))?))
}

/// A batch with the types of this schema.
fn texts(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| plain(column, field.data_type()));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?)?)
}

/// Partitions that were read in part, once more from the start.
#[derive(Debug)]
struct Resumed {
    partitions: Vec<Mutex<Option<Gathered>>>,
    memory: Arc<Mutex<MemoryReservation>>,
    properties: Arc<PlanProperties>,
}

impl Resumed {
    fn new(schema: &SchemaRef, gathered: Vec<Gathered>, memory: MemoryReservation) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(schema)),
            Partitioning::UnknownPartitioning(gathered.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let partitions = gathered.into_iter().map(|part| Mutex::new(Some(part))).collect();
        let memory = Arc::new(Mutex::new(memory));
        Self { partitions, memory, properties: Arc::new(properties) }
    }
}

impl DisplayAs for Resumed {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resumed: partitions={}", self.partitions.len())
    }
}

impl ExecutionPlan for Resumed {
    fn name(&self) -> &'static str {
        "Resumed"
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
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let taken = self.partitions.get(partition).and_then(|part| part.lock().ok()?.take());
        let Some(Gathered { part, rest }) = taken else {
            return Err(DataFusionError::Internal("a partition was read before".into()));
        };
        let schema = self.schema();
        let (memory, batches) = (Arc::clone(&self.memory), part.into_batches()?);
        let shares = self.partitions.len() * batches.len().max(1);
        let share = memory.lock().map_or(0, |memory| memory.size() / shares.max(1));
        let first = futures::stream::iter(batches).map(move |batch| {
            // What was handed on is somebody else's to count.
            if let Ok(memory) = memory.lock() {
                memory.shrink(share.min(memory.size()));
            }
            Ok(batch)
        });
        let rows = match rest {
            Some(rest) => {
                let schema = Arc::clone(&schema);
                let rest = rest.map(move |batch| texts(&batch?, &schema));
                first.chain(rest).left_stream()
            }
            None => first.right_stream(),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}
