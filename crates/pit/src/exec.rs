//! The join as an operator of DataFusion's: the spine's plan and those of the views under it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::stats::{ColumnStatistics, Precision};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterDescription, FilterDescription, FilterPushdownPhase,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use icecore_core::{BatchStream, FeatureTable, PitOptions, Result, Span};
use icecore_engine::from_datafusion;
use icecore_kernel::AsOfOptions;

use crate::check;
use crate::join::Joining;
use crate::output::Output;
use crate::parts::Parts;
use crate::source::{FeatureRows, FeatureSource};
use crate::spine::{moment_column, plain_schema};
use crate::table::JoinTable;

/// Joins each row of its first input with the newest rows of its others that the row may see.
///
/// Rows come out in the order of the spine, as one partition. What rows of a view can be seen at all
/// is known when the spine was read: a dynamic filter under each view tells its readers, which then
/// leave out files, row groups, pages and rows.
#[derive(Debug)]
pub struct PointInTimeExec {
    joining: Arc<Joining>,
    spine: Arc<dyn ExecutionPlan>,
    rows: Vec<Arc<dyn FeatureRows>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What is joined with a plan's rows.
pub(crate) struct Plan {
    pub(crate) spine: Arc<dyn ExecutionPlan>,
    pub(crate) event_timestamp: String,
    pub(crate) joined: Vec<(FeatureTable, Arc<dyn FeatureSource>)>,
    pub(crate) options: PitOptions,
    pub(crate) parts: Parts,
}

impl Plan {
    /// The operator over the optimized plans of all rows.
    pub(crate) async fn exec(self, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let visible = plain_schema(&self.spine.schema());
        moment_column(&visible, &self.event_timestamp)?;
        let (mut tables, mut rows) = (Vec::new(), Vec::new());
        for (feature, source) in self.joined {
            let table = JoinTable::new(feature, &visible, source.as_ref(), self.options)?;
            tables.push((table, source));
        }
        check::output_names(&visible, tables.iter().map(|(table, _)| table))?;
        let mut joined = Vec::with_capacity(tables.len());
        for (table, source) in tables {
            let table = Arc::new(table);
            rows.push(source.plan(&table).await?);
            joined.push(table);
        }
        let joining = Joining {
            output: Output::new(&visible, joined.clone()),
            tables: joined,
            event_timestamp: self.event_timestamp,
            parts: self.parts,
        };
        let exec = PointInTimeExec::new(Arc::new(joining), self.spine, rows);
        let pushed = FilterPushdown::new_post_optimization().optimize(Arc::new(exec), config);
        pushed.map_err(from_datafusion)
    }
}

impl PointInTimeExec {
    fn new(
        joining: Arc<Joining>,
        spine: Arc<dyn ExecutionPlan>,
        rows: Vec<Arc<dyn FeatureRows>>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(joining.output.schema())),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Self { joining, spine, rows, properties: Arc::new(properties), metrics }
    }
}

impl DisplayAs for PointInTimeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PointInTimeExec: moment={}, views=[", self.joining.event_timestamp)?;
        for (at, table) in self.joining.tables.iter().enumerate() {
            let keys = table.keys.iter().map(|(_, own)| own.as_str()).collect::<Vec<_>>();
            let separator = if at > 0 { ", " } else { "" };
            write!(f, "{separator}{}(by {}", table.feature.view, keys.join("+"))?;
            let AsOfOptions { ttl_micros, strict, .. } = table.options;
            if let Some(ttl) = ttl_micros {
                write!(f, ", ttl {}", Span::from_micros(ttl))?;
            }
            if table.epochs.is_some() {
                write!(f, ", {} states", table.epochs.as_ref().map_or(0, |states| states.len()))?;
            }
            write!(f, "{})", if strict { ", strict" } else { "" })?;
        }
        write!(f, "]")
    }
}

impl ExecutionPlan for PointInTimeExec {
    fn name(&self) -> &'static str {
        "PointInTimeExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        let views = self.children().len() - 1;
        let any = std::iter::repeat_n(Distribution::UnspecifiedDistribution, views);
        std::iter::once(Distribution::SinglePartition).chain(any).collect()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        (0..self.children().len()).map(|child| child == 0).collect()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        (0..self.children().len()).map(|child| child > 0).collect()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        let views = self.rows.iter().filter_map(|rows| rows.plan());
        std::iter::once(&self.spine).chain(views).collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let wrong =
            || DataFusionError::Internal("a join has one input for each of its plans".into());
        let mut children = children.into_iter();
        let spine = children.next().ok_or_else(wrong)?;
        let rows = self.rows.iter().map(|rows| match rows.plan() {
            None => Ok(Arc::clone(rows)),
            Some(_) => rows.with_plan(children.next().ok_or_else(wrong)?).map_err(external),
        });
        let rows = rows.collect::<PlanResult<_>>()?;
        Ok(Arc::new(Self::new(Arc::clone(&self.joining), spine, rows)))
    }

    fn gather_filters_for_pushdown(
        &self,
        phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> PlanResult<FilterDescription> {
        // Which rows a condition leaves out of the output decides no row of the inputs.
        let nothing = || ChildFilterDescription::all_unsupported(&parent_filters);
        let mut children = FilterDescription::new().with_child(nothing());
        for rows in self.rows.iter().filter(|rows| rows.plan().is_some()) {
            let reach = rows.reach().filter(|_| phase == FilterPushdownPhase::Post);
            children = children.with_child(match reach {
                Some(reach) => nothing().with_self_filter(reach),
                None => nothing(),
            });
        }
        Ok(children)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> PlanResult<SendableRecordBatchStream> {
        let spine = self.spine.execute(0, Arc::clone(&context))?;
        let spine = BatchStream::new(spine.schema(), spine.map_err(from_datafusion));
        let (joining, rows) = (Arc::clone(&self.joining), self.rows.clone());
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let joined = joining.join(spine, rows, context).map_err(external)?;
        let rows = joined.map(move |batch| {
            let batch = batch.map_err(external)?;
            metrics.record_output(batch.num_rows());
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    /// As many rows as the spine has, whose columns are as they were.
    fn partition_statistics(&self, _partition: Option<usize>) -> PlanResult<Statistics> {
        let spine = self.spine.partition_statistics(None)?;
        let mut columns = spine.column_statistics;
        columns.truncate(self.joining.output.spine_columns());
        columns.resize(self.schema().fields().len(), ColumnStatistics::new_unknown());
        Ok(Statistics {
            num_rows: spine.num_rows,
            total_byte_size: Precision::Absent,
            column_statistics: columns,
        })
    }
}

fn external(error: icecore_core::Error) -> DataFusionError {
    DataFusionError::External(error.into())
}

/// Runs a plan as rows of ours.
pub(crate) fn run(plan: &Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<BatchStream> {
    let schema: SchemaRef = plan.schema();
    let rows = plan.execute(0, context).map_err(from_datafusion)?;
    Ok(BatchStream::new(schema, rows.map_err(from_datafusion)))
}
