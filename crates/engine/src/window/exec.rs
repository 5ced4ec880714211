//! The operator in physical plans.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, Partitioning,
    PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};
use icecore_core::Error;
use icecore_kernel::{WindowKernel, WindowPiece};

use super::WindowNode;
use super::asked::Inputs;
use super::blocks::{Block, Blocks, moments};
use super::logical::{describe, external, kernel, output_schema};

/// Input batches in a block: enough rows to make the kernel's columns worth their allocation.
pub(super) const BATCHES_IN_BLOCK: usize = 16;

/// Hands entities of its sorted input to the window kernel, whole where memory has room for them.
#[derive(Debug)]
pub(super) struct FeatureWindowExec {
    node: Arc<WindowNode>,
    kernel: Arc<WindowKernel>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl FeatureWindowExec {
    pub(super) fn try_new(node: WindowNode, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let schema = input.schema();
        let kernel = kernel(&node, schema.fields()).map_err(external)?;
        let output = output_schema(&node, &kernel, &schema).map_err(external)?;
        let keys = node.keys.len();
        let partitioning = match input.output_partitioning().partition_count() {
            count if count > 1 && keys > 0 => Partitioning::Hash(columns(&output, keys), count),
            count => Partitioning::UnknownPartitioning(count),
        };
        // Entities come out in the order in which they came in, each by time.
        let order = ordering(&output, keys + 1);
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(output, [order]),
            partitioning,
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            node: Arc::new(node),
            kernel: Arc::new(kernel),
            input,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

/// The first columns of a schema, as expressions.
pub(super) fn columns(schema: &SchemaRef, count: usize) -> Vec<Arc<dyn PhysicalExpr>> {
    let fields = schema.fields().iter().take(count).enumerate();
    let column = |(index, name): (usize, &str)| Arc::new(Column::new(name, index));
    fields.map(|(index, field)| column((index, field.name())) as Arc<dyn PhysicalExpr>).collect()
}

pub(super) fn ordering(schema: &SchemaRef, count: usize) -> Vec<PhysicalSortExpr> {
    let options = SortOptions::default();
    let columns = columns(schema, count).into_iter();
    columns.map(|column| PhysicalSortExpr::new(column, options)).collect()
}

impl DisplayAs for FeatureWindowExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(&self.node, f)
    }
}

impl ExecutionPlan for FeatureWindowExec {
    fn name(&self) -> &'static str {
        "FeatureWindowExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        match self.node.keys.len() {
            0 => vec![Distribution::SinglePartition],
            keys => vec![Distribution::HashPartitioned(columns(&self.input.schema(), keys))],
        }
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let order = ordering(&self.input.schema(), self.node.keys.len() + 1);
        vec![LexOrdering::new(order).map(OrderingRequirements::from)]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![!self.node.keys.is_empty()]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([input]) = <[_; 1]>::try_from(children) else {
            return Err(DataFusionError::Internal("FeatureWindowExec has one input".into()));
        };
        Ok(Arc::new(Self::try_new(self.node.as_ref().clone(), input)?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let batch_rows = context.session_config().batch_size();
        let features = Features {
            input: Some(self.input.execute(partition, Arc::clone(&context))?),
            blocks: Blocks::new(&self.node, batch_rows * BATCHES_IN_BLOCK, &context),
            node: Arc::clone(&self.node),
            kernel: Arc::clone(&self.kernel),
            schema: self.schema(),
            batch_rows,
            block: None,
            ready: VecDeque::new(),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let rows = futures::stream::try_unfold(features, Features::next);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows.boxed())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The rows of one partition as they come.
struct Features {
    /// Absent once it ended.
    input: Option<SendableRecordBatchStream>,
    blocks: Blocks,
    node: Arc<WindowNode>,
    kernel: Arc<WindowKernel>,
    schema: SchemaRef,
    batch_rows: usize,
    /// The block at work, and the pieces of it that are left.
    block: Option<(Block, VecDeque<WindowPiece>)>,
    ready: VecDeque<RecordBatch>,
    metrics: BaselineMetrics,
}

impl Features {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.metrics.record_output(batch.num_rows());
                return Ok(Some((batch, self)));
            }
            let elapsed = self.metrics.elapsed_compute().clone();
            let timer = elapsed.timer();
            if self.work()? {
                continue;
            }
            drop(timer);
            let Some(input) = &mut self.input else { return Ok(None) };
            match input.try_next().await? {
                Some(batch) => self.blocks.push(batch)?,
                None => self.input = None,
            }
        }
    }

    /// Takes the next step that needs no more input. Tells whether there was one.
    fn work(&mut self) -> Result<bool> {
        if let Some((block, pieces)) = &mut self.block {
            if let Some(piece) = pieces.pop_front() {
                let rows = compute(&self.node, &self.kernel, (block, &piece), &self.schema)?;
                self.ready.extend(slices(&rows, self.batch_rows));
            } else {
                self.block = None;
            }
            return Ok(true);
        }
        let Some(block) = self.blocks.take(self.input.is_none())? else { return Ok(false) };
        // Rows on a grid may be many more than events.
        let rows_max = self.batch_rows * BATCHES_IN_BLOCK;
        let (times, columns) = columns_of(&block, &self.node)?;
        let events = columns.events(times.values(), &block.entities);
        let pieces = self.kernel.split(&events, block.range, rows_max);
        self.block = Some((block, pieces.map_err(external)?.into()));
        Ok(true)
    }
}

pub(super) fn slices(
    rows: &RecordBatch,
    batch_rows: usize,
) -> impl Iterator<Item = RecordBatch> + '_ {
    let count = rows.num_rows();
    let starts = (0..count).step_by(batch_rows.max(1));
    starts.map(move |start| rows.slice(start, batch_rows.max(1).min(count - start)))
}

/// The moments of a block's events, and their columns.
fn columns_of(block: &Block, node: &WindowNode) -> Result<(TimestampMicrosecondArray, Inputs)> {
    let times = moments(&block.rows, node.keys.len())?.clone();
    let columns = block.rows.columns().iter().skip(node.keys.len() + 1);
    Ok((times, Inputs::of(node, columns.cloned().collect())?))
}

/// Computes the rows of a piece of a block.
fn compute(
    node: &WindowNode,
    kernel: &WindowKernel,
    (block, piece): (&Block, &WindowPiece),
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let (times, columns) = columns_of(block, node)?;
    let Some(entities) = block.entities.get(piece.entities.clone()) else {
        return Err(external(Error::internal("a piece lies outside of its block")));
    };
    let events = columns.events(times.values(), entities);
    let rows = columns.rows(node, kernel, (&events, piece))?;
    let keys = block.rows.columns().iter().take(node.keys.len());
    let keys = keys.map(|key| take(key, &rows.source_rows, None));
    let mut output = keys.collect::<Result<Vec<_>, _>>()?;
    let moments = TimestampMicrosecondArray::from(rows.times).with_timezone("+00:00");
    output.push(Arc::new(moments));
    output.extend(rows.columns);
    Ok(RecordBatch::try_new(Arc::clone(schema), output)?)
}
