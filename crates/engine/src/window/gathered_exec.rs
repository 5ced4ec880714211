//! The operator for events that come in no order: it arranges them in memory.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::{JoinSet, SpawnedTask};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, Partitioning};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::{StreamExt, TryFutureExt, TryStreamExt};
use icecore_kernel::{WindowKernel, WindowPiece};

use super::WindowNode;
use super::arranged::{Arranged, ArrangedBlock};
use super::asked::Inputs;
use super::exec::{BATCHES_IN_BLOCK, ordering, slices};
use super::gather::{Gathered, Room, gather};
use super::logical::{describe, external, kernel, output_schema};
use super::numbered::with_numbers;
use super::spilled::sorted_instead;

/// Arranges events by entity and hands them to the window kernel.
#[derive(Debug)]
pub(super) struct GatheredWindowExec {
    node: Arc<WindowNode>,
    input: Arc<dyn ExecutionPlan>,
    /// The input's columns; texts of them may come as numbers.
    events: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// The events of all partitions.
enum Source {
    Arranged(Box<Arranged>, Box<WindowKernel>, Arc<Room>),
    /// They do not fit the memory: a plan that sorts them on disk.
    Sorted(Arc<dyn ExecutionPlan>),
}

impl GatheredWindowExec {
    pub(super) fn try_new(node: Arc<WindowNode>, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let events = input.schema();
        Self::of_events(node, input, events)
    }

