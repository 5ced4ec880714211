//! Dates, texts and timestamps beside each other are compared in microseconds, as tables have them:
//! DataFusion would go by way of nanoseconds, in which the year 9999 cannot be said.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Cast, Expr, ExprSchemable as _, TryCast,
};

use super::is_comparison;
use crate::dialect::{UUID_BYTES, is_finer, parse_uuid};

/// Functions of which each argument may be the answer.
const CHOICES: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

pub(super) fn rewritten(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::Cast(cast) => {
            let direct = directly(&cast.expr, &cast.data_type, schema);
            match direct {
                Some(inner) => Transformed::yes(to(inner, &cast.data_type)),
                None => Transformed::no(Expr::Cast(cast)),
            }
        }
        Expr::TryCast(cast) => match directly(&cast.expr, &cast.data_type, schema) {
            Some(inner) => {
                Transformed::yes(Expr::TryCast(TryCast::new(Box::new(inner), cast.data_type)))
            }
            None => Transformed::no(Expr::TryCast(cast)),
        },
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let with = |left, right| Expr::BinaryExpr(BinaryExpr::new(left, op, right));
            match aligned(&left, &right, schema) {
                Some((left, right)) => Transformed::yes(with(Box::new(left), Box::new(right))),
                None => Transformed::no(with(left, right)),
            }
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            match all_aligned(&expr, &[&*low, &*high], schema) {
                Some((expr, ends)) => {
                    let mut ends = ends.into_iter();
                    let low = ends.next().map_or(low, Box::new);
                    let high = ends.next().map_or(high, Box::new);
                    let between = Between::new(Box::new(expr), negated, low, high);
                    Transformed::yes(Expr::Between(between))
                }
                None => Transformed::no(Expr::Between(Between { expr, negated, low, high })),
            }
        }
        Expr::InList(InList { expr, list, negated }) => {
            let values: Vec<&Expr> = list.iter().collect();
            match all_aligned(&expr, &values, schema) {
                Some((expr, list)) => {
                    Transformed::yes(Expr::InList(InList::new(Box::new(expr), list, negated)))
                }
                None => Transformed::no(Expr::InList(InList { expr, list, negated })),
            }
        }
        Expr::ScalarFunction(call) if CHOICES.contains(&call.name()) => choice(call, schema),
        Expr::Case(case) => branches(case, schema),
        other => Transformed::no(other),
    }
}

fn to(expr: Expr, data_type: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), data_type.clone()))
}

const fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// What a cast to nanoseconds and from there to microseconds begins with, if it comes to the same
/// without the nanoseconds.
fn directly(inner: &Expr, target: &DataType, schema: &DFSchema) -> Option<Expr> {
    let (from, by_way) = match inner {
        Expr::Cast(cast) => (cast.expr.as_ref(), &cast.data_type),
        Expr::TryCast(cast) => (cast.expr.as_ref(), &cast.data_type),
        _ => return None,
    };
    let DataType::Timestamp(TimeUnit::Microsecond, zone) = target else { return None };
    if *by_way != DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()) {
        return None;
    }
    let is_coarse = match from.get_type(schema).ok()? {
        DataType::Timestamp(unit, _) => unit != TimeUnit::Nanosecond,
        DataType::Date32 | DataType::Null => true,
        text => is_text(&text),
    };
    is_coarse.then(|| from.clone())
}

/// Two values that are compared, in a type that holds both; `None` where that is the planner's.
pub(super) fn aligned(left: &Expr, right: &Expr, schema: &DFSchema) -> Option<(Expr, Expr)> {
    let types = (left.get_type(schema).ok()?, right.get_type(schema).ok()?);
    one_way((left, &types.0), (right, &types.1)).or_else(|| {
        let (right, left) = one_way((right, &types.1), (left, &types.0))?;
        Some((left, right))
    })
}

type Typed<'a> = (&'a Expr, &'a DataType);

