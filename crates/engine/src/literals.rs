//! Literals that mean what was typed: beside decimals and moments, and where there are two zeros.
//!
//! A number with a point is a double to the planner, and a double that is made a decimal is not the
//! number that was typed: `price = 495185.08` would find nothing. And SQL knows one zero, while
//! doubles are compared as IEEE 754-2019 (5.10, total order) has them, where -0.0 comes before 0.0.

mod compared;
mod moments;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, Operator, lit};

pub(crate) use compared::Comparisons;

/// Gives literals of an expression over these columns the types that they were typed in. The planner
/// of queries does it by itself.
///
/// # Errors
///
/// Those of the planner.
pub fn as_typed(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|node| Ok(rewritten(node, schema))).map(|done| done.data)
}

/// The same for each expression of a query.
#[derive(Debug)]
pub(crate) struct AsTyped;

impl FunctionRewrite for AsTyped {
    fn name(&self) -> &'static str {
        "literals_as_typed"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        Ok(rewritten(expr, schema))
    }
}

/// What values are compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    Decimals,
    Floats,
}

fn compared(expr: &Expr, schema: &DFSchema) -> Option<Compared> {
    if matches!(expr, Expr::Literal(..)) {
        return None;
    }
    // What has no type yet is no column, and stays as it is.
    match expr.get_type(schema).ok()? {
        DataType::Decimal128(..) => Some(Compared::Decimals),
        DataType::Float32 | DataType::Float64 => Some(Compared::Floats),
        _ => None,
    }
}

fn rewritten(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let done = numbers(expr, schema);
    if done.transformed { done } else { moments::rewritten(done.data, schema) }
}

fn numbers(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            comparison((*left, op, *right), schema)
        }
        Expr::InList(list) => in_list(list, schema),
        Expr::Between(between) => within(between, schema),
        other => Transformed::no(other),
    }
}

const fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn comparison((left, op, right): (Expr, Operator, Expr), schema: &DFSchema) -> Transformed<Expr> {
    let unchanged = |left: Expr, right: Expr| {
        Transformed::no(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
    };
    if matches!(left, Expr::Literal(..)) {
        // A value before the column: the same the other way around.
        let Some(swapped) = op.swap() else { return unchanged(left, right) };
        let turned = comparison_of((&right, swapped, &left), schema);
        return turned.map_or_else(|| unchanged(left, right), Transformed::yes);
    }
    let turned = comparison_of((&left, op, &right), schema);
    turned.map_or_else(|| unchanged(left, right), Transformed::yes)
}

fn comparison_of(
    (value, op, literal): (&Expr, Operator, &Expr),
    schema: &DFSchema,
) -> Option<Expr> {
    let with = |op, literal: Expr| {
        Expr::BinaryExpr(BinaryExpr::new(Box::new(value.clone()), op, Box::new(literal)))
    };
    match compared(value, schema)? {
        Compared::Decimals => Some(with(op, decimal(literal)?)),
        Compared::Floats if is_zero(literal) => Some(match op {
            Operator::Lt | Operator::GtEq => with(op, lit(-0.0_f64)),
            Operator::Gt | Operator::LtEq => with(op, lit(0.0_f64)),
            Operator::Eq => between_zeros(value, false),
            Operator::NotEq => between_zeros(value, true),
            _ => return None,
        }),
        Compared::Floats => None,
    }
}

fn between_zeros(value: &Expr, negated: bool) -> Expr {
    let (low, high) = (Box::new(lit(-0.0_f64)), Box::new(lit(0.0_f64)));
    Expr::Between(Between::new(Box::new(value.clone()), negated, low, high))
}

fn in_list(list: InList, schema: &DFSchema) -> Transformed<Expr> {
    let values = match compared(&list.expr, schema) {
        Some(Compared::Decimals) if list.list.iter().any(|value| decimal(value).is_some()) => {
            list.list.iter().map(|value| decimal(value).unwrap_or_else(|| value.clone())).collect()
        }
        Some(Compared::Floats) if list.list.iter().any(is_zero) => {
            let others = list.list.iter().filter(|value| !is_zero(value)).cloned();
            others.chain([lit(-0.0_f64), lit(0.0_f64)]).collect()
        }
        _ => return Transformed::no(Expr::InList(list)),
    };
    Transformed::yes(Expr::InList(InList::new(list.expr, values, list.negated)))
}

fn within(between: Between, schema: &DFSchema) -> Transformed<Expr> {
    let Between { expr, negated, low, high } = between;
    let ends = match compared(&expr, schema) {
        Some(Compared::Decimals) => [decimal(&low), decimal(&high)],
        // Both zeros lie in a range that begins or ends with one.
        Some(Compared::Floats) => [(&low, -0.0_f64), (&high, 0.0_f64)]
            .map(|(end, zero)| is_unsettled(end, zero).then(|| lit(zero))),
        None => [None, None],
    };
    let is_changed = ends.iter().any(Option::is_some);
    let [new_low, new_high] = ends;
    let low = new_low.map_or(low, Box::new);
    let high = new_high.map_or(high, Box::new);
    let between = Expr::Between(Between { expr, negated, low, high });
    if is_changed { Transformed::yes(between) } else { Transformed::no(between) }
}

/// Whether a literal is a zero, but not this one.
fn is_unsettled(expr: &Expr, zero: f64) -> bool {
    let same = |value: f64| value.to_bits() == zero.to_bits();
    is_zero(expr)
        && !matches!(expr, Expr::Literal(ScalarValue::Float64(Some(value)), _) if same(*value))
}

fn is_zero(expr: &Expr) -> bool {
    let Expr::Literal(value, _) = expr else { return false };
    match value {
        ScalarValue::Float64(Some(value)) => *value == 0.0,
        ScalarValue::Float32(Some(value)) => *value == 0.0,
        ScalarValue::Int64(Some(value)) => *value == 0,
        _ => false,
    }
}

/// A double as the decimal of the fewest digits that stands for it, which is what was typed; `None`
/// for what is no double, or has no decimal.
fn decimal(expr: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Float64(Some(value)), metadata) = expr else { return None };
    if !value.is_finite() {
        return None;
    }
    let text = value.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let scale = u8::try_from(fraction.len()).ok()?;
    let number: i128 = format!("{whole}{fraction}").parse().ok()?;
    let digits = number.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
    let precision = u8::try_from(digits).ok()?.max(scale);
    if precision > DECIMAL128_MAX_PRECISION {
        return None;
    }
    let scale = i8::try_from(scale).ok()?;
    let value = ScalarValue::Decimal128(Some(number), precision, scale);
    Some(Expr::Literal(value, metadata.clone()))
}

#[cfg(test)]
mod tests;
