//! Following a plan from its tables upward.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Distinct, Expr, Join, JoinType, LogicalPlan, TableScan, WindowFunctionDefinition,
};
use icecore_core::TableName;

use super::{Derivation, InfluenceKind};
use crate::provider::PinnedProvider;
use crate::resolve::OpaqueView;

/// A column of a table.
pub(super) type Source = (TableName, String);
/// What values are made of, and how.
pub(super) type Sources = BTreeMap<Source, Derivation>;

/// Where the columns of a plan come from.
#[derive(Debug, Clone, Default)]
pub(super) struct Traced {
    /// Of each column of the plan's schema.
    pub(super) columns: Vec<Sources>,
    pub(super) influences: BTreeSet<(Source, InfluenceKind)>,
}

/// Follows a plan.
pub(super) fn trace(plan: &LogicalPlan) -> Traced {
    match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan),
        LogicalPlan::Projection(node) => {
            let mut input = Input::of(&node.input);
            let columns = node.expr.iter().map(|expr| input.sources(expr)).collect();
            input.answer(columns)
        }
        LogicalPlan::Filter(node) => {
            let mut input = Input::of(&node.input);
            input.influence(&node.predicate, InfluenceKind::Filter);
            input.traced
        }
        LogicalPlan::Sort(node) => {
            let mut input = Input::of(&node.input);
            for sort in &node.expr {
                input.influence(&sort.expr, InfluenceKind::Sort);
            }
            input.traced
        }
        LogicalPlan::Aggregate(node) => {
            let mut input = Input::of(&node.input);
            let groups: Vec<&Expr> = grouping_set_to_exprlist(&node.group_expr)
                .unwrap_or_else(|_| node.group_expr.iter().collect());
            let mut columns: Vec<Sources> = Vec::new();
            for group in groups {
                input.influence(group, InfluenceKind::GroupBy);
                columns.push(input.sources(group));
            }
            // Grouping sets have a column of their own between.
            let spare = node.schema.fields().len().saturating_sub(node.aggr_expr.len());
            columns.resize_with(spare, Sources::new);
            columns.extend(node.aggr_expr.iter().map(|expr| input.sources(expr)));
            input.answer(columns)
        }
        LogicalPlan::Window(node) => {
            let mut input = Input::of(&node.input);
            let mut columns = input.traced.columns.clone();
            columns.extend(node.window_expr.iter().map(|expr| input.sources(expr)));
            input.answer(columns)
        }
        LogicalPlan::Join(join) => of_join(join),
        LogicalPlan::Union(node) => merged(node.inputs.iter().map(|input| trace(input))),
        LogicalPlan::RecursiveQuery(node) => {
            merged([trace(&node.static_term), trace(&node.recursive_term)])
        }
        LogicalPlan::Distinct(Distinct::On(node)) => {
            let mut input = Input::of(&node.input);
            for expr in &node.on_expr {
                input.influence(expr, InfluenceKind::GroupBy);
            }
            for sort in node.sort_expr.iter().flatten() {
                input.influence(&sort.expr, InfluenceKind::Sort);
            }
            let columns = node.select_expr.iter().map(|expr| input.sources(expr)).collect();
            input.answer(columns)
        }
        LogicalPlan::Unnest(node) => {
            let mut traced = trace(&node.input);
            let from = |at: &usize| traced.columns.get(*at).cloned().unwrap_or_default();
            traced.columns = node.dependency_indices.iter().map(from).collect();
            traced
        }
        other => of_any(other),
    }
}

fn of_scan(scan: &TableScan) -> Traced {
    let name = source_as_provider(&scan.source).ok().and_then(|provider| {
        let any = provider.as_any();
        let table = any.downcast_ref::<PinnedProvider>().map(PinnedProvider::table);
        table.or_else(|| any.downcast_ref::<OpaqueView>().map(OpaqueView::name)).cloned()
    });
    let columns = scan.projected_schema.fields().iter().map(|field| {
        let source = name.as_ref().map(|table| (table.clone(), field.name().clone()));
        source.map(|source| (source, Derivation::Identity)).into_iter().collect()
    });
    let mut traced = Traced { columns: columns.collect(), ..Traced::default() };
    // What the scan is asked for was a filter above it.
    let mut input = Input { schema: &scan.projected_schema, traced: traced.clone() };
    for filter in &scan.filters {
        input.influence(filter, InfluenceKind::Filter);
    }
    traced.influences = input.traced.influences;
    traced
}

fn of_join(join: &Join) -> Traced {
    let (mut left, mut right) = (Input::of(&join.left), Input::of(&join.right));
    for (of_left, of_right) in &join.on {
        left.influence(of_left, InfluenceKind::Join);
        right.influence(of_right, InfluenceKind::Join);
    }
    if let Some(filter) = &join.filter {
        left.influence(filter, InfluenceKind::Join);
        right.influence(filter, InfluenceKind::Join);
    }
    let (left, right) = (left.traced, right.traced);
    let mut influences = left.influences;
    influences.extend(right.influences);
    let columns = match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti => left.columns,
        JoinType::RightSemi | JoinType::RightAnti => right.columns,
        JoinType::LeftMark => left.columns.into_iter().chain([Sources::new()]).collect(),
        JoinType::RightMark => right.columns.into_iter().chain([Sources::new()]).collect(),
        _ => left.columns.into_iter().chain(right.columns).collect(),
    };
    Traced { columns, influences }
}