fn one_way((left, of_left): Typed<'_>, (right, of_right): Typed<'_>) -> Option<(Expr, Expr)> {
    use TimeUnit::{Microsecond, Nanosecond};
    match (of_left, of_right) {
        (DataType::Timestamp(Microsecond, _), DataType::Date32) => {
            Some((left.clone(), to(right.clone(), of_left)))
        }
        (DataType::Timestamp(Microsecond, _), of) if is_text(of) => {
            let is_finer = text_of(right).is_some_and(is_finer);
            (!is_finer).then(|| (left.clone(), to(right.clone(), of_left)))
        }
        // `now()` and what is counted from it.
        (DataType::Timestamp(Nanosecond, zone), DataType::Date32)
            if left.column_refs().is_empty() =>
        {
            let micros = DataType::Timestamp(Microsecond, zone.clone());
            Some((to(left.clone(), &micros), to(right.clone(), &micros)))
        }
        // A column in nanoseconds keeps them, unless the value lies beyond them.
        (DataType::Timestamp(Nanosecond, _), DataType::Timestamp(Microsecond, zone)) => {
            let Expr::Cast(cast) = right else { return None };
            let text = ScalarValue::from(text_of(&cast.expr)?);
            let nanos = DataType::Timestamp(Nanosecond, zone.clone());
            text.cast_to(&nanos).ok()?;
            Some((left.clone(), to(cast.expr.as_ref().clone(), &nanos)))
        }
        (DataType::Time64(Nanosecond), DataType::Time64(Microsecond)) => {
            Some((left.clone(), to(right.clone(), of_left)))
        }
        (DataType::FixedSizeBinary(UUID_BYTES), of) if is_text(of) => {
            let uuid = parse_uuid(text_of(right)?)?;
            let value = ScalarValue::FixedSizeBinary(UUID_BYTES, Some(uuid.to_vec()));
            Some((left.clone(), Expr::Literal(value, None)))
        }
        _ => None,
    }
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// A value and those that it is compared with, where all of them ask the same of it.
fn all_aligned(expr: &Expr, values: &[&Expr], schema: &DFSchema) -> Option<(Expr, Vec<Expr>)> {
    let pairs: Vec<Option<(Expr, Expr)>> =
        values.iter().map(|value| aligned(expr, value, schema)).collect();
    let (first, _) = pairs.iter().flatten().next()?;
    let first = first.clone();
    let mut all = Vec::with_capacity(values.len());
    for (pair, value) in pairs.into_iter().zip(values) {
        let (expr, value) = pair.unwrap_or_else(|| (expr.clone(), (*value).clone()));
        if expr != first {
            return None;
        }
        all.push(value);
    }
    Some((first, all))
}

/// The microseconds among the types of values, if there are dates among them, too.
fn common<'a>(values: impl Iterator<Item = &'a Expr>, schema: &DFSchema) -> Option<DataType> {
    let types: Vec<DataType> = values.filter_map(|value| value.get_type(schema).ok()).collect();
    let is_micros = |of: &&DataType| matches!(of, DataType::Timestamp(TimeUnit::Microsecond, _));
    types.contains(&DataType::Date32).then(|| types.iter().find(is_micros).cloned()).flatten()
}

fn with_moment(value: Expr, moment: &DataType, schema: &DFSchema) -> Expr {
    let is_date = value.get_type(schema).is_ok_and(|of| of == DataType::Date32);
    if is_date { to(value, moment) } else { value }
}

fn choice(call: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let Some(moment) = common(call.args.iter(), schema) else {
        return Transformed::no(Expr::ScalarFunction(call));
    };
    let args = call.args.into_iter().map(|value| with_moment(value, &moment, schema)).collect();
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.func), args)))
}

fn branches(case: Case, schema: &DFSchema) -> Transformed<Expr> {
    let values = case.when_then_expr.iter().map(|(_, value)| value.as_ref());
    let Some(moment) = common(values.chain(case.else_expr.as_deref()), schema) else {
        return Transformed::no(Expr::Case(case));
    };
    let fit = |value: Box<Expr>| Box::new(with_moment(*value, &moment, schema));
    let when_then_expr =
        case.when_then_expr.into_iter().map(|(when, then)| (when, fit(then))).collect();
    let else_expr = case.else_expr.map(fit);
    Transformed::yes(Expr::Case(Case { expr: case.expr, when_then_expr, else_expr }))
}
