//! The node in logical plans, and how it becomes an operator.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use icecore_core::{Error, Result};
use icecore_kernel::WindowKernel;

use super::exec::{FeatureWindowExec, ordering};
use super::gathered_exec::GatheredWindowExec;
use super::{WindowNode, moment_type};
use crate::error::from_datafusion;

/// Window features over an input with the columns keys, moment, inputs, masks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FeatureWindow {
    input: LogicalPlan,
    node: WindowNode,
    schema: DFSchemaRef,
}

impl FeatureWindow {
    pub(super) fn try_new(input: LogicalPlan, node: WindowNode) -> Result<Self> {
        let kernel = kernel(&node, input.schema().as_arrow().fields())?;
        let schema = output_schema(&node, &kernel, input.schema().as_arrow())?;
        let mut names = HashSet::new();
        if let Some(field) = schema.fields().iter().find(|field| !names.insert(field.name())) {
            let message =
                format!("two columns of the window features are named `{}`", field.name());
            return Err(Error::invalid(message));
        }
        let schema = DFSchema::try_from(Arc::clone(&schema)).map_err(from_datafusion)?;
        Ok(Self { input, node, schema: Arc::new(schema) })
    }
}

/// The kernel for these columns: keys, moment, inputs, masks.
pub(super) fn kernel(node: &WindowNode, fields: &Fields) -> Result<WindowKernel> {
    let inputs = fields.iter().skip(node.keys.len() + 1).take(node.inputs.len());
    let types = inputs.map(|field| field.data_type().clone()).collect::<Vec<_>>();
    WindowKernel::try_new(node.spec.clone(), &types)
}

/// The columns that come out: keys, moment, features.
pub(super) fn output_schema(
    node: &WindowNode,
    kernel: &WindowKernel,
    input: &Schema,
) -> Result<SchemaRef> {
    let keys = input.fields().iter().take(node.keys.len()).cloned();
    let moment = Arc::new(Field::new(&node.output_time, moment_type(), false));
    let features = kernel.output_fields().iter().cloned();
    let fields = keys.chain([moment]).chain(features).collect::<Vec<_>>();
    Ok(Arc::new(Schema::new(fields)))
}

impl Hash for FeatureWindow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.node.keys.hash(state);
        self.node.inputs.hash(state);
        self.node.output_time.hash(state);
    }
}

impl PartialOrd for FeatureWindow {
    /// Nodes are equal or not; they have no order.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for FeatureWindow {
    fn name(&self) -> &'static str {
        "FeatureWindow"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    /// A condition on keys leaves out whole entities, so it may come first; others may not.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let fields = self.schema.fields().iter().skip(self.node.keys.len());
        fields.map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(&self.node, f)
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> PlanResult<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else {
            return Err(DataFusionError::Internal("FeatureWindow has one input".into()));
        };
        debug_assert!(exprs.is_empty());
        Self::try_new(input, self.node.clone()).map_err(external)
    }

    /// The operator reads its input by position.
    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.input.schema().fields().len()).collect()])
    }
}

/// Whether events come by keys and moment.
fn is_in_order(input: &Arc<dyn ExecutionPlan>, keys: usize) -> PlanResult<bool> {
    let order = ordering(&input.schema(), keys + 1);
    input.properties().equivalence_properties().ordering_satisfy(order)
}

/// How plans show the node.
pub(super) fn describe(node: &WindowNode, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let WindowNode { keys, time, spec, .. } = node;
    let (keys, columns) = (keys.join(", "), spec.columns.len());
    write!(f, "FeatureWindow: keys=[{keys}], time={time}, columns={columns}, ")?;
    match node.asked {
        Some(_) => write!(f, "at the rows that ask"),
        None => write!(f, "emit={:?}", spec.emit),
    }
}

pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A query planner that knows the nodes of [`window_frame`](super::window_frame) beside all
/// of DataFusion's, for [`SessionStateBuilder::with_query_planner`].
///
/// [`SessionStateBuilder::with_query_planner`]: datafusion::execution::session_state::SessionStateBuilder::with_query_planner
#[must_use]
pub fn window_planner() -> Arc<dyn QueryPlanner + Send + Sync> {
    Arc::new(Planner)
}

#[derive(Debug)]
struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        state: &SessionState,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Self)]);
        let plan = planner.create_physical_plan(plan, state).await?;
        let with_numbers = |plan: Arc<dyn ExecutionPlan>| {
            Ok(match plan.as_any().downcast_ref::<GatheredWindowExec>() {
                Some(window) => {
                    Transformed::yes(Arc::new(window.with_numbers(state.runtime_env())?)
                        as Arc<dyn ExecutionPlan>)
                }
                None => Transformed::no(plan),
            })
        };
        plan.transform_up(with_numbers).data()
    }
}

#[async_trait]
impl ExtensionPlanner for Planner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _state: &SessionState,
    ) -> PlanResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(window) = node.as_any().downcast_ref::<FeatureWindow>() else { return Ok(None) };
        let [input] = physical_inputs else {
            return Err(DataFusionError::Internal("FeatureWindow has one input".into()));
        };
        let (node, input) = (window.node.clone(), Arc::clone(input));
        if node.keys.is_empty() || is_in_order(&input, node.keys.len())? {
            return Ok(Some(Arc::new(FeatureWindowExec::try_new(node, input)?)));
        }
        Ok(Some(Arc::new(GatheredWindowExec::try_new(Arc::new(node), input)?)))
    }
}
