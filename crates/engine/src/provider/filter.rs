//! From expressions of a query to predicates that the catalog understands.

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use icecore_core::{CompareOp, Date, Literal, Predicate, Timestamp};

/// What the filters say that the catalog understands: every row that passes the filters passes
/// this. `None` where that is nothing.
pub(super) fn predicate(filters: &[Expr], schema: &SchemaRef) -> Option<Predicate> {
    let mut all: Vec<Predicate> =
        filters.iter().filter_map(|filter| weak(filter, schema)).collect();
    if all.len() > 1 { Some(Predicate::And(all)) } else { all.pop() }
}

/// A predicate that every row passes that passes the expression.
pub(crate) fn weak(expr: &Expr, schema: &SchemaRef) -> Option<Predicate> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            match (weak(left, schema), weak(right, schema)) {
                (Some(left), Some(right)) => Some(Predicate::And(vec![left, right])),
                (left, right) => left.or(right),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(Predicate::Or(vec![weak(left, schema)?, weak(right, schema)?]))
        }
        _ => exact(expr, schema),
    }
}

/// A predicate that is true, false and null where the expression is.
pub(crate) fn exact(expr: &Expr, schema: &SchemaRef) -> Option<Predicate> {
    match expr {
        Expr::Alias(alias) => exact(&alias.expr, schema),
        Expr::Not(inner) => Some(Predicate::Not(Box::new(exact(inner, schema)?))),
        Expr::IsNull(inner) => Some(Predicate::IsNull(column(inner)?.to_owned())),
        Expr::IsNotNull(inner) => Some(Predicate::IsNotNull(column(inner)?.to_owned())),
        Expr::Column(name) => {
            let is_bool = type_of(name.name(), schema)? == &DataType::Boolean;
            is_bool.then(|| Predicate::equal(name.name(), Literal::Bool(true)))
        }
        Expr::Between(between) => {
            let name = column(&between.expr)?;
            let low = literal(&between.low, name, schema)?;
            let high = literal(&between.high, name, schema)?;
            let inside = Predicate::And(vec![
                Predicate::compare(name, CompareOp::GtEq, low),
                Predicate::compare(name, CompareOp::LtEq, high),
            ]);
            Some(if between.negated { Predicate::Not(Box::new(inside)) } else { inside })
        }
        Expr::InList(list) => {
            let name = column(&list.expr)?;
            let values: Option<Vec<Literal>> =
                list.list.iter().map(|value| literal(value, name, schema)).collect();
            let inside = Predicate::In(name.to_owned(), values?);
            Some(if list.negated { Predicate::Not(Box::new(inside)) } else { inside })
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            Some(Predicate::And(vec![exact(left, schema)?, exact(right, schema)?]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(Predicate::Or(vec![exact(left, schema)?, exact(right, schema)?]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compare(left, *op, right, schema),
        _ => None,
    }
}

fn compare(left: &Expr, op: Operator, right: &Expr, schema: &SchemaRef) -> Option<Predicate> {
    if let Some(name) = date_of(left, schema) {
        return compare_date(name, compare_op(op)?, right);
    }
    if let Some(name) = date_of(right, schema) {
        return compare_date(name, compare_op(op.swap()?)?, left);
    }
    if let Some(name) = column(left) {
        return Some(Predicate::compare(name, compare_op(op)?, literal(right, name, schema)?));
    }
    let name = column(right)?;
    Some(Predicate::compare(name, compare_op(op.swap()?)?, literal(left, name, schema)?))
}

/// The column of moments whose UTC date this is: `CAST(event_timestamp AS DATE)`.
fn date_of<'a>(expr: &'a Expr, schema: &SchemaRef) -> Option<&'a str> {
    let Expr::Cast(cast) = expr else { return None };
    let name = column(&cast.expr)?;
    let is_date = cast.data_type == DataType::Date32
        && matches!(type_of(name, schema)?, DataType::Timestamp(TimeUnit::Microsecond, _));
    is_date.then_some(name)
}

/// What a comparison of a moment's date says of the moment.
fn compare_date(name: &str, op: CompareOp, value: &Expr) -> Option<Predicate> {
    let Expr::Literal(ScalarValue::Date32(Some(days)), _) = value else { return None };
    let midnight = |days| Literal::Timestamp(Date::from_days(days).midnight());
    let from = Predicate::compare(name, CompareOp::GtEq, midnight(*days));
    let before = Predicate::compare(name, CompareOp::Lt, midnight(*days));
    let next = days.checked_add(1)?;
    let after = Predicate::compare(name, CompareOp::GtEq, midnight(next));
    let until = Predicate::compare(name, CompareOp::Lt, midnight(next));
    Some(match op {
        CompareOp::Eq => Predicate::And(vec![from, until]),
        CompareOp::NotEq => Predicate::Or(vec![before, after]),
        CompareOp::Lt => before,
        CompareOp::LtEq => until,
        CompareOp::Gt => after,
        CompareOp::GtEq => from,
    })
}

pub(super) fn compare_op(op: Operator) -> Option<CompareOp> {
    Some(match op {
        Operator::Eq => CompareOp::Eq,
        Operator::NotEq => CompareOp::NotEq,
        Operator::Lt => CompareOp::Lt,
        Operator::LtEq => CompareOp::LtEq,
        Operator::Gt => CompareOp::Gt,
        Operator::GtEq => CompareOp::GtEq,
        _ => return None,
    })
}

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(column.name()),
        _ => None,
    }
}

fn type_of<'a>(name: &str, schema: &'a SchemaRef) -> Option<&'a DataType> {
    schema.field_with_name(name).ok().map(|field| field.data_type())
}

