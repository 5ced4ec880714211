//! Filters that a query finds while it runs: the keys that the other side of a join has, the worst
//! row that is still among the best.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, Literal};
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use icecore_core::Predicate;

use super::filter::{compare_op, fitting};

/// What the filters say by now of the columns of this schema: every row that passes them passes
/// this. `None` where that is nothing.
pub(super) fn predicate_now(
    filters: &[Arc<dyn PhysicalExpr>],
    schema: &SchemaRef,
) -> Option<Predicate> {
    let now = filters.iter().filter_map(|filter| snapshot_physical_expr(Arc::clone(filter)).ok());
    let all: Vec<Predicate> = now.filter_map(|filter| weak(&filter, schema)).collect();
    (!all.is_empty()).then_some(Predicate::And(all))
}

/// A predicate that every row passes that passes the expression.
fn weak(expr: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Option<Predicate> {
    if let Some(list) = expr.as_any().downcast_ref::<InListExpr>() {
        return is_in(list, schema);
    }
    let binary = expr.as_any().downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    match binary.op() {
        Operator::And => match (weak(left, schema), weak(right, schema)) {
            (Some(left), Some(right)) => Some(Predicate::And(vec![left, right])),
            (left, right) => left.or(right),
        },
        Operator::Or => Some(Predicate::Or(vec![weak(left, schema)?, weak(right, schema)?])),
        op => {
            let (name, value, op) = match column(left, schema) {
                Some(name) => (name, right, *op),
                None => (column(right, schema)?, left, op.swap()?),
            };
            let value = value.as_any().downcast_ref::<Literal>()?.value();
            Some(Predicate::compare(name, compare_op(op)?, fitting(value, name, schema)?))
        }
    }
}

/// One of a list of values. A list that is empty may be one that is kept in another form.
fn is_in(list: &InListExpr, schema: &SchemaRef) -> Option<Predicate> {
    let name = column(list.expr(), schema)?;
    if list.negated() || list.list().is_empty() {
        return None;
    }
    let values = list.list().iter().map(|value| {
        let value = value.as_any().downcast_ref::<Literal>()?.value();
        fitting(value, name, schema)
    });
    Some(Predicate::In(name.to_owned(), values.collect::<Option<_>>()?))
}

fn column<'s>(expr: &Arc<dyn PhysicalExpr>, schema: &'s SchemaRef) -> Option<&'s str> {
    let column = expr.as_any().downcast_ref::<Column>()?;
    let field = schema.fields().get(column.index())?;
    (field.name() == column.name()).then(|| field.name().as_str())
}

#[cfg(test)]
mod tests;
