//! What expressions and plans say, as text: equal texts are equal questions.
//!
//! Expressions show no subqueries, and plans of the same words compare as different where the words
//! stand at other places of the query.

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

/// An expression, with all that its subqueries say.
pub(super) fn expression(expr: &Expr) -> String {
    let mut text = expr.to_string();
    for query in subqueries(expr) {
        text.push_str(&plan(&query.subquery));
    }
    text
}

/// A plan, with all that is below it.
pub(super) fn plan(whole: &LogicalPlan) -> String {
    let mut text = node(whole);
    text.push('(');
    for input in whole.inputs() {
        text.push_str(&plan(input));
        text.push(',');
    }
    text.push(')');
    text
}

/// A node of a plan, without what is below it.
pub(super) fn node(of: &LogicalPlan) -> String {
    // Rows are shown in part.
    if let LogicalPlan::Values(values) = of {
        return format!("Values: {:?}", values.values);
    }
    let mut text = of.display().to_string();
    // The arguments of a function that gives rows are known to its source alone.
    if let LogicalPlan::TableScan(scan) = of
        && scan.table_name.table().ends_with("()")
        && let Ok(provider) = source_as_provider(&scan.source)
    {
        text = format!("{text}{provider:?}");
    }
    let walked = of.apply_expressions(|expr| {
        for query in subqueries(expr) {
            text.push_str(&plan(&query.subquery));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "nothing fails on the way");
    text
}

/// The subqueries of an expression, in order, without those inside them.
pub(super) fn subqueries(expr: &Expr) -> Vec<&Subquery> {
    let mut found = Vec::new();
    let walked = expr.apply(|expr| {
        match expr {
            Expr::ScalarSubquery(query)
            | Expr::Exists(Exists { subquery: query, .. })
            | Expr::InSubquery(InSubquery { subquery: query, .. })
            | Expr::SetComparison(SetComparison { subquery: query, .. }) => found.push(query),
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "nothing fails on the way");
    found
}
