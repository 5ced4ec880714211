//! Conditions that cut an aggregate short: the trap of incremental models.
//!
//! A model that computes each user's last 30 days and, when it runs incrementally, reads only the
//! rows since its last run, counts one day and calls it thirty. Whether that is so can be seen in
//! the two plans: a condition that only the incremental one has, and that stands below an
//! aggregate, a window, a limit or a side of a join, leaves groups incomplete, unless it takes or
//! leaves whole groups. What cannot be shown to leave every row as it is counts as found.

mod above;
mod compare;
mod grid;
mod place;
mod said;
mod shown;

use std::fmt;

use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::LogicalPlanBuilder;
use icecore_core::Result;

use crate::engine::Engine;
use crate::error::OrOurs as _;
use crate::resolve::Scope;
use compare::{Doubt, compare};

/// A condition that cuts an aggregate short.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Narrowing {
    /// The condition, as the plan has it; another difference, if nothing is computed above it.
    pub condition: String,
    /// What is computed above it.
    pub computed: Vec<String>,
    /// What the rows are grouped or divided by.
    pub grouped_by: Vec<String>,
}

/// What is wrong, as a sentence without its end.
impl fmt::Display for Narrowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let condition = &self.condition;
        let computed = match self.computed.as_slice() {
            [] => {
                return write!(
                    f,
                    "the incremental query is another than that of a full refresh, not only by \
                     conditions that it has besides: at `{condition}`, its rows may be others"
                );
            }
            [one, two, rest @ ..] if !rest.is_empty() => {
                format!("`{one}`, `{two}` and {} more", rest.len())
            }
            few => format!("`{}`", few.join("`, `")),
        };
        let needs = if self.computed.len() == 1 { "needs" } else { "need" };
        write!(
            f,
            "the incremental condition `{condition}` cuts off rows that {computed} still {needs}: "
        )?;
        if self.grouped_by.is_empty() {
            f.write_str("it would be computed from the new rows alone")
        } else {
            let groups = self.grouped_by.join(", ");
            write!(f, "groups by ({groups}) would be computed from the new rows alone")
        }
    }
}

impl Engine {
    /// Compares the query of a full refresh with that of an incremental run, and finds what keeps
    /// rows of the latter from being rows of the former: above all, a condition that leaves its
    /// aggregates incomplete. Where that depends on what a table holds, such as the moment of the
    /// last run, the table is asked.
    ///
    /// # Errors
    ///
    /// As [`Engine::query`] and [`Engine::sql`].
    pub async fn narrowing(
        &self,
        full: &str,
        incremental: &str,
        scope: &Scope,
    ) -> Result<Option<Narrowing>> {
        let full = self.query_in(full, scope).await?;
        let incremental = self.query_in(incremental, scope).await?;
        let plan = incremental.logical_plan();
        let doubts = match compare(full.logical_plan(), plan) {
            Ok(doubts) => doubts,
            Err(found) => return Ok(Some(found.without_tables(plan))),
        };
        for doubt in doubts {
            if !self.is_beginning(&incremental, &doubt).await? {
                return Ok(Some(doubt.otherwise.without_tables(plan)));
            }
        }
        Ok(None)
    }

    /// Whether groups begin at the bound of a condition.
    async fn is_beginning(&self, query: &DataFrame, doubt: &Doubt) -> Result<bool> {
        let bound = doubt.bound.clone().alias("bound");
        let plan = LogicalPlanBuilder::empty(true).project([bound]);
        let plan = plan.and_then(LogicalPlanBuilder::build).or_ours()?;
        let (session, _) = query.clone().into_parts();
        let row = self.stream(DataFrame::new(session, plan)).await?.concat().await?;
        let value = ScalarValue::try_from_array(row.column(0), 0).or_ours()?;
        Ok(doubt.grids.iter().any(|grid| grid.has(&value)))
    }
}