/// What passes its input's columns on, or has columns of nobody.
fn of_any(plan: &LogicalPlan) -> Traced {
    let inputs = plan.inputs();
    let width = plan.schema().fields().len();
    let mut traced = Traced::default();
    let mut by_name: BTreeMap<String, Sources> = BTreeMap::new();
    for input in &inputs {
        let below = trace(input);
        traced.influences.extend(below.influences);
        if inputs.len() == 1 && below.columns.len() == width {
            traced.columns = below.columns;
            return traced;
        }
        for (field, sources) in input.schema().fields().iter().zip(below.columns) {
            by_name.entry(field.name().clone()).or_default().extend(sources);
        }
    }
    traced.columns = (plan.schema().fields().iter())
        .map(|field| by_name.get(field.name()).cloned().unwrap_or_default())
        .collect();
    traced
}

/// Plans whose columns are the same ones, by their places.
fn merged(plans: impl IntoIterator<Item = Traced>) -> Traced {
    let mut all = Traced::default();
    for plan in plans {
        all.influences.extend(plan.influences);
        if all.columns.len() < plan.columns.len() {
            all.columns.resize_with(plan.columns.len(), Sources::new);
        }
        for (column, more) in all.columns.iter_mut().zip(plan.columns) {
            add(column, more, Derivation::Identity);
        }
    }
    all
}

/// What an expression is evaluated on.
struct Input<'p> {
    schema: &'p DFSchema,
    traced: Traced,
}

impl<'p> Input<'p> {
    fn of(plan: &'p LogicalPlan) -> Self {
        Self { schema: plan.schema(), traced: trace(plan) }
    }

    fn answer(self, columns: Vec<Sources>) -> Traced {
        Traced { columns, influences: self.traced.influences }
    }

    fn influence(&mut self, expr: &Expr, by: InfluenceKind) {
        let sources = self.sources(expr);
        self.traced.influences.extend(sources.into_keys().map(|source| (source, by)));
    }

    /// What the values of an expression are made of. What its subqueries are influenced by
    /// influences the whole.
    fn sources(&mut self, expr: &Expr) -> Sources {
        let mut found = Sources::new();
        match expr {
            Expr::Alias(alias) => return self.sources(&alias.expr),
            Expr::Column(column) => {
                let at = self.schema.maybe_index_of_column(column);
                return at.and_then(|at| self.traced.columns.get(at).cloned()).unwrap_or_default();
            }
            Expr::AggregateFunction(function) => {
                for argument in &function.params.args {
                    add(&mut found, self.sources(argument), Derivation::Aggregation);
                }
                if let Some(filter) = &function.params.filter {
                    self.influence(filter, InfluenceKind::Filter);
                }
                for sort in &function.params.order_by {
                    self.influence(&sort.expr, InfluenceKind::Sort);
                }
            }
            Expr::WindowFunction(function) => {
                let how = match function.fun {
                    WindowFunctionDefinition::AggregateUDF(_) => Derivation::Aggregation,
                    WindowFunctionDefinition::WindowUDF(_) => Derivation::Transformation,
                };
                for argument in &function.params.args {
                    add(&mut found, self.sources(argument), how);
                }
                for part in &function.params.partition_by {
                    self.influence(part, InfluenceKind::Window);
                }
                for sort in &function.params.order_by {
                    self.influence(&sort.expr, InfluenceKind::Window);
                }
            }
            Expr::ScalarSubquery(query) => self.subquery(&query.subquery, &mut found),
            Expr::Exists(exists) => self.subquery(&exists.subquery.subquery, &mut found),
            Expr::InSubquery(test) => {
                add(&mut found, self.sources(&test.expr), Derivation::Transformation);
                self.subquery(&test.subquery.subquery, &mut found);
            }
            other => {
                let walked = other.apply_children(|child| {
                    add(&mut found, self.sources(child), Derivation::Transformation);
                    Ok(TreeNodeRecursion::Continue)
                });
                debug_assert!(walked.is_ok(), "nothing fails on the way");
            }
        }
        found
    }

    fn subquery(&mut self, plan: &LogicalPlan, found: &mut Sources) {
        let below = trace(plan);
        self.traced.influences.extend(below.influences);
        for sources in below.columns {
            add(found, sources, Derivation::Transformation);
        }
    }
}

/// Adds what was derived at least so.
fn add(found: &mut Sources, more: Sources, at_least: Derivation) {
    for (source, how) in more {
        let how = how.max(at_least);
        found.entry(source).and_modify(|known| *known = how.max(*known)).or_insert(how);
    }
}
