use arrow::datatypes::{Field, Schema};
use datafusion::prelude::col;
use proptest::prelude::*;

use super::*;

fn schema() -> DFSchema {
    DFSchema::try_from(Schema::new(vec![
        Field::new("price", DataType::Decimal128(12, 2), true),
        Field::new("x", DataType::Float64, true),
        Field::new("n", DataType::Int64, true),
    ]))
    .unwrap()
}

fn shown(expr: Expr) -> String {
    as_typed(expr, &schema()).unwrap().to_string()
}

#[test]
fn numbers_beside_decimals_are_what_was_typed() {
    let price = || col("price");
    assert_eq!(shown(price().eq(lit(495_185.08))), "price = Decimal128(Some(49518508),8,2)");
    assert_eq!(shown(lit(0.05).lt(price())), "price > Decimal128(Some(5),2,2)");
    assert_eq!(shown(price().lt(lit(-2.0))), "price < Decimal128(Some(-2),1,0)");
    assert_eq!(
        shown(price().in_list(vec![lit(1.5), lit(2_i64)], true)),
        "price NOT IN ([Decimal128(Some(15),2,1), Int64(2)])"
    );
    assert_eq!(
        shown(price().between(lit(0.0), lit(1.25))),
        "price BETWEEN Decimal128(Some(0),1,0) AND Decimal128(Some(125),3,2)"
    );
    // What has no decimal, and what is beside no decimal, stays.
    for value in [f64::NAN, f64::INFINITY, 1e60, 1e-60] {
        let expr = price().lt(lit(value));
        assert_eq!(shown(expr.clone()), expr.to_string());
    }
    for expr in [col("n").lt(lit(1.5)), col("x").lt(lit(1.5)), price().lt(col("x"))] {
        assert_eq!(shown(expr.clone()), expr.to_string());
    }
}

#[test]
fn both_zeros_are_zero() {
    let holds = |expr: Expr| {
        let values = [-1.0_f64, -0.0, 0.0, 1.0];
        values.map(|value| {
            let schema = schema();
            let expr = as_typed(expr.clone(), &schema).unwrap();
            let put = expr.transform_up(|node| {
                Ok(match node {
                    Expr::Column(_) => Transformed::yes(lit(value)),
                    other => Transformed::no(other),
                })
            });
            let context = datafusion::logical_expr::simplify::SimplifyContext::default();
            let simplifier =
                datafusion::optimizer::simplify_expressions::ExprSimplifier::new(context);
            let put = simplifier.coerce(put.unwrap().data, &DFSchema::empty()).unwrap();
            match simplifier.simplify(put).unwrap() {
                Expr::Literal(ScalarValue::Boolean(Some(holds)), _) => holds,
                other => panic!("{other}"),
            }
        })
    };
    let x = || col("x");
    for zero in [lit(0.0), lit(-0.0), lit(0_i64)] {
        assert_eq!(holds(x().lt(zero.clone())), [true, false, false, false]);
        assert_eq!(holds(x().lt_eq(zero.clone())), [true, true, true, false]);
        assert_eq!(holds(x().gt(zero.clone())), [false, false, false, true]);
        assert_eq!(holds(x().gt_eq(zero.clone())), [false, true, true, true]);
        assert_eq!(holds(x().eq(zero.clone())), [false, true, true, false]);
        assert_eq!(holds(x().not_eq(zero.clone())), [true, false, false, true]);
        assert_eq!(holds(zero.clone().lt(x())), [false, false, false, true]);
        assert_eq!(holds(x().in_list(vec![zero.clone()], false)), [false, true, true, false]);
        assert_eq!(holds(x().in_list(vec![zero.clone()], true)), [true, false, false, true]);
        assert_eq!(holds(x().between(zero.clone(), lit(5.0))), [false, true, true, true]);
        assert_eq!(holds(x().between(lit(-5.0), zero)), [true, true, true, false]);
    }
}

proptest! {
    /// A decimal that was typed is the decimal that is compared.
    #[test]
    fn what_was_typed_comes_back(number in -999_999_999_999_i64..=999_999_999_999, scale in 0_u8..=6) {
        let ten = 10_i64.pow(scale.into());
        let (whole, rest) = (number.unsigned_abs() / ten as u64, number.unsigned_abs() % ten as u64);
        let sign = if number < 0 { "-" } else { "" };
        let text = format!("{sign}{whole}.{rest:0width$}", width = scale.into());
        let typed: f64 = text.trim_end_matches('.').parse().unwrap();
        let Some(Expr::Literal(ScalarValue::Decimal128(Some(found), _, at), _)) = decimal(&lit(typed))
        else { panic!("{text}") };
        let up = i128::from(10_i64.pow(u32::from(scale) - u32::try_from(at).unwrap().min(scale.into())));
        prop_assert_eq!(found * up, i128::from(number), "{}", text);
    }
}