/// The value of an expression, if a column of this name can be compared with it.
fn literal(expr: &Expr, name: &str, schema: &SchemaRef) -> Option<Literal> {
    let Expr::Literal(value, _) = expr else { return None };
    fitting(value, name, schema)
}

/// A value, if a column of this name can be compared with it.
pub(super) fn fitting(value: &ScalarValue, name: &str, schema: &SchemaRef) -> Option<Literal> {
    let literal = from_scalar(value)?;
    match (type_of(name, schema)?, literal) {
        (DataType::Boolean, literal @ Literal::Bool(_))
        | (DataType::Int32 | DataType::Int64, literal @ Literal::Int(_))
        | (DataType::Utf8, literal @ Literal::Text(_))
        | (DataType::Date32, literal @ Literal::Date(_))
        | (DataType::Timestamp(TimeUnit::Microsecond, _), literal @ Literal::Timestamp(_)) => {
            Some(literal)
        }
        (DataType::Float32 | DataType::Float64, Literal::Float(value)) if !value.is_nan() => {
            Some(Literal::Float(value))
        }
        _ => None,
    }
}

fn from_scalar(value: &ScalarValue) -> Option<Literal> {
    Some(match value {
        ScalarValue::Boolean(Some(value)) => Literal::Bool(*value),
        ScalarValue::Int8(Some(value)) => Literal::Int(i64::from(*value)),
        ScalarValue::Int16(Some(value)) => Literal::Int(i64::from(*value)),
        ScalarValue::Int32(Some(value)) => Literal::Int(i64::from(*value)),
        ScalarValue::Int64(Some(value)) => Literal::Int(*value),
        ScalarValue::Float32(Some(value)) => Literal::Float(f64::from(*value)),
        ScalarValue::Float64(Some(value)) => Literal::Float(*value),
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => Literal::Text(text.clone()),
        ScalarValue::Date32(Some(days)) => Literal::Date(Date::from_days(*days)),
        ScalarValue::TimestampMicrosecond(Some(micros), _) => {
            Literal::Timestamp(Timestamp::from_micros(*micros))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
