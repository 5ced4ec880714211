//! Expressions of plans, as people read them.

use std::collections::BTreeSet;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::{Narrowing, said};

/// So much of a node is enough to find it.
const NODE_CHARS_MAX: usize = 160;

/// An expression without the long names of tables.
pub(super) fn shown(expr: &Expr) -> String {
    expr.human_display().to_string()
}

/// A condition with its subqueries as what they read.
pub(super) fn shown_condition(condition: &Expr) -> String {
    let text = condition.human_display().to_string();
    let reads = said::subqueries(condition).into_iter().map(|query| {
        let fields = query.subquery.schema().fields().iter();
        fields.map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
    });
    reads.fold(text, |text, read| text.replacen("(<subquery>)", &format!("(select {read})"), 1))
}

/// A node without what is below it.
pub(super) fn shown_node(plan: &LogicalPlan) -> String {
    let text = plan.display().to_string();
    match text.char_indices().nth(NODE_CHARS_MAX) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

impl Narrowing {
    /// Without what stands before the names of columns.
    pub(super) fn without_tables(self, plan: &LogicalPlan) -> Self {
        let tables = qualifiers(plan);
        let short = |text: &String| {
            tables.iter().fold(text.clone(), |text, table| text.replace(&format!("{table}."), ""))
        };
        Self {
            condition: short(&self.condition),
            computed: self.computed.iter().map(short).collect(),
            grouped_by: self.grouped_by.iter().map(short).collect(),
        }
    }
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
