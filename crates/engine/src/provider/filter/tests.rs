use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::functions::math::expr_fn::abs;
use datafusion::prelude::{col, lit};

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("x", DataType::Float64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("day", DataType::Date32, true),
    ]))
}

fn n(op: CompareOp, value: i64) -> Predicate {
    Predicate::compare("n", op, Literal::Int(value))
}

#[track_caller]
fn check(expr: impl Into<Expr>, expected: impl Into<Option<Predicate>>) {
    let expr = expr.into();
    assert_eq!(predicate(std::slice::from_ref(&expr), &schema()), expected.into(), "{expr}");
}

#[test]
fn comparisons_are_taken_either_way_round() {
    check(col("n").gt(lit(1_i64)), Some(n(CompareOp::Gt, 1)));
    check(lit(1_i64).gt(col("n")), Some(n(CompareOp::Lt, 1)));
    check(lit(1_i64).eq(col("n")), Some(n(CompareOp::Eq, 1)));
    check(col("n").not_eq(lit(1_i32)), Some(n(CompareOp::NotEq, 1)));
    check(col("ok"), Some(Predicate::equal("ok", Literal::Bool(true))));
    check(col("n").is_null(), Some(Predicate::IsNull("n".into())));
    check(
        col("n").in_list(vec![lit(1_i64), lit(2_i64)], true),
        Some(Predicate::Not(Box::new(Predicate::In(
            "n".into(),
            vec![Literal::Int(1), Literal::Int(2)],
        )))),
    );
    check(
        col("n").between(lit(1_i64), lit(2_i64)),
        Some(Predicate::And(vec![n(CompareOp::GtEq, 1), n(CompareOp::LtEq, 2)])),
    );
}

#[test]
fn what_the_catalog_does_not_understand_is_left_out() {
    check(abs(col("n")).gt(lit(1_i64)), None);
    check(col("n").gt(col("x")), None);
    check(col("n").gt(lit(1.5)), None);
    check(col("x").gt(lit(f64::NAN)), None);
    check(col("s").gt(lit(1_i64)), None);
    check(col("n").eq(lit(ScalarValue::Int64(None))), None);
    check(col("unknown").eq(lit(1_i64)), None);
}

#[test]
fn leaving_out_never_makes_a_filter_stricter() {
    let odd = || abs(col("n")).eq(lit(1_i64));
    let small = || col("n").lt(lit(5_i64));
    check(small().and(odd()), Some(n(CompareOp::Lt, 5)));
    check(small().or(odd()), None);
    check(small().and(odd()).or(col("n").gt(lit(9_i64))), {
        Some(Predicate::Or(vec![n(CompareOp::Lt, 5), n(CompareOp::Gt, 9)]))
    });
    // NOT (a AND ?) is not implied by NOT a.
    check(Expr::Not(Box::new(small().and(odd()))), None);
    check(Expr::Not(Box::new(small())), Some(Predicate::Not(Box::new(n(CompareOp::Lt, 5)))));
}
