//! Conditions that cut an aggregate short: the trap of incremental models.
//!
//! A model that computes each user's last 30 days and, when it runs incrementally, reads only the
//! rows since its last run, counts one day and calls it thirty. Whether that is so can be seen in
//! the two plans: a condition that only the incremental one has, and that stands below an aggregate
//! or a window, leaves groups incomplete, unless it takes or leaves whole groups.

mod grid;

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Window};
use icecore_core::Result;

use crate::engine::Engine;
use crate::lineage::{Derivation, Input, Source};
use crate::resolve::Scope;

/// A condition that cuts an aggregate short.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Narrowing {
    /// The condition, as the plan has it.
    pub condition: String,
    /// What is computed above it.
    pub computed: Vec<String>,
    /// What the rows are grouped or divided by.
    pub grouped_by: Vec<String>,
}

impl Engine {
    /// Compares the query of a full refresh with that of an incremental run, and finds the
    /// condition of the latter that leaves its aggregates incomplete.
    ///
    /// # Errors
    ///
    /// As [`Engine::query`].
    pub async fn narrowing(
        &self,
        full: &str,
        incremental: &str,
        scope: &Scope,
    ) -> Result<Option<Narrowing>> {
        let scope = scope.clone().with_opaque_views();
        let full = self.query_in(full, &scope).await?;
        let incremental = self.query_in(incremental, &scope).await?;
        Ok(narrowing(full.logical_plan(), incremental.logical_plan()))
    }
}

fn narrowing(full: &LogicalPlan, incremental: &LogicalPlan) -> Option<Narrowing> {
    let mut known = BTreeSet::new();
    conditions(full, &mut known);
    let found = find(incremental, &known, &mut Vec::new())?;
    let tables = qualifiers(incremental);
    let short = |text: &String| {
        tables.iter().fold(text.clone(), |text, table| text.replace(&format!("{table}."), ""))
    };
    Some(Narrowing {
        condition: short(&found.condition),
        computed: found.computed.iter().map(short).collect(),
        grouped_by: found.grouped_by.iter().map(short).collect(),
    })
}

/// What stands before the names of columns, the longest first.
fn qualifiers(plan: &LogicalPlan) -> Vec<String> {
    let mut found = BTreeSet::new();
    let walked = plan.apply_with_subqueries(|node| {
        let of_node = node.schema().iter().filter_map(|(qualifier, _)| qualifier);
        found.extend(of_node.map(ToString::to_string));
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "nothing fails on the way");
    let mut found: Vec<String> = found.into_iter().collect();
    found.sort_by_key(|name| std::cmp::Reverse(name.len()));
    found
}

/// Every condition of a plan, as text.
fn conditions(plan: &LogicalPlan, found: &mut BTreeSet<String>) {
    if let LogicalPlan::Filter(filter) = plan {
        found.extend(split_conjunction(&filter.predicate).into_iter().map(ToString::to_string));
    }
    for input in plan.inputs() {
        conditions(input, found);
    }
}

/// What puts rows together.
enum Above<'p> {
    Aggregate(&'p Aggregate),
    Window(&'p Window),
}

fn find<'p>(
    plan: &'p LogicalPlan,
    known: &BTreeSet<String>,
    above: &mut Vec<Above<'p>>,
) -> Option<Narrowing> {
    let depth = above.len();
    match plan {
        LogicalPlan::Aggregate(node) => above.push(Above::Aggregate(node)),
        LogicalPlan::Window(node) => above.push(Above::Window(node)),
        LogicalPlan::Filter(filter) => {
            let new = split_conjunction(&filter.predicate)
                .into_iter()
                .filter(|condition| !known.contains(&condition.to_string()));
            for condition in new {
                let cut = above
                    .iter()
                    .find(|node| !node.takes_whole_groups(condition, filter.input.as_ref()));
                if let Some(node) = cut {
                    return Some(node.narrowed_by(condition));
                }
            }
        }
        _ => {}
    }
    let found = plan.inputs().into_iter().find_map(|input| find(input, known, above));
    above.truncate(depth);
    found
}

impl Above<'_> {
    /// What rows are put together by; a window function without a division has nothing.
    fn keys(&self) -> Vec<&Expr> {
        match self {
            Self::Aggregate(node) => node.group_expr.iter().collect(),
            Self::Window(node) => {
                let mut divisions = node.window_expr.iter().map(|expr| match unaliased(expr) {
                    Expr::WindowFunction(function) => function.params.partition_by.iter().collect(),
                    _ => Vec::new(),
                });
                // What all of them are divided by.
                let first: Vec<&Expr> = divisions.next().unwrap_or_default();
                let others: Vec<Vec<&Expr>> = divisions.collect();
                first
                    .into_iter()
                    .filter(|key| others.iter().all(|other| other.contains(key)))
                    .collect()
            }
        }
    }

    fn input(&self) -> &LogicalPlan {
        match self {
            Self::Aggregate(node) => &node.input,
            Self::Window(node) => &node.input,
        }
    }

    /// Whether rows of one group all pass or all fail.
    fn takes_whole_groups(&self, condition: &Expr, below: &LogicalPlan) -> bool {
        let columns = condition.column_refs();
        if columns.is_empty() {
            // The same for all rows.
            return true;
        }
        let mut of_filter = Input::of(below);
        let wanted: BTreeSet<Source> = columns
            .into_iter()
            .flat_map(|column| of_filter.sources(&Expr::Column(column.clone())).into_keys())
            .collect();
        let mut of_node = Input::of(self.input());
        let mut same = Vec::new();
        for key in self.keys() {
            let sources = of_node.sources(key);
            if sources.keys().cloned().collect::<BTreeSet<_>>() != wanted {
                continue;
            }
            let is_identity = sources.values().all(|how| *how == Derivation::Identity);
            if is_identity || compares(condition, key) {
                return true;
            }
            same.push(key);
        }
        grid::takes_whole(condition, below, &same, self.input())
    }

    fn narrowed_by(&self, condition: &Expr) -> Narrowing {
        let computed: Vec<String> = match self {
            Self::Aggregate(node) => node.aggr_expr.iter().map(shown).collect(),
            Self::Window(node) => node.window_expr.iter().map(shown).collect(),
        };
        Narrowing {
            condition: shown_condition(condition),
            computed,
            grouped_by: self.keys().into_iter().map(shown).collect(),
        }
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// Whether a condition compares just what rows are grouped by.
fn compares(condition: &Expr, key: &Expr) -> bool {
    let key = unaliased(key).to_string();
    match condition {
        Expr::BinaryExpr(binary) => {
            [&binary.left, &binary.right].iter().any(|side| side.to_string() == key)
        }
        Expr::Between(between) => between.expr.to_string() == key,
        Expr::InList(list) => list.expr.to_string() == key,
        _ => false,
    }
}

/// An expression without the long names of tables.
fn shown(expr: &Expr) -> String {
    expr.human_display().to_string()
}

/// A condition with its subqueries as what they read.
fn shown_condition(condition: &Expr) -> String {
    let mut reads = Vec::new();
    let walked = condition.apply(|expr| {
        if let Expr::ScalarSubquery(query) = expr {
            let columns: Vec<String> =
                query.subquery.schema().fields().iter().map(|field| field.name().clone()).collect();
            reads.push(columns.join(", "));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "nothing fails on the way");
    let text = condition.human_display().to_string();
    match (text.find("(<subquery>)"), reads.first()) {
        (Some(_), Some(read)) => text.replacen("(<subquery>)", &format!("(select {read})"), 1),
        _ => text,
    }
}
