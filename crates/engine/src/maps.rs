//! Maps are not compared: two that are equal may list their entries in different orders.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable as _, LogicalPlan};
use icecore_core::{Error, Result};

use crate::error::OrOurs as _;

/// Fails where a query groups, compares or sorts rows by a map.
///
/// # Errors
///
/// `InvalidInput` naming the column.
pub(crate) fn check_uncompared(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    let visit = |node: &LogicalPlan| {
        found = compared_map(node);
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    };
    plan.apply_with_subqueries(visit).or_ours()?;
    match found {
        Some((name, what)) => Err(Error::invalid(format!(
            "`{name}` is or holds a map, and rows cannot be {what} by maps"
        ))
        .with_help(format!(
            "take its entries, `map_entries({name})`, or one of its values, `{name}['key']`"
        ))),
        None => Ok(()),
    }
}

/// The first map that a step of a plan compares rows by, and what the step does.
fn compared_map(node: &LogicalPlan) -> Option<(String, &'static str)> {
    match node {
        LogicalPlan::Aggregate(aggregate) => {
            let schema = aggregate.input.schema();
            let mut keys = aggregate.group_expr.iter().flat_map(|key| match key {
                Expr::GroupingSet(sets) => sets.distinct_expr(),
                other => vec![other],
            });
            keys.find_map(|key| map_of(key, schema)).map(|name| (name, "grouped"))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let mut fields = input.schema().fields().iter();
            let field = fields.find(|field| holds_map(field.data_type()))?;
            Some((field.name().clone(), "told apart"))
        }
        LogicalPlan::Distinct(Distinct::On(on)) => {
            let name = on.on_expr.iter().find_map(|key| map_of(key, on.input.schema()))?;
            Some((name, "told apart"))
        }
        LogicalPlan::Sort(sort) => {
            let name = sort.expr.iter().find_map(|key| map_of(&key.expr, sort.input.schema()))?;
            Some((name, "sorted"))
        }
        _ => None,
    }
}

fn map_of(key: &Expr, schema: &DFSchema) -> Option<String> {
    // What has no type yet is told when the query is planned.
    let data_type = key.get_type(schema).ok()?;
    holds_map(&data_type).then(|| match key {
        Expr::Column(Column { name, .. }) => name.clone(),
        other => other.human_display().to_string(),
    })
}

fn holds_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| holds_map(field.data_type())),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            holds_map(item.data_type())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;
    use icecore_core::ErrorKind;

    use super::*;

    #[test]
    fn a_map_that_rows_are_compared_by_is_named() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let check = |sql: &str| {
            let from = "(SELECT 1 AS id, MAP {'a': 1} AS m) AS t";
            let sql = sql.replace("FROM t", &format!("FROM {from}"));
            let context = SessionContext::new();
            let plan = runtime.block_on(context.state().create_logical_plan(&sql));
            check_uncompared(&plan.unwrap_or_else(|error| panic!("{sql}: {error}")))
        };
        for (sql, message) in [
            (
                "SELECT m, count(*) FROM t GROUP BY m",
                "`m` is or holds a map, and rows cannot be grouped",
            ),
            ("SELECT count(*) FROM t GROUP BY ROLLUP (id, m)", "cannot be grouped by maps"),
            ("SELECT DISTINCT id, m FROM t", "cannot be told apart by maps"),
            ("SELECT DISTINCT ON (m) id FROM t", "cannot be told apart by maps"),
            ("SELECT id FROM t ORDER BY m", "cannot be sorted by maps"),
            ("SELECT id, (SELECT count(*) FROM t GROUP BY m) FROM t", "cannot be grouped by maps"),
            ("SELECT m FROM t UNION SELECT m FROM t", "cannot be told apart by maps"),
        ] {
            let error = check(sql).expect_err(sql);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{sql}");
            assert!(error.to_string().contains(message), "{sql}: {error}");
            assert!(error.help().is_some_and(|help| help.contains("map_entries")), "{sql}");
        }
        for sql in [
            "SELECT m['a'], count(*) FROM t GROUP BY m['a']",
            "SELECT m FROM t ORDER BY id",
            "SELECT m FROM t UNION ALL SELECT m FROM t",
        ] {
            check(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }
}