    fn of_events(
        node: Arc<WindowNode>,
        input: Arc<dyn ExecutionPlan>,
        events: SchemaRef,
    ) -> Result<Self> {
        let kernel = kernel(&node, events.fields()).map_err(external)?;
        let output = output_schema(&node, &kernel, &events).map_err(external)?;
        let order = ordering(&output, node.keys.len() + 1);
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(output, [order]),
            // Entities come in order, however many workers there are: nothing has to be merged.
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Self {
            node,
            input,
            events,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// The same with texts that come as the numbers that their files have for them.
    pub(super) fn with_numbers(&self, runtime: &RuntimeEnv) -> Result<Self> {
        let keys = self.node.keys.len();
        let inputs = keys + 1..keys + 1 + self.node.inputs.len();
        // Several columns of a key are told apart by what they are together.
        let wanted = (0..keys).filter(|_| keys == 1).chain(inputs).collect();
        let input = with_numbers(&self.input, wanted, runtime)?;
        Self::of_events(Arc::clone(&self.node), input, Arc::clone(&self.events))
    }
}

impl DisplayAs for GatheredWindowExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gathered")?;
        describe(&self.node, f)
    }
}

impl ExecutionPlan for GatheredWindowExec {
    fn name(&self) -> &'static str {
        "GatheredWindowExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([input]) = <[_; 1]>::try_from(children) else {
            return Err(DataFusionError::Internal("GatheredWindowExec has one input".into()));
        };
        let (node, events) = (Arc::clone(&self.node), Arc::clone(&self.events));
        Ok(Arc::new(Self::of_events(node, input, events)?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (node, input) = (Arc::clone(&self.node), Arc::clone(&self.input));
        let (schema, events) = (self.schema(), Arc::clone(&self.events));
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batch_rows = context.session_config().batch_size();
        let workers = context.session_config().target_partitions().max(1);
        let sorted_on_disk = MetricBuilder::new(&self.metrics).global_counter("sorted_on_disk");
        let rows = async move {
            match arranged(Arc::clone(&node), (input, events), Arc::clone(&context)).await? {
                Source::Sorted(plan) => {
                    sorted_on_disk.add(1);
                    plan.execute(0, context)
                }
                Source::Arranged(arranged, kernel, _room) => {
                    let rows_max = batch_rows * BATCHES_IN_BLOCK;
                    let features =
                        Features { arranged, kernel, node, schema, rows_max, metrics, _room };
                    Ok(rows(Arc::new(features), workers, batch_rows))
                }
            }
        };
        let rows = futures::stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// Gathers all partitions at once, each on its own, and arranges them.
async fn arranged(
    node: Arc<WindowNode>,
    (input, events): (Arc<dyn ExecutionPlan>, SchemaRef),
    context: Arc<TaskContext>,
) -> Result<Source> {
    let pool = context.memory_pool();
    // Sorting instead needs room while what was gathered is still there.
    let bytes_max = match pool.memory_limit() {
        MemoryLimit::Finite(bytes) => bytes / 2,
        _ => usize::MAX,
    };
    let memory = MemoryConsumer::new("GatheredWindowExec").register(pool);
    let (rows, is_short) = (AtomicUsize::new(0), AtomicBool::new(false));
    let room = Arc::new(Room { memory, bytes_max, rows, is_short });
    let partitions = input.output_partitioning().partition_count();
    let mut tasks = JoinSet::new();
    for partition in 0..partitions {
        let stream = input.execute(partition, Arc::clone(&context))?;
        let (columns, room) = ((Arc::clone(&events), node.keys.len()), Arc::clone(&room));
        tasks.spawn(async move { (partition, gather(stream, columns, room).await) });
    }
    let mut gathered = (0..partitions).map(|_| None).collect::<Vec<Option<Gathered>>>();
    while let Some(done) = tasks.join_next().await {
        let (partition, part) = done.map_err(|error| DataFusionError::External(error.into()))?;
        gathered[partition] = Some(part?);
    }
    let gathered = gathered.into_iter().flatten().collect::<Vec<_>>();
    if room.is_short.load(Ordering::Relaxed) {
        let room = Arc::try_unwrap(room).map_err(|_| {
            DataFusionError::Internal("events are gathered after all partitions ended".into())
        })?;
        let sorted = sorted_instead(&node, gathered, room.memory, &events)?;
        let order = LexOrdering::new(ordering(&sorted.schema(), node.keys.len() + 1));
        let order = order.ok_or_else(|| DataFusionError::Internal("rows have no order".into()))?;
        return Ok(Source::Sorted(Arc::new(SortPreservingMergeExec::new(order, sorted))));
    }
    let parts = gathered.into_iter().map(|gathered| gathered.part).collect();
    let arranged = Arranged::try_new(parts)?;
    let types = arranged.column_types().take(node.inputs.len()).collect::<Vec<_>>();
    let kernel = WindowKernel::try_new(node.spec.clone(), &types).map_err(external)?;
    Ok(Source::Arranged(Box::new(arranged), Box::new(kernel), room))
}

/// What all blocks of entities are computed with.
struct Features {
    arranged: Box<Arranged>,
    kernel: Box<WindowKernel>,
    node: Arc<WindowNode>,
    schema: SchemaRef,
    /// How many events make a block, and about how many rows come out at once.
    rows_max: usize,
    metrics: BaselineMetrics,
    /// The memory of the events is in use for as long as they are.
    _room: Arc<Room>,
}

/// Events of some entities, in order.
struct Block {
    first_entity: usize,
    events: ArrangedBlock,
    inputs: Inputs,
}

/// The rows of all entities in order. Blocks of them are computed by several workers at once, and
/// come out one after the other.
fn rows(features: Arc<Features>, workers: usize, batch_rows: usize) -> SendableRecordBatchStream {
    let schema = Arc::clone(&features.schema);
    let (of_blocks, of_pieces) = (Arc::clone(&features), features);
    let blocks = of_blocks.blocks();
    let pieces = futures::stream::iter(blocks)
        .map(move |entities| {
            let features = Arc::clone(&of_blocks);
            worked(async move { features.block(entities) })
        })
        .buffered(workers)
        .map_ok(|(block, pieces)| {
            let pieces = pieces.into_iter().map(move |piece| (Arc::clone(&block), piece));
            futures::stream::iter(pieces.map(Ok))
        })
        .try_flatten();
    let batches = pieces
        .map(move |piece| {
            let features = Arc::clone(&of_pieces);
            let computed = move |(block, piece): (Arc<Block>, WindowPiece)| {
                worked(async move { features.compute(&block, &piece) })
            };
            futures::future::ready(piece).and_then(computed)
        })
        .buffered(workers)
        .map_ok(move |rows| {
            let batches = slices(&rows, batch_rows).map(Ok).collect::<Vec<_>>();
            futures::stream::iter(batches)
        })
        .try_flatten();
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

/// Work as a task of its own, which ends where nobody waits for it any more.
async fn worked<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let done = SpawnedTask::spawn(work).join().await;
    done.map_err(|error| DataFusionError::External(error.into()))?
}

impl Features {
    /// The entities of each block.
    fn blocks(&self) -> Vec<Range<usize>> {
        let (mut blocks, mut entities) = (Vec::new(), 0..self.arranged.entities());
        while !entities.is_empty() {
            let end = self.arranged.block_end(entities.clone(), self.rows_max);
            blocks.push(std::mem::replace(&mut entities.start, end)..end);
        }
        blocks
    }

    fn block(&self, entities: Range<usize>) -> Result<(Arc<Block>, Vec<WindowPiece>)> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let first_entity = entities.start;
        let mut block = self.arranged.block(entities)?;
        let inputs = Inputs::of(&self.node, std::mem::take(&mut block.columns))?;
        let all = inputs.events(&block.times, &block.entities);
        let pieces = self.kernel.split(&all, self.node.range, self.rows_max).map_err(external)?;
        Ok((Arc::new(Block { first_entity, events: block, inputs }), pieces))
    }

    fn compute(&self, block: &Block, piece: &WindowPiece) -> Result<RecordBatch> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let Block { first_entity, events: block, inputs } = block;
        let entities = block.entities.get(piece.entities.clone()).unwrap_or_default();
        let events = inputs.events(&block.times, entities);
        let rows = inputs.rows(&self.node, &self.kernel, (&events, piece))?;
        // Rows come entity after entity.
        let mut entity = piece.entities.start;
        let of_row = rows.source_rows.values().iter().map(|row| {
            while block.entities.get(entity).is_some_and(|rows| rows.end <= *row as usize) {
                entity += 1;
            }
            // Fewer entities than this are gathered.
            (first_entity + entity) as u32
        });
        let entities = UInt32Array::from_iter_values(of_row);
        let mut output = self.arranged.keys_of(&entities)?;
        let moments = TimestampMicrosecondArray::from(rows.times).with_timezone("+00:00");
        output.push(Arc::new(moments) as ArrayRef);
        output.extend(rows.columns);
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), output)?;
        self.metrics.record_output(rows.num_rows());
        Ok(rows)
    }
}
