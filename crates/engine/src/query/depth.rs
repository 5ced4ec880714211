//! How deep a plan may be.

use std::borrow::Cow;

use datafusion::logical_expr::LogicalPlan;
use icecore_core::{Error, ErrorKind, Result};

/// The most steps of a plan one above the other. Those who optimize and run a plan call themselves
/// for each; a plan of this depth fits a stack of 2 MiB.
const STEPS_MAX: usize = 200;

/// Refuses a plan that is too deep: its text need not be, where each of many joins, `WITH` queries
/// or views reads the one before.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    let mut plans = vec![(Cow::Borrowed(plan), 1)];
    while let Some((plan, depth)) = plans.pop() {
        let mut open = vec![(plan.as_ref(), depth)];
        while let Some((step, depth)) = open.pop() {
            if depth > STEPS_MAX {
                return Err(too_deep());
            }
            open.extend(step.inputs().into_iter().map(|input| (input, depth + 1)));
            if let LogicalPlan::TableScan(scan) = step
                && let Some(of_view) = scan.source.get_logical_plan()
            {
                plans.push((Cow::Owned(of_view.into_owned()), depth + 1));
            }
        }
    }
    Ok(())
}

fn too_deep() -> Error {
    let text = format!("the query has more than {STEPS_MAX} steps one after the other");
    Error::new(ErrorKind::LimitExceeded, text)
        .with_note("joins, `WITH` queries, subqueries and views that read each other are such")
        .with_help("store what a part of it answers in a table, as a model does, and read that")
}
