//! The operator for events that come in no order: it arranges them in memory.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::JoinSet;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::StreamExt;
use icecore_kernel::{EntityEvents, WindowKernel, WindowPiece};
use tokio::sync::OnceCell;

use super::WindowNode;
use super::arranged::{Arranged, ArrangedBlock};
use super::exec::{BATCHES_IN_BLOCK, ordering, slices};
use super::gather::{Gathered, Room, gather};
use super::logical::{describe, external, kernel, output_schema};
use super::spilled::sorted_instead;

/// Arranges events by entity and hands them to the window kernel.
#[derive(Debug)]
pub(super) struct GatheredWindowExec {
    node: Arc<WindowNode>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    /// What all partitions of the output are computed from.
    events: Arc<OnceCell<Result<Source, Arc<DataFusionError>>>>,
}

/// The events of all partitions.
#[derive(Debug, Clone)]
enum Source {
    Arranged(Arc<Arranged>, Arc<WindowKernel>, Arc<Room>),
    /// They do not fit the memory: a plan that sorts them on disk.
    Sorted(Arc<dyn ExecutionPlan>),
}

impl GatheredWindowExec {
    pub(super) fn try_new(node: Arc<WindowNode>, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let schema = input.schema();
        let kernel = kernel(&node, schema.fields()).map_err(external)?;
        let output = output_schema(&node, &kernel, &schema).map_err(external)?;
        let order = ordering(&output, node.keys.len() + 1);
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(output, [order]),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Self {
            node,
            input,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            events: Arc::default(),
        })
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
        Ok(Arc::new(Self::try_new(Arc::clone(&self.node), input)?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (events, node) = (Arc::clone(&self.events), Arc::clone(&self.node));
        let (input, schema) = (Arc::clone(&self.input), self.schema());
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let partitions = self.properties.output_partitioning().partition_count();
        let rows = async move {
            // The input is read once, so what failed for one partition failed for all.
            let arrange = || async {
                arranged(Arc::clone(&node), input, Arc::clone(&context)).await.map_err(Arc::new)
            };
            let source = events.get_or_init(arrange).await.clone();
            match source.map_err(DataFusionError::Shared)? {
                Source::Sorted(plan) => plan.execute(partition, context),
                Source::Arranged(arranged, kernel, room) => {
                    let entities = arranged.share(partition, partitions);
                    let batch_rows = context.session_config().batch_size();
                    let features = Features {
                        arranged,
                        kernel,
                        node,
                        schema: Arc::clone(&schema),
                        batch_rows,
                        entities,
                        metrics,
                        pieces: None,
                        ready: VecDeque::new(),
                        _room: room,
                    };
                    let rows = futures::stream::iter(features);
                    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows))
                        as SendableRecordBatchStream)
                }
            }
        };
        let rows = futures::stream::once(rows).map(|rows| match rows {
            Ok(rows) => rows.left_stream(),
            Err(error) => futures::stream::iter([Err(error)]).right_stream(),
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows.flatten())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// Gathers all partitions at once, each on its own, and arranges them.
async fn arranged(
    node: Arc<WindowNode>,
    input: Arc<dyn ExecutionPlan>,
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
        let (keys, room) = (node.keys.len(), Arc::clone(&room));
        tasks.spawn(async move { (partition, gather(stream, keys, room).await) });
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
        return Ok(Source::Sorted(sorted_instead(&node, gathered, room.memory, &input)?));
    }
    let parts = gathered.into_iter().map(|gathered| gathered.part).collect();
    let arranged = Arranged::try_new(parts)?;
    let types = arranged.column_types().take(node.inputs.len()).collect::<Vec<_>>();
    let kernel = WindowKernel::try_new(node.spec.clone(), &types).map_err(external)?;
    Ok(Source::Arranged(Arc::new(arranged), Arc::new(kernel), room))
}

/// The rows of some of the entities.
struct Features {
    arranged: Arc<Arranged>,
    kernel: Arc<WindowKernel>,
    node: Arc<WindowNode>,
    schema: SchemaRef,
    batch_rows: usize,
    /// The entities that are left.
    entities: Range<usize>,
    metrics: BaselineMetrics,
    pieces: Option<Pieces>,
    ready: VecDeque<RecordBatch>,
    /// The memory of the events is in use for as long as they are.
    _room: Arc<Room>,
}

/// A block at work.
struct Pieces {
    first_entity: usize,
    block: ArrangedBlock,
    masks: Vec<BooleanArray>,
    left: VecDeque<WindowPiece>,
}

impl Iterator for Features {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.metrics.record_output(batch.num_rows());
                return Some(Ok(batch));
            }
            let elapsed = self.metrics.elapsed_compute().clone();
            let _timer = elapsed.timer();
            match self.work() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.entities.start = self.entities.end;
                    self.pieces = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Features {
    /// Takes the next step. Tells whether there was one.
    fn work(&mut self) -> Result<bool> {
        if let Some(pieces) = &mut self.pieces {
            match pieces.left.pop_front() {
                None => self.pieces = None,
                Some(piece) => {
                    let rows = self.compute(&piece)?;
                    self.ready.extend(slices(&rows, self.batch_rows));
                }
            }
            return Ok(true);
        }
        if self.entities.is_empty() {
            return Ok(false);
        }
        let rows_max = self.batch_rows * BATCHES_IN_BLOCK;
        let end = self.arranged.block_end(self.entities.clone(), rows_max);
        let first_entity = std::mem::replace(&mut self.entities.start, end);
        let mut block = self.arranged.block(first_entity..end)?;
        let masks = block.columns.split_off(self.node.inputs.len().min(block.columns.len()));
        let masks = masks.iter().map(|mask| mask.as_boolean().clone()).collect::<Vec<_>>();
        let events = events(&block, &masks, 0..block.entities.len());
        let left = self.kernel.split(&events, self.node.range, rows_max).map_err(external)?.into();
        self.pieces = Some(Pieces { first_entity, block, masks, left });
        Ok(true)
    }

    fn compute(&self, piece: &WindowPiece) -> Result<RecordBatch> {
        let Some(Pieces { first_entity, block, masks, .. }) = &self.pieces else {
            return Err(DataFusionError::Internal("a piece is of no block".into()));
        };
        let events = events(block, masks, piece.entities.clone());
        let rows = self.kernel.evaluate(&events, piece.range).map_err(external)?;
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
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), output)?)
    }
}

fn events<'a>(
    block: &'a ArrangedBlock,
    masks: &'a [BooleanArray],
    entities: Range<usize>,
) -> EntityEvents<'a> {
    EntityEvents {
        times: &block.times,
        entities: block.entities.get(entities).unwrap_or_default(),
        inputs: &block.columns,
        masks,
    }
}
