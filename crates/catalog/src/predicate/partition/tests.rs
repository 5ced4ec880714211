use std::sync::Arc;

use iceberg::spec::{NestedField, Schema};
use icecore_core::{Date, Literal, Predicate, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::schema::partition_spec;

/// Whether a partition of this number may hold values that compare so.
fn may_hold(of: PrimitiveType, by: &str, (op, value): (CompareOp, Literal), number: i32) -> bool {
    let field = NestedField::optional(1, "x", Type::Primitive(of));
    let schema = Schema::builder().with_fields([Arc::new(field)]).build().unwrap();
    let spec = partition_spec(&schema, &[by.to_owned()]).unwrap().bind(schema.clone()).unwrap();
    let filter = Filter::bind(&Predicate::compare("x", op, value), &schema).unwrap();
    let partition = Struct::from_iter([Some(iceberg::spec::Literal::int(number))]);
    PartitionFilter::new(&filter, &spec).may_hold(&partition)
}

#[test]
fn a_moment_before_1970_is_looked_for_on_its_day_and_the_next() {
    use CompareOp::{Eq, Gt, GtEq, Lt, LtEq};
    // In the last second of day -2, which some writers take for day -1.
    let late = Literal::Timestamp(Timestamp::from_micros(-86_400_500_000));
    let held = |op: CompareOp| -> Vec<i32> {
        let of = || PrimitiveType::Timestamptz;
        (-4..2).filter(|day| may_hold(of(), "day(x)", (op, late.clone()), *day)).collect()
    };
    assert_eq!(held(Eq), [-2, -1]);
    for op in [Lt, LtEq] {
        assert_eq!(held(op), [-4, -3, -2, -1], "{op:?}");
    }
    for op in [Gt, GtEq] {
        assert_eq!(held(op), [-2, -1, 0, 1], "{op:?}");
    }
}

#[test]
fn a_date_beyond_the_calendar_asks_nothing_of_partitions() {
    for days in [-100_000_000, 100_000_000] {
        for by in ["year(x)", "month(x)"] {
            for op in [CompareOp::Eq, CompareOp::Lt, CompareOp::Gt] {
                let date = Literal::Date(Date::from_days(days));
                assert!(may_hold(PrimitiveType::Date, by, (op, date), 0), "{by} {op:?} {days}");
            }
        }
    }
}

proptest! {
    /// A partition in which a number is put is one that is looked at for it.
    #[test]
    fn numbers_are_found_where_they_were_put(
        (number, limit) in (near_a_border(), near_a_border()),
        width in prop_oneof![1_u32..=1000, Just(1 << 10), Just(u32::MAX / 2)],
    ) {
        use CompareOp::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        let function = Function::new(Transform::Truncate(width)).unwrap();
        let Some(put) = function.value(&Datum::int(number)) else { panic!("{number}") };
        let PrimitiveLiteral::Int(partition) = *put.literal() else { panic!("{put}") };
        for op in [Eq, NotEq, Lt, LtEq, Gt, GtEq] {
            let passes = match op {
                Eq => number == limit,
                NotEq => number != limit,
                Lt => number < limit,
                LtEq => number <= limit,
                Gt => number > limit,
                GtEq => number >= limit,
            };
            let asked = (op, Literal::Int(limit.into()));
            let by = format!("truncate({width}, x)");
            let held = may_hold(PrimitiveType::Int, &by, asked, partition);
            prop_assert!(held || !passes, "{} {:?} {} by {}", number, op, limit, width);
        }
    }
}

fn near_a_border() -> impl Strategy<Value = i32> {
    prop_oneof![
        i32::MIN..i32::MIN + 2000,
        -2000..2000_i32,
        i32::MAX - 2000..=i32::MAX,
        any::<i32>(),
    ]
}

#[test]
fn partitions_of_other_numbers_are_left_out() {
    let held = |op, limit: i64, partition| {
        may_hold(PrimitiveType::Int, "truncate(10, x)", (op, Literal::Int(limit)), partition)
    };
    assert!(!held(CompareOp::Lt, 100, 100) && held(CompareOp::Lt, 100, 90));
    assert!(held(CompareOp::Lt, 100, 2_147_483_646), "where the least numbers are");
    assert!(!held(CompareOp::Gt, 100, 90) && held(CompareOp::Gt, 100, 100));
}
