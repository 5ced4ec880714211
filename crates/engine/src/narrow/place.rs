//! Nodes of a plan by where they stand, and what expressions are made of, down to there.
//!
//! A table may be read twice in a query, and what is true of a row of the one is not of the other:
//! columns are told apart by the place of the node that they come from.

use datafusion::common::tree_node::{
    Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion,
};
use datafusion::common::{Column, DataFusionError};
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};

use super::said;

/// A node of a plan.
#[derive(Debug, Clone)]
pub(super) struct Place<'p> {
    pub(super) plan: &'p LogicalPlan,
    /// Which input to take, from the top of the plan to here.
    path: Vec<usize>,
}

impl<'p> Place<'p> {
    pub(super) const fn top(plan: &'p LogicalPlan) -> Self {
        Self { plan, path: Vec::new() }
    }

    /// The inputs, in order.
    pub(super) fn inputs(&self) -> Vec<Self> {
        let below = |(at, plan)| {
            let mut path = self.path.clone();
            path.push(at);
            Self { plan, path }
        };
        self.plan.inputs().into_iter().enumerate().map(below).collect()
    }

    /// The input at this position.
    pub(super) fn input(&self, at: usize) -> Option<Self> {
        self.inputs().into_iter().nth(at)
    }

    /// What an expression over the rows of this node is made of: no names that plans give, and
    /// [columns](leaf) by where they come from.
    pub(super) fn traced(&self, expr: &Expr) -> Option<Expr> {
        let unknown = || DataFusionError::Plan("a column of nobody".to_owned());
        let traced = expr.clone().transform_down(|expr| match expr {
            Expr::Alias(alias) => {
                let inner = self.traced(&alias.expr).ok_or_else(unknown)?;
                Ok(Transformed::new(inner, true, TreeNodeRecursion::Jump))
            }
            Expr::Column(column) => {
                let at = self.plan.schema().maybe_index_of_column(&column).ok_or_else(unknown)?;
                let inner = self.column(at).ok_or_else(unknown)?;
                Ok(Transformed::new(inner, true, TreeNodeRecursion::Jump))
            }
            other => Ok(Transformed::no(other)),
        });
        traced.data().ok()
    }

    /// What a column of this node is made of.
    fn column(&self, at: usize) -> Option<Expr> {
        let here = || self.leaf(at);
        match self.plan {
            LogicalPlan::Projection(node) => self.computed(node.expr.get(at)?, at),
            LogicalPlan::Distinct(Distinct::On(node)) => {
                self.computed(node.select_expr.get(at)?, at)
            }
            LogicalPlan::Aggregate(node) => {
                let has_sets =
                    node.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_)));
                match node.group_expr.get(at) {
                    Some(key) if !has_sets => self.computed(key, at),
                    _ => here(),
                }
            }
            LogicalPlan::Window(node) if at < node.input.schema().fields().len() => {
                self.input(0)?.column(at)
            }
            LogicalPlan::Join(node) => {
                let width = node.left.schema().fields().len();
                match (node.join_type, at.checked_sub(width)) {
                    (
                        JoinType::Inner
                        | JoinType::Left
                        | JoinType::LeftSemi
                        | JoinType::LeftAnti
                        | JoinType::LeftMark,
                        None,
                    ) => self.input(0)?.column(at),
                    (JoinType::Inner | JoinType::Right, Some(at)) => self.input(1)?.column(at),
                    (JoinType::RightSemi | JoinType::RightAnti, _) => self.input(1)?.column(at),
                    // Rows without a partner have nulls there.
                    _ => here(),
                }
            }
            LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Distinct(Distinct::All(_)) => self.input(0)?.column(at),
            _ => here(),
        }
    }

    /// A column that this node computes of its input.
    fn computed(&self, expr: &Expr, at: usize) -> Option<Expr> {
        // Computed twice, these are two values.
        if is_volatile(expr) || !said::subqueries(expr).is_empty() {
            return self.leaf(at);
        }
        self.input(0)?.traced(expr)
    }

    /// A column that comes from this node. It is written as a reference to the outside, which keeps
    /// its type with it and is nothing else here: those of subqueries stay inside them.
    fn leaf(&self, at: usize) -> Option<Expr> {
        let field = self.plan.schema().fields().get(at)?.clone();
        let name = format!("{:?}.{at}", self.path);
        Some(Expr::OuterReferenceColumn(field, Column::new_unqualified(name)))
    }
}

/// Whether an expression may have another value each time it is computed.
pub(super) fn is_volatile(expr: &Expr) -> bool {
    let below = |plan: &LogicalPlan| {
        let mut found = false;
        let walked = plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                found |= expr.is_volatile();
                Ok(TreeNodeRecursion::Continue)
            })
        });
        found || walked.is_err()
    };
    expr.is_volatile() || said::subqueries(expr).into_iter().any(|query| below(&query.subquery))
}

/// What an expression has of the rows that it is computed for: its columns, and those that its
/// subqueries refer to.
pub(super) fn columns(expr: &Expr) -> Vec<Expr> {
    let own = expr.column_refs().into_iter().cloned().map(Expr::Column);
    own.chain(outer_columns(expr)).collect()
}

/// The columns that the subqueries of an expression refer to.
pub(super) fn outer_columns(expr: &Expr) -> Vec<Expr> {
    let mut found = Vec::new();
    for query in said::subqueries(expr) {
        let walked = query.subquery.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    if let Expr::OuterReferenceColumn(_, column) = expr {
                        found.push(Expr::Column(column.clone()));
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        });
        debug_assert!(walked.is_ok(), "nothing fails on the way");
    }
    found
}
