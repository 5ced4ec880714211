//! Whether a plan gives the same whenever it runs: what decides it is what its functions are, not
//! what they are called or in which view they stand.
//!
//! A function counts as DataFusion declares it. Of its own, `now`, `current_date`, `current_time`,
//! `random` and `uuid` are not immutable, under all their names, and each of them is meant here: no
//! exceptions are needed. Conversions of times and time zones are immutable.

use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use icecore_core::{Error, Result};
use icecore_engine::from_datafusion;

/// The error for what depends on such a function.
pub(crate) fn depends_on(what: &str, function: &str) -> Error {
    Error::invalid(format!("{what} depends on `{function}`"))
        .with_note("features computed again from the same pins must be the same")
        .with_help("use the columns of the source; jobs take the date as `--from` and `--to`")
}

/// The first function in an expression whose value is not decided by its arguments.
pub(crate) fn unstable_function(expr: &Expr) -> Result<Option<String>, DataFusionError> {
    let mut found = None;
    expr.apply(|node| {
        found = unstable(node);
        Ok(match found {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

fn unstable(node: &Expr) -> Option<String> {
    let (volatility, name) = match node {
        Expr::ScalarFunction(call) => (call.func.signature().volatility, call.func.name()),
        Expr::AggregateFunction(call) => (call.func.signature().volatility, call.func.name()),
        Expr::WindowFunction(call) => (call.fun.signature().volatility, call.fun.name()),
        _ => return None,
    };
    (volatility != Volatility::Immutable).then(|| name.to_owned())
}

/// That a query gives the same rows whenever it reads the same tables. The views that it reads are
/// in its plan.
///
/// # Errors
///
/// `InvalidInput` that names the function, and the view in which it stands.
pub(crate) fn check_plan(plan: &LogicalPlan, what: &str) -> Result<()> {
    let Some(UnstableCall { function, view }) = first_call(plan)? else { return Ok(()) };
    let error = depends_on(what, &function);
    Err(match view {
        Some(view) => error.with_note(format!("in view `{view}`")),
        None => error,
    })
}

/// A function in a query whose value is not decided by its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnstableCall {
    /// Its name.
    pub function: String,
    /// The view of the catalog that it stands in, if it is not the query itself.
    pub view: Option<String>,
}

/// The first function for which a query may give other rows each time that it reads the same
/// tables. What only decides their order does not count.
///
/// # Errors
///
/// Those of the planner.
pub fn unstable_call(query: &DataFrame) -> Result<Option<UnstableCall>> {
    first_call(unordered(query.logical_plan()))
}

/// A plan without the order of all its rows. With a limit, the order decides which rows there are.
fn unordered(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => sort.input.as_ref(),
        other => other,
    }
}

fn first_call(plan: &LogicalPlan) -> Result<Option<UnstableCall>> {
    let mut search = Search::default();
    plan.visit_with_subqueries(&mut search).map_err(from_datafusion)?;
    Ok(search.found.map(|(function, view)| UnstableCall { function, view }))
}

#[derive(Default)]
struct Search {
    /// The views that the search is in, the outermost first.
    within: Vec<String>,
    /// A function, and the innermost view around it.
    found: Option<(String, Option<String>)>,
}

impl<'n> TreeNodeVisitor<'n> for Search {
    type Node = LogicalPlan;

    fn f_down(&mut self, node: &'n LogicalPlan) -> Result<TreeNodeRecursion, DataFusionError> {
        self.within.extend(view(node));
        node.apply_expressions(|expr| {
            let Some(function) = unstable_function(expr)? else {
                return Ok(TreeNodeRecursion::Continue);
            };
            self.found = Some((function, self.within.last().cloned()));
            Ok(TreeNodeRecursion::Stop)
        })
    }

    fn f_up(&mut self, node: &'n LogicalPlan) -> Result<TreeNodeRecursion, DataFusionError> {
        if view(node).is_some() {
            self.within.pop();
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

/// The name of the view that a node stands for: the query of a view is put in its place under its
/// whole name, which no other alias has.
fn view(node: &LogicalPlan) -> Option<String> {
    match node {
        LogicalPlan::SubqueryAlias(alias) if alias.alias.schema().is_some() => {
            Some(alias.alias.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
